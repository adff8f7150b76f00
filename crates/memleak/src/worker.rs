//! The detector on a thread of its own, fed by a sampler's subscription.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use memtrack::sampler::{All, Update};
use memtrack::{Sample, Settings};

use crate::alert::{Alerts, Outlets};
use crate::config::LeakConfig;
use crate::detector::Detector;
use crate::ends::Ends;
use crate::kinds::{KindGrowth, Kinds, Outside};
use crate::parts::Parts;
use crate::rules::{RuleReport, Rules};
use crate::verdict::{Change, Verdict};

/// Changes that wait to be received before further ones are lost; each loss shows in the next change's number.
pub const CHANGES_CAPACITY: usize = 64;

/// A change of the verdict, numbered: a gap in the numbers is a loss.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Event {
    /// Counted from 0.
    pub number: u64,
    /// The change.
    pub change: Change,
}

/// The last state, whatever was received of the changes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The verdict.
    pub verdict: Verdict,
    /// What the rules say.
    pub rules: RuleReport,
    /// Which kinds of memory grow, fastest first.
    pub kinds: Vec<KindGrowth>,
    /// Samples the sampler had to drop because this worker was too slow.
    pub lost_samples: u64,
    /// Alerts asked for so far, delivered or held back.
    pub alerts: u64,
    /// Alerts that found their channel full.
    pub lost_alerts: u64,
    /// The generation of the settings in force.
    pub generation: u64,
    /// The thread has ended: the target is gone, the sampler or the worker was stopped, or a callback panicked.
    pub ended: bool,
}

/// The thread. Dropping it stops the thread and waits for it.
pub struct Worker {
    shared: Arc<Shared>,
    changes: Receiver<Event>,
    /// Dropped to stop the thread: nothing is ever sent.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Detector>>,
}

struct Shared {
    state: Mutex<State>,
    generation: AtomicU64,
}

struct State {
    config: Arc<LeakConfig>,
    detector: Detector,
    rules: Rules,
    kinds: Kinds,
    parts: Parts,
    lost_samples: u64,
    alerts: u64,
    lost_alerts: u64,
    ended: bool,
}

impl State {
    fn outside(&self) -> Vec<Outside> {
        let config = &self.config;
        self.kinds.outside(config.min_samples, config.least_growth)
    }
}

impl Worker {
    /// Starts the thread on `samples`, going on from `detector`: a new one, or one that was loaded from a baseline.
    ///
    /// What is watched is the private memory, where the source tells it apart, else the footprint: mapped files come and
    /// go with the page cache. Whether a level that falls is that of a process that has ended is told from the samples ([`Ends`]).
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(
        samples: All,
        settings: Settings<LeakConfig>,
        detector: Detector,
        outlets: Outlets,
    ) -> io::Result<Self> {
        Self::begin(samples, settings, detector, outlets, Inside::no())
    }

    /// As [`Worker::spawn`], for the own process: `parts` says with each sample what the parts of this program hold, in
    /// bytes, and the evidence of growth then names those that grow. Parts may be registered components
    /// ([`of_components`](crate::parts::of_components)) or, where `memtrack`'s tracking allocator serves the program, the
    /// size classes of its allocations; both together count the same bytes twice, which a comparison of slopes bears.
    ///
    /// The own process does not end and go on, so a level that falls is no restart ([`Detector::process_ended`]).
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn_inside(
        samples: All,
        settings: Settings<LeakConfig>,
        detector: Detector,
        outlets: Outlets,
        parts: impl FnMut() -> Vec<(String, u64)> + Send + 'static,
    ) -> io::Result<Self> {
        let inside = Inside { ends: None, parts: Box::new(parts) };
        Self::begin(samples, settings, detector, outlets, inside)
    }

