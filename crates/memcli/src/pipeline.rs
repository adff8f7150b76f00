//! One sample through every layer: level machine, detector, and what they say.
//!
//! The same code live and over a recording. It calls the pure cores inline: a thread for each layer would double the
//! cost of watching.

use std::time::Duration;

use memcfg::live::Reload;
use memleak::{
    Change, Detector, KindGrowth, Kinds, LeakConfig, Outside, RuleReport, Severity, Verdict,
};
use mempressure::{
    BudgetConfig, BudgetTotal, Level, Machine, PressureConfig, Rules, Signal, Status, Thresholds,
    Transition,
};
use memtrack::error::SourceError;
use memtrack::source::Target;
use memtrack::{Absent, ProcessMemory, Reading, Sample, Settings, Stamp};

use crate::alert::{Alarms, Alert};
use crate::limit::{self, Limit};
use crate::size::several;

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

/// What has been seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Samples looked at.
    pub samples: u64,
    /// The first and the last stamp.
    pub span: Option<(Stamp, Stamp)>,
    /// The highest RSS while it was watched: of the samples, and the last `VmHWM` where that rose since the first of them.
    pub peak_rss: Option<u64>,
    /// The highest `VmHWM`, which may be from before the watch: the RSS was at no time above it.
    pub peak_ever: Option<u64>,
    /// The highest RSS of a sample: over a tree, the sum at one time.
    pub sampled_rss: Option<u64>,
    /// The highest footprint of a sample.
    pub footprint: Option<u64>,
    /// The highest PSS that was measured.
    pub pss: Option<u64>,
    /// The highest RSS while there was one process, `VmHWM` included.
    pub rss_of_one: Option<u64>,
    /// The highest PSS that was measured of several processes.
    pub pss_of_several: Option<u64>,
    /// The highest PSS that was estimated since the last one was measured.
    pub pss_estimated: Option<u64>,
    /// The highest of what is watched for growth: of a cgroup its working set, of the machine what is used.
    pub watched: Option<u64>,
    /// The least of the RSS that PSS left out, when both were measured: what is shared with others.
    pub shared: Option<u64>,
    /// The most processes at one time.
    pub processes: Option<u64>,
    /// The highest level.
    pub level: Level,
    /// The mean of the RSS over the samples, in bytes.
    pub mean_rss: Option<f64>,
    /// Alerts that passed the throttle.
    pub alerts: u64,
    /// The worst of them.
    pub alert: Option<Severity>,
    /// Samples with an RSS.
    pub sized: u64,
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

/// Which number of a sample is watched for growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Series {
    /// A process: its private memory.
    Private,
    /// A cgroup: its working set.
    WorkingSet,
    /// The machine: what is not available.
    Unavailable,
}

impl Series {
    fn of(target: &Target) -> Self {
        match target {
            Target::Cgroup(_) => Series::WorkingSet,
            Target::System => Series::Unavailable,
            _ => Series::Private,
        }
    }

    fn read(self, sample: &Sample) -> Reading<u64> {
        match self {
            Series::Private => sample.process.private(),
            Series::WorkingSet => sample.cgroup.own_working_set(),
            Series::Unavailable => {
                Ok(sample.system.total?.saturating_sub(sample.system.available?))
            }
        }
    }
}

/// What is known of the ends of the processes that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    /// One process of known pid and start time: it lives as long as it can be watched.
    Alone,
    /// The root of a tree of known pid and start time, and whether it was alone at the last sample.
    Tree { alone: bool },
    /// Nothing: a cgroup, the machine, or a trace of another program.
    Unknown,
}

impl Root {
    fn of(target: &Target) -> Self {
        match target {
            Target::Own => Root::Alone,
            Target::Process(id) if id.pid != 0 => Root::Alone,
            Target::Tree(id) if id.pid != 0 => Root::Tree { alone: true },
            _ => Root::Unknown,
        }
    }

    /// Whether a process may have ended before `sample`; `None` where nobody can tell.
    fn ended(&mut self, sample: &Sample) -> Option<bool> {
        match self {
            Root::Alone => Some(false),
            Root::Tree { alone } => {
                let now = sample.process.processes == Ok(1);
                Some(!(std::mem::replace(alone, now) && now))
            }
            Root::Unknown => None,
        }
    }
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
        self.note(sample);
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
        if let Some(ended) = self.root.ended(sample) {
            self.detector.process_ended(ended);
        }
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

