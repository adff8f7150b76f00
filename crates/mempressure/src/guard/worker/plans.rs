//! The life of a plan, as the guard's thread sees it: due, handed over, carried out, measured, told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use memtrack::{Rate, Sample};

use super::{Worker, lock};
use crate::cache::Record;
use crate::event::EventKind;
use crate::evict::{
    Answer, CacheOutcome, Call, Ended, Finish, Job, Lost, Outcome, Progress, Runner,
};
use crate::level::Level;
use crate::machine::Rules;
use crate::plan::{Wait, need};

/// How often caches with a ceiling are looked at while there is no pressure.
const CEILINGS_EVERY: Duration = Duration::from_secs(1);
/// How much too early an instant may be put on the samples' clock: the least delay between taking a sample and
/// having it, with room to spare.
const CLOCK_SLACK: Duration = Duration::from_millis(1);

/// A plan that is being carried out.
pub(super) struct InFlight {
    job: Job,
    began: Instant,
    before: Sample,
    outcome: Outcome,
    claims: Vec<(Arc<Record>, u64)>,
}

/// A plan that has ended and waits for a sample that shows what it freed.
pub(super) struct Measuring {
    plan: InFlight,
    /// When it ended, on the samples' clock.
    ended: Duration,
    /// When the wait is given up; `None` for never.
    until: Option<Instant>,
    growth: f64,
}

impl Worker {
    pub(super) fn plan_if_due(&mut self, rules: &Rules<'_>, sample: &Sample) {
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
        let level = if pressed { status.level } else { Level::Normal };
        let may_be_urgent = level == Level::Emergency && need.is_some();
        let ask = |level, urgent| self.pace.ask(level, urgent, &sample.at, pressure.cooldown).err();
        // Whether a plan is urgent is only known once the caches have been asked what they hold.
        let only_if_urgent = may_be_urgent && ask(level, false).is_some();
        let waiting = ask(level, only_if_urgent);
        {
            let mut shown = lock(&self.shared.status);
            shown.waiting = waiting;
            shown.counters.waits += u64::from(waiting.is_some());
        }
        let job = Job {
            ticket: self.ticket,
            level,
            footprint: sample.process.footprint(),
            need,
            claimed: 0,
            asked: Vec::new(),
            config: Arc::clone(&self.current.value),
            now: at,
            only_if_urgent,
            dry_run: self.options.dry_run,
            trim: level < Level::Emergency || self.claims_stay,
        };
        if ceilings_due && matches!(waiting, None | Some(Wait::Cooldown)) {
            self.ceilings_at = Some(at);
        }
        match waiting {
            None => self.begin(job, sample),
            Some(Wait::Cooldown) if ceilings_due => self.begin(ceilings_only(job), sample),
            Some(_) => {}
        }
    }

    fn begin(&mut self, mut job: Job, sample: &Sample) {
        self.ticket += 1;
        job.ticket = self.ticket;
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
        self.growth.hold();
        lock(&self.shared.status).in_flight = Some(job.level);
        self.in_flight = Some(InFlight { job, began, before, outcome, claims: Vec::new() });
    }

    /// Hands a job to the eviction thread, a new one if the last was left behind. Without a thread there is
    /// no plan; the next sample tries again.
    fn give(&mut self, job: Job) -> bool {
        if self.runner.is_none() {
            let caches = self.shared.caches.clone();
            self.runner = Runner::spawn(caches, self.report.clone(), self.trim.clone()).ok();
        }
        self.runner.as_ref().is_some_and(|runner| runner.give(job))
    }

    pub(super) fn on_progress(&mut self, progress: Progress) {
        let ticket = match &progress {
            Progress::Planned { ticket, .. }
            | Progress::Asked { ticket, .. }
            | Progress::Finished { ticket, .. } => *ticket,
            Progress::Panicked => {
                lock(&self.shared.status).counters.panics += 1;
                return;
            }
        };
        // What a thread that was left behind still has to say is about a plan that has ended.
        let Some(plan) = self.in_flight.as_mut().filter(|plan| plan.job.ticket == ticket) else {
            return;
        };
        match progress {
            Progress::Planned { target, .. } => {
                plan.outcome.target_bytes = plan.outcome.target_bytes.max(target);
            }
            Progress::Asked { record, asked, answer, .. } => {
                let (claimed, ended) = match answer {
                    Answer::Claimed(bytes) => (bytes, Ended::Returned),
                    Answer::Panicked => (0, Ended::Panicked),
                    Answer::NotCalled => (0, Ended::NotCalled),
                };
                plan.record(record, asked, claimed, ended);
                let counters = &mut lock(&self.shared.status).counters;
                counters.asked_bytes = counters.asked_bytes.saturating_add(asked);
                counters.claimed_bytes = counters.claimed_bytes.saturating_add(claimed);
                counters.panics += u64::from(ended == Ended::Panicked);
            }
            Progress::Finished { finish, at, .. } => self.finish(finish, at),
            Progress::Panicked => {}
        }
    }

