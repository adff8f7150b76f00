//! What a figure was over a long time, in bounded memory.

use std::collections::VecDeque;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::growth::slope;

/// So many points are kept as they are; older ones are gathered into buckets. An hour at 1 s.
pub const RECENT_POINTS: usize = 3600;
/// So many buckets divide the retention: one a minute for 24 h.
pub const BUCKETS: u32 = 1440;
/// A bucket's median is exact up to so many points, and that of every second, fourth, .. point beyond.
const BUCKET_POINTS: usize = 1024;
/// Percentiles are good to 1 %.
const DIGITS: u8 = 2;
/// Values outside count as the nearest bound.
const LOWEST: u64 = 1 << 10;
const HIGHEST: u64 = 1 << 44;

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Point {
    /// On the samples' monotonic clock.
    pub at: Duration,
    /// Bytes.
    pub value: u64,
}

/// The points of a stretch of time, in three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Bucket {
    /// When the first of them was seen.
    pub first: Duration,
    /// When the last of them was seen.
    pub last: Duration,
    /// How many.
    pub count: u64,
    /// Bytes.
    pub min: u64,
    /// Bytes.
    pub median: u64,
    /// Bytes.
    pub max: u64,
}

/// A figure in bytes over time: all points of late, buckets before, and their distribution since the beginning.
///
/// At most 300 KiB, whatever the interval and the retention.
#[derive(Clone, Debug)]
pub struct History {
    retention: Duration,
    recent: VecDeque<Point>,
    buckets: VecDeque<Bucket>,
    filling: Filling,
    distribution: Option<Histogram<u64>>,
    sum: u128,
    min: u64,
    max: u64,
    count: u64,
}

/// The bucket being filled.
#[derive(Clone, Debug, Default)]
struct Filling {
    bucket: Option<Bucket>,
    values: Vec<u64>,
    /// One of so many points is kept for the median.
    stride: u64,
}

/// Everything a [`History`] says in numbers: of all values since the beginning, also those that the retention has let go;
/// only the growth is over what is retained. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Statistics {
    /// Values seen since the beginning.
    pub count: u64,
    /// The lowest.
    pub min: u64,
    /// The highest.
    pub max: u64,
    /// The mean.
    pub mean: f64,
    /// Half of the values were at most this (to 1 %, as all percentiles).
    pub p50: u64,
    /// Nine tenths were at most this.
    pub p90: u64,
    /// 95 % were at most this.
    pub p95: u64,
    /// 99 % were at most this.
    pub p99: u64,
    /// Growth over all that is retained, in bytes each second.
    pub growth_bytes_per_second: Option<f64>,
}

/// How many values fell into a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Bin {
    /// Bytes, within the range.
    pub from: u64,
    /// Bytes, above the range unless it is the last one.
    pub to: u64,
    /// Values.
    pub count: u64,
}

impl History {
    /// An empty history that forgets after `retention`.
    #[must_use]
    pub fn new(retention: Duration) -> Self {
        Self {
            retention,
            recent: VecDeque::new(),
            buckets: VecDeque::new(),
            filling: Filling::default(),
            // The bounds are constants that it accepts.
            distribution: Histogram::new_with_bounds(LOWEST, HIGHEST, DIGITS).ok(),
            sum: 0,
            min: u64::MAX,
            max: 0,
            count: 0,
        }
    }

    /// Adds a value. One from before the last is out of place, and only its value is counted.
    pub fn push(&mut self, at: Duration, value: u64) {
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(u128::from(value));
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if let Some(distribution) = &mut self.distribution {
            distribution.saturating_record(value.max(1));
        }
        if self.recent.back().is_none_or(|last| at >= last.at) {
            self.recent.push_back(Point { at, value });
        }
        while self.recent.len() > RECENT_POINTS {
            let Some(point) = self.recent.pop_front() else { break };
            let width = self.retention / BUCKETS;
            if let Some(full) = self.filling.add(point, width) {
                self.buckets.push_back(full);
            }
        }
        self.forget(at);
    }

    /// Changes how long is remembered.
    pub fn retain_for(&mut self, retention: Duration) {
        self.retention = retention;
        if let Some(last) = self.recent.back().map(|last| last.at) {
            self.forget(last);
        }
    }

