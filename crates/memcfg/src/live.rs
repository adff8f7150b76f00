//! A document that follows its files.
//!
//! One thread is the only writer. It is woken by file-system events and, because watches die, by a clock; either way it
//! compares contents. A changed content is used once it has *settled*: read twice with the same result, a pause apart,
//! with a line feed at its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select, tick};
use serde::Serialize;

use crate::diagnostic::{Code, Diagnostic, Label};
use crate::diff::{Change, diff};
use crate::files::{ReadInputs, Sources};
use crate::hash::Hash;
use crate::load::{Inputs, Loaded, Text, assemble};
use crate::metrics::LoadMetrics;
use crate::origin::{Origin, Source, SourceKind};
use crate::spec::{Document, Spec};
use crate::store::{ObserverStatus, Snapshot, Store, Subscription, WholeSubscription};
use crate::watch::Watch;
use crate::{lastgood, watch};

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
struct Shared<T> {
    spec: Arc<Spec<T>>,
    store: Arc<Store<T>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    inputs: Inputs,
    status: LiveStatus,
    sequence: u64,
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
        let mut follower =
            Follower { shared: Arc::clone(&shared), sources, options, events, watch: None, judged };
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
    pub fn check_now(&self) {
        let (done, wait) = bounded(1);
        if self.control.as_ref().is_some_and(|control| control.send(done).is_ok()) {
            let _ = wait.recv();
        }
    }
}

