//! Two series of one program, before and after a change: does it need more memory, does it grow faster.
//!
//! Both are compared over the same ages, the later half of the shorter one, so that a warm-up is set against a warm-up.
//! The intervals cover what varies within a run, slow noise included: what is left of each series beside its line is
//! described by how its neighbours resemble each other, the mean and the slope have the errors that follow from that, and
//! the fewer times the level could have returned to its mean within the stretch, the fewer degrees of freedom they have.
//! How much one run differs from the next cannot be seen in one of each.
//!
//! Of pairs of runs that differ in nothing, how many in 100 were called different in level and in growth, with p below 0.05;
//! and in how many of 100 a level was found that is higher by 2, 4, 10 and 20 standard deviations of the noise, an
//! Ornstein-Uhlenbeck process whose memory is this share of the run (4,000 pairs of 400 samples; `examples/pairs.rs` makes it,
//! and runs of 100 and of 2,000 samples give the same but for a point or two):
//!
//! | memory | level | growth | +2 | +4 | +10 | +20 |
//! | --- | ---: | ---: | ---: | ---: | ---: | ---: |
//! | none | 4.0 | 5.2 | 100 | 100 | 100 | 100 |
//! | 1/100 | 2.9 | 3.5 | 100 | 100 | 100 | 100 |
//! | 1/30 | 1.9 | 2.2 | 40 | 62 | 74 | 100 |
//! | 1/10 | 1.7 | 1.5 | 9 | 15 | 65 | 100 |
//! | 1/3 | 2.6 | 2.5 | 6 | 19 | 98 | 100 |
//! | 1 | 5.6 | 3.7 | 20 | 65 | 100 | 100 |
//! | 3 | 19.3 | 5.1 | 51 | 92 | 100 | 100 |
//!
//! Where a level returns only a few times within the stretch, what varies there says little of where the next run would lie,
//! and cannot be told from a walk: [`Profile::wanders`] says so. What is not found then is not shown to be the same.

use std::time::Duration;

use crate::filter::Clock;
use crate::student::{Difference, Estimate};
use crate::trend::{lag_one, ranks, residuals};
use crate::verdict::Trend;
use crate::window::{History, POINTS};

/// What is compared of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Profile {
    /// Mean level over the compared stretch, in bytes.
    pub level: f64,
    /// Standard error of the level, in bytes, as neighbours resemble each other.
    pub level_error: f64,
    /// Growth over the compared stretch.
    pub growth: Trend,
    /// Standard error of the growth, in bytes per second.
    pub growth_error: f64,
    /// Degrees of freedom of both errors: few when the noise is slow; at least 2.5.
    pub freedom: f64,
    /// Nothing shows that the level returns at all: it resembles itself from point to point as a walk does. The errors are then
    /// those of one that returns as slowly as twice the stretch, the whole of the shorter run, lasts.
    pub wanders: bool,
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
    let level =
        |one: &Profile| Estimate { value: one.level, error: one.level_error, freedom: one.freedom };
    let growth = |one: &Profile| Estimate {
        value: one.growth.bytes_per_second,
        error: one.growth_error,
        freedom: one.freedom,
    };
    Some(Comparison {
        level: level(&before).difference(&level(&after)),
        growth: growth(&before).difference(&growth(&after)),
        before,
        after,
        from: Duration::try_from_secs_f64(from).unwrap_or_default(),
        to: Duration::try_from_secs_f64(to).unwrap_or_default(),
    })
}

/// As they come: a running median would make neighbours of few samples resemble each other.
fn history(samples: impl IntoIterator<Item = (Duration, u64)>) -> History {
    let (mut clock, mut history) = (Clock::default(), History::default());
    for (at, bytes) in samples {
        if let Some(t) = clock.advance(at.as_secs_f64()) {
            history.push(t, bytes as f64);
        }
    }
    history
}

