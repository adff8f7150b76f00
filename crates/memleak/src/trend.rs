//! Rank statistics of a window: Theil-Sen slope, Mann-Kendall score, autocorrelation.
//!
//! Sources: P. K. Sen, JASA 63 (1968) 1379 for the slope and its rank interval; M. G. Kendall, Rank Correlation Methods
//! for the score and its variance with ties; the first-order correction of K. H. Hamed and A. R. Rao, J. Hydrology 204
//! (1998) 182 for samples that resemble their neighbours.

use crate::order::{self, key, value};
use crate::window::{POINTS, median};

const PAIRS: usize = POINTS * (POINTS - 1) / 2;
/// Quantile of the normal distribution for a two-sided 95 % interval.
pub(crate) const Z_95: f64 = 1.96;

/// Slopes over a window are in bytes per window: times 1 / span they are bytes per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ranks {
    /// Theil-Sen slope.
    pub(crate) slope: f64,
    /// Mann-Kendall score in standard deviations of independent points.
    pub(crate) score: f64,
}

/// Theil-Sen and Mann-Kendall over equally spaced points.
pub(crate) fn ranks(y: &[f64; POINTS]) -> Ranks {
    Pairs::of(y).ranks()
}

/// Theil-Sen slope over equally spaced points.
pub(crate) fn slope(y: &[f64; POINTS]) -> f64 {
    Pairs::of(y).slope()
}

/// All pairs of points.
pub(crate) struct Pairs<'a> {
    y: &'a [f64; POINTS],
    slopes: [f64; PAIRS],
    /// Pairs that rise less pairs that fall.
    sum: i64,
    /// Of the sum, with the correction for ties.
    variance: f64,
}

/// Slopes among which the median is looked for, at most.
const NEAR: usize = 255;
/// It lies within this many standard deviations of the points (as slopes over the window) of the slope of least squares in 99
/// of 100 windows, as does one slope in fifteen.
const AROUND: f64 = 0.35;

/// The slopes between which the median of all is likely, from the slope of least squares.
fn around(y: &[f64; POINTS]) -> (f64, f64) {
    const LANES: usize = 4;
    let n = POINTS as f64;
    let middle = (n - 1.0) / 2.0;
    // Sums in lanes do not wait for each other.
    let lanes = |of: &dyn Fn(usize) -> f64| {
        let mut sums = [0.0; LANES];
        for k in (0..POINTS).step_by(LANES) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum += of(k + lane);
            }
        }
        sums.iter().sum::<f64>()
    };
    let mean = lanes(&|k| y[k]) / n;
    let sxy = lanes(&|k| (k as f64 - middle) * (y[k] - mean));
    let syy = lanes(&|k| (y[k] - mean) * (y[k] - mean));
    let slope = sxy / (n * (n * n - 1.0) / 12.0);
    let reach = AROUND * ((syy - slope * sxy).max(0.0) / n).sqrt();
    (slope * n - reach, slope * n + reach)
}

impl<'a> Pairs<'a> {
    pub(crate) fn of(y: &'a [f64; POINTS]) -> Self {
        let mut slopes = [0.0; PAIRS];
        let (mut rising, mut falling) = (0i64, 0i64);
        let mut rest = &mut slopes[..];
        for gap in 1..POINTS {
            let scale = POINTS as f64 / gap as f64;
            let (part, after) = rest.split_at_mut(POINTS - gap);
            for ((slope, earlier), later) in part.iter_mut().zip(y).zip(&y[gap..]) {
                let difference = later - earlier;
                rising += i64::from(difference > 0.0);
                falling += i64::from(difference < 0.0);
                *slope = difference * scale;
            }
            rest = after;
        }
        let variance = variance(y, PAIRS as i64 - rising - falling);
        Self { y, slopes, sum: rising - falling, variance }
    }

    pub(crate) fn ranks(&self) -> Ranks {
        Ranks { slope: self.slope(), score: self.score() }
    }

    /// Mann-Kendall score in standard deviations of independent points.
    pub(crate) fn score(&self) -> f64 {
        score(self.sum, self.variance)
    }

    /// Whether the slope is certainly below `slope`: more than half of the pairs are.
    pub(crate) fn rise_less(&self, slope: f64) -> bool {
        let below: u64 = self.slopes.iter().map(|one| u64::from(*one < slope)).sum();
        below > (PAIRS / 2) as u64
    }

