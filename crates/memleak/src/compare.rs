//! Two series of one program, before and after a change: does it need more memory, does it grow faster.
//!
//! Both are compared over the same ages, the later half of the shorter one, so that a warm-up is set against a warm-up.
//! The intervals cover what varies within a run, slow noise included: the fewer times it could have returned to its mean
//! within the stretch, the wider they are, by Student's distribution. Noise that is slower than that, and how much one run differs from the next cannot be seen in one of each.

use std::time::Duration;

use crate::filter::{Clock, Smoother};
use crate::student::{quantile_95, two_sided};
use crate::trend::{inflation, lag_one, ranks, residuals};
use crate::verdict::Trend;
use crate::window::{History, POINTS};

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
    /// Standard error of the growth, in bytes per second.
    pub growth_error: f64,
    /// Degrees of freedom of both errors: few when the noise is slow; at least 2.
    pub freedom: u32,
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
    /// How often a difference this large comes about by chance when there is none (two-sided, Student's t).
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
    let of = |level: bool, one: &Profile| match level {
        true => Estimate { value: one.level, error: one.level_error, freedom: one.freedom },
        false => Estimate {
            value: one.growth.bytes_per_second,
            error: one.growth_error,
            freedom: one.freedom,
        },
    };
    Some(Comparison {
        before,
        after,
        level: difference(&of(true, &before), &of(true, &after)),
        growth: difference(&of(false, &before), &of(false, &after)),
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
    let slope = ranks(&window.level).slope;
    let around = residuals(&window.level, slope);
    let squares: f64 = around.iter().map(|left| left * left).sum();
    let deviation = (squares / (POINTS - 2) as f64).sqrt();
    let rho = unbiased(lag_one(&around));
    let n = window.filled as f64;
    // How well the deviation is known (M. S. Bartlett, JRSS 98 (1935) 536), less the two of the line. With one degree the
    // interval would be so wide that nothing is ever found.
    let freedom = (n * (1.0 - rho * rho) / (1.0 + rho * rho) - 2.0).max(2.0) as u32;
    let level_error = deviation * inflation(rho) / n.sqrt();
    // The standard error of a least-squares slope over equally spaced samples, to which that of Theil-Sen is close.
    let error = level_error * 12f64.sqrt();
    let reach = quantile_95(freedom) * error;
    Some(Profile {
        level: window.level.iter().sum::<f64>() / POINTS as f64,
        level_error,
        growth: Trend {
            bytes_per_second: slope / window.span,
            low: (slope - reach) / window.span,
            high: (slope + reach) / window.span,
        },
        growth_error: error / window.span,
        freedom,
    })
}

/// The correlation of neighbours, without what is lost of it by estimating it around a line that was fitted to the same
/// few points: to first order (2 + 4 rho) / n (F. H. C. Marriott and J. A. Pope, Biometrika 41 (1954) 390, for a mean).
fn unbiased(rho: f64) -> f64 {
    if rho > 0.0 { (rho + (2.0 + 4.0 * rho) / POINTS as f64).min(0.97) } else { 0.0 }
}

/// A value and how sure it is.
struct Estimate {
    value: f64,
    error: f64,
    freedom: u32,
}

/// Welch's test: of two errors of other size the larger decides how many degrees of freedom there are.
fn difference(before: &Estimate, after: &Estimate) -> Difference {
    let estimate = after.value - before.value;
    let error = before.error.hypot(after.error);
    let part = |one: &Estimate| (one.error / error).powi(4) / f64::from(one.freedom);
    let freedom = (1.0 / (part(before) + part(after))).max(1.0) as u32;
    let p = if error > 0.0 {
        two_sided(estimate / error, freedom)
    } else if estimate == 0.0 {
        1.0
    } else {
        0.0
    };
    let reach = if error > 0.0 { quantile_95(freedom) * error } else { 0.0 };
    Difference { estimate, low: estimate - reach, high: estimate + reach, p }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    /// The mixing step of SplitMix64 (S. Vigna), 0 to 1. Its neighbours do not resemble each other.
    fn uniform(state: u64) -> f64 {
        let z = state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Ten minutes at one sample a second with a disturbance of 1 MiB that lasts `hold` samples.
    fn series(level: f64, per_second: f64, hold: u32, seed: u32) -> Vec<(Duration, u64)> {
        (0..600u32)
            .map(|i| {
                let noise = 2.0 * uniform(u64::from(i / hold) << 32 | u64::from(seed)) - 1.0;
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

    /// Ten minutes of a level that returns to 200 MiB within `memory` seconds, with a deviation of 10 MiB.
    fn wandering(memory: f64, seed: u64) -> Vec<(Duration, u64)> {
        let mut state = seed << 32;
        let mut next = || {
            state += 1;
            uniform(state)
        };
        let mut normal = || (0..12).map(|_| next()).sum::<f64>() - 6.0;
        let keep = (-1.0 / memory).exp();
        let mut level = normal();
        let mut step = |i| {
            level = keep * level + (1.0 - keep * keep).sqrt() * normal();
            (Duration::from_secs(i), ((200.0 + 10.0 * level) * MIB) as u64)
        };
        (0..600).map(&mut step).collect()
    }

    /// Five minutes are compared: what needs as long to return to its mean cannot be told from a difference of the means.
    #[test]
    fn a_level_that_wanders_slowly_is_seldom_taken_for_another() {
        for (memory, most) in [(1.0, 9), (20.0, 9), (100.0, 9), (300.0, 25)] {
            let (mut levels, mut growths) = (0, 0);
            for seed in 0..100 {
                let (base, new) = (wandering(memory, seed), wandering(memory, seed + 1000));
                let c = compare(base, new).unwrap();
                levels += u32::from(c.level.p < 0.05);
                growths += u32::from(c.growth.p < 0.05);
            }
            assert!(levels <= most && growths <= 9, "{memory} s: {levels} and {growths} of 100");
        }
    }

    #[test]
    fn a_difference_far_above_slow_noise_is_still_found() {
        let mut found = 0;
        for seed in 0..50 {
            let new = wandering(20.0, seed + 1000);
            let new = new.into_iter().map(|(at, bytes)| (at, bytes + (60 << 20)));
            found += u32::from(compare(wandering(20.0, seed), new).unwrap().level.p < 0.05);
        }
        assert!(found >= 45, "{found} of 50");
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
