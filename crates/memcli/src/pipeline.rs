//! One sample through every layer: level machine, detector, and what they say.
//!
//! The same code live and over a recording. It calls the pure cores inline: a thread for each layer would double the
//! cost of watching.

mod seen;
mod series;

use std::time::Duration;

use memcfg::live::Reload;
use memleak::{Change, Detector, KindGrowth, Kinds, LeakConfig, Outside, RuleReport, Verdict};
use mempressure::{
    BudgetConfig, BudgetTotal, Level, Machine, PressureConfig, Rules, Signal, Status, Thresholds,
    Transition,
};
use memtrack::error::SourceError;
use memtrack::source::Target;
use memtrack::{Absent, ProcessMemory, Reading, Sample, Settings, Stamp};

use crate::alert::{Alarms, Alert};
use crate::limit::{self, Limit};

pub use self::seen::{Estimates, Seen};
use self::series::{Root, Series};

/// What the pipeline tells its listeners.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A sample was taken.
    Sample(Sample),
    /// The level changed.
    Level(Transition),
    /// The verdict became one of another kind.
    Verdict(Change),
    /// Somebody is to be told.
    Alert(Alert),
    /// The command that tells somebody went wrong.
    Hook(String),
    /// An edited configuration was taken up, or refused.
    Config(Reload),
    /// A read gave nothing; watching goes on.
    Failed(SourceError),
    /// Samples that were taken and not looked at, because this program was too slow.
    Lost(u64),
    /// The target ended.
    Ended,
}

/// An event with its place in the order of all events.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// Rises by one with each event, from 1.
    pub seq: u64,
    /// When it happened: the stamp of the sample that brought it, or of the newest one before it.
    pub at: Stamp,
    /// What happened.
    pub event: Event,
}

/// The settings that the pipeline's cores run on.
#[derive(Debug)]
pub struct Policies {
    /// Thresholds, band, hold.
    pub pressure: Settings<PressureConfig>,
    /// The target's own budget.
    pub budget: Settings<BudgetConfig>,
    /// Windows and rates.
    pub leak: Settings<LeakConfig>,
}

impl Policies {
    /// The budget that somebody set, as it was written.
    #[must_use]
    pub fn budget_total(&self) -> Option<BudgetTotal> {
        // One that nobody set is not among the signals.
        let set = self.pressure.load().value.signals.contains(&Signal::Budget);
        set.then(|| self.budget.load().value.total)
    }
}

#[cfg(test)]
impl Policies {
    /// Those of a configuration in which nothing is set.
    pub(crate) fn unedited() -> Self {
        Self {
            pressure: Settings::fixed(PressureConfig::default()),
            budget: Settings::fixed(BudgetConfig::default()),
            leak: Settings::fixed(LeakConfig::default()),
        }
    }
}

/// The cores and what they have seen.
#[derive(Debug)]
pub struct Pipeline {
    policies: Policies,
    series: Series,
    root: Root,
    machine: Machine,
    detector: Detector,
    leak_generation: u64,
    alarms: Alarms,
    kinds: Kinds,
    seen: Seen,
    latest: Option<Sample>,
    /// Bytes until the first limit, below 0 past it.
    headroom: Option<i64>,
    /// The budget that somebody set, as of the newest sample.
    budget: Option<Limit>,
    seq: u64,
    /// A `VmHWM` up to this is from before the watch; `None` before the first sample.
    peak_before: Option<u64>,
}

/// Bytes until the first limit. Of the budget, which nothing holds a process to, also how far it is past it: below 0.
fn headroom(sample: &Sample, budget: Option<&Limit>) -> Option<i64> {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let machine = sample.system.available.ok().map(signed);
    let cgroup = sample.cgroup.headroom.ok().map(signed);
    let own = budget.map(|limit| signed(limit.bytes).saturating_sub(signed(limit.used)));
    machine.into_iter().chain(cgroup).chain(own).min()
}

impl Pipeline {
    /// A pipeline that has seen nothing of `target` yet.
    #[must_use]
    pub fn new(target: &Target, policies: Policies) -> Self {
        let leak = policies.leak.load();
        Self {
            series: Series::of(target),
            root: Root::of(target),
            machine: Machine::new(),
            detector: Detector::new(&leak.value),
            leak_generation: leak.generation,
            alarms: Alarms::new(&leak.value),
            kinds: Kinds::new(leak.value.window),
            policies,
            seen: Seen::default(),
            latest: None,
            headroom: None,
            budget: None,
            seq: 0,
            peak_before: None,
        }
    }