    fn begin(
        samples: All,
        settings: Settings<LeakConfig>,
        mut detector: Detector,
        outlets: Outlets,
        inside: Inside,
    ) -> io::Result<Self> {
        let current = settings.load();
        let config = &current.value;
        detector.set_config(config);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                config: Arc::clone(config),
                detector,
                rules: Rules::new(config),
                kinds: Kinds::new(config.window),
                parts: Parts::new(config.window),
                lost_samples: 0,
                alerts: 0,
                lost_alerts: 0,
                ended: false,
            }),
            generation: AtomicU64::new(current.generation),
        });
        let (events, changes) = bounded(CHANGES_CAPACITY);
        let (stop, stopped) = bounded(0);
        let work = Work {
            shared: Arc::clone(&shared),
            alerts: Alerts::new(),
            config: current.value,
            settings,
            outlets,
            inside,
            events,
            number: 0,
        };
        let thread = thread::Builder::new().name("memleak".into());
        let thread = thread.spawn(move || work.run(&samples, &stopped))?;
        Ok(Self { shared, changes, stop: Some(stop), thread: Some(thread) })
    }

    /// The changes of the verdict. Disconnected once the subscription has ended or the worker was stopped.
    #[must_use]
    pub fn changes(&self) -> &Receiver<Event> {
        &self.changes
    }

    /// The last state.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = lock(&self.shared.state);
        let mut verdict = state.detector.verdict();
        verdict.name_parts(state.parts.growth());
        verdict.name_outside(state.outside());
        Status {
            verdict,
            rules: state.rules.report(),
            kinds: state.kinds.report(),
            lost_samples: state.lost_samples,
            alerts: state.alerts,
            lost_alerts: state.lost_alerts,
            generation: self.generation(),
            ended: state.ended,
        }
    }

    /// The generation of the settings it runs on.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Stops the thread and gives the detector back, for a last look or to be saved; `None` when a callback panicked.
    #[must_use]
    pub fn stop(mut self) -> Option<Detector> {
        self.end()
    }

    fn end(&mut self) -> Option<Detector> {
        // The order matters: the thread ends because its stop channel is disconnected.
        drop(self.stop.take());
        self.thread.take()?.join().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

/// What is known of the processes beside their samples.
struct Inside {
    /// Their ends; `None` for the own process, which does not end.
    ends: Option<Ends>,
    /// What the parts of the own program hold.
    parts: Box<dyn FnMut() -> Vec<(String, u64)> + Send>,
}

impl Inside {
    fn no() -> Self {
        Self { ends: Some(Ends::new()), parts: Box::new(Vec::new) }
    }
}

/// What the thread works with.
struct Work {
    shared: Arc<Shared>,
    alerts: Alerts,
    config: Arc<LeakConfig>,
    settings: Settings<LeakConfig>,
    outlets: Outlets,
    inside: Inside,
    events: Sender<Event>,
    number: u64,
}

impl Work {
    fn run(mut self, samples: &All, stopped: &Receiver<()>) -> Detector {
        let _ended = Ended(Arc::clone(&self.shared));
        let mut changed = self.settings.changed().clone();
        loop {
            select! {
                recv(samples.receiver()) -> update => match update {
                    Ok(Update::Sample(sample)) => self.take(&sample, samples.lost()),
                    Ok(_) => {}
                    Err(_) => break,
                },
                recv(changed) -> ring => match ring {
                    Ok(()) => self.reload(),
                    // The settings' maker is gone: they stay as they are, and its channel would always be ready.
                    Err(_) => changed = never(),
                },
                recv(stopped) -> _ => break,
            }
        }
        lock(&self.shared.state).detector.clone()
    }

    fn reload(&mut self) {
        let current = self.settings.load();
        self.config = current.value;
        let mut state = lock(&self.shared.state);
        state.detector.set_config(&self.config);
        state.rules.set_config(&self.config);
        state.kinds.set_window(self.config.window);
        state.parts.set_window(self.config.window);
        state.config = Arc::clone(&self.config);
        drop(state);
        self.shared.generation.store(current.generation, Ordering::Release);
    }

    fn take(&mut self, sample: &Sample, lost: u64) {
        let at = sample.at.monotonic;
        let process = &sample.process;
        // No code of the caller's under the lock.
        let parts = (self.inside.parts)();
        let ended = self.inside.ends.as_mut().map_or(Some(false), |ends| ends.tell(sample));
        let mut state = lock(&self.shared.state);
        state.lost_samples = lost;
        let kinds = [process.anon, process.file, process.shmem, process.swap];
        state.kinds.push(at, kinds.map(Result::ok));
        state.parts.push(at, parts);
        let lives = state.detector.restarts();
        state.detector.process_ended(ended);
        let mut change = process.private().ok().and_then(|bytes| state.detector.push(at, bytes));
        if state.detector.restarts() != lives {
            state.kinds.restarted();
            state.parts.restarted();
            state.rules.restarted();
        }
        if let Ok(rss) = process.rss {
            state.rules.push(at, rss);
        }
        let report = state.rules.report();
        // The figures of a verdict cost a few look-ups each time; only a standing leak needs them for its severity.
        let mut verdict = match &change {
            Some(change) => change.to.clone(),
            None if state.detector.leaks() => state.detector.verdict(),
            None => Verdict::unseen(),
        };
        if change.is_some() || state.detector.leaks() {
            let (parts, outside) = (state.parts.growth(), state.outside());
            if let Some(change) = &mut change {
                change.to.name_parts(parts.clone());
                change.to.name_outside(outside.clone());
            }
            verdict.name_parts(parts);
            verdict.name_outside(outside);
        }
        let alerts = self.alerts.step(at, &verdict, &report, &self.config);
        state.alerts = self.alerts.total();
        // A callback may ask for the status.
        drop(state);
        for alert in &alerts {
            self.outlets.deliver(alert);
        }
        if !alerts.is_empty() {
            lock(&self.shared.state).lost_alerts = self.outlets.lost();
        }
        if let Some(change) = change {
            let event = Event { number: self.number, change };
            self.number += 1;
            // A full channel loses it: the gap in the numbers tells, and `status` has the last state.
            let _ = self.events.try_send(event);
        }
    }
}

/// Says that the thread has ended, also when a callback's panic ended it.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        lock(&self.0.state).ended = true;
    }
}

/// No code of a caller runs under this lock, so a poisoned one still holds a whole value.
fn lock(mutex: &Mutex<State>) -> MutexGuard<'_, State> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
