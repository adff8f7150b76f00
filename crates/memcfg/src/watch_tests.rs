//! A live document whose watching fails, whose rules misbehave, and whose figures must move.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault_row::tests::row;
use crate::files::Sources;
use crate::history::{History, Mark, Release};
use crate::live::{Live, LiveOptions, Reload};
use crate::metrics::LoadMetrics;
use crate::schema::{Key, Kind, Schema};
use crate::spec::{Rule, Spec};
use crate::watch::{self, Follow, Watch};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields, default)]
struct Doc {
    #[garde(skip)]
    x: i64,
}

fn spec(rules: impl IntoIterator<Item = Rule<Doc>>) -> Arc<Spec<Doc>> {
    let schema = Schema::new().with([Key::new("x", Kind::Integer { min: 0, max: 9_999 }, "")]);
    let (number, mark) = (1, Mark::Number(1));
    let release = Release { number, key: "version", mark, schema, ops: Vec::new() };
    Arc::new(Spec::new(History::new(release)).rules(rules))
}

fn options(poll: Duration) -> LiveOptions {
    let settle = Duration::from_millis(5);
    LiveOptions { poll, settle, ..LiveOptions::default() }
}

fn save(path: &Path, x: i64) {
    let temp = path.with_extension("new");
    std::fs::write(&temp, format!("version = 1\nx = {x}\n")).unwrap();
    std::fs::rename(temp, path).unwrap();
}

fn accepted(live: &Live<Doc>, x: i64) {
    match live.reloads().recv_timeout(Duration::from_secs(30)) {
        Ok(Reload::Accepted { .. }) => assert_eq!(live.load().loaded.value.x, x),
        other => panic!("{other:?}"),
    }
}

const WATCHED: u8 = 0;
const DYING: u8 = 1;
const REFUSED: u8 = 2;

/// The real watching, which ends or is refused on demand, and how often it was asked for.
fn fragile() -> (Follow, Arc<AtomicU8>, Arc<AtomicUsize>) {
    let (mode, asked) = (Arc::new(AtomicU8::new(WATCHED)), Arc::new(AtomicUsize::new(0)));
    let (wanted, count) = (Arc::clone(&mode), Arc::clone(&asked));
    let follow = move |watch: &mut Option<Watch>, paths: &[PathBuf]| {
        count.fetch_add(1, Ordering::Relaxed);
        let mode = wanted.load(Ordering::Relaxed);
        if mode == REFUSED {
            *watch = None;
            return Err("no space left on device".to_owned());
        }
        let result = watch::follow(watch, paths);
        if let (DYING, Some(watch)) = (mode, watch) {
            watch.end();
        }
        result
    };
    (Box::new(follow), mode, asked)
}

#[test]
fn a_watcher_that_dies_or_is_refused_leaves_the_polling() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    save(&path, 1);
    let (follow, mode, _) = fragile();
    let poll = Duration::from_millis(40);
    let sources = Sources::new().file(&path);
    let live = Live::start_watched(spec([]), sources, options(poll), follow).unwrap();
    save(&path, 2);
    accepted(&live, 2);
    let status = live.status();
    assert_eq!((status.metrics.watch_errors, &status.not_watching), (0, &None));

    mode.store(DYING, Ordering::Relaxed);
    // The look after an edit watches anew, and that watch ends at once.
    save(&path, 3);
    accepted(&live, 3);
    save(&path, 4);
    accepted(&live, 4);
    let status = live.status();
    assert!(status.metrics.watch_errors > 0 && status.following, "{status:?}");

    mode.store(REFUSED, Ordering::Relaxed);
    live.check_now();
    let errors = live.status().metrics.watch_errors;
    save(&path, 5);
    accepted(&live, 5);
    let status = live.status();
    assert_eq!(status.not_watching.as_deref(), Some("no space left on device"));
    assert_eq!(status.metrics.watch_errors, errors, "counted once, not at every look");

    mode.store(WATCHED, Ordering::Relaxed);
    live.check_now();
    assert_eq!(live.status().not_watching, None, "watched again as soon as that is possible");
    row(
        "16",
        "the watcher dies mid-run, then watching is refused",
        "3 edits",
        "0 missed: polling finds them; watched again afterwards",
    );
}

#[test]
fn a_watcher_that_ends_at_once_is_not_asked_for_again_before_the_next_poll() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    save(&path, 1);
    let (follow, mode, asked) = fragile();
    let sources = Sources::new().file(&path);
    let live =
        Live::start_watched(spec([]), sources, options(Duration::from_secs(3600)), follow).unwrap();
    live.check_now();
    mode.store(DYING, Ordering::Relaxed);
    save(&path, 2);
    accepted(&live, 2);
    while live.status().not_watching.is_none() {
        std::thread::yield_now();
    }
    // Time in which a thread that asks again and again would do so thousands of times.
    std::thread::sleep(Duration::from_millis(20));
    assert!(asked.load(Ordering::Relaxed) <= 6, "asked {} times", asked.load(Ordering::Relaxed));
    assert!(live.status().not_watching.unwrap().contains("ended"));
}

