//! Real processes: trees, forks, spikes, `exec`, stop and continue, early ends.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::collections::HashSet;
use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::Actor;
use memtrack::error::SourceError;
use memtrack::source::{LinuxSource, Source, Target};
use memtrack::{Sample, Tier, TrackConfig};

const MIB: u64 = 1 << 20;

fn config(tier: Tier) -> TrackConfig {
    TrackConfig { tier, ..TrackConfig::default() }
}

fn read(source: &mut LinuxSource) -> Sample {
    source.read(&config(Tier::Production)).unwrap()
}

/// Samples until `enough` is content with one; fails after a time that no machine needs.
fn sample_until(source: &mut LinuxSource, mut enough: impl FnMut(&Sample) -> bool) -> Sample {
    let start = Instant::now();
    loop {
        let sample = read(source);
        if enough(&sample) {
            return sample;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{sample:?}");
        std::thread::yield_now();
    }
}

/// The kernel's own figure, by another way than the one under test.
fn proportional(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn forks_that_share_memory_count_it_once() {
    let script = "\
import os, mmap, sys
shared = mmap.mmap(-1, 200 << 20)
for page in range(0, 200 << 20, 4096): shared[page] = 1
pids = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        for page in range(0, 200 << 20, 4096): shared[page]
        os.write(1, b'ready\\n')
        os.read(0, 1)
        os._exit(0)
    pids.append(pid)
os.read(0, 1)
";
    let Some(mut parent) = Actor::python(script) else { return };
    for _ in 0..4 {
        parent.hear("ready");
    }
    let mut source = LinuxSource::open(&Target::Tree(parent.id())).unwrap();
    let sample = sample_until(&mut source, |sample| {
        sample.process.processes == Ok(5) && sample.process.pss.is_ok()
    });
    let process = sample.process;
    assert!(process.rss.unwrap() > 1000 * MIB, "each of the five maps all of it");
    let rows = source.snapshot().rows();
    let truth: u64 = rows.iter().map(|row| proportional(row.id.pid)).sum();
    let pss = process.pss.unwrap();
    assert!(pss.abs_diff(truth) <= truth / 50, "{} of {} MiB", pss / MIB, truth / MIB);
    assert!(pss > 200 * MIB && pss < 220 * MIB, "{} MiB with the interpreters", pss / MIB);
    assert_eq!(rows.len(), 5);
    let each: u64 = rows.iter().map(|row| row.memory.pss.unwrap()).sum();
    assert!(each.abs_diff(pss) <= pss / 50, "each process by itself: {} MiB", each / MIB);
    let children: Vec<u32> = rows
        .iter()
        .filter(|row| row.parent == Ok(parent.child.id()))
        .map(|row| row.id.pid)
        .collect();
    assert_eq!(children.len(), 4);

    // With two of them gone the other three share what five shared: the old shares add up to 120 MiB.
    for pid in &children[..2] {
        Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    }
    let mut without_two = 0;
    sample_until(&mut source, |sample| {
        let process = sample.process;
        let fewer = process.processes == Ok(3);
        assert!(!fewer || process.pss.is_err() || process.pss.unwrap() > 190 * MIB, "{process:?}");
        without_two += u32::from(fewer);
        without_two == 50
    });
}

#[test]
fn grandchildren_are_found_and_stay_when_their_parents_end() {
    // The shell starts a shell that starts a sleeper; then the middle one is killed.
    let script = "sh -c 'sleep 1000 & echo $$; read line; wait' & wait";
    let mut top = Actor::spawn(Command::new("sh").args(["-c", script]).stdin(Stdio::piped()));
    let mut line = String::new();
    top.output.read_line(&mut line).unwrap();
    let middle: u32 = line.trim().parse().unwrap();
    let mut source = LinuxSource::open(&Target::Tree(top.id())).unwrap();
    let all = sample_until(&mut source, |sample| sample.process.processes == Ok(3));
    assert!(all.process.rss.unwrap() > 0);
    let kill = |pid: u32| Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    kill(middle);
    let rows = source.snapshot();
    sample_until(&mut source, |_| !rows.rows().iter().any(|row| row.id.pid == middle));
    let left = rows.rows();
    let sleeper = left.iter().find(|row| row.name.to_string() == "sleep").unwrap();
    top.child.kill().unwrap();
    top.child.wait().unwrap();
    let orphan = sample_until(&mut source, |sample| sample.process.processes == Ok(1));
    assert!(orphan.process.rss.unwrap() > 0);
    kill(sleeper.id.pid);
    let start = Instant::now();
    while source.read(&config(Tier::Production)) != Err(SourceError::Ended) {
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_leaker_is_followed_step_by_step() {
    let script = "\
import mmap, sys
kept = []
for line in sys.stdin:
    leak = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, 4 << 20, 4096): leak[page] = 1
    kept.append(leak)
    print('leaked')
";
    let Some(mut leaker) = Actor::python(script) else { return };
    leaker.tell("");
    leaker.hear("leaked");
    let mut source = LinuxSource::open(&Target::Process(leaker.id())).unwrap();
    let first = read(&mut source).process.private().unwrap();
    for step in 1..=16 {
        leaker.tell("");
        leaker.hear("leaked");
        let grown = read(&mut source).process.private().unwrap() - first;
        // Kernels from 6.2 to 6.x count for each processor apart, and add up 64 pages or so late.
        let off = grown.abs_diff(step * 4 * MIB);
        assert!(off <= MIB, "{} KiB off after {step} steps", off >> 10);
    }
}

#[test]
fn a_spike_between_samples_is_in_the_peak() {
    let script = "\
import sys
print('ready')
sys.stdin.readline()
spike = bytearray(300 << 20)
del spike
print('done')
sys.stdin.readline()
";
    let Some(mut spiky) = Actor::python(script) else { return };
    spiky.hear("ready");
    let mut source = LinuxSource::open(&Target::Process(spiky.id())).unwrap();
    let before = read(&mut source).process.rss.unwrap();
    spiky.tell("");
    spiky.hear("done");
    let after = read(&mut source).process;
    assert!(after.rss.unwrap() < before + 100 * MIB, "the spike is over");
    let peak = after.peak.unwrap();
    assert!(
        peak.abs_diff(before + 300 * MIB) <= MIB,
        "{} + {}",
        before / MIB,
        (peak - before) / MIB
    );
}

#[test]
fn a_process_that_execs_stays_the_same_target() {
    let mut actor =
        Actor::spawn(Command::new("sh").args(["-c", "echo before; read line; exec cat"]));
    actor.hear("before");
    let id = actor.id();
    let mut source = LinuxSource::open(&Target::Process(id)).unwrap();
    assert_eq!(source.snapshot().rows().len(), 0);
    read(&mut source);
    assert_eq!(source.snapshot().rows()[0].name.to_string(), "sh");
    actor.tell("go");
    actor.tell("echoed");
    actor.hear("echoed");
    let sample = read(&mut source);
    assert!(sample.process.rss.unwrap() > 0);
    let row = source.snapshot().rows()[0];
    assert_eq!((row.id, row.name.to_string().as_str()), (id, "cat"));
}

#[test]
fn a_stopped_process_is_read_and_goes_on() {
    let mut actor = Actor::spawn(&mut Command::new("cat"));
    let mut source = LinuxSource::open(&Target::Process(actor.id())).unwrap();
    let signal = |name: &str| {
        Command::new("kill").args([name, &actor.child.id().to_string()]).status().unwrap();
    };
    signal("-STOP");
    assert!(read(&mut source).process.rss.unwrap() > 0);
    signal("-CONT");
    actor.tell("awake");
    actor.hear("awake");
    assert!(read(&mut source).process.rss.unwrap() > 0);
}

#[test]
fn many_short_lived_children_leave_nothing_behind() {
    let mut actor = Actor::spawn(Command::new("sh").args([
        "-c",
        "read line; i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done; echo done; read line",
    ]));
    let mut source = LinuxSource::open(&Target::Tree(actor.id())).unwrap();
    actor.tell("go");
    let pid = actor.child.id();
    let (heard, done) = std::sync::mpsc::channel();
    let snapshot = source.snapshot();
    let alone = read(&mut source).process;
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            actor.hear("done");
            heard.send(()).unwrap();
        });
        let mut seen = HashSet::new();
        while done.try_recv().is_err() {
            let process = read(&mut source).process;
            let rows = snapshot.rows();
            assert_eq!(process.processes, Ok(rows.len() as u64));
            let pids: HashSet<u32> = rows.iter().map(|row| row.id.pid).collect();
            assert!(pids.contains(&pid) && pids.len() == rows.len(), "none twice: {rows:?}");
            let strangers = rows.iter().filter(|row| row.id.pid != pid && row.parent != Ok(pid));
            // Of one that is just ending the parent may be anyone; it is gone with the next reading.
            assert!(strangers.count() <= 1, "{rows:?}");
            let each = rows.iter().map(|row| row.memory.rss.unwrap_or(0));
            assert_eq!(process.rss.unwrap_or(0), each.sum::<u64>(), "the sum of its parts");
            seen.extend(pids.into_iter().filter(|child| *child != pid));
        }
        seen
    });
    let after = sample_until(&mut source, |sample| sample.process.processes == Ok(1)).process;
    assert_eq!(snapshot.rows()[0].id.pid, pid);
    assert!(after.rss.unwrap() < alone.rss.unwrap() + 4 * MIB, "no child is counted on");
    let held: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|path| seen.iter().any(|child| path.starts_with(format!("/proc/{child}"))))
        .collect();
    assert!(held.is_empty(), "of {} children: {held:?}", seen.len());
}