    /// Theil-Sen slope: the median, exactly, by selection among the few slopes around that of least squares (the idea of R. W.
    /// Floyd and R. L. Rivest, Communications of the ACM 18 (1975) 165, with a better guess than a sample).
    pub(crate) fn slope(&self) -> f64 {
        let (least, most) = around(self.y);
        let below: u64 = self.slopes.iter().map(|slope| u64::from(*slope < least)).sum();
        let (mut near, mut count) = ([0.0; NEAR + 1], 0);
        for &slope in &self.slopes {
            // Where there are more, the first are overwritten, and none is used.
            near[count & NEAR] = slope;
            count += usize::from(slope >= least) & usize::from(slope <= most);
        }
        match (PAIRS / 2).checked_sub(below as usize) {
            Some(rank) if rank > 0 && rank < count && count <= NEAR => {
                let mut keys = [0; NEAR];
                for (key, slope) in keys.iter_mut().zip(&near[..count]) {
                    *key = order::key(*slope);
                }
                middle(&mut keys[..count], rank)
            }
            _ => middle(&mut self.slopes.map(key), PAIRS / 2),
        }
    }

    /// The 95 % rank interval of the slope, widened by `inflation` (the ratio of the standard deviations).
    pub(crate) fn interval(&self, inflation: f64) -> (f64, f64) {
        let reach = Z_95 * self.variance.sqrt() * inflation;
        let half = PAIRS as f64 / 2.0;
        let rank = |at: f64| at.round().clamp(0.0, (PAIRS - 1) as f64) as usize;
        let (low, high) = (rank(half - reach / 2.0), rank(half + reach / 2.0));
        let mut keys = self.slopes.map(key);
        let (_, &mut least, above) = keys.select_nth_unstable(low);
        let most = match (high - low).checked_sub(1) {
            Some(rank) => *above.select_nth_unstable(rank).1,
            None => least,
        };
        (value(least), value(most))
    }
}

/// The mean of the numbers of `rank` and of the one before it, of their [`key`]s.
fn middle(keys: &mut [i64], rank: usize) -> f64 {
    let (left, &mut upper, _) = keys.select_nth_unstable(rank);
    let lower = left.iter().copied().max().unwrap_or(upper);
    f64::midpoint(value(lower), value(upper))
}

/// Variance of the Mann-Kendall sum, with the correction for ties.
fn variance(y: &[f64; POINTS], tied: i64) -> f64 {
    let term = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    // One or two tied pairs are no triple.
    let mut ties = tied as f64 * term(2.0);
    if tied > 2 {
        let mut sorted = *y;
        sorted.sort_unstable_by(f64::total_cmp);
        let runs = sorted.chunk_by(|a, b| a == b).filter(|run| run.len() > 1);
        ties = runs.map(|run| term(run.len() as f64)).sum();
    }
    ((term(POINTS as f64) - ties) / 18.0).max(0.0)
}

pub(crate) fn score(sum: i64, variance: f64) -> f64 {
    if variance > 0.0 { (sum - sum.signum()) as f64 / variance.sqrt() } else { 0.0 }
}

/// What is left of `y` when a line of `slope` and the median of the rest are taken out.
pub(crate) fn residuals(y: &[f64; POINTS], slope: f64) -> [f64; POINTS] {
    let mut out = [0.0; POINTS];
    for (k, out) in out.iter_mut().enumerate() {
        *out = y[k] - slope * (k as f64 + 0.5) / POINTS as f64;
    }
    let mut sorted = out;
    let middle = median(&mut sorted);
    for out in &mut out {
        *out -= middle;
    }
    out
}

/// Correlation of neighbours, 0 to 0.97: negative correlation is not allowed to sharpen a test.
pub(crate) fn lag_one(residuals: &[f64]) -> f64 {
    let n = residuals.len();
    if n < 3 {
        return 0.0;
    }
    correlation(&residuals[1..], &residuals[..n - 1]).clamp(0.0, 0.97)
}

/// Pearson's correlation; 0 where either side does not vary.
pub(crate) fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len()) as f64;
    let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut saa, mut sbb, mut sab) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        saa += (a - ma) * (a - ma);
        sbb += (b - mb) * (b - mb);
        sab += (a - ma) * (b - mb);
    }
    let r = sab / (saa * sbb).sqrt();
    if r.is_finite() { r } else { 0.0 }
}

