//! The level machine: a pure function of rules, state and sample.
//!
//! Two stages. First each signal votes, with a band under its thresholds so that noise around a threshold
//! does not change the vote. Then one latch per level: it sets on the sample whose highest vote reaches the
//! level, and releases only when no sample has justified the level for [`PressureConfig::hold`], counted
//! from the last one that did. The level is that of the highest latch set.
//!
//! The obvious alternative, to stay in a level for some time from entering it, lets a strictly worse input
//! give a lower level. With latches a worse input never does, which the property tests hold.

use std::time::Duration;

use memtrack::{Absent, Sample};

use crate::config::{BudgetConfig, PressureConfig, Thresholds};
use crate::level::{Level, Measure, Signal, Transition};
use crate::signal::{
    self, Abstains, Forecast, Refusals, SignalStatus, Stall, Usage, Vote, banded,
    forecast_threshold, stall_threshold,
};

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
            Some(Abstains::Absent(why)) => {
                !matches!(why, Absent::NotRead | Absent::Unsupported | Absent::Unlimited)
            }
        })
    }
}

/// Decides the level, sample by sample.
#[derive(Clone, Debug)]
pub struct Machine {
    status: Status,
    now: Option<Duration>,
    misses: [u32; 5],
    /// What each banded signal last voted for by its own reading, before anything was added or taken away.
    bands: [Level; 5],
    high: Level,
    refusals: Refusals,
    stall: Stall,
    forecast: Forecast,
    noticed: bool,
    evicted: bool,
    latches: [Latch; 3],
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
            misses: [0; 5],
            bands: [Level::Normal; 5],
            high: Level::Normal,
            refusals: Refusals::default(),
            stall: Stall::default(),
            forecast: Forecast::default(),
            noticed: false,
            evicted: false,
            latches: [Latch::default(); 3],
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
        self.noticed = true;
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
        for latch in self.latches.iter_mut().filter(|latch| latch.set) {
            latch.justified = now;
        }
    }

    /// First stage: lets every signal vote.
    fn hear(&mut self, rules: &Rules<'_>, sample: &Sample, now: Duration, advanced: bool) {
        let pressure = rules.pressure;
        let mut on = [false; 5];
        for signal in &pressure.signals {
            on[*signal as usize] = pressure.enabled;
        }
        let readings =
            [signal::system(sample), signal::cgroup(sample), signal::budget(sample, rules.budget)];
        if advanced && readings.contains(&Err(Absent::Implausible)) {
            self.status.implausible = self.status.implausible.saturating_add(1);
        }
        let budget = signal::budget_thresholds(rules.budget);
        let thresholds = [&pressure.thresholds, &pressure.thresholds, &budget];
        let (mut highest, mut reporting) = (0.0_f64, 0u8);
        for (i, reading) in readings.into_iter().enumerate() {
            if let (Ok(usage), true) = (reading, on[i]) {
                highest = highest.max(usage.ratio());
                reporting |= 1 << i;
            }
            let vote = reading.map(|usage| {
                let vote = ratio_vote(self.bands[i], usage, thresholds[i], pressure.band);
                self.bands[i] = vote.level;
                vote
            });
            self.settle(Signal::ALL[i], on[i], vote.map_err(Abstains::Absent), advanced);
        }
        self.hear_the_kernel(on[Signal::Cgroup as usize], pressure, sample, advanced);

        let stalled = self.stall.read(now, &sample.psi).map(|shares| {
            let band = &mut self.bands[Signal::Psi as usize];
            let vote = signal::stalled(*band, shares);
            *band = vote.level;
            // Stalls come from slow disks, too: without a second witness they are no more than a warning.
            if self.corroborated() { vote } else { capped(vote, Level::Warning) }
        });
        self.settle(
            Signal::Psi,
            on[Signal::Psi as usize],
            stalled.map_err(Abstains::Absent),
            advanced,
        );
        if std::mem::take(&mut self.noticed) && on[Signal::Psi as usize] {
            let psi = &mut self.status.signals[Signal::Psi as usize];
            psi.vote = psi.vote.max(Some(Level::Warning));
            psi.threshold = psi.threshold.or(Some(stall_threshold(Level::Warning)));
            if psi.absent.is_some() {
                // It holds for this sample alone and does not stand in for readings that are missing.
                self.misses[Signal::Psi as usize] = STALE_SAMPLES;
            }
        }

        if advanced && reporting != 0 {
            self.forecast.push(now, highest, reporting, std::mem::take(&mut self.evicted));
        }
        let forecast = match self.forecast.vote() {
            _ if reporting == 0 => Err(Abstains::Absent(Absent::NotRead)),
            Some(vote) => Ok(self.lifted(vote)),
            None => Err(Abstains::Gathering),
        };
        self.settle(Signal::Forecast, on[Signal::Forecast as usize], forecast, advanced);
    }

    /// The cgroup's throttling limit and its counters, which can only add to the vote of its ratio.
    fn hear_the_kernel(
        &mut self,
        on: bool,
        pressure: &PressureConfig,
        sample: &Sample,
        advanced: bool,
    ) {
        let high = signal::cgroup_high(sample);
        self.high = match high {
            Ok(usage) if on => {
                // Above `memory.high` the kernel slows the process down; it does not kill.
                banded(self.high, usage.ratio(), &pressure.thresholds, pressure.band)
                    .min(Level::Critical)
            }
            _ => Level::Normal,
        };
        let (limit_hit, out_of_memory) =
            if advanced { self.refusals.since(&sample.cgroup.events) } else { (0, 0) };
        if !on {
            return;
        }
        let status = &mut self.status.signals[Signal::Cgroup as usize];
        let raise = |status: &mut SignalStatus, vote: Vote| {
            if vote.level > status.vote.unwrap_or(Level::Unknown) {
                *status = SignalStatus {
                    signal: Signal::Cgroup,
                    vote: Some(vote.level),
                    value: vote.value,
                    measure: vote.measure,
                    threshold: Some(vote.threshold),
                    absent: None,
                    stale: false,
                };
            }
        };
        if let Ok(usage) = high {
            let threshold = pressure.thresholds.of(self.high);
            let (level, value) = (self.high, Some(usage.ratio()));
            raise(status, Vote { level, value, measure: Measure::Ratio, threshold });
        }
        let refused = |level, count: u64| Vote {
            level,
            value: Some(count as f64),
            measure: Measure::Refusals,
            threshold: 1.0,
        };
        // A cgroup full of page cache runs into its limit all day and loses nothing by it, so that alone
        // says nothing: the working set must be high as well.
        if limit_hit > 0 && status.vote >= Some(Level::Warning) {
            raise(status, refused(Level::Critical, limit_hit));
        }
        if out_of_memory > 0 {
            raise(status, refused(Level::Emergency, out_of_memory));
        }
    }

    /// Whether the machine or the cgroup is short of memory by its own ratio.
    fn corroborated(&self) -> bool {
        [Signal::System, Signal::Cgroup]
            .into_iter()
            .any(|signal| self.status.of(signal).vote >= Some(Level::Warning))
    }

    /// A forecast lifts the level by at most one above what the other signals say now.
    fn lifted(&self, vote: Vote) -> Vote {
        let others = self.status.signals[..Signal::Forecast as usize].iter();
        let ceiling = match others.filter_map(|signal| signal.vote).max() {
            None | Some(Level::Unknown) => Level::Normal,
            Some(Level::Normal) => Level::Warning,
            Some(Level::Warning) => Level::Critical,
            Some(Level::Critical | Level::Emergency) => Level::Emergency,
        };
        capped(vote, ceiling)
    }

    /// Records what a signal says. Without a reading the last vote stands for a few samples, then the signal abstains.
    fn settle(&mut self, signal: Signal, on: bool, vote: Result<Vote, Abstains>, advanced: bool) {
        let misses = &mut self.misses[signal as usize];
        let status = &mut self.status.signals[signal as usize];
        let why = match vote {
            _ if !on => Abstains::Off,
            Ok(vote) => {
                *misses = 0;
                *status = SignalStatus {
                    signal,
                    vote: Some(vote.level),
                    value: vote.value,
                    measure: vote.measure,
                    threshold: Some(vote.threshold),
                    absent: None,
                    stale: false,
                };
                return;
            }
            Err(why) => why,
        };
        if advanced {
            *misses = misses.saturating_add(1);
        }
        // That there is no limit any more is news, not a failure to read.
        let lasting = matches!(why, Abstains::Absent(why) if why != Absent::Unlimited);
        if status.vote.is_some() && lasting && *misses <= STALE_SAMPLES {
            status.absent = Some(why);
            status.stale = true;
        } else {
            *status = SignalStatus::silent(signal, why);
            self.bands[signal as usize] = Level::Normal;
        }
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
            self.latches = [Latch::default(); 3];
            self.status.signal = None;
            return self.change(rules, now, Level::Unknown, None);
        };
        for (latch, level) in self.latches.iter_mut().zip(Level::RAISED) {
            if vote >= level {
                latch.set = true;
                latch.justified = now;
                latch.by = Some(by);
            }
        }
        let released = if advanced { self.release(now, rules.pressure.hold) } else { None };
        let top = self.latches.iter().rposition(|latch| latch.set);
        let level = top.map_or(Level::Normal, |top| Level::RAISED[top]);
        self.status.signal = top.map_or(Some(by), |top| self.latches[top].by);
        let reason = match released {
            Some(released) => self.latches[released].by.map(|by| (by, Level::RAISED[released])),
            None => Some((by, level)),
        };
        self.change(rules, now, level, reason)
    }

    /// Releases the highest latch if it has been unjustified for long enough: one at a time, and each half a
    /// hold after the one above it. Returns which.
    fn release(&mut self, now: Duration, hold: Duration) -> Option<usize> {
        let top = self.latches.iter().rposition(|latch| latch.set)?;
        let unjustified = now.saturating_sub(self.latches[top].justified);
        let above = self.latches.get(top + 1).and_then(|latch| latch.released);
        let rested = above.is_none_or(|above| now.saturating_sub(above) >= hold / 2);
        if unjustified.is_zero() || unjustified < hold || !rested {
            return None;
        }
        self.latches[top].set = false;
        self.latches[top].released = Some(now);
        Some(top)
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
        Signal::Budget => signal::budget_thresholds(rules.budget).of(level) - rules.pressure.band,
        Signal::Psi => stall_threshold(level),
        Signal::Forecast => forecast_threshold(level),
    }
}