#[test]
fn a_process_whose_main_thread_has_ended_lives_on() {
    let script = "\
import ctypes, mmap, os, sys, threading, time
held = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, 64 << 20, 4096): held[page] = 1
def stay():
    sys.stdin.readline()
    status = f'/proc/{os.getpid()}/status'
    while 'Z (zombie)' not in open(status).read(): time.sleep(0.001)
    print('alone')
    sys.stdin.readline()
    os._exit(0)
threading.Thread(target=stay).start()
print('ready')
ctypes.CDLL(None).pthread_exit(None)
";
    let Some(mut actor) = Actor::python(script) else { return };
    actor.hear("ready");
    let id = actor.id();
    let mut before = LinuxSource::open(&Target::Process(id)).unwrap();
    assert!(read(&mut before).process.private().unwrap() > 64 * MIB);
    actor.tell("");
    actor.hear("alone");
    let mut after = LinuxSource::open(&Target::Tree(id)).unwrap();
    let cgroup = before.cgroup_path(0).map(str::to_owned);
    for source in [&mut before, &mut after] {
        let process = read(source).process;
        assert!(process.private().unwrap() > 64 * MIB, "{process:?}");
        assert_eq!(process.processes, Ok(1));
    }
    // Until it was asked once more where the process is: of a first thread that has ended v1 names the root.
    sample_until(&mut before, |sample| sample.at.monotonic > Duration::from_millis(1100));
    assert_eq!(before.cgroup_path(0).map(str::to_owned), cgroup);
    actor.tell("");
    let start = Instant::now();
    for source in [&mut before, &mut after] {
        while source.read(&config(Tier::Production)) != Err(SourceError::Ended) {
            assert!(start.elapsed() < Duration::from_secs(30));
        }
    }
}