fn profile(history: &History, from: f64, to: f64) -> Option<Profile> {
    let origin = history.origin();
    let window = history.stretch(origin + from, origin + to)?;
    let slope = ranks(&window.level).slope;
    let around = residuals(&window.level, slope);
    let rho = unbiased(lag_one(&around));
    let (mean, line) = variances(rho);
    // What mean and slope take for their own is not among what is left.
    let n = POINTS as f64;
    let taken = n * mean + line * (n * n - 1.0) / (12.0 * n);
    let squares: f64 = around.iter().map(|left| left * left).sum();
    let variance = squares / (n - taken);
    // How well a variance is known (M. S. Bartlett, JRSS 98 (1935) 536), less the two of the line.
    let n = window.filled as f64;
    let freedom = (n * (1.0 - rho * rho) / (1.0 + rho * rho) - 2.0).max(LEAST_FREEDOM);
    let error = (variance * line).sqrt();
    let reach = Estimate { value: slope, error, freedom }.reach();
    // The samples of a bucket, the first at its start, are half an interval older than its middle. Without this a line would
    // be as much higher the more often it is sampled.
    let behind = slope / window.span * history.interval() / 2.0;
    Some(Profile {
        level: window.level.iter().sum::<f64>() / POINTS as f64 + behind,
        level_error: (variance * mean).sqrt(),
        growth: Trend {
            bytes_per_second: slope / window.span,
            low: (slope - reach) / window.span,
            high: (slope + reach) / window.span,
        },
        growth_error: error / window.span,
        freedom,
        wanders: rho >= WALK,
    })
}

/// Degrees of freedom of the slowest noise. Of pairs whose noise is as slow as the run, 4 in 100 were called different with 2
/// degrees, 6 with 2.5 and 7 with 4; a level higher by 10 deviations of noise a tenth as slow was found in 44, 64 and 86.
const LEAST_FREEDOM: f64 = 2.5;
/// The greatest correlation of neighbours that is told from that of a walk: of a level that returns as slowly as the whole run
/// lasts, exp(-1 / (2 * [`POINTS`])).
const WALK: f64 = 0.9896;
/// The median of what [`lag_one`] finds around the line that was fitted to the same points, and the correlation they were made
/// with: found and true. Made by 60,000 series of each; above the last, half of all walks lie.
const MEDIANS: [(f64, f64); 12] = [
    (0.0, 0.0),
    (0.144, 0.2),
    (0.329, 0.4),
    (0.514, 0.6),
    (0.602, 0.7),
    (0.690, 0.8),
    (0.731, 0.85),
    (0.769, 0.9),
    (0.789, 0.93),
    (0.800, 0.95),
    (0.810, 0.97),
    (0.815, WALK),
];

/// The correlation of neighbours that would be found too low as often as too high where this one is found (median-unbiased:
/// D. W. K. Andrews, Econometrica 61 (1993) 139). A line fitted to few points takes much of a slow swing for its own.
fn unbiased(found: f64) -> f64 {
    let above = MEDIANS.iter().position(|(median, _)| *median > found);
    match above {
        None => WALK,
        Some(0) => 0.0,
        Some(at) => {
            let ((x0, y0), (x1, y1)) = (MEDIANS[at - 1], MEDIANS[at]);
            y0 + (y1 - y0) * (found - x0) / (x1 - x0)
        }
    }
}

