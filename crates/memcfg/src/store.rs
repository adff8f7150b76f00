//! The one place where the active document is, and those who read it.

use std::fmt;
use std::sync::{Arc, PoisonError, Weak};

use serde::Serialize;

use crate::load::Loaded;
use crate::sync::{ArcSwap, AtomicU64, Guard, Mutex, Ordering, Receiver, Sender, bounded};

/// An accepted document. Never changed: a new one takes its place.
#[derive(Debug)]
pub struct Snapshot<T> {
    /// Rises by one with every accepted document that says something else; the first is 1.
    pub generation: u64,
    /// The document and how it came about.
    pub loaded: Loaded<T>,
}

/// The active document and its observers.
pub struct Store<T> {
    current: ArcSwap<Snapshot<T>>,
    observers: Mutex<Vec<Observer>>,
}

impl<T: fmt::Debug> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("current", &self.current.load()).finish_non_exhaustive()
    }
}

struct Observer {
    name: String,
    ring: Sender<()>,
    /// The generation it last took; gone when the observer is.
    seen: Weak<AtomicU64>,
}

/// Which generation an observer runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObserverStatus {
    /// Its name.
    pub name: String,
    /// The generation it last took; 0 before it took any.
    pub generation: u64,
}

impl<T: Send + Sync + 'static> Store<T> {
    /// A store whose generation 1 is `loaded`.
    #[must_use]
    pub fn new(loaded: Loaded<T>) -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwap::from_pointee(Snapshot { generation: 1, loaded }),
            observers: Mutex::new(Vec::new()),
        })
    }

    /// The active document.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot<T>> {
        self.current.load_full()
    }

    /// Puts `loaded` in the place of the active document and rings every bell. The answer is its generation.
    ///
    /// A document that says the `same` keeps the generation and rings nothing; only the places of its values, which an
    /// edit of a comment moves, are taken over. There must be one writer, and it must not panic in here: it compares
    /// before it comes.
    pub(crate) fn publish(&self, loaded: Loaded<T>, same: bool) -> u64 {
        let generation = self.current.load().generation + u64::from(!same);
        self.current.store(Arc::new(Snapshot { generation, loaded }));
        if !same {
            // A bell that is still ringing says all there is to say; one whose reader is gone is taken down.
            let mut observers = self.observers.lock().unwrap_or_else(PoisonError::into_inner);
            observers.retain(|observer| observer.seen.strong_count() > 0);
            for observer in observers.iter() {
                let _ = observer.ring.try_send(());
            }
        }
        generation
    }

    /// A new observer called `name`, which reads the part of the document that `part` finds.
    ///
    /// It sees the active document at once, and its bell rings after each change.
    #[must_use]
    pub fn subscribe<S>(
        self: &Arc<Self>,
        name: &str,
        part: fn(&T) -> &Arc<S>,
    ) -> Subscription<T, S> {
        let (seen, bell) = self.observe(name);
        Subscription { view: View { store: Arc::clone(self), part, seen }, bell }
    }

    /// A new observer called `name`, which reads the whole document.
    #[must_use]
    pub fn subscribe_whole(self: &Arc<Self>, name: &str) -> WholeSubscription<T> {
        let (seen, bell) = self.observe(name);
        WholeSubscription { view: WholeView { store: Arc::clone(self), seen }, bell }
    }

    fn observe(&self, name: &str) -> (Arc<AtomicU64>, Receiver<()>) {
        let (ring, bell) = bounded(1);
        let seen = Arc::new(AtomicU64::new(0));
        let observer = Observer { name: name.to_owned(), ring, seen: Arc::downgrade(&seen) };
        self.observers.lock().unwrap_or_else(PoisonError::into_inner).push(observer);
        (seen, bell)
    }

    /// Each observer and the generation it runs on.
    #[must_use]
    pub fn observers(&self) -> Vec<ObserverStatus> {
        let observers = self.observers.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = observers.iter().filter_map(|observer| {
            let generation = observer.seen.upgrade()?.load(Ordering::Acquire);
            Some(ObserverStatus { name: observer.name.clone(), generation })
        });
        alive.collect()
    }
}

/// One observer's view of its part of the document.
#[derive(Debug)]
pub struct Subscription<T, S> {
    view: View<T, S>,
    bell: Receiver<()>,
}

/// Reads one part of the active document.
pub struct View<T, S> {
    store: Arc<Store<T>>,
    part: fn(&T) -> &Arc<S>,
    seen: Arc<AtomicU64>,
}

impl<T, S> fmt::Debug for View<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl<T, S> View<T, S> {
    /// The generation and the part, from one snapshot. Waits for nobody.
    #[must_use]
    pub fn load(&self) -> (u64, Arc<S>) {
        let snapshot = self.store.current.load();
        mark(&self.seen, snapshot.generation);
        (snapshot.generation, Arc::clone((self.part)(&snapshot.loaded.value)))
    }
}

/// Says which generation an observer took. The common case writes nothing, so that readers do not fight for the line.
fn mark(seen: &AtomicU64, generation: u64) {
    if seen.load(Ordering::Relaxed) != generation {
        seen.store(generation, Ordering::Release);
    }
}

/// One observer's view of the whole document.
#[derive(Debug)]
pub struct WholeSubscription<T> {
    view: WholeView<T>,
    bell: Receiver<()>,
}

/// Reads the whole of the active document.
pub struct WholeView<T> {
    store: Arc<Store<T>>,
    seen: Arc<AtomicU64>,
}

impl<T> fmt::Debug for WholeView<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeView").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl<T> WholeView<T> {
    /// The active document. Waits for nobody.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot<T>>> {
        let snapshot = self.store.current.load();
        mark(&self.seen, snapshot.generation);
        snapshot
    }
}

impl<T> WholeSubscription<T> {
    /// The active document. Waits for nobody.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot<T>>> {
        self.view.load()
    }

    /// Becomes ready when the document has changed.
    #[must_use]
    pub fn bell(&self) -> &Receiver<()> {
        &self.bell
    }

    /// The reader and the bell apart, for a caller with a type of its own for the two.
    #[must_use]
    pub fn into_parts(self) -> (WholeView<T>, Receiver<()>) {
        (self.view, self.bell)
    }
}

impl<T, S> Subscription<T, S> {
    /// The generation and the part, from one snapshot. Waits for nobody.
    #[must_use]
    pub fn load(&self) -> (u64, Arc<S>) {
        self.view.load()
    }

    /// Becomes ready when the document has changed.
    #[must_use]
    pub fn bell(&self) -> &Receiver<()> {
        &self.bell
    }

    /// The reader and the bell apart, for a caller with a type of its own for the two.
    #[must_use]
    pub fn into_parts(self) -> (View<T, S>, Receiver<()>) {
        (self.view, self.bell)
    }
}