    /// The same for a target that is watched from its birth: no peak of it is from before.
    #[must_use]
    pub fn from_birth(self) -> Self {
        Self { peak_before: Some(0), ..self }
    }

    /// What there is to know of the sample. A process that is ending has no memory left, and reads as 0 until somebody waits for it:
    /// that is no size of it.
    #[must_use]
    pub fn heard(&self, sample: &Sample) -> Sample {
        let mut sample = *sample;
        let process = &sample.process;
        // A cgroup without a process is another matter: it holds none.
        if self.series == Series::Private && (process.processes, process.rss) == (Ok(0), Ok(0)) {
            sample.process = ProcessMemory::absent(Absent::Gone);
        }
        sample
    }

    /// Takes one sample through every core and hands what follows to `listen`, the sample itself first.
    pub fn push(&mut self, sample: &Sample, mut listen: impl FnMut(&Numbered)) {
        let sample = &self.heard(sample);
        let before = *self.peak_before.get_or_insert(seen::peak_ever(sample).unwrap_or_default());
        self.seen.note(sample, self.series.read(sample).ok(), before);
        self.latest = Some(*sample);
        listen(&self.number(Event::Sample(*sample)));

        let leak = self.policies.leak.load();
        if leak.generation != self.leak_generation {
            self.detector.set_config(&leak.value);
            self.alarms.set_config(&leak.value);
            self.kinds.set_window(leak.value.window);
            self.leak_generation = leak.generation;
        }
        let (pressure, budget) = (self.policies.pressure.load(), self.policies.budget.load());
        let rules = Rules {
            pressure: &pressure.value,
            budget: &budget.value,
            generation: pressure.generation,
        };
        // A budget that nobody set is not among the signals.
        let set = pressure.value.signals.contains(&Signal::Budget);
        self.budget = set.then(|| limit::of_budget(sample, &budget.value).ok()).flatten();
        // When it has ended, how far it came is what was left before.
        if sample.process.rss != Err(Absent::Gone) {
            self.headroom = headroom(sample, self.budget.as_ref());
        }
        if let Some(transition) = self.machine.step(&rules, sample) {
            self.seen.level = self.seen.level.max(transition.to);
            let alert = self.alarms.level(&transition, &leak.value);
            listen(&self.number(Event::Level(transition)));
            self.alert(alert, &mut listen);
        }

        let process = &sample.process;
        let kinds = [process.anon, process.file, process.shmem, process.swap];
        self.kinds.push(sample.at.monotonic, kinds.map(Result::ok));
        let mut changed = false;
        self.detector.process_ended(self.root.ended(sample));
        if let Ok(bytes) = self.watched(sample) {
            let limit = self.headroom.map(|headroom| bytes.saturating_add_signed(headroom));
            self.detector.set_limit(limit);
            let lives = self.detector.restarts();
            let change = self.detector.push(sample.at.monotonic, bytes);
            if self.detector.restarts() != lives {
                self.kinds.restarted();
                self.alarms.restarted();
            }
            if let Some(mut change) = change {
                changed = true;
                change.to.name_outside(self.outside());
                listen(&self.number(Event::Verdict(change)));
            }
        }
        let (at, rss) = (sample.at.monotonic, sample.process.rss.ok());
        let alerts = self.alarms.growth(at, rss, &self.detector, changed, &leak.value);
        self.alert(alerts, &mut listen);
    }

    fn alert(
        &mut self,
        alerts: impl IntoIterator<Item = Alert>,
        listen: &mut impl FnMut(&Numbered),
    ) {
        for alert in alerts {
            self.seen.alerts += 1;
            self.seen.alert = self.seen.alert.max(Some(alert.severity));
            listen(&self.number(Event::Alert(alert)));
        }
    }

    /// Numbers an event that did not come out of a sample.
    pub fn number(&mut self, event: Event) -> Numbered {
        self.seq += 1;
        let at = self.seen.span.map_or(Stamp::synthetic(Duration::ZERO), |(_, last)| last);
        Numbered { seq: self.seq, at, event }
    }

    /// Numbers an event that has just happened, between two samples: `now` is on the clock of the samples.
    pub fn number_at(&mut self, event: Event, now: Stamp) -> Numbered {
        let numbered = self.number(event);
        let is_later = self.seen.span.is_none() || now.monotonic > numbered.at.monotonic;
        Numbered { at: if is_later { now } else { numbered.at }, ..numbered }
    }

