//! A document that follows its files.
//!
//! One thread is the only writer. It is woken by file-system events and, because watches die, by a clock; either way it
//! compares contents. A changed content is used once it has *settled*: read twice with the same result, a pause apart,
//! with a line feed at its end.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Serialize;

use crate::diagnostic::{Code, Diagnostic};
use crate::diff::{Change, diff};
use crate::files::Sources;
use crate::follow::{DiskState, Follower, assemble_read, fall_back, inputs_hash};
use crate::hash::Hash;
use crate::lastgood;
use crate::load::{Inputs, Loaded, Text, assemble};
use crate::metrics::LoadMetrics;
use crate::origin::SourceKind;
use crate::spec::{Document, Spec};
use crate::store::{ObserverStatus, Snapshot, Store, Subscription, WholeSubscription};
use crate::watch;

/// How a live document follows its files.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveOptions {
    /// Time between looks at the files when no event says that one changed.
    pub poll: Duration,
    /// The pause between the two reads that must agree.
    pub settle: Duration,
    /// How long a file may be missing or without its last line feed before that is taken for what was meant.
    pub patience: Duration,
    /// Whether file-system events are used; polling goes on in any case.
    pub events: bool,
    /// Where the last good inputs are kept for a restart with a bad file; nowhere when unset.
    pub state_dir: Option<PathBuf>,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(2),
            settle: Duration::from_millis(100),
            patience: Duration::from_secs(2),
            events: true,
            state_dir: None,
        }
    }
}

/// What became of an edit.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reload {
    /// It is in force.
    Accepted {
        /// Counts events, so that a reader sees when some were lost.
        sequence: u64,
        /// The generation it became.
        generation: u64,
        /// What it changed.
        changes: Vec<Change>,
        /// What is odd about it.
        warnings: Vec<Diagnostic>,
    },
    /// The document before it stays in force.
    Rejected {
        /// Counts events, so that a reader sees when some were lost.
        sequence: u64,
        /// The generation that stays.
        generation: u64,
        /// Why.
        diagnostics: Vec<Diagnostic>,
    },
}

/// A document that is not in force.
#[derive(Clone, Debug)]
pub struct Candidate<T> {
    /// The document.
    pub loaded: Loaded<T>,
    /// What it would change.
    pub changes: Vec<Change>,
}

/// A content that was refused.
#[derive(Clone, Debug, Serialize)]
pub struct Rejected {
    /// When.
    pub at: SystemTime,
    /// The hash of the content.
    pub hash: Hash,
    /// Why.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the files still hold it.
    pub standing: bool,
}

/// The state of a live document: what is in force, what lies on the disk, and what was refused last.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LiveStatus {
    /// The generation in force.
    pub generation: u64,
    /// Since when.
    pub since: SystemTime,
    /// The hash of the inputs in force.
    pub active: Hash,
    /// The hash of what lies on the disk.
    pub on_disk: Hash,
    /// What was refused last.
    pub last_rejected: Option<Rejected>,
    /// Whether the last load was accepted.
    pub last_reload_ok: bool,
    /// Whether the copy of a run before is in force, because the files were bad from the start.
    pub fallback: bool,
    /// Whether the thread that follows the files is alive. Nothing known ends it; a program that runs for months may still
    /// ask.
    pub following: bool,
    /// Why file-system events are not used, when they are not; polling goes on.
    pub not_watching: Option<String>,
    /// Each observer and its generation.
    pub observers: Vec<ObserverStatus>,
    /// Counts and times.
    pub metrics: LoadMetrics,
}

/// A document that follows its files until it is dropped.
#[derive(Debug)]
pub struct Live<T> {
    shared: Arc<Shared<T>>,
    reloads: Receiver<Reload>,
    control: Option<Sender<Sender<()>>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(crate) struct Shared<T> {
    pub(crate) spec: Arc<Spec<T>>,
    pub(crate) store: Arc<Store<T>>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) inputs: Inputs,
    pub(crate) status: LiveStatus,
    pub(crate) sequence: u64,
}

/// Events that a reader may leave unread before the oldest news is lost to him.
const EVENTS: usize = 64;

impl<T: Document + std::fmt::Debug> Live<T> {
    /// Loads the document and follows its files.
    ///
    /// # Errors
    /// What is wrong with the document, when there is no good copy of a run before either.
    pub fn start(
        spec: Arc<Spec<T>>,
        sources: Sources,
        options: LiveOptions,
    ) -> Result<Self, Vec<Diagnostic>> {
        Self::start_watched(spec, sources, options, Box::new(watch::follow))
    }

