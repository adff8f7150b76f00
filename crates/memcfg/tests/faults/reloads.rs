//! Files that change under a running document.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use memcfg::document::Live;
use memcfg::files::Sources;
use memcfg::live::{LiveOptions, Reload};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::{
    PATTERNS, SETTLE, Tally, in_two, live, long, options, p99, rename_over, row, text_with,
    this_binary,
};

/// Sizes that differ from one save to the next, for ever.
fn sizes() -> impl Iterator<Item = usize> {
    (11..500).cycle()
}

#[test]
fn every_way_to_save_is_one_generation_and_never_half_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(10)).unwrap();
    let live = live(&path);
    let rounds = if long() { 200 } else { 6 };
    let (mut tally, mut sizes) = (Tally::default(), sizes());
    for (_, save) in PATTERNS {
        for _ in 0..rounds {
            tally.save(&live, &path, save, sizes.next().unwrap());
        }
    }
    tally.close(&live);
    row("+", "six ways to save a file", format!("6 x {rounds} saves"), tally.figure());
    tally.assert_clean();
    assert_eq!(live.status().metrics.rejected, 0);
}

#[test]
fn a_file_seen_half_written_at_any_byte_makes_no_generation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(10)).unwrap();
    let live = live(&path);
    let whole = text_with(100).len();
    let (mut tally, mut sizes) = (Tally::default(), (100..500).cycle());
    // A place to stop at for each save; the ways to save are plain functions.
    static HALF: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    for half in (0..whole).step_by(if long() { 1 } else { 9 }) {
        HALF.store(half, Ordering::Relaxed);
        let save = |path: &Path, text: &str| in_two(path, text, HALF.load(Ordering::Relaxed));
        tally.save(&live, &path, save, sizes.next().unwrap());
    }
    tally.close(&live);
    let runs = format!("{} prefixes, written in place and completed", tally.saves);
    row("5", "a file seen half written", runs, tally.figure());
    tally.assert_clean();
}

#[test]
fn a_config_map_swap_under_readers_is_one_generation() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fn publish(root: &Path, number: usize, text: &str) {
        let data = root.join(format!("..{number}"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("c.toml"), text).unwrap();
        let link = root.join("..data_tmp");
        std::os::unix::fs::symlink(format!("..{number}"), &link).unwrap();
        std::fs::rename(&link, root.join("..data")).unwrap();
        if number > 0 {
            std::fs::remove_dir_all(root.join(format!("..{}", number - 1))).unwrap();
        }
    }
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    publish(root, 0, &text_with(10));
    let path = root.join("c.toml");
    std::os::unix::fs::symlink("..data/c.toml", &path).unwrap();
    let live = live(&path);
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (settings, stop) = (live.workload(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut torn = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let workload = settings.load().value;
                    let whole = 1024 + u64::from(workload.batch_size);
                    // The first document was written by the same rule.
                    torn += u64::from(workload.max_file_size.bytes() != whole);
                }
                torn
            })
        })
        .collect();
    let (mut tally, mut sizes) = (Tally::default(), sizes());
    for _ in 0..if long() { 1_000 } else { 15 } {
        let swap = |path: &Path, text: &str| {
            let number = 1 + NUMBER.fetch_add(1, Ordering::Relaxed);
            publish(path.parent().unwrap(), number, text);
            Duration::ZERO
        };
        tally.save(&live, &path, swap, sizes.next().unwrap());
    }
    tally.close(&live);
    stop.store(true, Ordering::Relaxed);
    let torn: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    let runs = format!("{} swaps, 2 readers", tally.saves);
    row(
        "6",
        "ConfigMap `..data` swap under readers",
        runs,
        format!("{}; {torn} torn reads", tally.figure()),
    );
    tally.assert_clean();
    assert_eq!(torn, 0);
}

