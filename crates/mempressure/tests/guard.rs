//! The guard as an embedder sees it: samples go in through a real sampler, caches are asked, outcomes come out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mempressure::{
    Caches, Ended, Event, EventKind, Events, FnCache, Guard, GuardConfig, Level, Options, Outcome,
    Policy, Priority, Registration, Signal, Wait,
};
use memtrack::config::MIN_INTERVAL;
use memtrack::error::SourceError;
use memtrack::sampler::Sampler;
use memtrack::source::Source;
use memtrack::{Absent, Current, Sample, Settings, Size, Stamp, TrackConfig};

const MIB: u64 = 1 << 20;

/// What a test does to a sample before it goes out.
type Retouch = fn(&mut Sample);

/// Takes a sample of the world whenever the test asks for one.
struct Asked {
    asks: Receiver<Retouch>,
    world: Arc<World>,
    /// The samples' clock runs with real time, since what is measured depends on their order.
    origin: Instant,
}

impl Source for Asked {
    fn read(&mut self, _: &TrackConfig) -> Result<Sample, SourceError> {
        let retouch = self.asks.recv().map_err(|_| SourceError::Ended)?;
        let mut sample = self.world.sample(self.origin.elapsed());
        retouch(&mut sample);
        Ok(sample)
    }
}

/// A process of `footprint` in a cgroup of 1000 MiB.
#[derive(Default)]
struct World {
    footprint: AtomicU64,
    /// Bytes per second that come on top by themselves.
    growth: u64,
}

impl World {
    fn holding(mib: u64) -> Arc<Self> {
        Arc::new(Self { footprint: AtomicU64::new(mib * MIB), growth: 0 })
    }

    fn sample(&self, at: Duration) -> Sample {
        let grown = (self.growth as f64 * at.as_secs_f64()) as u64;
        let used = self.footprint.load(Ordering::SeqCst) + grown;
        let mut sample = Sample::empty(Stamp::synthetic(at));
        sample.cgroup.limit = Ok(1000 * MIB);
        sample.cgroup.usage = Ok(used);
        sample.process.rss = Ok(used);
        sample
    }
}

struct Rig {
    world: Arc<World>,
    caches: Caches,
    feed: Option<Sender<Retouch>>,
    sampler: Sampler,
    guard: Guard,
    events: Events,
}

impl Rig {
    fn new(world: Arc<World>, caches: Caches, config: GuardConfig, options: Options) -> Self {
        Self::with(world, caches, Settings::fixed(config), options)
    }

    /// A process of `mib` and nobody to ask.
    fn without_caches(mib: u64) -> Self {
        let config = config(Policy::Conservative);
        Self::new(World::holding(mib), Caches::new(), config, Options::default())
    }

    fn with(
        world: Arc<World>,
        caches: Caches,
        settings: Settings<GuardConfig>,
        options: Options,
    ) -> Self {
        let (feed, asks) = bounded(0);
        let asked = Asked { asks, world: Arc::clone(&world), origin: Instant::now() };
        let interval = Some(Duration::from_millis(20));
        let track = Settings::fixed(TrackConfig { interval, ..TrackConfig::default() });
        let mut sampler = Sampler::new(asked, track);
        let guard = Guard::spawn(sampler.newest(), settings, caches.clone(), options).unwrap();
        sampler.start().unwrap();
        let events = guard.events();
        Self { world, caches, feed: Some(feed), sampler, guard, events }
    }

    /// One sample of the world as it is.
    fn tick(&self) {
        self.ask(|_| {});
    }

    fn ask(&self, retouch: Retouch) {
        self.feed.as_ref().unwrap().send(retouch).unwrap();
    }

    fn event(&self) -> EventKind {
        self.events.receiver().recv_timeout(Duration::from_secs(20)).unwrap().kind
    }

    fn to(&self) -> Level {
        match self.event() {
            EventKind::Transition(transition) => transition.to,
            other => panic!("{other:?}"),
        }
    }

    /// Samples until the outcome of a plan is there.
    fn outcome(&self) -> Outcome {
        self.outcome_of(|_| {})
    }

