//! A series in bounded memory, whatever its length: what charts and percentiles are made of.

use std::time::Duration;

use serde::Serialize;

/// Buckets of a curve: twice the pixels of a wide chart.
const BUCKETS: usize = 4096;
/// Of them, those from the start that are kept as fine as they were: what a short run has in common with a long one is looked at
/// in at least half as many.
const FINE: usize = 1024;
/// Values that quantiles are taken of; beyond, every second one is, then every fourth.
const VALUES: usize = 1 << 20;

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
}

/// A series, reduced as it comes in.
#[derive(Clone, Debug)]
pub struct Curve {
    buckets: Vec<Bucket>,
    /// The start of it in buckets of each width that it has had, the finest first.
    starts: Vec<Vec<Bucket>>,
    /// Samples in a full bucket.
    width: u64,
    values: Vec<u64>,
    /// One in how many samples is among the values.
    stride: u64,
    samples: u64,
    sum: f64,
}

/// How the samples of a series are spread. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Percentiles {
    /// The lowest sample.
    pub min_bytes: u64,
    /// The mean of all samples.
    pub mean_bytes: u64,
    /// Half of the samples are at most this.
    pub p50_bytes: u64,
    /// 90 % are at most this.
    pub p90_bytes: u64,
    /// 95 % are at most this.
    pub p95_bytes: u64,
    /// 99 % are at most this.
    pub p99_bytes: u64,
    /// The highest sample.
    pub max_bytes: u64,
}

impl Default for Curve {
    fn default() -> Self {
        let (buckets, starts, values) = (Vec::new(), Vec::new(), Vec::new());
        Self { buckets, starts, width: 1, values, stride: 1, samples: 0, sum: 0.0 }
    }
}

impl Curve {
    /// Adds a sample, not older than the one before.
    pub fn push(&mut self, at: Duration, value: u64) {
        match self.buckets.last_mut() {
            Some(last) if last.samples < self.width => last.add(at, value),
            _ => {
                if self.buckets.len() == BUCKETS {
                    self.halve();
                }
                let (from, to, low, high, last) = (at, at, value, value, value);
                self.buckets.push(Bucket { from, to, low, high, last, samples: 1 });
            }
        }
        if self.samples.is_multiple_of(self.stride) {
            if self.values.len() == VALUES {
                self.values = self.values.iter().copied().step_by(2).collect();
                self.stride *= 2;
            }
            if self.samples.is_multiple_of(self.stride) {
                self.values.push(value);
            }
        }
        self.samples += 1;
        self.sum += value as f64;
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

    /// The samples that quantiles are taken of: all of them up to a million, else evenly spaced ones. Sorted.
    #[must_use]
    pub fn sorted(&self) -> Vec<u64> {
        let mut values = self.values.clone();
        values.sort_unstable();
        values
    }

    /// How the samples are spread; `None` when there are none.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        let sorted = self.sorted();
        Some(Percentiles {
            min_bytes: self.low()?,
            mean_bytes: (self.sum / self.samples as f64).round() as u64,
            p50_bytes: quantile(&sorted, 0.50)?,
            p90_bytes: quantile(&sorted, 0.90)?,
            p95_bytes: quantile(&sorted, 0.95)?,
            p99_bytes: quantile(&sorted, 0.99)?,
            max_bytes: self.high()?,
        })
    }
}

/// The least value that at least this share of `sorted` does not exceed (nearest rank).
#[must_use]
pub fn quantile(sorted: &[u64], share: f64) -> Option<u64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

impl Bucket {
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
            curve.push(Duration::from_secs(n), *value);
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
            curve.push(Duration::from_millis(n), value);
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
