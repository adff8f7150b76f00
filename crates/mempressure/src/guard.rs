//! The worker: takes the newest sample, decides the level, has caches evicted, and verifies what left.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};
use memtrack::sampler::Newest;
use memtrack::{Current, Rate, Reading, Sample, Settings};

use crate::advice::Advice;
use crate::budget::{BudgetInput, BudgetState, BudgetStatus};
use crate::cache::{CacheStatus, Caches};
use crate::config::GuardConfig;
use crate::event::{Events, Hub};
use crate::evict::{Outcome, Trim};
use crate::level::Level;
use crate::machine::{Machine, Status};
use crate::plan::Wait;

mod check;
mod worker;

pub use check::SettingsError;

/// How long a callback may take before it is left behind, unless asked otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(2);

/// What the guard needs to know beside its settings.
#[derive(Clone)]
pub struct Options {
    /// How long one callback may take before it is left behind. A sample is waited for after a plan for this long at
    /// least, or for three of the intervals that samples come in.
    ///
    /// A cache that does not even say what it holds is left behind after 50 ms, and so is a callback that an emergency
    /// waits for.
    pub deadline: Duration,
    /// Do everything but call the caches.
    pub dry_run: bool,
    /// Runs once after a plan, on the eviction thread; see [`Trim`]. By default the allocators that the features `glibc`
    /// and `jemalloc` name give back what they keep; it takes tens of milliseconds on a large heap.
    pub trim: Option<Trim>,
    /// Take part in the service manager's memory pressure protocol when the environment asks for it.
    pub service_manager: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: DEFAULT_DEADLINE,
            dry_run: false,
            trim: default_trim(),
            service_manager: true,
        }
    }
}

#[cfg(any(feature = "jemalloc", all(feature = "glibc", target_os = "linux", target_env = "gnu")))]
fn default_trim() -> Option<Trim> {
    // Whether anything could be given back shows in what is measured.
    Some(Arc::new(|| {
        let _ = memtrack::alloc::trim();
    }))
}

#[cfg(not(any(
    feature = "jemalloc",
    all(feature = "glibc", target_os = "linux", target_env = "gnu")
)))]
fn default_trim() -> Option<Trim> {
    None
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("deadline", &self.deadline)
            .field("dry_run", &self.dry_run)
            .field("trim", &self.trim.is_some())
            .field("service_manager", &self.service_manager)
            .finish()
    }
}

/// What the guard has done so far. Counters never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counters {
    /// Plans carried out, dry runs and mere ceilings included.
    pub plans: u64,
    /// Plans that found nobody to ask.
    pub nothing_to_give: u64,
    /// Samples on which a plan was due and had to wait.
    pub waits: u64,
    /// Bytes that caches were asked for.
    pub asked_bytes: u64,
    /// Bytes that caches claimed.
    pub claimed_bytes: u64,
    /// Bytes that measurably left, over all plans whose outcome could be measured.
    pub measured_bytes: u64,
    /// Plans after which no sample came in time, or the footprint was unknown.
    pub unmeasured: u64,
    /// Code of the caller's that panicked on the eviction thread: callbacks, the trimming, dropping a cache.
    pub panics: u64,
    /// Calls of the same that did not return in time and were left behind.
    pub hangs: u64,
    /// Times a cache was backed off.
    pub backed_off: u64,
    /// Times the prompt threshold of the budget was crossed upwards.
    pub prompts: u64,
    /// Times the service manager or the kernel told of pressure.
    pub notices: u64,
    /// Changes of configuration taken in.
    pub reloads: u64,
    /// Changes that [`GuardConfig::check`] refused: the configuration before stays in force.
    pub refused_reloads: u64,
}

/// The state of the guard.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GuardStatus {
    /// The level, and what each signal says.
    pub machine: Status,
    /// What was done so far.
    pub counters: Counters,
    /// The level of the plan that is being carried out.
    pub in_flight: Option<Level>,
    /// Why a plan that is due has to wait.
    pub waiting: Option<Wait>,
    /// What came of the last plan.
    pub last_outcome: Option<Outcome>,
    /// Samples still come: not for three of their intervals, or 15 s, has there been none. Without them the signals fall
    /// silent as they do when readings fail, and the level becomes [`Level::Unknown`].
    pub sampling: bool,
    /// The worker is alive.
    pub running: bool,
    /// How the service manager's memory pressure protocol is taken part in.
    pub service_manager: ServiceManager,
}

/// How the service manager's memory pressure protocol is taken part in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ServiceManager {
    /// The environment does not ask for it, or the options say no.
    #[default]
    NotAsked,
    /// The service manager asks not to watch.
    OptedOut,
    /// What it named is being watched.
    Watching,
    /// What it named cannot be watched, with the reason.
    Failed(String),
}

/// Keeps a process below its limits, on threads of its own, until stopped or dropped.
///
/// One thread decides and one runs the callbacks, so a callback that hangs never stops the watching. Stopping
/// does not wait for a callback that is under way; the rest of its plan is dropped. Once it has stopped, its advice is
/// that of a guard that knows nothing.
///
/// A `fork` does not take threads along: in the child the guard does nothing, and the child makes its own.
#[must_use = "dropping the guard stops it"]
pub struct Guard {
    shared: Arc<Shared>,
    running: Option<Running>,
}

