//! The store under every order in which its threads may run.
//!
//! `src/store.rs` is built here a second time, as it is, on the primitives of a scheduler that tries out interleavings
//! ([shuttle](https://docs.rs/shuttle)) in place of `std`, `arc_swap` and `crossbeam_channel`. So bell, generation, joining and
//! leaving are the real code; what stands in is what they are made of: an `ArcSwap` that swaps under a lock, and a channel with
//! room for one. The thread that follows files cannot run here (`select!`, clocks, files): its shutdown, which is one channel
//! that is dropped and a join, is modelled by a writer that ends the same way.
//!
//! `MEMCFG_LONG=1` tries 100,000 schedules of each, and not 2,000.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which prints its row")]

/// What the store imports, on the scheduler.
mod sync {
    use std::sync::Arc;

    pub(crate) use shuttle::sync::Mutex;
    pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use shuttle::sync::mpsc::{Receiver, SyncSender as Sender};

    pub(crate) fn bounded(room: usize) -> (Sender<()>, Receiver<()>) {
        shuttle::sync::mpsc::sync_channel(room)
    }

    /// What `arc_swap` promises: loads and stores in one order, a load sees a whole value.
    pub(crate) struct ArcSwap<T>(Mutex<Arc<T>>);

    pub(crate) type Guard<T> = T;

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self(Mutex::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().unwrap())
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            self.load()
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            *self.0.lock().unwrap() = value;
        }
    }
}

/// A document is its value: how it came about is nothing that threads share.
mod load {
    #[derive(Debug)]
    pub(crate) struct Loaded<T> {
        pub(crate) value: T,
    }
}

#[path = "../src/store.rs"]
#[expect(dead_code, unreachable_pub, reason = "the real file, of which a test uses a part")]
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use load::Loaded;
use shuttle::sync::mpsc::channel;
use shuttle::thread;
use store::Store;

/// Two halves that are always equal: a mixture of two documents would show.
struct Doc {
    left: Arc<u64>,
    right: Arc<u64>,
}

fn doc(number: u64) -> Loaded<Doc> {
    Loaded { value: Doc { left: Arc::new(number), right: Arc::new(number) } }
}

/// Publishes generations 2 to `last`, of which each says its own number.
fn publish(store: &Store<Doc>, last: u64) {
    for generation in 2..=last {
        assert_eq!(store.publish(doc(generation), false), generation);
    }
}

fn schedules() -> usize {
    if std::env::var_os("MEMCFG_LONG").is_some() { 100_000 } else { 2_000 }
}

/// Runs `model` under that many schedules, half of them random, half with few switches at the worst places.
fn explore(what: &str, model: fn()) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = || {
        let count = Arc::clone(&count);
        move || {
            count.fetch_add(1, Ordering::Relaxed);
            model();
        }
    };
    shuttle::check_random(counted(), schedules() / 2);
    shuttle::check_pct(counted(), schedules() / 2, 3);
    println!(
        "fault-row: 14 | {what} | {} schedules | 0 deadlocks, 0 torn, 0 backwards, 0 that miss the newest",
        count.load(Ordering::Relaxed)
    );
}

/// Looks whenever the bell rings, until the newest is there: with a ring lost this would wait for ever, which the scheduler
/// calls a deadlock.
fn follow(store: &Arc<Store<Doc>>, name: &str, last: u64) {
    let all = store.subscribe_whole(name);
    let mut before = 0;
    loop {
        let snapshot = all.load();
        let Doc { left, right } = &snapshot.loaded.value;
        assert_eq!(left, right, "torn");
        assert_eq!(**left, snapshot.generation, "another generation's document");
        assert!(snapshot.generation >= before, "backwards");
        before = snapshot.generation;
        if before == last {
            return;
        }
        all.bell().recv().unwrap();
    }
}

#[test]
fn every_observer_ends_at_the_newest() {
    explore("model of the store: a writer and 3 observers, 3 generations", || {
        let store = Store::new(doc(1));
        let observers: Vec<_> = (0..3)
            .map(|number| {
                let store = Arc::clone(&store);
                thread::spawn(move || follow(&store, &number.to_string(), 4))
            })
            .collect();
        publish(&store, 4);
        for observer in observers {
            observer.join().unwrap();
        }
    });
}

#[test]
fn whoever_joins_late_or_leaves_early_disturbs_nobody() {
    explore("model of the store: one observer stays, one leaves, one comes late", || {
        let store = Store::new(doc(1));
        let staying = Arc::clone(&store);
        let staying = thread::spawn(move || follow(&staying, "stays", 3));
        let leaving = store.subscribe_whole("leaves");
        let leaving = thread::spawn(move || assert!(leaving.load().generation >= 1));
        let late = Arc::clone(&store);
        let late = thread::spawn(move || {
            let newest = late.load().generation;
            let part = late.subscribe("late", |doc| &doc.left);
            let (generation, left) = part.load();
            assert!(generation >= newest && *left == generation, "older than what was in force");
            follow(&late, "late as well", 3);
        });
        publish(&store, 3);
        for thread in [staying, leaving, late] {
            thread.join().unwrap();
        }
        // All have gone; the list says so without another change.
        assert!(store.observers().is_empty());
    });
}

#[test]
fn shutting_down_waits_for_the_writer_and_the_last_document_stays_readable() {
    explore("model of the store: shutdown in the middle of publishing", || {
        let store = Store::new(doc(1));
        let (control, commands) = channel::<()>();
        let written = Arc::clone(&store);
        let writer = thread::spawn(move || {
            let mut generation = 1;
            // As the follower does: after each piece of work it looks whether its commands have ended.
            while generation < 3 && commands.try_recv() != Err(disconnected()) {
                generation = written.publish(doc(generation + 1), false);
            }
            generation
        });
        let all = store.subscribe_whole("reader");
        let reader = thread::spawn(move || {
            let first = all.load().generation;
            (first, all)
        });
        drop(control);
        let last = writer.join().unwrap();
        let (first, all) = reader.join().unwrap();
        assert!(first <= last);
        assert_eq!(all.load().generation, last);
        assert_eq!(store.observers()[0].generation, last);
    });
}

fn disconnected() -> shuttle::sync::mpsc::TryRecvError {
    shuttle::sync::mpsc::TryRecvError::Disconnected
}

#[test]
fn the_same_document_again_rings_nobody_and_keeps_its_number() {
    explore("model of the store: a change and no change, with a reader", || {
        let store = Store::new(doc(1));
        let read = Arc::clone(&store);
        let reader = thread::spawn(move || follow(&read, "reader", 2));
        assert_eq!(store.publish(doc(1), true), 1);
        assert_eq!(store.publish(doc(2), false), 2);
        let quiet = store.subscribe_whole("quiet");
        assert_eq!(store.publish(doc(2), true), 2);
        assert!(quiet.bell().try_recv().is_err());
        reader.join().unwrap();
    });
}
