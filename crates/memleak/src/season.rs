//! Growth under a cycle: the same phase one cycle later, as in the seasonal Kendall test (R. M. Hirsch, J. R. Slack and
//! R. A. Smith, Water Resources Research 18 (1982) 107).

use crate::trend::correlation;
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

/// A cycle and the growth from one to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Season {
    /// Seconds in a cycle.
    pub(crate) period: f64,
    /// Growth in bytes per second, the median over phases.
    pub(crate) rate: f64,
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
    // Autocorrelation at lags of 4 to 49 points: the first peak after it has turned negative is the period.
    const LAGS: std::ops::Range<usize> = 4..50;
    let ac: Vec<f64> = LAGS.map(|lag| correlation(&r[lag..], &r[..POINTS - lag])).collect();
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
    let period = lag as f64 / POINTS as f64 * span;
    let by_cycle = (CYCLE_SHARE * least).max(0.1 * swing).max(1.25 * step);
    let growth = g / period * span;
    let grows = quantile(&mut d, 0.15) > 0.0
        && g > by_cycle
        && third > 0.4 * g
        && newest > 0.4 * g
        && growth > least;
    Some(Season { period, rate: g / period, growth, grows, swing })
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
