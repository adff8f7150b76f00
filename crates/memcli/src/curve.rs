//! A series in bounded memory, whatever its length: what charts and percentiles are made of.

use std::time::Duration;

use memtrack::Stamp;
use serde::Serialize;

use crate::weight::{Held, Sum, Weighed};

/// Buckets of a curve: twice the pixels of a wide chart.
const BUCKETS: usize = 4096;
/// Of them, those from the start that are kept as fine as they were: what a short run has in common with a long one is looked at
/// in at least half as many.
const FINE: usize = 1024;
/// Values that quantiles are taken of; beyond, every second one is, then every fourth.
const VALUES: usize = 1 << 19;

/// Neighbouring samples taken together. Values in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Time of the first sample.
    pub from: Duration,
    /// Time of the last sample.
    pub to: Duration,
    /// The lowest.
    pub low: u64,
    /// The highest.
    pub high: u64,
    /// The last.
    pub last: u64,
    samples: u64,
    /// All but the newest sample of the curve, whose time is not over.
    sum: Sum,
}

/// A series, reduced as it comes in.
#[derive(Clone, Debug)]
pub struct Curve {
    buckets: Vec<Bucket>,
    /// The start of it in buckets of each width that it has had, the finest first.
    starts: Vec<Vec<Bucket>>,
    /// Samples in a full bucket.
    width: u64,
    /// Values with the nanoseconds that each stood for, those that were left out after it included.
    values: Vec<(u64, u64)>,
    /// One in how many samples is among the values.
    stride: u64,
    samples: u64,
    held: Held,
    /// As that of a bucket.
    sum: Sum,
}

/// How a series is spread over the time. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Percentiles {
    /// The lowest sample.
    pub min_bytes: u64,
    /// The mean, each sample weighed by the time it stands for.
    pub mean_bytes: u64,
    /// Half of the time it was at most this.
    pub p50_bytes: u64,
    /// 90 % of the time it was at most this.
    pub p90_bytes: u64,
    /// 95 % of the time it was at most this.
    pub p95_bytes: u64,
    /// 99 % of the time it was at most this.
    pub p99_bytes: u64,
    /// The highest sample.
    pub max_bytes: u64,
}

impl Percentiles {
    /// The same of which nothing is above `most`, in bytes.
    #[must_use]
    pub fn up_to(self, most: u64) -> Self {
        Self {
            min_bytes: self.min_bytes.min(most),
            mean_bytes: self.mean_bytes.min(most),
            p50_bytes: self.p50_bytes.min(most),
            p90_bytes: self.p90_bytes.min(most),
            p95_bytes: self.p95_bytes.min(most),
            p99_bytes: self.p99_bytes.min(most),
            max_bytes: self.max_bytes.min(most),
        }
    }
}

impl Default for Curve {
    fn default() -> Self {
        let (buckets, starts, values) = (Vec::new(), Vec::new(), Vec::new());
        let (held, sum) = (Held::default(), Sum::default());
        Self { buckets, starts, width: 1, values, stride: 1, samples: 0, held, sum }
    }
}

impl Curve {
    /// Takes what a sample tells, in bytes, and `None` when it tells nothing. No sample is older than the one before.
    pub fn note(&mut self, at: Stamp, value: Option<u64>) {
        if let (Some(time), Some(bucket)) = (self.held.until(at), self.buckets.last_mut()) {
            bucket.sum.add(bucket.last, time);
            self.sum.add(bucket.last, time);
            stood(&mut self.values, time);
        }
        match value {
            Some(value) => {
                self.held.from(at);
                self.push(at.monotonic, value);
            }
            None => self.held.nothing(),
        }
    }

    fn push(&mut self, at: Duration, value: u64) {
        match self.buckets.last_mut() {
            Some(last) if last.samples < self.width => last.add(at, value),
            _ => {
                if self.buckets.len() == BUCKETS {
                    self.halve();
                }
                let (from, to, low, high, last) = (at, at, value, value, value);
                let sum = Sum::default();
                self.buckets.push(Bucket { from, to, low, high, last, samples: 1, sum });
            }
        }
        if self.samples.is_multiple_of(self.stride) {
            if self.values.len() == VALUES {
                self.values = self.values.chunks(2).map(heavier).collect();
                self.stride *= 2;
            }
            if self.samples.is_multiple_of(self.stride) {
                self.values.push((value, 0));
            }
        }
        self.samples += 1;
    }

    fn halve(&mut self) {
        self.starts.push(self.buckets[..FINE].to_vec());
        self.width *= 2;
        self.buckets = self
            .buckets
            .chunks(2)
            .map(|pair| match pair {
                [one, two] => one.with(two),
                rest => rest[0],
            })
            .collect();
    }

    /// The buckets, in order.
    #[must_use]
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// The buckets that end by `end`, as fine as they were kept.
    #[must_use]
    pub fn until(&self, end: Duration) -> &[Bucket] {
        let reaches = |start: &&Vec<Bucket>| start.last().is_some_and(|last| last.to >= end);
        let buckets = self.starts.iter().find(reaches).unwrap_or(&self.buckets);
        &buckets[..buckets.partition_point(|bucket| bucket.to <= end)]
    }

    /// How many samples there were.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Times of the first and the last sample.
    #[must_use]
    pub fn span(&self) -> Option<(Duration, Duration)> {
        Some((self.buckets.first()?.from, self.buckets.last()?.to))
    }

    /// The highest sample.
    #[must_use]
    pub fn high(&self) -> Option<u64> {
        self.buckets.iter().map(|bucket| bucket.high).max()
    }

