//! Carrying out a plan: the callbacks run on a thread of their own, and what they free is verified.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use memtrack::Reading;

use crate::cache::{Caches, Entry, Panicked, Record};
use crate::config::GuardConfig;
use crate::level::Level;
use crate::plan::{Offer, Plan, Request, plan};

/// How long a call may take that everything waits for: a cache that says what it holds, since no cache is asked to
/// evict before all have, and whatever a plan still calls once an emergency waits for its end.
const SOON: Duration = Duration::from_millis(50);

/// What came of one plan.
///
/// Claimed is what the caches say; measured is what left the process: its footprint (RSS + swap) before the
/// plan, less the footprint on the first sample taken after it, plus what the process grew by meanwhile at
/// the rate before the plan. A footprint that only moved to swap has not left.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Outcome {
    /// The level it acted at; below [`Level::Warning`] it only kept ceilings.
    pub level: Level,
    /// No callback was called: `caches` says what would have been asked.
    pub dry_run: bool,
    /// Bytes it was to free.
    pub target_bytes: u64,
    /// Bytes the caches claimed.
    pub claimed_bytes: u64,
    /// Bytes that left the process; negative when it grew all the same. `None` when no sample came for
    /// longer than samples are apart, or the footprint is unknown, or in a dry run.
    pub measured_bytes: Option<i64>,
    /// The monotonic time of the sample that it acted on. Seconds in JSON.
    #[cfg_attr(feature = "serde", serde(rename = "at_seconds", with = "crate::seconds"))]
    pub at: Duration,
    /// From that sample's arrival to the end of the plan, trimming included. Seconds in JSON.
    #[cfg_attr(feature = "serde", serde(rename = "took_seconds", with = "crate::seconds"))]
    pub took: Duration,
    /// The caches that were asked, in order.
    pub caches: Vec<CacheOutcome>,
    /// Caches that have claimed without effect too often, and are now left alone for a while.
    pub backed_off: Vec<String>,
}

/// What came of asking one cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CacheOutcome {
    /// Its name.
    pub name: String,
    /// Bytes it was asked for.
    pub asked_bytes: u64,
    /// Bytes it claimed.
    pub claimed_bytes: u64,
    /// How the call ended.
    pub ended: Ended,
}

/// How a callback ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Ended {
    /// It returned.
    Returned,
    /// It panicked.
    Panicked,
    /// It did not return within the deadline and was left behind. Where an emergency waited for the plan to end, or the
    /// cache did not even say what it holds (then `asked_bytes` is 0), the deadline is 50 ms.
    Hung,
    /// It was not called: a dry run.
    NotCalled,
}

/// What gives freed memory back to the system once the caches have let go of it, such as the allocator's
/// trim function. It runs once after a plan, on the eviction thread. It can take tens of milliseconds, in which
/// no other plan can begin; so at emergency it runs only when the plan before has shown that claims stay.
pub type Trim = Arc<dyn Fn() + Send + Sync>;

/// One plan to make and carry out.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) ticket: u64,
    pub(crate) level: Level,
    pub(crate) footprint: Reading<u64>,
    pub(crate) need: Option<u64>,
    /// Already claimed by a part of this plan that had to be left behind.
    pub(crate) claimed: u64,
    /// Asked by that part: no plan asks a cache twice, whatever it says to hold still.
    pub(crate) asked: Vec<Arc<Record>>,
    pub(crate) config: Arc<GuardConfig>,
    /// The monotonic time of the sample it acts on.
    pub(crate) now: Duration,
    /// The cooldown holds, and only an urgent plan may pass.
    pub(crate) only_if_urgent: bool,
    pub(crate) dry_run: bool,
    /// Trim afterwards.
    pub(crate) trim: bool,
}

