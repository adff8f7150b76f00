//! What a watch came to: how it ended, its peak, what it could not see, and why a figure is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use mempressure::Level;
use memtrack::source::Target;
use memtrack::{Absent, Tier};

use crate::child::Gone;
use crate::live::Live;
use crate::look::pss_missing;
use crate::pipeline::{Pipeline, Seen};
use crate::size;
use crate::summary::{End, Growth, Peak};

/// A command that lasts no longer than this may be over before its first sample, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How the loop ended.
pub(super) struct Ended {
    pub(super) end: End,
    /// The child, when there was one.
    pub(super) gone: Option<Gone>,
    /// No process of the target had children that ended, which samples may have missed.
    pub(super) alone: bool,
}

impl Ended {
    /// Without a child of ours.
    pub(super) fn as_of(end: End) -> Self {
        Self { end, gone: None, alone: true }
    }
}

/// How far the end of a command has come.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// What its tree was asked to end for, by us.
    pub(super) asked: Option<End>,
    /// Its tree was killed.
    pub(super) killed: bool,
    /// It has ended itself, while others of its tree may be waited for.
    pub(super) gone: Option<Gone>,
}

impl Ending {
    /// How the watch of a command ended that went so.
    pub(super) fn with(&self, gone: Gone) -> Ended {
        let end = self.asked.unwrap_or_else(|| gone.end());
        Ended { end, gone: Some(gone), alone: gone.alone }
    }
}

/// Why a watch could not see what gates are judged by.
pub(super) struct Blind {
    pub(super) unseen: Option<&'static str>,
    pub(super) no_level: Option<&'static str>,
}

impl Blind {
    /// Of a watch that lasted this long under the configuration in force at its end.
    pub(super) fn of(live: &Live, seen: &Seen, lasted: Duration) -> Self {
        let track = live.track().load().value;
        let disabled = track.tier == Tier::Disabled;
        // The first sample is taken at once: what was over in a moment may still be over before it.
        let over_at_once = lasted < track.base_interval().max(AT_ONCE);
        let unseen = match seen.watched {
            Some(_) => None,
            None if disabled => Some("nothing was read: `track.tier` is `disabled`"),
            None if over_at_once => None,
            None => Some("no sample has a reading of its memory"),
        };
        let no_level = match (seen.level, live.policies().pressure.load().value.enabled) {
            (Level::Unknown, _) if seen.samples == 0 => None,
            (Level::Unknown, false) => Some("`pressure.enabled` is false"),
            (Level::Unknown, true) => Some("no signal of pressure could be read"),
            _ => None,
        };
        Self { unseen, no_level }
    }
}

/// The peak, whether it is exact, and what it was at most.
///
/// Two kernel figures see every page: `VmHWM`, up to the last sample, and `ru_maxrss`, up to the end. The second is the
/// child's own only when it is above what memcli itself had reached when it forked, for `exec` carries that over; below
/// that it is a bound. The first may be from before a watch, and is a bound then too. Both count one process: over a tree
/// the sum of a sample may be higher, and is never exact, be the tree there between samples only.
pub(super) fn peak(watched: &Target, seen: &Seen, ended: &Ended) -> Peak {
    let of_child = ended.gone.and_then(|gone| gone.peak_rss);
    let alone = ended.alone && seen.processes.is_none_or(|processes| processes <= 1);
    let watched_to_the_end = match ended.end {
        End::TargetEnded => false,
        End::Interrupted { .. } => seen.peak_rss.is_some(),
        End::TimeUp | End::Aborted if ended.gone.is_none() => seen.peak_rss.is_some(),
        _ => of_child.is_some(),
    };
    let rss_bytes = seen.peak_rss.max(of_child);
    let at_most = match ended.gone {
        Some(gone) => Some(gone.max_rss),
        None => seen.peak_ever.filter(|_| watched_to_the_end),
    };
    let at_most = at_most.filter(|_| alone);
    // A peak from before the watch bounds it, and is none of it.
    let exact = alone && watched_to_the_end && (ended.gone.is_some() || rss_bytes >= at_most);
    Peak::new(watched, seen, rss_bytes).bounded(exact, at_most)
}

pub(super) fn reasons(
    watched: &Target,
    peak: &Peak,
    pipeline: &Pipeline,
    growth: &Growth,
    cost: Option<Absent>,
) -> BTreeMap<&'static str, String> {
    let mut absent = BTreeMap::new();
    let mut note = |missing: bool, path, why: &str| {
        if missing {
            absent.insert(path, why.to_owned());
        }
    };
    let (unread, latest) = (size::unread(watched, pipeline.seen()), pipeline.latest());
    note(peak.size_bytes.is_none(), "peak.size_bytes", unread);
    note(peak.size_bytes.is_none(), "peak.size_measure", unread);
    note(peak.rss_bytes.is_none(), "peak.rss_bytes", unread);
    note(peak.rss_at_most_bytes.is_none(), "peak.rss_at_most_bytes", size::unbounded(watched));
    note(peak.footprint_bytes.is_none(), "peak.footprint_bytes", unread);
    note(pipeline.seen().mean_rss.bytes().is_none(), "mean_rss_bytes", unread);
    note(pipeline.seen().processes.is_none(), "processes", unread);
    let why = latest.map(|sample| sample.process.pss.err().unwrap_or(Absent::NotRead));
    let why = why.filter(|_| size::of_processes(watched)).map_or(unread, pss_missing);
    note(peak.pss_bytes.is_none(), "peak.pss_bytes", why);
    note(peak.pss_likely_bytes.is_none(), "peak.pss_likely_bytes", why);
    note(growth.bytes_per_second.is_none(), "growth", "too few samples for a slope");
    if let Some(why) = cost {
        absent.insert("cost.max_rss_bytes", why.to_string());
    }
    absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Policies;
    use memtrack::{Sample, Stamp};

    #[test]
    fn a_peak_from_before_a_watch_is_a_bound_and_one_that_rose_in_it_is_exact() {
        let told = |mut pipeline: Pipeline, peaks: [u64; 2]| {
            for (second, peak) in peaks.into_iter().enumerate() {
                let at = Stamp::synthetic(Duration::from_secs(second as u64));
                let mut sample = Sample::empty(at);
                (sample.process.rss, sample.process.peak) = (Ok(13), Ok(peak));
                pipeline.push(&sample, |_| {});
            }
            let peak = peak(&Target::Own, pipeline.seen(), &Ended::as_of(End::TimeUp));
            (peak.rss_bytes, peak.exact, peak.rss_at_most_bytes)
        };
        let watched = || Pipeline::new(&Target::Own, Policies::unedited());
        assert_eq!(told(watched(), [300, 300]), (Some(13), false, Some(300)));
        assert_eq!(told(watched(), [300, 301]), (Some(301), true, Some(301)));
        assert_eq!(told(watched(), [13, 13]), (Some(13), true, Some(13)));
        assert_eq!(told(watched().from_birth(), [300, 300]), (Some(300), true, Some(300)));
    }
}
