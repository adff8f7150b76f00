//! Does a bounded model describe a window better than every unbounded one?
//!
//! Each model is a fixed curve on the window's points, free in level and height; all the projections are computed once. A
//! fit is then one dot product.

use std::sync::LazyLock;

use crate::growth::effective;
use crate::trend::lag_one;
use crate::window::{POINTS, Window};

type Curve = [f64; POINTS];

/// A bounded curve.
struct Bounded {
    /// Centred, of unit length.
    axis: Curve,
    /// Slope at the end over the mean slope: 0 for a curve that has gone flat.
    terminal: f64,
}

/// A line with a bend at `at` (0 to 1).
struct Hinge {
    at: f64,
    /// Centred, orthogonal to the line, of unit length.
    axis: Curve,
}

struct Models {
    bounded: Vec<Bounded>,
    /// Powers of time with their curves.
    unbounded: Vec<(f64, Curve)>,
    line: Curve,
    hinges: Vec<Hinge>,
    /// Sines and cosines of all phases of a cycle.
    phases: Vec<(f64, f64)>,
}

static MODELS: LazyLock<Models> = LazyLock::new(models);

/// Computes the models now rather than at the first look: a push must not pay for it.
pub(crate) fn prepare() {
    LazyLock::force(&MODELS);
}

fn x(k: usize) -> f64 {
    (k as f64 + 0.5) / POINTS as f64
}

fn curve(f: impl Fn(f64) -> f64) -> Curve {
    std::array::from_fn(|k| f(x(k)))
}

fn dot(a: &Curve, b: &Curve) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The model whose axis a curve goes along furthest, and the square of how far. Four at once: their sums do not wait for each
/// other.
fn furthest<'m, T>(
    y: &Curve,
    models: &'m [T],
    axis: impl Fn(&'m T) -> &'m Curve,
) -> Option<(f64, &'m T)> {
    let mut best: Option<(f64, &T)> = None;
    for four in models.chunks(4) {
        let mut sums = [0.0; 4];
        if let [a, b, c, d] = four {
            let axes = [axis(a), axis(b), axis(c), axis(d)];
            for k in 0..POINTS {
                for (sum, axis) in sums.iter_mut().zip(axes) {
                    *sum += y[k] * axis[k];
                }
            }
        } else {
            for (sum, model) in sums.iter_mut().zip(four) {
                *sum = dot(y, axis(model));
            }
        }
        for (sum, model) in sums.iter().zip(four) {
            let along = sum.powi(2);
            if best.is_none_or(|(most, _)| along > most) {
                best = Some((along, model));
            }
        }
    }
    best
}

fn centred(mut c: Curve) -> Curve {
    let mean = c.iter().sum::<f64>() / POINTS as f64;
    for v in &mut c {
        *v -= mean;
    }
    c
}

fn unit(mut c: Curve) -> Curve {
    let length = dot(&c, &c).sqrt().max(f64::MIN_POSITIVE);
    for v in &mut c {
        *v /= length;
    }
    c
}

fn models() -> Models {
    let axis = |f: &dyn Fn(f64) -> f64| unit(centred(curve(f)));
    let mut bounded = Vec::new();
    // Exponential approach with time constants of 4 to 80 % of the window.
    for step in 0..9 {
        let tau = 0.04 * 20f64.powf(f64::from(step) / 8.0);
        let terminal = (-1.0 / tau).exp() / tau / (1.0 - (-1.0 / tau).exp());
        bounded.push(Bounded { axis: axis(&|x| 1.0 - (-x / tau).exp()), terminal });
    }
    // A ramp that has ended.
    for step in 0..12 {
        let knee = 0.08 + 0.07 * f64::from(step);
        bounded.push(Bounded { axis: axis(&|x| x.min(knee)), terminal: 0.0 });
    }
    // Flat, a ramp, flat again.
    for first in 0..5 {
        let a = 0.1 + 0.15 * f64::from(first);
        for last in 0..4 {
            let b = a + 0.1 + (0.9 - a - 0.1) * f64::from(last) / 3.0;
            bounded.push(Bounded { axis: axis(&|x| (x - a).clamp(0.0, b - a)), terminal: 0.0 });
        }
    }
    // One step.
    for step in 0..15 {
        let a = 0.06 + 0.88 * f64::from(step) / 14.0;
        bounded.push(Bounded { axis: axis(&|x| f64::from(u8::from(x > a))), terminal: 0.0 });
    }
    // Fragmentation slows down as a power of time.
    for tau in [0.03f64, 0.06, 0.12, 0.2] {
        const POWER: f64 = 1.5;
        let reached = 1.0 - (1.0 + 1.0 / tau).powf(-POWER);
        let terminal = POWER / tau * (1.0 + 1.0 / tau).powf(-POWER - 1.0) / reached;
        bounded.push(Bounded { axis: axis(&|x| 1.0 - (1.0 + x / tau).powf(-POWER)), terminal });
    }
    let unbounded =
        [0.5, 0.65, 0.8, 1.0, 1.5, 2.0, 3.0].map(|p| (p, axis(&|x: f64| x.powf(p)))).into();
    let line = axis(&|x| x);
    let hinges = (0..14)
        .map(|step| {
            let at = 0.1 + 0.05 * f64::from(step);
            let mut bend = centred(curve(|x| (x - at).max(0.0)));
            let along = dot(&bend, &line);
            for (bend, line) in bend.iter_mut().zip(&line) {
                *bend -= along * line;
            }
            Hinge { at, axis: unit(bend) }
        })
        .collect();
    let phase = |phase: u32| std::f64::consts::TAU * f64::from(phase) / f64::from(PHASES);
    let phases = (0..PHASES).map(|k| phase(k).sin_cos()).collect();
    Models { bounded, unbounded, line, hinges, phases }
}

