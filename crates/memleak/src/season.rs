//! Growth under a cycle: the same phase one cycle later, as in the seasonal Kendall test (R. M. Hirsch, J. R. Slack and
//! R. A. Smith, Water Resources Research 18 (1982) 107).

use crate::trend::{MAD, Z_95, correlation};
use crate::window::{History, median, quantile};

const POINTS: usize = 96;
/// The growth from one cycle to the next must be this share of the least growth.
const CYCLE_SHARE: f64 = 0.4;
/// A cycle swings by at least this share of the least growth,
const LEAST_SWING: f64 = 0.2;
/// and of what the line through all rises or falls by: less is how a line falls into points.
const LINE_SWING: f64 = 0.03;
/// Points one cycle apart must correlate by this,
const LEAST_PEAK: f64 = 0.45;
/// and by this over the root of the cycles that are compared: over few cycles, chance correlates more (M. S. Bartlett, J.
/// Royal Statistical Society Suppl. 8 (1946) 27).
const CHANCE_PEAK: f64 = 0.6;
/// A cycle is one with this share of the correlation that several have: a lag in whole points meets one only roughly.
const NEARLY: f64 = 0.6;

/// A cycle and the growth from one to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Season {
    /// Seconds between what is compared: one cycle or a few.
    pub(crate) period: f64,
    /// Seconds in one cycle.
    pub(crate) cycle: f64,
    /// Growth in bytes per second, the median over phases.
    pub(crate) rate: f64,
    /// Half the width of its 95 % interval: phases of one cycle are one observation.
    pub(crate) error: f64,
    /// Growth over the whole history, in bytes.
    pub(crate) growth: f64,
    /// Whether nearly every phase is higher one cycle later, by more than chance.
    pub(crate) grows: bool,
    /// Swing of the cycle, in bytes.
    pub(crate) swing: f64,
}

/// Looks for a cycle in the whole history, which must hold at least two of them. Growth below `least` bytes is none.
pub(crate) fn season(history: &History, least: f64) -> Option<Season> {
    let span = history.span();
    if span <= 0.0 {
        return None;
    }
    let mut sums = [(0.0f64, 0u32); POINTS];
    for bucket in history.buckets() {
        let share = (history.middle(bucket) - history.origin()) / span;
        let at = ((share * POINTS as f64).max(0.0) as usize).min(POINTS - 1);
        sums[at].0 += bucket.mean;
        sums[at].1 += 1;
    }
    let filled = sums.iter().filter(|(_, n)| *n > 0).count();
    if filled < 60 {
        return None;
    }
    let mut m = [0.0; POINTS];
    let mut last = None;
    for k in 0..POINTS {
        let (sum, n) = sums[k];
        if n == 0 {
            continue;
        }
        m[k] = sum / f64::from(n);
        match last {
            None => {
                let first = m[k];
                m[..k].fill(first);
            }
            Some(l) => {
                let (a, b): (f64, f64) = (m[l], m[k]);
                for (step, v) in m[l + 1..k].iter_mut().enumerate() {
                    *v = a + (b - a) * (step + 1) as f64 / (k - l) as f64;
                }
            }
        }
        last = Some(k);
    }
    let last = last?;
    let end = m[last];
    m[last..].fill(end);
    let r = detrended(&m);
    let mut sorted = r;
    let swing = quantile(&mut sorted, 0.92) - quantile(&mut sorted, 0.08);
    let line = (m[POINTS - 1] - r[POINTS - 1]) - (m[0] - r[0]);
    if swing <= 0.0 || swing < (LEAST_SWING * least).max(LINE_SWING * line.abs()) {
        return None;
    }
    // Cycles are compared at the lag of 4 to 49 points with the highest autocorrelation after it has turned negative: one cycle, or
    // several where one is no whole number of points.
    const LAGS: std::ops::Range<usize> = 4..50;
    let all: Vec<f64> =
        (1..LAGS.end).map(|lag| correlation(&r[lag..], &r[..POINTS - lag])).collect();
    let ac = &all[LAGS.start - 1..];
    let negative = ac.iter().position(|v| *v < 0.0)?;
    let peak = (negative..ac.len()).max_by(|a, b| ac[*a].total_cmp(&ac[*b]))?;
    let lag = peak + LAGS.start;
    let compared = (POINTS - lag) as f64 / lag as f64;
    let least_peak = LEAST_PEAK.max(CHANCE_PEAK / compared.sqrt());
    if lag < 8 || ac[peak] < least_peak || ac[(lag / 2).saturating_sub(LAGS.start)] > -0.25 {
        return None;
    }
    let signs: Vec<bool> = r.iter().filter(|v| v.abs() > 0.15 * swing).map(|v| *v > 0.0).collect();
    if signs.windows(2).filter(|pair| pair[0] != pair[1]).count() < 4 {
        return None;
    }
    let mut d: Vec<f64> = (lag..POINTS).map(|k| m[k] - m[k - lag]).collect();
    let steps: Vec<f64> = m.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let third = median(&mut d[(POINTS - lag) * 2 / 3..].to_vec());
    let newest = median(&mut d[(POINTS - lag).saturating_sub(8)..].to_vec());
    let step = deviation(&steps);
    let g = median(&mut d);
    let mut apart: Vec<f64> = d.iter().map(|d| (d - g).abs()).collect();
    let spread = MAD * median(&mut apart);
    let period = lag as f64 / POINTS as f64 * span;
    let by_cycle = (CYCLE_SHARE * least).max(0.1 * swing).max(1.25 * step);
    let growth = g / period * span;
    let grows = quantile(&mut d, 0.15) > 0.0
        && g > by_cycle
        && third > 0.4 * g
        && newest > 0.4 * g
        && growth > least;
    let cycle = one_cycle(&all, lag) / POINTS as f64 * span;
    let error = Z_95 * spread / compared.max(1.0).sqrt() / period;
    Some(Season { period, cycle, rate: g / period, error, growth, grows, swing })
}