    pub(crate) fn start_watched(
        spec: Arc<Spec<T>>,
        sources: Sources,
        options: LiveOptions,
        follow: watch::Follow,
    ) -> Result<Self, Vec<Diagnostic>> {
        let started = Instant::now();
        let read = sources.read();
        // One read serves both: an edit between two of them would be seen by neither.
        let judged = DiskState::of(&read);
        let on_disk = judged.hash();
        let (inputs, loaded, rejected) = match read.and_then(|read| assemble_read(&spec, read)) {
            Ok((inputs, loaded)) => (inputs, loaded, None),
            Err(problems) => {
                let (inputs, loaded) = fall_back(&spec, &sources, &options, &problems)?;
                (inputs, loaded, Some(problems))
            }
        };
        let now = SystemTime::now();
        let mut metrics = LoadMetrics { generation: 1, ..LoadMetrics::default() };
        metrics.loaded(now, started.elapsed());
        match &rejected {
            None => {
                metrics.accepted = 1;
                metrics.last_success = Some(now);
            }
            Some(problems) => metrics.refused(problems),
        }
        let status = LiveStatus {
            generation: 1,
            since: now,
            active: inputs_hash(&inputs),
            on_disk,
            last_reload_ok: rejected.is_none(),
            fallback: rejected.is_some(),
            last_rejected: rejected.as_ref().map(|diagnostics| Rejected {
                at: now,
                hash: on_disk,
                diagnostics: diagnostics.clone(),
                standing: true,
            }),
            following: true,
            not_watching: None,
            observers: Vec::new(),
            metrics,
        };
        if rejected.is_none() {
            lastgood::keep(options.state_dir.as_deref(), &inputs);
        }
        let state = Mutex::new(State { inputs, status, sequence: 0 });
        let shared = Arc::new(Shared { spec, store: Store::new(loaded), state });
        let (events, reloads) = bounded(EVENTS);
        let (control, commands) = bounded::<Sender<()>>(16);
        let (follower_shared, watch) = (Arc::clone(&shared), None);
        let mut follower =
            Follower { shared: follower_shared, sources, options, events, watch, follow, judged };
        if let Some(diagnostics) = rejected {
            follower.tell_rejected(diagnostics);
        }
        // What changes before this takes effect is found by the thread's first look.
        follower.rewatch();
        let thread = std::thread::Builder::new()
            .name("memcfg-reload".to_owned())
            .spawn(move || follower.run(&commands))
            .map_err(|error| {
                vec![Diagnostic::error(Code::Io, format!("cannot start a thread: {error}"))]
            })?;
        Ok(Self { shared, reloads, control: Some(control), thread: Some(thread) })
    }

    /// The document in force.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot<T>> {
        self.shared.store.load()
    }

    /// A new observer of one part of the document; see [`Store::subscribe`].
    #[must_use]
    pub fn subscribe<S>(&self, name: &str, part: fn(&T) -> &Arc<S>) -> Subscription<T, S> {
        self.shared.store.subscribe(name, part)
    }

    /// A new observer of the whole document.
    #[must_use]
    pub fn subscribe_whole(&self, name: &str) -> WholeSubscription<T> {
        self.shared.store.subscribe_whole(name)
    }

    /// The hash of the inputs in force.
    #[must_use]
    pub fn active_hash(&self) -> Hash {
        self.shared.state().status.active
    }

    /// What becomes of each edit. One channel: cloned receivers compete.
    #[must_use]
    pub fn reloads(&self) -> &Receiver<Reload> {
        &self.reloads
    }

    /// What is in force, what lies on the disk, what was refused last, and who runs on which generation.
    #[must_use]
    pub fn status(&self) -> LiveStatus {
        let mut status = self.shared.state().status.clone();
        status.observers = self.shared.store.observers();
        status.following = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        status
    }

    /// The inputs in force.
    #[must_use]
    pub fn inputs(&self) -> Inputs {
        self.shared.state().inputs.clone()
    }

    /// What the document is.
    #[must_use]
    pub fn spec(&self) -> &Arc<Spec<T>> {
        &self.shared.spec
    }

    /// What would be in force if the file at `path` held `bytes`, and what that changes. Nothing is changed by asking.
    ///
    /// # Errors
    /// What would be wrong with the document.
    pub fn candidate(&self, path: &Path, bytes: &[u8]) -> Result<Candidate<T>, Vec<Diagnostic>> {
        let mut inputs = self.inputs();
        match inputs.texts.iter_mut().find(|text| text.path == path) {
            Some(text) => text.bytes = bytes.into(),
            None => {
                let kind = SourceKind::Global;
                let at = inputs.texts.partition_point(|text| text.kind <= kind);
                inputs.texts.insert(at, Text::new(kind, path, bytes));
            }
        }
        let loaded = assemble(&self.shared.spec, &inputs)?;
        let changes = diff(&self.load().loaded, &loaded);
        Ok(Candidate { loaded, changes })
    }

    /// Looks at the files now, and answers once what is there has settled and been judged.
    ///
    /// From within a rule of the document it answers at once: the thread that it would wait for is the one that asks.
    pub fn check_now(&self) {
        if self.is_this_thread() {
            return;
        }
        let (done, wait) = bounded(1);
        if self.control.as_ref().is_some_and(|control| control.send(done).is_ok()) {
            let _ = wait.recv();
        }
    }
}

impl<T> Live<T> {
    fn is_this_thread(&self) -> bool {
        let this = std::thread::current().id();
        self.thread.as_ref().is_some_and(|thread| thread.thread().id() == this)
    }
}

impl<T> Drop for Live<T> {
    fn drop(&mut self) {
        // The thread ends when its commands do; joining comes after, or it would wait for ever. So would a thread that
        // joins itself.
        self.control = None;
        if self.is_this_thread() {
            return;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<T> Shared<T> {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
