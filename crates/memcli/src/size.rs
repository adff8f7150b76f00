//! The size that stands for a target: one number with its name, the same wherever the target is told of.
//!
//! Of several processes it is PSS where that was read, since it alone counts shared pages once; of one process RSS, whose peak the
//! kernel keeps; of a cgroup its working set; of the machine what is not available.

use memtrack::source::Target as Watched;
use memtrack::{Reading, Sample};

use crate::pipeline::Seen;

/// Resident bytes.
pub const RSS: &str = "RSS";
/// Resident bytes with shared pages divided among those who share them.
pub const PSS: &str = "PSS";
/// Usage of a cgroup without the files it could drop.
pub const WORKING_SET: &str = "working set";
/// What the machine has not available.
pub const USED: &str = "used";
/// Of one process RSS and of several PSS, where both are compared.
pub const SIZE: &str = "size";

/// The size in a sample, in bytes, with its name.
///
/// # Errors
/// Why it could not be read.
pub fn size(watched: &Watched, sample: &Sample) -> Reading<(u64, &'static str)> {
    match watched {
        Watched::System => {
            Ok((sample.system.total?.saturating_sub(sample.system.available?), USED))
        }
        Watched::Cgroup(_) => Ok((sample.cgroup.own_working_set()?, WORKING_SET)),
        _ => {
            let process = &sample.process;
            match process.pss {
                Ok(pss) if several(sample) => Ok((pss, PSS)),
                _ => Ok((process.rss?, RSS)),
            }
        }
    }
}

/// Whether a sample is of more than one process.
#[must_use]
pub fn several(sample: &Sample) -> bool {
    sample.process.processes.is_ok_and(|count| count > 1)
}

/// The highest of a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Highest {
    /// In bytes.
    pub bytes: u64,
    /// What it counts.
    pub measure: &'static str,
    /// Whether several processes had it at one time: RSS then counts what they share once for each.
    pub of_several: bool,
    /// Whether it is an estimate, above all that was measured.
    pub estimated: bool,
}

/// The highest of the size. `peak_rss` is the highest RSS that anyone knows of.
#[must_use]
pub fn highest(watched: &Watched, seen: &Seen, peak_rss: Option<u64>) -> Option<Highest> {
    let one = |bytes, measure| Highest { bytes, measure, of_several: false, estimated: false };
    let several = |bytes, measure| Highest { of_several: true, ..one(bytes, measure) };
    match watched {
        Watched::System => Some(one(seen.watched?, USED)),
        Watched::Cgroup(_) => Some(one(seen.watched?, WORKING_SET)),
        _ => {
            let alone = seen.processes.is_none_or(|processes| processes <= 1);
            let rss_of_one = if alone { peak_rss } else { seen.rss_of_one };
            match (seen.likely_pss_of_several(peak_rss), rss_of_one, peak_rss) {
                // A shell that was there for a moment makes no tree of what it started.
                (pss, Some(rss), Some(peak))
                    if pss.is_none_or(|pss| pss < rss) && (rss >= peak || pss.is_some()) =>
                {
                    Some(one(rss, RSS))
                }
                (Some(bytes), ..) => {
                    let estimated = Some(bytes) > seen.pss_of_several;
                    Some(Highest { estimated, ..several(bytes, PSS) })
                }
                (None, _, peak) => Some(several(peak?, RSS)),
            }
        }
    }
}

/// Whether a target is processes that were named, and not a place where processes are.
#[must_use]
pub fn of_processes(watched: &Watched) -> bool {
    !matches!(watched, Watched::System | Watched::Cgroup(_))
}

/// Why there is no size of `watched`, or none that only processes have, when no reading of it says so.
#[must_use]
pub fn unread(watched: &Watched, seen: &Seen) -> &'static str {
    match watched {
        Watched::System if seen.samples > 0 => {
            "only processes have it, and the machine was watched"
        }
        Watched::System | Watched::Cgroup(_) if seen.samples == 0 => "no sample was taken",
        Watched::System | Watched::Cgroup(_) => "no sample has such a reading",
        _ if seen.sized > 0 => "no sample has such a reading",
        _ => "it ended before a sample saw its memory",
    }
}