/// What the eviction thread tells the guard.
#[derive(Debug)]
pub(crate) enum Progress {
    Planned {
        ticket: u64,
        target: u64,
    },
    Asked {
        ticket: u64,
        record: Arc<Record>,
        asked: u64,
        answer: Answer,
    },
    /// The caller's code panicked elsewhere than while it evicted.
    Panicked,
    Finished {
        ticket: u64,
        finish: Finish,
        at: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Claimed(u64),
    Panicked,
    NotCalled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// At least one cache was asked.
    Done,
    /// There was nobody to ask.
    Nothing,
    /// The cooldown holds, and the plan could make no difference.
    NotUrgent,
}

/// The eviction thread, seen from the guard.
#[derive(Debug)]
pub(crate) struct Runner {
    jobs: Sender<Job>,
    doing: Arc<Mutex<Doing>>,
    /// Not joined: a callback that never returns would take its caller along.
    thread: JoinHandle<()>,
}

/// What the thread is at. One lock for both fields: whether a call was left behind is decided while it is known to run.
#[derive(Debug, Default)]
struct Doing {
    call: Option<(Instant, Call)>,
    abandoned: bool,
}

/// The caller's code that is run on the eviction thread.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// A cache says what it holds.
    Survey(Arc<Record>),
    /// A cache evicts.
    Evict {
        /// Of which cache.
        record: Arc<Record>,
        /// Bytes.
        asked: u64,
    },
    Trim(Arc<Trimmer>),
    /// A cache that was deregistered while it was asked is dropped.
    Drop,
}

impl Call {
    fn set_hung(&self, hung: bool) {
        match self {
            Call::Survey(record) | Call::Evict { record, .. } => record.set_hung(hung),
            Call::Trim(trimmer) => trimmer.hung.store(hung, Ordering::Release),
            Call::Drop => {}
        }
    }
}

/// The trimming, and whether a thread was left behind in it: then nobody else is sent there.
pub(crate) struct Trimmer {
    trim: Trim,
    hung: AtomicBool,
}

impl Trimmer {
    pub(crate) fn new(trim: Trim) -> Self {
        Self { trim, hung: AtomicBool::new(false) }
    }

    pub(crate) fn hangs(&self) -> bool {
        self.hung.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Trimmer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trimmer").field("hung", &self.hung).finish_non_exhaustive()
    }
}

/// The thread does not come back.
#[derive(Debug)]
pub(crate) struct Lost {
    /// The call that it hangs in; `None` when the thread has ended.
    pub(crate) call: Option<Call>,
}

impl Runner {
    pub(crate) fn spawn(
        caches: Caches,
        progress: Sender<Progress>,
        trim: Option<Arc<Trimmer>>,
    ) -> io::Result<Self> {
        let (jobs, queue) = bounded(1);
        let doing = Arc::default();
        let worker = Worker { caches, progress, trim, doing: Arc::clone(&doing) };
        let thread = thread::Builder::new()
            .name("mempressure-evict".into())
            .spawn(move || worker.work(&queue))?;
        Ok(Self { jobs, doing, thread })
    }

    /// Hands over a job. Only when the last one has finished: the queue has room for one.
    pub(crate) fn give(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// Leaves the thread behind if its present call has taken longer than `deadline` at `now`, or, in a `hurry`, than
    /// [`SOON`]. It ends by itself once that call returns; the runner is of no more use then.
    pub(crate) fn leave_if_lost(
        &self,
        deadline: Duration,
        hurry: bool,
        now: Instant,
    ) -> Option<Lost> {
        let mut doing = lock(&self.doing);
        if self.thread.is_finished() {
            return Some(Lost { call: None });
        }
        let (since, call) = doing.call.as_ref()?;
        let soon = hurry || matches!(call, Call::Survey(_));
        let deadline = if soon { deadline.min(SOON) } else { deadline };
        if now.saturating_duration_since(*since) < deadline {
            return None;
        }
        call.set_hung(true);
        let call = Some(call.clone());
        doing.abandoned = true;
        Some(Lost { call })
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // The rest of a plan under way is not carried out.
        lock(&self.doing).abandoned = true;
    }
}

/// The thread was left behind and has to end.
struct Abandoned;

struct Worker {
    caches: Caches,
    progress: Sender<Progress>,
    trim: Option<Arc<Trimmer>>,
    doing: Arc<Mutex<Doing>>,
}

impl Worker {
    fn work(&self, queue: &Receiver<Job>) {
        for job in queue {
            let ticket = job.ticket;
            let Ok(finish) = self.carry_out(&job) else { return };
            let finished = Progress::Finished { ticket, finish, at: Instant::now() };
            if self.progress.send(finished).is_err() {
                return;
            }
        }
    }

