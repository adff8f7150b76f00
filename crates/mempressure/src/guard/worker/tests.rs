//! The worker step by step, at times that the test says: nothing here waits for a clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crossbeam_channel::{bounded, unbounded};
use memtrack::sampler::Sampler;
use memtrack::testing::Script;
use memtrack::{Size, TrackConfig};

use super::*;
use crate::cache::{Caches, FnCache, Registered, Registration};
use crate::config::{BudgetTotal, Policy, Priority};
use crate::event::Events;
use crate::evict::{Ended, Outcome};

mod whole;

const MIB: u64 = 1 << 20;
/// Nobody waits this long for anything that happens.
const NEVER: Duration = Duration::from_secs(60);

struct Rig {
    worker: Worker,
    progress: Receiver<Progress>,
    events: Events,
    caches: Caches,
    shared: Arc<Shared>,
    /// Time 0 of the samples. The threads live in real time, which stays close to it.
    origin: Instant,
}

impl Rig {
    fn new(config: GuardConfig, options: Options) -> Self {
        Self::with(Settings::fixed(config), options)
    }

    fn with(settings: Settings<GuardConfig>, options: Options) -> Self {
        let caches = Caches::new();
        let shared = Arc::new(Shared::new(caches.clone(), &settings.load()));
        let events = shared.hub.subscribe();
        let sampler = Sampler::new(Script::of([]), Settings::fixed(TrackConfig::default()));
        let (report, progress) = unbounded();
        let options = Options { service_manager: false, ..options };
        let newest = sampler.newest();
        let worker = Worker::new(Arc::clone(&shared), newest, settings, options, report).unwrap();
        Self { worker, progress, events, caches, shared, origin: Instant::now() }
    }

    /// A sample of a process of `mib` in a cgroup of 1000 MiB.
    fn sample(&mut self, second: u64, mib: u64) {
        self.take(second, |sample| {
            sample.cgroup.usage = Ok(mib * MIB);
            sample.process.rss = Ok(mib * MIB);
        });
    }

    fn take(&mut self, second: u64, retouch: impl FnOnce(&mut Sample)) {
        let at = Duration::from_secs(second);
        let mut sample = Sample::empty(Stamp::synthetic(at));
        sample.cgroup.limit = Ok(1000 * MIB);
        retouch(&mut sample);
        self.worker.on_sample(sample, self.origin + at);
    }

    /// What the eviction thread says next.
    fn hear(&mut self) {
        let progress = self.progress.recv_timeout(NEVER).expect("the eviction thread is silent");
        self.worker.on_progress(progress);
    }

    /// Until the plan has ended.
    fn settle(&mut self) {
        while self.worker.in_flight.is_some() {
            self.hear();
        }
    }

    fn level(&self) -> Level {
        self.shared.advice.level()
    }

    fn status(&self) -> crate::guard::GuardStatus {
        lock(&self.shared.status).clone()
    }

    fn told(&self) -> Vec<EventKind> {
        self.events.receiver().try_iter().map(|event| event.kind).collect()
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome =
            |kind| if let EventKind::Outcome(outcome) = kind { Some(outcome) } else { None };
        self.told().into_iter().filter_map(outcome).collect()
    }

    /// The call under way has taken this long, as far as the worker knows.
    fn look_after(&mut self, taken: Duration) {
        self.progress.try_iter().for_each(|progress| self.worker.on_progress(progress));
        self.worker.look_after(Instant::now() + taken);
    }
}

/// Of the signals the cgroup alone, so that nothing but the ratio decides.
fn config() -> GuardConfig {
    let mut config = GuardConfig::default();
    config.pressure.signals = vec![Signal::Cgroup];
    config.budget.total = BudgetTotal::Size(Size::mib(100_000));
    config
}

fn options(deadline: Duration) -> Options {
    Options { deadline, trim: None, ..Options::default() }
}

/// Honest, and holds what the test says.
fn honest(held: &Arc<AtomicU64>) -> impl crate::Cache + use<> {
    let (used, held) = (Arc::clone(held), Arc::clone(held));
    FnCache::new(
        move || Some(used.load(Ordering::SeqCst)),
        move |target| {
            let freed = target.min(held.load(Ordering::SeqCst));
            held.fetch_sub(freed, Ordering::SeqCst);
            freed
        },
    )
}

