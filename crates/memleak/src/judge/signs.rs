//! What a history shows beside whether it grows.

use super::{FIRST_LOOK, Judge, STALL, Settled};
use crate::growth::{Growth, grows, measured};
use crate::known::Known;
use crate::pool::pooled;
use crate::rest::stands_still;
use crate::search::{Hit, grows_now};
use crate::trend::turns;
use crate::tuning::Tuning;
use crate::window::Window;

/// Growth of at least this share of the least that counts, and that passes every test but that one, is no plateau.
const CREEP: f64 = 1.0 / 8.0;

impl Judge {
    /// Whether there is enough to look at.
    pub(super) fn has_enough(&self, known: &Known) -> bool {
        known.samples >= known.min_samples
            && self.history.samples() >= FIRST_LOOK
            && self.history.span() >= known.hold()
    }

    /// Where the level has settled, if that lies in the later half of the history.
    pub(super) fn settled_lately(&self) -> Option<Settled> {
        let half = self.history.end() - self.history.span() / 2.0;
        self.settled.filter(|settled| settled.since > half)
    }

    /// Seconds of the start of what the figures are of: the level that it has settled at, or all.
    pub(crate) fn begun(&self) -> f64 {
        self.settled_lately().map_or(self.history.origin(), |settled| settled.since)
    }

    /// Whether two full swings were seen: it has turned four times.
    pub(crate) fn has_swung(&self) -> bool {
        let window = self.history.window(self.history.origin());
        window.is_some_and(|window| turns(&window.level) >= 4)
    }

    /// Whether it has turned twice: what rose once and stays there does not swing.
    pub(super) fn swings(&self, known: &Known, whole: Option<&Window>) -> bool {
        whole.is_some_and(|whole| turns(&whole.level) >= 2)
            || known.pasts.iter().any(|past| past.swing)
    }

    /// Whether growth that a window shows has paused in its newest part. Of a swing the newest part is a matter of phase.
    pub(super) fn stalls(&self, hit: &Hit, found: &Growth) -> bool {
        hit.season.is_none()
            && !found.rising_floor
            && !grows_now(&self.history, found.rate, hit.share * self.history.span(), STALL)
    }

    /// Whether growth that stands had come to rest when the run ended, by both tests for that: by one alone, growth that
    /// pauses would be lost.
    pub(super) fn is_over(&self, known: &Known) -> bool {
        let Some(hit) = self.hit.filter(|hit| hit.season.is_none()) else { return false };
        let window = self.history.window(hit.from);
        window.is_some_and(|window| stands_still(&window.level))
            && self.rests(known, hit.share, None)
    }

    /// Whether the present life does no more than start as one before did that became steady.
    pub(super) fn is_start(&self, known: &Known) -> bool {
        let profile = known.profile.filter(|_| known.restarts > 0 && self.before.is_none());
        let Some(profile) = profile else { return false };
        let tail = self.history.end() - (self.history.span() / 60.0).max(5.0 * known.interval());
        let level = self.history.level_since(tail, 0.5).unwrap_or(0.0);
        profile.is_start(self.history.span(), level, known.least_growth)
    }

    /// Whether the growth of an ended life still counts in the present one.
    pub(super) fn carries(&self, known: &Known) -> bool {
        known.carried.is_some_and(|until| self.history.end() < until) && !self.excludes(known)
    }

    /// Whether the present life excludes the growth of those before: it would have shown by now.
    fn excludes(&self, known: &Known) -> bool {
        let Some(before) = pooled(&known.pasts, None) else { return false };
        let Some(window) = self.history.window(self.history.origin()) else { return false };
        let needed = measured(&window, &known.tuning, known.least_growth).needed;
        let slope = || self.slope(known, self.now(known).map(|now| now.trend));
        before.low * window.span >= needed && slope().is_some_and(|now| now.high < before.low)
    }
}

/// Whether a window has grown all along, by less so far than counts: no plateau, and nobody is to be told yet.
pub(super) fn creeps(known: &Known, window: &Window) -> bool {
    let least = known.least_growth * CREEP;
    let tuning = Tuning { share: known.tuning.share * CREEP, ..known.tuning };
    grows(window, &tuning, least).is_some()
}
