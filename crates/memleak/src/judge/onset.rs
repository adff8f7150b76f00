//! When the leak that stands began. That is settled when it is confirmed: the windows that show it later are shares of an
//! ever longer history, and where they begin says nothing of the leak.

use super::Judge;
use crate::known::Known;
use crate::rate::Now;
use crate::search::Hit;
use crate::season::season;
use crate::trend::{residuals, robust_deviation};
use crate::window::{History, POINTS, median};

/// A level further off than this many robust deviations lies neither on the line nor on the flat level before it.
const FAR: f64 = 4.0;

/// When a leak began, and in what it showed first.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Onset {
    /// Seconds when it began: in a life before, while it is only carried.
    pub(crate) at: f64,
    /// Seconds of the stretch that showed it first.
    seen: f64,
    /// Seconds for which it went on in the lives before.
    before: f64,
}

impl Judge {
    /// Notes when the growth that has just been confirmed began, or that no leak stands.
    pub(super) fn note_onset(&mut self, known: &Known) {
        if !self.is_leak() {
            self.onset = None;
            return;
        }
        self.look_before(known);
        let carried = self.onset;
        let Some(hit) = self.hit.filter(|_| carried.is_none_or(|onset| self.is_before(&onset)))
        else {
            return;
        };
        let first = carried.map(|onset| onset.seen).or(self.candidate.map(|seen| seen.span));
        self.onset = Some(Onset {
            at: onset(self, &hit, self.now(known)),
            // Growth from cycle to cycle, or from life to life, shows in one; what a life goes on with in its shortest window.
            seen: first.unwrap_or(hit.season.map_or(known.hold(), |(period, _)| period)),
            before: carried.map_or(0.0, |onset| onset.before),
        });
    }

    /// Corrects an onset that was a matter of phase, once the cycle is known.
    fn look_before(&mut self, known: &Known) {
        let start = self.history.origin();
        let Some(onset) = self.onset.filter(|onset| onset.at > start) else { return };
        let Some(season) = season(&self.history, known.least_growth) else { return };
        if self.rose_before(&season, onset.at) {
            self.onset = Some(Onset { at: start, ..onset });
        }
    }

    /// What the next life is to know of the leak that stands.
    pub(crate) fn carried_onset(&self) -> Option<Onset> {
        self.onset.map(|onset| Onset { before: self.lasted(&onset), ..onset })
    }

    /// How often the time over which the leak showed first has passed since it began.
    pub(crate) fn times_seen(&self) -> f64 {
        self.onset.map_or(1.0, |onset| self.lasted(&onset) / onset.seen.max(f64::MIN_POSITIVE))
    }

    /// Seconds of the start of the growth that stands; of what the figures are of, if none does.
    pub(crate) fn grown_from(&self) -> f64 {
        let onset = self.onset.filter(|onset| !self.is_before(onset));
        let onset = onset.map_or(f64::NEG_INFINITY, |onset| onset.at);
        self.hit.map_or(self.begun(), |hit| hit.from.max(onset))
    }

    fn lasted(&self, onset: &Onset) -> f64 {
        let here = if self.is_before(onset) { 0.0 } else { self.history.end() - onset.at };
        onset.before + here
    }

    /// Whether a leak began in a life before.
    fn is_before(&self, onset: &Onset) -> bool {
        onset.at < self.history.origin()
    }
}

/// The start of the window that grows, or the bend in it after which it began to.
fn onset(judge: &Judge, hit: &Hit, now: Option<Now>) -> f64 {
    let history = &judge.history;
    let Some(now) = now else { return hit.from };
    if now.from <= hit.from {
        return extended(history, hit.from, now.trend.bytes_per_second);
    }
    let before = history.level_between(hit.from, now.from).unwrap_or(0.0);
    let start = history.level_between(hit.from, hit.from + (now.from - hit.from) / 4.0);
    let risen = 2.0 * (before - start.unwrap_or(before));
    // Before the bend it hardly rose: the bend is the onset.
    if risen < 0.2 * now.trend.bytes_per_second * (now.from - hit.from) {
        now.from
    } else {
        hit.from
    }
}

/// Seconds since when the level lies on the line of growth through the window from `from` on, of `rate` bytes per second: the
/// windows are shares of a history, and growth that is no more than its noise for long shows first in a late one.
///
/// Before its start a leak is flat. Of all starts as far back as the window is long, that is taken whose line and flat level
/// before it leave the least sum of absolute deviations; what lies far off both, as a warm-up does, counts for no start.
fn extended(history: &History, from: f64, rate: f64) -> f64 {
    let end = history.end();
    let reach = (end - from).min(from - history.origin());
    let Some((window, before)) = history.window(from).zip(history.stretch(from - reach, from))
    else {
        return from;
    };
    let around = residuals(&window.level, rate * window.span);
    let mut starts: [f64; POINTS] = std::array::from_fn(|k| {
        window.level[k] - around[k] - rate * (k as f64 + 0.5) / POINTS as f64 * window.span
    });
    let level = median(&mut starts);
    let step = reach / POINTS as f64;
    let most = FAR * robust_deviation(&around).max(rate * step);
    let left = |back: usize| -> f64 {
        let flat = level - rate * back as f64 * step;
        let on_line = |k: usize| level - rate * ((POINTS - k) as f64 - 0.5) * step;
        let off = |k: usize| (before.level[k] - on_line(k).max(flat)).abs().min(most);
        (0..POINTS).map(off).sum()
    };
    let best = (0..=POINTS).min_by(|a, b| left(*a).total_cmp(&left(*b))).unwrap_or(0);
    from - best as f64 * step
}
