//! Those who read a running document.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memcfg::live::Reload;
use mempressure::WorkloadConfig;

use super::support::{live, long, p99, rename_over, row, text_with};

/// What readers found out of order.
#[derive(Debug, Default)]
struct Wrong {
    torn: AtomicU64,
    backwards: AtomicU64,
}

impl Wrong {
    fn look(&self, generation: u64, before: &mut u64, workload: &WorkloadConfig) {
        let whole = 1024 + u64::from(workload.batch_size);
        self.torn.fetch_add(u64::from(workload.max_file_size.bytes() != whole), Ordering::Relaxed);
        self.backwards.fetch_add(u64::from(generation < *before), Ordering::Relaxed);
        *before = generation;
    }

    fn counts(&self) -> (u64, u64) {
        (self.torn.load(Ordering::Relaxed), self.backwards.load(Ordering::Relaxed))
    }
}

fn how_long() -> Duration {
    Duration::from_millis(if long() { 5_000 } else { 500 })
}

#[test]
fn observers_and_readers_under_reloads_see_no_torn_and_no_older_document() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(10)).unwrap();
    let live = Arc::new(live(&path));
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let wrong = Arc::new(Wrong::default());
    let mut threads = Vec::new();
    for _ in 0..4 {
        let (settings, stop, reads) = (live.workload(), Arc::clone(&stop), Arc::clone(&reads));
        let wrong = Arc::clone(&wrong);
        threads.push(std::thread::spawn(move || {
            let (mut before, mut count) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let current = settings.load();
                wrong.look(current.generation, &mut before, &current.value);
                count += 1;
            }
            reads.fetch_add(count, Ordering::Relaxed);
        }));
    }
    let (report, heard) = crossbeam_channel::unbounded();
    for _ in 0..100 {
        let (settings, stop, report) = (live.workload(), Arc::clone(&stop), report.clone());
        let wrong = Arc::clone(&wrong);
        threads.push(std::thread::spawn(move || {
            let mut before = settings.load().generation;
            while !stop.load(Ordering::Relaxed) {
                if settings.changed().recv_timeout(Duration::from_millis(50)).is_ok() {
                    let current = settings.load();
                    wrong.look(current.generation, &mut before, &current.value);
                    report.send((current.generation, Instant::now())).unwrap();
                }
            }
        }));
    }
    let until = Instant::now() + how_long();
    let (mut generation, mut waits) = (1u64, Vec::new());
    while Instant::now() < until {
        generation += 1;
        let saved = Instant::now();
        rename_over(&path, &text_with(10 + usize::try_from(generation % 400).unwrap()));
        // Every observer has heard of it before the next edit: none is left behind.
        let mut count = 0;
        while count < 100 {
            let (seen, at) = heard.recv_timeout(Duration::from_secs(30)).expect("an observer");
            if seen == generation {
                count += 1;
                waits.push(at - saved);
            }
        }
    }
    let status = live.status();
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    // The four readers may not have looked since the last edit.
    let newest = status.observers.iter().filter(|observer| observer.generation == generation);
    let behind = 100usize.saturating_sub(newest.count());
    let (torn, backwards) = wrong.counts();
    row(
        "+",
        "reloads under load: 100 observers, 4 readers",
        format!(
            "{generation} generations, {} million reads",
            reads.load(Ordering::Relaxed) / 1_000_000
        ),
        format!(
            "{torn} torn, {backwards} backwards, {behind} left behind; edit to observer p99 {:.0} ms (settling 25 ms)",
            p99(waits).as_secs_f64() * 1e3
        ),
    );
    assert_eq!((torn, backwards, behind), (0, 0, 0));
}

