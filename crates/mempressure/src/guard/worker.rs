//! The guard's thread: every decision is made here, and nothing here can block.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select};
use memtrack::sampler::Newest;
use memtrack::{Current, Sample, Settings};

use super::{Last, Options, ServiceManager, Shared, lock};
use crate::advice::Before;
use crate::budget::BudgetState;
use crate::config::GuardConfig;
use crate::event::EventKind;
use crate::evict::{Progress, Runner};
use crate::level::{Level, Signal};
use crate::machine::{Machine, Rules};
use crate::plan::Pace;
use crate::watch::{self, Watch};

mod clock;
mod growth;
mod plans;

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
    machine: Machine,
    pace: Pace,
    clock: Clock,
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
    sample: Option<Sample>,
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
        let runner = Runner::spawn(caches, report.clone(), options.trim.clone())?;
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
            machine: Machine::new(),
            pace: Pace::default(),
            clock: Clock::default(),
            growth: Growth::default(),
            ticket: 0,
            in_flight: None,
            measuring: None,
            advised: Before::default(),
            ceilings_at: None,
            claims_stay: false,
            told_nothing: None,
            budget: BudgetState::Healthy,
            current,
            sample: None,
            stepped: None,
            _watch: watch,
            notices,
        })
    }

    pub(super) fn work(mut self, stopped: &Receiver<()>, progress: &Receiver<Progress>) {
        let gone = never();
        let mut bell = self.newest.bell().clone();
        let mut changed = self.settings.changed().clone();
        // A disconnected receiver is always ready: without `gone` in its place the loop would spin.
        loop {
            let idle = self.in_flight.is_none() && self.measuring.is_none();
            let wait = if idle { Duration::from_secs(3600) } else { TICK };
            select! {
                recv(stopped) -> _ => break,
                recv(bell) -> ring => match ring {
                    Ok(()) => self.on_bell(),
                    Err(_) => {
                        bell = gone.clone();
                        lock(&self.shared.status).sampling = false;
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
            self.look_after();
        }
        self.shared.hub.close();
        let mut status = lock(&self.shared.status);
        status.running = false;
        status.in_flight = None;
    }

    fn on_bell(&mut self) {
        let Some(sample) = self.newest.get() else { return };
        self.clock.see(sample.at.monotonic, Instant::now());
        if self.sample.is_some_and(|last| sample.at.monotonic <= last.at.monotonic) {
            return;
        }
        self.growth.push(&sample);
        self.sample = Some(sample);
        self.current = self.settings.load();
        self.measure(&sample);
        self.step(&sample);
    }

    /// New settings: the last sample is looked at again under them.
    fn on_change(&mut self) {
        let current = self.settings.load();
        if current.generation == self.current.generation {
            return;
        }
        self.current = current;
        lock(&self.shared.status).counters.reloads += 1;
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
            shared.hub.tell(EventKind::Transition(transition));
        }
        // First to act, then to tell: the callbacks are waiting.
        self.plan_if_due(&rules, sample);
        self.follow_the_budget(&config, sample);
        let mut shown = lock(&shared.status);
        shown.machine = status;
        shown.in_flight = self.in_flight.as_ref().map(InFlight::level);
        drop(shown);
        shared.generation.store(generation, Ordering::Release);
    }

    fn follow_the_budget(&mut self, config: &Arc<GuardConfig>, sample: &Sample) {
        let vote = self.machine.status().of(Signal::Budget).vote;
        let before = self.budget;
        self.budget = BudgetState::of(vote.unwrap_or(Level::Unknown));
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