struct Running {
    /// Dropped to stop the thread: nothing is ever sent.
    stop: Sender<()>,
    thread: JoinHandle<()>,
    /// The process that the thread is in.
    process: u32,
}

struct Shared {
    status: Mutex<GuardStatus>,
    last: Mutex<Option<Last>>,
    caches: Caches,
    advice: Advice,
    hub: Hub,
    generation: AtomicU64,
}

/// What the budget is computed from when somebody asks.
#[derive(Clone)]
struct Last {
    sample: Sample,
    config: Arc<GuardConfig>,
    budget: BudgetState,
    growth: Option<Rate>,
}

impl Shared {
    fn new(caches: Caches, first: &Current<GuardConfig>) -> Self {
        Self {
            status: Mutex::new(GuardStatus {
                machine: Machine::new().status(),
                counters: Counters::default(),
                in_flight: None,
                waiting: None,
                last_outcome: None,
                sampling: true,
                running: true,
                service_manager: ServiceManager::NotAsked,
            }),
            last: Mutex::new(None),
            caches,
            advice: Advice::new(&first.value.workload),
            hub: Hub::default(),
            generation: AtomicU64::new(first.generation),
        }
    }
}

impl Guard {
    /// Starts guarding with the samples of `newest`, by `settings`, with `caches` to give memory back.
    ///
    /// # Errors
    /// When the system gives no thread, and of kind [`io::ErrorKind::InvalidInput`] what [`GuardConfig::check`] refuses.
    pub fn spawn(
        newest: Newest,
        settings: Settings<GuardConfig>,
        caches: Caches,
        options: Options,
    ) -> io::Result<Self> {
        let first = settings.load();
        first.value.check()?;
        let shared = Arc::new(Shared::new(caches, &first));
        let (stop, stopped) = bounded(0);
        let (report, progress) = unbounded();
        let worker = worker::Worker::new(Arc::clone(&shared), newest, settings, options, report)?;
        let thread = thread::Builder::new().name("mempressure".into());
        let thread = thread.spawn(move || worker.work(&stopped, &progress))?;
        let running = Running { stop, thread, process: std::process::id() };
        Ok(Self { shared, running: Some(running) })
    }

    /// The state after the last sample.
    #[must_use]
    pub fn status(&self) -> GuardStatus {
        lock(&self.shared.status).clone()
    }

    /// How each cache is doing, as [`Caches::status`]: calls [`Cache::used`](crate::Cache::used) on this thread.
    #[must_use]
    pub fn caches(&self) -> Vec<CacheStatus> {
        self.shared.caches.status()
    }

    /// Advice for code that takes on work: a handle to clone and keep.
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.shared.advice.clone()
    }

    /// The process against its budget, by the last sample, with the caches as of [`Guard::caches`].
    ///
    /// # Errors
    /// Why it is not known.
    pub fn budget(&self) -> Reading<BudgetStatus> {
        let last = lock(&self.shared.last).clone().ok_or(memtrack::Absent::NotRead)?;
        last.budget_status(&self.shared.caches.status())
    }

    /// Subscribes to what happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.hub.subscribe()
    }

    /// The generation of the settings it runs on.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Stops the worker and waits until it has; does nothing when it has stopped already, nor in a child that was forked.
    pub fn stop(&mut self) {
        if self.running.as_ref().is_some_and(|running| running.process != std::process::id()) {
            // A child that was forked since: the thread stayed behind, and the locks may have been held when the fork
            // copied them.
            std::mem::forget(self.running.take());
            return;
        }
        let Some(Running { stop, thread, .. }) = self.running.take() else { return };
        // The order matters: the thread ends because its stop channel is disconnected.
        drop(stop);
        // Callbacks run elsewhere, so a panic here is our own bug; there is no one else to tell.
        let _ = thread.join();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Last {
    fn budget_status(&self, caches: &[CacheStatus]) -> Reading<BudgetStatus> {
        BudgetStatus::new(&BudgetInput {
            sample: &self.sample,
            budget: &self.config.budget,
            band: self.config.pressure.band,
            before: self.budget,
            growth: self.growth,
            caches,
        })
    }
}

/// No code of a caller runs under these locks, so a poisoned one still holds a whole value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::TrackConfig;
    use memtrack::sampler::Sampler;
    use memtrack::testing::Script;

    #[test]
    fn a_forked_child_does_not_wait_for_the_thread_that_stayed_with_its_parent() {
        let sampler = Sampler::new(Script::of([]), Settings::fixed(TrackConfig::default()));
        let settings = Settings::fixed(GuardConfig::default());
        let options = Options { service_manager: false, ..Options::default() };
        let mut guard = Guard::spawn(sampler.newest(), settings, Caches::new(), options).unwrap();
        let running = guard.running.as_mut().unwrap();
        let (other, stopped) = bounded(0);
        // The thread goes on as it does in the parent; waiting for it would take for ever.
        let parents = std::mem::replace(&mut running.stop, other);
        running.process = running.process.wrapping_add(1);
        guard.stop();
        assert!(guard.running.is_none() && guard.status().running);
        assert_eq!(stopped.try_recv(), Err(crossbeam_channel::TryRecvError::Empty), "not dropped");
        drop(parents);
    }
}