    /// The same over samples that `retouch` was applied to.
    fn outcome_of(&self, retouch: Retouch) -> Outcome {
        loop {
            self.ask(retouch);
            // A sample that the guard saw before the plan ended does not show the outcome: then another does.
            match self.events.receiver().recv_timeout(Duration::from_millis(40)) {
                Ok(Event { kind: EventKind::Outcome(outcome), .. }) => return outcome,
                Ok(_) | Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The source ends first: the sampler waits in it.
        self.feed = None;
        self.guard.stop();
        self.sampler.stop();
    }
}

/// A cache of `mib` that is part of the world: what it frees really leaves.
fn honest(world: &Arc<World>, mib: u64) -> impl mempressure::Cache + use<> {
    let held = Arc::new(AtomicU64::new(mib * MIB));
    let (world, used) = (Arc::clone(world), Arc::clone(&held));
    FnCache::new(
        move || Some(used.load(Ordering::SeqCst)),
        move |target| {
            let freed = target.min(held.load(Ordering::SeqCst));
            held.fetch_sub(freed, Ordering::SeqCst);
            world.footprint.fetch_sub(freed, Ordering::SeqCst);
            freed
        },
    )
}

fn config(policy: Policy) -> GuardConfig {
    let mut config = GuardConfig::default();
    config.pressure.policy = policy;
    config.budget.total = mempressure::BudgetTotal::Size(Size::mib(100_000));
    config
}

#[test]
fn pressure_is_answered_and_what_left_is_measured() {
    let world = World::holding(960);
    let caches = Caches::new();
    let _low = caches.register(
        Registration { priority: Priority::Low, ..Registration::new("low") },
        honest(&world, 30),
    );
    let _normal = caches.register(Registration::new("normal"), honest(&world, 500));
    let rig = Rig::new(world, caches, config(Policy::Conservative), Options::default());
    rig.tick();
    assert_eq!(rig.to(), Level::Emergency);
    let outcome = rig.outcome();
    // From 960 to 0.95 - 0.05 - 0.02 of 1000.
    assert!(outcome.target_bytes.abs_diff(80 * MIB) <= 1, "{outcome:?}");
    let asked: Vec<_> =
        outcome.caches.iter().map(|c| (c.name.as_str(), c.claimed_bytes / MIB)).collect();
    assert_eq!(asked, [("low", 30), ("normal", 50)]);
    assert_eq!(outcome.claimed_bytes, outcome.target_bytes);
    assert_eq!(outcome.measured_bytes, Some(outcome.claimed_bytes as i64));
    let status = rig.guard.status();
    assert_eq!((status.counters.plans, status.in_flight), (1, None));
    assert_eq!(status.counters.measured_bytes, outcome.claimed_bytes);
    assert_eq!(rig.guard.advice().level(), Level::Emergency);
}

#[cfg(feature = "serde")]
#[test]
fn all_that_the_guard_tells_reads_back_from_json() {
    let world = World::holding(960);
    let caches = Caches::new();
    let _cache = caches.register(Registration::new("cache"), honest(&world, 500));
    let rig = Rig::new(world, caches, config(Policy::Conservative), Options::default());
    let all = rig.guard.events();
    rig.outcome();
    let status = rig.guard.status();
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<mempressure::GuardStatus>(&json).unwrap(), status);
    let caches = rig.guard.caches();
    let json = serde_json::to_string(&caches).unwrap();
    assert_eq!(serde_json::from_str::<Vec<mempressure::CacheStatus>>(&json).unwrap(), caches);
    // A transition and an outcome at least.
    let events: Vec<Event> = all.receiver().try_iter().collect();
    assert!(events.len() >= 2);
    let json = serde_json::to_string(&events).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Event>>(&json).unwrap(), events);
}

