//! Pressure stall information: the share of time lost for lack of memory.

use std::time::Duration;

use memtrack::{Absent, PsiMemory, Reading};

use super::Vote;
use crate::level::{Level, Measure};

/// Share of time with at least one task stalled, from which PSI votes [`Level::Warning`].
///
/// In the field: low-memory-monitor and GLib 3.5 to 10 %, Android's lmkd 7 %. We drop caches where those
/// end processes, so the lower end does.
pub const PSI_SOME_WARNING: f64 = 0.10;
/// Share of time with all tasks stalled at once, from which PSI votes [`Level::Critical`].
pub const PSI_FULL_CRITICAL: f64 = 0.05;
/// Share of time with all tasks stalled at once, from which PSI votes [`Level::Emergency`].
/// systemd-oomd kills at 60 % for 30 s; Endless OS found 10 % to be too eager for killing.
pub const PSI_FULL_EMERGENCY: f64 = 0.20;
/// A PSI vote is left below this share of its threshold: stalls are small numbers, for which the ratios' band is too wide.
const PSI_RELEASE: f64 = 0.5;
/// The kernel brings the PSI totals up to date every 2 s (`PSI_FREQ` in kernel/sched/psi.c).
const PSI_WINDOW: Duration = Duration::from_secs(2);

/// Stalled time, over windows that are as short as the kernel's own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stall {
    /// When a window began, and the totals then; that of all tasks may be missing.
    anchor: Option<(Duration, u64, Option<u64>)>,
    share: Option<(f64, f64)>,
}

impl Stall {
    /// Forgets the window: the time since then was not watched.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Shares of time that some and that all tasks stalled: over the last window of the totals, which is
    /// quicker than the kernel's 10 s average; from that average until there is a window.
    pub(crate) fn read(&mut self, now: Duration, psi: &PsiMemory) -> Reading<(f64, f64)> {
        let average = || {
            let share = |reading: Reading<f64>| reading.ok().filter(|share| share.is_finite());
            let some = psi.some.avg10?;
            if !some.is_finite() {
                return Err(Absent::Implausible);
            }
            Ok((some, share(psi.full.avg10).unwrap_or(0.0)))
        };
        let Ok(some) = psi.some.total_us else {
            self.forget();
            return average();
        };
        let full = psi.full.total_us.ok();
        let Some((since, some_before, full_before)) = self.anchor else {
            self.anchor = Some((now, some, full));
            return average();
        };
        let went_back = full.zip(full_before).is_some_and(|(now, before)| now < before);
        if some < some_before || went_back {
            self.forget();
            self.anchor = Some((now, some, full));
            return average();
        }
        let elapsed = now.saturating_sub(since);
        if elapsed >= PSI_WINDOW {
            let share = |now: u64, before: u64| {
                ((now - before) as f64 / elapsed.as_micros() as f64).min(1.0)
            };
            // A total that was missing at either end says nothing of the time between.
            let all = full.zip(full_before).map_or(0.0, |(now, before)| share(now, before));
            self.share = Some((share(some, some_before), all));
            self.anchor = Some((now, some, full));
        }
        self.share.map_or_else(average, Ok)
    }
}

/// The vote of stalled time, given the vote before.
pub(crate) fn stalled(before: Level, (some, full): (f64, f64)) -> Vote {
    let holds = |level: Level, share: f64, threshold: f64| {
        share >= threshold || (before >= level && share >= threshold * PSI_RELEASE)
    };
    let (level, value, threshold) = if holds(Level::Emergency, full, PSI_FULL_EMERGENCY) {
        (Level::Emergency, full, PSI_FULL_EMERGENCY)
    } else if holds(Level::Critical, full, PSI_FULL_CRITICAL) {
        (Level::Critical, full, PSI_FULL_CRITICAL)
    } else if holds(Level::Warning, some, PSI_SOME_WARNING) {
        (Level::Warning, some, PSI_SOME_WARNING)
    } else {
        (Level::Normal, some, PSI_SOME_WARNING)
    };
    Vote { level, value: Some(value), measure: Measure::Stalled, threshold }
}

/// Share of stalled time from which on `level` is voted for.
pub(crate) fn stall_threshold(level: Level) -> f64 {
    match level {
        Level::Unknown | Level::Normal | Level::Warning => PSI_SOME_WARNING,
        Level::Critical => PSI_FULL_CRITICAL,
        Level::Emergency => PSI_FULL_EMERGENCY,
    }
}

/// Share of stalled time below which `level` is no longer voted for.
pub(crate) fn stall_release(level: Level) -> f64 {
    stall_threshold(level) * PSI_RELEASE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_missing_once_is_no_stall_since_boot() {
        let mut stall = Stall::default();
        let mut psi = PsiMemory::default();
        (psi.some.avg10, psi.full.avg10) = (Ok(0.0), Ok(0.0));
        let hour = 3_600_000_000;
        for second in 0..10 {
            psi.some.total_us = Ok(hour);
            psi.full.total_us = if second == 0 { Err(Absent::Malformed) } else { Ok(hour) };
            let shares = stall.read(Duration::from_secs(second), &psi);
            assert_eq!(shares, Ok((0.0, 0.0)), "after {second} s");
        }
    }
}