    fn note(&mut self, sample: &Sample) {
        let seen = &mut self.seen;
        let process = &sample.process;
        seen.samples += 1;
        self.latest = Some(*sample);
        seen.span = Some((seen.span.map_or(sample.at, |(first, _)| first), sample.at));
        seen.sampled_rss = seen.sampled_rss.max(process.rss.ok());
        if let Ok(rss) = process.rss {
            seen.sized += 1;
            let mean = seen.mean_rss.unwrap_or_default();
            seen.mean_rss = Some(mean + (rss as f64 - mean) / seen.sized as f64);
        }
        // A process that is ending has no memory left: that is no peak.
        let ever = process.peak.ok().filter(|bytes| *bytes > 0);
        seen.peak_ever = seen.peak_ever.max(ever);
        let before = *self.peak_before.get_or_insert(ever.unwrap_or_default());
        let risen = ever.filter(|bytes| *bytes > before);
        seen.peak_rss = seen.peak_rss.max(risen).max(seen.sampled_rss.filter(|bytes| *bytes > 0));
        seen.footprint = seen.footprint.max(process.footprint().ok());
        if !several(sample) {
            seen.rss_of_one = seen.rss_of_one.max(risen).max(process.rss.ok());
        }
        seen.watched = seen.watched.max(self.series.read(sample).ok());
        if process.pss_age == Ok(Duration::ZERO) {
            let pss = process.pss.ok();
            seen.pss = seen.pss.max(pss);
            if several(sample) {
                seen.pss_of_several = seen.pss_of_several.max(pss);
            }
            seen.pss_estimated = None;
            if let (Ok(rss), Some(pss)) = (process.rss, pss) {
                // The RSS is of a moment later: what came in between is no shared memory, which is of files and of shmem.
                let most = process.file.and_then(|file| Ok(file.saturating_add(process.shmem?)));
                let shared = rss.saturating_sub(pss).min(most.unwrap_or(u64::MAX));
                seen.shared = Some(seen.shared.map_or(shared, |least| least.min(shared)));
            }
        } else {
            // It scales with RSS, and so takes what has become shared since for more: nobody saw it.
            seen.pss_estimated = seen.pss_estimated.max(process.pss.ok());
        }
        seen.processes = seen.processes.max(process.processes.ok());
    }
}

#[cfg(test)]
mod tests {
    use memtrack::processes::ProcessId;

    use super::*;

    #[test]
    fn plenty_of_memory_is_calm_and_half_of_it_or_less_is_not() {
        let mut pipeline = Pipeline::new(&Target::System, Policies::unedited());
        assert!(!pipeline.is_calm(), "nothing is known");
        let mut second = 0;
        let mut calm = |available, limit: Reading<u64>, headroom| {
            second += 1;
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
            (sample.system.total, sample.system.available) = (Ok(100), available);
            (sample.cgroup.limit, sample.cgroup.headroom) = (limit, headroom);
            sample.cgroup.usage = limit.and_then(|limit| Ok(limit - headroom?));
            pipeline.push(&sample, |_| {});
            pipeline.is_calm()
        };
        let unlimited = Err(Absent::Unlimited);
        assert!(calm(Ok(90), unlimited, unlimited));
        assert!(calm(Ok(51), Ok(80), Ok(41)));
        assert!(!calm(Ok(50), unlimited, unlimited));
        assert!(!calm(Ok(90), Ok(80), Ok(40)));
        assert!(!calm(Err(Absent::Failed(5)), unlimited, unlimited));
        assert!(!calm(Ok(90), Err(Absent::Failed(5)), Err(Absent::Failed(5))));
    }

    /// One a second of a process with so much anon and shmem.
    fn watched(sizes: impl Iterator<Item = (u64, u64)>) -> (Pipeline, Vec<Verdict>) {
        let target = Target::Process(ProcessId { pid: 0, start: 0 });
        let mut pipeline = Pipeline::new(&target, Policies::unedited());
        let mut told = Vec::new();
        for (second, (anon, shmem)) in (0..).zip(sizes) {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
            sample.process.anon = Ok(anon);
            sample.process.shmem = Ok(shmem);
            sample.process.rss = Ok(anon + shmem);
            pipeline.push(&sample, |numbered| {
                if let Event::Verdict(change) = &numbered.event {
                    told.push(change.to.clone());
                }
            });
        }
        (pipeline, told)
    }