#[test]
fn a_rule_that_panics_or_calls_back_neither_kills_nor_blocks_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    save(&path, 1);
    let handle: Arc<OnceLock<Weak<Live<Doc>>>> = Arc::default();
    let inside = Arc::clone(&handle);
    let rule = Rule::new(move |doc: &Doc| {
        if let Some(live) = inside.get().and_then(Weak::upgrade) {
            // All of what a handler may think of, from the only thread that could answer.
            live.check_now();
            let _ = (live.status(), live.load(), live.subscribe_whole("inside").load().generation);
        }
        if doc.x == 13 {
            std::panic::resume_unwind(Box::new("thirteen"));
        }
        Vec::new()
    });
    let sources = Sources::new().file(&path);
    let live = Live::start(spec([rule]), sources, options(Duration::from_millis(40))).unwrap();
    let live = Arc::new(live);
    handle.set(Arc::downgrade(&live)).unwrap();
    save(&path, 13);
    let Ok(Reload::Rejected { diagnostics, .. }) =
        live.reloads().recv_timeout(Duration::from_secs(30))
    else {
        panic!("accepted, or stuck")
    };
    assert!(diagnostics[0].message.contains("panicked"), "{}", diagnostics[0]);
    save(&path, 14);
    accepted(&live, 14);
    assert!(live.status().following);
    row(
        "15",
        "a rule calls back into the document it is checked for, then panics",
        "2 edits",
        "0 deadlocks; the panic refused the edit, the next was taken",
    );
}

/// Each figure by name: one that is added and not moved here does not compile.
#[test]
fn every_figure_of_loading_moves_on_its_event() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let write = |text: &str| std::fs::write(&path, format!("version = 1\n{text}\n")).unwrap();
    save(&path, 1);
    let (follow, mode, _) = fragile();
    let sources = Sources::new().file(&path);
    let slow = Rule::new(|doc: &Doc| {
        if doc.x == 2 {
            std::thread::sleep(Duration::from_millis(50));
        }
        Vec::new()
    });
    let options = LiveOptions { events: true, ..options(Duration::from_secs(3600)) };
    let live = Live::start_watched(spec([slow]), sources, options, follow).unwrap();
    live.check_now();
    let metrics = || live.status().metrics;
    let first = metrics();

    write("x = 2");
    live.check_now();
    let LoadMetrics { accepted, generation, last_duration_seconds: slow, .. } = metrics();
    assert_eq!((first.accepted, first.generation), (1, 1));
    assert_eq!((accepted, generation), (2, 2));
    assert!(first.last_duration_seconds > 0.0 && slow >= 0.05, "{slow}");

    write("x = 2 # the same");
    write("x = 2 # the same again");
    live.check_now();
    assert!(metrics().unchanged > first.unchanged && metrics().accepted == 2);
    let success = metrics().last_success;
    assert!(success > first.last_success);

    write("y = 2");
    live.check_now();
    let bad = metrics();
    assert_eq!((first.rejected, bad.rejected), (0, 1));
    assert_eq!(bad.rejected_by, [("unknown_key", 1)].into());
    assert!(bad.last_attempt > success && bad.last_success == success);

    write("x = 3");
    live.check_now();
    let last = metrics();
    assert!(last.last_duration_seconds < slow, "a quick one after the slow one");
    assert!(last.longest_duration_seconds >= slow, "the slow one is remembered");

    for x in 100..200 {
        write(&format!("x = {x}"));
        live.check_now();
    }
    mode.store(REFUSED, Ordering::Relaxed);
    live.check_now();
    let LoadMetrics {
        accepted,
        unchanged,
        rejected,
        rejected_by,
        last_duration_seconds,
        longest_duration_seconds,
        generation,
        last_success,
        last_attempt,
        lost_events,
        polls,
        watch_errors,
    } = metrics();
    assert_eq!((accepted, generation, rejected, rejected_by.len()), (103, 103, 1, 1));
    assert!(unchanged > 0 && longest_duration_seconds > last_duration_seconds);
    assert!(last_success > success && last_attempt == last_success);
    assert!(first.lost_events == 0 && lost_events > 0, "nobody read the events");
    assert!(polls > first.polls + 100);
    assert_eq!((first.watch_errors, watch_errors), (0, 1));
}