#[cfg(feature = "moka")]
#[test]
fn a_cache_of_moka_gives_what_is_asked_for() {
    let world = World::holding(960);
    let weigh = |_: &u32, mib: &u32| *mib << 20;
    let entries = moka::sync::Cache::builder().max_capacity(1 << 30).weigher(weigh).build();
    (0..500).for_each(|key| entries.insert(key, 1));
    entries.run_pending_tasks();
    let caches = Caches::new();
    let adapter =
        mempressure::MokaCache::new(entries.clone(), move |key, mib| u64::from(weigh(key, mib)));
    let _moka = caches.register(Registration::new("moka"), adapter);
    let rig = Rig::new(world, caches, config(Policy::Conservative), Options::default());
    rig.tick();
    let outcome = rig.outcome();
    // From 960 to 0.95 - 0.05 - 0.02 of 1000, in entries of 1 MiB.
    assert!(outcome.claimed_bytes >= 80 * MIB && outcome.claimed_bytes <= 81 * MIB, "{outcome:?}");
    // The world is no smaller for it, so there were further plans meanwhile.
    while rig.guard.status().in_flight.is_some() {
        std::thread::yield_now();
    }
    let claimed = rig.caches.status()[0].claimed_bytes;
    assert_eq!(entries.entry_count(), 500 - claimed / MIB);
}

#[test]
fn a_dry_run_calls_nobody() {
    let world = World::holding(960);
    let caches = Caches::new();
    let _cache = caches.register(
        Registration::new("cache"),
        FnCache::new(|| Some(500 * MIB), |_| panic!("called in a dry run")),
    );
    let options = Options { dry_run: true, ..Options::default() };
    let rig = Rig::new(world, caches, config(Policy::Aggressive), options);
    rig.tick();
    let outcome = rig.outcome();
    assert!(outcome.dry_run && outcome.claimed_bytes == 0 && outcome.measured_bytes.is_none());
    assert_eq!(outcome.caches[0].ended, Ended::NotCalled);
    assert_eq!(outcome.caches[0].asked_bytes, 480 * MIB);
}

#[test]
fn a_panic_is_isolated_and_the_next_cache_is_asked() {
    let world = World::holding(960);
    let caches = Caches::new();
    let _bad = caches.register(
        Registration { priority: Priority::Low, ..Registration::new("bad") },
        FnCache::new(|| Some(MIB), |_| panic!("a bug in the cache")),
    );
    let _good = caches.register(Registration::new("good"), honest(&world, 500));
    // On a busy machine a panic may take seconds to tell where it was.
    let options = Options { deadline: Duration::from_secs(60), ..Options::default() };
    let rig = Rig::new(world, caches, config(Policy::Conservative), options);
    rig.tick();
    let outcome = rig.outcome();
    assert_eq!(outcome.caches[0].ended, Ended::Panicked);
    assert_eq!(outcome.claimed_bytes, outcome.target_bytes);
    assert_eq!(rig.guard.status().counters.panics, 1);
    assert_eq!(rig.caches.status()[0].panics, 1);
}

#[test]
fn a_callback_that_hangs_is_left_behind_and_the_rest_of_the_plan_goes_on() {
    let world = World::holding(960);
    let caches = Caches::new();
    let (release, hold) = unbounded::<()>();
    let _stuck = caches.register(
        Registration { priority: Priority::Low, ..Registration::new("stuck") },
        FnCache::new(
            || Some(MIB),
            move |target| {
                let _ = hold.recv();
                target
            },
        ),
    );
    let _good = caches.register(Registration::new("good"), honest(&world, 500));
    let options = Options { deadline: Duration::from_millis(100), ..Options::default() };
    let rig = Rig::new(world, caches, config(Policy::Conservative), options);
    rig.tick();
    let outcome = rig.outcome();
    let ended: Vec<_> = outcome.caches.iter().map(|c| (c.name.as_str(), c.ended)).collect();
    assert_eq!(ended, [("stuck", Ended::Hung), ("good", Ended::Returned)]);
    assert_eq!(outcome.claimed_bytes, outcome.target_bytes);
    assert_eq!(rig.guard.status().counters.hangs, 1);
    assert!(rig.caches.status()[0].hung);
    // Samples went on all the while, and once the call returns the cache may be asked again.
    drop(release);
    while rig.caches.status()[0].hung {
        std::thread::yield_now();
    }
    assert_eq!(rig.caches.status()[0].claimed_bytes, MIB);
}