    #[test]
    fn what_grows_outside_the_series_is_told_beside_every_verdict() {
        for (seconds, grown) in [(30, "116.0 MiB in 29.0 s"), (600, "2.3 GiB in 9 min 59 s")] {
            let (pipeline, told) = watched((0..seconds).map(|i| (8 << 20, i << 22)));
            let verdict = pipeline.verdict();
            assert!(matches!(verdict.kind(), "undecided" | "steady"), "{verdict:?}");
            let said = crate::output::human::reason(&verdict, pipeline.series());
            let told_as = format!("outside this verdict shmem grew {grown}");
            assert!(said.contains(&told_as), "{said}");
            assert!(told.iter().all(|verdict| !verdict.evidence().outside.is_empty()), "{told:?}");
        }
    }

    #[test]
    fn the_rules_begin_anew_with_a_process() {
        let life = |i: u64| if i < 3600 { 500 << 20 } else { (100 << 20) + (i - 3600) * 58_254 };
        let (pipeline, _) = watched((0..6600).map(|i| (life(i), 0)));
        let rules = pipeline.rules();
        // 200 MiB/h.
        assert!((rules.growth.unwrap() / 58_254.0 - 1.0).abs() < 0.02, "{rules:?}");
        assert_eq!(rules.by_rate, Some(Severity::Critical));
    }

    #[test]
    fn a_process_that_nobody_waited_for_yet_has_no_size_and_not_one_of_0() {
        let sample = |second, rss: u64, processes| {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
            let process = &mut sample.process;
            (process.rss, process.anon, process.swap) = (Ok(rss), Ok(rss), Ok(0));
            process.processes = Ok(processes);
            sample
        };
        let mut pipeline = Pipeline::new(&Target::Own, Policies::unedited());
        pipeline.push(&sample(0, 0, 0), |numbered| {
            let Event::Sample(sample) = &numbered.event else { return };
            assert_eq!(sample.process.rss, Err(Absent::Gone), "nor is that what is recorded");
        });
        let seen = pipeline.seen();
        assert_eq!((seen.mean_rss, seen.footprint, seen.processes), (None, None, None));
        pipeline.push(&sample(1, 100, 1), |_| {});
        pipeline.push(&sample(2, 0, 0), |_| {});
        assert_eq!(
            (pipeline.seen().mean_rss, pipeline.seen().sampled_rss),
            (Some(100.0), Some(100))
        );
        // A cgroup that holds no process holds none.
        let mut cgroup = Pipeline::new(&Target::Cgroup("x".into()), Policies::unedited());
        cgroup.push(&sample(0, 0, 0), |_| {});
        assert_eq!(cgroup.seen().processes, Some(0));
    }

    #[test]
    fn past_a_budget_the_limit_stays_where_it_is() {
        let mut policies = Policies::unedited();
        let signals = vec![Signal::Budget];
        policies.pressure =
            Settings::fixed(PressureConfig { signals, ..PressureConfig::default() });
        let total = BudgetTotal::Size(memtrack::Size(20 << 20));
        policies.budget = Settings::fixed(BudgetConfig { total, ..BudgetConfig::default() });
        let mut pipeline = Pipeline::new(&Target::Own, policies);
        for second in 0..300 {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
            let bytes = (1 + second) << 20;
            (sample.process.rss, sample.process.anon) = (Ok(bytes + (4 << 20)), Ok(bytes));
            (sample.process.swap, sample.process.processes) = (Ok(0), Ok(1));
            pipeline.push(&sample, |_| {});
        }
        assert_eq!(pipeline.headroom(), Some(0));
        let Verdict::Leak { time_to_limit, .. } = pipeline.verdict() else {
            panic!("{:?}", pipeline.verdict())
        };
        assert_eq!(time_to_limit, Some(Duration::ZERO));
    }

    #[test]
    fn ends_are_told_of_a_known_process_and_of_a_tree_while_it_has_one() {
        let id = ProcessId { pid: 7, start: 1 };
        let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
        assert_eq!(Root::of(&Target::Process(id)).ended(&sample), Some(false));
        // A trace of another program names no process.
        let unnamed = ProcessId { pid: 0, start: 0 };
        assert_eq!(Root::of(&Target::Tree(unnamed)).ended(&sample), None);
        let mut tree = Root::of(&Target::Tree(id));
        let told = [1, 1, 2, 2, 1, 1].map(|processes| {
            sample.process.processes = Ok(processes);
            tree.ended(&sample)
        });
        assert_eq!(told, [false, false, true, true, true, false].map(Some));
    }
}
