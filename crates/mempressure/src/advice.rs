//! Advice for work, not only caches: how much room there is, and how much work to take on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use memtrack::{Sample, Size};

use crate::config::{GuardConfig, Thresholds, WorkloadConfig};
use crate::level::{Level, Signal};
use crate::machine::{Rules, Status};
use crate::signal::{self, Usage};

/// What to do about memory, for code that takes on work. Clones share one state; all reads are lock-free.
#[derive(Clone, Debug)]
pub struct Advice {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    level: AtomicU8,
    /// Bits of an `f64`.
    scale: AtomicU64,
    headroom: AtomicU64,
    /// What may still be reserved.
    left: AtomicI64,
    /// What could be reserved if nothing were in use.
    most: AtomicU64,
    /// Counts samples: a permit gives back only in the interval in which it was taken.
    epoch: AtomicU64,
    workload: ArcSwap<WorkloadConfig>,
}

/// "Nobody knows" in [`Shared::headroom`] and [`Shared::most`].
const UNKNOWN: u64 = u64::MAX;

/// Why a reservation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It would not fit with nothing else in memory: retrying cannot help.
    #[error("`{wanted}` is more than the `{most}` that could ever be reserved")]
    TooLarge {
        /// What was asked for.
        wanted: Size,
        /// The whole room below the emergency threshold.
        most: Size,
    },
    /// There is too little room now: retrying helps once something has been freed.
    #[error("`{wanted}` is more than the `{left}` left before emergency")]
    NoRoom {
        /// What was asked for.
        wanted: Size,
        /// What is left below the emergency threshold, after what others have reserved.
        left: Size,
    },
}

impl Refused {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn retry_helps(&self) -> bool {
        matches!(self, Refused::NoRoom { .. })
    }
}

/// Leave to use some bytes. Dropped, it gives back what the samples do not show yet.
#[derive(Debug)]
#[must_use = "dropping the permit gives the reservation back"]
pub struct Permit {
    advice: Advice,
    bytes: u64,
    epoch: u64,
}

impl Permit {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes stay in use: the reservation stands until samples show them.
    pub fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let shared = &self.advice.shared;
        // Once a sample has come, the debit is part of what that sample carried over; it runs out by itself.
        if self.bytes > 0 && shared.epoch.load(Ordering::Acquire) == self.epoch {
            let back = |left: i64| Some(left.saturating_add(to_i64(self.bytes)));
            // The closure always gives a value; it saturates, for a sample may have lifted all limits in this very moment.
            let _ = shared.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, back);
        }
    }
}

impl Default for Advice {
    fn default() -> Self {
        Self::new(&WorkloadConfig::default())
    }
}