#[test]
fn a_cache_that_claims_without_freeing_is_backed_off_by_name() {
    let world = World::holding(960);
    let caches = Caches::new();
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let _liar = caches.register(
        Registration::new("liar"),
        FnCache::new(
            || Some(500 * MIB),
            move |target| {
                counted.fetch_add(1, Ordering::SeqCst);
                target
            },
        ),
    );
    let rig = Rig::new(world, caches, config(Policy::Conservative), Options::default());
    rig.tick();
    let mut backed_off = Vec::new();
    while backed_off.is_empty() {
        let outcome = rig.outcome();
        assert_eq!(outcome.measured_bytes, Some(0), "{outcome:?}");
        backed_off = outcome.backed_off;
    }
    assert_eq!(backed_off, ["liar"]);
    let asked_so_far = asked.load(Ordering::SeqCst);
    assert!(asked_so_far >= 3);
    // The emergency lasts, and nobody is left to ask: that is told once.
    while !matches!(rig.event(), EventKind::NothingToGive(Level::Emergency)) {}
    for _ in 0..5 {
        rig.tick();
    }
    assert_eq!(asked.load(Ordering::SeqCst), asked_so_far);
    assert!(rig.caches.status()[0].backed_off_until.is_some());
}

#[test]
fn memory_that_only_moved_to_swap_has_not_left() {
    let world = World::holding(960);
    let caches = Caches::new();
    let _cache = caches
        .register(Registration::new("swapped"), FnCache::new(|| Some(500 * MIB), |target| target));
    let rig = Rig::new(world, caches, config(Policy::Conservative), Options::default());
    rig.tick();
    assert_eq!(rig.to(), Level::Emergency);
    let outcome = loop {
        rig.ask(|sample| {
            sample.process.rss = Ok(460 * MIB);
            sample.process.swap = Ok(500 * MIB);
        });
        match rig.events.receiver().recv_timeout(Duration::from_millis(40)) {
            Ok(Event { kind: EventKind::Outcome(outcome), .. }) => break outcome,
            _ => continue,
        }
    };
    assert_eq!(outcome.measured_bytes, Some(0));
}

#[test]
fn what_is_measured_owes_nothing_to_what_is_claimed() {
    // Frees 100 MiB without claiming any, or allocates 10 MiB where it was to free.
    for (claims, changes, measured) in
        [(0, -100 * MIB as i64, 100 * MIB as i64), (5 * MIB, 10 * MIB as i64, -10 * MIB as i64)]
    {
        let world = World::holding(960);
        let caches = Caches::new();
        let inner = Arc::clone(&world);
        let evict = move |_| {
            inner.footprint.fetch_add(changes.cast_unsigned(), Ordering::SeqCst);
            claims
        };
        let _cache =
            caches.register(Registration::new("odd"), FnCache::new(|| Some(500 * MIB), evict));
        let rig = Rig::new(world, caches, config(Policy::Conservative), Options::default());
        rig.tick();
        let outcome = rig.outcome();
        assert_eq!((outcome.claimed_bytes, outcome.measured_bytes), (claims, Some(measured)));
    }
}

#[test]
fn what_the_process_grew_by_meanwhile_is_added() {
    let world = Arc::new(World { footprint: AtomicU64::new(600 * MIB), growth: 500 * MIB });
    let caches = Caches::new();
    let _cache = caches.register(Registration::new("cache"), honest(&world, 500));
    let rig = Rig::new(world, caches, config(Policy::Conservative), Options::default());
    let outcome = rig.outcome();
    // Some 20 ms at 500 MiB/s lie between the sample before and the one after.
    let off = outcome.measured_bytes.unwrap() - outcome.claimed_bytes as i64;
    assert!(off.unsigned_abs() < MIB, "{outcome:?}");
}

