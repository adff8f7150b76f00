//! Many targets on one machine, read together.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::Actor;
use common::machine::Fixture;
use memtrack::error::{OpenError, SourceError};
use memtrack::processes::ProcessId;
use memtrack::source::{LinuxMachine, LinuxTarget, Target};
use memtrack::{Absent, Sample, TrackConfig};

const MIB: u64 = 1 << 20;

fn read(machine: &mut LinuxMachine, targets: &mut [LinuxTarget]) -> Vec<Sample> {
    let mut tick = machine.tick();
    let config = TrackConfig::default();
    targets.iter_mut().map(|target| target.read(&mut tick, &config).unwrap()).collect()
}

#[test]
fn in_one_tick_the_machine_and_each_cgroup_are_read_once() {
    let fixture = Fixture::new();
    fixture.group("/pod", 80 * MIB, 100 * MIB);
    fixture.group("/pod/a", 10 * MIB, 40 * MIB);
    fixture.group("/pod/b", 20 * MIB, 40 * MIB);
    let mut machine = fixture.machine();
    let mut targets = [(1, "/pod/a"), (2, "/pod/a"), (3, "/pod/b")]
        .map(|(pid, cgroup)| machine.target(&fixture.process(pid, cgroup)).unwrap());
    read(&mut machine, &mut targets);

    let config = TrackConfig::default();
    let mut tick = machine.tick();
    let first = targets[0].read(&mut tick, &config).unwrap();
    assert_eq!((first.cgroup.usage, first.cgroup.depth), (Ok(80 * MIB), Ok(1)));
    assert_eq!(first.system.available, Ok(500 << 10));
    // From here on, what this tick has read stands, whatever becomes of the files.
    fixture.group("/pod", 95 * MIB, 100 * MIB);
    fixture.group("/pod/a", 39 * MIB, 40 * MIB);
    fixture.group("/pod/b", 36 * MIB, 40 * MIB);
    fixture.write("proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 400 kB\n");
    let second = targets[1].read(&mut tick, &config).unwrap();
    assert_eq!((second.cgroup, second.system), (first.cgroup, first.system));
    let third = targets[2].read(&mut tick, &config).unwrap();
    assert_eq!(third.system, first.system);
    let own = (third.cgroup.usage, third.cgroup.limit, third.cgroup.depth);
    assert_eq!(own, (Ok(36 * MIB), Ok(40 * MIB), Ok(0)), "its own was not read yet");
    assert_eq!(third.cgroup.headroom, Ok(4 * MIB));

    let later = read(&mut machine, &mut targets);
    let usage = later.iter().map(|sample| sample.cgroup.usage);
    assert_eq!(usage.collect::<Vec<_>>(), [Ok(39 * MIB), Ok(39 * MIB), Ok(95 * MIB)]);
    assert!(later.iter().all(|sample| sample.system.available == Ok(400 << 10)));
}

#[test]
fn a_target_is_read_in_ticks_of_its_own_machine_only() {
    let fixture = Fixture::new();
    let (mut one, mut other) = (fixture.machine(), fixture.machine());
    let mut target = one.target(&Target::System).unwrap();
    let config = TrackConfig::default();
    assert!(target.read(&mut one.tick(), &config).is_ok());
    let refused = target.read(&mut other.tick(), &config).unwrap_err();
    assert!(matches!(refused, SourceError::Failed { .. }), "{refused}");
}

#[test]
fn one_that_ends_leaves_the_others_as_they_are() {
    let fixture = Fixture::new();
    fixture.group("/a", MIB, 4 * MIB);
    let mut machine = fixture.machine();
    let mut targets = [1, 2].map(|pid| machine.target(&fixture.process(pid, "/a")).unwrap());
    read(&mut machine, &mut targets);
    fixture.write("proc/1/status", "Name:\tx\nState:\tZ (zombie)\nThreads:\t1\n");
    let config = TrackConfig::default();
    let mut tick = machine.tick();
    assert_eq!(targets[0].read(&mut tick, &config), Err(SourceError::Ended));
    assert_eq!(targets[1].read(&mut tick, &config).unwrap().process.rss, Ok(100 << 10));
    let gone = Target::Process(ProcessId { pid: 9, start: 1 });
    assert_eq!(machine.target(&gone).unwrap_err(), OpenError::NoSuchProcess { pid: 9 });
}