#[test]
fn the_development_tier_adds_faults_and_pss_and_tiers_switch_live() {
    let mut source = LinuxSource::open(&Target::Own).unwrap();
    let plain = read(&mut source).process;
    assert!(plain.minor_faults.is_err() && plain.pss.is_err());
    let mut detailed = source.read(&config(Tier::Development)).unwrap().process;
    assert!(detailed.minor_faults.unwrap() > 0);
    let start = Instant::now();
    while detailed.pss.is_err() {
        assert!(start.elapsed() < Duration::from_secs(30));
        detailed = source.read(&config(Tier::Development)).unwrap().process;
    }
    let (pss, rss) = (detailed.pss.unwrap(), detailed.rss.unwrap());
    assert!(pss > 0 && pss <= rss, "{pss} of {rss}");
    assert!(detailed.threads.unwrap() >= 2);
    assert!(read(&mut source).process.minor_faults.is_err());
    let nothing = source.read(&config(Tier::Disabled)).unwrap();
    assert!(nothing.process.rss.is_err() && nothing.system.total.is_err());
}

#[test]
fn a_child_that_another_thread_started_is_found_by_the_scan() {
    let script = "\
import threading, subprocess, sys
def start():
    subprocess.Popen(['sleep', '1000'], stdout=subprocess.DEVNULL)
    print('started')
    threading.Event().wait()
threading.Thread(target=start, daemon=True).start()
sys.stdin.readline()
";
    let Some(mut parent) = Actor::python(script) else { return };
    parent.hear("started");
    let mut source = LinuxSource::open(&Target::Tree(parent.id())).unwrap();
    sample_until(&mut source, |sample| sample.process.processes == Ok(2));
    let rows = source.snapshot().rows();
    let sleeper = rows.iter().find(|row| row.id.pid != parent.child.id()).unwrap();
    Command::new("kill").arg(sleeper.id.pid.to_string()).status().unwrap();
}

