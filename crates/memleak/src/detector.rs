//! The streaming detector: when to look, what a look concludes, and when a verdict is confirmed or cleared.

use std::time::Duration;

use crate::chapter::Chapters;
use crate::config::{DEFAULT_LEAST_GROWTH, LeakConfig};
use crate::confirm::Candidate;
use crate::filter::{Clock, Smoother};
use crate::growth::{Finding, Growth};
use crate::pink;
use crate::pool::pooled;
use crate::profile::Profile;
use crate::rate::{Now, rate_now};
use crate::saturation::prepare;
use crate::search::{Hit, Search, Searched, grows_now};
use crate::segment::{End, Fall, Falls, Past, parts, pause};
use crate::tuning::Tuning;
use crate::verdict::{Change, Trend, Verdict, Why};
use crate::window::{History, Window};

mod present;

/// A look is taken each time a segment's samples have grown by this share, so that a month has few chances to err.
const LOOK: f64 = 0.05;
/// Samples in a segment before its first look.
pub(crate) const FIRST_LOOK: u64 = 20;
/// A window spans at least this many sampling intervals,
const HOLD_SAMPLES: f64 = 50.0;
/// at least this many seconds,
const HOLD_LEAST: f64 = 4.0;
/// and need not span more seconds than this.
const HOLD_MOST: f64 = 1800.0;
/// A confirmed leak is cleared when no window has shown growth for this share of the segment.
const CLEAR: f64 = 0.08;
/// Growth of at least this share of the least that counts, and that passes every test but that one, is no plateau.
const CREEP: f64 = 1.0 / 8.0;
/// Neighbouring points that correlate by more than this around the trend swing rather than scatter.
const SWING: f64 = 0.8;
/// A leak that ended in a restart stands until the new segment is this share of the old one's age.
const CARRY: f64 = 1.0;
/// A leak counts as stalled while the newest part of its window grows by less than this share of the slope.
const STALL: f64 = 0.1;
/// Samples from a process's end on at which a fall may be its restart: a fall shows two samples late and must stay for six.
const ENDED: u32 = 10;
/// Segments that are remembered.
const PASTS: usize = 16;

/// What a detector says, without the figures that a [`Verdict`] computes when it is asked.
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

/// A verdict on one series, kept up with each sample.
///
/// Settings may change while it runs ([`Detector::set_config`]): what has been learnt stays, and the next look uses the
/// new ones.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Detector {
    pub(crate) min_samples: u64,
    pub(crate) baseline_window: f64,
    /// Growth below this many bytes is none. What was saved before it could be set had the default.
    #[cfg_attr(feature = "serde", serde(default = "default_least_growth"))]
    pub(crate) least_growth: f64,
    pub(crate) limit: Option<u64>,
    pub(crate) clock: Clock,
    smoother: Smoother,
    falls: Falls,
    pub(crate) history: History,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) chapters: Chapters,
    pub(crate) pasts: Vec<Past>,
    /// What the last steady life has shown.
    profile: Option<Profile>,
    pub(crate) restarts: u32,
    pub(crate) samples: u64,
    pub(crate) first: Option<f64>,
    pub(crate) next_look: u64,
    pub(crate) state: State,
    pub(crate) hit: Option<Hit>,
    pub(crate) candidate: Option<Candidate>,
    /// Seconds since when no window has grown, while a leak stands.
    pub(crate) quiet_since: Option<f64>,
    /// Seconds until which a leak that ended in a restart still counts.
    pub(crate) carried: Option<f64>,
    /// Samples for which a fall may still be a restart; `None` while nobody tells, and every fall may be one.
    #[cfg_attr(feature = "serde", serde(default))]
    may_restart: Option<u32>,
    /// Seconds of the last sample, repaired.
    pub(crate) last: f64,
    /// The verdict when its kind last changed.
    reported: Verdict,
    /// The margins; those of this build, whatever build saved the rest.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) tuning: Tuning,
}

impl Detector {
    /// A detector that has seen nothing.
    #[must_use]
    pub fn new(config: &LeakConfig) -> Self {
        prepare();
        pink::prepare();
        let mut detector = Self {
            min_samples: 0,
            baseline_window: 0.0,
            least_growth: default_least_growth(),
            limit: None,
            clock: Clock::default(),
            smoother: Smoother::default(),
            falls: Falls::default(),
            history: History::default(),
            chapters: Chapters::default(),
            pasts: Vec::new(),
            profile: None,
            restarts: 0,
            samples: 0,
            first: None,
            next_look: FIRST_LOOK,
            state: State::default(),
            hit: None,
            candidate: None,
            quiet_since: None,
            carried: None,
            may_restart: None,
            last: 0.0,
            reported: Verdict::unseen(),
            tuning: Tuning::default(),
        };
        detector.set_config(config);
        detector
    }

