//! The streaming detector: samples are repaired and parted into lives, which judges look at.

use std::time::Duration;

use crate::config::LeakConfig;
use crate::filter::Smoother;
use crate::judge::{Judge, State};
use crate::known::{HOLD_LEAST, HOLD_MOST, Known};
use crate::life::Life;
use crate::pink;
use crate::saturation;
use crate::segment::{End, Fall, Falls, outgrown, parts, pause};
use crate::tuning::Tuning;
use crate::verdict::{Change, Verdict};
use crate::walk;

/// Samples from a process's end on at which a fall may be its restart: a fall shows two samples late and must stay for six.
const ENDED: u32 = 10;

/// A verdict on one series, kept up with each sample.
///
/// Settings may change while it runs ([`Detector::set_config`]): what has been learnt stays, and the next look uses the
/// new ones.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Detector {
    pub(crate) baseline_window: f64,
    pub(crate) limit: Option<u64>,
    smoother: Smoother,
    falls: Falls,
    /// Samples for which a fall is still that of a process that has ended, or 0 while none has; `None` while nobody tells.
    ended: Option<u32>,
    /// Seconds of the last sample, repaired.
    pub(crate) last: f64,
    pub(crate) known: Known,
    pub(crate) life: Life,
    /// The verdict when its kind last changed.
    reported: Verdict,
}

impl Detector {
    /// A detector that has seen nothing.
    #[must_use]
    pub fn new(config: &LeakConfig) -> Self {
        saturation::prepare();
        pink::prepare();
        walk::prepare();
        let mut detector = Self {
            baseline_window: 0.0,
            limit: None,
            smoother: Smoother::default(),
            falls: Falls::default(),
            ended: None,
            last: 0.0,
            known: Known::default(),
            life: Life::new(State::Early),
            reported: Verdict::unseen(),
        };
        detector.set_config(config);
        detector
    }

    /// Takes new settings; they count from the next look on.
    pub fn set_config(&mut self, config: &LeakConfig) {
        self.baseline_window = config.baseline_window.as_secs_f64();
        self.known.set_config(config);
    }

    /// Replaces the margins, to measure what they are worth: see [`Tuning`].
    #[doc(hidden)]
    pub fn set_tuning(&mut self, tuning: Tuning) {
        self.known.tuning = tuning;
    }

    /// The size, in bytes, at which the target would fail, for [`Verdict::Leak`]'s `time_to_limit`; `None`: not known.
    pub fn set_limit(&mut self, bytes: Option<u64>) {
        self.limit = bytes;
    }

    /// Takes one sample: `bytes` at `at`, on a clock that should not go back.
    ///
    /// Returns the change when the verdict becomes one of another kind.
    pub fn push(&mut self, at: Duration, bytes: u64) -> Option<Change> {
        let t = self.known.clock.advance(at.as_secs_f64())?;
        let t = self.begin_anew(t).unwrap_or(t);
        let (interval, least) = (|| self.known.interval(), self.known.least_growth);
        let t = match pause(&self.present().history, t, bytes as f64, interval, least) {
            Some(pause) => self.known.clock.skip(t, pause),
            None => t,
        };
        self.known.samples = self.known.samples.saturating_add(1);
        self.last = t;
        self.known.first.get_or_insert(t);
        let (t, y) = self.smoother.push(t, bytes as f64)?;
        if parts(&self.life.whole.history, t, || self.known.hold()) {
            self.end_life(y, End::Gap);
            self.falls = Falls::default();
        }
        let present = self.life.present();
        let before = present.state;
        match self.falls.push(&present.history, before == State::Leak, t, y) {
            Fall::None => self.life.take(&mut self.known, t, y),
            Fall::Held => return None,
            Fall::Dip(held) => self.take_all(&held),
            Fall::New(held) => {
                let end = match self.ended {
                    None => End::Fall,
                    Some(0) => End::Swing,
                    Some(_) => End::Restart,
                };
                self.end_life(held.last().map_or(0.0, |(_, y)| *y), end);
                self.take_all(&held);
                return self.report(at);
            }
        }
        let due = self.life.is_due();
        if due {
            self.life.look(&mut self.known, false);
        }
        if due || self.present().state != before { self.report(at) } else { None }
    }

    /// Tells that the process has been started (again): the next sample begins a new segment.
    pub fn restarted(&mut self) {
        let history = &self.present().history;
        if history.samples() > 0 {
            self.end_life(history.high(), End::Restart);
        } else if !self.smoother.is_empty() {
            // Too young for a segment, and a life all the same.
            self.known.restarts = self.known.restarts.saturating_add(1);
        }
        self.smoother = Smoother::default();
        self.falls = Falls::default();
    }