#[test]
fn a_storm_of_edits_ends_in_the_last_state() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(10)).unwrap();
    let live = live(&path);
    let (edits, pace) = if long() { (60_000, 1_000) } else { (500, 1_000_000) };
    let settings = live.workload();
    // Reads in rows of a hundred: one alone is shorter than a look at the clock.
    let read = || {
        let began = Instant::now();
        for _ in 0..100 {
            std::hint::black_box(settings.load());
        }
        began.elapsed() / 100
    };
    let quiet: Vec<_> = (0..edits).map(|_| read()).collect();
    let (began, mut stormy) = (Instant::now(), Vec::new());
    for number in 0..edits {
        rename_over(&path, &text_with(10 + number % 400));
        stormy.push(read());
        let due = Duration::from_secs(1) / pace * u32::try_from(number).unwrap();
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    rename_over(&path, &text_with(499));
    let took = began.elapsed();
    live.check_now();
    let generation = live.status().generation;
    let last = live.load().loaded.value.workload.batch_size;
    row(
        "7",
        "reload storm",
        format!("{edits} edits in {:.0} s", took.as_secs_f64()),
        format!(
            "{generation} generations, the last one right: {}; p99 of a read {} ns, {} ns in the storm",
            last == 499,
            p99(quiet).as_nanos(),
            p99(stormy).as_nanos()
        ),
    );
    assert_eq!(last, 499);
    // Each has to stand still for a while before it counts, so there cannot be more than fit into the time.
    let most = 2 + took.as_micros() / SETTLE.as_micros();
    assert!(u128::from(generation) <= most, "{generation} generations in {took:?}");
}

#[test]
fn an_hour_with_a_bad_file_runs_on_the_good_document() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(77)).unwrap();
    let mut options = options();
    // The clock of this test is `check_now`: one look for each simulated second.
    (options.poll, options.events) = (Duration::from_secs(3600), false);
    options.settle = Duration::from_millis(1);
    let live = Live::start_with(Sources::new().file(&path), options).unwrap();
    rename_over(&path, "schema_version = 3\n[workload]\nbatch_size = 7\n");
    let ticks = 3_600;
    let (mut on_old, mut gauge_up) = (0, 0);
    for _ in 0..ticks {
        live.check_now();
        on_old += usize::from(live.load().loaded.value.workload.batch_size == 77);
        gauge_up += usize::from(live.status().last_reload_ok);
    }
    let refused = live.status().metrics.rejected;
    rename_over(&path, &text_with(77));
    live.check_now();
    let status = live.status();
    row(
        "8",
        "a bad file for an hour, then taken back",
        format!("{ticks} simulated seconds"),
        format!(
            "old document in force for {:.0} % of them, `last_reload_ok` true in {gauge_up}, then {}; refused {refused} time, generation {}",
            100.0 * on_old as f64 / ticks as f64,
            status.last_reload_ok,
            status.generation
        ),
    );
    assert_eq!((on_old, gauge_up, refused), (ticks, 0, 1));
    assert!(status.last_reload_ok && status.generation == 1);
}

#[test]
fn the_last_good_document_survives_a_restart_with_a_bad_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(77)).unwrap();
    let start = || {
        let mut options = LiveOptions::default();
        options.settle = Duration::from_millis(20);
        options.state_dir = Some(dir.path().join("state"));
        Live::start_with(Sources::new().file(&path), options)
    };
    drop(start().unwrap());
    std::fs::write(&path, "schema_version = 3\n[workload]\nbatch_size = 7\n").unwrap();
    let live = start().unwrap();
    assert_eq!(live.load().loaded.value.workload.batch_size, 77);
    let status = live.status();
    assert!(status.fallback && !status.last_reload_ok);
    assert!(status.last_rejected.unwrap().diagnostics[0].message.contains("below the lowest"));
    assert!(live.load().loaded.warnings[0].message.contains("last good copy"));
    assert!(matches!(live.reloads().recv().unwrap(), Reload::Rejected { .. }));
    rename_over(&path, &text_with(78));
    let Ok(Reload::Accepted { generation: 2, .. }) =
        live.reloads().recv_timeout(Duration::from_secs(30))
    else {
        panic!("mended, and not taken")
    };
    assert_eq!(live.load().loaded.value.workload.batch_size, 78);
    assert!(!live.status().fallback);
    row(
        "+",
        "a restart with a bad file",
        "1 restart",
        "the last good document in force, said in status, warning and event",
    );
    // Without a copy there is nothing to fall back to.
    std::fs::write(&path, "nonsense").unwrap();
    assert!(Live::start(Sources::new().file(&path)).is_err());
}

