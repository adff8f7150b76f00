//! When growth that was seen is confirmed: it must have gone on, evenly, until now, and not be the rise of a day.

use std::f64::consts::PI;

use crate::judge::Judge;
use crate::known::Known;
use crate::pink::pink_score;
use crate::rest::{rest_gain, stands_still};
use crate::saturation::beats_cycle;
use crate::search::{Found, grows_now};
use crate::trend::slope;
use crate::walk::drift_score;
use crate::window::Window;

/// The least time for which growth must go on is counted from this many seconds on, so that a run of seconds is judged in
/// seconds,
const CONFIRM_QUICK: f64 = 5.0;
/// and is at most this many shortest windows.
const CONFIRM_MOST: f64 = 8.0;
/// Growth in a chapter must go on this many times as long: a life that was steady has had chances enough to leak.
const IN_CHAPTER: f64 = 2.0;
/// Growth is confirmed when it has gained this share of what its slope predicted,
const CONTINUES: f64 = 0.5;
/// and the new stretch alone has this share of the slope.
const RECENT: f64 = 0.35;
/// The newest part of the window must grow by at least this share of the slope.
const NOW: f64 = 0.5;
/// A rest at the end puts the confirmation off when it describes the newest points better than growth by this many variances,
const REST_GAIN: f64 = 20.0;
/// over the window or, where it is longer, the last of these shares of the segment: the shorter, the shorter the rest that is
/// seen.
const REST_SHARES: [f64; 2] = [0.5, 0.25];
/// At the end of a run there is no more to wait for: this share of the usual wait is enough.
const ENDING: f64 = 0.1;
/// A window longer than a day must grow by this many standard errors of pink noise, which is looked at often before it
/// forgets,
const PINK: f64 = 5.0;
/// or score this much against a walk by its level and by its low level: the teeth of collections are noise of one scale, and
/// pink noise that were as loud at that scale would wander much further than they do.
const LONG_WALK: f64 = 3.5;
/// Growth from cycle to cycle needs no look at the newest level once the history holds this many of them: over one comparison
/// and little more, a fill that has just ended shows it as well.
const CYCLES: f64 = 2.5;
/// and grows by this many standard errors of pink noise: a slow swing of hours that returns to its mean exceeds 5 now and then.
const CYCLES_PINK: f64 = 8.0;
/// Seconds of the cycle that most services have.
const DAY: f64 = 86_400.0;
/// After this many of them the cycle has shown itself.
const DAY_KNOWN: f64 = 1.1;
/// A daily cycle that swings by up to this share of the level is nothing unusual.
const DAY_SWING: f64 = 0.15;
/// Growth without a bound must describe the series better than such a cycle by this (effective points times the log ratio
/// of the residuals).
const DAY_GAIN: f64 = 4.0;

/// Growth that was seen and waits for confirmation.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Candidate {
    /// Seconds when it was first seen.
    at: f64,
    /// Seconds that the window spanned.
    pub(crate) span: f64,
    /// Bytes per second.
    rate: f64,
    /// Level then, in bytes.
    level: f64,
}

impl Judge {
    /// Seconds that growth must go on after it was first seen.
    fn needs(&self, known: &Known, seen: &Candidate) -> f64 {
        let hold = known.hold();
        let least = known.tuning.confirm_least * (hold - CONFIRM_QUICK).max(0.0);
        let needs = (known.tuning.confirm * seen.span).clamp(least, CONFIRM_MOST * hold);
        if self.before.is_some() { IN_CHAPTER * needs } else { needs }
    }

    /// Whether growth seen earlier has gone on long enough since.
    pub(crate) fn confirms(
        &mut self,
        known: &Known,
        found: &Found,
        whole: Option<&Window>,
        ending: bool,
    ) -> bool {
        let Found { hit, growth, window } = found;
        if hit.lives {
            // Each life was a wait of its own.
            return true;
        }
        let (now, span) = (self.history.end(), self.history.span());
        let tail = now - (span / 60.0).max(5.0 * known.interval());
        let Some(level) = self.history.level_since(tail, 0.5) else { return false };
        let fresh = Candidate { at: now, span: span * hit.share, rate: growth.rate, level };
        let Some(seen) = self.candidate else {
            self.candidate = Some(fresh);
            return false;
        };
        let waited = now - seen.at;
        let needs = self.needs(known, &seen);
        if waited < if ending { ENDING * needs } else { needs } {
            return false;
        }
        let low = self.history.level_since(tail, 0.3).unwrap_or(level);
        let recent = self
            .history
            .window(seen.at)
            .map_or(seen.rate, |window| slope(&window.level).min(slope(&window.low)) / window.span);
        let gained = CONTINUES * seen.rate * waited;
        let goes_on = recent >= RECENT * seen.rate
            && (low - seen.level >= gained
                || (growth.rising_floor && self.floor_rose(&seen) >= gained));
        if !goes_on {
            self.candidate = Some(fresh);
        }
        goes_on
            && grows_now(&self.history, seen.rate, hit.share * span, NOW)
            && !stands_still(&window.level)
            && (ending || !self.may_be_a_day(whole, seen.rate, level))
            && (ending || self.has_direction(known, found))
    }