fn holding(mib: u64) -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(mib * MIB))
}

fn register(rig: &Rig, name: &str, cache: impl crate::Cache + 'static) -> Registered {
    rig.caches.register(Registration::new(name), cache)
}

#[test]
fn samples_further_apart_than_the_deadline_still_show_what_left() {
    let mut rig = Rig::new(config(), options(Duration::from_secs(2)));
    let _cache = register(&rig, "cache", honest(&holding(500)));
    rig.sample(0, 500);
    rig.sample(60, 960);
    rig.settle();
    assert_eq!(rig.status().counters.plans, 1);
    // Long after the deadline, and the next sample is not due yet.
    rig.worker.look_after(rig.origin + Duration::from_secs(110));
    assert!(rig.outcomes().is_empty(), "given up before a sample could come");
    rig.sample(120, 880);
    assert_eq!(rig.outcomes()[0].measured_bytes, Some(80 * MIB as i64));
    assert_eq!(rig.status().counters.unmeasured, 0);
}

#[test]
fn a_plan_after_which_no_sample_comes_is_not_waited_for_without_end() {
    let mut rig = Rig::new(config(), options(Duration::from_secs(2)));
    let _cache = register(&rig, "cache", honest(&holding(500)));
    rig.sample(0, 500);
    rig.sample(5, 960);
    rig.settle();
    rig.worker.look_after(rig.origin + Duration::from_secs(3600));
    assert_eq!(rig.outcomes()[0].measured_bytes, None);
    assert_eq!(rig.status().counters.unmeasured, 1);
}

#[test]
fn what_was_seen_before_the_samples_stopped_does_not_stand_for_ever() {
    let mut rig = Rig::new(config(), options(Duration::from_secs(2)));
    rig.sample(0, 960);
    rig.sample(5, 960);
    assert_eq!((rig.level(), rig.shared.advice.scale()), (Level::Emergency, 0.0));
    let after = |rig: &mut Rig, second| {
        rig.worker.look_after(rig.origin + Duration::from_secs(second));
        (rig.status().sampling, rig.level())
    };
    assert_eq!(after(&mut rig, 19), (true, Level::Emergency), "three intervals are waited for");
    // As with readings that fail, votes stand three times.
    assert_eq!(after(&mut rig, 20), (false, Level::Emergency));
    assert!(rig.status().machine.of(Signal::Cgroup).stale);
    assert!(rig.shared.advice.try_reserve(MIB).is_err());
    assert_eq!(after(&mut rig, 35), (false, Level::Emergency));
    assert_eq!(after(&mut rig, 50), (false, Level::Emergency));
    assert_eq!(after(&mut rig, 65), (false, Level::Unknown));
    assert_eq!(rig.shared.advice.scale(), 1.0);
    assert!(rig.shared.advice.try_reserve(100 * MIB).is_ok());
    assert_eq!(rig.worker.silent_at, None, "there is nothing left to expire");
    rig.worker.in_flight = None;
    rig.sample(3600, 960);
    assert_eq!((rig.status().sampling, rig.level()), (true, Level::Emergency));
}

#[test]
fn nobody_evicts_by_what_was_seen_before_the_samples_stopped() {
    let mut rig = Rig::new(config(), options(Duration::from_secs(2)));
    rig.sample(0, 500);
    rig.sample(5, 960);
    rig.settle();
    let _cache = register(&rig, "cache", honest(&holding(500)));
    for second in [20, 35, 50, 65] {
        rig.worker.look_after(rig.origin + Duration::from_secs(second));
        assert!(rig.worker.in_flight.is_none());
    }
    // A changed configuration and a notice look at the last sample again, which is none.
    rig.worker.step(&rig.worker.sample.unwrap());
    assert!(rig.worker.in_flight.is_none());
    assert_eq!(rig.level(), Level::Unknown);
}

