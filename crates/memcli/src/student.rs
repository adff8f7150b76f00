//! Student's t distribution, by integration: for means of a handful of runs. Pure.

use std::f64::consts::FRAC_PI_2;

/// Mean difference of two groups with its 95 % interval and a two-sided test (Welch's, unequal variances).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Welch {
    /// Mean of the second group - mean of the first.
    pub estimate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How often a difference this large comes about by chance when there is none.
    pub p: f64,
}

/// Compares two groups; `None` unless each has two finite values at least.
#[must_use]
pub fn welch(before: &[f64], after: &[f64]) -> Option<Welch> {
    let (one, two) = (Group::of(before)?, Group::of(after)?);
    let estimate = two.mean - one.mean;
    let error = one.squared_error + two.squared_error;
    if error == 0.0 {
        let p = if estimate == 0.0 { 1.0 } else { 0.0 };
        return Some(Welch { estimate, low: estimate, high: estimate, p });
    }
    // Welch and Satterthwaite's degrees of freedom.
    let freedom = error * error
        / (one.squared_error.powi(2) / (one.n - 1.0) + two.squared_error.powi(2) / (two.n - 1.0));
    let half = quantile(freedom, 0.05) * error.sqrt();
    let p = beyond(freedom, estimate.abs() / error.sqrt());
    Some(Welch { estimate, low: estimate - half, high: estimate + half, p })
}

/// The 95 % interval of the mean of `values`; `None` unless there are two finite values at least.
#[must_use]
pub fn interval(values: &[f64]) -> Option<(f64, f64)> {
    let group = Group::of(values)?;
    let half = quantile(group.n - 1.0, 0.05) * group.squared_error.sqrt();
    Some((group.mean - half, group.mean + half))
}

struct Group {
    n: f64,
    mean: f64,
    /// Variance of the mean.
    squared_error: f64,
}

impl Group {
    fn of(values: &[f64]) -> Option<Self> {
        if values.len() < 2 || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self { n, mean, squared_error: squares / (n - 1.0) / n })
    }
}

/// The chance that |T| is above `t`. With t = sqrt(freedom) tan(a) the density becomes cos(a)^(freedom - 1).
fn beyond(freedom: f64, t: f64) -> f64 {
    let angle = (t / freedom.sqrt()).atan();
    (1.0 - integral(freedom, angle) / integral(freedom, FRAC_PI_2)).clamp(0.0, 1.0)
}

/// Simpson's rule over 0..`to`.
fn integral(freedom: f64, to: f64) -> f64 {
    const STEPS: u32 = 1000;
    let step = to / f64::from(STEPS);
    let value = |n: u32| (step * f64::from(n)).cos().max(0.0).powf(freedom - 1.0);
    let inner: f64 =
        (1..STEPS).map(|n| if n % 2 == 1 { 4.0 * value(n) } else { 2.0 * value(n) }).sum();
    (value(0) + inner + value(STEPS)) * step / 3.0
}

/// The t that |T| passes with this chance.
#[must_use]
pub fn quantile(freedom: f64, chance: f64) -> f64 {
    // With one degree of freedom 5 % lie beyond 12.7; a little less than one cannot come from two groups of two.
    let (mut low, mut high) = (0.0, 1000.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if beyond(freedom, middle) > chance { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, t) in
            [(1.0, 12.706), (2.0, 4.303), (5.0, 2.571), (10.0, 2.228), (30.0, 2.042)]
        {
            assert!(
                (quantile(freedom, 0.05) - t).abs() < 0.002,
                "{freedom}: {}",
                quantile(freedom, 0.05)
            );
        }
    }

    #[test]
    fn unequal_variances_are_taken_as_they_are() {
        // By hand: t = 1.9215 with 7.09 degrees of freedom; the density summed up gives p = 0.0956.
        let test = welch(&[1., 2., 3., 4., 5.], &[3., 4., 5., 6., 9.]).unwrap();
        assert!((test.estimate - 2.4).abs() < 1e-9);
        assert!((test.p - 0.0956).abs() < 0.0002, "{}", test.p);
        assert!(test.low < 0.0 && test.high > 4.8);
    }

    #[test]
    fn one_run_a_side_is_no_test_and_equal_runs_do_not_differ() {
        assert_eq!(welch(&[1.0], &[2.0, 3.0]), None);
        assert_eq!(welch(&[1.0, f64::NAN], &[2.0, 3.0]), None);
        assert_eq!(welch(&[5.0, 5.0], &[5.0, 5.0]).unwrap().p, 1.0);
        assert_eq!(welch(&[5.0, 5.0], &[6.0, 6.0]).unwrap().p, 0.0);
    }
}
