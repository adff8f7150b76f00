//! How much has grown since a leak began.

use super::Judge;
use crate::known::Known;
use crate::season::{Season, season};
use crate::verdict::Trend;
use crate::window::{Bucket, median};

/// The levels at both ends are those of this share of the time between them, unless that is a cycle.
const END: f64 = 1.0 / 60.0;
/// or of as many sampling intervals, if that is more.
const END_INTERVALS: f64 = 5.0;
/// The ends are no longer than this share, cycle or not: they must not overlap.
const END_MOST: f64 = 0.5;
/// How growth ran before a time is told from this share of a cycle on: had it begun there, the cycle from the start on would have
/// risen by a quarter less than growth all along does,
const LEAST_BEFORE: f64 = 0.5;
/// and more than this share off tells so.
const EVEN: f64 = 0.15;

impl Judge {
    /// Bytes that have grown since `since` at `rate`. Under a cycle two levels differ by their phase, too: where one was found,
    /// they are those of a whole cycle, or the rate tells.
    pub(crate) fn leaked(
        &self,
        known: &Known,
        since: f64,
        season: Option<&Season>,
        rate: Trend,
    ) -> f64 {
        let lasted = self.history.end() - since;
        if let Some(season) = season.filter(|season| repeats(season.cycle, lasted)) {
            // Not the median: under a slope, that of a cycle is a matter of where it is cut.
            return self.rise(since, season.cycle, mean);
        }
        if self.hit.is_some_and(|hit| hit.season.is_some()) {
            return rate.bytes_per_second * lasted;
        }
        let short = (END * lasted).max(END_INTERVALS * known.interval());
        self.rise(since, short.min(END_MOST * lasted), median)
    }

    /// The cycle of the history, unless what grows is known from something else and has not lasted for two of them.
    pub(crate) fn season(&self, known: &Known) -> Option<Season> {
        let counts = |season: &Season| {
            self.hit.is_none_or(|hit| {
                hit.season.is_some()
                    || repeats(season.cycle, self.history.end() - self.grown_from())
            })
        };
        season(&self.history, known.least_growth).filter(counts)
    }

    /// Whether what `season` repeats has risen from the start of the history on, `at` seconds and all, by as much in each
    /// cycle: then it grew before `at`, too, and the window that began there showed a matter of phase.
    pub(super) fn rose_before(&self, season: &Season, at: f64) -> bool {
        let (start, end, cycle) = (self.history.origin(), self.history.end(), season.cycle);
        let middle = at.min(end - 2.0 * cycle);
        if middle - start < LEAST_BEFORE * cycle {
            return false;
        }
        let level = |from: f64| self.level_around(from, from + cycle, mean);
        let ends = level(start).zip(level(end - cycle));
        let Some((((t0, first), (t2, last)), (t1, middle))) = ends.zip(level(middle)) else {
            return false;
        };
        let even = (last - first) * (t1 - t0) / (t2 - t0);
        even > 0.0 && (middle - first - even).abs() < EVEN * even
    }

    /// The rise from `since` to now, in bytes, by the levels of as many seconds at both ends: each is that of its middle, so that
    /// they lie less far apart than the ends.
    fn rise(&self, since: f64, part: f64, level: impl Fn(&mut [f64]) -> f64) -> f64 {
        let now = self.history.end();
        let part = part.max(self.history.width());
        let first = self.level_around(since, since + part, &level);
        let last = self.level_around(now - part, now, &level);
        let Some(((from, before), (to, after))) = first.zip(last) else { return 0.0 };
        let share = (to - from) / (now - since);
        if share > END_MOST { (after - before) / share } else { after - before }
    }

    /// The middle of the time from `from` to `to` that has samples, and the level there.
    fn level_around(
        &self,
        from: f64,
        to: f64,
        level: impl Fn(&mut [f64]) -> f64,
    ) -> Option<(f64, f64)> {
        let buckets = self.history.since(from);
        let at = |bucket: &Bucket| self.history.middle(bucket);
        let buckets = &buckets[..buckets.partition_point(|bucket| at(bucket) <= to)];
        let middle = f64::midpoint(at(buckets.first()?), at(buckets.last()?));
        let mut means: Vec<f64> = buckets.iter().map(|bucket| bucket.mean).collect();
        Some((middle, level(&mut means)))
    }
}

fn mean(values: &mut [f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Whether what has `lasted` for some seconds holds two cycles.
fn repeats(cycle: f64, lasted: f64) -> bool {
    cycle <= END_MOST * lasted
}
