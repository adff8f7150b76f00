//! Two clocks, one order: what happened when, in the time of the samples.

use std::time::{Duration, Instant};

/// Puts instants on the samples' clock.
///
/// A sample reaches us some time after it was taken, so now minus its stamp is at least the distance between
/// the two clocks; the least of these is closest to it.
#[derive(Default)]
pub(super) struct Clock {
    /// An instant, and the sample's time that belonged to it with the least delay.
    pair: Option<(Instant, Duration)>,
}

impl Clock {
    pub(super) fn see(&mut self, at: Duration, now: Instant) {
        let better = self.pair.is_none_or(|(instant, stamp)| {
            // Less of a delay than the best so far: now lags less behind the stamps.
            now.saturating_duration_since(instant) <= at.saturating_sub(stamp)
        });
        if better {
            self.pair = Some((now, at));
        }
    }

    pub(super) fn on_samples_clock(&self, instant: Instant) -> Duration {
        let Some((seen, at)) = self.pair else { return Duration::ZERO };
        match instant.checked_duration_since(seen) {
            Some(later) => at.saturating_add(later),
            None => at.saturating_sub(seen.saturating_duration_since(instant)),
        }
    }
}