/// Why nobody knows what the RSS of `watched` was at most.
#[must_use]
pub fn unbounded(watched: &Watched) -> &'static str {
    if of_processes(watched) {
        "the kernel keeps no peak of several processes, nor of one that still runs or that memcli did not start"
    } else {
        "the kernel keeps no peak RSS of a cgroup or of the machine"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::{Absent, Stamp};
    use std::time::Duration;

    #[test]
    fn every_kind_of_target_has_a_size_with_its_name() {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
        (sample.system.total, sample.system.available) = (Ok(100), Ok(30));
        sample.cgroup.usage = Ok(9);
        sample.process.rss = Ok(5);
        sample.process.pss = Err(Absent::Denied);
        assert_eq!(size(&Watched::System, &sample), Ok((70, USED)));
        assert_eq!(size(&Watched::Cgroup("/app".into()), &sample), Ok((9, WORKING_SET)));
        sample.cgroup.own = Ok(4);
        let own = size(&Watched::Cgroup("/app".into()), &sample);
        assert_eq!(own, Ok((4, WORKING_SET)), "whichever ancestor binds");
        assert_eq!(size(&Watched::Own, &sample), Ok((5, RSS)));
        sample.process.pss = Ok(3);
        assert_eq!(size(&Watched::Own, &sample), Ok((5, RSS)), "as the peak of one process");
        sample.process.processes = Ok(2);
        assert_eq!(size(&Watched::Own, &sample), Ok((3, PSS)));
        sample.process = memtrack::ProcessMemory::absent(Absent::Malformed);
        let own = size(&Watched::Own, &sample);
        assert_eq!(own, Err(Absent::Malformed), "never the size of something else");
    }

    #[test]
    fn the_highest_size_is_of_the_same_kind() {
        let highest = |watched, seen: &Seen, rss| {
            highest(watched, seen, rss).map(|found| (found.bytes, found.measure, found.of_several))
        };
        let seen = Seen { watched: Some(70), pss: Some(3), ..Seen::default() };
        let group = Watched::Cgroup("/app".into());
        assert_eq!(highest(&Watched::System, &seen, None), Some((70, USED, false)));
        assert_eq!(highest(&group, &seen, Some(5)), Some((70, WORKING_SET, false)));
        assert_eq!(highest(&Watched::Own, &seen, Some(5)), Some((5, RSS, false)));
        assert_eq!(highest(&Watched::Own, &seen, None), None, "nothing was read of it");
        // One of 50 that forks: with the others it is 60, though their sum is 200.
        let tree = Seen { processes: Some(4), rss_of_one: Some(50), ..seen };
        let read = Seen { pss_of_several: Some(60), ..tree };
        assert_eq!(highest(&Watched::Own, &read, Some(200)), Some((60, PSS, true)));
        assert_eq!(highest(&Watched::Own, &tree, Some(200)), Some((200, RSS, true)));
        // A shell of 5 that starts it, and is gone when it is large.
        let started = Seen { pss_of_several: Some(7), ..tree };
        assert_eq!(highest(&Watched::Own, &started, Some(50)), Some((50, RSS, false)));
        assert_eq!(highest(&Watched::Own, &tree, Some(50)), Some((50, RSS, false)));
    }

    #[test]
    fn what_is_missing_is_told_of_what_was_watched() {
        let (none, some) = (Seen::default(), Seen { samples: 1, ..Seen::default() });
        assert_eq!(unread(&Watched::System, &none), "no sample was taken");
        assert!(unread(&Watched::System, &some).contains("the machine was watched"));
        assert_eq!(unread(&Watched::Own, &none), "it ended before a sample saw its memory");
        assert!(!unbounded(&Watched::System).contains("memcli did not start"));
    }
}
