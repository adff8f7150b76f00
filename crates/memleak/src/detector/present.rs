//! What the present life of a process shows, beside whether it grows.

use super::{CREEP, Detector, FIRST_LOOK, HOLD_LEAST, HOLD_MOST};
use crate::chapter::Chapters;
use crate::filter::Smoother;
use crate::growth::{Finding, growth, may_grow, measured};
use crate::pool::pooled;
use crate::rest::stands_still;
use crate::segment::{Falls, outgrown};
use crate::trend::turns;
use crate::tuning::Tuning;
use crate::window::{History, Window};

impl Detector {
    /// Forgets a young segment before a gap that is long beside all that was watched: the new time of the sample at `t`, one
    /// interval after the last.
    pub(super) fn begin_anew(&mut self, t: f64) -> Option<f64> {
        // Nearly all samples of nearly all series end here.
        if t - self.last <= HOLD_LEAST || self.history.span() >= HOLD_MOST || self.samples < 3 {
            return None;
        }
        let (interval, hold) = (self.clock.interval(), self.hold());
        if self.history.span() >= hold {
            return None;
        }
        let first = self.first.unwrap_or(self.last);
        // On the caller's clock: a burst of samples each hour has been watched for hours.
        let watched = (self.clock.raw(self.last) - self.clock.raw(first)).max(self.history.span());
        let pause = outgrown(t - self.last, watched, interval, hold)?;
        self.history = History::default();
        self.chapters = Chapters::default();
        self.smoother = Smoother::default();
        self.falls = Falls::default();
        self.next_look = FIRST_LOOK;
        Some(self.clock.skip(t, pause))
    }

    /// Whether two full swings were seen: it has turned four times.
    pub(crate) fn has_swung(&self) -> bool {
        let window = self.history.window(self.history.origin());
        window.is_some_and(|window| turns(&window.level) >= 4)
    }

    /// The newest sample and the median of the newest five, in bytes; `None` where there are not five.
    pub(crate) fn newest(&self) -> Option<(f64, f64)> {
        self.smoother.newest()
    }

    /// Whether the present life excludes the growth of those before: it would have shown by now.
    pub(super) fn excludes(&self) -> bool {
        let Some(before) = pooled(&self.pasts, None) else { return false };
        let Some(window) = self.history.window(self.history.origin()) else { return false };
        let needed = measured(&window, &self.tuning, self.least_growth).needed;
        let slope = || self.slope(self.now().map(|now| now.trend));
        before.low * window.span >= needed && slope().is_some_and(|now| now.high < before.low)
    }

    /// Whether growth that stands had come to rest when the run ended, by both tests for that: by one alone, growth that
    /// pauses would be lost.
    pub(super) fn is_over(&self) -> bool {
        let Some(hit) = self.hit.filter(|hit| hit.season.is_none()) else { return false };
        let window = self.history.window(hit.from);
        window.is_some_and(|window| stands_still(&window.level)) && self.rests(hit.share)
    }

    /// Whether it has grown all along, by less so far than counts: no plateau, and nobody is to be told yet.
    pub(super) fn creeps(&self, whole: &Window) -> bool {
        let least = self.least_growth * CREEP;
        let tuning = Tuning { share: self.tuning.share * CREEP, ..self.tuning };
        may_grow(whole, least) && growth(whole, &tuning, least).finding == Finding::Grows
    }

    /// Whether the present life does no more than start as one before did that became steady.
    pub(super) fn is_start(&self) -> bool {
        let Some(profile) = self.profile.filter(|_| self.restarts > 0) else { return false };
        let tail =
            self.history.end() - (self.history.span() / 60.0).max(5.0 * self.clock.interval());
        let level = self.history.level_since(tail, 0.5).unwrap_or(0.0);
        profile.is_start(self.history.span(), level, self.least_growth)
    }

    /// Whether it has turned twice: what rose once and stays there does not swing.
    pub(super) fn swings(&self, whole: Option<&Window>) -> bool {
        whole.is_some_and(|whole| turns(&whole.level) >= 2)
            || self.pasts.iter().any(|past| past.swing)
    }

    /// Whether the growth of an ended life still counts in the present one.
    pub(super) fn carries(&self) -> bool {
        self.carried.is_some_and(|until| self.history.end() < until) && !self.excludes()
    }

    /// The median level over the baseline window of the present segment, in bytes.
    pub(crate) fn baseline(&self) -> Option<f64> {
        let origin = self.whole().origin();
        self.whole().level_between(origin, origin + self.baseline_window)
    }
}
