//! Is a rise more than noise without a scale of its own would show?
//!
//! Pink noise, whose power is one over the frequency, remembers at every scale: whatever a window spans, some of it rises
//! throughout the window by chance, and neither ranks nor a walk seen through white noise describe that. Its covariance on
//! equally spaced points is known but for a level and a unit: minus the logarithm of the distance, as an intrinsic
//! covariance (B. B. Mandelbrot and J. W. Van Ness, SIAM Review 10 (1968) 422 for the noise; G. Matheron, Advances in Applied
//! Probability 5 (1973) 439 for covariances without a level). So the slope by generalised least squares (A. C. Aitken, Proc.
//! Royal Society of Edinburgh 55 (1935) 42) and its standard error are fixed forms of the points: the steps from point to
//! point, in which no level is left, are made independent by the recursion of Durbin and Levinson (P. J. Brockwell and R. A.
//! Davis, Time Series: Theory and Methods, 1991, section 5.2), and a line is fitted to what that leaves.

use std::f64::consts::{FRAC_PI_2, TAU};
use std::sync::LazyLock;

use crate::window::{POINTS, Window};

/// Steps from point to point.
const STEPS: usize = POINTS - 1;

type Steps = [f64; STEPS];

/// What makes the steps of pink noise independent: row `k` gives the new of step `k` from the steps up to it.
static WHITE: LazyLock<Vec<Vec<f64>>> = LazyLock::new(|| durbin_levinson(&covariances()));

/// Computes the rows now rather than at the first look: a push must not pay for it.
pub(crate) fn prepare() {
    LazyLock::force(&WHITE);
}

/// Covariances of the steps between neighbouring points, each the mean of pink noise over its time, by distance.
fn covariances() -> Steps {
    // The logarithm, integrated twice; twice differenced it is the covariance of two means, and that differenced again twice
    // the covariance of two steps.
    let integral = |h: f64| h * h * (0.75 - 0.5 * h.abs().max(f64::MIN_POSITIVE).ln());
    let means = |h: f64| integral(h + 1.0) - 2.0 * integral(h) + integral(h - 1.0);
    std::array::from_fn(|k| {
        let h = k as f64;
        2.0 * means(h) - means(h - 1.0) - means(h + 1.0)
    })
}

fn durbin_levinson(covariances: &Steps) -> Vec<Vec<f64>> {
    // What each step is predicted by, the newest first, and the variance of what is not predicted.
    let (mut predictor, mut variance) = (Vec::new(), covariances[0]);
    let mut rows = Vec::with_capacity(STEPS);
    for k in 0..STEPS {
        let deviation = variance.sqrt();
        let mut row: Vec<f64> = predictor.iter().rev().map(|by: &f64| -by / deviation).collect();
        row.push(1.0 / deviation);
        rows.push(row);
        let Some(next) = covariances.get(k + 1) else { break };
        let known: f64 = (0..k).map(|j| predictor[j] * covariances[k - j]).sum();
        let partial = (next - known) / variance;
        let shorter = predictor.clone();
        for (j, by) in predictor.iter_mut().enumerate() {
            *by -= partial * shorter[k - 1 - j];
        }
        predictor.push(partial);
        variance *= 1.0 - partial * partial;
    }
    rows
}

/// By how many standard errors a window grows, were its noise pink, both by its level and by its low level; beside a cycle of
/// `period` seconds, if it has one.
///
/// Student's distribution with 46 degrees of freedom (44 beside a cycle) for pink noise alone: 5 is reached once in 200 000
/// windows.
pub(crate) fn pink_score(window: &Window, period: Option<f64>) -> f64 {
    let turn = period.map(|period| TAU * window.span / period / POINTS as f64);
    let score = |y| slope_score(y, window.filled, turn);
    score(&window.level).min(score(&window.low))
}

/// The slope's score, beside a sine that turns by `turn` radians from point to point.
fn slope_score(y: &[f64; POINTS], filled: usize, turn: Option<f64>) -> f64 {
    let mut known: Vec<Steps> = Vec::new();
    if let Some(turn) = turn {
        for phase in [0.0, FRAC_PI_2] {
            let mut wave = independent(&std::array::from_fn(|k| (turn * k as f64 + phase).sin()));
            take_out(&known, &mut wave);
            known.push(unit(wave));
        }
    }
    let mut line = independent(&std::array::from_fn(|k| k as f64));
    take_out(&known, &mut line);
    let line = unit(line);
    let mut left = independent(y);
    let all = dot(&left, &left);
    take_out(&known, &mut left);
    let along = dot(&left, &line);
    // What rounding leaves of a perfect line is no noise; points without samples are none.
    let rest = (dot(&left, &left) - along * along).max(1e-12 * all);
    let free = filled.saturating_sub(2 + known.len()).max(1) as f64;
    along / (rest / free).sqrt().max(f64::MIN_POSITIVE)
}

/// The steps between points, made independent of each other.
fn independent(y: &[f64; POINTS]) -> Steps {
    let steps: Steps = std::array::from_fn(|k| y[k + 1] - y[k]);
    std::array::from_fn(|k| WHITE[k].iter().zip(&steps).map(|(by, step)| by * step).sum())
}

