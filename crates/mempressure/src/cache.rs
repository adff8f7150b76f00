//! What can give memory back: caches, how they are registered, and how each of them is doing.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use memtrack::Size;
use memtrack::component::Gauge;

use crate::config::Priority;
use crate::level::Level;

/// Below this share of its own claims in measured bytes, a cache claims without effect.
const EFFECTIVE: f64 = 0.25;
/// A cache is judged by at least so many plans, over at least so long. What one plan frees is measured against
/// everything else that the process does meanwhile, which under fast growth is as much; over a trial it evens out.
const TRIAL_PLANS: u32 = 3;
const TRIAL_TIME: Duration = Duration::from_secs(1);
/// How long a cache is first backed off; each further time twice as long, up to [`MAX_BACK_OFF`].
const FIRST_BACK_OFF: Duration = Duration::from_secs(30);
const MAX_BACK_OFF: Duration = Duration::from_secs(600);

/// Anything that can give memory back.
///
/// The guard calls both on its eviction thread, one call at a time; `used` is called as well on the thread of whoever
/// asks how a cache is doing ([`Caches::status`]), beside whatever call is under way. A panic in them is caught; a call
/// of the guard's that does not return in time is left behind, and the cache is not called again until it returns.
pub trait Cache: Send + Sync {
    /// Bytes held now; `None` while nobody knows, and then the estimate of the registration stands in.
    ///
    /// It should not wait: a plan asks all caches before it calls the first, so one that waits for the lock of a busy
    /// cache here holds up all of them. After 50 ms it is left behind and the plan goes on without this cache. Keep the
    /// figure in an atomic.
    fn used(&self) -> Option<u64>;

    /// Frees about `target` bytes and returns how many were freed as far as the cache can tell.
    fn evict(&self, target: u64) -> u64;
}

impl<C: Cache + ?Sized> Cache for Arc<C> {
    fn used(&self) -> Option<u64> {
        (**self).used()
    }

    fn evict(&self, target: u64) -> u64 {
        (**self).evict(target)
    }
}

/// A cache made of two closures.
pub struct FnCache<U, E> {
    used: U,
    evict: E,
}

impl<U, E> FnCache<U, E>
where
    U: Fn() -> Option<u64> + Send + Sync,
    E: Fn(u64) -> u64 + Send + Sync,
{
    /// `used` and `evict` as in [`Cache`].
    pub fn new(used: U, evict: E) -> Self {
        Self { used, evict }
    }
}

/// A cache that keeps a gauge of `memtrack` up to date; `evict` as in [`Cache`].
pub fn gauge_cache(gauge: Gauge, evict: impl Fn(u64) -> u64 + Send + Sync) -> impl Cache {
    FnCache::new(move || Some(gauge.get()), evict)
}

impl<U, E> Cache for FnCache<U, E>
where
    U: Fn() -> Option<u64> + Send + Sync,
    E: Fn(u64) -> u64 + Send + Sync,
{
    fn used(&self) -> Option<u64> {
        (self.used)()
    }

    fn evict(&self, target: u64) -> u64 {
        (self.evict)(target)
    }
}

impl<U, E> fmt::Debug for FnCache<U, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnCache").finish_non_exhaustive()
    }
}

/// How a cache wants to be treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// Its name, in outcomes and status. Two caches may share one, at the cost of telling them apart.
    pub name: String,
    /// How much it is worth keeping.
    pub priority: Priority,
    /// What it may hold at most, pressure or not. Looked at once a second, or with each sample where those come less
    /// often, as long as [`auto_eviction`](crate::PressureConfig::auto_eviction) is on.
    pub ceiling: Option<Size>,
    /// What it holds as long as [`Cache::used`] does not say; unset, that of the `[project]` section.
    pub estimate: Option<Size>,
}

impl Registration {
    /// Normal priority, no ceiling, the configured estimate.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// The caches of a program. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Caches {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    entries: Mutex<Vec<Arc<Entry>>>,
    /// The level under which hits and misses are counted.
    level: AtomicU8,
}

