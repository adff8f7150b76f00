//! The thread that follows the files of a live document: looks, waits until what it sees has settled, judges it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, select, tick};

use crate::diagnostic::{Code, Diagnostic, Label};
use crate::diff::diff;
use crate::files::{ReadInputs, Sources};
use crate::hash::Hash;
use crate::live::{LiveOptions, Rejected, Reload, Shared};
use crate::load::{Inputs, Loaded, assemble};
use crate::origin::{Origin, Source};
use crate::spec::{Document, Spec};
use crate::watch::Watch;
use crate::{lastgood, watch};

/// What a look at the files found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DiskState {
    Read(Inputs),
    Unreadable,
}

/// The one writer of a live document.
pub(crate) struct Follower<T> {
    pub(crate) shared: Arc<Shared<T>>,
    pub(crate) sources: Sources,
    pub(crate) options: LiveOptions,
    pub(crate) events: Sender<Reload>,
    pub(crate) watch: Option<Watch>,
    /// How `watch` is made to watch where the files are.
    pub(crate) follow: watch::Follow,
    /// What was last accepted or refused: the same again is no news.
    pub(crate) judged: DiskState,
}

impl DiskState {
    pub(crate) fn of(read: &ReadInputs) -> Self {
        match read {
            Ok((inputs, _)) => DiskState::Read(inputs.clone()),
            Err(_) => DiskState::Unreadable,
        }
    }

    pub(crate) fn hash(&self) -> Hash {
        match self {
            DiskState::Read(inputs) => inputs_hash(inputs),
            DiskState::Unreadable => Hash::of(b""),
        }
    }
}

impl<T: Document> Follower<T> {
    pub(crate) fn run(mut self, commands: &Receiver<Sender<()>>) {
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
                        // Not watched again before the clock says so: one that dies at once would keep this thread busy.
                        self.watch_died();
                        continue;
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
        // A rule of the embedding program, or the comparison of its types, may panic; this thread must not die of it.
        let spec = Arc::clone(&self.shared.spec);
        let before = self.shared.store.load();
        let assembled = catch_unwind(AssertUnwindSafe(|| {
            let loaded = assemble(&spec, &inputs)?;
            let same = before.loaded.value == loaded.value;
            Ok((loaded, same))
        }));
        let assembled = assembled.unwrap_or_else(|_| {
            Err(vec![Diagnostic::error(Code::Invalid, "a rule of the document panicked")])
        });
        match assembled {
            Ok((mut loaded, same)) => {
                loaded.warnings.extend(warnings);
                self.accept(inputs, loaded, same, started.elapsed());
            }
            Err(problems) => self.reject(problems, started.elapsed()),
        }
    }

    fn accept(&mut self, inputs: Inputs, loaded: Loaded<T>, same: bool, took: Duration) {
        let before = self.shared.store.load();
        let changes = diff(&before.loaded, &loaded);
        let warnings = loaded.warnings.clone();
        let generation = self.shared.store.publish(loaded, same);
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

    pub(crate) fn tell_rejected(&self, diagnostics: Vec<Diagnostic>) {
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
    pub(crate) fn rewatch(&mut self) {
        if !self.options.events {
            return;
        }
        let paths: Vec<_> = self.sources.files.iter().map(|file| file.path.clone()).collect();
        let result = (self.follow)(&mut self.watch, &paths);
        let mut state = self.shared.state();
        let status = &mut state.status;
        let why = result.err();
        if why.is_some() && status.not_watching.is_none() {
            status.metrics.watch_errors += 1;
        }
        status.not_watching = why;
    }

    fn watch_died(&mut self) {
        self.watch = None;
        let mut state = self.shared.state();
        state.status.metrics.watch_errors += 1;
        state.status.not_watching = Some("the watcher ended".to_owned());
    }
}

pub(crate) fn assemble_read<T: Document>(
    spec: &Spec<T>,
    (inputs, warnings): (Inputs, Vec<Diagnostic>),
) -> Result<(Inputs, Loaded<T>), Vec<Diagnostic>> {
    let mut loaded = assemble(spec, &inputs)?;
    loaded.warnings.extend(warnings);
    Ok((inputs, loaded))
}

/// The document of the last good inputs, with today's environment and flags.
pub(crate) fn fall_back<T: Document>(
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
pub(crate) fn inputs_hash(inputs: &Inputs) -> Hash {
    let mut bytes = Vec::new();
    for text in &inputs.texts {
        bytes.extend_from_slice(text.path.as_os_str().as_encoded_bytes());
        bytes.extend_from_slice(&(text.bytes.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&text.bytes);
    }
    Hash::of(&bytes)
}
