//! The bounded history of one segment, and equal-time windows over its end.

use crate::order;

/// Points in a window. All tests and models work on this many, so their designs are computed once.
pub(crate) const POINTS: usize = 48;
/// Buckets in a history: 24 KiB at 24 bytes each.
pub(crate) const CAPACITY: usize = 1024;
/// A window with fewer filled points than this is not evidence.
const LEAST_FILLED: usize = 12;

/// All samples of an equal stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Bucket {
    /// Which stretch, counted from the origin.
    pub(crate) index: u32,
    /// Samples in it.
    pub(crate) count: u32,
    /// Their mean, in bytes.
    pub(crate) mean: f64,
    /// The lowest of them, in bytes.
    pub(crate) low: f64,
}

/// A segment's samples in at most [`CAPACITY`] buckets of equal width, or fewer.
///
/// When time runs past the last bucket, neighbours merge and the width doubles: memory is constant and the cost of a
/// sample is O(1) amortised, whatever the uptime. Means and minima merge without bias, so that old and new buckets can be
/// compared; a quantile would not.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct History {
    /// Buckets that it may have.
    capacity: usize,
    /// Seconds of the first sample.
    origin: f64,
    /// Seconds of the last sample.
    end: f64,
    /// Seconds in a bucket; 0 until a second point in time is known.
    width: f64,
    samples: u64,
    /// The highest level, in bytes.
    high: f64,
    buckets: Vec<Bucket>,
}

/// The end of a history on [`POINTS`] equally spaced points.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Seconds it spans.
    pub(crate) span: f64,
    /// Points that had samples of their own; the others are interpolated.
    pub(crate) filled: usize,
    /// The middle level at each point, in bytes.
    pub(crate) level: [f64; POINTS],
    /// The low level at each point, in bytes.
    pub(crate) low: [f64; POINTS],
}