impl Advice {
    /// Advice that knows nothing yet: full scale, everything granted.
    #[must_use]
    pub fn new(workload: &WorkloadConfig) -> Self {
        let shared = Shared {
            level: AtomicU8::new(Level::Unknown as u8),
            scale: AtomicU64::new(1.0_f64.to_bits()),
            headroom: AtomicU64::new(UNKNOWN),
            left: AtomicI64::new(i64::MAX),
            most: AtomicU64::new(UNKNOWN),
            epoch: AtomicU64::new(0),
            workload: ArcSwap::from_pointee(workload.clone()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The level after the last sample.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.shared.level.load(Ordering::Relaxed) {
            1 => Level::Normal,
            2 => Level::Warning,
            3 => Level::Critical,
            4 => Level::Emergency,
            _ => Level::Unknown,
        }
    }

    /// Bytes before the nearest limit, of the machine or of a cgroup ancestor; `None` when that is not known, which does not
    /// mean that there is room.
    #[must_use]
    pub fn headroom_bytes(&self) -> Option<u64> {
        Some(self.shared.headroom.load(Ordering::Relaxed)).filter(|headroom| *headroom != UNKNOWN)
    }

    /// How much work to take on: 1 up to the warning threshold, falling linearly to 0 at the emergency
    /// threshold, by the tightest of the ratios. While none is known it is 1.
    #[must_use]
    pub fn scale(&self) -> f64 {
        f64::from_bits(self.shared.scale.load(Ordering::Relaxed))
    }

    /// The configured workload, scaled. Never below one worker, the smallest batch, item and time to live
    /// that may be configured; at scale 0 caching is off.
    #[must_use]
    pub fn workload(&self) -> WorkloadConfig {
        scaled(&self.shared.workload.load(), self.scale())
    }

    /// Reserves `bytes` below the emergency threshold, against the last sample and all that was reserved since.
    ///
    /// A reservation counts until a sample shows the bytes: for the rest of the interval between two samples
    /// and for the one after it. So take the permit right before allocating; [`Permit::keep`] it when the
    /// memory stays in use, drop it when it does not.
    ///
    /// # Errors
    /// [`Refused`], with the reason.
    pub fn try_reserve(&self, bytes: u64) -> Result<Permit, Refused> {
        let shared = &self.shared;
        let most = shared.most.load(Ordering::Relaxed);
        if bytes > most {
            return Err(Refused::TooLarge { wanted: Size(bytes), most: Size(most) });
        }
        let epoch = shared.epoch.load(Ordering::Acquire);
        let wanted = to_i64(bytes);
        let debit = |left: i64| left.checked_sub(wanted).filter(|left| *left >= 0);
        match shared.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, debit) {
            Ok(_) => Ok(Permit { advice: self.clone(), bytes, epoch }),
            Err(left) => {
                let left = Size(u64::try_from(left).unwrap_or(0));
                Err(Refused::NoRoom { wanted: Size(bytes), left })
            }
        }
    }

    /// Takes in a sample and what the machine made of it. The difference between what was granted at the last one and
    /// what is left of it was reserved since, and stands for one more interval.
    pub(crate) fn update(
        &self,
        config: &Arc<GuardConfig>,
        generation: u64,
        sample: &Sample,
        status: &Status,
        before: &mut Before,
    ) {
        let rules = Rules { pressure: &config.pressure, budget: &config.budget, generation };
        let shared = &self.shared;
        let room = Room::of(&rules, sample, status, &mut before.usages);
        let granted = before.granted;
        shared.level.store(status.level as u8, Ordering::Relaxed);
        shared.scale.store(room.scale.to_bits(), Ordering::Relaxed);
        before.headroom = headroom(sample, status, before.headroom);
        shared.headroom.store(before.headroom.unwrap_or(UNKNOWN), Ordering::Relaxed);
        shared.most.store(room.most, Ordering::Relaxed);
        if **shared.workload.load() != config.workload {
            shared.workload.store(Arc::new(config.workload.clone()));
        }
        let mut allowed = 0;
        let renew = |left: i64| {
            let reserved = granted.saturating_sub(left).max(0);
            allowed = to_i64(room.left);
            Some(allowed.saturating_sub(reserved))
        };
        // The closure always gives a value; with the newest epoch stored first, a permit that is dropped
        // meanwhile gives back too little rather than too much.
        shared.epoch.fetch_add(1, Ordering::AcqRel);
        let left = shared.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, renew);
        let reserved = left.map_or(0, |left| granted.saturating_sub(left).max(0));
        before.granted = allowed.saturating_sub(reserved);
    }

    /// Nobody takes samples any more: as if nothing had ever been known.
    pub(crate) fn forget(&self) {
        let shared = &self.shared;
        // First, so that permits from before give nothing back to what is without a limit from now on.
        shared.epoch.fetch_add(1, Ordering::AcqRel);
        shared.level.store(Level::Unknown as u8, Ordering::Relaxed);
        shared.scale.store(1.0_f64.to_bits(), Ordering::Relaxed);
        shared.headroom.store(UNKNOWN, Ordering::Relaxed);
        shared.most.store(UNKNOWN, Ordering::Relaxed);
        // Half, so that a permit which gives back in this very moment overflows nothing.
        shared.left.store(i64::MAX / 2, Ordering::Release);
    }
}

/// What one update of the advice leaves to the next.
#[derive(Debug)]
pub(crate) struct Before {
    /// What could be reserved after it.
    granted: i64,
    /// What each ratio read: it stands as long as the vote that was made from it.
    usages: [Option<Usage>; 3],
    headroom: Option<u64>,
}

impl Default for Before {
    fn default() -> Self {
        Self { granted: i64::MAX, usages: [None; 3], headroom: None }
    }
}