/// How much better the best bounded model fits, and what it says of the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saturation {
    /// Effective points times the log ratio of the residual sums of squares; above 0 the bounded model fits better.
    pub(crate) gain: f64,
    /// Its slope at the end over its mean slope.
    pub(crate) terminal: f64,
}

/// Compares the models on a window of which `filled` points had samples.
///
/// How many independent points the window is worth comes from what the better of the two fits leaves: around a straight
/// line every curve would look correlated.
pub(crate) fn saturation(y: &Curve, filled: usize) -> Saturation {
    let models = &*MODELS;
    let y = centred(*y);
    let total = dot(&y, &y);
    if total <= 0.0 {
        return Saturation { gain: 0.0, terminal: 0.0 };
    }
    let free = furthest(&y, &models.unbounded, |(_, axis)| axis);
    let bound = furthest(&y, &models.bounded, |model| &model.axis);
    let (Some(free), Some(bound)) = (free, bound) else {
        return Saturation { gain: 0.0, terminal: 1.0 };
    };
    if bound.0 <= free.0 {
        return Saturation { gain: 0.0, terminal: 1.0 };
    }
    let least = total * 1e-12;
    let ratio = (total - free.0).max(least) / (total - bound.0).max(least);
    let axis = &bound.1.axis;
    let height = dot(&y, axis);
    let left: Curve = std::array::from_fn(|k| y[k] - height * axis[k]);
    let gain = effective(lag_one(&left), filled) * ratio.ln();
    Saturation { gain, terminal: bound.1.terminal }
}

/// One of many bends fits better than none by chance: so much must be taken from its gain.
const BEND_COST: f64 = 8.0;

/// Phases that a cycle is tried with: every two degrees.
const PHASES: u32 = 180;

/// How much better growth without a bound (a power of time, or a line with one bend) describes a window than a sine of
/// `period` seconds that rises at most `most` bytes above its middle: effective points times the log ratio of the residual
/// sums of squares.
pub(crate) fn beats_cycle(window: &Window, period: f64, most: f64) -> f64 {
    let models = &*MODELS;
    let y = centred(window.level);
    let total = dot(&y, &y);
    let cyclic = beyond_cycle(&y, std::f64::consts::TAU * window.span / period, most);
    let along = |axis: &Curve| dot(&y, axis);
    let mut best = (f64::NEG_INFINITY, y);
    for (_, axis) in &models.unbounded {
        let height = along(axis);
        if height.powi(2) > best.0 {
            best = (height.powi(2), std::array::from_fn(|k| y[k] - height * axis[k]));
        }
    }
    let line = along(&models.line);
    let mut bent = best;
    for hinge in &models.hinges {
        let bend = along(&hinge.axis);
        if line.powi(2) + bend.powi(2) > bent.0 {
            let left = |k: usize| y[k] - line * models.line[k] - bend * hinge.axis[k];
            bent = (line.powi(2) + bend.powi(2), std::array::from_fn(left));
        }
    }
    let least = total * 1e-12;
    let gain = |(height, left): (f64, Curve)| {
        let ratio = cyclic.max(least) / (total - height).max(least);
        effective(lag_one(&left), window.filled) * ratio.ln()
    };
    gain(best).max(gain(bent) - BEND_COST)
}