fn take_out(known: &[Steps], from: &mut Steps) {
    for one in known {
        let along = dot(from, one);
        for (from, one) in from.iter_mut().zip(one) {
            *from -= along * one;
        }
    }
}

fn unit(mut steps: Steps) -> Steps {
    let length = dot(&steps, &steps).sqrt().max(f64::MIN_POSITIVE);
    for step in &mut steps {
        *step /= length;
    }
    steps
}

fn dot(a: &Steps, b: &Steps) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::noise::normal;

    fn score(y: &[f64; POINTS], turn: Option<f64>) -> f64 {
        slope_score(y, POINTS, turn)
    }

    /// Points whose steps have the covariances of pink noise: [`WHITE`], undone.
    fn pink(state: &mut u64) -> [f64; POINTS] {
        let mut steps: Vec<f64> = Vec::new();
        for row in WHITE.iter() {
            let (own, before) = (row[row.len() - 1], &row[..row.len() - 1]);
            let known: f64 = before.iter().zip(&steps).map(|(by, step)| by * step).sum();
            steps.push((normal(state) - known) / own);
        }
        let mut level = 0.0;
        std::array::from_fn(|k| {
            level += if k > 0 { steps[k - 1] } else { 0.0 };
            level
        })
    }

    #[test]
    fn the_rows_make_the_steps_of_pink_noise_independent() {
        let covariances = covariances();
        for (k, row) in WHITE.iter().enumerate() {
            for (l, other) in WHITE.iter().enumerate() {
                let mut sum = 0.0;
                for (i, a) in row.iter().enumerate() {
                    for (j, b) in other.iter().enumerate() {
                        sum += a * b * covariances[i.abs_diff(j)];
                    }
                }
                assert!((sum - f64::from(u8::from(k == l))).abs() < 1e-9, "{k} {l}: {sum}");
            }
        }
    }

    #[test]
    fn the_covariance_of_two_means_is_minus_the_logarithm_of_a_long_distance() {
        // Two steps a distance h apart: the second difference of the logarithm is -1/h^2.
        let far = covariances()[40];
        assert!((far + 1.0 / 1600.0).abs() < 1e-5, "{far}");
    }

    #[test]
    fn pink_noise_scores_as_student_says() {
        for turn in [None, Some(TAU * 3.0 / POINTS as f64)] {
            let mut state = 17;
            let reached = (0..4000).filter(|_| score(&pink(&mut state), turn) >= 2.5).count();
            // One side of 46 or 44 degrees of freedom at 2.5: 0.8 %.
            assert!((14..=55).contains(&reached), "{reached} {turn:?}");
        }
    }

    #[test]
    fn a_leak_in_white_noise_stands_out_and_a_rise_of_pink_noise_does_not() {
        let mut state = 5;
        let leak: [f64; POINTS] = std::array::from_fn(|k| 0.35 * k as f64 + normal(&mut state));
        assert!(score(&leak, None) > 5.0, "{}", score(&leak, None));
        // The highest of a thousand.
        let highest = (0..1000).map(|_| score(&pink(&mut state), None)).fold(0.0, f64::max);
        assert!((2.0..5.0).contains(&highest), "{highest}");
    }

    #[test]
    fn growth_beside_a_cycle_is_seen_once_the_cycle_is_known() {
        let turn = TAU * 2.6 / POINTS as f64;
        let mut state = 3;
        let y: [f64; POINTS] = std::array::from_fn(|k| {
            0.4 * k as f64 + 20.0 * (turn * k as f64 + 1.0).sin() + normal(&mut state)
        });
        assert!(score(&y, None) < 5.0, "{}", score(&y, None));
        assert!(score(&y, Some(turn)) > 6.0, "{}", score(&y, Some(turn)));
    }

    #[test]
    fn points_without_samples_are_no_evidence() {
        let mut state = 9;
        let y: [f64; POINTS] = std::array::from_fn(|k| 0.2 * k as f64 + normal(&mut state));
        assert!(slope_score(&y, 12, None) < 0.6 * slope_score(&y, POINTS, None));
    }

    proptest! {
        #[test]
        fn neither_unit_nor_level_matter_and_time_run_backwards_turns_the_sign(
            y in prop::collection::vec(-1e6f64..1e6, POINTS),
            scale in 1e-3f64..1e3,
            level in -1e6f64..1e6,
        ) {
            let y: [f64; POINTS] = std::array::from_fn(|k| y[k]);
            let found = score(&y, None);
            prop_assert!(found.is_finite());
            let other = score(&y.map(|v| scale * v + level), None);
            prop_assert!((found - other).abs() <= 1e-3, "{found} {other}");
            let mut back = y;
            back.reverse();
            prop_assert!((found + score(&back, None)).abs() <= 1e-6, "{found}");
        }

        #[test]
        fn levels_of_any_size_have_a_score(
            y in prop::collection::vec(0.0f64..1.9e19, POINTS),
            turn in 0.0f64..7.0,
        ) {
            let y: [f64; POINTS] = std::array::from_fn(|k| y[k]);
            prop_assert!(score(&y, None).is_finite());
            prop_assert!(score(&y, Some(turn)).is_finite());
            prop_assert_eq!(score(&[y[0]; POINTS], None), 0.0);
        }
    }
}
