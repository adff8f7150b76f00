//! Student's t distribution for whole degrees of freedom.

use std::f64::consts::FRAC_2_PI;

/// The chance of a value at least this far from zero: formulas 26.7.3 and 26.7.4 of M. Abramowitz and I. A. Stegun, Handbook
/// of Mathematical Functions.
pub(crate) fn two_sided(t: f64, freedom: u32) -> f64 {
    let angle = (t.abs() / f64::from(freedom.max(1)).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    let (mut term, mut sum) = (if odd { cos } else { 1.0 }, 0.0);
    let mut power = if odd { 1 } else { 0 };
    while power + 2 <= freedom {
        sum += term;
        term *= cos * cos * f64::from(power + 1) / f64::from(power + 2);
        power += 2;
    }
    let within = if odd { FRAC_2_PI * (angle + sin * sum) } else { sin * sum };
    (1.0 - within).clamp(0.0, 1.0)
}

/// How far from zero a value lies once in 20.
pub(crate) fn quantile_95(freedom: u32) -> f64 {
    // 12.7 at one degree, and less with each further one.
    let (mut low, mut high) = (1.0, 13.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if two_sided(middle, freedom) > 0.05 { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_are_those_of_the_tables() {
        for (freedom, expected) in
            [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (10, 2.228), (46, 2.013)]
        {
            let found = quantile_95(freedom);
            assert!((found - expected).abs() < 6e-4, "{freedom}: {found}");
        }
        assert!((two_sided(0.0, 7) - 1.0).abs() < 1e-12 && two_sided(50.0, 40) < 1e-12);
    }
}