fn ratio_vote(before: Level, usage: Usage, thresholds: &Thresholds, band: f64) -> Vote {
    let value = usage.ratio();
    let level = banded(before, value, thresholds, band);
    Vote { level, value: Some(value), measure: Measure::Ratio, threshold: thresholds.of(level) }
}

fn capped(vote: Vote, ceiling: Level) -> Vote {
    Vote { level: vote.level.min(ceiling), ..vote }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::Stamp;

    const GIB: u64 = 1 << 30;

    /// A sample `seconds` after the start, in which `used` of 100 parts of the machine are in use.
    fn machine_at(seconds: f64, used: u64) -> Sample {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs_f64(seconds)));
        sample.system.total = Ok(100 * GIB);
        sample.system.available = Ok((100 - used) * GIB);
        sample
    }

    struct World {
        pressure: PressureConfig,
        budget: BudgetConfig,
        machine: Machine,
    }

    impl World {
        fn new() -> Self {
            let pressure = PressureConfig::default();
            Self { pressure, budget: BudgetConfig::default(), machine: Machine::new() }
        }

        fn step(&mut self, sample: &Sample) -> Option<Transition> {
            let rules = Rules { pressure: &self.pressure, budget: &self.budget, generation: 7 };
            self.machine.step(&rules, sample)
        }

        /// Steps with a machine `used` percent full and returns the level.
        fn level(&mut self, seconds: f64, used: u64) -> Level {
            self.step(&machine_at(seconds, used));
            self.machine.level()
        }
    }

    #[test]
    fn nothing_known_is_unknown_and_never_normal() {
        let mut world = World::new();
        let empty = Sample::empty(Stamp::synthetic(Duration::ZERO));
        assert_eq!(world.step(&empty), None);
        assert_eq!(world.machine.level(), Level::Unknown);
        assert_eq!(world.level(1.0, 10), Level::Normal);
    }

    #[test]
    fn up_at_once_over_any_number_of_levels() {
        let mut world = World::new();
        assert_eq!(world.level(0.0, 10), Level::Normal);
        let transition = world.step(&machine_at(0.1, 96)).unwrap();
        assert_eq!((transition.from, transition.to), (Level::Normal, Level::Emergency));
        assert_eq!(transition.signal, Some(Signal::System));
        assert_eq!((transition.value, transition.threshold), (Some(0.96), Some(0.95)));
        assert_eq!((transition.at, transition.generation), (Duration::from_millis(100), 7));
    }

    #[test]
    fn down_one_level_at_a_time_after_the_hold() {
        let mut world = World::new();
        world.level(0.0, 96);
        let mut levels = Vec::new();
        for second in 1..40 {
            if let Some(transition) = world.step(&machine_at(f64::from(second), 10)) {
                levels.push((second, transition.to));
                assert_eq!(transition.signal, Some(Signal::System));
                assert_eq!(transition.value, Some(0.1));
            }
        }
        assert_eq!(
            levels,
            [(10, Level::Critical), (15, Level::Warning), (20, Level::Normal)],
            "the hold, then half a hold for each further level"
        );
    }

    #[test]
    fn noise_inside_the_band_changes_nothing() {
        let mut world = World::new();
        world.level(0.0, 80);
        for second in 1..100 {
            let used = if second % 2 == 0 { 75 } else { 79 };
            assert_eq!(world.level(f64::from(second), used), Level::Critical, "second {second}");
        }
        assert_eq!(world.machine.status().transitions, 1);
    }

    #[test]
    fn dips_shorter_than_the_hold_change_nothing() {
        let mut world = World::new();
        world.level(0.0, 80);
        for second in 1..100 {
            let used = if second % 9 == 0 { 80 } else { 10 };
            assert_eq!(world.level(f64::from(second), used), Level::Critical, "second {second}");
        }
    }

    #[test]
    fn a_limit_of_zero_is_an_emergency_and_no_division() {
        let mut world = World::new();
        let mut sample = machine_at(0.0, 10);
        sample.cgroup.usage = Ok(1);
        sample.cgroup.inactive_file = Ok(0);
        sample.cgroup.limit = Ok(0);
        world.step(&sample);
        assert_eq!(world.machine.level(), Level::Emergency);
        assert_eq!(world.machine.status().signal, Some(Signal::Cgroup));
    }

    #[test]
    fn the_budget_votes_by_its_own_thresholds() {
        let mut world = World::new();
        for (i, (share, level)) in [
            (0.79, Level::Normal),
            (0.81, Level::Warning),
            (0.94, Level::Critical),
            (0.99, Level::Emergency),
        ]
        .into_iter()
        .enumerate()
        {
            let mut sample = machine_at(i as f64, 10);
            sample.process.rss = Ok((3.0 * GIB as f64 * share) as u64);
            world.step(&sample);
            assert_eq!(world.machine.level(), level, "{share}");
        }
    }

    #[test]
    fn a_budget_in_percent_is_one_of_the_cgroup_limit() {
        let mut world = World::new();
        world.budget.total = crate::BudgetTotal::Percent(50.0);
        let mut sample = machine_at(0.0, 10);
        sample.process.rss = Ok(85 << 20);
        sample.cgroup.limit = Ok(200 << 20);
        sample.cgroup.usage = Ok(85 << 20);
        world.step(&sample);
        assert_eq!(world.machine.status().of(Signal::Budget).value, Some(0.85));
        assert_eq!(world.machine.level(), Level::Warning);
        // Without a cgroup limit it is one of the machine's memory.
        sample.cgroup.limit = Err(Absent::Unlimited);
        sample.at = Stamp::synthetic(Duration::from_secs(1));
        world.step(&sample);
        assert!(world.machine.status().of(Signal::Budget).value < Some(0.01));
    }

    #[test]
    fn stalls_alone_are_a_warning_and_with_a_witness_more() {
        let mut world = World::new();
        let mut sample = machine_at(0.0, 10);
        sample.psi.some.avg10 = Ok(0.9);
        sample.psi.full.avg10 = Ok(0.9);
        world.step(&sample);
        assert_eq!(world.machine.level(), Level::Warning);
        assert_eq!(world.machine.status().signal, Some(Signal::Psi));
        let mut sample = machine_at(1.0, 71);
        sample.psi.some.avg10 = Ok(0.9);
        sample.psi.full.avg10 = Ok(0.9);
        world.step(&sample);
        assert_eq!(world.machine.level(), Level::Emergency);
    }

    #[test]
    fn stalled_time_is_measured_over_two_seconds() {
        let mut world = World::new();
        for tick in 0..=40 {
            let mut sample = machine_at(f64::from(tick) * 0.1, 10);
            sample.psi.some.avg10 = Ok(0.0);
            // 150 ms of stalls in each 2 s, then 400 ms.
            sample.psi.some.total_us =
                Ok(if tick < 40 { 150_000 * (tick as u64 / 20) } else { 550_000 });
            sample.psi.full.total_us = Ok(0);
            world.step(&sample);
        }
        let psi = *world.machine.status().of(Signal::Psi);
        assert_eq!((psi.vote, psi.value), (Some(Level::Warning), Some(0.2)));
    }

    #[test]
    fn running_into_a_limit_full_of_page_cache_is_no_pressure() {
        let mut world = World::new();
        for second in 0..20 {
            let mut sample = machine_at(f64::from(second), 10);
            sample.cgroup.usage = Ok(100 << 20);
            sample.cgroup.inactive_file = Ok(90 << 20);
            sample.cgroup.limit = Ok(100 << 20);
            sample.cgroup.events.max = Ok(1000 * second as u64);
            world.step(&sample);
            assert_eq!(world.machine.level(), Level::Normal);
        }
        // The same counter with a working set that is high says that reclaim no longer finds enough.
        let mut sample = machine_at(20.0, 10);
        sample.cgroup.usage = Ok(72 << 20);
        sample.cgroup.limit = Ok(100 << 20);
        sample.cgroup.events.max = Ok(50_000);
        let transition = world.step(&sample).unwrap();
        assert_eq!(transition.to, Level::Critical);
        assert_eq!(transition.measure, Measure::Refusals);
    }

    #[test]
    fn a_kill_is_an_emergency_that_passes() {
        let mut world = World::new();
        let with_kills = |second: u32, kills: u64| {
            let mut sample = machine_at(f64::from(second), 10);
            sample.cgroup.usage = Ok(91 << 20);
            sample.cgroup.limit = Ok(100 << 20);
            sample.cgroup.events.oom_kill = Ok(kills);
            sample
        };
        world.step(&with_kills(0, 5));
        assert_eq!(
            world.machine.level(),
            Level::Critical,
            "kills from before we watched do not count"
        );
        world.step(&with_kills(1, 6));
        assert_eq!(world.machine.level(), Level::Emergency);
        for second in 2..=11 {
            world.step(&with_kills(second, 6));
        }
        // The ratio stands in the band under emergency, which only a ratio that was there could hold.
        assert_eq!(world.machine.level(), Level::Critical);
    }

    #[test]
    fn above_memory_high_is_critical_at_most() {
        let mut world = World::new();
        let mut sample = machine_at(0.0, 10);
        sample.cgroup.usage = Ok(200 << 20);
        sample.cgroup.high = Ok(100 << 20);
        sample.cgroup.limit = Err(Absent::Unlimited);
        world.step(&sample);
        assert_eq!(world.machine.level(), Level::Critical);
        assert_eq!(world.machine.status().of(Signal::Cgroup).value, Some(2.0));
    }

    #[test]
    fn a_vote_outlives_three_missing_readings_and_then_expires() {
        let mut world = World::new();
        let silent = |second: u32| {
            let mut sample = machine_at(f64::from(second), 10);
            sample.system.available = Err(Absent::Failed(5));
            sample
        };
        world.level(0.0, 96);
        for second in 1..=3 {
            world.step(&silent(second));
            let system = *world.machine.status().of(Signal::System);
            assert!(system.stale && system.vote == Some(Level::Emergency), "{system:?}");
            assert!(world.machine.status().degraded());
        }
        let transition = world.step(&silent(4)).unwrap();
        assert_eq!((transition.to, transition.signal), (Level::Unknown, None));
        assert_eq!(
            world.machine.status().of(Signal::System).absent,
            Some(Abstains::Absent(Absent::Failed(5)))
        );
    }

    #[test]
    fn a_limit_that_was_lifted_is_forgotten_at_once() {
        let mut world = World::new();
        let mut sample = machine_at(0.0, 10);
        sample.cgroup.usage = Ok(99);
        sample.cgroup.limit = Ok(100);
        world.step(&sample);
        sample.at = Stamp::synthetic(Duration::from_secs(1));
        sample.cgroup.limit = Err(Absent::Unlimited);
        world.step(&sample);
        assert_eq!(world.machine.status().of(Signal::Cgroup).vote, None);
        assert!(!world.machine.status().degraded(), "no limit is not a failure");
    }

    #[test]
    fn more_available_than_there_is_is_refused() {
        let mut world = World::new();
        let mut sample = machine_at(0.0, 10);
        sample.system.available = Ok(101 * GIB);
        world.step(&sample);
        assert_eq!(world.machine.level(), Level::Unknown);
        assert_eq!(world.machine.status().implausible, 1);
    }

    #[test]
    fn a_forecast_lifts_by_one_level() {
        let mut world = World::new();
        let mut lifted = None;
        // 1 % a second from 50 %: 60 s are left at 40, 20 s at 80.
        for second in 0..45 {
            if let Some(transition) = world.step(&machine_at(f64::from(second), 20 + second as u64))
            {
                lifted = Some(transition);
            }
        }
        let lifted = lifted.unwrap();
        assert_eq!((lifted.to, lifted.signal), (Level::Warning, Some(Signal::Forecast)));
        assert!(lifted.value < Some(60.0) && lifted.threshold == Some(60.0), "{lifted}");
        // Faster, it may say emergency, yet others say normal: warning.
        for second in 45..60 {
            world.step(&machine_at(f64::from(second), 69));
        }
        assert!(world.machine.level() <= Level::Warning);
    }

    #[test]
    fn growth_at_low_use_and_noise_without_growth_are_no_forecast() {
        let mut world = World::new();
        for second in 0..40 {
            assert_eq!(world.level(f64::from(second), second as u64), Level::Normal);
        }
        let mut world = World::new();
        for second in 0..200 {
            let used = 60 + (second as u64 * 7919) % 9;
            assert_eq!(world.level(f64::from(second), used), Level::Normal, "second {second}");
        }
    }

    #[test]
    fn room_that_was_made_does_not_hide_how_fast_it_fills() {
        let mut forecasts = [0; 2];
        for (i, tell) in [false, true].into_iter().enumerate() {
            let mut world = World::new();
            let mut used = 60;
            for tick in 0..200 {
                used += 1;
                if used > 80 {
                    used = 73;
                    if tell {
                        world.machine.evicted();
                    }
                }
                world.level(f64::from(tick) * 0.01, used);
                let vote = world.machine.status().of(Signal::Forecast).vote;
                forecasts[i] += u32::from(tick > 20 && vote > Some(Level::Normal));
            }
        }
        assert!(forecasts[0] < 20 && forecasts[1] > 170, "{forecasts:?}");
    }

    #[test]
    fn a_gap_restarts_the_wait() {
        let mut world = World::new();
        world.level(0.0, 85);
        world.level(1.0, 10);
        let mut after_sleep = machine_at(3600.0, 10);
        after_sleep.at.gap = true;
        assert_eq!(world.step(&after_sleep), None, "the time asleep was not watched");
        assert_eq!(world.level(3609.0, 10), Level::Critical);
        assert_eq!(world.level(3610.0, 10), Level::Warning);
    }

    #[test]
    fn new_thresholds_raise_at_once_and_lower_through_the_latches() {
        let mut world = World::new();
        let sample = machine_at(0.0, 60);
        world.step(&sample);
        world.pressure.thresholds = Thresholds { warning: 0.3, critical: 0.5, emergency: 0.9 };
        assert_eq!(world.step(&sample).unwrap().to, Level::Critical, "the same sample again");
        assert_eq!(world.step(&sample), None);
        world.pressure.thresholds = Thresholds::default();
        assert_eq!(world.step(&sample), None);
        assert_eq!(world.level(9.0, 60), Level::Critical);
        assert_eq!(world.level(10.0, 60), Level::Warning);
    }

    #[test]
    fn signals_that_are_switched_off_say_so() {
        let mut world = World::new();
        world.pressure.signals = vec![Signal::Budget];
        world.step(&machine_at(0.0, 99));
        assert_eq!(world.machine.level(), Level::Unknown);
        assert_eq!(world.machine.status().of(Signal::System).absent, Some(Abstains::Off));
        let mut world = World::new();
        world.level(0.0, 99);
        world.pressure.enabled = false;
        assert_eq!(world.level(1.0, 99), Level::Unknown);
    }

    #[test]
    fn a_notice_is_a_warning_on_the_next_step() {
        let mut world = World::new();
        world.level(0.0, 10);
        world.machine.notice();
        let transition = world.step(&machine_at(0.0, 10)).unwrap();
        assert_eq!((transition.to, transition.signal), (Level::Warning, Some(Signal::Psi)));
        assert_eq!(world.level(9.9, 10), Level::Warning);
        assert_eq!(world.level(10.0, 10), Level::Normal);
        world.pressure.signals = vec![Signal::System];
        world.machine.notice();
        assert_eq!(world.level(11.0, 10), Level::Normal, "the signal is switched off");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn the_status_reads_back_from_json() {
        let mut world = World::new();
        world.level(1.5, 96);
        let status = world.machine.status();
        let json = serde_json::to_string(&status).unwrap();
        assert!(json.contains(r#""level":"emergency","since_seconds":1.5"#), "{json}");
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }
}
