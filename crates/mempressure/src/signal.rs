//! What each signal reads from a sample. No signal knows of another; the machine weighs them.
//!
//! Everything here is pure: time and readings come from the sample.

use std::time::Duration;

use memtrack::{Absent, CgroupEvents, PsiMemory, Reading, Sample};

use crate::config::{BudgetConfig, Thresholds};
use crate::level::{Level, Measure, Signal};

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

/// Below this many seconds to exhaustion the forecast votes [`Level::Warning`].
pub const FORECAST_WARNING: f64 = 60.0;
/// Below this many seconds to exhaustion the forecast votes [`Level::Critical`].
pub const FORECAST_CRITICAL: f64 = 20.0;
/// Below this many seconds to exhaustion the forecast votes [`Level::Emergency`].
pub const FORECAST_EMERGENCY: f64 = 5.0;
/// While less than this is used, growth is no reason to worry: a service that starts up grows.
const FORECAST_FROM: f64 = 0.5;
/// Samples in the window of the forecast. A count and not a time, so that the window follows the sampler,
/// which samples faster when growth is faster.
const FORECAST_SAMPLES: usize = 16;
/// A slope says nothing about a time much longer than the one it was seen over.
const FORECAST_REACH: f64 = 8.0;

/// Why a signal does not vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Abstains {
    /// The configuration does not name it.
    #[error("switched off")]
    Off,
    /// A reading that it needs is absent.
    #[error("{0}")]
    Absent(Absent),
    /// It has not seen enough samples yet.
    #[error("gathering samples")]
    Gathering,
}

/// What one signal says now.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SignalStatus {
    /// Which signal.
    pub signal: Signal,
    /// The level it votes for; `None` when it abstains.
    pub vote: Option<Level>,
    /// What it reads.
    pub value: Option<f64>,
    /// What `value` and `threshold` count.
    pub measure: Measure,
    /// The threshold of the level it votes for, or of [`Level::Warning`] while it votes for less.
    pub threshold: Option<f64>,
    /// Why there is no fresh reading, when there is none.
    pub absent: Option<Abstains>,
    /// The vote is that of an earlier sample. It stands for three samples without a reading, then it expires.
    pub stale: bool,
}

impl SignalStatus {
    pub(crate) fn silent(signal: Signal, why: Abstains) -> Self {
        let measure = match signal {
            Signal::System | Signal::Cgroup | Signal::Budget => Measure::Ratio,
            Signal::Psi => Measure::Stalled,
            Signal::Forecast => Measure::SecondsLeft,
        };
        let (vote, value, threshold, absent) = (None, None, None, Some(why));
        Self { signal, vote, value, measure, threshold, absent, stale: false }
    }
}

/// A fresh vote with its evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Vote {
    pub(crate) level: Level,
    pub(crate) value: Option<f64>,
    pub(crate) measure: Measure,
    pub(crate) threshold: f64,
}

/// Memory in use against what there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

impl Usage {
    /// Used over limit. A limit of 0 is legal in a cgroup and means that nothing may be used.
    pub(crate) fn ratio(self) -> f64 {
        if self.limit == 0 { 1.0 } else { self.used as f64 / self.limit as f64 }
    }
}

/// The machine: all memory that is not available.
pub(crate) fn system(sample: &Sample) -> Reading<Usage> {
    let (limit, available) = (sample.system.total?, sample.system.available?);
    if limit == 0 || available > limit {
        return Err(Absent::Implausible);
    }
    Ok(Usage { used: limit - available, limit })
}

/// The binding cgroup: working set against the hard limit.
pub(crate) fn cgroup(sample: &Sample) -> Reading<Usage> {
    Ok(Usage { limit: sample.cgroup.limit?, used: sample.cgroup.working_set()? })
}

/// The binding cgroup: working set against the throttling limit.
pub(crate) fn cgroup_high(sample: &Sample) -> Reading<Usage> {
    Ok(Usage { limit: sample.cgroup.high?, used: sample.cgroup.working_set()? })
}