    fn carry_out(&self, job: &Job) -> Result<Finish, Abandoned> {
        let entries = self.caches.entries();
        let finish = self.ask_in_turn(job, &entries)?;
        for entry in entries {
            // Deregistered meanwhile, so its `Drop` is left to us.
            if let Some(entry) = Arc::into_inner(entry) {
                self.isolated(Call::Drop, || drop(entry))?;
            }
        }
        Ok(finish)
    }

    fn ask_in_turn(&self, job: &Job, entries: &[Arc<Entry>]) -> Result<Finish, Abandoned> {
        let plan = self.make_plan(job, entries)?;
        if plan.is_empty() {
            return Ok(Finish::Nothing);
        }
        if job.only_if_urgent && !plan.is_urgent(job.need) {
            return Ok(Finish::NotUrgent);
        }
        let ticket = job.ticket;
        self.tell(Progress::Planned { ticket, target: plan.target })?;
        let mut claimed = job.claimed;
        for turn in &plan.turns {
            let asked = plan.ask(turn, claimed);
            let Some(entry) = entries.get(turn.cache).filter(|_| asked > 0) else { continue };
            let record = Arc::clone(&entry.record);
            let answer = if job.dry_run {
                claimed = claimed.saturating_add(asked);
                Answer::NotCalled
            } else {
                let call = Call::Evict { record: Arc::clone(&record), asked };
                match self.call(call, || entry.evict(asked))? {
                    Ok(bytes) => {
                        claimed = claimed.saturating_add(bytes);
                        Answer::Claimed(bytes)
                    }
                    Err(Panicked) => Answer::Panicked,
                }
            };
            self.tell(Progress::Asked { ticket, record, asked, answer })?;
        }
        let idle = |trimmer: &&Arc<Trimmer>| !trimmer.hangs();
        if let Some(trimmer) = self.trim.as_ref().filter(|_| job.trim && !job.dry_run).filter(idle)
        {
            self.isolated(Call::Trim(Arc::clone(trimmer)), || (trimmer.trim)())?;
        }
        Ok(Finish::Done)
    }

    fn make_plan(&self, job: &Job, entries: &[Arc<Entry>]) -> Result<Plan, Abandoned> {
        let mut offers = Vec::with_capacity(entries.len());
        for entry in entries {
            let record = &entry.record;
            let asked = job.asked.iter().any(|asked| Arc::ptr_eq(asked, record));
            let barred = asked || record.barred(job.now);
            let used = if barred { 0 } else { self.survey(entry, job)? };
            offers.push(Offer {
                name: &record.registration.name,
                priority: record.registration.priority,
                used,
                ceiling: record.registration.ceiling.map(memtrack::Size::bytes),
                barred,
            });
        }
        let (level, footprint, need) = (job.level, job.footprint, job.need);
        Ok(plan(&Request { level, footprint, need, pressure: &job.config.pressure }, &offers))
    }

    fn survey(&self, entry: &Arc<Entry>, job: &Job) -> Result<u64, Abandoned> {
        let estimate = job.config.project.estimated;
        match self.call(Call::Survey(Arc::clone(&entry.record)), || entry.used(estimate))? {
            Ok(used) => Ok(used),
            Err(Panicked) => {
                self.tell(Progress::Panicked)?;
                Ok(entry.record.estimate(estimate))
            }
        }
    }

    /// Runs code of the caller's whose panic must not end the thread: the plan itself was carried out.
    fn isolated(&self, call: Call, code: impl FnOnce()) -> Result<(), Abandoned> {
        let ended = self.call(call, || catch_unwind(AssertUnwindSafe(code)))?;
        if ended.is_err() { self.tell(Progress::Panicked) } else { Ok(()) }
    }

    /// Runs code of the caller's, which may never return.
    fn call<T>(&self, call: Call, code: impl FnOnce() -> T) -> Result<T, Abandoned> {
        {
            let mut doing = lock(&self.doing);
            if doing.abandoned {
                return Err(Abandoned);
            }
            doing.call = Some((Instant::now(), call.clone()));
        }
        let value = code();
        let mut doing = lock(&self.doing);
        doing.call = None;
        if doing.abandoned {
            call.set_hung(false);
            return Err(Abandoned);
        }
        Ok(value)
    }

    fn tell(&self, progress: Progress) -> Result<(), Abandoned> {
        self.progress.send(progress).map_err(|_| Abandoned)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
