//! Does one window show growth without a bound? Every test a window must pass, in order of cost.

use crate::saturation::saturation;
use crate::trend::{Pairs, inflation, lag_one, residuals, robust_deviation};
use crate::tuning::Tuning;
use crate::window::{POINTS, Window, median, quantile};

pub(crate) const MIB: f64 = 1_048_576.0;
/// Growth below this share of the level is not told from drift of the whole.
pub(crate) const LEAST_SHARE: f64 = 0.006;
/// Growth must be this many standard deviations of the change from one point to the next (times 0.7, the share of that
/// deviation that independent noise puts into one point).
const LEAST_DEVIATIONS: f64 = 3.5 * 0.7;
/// Growth must be this share of the 10 to 90 % range around the trend.
const LEAST_RANGE: f64 = 0.8;
/// Mann-Kendall score, after correction for autocorrelation.
const LEAST_SCORE: f64 = 4.2;
/// Or this score without the correction, when the growth is far outside the residuals.
const PLAIN_SCORE: f64 = 7.0;
/// A bounded model wins when its slope at the end is below this share of its mean slope.
const BOUNDED_TERMINAL: f64 = 0.6;
/// The later half must hold this share of the growth.
const LEAST_HALF: f64 = 0.35;
/// The floor's own test is for swings of at least this share of the growth.
const LEAST_SWING: f64 = 0.25;
/// Blocks of equal time that the growth must be spread over.
const BLOCKS: usize = 8;

/// A window whose ends differ by less than this share of the least growth is not looked at closely.
pub(crate) const QUICK_SHARE: f64 = 0.4;

/// What a window failed, or that it passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Finding {
    /// Growth with no bound in sight.
    Grows,
    /// No rise at all.
    NoRise,
    /// A rise that chance explains.
    Chance,
    /// A rise too small for its noise, its level or its swing.
    Small,
    /// All of the rise lies in a few blocks.
    Lumpy,
    /// The rise is ending.
    Ending,
    /// A bounded model explains it better.
    Bounded,
}

/// A window's growth and what the tests made of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    pub(crate) finding: Finding,
    /// Bytes per second.
    pub(crate) rate: f64,
    /// Bytes over the window: the lesser of the level's growth and the low level's.
    pub(crate) bytes: f64,
    /// Corrected Mann-Kendall score.
    pub(crate) score: f64,
    /// Correlation of neighbouring points around the trend.
    pub(crate) rho: f64,
    /// Robust standard deviation around the trend, in bytes.
    pub(crate) noise: f64,
    /// The floor under a swing rises.
    pub(crate) rising_floor: bool,
    /// The growth that the size tests ask for, in bytes.
    pub(crate) needed: f64,
    /// That is a share of the level, and noise and swing ask for less.
    pub(crate) by_level: bool,
}

impl Growth {
    /// A window without a rise, where growth below `least` bytes is none.
    pub(crate) fn none(least: f64) -> Self {
        Self {
            finding: Finding::NoRise,
            rate: 0.0,
            bytes: 0.0,
            score: 0.0,
            rho: 0.0,
            noise: 0.0,
            rising_floor: false,
            needed: least,
            by_level: false,
        }
    }
}

/// Independent points that `filled` correlated ones are worth.
pub(crate) fn effective(rho: f64, filled: usize) -> f64 {
    (filled as f64 * (1.0 - rho) / (1.0 + rho)).max(8.0)
}

/// Applies all tests to a window; growth below `least` bytes passes none, and of a window that shows no more than that
/// nothing else is told.
pub(crate) fn growth(window: &Window, tuning: &Tuning, least: f64) -> Growth {
    // Most windows of most series end here: a tenth of the cost of the rank statistics.
    if quick_growth(&window.level) < QUICK_SHARE * least {
        return Growth::none(least);
    }
    let floor = floor_rises(&window.low);
    let low = Pairs::of(&window.low);
    if floor.is_none() && low.rise_less(least) {
        return Growth::none(least);
    }
    let level = Pairs::of(&window.level);
    if floor.is_none() && level.rise_less(least) {
        return Growth::none(least);
    }
    Measured::of(window, tuning, least, &level, &low)
        .tested(floor, || spread_over_blocks(&window.low))
}