/// The residual sum of squares of the sine that fits best to centred points over which it turns by `turn` radians, with an
/// amplitude of at most `most`.
///
/// Without that bound a sine is as free as a parabola, and follows every line for hours.
fn beyond_cycle(y: &Curve, turn: f64, most: f64) -> f64 {
    let sine = centred(curve(|x| (turn * x).sin()));
    let cosine = centred(curve(|x| (turn * x).cos()));
    let (ss, sc, cc) = (dot(&sine, &sine), dot(&sine, &cosine), dot(&cosine, &cosine));
    let (ys, yc, yy) = (dot(y, &sine), dot(y, &cosine), dot(y, y));
    let left = |(b, a): &(f64, f64)| {
        let along = a * ys + b * yc;
        let length = a * a * ss + 2.0 * a * b * sc + b * b * cc;
        let height = (along / length.max(f64::MIN_POSITIVE)).min(most).max(0.0);
        yy - 2.0 * height * along + height * height * length
    };
    MODELS.phases.iter().map(left).fold(yy, f64::min)
}

/// A curve counts as better than a line when it explains this much: points times the log ratio of the residuals.
const CURVED: f64 = 8.0;

/// The power of time that fits best; 1 unless another is clearly better than a line.
pub(crate) fn power(y: &Curve) -> f64 {
    let (power, best, straight) = best_power(&centred(*y));
    if POINTS as f64 * (straight / best.max(f64::MIN_POSITIVE)).ln() > CURVED { power } else { 1.0 }
}

/// The power of time that fits centred points best, and the residual sums of squares of it and of a line.
fn best_power(y: &Curve) -> (f64, f64, f64) {
    let models = &*MODELS;
    let total = dot(y, y);
    let rest = |axis: &Curve| {
        let along = dot(y, axis);
        (total - along * along).max(total * 1e-12)
    };
    let straight = rest(&models.line);
    let (power, best) = models
        .unbounded
        .iter()
        .map(|(power, axis)| (*power, rest(axis)))
        .fold((1.0, straight), |best, next| if next.1 < best.1 { next } else { best });
    (power, best, straight)
}

/// Whether growth gets faster all along: a power of time above 1 is clearly better than a line, and better than a line with a bend
/// in it, which is a speed that changed once.
pub(crate) fn speeds_up(y: &Curve) -> bool {
    if power(y) <= 1.0 {
        return false;
    }
    let (_, best, straight) = best_power(&centred(*y));
    let curved = POINTS as f64 * (straight / best.max(f64::MIN_POSITIVE)).ln();
    bend(y, |_| POINTS as f64).is_some_and(|(_, bent)| curved > bent)
}

/// The bend that explains most, as its place (0 to 1) and its gain over a straight line.
pub(crate) fn bend(y: &Curve, effective: impl Fn(&Curve) -> f64) -> Option<(f64, f64)> {
    let models = &*MODELS;
    let y = centred(*y);
    let along = dot(&y, &models.line);
    let mut left = y;
    for (left, line) in left.iter_mut().zip(&models.line) {
        *left -= along * line;
    }
    let straight = dot(&left, &left);
    if straight <= 0.0 {
        return None;
    }
    let (at, rest) = models
        .hinges
        .iter()
        .map(|hinge| {
            let bent = dot(&left, &hinge.axis);
            (hinge.at, (straight - bent * bent).max(straight * 1e-12))
        })
        .min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some((at, effective(&left) * (straight / rest).ln()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: f64 = 86_400.0;
    /// At which the detector stops waiting.
    const ENOUGH: f64 = 4.0;

    /// `hours` of a curve, with a little noise that has no trend.
    fn window(hours: f64, f: impl Fn(f64) -> f64) -> Window {
        let noise = |k: usize| f64::from(k as u32 * 7919 % 13) / 13.0 - 0.5;
        let level: Curve = std::array::from_fn(|k| f(x(k) * hours) + 0.4 * noise(k));
        Window { span: hours * 3600.0, filled: POINTS, level, low: level }
    }

    #[test]
    fn the_rise_of_a_day_is_never_better_described_by_growth_without_a_bound() {
        for hours in [2.0, 4.0, 6.0, 9.0, 12.0] {
            for phase in 0..8 {
                let start = f64::from(phase) / 8.0;
                let rise = |t: f64| 20.0 * (std::f64::consts::TAU * (t / 24.0 + start)).sin();
                let gain = beats_cycle(&window(hours, rise), DAY, 20.0);
                assert!(gain < ENOUGH, "{gain} after {hours} h from phase {start}");
            }
        }
    }

    #[test]
    fn a_straight_leak_is_told_from_a_day_within_half_of_one() {
        let gain = beats_cycle(&window(10.0, |t| 4.0 * t), DAY, f64::INFINITY);
        assert!(gain > ENOUGH, "{gain}");
    }

    #[test]
    fn growth_that_outruns_an_ordinary_day_is_told_where_a_free_sine_would_follow_it() {
        // A sine of amplitude 5 rises by 1.3 an hour at its steepest, and by 10 in all.
        let steep = window(4.0, |t| 2.0 * t);
        assert!(beats_cycle(&steep, DAY, 5.0) > ENOUGH);
        assert!(beats_cycle(&steep, DAY, f64::INFINITY) < ENOUGH);
    }
}
