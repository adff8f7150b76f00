//! Values that cannot be true: named, counted, and kept out of samples.

use std::time::Duration;

use crate::reading::{Absent, Reading};
use crate::sample::Sample;

/// Where the machine does not say how much memory it has, more than 1 TiB is not believed.
const UNKNOWN_MACHINE: u64 = 1 << 40;

/// A reading that cannot be true, that the kernel wrote in no known form, or that failed to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Absurd {
    /// Which reading, as the path of the field in [`Sample`].
    pub reading: &'static str,
    /// What is wrong with it: [`Absent::Implausible`], [`Absent::Malformed`] or [`Absent::Failed`].
    pub why: Absent,
    /// What it said; unknown when it was no number.
    pub value: Option<u64>,
    /// When, on the samples' monotonic clock.
    pub at: Duration,
    /// The last value that could be true, and when it was read.
    pub last_good: Option<(u64, Duration)>,
}

type Field = (&'static str, fn(&mut Sample) -> &mut Reading<u64>, fn(&Bounds) -> u64);

const FIELDS: [Field; 28] = [
    ("process.rss", |s| &mut s.process.rss, |b| b.mapped),
    ("process.anon", |s| &mut s.process.anon, |b| b.mapped),
    ("process.file", |s| &mut s.process.file, |b| b.mapped),
    ("process.shmem", |s| &mut s.process.shmem, |b| b.mapped),
    ("process.swap", |s| &mut s.process.swap, |b| b.swapped),
    ("process.peak", |s| &mut s.process.peak, |b| b.mapped),
    ("process.pss", |s| &mut s.process.pss, |b| b.memory),
    ("process.pss_anon", |s| &mut s.process.pss_anon, |b| b.memory),
    ("process.pss_swap", |s| &mut s.process.pss_swap, |b| b.swap),
    ("process.minor_faults", |s| &mut s.process.minor_faults, |_| u64::MAX),
    ("process.major_faults", |s| &mut s.process.major_faults, |_| u64::MAX),
    ("process.threads", |s| &mut s.process.threads, |_| u64::MAX),
    ("system.total", |s| &mut s.system.total, |_| u64::MAX),
    ("system.available", |s| &mut s.system.available, |b| b.memory),
    ("system.swap_total", |s| &mut s.system.swap_total, |_| u64::MAX),
    ("system.swap_free", |s| &mut s.system.swap_free, |b| b.swap),
    ("system.zram", |s| &mut s.system.zram, |b| b.memory),
    ("cgroup.usage", |s| &mut s.cgroup.usage, |b| b.memory),
    ("cgroup.inactive_file", |s| &mut s.cgroup.inactive_file, |b| b.memory),
    // The headroom is absent when the limit is, and for the same reason.
    ("cgroup.limit", |s| &mut s.cgroup.limit, |_| u64::MAX),
    ("cgroup.high", |s| &mut s.cgroup.high, |_| u64::MAX),
    ("cgroup.own", |s| &mut s.cgroup.own, |b| b.memory),
    ("cgroup.events.max", |s| &mut s.cgroup.events.max, |_| u64::MAX),
    ("cgroup.events.high", |s| &mut s.cgroup.events.high, |_| u64::MAX),
    ("cgroup.events.oom", |s| &mut s.cgroup.events.oom, |_| u64::MAX),
    ("cgroup.events.oom_kill", |s| &mut s.cgroup.events.oom_kill, |_| u64::MAX),
    ("psi.some.total_us", |s| &mut s.psi.some.total_us, |_| u64::MAX),
    ("psi.full.total_us", |s| &mut s.psi.full.total_us, |_| u64::MAX),
];

type Share = (&'static str, fn(&Sample) -> Reading<f64>);

/// No value of theirs is told: the source gives shares from 0 to 1, or a reason.
const SHARES: [Share; 6] = [
    ("psi.some.avg10", |s| s.psi.some.avg10),
    ("psi.some.avg60", |s| s.psi.some.avg60),
    ("psi.some.avg300", |s| s.psi.some.avg300),
    ("psi.full.avg10", |s| s.psi.full.avg10),
    ("psi.full.avg60", |s| s.psi.full.avg60),
    ("psi.full.avg300", |s| s.psi.full.avg300),
];

/// The most that a field may say, in bytes.
struct Bounds {
    memory: u64,
    /// A page that several processes map counts in each of them.
    mapped: u64,
    swap: u64,
    swapped: u64,
}

impl Bounds {
    fn of(sample: &Sample) -> Self {
        let memory = sample.system.total.unwrap_or(UNKNOWN_MACHINE);
        let swap = sample.system.swap_total.unwrap_or(UNKNOWN_MACHINE);
        let processes = sample.process.processes.unwrap_or(1).max(1);
        let (mapped, swapped) = (memory.saturating_mul(processes), swap.saturating_mul(processes));
        Self { memory, mapped, swap, swapped }
    }
}

/// What has been seen so far.
#[derive(Debug, Default)]
pub(crate) struct Plausibility {
    good: [Option<(u64, Duration)>; FIELDS.len()],
    absurd: [bool; FIELDS.len()],
    absurd_shares: [bool; SHARES.len()],
}

impl Plausibility {
    /// Takes out what cannot be true. Calls `report` for each such reading, and says whether it is the first of a row.
    pub(crate) fn check(&mut self, sample: &mut Sample, mut report: impl FnMut(Absurd, bool)) {
        let bounds = Bounds::of(sample);
        let at = sample.at.monotonic;
        for (index, (name, field, bound)) in FIELDS.iter().enumerate() {
            let reading = field(sample);
            let (why, value) = match *reading {
                Ok(value) if value > bound(&bounds) => (Absent::Implausible, Some(value)),
                Err(why) if is_absurd(why) => (why, None),
                plausible => {
                    self.absurd[index] = false;
                    if let Ok(value) = plausible {
                        self.good[index] = Some((value, at));
                    }
                    continue;
                }
            };
            *reading = Err(why);
            let first = !std::mem::replace(&mut self.absurd[index], true);
            report(Absurd { reading: name, why, value, at, last_good: self.good[index] }, first);
        }
        for ((name, share), absurd) in SHARES.iter().zip(&mut self.absurd_shares) {
            let why = share(sample).err().filter(|why| is_absurd(*why));
            let before = std::mem::replace(absurd, why.is_some());
            if let Some(why) = why {
                report(Absurd { reading: name, why, value: None, at, last_good: None }, !before);
            }
        }
    }
}

fn is_absurd(why: Absent) -> bool {
    matches!(why, Absent::Malformed | Absent::Implausible | Absent::Failed(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Stamp;
    use crate::testing;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn sample(seconds: u64, rss: Reading<u64>) -> Sample {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(seconds)));
        sample.process.rss = rss;
        sample.process.processes = Ok(1);
        sample.system.total = Ok(8 * GIB);
        sample
    }

    fn check(plausibility: &mut Plausibility, sample: &mut Sample) -> Vec<(Absurd, bool)> {
        let mut seen = Vec::new();
        plausibility.check(sample, |absurd, first| seen.push((absurd, first)));
        seen
    }

    #[test]
    fn more_than_the_machine_has_is_taken_out_and_the_last_good_value_kept() {
        let mut plausibility = Plausibility::default();
        assert_eq!(check(&mut plausibility, &mut sample(1, Ok(GIB))), []);
        let mut absurd = sample(5, Ok(9 * GIB));
        let seen = check(&mut plausibility, &mut absurd);
        assert_eq!(absurd.process.rss, Err(Absent::Implausible));
        let (absurd, first) = seen[0];
        assert_eq!((absurd.reading, absurd.value, first), ("process.rss", Some(9 * GIB), true));
        assert_eq!(absurd.last_good, Some((GIB, Duration::from_secs(1))));
        let again = check(&mut plausibility, &mut sample(6, Err(Absent::Malformed)));
        assert_eq!((again[0].0.value, again[0].1), (None, false), "named once, counted each time");
        assert_eq!(check(&mut plausibility, &mut sample(7, Ok(2 * GIB))), []);
        assert!(check(&mut plausibility, &mut sample(8, Ok(u64::MAX)))[0].1);
    }

    #[test]
    fn a_tree_may_map_more_than_the_machine_has() {
        let mut tree = sample(1, Ok(20 * GIB));
        tree.process.processes = Ok(5);
        assert_eq!(check(&mut Plausibility::default(), &mut tree), []);
    }

    #[test]
    fn on_a_machine_that_hides_its_size_a_tebibyte_is_too_much() {
        let mut hidden = sample(1, Ok((1 << 40) + 1));
        hidden.system.total = Err(Absent::Denied);
        assert_eq!(check(&mut Plausibility::default(), &mut hidden).len(), 1);
    }

    proptest! {
        #[test]
        fn what_is_left_is_within_its_bounds_and_every_other_reading_is_as_it_was(trace in testing::trace(1..20)) {
            let mut plausibility = Plausibility::default();
            for before in trace {
                let mut sample = before;
                let seen = check(&mut plausibility, &mut sample);
                let bounds = Bounds::of(&sample);
                let mut reported = 0;
                for (name, field, bound) in FIELDS {
                    let (was, is) = (*field(&mut before.clone()), *field(&mut sample));
                    prop_assert!(is.is_err() || is.is_ok_and(|kept| kept <= bound(&bounds)), "{name}");
                    let named = seen.iter().find(|(absurd, _)| absurd.reading == name);
                    match named {
                        Some((absurd, _)) => {
                            reported += 1;
                            prop_assert_eq!(is, Err(absurd.why));
                            prop_assert!(absurd.last_good.is_none_or(|(_, at)| at <= before.at.monotonic));
                        }
                        None => prop_assert_eq!(is, was, "{} was taken out in silence", name),
                    }
                }
                for (name, share) in SHARES {
                    let absurd = share(&before).is_err_and(is_absurd);
                    let named = seen.iter().filter(|(absurd, _)| absurd.reading == name).count();
                    prop_assert_eq!(named, usize::from(absurd), "{}", name);
                    reported += named;
                }
                prop_assert_eq!(reported, seen.len(), "each is named once");
            }
        }
    }
}
