//! How long the memory lasts at the present growth.

use std::time::Duration;

use super::Vote;
use crate::level::{Level, Measure};

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

/// Time to exhaustion from the recent course of the highest ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forecast {
    points: [(f64, f64); FORECAST_SAMPLES],
    /// Points seen since the window began; the newest is at `(count - 1) % FORECAST_SAMPLES`.
    count: usize,
    /// What the points are ratios of.
    of: Of,
}

/// No limit, or none that was read.
const NONE: u64 = u64::MAX;

/// What a ratio is the highest of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of {
    /// The limit of each ratio that reported, machine, cgroup, budget; plain numbers, for they are compared on each sample.
    limits: [u64; 3],
    /// Which ancestor the cgroup's limit is of.
    depth: u64,
}

impl Of {
    /// Nothing yet, of a cgroup whose limit is that of the ancestor at `depth`.
    pub(crate) fn new(depth: Option<u64>) -> Self {
        Self { limits: [NONE; 3], depth: depth.unwrap_or(NONE) }
    }

    /// The ratio at `index` reported.
    pub(crate) fn report(&mut self, index: usize, limit: u64) {
        if let Some(known) = self.limits.get_mut(index) {
            *known = limit.min(NONE - 1);
        }
    }

    /// Whether none reported.
    pub(crate) fn is_empty(&self) -> bool {
        self.limits == [NONE; 3]
    }

    /// Whether its ratios continue those of `before`. A limit that somebody changed moves a ratio while memory stands
    /// still; that another ancestor binds now changes the limit and not the course.
    #[inline]
    fn continues(&self, before: &Self) -> bool {
        self.limits == before.limits || self.differs_by_the_ancestor(before)
    }

    #[cold]
    fn differs_by_the_ancestor(&self, before: &Self) -> bool {
        let ([machine, cgroup, budget], [machine_before, cgroup_before, budget_before]) =
            (self.limits, before.limits);
        machine == machine_before
            && budget == budget_before
            && cgroup != NONE
            && cgroup_before != NONE
            && self.depth != before.depth
    }
}

impl Default for Forecast {
    fn default() -> Self {
        Self { points: [(0.0, 0.0); FORECAST_SAMPLES], count: 0, of: Of::new(None) }
    }
}

impl Forecast {
    /// Adds the highest ratio at `now`. `of` tells which ratios reported, of which limits: others are another curve.
    ///
    /// What was `evicted` since the point before lowers all points before: it made room, and says nothing
    /// about how fast the room fills.
    pub(crate) fn push(&mut self, now: Duration, ratio: f64, of: Of, evicted: bool) {
        if !of.continues(&self.of) {
            self.count = 0;
        }
        self.of = of;
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
        let seconds = if ratio >= FORECAST_FROM { self.seconds_left() } else { None };
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
        let pair = |i| (self.at(i), self.at(i + HALF));
        // Told before anything is divided: on most samples there is no trend.
        if (0..HALF).map(pair).filter(|((t0, u0), (t1, u1))| u1 <= u0 || t1 <= t0).count() > 1 {
            return None;
        }
        let mut slopes = [0.0; HALF];
        for (i, slope) in slopes.iter_mut().enumerate() {
            let ((t0, u0), (t1, u1)) = pair(i);
            // Samples are pushed with rising times; should two be equal, there is no slope to speak of.
            *slope = if t1 > t0 { (u1 - u0) / (t1 - t0) } else { 0.0 };
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