impl Caches {
    /// No caches yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers `cache` until the handle is dropped. It is dropped with the handle, or on the eviction thread where it
    /// is being asked just then.
    pub fn register(&self, registration: Registration, cache: impl Cache + 'static) -> Registered {
        let record = Arc::new(Record {
            registration,
            counts: Counts::default(),
            surveyed: AtomicU64::new(0),
            hung: AtomicBool::new(false),
            conduct: Mutex::new(Conduct::default()),
        });
        let entry = Arc::new(Entry { record, cache: Box::new(cache) });
        lock(&self.shared.entries).push(Arc::clone(&entry));
        Registered { entry, shared: Arc::clone(&self.shared) }
    }

    /// How each cache is doing, in the order of registration. Calls [`Cache::used`] on this thread, except that of a
    /// cache that hangs: there the figure of the last plan stands in.
    #[must_use]
    pub fn status(&self) -> Vec<CacheStatus> {
        self.entries().iter().map(|entry| entry.status()).collect()
    }

    /// As [`Caches::status`], with what each cache held at the last plan: calls nobody's code.
    pub(crate) fn surveyed(&self) -> Vec<CacheStatus> {
        // The records alone: the last to hold an entry drops the caller's cache.
        let known = |entry: &Arc<Entry>| Arc::clone(&entry.record);
        let records: Vec<_> = lock(&self.shared.entries).iter().map(known).collect();
        records.iter().map(|record| record.status(record.surveyed())).collect()
    }

    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        lock(&self.shared.entries).clone()
    }

    pub(crate) fn any_ceiling(&self) -> bool {
        lock(&self.shared.entries).iter().any(|entry| entry.record.registration.ceiling.is_some())
    }

    pub(crate) fn set_level(&self, level: Level) {
        self.shared.level.store(level as u8, Ordering::Relaxed);
    }
}

/// A registered cache. Dropping it deregisters the cache; a call that is under way ends first or is left behind.
#[derive(Debug)]
#[must_use = "dropping the handle deregisters the cache"]
pub struct Registered {
    entry: Arc<Entry>,
    shared: Arc<Shared>,
}

impl Registered {
    /// Counts a hit, under the present level. Lock-free.
    pub fn hit(&self) {
        self.count(&self.entry.record.counts.hits);
    }

    /// Counts a miss, under the present level. Lock-free.
    pub fn miss(&self) {
        self.count(&self.entry.record.counts.misses);
    }

    fn count(&self, by_level: &[AtomicU64; 5]) {
        let level = usize::from(self.shared.level.load(Ordering::Relaxed));
        if let Some(count) = by_level.get(level) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How it is doing. Calls [`Cache::used`] on this thread, unless a call to the cache hangs.
    #[must_use]
    pub fn status(&self) -> CacheStatus {
        self.entry.status()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.shared.entries).retain(|entry| !Arc::ptr_eq(entry, &self.entry));
    }
}

/// Hits and misses under one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lookups {
    /// Found.
    pub hits: u64,
    /// Not found.
    pub misses: u64,
}

impl Lookups {
    /// Hits over lookups; `None` when nothing was looked up.
    #[must_use]
    pub fn hit_ratio(&self) -> Option<f64> {
        let all = self.hits.saturating_add(self.misses);
        (all > 0).then(|| self.hits as f64 / all as f64)
    }
}