/// The process against its own budget.
pub(crate) fn budget(sample: &Sample, budget: &BudgetConfig) -> Reading<Usage> {
    let limit = budget_total(sample, budget)?;
    Ok(Usage { limit, used: sample.process.footprint()? })
}

/// The budget in bytes; a percentage is one of the cgroup limit, else of the machine's memory.
pub(crate) fn budget_total(sample: &Sample, budget: &BudgetConfig) -> Reading<u64> {
    let limit = sample.cgroup.limit.or(sample.system.total);
    budget.total.resolve(limit.ok()).ok_or(limit.err().unwrap_or(Absent::NotRead))
}

/// The thresholds of the budget, in the levels' words.
pub(crate) fn budget_thresholds(budget: &BudgetConfig) -> Thresholds {
    Thresholds { warning: budget.warning, critical: budget.prompt, emergency: budget.emergency }
}

impl Thresholds {
    /// The threshold of `level`; that of [`Level::Warning`] for the levels below.
    #[must_use]
    pub fn of(&self, level: Level) -> f64 {
        match level {
            Level::Unknown | Level::Normal | Level::Warning => self.warning,
            Level::Critical => self.critical,
            Level::Emergency => self.emergency,
        }
    }
}

/// The level of a ratio, given the level it voted for before: a level is entered at its threshold and left
/// only below threshold - band. Rising in `ratio` and in `before`.
pub(crate) fn banded(before: Level, ratio: f64, thresholds: &Thresholds, band: f64) -> Level {
    let holds = |level: Level| {
        let threshold = thresholds.of(level);
        ratio >= threshold || (before >= level && ratio >= threshold - band)
    };
    Level::RAISED.into_iter().rev().find(|level| holds(*level)).unwrap_or(Level::Normal)
}

/// Times the kernel refused memory since the sample before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    max: Option<u64>,
    oom: Option<u64>,
}

impl Refusals {
    /// How often since the last call usage ran into the hard limit, and how often that ended out of memory.
    /// A counter that appears or goes back (another cgroup) counts from there on.
    pub(crate) fn since(&mut self, events: &CgroupEvents) -> (u64, u64) {
        let oom = match (events.oom.ok(), events.oom_kill.ok()) {
            (None, None) => None,
            (oom, kill) => Some(oom.unwrap_or(0).saturating_add(kill.unwrap_or(0))),
        };
        let max = events.max.ok();
        let rise = |before: Option<u64>, now: Option<u64>| match (before, now) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        };
        let rises = (rise(self.max, max), rise(self.oom, oom));
        *self = Self { max, oom };
        rises
    }
}

/// Stalled time, over windows that are as short as the kernel's own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stall {
    anchor: Option<(Duration, u64, u64)>,
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
        let full = psi.full.total_us.unwrap_or(0);
        let Some((since, some_before, full_before)) = self.anchor else {
            self.anchor = Some((now, some, full));
            return average();
        };
        if some < some_before || full < full_before {
            self.forget();
            self.anchor = Some((now, some, full));
            return average();
        }
        let elapsed = now.saturating_sub(since);
        if elapsed >= PSI_WINDOW {
            let share = |now: u64, before: u64| {
                ((now - before) as f64 / elapsed.as_micros() as f64).min(1.0)
            };
            self.share = Some((share(some, some_before), share(full, full_before)));
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

/// Time to exhaustion from the recent course of the highest ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forecast {
    points: [(f64, f64); FORECAST_SAMPLES],
    /// Points seen since the window began; the newest is at `(count - 1) % FORECAST_SAMPLES`.
    count: usize,
    /// Which ratios the points are the highest of.
    of: u8,
}

impl Default for Forecast {
    fn default() -> Self {
        Self { points: [(0.0, 0.0); FORECAST_SAMPLES], count: 0, of: 0 }
    }
}

