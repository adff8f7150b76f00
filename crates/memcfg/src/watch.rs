//! File-system events for the files of a document: only a hint to look, never the news itself.

use std::path::PathBuf;

/// Makes a watch watch where the files are now; the error says why events cannot be relied on.
pub(crate) type Follow =
    Box<dyn FnMut(&mut Option<Watch>, &[PathBuf]) -> Result<(), String> + Send>;

#[cfg(feature = "watch")]
pub(crate) use events::{Watch, follow};

#[cfg(not(feature = "watch"))]
pub(crate) use polling::{Watch, follow};

#[cfg(feature = "watch")]
mod events {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::thread;

    use crossbeam_channel::{Receiver, bounded};
    use notify::event::{AccessKind, AccessMode, EventKind};
    use notify::{RecommendedWatcher, RecursiveMode, Watcher};

    use crate::links;

    /// Watches the directories that hold the files, and the links on the way to them.
    ///
    /// A file itself is never watched: after the first rename over it such a watch sees nothing any more.
    pub(crate) struct Watch {
        watcher: RecommendedWatcher,
        directories: BTreeSet<PathBuf>,
        /// What an event must be about; shared with the watcher's own thread.
        interesting: Arc<Mutex<BTreeSet<PathBuf>>>,
        events: Receiver<()>,
    }

    impl Watch {
        pub(crate) fn events(&self) -> &Receiver<()> {
            &self.events
        }

        /// The same watch after its thread has ended.
        #[cfg(test)]
        pub(crate) fn end(&mut self) {
            self.events = bounded(1).1;
        }
    }

    /// Makes `watch` watch where the files are now. The error says why events cannot be relied on.
    pub(crate) fn follow(watch: &mut Option<Watch>, paths: &[PathBuf]) -> Result<(), String> {
        let (mut directories, mut interesting) = (BTreeSet::new(), BTreeSet::new());
        for path in paths {
            let chain = links::follow(path).map_err(|error| error.to_string())?;
            // One that does not exist is left to the polls. Watching what lies above it, `/etc` perhaps, would wake us
            // whenever any program starts.
            directories
                .extend(chain.directories.into_iter().filter(|directory| directory.is_dir()));
            interesting.extend(chain.links);
            interesting.insert(chain.target);
        }
        let watch = match watch {
            Some(watch) => watch,
            None => watch.insert(open().map_err(|error| error.to_string())?),
        };
        *watch.interesting.lock().unwrap_or_else(PoisonError::into_inner) = interesting;
        let (mut failed, mut held) = (None, BTreeSet::new());
        for directory in watch.directories.difference(&directories) {
            // It may be gone, and its watch with it.
            let _ = watch.watcher.unwatch(directory);
        }
        for directory in directories {
            // A directory that was removed and made again has lost its watch, though its name is the same; watching
            // twice is harmless.
            match watch.watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    held.insert(directory);
                }
                Err(error) => failed = Some(error.to_string()),
            }
        }
        watch.directories = held;
        failed.map_or(Ok(()), Err)
    }

    fn open() -> notify::Result<Watch> {
        // notify takes it that its thread starts, and panics where the system gives none: that is asked before.
        thread::Builder::new().stack_size(64 * 1024).spawn(|| {})?.join().ok();
        let (ring, events) = bounded(1);
        let interesting = Arc::new(Mutex::new(BTreeSet::<PathBuf>::new()));
        let wanted = Arc::clone(&interesting);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let news = match &event {
                // An error may mean that events were lost: look.
                Err(_) => true,
                Ok(event) => {
                    changes_something(event.kind) && {
                        let wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
                        event.need_rescan() || event.paths.iter().any(|path| touches(path, &wanted))
                    }
                }
            };
            if news {
                // A bell that is still ringing says all there is to say.
                let _ = ring.try_send(());
            }
        })?;
        Ok(Watch { watcher, directories: BTreeSet::new(), interesting, events })
    }

    /// Opening and reading a file, as we do ourselves, changes nothing.
    fn changes_something(kind: EventKind) -> bool {
        match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        }
    }

    /// Whether an event at `path` is about one of the wanted files or a directory on the way to one.
    fn touches(path: &Path, wanted: &BTreeSet<PathBuf>) -> bool {
        wanted.iter().any(|wanted| wanted.starts_with(path))
    }
}

#[cfg(not(feature = "watch"))]
mod polling {
    use std::path::PathBuf;

    use crossbeam_channel::Receiver;

    /// Nothing: without the feature `watch`, changes are found by polling.
    pub(crate) enum Watch {}

    impl Watch {
        pub(crate) fn events(&self) -> &Receiver<()> {
            match *self {}
        }
    }

    pub(crate) fn follow(_: &mut Option<Watch>, _: &[PathBuf]) -> Result<(), String> {
        Err("built without the feature `watch`".to_owned())
    }
}