    fn forget(&mut self, now: Duration) {
        let oldest = now.saturating_sub(self.retention);
        while self.recent.front().is_some_and(|point| point.at < oldest) {
            self.recent.pop_front();
        }
        // Widths follow the retention, so after a change there may be too many of the old ones.
        while self.buckets.front().is_some_and(|bucket| bucket.last < oldest)
            || self.buckets.len() > BUCKETS as usize
        {
            self.buckets.pop_front();
        }
    }

    /// The points of late, in order.
    pub fn recent(&self) -> impl Iterator<Item = Point> + Clone {
        self.recent.iter().copied()
    }

    /// What was before them, in order.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + Clone {
        self.buckets.iter().copied().chain(self.filling.so_far())
    }

    /// The value below or at which `percent` of all values since the beginning lie, to 1 %; `None` before the first.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        let distribution = self.distribution.as_ref().filter(|_| self.count > 0)?;
        let percent = if percent.is_finite() { percent.clamp(0.0, 100.0) } else { return None };
        // It answers with the upper edge of a step, and knows nothing outside its bounds.
        Some(distribution.value_at_percentile(percent).clamp(self.min, self.max))
    }

    /// Growth over the last `window`, in bytes each second.
    #[must_use]
    pub fn growth(&self, window: Duration) -> Option<f64> {
        let newest = self.recent.back()?.at;
        let from = newest.saturating_sub(window);
        let seconds = move |at: Duration| at.as_secs_f64() - from.as_secs_f64();
        let old = self.buckets().filter(move |bucket| bucket.first >= from).map(move |bucket| {
            let middle = (seconds(bucket.first) + seconds(bucket.last)) / 2.0;
            (middle, bucket.median as f64, bucket.count as f64)
        });
        let new = self.recent().filter(move |point| point.at >= from);
        slope(old.chain(new.map(move |point| (seconds(point.at), point.value as f64, 1.0))))
    }

    /// All numbers at once; `None` before the first value.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        let percentile = |percent| self.percentile(percent);
        Some(Statistics {
            count: self.count,
            min: self.min,
            max: self.max,
            mean: self.sum as f64 / self.count as f64,
            p50: percentile(50.0)?,
            p90: percentile(90.0)?,
            p95: percentile(95.0)?,
            p99: percentile(99.0)?,
            growth_bytes_per_second: self.growth(self.retention),
        })
    }

    /// The distribution of all values over `bins` ranges of equal width, from the lowest to the highest.
    #[must_use]
    pub fn histogram(&self, bins: usize) -> Vec<Bin> {
        let Some(distribution) = self.distribution.as_ref().filter(|_| self.count > 0) else {
            return Vec::new();
        };
        let bins = bins.clamp(1, 1000) as u64;
        let width = ((self.max - self.min) / bins).saturating_add(1);
        let edge = |n: u64| self.min.saturating_add(width.saturating_mul(n));
        let mut list: Vec<Bin> = (0..bins)
            .map(|n| Bin { from: edge(n), to: edge(n + 1).min(self.max), count: 0 })
            .collect();
        list.retain(|bin| bin.from <= self.max);
        for step in distribution.iter_recorded() {
            let value = step.value_iterated_to().clamp(self.min, self.max);
            let index = usize::try_from((value - self.min) / width).unwrap_or(usize::MAX);
            if let Some(bin) = list.get_mut(index) {
                bin.count = bin.count.saturating_add(step.count_at_value());
            }
        }
        list
    }
}

impl Filling {
    /// Adds a point; gives the bucket that it closes.
    fn add(&mut self, point: Point, width: Duration) -> Option<Bucket> {
        let full = match &mut self.bucket {
            Some(bucket) if point.at.saturating_sub(bucket.first) < width => {
                bucket.last = point.at;
                bucket.min = bucket.min.min(point.value);
                bucket.max = bucket.max.max(point.value);
                bucket.count = bucket.count.saturating_add(1);
                None
            }
            _ => {
                let full = self.so_far();
                let Point { at, value } = point;
                self.bucket = Some(Bucket {
                    first: at,
                    last: at,
                    count: 1,
                    min: value,
                    median: value,
                    max: value,
                });
                self.values.clear();
                self.stride = 1;
                full
            }
        };
        let count = self.bucket.map_or(0, |bucket| bucket.count);
        if (count.saturating_sub(1)).is_multiple_of(self.stride.max(1)) {
            if self.values.len() >= BUCKET_POINTS {
                let mut kept = false;
                self.values.retain(|_| {
                    kept = !kept;
                    kept
                });
                self.stride = self.stride.saturating_mul(2);
            }
            self.values.push(point.value);
        }
        full
    }

