//! Real processes, real signals, real file-system events.
//!
//! `MEMCFG_LONG=1` runs the long forms. Processes are this very binary, told by a variable what to do.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memcfg::document::Live;
use memcfg::files::Sources;
use memcfg::live::{LiveOptions, Reload};
use memcfg::save::{Editor, Expected, SaveError};

const ROLE: &str = "MEMCFG_TEST_ROLE";
const FILE: &str = "MEMCFG_TEST_FILE";
const COUNT: &str = "MEMCFG_TEST_COUNT";

fn long() -> bool {
    std::env::var_os("MEMCFG_LONG").is_some()
}

fn this_binary(role: &str, file: &Path, count: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "in_another_process", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(FILE, file).env(COUNT, count.to_string());
    command
}

fn valid(bytes: &[u8]) -> bool {
    bytes.starts_with(b"schema_version = 3\n") && bytes.ends_with(b"# end\n")
}

/// Not a test of its own: what the processes of the other tests do.
#[test]
fn in_another_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var_os(FILE).unwrap());
    let count: u64 = std::env::var(COUNT).unwrap().parse().unwrap();
    match role.as_str() {
        "save for ever" => {
            let mut editor = Editor::new(&path, valid);
            for number in count.. {
                editor.save(&numbered(number), Expected::Anything).unwrap();
                println!("ack {number}");
                std::io::stdout().flush().unwrap();
            }
        }
        "count up" => {
            let mut editor = Editor::new(&path, |_| false);
            let mut done = 0;
            while done < count {
                let (bytes, hash) = editor.read().unwrap().unwrap();
                let number: u64 = String::from_utf8(bytes).unwrap().trim().parse().unwrap();
                let next = format!("{}\n", number + 1);
                match editor.save(next.as_bytes(), Expected::Content(hash)) {
                    Ok(_) => done += 1,
                    Err(SaveError::Conflict { .. }) => {}
                    Err(error) => panic!("{error}: {error:?}"),
                }
            }
        }
        other => panic!("no such role: {other}"),
    }
}

/// A content that shows when it is cut short, and whose number can be read back.
fn numbered(number: u64) -> Vec<u8> {
    let filling = "# filling\n".repeat(usize::try_from(number % 500).unwrap());
    format!("schema_version = 3\n# {number}\n{filling}# end\n").into_bytes()
}

fn number_of(bytes: &[u8]) -> u64 {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().nth(1).unwrap().trim_start_matches("# ").parse().unwrap()
}

#[test]
fn kill_9_while_saving_corrupts_nothing_and_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let rounds = if long() { 500 } else { 25 };
    let (mut next, mut acknowledged, mut stale) = (1, 0u64, 0);
    for round in 0..rounds {
        let mut child =
            this_binary("save for ever", &path, next).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Let it get going, then strike at an instant that differs from round to round.
        let first = lines.by_ref().map(Result::unwrap).find(|line| line.contains("ack "));
        assert!(first.is_some());
        std::thread::sleep(Duration::from_micros((round as u64 * 7919) % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let last = lines.map_while(Result::ok).filter(|line| line.starts_with("ack ")).last();
        let last = last.or(first).unwrap();
        let acked: u64 = last.rsplit(' ').next().unwrap().parse().unwrap();
        acknowledged += acked - next as u64 + 1;
        let bytes = std::fs::read(&path).unwrap();
        let found = number_of(&bytes);
        assert_eq!(bytes, numbered(found), "round {round}: corrupt");
        assert!(
            found == acked || found == acked + 1,
            "round {round}: {acked} acknowledged, {found} found"
        );
        stale += temps(dir.path());
        next = usize::try_from(found).unwrap() + 1;
    }
    Editor::new(&path, valid).save(&numbered(1), Expected::Anything).unwrap();
    assert_eq!(temps(dir.path()) + temps(&dir.path().join("backups")), 0);
    println!(
        "{rounds} kills, {acknowledged} acknowledged saves, {stale} temporary files left for the sweep"
    );
}

fn temps(directory: &Path) -> usize {
    let Ok(names) = std::fs::read_dir(directory) else { return 0 };
    names
        .filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().contains(".tmp."))
        .count()
}

