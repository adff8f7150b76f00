//! One judgement: a history that is looked at again and again, and what has been concluded from it.

use crate::confirm::Candidate;
use crate::growth::{Finding, Growth};
use crate::known::Known;
use crate::search::{Found, Hit, Searched, largest_fall};
use crate::verdict::Why;
use crate::window::{History, Window};
use onset::Onset;
use signs::creeps;
pub(crate) use speed::Speed;

mod leaked;
mod onset;
mod signs;
mod speed;

/// A look is taken each time a history's samples have grown by this share, so that a month has few chances to err.
const LOOK: f64 = 0.05;
/// Samples in a history before its first look.
pub(crate) const FIRST_LOOK: u64 = 20;
/// A confirmed leak is cleared when no window has shown growth for this share of the history.
const CLEAR: f64 = 0.08;
/// Neighbouring points that correlate by more than this around the trend swing rather than scatter.
const SWING: f64 = 0.8;
/// A leak counts as stalled while the newest part of its window grows by less than this share of the slope.
const STALL: f64 = 0.1;

/// What is concluded, without the figures that a [`Verdict`](crate::Verdict) computes when it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum State {
    /// Too little to look at.
    #[default]
    Early,
    /// Looked, no window grows, and no rise is left unexplained.
    Steady,
    /// Looked, no window grows, but something rose.
    Undecided(Why),
    /// A window grows.
    Growing,
    /// Confirmed.
    Leak,
}

/// A history of a whole life, or of a chapter of one, with all that has been concluded from it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Judge {
    pub(crate) history: History,
    /// Samples in the history when the next look is due.
    next_look: u64,
    pub(crate) state: State,
    /// The growth that was seen last, while it stands.
    pub(crate) hit: Option<Hit>,
    /// Growth that waits for confirmation.
    pub(crate) candidate: Option<Candidate>,
    /// When the leak that stands began.
    pub(crate) onset: Option<Onset>,
    /// Seconds since when no window has grown, while a leak stands.
    quiet_since: Option<f64>,
    /// Where the level has settled after it rose.
    pub(crate) settled: Option<Settled>,
    /// The life before, when this judges a chapter of it.
    pub(crate) before: Option<Before>,
}

/// Where a level has settled.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Settled {
    /// Seconds since when.
    pub(crate) since: f64,
    /// The lowest level since, in bytes.
    pub(crate) low: f64,
    /// It had leaked until then: windows that began before show growth that has stopped.
    pub(crate) leaked: bool,
}

/// The life before a chapter.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Before {
    /// Seconds when it began.
    pub(crate) origin: f64,
    /// Its largest fall, in bytes: growth must exceed it.
    pub(crate) fallen: f64,
}

impl Before {
    /// What a chapter of the life that `history` shows must know of it.
    pub(crate) fn of(history: &History) -> Self {
        let whole = history.window(history.origin());
        let fallen = whole.map_or(0.0, |whole| largest_fall(&whole.low));
        Self { origin: history.origin(), fallen }
    }
}

impl Judge {
    /// Of a life that begins, and is called `state` until it has shown more.
    pub(crate) fn of_life(state: State) -> Self {
        Self::of(History::default(), state, None)
    }

    /// Of a chapter whose samples so far are `history`.
    pub(crate) fn of_chapter(history: History, before: Option<Before>) -> Self {
        Self::of(history, State::Undecided(Why::Settling), before)
    }

    fn of(history: History, state: State, before: Option<Before>) -> Self {
        Self {
            history,
            next_look: FIRST_LOOK,
            state,
            hit: None,
            candidate: None,
            onset: None,
            quiet_since: None,
            settled: None,
            before,
        }
    }

    /// The same without its samples: what was concluded from them stays until there are others.
    pub(crate) fn unseen(self) -> Self {
        let history = History::default();
        Self { history, next_look: FIRST_LOOK, settled: None, before: None, ..self }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.history.samples() >= self.next_look
    }

