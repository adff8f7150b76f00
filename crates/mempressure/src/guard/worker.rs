//! The guard's thread: every decision is made here, and nothing here can block.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select};
use memtrack::sampler::Newest;
use memtrack::{Current, Sample, Settings, Stamp};

use super::{Last, Options, ServiceManager, Shared, lock};
use crate::advice::Before;
use crate::budget::BudgetState;
use crate::config::GuardConfig;
use crate::event::EventKind;
use crate::evict::{Progress, Runner, Trimmer};
use crate::level::{Level, Signal};
use crate::machine::{Machine, Rules};
use crate::plan::Pace;
use crate::watch::{self, Watch};

mod cadence;
mod clock;
mod growth;
mod plans;

use cadence::Cadence;
use clock::Clock;
use growth::Growth;
use plans::{InFlight, Measuring};

/// How often a plan under way is looked after.
const TICK: Duration = Duration::from_millis(50);

pub(super) struct Worker {
    shared: Arc<Shared>,
    newest: Newest,
    settings: Settings<GuardConfig>,
    options: Options,
    report: Sender<Progress>,
    runner: Option<Runner>,
    trim: Option<Arc<Trimmer>>,
    machine: Machine,
    pace: Pace,
    clock: Clock,
    cadence: Cadence,
    growth: Growth,
    ticket: u64,
    in_flight: Option<InFlight>,
    measuring: Option<Measuring>,
    advised: Before,
    ceilings_at: Option<Duration>,
    /// Of what was claimed last, less than half left: the allocator keeps it.
    claims_stay: bool,
    /// The level at which it was told that there is nothing to give.
    told_nothing: Option<Level>,
    budget: BudgetState,
    current: Current<GuardConfig>,
    /// The generation that was looked at last: that of `current`, or one that was refused.
    loaded: u64,
    /// The last one, or an empty one when none has come for too long.
    sample: Option<Sample>,
    /// When the next sample will have been waited for long enough.
    silent_at: Option<Instant>,
    /// None has come for too long.
    silent: bool,
    /// The time of the last sample that the machine has seen.
    stepped: Option<Duration>,
    _watch: Option<Watch>,
    notices: Receiver<()>,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        newest: Newest,
        settings: Settings<GuardConfig>,
        options: Options,
        report: Sender<Progress>,
    ) -> io::Result<Self> {
        let current = settings.load();
        let caches = shared.caches.clone();
        let trim = options.trim.clone().map(|trim| Arc::new(Trimmer::new(trim)));
        let runner = Runner::spawn(caches, report.clone(), trim.clone())?;
        let cadence = Cadence::default();
        let silent_at = Instant::now().checked_add(cadence.patience());
        let (watch, state) = if options.service_manager {
            watch::from_environment()
        } else {
            (None, ServiceManager::NotAsked)
        };
        lock(&shared.status).service_manager = state;
        let notices = watch.as_ref().map_or_else(never, |watch| watch.notices().clone());
        Ok(Self {
            shared,
            newest,
            settings,
            options,
            report,
            runner: Some(runner),
            trim,
            machine: Machine::new(),
            pace: Pace::default(),
            clock: Clock::default(),
            cadence,
            growth: Growth::default(),
            ticket: 0,
            in_flight: None,
            measuring: None,
            advised: Before::default(),
            ceilings_at: None,
            claims_stay: false,
            told_nothing: None,
            budget: BudgetState::Healthy,
            loaded: current.generation,
            current,
            sample: None,
            silent_at,
            silent: false,
            stepped: None,
            _watch: watch,
            notices,
        })
    }

    pub(super) fn work(mut self, stopped: &Receiver<()>, progress: &Receiver<Progress>) {
        let _ending = Ending(Arc::clone(&self.shared));
        let gone = never();
        let mut bell = self.newest.bell().clone();
        let mut changed = self.settings.changed().clone();
        // A disconnected receiver is always ready: without `gone` in its place the loop would spin.
        loop {
            let wait = self.wait(Instant::now());
            select! {
                recv(stopped) -> _ => break,
                recv(bell) -> ring => match ring {
                    Ok(()) => self.on_bell(),
                    Err(_) => {
                        bell = gone.clone();
                        self.on_silence(Instant::now(), true);
                    }
                },
                recv(changed) -> ring => {
                    if ring.is_err() {
                        changed = gone.clone();
                    }
                    self.on_change();
                }
                recv(progress) -> progress => {
                    if let Ok(progress) = progress {
                        self.on_progress(progress);
                    }
                }
                recv(self.notices) -> notice => match notice {
                    Ok(()) => self.on_notice(),
                    Err(_) => self.notices = gone.clone(),
                },
                default(wait) => {}
            }
            // What a plan has done so far is heard before it is looked at whether it goes on.
            progress.try_iter().for_each(|progress| self.on_progress(progress));
            self.look_after(Instant::now());
        }
    }

    /// How long there is nothing to look after.
    fn wait(&self, now: Instant) -> Duration {
        let busy = self.in_flight.is_some() || self.measuring.is_some();
        let silent = self.silent_at.map(|at| at.saturating_duration_since(now));
        let longest = if busy { TICK } else { Duration::from_secs(3600) };
        silent.unwrap_or(longest).min(longest)
    }

    fn on_bell(&mut self) {
        if let Some(sample) = self.newest.get() {
            self.on_sample(sample, Instant::now());
        }
    }

    fn on_sample(&mut self, sample: Sample, now: Instant) {
        self.clock.see(sample.at.monotonic, now);
        if self.sample.is_some_and(|last| sample.at.monotonic <= last.at.monotonic) {
            return;
        }
        self.cadence.see(&sample.at);
        self.silent = false;
        self.silent_at = now.checked_add(self.cadence.patience());
        self.growth.push(&sample);
        self.sample = Some(sample);
        self.load();
        self.expect_the_budget(&sample);
        self.measure(&sample);
        self.step(&sample);
    }

    /// Who takes the samples does not know of the budget, and is to look more closely while it would not last long.
    fn expect_the_budget(&self, sample: &Sample) {
        let config = &self.current.value;
        if !config.pressure.enabled || !config.pressure.signals.contains(&Signal::Budget) {
            self.newest.set_limit(None);
        } else if let Ok(usage) = config.budget.usage(sample) {
            self.newest.set_limit(Some(usage.limit));
        }
    }

    /// No sample has come for too long, or none will come any more: what was last seen stands for some time as it does
    /// when readings fail, and after a `gap`, as after a gap, it does not.
    fn on_silence(&mut self, now: Instant, gap: bool) {
        lock(&self.shared.status).sampling = false;
        self.silent = true;
        self.silent_at = None;
        let Some(last) = self.sample else { return };
        let least = last.at.monotonic.saturating_add(Duration::from_nanos(1));
        let monotonic = self.clock.on_samples_clock(now).max(least);
        let nothing = Sample::empty(Stamp { monotonic, gap, ..last.at });
        self.sample = Some(nothing);
        self.step(&nothing);
        if self.machine.level() != Level::Unknown {
            self.silent_at = now.checked_add(self.cadence.patience());
        }
    }

    /// Takes in the newest settings, and tells whether they have changed.
    fn load(&mut self) -> bool {
        let current = self.settings.load();
        if current.generation == self.loaded {
            return false;
        }
        self.loaded = current.generation;
        let good = current.value.check().is_ok();
        let mut status = lock(&self.shared.status);
        if good {
            status.counters.reloads += 1;
            self.current = current;
        } else {
            status.counters.refused_reloads += 1;
        }
        good
    }

    /// New settings: the last sample is looked at again under them.
    fn on_change(&mut self) {
        if !self.load() {
            return;
        }
        if let Some(sample) = self.sample {
            self.step(&sample);
        } else {
            self.shared.generation.store(self.current.generation, Ordering::Release);
        }
    }

    /// Somebody outside saw tasks stall.
    fn on_notice(&mut self) {
        self.machine.notice();
        lock(&self.shared.status).counters.notices += 1;
        if let Some(sample) = self.sample {
            self.step(&sample);
        }
    }

    /// One unit of work: one sample under one configuration.
    fn step(&mut self, sample: &Sample) {
        let config = Arc::clone(&self.current.value);
        let generation = self.current.generation;
        let rules = Rules { pressure: &config.pressure, budget: &config.budget, generation };
        let evicting = self.in_flight.is_some()
            || self.measuring.is_some()
            || self
                .pace
                .ended()
                .is_some_and(|ended| self.stepped.is_some_and(|last| last <= ended));
        if evicting {
            self.machine.evicted();
        }
        self.stepped = Some(sample.at.monotonic);
        let transition = self.machine.step(&rules, sample);
        let status = self.machine.status();
        let shared = Arc::clone(&self.shared);
        shared.caches.set_level(status.level);
        shared.advice.update(&config, generation, sample, &status, &mut self.advised);
        if let Some(transition) = transition {
            self.told_nothing = None;
            if transition.to > transition.from {
                self.pace.escalate(transition.to);
            }
            shared.hub.tell(EventKind::Transition(transition));
        }
        if !self.silent {
            // First to act, then to tell: the callbacks are waiting.
            self.plan_if_due(&rules, sample);
            self.follow_the_budget(&config, sample);
        }
        let mut shown = lock(&shared.status);
        shown.sampling = !self.silent;
        shown.machine = status;
        shown.in_flight = self.in_flight.as_ref().map(InFlight::level);
        drop(shown);
        shared.generation.store(generation, Ordering::Release);
    }

    fn follow_the_budget(&mut self, config: &Arc<GuardConfig>, sample: &Sample) {
        let before = self.budget;
        // A footprint that could not be read crosses no threshold, in neither direction.
        if let (Ok(usage), true) = (config.budget.usage(sample), config.pressure.enabled) {
            self.budget = before.after(usage, &config.budget, config.pressure.band);
        }
        let (budget, growth) = (self.budget, self.growth.rate());
        let last = Last { sample: *sample, config: Arc::clone(config), budget, growth };
        if before < BudgetState::Warning && self.budget >= BudgetState::Warning {
            lock(&self.shared.status).counters.prompts += 1;
            if let Ok(status) = last.budget_status(&self.shared.caches.surveyed()) {
                self.shared.hub.tell(EventKind::Prompt(status));
            }
        }
        *lock(&self.shared.last) = Some(last);
    }
}

/// However the worker ends, nobody keeps waiting for it or goes by its last word.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let shared = &self.0;
        shared.hub.close();
        shared.advice.forget();
        shared.caches.set_level(Level::Unknown);
        let mut status = lock(&shared.status);
        status.running = false;
        status.in_flight = None;
    }
}

#[cfg(test)]
mod tests;
