//! The guard's thread: every decision is made here, and nothing here can block.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select};
use memtrack::sampler::Newest;
use memtrack::{Current, Rate, Sample, Settings};

use super::{Last, Options, ServiceManager, Shared, lock};
use crate::budget::BudgetState;
use crate::cache::Entry;
use crate::config::GuardConfig;
use crate::event::EventKind;
use crate::evict::{Answer, CacheOutcome, Ended, Finish, Hung, Job, Outcome, Progress, Runner};
use crate::level::{Level, Signal};
use crate::machine::{Machine, Rules};
use crate::plan::{Pace, need};
use crate::watch::{self, Watch};

/// How often a plan under way is looked after.
const TICK: Duration = Duration::from_millis(50);
/// How often caches with a ceiling are looked at while there is no pressure.
const CEILINGS_EVERY: Duration = Duration::from_secs(1);
/// How much too early an instant may be put on the samples' clock: the least delay between taking a sample and
/// having it, with room to spare.
const CLOCK_SLACK: Duration = Duration::from_millis(1);
/// Samples over which the growth of the footprint is taken.
const GROWTH_SAMPLES: usize = 8;

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
    /// What the advice granted at the last sample.
    granted: i64,
    ceilings_at: Option<Duration>,
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

/// A plan that is being carried out.
struct InFlight {
    job: Job,
    began: Instant,
    before: Sample,
    outcome: Outcome,
    claims: Vec<(Arc<Entry>, u64)>,
}

/// A plan that has ended and waits for a sample that shows what it freed.
struct Measuring {
    plan: InFlight,
    /// When it ended, on the samples' clock.
    ended: Duration,
    until: Instant,
    growth: f64,
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
            granted: i64::MAX,
            ceilings_at: None,
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
        self.granted = shared.advice.update(&config, generation, sample, &status, self.granted);
        if let Some(transition) = transition {
            self.told_nothing = None;
            shared.hub.tell(EventKind::Transition(transition));
        }
        // First to act, then to tell: the callbacks are waiting.
        self.plan_if_due(&rules, sample);
        self.follow_the_budget(&config, sample);
        let mut shown = lock(&shared.status);
        shown.machine = status;
        shown.in_flight = self.in_flight.as_ref().map(|plan| plan.job.level);
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

    fn plan_if_due(&mut self, rules: &Rules<'_>, sample: &Sample) {
        let pressure = rules.pressure;
        if !pressure.enabled || !pressure.auto_eviction {
            return;
        }
        let status = self.machine.status();
        let need = need(rules, sample, &status);
        let at = sample.at.monotonic;
        let pressed = status.level >= Level::Warning && need != Some(0);
        let ceilings_due = self.shared.caches.any_ceiling()
            && self.ceilings_at.is_none_or(|last| at.saturating_sub(last) >= CEILINGS_EVERY);
        if !pressed && !ceilings_due {
            lock(&self.shared.status).waiting = None;
            return;
        }
        // Ceilings are kept at any level; their plan must not cool down the plans that pressure asks for.
        let level = if pressed { status.level } else { Level::Normal };
        let may_be_urgent = level == Level::Emergency && need.is_some();
        let ask = |urgent| self.pace.ask(level, urgent, &sample.at, pressure.cooldown).err();
        // Whether a plan is urgent is only known once the caches have been asked what they hold.
        let only_if_urgent = may_be_urgent && ask(false).is_some();
        let waiting = ask(only_if_urgent);
        {
            let mut shown = lock(&self.shared.status);
            shown.waiting = waiting;
            shown.counters.waits += u64::from(waiting.is_some());
        }
        if waiting.is_some() {
            return;
        }
        if ceilings_due {
            self.ceilings_at = Some(at);
        }
        self.ticket += 1;
        let job = Job {
            ticket: self.ticket,
            level,
            footprint: sample.process.footprint(),
            need,
            claimed: 0,
            config: Arc::clone(&self.current.value),
            now: at,
            only_if_urgent,
            dry_run: self.options.dry_run,
        };
        self.begin(job, sample);
    }

    fn begin(&mut self, job: Job, sample: &Sample) {
        if !self.give(job.clone()) {
            return;
        }
        self.pace.begin(job.level);
        let outcome = Outcome {
            level: job.level,
            dry_run: job.dry_run,
            target_bytes: 0,
            claimed_bytes: 0,
            measured_bytes: None,
            at: job.now,
            took: Duration::ZERO,
            caches: Vec::new(),
            backed_off: Vec::new(),
        };
        let (began, before) = (Instant::now(), *sample);
        self.in_flight = Some(InFlight { job, began, before, outcome, claims: Vec::new() });
    }

