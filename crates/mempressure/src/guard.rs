//! The worker: takes the newest sample, decides the level, has caches evicted, and verifies what left.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};
use memtrack::sampler::Newest;
use memtrack::{Rate, Reading, Sample, Settings};

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
    /// How long one callback may take before it is left behind; also how long a sample is waited for after a plan.
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
    /// Callbacks that panicked.
    pub panics: u64,
    /// Callbacks, or the trimming, that did not return within the deadline.
    pub hangs: u64,
    /// Times a cache was backed off.
    pub backed_off: u64,
    /// Times the prompt threshold of the budget was crossed upwards.
    pub prompts: u64,
    /// Times the service manager or the kernel told of pressure.
    pub notices: u64,
    /// Changes of configuration taken in.
    pub reloads: u64,
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
    /// Samples still come.
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
/// does not wait for a callback that is under way; the rest of its plan is dropped.
pub struct Guard {
    shared: Arc<Shared>,
    running: Option<(Sender<()>, JoinHandle<()>)>,
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
        let shared = Arc::new(Shared {
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
        });
        let (stop, stopped) = bounded(0);
        let (report, progress) = unbounded();
        let worker = worker::Worker::new(Arc::clone(&shared), newest, settings, options, report)?;
        let thread = thread::Builder::new().name("mempressure".into());
        let thread = thread.spawn(move || worker.work(&stopped, &progress))?;
        Ok(Self { shared, running: Some((stop, thread)) })
    }

    /// The state after the last sample.
    #[must_use]
    pub fn status(&self) -> GuardStatus {
        lock(&self.shared.status).clone()
    }

    /// How each cache is doing. Calls [`Cache::used`](crate::Cache::used) on this thread.
    #[must_use]
    pub fn caches(&self) -> Vec<CacheStatus> {
        self.shared.caches.status()
    }

    /// Advice for code that takes on work: a handle to clone and keep.
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.shared.advice.clone()
    }

    /// The process against its budget, by the last sample. Calls [`Cache::used`](crate::Cache::used) on this thread.
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

    /// Stops the worker and waits until it has; does nothing when it has stopped already.
    pub fn stop(&mut self) {
        let Some((stop, thread)) = self.running.take() else { return };
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