/// The least room before the nearest limit. What it was `before` stands as long as the cgroup's vote while that cannot be
/// read: the machine's room is no answer then.
fn headroom(sample: &Sample, status: &Status, before: Option<u64>) -> Option<u64> {
    let machine = sample.system.available.ok();
    let cgroup = match sample.cgroup.headroom {
        Ok(headroom) => Some(headroom),
        Err(why) if why.nothing_there() => None,
        Err(_) => Some(before.filter(|_| status.of(Signal::Cgroup).vote.is_some())?),
    };
    cgroup.into_iter().chain(machine).min()
}

/// What the ratios leave.
struct Room {
    scale: f64,
    left: u64,
    most: u64,
}

impl Room {
    fn of(
        rules: &Rules<'_>,
        sample: &Sample,
        status: &Status,
        before: &mut [Option<Usage>; 3],
    ) -> Self {
        let budget = rules.budget.thresholds();
        let thresholds = &rules.pressure.thresholds;
        let ratios: [(Signal, Option<Usage>, &Thresholds); 3] = [
            (Signal::System, signal::system(sample).ok(), thresholds),
            (Signal::Cgroup, signal::cgroup(sample).ok(), thresholds),
            (Signal::Budget, rules.budget.usage(sample).ok(), &budget),
        ];
        let mut room = Self { scale: 1.0, left: u64::MAX, most: UNKNOWN };
        for ((signal, usage, thresholds), before) in ratios.into_iter().zip(before) {
            // A reading that fails for a sample or two takes no limit away.
            *before = usage.or(*before).filter(|_| status.of(signal).vote.is_some());
            let Some(usage) = *before else { continue };
            let most = (usage.limit as f64 * thresholds.emergency) as u64;
            room.most = room.most.min(most);
            room.left = room.left.min(most.saturating_sub(usage.used));
            let span = thresholds.emergency - thresholds.warning;
            let scale = (thresholds.emergency - usage.ratio()) / span;
            // Thresholds that are not in order leave no span to fall over: then all or nothing.
            let scale =
                if span > 0.0 && scale.is_finite() { scale } else { f64::from(room.left > 0) };
            room.scale = room.scale.min(scale.clamp(0.0, 1.0));
        }
        room
    }
}

/// `workload` at `scale`, within the ranges that may be configured.
fn scaled(workload: &WorkloadConfig, scale: f64) -> WorkloadConfig {
    let count = |n: u32, least: u32| ((f64::from(n) * scale) as u32).clamp(least.min(n), n);
    let size = (workload.max_file_size.bytes() as f64 * scale) as u64;
    let least = workload.max_file_size.min(Size::kib(1));
    let shortest = workload.cache_ttl.min(std::time::Duration::from_secs(30));
    WorkloadConfig {
        parallel_workers: count(workload.parallel_workers, 1),
        batch_size: count(workload.batch_size, 10),
        max_file_size: Size(size).clamp(least, workload.max_file_size),
        cache_enabled: workload.cache_enabled && scale > 0.0,
        cache_ttl: workload.cache_ttl.mul_f64(scale).clamp(shortest, workload.cache_ttl),
    }
}