    /// Whether growth in a window is more than noise shows by chance, and has not just come to rest. Within a day, growth of a
    /// floor and growth from cycle to cycle have their own tests.
    fn has_direction(&self, known: &Known, found: &Found) -> bool {
        let Found { hit, growth, window } = found;
        let period = hit.season.map(|(period, _)| period);
        if window.span > DAY && !outlasts_pink(window, period) {
            return false;
        }
        if growth.rising_floor || period.is_some() {
            return true;
        }
        [&window.level, &window.low].into_iter().any(|y| drift_score(y) >= known.tuning.walk)
            && !self.rests(known, hit.share, Some(window))
    }

    /// Growth from cycle to cycle that needs no confirmation: over more than a day and cycles enough, beyond what pink noise
    /// shows. Each phase has been compared with itself one cycle later, so that each cycle was a wait of its own, and what the
    /// newest level does is a matter of its phase.
    pub(crate) fn over_cycles(&self, known: &Known, whole: &Window) -> Option<Found> {
        if whole.span <= DAY {
            return None;
        }
        let found = self.search(known).cycles(whole)?;
        let (period, _) = found.hit.season?;
        (whole.span >= CYCLES * period && pink_score(whole, Some(period)) >= CYCLES_PINK)
            .then_some(found)
    }

    /// Whether the newest points describe a rest better than growth, over the last `share` of the history, whose window is
    /// `seen` if that is known, or over less.
    pub(crate) fn rests(&self, known: &Known, share: f64, seen: Option<&Window>) -> bool {
        let (now, span) = (self.history.end(), self.history.span());
        let over = |share: f64, seen: Option<&Window>| {
            let rests = |window: &Window| rest_gain(&window.level) > REST_GAIN;
            span * share >= known.hold()
                && match seen {
                    Some(window) => rests(window),
                    None => self.history.window(now - span * share).as_ref().is_some_and(rests),
                }
        };
        over(share, seen) || REST_SHARES.iter().any(|less| *less < share && over(*less, None))
    }

    /// Growth of the lowest level since growth was first seen over that of as long a stretch before, in bytes: under a
    /// swing the newest level is a matter of phase.
    fn floor_rose(&self, seen: &Candidate) -> f64 {
        let now = self.history.end();
        let since = self.history.floor_between(seen.at, now);
        let before = self.history.floor_between(2.0 * seen.at - now, seen.at);
        since.zip(before).map_or(0.0, |(since, before)| since - before)
    }

    /// Whether the growth so far could be the rise of a daily cycle of ordinary size.
    fn may_be_a_day(&self, whole: Option<&Window>, rate: f64, level: f64) -> bool {
        let span =
            self.history.end() - self.before.map_or(self.history.origin(), |before| before.origin);
        // A sine that rises by `rate` at its steepest swings by `rate` times a day over pi.
        if span > DAY_KNOWN * DAY || rate * DAY / PI > DAY_SWING * level {
            return false;
        }
        whole.is_some_and(|whole| beats_cycle(whole, DAY, DAY_SWING / 2.0 * level) < DAY_GAIN)
    }

    /// Seconds until growth that goes on is confirmed.
    pub(crate) fn wait(&self, known: &Known) -> Option<f64> {
        let seen = self.candidate?;
        Some((seen.at + self.needs(known, &seen) - self.history.end()).max(known.interval()))
    }
}

/// Whether growth in a window longer than a day is more than pink noise shows by chance, beside a cycle of `period` seconds if
/// there is one.
fn outlasts_pink(window: &Window, period: Option<f64>) -> bool {
    let by_walk = || drift_score(&window.low).min(drift_score(&window.level)) >= LONG_WALK;
    pink_score(window, period) >= PINK || (period.is_none() && by_walk())
}