#[test]
fn a_file_left_unfinished_is_refused_and_a_missing_one_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(10)).unwrap();
    let mut options = LiveOptions::default();
    options.settle = Duration::from_millis(10);
    options.patience = Duration::from_millis(60);
    let live = Live::start_with(Sources::new().file(&path), options).unwrap();
    std::fs::write(&path, text_with(11).trim_end()).unwrap();
    let Ok(Reload::Rejected { diagnostics, .. }) =
        live.reloads().recv_timeout(Duration::from_secs(30))
    else {
        panic!("taken for whole")
    };
    assert_eq!(diagnostics[0].code, memcfg::Code::Unfinished);
    assert_eq!(live.load().loaded.value.workload.batch_size, 10);
    std::fs::remove_file(&path).unwrap();
    let Ok(Reload::Accepted { changes, .. }) = live.reloads().recv_timeout(Duration::from_secs(30))
    else {
        panic!("a removal that stays is meant")
    };
    assert_eq!(changes.len(), 2, "back to the defaults");
}

#[test]
fn reading_a_pipe_in_the_place_of_a_file_does_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let found = memcfg::document::load(&Sources::new().file(&path)).unwrap_err();
    assert_eq!(found[0].code, memcfg::Code::Permission);
}

/// Leaves this process `spare` descriptors beside those that are open. The limit is on their numbers.
fn only_spare_descriptors(spare: usize) {
    let used = |number: &u64| Path::new(&format!("/proc/self/fd/{number}")).exists();
    let last = (0..).filter(|number| !used(number)).nth(spare);
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: last, maximum }).unwrap();
}

fn until(what: &str, happens: impl Fn() -> bool) {
    let began = Instant::now();
    while !happens() {
        assert!(began.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("happened: {what}");
}

pub(crate) fn follow_without_descriptors(path: &Path) {
    let before = getrlimit(Resource::Nofile);
    // One to read a file with, and no more: watching needs several.
    only_spare_descriptors(1);
    let mut options = options();
    (options.poll, options.patience) = (Duration::from_millis(30), Duration::from_millis(50));
    let live = Live::start_with(Sources::new().file(path), options).unwrap();
    let status = || live.status();
    until("not watching", || status().not_watching.is_some() && status().metrics.watch_errors == 1);
    until("found by polling", || status().generation == 2);
    // Now not even reading is possible.
    only_spare_descriptors(0);
    until("cannot read", || !status().last_reload_ok);
    assert_eq!((live.load().loaded.value.workload.batch_size, status().generation), (11, 2));
    setrlimit(Resource::Nofile, before).unwrap();
    until("read again", || status().last_reload_ok && status().generation == 2);
    until("watching", || status().not_watching.is_none());
}

#[test]
fn without_descriptors_polling_goes_on_and_the_last_good_document_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(10)).unwrap();
    let mut child = this_binary("follow without descriptors", &path, 0);
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut happened = Vec::new();
    for line in lines.map(Result::unwrap) {
        let Some((_, what)) = line.split_once("happened: ") else { continue };
        if what == "not watching" {
            rename_over(&path, &text_with(11));
        }
        happened.push(what.to_owned());
    }
    assert!(child.wait().unwrap().success(), "{happened:?}");
    assert_eq!(happened.len(), 5, "{happened:?}");
    row(
        "+",
        "no descriptors left: first for watching, then for reading",
        "1 process",
        happened.join(", "),
    );
}