    /// Tells before a sample whether a process that is watched has ended since the last one; `None` where that is not known. What
    /// was told stands until the next call. With feature `worker`, `Ends` knows it of samples.
    ///
    /// A level that falls near a sample for which this was `true` falls because of a restart, which ends a life and no growth.
    /// Where it was `false` it is memory that a living process gave back, and growth must exceed it to count. Where nobody
    /// knows it counts as a restart, but many of them count as swings.
    pub fn process_ended(&mut self, ended: impl Into<Option<bool>>) {
        let left = self.ended.map_or(0, |left| left.saturating_sub(1));
        self.ended = match ended.into() {
            Some(true) => Some(ENDED),
            Some(false) => Some(left),
            None => (left > 0).then_some(left),
        };
    }

    /// Goes on after a pause of unknown length on a clock with another origin: the next sample follows one interval after
    /// the last, as a new segment.
    pub fn resumed(&mut self) {
        self.restarted();
        self.known.clock.rebase();
        // Whether the new process leaks is for its own samples to show.
        self.known.carried = None;
        self.life.whole.state = State::Early;
        self.reported = self.verdict();
    }

    /// Looks now, at everything pushed so far. Call it at the end of a run; while samples come, [`Detector::push`]
    /// looks often enough by itself.
    pub fn conclude(&mut self) -> Option<Change> {
        let end = self.known.clock.raw(self.present().history.end());
        self.life.look(&mut self.known, true);
        self.report(Duration::try_from_secs_f64(end).unwrap_or_default())
    }

    /// The verdict of the last look, with figures over all samples so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        crate::describe::verdict(self)
    }

    /// Whether a leak stands, without the figures of [`Detector::verdict`].
    #[must_use]
    pub fn leaks(&self) -> bool {
        self.present().state == State::Leak
    }

    /// Times the series fell as a restart does, or the caller said so.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.known.restarts
    }

    /// Bytes of memory that this detector occupies, all of its own. Constant once the history is full.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        size_of::<Self>()
            + self.known.heap_bytes()
            + self.life.heap_bytes()
            + self.falls.heap_bytes()
    }

    /// Whether its parts fit together: what was loaded from a file need not have been saved by a detector.
    #[cfg(feature = "worker")]
    pub(crate) fn is_sound(&self) -> bool {
        self.known.is_sound()
            && self.life.is_sound()
            && self.falls.is_sound()
            && self.last.is_finite()
    }

    /// The judge that has the word.
    pub(crate) fn present(&self) -> &Judge {
        self.life.present()
    }

    /// The newest sample and the median of the newest five, in bytes; `None` where there are not five.
    pub(crate) fn newest(&self) -> Option<(f64, f64)> {
        self.smoother.newest()
    }

    /// The median level over the baseline window of the present segment, in bytes.
    pub(crate) fn baseline(&self) -> Option<f64> {
        let history = &self.life.whole.history;
        history.level_between(history.origin(), history.origin() + self.baseline_window)
    }

    /// Forgets a young segment before a gap that is long beside all that was watched: the new time of the sample at `t`, one
    /// interval after the last.
    fn begin_anew(&mut self, t: f64) -> Option<f64> {
        let (known, span) = (&self.known, self.present().history.span());
        // Nearly all samples of nearly all series end here.
        if t - self.last <= HOLD_LEAST || span >= HOLD_MOST || known.samples < 3 {
            return None;
        }
        let (interval, hold) = (known.interval(), known.hold());
        if span >= hold {
            return None;
        }
        let first = known.first.unwrap_or(self.last);
        // On the caller's clock: a burst of samples each hour has been watched for hours.
        let watched = (known.clock.raw(self.last) - known.clock.raw(first)).max(span);
        let pause = outgrown(t - self.last, watched, interval, hold)?;
        self.life = Life::of(self.ended_life().unseen());
        self.smoother = Smoother::default();
        self.falls = Falls::default();
        Some(self.known.clock.skip(t, pause))
    }

    /// Ends the present segment; the next begins at `level` bytes.
    fn end_life(&mut self, level: f64, end: End) {
        let whole = self.ended_life();
        let state = self.known.remember(&whole, level, end);
        self.life = Life::new(state);
        if state == State::Leak {
            self.life.whole.onset = whole.carried_onset();
        }
    }

    /// Takes the present life away, as what judged the whole of it.
    fn ended_life(&mut self) -> Judge {
        std::mem::replace(&mut self.life, Life::new(State::Early)).end()
    }

    fn take_all(&mut self, held: &[(f64, f64)]) {
        for (t, y) in held {
            self.life.take(&mut self.known, *t, *y);
        }
    }

    /// The change, if the verdict has become one of another kind.
    fn report(&mut self, at: Duration) -> Option<Change> {
        let same = matches!(
            (self.present().state, &self.reported),
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