    fn finish(&mut self, finish: Finish, at: Instant) {
        let Some(mut plan) = self.in_flight.take() else { return };
        lock(&self.shared.status).in_flight = None;
        let ended = self.clock.on_samples_clock(at).saturating_add(CLOCK_SLACK).max(plan.job.now);
        if plan.outcome.caches.iter().all(|cache| cache.asked_bytes == 0) {
            // Nothing was touched: no cooldown, and no sample to wait for.
            self.pace.cancel();
            self.growth.resume();
            if finish == Finish::NotUrgent && self.ceilings_at == Some(plan.job.now) {
                // The plan was to keep the ceilings as well, and they are due.
                self.begin(ceilings_only(plan.job), &plan.before);
                return;
            }
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
            self.growth.resume();
            self.publish(plan.outcome);
            return;
        }
        let growth = self.growth.rate().map_or(0.0, Rate::bytes_per_second).max(0.0);
        self.growth.pause();
        let until = at.checked_add(self.options.deadline.max(self.cadence.patience()));
        self.measuring = Some(Measuring { plan, ended, until, growth });
    }

    /// Ends the wait for the outcome on the first sample taken after the plan.
    pub(super) fn measure(&mut self, sample: &Sample) {
        let due = self.measuring.take_if(|measuring| sample.at.monotonic > measuring.ended);
        let Some(Measuring { mut plan, growth, .. }) = due else { return };
        let footprints = (plan.before.process.footprint(), sample.process.footprint());
        if let (Ok(before), Ok(after)) = footprints {
            let elapsed = sample.at.monotonic.saturating_sub(plan.before.at.monotonic);
            let grown = (growth * elapsed.as_secs_f64()) as i128;
            let left = i128::from(before) - i128::from(after) + grown;
            let left = left.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
            plan.outcome.measured_bytes = Some(left);
            let claimed = i64::try_from(plan.outcome.claimed_bytes).unwrap_or(i64::MAX);
            self.claims_stay = left < claimed / 2;
            for (record, claimed) in &plan.claims {
                if record.judge(*claimed, left, sample.at.monotonic) {
                    plan.outcome.backed_off.push(record.registration.name.clone());
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
    pub(super) fn look_after(&mut self, now: Instant) {
        let lost = match (&self.in_flight, &self.runner) {
            (Some(plan), Some(runner)) => {
                let hurry =
                    plan.level() < Level::Emergency && self.machine.level() == Level::Emergency;
                runner.leave_if_lost(self.options.deadline, hurry, now)
            }
            _ => None,
        };
        if let Some(lost) = lost {
            self.leave_behind(lost, now);
        }
        let given_up = |measuring: &mut Measuring| measuring.until.is_some_and(|until| now > until);
        if let Some(measuring) = self.measuring.take_if(given_up) {
            self.growth.resume();
            self.publish(measuring.plan.outcome);
        }
        if self.silent_at.is_some_and(|at| now >= at) {
            self.on_silence(now, false);
        }
    }

    /// The eviction thread does not come back: another one carries on with what is left of the plan.
    fn leave_behind(&mut self, lost: Lost, now: Instant) {
        self.runner = None;
        lock(&self.shared.status).counters.hangs += 1;
        let Some(mut plan) = self.in_flight.take() else { return };
        let hung = match lost.call {
            Some(Call::Evict { record, asked }) => Some((record, asked)),
            Some(Call::Survey(record)) => Some((record, 0)),
            Some(Call::Trim(_) | Call::Drop) | None => None,
        };
        if let Some((record, asked)) = hung {
            plan.record(record, asked, 0, Ended::Hung);
            let mut status = lock(&self.shared.status);
            status.counters.asked_bytes = status.counters.asked_bytes.saturating_add(asked);
            drop(status);
            self.ticket += 1;
            // What was urgent when the plan was made is not asked again.
            plan.job.only_if_urgent &= plan.outcome.target_bytes == 0;
            let (ticket, claimed) = (self.ticket, plan.outcome.claimed_bytes);
            let asked = plan.claims.iter().map(|(record, _)| Arc::clone(record)).collect();
            plan.job = Job { ticket, claimed, asked, ..plan.job };
            if self.give(plan.job.clone()) {
                self.in_flight = Some(plan);
                return;
            }
        }
        self.in_flight = Some(plan);
        self.finish(Finish::Done, now);
    }
}

/// The same sample, to bring what holds too much below its ceiling and no more: a plan of a level without pressure, which
/// leaves no cooldown to the plans that pressure asks for.
fn ceilings_only(job: Job) -> Job {
    Job { level: Level::Normal, only_if_urgent: false, trim: true, ..job }
}

impl InFlight {
    pub(super) fn level(&self) -> Level {
        self.job.level
    }

    fn record(&mut self, record: Arc<Record>, asked: u64, claimed: u64, ended: Ended) {
        let outcome = &mut self.outcome;
        outcome.claimed_bytes = outcome.claimed_bytes.saturating_add(claimed);
        let name = record.registration.name.clone();
        let (asked_bytes, claimed_bytes) = (asked, claimed);
        outcome.caches.push(CacheOutcome { name, asked_bytes, claimed_bytes, ended });
        self.claims.push((record, claimed));
    }
}
