//! Two series of one program, before and after a change: does it need more memory, does it grow faster.
//!
//! Both are compared over the same ages, the later half of the shorter one, so that a warm-up is set against a warm-up.
//! The intervals cover what varies within a run; how much one run differs from the next cannot be seen in one of each.

use std::time::Duration;

use crate::filter::{Clock, Smoother};
use crate::trend::{inflation, lag_one, residuals, slope_interval};
use crate::verdict::Trend;
use crate::window::{History, POINTS};

/// Quantile of the normal distribution for a two-sided 95 % interval.
const Z_95: f64 = 1.96;

/// What is compared of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Profile {
    /// Mean level over the compared stretch, in bytes.
    pub level: f64,
    /// Standard error of the level, widened for autocorrelation, in bytes.
    pub level_error: f64,
    /// Growth over the compared stretch.
    pub growth: Trend,
}

/// After - before, with its 95 % interval and a test.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Difference {
    /// The estimate.
    pub estimate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How often a difference this large comes about by chance when there is none (two-sided, normal).
    pub p: f64,
}

/// Two series side by side.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Comparison {
    /// The series before.
    pub before: Profile,
    /// The series after.
    pub after: Profile,
    /// Difference of the levels, in bytes.
    pub level: Difference,
    /// Difference of the growths, in bytes per second.
    pub growth: Difference,
    /// The ages that were compared: from the first to the second after the start of each series.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub from: Duration,
    /// See [`Comparison::from`].
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub to: Duration,
}

/// Compares two series of times and bytes; `None` when either has too few samples in the later half of the shorter one.
pub fn compare(
    before: impl IntoIterator<Item = (Duration, u64)>,
    after: impl IntoIterator<Item = (Duration, u64)>,
) -> Option<Comparison> {
    let (before, after) = (history(before), history(after));
    let to = before.span().min(after.span());
    let from = to / 2.0;
    let (before, after) = (profile(&before, from, to)?, profile(&after, from, to)?);
    let error = |trend: Trend| (trend.high - trend.low) / (2.0 * Z_95);
    Some(Comparison {
        before,
        after,
        level: difference(before.level, before.level_error, after.level, after.level_error),
        growth: difference(
            before.growth.bytes_per_second,
            error(before.growth),
            after.growth.bytes_per_second,
            error(after.growth),
        ),
        from: Duration::try_from_secs_f64(from).unwrap_or_default(),
        to: Duration::try_from_secs_f64(to).unwrap_or_default(),
    })
}

fn history(samples: impl IntoIterator<Item = (Duration, u64)>) -> History {
    let (mut clock, mut smoother, mut history) =
        (Clock::default(), Smoother::default(), History::default());
    for (at, bytes) in samples {
        let repaired = clock.advance(at.as_secs_f64());
        if let Some((t, y)) = repaired.and_then(|t| smoother.push(t, bytes as f64)) {
            history.push(t, y);
        }
    }
    history
}

fn profile(history: &History, from: f64, to: f64) -> Option<Profile> {
    let origin = history.origin();
    let window = history.stretch(origin + from, origin + to)?;
    let n = window.filled as f64;
    let rough = crate::trend::ranks(&window.level).slope;
    let around = residuals(&window.level, rough);
    let rho = lag_one(&around);
    let few = (POINTS as f64 / n).sqrt();
    let (slope, low, high) = slope_interval(&window.level, inflation(rho) * few);
    let squares: f64 = around.iter().map(|left| left * left).sum();
    let deviation = (squares / (POINTS - 2) as f64).sqrt();
    Some(Profile {
        level: window.level.iter().sum::<f64>() / POINTS as f64,
        level_error: deviation * inflation(rho) / n.sqrt(),
        growth: Trend {
            bytes_per_second: slope / window.span,
            low: low / window.span,
            high: high / window.span,
        },
    })
}

fn difference(before: f64, before_error: f64, after: f64, after_error: f64) -> Difference {
    let estimate = after - before;
    let error = before_error.hypot(after_error);
    let p = if error > 0.0 {
        two_sided(estimate / error)
    } else if estimate == 0.0 {
        1.0
    } else {
        0.0
    };
    Difference { estimate, low: estimate - Z_95 * error, high: estimate + Z_95 * error, p }
}

/// The chance of a normal value at least this far from zero: formula 7.1.26 of M. Abramowitz and I. A. Stegun, Handbook
/// of Mathematical Functions, good to 1.5e-7.
fn two_sided(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592]
        .iter()
        .fold(0.0, |sum, factor| sum * t + factor);
    (series * t * (-x * x).exp()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    /// Ten minutes at one sample a second with a disturbance of 1 MiB that lasts `hold` samples.
    fn series(level: f64, per_second: f64, hold: u32, seed: u32) -> Vec<(Duration, u64)> {
        (0..600u32)
            .map(|i| {
                let hash = (i / hold + seed * 7919).wrapping_mul(2_654_435_761).rotate_left(13);
                let noise = f64::from(hash.wrapping_mul(40_503) >> 8) / f64::from(1u32 << 23) - 1.0;
                let bytes = (level + per_second * f64::from(i) + noise) * MIB;
                (Duration::from_secs(u64::from(i)), bytes as u64)
            })
            .collect()
    }

    #[test]
    fn a_higher_level_is_found_with_its_size() {
        let c = compare(series(100.0, 0.0, 1, 1), series(103.0, 0.0, 1, 2)).unwrap();
        assert!(c.level.p < 1e-6 && c.growth.p > 0.001, "{c:?}");
        assert!((c.level.estimate / MIB - 3.0).abs() < 0.3, "{c:?}");
        assert!(c.level.low < 3.0 * MIB && c.level.high > 3.0 * MIB, "{c:?}");
    }

    #[test]
    fn faster_growth_is_found_with_its_size() {
        let c = compare(series(100.0, 0.0, 1, 1), series(100.0, 0.05, 1, 2)).unwrap();
        assert!(c.growth.p < 1e-6, "{c:?}");
        assert!((c.growth.estimate / MIB / 0.05 - 1.0).abs() < 0.1, "{c:?}");
    }

    #[test]
    fn equal_programs_seldom_differ_even_when_their_noise_is_slow() {
        let mut differ = 0;
        for seed in 0..100 {
            let c =
                compare(series(80.0, 0.0, 25, seed), series(80.0, 0.0, 25, seed + 500)).unwrap();
            differ += u32::from(c.level.p < 0.01);
        }
        assert!(differ <= 5, "{differ} of 100 at a level of 1 %");
    }

    #[test]
    fn runs_of_other_length_are_compared_at_the_same_age() {
        let long = series(100.0, 0.1, 1, 1);
        let short: Vec<_> = series(100.0, 0.1, 1, 2).into_iter().take(300).collect();
        let c = compare(long, short).unwrap();
        assert!(c.level.estimate.abs() < MIB, "{c:?}");
        assert!(c.to <= Duration::from_secs(300), "{c:?}");
    }

    #[test]
    fn constants_compare_exactly_and_nothing_compares_to_nothing() {
        let flat = |bytes: u64| (0..100).map(move |i| (Duration::from_secs(i), bytes));
        let same = compare(flat(5), flat(5)).unwrap();
        assert_eq!((same.level.estimate, same.level.p), (0.0, 1.0));
        assert_eq!(compare(flat(5), flat(6)).unwrap().level.p, 0.0);
        assert!(compare(flat(5), []).is_none());
    }
}