    fn so_far(&self) -> Option<Bucket> {
        let mut bucket = self.bucket?;
        let mut values = self.values.clone();
        if !values.is_empty() {
            let middle = values.len() / 2;
            bucket.median = *values.select_nth_unstable(middle).1;
        }
        Some(bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const DAY: Duration = Duration::from_secs(86_400);

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_day_at_one_second_is_kept_in_points_and_minutes() {
        let mut history = History::new(DAY);
        for n in 0..3 * 86_400 {
            history.push(second(n), 100 * MIB + n);
        }
        assert_eq!(history.recent().count(), RECENT_POINTS);
        let buckets: Vec<_> = history.buckets().collect();
        assert!(buckets.len() >= 1379 && buckets.len() <= BUCKETS as usize, "{}", buckets.len());
        assert!(buckets.iter().all(|bucket| bucket.count <= 60));
        let first = buckets[1];
        assert_eq!((first.max - first.min, first.median), (59, first.min + 30));
        assert!(buckets[0].last >= second(2 * 86_400 - 1), "nothing older than the retention");
        let growth = history.growth(DAY).unwrap();
        assert!((growth - 1.0).abs() < 0.01, "{growth}");
        assert!(memory_of(&history) < 300 << 10, "{}", memory_of(&history));
    }

    #[test]
    fn the_shortest_interval_takes_no_more_memory() {
        let mut history = History::new(DAY);
        for n in 0..300_000 {
            history.push(Duration::from_millis(5 * n), n);
        }
        assert!(memory_of(&history) < 300 << 10, "{}", memory_of(&history));
        let bucket = history.buckets().nth(3).unwrap();
        let middle = bucket.min.midpoint(bucket.max);
        assert!(bucket.median.abs_diff(middle) <= (bucket.max - bucket.min) / 100, "{bucket:?}");
    }

    fn memory_of(history: &History) -> usize {
        let distribution = history.distribution.as_ref().unwrap();
        history.recent.capacity() * size_of::<Point>()
            + history.buckets.capacity() * size_of::<Bucket>()
            + history.filling.values.capacity() * 8
            + distribution.distinct_values() * 8
    }

    #[test]
    fn statistics_say_what_was_seen() {
        assert_eq!(History::new(DAY).statistics(), None);
        let mut history = History::new(DAY);
        for n in 1..=100 {
            history.push(second(n), n * MIB);
        }
        let statistics = history.statistics().unwrap();
        assert_eq!((statistics.count, statistics.min, statistics.max), (100, MIB, 100 * MIB));
        assert!((statistics.mean - 50.5 * MIB as f64).abs() < 1.0);
        assert!(statistics.p50.abs_diff(50 * MIB) <= MIB / 2, "{}", statistics.p50);
        assert!(statistics.p99.abs_diff(99 * MIB) <= MIB, "{}", statistics.p99);
        let growth = statistics.growth_bytes_per_second.unwrap();
        assert!((growth - MIB as f64).abs() < 1.0, "{growth}");
        let bins = history.histogram(10);
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 100);
        assert!(bins.iter().all(|bin| bin.count.abs_diff(10) <= 1), "{bins:?}");
    }

    #[test]
    fn a_shorter_retention_takes_effect_at_once() {
        let mut history = History::new(DAY);
        for n in 0..10_000 {
            history.push(second(n), n);
        }
        history.retain_for(second(60));
        assert_eq!((history.recent().count(), history.buckets.len()), (61, 0));
    }

    proptest! {
        #[test]
        fn numbers_stay_in_order_whatever_comes(
            steps in prop::collection::vec((0u64..1_000_000, any::<u64>()), 1..400), seconds in 0u64..100_000,
        ) {
            let mut history = History::new(second(seconds));
            for (at, value) in &steps {
                history.push(Duration::from_millis(*at), *value);
            }
            let s = history.statistics().unwrap();
            prop_assert!(s.min <= s.p50 && s.p50 <= s.p90 && s.p90 <= s.p95 && s.p95 <= s.p99 && s.p99 <= s.max);
            prop_assert_eq!(s.count, steps.len() as u64);
            prop_assert!(s.growth_bytes_per_second.is_none_or(f64::is_finite));
            for bucket in history.buckets() {
                prop_assert!(bucket.min <= bucket.median && bucket.median <= bucket.max);
            }
            prop_assert_eq!(history.histogram(7).iter().map(|bin| bin.count).sum::<u64>(), s.count);
        }
    }
}
