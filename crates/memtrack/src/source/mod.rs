//! Where samples come from.

#[cfg(target_os = "linux")]
mod linux;
mod replay;
#[cfg(feature = "sysinfo")]
mod sysinfo;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

#[cfg(target_os = "linux")]
pub use linux::{LinuxMachine, LinuxSource, LinuxTarget, Tick};
pub use replay::Replay;

#[cfg(feature = "sysinfo")]
pub use self::sysinfo::SysinfoSource;
use crossbeam_channel::{Receiver, never};

use crate::config::TrackConfig;
use crate::error::SourceError;
use crate::processes::ProcessId;
use crate::sample::{Sample, Stamp};

/// Where samples come from: this machine's kernel, another way to ask it, a recording, a script.
pub trait Source: Send {
    /// Takes one sample, of as much as the tier in `config` asks for.
    ///
    /// A value that cannot be had is an [`Absent`](crate::Absent) in the sample, not an error.
    ///
    /// # Errors
    /// [`SourceError::Ended`] when there is nothing left to watch, [`SourceError::Failed`] when this read gave nothing
    /// at all but a later one may.
    fn read(&mut self, config: &TrackConfig) -> Result<Sample, SourceError>;

    /// Becomes ready when the source has reason to be read before its time: the kernel reported a stall.
    ///
    /// Asked for once, when sampling starts. A source that is never in a hurry leaves it as it is.
    fn wake(&mut self) -> Receiver<()> {
        never()
    }

    /// The next read is the one that [`wake`](Source::wake) asked for: nothing kept from an earlier read is good enough
    /// for it.
    fn woken(&mut self) {}
}

/// What a source watches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// The process this code runs in.
    Own,
    /// One process.
    Process(ProcessId),
    /// A process and all its descendants, also those whose parents have ended.
    ///
    /// Who belongs to it is looked up on each sample, so a child that starts and ends between two samples is in none,
    /// and what it held for that time shows in the machine's and the cgroup's figures only. One that starts and ends
    /// its parent in between is lost with all that it starts: nothing in `/proc` leads to it any more. Where either
    /// matters, watch the cgroup.
    Tree(ProcessId),
    /// All processes of a cgroup, by its path below the cgroup mount. Its usage and its counters hold every process
    /// that was in it, however short.
    Cgroup(PathBuf),
    /// The machine, and no process of it.
    System,
}

/// Stamps samples with the time since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn stamp(self) -> Stamp {
        Stamp { monotonic: self.origin.elapsed(), wall: SystemTime::now(), gap: false }
    }
}

/// Whether the time from `before` to `now` went unwatched, when about `interval` was to pass.
///
/// Two ways to see it: more monotonic time than five intervals and a quarter of a second (the watcher was stopped or starved), or a wall clock
/// that moved by over a second more or less than the monotonic one (the machine slept, or the clock was stepped).
pub(crate) fn is_gap(before: Stamp, now: Stamp, interval: Duration) -> bool {
    const CLOCK_STEP: Duration = Duration::from_secs(1);
    // At intervals of some milliseconds a busy machine alone makes five of them.
    const JITTER: Duration = Duration::from_millis(250);
    let monotonic = now.monotonic.saturating_sub(before.monotonic);
    if monotonic > interval.saturating_mul(5).max(JITTER) {
        return true;
    }
    match now.wall.duration_since(before.wall) {
        Ok(wall) => wall.abs_diff(monotonic) > CLOCK_STEP,
        Err(back) => back.duration().saturating_add(monotonic) > CLOCK_STEP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(monotonic_ms: u64, wall_ms: u64) -> Stamp {
        Stamp {
            monotonic: Duration::from_millis(monotonic_ms),
            wall: SystemTime::UNIX_EPOCH + Duration::from_millis(wall_ms),
            gap: false,
        }
    }

    #[test]
    fn suspend_stop_and_clock_steps_are_gaps_and_jitter_is_not() {
        let interval = Duration::from_millis(100);
        let before = stamp(1_000, 50_000);
        for (name, now, expected) in [
            ("on time", stamp(1_100, 50_100), false),
            ("late by two ticks", stamp(1_300, 50_300), false),
            ("stopped", stamp(1_600, 50_600), true),
            ("suspended", stamp(1_100, 3_650_000), true),
            ("stepped forward", stamp(1_100, 52_000), true),
            ("stepped back", stamp(1_100, 40_000), true),
            ("slewed back a little", stamp(1_100, 49_990), false),
        ] {
            assert_eq!(is_gap(before, now, interval), expected, "{name}");
        }
    }
}