impl Default for History {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl History {
    /// An empty history of at most `capacity` buckets.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            origin: 0.0,
            end: 0.0,
            width: 0.0,
            samples: 0,
            high: 0.0,
            buckets: Vec::new(),
        }
    }

    /// Buckets of `width` seconds, however far apart the first samples are.
    pub(crate) fn of_width(self, width: f64) -> Self {
        Self { width: width.max(1e-3), ..self }
    }

    pub(crate) fn push(&mut self, t: f64, y: f64) {
        if self.samples == 0 {
            self.origin = t;
            self.buckets.push(Bucket { index: 0, count: 0, mean: y, low: y });
        } else if self.width == 0.0 && t > self.origin {
            self.width = (t - self.origin).max(1e-3);
        }
        self.samples = self.samples.saturating_add(1);
        self.high = self.high.max(y);
        self.end = t;
        let mut index = self.index_of(t);
        while index >= self.capacity as u64 {
            self.halve();
            index = self.index_of(t);
        }
        let index = index as u32;
        match self.buckets.last_mut() {
            Some(last) if last.index >= index => {
                last.count = last.count.saturating_add(1);
                last.mean += (y - last.mean) / f64::from(last.count);
                last.low = last.low.min(y);
            }
            _ => {
                if self.buckets.len() == self.buckets.capacity() {
                    // Never past the most there can be: a copy's capacity is no power of two, and would double past it.
                    let more = self.buckets.len().max(4).min(self.capacity - self.buckets.len());
                    self.buckets.reserve_exact(more);
                }
                self.buckets.push(Bucket { index, count: 1, mean: y, low: y });
            }
        }
    }

    /// Forgets all samples and keeps the room for new ones.
    pub(crate) fn clear(&mut self) {
        self.buckets.clear();
        let buckets = std::mem::take(&mut self.buckets);
        *self = Self { buckets, ..Self::with_capacity(self.capacity) };
    }

    fn index_of(&self, t: f64) -> u64 {
        if self.width > 0.0 { ((t - self.origin) / self.width).max(0.0) as u64 } else { 0 }
    }

    fn halve(&mut self) {
        self.width *= 2.0;
        let mut kept = 0;
        for read in 0..self.buckets.len() {
            let mut bucket = self.buckets[read];
            bucket.index /= 2;
            if kept > 0 && self.buckets[kept - 1].index == bucket.index {
                let into = &mut self.buckets[kept - 1];
                let count = into.count.saturating_add(bucket.count);
                into.mean +=
                    (bucket.mean - into.mean) * f64::from(bucket.count) / f64::from(count.max(1));
                into.low = into.low.min(bucket.low);
                into.count = count;
            } else {
                self.buckets[kept] = bucket;
                kept += 1;
            }
        }
        self.buckets.truncate(kept);
    }

    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Seconds from one sample to the next, in the mean; 0 before the second.
    pub(crate) fn interval(&self) -> f64 {
        self.span() / (self.samples.max(2) - 1) as f64
    }

    pub(crate) fn origin(&self) -> f64 {
        self.origin
    }

    pub(crate) fn end(&self) -> f64 {
        self.end
    }

    pub(crate) fn span(&self) -> f64 {
        self.end - self.origin
    }

    /// Seconds in a bucket.
    pub(crate) fn width(&self) -> f64 {
        self.width
    }

    /// The level at its start, in bytes.
    pub(crate) fn start(&self) -> Option<f64> {
        self.buckets.first().map(|bucket| bucket.mean)
    }

    pub(crate) fn high(&self) -> f64 {
        self.high
    }

    #[cfg(feature = "worker")]
    pub(crate) fn is_sound(&self) -> bool {
        (1..=CAPACITY).contains(&self.capacity)
            && self.buckets.len() <= self.capacity
            && self.buckets.is_sorted_by(|a, b| a.index < b.index)
            && self
                .buckets
                .iter()
                .all(|bucket| (bucket.index as usize) < self.capacity && bucket.count > 0)
            && self.origin.is_finite()
            && self.end.is_finite()
            && self.width.is_finite()
            && self.width >= 0.0
            && (self.samples == 0) == self.buckets.is_empty()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    pub(crate) fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Seconds of the middle of a bucket; the last one is as long as it has been filled.
    pub(crate) fn middle(&self, bucket: &Bucket) -> f64 {
        let start = self.origin + f64::from(bucket.index) * self.width;
        let end = start + self.width;
        let end = if end > self.end { self.end.max(start) } else { end };
        // Not `f64::midpoint`: seconds do not overflow, and a look asks for thousands.
        (start + end) / 2.0
    }

    /// Seconds up to the end for which the level has stood above `bytes`.
    pub(crate) fn stood_above(&self, bytes: f64) -> f64 {
        let below = self.buckets.iter().rev().find(|bucket| bucket.mean <= bytes);
        let since = below.map_or(self.origin, |bucket| {
            self.origin + (f64::from(bucket.index) + 1.0) * self.width
        });
        (self.end - since).max(0.0)
    }

    /// Buckets whose middle lies at or after `from`.
    pub(crate) fn since(&self, from: f64) -> &[Bucket] {
        let start = self.buckets.partition_point(|bucket| self.middle(bucket) < from);
        &self.buckets[start..]
    }

    /// The median of the bucket means since `from`, or of the last bucket when there are none.
    pub(crate) fn level_since(&self, from: f64, share: f64) -> Option<f64> {
        let mut means: Vec<f64> = self.since(from).iter().map(|bucket| bucket.mean).collect();
        if means.is_empty() {
            return self.buckets.last().map(|bucket| bucket.mean);
        }
        let at = ((means.len() - 1) as f64 * share.clamp(0.0, 1.0)) as usize;
        Some(*means.select_nth_unstable_by(at, f64::total_cmp).1)
    }

    /// The median of the bucket means from `from` up to `to`; `None` when there are none.
    pub(crate) fn level_between(&self, from: f64, to: f64) -> Option<f64> {
        let buckets = self.since(from);
        let end = buckets.partition_point(|bucket| self.middle(bucket) <= to);
        let mut means: Vec<f64> = buckets[..end].iter().map(|bucket| bucket.mean).collect();
        (!means.is_empty()).then(|| median(&mut means))
    }

    /// The lowest level from `from` up to `to`, in bytes; `None` when there is none.
    pub(crate) fn floor_between(&self, from: f64, to: f64) -> Option<f64> {
        let buckets = self.since(from);
        let end = buckets.partition_point(|bucket| self.middle(bucket) <= to);
        buckets[..end].iter().map(|bucket| bucket.low).min_by(f64::total_cmp)
    }

    /// The last seconds from `from` on, on equally spaced points; `None` when too few of them have samples.
    pub(crate) fn window(&self, from: f64) -> Option<Window> {
        self.stretch(from, self.end)
    }

    /// The seconds from `from` to `to` on equally spaced points; `None` when too few of them have samples.
    pub(crate) fn stretch(&self, from: f64, to: f64) -> Option<Window> {
        let span = to - from;
        if span <= 0.0 || from < self.origin - 0.5 * span / POINTS as f64 {
            return None;
        }
        let buckets = self.since(from);
        let end = buckets.partition_point(|bucket| self.middle(bucket) <= to);
        let (buckets, scale) = (&buckets[..end], POINTS as f64 / span);
        let place = |at: usize| (self.middle(&buckets[at]) - from) * scale;
        let mut points = [Point::default(); POINTS];
        let (mut filled, mut at) = (0, 0);
        while at < buckets.len() && filled < POINTS {
            let (first, mut here, mut time, mut low) = (at, place(at), 0.0, f64::INFINITY);
            let point = here.max(0.0) as usize + 1;
            let next = if point < POINTS { point as f64 } else { f64::INFINITY };
            while here < next {
                time += here;
                low = if buckets[at].low < low { buckets[at].low } else { low };
                at += 1;
                here = if at < buckets.len() { place(at) } else { f64::INFINITY };
            }
            let all = &buckets[first..at];
            points[filled] = Point { x: time / all.len() as f64, level: middle_level(all), low };
            filled += 1;
        }
        (filled >= LEAST_FILLED).then(|| Window::between(&points[..filled], span))
    }
}