/// Reads in ticks until `enough` is content with the samples; fails after a time that no machine needs.
fn read_until(
    machine: &mut LinuxMachine,
    targets: &mut [LinuxTarget],
    mut enough: impl FnMut(&[Sample]) -> bool,
) -> Vec<Sample> {
    let start = Instant::now();
    loop {
        let samples = read(machine, targets);
        if enough(&samples) {
            return samples;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{samples:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_process_that_was_moved_is_followed_and_a_pid_that_changed_hands_is_not() {
    let fixture = Fixture::new();
    for name in ["/a", "/b"] {
        fixture.group(name, MIB, 4 * MIB);
    }
    let mut machine = fixture.machine();
    let mut targets = [1, 2, 3].map(|pid| machine.target(&fixture.process(pid, "/a")).unwrap());
    read(&mut machine, &mut targets);
    fixture.group("/b", 2 * MIB, 4 * MIB);
    let history = "high 0\nmax 9\noom 3\noom_kill 3\n";
    fixture.write("sys/fs/cgroup/b/memory.events", history);
    fixture.write("proc/2/cgroup", "0::/b\n");
    // This pid is somebody else's by now, though its old status is still there to be read.
    fixture.write("proc/3/cgroup", "0::/b\n");
    let stat = "3 (y) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 999 0 0\n";
    fixture.write("proc/3/stat", stat);
    let samples =
        read_until(&mut machine, &mut targets, |samples| samples[1].cgroup.usage == Ok(2 * MIB));
    assert_eq!(samples[0].cgroup.usage, Ok(MIB));
    assert_eq!(samples[2].cgroup.usage, Ok(MIB), "not that of whoever has the pid now");
    assert_eq!(targets[1].cgroup_path(0), Some("/b"));
    // What others were killed for there before is nothing that has happened to it.
    assert_eq!(samples[1].cgroup.events.oom_kill, Err(Absent::NotRead));
    let after = read(&mut machine, &mut targets);
    assert_eq!(after[1].cgroup.events.oom_kill, Ok(3), "counted on from here");
}

#[test]
fn a_cgroup_that_cannot_be_opened_says_which_and_why() {
    let fixture = Fixture::new();
    let circle = fixture.path("sys/fs/cgroup/circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    fs::create_dir_all(fixture.path("sys/fs/cgroup/bare")).unwrap();
    let mut machine = fixture.machine();
    let mut open = |path: &str| machine.target(&Target::Cgroup(path.into())).unwrap_err();
    let none = open("/none");
    assert_eq!(none, OpenError::NoSuchCgroup { path: "/none".into() });
    assert!(none.to_string().contains("`/none`"), "{none}");
    const ELOOP: i32 = 40;
    for (path, why) in [("/circle", Absent::Failed(ELOOP)), ("/bare", Absent::Unsupported)] {
        let error = open(path);
        let kept = matches!(error, OpenError::Unreadable { reason, .. } if reason == why);
        assert!(kept, "{path}: {error:?}");
    }
}

#[test]
fn trees_that_are_read_together_keep_their_own_children() {
    let script = "sleep 1000 & echo $!; read line; sleep 1000 & echo $!; wait";
    let start = || {
        let mut top = Actor::spawn(Command::new("sh").args(["-c", script]).stdin(Stdio::piped()));
        let child = pid(&mut top);
        (top, child)
    };
    fn pid(actor: &mut Actor) -> u32 {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut actor.output, &mut line).unwrap();
        line.trim().parse().unwrap()
    }
    let (one, mut other) = (start(), start());
    let mut machine = LinuxMachine::open().unwrap();
    let mut targets =
        [&one.0, &other.0].map(|top| machine.target(&Target::Tree(top.id())).unwrap());
    let pids = |target: &LinuxTarget| {
        let mut pids: Vec<u32> = target.snapshot().rows().iter().map(|row| row.id.pid).collect();
        pids.sort_unstable();
        pids
    };
    let family = |top: &Actor, children: &[u32]| {
        let mut pids = [&[top.child.id()], children].concat();
        pids.sort_unstable();
        pids
    };
    let samples = read(&mut machine, &mut targets);
    assert!(samples.iter().all(|sample| sample.process.processes == Ok(2)), "{samples:?}");
    assert_eq!(pids(&targets[0]), family(&one.0, &[one.1]));
    assert_eq!(pids(&targets[1]), family(&other.0, &[other.1]));

    other.0.tell("another");
    let later = pid(&mut other.0);
    read(&mut machine, &mut targets);
    assert_eq!(pids(&targets[0]), family(&one.0, &[one.1]));
    assert_eq!(pids(&targets[1]), family(&other.0, &[other.1, later]), "found on the next tick");

    // The one thread that reads PSS serves both.
    let samples = read_until(&mut machine, &mut targets, |samples| {
        samples.iter().all(|sample| sample.process.pss.is_ok())
    });
    for sample in &samples {
        assert!(sample.process.pss.unwrap() <= sample.process.rss.unwrap(), "{sample:?}");
    }
    let readers = fs::read_dir("/proc/self/task").unwrap().flatten().filter(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "memtrack-pss")
    });
    assert_eq!(readers.count(), 1);
    for pid in [one.1, other.1, later] {
        let _ = Command::new("kill").arg(pid.to_string()).status();
    }
}