/// Points in one cycle, when cycles are compared at `lag`: the shortest peak nearly as high as that one tells how many the lag spans.
/// `ac` has the autocorrelation from lag 1 on.
fn one_cycle(ac: &[f64], lag: usize) -> f64 {
    let at = |lag: usize| ac[lag - 1];
    let Some(negative) = ac.iter().position(|v| *v < 0.0).map(|at| at + 1) else {
        return lag as f64;
    };
    // Noise has peaks on the flank of a true one: a peak stands above a quarter of its lag on either side.
    let is_peak = |k: usize| {
        let beside = (k / 4).max(1);
        (k - beside..=(k + beside).min(ac.len())).all(|other| at(other) <= at(k))
    };
    let first = (negative + 1..lag).find(|k| at(*k) >= NEARLY * at(lag) && is_peak(*k));
    let Some(k) = first else { return lag as f64 };
    // The top of the parabola through the peak and its neighbours.
    let (before, top, after) = (at(k - 1), at(k), at(k + 1));
    let bend = before - 2.0 * top + after;
    let off = if bend < 0.0 { 0.5 * (before - after) / bend } else { 0.0 };
    lag as f64 / (lag as f64 / (k as f64 + off)).round().max(1.0)
}

fn detrended(m: &[f64; POINTS]) -> [f64; POINTS] {
    let n = POINTS as f64;
    let (mx, my) = ((n - 1.0) / 2.0, m.iter().sum::<f64>() / n);
    let (mut sxx, mut sxy) = (0.0, 0.0);
    for (k, v) in m.iter().enumerate() {
        let dx = k as f64 - mx;
        sxx += dx * dx;
        sxy += dx * (v - my);
    }
    std::array::from_fn(|k| m[k] - my - sxy / sxx * (k as f64 - mx))
}

fn deviation(values: &[f64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth::MIB;

    #[test]
    fn one_cycle_is_named_however_many_fit_the_points_best() {
        let sine = |x: f64| (x * std::f64::consts::TAU).sin();
        let saw = |x: f64| x.fract();
        type Form = fn(f64) -> f64;
        let (sine, saw): (Form, Form) = (sine, saw);
        // Hours of a cycle, days.
        for (form, hours, days) in [
            (sine, 24.0, 10.0),
            (sine, 12.0, 5.0),
            (sine, 24.0, 3.0),
            (saw, 24.0, 7.0),
            (sine, 36.0, 9.5),
            (saw, 24.0, 2.5),
        ] {
            let mut history = History::default();
            for minute in 0..(days * 1440.0) as u32 {
                let t = f64::from(minute) * 60.0;
                history.push(t, (200.0 + 20.0 * form(t / 3600.0 / hours)) * MIB);
            }
            let found = season(&history, 5.0 * MIB).map(|found| found.cycle / 3600.0);
            let right = found.is_some_and(|found| (found / hours - 1.0).abs() < 0.05);
            assert!(right, "{found:?} h for {hours} h over {days} d");
        }
        // Three points a cycle: it may be missed, and is not taken for several.
        for days in [24.0, 28.0, 29.0, 30.0] {
            for form in [sine, saw] {
                let mut history = History::default();
                for minute in 0..(days * 1440.0) as u32 {
                    let t = f64::from(minute) * 60.0;
                    history.push(t, (200.0 + 20.0 * form(t / 86_400.0)) * MIB);
                }
                let found = season(&history, 5.0 * MIB).map(|found| found.cycle / 3600.0);
                let right = found.is_none_or(|found| (found / 24.0 - 1.0).abs() < 0.05);
                assert!(right, "{found:?} h for 24 h over {days} d");
            }
        }
    }
}
