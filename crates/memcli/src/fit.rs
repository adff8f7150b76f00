//! The line that a verdict fits through a recording, with its interval, as something to draw.

use std::time::Duration;

use memleak::{Trend, Verdict};

use crate::recording::Recording;

/// A fitted line from one time to another, and the two lines of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Where it begins.
    pub from: Duration,
    /// Where it ends.
    pub to: Duration,
    /// Bytes at both ends.
    pub line: (f64, f64),
    /// The same for the slowest growth of the interval.
    pub low: (f64, f64),
    /// The same for the fastest.
    pub high: (f64, f64),
}

impl Fit {
    /// The line of this recording's verdict: of a leak since it began, else over the whole. `None` when there is no slope,
    /// when a restart makes one line through everything meaningless, or when nothing is decided.
    #[must_use]
    pub fn of(recording: &Recording) -> Option<Self> {
        let verdict = recording.verdict();
        let trend = verdict.trend()?;
        let (first, last) = recording.watched.span()?;
        match verdict {
            // Of what is not decided, a slope that may as well be none is no line to show.
            Verdict::Undecided { .. } if trend.low <= 0.0 && trend.high >= 0.0 => return None,
            // Nor is one of growth that is over.
            Verdict::Steady { .. } if trend.low > 0.0 => return None,
            _ => {}
        }
        let from = match &verdict {
            Verdict::Leak { since, .. } => (*since).clamp(first, last),
            other if other.evidence().restarts > 0 => return None,
            _ => first,
        };
        let points = recording.watched.buckets().iter().filter(|bucket| bucket.to >= from);
        Self::through(trend, from, last, points.map(|b| (b.to, b.low.midpoint(b.high), b.time())))
    }

    /// The line has the curve above it for as long as below it, so that a fall at the end does not lift it off the rest; those of its
    /// interval cross it in the middle. Each point has its time, its bytes and how long it stood.
    fn through(
        trend: Trend,
        from: Duration,
        to: Duration,
        points: impl Iterator<Item = (Duration, u64, u64)>,
    ) -> Option<Self> {
        // The newest sample of a curve has stood for no time yet.
        let points: Vec<(f64, f64, u64)> =
            points.map(|(at, bytes, time)| (at.as_secs_f64(), bytes as f64, time.max(1))).collect();
        if points.len() < 2 {
            return None;
        }
        let t = points.iter().map(|(at, ..)| at).sum::<f64>() / points.len() as f64;
        let slope = trend.bytes_per_second;
        let mut heights: Vec<(f64, u64)> =
            points.iter().map(|(at, bytes, time)| (bytes - slope * (at - t), *time)).collect();
        heights.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let total: u128 = heights.iter().map(|(_, time)| u128::from(*time)).sum();
        let passing = |is_past: &dyn Fn(u128) -> bool| {
            let mut passed = 0;
            let mut heights = heights.iter().skip_while(|(_, time)| {
                passed += u128::from(*time);
                !is_past(2 * passed)
            });
            heights.next().map(|(height, _)| *height)
        };
        let y = passing(&|twice| twice >= total)?.midpoint(passing(&|twice| twice > total)?);
        let at = |slope: f64, time: Duration| y + slope * (time.as_secs_f64() - t);
        let ends = |slope: f64| (at(slope, from), at(slope, to));
        let fit = Self {
            from,
            to,
            line: ends(trend.bytes_per_second),
            low: ends(trend.low),
            high: ends(trend.high),
        };
        let finite =
            [fit.line, fit.low, fit.high].iter().all(|(a, b)| a.is_finite() && b.is_finite());
        finite.then_some(fit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_runs_through_the_middle_and_the_interval_opens_from_there() {
        let trend = Trend { bytes_per_second: 10.0, low: 8.0, high: 12.0 };
        let points = (0..=10).map(|s| (Duration::from_secs(s), 100 + 10 * s, 1));
        let fit = Fit::through(trend, Duration::ZERO, Duration::from_secs(10), points).unwrap();
        assert_eq!(fit.line, (100.0, 200.0));
        assert_eq!(fit.low, (110.0, 190.0));
        assert_eq!(fit.high, (90.0, 210.0));
        let points =
            (0..=10).map(|s| (Duration::from_secs(s), if s < 9 { 100 + 10 * s } else { 0 }, 1));
        let fit = Fit::through(trend, Duration::ZERO, Duration::from_secs(8), points).unwrap();
        assert_eq!(fit.line, (100.0, 180.0), "a fall at the end is not a lower line");
        let often = (0..100)
            .map(|n| (Duration::from_millis(10 * n), 500, 10))
            .chain((1..=9).map(|s| (Duration::from_secs(s), 100, 1000)));
        let flat = Trend { bytes_per_second: 0.0, low: 0.0, high: 0.0 };
        let fit = Fit::through(flat, Duration::ZERO, Duration::from_secs(9), often).unwrap();
        assert_eq!(
            fit.line,
            (100.0, 100.0),
            "one second at 500 is no more for being looked at often"
        );
        let one = std::iter::once((Duration::ZERO, 1, 1));
        assert_eq!(Fit::through(trend, Duration::ZERO, Duration::ZERO, one), None);
    }
}