/// The growth of a window that passes all tests: what [`growth`] finds, with the cheapest tests first.
pub(crate) fn grows(window: &Window, tuning: &Tuning, least: f64) -> Option<Growth> {
    if quick_growth(&window.level) < QUICK_SHARE * least {
        return None;
    }
    let floor = floor_rises(&window.low);
    let fails = |pairs: &Pairs<'_>| {
        floor.is_none() && (pairs.rise_less(least) || pairs.score() < LEAST_SCORE)
    };
    if floor.is_none() && spread_over_blocks(&window.low).is_some() {
        return None;
    }
    let low = Pairs::of(&window.low);
    if fails(&low) {
        return None;
    }
    let level = Pairs::of(&window.level);
    if fails(&level) {
        return None;
    }
    let spread = || floor.and_then(|_| spread_over_blocks(&window.low));
    let found = Measured::of(window, tuning, least, &level, &low).tested(floor, spread);
    (found.finding == Finding::Grows).then_some(found)
}

/// [`growth`] with all its figures, also where a quick look sees no rise.
pub(crate) fn measured(window: &Window, tuning: &Tuning, least: f64) -> Growth {
    let (level, low) = (Pairs::of(&window.level), Pairs::of(&window.low));
    let measured = Measured::of(window, tuning, least, &level, &low);
    let noise = robust_deviation(&measured.around);
    let spread = || spread_over_blocks(&window.low);
    Growth { noise, ..measured.tested(floor_rises(&window.low), spread) }
}

/// The figures that the tests are of.
struct Measured<'a> {
    window: &'a Window,
    tuning: &'a Tuning,
    least: f64,
    growth: Growth,
    /// Scores before the correction for autocorrelation: of level and low level, the lesser; and of the low level alone.
    plain: f64,
    low_plain: f64,
    /// What is left of the level and of the low level without the trend.
    around: [f64; POINTS],
    low_around: [f64; POINTS],
    /// The share of the level that growth must be, in bytes.
    share: f64,
}

impl<'a> Measured<'a> {
    /// `level` and `low` are those of the window.
    fn of(
        window: &'a Window,
        tuning: &'a Tuning,
        least: f64,
        level: &Pairs<'_>,
        low: &Pairs<'_>,
    ) -> Self {
        let (by_level, by_low) = (level.ranks(), low.ranks());
        let around = residuals(&window.level, by_level.slope);
        let low_around = residuals(&window.low, by_low.slope);
        let rho = lag_one(&around);
        let plain = by_level.score.min(by_low.score);
        let mut sorted = window.level;
        let share = tuning.share * median(&mut sorted);
        let noise = needed(&window.low, &low_around);
        let growth = Growth {
            rate: by_level.slope / window.span,
            bytes: by_level.slope.min(by_low.slope),
            score: plain / inflation(rho),
            rho,
            needed: share.max(noise).max(least),
            by_level: share > noise,
            ..Growth::none(least)
        };
        Self {
            window,
            tuning,
            least,
            growth,
            plain,
            low_plain: by_low.score,
            around,
            low_around,
            share,
        }
    }

    /// The growth and what the tests make of it. `floor` is by how much the floor of the window rises, if it does; `spread` what
    /// is wrong with how the growth is spread over it, if anything.
    fn tested(&self, floor: Option<f64>, spread: impl FnOnce() -> Option<Finding>) -> Growth {
        let Self { tuning, growth: mut out, .. } = *self;
        if out.bytes <= 0.0 {
            return out;
        }
        let least = self.least.max(self.share);
        if let Some(slope) = floor.filter(|slope| *slope >= least)
            && self.low_plain / inflation(lag_one(&self.low_around)) >= tuning.floor
        {
            out.bytes = slope;
            out.rising_floor = true;
            out.finding = Finding::Grows;
            return out;
        }
        out.finding = self.finding(spread);
        out
    }

    fn finding(&self, spread: impl FnOnce() -> Option<Finding>) -> Finding {
        let (growth, low) = (&self.growth, &self.window.low);
        if growth.score < LEAST_SCORE {
            let mut sorted = self.around;
            let range = quantile(&mut sorted, 0.95) - quantile(&mut sorted, 0.05);
            if !(self.plain > PLAIN_SCORE && growth.bytes > 2.2 * range) {
                return Finding::Chance;
            }
        }
        if growth.bytes < growth.needed {
            return Finding::Small;
        }
        if let Some(finding) = spread() {
            return finding;
        }
        let models = saturation(low, self.window.filled);
        if models.gain > self.tuning.bounded && models.terminal < BOUNDED_TERMINAL {
            Finding::Bounded
        } else {
            Finding::Grows
        }
    }
}