    /// Hands a job to the eviction thread, a new one if the last was left behind. Without a thread there is
    /// no plan; the next sample tries again.
    fn give(&mut self, job: Job) -> bool {
        if self.runner.is_none() {
            let caches = self.shared.caches.clone();
            self.runner =
                Runner::spawn(caches, self.report.clone(), self.options.trim.clone()).ok();
        }
        self.runner.as_ref().is_some_and(|runner| runner.give(job))
    }

    fn on_progress(&mut self, progress: Progress) {
        let ticket = match &progress {
            Progress::Planned { ticket, .. }
            | Progress::Asked { ticket, .. }
            | Progress::Finished { ticket, .. } => *ticket,
        };
        // What a thread that was left behind still has to say is about a plan that has ended.
        let Some(plan) = self.in_flight.as_mut().filter(|plan| plan.job.ticket == ticket) else {
            return;
        };
        match progress {
            Progress::Planned { target, .. } => {
                plan.outcome.target_bytes = plan.outcome.target_bytes.max(target);
            }
            Progress::Asked { entry, asked, answer, .. } => {
                let (claimed, ended) = match answer {
                    Answer::Claimed(bytes) => (bytes, Ended::Returned),
                    Answer::Panicked => (0, Ended::Panicked),
                    Answer::NotCalled => (0, Ended::NotCalled),
                };
                plan.record(&entry, asked, claimed, ended);
                let mut status = lock(&self.shared.status);
                status.counters.asked_bytes = status.counters.asked_bytes.saturating_add(asked);
                status.counters.claimed_bytes =
                    status.counters.claimed_bytes.saturating_add(claimed);
                status.counters.panics += u64::from(ended == Ended::Panicked);
            }
            Progress::Finished { finish, at, .. } => self.finish(finish, at),
        }
    }

    fn finish(&mut self, finish: Finish, at: Instant) {
        let Some(mut plan) = self.in_flight.take() else { return };
        lock(&self.shared.status).in_flight = None;
        let ended = self.clock.on_samples_clock(at).saturating_add(CLOCK_SLACK).max(plan.job.now);
        if plan.outcome.caches.is_empty() {
            // Nothing was touched: no cooldown, and no sample to wait for.
            self.pace.cancel();
            if finish == Finish::Nothing && plan.job.level >= Level::Warning {
                lock(&self.shared.status).counters.nothing_to_give += 1;
                if self.told_nothing.replace(plan.job.level) != Some(plan.job.level) {
                    self.shared.hub.tell(EventKind::NothingToGive(plan.job.level));
                }
            }
            return;
        }
        self.told_nothing = None;
        self.pace.end(ended);
        plan.outcome.took = at.saturating_duration_since(plan.began);
        lock(&self.shared.status).counters.plans += 1;
        if plan.outcome.dry_run {
            self.publish(plan.outcome);
            return;
        }
        let growth = self.growth.rate().map_or(0.0, Rate::bytes_per_second).max(0.0);
        // What falls by eviction is not the growth of the process.
        self.growth.pause();
        let until = Instant::now() + self.options.deadline;
        self.measuring = Some(Measuring { plan, ended, until, growth });
    }

    /// Ends the wait for the outcome on the first sample taken after the plan.
    fn measure(&mut self, sample: &Sample) {
        let due = self.measuring.take_if(|measuring| sample.at.monotonic > measuring.ended);
        let Some(Measuring { mut plan, growth, .. }) = due else { return };
        let footprints = (plan.before.process.footprint(), sample.process.footprint());
        if let (Ok(before), Ok(after)) = footprints {
            let elapsed = sample.at.monotonic.saturating_sub(plan.before.at.monotonic);
            let grown = (growth * elapsed.as_secs_f64()) as i128;
            let left = i128::from(before) - i128::from(after) + grown;
            let left = left.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
            plan.outcome.measured_bytes = Some(left);
            for (entry, claimed) in &plan.claims {
                if entry.judge(*claimed, left, sample.at.monotonic) {
                    plan.outcome.backed_off.push(entry.registration.name.clone());
                }
            }
        }
        self.growth.resume();
        self.publish(plan.outcome);
    }

