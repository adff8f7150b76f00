//! The level machine: a pure function of rules, state and sample.
//!
//! Two stages. First each signal votes, with a band under its thresholds so that noise around a threshold
//! does not change the vote. Then one latch per level: it sets on the sample whose highest vote reaches the
//! level, and releases only when no sample has justified the level for [`PressureConfig::hold`], counted
//! from the last one that did. The level is that of the highest latch set.
//!
//! The obvious alternative, to stay in a level for some time from entering it, lets a strictly worse input
//! give a lower level. With latches and the votes of ratios a worse input never does, which the property tests hold. The
//! forecast is about the course, not the size: it may lift one level above a size that was reached faster, and a worse
//! input that stands still is then the lower one.

use std::time::Duration;

use memtrack::{Absent, Sample};

use crate::config::{BudgetConfig, PressureConfig};
use crate::level::{Level, Measure, Signal, Transition};
use crate::signal::{
    Abstains, Forecast, Refusals, Refused, SignalStatus, Stall, forecast_threshold, stall_release,
};

mod latches;
mod votes;

use latches::Latches;

/// For how many samples without a reading a vote stands.
const STALE_SAMPLES: u32 = 3;

/// What the machine decides by: the sections of one generation of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Signals, thresholds, band, hold.
    pub pressure: &'a PressureConfig,
    /// What the process allows itself.
    pub budget: &'a BudgetConfig,
    /// The generation they come from.
    pub generation: u64,
}

/// The state of the machine, and what each signal says.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Status {
    /// How close to the limit.
    pub level: Level,
    /// When it became so: the monotonic time of that sample. Seconds in JSON.
    #[cfg_attr(feature = "serde", serde(rename = "since_seconds", with = "crate::seconds"))]
    pub since: Duration,
    /// The monotonic time of the last sample. Seconds in JSON.
    #[cfg_attr(feature = "serde", serde(rename = "at_seconds", with = "crate::seconds"))]
    pub at: Duration,
    /// The signal that justifies the level, or last did; at [`Level::Normal`] the one with the highest vote.
    pub signal: Option<Signal>,
    /// Each signal, in the order of [`Signal::ALL`].
    pub signals: [SignalStatus; 5],
    /// The generation of the configuration of the last step.
    pub generation: u64,
    /// Samples seen.
    pub samples: u64,
    /// Samples of which a reading was refused as implausible.
    pub implausible: u64,
    /// Transitions so far.
    pub transitions: u64,
}

impl Status {
    /// What `signal` says.
    #[must_use]
    pub fn of(&self, signal: Signal) -> &SignalStatus {
        &self.signals[signal as usize]
    }

    /// Whether a reading fails that this machine could give: its signal votes from an old one, or not at all.
    ///
    /// What nobody asked for, what this system does not have, a cgroup without a limit and a forecast that is
    /// gathering samples are as they should be.
    #[must_use]
    pub fn degraded(&self) -> bool {
        self.signals.iter().any(|signal| match signal.absent {
            None | Some(Abstains::Off | Abstains::Gathering) => false,
            Some(Abstains::Absent(why)) => !why.nothing_there(),
        })
    }
}

/// Decides the level, sample by sample.
#[derive(Clone, Debug)]
pub struct Machine {
    status: Status,
    now: Option<Duration>,
    /// What each signal says by its own reading, or the last one that stands in for it. What is added for one sample
    /// alone (the kernel's refusals, a notice) is in the status only, so that it outlives nothing.
    own: [SignalStatus; 5],
    misses: [u32; 5],
    /// What each banded signal last voted for by its own reading, before anything was added or taken away.
    bands: [Level; 5],
    high: Level,
    refusals: Refusals,
    stall: Stall,
    forecast: Forecast,
    /// How often memory was refused between this sample and the one before.
    refused: Refused,
    /// A notice has come that no step has heard yet; and: one belongs to this sample.
    notice: bool,
    noticed: bool,
    evicted: bool,
    latches: Latches,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// A machine that has seen nothing: [`Level::Unknown`].
    #[must_use]
    pub fn new() -> Self {
        let silent = |signal| SignalStatus::silent(signal, Abstains::Absent(Absent::NotRead));
        Self {
            status: Status {
                level: Level::Unknown,
                since: Duration::ZERO,
                at: Duration::ZERO,
                signal: None,
                signals: Signal::ALL.map(silent),
                generation: 0,
                samples: 0,
                implausible: 0,
                transitions: 0,
            },
            now: None,
            own: Signal::ALL.map(silent),
            misses: [0; 5],
            bands: [Level::Normal; 5],
            high: Level::Normal,
            refusals: Refusals::default(),
            stall: Stall::default(),
            forecast: Forecast::default(),
            refused: Refused::default(),
            notice: false,
            noticed: false,
            evicted: false,
            latches: Latches::default(),
        }
    }