#[test]
fn ten_forks_that_write_nothing_are_neither_growth_nor_a_hole() {
    let script = "\
import mmap, os, sys
kept = mmap.mmap(-1, 100 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, 100 << 20, 4096): kept[page] = 1
pids = []
print('ready')
for line in sys.stdin:
    if line == 'fork\\n':
        ends = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ends[1])
            os.read(ends[0], 1)
            os._exit(0)
        pids.append(pid)
    else:
        os.kill(pids.pop(), 9)
    print('done')
";
    let Some(mut parent) = Actor::python(script) else { return };
    parent.hear("ready");
    let mut source = LinuxSource::open(&Target::Tree(parent.id())).unwrap().with_pss();
    let alone = sample_until(&mut source, |sample| sample.process.pss.is_ok()).process;
    let private = alone.private().unwrap();
    assert!(private > 100 * MIB && alone.pss_anon.unwrap().abs_diff(private) < MIB);
    // At each look, whether just measured or estimated: with a hundred MiB more for each fork it would be eleven times as much.
    let holds = |process: &memtrack::ProcessMemory| {
        let (private, held) = (process.private().unwrap(), process.held().unwrap());
        let told = format!("{} and {} KiB, {process:?}", private >> 10, held >> 10);
        assert!(private > 100 * MIB && private < 115 * MIB, "{told}");
        assert!(held >= private && held < 130 * MIB, "{told}");
    };
    let mut count = 1;
    for (word, by) in [("fork", 1i64), ("end", -1)] {
        for _ in 0..10 {
            parent.tell(word);
            parent.hear("done");
            count += by;
            let expected = u64::try_from(count).unwrap();
            sample_until(&mut source, |sample| {
                holds(&sample.process);
                sample.process.processes == Ok(expected)
            });
        }
        if by > 0 {
            // All of them measured: the parts of each add up.
            sample_until(&mut source, |sample| {
                holds(&sample.process);
                sample.process.pss_age == Ok(Duration::ZERO)
            });
            let rows = source.snapshot().rows();
            let each: u64 = rows.iter().filter_map(|row| row.memory.pss_anon.ok()).sum();
            assert_eq!(rows.len(), 11);
            assert!(each > 100 * MIB && each < 115 * MIB, "{} MiB", each / MIB);
        }
    }
}