fn to_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use memtrack::Stamp;
    use proptest::prelude::*;
    use std::time::Duration;

    const MIB: u64 = 1 << 20;

    struct World {
        advice: Advice,
        machine: Machine,
        config: Arc<GuardConfig>,
        before: Before,
        second: u64,
    }

    impl World {
        fn new() -> Self {
            let advice = Advice::default();
            let config = Arc::default();
            let (machine, before) = (Machine::new(), Before::default());
            Self { advice, machine, config, before, second: 0 }
        }

        /// A sample of a cgroup with a limit of 1000 MiB.
        fn sample(&mut self, used_mib: u64) {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
            sample.cgroup.limit = Ok(1000 * MIB);
            sample.cgroup.usage = Ok(used_mib * MIB);
            sample.cgroup.headroom = Ok(1000 * MIB - used_mib * MIB);
            self.take(sample);
        }

        fn take(&mut self, mut sample: Sample) {
            self.second += 1;
            sample.at = Stamp::synthetic(Duration::from_secs(self.second));
            let config = &self.config;
            let rules = Rules { pressure: &config.pressure, budget: &config.budget, generation: 0 };
            self.machine.step(&rules, &sample);
            let status = self.machine.status();
            self.advice.update(config, 0, &sample, &status, &mut self.before);
        }
    }

    #[test]
    fn a_cgroup_that_cannot_be_read_for_a_sample_does_not_make_the_machine_the_limit() {
        let failed = Err(memtrack::Absent::Failed(5));
        let mut world = World::new();
        let budget = crate::BudgetConfig {
            total: crate::BudgetTotal::Percent(50.0),
            ..crate::BudgetConfig::default()
        };
        world.config = Arc::new(GuardConfig { budget, ..GuardConfig::default() });
        let sample = |cgroup: bool| {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
            (sample.system.total, sample.system.available) = (Ok(64_000 * MIB), Ok(60_000 * MIB));
            (sample.process.rss, sample.process.swap) = (Ok(450 * MIB), Ok(0));
            let of = |bytes| if cgroup { Ok(bytes) } else { failed };
            sample.cgroup.limit = of(1000 * MIB);
            sample.cgroup.usage = of(400 * MIB);
            sample.cgroup.headroom = of(600 * MIB);
            sample
        };
        world.take(sample(true));
        let scale = world.advice.scale();
        assert!(scale < 1.0, "450 of a budget of 500 MiB: {scale}");
        world.take(sample(false));
        assert_eq!(world.advice.headroom_bytes(), Some(600 * MIB));
        assert_eq!(world.advice.scale(), scale, "the budget is still half of the cgroup");
        for _ in 0..5 {
            world.take(sample(false));
        }
        assert_eq!(world.advice.headroom_bytes(), None, "nobody knows any more");
    }

    #[test]
    fn nothing_known_refuses_nothing() {
        let world = World::new();
        assert_eq!((world.advice.level(), world.advice.scale()), (Level::Unknown, 1.0));
        assert_eq!(world.advice.headroom_bytes(), None);
        assert!(world.advice.try_reserve(u64::MAX / 4).is_ok());
    }

    #[test]
    fn the_scale_falls_between_warning_and_emergency() {
        let mut world = World::new();
        for (used, scale) in [(100, 1.0), (700, 1.0), (825, 0.5), (950, 0.0), (999, 0.0)] {
            world.sample(used);
            assert!(
                (world.advice.scale() - scale).abs() < 1e-9,
                "{used}: {}",
                world.advice.scale()
            );
        }
        assert_eq!(world.advice.level(), Level::Emergency);
        assert_eq!(world.advice.headroom_bytes(), Some(MIB));
        let workload = world.advice.workload();
        assert_eq!((workload.parallel_workers, workload.batch_size), (1, 10));
        assert_eq!((workload.max_file_size, workload.cache_enabled), (Size::kib(1), false));
        assert_eq!(workload.cache_ttl, Duration::from_secs(30));
    }

    #[test]
    fn a_reading_that_fails_does_not_open_the_gates_while_its_vote_stands() {
        let mut world = World::new();
        world.sample(949);
        let scale = world.advice.scale();
        let blind = Sample::empty(Stamp::synthetic(Duration::ZERO));
        for _ in 0..3 {
            world.take(blind);
            assert_eq!(
                world.advice.level(),
                Level::Critical,
                "an old vote stands for three samples"
            );
            assert!((world.advice.scale() - scale).abs() < 1e-9, "{}", world.advice.scale());
            assert!(world.advice.try_reserve(2 * MIB).is_err());
        }
        world.take(blind);
        assert_eq!((world.advice.level(), world.advice.scale()), (Level::Unknown, 1.0));
    }

    #[test]
    fn a_burst_between_samples_is_refused() {
        let mut world = World::new();
        world.sample(900);
        let held = world.advice.try_reserve(40 * MIB).unwrap();
        let refused = world.advice.try_reserve(20 * MIB).unwrap_err();
        assert_eq!(refused, Refused::NoRoom { wanted: Size::mib(20), left: Size::mib(10) });
        assert!(refused.retry_helps());
        drop(held);
        world.advice.try_reserve(50 * MIB).unwrap().keep();
        assert!(world.advice.try_reserve(1).is_err());
    }

    #[test]
    fn a_reservation_stands_until_samples_have_had_time_to_show_it() {
        let mut world = World::new();
        world.sample(900);
        world.advice.try_reserve(40 * MIB).unwrap().keep();
        world.sample(900);
        assert!(world.advice.try_reserve(20 * MIB).is_err(), "not shown yet");
        world.sample(900);
        assert!(world.advice.try_reserve(50 * MIB).is_ok(), "it was not used after all");
    }

    #[test]
    fn what_was_given_back_late_is_not_counted_twice() {
        let mut world = World::new();
        world.sample(900);
        let held = world.advice.try_reserve(40 * MIB).unwrap();
        world.sample(940);
        world.sample(940);
        world.sample(940);
        drop(held);
        assert!(world.advice.try_reserve(11 * MIB).is_err());
    }

    #[test]
    fn what_can_never_fit_is_told_apart() {
        let mut world = World::new();
        world.sample(100);
        let refused = world.advice.try_reserve(951 * MIB).unwrap_err();
        assert!(!refused.retry_helps(), "{refused}");
    }

    #[test]
    fn many_threads_together_get_no_more_than_there_is() {
        let mut world = World::new();
        world.sample(900);
        let granted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if let Ok(permit) = world.advice.try_reserve(MIB) {
                            permit.keep();
                            granted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(granted.into_inner(), 50, "from 900 to 0.95 of 1000 MiB");
    }

    /// What a plain ledger would say: two columns, of this interval and of the one before.
    #[derive(Clone, Copy, Debug)]
    enum Move {
        Sample(u64),
        Reserve(u64),
        /// Drops the permit at this place among those that are held.
        Drop(prop::sample::Index),
    }

    fn moves() -> impl Strategy<Value = Move> {
        prop_oneof![
            1 => (0..1000u64).prop_map(Move::Sample),
            3 => (0..200u64).prop_map(Move::Reserve),
            1 => any::<prop::sample::Index>().prop_map(Move::Drop),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The scale is that of the last reading for as long as its vote stands: three samples.
        #[test]
        fn the_scale_follows_the_last_reading_as_long_as_its_vote_stands(
            readings in prop::collection::vec(prop::option::weighted(0.6, 0..1000u64), 1..60),
        ) {
            let mut world = World::new();
            for (i, reading) in readings.iter().enumerate() {
                match reading {
                    Some(used) => world.sample(*used),
                    None => world.take(Sample::empty(Stamp::synthetic(Duration::ZERO))),
                }
                let heard = readings[..=i].iter().rev().take(4).find_map(|reading| *reading);
                let scale = heard.map_or(1.0, |used| (950.0 - used as f64) / 250.0).clamp(0.0, 1.0);
                prop_assert!((world.advice.scale() - scale).abs() < 1e-9);
                let room = heard.map_or(u64::MAX / 4, |used| 950u64.saturating_sub(used) * MIB);
                prop_assert!(world.advice.try_reserve(room).is_ok());
                prop_assert_eq!(world.advice.try_reserve(room + 1).is_ok(), heard.is_none());
            }
        }

        #[test]
        fn reservations_are_granted_as_a_plain_ledger_would(moves in prop::collection::vec(moves(), 1..80)) {
            let mut world = World::new();
            world.sample(0);
            let (mut room, mut before, mut now, mut interval) = (950_i64, 0_i64, 0_i64, 0);
            let mut held: Vec<(Permit, i64, i32)> = Vec::new();
            for step in moves {
                match step {
                    Move::Sample(used) => {
                        world.sample(used);
                        room = (950 - used as i64).max(0);
                        (before, now, interval) = (now, 0, interval + 1);
                    }
                    Move::Reserve(mib) => {
                        let permit = world.advice.try_reserve(mib * MIB);
                        let mib = mib as i64;
                        prop_assert_eq!(permit.is_ok(), room - before - now >= mib, "{} {} {}", room, before, now);
                        if let Ok(permit) = permit {
                            now += mib;
                            held.push((permit, mib, interval));
                        }
                    }
                    Move::Drop(at) if !held.is_empty() => {
                        let (permit, mib, of) = held.swap_remove(at.index(held.len()));
                        drop(permit);
                        now -= if of == interval { mib } else { 0 };
                    }
                    Move::Drop(_) => {}
                }
            }
        }
    }
}
