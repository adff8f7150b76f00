//! Growth that gets faster: how fast it is at its end, and when it reaches a limit.

use super::Judge;
use crate::saturation::speeds_up;
use crate::trend::{Pairs, Z_95};
use crate::verdict::Trend;

/// Parts of equal time that the speed is taken in.
const PARTS: usize = 3;
/// What it gains from part to part differs by less than this share: a speed that changed once gains all in one.
const UNEVEN: f64 = 0.3;

/// A speed, and how it grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed {
    /// Bytes per second at the end.
    pub(crate) now: Trend,
    /// Bytes per second that it gains in each second.
    gains: f64,
}

impl Judge {
    /// How fast growth since `since` is now, when it gets faster all along; `None` where it keeps a speed, or changed it once.
    ///
    /// The speeds of the parts are those of their middles. The end lies half a part beyond the last of them, and gains as much
    /// again as over as long a time before: that is exact for a square of time.
    pub(crate) fn speed(&self, since: f64) -> Option<Speed> {
        let end = self.history.end();
        if !speeds_up(&self.history.window(since)?.level) {
            return None;
        }
        let length = (end - since) / PARTS as f64;
        let slope = |part: usize| {
            let from = since + part as f64 * length;
            let window = self.history.stretch(from, from + length)?;
            let pairs = Pairs::of(&window.level);
            let slope = pairs.slope();
            let (low, high) = pairs.interval(1.0);
            Some((slope / window.span, (high - low) / 2.0 / window.span))
        };
        let ((first, _), (middle, _), (last, error)) = (slope(0)?, slope(1)?, slope(2)?);
        let (before, lately) = (middle - first, last - middle);
        if before.min(lately) <= UNEVEN * before.max(lately) {
            return None;
        }
        let now = last + lately / 2.0;
        // Of 3/2 of the last less 1/2 of the one before, which are as sure; and whether the gain itself gains is not known to go on.
        let error = (error * 2.5f64.sqrt()).hypot(Z_95 * (lately - before) / 2.0);
        let now = Trend { bytes_per_second: now, low: now - error, high: now + error };
        Some(Speed { now, gains: lately / length })
    }
}

impl Speed {
    /// Seconds until it has grown by `bytes`.
    pub(crate) fn reaches(&self, bytes: f64) -> f64 {
        // The root of `now t + gains t^2 / 2 = bytes`, in the form that does not cancel.
        let now = self.now.bytes_per_second;
        2.0 * bytes / (now + (now * now + 2.0 * self.gains * bytes).sqrt())
    }
}