#[test]
fn the_cooldown_of_an_emergency_does_not_hold_back_a_later_rise() {
    let mut config = config();
    config.pressure.cooldown = Duration::from_secs(3600);
    let mut rig = Rig::new(config, options(NEVER));
    let _cache = register(&rig, "cache", honest(&holding(900)));
    rig.sample(0, 960);
    rig.settle();
    for second in [1, 12, 23, 34, 45, 56] {
        rig.sample(second, 300);
    }
    assert_eq!(rig.level(), Level::Normal);
    rig.sample(300, 850);
    assert_eq!(rig.worker.in_flight.as_ref().map(InFlight::level), Some(Level::Critical));
    rig.settle();
    // At one level the cooldown holds.
    rig.sample(310, 850);
    assert_eq!(rig.status().waiting, Some(crate::plan::Wait::Cooldown));
    rig.sample(320, 960);
    assert_eq!(rig.worker.in_flight.as_ref().map(InFlight::level), Some(Level::Emergency));
}

#[test]
fn ceilings_are_kept_under_pressure_and_while_it_cools_down() {
    let mut config = config();
    config.pressure.cooldown = Duration::from_secs(3600);
    let mut rig = Rig::new(config, options(NEVER));
    let (capped, free) = (holding(130), holding(500));
    let ceiling = Some(Size::mib(100));
    let registration =
        Registration { ceiling, priority: Priority::High, ..Registration::new("capped") };
    let _capped = rig.caches.register(registration, honest(&capped));
    let _free = register(&rig, "free", honest(&free));
    let held = |cache: &AtomicU64| cache.load(Ordering::SeqCst) / MIB;
    rig.sample(0, 710);
    rig.settle();
    assert_eq!((rig.level(), held(&capped)), (Level::Warning, 100));
    // Still under pressure.
    let before = held(&free);
    capped.store(140 * MIB, Ordering::SeqCst);
    rig.sample(5, 710);
    rig.settle();
    assert_eq!((rig.level(), held(&capped), held(&free)), (Level::Warning, 100, before));
    assert_eq!(rig.status().waiting, Some(crate::plan::Wait::Cooldown));
    // Calm, and the plan for the pressure still cools down.
    rig.sample(10, 300);
    rig.sample(21, 300);
    assert_eq!(rig.level(), Level::Normal);
    rig.settle();
    capped.store(150 * MIB, Ordering::SeqCst);
    rig.sample(30, 300);
    rig.settle();
    assert_eq!((rig.level(), held(&capped), held(&free)), (Level::Normal, 100, before));
}

#[test]
fn ceilings_are_kept_in_an_emergency_in_which_the_caches_can_do_little() {
    let mut config = config();
    config.pressure.cooldown = Duration::from_secs(3600);
    let mut rig = Rig::new(config, options(NEVER));
    let capped = holding(3);
    let registration = Registration { ceiling: Some(Size::mib(1)), ..Registration::new("capped") };
    let _capped = rig.caches.register(registration, honest(&capped));
    rig.sample(0, 990);
    rig.settle();
    assert_eq!(capped.swap(3 * MIB, Ordering::SeqCst), 0);
    // 3 MiB of the 110 that are needed are not worth breaking the cooldown for; the ceiling is no matter of that.
    rig.sample(5, 990);
    rig.settle();
    assert_eq!((rig.level(), capped.load(Ordering::SeqCst)), (Level::Emergency, MIB));
    let levels: Vec<_> = {
        rig.sample(10, 990);
        rig.outcomes().iter().map(|o| o.level).collect()
    };
    assert_eq!(levels, [Level::Emergency, Level::Normal]);
}