/// How one cache is doing. Counters never go back.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CacheStatus {
    /// Its name.
    pub name: String,
    /// How much it is worth keeping.
    pub priority: Priority,
    /// Bytes it holds, where it says.
    pub used_bytes: Option<u64>,
    /// Bytes it may hold at most.
    pub ceiling_bytes: Option<u64>,
    /// Lookups by level: unknown, normal, warning, critical, emergency. So the price of eviction can be read.
    pub lookups: [Lookups; 5],
    /// Times it was asked to evict.
    pub evictions: u64,
    /// Bytes it was asked for.
    pub asked_bytes: u64,
    /// Bytes it claimed to have freed.
    pub claimed_bytes: u64,
    /// Calls that panicked.
    pub panics: u64,
    /// Calls that did not return within the deadline.
    pub hangs: u64,
    /// A call has not returned yet after its deadline.
    pub hung: bool,
    /// It claimed without effect and is not asked before this time. Seconds in JSON.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "backed_off_until_seconds", with = "crate::seconds::option")
    )]
    pub backed_off_until: Option<Duration>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    hits: [AtomicU64; 5],
    misses: [AtomicU64; 5],
    evictions: AtomicU64,
    asked: AtomicU64,
    claimed: AtomicU64,
    panics: AtomicU64,
    hangs: AtomicU64,
}

/// A registered cache: the caller's code, and what is known about it.
pub(crate) struct Entry {
    pub(crate) record: Arc<Record>,
    cache: Box<dyn Cache>,
}

/// All that is known about a cache. What a plan came to is judged by this alone, so that no thread of the guard is
/// the last to hold a cache, whose `Drop` is the caller's code.
pub(crate) struct Record {
    pub(crate) registration: Registration,
    counts: Counts,
    /// What it held when it was last asked before a plan, plus one; 0 while it was not.
    surveyed: AtomicU64,
    hung: AtomicBool,
    conduct: Mutex<Conduct>,
}

/// What came of the claims of a cache.
#[derive(Debug, Default)]
struct Conduct {
    trial: Option<Trial>,
    back_off: Option<Duration>,
    until: Option<Duration>,
}

/// Claims, and what left with the plans they belong to, since `began`.
#[derive(Debug)]
struct Trial {
    began: Duration,
    plans: u32,
    claimed: u64,
    measured: i64,
}

/// A callback panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

impl Entry {
    /// Bytes it holds; the estimate stands in while it does not say. Runs the caller's code.
    pub(crate) fn used(&self, estimate: Size) -> Result<u64, Panicked> {
        let record = &self.record;
        let used = catch_unwind(AssertUnwindSafe(|| self.cache.used()));
        let known = used.as_ref().ok().copied().flatten();
        record.surveyed.store(known.map_or(0, |used| used.saturating_add(1)), Ordering::Relaxed);
        if used.is_err() {
            add(&record.counts.panics, 1);
            return Err(Panicked);
        }
        Ok(known.unwrap_or(record.estimate(estimate)))
    }

    /// Asks for `target` bytes. Runs the caller's code.
    pub(crate) fn evict(&self, target: u64) -> Result<u64, Panicked> {
        let counts = &self.record.counts;
        add(&counts.evictions, 1);
        add(&counts.asked, target);
        match catch_unwind(AssertUnwindSafe(|| self.cache.evict(target))) {
            Ok(claimed) => {
                add(&counts.claimed, claimed);
                Ok(claimed)
            }
            Err(_) => {
                add(&counts.panics, 1);
                Err(Panicked)
            }
        }
    }

    fn status(&self) -> CacheStatus {
        let used = if self.record.hung.load(Ordering::Acquire) {
            self.record.surveyed()
        } else {
            catch_unwind(AssertUnwindSafe(|| self.cache.used())).ok().flatten()
        };
        self.record.status(used)
    }
}

impl Record {
    /// What it is taken to hold as long as it does not say; `estimate` is that of the configuration.
    pub(crate) fn estimate(&self, estimate: Size) -> u64 {
        self.registration.estimate.unwrap_or(estimate).bytes()
    }