    /// Takes one look at the history; at the end of a run it is the last.
    pub(crate) fn look(&mut self, known: &mut Known, ending: bool) {
        if !ending {
            self.next_look = (self.history.samples() as f64 * (1.0 + LOOK)).ceil() as u64;
        }
        if !self.has_enough(known) {
            if !matches!(self.state, State::Leak | State::Undecided(Why::Swinging)) {
                self.state = State::Early;
            }
            return;
        }
        let Searched { mut found, mut recent, whole } = self.search(known).run();
        let stopped = self.settled_lately().filter(|settled| settled.leaked);
        found = found.filter(|seen| stopped.is_none_or(|stopped| seen.hit.from >= stopped.since));
        if self.state != State::Leak && self.is_start(known) {
            // It rises as it did before it became steady last time.
            recent = found
                .take()
                .map(|seen| Growth { finding: Finding::Ending, ..seen.growth })
                .or(recent);
        }
        if self.state != State::Leak {
            if let Some(over_cycles) =
                whole.as_ref().and_then(|whole| self.over_cycles(known, whole))
            {
                self.state = State::Leak;
                found = Some(over_cycles);
            }
        } else if found.as_ref().is_some_and(|seen| self.stalls(&seen.hit, &seen.growth)) {
            found = whole.as_ref().and_then(|whole| self.over_cycles(known, whole));
        }
        match found {
            Some(seen) => self.found_growth(known, &seen, whole.as_deref(), ending),
            None => self.found_none(known, recent, whole.as_deref()),
        }
        if ending && self.state == State::Leak && !self.carries(known) && self.is_over(known) {
            self.state = State::Undecided(Why::Settling);
            self.hit = None;
        }
        self.note_onset(known);
    }

    /// Whether a leak stands.
    pub(crate) fn is_leak(&self) -> bool {
        self.state == State::Leak
    }

    /// A window grows: it is a leak once that is confirmed.
    fn found_growth(&mut self, known: &Known, seen: &Found, whole: Option<&Window>, ending: bool) {
        self.hit = Some(seen.hit);
        self.quiet_since = None;
        if self.state != State::Leak {
            let confirmed = self.confirms(known, seen, whole, ending);
            self.state = if confirmed { State::Leak } else { State::Growing };
        }
    }

    /// No window grows: a leak stands until that has lasted.
    fn found_none(&mut self, known: &mut Known, recent: Option<Growth>, whole: Option<&Window>) {
        self.candidate = None;
        if self.state == State::Leak {
            let now = self.history.end();
            let quiet = now - *self.quiet_since.get_or_insert(now);
            let least = (CLEAR * self.history.span()).max(4.0 * known.interval());
            if self.carries(known) || quiet < least {
                return;
            }
            known.carried = None;
        }
        self.quiet_since = None;
        self.state = self.without_growth(known, recent, whole);
        self.hit = None;
    }

    /// What to say when no window grows, from the later half of the history and the whole of it.
    fn without_growth(
        &self,
        known: &Known,
        recent: Option<Growth>,
        whole: Option<&Window>,
    ) -> State {
        let Some(found) = recent else { return State::Undecided(Why::TooFewSamples) };
        if self.settled_lately().is_some() {
            // What rose has settled since, as its chapter has shown.
            return State::Steady;
        }
        if found.bytes < known.least_growth {
            return if whole.is_some_and(|whole| creeps(known, whole)) {
                State::Undecided(Why::BelowLeast)
            } else {
                State::Steady
            };
        }
        match found.finding {
            Finding::Grows | Finding::NoRise => State::Steady,
            Finding::Small if found.by_level => State::Undecided(Why::BelowLeast),
            Finding::Chance | Finding::Small if found.rho > SWING => {
                let swings = self.swings(known, whole);
                State::Undecided(if swings { Why::Swinging } else { Why::Settling })
            }
            Finding::Chance | Finding::Small => State::Undecided(Why::WithinNoise),
            Finding::Lumpy | Finding::Ending | Finding::Bounded => State::Undecided(Why::Settling),
        }
    }

    /// The level has settled: what rose before is over.
    pub(crate) fn settle(&mut self, settled: Settled) {
        (self.settled, self.state) = (Some(settled), State::Steady);
        (self.hit, self.candidate, self.quiet_since) = (None, None, None);
        self.onset = None;
    }
}