#[test]
fn caches_that_hang_before_the_first_is_asked_do_not_add_up() {
    let mut rig = Rig::new(config(), options(NEVER));
    let (release, hold) = bounded::<()>(0);
    let (enter, entered) = unbounded();
    let stuck = |name: &str| {
        let (hold, enter) = (hold.clone(), enter.clone());
        let used = move || {
            let _ = enter.send(());
            let _ = hold.recv();
            Some(MIB)
        };
        register(&rig, name, FnCache::new(used, |_| 0))
    };
    let _stuck: Vec<_> = (0..10).map(|i| stuck(&i.to_string())).collect();
    let _good = register(&rig, "good", honest(&holding(500)));
    rig.sample(0, 500);
    rig.sample(60, 960);
    for _ in 0..10 {
        entered.recv_timeout(NEVER).unwrap();
        rig.look_after(Duration::from_millis(50));
    }
    rig.settle();
    assert_eq!(rig.status().counters.hangs, 10);
    rig.sample(120, 880);
    let outcome = rig.outcomes().remove(0);
    let good = outcome.caches.last().unwrap();
    assert_eq!((good.name.as_str(), good.ended), ("good", Ended::Returned));
    assert_eq!((good.claimed_bytes, outcome.claimed_bytes / MIB), (outcome.target_bytes, 80));
    drop(release);
}

#[test]
fn an_emergency_does_not_wait_for_a_callback_of_a_lesser_plan() {
    let mut rig = Rig::new(config(), options(NEVER));
    let (release, hold) = bounded::<()>(0);
    let (enter, entered) = unbounded();
    let evict = move |target| {
        let _ = enter.send(());
        let _ = hold.recv();
        target
    };
    let low = Registration { priority: Priority::Low, ..Registration::new("slow") };
    let _slow = rig.caches.register(low, FnCache::new(|| Some(20 * MIB), evict));
    let _good = register(&rig, "good", honest(&holding(500)));
    rig.sample(0, 500);
    rig.sample(60, 810);
    entered.recv_timeout(NEVER).unwrap();
    rig.look_after(Duration::from_secs(10));
    assert_eq!(rig.status().counters.hangs, 0, "it has a minute");
    rig.sample(61, 960);
    rig.look_after(Duration::from_secs(10));
    assert_eq!(rig.status().counters.hangs, 1);
    rig.settle();
    rig.sample(120, 960);
    assert_eq!(rig.worker.in_flight.as_ref().map(InFlight::level), Some(Level::Emergency));
    rig.settle();
    rig.sample(180, 880);
    let outcomes = rig.outcomes();
    let asked = |outcome: &Outcome| -> Vec<_> {
        let caches = outcome.caches.iter();
        caches.map(|cache| (cache.name.clone(), cache.asked_bytes / MIB, cache.ended)).collect()
    };
    // To 0.73 of 1000 MiB; what it was asked for is said of the one that hangs as well, and it is not asked twice.
    assert_eq!(
        asked(&outcomes[0]),
        [("slow".into(), 20, Ended::Hung), ("good".into(), 80, Ended::Returned)]
    );
    assert_eq!(asked(&outcomes[1]), [("good".into(), 80, Ended::Returned)]);
    assert_eq!(rig.status().counters.asked_bytes / MIB, 20 + 80 + 80);
    drop(release);
}

#[test]
fn a_cache_that_only_claims_is_not_asked_again_when_another_hangs() {
    let mut rig = Rig::new(config(), options(NEVER));
    let (release, hold) = bounded::<()>(0);
    let (enter, entered) = unbounded();
    let hangs = move |target| {
        let _ = enter.send(());
        let _ = hold.recv();
        target
    };
    // It says that it frees, and goes on holding: what the plan is short of, it could be asked for again and again.
    let claims = FnCache::new(|| Some(30 * MIB), |target| target);
    let low = |name: &str| Registration { priority: Priority::Low, ..Registration::new(name) };
    let _claims = rig.caches.register(low("claims"), claims);
    let _hangs = rig.caches.register(low("hangs"), FnCache::new(|| Some(20 * MIB), hangs));
    rig.sample(0, 500);
    rig.sample(60, 960);
    entered.recv_timeout(NEVER).unwrap();
    rig.look_after(NEVER * 2);
    rig.settle();
    rig.sample(120, 960);
    let names: Vec<_> =
        rig.outcomes().remove(0).caches.into_iter().map(|cache| cache.name).collect();
    assert_eq!(names, ["claims", "hangs"]);
    drop(release);
}