/// Variances of the mean and of a least-squares slope over the stretch, to which that of Theil-Sen is close, where points vary
/// by 1 and correlate by `rho` to the power of their distance.
fn variances(rho: f64) -> (f64, f64) {
    let place = |k: usize| (k as f64 + 0.5) / POINTS as f64 - 0.5;
    let (mut mean, mut line, mut squares) = (0.0, 0.0, 0.0);
    for i in 0..POINTS {
        squares += place(i).powi(2);
        let mut likeness = 1.0;
        for k in i..POINTS {
            let times = if k == i { 1.0 } else { 2.0 };
            mean += times * likeness;
            line += times * likeness * place(i) * place(k);
            likeness *= rho;
        }
    }
    (mean / (POINTS * POINTS) as f64, line / (squares * squares))
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
    fn a_line_has_one_level_however_often_it_is_sampled() {
        let line = |every: u32, seed: u32| {
            (0..7200 / every).map(move |i| {
                let noise = 0.1 * (2.0 * uniform(u64::from(i) << 32 | u64::from(seed)) - 1.0);
                let bytes = (100.0 + f64::from(i * every) / 60.0 + noise) * MIB;
                (Duration::from_secs(u64::from(i * every)), bytes as u64)
            })
        };
        for (often, seldom) in [(1, 10), (1, 60), (10, 60), (7, 13)] {
            let mut differ = 0;
            for seed in 0..50 {
                let c = compare(line(often, seed), line(seldom, seed + 500)).unwrap();
                differ += u32::from(c.level.p < 0.05);
                assert!(c.level.estimate.abs() < 0.1 * MIB, "{often} {seldom}: {c:?}");
            }
            assert!(differ <= 8, "{often} and {seldom} s: {differ} of 50 at a level of 5 %");
        }
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

    /// Five minutes are compared, and what needs as long or twice as long to return to its mean is not taken for a difference of
    /// the means.
    #[test]
    fn a_level_that_wanders_slowly_is_seldom_taken_for_another() {
        for (memory, most) in [(1.0, 9), (20.0, 9), (60.0, 9), (200.0, 9), (600.0, 10)] {
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

    /// Found of 50, where the level is higher by this many MiB; and not found of runs that are not said to wander.
    fn found_higher(memory: f64, by: u64) -> (u32, u32) {
        let (mut found, mut passed_over) = (0, 0);
        for seed in 0..50 {
            let new = wandering(memory, seed + 1000);
            let new = new.into_iter().map(|(at, bytes)| (at, bytes + (by << 20)));
            let c = compare(wandering(memory, seed), new).unwrap();
            if c.level.p < 0.05 {
                found += 1;
            } else {
                passed_over += u32::from(!c.before.wanders && !c.after.wanders);
            }
        }
        (found, passed_over)
    }

    #[test]
    fn a_difference_far_above_the_noise_is_found_or_the_noise_is_said_to_wander() {
        for (memory, by, least) in
            [(1.0, 20, 50), (5.0, 40, 48), (20.0, 60, 33), (20.0, 200, 48), (600.0, 200, 48)]
        {
            let (found, passed_over) = found_higher(memory, by);
            assert!(found >= least, "{memory} s, {by} MiB: {found} of 50");
            assert!(passed_over <= 2, "{memory} s, {by} MiB: {passed_over} without a word");
        }
    }

    #[test]
    fn what_neighbours_resemble_each_other_by_is_found_too_low_as_often_as_too_high() {
        let mut state = 1 << 40;
        let mut normal = || {
            (0..12)
                .map(|_| {
                    state += 1;
                    uniform(state)
                })
                .sum::<f64>()
                - 6.0
        };
        for (expected, rho) in MEDIANS.into_iter().skip(1) {
            let mut found: Vec<f64> = (0..2001)
                .map(|_| {
                    let mut value = normal();
                    let y = std::array::from_fn(|_| {
                        let now = value;
                        value = rho * value + (1.0f64 - rho * rho).sqrt() * normal();
                        now
                    });
                    lag_one(&residuals(&y, ranks(&y).slope))
                })
                .collect();
            found.sort_by(f64::total_cmp);
            let median = found[1000];
            // Its standard error is about 0.004.
            assert!((median - expected).abs() < 0.016, "{rho}: {median}");
        }
        assert_eq!((unbiased(0.0), unbiased(0.9)), (0.0, WALK));
        assert!((unbiased(0.646) - 0.75).abs() < 1e-9);
    }

    #[test]
    fn the_variances_are_those_of_white_noise_and_of_one_level() {
        let (mean, line) = variances(0.0);
        let n = POINTS as f64;
        assert!((mean - 1.0 / n).abs() < 1e-12, "{mean}");
        assert!((line / (12.0 / n) - 1.0).abs() < 1e-3, "{line}");
        let (mean, line) = variances(1.0);
        assert!((mean - 1.0).abs() < 1e-12 && line.abs() < 1e-12, "{mean} {line}");
    }

    #[test]
    fn spikes_do_not_hide_a_difference() {
        let with_spikes = |level, seed| {
            let spiked = |(at, bytes): (Duration, u64)| {
                (at, if at.as_secs() % 50 == 7 { bytes + (20 << 20) } else { bytes })
            };
            series(level, 0.0, 1, seed).into_iter().map(spiked).collect::<Vec<_>>()
        };
        let c = compare(with_spikes(100.0, 1), with_spikes(110.0, 2)).unwrap();
        assert!(c.level.p < 1e-6 && c.level.low > 8.0 * MIB, "{c:?}");
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