    /// The state after the last step.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The present level.
    #[must_use]
    pub fn level(&self) -> Level {
        self.status.level
    }

    /// Somebody outside, such as the service manager, saw tasks stall for lack of memory: on the next step the
    /// PSI signal, if it is switched on, votes for [`Level::Warning`] at least.
    pub fn notice(&mut self) {
        self.notice = true;
    }

    /// Memory was evicted since the last step: what the ratios fell by until the next one says nothing about how
    /// fast they rise, so the forecast leaves it out.
    pub fn evicted(&mut self) {
        self.evicted = true;
    }

    /// Takes one sample, and tells whether the level changed.
    ///
    /// A sample that is not newer than the last one is looked at again under the rules given: that is how a
    /// change of configuration takes effect at once. It can raise the level; time has not passed, so it
    /// releases nothing, and with unchanged rules it changes nothing.
    pub fn step(&mut self, rules: &Rules<'_>, sample: &Sample) -> Option<Transition> {
        let at = sample.at.monotonic;
        let advanced = self.now.is_none_or(|last| at > last);
        // A clock that goes back is taken to stand still.
        let now = self.now.map_or(at, |last| last.max(at));
        self.now = Some(now);
        if advanced {
            self.status.samples = self.status.samples.saturating_add(1);
            if sample.at.gap {
                self.forget_the_past(now);
            }
        }
        self.status.at = now;
        self.status.generation = rules.generation;
        self.hear(rules, sample, now, advanced);
        self.decide(rules, now, advanced)
    }

    /// The time before this sample was not watched: what counts since the last sample begins anew, and so does
    /// the wait before a level may be left. The forecast goes on, since its points carry their times.
    fn forget_the_past(&mut self, now: Duration) {
        self.stall.forget();
        self.refusals = Refusals::default();
        self.misses = [STALE_SAMPLES; 5];
        self.latches.wait_anew(now);
    }

    /// Second stage: the highest vote sets and releases the latches.
    fn decide(&mut self, rules: &Rules<'_>, now: Duration, advanced: bool) -> Option<Transition> {
        let mut highest: Option<(Level, Signal)> = None;
        for status in &self.status.signals {
            // Of equal votes the first signal decides.
            if let Some(vote) = status.vote
                && highest.is_none_or(|(level, _)| vote > level)
            {
                highest = Some((vote, status.signal));
            }
        }
        let Some((vote, by)) = highest else {
            // What was latched is as unknown as the rest; the next sample that says something starts afresh.
            self.latches = Latches::default();
            self.status.signal = None;
            return self.change(rules, now, Level::Unknown, None);
        };
        self.latches.justify(vote, by, now);
        let released = if advanced { self.latches.release(now, rules.pressure.hold) } else { None };
        let top = self.latches.top();
        let level = top.map_or(Level::Normal, |(level, _)| level);
        self.status.signal = top.map_or(Some(by), |(_, by)| by);
        let reason = match released {
            Some((level, by)) => by.map(|by| (by, level)),
            None => Some((by, level)),
        };
        self.change(rules, now, level, reason)
    }

    /// Goes to `to`; `reason` is the signal that decided, and the level whose threshold it was held against.
    fn change(
        &mut self,
        rules: &Rules<'_>,
        now: Duration,
        to: Level,
        reason: Option<(Signal, Level)>,
    ) -> Option<Transition> {
        let from = self.status.level;
        if to == from {
            return None;
        }
        self.status.level = to;
        self.status.since = now;
        self.status.transitions = self.status.transitions.saturating_add(1);
        let (mut measure, mut value, mut threshold) = (Measure::Ratio, None, None);
        if let Some((signal, level)) = reason {
            let status = self.status.of(signal);
            (measure, value) = (status.measure, status.value);
            threshold = if to > from && status.vote == Some(level) {
                status.threshold
            } else {
                Some(release_point(rules, signal, level))
            };
            if to < from && measure == Measure::Refusals {
                // The counter set the latch and has been still since: the ratio is what can be shown now.
                (measure, value) = (Measure::Ratio, None);
            }
        }
        let signal = reason.map(|(signal, _)| signal);
        let generation = rules.generation;
        Some(Transition { from, to, at: now, signal, measure, value, threshold, generation })
    }
}

/// Below (for seconds left: above) this a signal no longer votes for `level`.
fn release_point(rules: &Rules<'_>, signal: Signal, level: Level) -> f64 {
    match signal {
        Signal::System | Signal::Cgroup => {
            rules.pressure.thresholds.of(level) - rules.pressure.band
        }
        Signal::Budget => rules.budget.thresholds().of(level) - rules.pressure.band,
        Signal::Psi => stall_release(level),
        Signal::Forecast => forecast_threshold(level),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod told_tests;
#[cfg(test)]
mod votes_tests;
