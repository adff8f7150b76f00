//! How fast something grows, in words that fit the verdict they stand beside.

use memleak::{Trend, Verdict};

use crate::output::human::signed;
use crate::summary::Growth;

/// What [`growth`] says of a rate too small to print.
const NO_GROWTH: &str = "none";

/// `+2.0 MiB/s (95 %: +1.9 to +2.1 MiB/s)`; `none` when it is under half a KiB an hour either way.
#[must_use]
pub fn growth(trend: Trend) -> String {
    /// Bytes per second below which a rate shows as nothing: it prints as 0.0 KiB/h.
    const NOTHING: f64 = 51.2 / 3600.0;
    let Trend { bytes_per_second: rate, low, high } = trend;
    if [rate, low, high].iter().all(|rate| rate.abs() < NOTHING) {
        return NO_GROWTH.into();
    }
    // All three in one unit: that of the largest, in which none is a row of digits.
    let largest = [rate, low, high].into_iter().map(f64::abs).fold(0.0, f64::max);
    let shown = [rate, low, high].map(|bytes| signed(bytes, largest));
    let [shown, low_shown, high_shown] = shown;
    if low_shown == high_shown {
        // Narrower than what one decimal shows.
        let half = (high - low).abs() / 2.0 / rate.abs() * 100.0;
        return format!("{shown} (95 %: ±{half:.1} % of it)");
    }
    format!("{shown} (95 %: {low_shown} to {high_shown})")
}

/// [`growth`] beside a verdict of this kind, so that both say one thing: beside no growth a slope may be none, or one of the
/// whole time that is over.
#[must_use]
pub fn growth_beside(kind: &str, trend: Trend) -> String {
    let text = growth(trend);
    let grows = matches!(kind, "growing" | "leak");
    match (trend.low > 0.0, trend.high < 0.0) {
        (true, _) if kind == "steady" && text != NO_GROWTH => format!("{text} on the whole"),
        (false, false) if !grows && text != NO_GROWTH => format!("{text}, which may be none"),
        _ => text,
    }
}

/// [`growth_beside`] in a document of figures.
pub(super) fn growth_row(growth: &Growth, kind: &str) -> String {
    growth.trend().map_or("unknown: too few samples".into(), |trend| growth_beside(kind, trend))
}

/// The rate alone, beside the word of its verdict; `None` where it may be none, or is not lately.
pub(crate) fn rate_beside(verdict: &Verdict) -> Option<String> {
    let trend = verdict.trend()?;
    let sure = match verdict {
        Verdict::Growing { .. } | Verdict::Leak { .. } => true,
        Verdict::Steady { .. } => trend.high < 0.0,
        _ => trend.high < 0.0 || trend.low > 0.0,
    };
    sure.then(|| signed(trend.bytes_per_second, trend.bytes_per_second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::human::reason;
    use std::time::Duration;

    #[test]
    fn growth_shows_its_interval_however_narrow() {
        let mib = 1_048_576.0;
        let shown = |rate: f64, low: f64, high: f64| {
            growth(Trend { bytes_per_second: rate * mib, low: low * mib, high: high * mib })
        };
        assert_eq!(shown(2.0, 1.9, 2.1), "+2.0 MiB/s (95 %: +1.9 MiB/s to +2.1 MiB/s)");
        assert_eq!(shown(2.0, 1.998, 2.002), "+2.0 MiB/s (95 %: ±0.1 % of it)");
        assert_eq!(shown(0.0, 0.0, 0.0), "none");
        assert_eq!(shown(-2.0, -2.1, 0.0), "-2.0 MiB/s (95 %: -2.1 MiB/s to 0.0 MiB/s)");
        // The unit is that of the largest of the three.
        assert_eq!(shown(0.0, -1.2, 0.2), "0.0 MiB/s (95 %: -1.2 MiB/s to +0.2 MiB/s)");
        assert_eq!(shown(16.1, -2605.8, 2638.0), "0.0 GiB/s (95 %: -2.5 GiB/s to +2.6 GiB/s)");
    }

    /// 12 s at 10 Hz of something that fills by 20 MiB, to two thirds within `fill` seconds, creeps on by `creep` KiB/s, and
    /// scatters by up to `noise` bytes.
    fn watched(fill: f64, creep: f64, noise: u64) -> Verdict {
        let mut detector = memleak::Detector::new(&memleak::LeakConfig::default());
        for tick in 0..120u64 {
            let t = tick as f64 / 10.0;
            let grown = 20_971_520.0 * (1.0 - (-t / fill).exp()) + creep * 1024.0 * t;
            let scatter = (tick * 7919) % 101 * noise / 100;
            detector.push(Duration::from_millis(100 * tick), (50 << 20) + grown as u64 + scatter);
        }
        detector.conclude();
        detector.verdict()
    }

    #[test]
    fn growth_and_verdict_say_one_thing() {
        let (mut over, mut noisy, mut open) = (0, 0, 0);
        for fill in [0.1, 0.7, 1.5] {
            for creep in [0.0, 16.0, 40.0, 300.0, 600.0] {
                for noise in [1 << 12, 1 << 20, 3 << 20, 6 << 20] {
                    let verdict = watched(fill, creep, noise);
                    let (kind, trend) = (verdict.kind(), verdict.trend().unwrap());
                    let (growth, reason) = (growth_beside(kind, trend), reason(&verdict, "RSS"));
                    let both = format!("{kind}: {growth}: {reason}");
                    if matches!(kind, "growing" | "leak") {
                        continue;
                    }
                    if trend.low > 0.0 {
                        assert!(!reason.contains("no growth"), "{both}");
                        assert!(kind != "steady" || growth.ends_with("on the whole"), "{both}");
                        *(if kind == "steady" { &mut over } else { &mut noisy }) += 1;
                    } else if trend.high >= 0.0 && growth != NO_GROWTH {
                        assert!(growth.ends_with("which may be none"), "{both}");
                        assert_eq!(rate_beside(&verdict), None, "{both}");
                        open += 1;
                    }
                }
            }
        }
        assert!(over > 0 && noisy > 0 && open > 0, "each was met: {over}, {noisy}, {open}");
    }
}