#[test]
fn broken_observers_hold_up_nobody_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(10)).unwrap();
    let live = live(&path);
    let (report, heard) = crossbeam_channel::unbounded();
    let (release, held) = crossbeam_channel::bounded::<()>(0);
    let mut threads = Vec::new();
    for number in 0..100 {
        let name =
            if number < 5 { format!("stuck-{number}") } else { format!("observer-{number}") };
        let settings = live.section(&name, |config| &config.workload);
        let (report, held) = (report.clone(), held.clone());
        threads.push(std::thread::spawn(move || {
            let mut generation = settings.load().generation;
            while generation < u64::MAX
                && settings.changed().recv_timeout(Duration::from_secs(60)).is_ok()
            {
                match number {
                    // Stuck in its handler until the test is over: it never takes the new generation.
                    0..5 => {
                        let _ = held.recv();
                        return;
                    }
                    // Its thread dies, and its settings with it.
                    5..10 => std::panic::resume_unwind(Box::new("broken")),
                    _ => {}
                }
                let current = settings.load();
                generation = current.generation;
                if report.send((generation, Instant::now())).is_err()
                    || current.value.batch_size == 499
                {
                    return;
                }
            }
        }));
    }
    let (edits, mut waits, mut missed) = (if long() { 100 } else { 10 }, Vec::new(), 0);
    for edit in 1..=edits {
        let batch = if edit == edits { 499 } else { 10 + edit };
        let saved = Instant::now();
        rename_over(&path, &text_with(batch));
        let mut count = 0;
        while count < 90 {
            match heard.recv_timeout(Duration::from_secs(30)) {
                Ok((generation, at)) if generation == 1 + edit as u64 => {
                    waits.push(at - saved);
                    count += 1;
                }
                Ok(_) => {}
                Err(_) => {
                    missed += 90 - count;
                    break;
                }
            }
        }
    }
    let observers = live.status().observers;
    let behind: Vec<_> =
        observers.iter().filter(|o| o.generation == 1).map(|o| o.name.as_str()).collect();
    let named = behind == ["stuck-0", "stuck-1", "stuck-2", "stuck-3", "stuck-4"];
    let dead =
        observers.iter().filter(|o| (5..10).any(|n| o.name == format!("observer-{n}"))).count();
    row(
        "13",
        "100 observers, 5 stuck and 5 dead",
        format!("{edits} edits"),
        format!(
            "{missed} missed by the other 90, p99 {:.0} ms; the stuck named: {named}; dead still listed: {dead}",
            p99(waits).as_secs_f64() * 1e3
        ),
    );
    assert!(missed == 0 && named && dead == 0, "{observers:?}");
    drop(release);
    for thread in threads {
        let _ = thread.join();
    }
}

#[test]
fn observers_that_come_and_go_during_reloads_find_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(10)).unwrap();
    let live = Arc::new(live(&path));
    let stop = Arc::new(AtomicBool::new(false));
    let (wrong, stale) = (Arc::new(Wrong::default()), Arc::new(AtomicU64::new(0)));
    let visitors: Vec<_> = (0..8)
        .map(|_| {
            let (live, stop) = (Arc::clone(&live), Arc::clone(&stop));
            let (wrong, stale) = (Arc::clone(&wrong), Arc::clone(&stale));
            std::thread::spawn(move || {
                let (mut before, mut visits) = (0, 0u64);
                while !stop.load(Ordering::Relaxed) {
                    // Whoever comes finds what is in force at once, and may look, leave, ask and come again.
                    let newest = live.load().generation;
                    let settings = live.workload();
                    let current = settings.load();
                    stale.fetch_add(u64::from(current.generation < newest), Ordering::Relaxed);
                    wrong.look(current.generation, &mut before, &current.value);
                    if visits % 64 == 0 {
                        live.check_now();
                        let _ = live.status();
                    }
                    visits += 1;
                }
                visits
            })
        })
        .collect();
    let until = Instant::now() + how_long();
    let mut edits = 0;
    while Instant::now() < until {
        edits += 1;
        rename_over(&path, &text_with(10 + edits % 400));
        let taken = live.reloads().recv_timeout(Duration::from_secs(30));
        assert!(matches!(taken, Ok(Reload::Accepted { .. })), "{taken:?}");
    }
    stop.store(true, Ordering::Relaxed);
    let visits: u64 = visitors.into_iter().map(|visitor| visitor.join().unwrap()).sum();
    let (torn, backwards) = wrong.counts();
    let (stale, left) = (stale.load(Ordering::Relaxed), live.status().observers.len());
    row(
        "14",
        "observers that come and go during reloads",
        format!("{edits} edits, {visits} visits"),
        format!(
            "{torn} torn, {backwards} backwards, {stale} older than in force, {left} left over"
        ),
    );
    assert_eq!((torn, backwards, stale, left), (0, 0, 0, 0));
}
