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
        // Of what is not decided, a slope that may as well be none is no line to show.
        if matches!(verdict, Verdict::Undecided { .. }) && trend.low <= 0.0 && trend.high >= 0.0 {
            return None;
        }
        let from = match &verdict {
            Verdict::Leak { since, .. } => (*since).clamp(first, last),
            other if other.evidence().restarts > 0 => return None,
            _ => first,
        };
        let points = recording.watched.buckets().iter().filter(|bucket| bucket.to >= from);
        Self::through(trend, from, last, points.map(|b| (b.to, b.low.midpoint(b.high))))
    }

    /// A least-squares line runs through the middle of its points, and so do those of its interval.
    fn through(
        trend: Trend,
        from: Duration,
        to: Duration,
        points: impl Iterator<Item = (Duration, u64)>,
    ) -> Option<Self> {
        let (mut n, mut t, mut y) = (0.0, 0.0, 0.0);
        for (at, bytes) in points {
            n += 1.0;
            t += (at.as_secs_f64() - t) / n;
            y += (bytes as f64 - y) / n;
        }
        if n < 2.0 {
            return None;
        }
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
        let points = (0..=10).map(|s| (Duration::from_secs(s), 100 + 10 * s));
        let fit = Fit::through(trend, Duration::ZERO, Duration::from_secs(10), points).unwrap();
        assert_eq!(fit.line, (100.0, 200.0));
        assert_eq!(fit.low, (110.0, 190.0));
        assert_eq!(fit.high, (90.0, 210.0));
        let one = std::iter::once((Duration::ZERO, 1));
        assert_eq!(Fit::through(trend, Duration::ZERO, Duration::ZERO, one), None);
    }
}