#[test]
fn a_sample_from_before_the_end_of_a_plan_neither_measures_it_nor_begins_another() {
    let world = World::holding(960);
    let caches = Caches::new();
    let (release, hold) = bounded::<()>(0);
    let free = honest(&world, 500);
    let evict = move |target| {
        let _ = hold.recv();
        mempressure::Cache::evict(&free, target / 8)
    };
    let _cache =
        caches.register(Registration::new("slow"), FnCache::new(|| Some(500 * MIB), evict));
    let rig = Rig::new(world, caches, config(Policy::Conservative), Options::default());
    let began = Instant::now();
    rig.tick();
    // The plan takes a second, so that there is a past to put a sample into.
    while began.elapsed() < Duration::from_secs(1) {
        std::thread::yield_now();
    }
    release.send(()).unwrap();
    while rig.guard.status().in_flight.is_some() {
        std::thread::yield_now();
    }
    rig.ask(|sample| sample.at.monotonic -= Duration::from_millis(700));
    while rig.guard.status().machine.samples < 2 {
        std::thread::yield_now();
    }
    let status = rig.guard.status();
    assert_eq!((status.last_outcome, status.waiting), (None, Some(Wait::OldSample)));
    assert_eq!(status.counters.plans, 1);
    // The emergency lasts, and on a new sample there is a second plan.
    while rig.guard.status().in_flight.is_none() {
        rig.tick();
    }
    release.send(()).unwrap();
    let first = rig.outcome();
    assert!(first.measured_bytes >= Some(first.claimed_bytes as i64), "{first:?}");
    drop(release);
}

#[test]
fn the_allocator_is_trimmed_after_the_callbacks_and_not_while_an_emergency_can_do_without() {
    let world = World::holding(810);
    let caches = Caches::new();
    let _a = caches.register(Registration::new("a"), honest(&world, 50));
    let _b = caches.register(Registration::new("b"), honest(&world, 600));
    let trims = Arc::new(Mutex::new(Vec::new()));
    let (trimmed, noted) = (Arc::clone(&trims), Arc::clone(&world));
    let options = Options {
        trim: Some(Arc::new(move || {
            trimmed.lock().unwrap().push(noted.footprint.load(Ordering::SeqCst) / MIB);
            panic!("a trim that fails must not end the eviction thread");
        })),
        ..Options::default()
    };
    let rig = Rig::new(world, caches, config(Policy::Conservative), options);
    assert_eq!(rig.outcome().level, Level::Critical);
    // Once, after both callbacks have brought the process to 730 MiB.
    assert_eq!(*trims.lock().unwrap(), [730]);
    rig.world.footprint.store(960 * MIB, Ordering::SeqCst);
    assert_eq!(rig.outcome().level, Level::Emergency);
    assert_eq!(trims.lock().unwrap().len(), 1, "what was claimed has left by itself");
}

#[test]
fn pressure_with_nobody_to_ask_is_told_once_and_counted() {
    let rig = Rig::without_caches(960);
    rig.tick();
    assert_eq!(rig.to(), Level::Emergency);
    assert!(matches!(rig.event(), EventKind::NothingToGive(Level::Emergency)));
    while rig.guard.status().counters.nothing_to_give < 3 {
        rig.tick();
    }
    assert!(rig.events.receiver().is_empty(), "it is told once");
    assert_eq!(rig.guard.status().counters.plans, 0);
}

#[test]
fn an_outcome_without_a_footprint_is_counted_as_unmeasured() {
    let world = World::holding(960);
    let caches = Caches::new();
    let _cache = caches.register(Registration::new("cache"), honest(&world, 500));
    let rig = Rig::new(world, caches, config(Policy::Conservative), Options::default());
    rig.tick();
    let outcome = rig.outcome_of(|sample| sample.process.rss = Err(Absent::Denied));
    assert!(outcome.claimed_bytes > 0 && outcome.measured_bytes.is_none(), "{outcome:?}");
    let counters = rig.guard.status().counters;
    assert_eq!((counters.plans, counters.unmeasured, counters.measured_bytes), (1, 1, 0));
}