    /// The lowest sample.
    #[must_use]
    pub fn low(&self) -> Option<u64> {
        self.buckets.iter().map(|bucket| bucket.low).min()
    }

    /// The sizes that quantiles are taken of, with the time of each: all of them up to half a million, else evenly chosen ones.
    #[must_use]
    pub fn weighed(&self) -> Weighed {
        let mut values = self.values.clone();
        if let Some(time) = self.held.newest() {
            stood(&mut values, time);
        }
        values.into_iter().collect()
    }

    /// The mean over what lies between two times, in bytes, each sample weighed by the time it stands for. `None` where nothing does.
    #[must_use]
    pub fn mean(&self, from: Duration, to: Duration) -> Option<f64> {
        let mut within = self.until(to).iter().filter(|bucket| bucket.to >= from).peekable();
        within.peek()?;
        let sum = within.fold(Sum::default(), |sum, bucket| sum.with(bucket.sum));
        let has_newest = self.span().is_some_and(|(_, newest)| newest <= to);
        if has_newest { self.with_newest(sum).mean() } else { sum.mean() }
    }

    fn with_newest(&self, mut sum: Sum) -> Sum {
        if let (Some(time), Some(newest)) = (self.held.newest(), self.buckets.last()) {
            sum.add(newest.last, time);
        }
        sum
    }

    /// How it is spread over the time; `None` when there are no samples.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        let weighed = self.weighed();
        Some(Percentiles {
            min_bytes: self.low()?,
            mean_bytes: self.with_newest(self.sum).mean()?.round() as u64,
            p50_bytes: weighed.quantile(0.50)?,
            p90_bytes: weighed.quantile(0.90)?,
            p95_bytes: weighed.quantile(0.95)?,
            p99_bytes: weighed.quantile(0.99)?,
            max_bytes: self.high()?,
        })
    }
}

/// The newest of `values` stood for so many nanoseconds more.
fn stood(values: &mut [(u64, u64)], time: u64) {
    if let Some((_, stood)) = values.last_mut() {
        *stood = stood.saturating_add(time);
    }
}

/// One of two neighbours for both: the one that stood longer.
fn heavier(pair: &[(u64, u64)]) -> (u64, u64) {
    match *pair {
        [one, two] => {
            let (bytes, _) = if two.1 > one.1 { two } else { one };
            (bytes, one.1.saturating_add(two.1))
        }
        ref rest => rest[0],
    }
}

impl Bucket {
    /// How long its samples stood, in nanoseconds; the newest of a curve only at the next.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.sum.time()
    }

    fn add(&mut self, at: Duration, value: u64) {
        self.to = at;
        self.low = self.low.min(value);
        self.high = self.high.max(value);
        self.last = value;
        self.samples += 1;
    }

    fn with(&self, later: &Self) -> Self {
        Self {
            from: self.from,
            to: later.to,
            low: self.low.min(later.low),
            high: self.high.max(later.high),
            last: later.last,
            samples: self.samples + later.samples,
            sum: self.sum.with(later.sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Curve {
        let mut curve = Curve::default();
        for (n, value) in (0..).zip(values) {
            curve.note(Stamp::synthetic(Duration::from_secs(n)), Some(*value));
        }
        curve
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let curve = of(&(1..=100).rev().collect::<Vec<_>>());
        let p = curve.percentiles().unwrap();
        assert_eq!(
            (p.min_bytes, p.p50_bytes, p.p90_bytes, p.p99_bytes, p.max_bytes),
            (1, 50, 90, 99, 100)
        );
        assert_eq!(p.mean_bytes, 51, "50.5, rounded");
        assert_eq!(of(&[]).percentiles(), None);
        assert_eq!(of(&[7]).percentiles().unwrap().p50_bytes, 7);
    }

    #[test]
    fn a_long_series_keeps_its_extremes_and_bounded_memory() {
        let mut curve = Curve::default();
        for n in 0..3_000_000u64 {
            let value = if n == 1_234_567 { 9_999_999 } else { n };
            curve.note(Stamp::synthetic(Duration::from_millis(n)), Some(value));
        }
        assert!(curve.buckets.len() <= BUCKETS && curve.values.len() <= VALUES);
        assert!(curve.starts.len() <= 10);
        for end in [600, 5_000, 70_000, 2_000_000] {
            let start = curve.until(Duration::from_millis(end));
            assert!(start.len() >= FINE / 2, "{} until {end}", start.len());
            assert_eq!(start[0].from, Duration::ZERO);
            assert!(start[start.len() - 1].to <= Duration::from_millis(end));
        }
        assert_eq!((curve.low(), curve.high()), (Some(0), Some(9_999_999)));
        let p50 = curve.percentiles().unwrap().p50_bytes;
        assert!(p50.abs_diff(1_500_000) < 10, "{p50}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn buckets_cover_every_sample_in_order(values in proptest::collection::vec(any::<u64>(), 1..20_000)) {
            let curve = of(&values);
            let buckets = curve.buckets();
            prop_assert_eq!(curve.high(), values.iter().copied().max());
            prop_assert_eq!(curve.low(), values.iter().copied().min());
            prop_assert_eq!(buckets.last().unwrap().last, *values.last().unwrap());
            prop_assert_eq!(buckets.iter().map(|b| b.samples).sum::<u64>(), values.len() as u64);
            prop_assert!(buckets.windows(2).all(|pair| pair[0].to < pair[1].from));
        }
    }
}
