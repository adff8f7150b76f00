//! The rank statistics against their definitions, written down once more in the plainest form.

use proptest::prelude::*;

use super::*;

fn slope_interval(y: &[f64; POINTS], inflation: f64) -> (f64, f64, f64) {
    let pairs = Pairs::of(y);
    let slope = pairs.slope();
    let (low, high) = pairs.interval(inflation);
    (slope, low, high)
}

fn points() -> impl Strategy<Value = [f64; POINTS]> {
    // Whole numbers of a narrow range, so that ties occur.
    prop::collection::vec(-40i32..40, POINTS)
        .prop_map(|values| std::array::from_fn(|k| f64::from(values[k])))
}

/// M. G. Kendall: (n (n - 1) (2 n + 5) - the same of each group of equals) / 18.
fn kendall(y: &[f64; POINTS]) -> f64 {
    let term = |n: u32| f64::from(n * (n - 1) * (2 * n + 5));
    let mut groups = std::collections::BTreeMap::new();
    y.iter().for_each(|y| *groups.entry(*y as i32).or_insert(0u32) += 1);
    (term(POINTS as u32) - groups.values().map(|n| term(*n)).sum::<f64>()) / 18.0
}

/// Slopes over the whole window between each two points, sorted.
fn slopes(y: &[f64; POINTS]) -> Vec<f64> {
    let mut slopes = Vec::new();
    for (i, j) in (0..POINTS).flat_map(|i| (i + 1..POINTS).map(move |j| (i, j))) {
        slopes.push((y[j] - y[i]) * (POINTS as f64 / (j - i) as f64));
    }
    slopes.sort_by(f64::total_cmp);
    slopes
}

fn score_of(y: &[f64; POINTS]) -> f64 {
    let mut sum = 0;
    for (i, j) in (0..POINTS).flat_map(|i| (i + 1..POINTS).map(move |j| (i, j))) {
        sum += match y[j].total_cmp(&y[i]) {
            std::cmp::Ordering::Greater => 1,
            std::cmp::Ordering::Less => -1,
            std::cmp::Ordering::Equal => 0,
        };
    }
    let deviation = kendall(y).sqrt();
    // With the correction for continuity.
    if deviation > 0.0 { f64::from(sum - i32::signum(sum)) / deviation } else { 0.0 }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slope_score_and_interval_are_those_of_the_definitions(y in points(), inflation in 1.0f64..4.0) {
        let ranks = ranks(&y);
        let slopes = slopes(&y);
        let n = slopes.len();
        prop_assert_eq!(n, PAIRS);
        prop_assert!(close(ranks.slope, (slopes[n / 2 - 1] + slopes[n / 2]) / 2.0));
        prop_assert!(close(ranks.score, score_of(&y)), "{} for {}", ranks.score, score_of(&y));
        let (middle, low, high) = slope_interval(&y, inflation);
        let reach = 1.96 * kendall(&y).sqrt() * inflation;
        let rank = |rank: f64| slopes[(rank.round().max(0.0) as usize).min(n - 1)];
        prop_assert_eq!(middle, ranks.slope);
        prop_assert_eq!(low, rank((n as f64 - reach) / 2.0));
        prop_assert_eq!(high, rank((n as f64 + reach) / 2.0));
    }

    #[test]
    fn a_line_taken_out_leaves_what_was_added_to_it(y in points(), slope in -1e3f64..1e3) {
        let line = |k: usize| 7.0 + slope * (k as f64 + 0.5) / POINTS as f64;
        let around = residuals(&std::array::from_fn(|k| line(k) + y[k]), slope);
        let mut sorted = y;
        let middle = median(&mut sorted);
        for (around, y) in around.iter().zip(&y) {
            prop_assert!(close(*around, y - middle), "{around} for {}", y - middle);
        }
    }

    #[test]
    fn a_correlation_is_pearsons(pairs in prop::collection::vec((-50i32..50, -50i32..50), 2..60)) {
        let (a, b): (Vec<f64>, Vec<f64>) =
            pairs.iter().map(|(a, b)| (f64::from(*a), f64::from(*b))).unzip();
        let n = a.len() as f64;
        let sum = |of: &dyn Fn(usize) -> f64| (0..a.len()).map(of).sum::<f64>();
        // The one-pass form: n sum(ab) - sum(a) sum(b), over the roots of the same of aa and bb. Whole numbers, so it is exact.
        let of = |x: &[f64], y: &[f64]| {
            n * sum(&|i| x[i] * y[i]) - sum(&|i| x[i]) * sum(&|i| y[i])
        };
        let spread = of(&a, &a) * of(&b, &b);
        let truth = if spread > 0.0 { of(&a, &b) / spread.sqrt() } else { 0.0 };
        let found = correlation(&a, &b);
        prop_assert!((found - truth).abs() < 1e-9, "{found} for {truth}");
    }
}