#[test]
fn ceilings_are_kept_without_pressure() {
    let world = World::holding(300);
    let caches = Caches::new();
    let _capped = caches.register(
        Registration {
            priority: Priority::High,
            ceiling: Some(Size::mib(100)),
            ..Registration::new("capped")
        },
        honest(&world, 130),
    );
    let rig = Rig::new(world, caches, config(Policy::Conservative), Options::default());
    rig.tick();
    assert_eq!(rig.to(), Level::Normal);
    let outcome = rig.outcome();
    assert_eq!((outcome.level, outcome.claimed_bytes), (Level::Normal, 30 * MIB));
    assert_eq!(rig.caches.status()[0].used_bytes, Some(100 * MIB));
}

#[test]
fn no_second_plan_within_the_cooldown_but_an_escalation_passes() {
    let world = World::holding(710);
    let caches = Caches::new();
    let _cache = caches.register(Registration::new("cache"), honest(&world, 900));
    let rig = Rig::new(world, caches, config(Policy::Conservative), Options::default());
    rig.tick();
    assert_eq!(rig.outcome().level, Level::Warning);
    rig.world.footprint.store(720 * MIB, Ordering::SeqCst);
    // On a loaded machine a sample may come late and count as one after a gap: then the next one does.
    while rig.guard.status().waiting != Some(Wait::Cooldown) {
        rig.tick();
    }
    let counters = rig.guard.status().counters;
    assert_eq!((counters.plans, counters.waits > 0), (1, true));
    rig.world.footprint.store(810 * MIB, Ordering::SeqCst);
    assert_eq!(rig.outcome().level, Level::Critical);
    assert_eq!(rig.guard.status().counters.plans, 2);
}

#[test]
fn a_changed_threshold_is_taken_in_without_a_new_sample() {
    let world = World::holding(600);
    let value = Arc::new(Mutex::new((1, config(Policy::Conservative))));
    let (ring, bell) = bounded(1);
    let source = Arc::clone(&value);
    let load = move || {
        let (generation, value) = source.lock().unwrap().clone();
        Current { generation, value: Arc::new(value) }
    };
    let settings = Settings::live(load, bell);
    let rig = Rig::with(world, Caches::new(), settings, Options::default());
    rig.tick();
    assert_eq!(rig.to(), Level::Normal);
    {
        let mut value = value.lock().unwrap();
        value.0 = 2;
        value.1.pressure.thresholds.warning = 0.55;
    }
    ring.send(()).unwrap();
    match rig.event() {
        EventKind::Transition(transition) => {
            assert_eq!((transition.to, transition.generation), (Level::Warning, 2));
        }
        other => panic!("{other:?}"),
    }
    // With the maker of the settings gone the guard goes on.
    drop(ring);
    rig.world.footprint.store(960 * MIB, Ordering::SeqCst);
    while rig.events.receiver().try_recv().is_ok() {}
    rig.tick();
    while rig.guard.advice().level() != Level::Emergency {
        std::thread::yield_now();
    }
    assert_eq!(rig.guard.generation(), 2);
}

#[test]
fn growth_towards_the_budget_is_looked_at_more_closely() {
    // A machine without an end: only the budget is near.
    let interval_with = |signals: Vec<Signal>| {
        let mut config = config(Policy::Conservative);
        config.budget.total = mempressure::BudgetTotal::Size(Size::mib(1000));
        config.pressure.signals = signals;
        let world = World::holding(100);
        let rig = Rig::new(Arc::clone(&world), Caches::new(), config, Options::default());
        let free: Retouch = |sample| {
            sample.cgroup.limit = Err(Absent::Unlimited);
            (sample.system.total, sample.system.available) = (Ok(1 << 40), Ok(1 << 39));
        };
        rig.ask(free);
        // It has told of the budget before it tells of the level.
        rig.to();
        world.footprint.store(600 * MIB, Ordering::SeqCst);
        rig.ask(free);
        // The next is taken after the interval was decided on.
        rig.ask(free);
        rig.sampler.health().interval.unwrap()
    };
    assert_eq!(interval_with(vec![Signal::Budget, Signal::System]), MIN_INTERVAL);
    assert_eq!(interval_with(vec![Signal::System]), Duration::from_millis(20));
}