/// What the samples of one point show.
#[derive(Clone, Copy, Default)]
struct Point {
    /// Where they lie on average, in points.
    x: f64,
    level: f64,
    low: f64,
}

impl Window {
    /// Values at the middles of the points, from those that have samples; flat beyond the ends.
    fn between(points: &[Point], span: f64) -> Self {
        let (mut level, mut low) = ([0.0; POINTS], [0.0; POINTS]);
        let mut right = 0;
        for (k, (level, low)) in level.iter_mut().zip(&mut low).enumerate() {
            let center = k as f64 + 0.5;
            while right < points.len() && points[right].x < center {
                right += 1;
            }
            (*level, *low) =
                match (right.checked_sub(1).map(|left| points[left]), points.get(right)) {
                    (Some(a), Some(b)) => {
                        let share = if b.x > a.x { (center - a.x) / (b.x - a.x) } else { 1.0 };
                        (a.level + (b.level - a.level) * share, a.low + (b.low - a.low) * share)
                    }
                    (Some(only), None) => (only.level, only.low),
                    (None, only) => only.map_or((0.0, 0.0), |only| (only.level, only.low)),
                };
        }
        Self { span, filled: points.len(), level, low }
    }
}

/// The median of the means of buckets.
fn middle_level(buckets: &[Bucket]) -> f64 {
    let mut few = [0.0; NETWORK];
    if buckets.len() > NETWORK {
        return median(&mut buckets.iter().map(|bucket| bucket.mean).collect::<Vec<_>>());
    }
    for (mean, bucket) in few.iter_mut().zip(buckets) {
        *mean = bucket.mean;
    }
    median(&mut few[..buckets.len()])
}

/// Up to so many numbers have their median by insertion without branches,
const FEW: usize = 14;
/// and up to so many are sorted as an array of this length: integers, as fast as a network of comparisons goes.
const NETWORK: usize = 24;