    /// Takes new settings; they count from the next look on.
    pub fn set_config(&mut self, config: &LeakConfig) {
        self.min_samples = u64::from(config.min_samples);
        self.baseline_window = config.baseline_window.as_secs_f64();
        self.least_growth = config.least_growth as f64;
    }

    /// Replaces the margins, to measure what they are worth: see [`Tuning`].
    #[doc(hidden)]
    pub fn set_tuning(&mut self, tuning: Tuning) {
        self.tuning = tuning;
    }

    /// The size, in bytes, at which the target would fail, for [`Verdict::Leak`]'s `time_to_limit`; `None`: not known.
    pub fn set_limit(&mut self, bytes: Option<u64>) {
        self.limit = bytes;
    }

    /// Takes one sample: `bytes` at `at`, on a clock that should not go back.
    ///
    /// Returns the change when the verdict becomes one of another kind.
    pub fn push(&mut self, at: Duration, bytes: u64) -> Option<Change> {
        let t = self.clock.advance(at.as_secs_f64())?;
        let t = self.begin_anew(t).unwrap_or(t);
        let interval = self.clock.interval();
        let t = match pause(&self.history, t, bytes as f64, interval, self.least_growth) {
            Some(pause) => self.clock.skip(t, pause),
            None => t,
        };
        self.samples = self.samples.saturating_add(1);
        self.last = t;
        self.first.get_or_insert(t);
        let (t, y) = self.smoother.push(t, bytes as f64)?;
        if parts(self.whole(), t, self.hold()) {
            self.end_segment(y, End::Gap);
            self.falls = Falls::default();
        }
        let before = self.state;
        match self.falls.push(&self.history, self.state == State::Leak, t, y) {
            Fall::None => self.take(t, y),
            Fall::Held => return None,
            Fall::Dip(held) => held.iter().for_each(|(t, y)| self.take(*t, *y)),
            Fall::New(held) => {
                let end = if self.may_restart == Some(0) { End::Swing } else { End::Restart };
                self.end_segment(held.last().map_or(0.0, |(_, y)| *y), end);
                held.iter().for_each(|(t, y)| self.take(*t, *y));
                return self.settle(at);
            }
        }
        let due = self.look_is_due();
        if due {
            self.look_at_all(false);
        }
        if due || self.state != before { self.settle(at) } else { None }
    }

    /// Tells that the process has been started (again): the next sample begins a new segment.
    pub fn restarted(&mut self) {
        if self.history.samples() > 0 {
            self.end_segment(self.history.high(), End::Restart);
        } else if !self.smoother.is_empty() {
            // Too young for a segment, and a life all the same.
            self.restarts = self.restarts.saturating_add(1);
        }
        self.smoother = Smoother::default();
        self.falls = Falls::default();
    }

    /// Tells before a sample whether a process that is watched may have ended since the last one.
    ///
    /// From the first call on, a level that falls as at a restart is one only near a sample for which `ended` was `true`.
    /// Elsewhere it is memory that a living process gave back, and growth must exceed it to count. Without any call every
    /// such fall counts as a restart.
    pub fn process_ended(&mut self, ended: bool) {
        let left = self.may_restart.map_or(0, |left| left.saturating_sub(1));
        self.may_restart = Some(if ended { ENDED } else { left });
    }

    /// Goes on after a pause of unknown length on a clock with another origin: the next sample follows one interval after
    /// the last, as a new segment.
    pub fn resumed(&mut self) {
        self.restarted();
        self.clock.rebase();
        // Whether the new process leaks is for its own samples to show.
        self.carried = None;
        self.state = State::Early;
        self.reported = self.verdict();
    }

    /// Whether a leak stands, without the figures of [`Detector::verdict`].
    #[must_use]
    pub fn leaks(&self) -> bool {
        self.state == State::Leak
    }

    /// Times the series fell as a restart does, or the caller said so.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Whether its parts fit together: what was loaded from a file need not have been saved by a detector.
    #[cfg(feature = "worker")]
    pub(crate) fn is_sound(&self) -> bool {
        self.history.is_sound()
            && self.chapters.is_sound()
            && self.clock.is_sound()
            && self.falls.is_sound()
            && self.pasts.len() <= PASTS
            && self.profile.is_none_or(|profile| profile.is_sound())
            && self.last.is_finite()
            && self.least_growth.is_finite()
    }