#[test]
fn a_trim_that_hangs_takes_one_thread_and_not_one_for_each_plan() {
    let (release, hold) = bounded::<()>(0);
    let (enter, entered) = unbounded();
    let trim: crate::evict::Trim = Arc::new(move || {
        let _ = enter.send(());
        let _ = hold.recv();
    });
    let mut config = config();
    config.pressure.cooldown = Duration::ZERO;
    let mut rig = Rig::new(config, Options { trim: Some(trim), ..options(NEVER) });
    let _cache = register(&rig, "cache", honest(&holding(500)));
    rig.sample(0, 500);
    rig.sample(60, 810);
    entered.recv_timeout(NEVER).unwrap();
    rig.look_after(NEVER);
    rig.settle();
    assert_eq!(rig.status().counters.hangs, 1);
    rig.sample(120, 810);
    assert!(rig.worker.in_flight.is_some());
    rig.settle();
    assert!(entered.is_empty(), "nobody is sent after the one that hangs");
    assert_eq!((rig.status().counters.hangs, rig.status().counters.plans), (1, 2));
    // It came back: the next plan trims again.
    let trimmer = Arc::clone(rig.worker.trim.as_ref().unwrap());
    drop(release);
    while trimmer.hangs() {
        std::thread::yield_now();
    }
    rig.sample(180, 810);
    entered.recv_timeout(NEVER).unwrap();
    rig.settle();
}

#[test]
fn panics_beside_the_evicting_are_counted_as_well() {
    let trim: crate::evict::Trim = Arc::new(|| panic!("a bug in the trimming"));
    let mut rig = Rig::new(config(), Options { trim: Some(trim), ..options(NEVER) });
    let used = || -> Option<u64> { panic!("a bug in the cache") };
    let _bad = register(&rig, "bad", FnCache::new(used, |_| 0));
    let _good = register(&rig, "good", honest(&holding(500)));
    rig.sample(0, 500);
    rig.sample(60, 810);
    rig.settle();
    assert_eq!((rig.status().counters.panics, rig.status().counters.plans), (2, 1));
}

/// Says where it was dropped, and panics there if it is told to.
struct Dropped {
    panics: Arc<AtomicBool>,
    on: Arc<Mutex<Option<String>>>,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        *self.on.lock().unwrap() = Some(name);
        assert!(!self.panics.load(Ordering::SeqCst), "a bug in the cache");
    }
}

fn dropping() -> (Dropped, Arc<AtomicBool>, Arc<Mutex<Option<String>>>) {
    let (panics, on) = (Arc::default(), Arc::default());
    (Dropped { panics: Arc::clone(&panics), on: Arc::clone(&on) }, panics, on)
}

#[test]
fn a_cache_deregistered_while_its_plan_is_measured_is_dropped_by_its_owner() {
    let mut rig = Rig::new(config(), options(NEVER));
    let (dropped, _, on) = dropping();
    let cache = FnCache::new(
        || Some(500 * MIB),
        move |target| {
            let _ = &dropped;
            target
        },
    );
    let cache = register(&rig, "cache", cache);
    rig.sample(0, 500);
    rig.sample(60, 960);
    rig.settle();
    assert!(rig.worker.measuring.is_some());
    drop(cache);
    assert_eq!(on.lock().unwrap().as_deref(), std::thread::current().name());
    rig.sample(120, 960);
    assert_eq!(rig.outcomes()[0].caches[0].name, "cache");
}

#[test]
fn a_cache_that_panics_when_dropped_under_its_own_eviction_does_not_keep_the_plan_in_flight() {
    let mut rig = Rig::new(config(), options(NEVER));
    let (dropped, panics, on) = dropping();
    panics.store(true, Ordering::SeqCst);
    let (enter, entered) = unbounded();
    let (release, hold) = bounded::<()>(0);
    let evict = move |target| {
        let _ = (&dropped, enter.send(()), hold.recv());
        target
    };
    let cache = register(&rig, "cache", FnCache::new(|| Some(500 * MIB), evict));
    let _other = register(&rig, "other", honest(&holding(1)));
    rig.sample(0, 500);
    rig.sample(60, 960);
    entered.recv_timeout(NEVER).unwrap();
    drop(cache);
    drop(release);
    rig.settle();
    assert_eq!(on.lock().unwrap().as_deref(), Some("mempressure-evict"));
    rig.sample(120, 960);
    assert_eq!(rig.outcomes().len(), 1);
    assert_eq!(rig.status().counters.panics, 1);
}