/// By how much the standard deviation of a mean grows when neighbours correlate by `rho`.
pub(crate) fn inflation(rho: f64) -> f64 {
    ((1.0 + rho) / (1.0 - rho)).sqrt()
}

/// Standard deviations of a normal distribution in its median absolute deviation.
pub(crate) const MAD: f64 = 1.4826;

/// Standard deviation from the median absolute deviation.
pub(crate) fn robust_deviation(residuals: &[f64; POINTS]) -> f64 {
    let mut sizes = residuals.map(f64::abs);
    MAD * median(&mut sizes)
}

/// How often the values turn by at least half of their range.
pub(crate) fn turns(y: &[f64; POINTS]) -> usize {
    let least = y.iter().copied().fold(f64::INFINITY, f64::min);
    let most = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let size = (most - least) / 2.0;
    let (mut top, mut bottom, mut up, mut turns) = (y[0], y[0], None, 0);
    for &v in y {
        (top, bottom) = (top.max(v), bottom.min(v));
        let rises = v - bottom >= size && up != Some(true);
        let falls = top - v >= size && up != Some(false);
        if size > 0.0 && (rises || falls) {
            turns += usize::from(up.is_some());
            (top, bottom, up) = (v, v, Some(rises));
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points() -> impl Strategy<Value = [f64; POINTS]> {
        prop::collection::vec(-1e9f64..1e9, POINTS).prop_map(|values| {
            let mut points = [0.0; POINTS];
            points.copy_from_slice(&values);
            points
        })
    }

    proptest! {
        #[test]
        fn the_score_depends_on_ranks_only(y in points()) {
            // Monotone and without overflow: the order stays, the distances do not.
            let bent = y.map(|v| (v / 1e9).powi(3) + v / 1e9);
            prop_assert_eq!(ranks(&y).score, ranks(&bent).score);
        }

        #[test]
        fn time_run_backwards_turns_score_and_slope_round(y in points()) {
            let mut back = y;
            back.reverse();
            let (there, here) = (ranks(&y), ranks(&back));
            prop_assert_eq!(there.score, -here.score);
            prop_assert!((there.slope + here.slope).abs() <= 1e-6 * there.slope.abs().max(1.0));
        }

        #[test]
        fn the_slope_lies_between_the_least_and_the_greatest_of_two_points(y in points()) {
            let pairs = Pairs::of(&y);
            let mut slopes = pairs.slopes;
            slopes.sort_unstable_by(f64::total_cmp);
            let slope = pairs.slope();
            prop_assert!(slopes[0] <= slope && slope <= slopes[PAIRS - 1]);
            prop_assert_eq!(slope, median(&mut slopes));
            let (low, high) = pairs.interval(1.0);
            prop_assert!(low <= slope && slope <= high);
        }

        /// Theil-Sen breaks down when more than 29 % of the points are wrong: with a quarter the slope stays near.
        #[test]
        fn a_quarter_of_wild_points_cannot_carry_the_slope_away(
            slope in 1.0f64..1e6,
            wild in prop::collection::vec(-1e12f64..1e12, POINTS / 4),
            places in Just((0..POINTS).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let mut y: [f64; POINTS] = std::array::from_fn(|k| slope * k as f64 / POINTS as f64);
            for (place, wild) in places.iter().zip(wild) {
                y[*place] = wild;
            }
            let found = ranks(&y).slope;
            prop_assert!((found / slope - 1.0).abs() < 1e-6, "{found} for {slope}");
        }
    }

    #[test]
    fn shuffled_points_are_rejected_no_oftener_than_promised() {
        // SplitMix64 of S. Vigna; ten thousand shuffles of the same points.
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let mut y: [f64; POINTS] = std::array::from_fn(|k| (k as f64).powi(2));
        let mut rejected = 0;
        for _ in 0..10_000 {
            for k in (1..POINTS).rev() {
                y.swap(k, (next() % (k as u64 + 1)) as usize);
            }
            rejected += u32::from(ranks(&y).score > 1.645);
        }
        // One side at 5 %: 500 expected, with a standard deviation of 22.
        assert!((400..=570).contains(&rejected), "{rejected}");
    }
}

#[cfg(test)]
mod textbook_tests;
