//! Has growth come to rest? A fill that has just ended looks like growth over any window that is longer than the rest.

use crate::growth::quick_growth;
use crate::trend::lag_one;
use crate::window::POINTS;

/// Points at the start of a window that the line is fitted to; a rest is looked for among the others.
const BEFORE: usize = 38;
/// A rest is at least this many points.
const LEAST_REST: usize = 2;

/// Whether the level has not risen for longer than at any time before in the window: growth in steps rests, but not longer
/// and longer.
pub(crate) fn stands_still(level: &[f64; POINTS]) -> bool {
    let rise = quick_growth(level) / POINTS as f64;
    let (mut top, mut rest, mut longest) = (level[0], 0usize, 2usize);
    for &y in level {
        if y > top + 0.25 * rise {
            top = y;
            longest = longest.max(rest);
            rest = 0;
        } else {
            rest += 1;
        }
    }
    rest > longest + 1
}

/// By how much the newest points are described better by a rest than by the line through the points before: the difference
/// of the squared deviations in variances around that line, for the length of rest that suits best. The variance is that of
/// correlated points, so that steps and bursts, which leave the line at every rest, ask for a longer one.
pub(crate) fn rest_gain(level: &[f64; POINTS]) -> f64 {
    let n = BEFORE as f64;
    let (middle, mean) = ((n - 1.0) / 2.0, level[..BEFORE].iter().sum::<f64>() / n);
    let (mut sxx, mut sxy) = (0.0, 0.0);
    for (k, y) in level[..BEFORE].iter().enumerate() {
        sxx += (k as f64 - middle).powi(2);
        sxy += (k as f64 - middle) * (y - mean);
    }
    let line = |k: usize| mean + sxy / sxx * (k as f64 - middle);
    let left: [f64; BEFORE] = std::array::from_fn(|k| level[k] - line(k));
    let rho = lag_one(&left).min(0.9);
    let squares = left.iter().map(|v| v * v).sum::<f64>();
    let variance = squares / (n - 2.0) * (1.0 + rho) / (1.0 - rho);
    let mut best = 0.0f64;
    for rest in LEAST_REST..=POINTS - BEFORE {
        let from = POINTS - rest;
        let newest = &level[from..];
        let mean = newest.iter().sum::<f64>() / rest as f64;
        if mean >= f64::midpoint(line(from), line(POINTS - 1)) {
            continue;
        }
        let around: f64 = newest.iter().map(|y| (y - mean).powi(2)).sum();
        let off: f64 = (from..POINTS).map(|k| (level[k] - line(k)).powi(2)).sum();
        best = best.max((off - around) / variance.max(f64::MIN_POSITIVE));
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth::MIB;

    fn level(f: impl Fn(f64) -> f64) -> [f64; POINTS] {
        std::array::from_fn(|k| 100.0 * MIB + 40.0 * MIB * f(k as f64 / POINTS as f64))
    }

    /// With noise that has no trend, 1 % of the rise.
    fn noisy(f: impl Fn(f64) -> f64) -> [f64; POINTS] {
        let mut level = level(f);
        for (k, y) in level.iter_mut().enumerate() {
            *y += 0.4 * MIB * (f64::from(k as u32 * 7919 % 13) / 13.0 - 0.5);
        }
        level
    }

    #[test]
    fn a_fill_that_has_just_ended_stands_still_and_steady_growth_does_not() {
        assert!(stands_still(&level(|x| x.min(0.85))));
        assert!(!stands_still(&level(|x| x)));
    }

    #[test]
    fn a_rest_no_longer_than_those_before_is_no_standstill() {
        let stairs = |x: f64| (x * 6.0).floor() / 6.0;
        assert!(!stands_still(&level(stairs)));
        assert!(stands_still(&level(|x| stairs(x.min(0.6)))));
    }

    #[test]
    fn a_rest_of_four_points_is_seen_where_growth_was_steady() {
        assert!(rest_gain(&noisy(|x| x.min(0.9))) > 20.0);
        assert!(rest_gain(&noisy(|x| x)) < 10.0);
    }

    #[test]
    fn growth_in_steps_and_growth_that_speeds_up_do_not_rest() {
        for steps in [4.0, 6.0, 9.0, 20.0] {
            let stairs = |x: f64| (x * steps).floor() / steps;
            assert!(rest_gain(&noisy(stairs)) < 20.0, "{steps}: {}", rest_gain(&noisy(stairs)));
        }
        assert!(rest_gain(&noisy(|x| x * x)) < 10.0);
    }
}