#[test]
fn crossing_the_prompt_threshold_is_told_once_with_a_text() {
    let world = World::holding(100);
    let mut config = config(Policy::Conservative);
    config.budget.total = mempressure::BudgetTotal::Size(Size::mib(200));
    config.pressure.auto_eviction = false;
    let rig = Rig::new(world, Caches::new(), config, Options::default());
    rig.tick();
    assert_eq!(rig.to(), Level::Normal);
    for mib in [187, 186, 190, 184, 188] {
        rig.world.footprint.store(mib * MIB, Ordering::SeqCst);
        rig.tick();
    }
    assert_eq!(rig.to(), Level::Critical);
    let EventKind::Prompt(status) = rig.event() else { panic!("no prompt") };
    assert!(
        status.prompt_text().starts_with("[memory] budget warning: 187.0 MiB of 200.0 MiB (93 %)")
    );
    while rig.guard.budget().unwrap().used_bytes != 188 * MIB {
        std::thread::yield_now();
    }
    assert_eq!(rig.guard.status().counters.prompts, 1);
    assert_eq!(rig.guard.budget().unwrap().state, mempressure::BudgetState::Warning);
}

#[test]
fn the_end_of_the_samples_is_said_and_stopping_twice_is_nothing() {
    let mut rig =
        Rig::new(World::holding(100), Caches::new(), GuardConfig::default(), Options::default());
    rig.tick();
    assert_eq!(rig.to(), Level::Normal);
    rig.feed = None;
    while rig.guard.status().sampling {
        std::thread::yield_now();
    }
    // Nobody knows how it is now.
    assert_eq!(rig.to(), Level::Unknown);
    rig.guard.stop();
    rig.guard.stop();
    assert!(!rig.guard.status().running);
    assert!(rig.events.receiver().recv().is_err());
}

#[test]
fn a_guard_that_was_stopped_in_an_emergency_holds_no_work_back() {
    let mut rig = Rig::without_caches(960);
    rig.tick();
    assert_eq!(rig.to(), Level::Emergency);
    let advice = rig.guard.advice();
    assert!(advice.scale() == 0.0 && advice.try_reserve(MIB).is_err());
    rig.guard.stop();
    assert_eq!((advice.level(), advice.scale()), (Level::Unknown, 1.0));
    assert_eq!(advice.headroom_bytes(), None);
    for _ in 0..1000 {
        advice.try_reserve(1000 * MIB).unwrap().keep();
    }
}

#[test]
fn a_deadline_beyond_all_clocks_does_not_end_the_guard() {
    let world = World::holding(960);
    let caches = Caches::new();
    let _cache = caches.register(Registration::new("cache"), honest(&world, 500));
    let options = Options { deadline: Duration::MAX, ..Options::default() };
    let rig = Rig::new(world, caches, config(Policy::Conservative), options);
    rig.tick();
    let outcome = rig.outcome();
    assert_eq!(outcome.measured_bytes, Some(outcome.claimed_bytes as i64));
    assert!(rig.guard.status().running);
}

#[test]
fn a_worker_that_a_panic_ends_is_not_taken_for_one_that_runs() {
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&broken);
    let load = move || {
        assert!(!breaks.load(Ordering::SeqCst), "settings that cannot be had");
        Current { generation: 1, value: Arc::new(config(Policy::Conservative)) }
    };
    let (_ring, bell) = bounded(1);
    let settings = Settings::live(load, bell);
    let rig = Rig::with(World::holding(960), Caches::new(), settings, Options::default());
    rig.tick();
    assert_eq!(rig.to(), Level::Emergency);
    broken.store(true, Ordering::SeqCst);
    rig.tick();
    while rig.events.receiver().recv().is_ok() {}
    while rig.guard.status().running {
        std::thread::yield_now();
    }
    assert_eq!(rig.guard.advice().level(), Level::Unknown);
    assert!(rig.guard.advice().try_reserve(MIB).is_ok());
}
