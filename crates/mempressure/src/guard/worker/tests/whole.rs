//! The worker with caches that do as they like, in a process that they fill and empty, tick by tick: what it decides over a
//! recording is what it decided live, and honest caches keep the process below its limit.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// Between two samples.
const TICK: Duration = Duration::from_millis(10);
/// What a plan takes, as far as the worker knows.
const TAKES: Duration = Duration::from_micros(100);

/// A cache as a test draws it, and how it answers.
#[derive(Clone, Debug)]
struct Drawn {
    priority: Priority,
    used: u64,
    ceiling: Option<u64>,
    /// Claims this many hundredths of what it is asked for.
    claims: u64,
    /// Frees this many hundredths of what it claims; above 100 it frees without claiming.
    frees: u64,
    /// Allocates this much while it evicts.
    allocates: u64,
}

prop_compose! {
    fn cache()(
        priority in prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]),
        used in 0..400 * MIB,
        ceiling in prop::option::weighted(0.3, 1..400 * MIB),
        claims in prop::sample::select(vec![0, 50, 100, 100, 100, 130]),
        frees in prop::sample::select(vec![0, 25, 100, 100, 100, 200]),
        allocates in prop_oneof![4 => Just(0), 1 => 0..8 * MIB],
    ) -> Drawn {
        Drawn { priority, used, ceiling, claims, frees, allocates }
    }
}

/// A process in a cgroup of 1000 MiB, most of it in caches that the worker may ask.
struct Process {
    rig: Rig,
    footprint: Arc<AtomicU64>,
    held: Vec<Arc<AtomicU64>>,
    _registered: Vec<Registered>,
    at: Duration,
    /// Every decision, in order.
    log: String,
}

impl Process {
    fn new(caches: &[Drawn], rest: u64) -> Self {
        let mut config = GuardConfig::default();
        config.budget.total = BudgetTotal::Size(Size::mib(100_000));
        let rig = Rig::new(config, options(NEVER));
        let sum: u64 = caches.iter().map(|cache| cache.used).sum();
        let footprint = Arc::new(AtomicU64::new(rest + sum));
        let held: Vec<_> = caches.iter().map(|c| Arc::new(AtomicU64::new(c.used))).collect();
        let mut registered = Vec::new();
        for (place, (drawn, held)) in caches.iter().zip(&held).enumerate() {
            let Drawn { priority, claims, frees, allocates, .. } = *drawn;
            let (used, held) = (Arc::clone(held), Arc::clone(held));
            let footprint = Arc::clone(&footprint);
            let evict = move |asked: u64| {
                let claim = asked * claims / 100;
                let freed = (claim * frees / 100).min(held.load(Ordering::SeqCst));
                for bytes in [&held, &footprint] {
                    bytes.fetch_add(allocates, Ordering::SeqCst);
                    bytes.fetch_sub(freed, Ordering::SeqCst);
                }
                claim
            };
            let ceiling = drawn.ceiling.map(Size);
            let name = format!("cache-{place}");
            let registration = Registration { priority, ceiling, ..Registration::new(name) };
            let cache = FnCache::new(move || Some(used.load(Ordering::SeqCst)), evict);
            registered.push(rig.caches.register(registration, cache));
        }
        let (at, log) = (Duration::ZERO, String::new());
        Self { rig, footprint, held, _registered: registered, at, log }
    }

    fn footprint(&self) -> u64 {
        self.footprint.load(Ordering::SeqCst)
    }

    /// The first cache takes in `fill`.
    fn fill(&self, fill: u64) {
        self.held[0].fetch_add(fill, Ordering::SeqCst);
        self.footprint.fetch_add(fill, Ordering::SeqCst);
    }

    /// A sample in which the process holds `footprint`, and all that follows from it before the next.
    fn sample(&mut self, footprint: u64) {
        let mut sample = Sample::empty(Stamp::synthetic(self.at));
        sample.cgroup.limit = Ok(1000 * MIB);
        sample.cgroup.usage = Ok(footprint);
        sample.process.rss = Ok(footprint);
        let now = self.rig.origin + self.at;
        self.rig.worker.on_sample(sample, now);
        while self.rig.worker.in_flight.is_some() {
            let mut progress = self.rig.progress.recv_timeout(NEVER).expect("no progress");
            if let Progress::Finished { at, .. } = &mut progress {
                // How long the threads really took is no decision.
                *at = now + TAKES;
            }
            self.rig.worker.on_progress(progress);
        }
        for mut kind in self.rig.told() {
            if let EventKind::Outcome(outcome) = &mut kind {
                outcome.took = Duration::ZERO;
            }
            let _ = writeln!(self.log, "{kind:?}");
        }
        self.at += TICK;
    }

    /// The most that was in use while the first cache filled by `fills`, one each tick.
    fn peak(mut self, fills: impl IntoIterator<Item = u64>) -> u64 {
        let mut peak = 0;
        for fill in fills {
            self.fill(fill);
            peak = peak.max(self.footprint());
            self.sample(self.footprint());
        }
        peak
    }
}

fn honest_and_empty() -> Process {
    let (ceiling, priority) = (None, Priority::Low);
    let cache = Drawn { priority, used: 0, ceiling, claims: 100, frees: 100, allocates: 0 };
    Process::new(&[cache], 50 * MIB)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// P12: the same samples give the same transitions, plans, asks, outcomes and names of those that claim without freeing,
    /// to the byte, from the same worker that runs live.
    #[test]
    fn p12_the_worker_decides_over_a_recording_as_it_did_live(
        caches in prop::collection::vec(cache(), 1..6),
        fill in 0..4 * MIB,
        ticks in 50..300usize,
    ) {
        let mut live = Process::new(&caches, 300 * MIB);
        let mut recorded = Vec::new();
        for _ in 0..ticks {
            live.fill(fill);
            recorded.push(live.footprint());
            live.sample(live.footprint());
        }
        let mut replay = Process::new(&caches, 300 * MIB);
        for footprint in recorded {
            replay.fill(fill);
            replay.sample(footprint);
        }
        prop_assert_eq!(&live.log, &replay.log);
        prop_assert!(!live.log.is_empty());
        prop_assert_eq!(live.rig.status().counters, replay.rig.status().counters);
    }
}

#[test]
fn an_honest_cache_keeps_a_filling_process_below_its_limit() {
    for fill in [MIB / 4, MIB, 5 * MIB] {
        let peak = honest_and_empty().peak(std::iter::repeat_n(fill, 20_000));
        assert!(peak < 1000 * MIB, "{fill} bytes a tick: {}", peak / MIB);
    }
}

/// On a busy machine a process fills its cache by fits and starts: its turn does not come, and then it catches up. That is
/// no trend, so the forecast falls silent, and between two thresholds nobody else would act.
#[test]
fn growth_that_pauses_and_catches_up_is_held_as_well() {
    let steady = std::iter::repeat_n(5 * MIB, 200);
    let fits = (0..800).map(|tick| if matches!(tick % 40, 30 | 32 | 34) { 100 * MIB } else { 0 });
    let peak = honest_and_empty().peak(steady.chain(fits));
    assert!(peak < 900 * MIB, "{}", peak / MIB);
}