    fn publish(&self, outcome: Outcome) {
        {
            let mut status = lock(&self.shared.status);
            let counters = &mut status.counters;
            match outcome.measured_bytes {
                Some(left) => {
                    let left = u64::try_from(left).unwrap_or(0);
                    counters.measured_bytes = counters.measured_bytes.saturating_add(left);
                }
                None => counters.unmeasured += u64::from(!outcome.dry_run),
            }
            counters.backed_off += outcome.backed_off.len() as u64;
            status.last_outcome = Some(outcome.clone());
        }
        self.shared.hub.tell(EventKind::Outcome(outcome));
    }

    /// Callbacks that hang, and samples that do not come.
    fn look_after(&mut self) {
        let hung = match (&self.in_flight, &self.runner) {
            (Some(_), Some(runner)) => runner.leave_if_hung(self.options.deadline),
            _ => None,
        };
        if let Some(hung) = hung {
            self.leave_behind(hung);
        }
        if let Some(measuring) =
            self.measuring.take_if(|measuring| Instant::now() > measuring.until)
        {
            self.growth.resume();
            self.publish(measuring.plan.outcome);
        }
    }

    /// The eviction thread hangs in a callback: another one carries on with what is left of the plan.
    fn leave_behind(&mut self, hung: Hung) {
        self.runner = None;
        lock(&self.shared.status).counters.hangs += 1;
        let Some(mut plan) = self.in_flight.take() else { return };
        if let Some(entry) = &hung.entry {
            plan.record(entry, 0, 0, Ended::Hung);
            self.ticket += 1;
            let job = Job {
                ticket: self.ticket,
                claimed: plan.outcome.claimed_bytes,
                only_if_urgent: false,
                ..plan.job.clone()
            };
            plan.job = job.clone();
            if self.give(job) {
                self.in_flight = Some(plan);
                return;
            }
        }
        self.in_flight = Some(plan);
        self.finish(Finish::Done, Instant::now());
    }
}

impl InFlight {
    fn record(&mut self, entry: &Arc<Entry>, asked: u64, claimed: u64, ended: Ended) {
        let outcome = &mut self.outcome;
        outcome.claimed_bytes = outcome.claimed_bytes.saturating_add(claimed);
        let name = entry.registration.name.clone();
        let (asked_bytes, claimed_bytes) = (asked, claimed);
        outcome.caches.push(CacheOutcome { name, asked_bytes, claimed_bytes, ended });
        self.claims.push((Arc::clone(entry), claimed));
    }
}

/// Puts instants on the samples' clock.
///
/// A sample reaches us some time after it was taken, so now minus its stamp is at least the distance between
/// the two clocks; the least of these is closest to it.
#[derive(Default)]
struct Clock {
    /// An instant, and the sample's time that belonged to it with the least delay.
    pair: Option<(Instant, Duration)>,
}

impl Clock {
    fn see(&mut self, at: Duration, now: Instant) {
        let better = self.pair.is_none_or(|(instant, stamp)| {
            // Less of a delay than the best so far: now lags less behind the stamps.
            now.saturating_duration_since(instant) <= at.saturating_sub(stamp)
        });
        if better {
            self.pair = Some((now, at));
        }
    }

    fn on_samples_clock(&self, instant: Instant) -> Duration {
        let Some((seen, at)) = self.pair else { return Duration::ZERO };
        match instant.checked_duration_since(seen) {
            Some(later) => at.saturating_add(later),
            None => at.saturating_sub(seen.saturating_duration_since(instant)),
        }
    }
}

/// The growth of the footprint over the last samples, eviction left out.
#[derive(Default)]
struct Growth {
    points: VecDeque<(Duration, u64)>,
    paused: bool,
    last: Option<f64>,
}

impl Growth {
    fn push(&mut self, sample: &Sample) {
        let Ok(footprint) = sample.process.footprint() else { return };
        if self.paused {
            return;
        }
        if self.points.len() == GROWTH_SAMPLES {
            self.points.pop_front();
        }
        self.points.push_back((sample.at.monotonic, footprint));
        if self.points.len() >= 3 {
            let line = |(at, bytes): &(Duration, u64)| (at.as_secs_f64(), *bytes as f64, 1.0);
            self.last = memtrack::growth::slope(self.points.iter().map(line));
        }
    }

    fn pause(&mut self) {
        self.points.clear();
        self.paused = true;
    }

    fn resume(&mut self) {
        self.paused = false;
    }

    fn rate(&self) -> Option<Rate> {
        self.last.map(Rate::per_second)
    }
}