/// A cheap look at the growth: the last third's mean over the first third's, extended to the whole window.
pub(crate) fn quick_growth(level: &[f64; POINTS]) -> f64 {
    let third = POINTS / 3;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    1.5 * (mean(&level[POINTS - third..]) - mean(&level[..third]))
}

/// The growth that noise and swing ask for, in bytes.
fn needed(low: &[f64; POINTS], low_around: &[f64; POINTS]) -> f64 {
    let (mut sum, mut squares) = (0.0, 0.0);
    for pair in low.windows(2) {
        let step = pair[1] - pair[0];
        sum += step;
        squares += step * step;
    }
    let n = (POINTS - 1) as f64;
    let step = (squares / n - (sum / n) * (sum / n)).max(0.0).sqrt();
    let mut sorted = *low_around;
    let range = quantile(&mut sorted, 0.9) - quantile(&mut sorted, 0.1);
    (LEAST_DEVIATIONS * step).max(LEAST_RANGE * range)
}

/// Whether the floor under a swing rises: each of six blocks has its lowest point above that of the block before, by much
/// the same step.
///
/// Six equal values in random order rise throughout once in 720 times; blocks shorter than a swing have no trough of
/// their own and do not. The points must cross the trend often, so that a single slow wave does not count, and swing
/// widely: what does not needs no such leniency.
pub(crate) fn floor_rises(low: &[f64; POINTS]) -> Option<f64> {
    const STEPS: usize = 5;
    const WIDTH: usize = POINTS / (STEPS + 1);
    let mut floors = [0.0; STEPS + 1];
    for (floor, part) in floors.iter_mut().zip(low.chunks_exact(WIDTH)) {
        *floor = part.iter().copied().fold(f64::INFINITY, f64::min);
    }
    let total = floors[STEPS] - floors[0];
    let even = floors.windows(2).all(|pair| {
        let step = (pair[1] - pair[0]) * STEPS as f64;
        step > 0.3 * total && step < 2.2 * total
    });
    if total <= 0.0 || !even {
        return None;
    }
    let slope = total * POINTS as f64 / (STEPS * WIDTH) as f64;
    let around = residuals(low, slope);
    let crossings = around.windows(2).filter(|pair| (pair[0] > 0.0) != (pair[1] > 0.0)).count();
    let mut sorted = around;
    let swing = quantile(&mut sorted, 0.95) - quantile(&mut sorted, 0.05);
    (crossings >= 6 && swing > LEAST_SWING * slope).then_some(slope)
}

fn blocks(low: &[f64; POINTS]) -> [f64; BLOCKS] {
    const WIDTH: usize = POINTS / BLOCKS;
    let mut blocks = [0.0; BLOCKS];
    for (block, part) in blocks.iter_mut().zip(low.chunks_exact(WIDTH)) {
        let mut part: [f64; WIDTH] = std::array::from_fn(|k| part[k]);
        *block = median(&mut part);
    }
    blocks
}

/// Growth that is a leak goes on: spread over the blocks of the window, and not dying down at its end.
fn spread_over_blocks(low: &[f64; POINTS]) -> Option<Finding> {
    let blocks = blocks(low);
    let total = blocks[BLOCKS - 1] - blocks[0];
    if total <= 0.0 {
        return Some(Finding::Lumpy);
    }
    let steps: [f64; BLOCKS - 1] = std::array::from_fn(|k| blocks[k + 1] - blocks[k]);
    let rising = steps.iter().filter(|step| **step > -0.02 * total).count();
    let largest = steps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if (rising as f64) < 0.6 * steps.len() as f64 || largest > 0.55 * total {
        return Some(Finding::Lumpy);
    }
    let half = blocks[BLOCKS - 1] - f64::midpoint(blocks[3], blocks[4]);
    let quarter = blocks[BLOCKS - 1] - blocks[BLOCKS - 3];
    if half < LEAST_HALF * total || quarter < 0.2 * 2.0 / 7.0 * total {
        return Some(Finding::Ending);
    }
    None
}
