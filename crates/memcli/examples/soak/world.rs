//! The service that is soaked: what its memory does at each time, and what its config says in each minute.
//!
//! All of it is a function of the time, so that the oracle knows both without asking the program under test.

use std::time::Duration;

use memtrack::sample::{Sample, Stamp};

use crate::hours;

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const DAY: u64 = 24 * 3600;
/// Seconds between samples: the production tier's.
pub(crate) const INTERVAL: u64 = 5;
/// What a day's leak gains per hour, in bytes.
const LEAK_PER_HOUR: u64 = 12 * MIB;
const MACHINE: u64 = 16 << 30;

/// The script of one day, in seconds since midnight.
const BATCH: std::ops::Range<u64> = 3 * 3600..3 * 3600 + 1200;
const SPIKE: std::ops::Range<u64> = 4 * 3600..4 * 3600 + 600;
const LEAK: std::ops::Range<u64> = 6 * 3600..18 * 3600;
const SQUEEZE: std::ops::Range<u64> = 20 * 3600..20 * 3600 + 600;

/// The settings of one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) rss_warning: u64,
    pub(crate) rss_critical: u64,
    /// In percent.
    pub(crate) critical: u64,
}

impl Settings {
    /// What is written in `minute`.
    pub(crate) fn of(minute: u64) -> Self {
        Self {
            rss_warning: (300 + minute % 7) * MIB,
            rss_critical: (400 + minute % 11) * MIB,
            critical: 80 + minute % 5,
        }
    }

    /// The document that says so. `broken` is one that must be refused.
    pub(crate) fn text(self, minute: u64, broken: bool) -> String {
        let Self { rss_warning, rss_critical, critical } = self;
        let rss_warning = if broken {
            "\"twelve parsecs\"".to_owned()
        } else {
            format!("\"{}MiB\"", rss_warning / MIB)
        };
        format!(
            "schema_version = 3\n\
             # minute {minute}\n\
             [pressure]\nsignals = [\"system\"]\n\
             [pressure.thresholds]\ncritical = 0.{critical}\n\
             [leak]\nrss_warning = {rss_warning}\nrss_critical = \"{}MiB\"\n\
             # The rates of the rules are not soaked: the oracle would have to fit the same line.\n\
             warning_rate = \"100GiB/h\"\ncritical_rate = \"200GiB/h\"\n",
            rss_critical / MIB
        )
    }
}

/// Whether the edit of `minute` is one that must be refused.
pub(crate) fn broken(minute: u64) -> bool {
    minute % 997 == 996
}

/// Days on which the service leaks.
pub(crate) fn leaks_on(day: u64) -> bool {
    day % 5 == 2
}

/// Whether the service is started anew at `second`: whoever runs it had enough of its leak.
pub(crate) fn restarts(second: u64) -> bool {
    leaks_on(second / DAY) && second % DAY == LEAK.end
}

/// Whether a leak may be told at `second`.
pub(crate) fn leak_may_be_told(second: u64) -> bool {
    leaks_on(second / DAY) && LEAK.contains(&(second % DAY))
}

/// Used share of the machine at `second`, in percent.
pub(crate) fn used(second: u64) -> u64 {
    if SQUEEZE.contains(&(second % DAY)) { 88 } else { 40 }
}

/// Private bytes of the service at `second`.
pub(crate) fn private(second: u64) -> u64 {
    let (day, of_day) = (second / DAY, second % DAY);
    let script = match of_day {
        of_day if BATCH.contains(&of_day) => 303 * MIB,
        of_day if SPIKE.contains(&of_day) => 420 * MIB,
        of_day if leaks_on(day) && LEAK.contains(&of_day) => {
            120 * MIB + (of_day - LEAK.start) * LEAK_PER_HOUR / 3600
        }
        _ => 120 * MIB,
    };
    // In pages, as the kernel counts.
    (script - MIB + noise(second) % (2 * MIB)) / 4096 * 4096
}

/// The same number for the same second (the finalizer of SplitMix64, Steele, Lea and Flood 2014).
fn noise(second: u64) -> u64 {
    let mut z = second.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a sampler would have seen at `second`.
pub(crate) fn sample(second: u64) -> Sample {
    let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
    let private = private(second);
    sample.process.rss = Ok(private + 8 * MIB);
    sample.process.anon = Ok(private);
    sample.process.swap = Ok(0);
    sample.process.processes = Ok(1);
    sample.system.total = Ok(MACHINE);
    sample.system.available = Ok(MACHINE / 100 * (100 - used(second)));
    sample
}

/// How long after a squeeze the level must be back to normal: three releases, each held for 10 s, with room for samples between.
pub(crate) fn calm(second: u64) -> bool {
    let of_day = second % DAY;
    !(SQUEEZE.start..SQUEEZE.end + hours(1).as_secs() / 60).contains(&of_day)
}