/// Sizes are large and what they vary by is small: no digit of that may drown in the products.
#[test]
fn a_correlation_of_large_sizes_is_that_of_their_noise() {
    // A prime number of points, so that the mean of whole numbers is none and has to be rounded.
    const N: usize = 47;
    let noise = |k: usize, step: usize| ((k * step) % 101) as f64;
    let a: [f64; N] = std::array::from_fn(|k| noise(k, 37));
    let b: [f64; N] = std::array::from_fn(|k| noise(k, 37) + noise(k, 61));
    let large = |y: [f64; N]| y.map(|y| y + 16.0 * 1024.0 * 1024.0 * 1024.0);
    let (small, found) = (correlation(&a, &b), correlation(&large(a), &large(b)));
    assert!(small > 0.5 && (found - small).abs() < 1e-7, "{found} for {small}");
}

#[test]
fn the_interval_ends_at_the_outermost_slopes() {
    let y: [f64; POINTS] = std::array::from_fn(|k| ((k * 29) % 47) as f64);
    let slopes = slopes(&y);
    let (_, low, high) = slope_interval(&y, 1e6);
    assert_eq!((low, high), (slopes[0], slopes[PAIRS - 1]));
}

#[test]
fn points_that_are_all_equal_show_nothing() {
    assert_eq!(ranks(&[3.0; POINTS]), Ranks { slope: 0.0, score: 0.0 });
    assert_eq!(slope_interval(&[3.0; POINTS], 1.0), (0.0, 0.0, 0.0));
}

#[test]
fn neighbours_that_resemble_each_other_correlate_and_alternating_ones_count_for_none() {
    assert_eq!(lag_one(&[]), 0.0);
    assert_eq!(lag_one(&[1.0, 2.0]), 0.0, "two points have one pair of neighbours");
    assert_eq!(lag_one(&[1.0, 2.0, 3.0]), 0.97, "never quite one: inflation has to be finite");
    assert_eq!(lag_one(&[1.0, -1.0, 1.0, -1.0, 1.0]), 0.0);
    let found = lag_one(&[0.0, 1.0, 2.0, 0.0, 1.0]);
    let truth = correlation(&[1.0, 2.0, 0.0, 1.0], &[0.0, 1.0, 2.0, 0.0]).max(0.0);
    assert_eq!(found, truth);
    let rising = lag_one(&[0.0, 1.0, 1.0, 2.0, 5.0]);
    assert!(close(rising, correlation(&[1.0, 1.0, 2.0, 5.0], &[0.0, 1.0, 1.0, 2.0])));
    assert!(rising > 0.7 && rising < 0.97, "{rising}");
}

#[test]
fn correlated_points_are_worth_fewer() {
    // (1 + 0.6) / (1 - 0.6) = 4, and a deviation grows by its root.
    assert!(close(inflation(0.0), 1.0) && close(inflation(0.6), 2.0) && close(inflation(0.8), 3.0));
}

#[test]
fn half_of_the_points_may_be_wild_without_the_deviation_minding() {
    let mut around: [f64; POINTS] = std::array::from_fn(|k| if k % 2 == 0 { 2.0 } else { -2.0 });
    assert!(close(robust_deviation(&around), 2.0 * 1.4826));
    around.iter_mut().take(POINTS / 2 - 1).for_each(|wild| *wild = 1e12);
    assert!(close(robust_deviation(&around), 2.0 * 1.4826));
}
