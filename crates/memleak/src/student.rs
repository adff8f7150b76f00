//! Student's t distribution, and what is tested with it: two means that are each as sure as what they were taken from.
//!
//! For any number of degrees of freedom, whole or not, since Welch's test has seldom a whole one.

/// A difference with its 95 % interval and a test.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Difference {
    /// The estimate, in the unit of what was compared.
    pub estimate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How often a difference this large comes about by chance when there is none (two-sided, Student's t).
    pub p: f64,
}

/// A value and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its standard error, in the same unit.
    pub error: f64,
    /// Degrees of freedom of the error.
    pub freedom: f64,
}

impl Estimate {
    /// The mean of `values`; `None` unless there are two finite ones at least, and no other.
    #[must_use]
    pub fn mean(values: &[f64]) -> Option<Self> {
        if values.len() < 2 || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self { value: mean, error: (squares / (n - 1.0) / n).sqrt(), freedom: n - 1.0 })
    }

    /// How far from the value the ends of its 95 % interval lie.
    #[must_use]
    pub fn reach(&self) -> f64 {
        if self.error > 0.0 { quantile(self.freedom, 0.05) * self.error } else { 0.0 }
    }

    /// What `after` has more than this: Welch's test, in which of two errors the larger decides how many degrees of freedom
    /// there are (B. L. Welch, Biometrika 34 (1947) 28; F. E. Satterthwaite, Biometrics Bulletin 2 (1946) 110).
    #[must_use]
    pub fn difference(&self, after: &Self) -> Difference {
        let estimate = after.value - self.value;
        let error = self.error.hypot(after.error);
        if error == 0.0 {
            let p = if estimate == 0.0 { 1.0 } else { 0.0 };
            return Difference { estimate, low: estimate, high: estimate, p };
        }
        let part = |one: &Self| (one.error / error).powi(4) / one.freedom;
        let freedom = 1.0 / (part(self) + part(after));
        let reach = quantile(freedom, 0.05) * error;
        let p = two_sided(estimate / error, freedom);
        Difference { estimate, low: estimate - reach, high: estimate + reach, p }
    }
}

/// The means of two groups, compared; `None` unless each has two finite values at least, and no other.
#[must_use]
pub fn welch(before: &[f64], after: &[f64]) -> Option<Difference> {
    Some(Estimate::mean(before)?.difference(&Estimate::mean(after)?))
}

/// The chance of a value at least as far from zero as `t`, with more than zero degrees of freedom: formula 26.7.1 of M.
/// Abramowitz and I. A. Stegun, Handbook of Mathematical Functions, by the incomplete beta function.
#[must_use]
pub fn two_sided(t: f64, freedom: f64) -> f64 {
    let square = t * t;
    if square == 0.0 {
        return 1.0;
    }
    // Each side of the middle has a fraction that converges fast.
    let (near, far) = (square / (freedom + square), freedom / (freedom + square));
    if far < (freedom / 2.0 + 1.0) / (freedom / 2.0 + 2.5) {
        beta(freedom / 2.0, 0.5, far, near)
    } else {
        1.0 - beta(0.5, freedom / 2.0, near, far)
    }
    .clamp(0.0, 1.0)
}

/// How far from zero a value lies with this chance, which is more than 0 and at most 1.
#[must_use]
pub fn quantile(freedom: f64, chance: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while two_sided(high, freedom) > chance && high < 1e12 {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if two_sided(middle, freedom) > chance { low = middle } else { high = middle }
    }
    high
}

/// The regularised incomplete beta function at `x`, where `y` is 1 - x: the continued fraction 8.17.22 of the NIST Digital
/// Library of Mathematical Functions, by the method of W. J. Lentz (Applied Optics 15 (1976) 668).
fn beta(a: f64, b: f64, x: f64, y: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const TERMS: u32 = 10_000;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let scale = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * y.ln() - a.ln();
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in (1..TERMS).map(f64::from) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            fraction *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    scale.exp() * fraction
}

/// The logarithm of the gamma function of a positive number: C. Lanczos, SIAM J. Numerical Analysis B 1 (1964) 86, with the
/// coefficients of P. Godfrey for g = 7, good to 1e-14.
fn ln_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const COEFFICIENTS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // Its argument above 1, where the series is good.
        return ln_gamma(x + 1.0) - x.ln();
    }
    let x = x - 1.0;
    let sum = COEFFICIENTS[1..]
        .iter()
        .zip(1u32..)
        .fold(COEFFICIENTS[0], |sum, (coefficient, k)| sum + coefficient / (x + f64::from(k)));
    let t = x + G + 0.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests;
