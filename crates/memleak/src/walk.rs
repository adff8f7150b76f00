//! Is a rise more than a walk without direction would show?
//!
//! A level that wanders (every change stays until others undo it) rises for hours by chance, and ranks cannot tell: its
//! neighbouring points resemble each other for longer than a window lasts. So a window is described as a random walk seen
//! through white noise, once with a drift and once without, each by the share of noise that suits it best (the local level
//! model of A. C. Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989, section 2.3). White noise
//! around a line leaves nothing for the walk to explain, and its drift stands out at once; a walk explains its own rises.

use std::sync::LazyLock;

use crate::window::POINTS;

/// Steps from point to point.
const STEPS: usize = POINTS - 1;
/// Correlations of one step with the next that are tried: -0.5 is white noise alone, 0 a walk alone, and 0.25 a walk whose
/// points are means over their time (H. Working, Econometrica 28 (1960) 916).
const CORRELATIONS: [f64; 11] =
    [-0.5, -0.495, -0.48, -0.45, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.25];

/// What is the same for every series of steps with one correlation: the recursion by which they are made independent.
struct Recursion {
    /// Share of the step before that is taken from each, from the second on, and the variance that is left.
    shares: [(f64, f64); STEPS - 1],
    /// Steps of 1, made independent.
    ones: [f64; STEPS - 1],
    /// Their squares, each over its variance, and the logarithms of the variances, summed.
    squares: f64,
    logs: f64,
}

static RECURSIONS: LazyLock<[Recursion; CORRELATIONS.len()]> =
    LazyLock::new(|| CORRELATIONS.map(recursion));

/// Computes the recursions now rather than at the first look: a push must not pay for it.
pub(crate) fn prepare() {
    LazyLock::force(&RECURSIONS);
}

/// The innovations of a moving average of order one (P. J. Brockwell and R. A. Davis, Time Series: Theory and Methods, 1991,
/// section 5.2), which begin with a variance of 1.
fn recursion(correlation: f64) -> Recursion {
    let (mut shares, mut ones) = ([(0.0, 0.0); STEPS - 1], [0.0; STEPS - 1]);
    let (mut variance, mut one, mut squares, mut logs) = (1.0f64, 1.0, 1.0, 0.0);
    for (share, independent) in shares.iter_mut().zip(&mut ones) {
        let theta = correlation / variance;
        variance = 1.0 - correlation * theta;
        one = 1.0 - theta * one;
        (*share, *independent) = ((theta, variance), one);
        squares += one * one / variance;
        logs += variance.ln();
    }
    Recursion { shares, ones, squares, logs }
}

/// Score of the drift in standard deviations: the signed root of the likelihood ratio between a walk with a drift and one
/// without. Were the correlation known, one walk in 160 would reach 2.5 by chance and one in 740 would reach 3.
pub(crate) fn drift_score(y: &[f64; POINTS]) -> f64 {
    let (mut still, mut drifting, mut sign) = (f64::NEG_INFINITY, f64::NEG_INFINITY, 0.0);
    for recursion in &*RECURSIONS {
        let fit = fit(y, recursion);
        still = still.max(fit.still);
        if fit.drifting > drifting {
            (drifting, sign) = (fit.drifting, fit.sign);
        }
    }
    let ratio = drifting - still;
    if ratio > 0.0 { sign * ratio.sqrt() } else { 0.0 }
}

/// How well the steps are described by one correlation: twice the log likelihood, but for what all share.
struct Fit {
    still: f64,
    drifting: f64,
    /// Of the drift.
    sign: f64,
}

/// Of the steps and, beside them, of steps of 1, whose regression is the drift.
fn fit(y: &[f64; POINTS], recursion: &Recursion) -> Fit {
    let mut step = y[1] - y[0];
    let (mut squares, mut along) = (step * step, step);
    for (k, ((theta, variance), one)) in recursion.shares.iter().zip(&recursion.ones).enumerate() {
        step = y[k + 2] - y[k + 1] - theta * step;
        squares += step * step / variance;
        along += step * one / variance;
    }
    let likelihood =
        |squares: f64| -(STEPS as f64) * squares.max(f64::MIN_POSITIVE).ln() - recursion.logs;
    // What rounding leaves of a perfect line is no noise.
    let left = (squares - along * along / recursion.squares).max(1e-12 * squares);
    Fit { still: likelihood(squares), drifting: likelihood(left), sign: along.signum() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::noise::normal;

    /// Of 10 000 series that start at 0 and are made of normal numbers, those whose drift scores 3 or more.
    fn reach_3(mut next: impl FnMut(f64, f64) -> f64) -> u32 {
        let mut state = 11;
        (0..10_000)
            .map(|_| {
                let mut level = 0.0;
                let y = std::array::from_fn(|_| {
                    level = next(level, normal(&mut state));
                    level
                });
                u32::from(drift_score(&y) >= 3.0)
            })
            .sum()
    }

    #[test]
    fn a_walk_rarely_seems_to_drift() {
        // One side of a normal distribution at 3: 13.5 of 10 000. Small samples and the choice of the correlation make it more.
        let found = reach_3(|level, step| level + step);
        assert!((5..=45).contains(&found), "{found}");
    }

    #[test]
    fn what_returns_to_a_mean_seems_to_drift_no_oftener() {
        for memory in [0.0, 0.5, 0.9, 0.97] {
            let found = reach_3(|level, step| memory * level + step);
            assert!(found <= 45, "{found} at {memory}");
        }
    }

    #[test]
    fn a_line_in_white_noise_stands_out_and_a_walk_of_the_same_rise_does_not() {
        let mut state = 5;
        let line: [f64; POINTS] = std::array::from_fn(|k| 0.25 * k as f64 + normal(&mut state));
        assert!(drift_score(&line) > 3.5, "{}", drift_score(&line));
        let mut level = 0.0;
        let walk: [f64; POINTS] = std::array::from_fn(|_| {
            level += normal(&mut state);
            level
        });
        let rise = walk[POINTS - 1] - walk[0];
        let drifting: [f64; POINTS] =
            std::array::from_fn(|k| walk[k] + (12.0 - rise) * k as f64 / STEPS as f64);
        assert!(drift_score(&drifting) < 2.5, "{}", drift_score(&drifting));
    }

    proptest! {
        #[test]
        fn neither_unit_nor_level_matter_and_time_run_backwards_turns_the_sign(
            y in prop::collection::vec(-1e6f64..1e6, POINTS),
            scale in 1e-3f64..1e3,
            level in -1e6f64..1e6,
        ) {
            let y: [f64; POINTS] = std::array::from_fn(|k| y[k]);
            let score = drift_score(&y);
            prop_assert!(score.is_finite());
            let other = drift_score(&y.map(|v| scale * v + level));
            prop_assert!((score - other).abs() <= 1e-3, "{score} {other}");
            let mut back = y;
            back.reverse();
            prop_assert!((score + drift_score(&back)).abs() <= 1e-3, "{score}");
        }

        #[test]
        fn levels_of_any_size_have_a_score(y in prop::collection::vec(0.0f64..1.9e19, POINTS)) {
            let y: [f64; POINTS] = std::array::from_fn(|k| y[k]);
            prop_assert!(drift_score(&y).is_finite());
            prop_assert_eq!(drift_score(&[y[0]; POINTS]), 0.0);
        }
    }
}