#[test]
fn many_processes_that_compare_and_save_lose_no_update() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("counter");
    Editor::new(&path, |_| false).save(b"0\n", Expected::Absent).unwrap();
    let (processes, each) = if long() { (8, 500) } else { (4, 40) };
    let children: Vec<_> = (0..processes)
        .map(|_| this_binary("count up", &path, each).stdout(Stdio::null()).spawn().unwrap())
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{}\n", processes * each));
}

fn text_with(batch_size: usize) -> String {
    // The second key repeats the first in another form: a mixture of two saves would show.
    format!(
        "schema_version = 3\n[workload]\nbatch_size = {batch_size}\n# a comment of some length, so that half of it is a lot\nmax_file_size = {}\n",
        1024 + batch_size
    )
}

fn live(path: &Path) -> Live {
    let mut options = LiveOptions::default();
    options.settle = Duration::from_millis(25);
    options.patience = Duration::from_secs(10);
    // Long, so that it is the events that are tested.
    options.poll = Duration::from_secs(10);
    Live::start_with(Sources::new().file(path), options).unwrap()
}

fn expect_one(live: &Live, generation: u64, batch_size: usize, what: &str) {
    match live.reloads().recv_timeout(Duration::from_secs(30)) {
        Ok(Reload::Accepted { generation: found, .. }) => assert_eq!(found, generation, "{what}"),
        other => panic!("{what}: {other:?}"),
    }
    let workload = live.load();
    let workload = &workload.loaded.value.workload;
    assert_eq!(workload.batch_size as usize, batch_size, "{what}");
    assert_eq!(workload.max_file_size.bytes(), 1024 + batch_size as u64, "{what}: torn");
}

type Save = fn(&Path, &str);

const PATTERNS: [(&str, Save); 6] = [
    ("rename over", |path, text| {
        let temp = path.with_extension("new");
        std::fs::write(&temp, text).unwrap();
        std::fs::rename(temp, path).unwrap();
    }),
    ("truncate and write", |path, text| std::fs::write(path, text).unwrap()),
    ("move away and write (vim's backup)", |path, text| {
        std::fs::rename(path, path.with_extension("toml~")).unwrap();
        std::fs::write(path, text).unwrap();
    }),
    ("two writes with a pause", |path, text| {
        let mut file = std::fs::File::create(path).unwrap();
        // At the end of a line, where a half file is a valid one.
        let half = text.find("# a").unwrap();
        file.write_all(&text.as_bytes()[..half]).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        file.write_all(&text.as_bytes()[half..]).unwrap();
    }),
    ("remove and create", |path, text| {
        std::fs::remove_file(path).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        std::fs::write(path, text).unwrap();
    }),
    ("overwrite in place", |path, text| {
        let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.set_len(text.len() as u64).unwrap();
    }),
];

#[test]
fn every_way_to_save_is_one_generation_and_never_half_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(10)).unwrap();
    let live = live(&path);
    let rounds = if long() { 200 } else { 6 };
    let (mut generation, mut size) = (1, 10);
    for (name, save) in PATTERNS {
        for _ in 0..rounds {
            size = if size >= 500 { 10 } else { size + 1 };
            generation += 1;
            save(&path, &text_with(size));
            expect_one(&live, generation, size, name);
        }
    }
    live.check_now();
    assert!(live.reloads().try_recv().is_err(), "an event that no save was the cause of");
    let status = live.status();
    assert_eq!((status.generation, status.metrics.rejected), (generation, 0));
}

