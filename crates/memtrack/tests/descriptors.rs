//! A thousand targets under a limit of 256 open files.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use memtrack::TrackConfig;
use memtrack::processes::{Detail, ProcessId, Processes};
use memtrack::source::{LinuxMachine, Target};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

fn held() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Each process a target of its own, with its tree and its cgroups.
fn each_apart(ids: &[ProcessId]) {
    let mut machine = LinuxMachine::open().unwrap();
    let mut targets: Vec<_> =
        ids.iter().map(|id| machine.target(&Target::Tree(*id)).unwrap()).collect();
    for _ in 0..2 {
        let mut tick = machine.tick();
        for target in &mut targets {
            let sample = target.read(&mut tick, &TrackConfig::default()).unwrap();
            assert!(sample.process.rss.is_ok() && sample.system.total.is_ok(), "{sample:?}");
        }
        let held = held();
        assert!((48..=96).contains(&held), "{held} descriptors");
    }
}

// One test, since the limit is that of the process.
#[test]
fn a_thousand_targets_are_read_with_few_descriptors() {
    let root = Path::new("/");
    let mut children = Children(
        (0..1000)
            .map(|_| Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap())
            .collect(),
    );
    let ids: Vec<_> =
        children.0.iter().map(|child| ProcessId::read(root, child.id()).unwrap()).collect();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..limit }).unwrap();
    each_apart(&ids);
    let mut set = Processes::of(root, &ids).unwrap();
    for detail in [Detail::Memory, Detail::Faults, Detail::Memory] {
        let sum = set.read(Instant::now(), detail).unwrap();
        assert_eq!(sum.processes, Ok(1000));
        assert!(sum.rss.unwrap() > 1000 << 12, "{sum:?}");
        assert_eq!(sum.minor_faults.is_ok(), detail == Detail::Faults);
        let held = held();
        assert!((48..=96).contains(&held), "{held} descriptors");
    }
    for child in children.0.iter_mut().take(400) {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(set.read(Instant::now(), Detail::Memory).unwrap().processes, Ok(600));
    // Those that had held descriptors are among the dead, and others take their place.
    set.read(Instant::now(), Detail::Memory).unwrap();
    let full = held();
    assert!(full >= 48, "{full} descriptors");

    // With no descriptor left at all, readings are absent with the reason, and come back.
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    let starved = set.read(Instant::now(), Detail::Memory).unwrap();
    assert_eq!(starved.processes, Ok(600), "none is taken for ended");
    assert!(starved.rss.is_err(), "{starved:?}");
    set.read(Instant::now(), Detail::Memory).unwrap();
    let let_go = held() - files.len();
    assert!(let_go < full, "{let_go} of {full} descriptors");
    drop(files);
    assert!(set.read(Instant::now(), Detail::Memory).unwrap().rss.is_ok());
    for _ in 0..20 {
        set.read(Instant::now(), Detail::Memory).unwrap();
    }
    assert_eq!(held(), full, "taken back bit by bit");
    setrlimit(Resource::Nofile, limit).unwrap();
}