/// The number of rank `n / 2` among `n`, and the one before it.
fn middle_two(values: &mut [f64]) -> (f64, f64) {
    let middle = values.len() / 2;
    if values.len() <= FEW {
        // The lower half and one more, in order.
        let mut least = [f64::INFINITY; FEW / 2 + 1];
        for &value in &*values {
            let mut rest = value;
            for kept in &mut least[..=middle] {
                let less = if rest < *kept { rest } else { *kept };
                rest = if rest < *kept { *kept } else { rest };
                *kept = less;
            }
        }
        return (least[middle.saturating_sub(1)], least[middle]);
    }
    if values.len() <= NETWORK {
        let mut keys = [i64::MAX; NETWORK];
        for (key, value) in keys.iter_mut().zip(&*values) {
            *key = order::key(*value);
        }
        keys.sort_unstable();
        return (order::value(keys[middle - 1]), order::value(keys[middle]));
    }
    let (left, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    (left.iter().copied().fold(f64::NEG_INFINITY, f64::max), upper)
}

/// The median; the mean of the middle two for an even count; 0 for none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let (lower, upper) = middle_two(values);
    if values.len().is_multiple_of(2) { f64::midpoint(lower, upper) } else { upper }
}

/// The value below which `share` of `values` lie, without interpolation; 0 for none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let at = ((values.len() - 1) as f64 * share.clamp(0.0, 1.0)).round() as usize;
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::growth::{MIB, growth};
    use crate::tuning::Tuning;

    /// All samples at once into buckets of `width` seconds.
    fn batch(samples: &[(f64, f64)], width: f64) -> History {
        let Some(&(origin, _)) = samples.first() else { return History::default() };
        let mut history = History { origin, width, ..History::default() };
        let place = |t: f64| ((t - origin) / width) as u32;
        for part in samples.chunk_by(|a, b| place(a.0) == place(b.0)) {
            let sum: f64 = part.iter().map(|(_, y)| y).sum();
            history.buckets.push(Bucket {
                index: place(part[0].0),
                count: part.len() as u32,
                mean: sum / part.len() as f64,
                low: part.iter().map(|(_, y)| *y).fold(f64::INFINITY, f64::min),
            });
        }
        history.samples = samples.len() as u64;
        history.end = samples[samples.len() - 1].0;
        history.high = samples.iter().map(|(_, y)| *y).fold(0.0, f64::max);
        history
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn streaming_is_batch_on_the_same_compaction(
            steps in prop::collection::vec((1u32..400, 0u32..1 << 20), 30..6000),
            rise in 0u32..2000,
        ) {
            let mut streamed = History::default();
            let (mut t, mut samples) = (0.0, Vec::new());
            for (k, (step, noise)) in steps.into_iter().enumerate() {
                t += f64::from(step) / 8.0;
                let y = 1e8 + k as f64 * f64::from(rise) + f64::from(noise);
                streamed.push(t, y);
                samples.push((t, y));
            }
            let whole = batch(&samples, streamed.width);
            prop_assert!(streamed.buckets.len() <= CAPACITY);
            prop_assert_eq!(streamed.buckets.len(), whole.buckets.len());
            for (a, b) in streamed.buckets.iter().zip(&whole.buckets) {
                prop_assert_eq!((a.index, a.count, a.low), (b.index, b.count, b.low));
                prop_assert!((a.mean - b.mean).abs() <= 1e-9 * b.mean, "{a:?} {b:?}");
            }
            prop_assert_eq!((streamed.origin, streamed.end, streamed.high), (whole.origin, whole.end, whole.high));
            let found = |history: &History| {
                history.window(history.origin()).map(|window| growth(&window, &Tuning::default(), 5.0 * MIB))
            };
            if let (Some(a), Some(b)) = (found(&streamed), found(&whole)) {
                prop_assert!((a.rate - b.rate).abs() <= 1e-6 * b.rate.abs() + 1e-3, "{a:?} {b:?}");
                prop_assert!((a.bytes - b.bytes).abs() <= 1e-6 * b.bytes.abs() + 1.0, "{a:?} {b:?}");
            }
        }
    }
}