    fn surveyed(&self) -> Option<u64> {
        self.surveyed.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(crate) fn barred(&self, now: Duration) -> bool {
        self.hung.load(Ordering::Acquire)
            || lock(&self.conduct).until.is_some_and(|until| now < until)
    }

    pub(crate) fn set_hung(&self, hung: bool) {
        if hung {
            add(&self.counts.hangs, 1);
        }
        self.hung.store(hung, Ordering::Release);
    }

    /// Takes in a claim and the bytes that left with the whole plan. Claims are without effect when not even all
    /// of those bytes would make up a quarter of them, so that an honest cache does not suffer for a liar beside
    /// it. Returns whether the cache is now backed off.
    pub(crate) fn judge(&self, claimed: u64, measured: i64, now: Duration) -> bool {
        if claimed == 0 {
            return false;
        }
        let mut conduct = lock(&self.conduct);
        let fresh = Trial { began: now, plans: 0, claimed: 0, measured: 0 };
        let trial = conduct.trial.get_or_insert(fresh);
        trial.plans += 1;
        trial.claimed = trial.claimed.saturating_add(claimed);
        trial.measured = trial.measured.saturating_add(measured);
        if trial.plans < TRIAL_PLANS || now.saturating_sub(trial.began) < TRIAL_TIME {
            return false;
        }
        let effective = trial.measured as f64 >= trial.claimed as f64 * EFFECTIVE;
        conduct.trial = None;
        if effective {
            *conduct = Conduct::default();
            return false;
        }
        let back_off = conduct.back_off.map_or(FIRST_BACK_OFF, |last| (last * 2).min(MAX_BACK_OFF));
        conduct.back_off = Some(back_off);
        conduct.until = Some(now.saturating_add(back_off));
        true
    }

    fn status(&self, used_bytes: Option<u64>) -> CacheStatus {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let lookups = std::array::from_fn(|level| Lookups {
            hits: load(&self.counts.hits[level]),
            misses: load(&self.counts.misses[level]),
        });
        CacheStatus {
            name: self.registration.name.clone(),
            priority: self.registration.priority,
            used_bytes,
            ceiling_bytes: self.registration.ceiling.map(Size::bytes),
            lookups,
            evictions: load(&self.counts.evictions),
            asked_bytes: load(&self.counts.asked),
            claimed_bytes: load(&self.counts.claimed),
            panics: load(&self.counts.panics),
            hangs: load(&self.counts.hangs),
            hung: self.hung.load(Ordering::Acquire),
            backed_off_until: lock(&self.conduct).until,
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("record", &self.record).finish_non_exhaustive()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("registration", &self.registration).finish_non_exhaustive()
    }
}

/// Counters never go back, whatever a cache claims.
fn add(count: &AtomicU64, n: u64) {
    // The closure always gives a value.
    let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |c| Some(c.saturating_add(n)));
}

/// No code of a caller runs under these locks, so a poisoned one still holds a whole value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn entry(cache: impl Cache + 'static) -> Arc<Entry> {
        let caches = Caches::new();
        let _registered = caches.register(Registration::new("test"), cache);
        caches.entries().remove(0)
    }

    #[test]
    fn dropping_the_handle_deregisters() {
        let caches = Caches::new();
        let a = caches.register(Registration::new("a"), FnCache::new(|| Some(1), |_| 0));
        let _b = caches.register(Registration::new("b"), FnCache::new(|| Some(2), |_| 0));
        drop(a);
        let names: Vec<_> = caches.status().into_iter().map(|status| status.name).collect();
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn lookups_are_counted_by_level() {
        let caches = Caches::new();
        let cache = caches.register(Registration::new("a"), FnCache::new(|| None, |_| 0));
        caches.set_level(Level::Normal);
        cache.hit();
        cache.hit();
        caches.set_level(Level::Critical);
        cache.hit();
        cache.miss();
        let lookups = cache.status().lookups;
        assert_eq!(lookups[Level::Normal as usize].hit_ratio(), Some(1.0));
        assert_eq!(lookups[Level::Critical as usize].hit_ratio(), Some(0.5));
        assert_eq!(lookups[Level::Unknown as usize].hit_ratio(), None);
    }

    #[test]
    fn the_estimate_stands_in_until_usage_is_known() {
        let unknown = entry(FnCache::new(|| None, |_| 0));
        assert_eq!(unknown.used(Size::mib(256)), Ok(256 * MIB));
        let known = entry(FnCache::new(|| Some(0), |_| 0));
        assert_eq!(known.used(Size::mib(256)), Ok(0));
    }

    #[test]
    fn a_gauge_says_what_is_used_before_and_after() {
        let components = memtrack::component::Components::new();
        let gauge = components.component("index");
        let counted = gauge.clone();
        let entry = entry(gauge_cache(gauge.clone(), move |target| {
            let freed = target.min(counted.get());
            counted.sub(freed);
            freed
        }));
        gauge.add(5);
        assert_eq!(entry.used(Size(7)), Ok(5));
        assert_eq!(entry.evict(3), Ok(3));
        assert_eq!((entry.used(Size(7)), gauge.get()), (Ok(2), 2));
    }

    #[test]
    fn panics_are_caught_and_counted() {
        let cache = entry(FnCache::new(|| panic!("used"), |_| panic!("evict")));
        assert_eq!((cache.used(Size(7)), cache.record.estimate(Size(7))), (Err(Panicked), 7));
        assert_eq!(cache.evict(1), Err(Panicked));
        assert_eq!(cache.status().panics, 2);
    }

    #[test]
    fn counters_do_not_go_back_whatever_a_cache_claims() {
        let boaster = entry(FnCache::new(|| Some(1), |_| u64::MAX));
        boaster.evict(1).unwrap();
        boaster.evict(u64::MAX).unwrap();
        let status = boaster.status();
        assert_eq!((status.claimed_bytes, status.asked_bytes), (u64::MAX, u64::MAX));
    }

    #[test]
    fn how_a_cache_is_doing_can_be_asked_while_it_hangs() {
        // A call that never returns stands for the lock that never comes: asked on this thread, it would end the test.
        let hangs = Arc::new(AtomicBool::new(false));
        let inside = Arc::clone(&hangs);
        let used = move || {
            assert!(!inside.load(Ordering::SeqCst), "called while it hangs");
            Some(5)
        };
        let entry = entry(FnCache::new(used, |_| 0));
        assert_eq!(entry.used(Size(7)), Ok(5));
        hangs.store(true, Ordering::SeqCst);
        entry.record.set_hung(true);
        let status = entry.status();
        assert_eq!((status.used_bytes, status.hung), (Some(5), true));
    }

    #[test]
    fn a_cache_that_claims_without_freeing_is_backed_off_for_longer_each_time() {
        let liar = entry(FnCache::new(|| Some(MIB), |target| target));
        let at = Duration::from_secs;
        let liar = &liar.record;
        let judge = |measured: u64, second| liar.judge(8 * MIB, measured as i64, at(second));
        assert!(!judge(0, 1) && !judge(0, 2) && judge(MIB, 3));
        assert!(liar.barred(at(32)) && !liar.barred(at(33)));
        assert!(!judge(0, 40) && !judge(0, 41) && judge(0, 42));
        assert!(liar.barred(at(101)) && !liar.barred(at(102)));
        assert!(
            !judge(0, 110) && !judge(4 * MIB, 111) && !judge(2 * MIB, 112),
            "a quarter has an effect"
        );
        assert!(!liar.barred(at(112)));
    }

    #[test]
    fn an_honest_cache_under_fast_growth_is_not_backed_off() {
        let honest = entry(FnCache::new(|| Some(MIB), |target| target));
        // What left with one plan is hidden by what came in meanwhile, or doubled by what went by itself.
        for (tick, measured) in (0_u64..).zip([8, -1, 0, -5, 14, 12].into_iter().cycle().take(600))
        {
            assert!(!honest.record.judge(
                8 * MIB,
                measured * MIB as i64,
                Duration::from_millis(5 * tick)
            ));
        }
    }
}
