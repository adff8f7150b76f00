//! Second stage: one latch for each level, which is what makes the level slow to fall and quick to rise.

use std::time::Duration;

use crate::level::{Level, Signal};

/// The latches of warning, critical and emergency. The level is that of the highest one set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latches([Latch; 3]);

/// One level's latch.
#[derive(Clone, Copy, Debug, Default)]
struct Latch {
    set: bool,
    /// When a sample last justified the level.
    justified: Duration,
    /// Which signal did.
    by: Option<Signal>,
    /// When it was last released.
    released: Option<Duration>,
}

impl Latches {
    /// `by` votes for `vote` at `now`: every level up to there is justified.
    pub(super) fn justify(&mut self, vote: Level, by: Signal, now: Duration) {
        for (latch, level) in self.0.iter_mut().zip(Level::RAISED) {
            if vote >= level {
                latch.set = true;
                latch.justified = now;
                latch.by = Some(by);
            }
        }
    }

    /// Nobody watched until `now`: the wait of what is set begins anew.
    pub(super) fn wait_anew(&mut self, now: Duration) {
        for latch in self.0.iter_mut().filter(|latch| latch.set) {
            latch.justified = now;
        }
    }

    /// Releases the highest latch if it has been unjustified for long enough: one at a time, and each half a
    /// hold after the one above it. Returns its level, and the signal that last justified it.
    pub(super) fn release(
        &mut self,
        now: Duration,
        hold: Duration,
    ) -> Option<(Level, Option<Signal>)> {
        let top = self.0.iter().rposition(|latch| latch.set)?;
        let unjustified = now.saturating_sub(self.0[top].justified);
        let above = self.0.get(top + 1).and_then(|latch| latch.released);
        let rested = above.is_none_or(|above| now.saturating_sub(above) >= hold / 2);
        if unjustified.is_zero() || unjustified < hold || !rested {
            return None;
        }
        self.0[top].set = false;
        self.0[top].released = Some(now);
        Some((Level::RAISED[top], self.0[top].by))
    }

    /// The level of the highest latch set, and the signal that last justified it.
    pub(super) fn top(&self) -> Option<(Level, Option<Signal>)> {
        let top = self.0.iter().rposition(|latch| latch.set)?;
        Some((Level::RAISED[top], self.0[top].by))
    }
}