/// What a panic carries, and panics itself when it is dropped: no `catch_unwind` holds that.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a panic that panics");
    }
}

#[test]
fn an_eviction_thread_that_ends_does_not_keep_its_plan_in_flight() {
    let mut rig = Rig::new(config(), options(NEVER));
    let evict = |_| -> u64 { std::panic::resume_unwind(Box::new(Bomb)) };
    let bad = register(&rig, "bad", FnCache::new(|| Some(500 * MIB), evict));
    rig.sample(0, 500);
    rig.sample(60, 960);
    let began = Instant::now();
    while rig.worker.in_flight.is_some() {
        assert!(began.elapsed() < NEVER, "the plan is still in flight");
        rig.look_after(Duration::ZERO);
        std::thread::yield_now();
    }
    drop(bad);
    let _good = register(&rig, "good", honest(&holding(500)));
    rig.sample(120, 960);
    rig.settle();
    assert_eq!((rig.status().counters.hangs, rig.status().counters.plans), (1, 1));
}

#[test]
fn settings_that_come_with_a_sample_are_counted_as_a_reload() {
    let value = Arc::new(AtomicU64::new(1));
    let generation = Arc::clone(&value);
    let (_ring, bell) = bounded(1);
    let load = move || Current {
        generation: generation.load(Ordering::SeqCst),
        value: Arc::new(config()),
    };
    let mut rig = Rig::with(Settings::live(load, bell), options(NEVER));
    rig.sample(0, 500);
    value.store(2, Ordering::SeqCst);
    rig.sample(60, 500);
    // The bell rings for the same change.
    rig.worker.on_change();
    assert_eq!(rig.status().counters.reloads, 1);
}

#[test]
fn the_prompt_is_told_once_for_a_crossing_whatever_cannot_be_read() {
    for signals in [vec![Signal::Cgroup, Signal::Budget], vec![Signal::Cgroup]] {
        let mut config = config();
        config.budget.total = BudgetTotal::Size(Size::mib(200));
        config.pressure.policy = Policy::Conservative;
        config.pressure.signals = signals;
        let mut rig = Rig::new(config, options(NEVER));
        rig.sample(0, 100);
        rig.sample(1, 190);
        // Long enough for any vote to expire.
        for second in 2..10 {
            rig.take(second, |sample| sample.cgroup.usage = Ok(190 * MIB));
        }
        rig.sample(10, 190);
        rig.sample(11, 185);
        let prompts = |rig: &Rig| {
            rig.told().iter().filter(|kind| matches!(kind, EventKind::Prompt(_))).count()
        };
        assert_eq!((prompts(&rig), rig.status().counters.prompts), (1, 1));
        // Below the band it was left, and is crossed again.
        rig.sample(12, 100);
        rig.sample(13, 190);
        assert_eq!(prompts(&rig), 1);
    }
}

#[test]
fn settings_that_nothing_can_be_decided_by_leave_those_before_in_force() {
    let mut bad = config();
    bad.pressure.thresholds.warning = f64::NAN;
    let configs = [config(), bad].map(Arc::new);
    let newest = Arc::new(AtomicU64::new(0));
    let shown = Arc::clone(&newest);
    let load = move || {
        let generation = shown.load(Ordering::SeqCst);
        let value = Arc::clone(&configs[generation as usize % 2]);
        Current { generation, value }
    };
    let mut rig = Rig::with(Settings::live(load, never()), options(NEVER));
    rig.sample(0, 100);
    newest.store(1, Ordering::SeqCst);
    rig.sample(1, 750);
    assert_eq!(rig.level(), Level::Warning, "by the threshold before");
    rig.sample(2, 750);
    let counters = rig.status().counters;
    assert_eq!((counters.reloads, counters.refused_reloads), (0, 1));
    assert_eq!(rig.shared.generation.load(Ordering::SeqCst), 0);
    newest.store(2, Ordering::SeqCst);
    rig.sample(3, 750);
    let counters = rig.status().counters;
    assert_eq!((counters.reloads, counters.refused_reloads), (1, 1));
}