    /// Bytes of memory that this detector occupies, all of its own. Constant once the history is full.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        size_of::<Self>()
            + self.history.heap_bytes()
            + self.chapters.heap_bytes()
            + self.clock.heap_bytes()
            + self.falls.heap_bytes()
            + self.pasts.capacity() * size_of::<Past>()
    }

    /// Looks now, at everything pushed so far. Call it at the end of a run; while samples come, [`Detector::push`]
    /// looks often enough by itself.
    pub fn conclude(&mut self) -> Option<Change> {
        let at =
            Duration::try_from_secs_f64(self.clock.raw(self.history.end())).unwrap_or_default();
        self.look_at_all(true);
        self.settle(at)
    }

    /// The verdict of the last look, with figures over all samples so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        crate::describe::verdict(self)
    }

    /// Seconds that a window spans at least.
    pub(crate) fn hold(&self) -> f64 {
        (HOLD_SAMPLES * self.clock.interval()).clamp(HOLD_LEAST, HOLD_MOST)
    }

    /// Ends the present segment; the next begins at `level` bytes.
    fn end_segment(&mut self, level: f64, end: End) {
        self.end_chapters();
        let span = self.history.span();
        let whole = self.history.end() - self.first.unwrap_or(self.history.origin());
        // What grew and was given back by the process itself did not grow without end.
        let grew = end != End::Swing
            && matches!(self.state, State::Leak | State::Growing)
            && self.hit.is_some_and(|hit| hit.share >= 0.5);
        if span > 0.3 * whole {
            self.carried = grew.then_some(self.history.end() + CARRY * span);
        }
        if end == End::Swing {
            self.carried = None;
        }
        if self.state == State::Steady {
            self.profile = Profile::learn(&self.history).or(self.profile);
        }
        if self.pasts.len() == PASTS {
            self.pasts.remove(0);
        }
        let top = self.history.level_since(self.history.end() - span / 48.0, 1.0).unwrap_or(0.0);
        let fell = (top - level).max(0.0);
        let stood = self.history.stood_above(level + 0.5 * fell);
        self.pasts.push(Past {
            start: self.history.origin(),
            span,
            low: self
                .history
                .floor_between(self.history.origin(), self.history.end())
                .unwrap_or(level),
            fell,
            stood,
            swing: end == End::Swing,
            grew: grew.then(|| self.slope(self.now().map(|now| now.trend))).flatten(),
        });
        if end == End::Restart {
            self.restarts = self.restarts.saturating_add(1);
        }
        // Nothing is known of the new life but what is carried into it.
        self.state = match (end, self.state) {
            (End::Swing, _) => State::Undecided(Why::Swinging),
            (_, State::Leak) if self.carried.is_some() => State::Leak,
            _ => State::Early,
        };
        self.quiet_since = None;
        self.history = History::default();
        self.chapters = Chapters::default();
        self.next_look = FIRST_LOOK;
        self.candidate = None;
        self.hit = None;
    }

    /// The slope of the growth that stands, over all lives that show it; `now` is [`Detector::now`].
    pub(crate) fn rate(&self, now: Option<Trend>) -> Trend {
        match self.hit {
            Some(Hit { season: Some(_), .. }) => self.slope(now),
            Some(_) => pooled(&self.pasts, self.slope(now)),
            None if self.carried.is_some() => pooled(&self.pasts, None),
            None => self.slope(now),
        }
        .unwrap_or_default()
    }

    /// The slope since the growth that stands began, or of the whole present life.
    pub(crate) fn now(&self) -> Option<Now> {
        rate_now(&self.history, self.hit.map_or(self.begun(), |hit| hit.from))
    }

    /// The slope of the present life, of which `now` is what [`Detector::now`] gives.
    fn slope(&self, now: Option<Trend>) -> Option<Trend> {
        let Some(Hit { season: Some((_, rate)), .. }) = self.hit else { return now };
        let half = now.map_or(rate.abs() / 2.0, |now| (now.high - now.low) / 2.0);
        Some(Trend { bytes_per_second: rate, low: rate - half, high: rate + half })
    }

    pub(crate) fn search(&self) -> Search<'_> {
        Search {
            history: &self.history,
            pasts: &self.pasts,
            hold: self.hold(),
            chapter: self.chapters.fallen().is_some(),
            swing: self
                .profile
                .map_or(0.0, |profile| profile.swing)
                .max(self.chapters.fallen().unwrap_or(0.0)),
            least: self.least_growth,
            tuning: &self.tuning,
        }
    }

    /// Takes one look at the present history.
    pub(crate) fn judge(&mut self, ending: bool) {
        if !ending {
            self.next_look = (self.history.samples() as f64 * (1.0 + LOOK)).ceil() as u64;
        }
        let (now, span, hold) = (self.history.end(), self.history.span(), self.hold());
        if self.samples < self.min_samples || self.history.samples() < FIRST_LOOK || span < hold {
            if !matches!(self.state, State::Leak | State::Undecided(Why::Swinging)) {
                self.state = State::Early;
            }
            return;
        }
        let Searched { mut found, mut recent, whole } = self.search().run();
        let stopped = self.chapters.stopped_in(&self.history);
        found = found.filter(|(hit, _)| stopped.is_none_or(|stopped| hit.from >= stopped));
        if self.state != State::Leak && self.chapters.fallen().is_none() && self.is_start() {
            // It rises as it did before it became steady last time.
            recent = found
                .take()
                .map(|(_, found)| Growth { finding: Finding::Ending, ..found })
                .or(recent);
        }
        if self.state == State::Leak
            && let Some((hit, growth)) = &found
            && hit.season.is_none()
            && !growth.rising_floor
            && !grows_now(&self.history, growth.rate, hit.share * span, STALL)
        {
            found = whole.as_ref().and_then(|whole| self.over_cycles(whole));
        } else if self.state != State::Leak
            && let Some(over_cycles) = whole.as_ref().and_then(|whole| self.over_cycles(whole))
        {
            self.state = State::Leak;
            found = Some(over_cycles);
        }
        match found {
            Some((hit, found)) => {
                self.hit = Some(hit);
                self.quiet_since = None;
                if self.state != State::Leak {
                    self.state = if self.confirms(&hit, &found, ending) {
                        State::Leak
                    } else {
                        State::Growing
                    };
                }
            }
            None => {
                self.candidate = None;
                if self.state == State::Leak {
                    let since = *self.quiet_since.get_or_insert(now);
                    if !self.carries()
                        && now - since >= (CLEAR * span).max(4.0 * self.clock.interval())
                    {
                        self.state = self.quiet(recent, whole.as_ref());
                        self.quiet_since = None;
                        self.hit = None;
                        self.carried = None;
                    }
                } else {
                    self.state = self.quiet(recent, whole.as_ref());
                    self.hit = None;
                }
            }
        }
        if ending && self.state == State::Leak && !self.carries() && self.is_over() {
            self.state = State::Undecided(Why::Settling);
            self.hit = None;
        }
    }

    /// What to say when no window grows, from the later half of the segment and the whole of it.
    fn quiet(&self, recent: Option<Growth>, whole: Option<&Window>) -> State {
        let Some(found) = recent else { return State::Undecided(Why::TooFewSamples) };
        if self.chapters.settled_in(&self.history).is_some() {
            // What rose has settled since, as its chapter has shown.
            return State::Steady;
        }
        if found.bytes < self.least_growth {
            return if whole.is_some_and(|whole| self.creeps(whole)) {
                State::Undecided(Why::BelowLeast)
            } else {
                State::Steady
            };
        }
        match found.finding {
            Finding::Grows | Finding::NoRise => State::Steady,
            Finding::Small if found.by_level => State::Undecided(Why::BelowLeast),
            Finding::Chance | Finding::Small if found.rho > SWING => {
                State::Undecided(if self.swings(whole) { Why::Swinging } else { Why::Settling })
            }
            Finding::Chance | Finding::Small => State::Undecided(Why::WithinNoise),
            Finding::Lumpy | Finding::Ending | Finding::Bounded => State::Undecided(Why::Settling),
        }
    }

    fn settle(&mut self, at: Duration) -> Option<Change> {
        let same = matches!(
            (&self.state, &self.reported),
            (State::Early | State::Undecided(_), Verdict::Undecided { .. })
                | (State::Steady, Verdict::Steady { .. })
                | (State::Growing, Verdict::Growing { .. })
                | (State::Leak, Verdict::Leak { .. })
        );
        if same {
            return None;
        }
        let to = self.verdict();
        let from = std::mem::replace(&mut self.reported, to.clone());
        Some(Change { at, from, to })
    }
}

fn default_least_growth() -> f64 {
    DEFAULT_LEAST_GROWTH as f64
}