    /// Says that there will be no further sample, so that the verdict is judged on all of them.
    pub fn conclude(&mut self, mut listen: impl FnMut(&Numbered)) {
        let Some(mut change) = self.detector.conclude() else { return };
        change.to.name_outside(self.outside());
        listen(&self.number(Event::Verdict(change)));
        let Some((_, last)) = self.seen.span else { return };
        let leak = self.policies.leak.load().value;
        let alerts = self.alarms.growth(last.monotonic, None, &self.detector, true, &leak);
        self.alert(alerts, &mut listen);
    }

    /// The verdict now.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut verdict = self.detector.verdict();
        verdict.name_outside(self.outside());
        verdict
    }

    /// What grows outside the series; what is watched of a cgroup or of the machine holds all kinds.
    fn outside(&self) -> Vec<Outside> {
        if self.series != Series::Private {
            return Vec::new();
        }
        let leak = self.policies.leak.load().value;
        self.kinds.outside(leak.min_samples, leak.least_growth)
    }

    /// What the plain rules say of the RSS.
    #[must_use]
    pub fn rules(&self) -> RuleReport {
        self.alarms.rules()
    }

    /// Which kinds of memory grow, the fastest first.
    #[must_use]
    pub fn kinds(&self) -> Vec<KindGrowth> {
        self.kinds.report()
    }

    /// The level now.
    #[must_use]
    pub fn level(&self) -> Level {
        self.machine.status().level
    }

    /// Whether the level is normal and more than half of the machine, and of the limit around the target, is free.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        let Some(Sample { system, cgroup, .. }) = &self.latest else { return false };
        let plenty = |free: Reading<u64>, of: Reading<u64>| {
            free.is_ok_and(|free| of.is_ok_and(|of| free > of / 2))
        };
        self.level() == Level::Normal
            && plenty(system.available, system.total)
            && match cgroup.limit {
                Err(why) if why.nothing_there() => true,
                limit => plenty(cgroup.headroom, limit),
            }
    }

    /// The level now, what decided it, and what each signal says.
    #[must_use]
    pub fn pressure(&self) -> Status {
        self.machine.status()
    }

    /// What has been seen so far.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The number of `sample` that is watched for growth.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn watched(&self, sample: &Sample) -> Reading<u64> {
        self.series.read(sample)
    }

    /// What [`Pipeline::watched`] is, in words.
    #[must_use]
    pub fn series(&self) -> &'static str {
        match (self.series, &self.latest) {
            // What was imported has no more than that.
            (Series::Private, Some(sample))
                if sample.process.anon.is_err() && sample.process.rss.is_ok() =>
            {
                "RSS"
            }
            (Series::Private, _) => "anon + swap",
            (Series::WorkingSet, _) => "working set",
            (Series::Unavailable, _) => "memory in use",
        }
    }

    /// The newest sample.
    #[must_use]
    pub fn latest(&self) -> Option<&Sample> {
        self.latest.as_ref()
    }

    /// What is left until the first limit: of a cgroup, of the machine, or of the target's own budget where somebody set
    /// one; 0 past it. As of the newest sample that the target was there at.
    #[must_use]
    pub fn headroom(&self) -> Option<u64> {
        self.headroom.map(|bytes| u64::try_from(bytes).unwrap_or(0))
    }

    /// The limit to name beside the level, of `nearest` around the target and the budget that somebody set for it. As of the
    /// newest sample.
    ///
    /// # Errors
    /// That of `nearest`, when there is no budget either.
    pub fn limit(&self, nearest: Reading<Limit>) -> Reading<Limit> {
        limit::behind(&self.pressure(), nearest, self.budget().cloned())
    }

    /// The budget that somebody set, as it was written.
    #[must_use]
    pub fn budget_total(&self) -> Option<BudgetTotal> {
        self.policies.budget_total()
    }

    /// From which shares of the budget each level holds.
    #[must_use]
    pub fn budget_thresholds(&self) -> Thresholds {
        self.policies.budget.load().value.thresholds()
    }

    /// The budget, where one is set and the newest sample tells what is used of it.
    #[must_use]
    pub fn budget(&self) -> Option<&Limit> {
        self.budget.as_ref()
    }
}

#[cfg(test)]
mod tests;