#[test]
fn a_config_map_swap_is_one_generation() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let publish = |number: usize, size: usize| {
        let data = root.join(format!("..{number}"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("c.toml"), text_with(size)).unwrap();
        let link = root.join("..data_tmp");
        std::os::unix::fs::symlink(format!("..{number}"), &link).unwrap();
        std::fs::rename(&link, root.join("..data")).unwrap();
        if number > 0 {
            std::fs::remove_dir_all(root.join(format!("..{}", number - 1))).unwrap();
        }
    };
    publish(0, 10);
    std::os::unix::fs::symlink("..data/c.toml", root.join("c.toml")).unwrap();
    let live = live(&root.join("c.toml"));
    for number in 1..=if long() { 200 } else { 15 } {
        publish(number, 10 + number % 400);
        expect_one(&live, 1 + number as u64, 10 + number % 400, "swap");
    }
}

#[test]
fn observers_and_readers_under_reloads_see_no_torn_and_no_older_document() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(10)).unwrap();
    let live = Arc::new(live(&path));
    let stop = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let check = |generation: u64, before: &mut u64, workload: &mempressure::WorkloadConfig| {
        assert!(generation >= *before, "{generation} after {before}");
        assert_eq!(workload.max_file_size.bytes(), 1024 + u64::from(workload.batch_size), "torn");
        *before = generation;
    };
    let mut threads = Vec::new();
    for _ in 0..4 {
        let (settings, stop, reads) = (live.workload(), Arc::clone(&stop), Arc::clone(&reads));
        threads.push(std::thread::spawn(move || {
            let (mut before, mut count) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let current = settings.load();
                check(current.generation, &mut before, &current.value);
                count += 1;
            }
            let current = settings.load();
            check(current.generation, &mut before, &current.value);
            reads.fetch_add(count, Ordering::Relaxed);
        }));
    }
    let (report, latencies) = crossbeam_channel::unbounded();
    for _ in 0..100 {
        let (settings, stop, report) = (live.workload(), Arc::clone(&stop), report.clone());
        threads.push(std::thread::spawn(move || {
            let mut before = settings.load().generation;
            while !stop.load(Ordering::Relaxed) {
                if settings.changed().recv_timeout(Duration::from_millis(50)).is_ok() {
                    let current = settings.load();
                    check(current.generation, &mut before, &current.value);
                    report.send((current.generation, Instant::now())).unwrap();
                }
            }
        }));
    }
    let until = Instant::now() + Duration::from_millis(if long() { 5_000 } else { 600 });
    let (mut generation, mut waits) = (1u64, Vec::new());
    while Instant::now() < until {
        generation += 1;
        let size = 10 + usize::try_from(generation % 400).unwrap();
        let saved = Instant::now();
        PATTERNS[0].1(&path, &text_with(size));
        expect_one(&live, generation, size, "under load");
        // Every observer has heard of it before the next edit: none is left behind.
        let mut heard = 0;
        while heard < 100 {
            let (seen, at) = latencies.recv_timeout(Duration::from_secs(30)).expect("an observer");
            if seen == generation {
                heard += 1;
                waits.push(at - saved);
            }
        }
    }
    let status = live.status();
    // The four readers may not have looked since.
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    let workers = status.observers.iter().filter(|observer| observer.generation == generation);
    assert!(workers.count() >= 100, "{:?}", status.observers);
    waits.sort();
    let p99 = waits[waits.len() * 99 / 100];
    println!(
        "{} generations, {} reads, edit to observer p99 {p99:?} of {} (settle 25 ms)",
        generation,
        reads.load(Ordering::Relaxed),
        waits.len()
    );
}

#[test]
fn a_storm_of_edits_ends_in_the_last_state() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text_with(10)).unwrap();
    let live = live(&path);
    let edits = if long() { 10_000 } else { 500 };
    for number in 0..edits {
        PATTERNS[0].1(&path, &text_with(10 + number % 400));
    }
    PATTERNS[0].1(&path, &text_with(499));
    live.check_now();
    assert_eq!(live.load().loaded.value.workload.batch_size, 499);
    assert!(live.status().generation <= 1 + edits as u64 / 20, "{}", live.status().generation);
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
    PATTERNS[0].1(&path, &text_with(78));
    expect_one(&live, 2, 78, "mended");
    assert!(!live.status().fallback);
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