impl<T> Drop for Live<T> {
    fn drop(&mut self) {
        // The thread ends when its commands do; joining comes after, or it would wait for ever.
        self.control = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look at the files found.
#[derive(Clone, Debug, PartialEq)]
enum DiskState {
    Read(Inputs),
    Unreadable,
}

struct Follower<T> {
    shared: Arc<Shared<T>>,
    sources: Sources,
    options: LiveOptions,
    events: Sender<Reload>,
    watch: Option<Watch>,
    /// What was last accepted or refused: the same again is no news.
    judged: DiskState,
}

impl DiskState {
    fn of(read: &ReadInputs) -> Self {
        match read {
            Ok((inputs, _)) => DiskState::Read(inputs.clone()),
            Err(_) => DiskState::Unreadable,
        }
    }

    fn hash(&self) -> Hash {
        match self {
            DiskState::Read(inputs) => inputs_hash(inputs),
            DiskState::Unreadable => Hash::of(b""),
        }
    }
}

impl<T: Document> Follower<T> {
    fn run(mut self, commands: &Receiver<Sender<()>>) {
        if !self.look(commands) {
            return;
        }
        let clock = tick(self.options.poll);
        let silent = crossbeam_channel::never();
        loop {
            let events = self.watch.as_ref().map_or(&silent, Watch::events).clone();
            let reply = select! {
                recv(commands) -> command => match command {
                    Ok(reply) => Some(reply),
                    Err(_) => return,
                },
                recv(events) -> event => {
                    if event.is_err() {
                        // The watcher died. Polling goes on, and tries to watch again.
                        self.watch = None;
                    }
                    None
                }
                recv(clock) -> _ => None,
            };
            if !self.look(commands) {
                return;
            }
            if let Some(reply) = reply {
                let _ = reply.send(());
            }
        }
    }

    /// Reads the files until what they say has settled, and judges it. False when it is time to end.
    fn look(&mut self, commands: &Receiver<Sender<()>>) -> bool {
        let mut waiting = Vec::new();
        let began = Instant::now();
        let mut seen = self.read();
        let keep_running = loop {
            if self.judged == seen.0 {
                break true;
            }
            match commands.recv_timeout(self.options.settle) {
                Ok(reply) => waiting.push(reply),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break false,
            }
            let again = self.read();
            let same = again.0 == seen.0;
            seen = again;
            if same && (self.finished(&seen.0) || began.elapsed() >= self.options.patience) {
                self.judge(seen);
                break true;
            }
        };
        self.rewatch();
        for reply in waiting {
            let _ = reply.send(());
        }
        keep_running
    }

    fn read(&self) -> (DiskState, ReadInputs) {
        let read = self.sources.read();
        let state = DiskState::of(&read);
        let hash = state.hash();
        let mut shared = self.shared.state();
        shared.status.metrics.polls += 1;
        shared.status.on_disk = hash;
        drop(shared);
        (state, read)
    }

    /// Whether every file is whole: it ends its last line, and no file of the active document is missing.
    fn finished(&self, state: &DiskState) -> bool {
        let DiskState::Read(inputs) = state else { return false };
        let whole = inputs.texts.iter().all(|text| text.bytes.ends_with(b"\n"));
        let active = self.shared.state();
        let missing = active
            .inputs
            .texts
            .iter()
            .any(|old| !inputs.texts.iter().any(|text| text.path == old.path));
        whole && !missing
    }

    fn judge(&mut self, (state, read): (DiskState, ReadInputs)) {
        self.judged = state;
        let (inputs, warnings) = match read {
            Ok(read) => read,
            Err(problems) => return self.reject(problems, Duration::ZERO),
        };
        let unfinished: Vec<_> = inputs
            .texts
            .iter()
            .filter(|text| !text.bytes.ends_with(b"\n"))
            .map(|text| {
                let source = Source::new(text.kind, text.path.display().to_string(), "");
                let label = Label::key(&Origin::whole(&Arc::new(source)), "");
                let message = "the file does not end with a line feed: it may be half-written";
                Diagnostic::error(Code::Unfinished, message).at(label).help("save it again, whole")
            })
            .collect();
        if !unfinished.is_empty() {
            return self.reject(unfinished, Duration::ZERO);
        }
        let started = Instant::now();
        // A rule of the embedding program may panic; this thread must not die of it.
        let spec = Arc::clone(&self.shared.spec);
        let assembled = catch_unwind(AssertUnwindSafe(|| assemble(&spec, &inputs)));
        let assembled = assembled.unwrap_or_else(|_| {
            Err(vec![Diagnostic::error(Code::Invalid, "a rule of the document panicked")])
        });
        match assembled {
            Ok(mut loaded) => {
                loaded.warnings.extend(warnings);
                self.accept(inputs, loaded, started.elapsed());
            }
            Err(problems) => self.reject(problems, started.elapsed()),
        }
    }

    fn accept(&mut self, inputs: Inputs, loaded: Loaded<T>, took: Duration) {
        let before = self.shared.store.load();
        let changes = diff(&before.loaded, &loaded);
        let warnings = loaded.warnings.clone();
        let generation = self.shared.store.publish(loaded);
        let now = SystemTime::now();
        lastgood::keep(self.options.state_dir.as_deref(), &inputs);
        let news = {
            let mut state = self.shared.state();
            let hash = inputs_hash(&inputs);
            state.inputs = inputs;
            let status = &mut state.status;
            let news = generation != status.generation;
            if news {
                status.generation = generation;
                status.since = now;
                status.metrics.accepted += 1;
            } else {
                status.metrics.unchanged += 1;
            }
            status.active = hash;
            status.last_reload_ok = true;
            status.fallback = false;
            if let Some(rejected) = &mut status.last_rejected {
                rejected.standing = false;
            }
            status.metrics.generation = generation;
            status.metrics.last_success = Some(now);
            status.metrics.loaded(now, took);
            news
        };
        if news {
            self.tell(|sequence| Reload::Accepted { sequence, generation, changes, warnings });
        }
    }

    fn reject(&mut self, diagnostics: Vec<Diagnostic>, took: Duration) {
        let now = SystemTime::now();
        let mut state = self.shared.state();
        let status = &mut state.status;
        status.last_reload_ok = false;
        status.last_rejected = Some(Rejected {
            at: now,
            hash: status.on_disk,
            diagnostics: diagnostics.clone(),
            standing: true,
        });
        status.metrics.loaded(now, took);
        status.metrics.refused(&diagnostics);
        drop(state);
        self.tell_rejected(diagnostics);
    }

    fn tell_rejected(&self, diagnostics: Vec<Diagnostic>) {
        let generation = self.shared.state().status.generation;
        self.tell(|sequence| Reload::Rejected { sequence, generation, diagnostics });
    }

    fn tell(&self, event: impl FnOnce(u64) -> Reload) {
        let sequence = {
            let mut state = self.shared.state();
            state.sequence += 1;
            state.sequence
        };
        if self.events.try_send(event(sequence)).is_err() {
            self.shared.state().status.metrics.lost_events += 1;
        }
    }

    /// Watches where the files are now: links may lead elsewhere than before.
    fn rewatch(&mut self) {
        if !self.options.events {
            return;
        }
        let paths: Vec<_> = self.sources.files.iter().map(|file| file.path.clone()).collect();
        let result = watch::follow(&mut self.watch, &paths);
        let mut state = self.shared.state();
        let status = &mut state.status;
        let why = result.err();
        if why.is_some() && status.not_watching.is_none() {
            status.metrics.watch_errors += 1;
        }
        status.not_watching = why;
    }
}

fn assemble_read<T: Document>(
    spec: &Spec<T>,
    (inputs, warnings): (Inputs, Vec<Diagnostic>),
) -> Result<(Inputs, Loaded<T>), Vec<Diagnostic>> {
    let mut loaded = assemble(spec, &inputs)?;
    loaded.warnings.extend(warnings);
    Ok((inputs, loaded))
}

/// The document of the last good inputs, with today's environment and flags.
fn fall_back<T: Document>(
    spec: &Spec<T>,
    sources: &Sources,
    options: &LiveOptions,
    problems: &[Diagnostic],
) -> Result<(Inputs, Loaded<T>), Vec<Diagnostic>> {
    let refused = || problems.to_vec();
    let texts = lastgood::recall(options.state_dir.as_deref(), sources).ok_or_else(refused)?;
    let inputs = Inputs {
        texts,
        env: sources.env.clone(),
        flags: sources.flags.clone(),
        cwd: sources.cwd.clone(),
    };
    let mut loaded = assemble(spec, &inputs).map_err(|_| refused())?;
    let message = "the present files are refused: the last good copy is in use";
    loaded.warnings.insert(0, Diagnostic::warning(Code::Fallback, message));
    loaded.warnings.extend(problems.iter().cloned());
    Ok((inputs, loaded))
}

/// The hash of the files' contents, each with its path.
fn inputs_hash(inputs: &Inputs) -> Hash {
    let mut bytes = Vec::new();
    for text in &inputs.texts {
        bytes.extend_from_slice(text.path.as_os_str().as_encoded_bytes());
        bytes.extend_from_slice(&(text.bytes.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&text.bytes);
    }
    Hash::of(&bytes)
}