impl Forecast {
    /// Adds the highest ratio at `now`. `of` tells which ratios reported: another set is another curve.
    ///
    /// What was `evicted` since the point before lowers all points before: it made room, and says nothing
    /// about how fast the room fills.
    pub(crate) fn push(&mut self, now: Duration, ratio: f64, of: u8, evicted: bool) {
        if of != self.of {
            self.of = of;
            self.count = 0;
        }
        if evicted && self.count > 0 {
            let newest = self.points[(self.count - 1) % FORECAST_SAMPLES].1;
            let fall = (newest - ratio).max(0.0);
            self.points.iter_mut().for_each(|point| point.1 -= fall);
        }
        self.points[self.count % FORECAST_SAMPLES] = (now.as_secs_f64(), ratio);
        // Beyond two windows only the remainder matters; so the count never overflows.
        self.count += 1;
        if self.count == 2 * FORECAST_SAMPLES {
            self.count = FORECAST_SAMPLES;
        }
    }

    /// The vote of the window: `None` until it is full.
    pub(crate) fn vote(&self) -> Option<Vote> {
        if self.count < FORECAST_SAMPLES {
            return None;
        }
        let ratio = self.at(FORECAST_SAMPLES - 1).1;
        let seconds = self.seconds_left().filter(|_| ratio >= FORECAST_FROM);
        let level = match seconds {
            Some(left) if left < FORECAST_EMERGENCY => Level::Emergency,
            Some(left) if left < FORECAST_CRITICAL => Level::Critical,
            Some(left) if left < FORECAST_WARNING => Level::Warning,
            _ => Level::Normal,
        };
        let threshold = forecast_threshold(level);
        Some(Vote { level, value: seconds, measure: Measure::SecondsLeft, threshold })
    }

    /// (1 - ratio) / slope, where the slope is that of Theil's incomplete method: the median of the slopes
    /// between each point of the older half and its partner in the newer one. (H. Theil, 1950; the complete
    /// method takes all 120 pairs.) At most one of the eight may fail to rise: by the sign test a curve
    /// without a trend does so with p = 9/256.
    fn seconds_left(&self) -> Option<f64> {
        const HALF: usize = FORECAST_SAMPLES / 2;
        let mut slopes = [0.0; HALF];
        for (i, slope) in slopes.iter_mut().enumerate() {
            let ((t0, u0), (t1, u1)) = (self.at(i), self.at(i + HALF));
            // Samples are pushed with rising times; should two be equal, there is no slope to speak of.
            *slope = if t1 > t0 { (u1 - u0) / (t1 - t0) } else { 0.0 };
        }
        if slopes.iter().filter(|slope| **slope <= 0.0).count() > 1 {
            return None;
        }
        slopes.sort_unstable_by(f64::total_cmp);
        let slope = f64::midpoint(slopes[HALF / 2 - 1], slopes[HALF / 2]);
        let (newest, ratio) = self.at(FORECAST_SAMPLES - 1);
        let seen = newest - self.at(0).0;
        let left = (1.0 - ratio).max(0.0) / slope;
        (left.is_finite() && left <= seen * FORECAST_REACH).then_some(left)
    }

    /// The points in order of age, oldest first. Only for a full window.
    fn at(&self, i: usize) -> (f64, f64) {
        self.points[(self.count + i) % FORECAST_SAMPLES]
    }
}

/// Seconds left below which `level` is voted for.
pub(crate) fn forecast_threshold(level: Level) -> f64 {
    match level {
        Level::Unknown | Level::Normal | Level::Warning => FORECAST_WARNING,
        Level::Critical => FORECAST_CRITICAL,
        Level::Emergency => FORECAST_EMERGENCY,
    }
}

/// Share of stalled time from which on `level` is voted for.
pub(crate) fn stall_threshold(level: Level) -> f64 {
    match level {
        Level::Unknown | Level::Normal | Level::Warning => PSI_SOME_WARNING,
        Level::Critical => PSI_FULL_CRITICAL,
        Level::Emergency => PSI_FULL_EMERGENCY,
    }
}
