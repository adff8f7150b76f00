//! This machine: the oracle of another library, and a real cgroup with a limit of its own.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::cgroup::RealCgroup;
use memtrack::processes::ProcessId;
use memtrack::source::{LinuxMachine, LinuxSource, Source, Target};
use memtrack::{Absent, TrackConfig};

#[cfg(feature = "sysinfo")]
#[test]
fn sysinfo_and_the_kernel_files_agree_on_a_quiet_process() {
    use std::process::Stdio;

    use memtrack::source::SysinfoSource;
    // Started up: it has read what it was sent.
    let mut child =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"ready\n").unwrap();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.as_mut().unwrap()),
        &mut line,
    )
    .unwrap();
    let id = ProcessId::read(Path::new("/"), child.id()).unwrap();
    let config = TrackConfig::default();
    let ours = LinuxSource::open(&Target::Process(id)).unwrap().read(&config).unwrap();
    let theirs = SysinfoSource::process(child.id()).unwrap().read(&config).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let (ours_rss, theirs_rss) = (ours.process.rss.unwrap(), theirs.process.rss.unwrap());
    let allowed = (ours_rss / 100).max(256 << 10);
    assert!(ours_rss.abs_diff(theirs_rss) <= allowed, "{ours_rss} and {theirs_rss}");
    assert_eq!(ours.system.total, theirs.system.total);
    assert_eq!(ours.system.swap_total, theirs.system.swap_total);
    let (ours, theirs) = (ours.system.available.unwrap(), theirs.system.available.unwrap());
    // The machine is not quiet: only the order of things can be compared.
    assert!(ours.abs_diff(theirs) <= ours / 4, "{ours} and {theirs}");
}

#[test]
fn the_limit_of_a_real_cgroup_is_found_followed_and_left() {
    const LIMIT: u64 = 64 << 20;
    let Some(mut cgroup) = RealCgroup::new("limit", LIMIT) else { return };
    let config = TrackConfig::default();
    let pid = cgroup.run(Command::new("sleep").arg("1000"));
    let id = ProcessId::read(Path::new("/"), pid).unwrap();
    let mut source = LinuxSource::open(&Target::Process(id)).unwrap();
    let memory = source.read(&config).unwrap().cgroup;
    assert_eq!((memory.limit, memory.depth), (Ok(LIMIT), Ok(0)));
    assert!(memory.usage.unwrap() <= LIMIT && memory.headroom.unwrap() <= LIMIT);
    assert_eq!(memory.events.oom_kill, Ok(0));
    assert_eq!(source.cgroup_path(0), Some(cgroup.name.as_str()));

    fs::write(cgroup.directory.join("memory.limit_in_bytes"), (2 * LIMIT).to_string()).unwrap();
    assert_eq!(source.read(&config).unwrap().cgroup.limit, Ok(2 * LIMIT), "limits change live");

    let mut whole = LinuxSource::open(&Target::Cgroup(PathBuf::from(&cgroup.name))).unwrap();
    let sample = whole.read(&config).unwrap();
    assert_eq!((sample.process.processes, sample.cgroup.limit), (Ok(1), Ok(2 * LIMIT)));
    assert!(sample.process.rss.unwrap() > 0);
    assert_eq!(whole.snapshot().rows()[0].id, id);

    // Moved out: the limit is no longer its own.
    fs::write(cgroup.directory.parent().unwrap().join("cgroup.procs"), id.pid.to_string()).unwrap();
    let start = Instant::now();
    while source.read(&config).unwrap().cgroup.limit == Ok(2 * LIMIT) {
        assert!(start.elapsed() < Duration::from_secs(30), "the move was not noticed");
    }
    assert_ne!(source.cgroup_path(0), Some(cgroup.name.as_str()));
}

#[test]
fn a_cgroup_that_was_removed_and_made_anew_is_followed_by_all_that_share_it() {
    const LIMIT: u64 = 64 << 20;
    let Some(cgroup) = RealCgroup::new("anew", LIMIT) else { return };
    let config = TrackConfig::default();
    let mut machine = LinuxMachine::open().unwrap();
    let mut targets =
        [(), ()].map(|()| machine.target(&Target::Cgroup(PathBuf::from(&cgroup.name))).unwrap());
    let mut limits = || {
        let mut tick = machine.tick();
        targets.each_mut().map(|target| target.read(&mut tick, &config).unwrap().cgroup.limit)
    };
    assert_eq!(limits(), [Ok(LIMIT), Ok(LIMIT)]);
    fs::remove_dir(&cgroup.directory).unwrap();
    fs::create_dir(&cgroup.directory).unwrap();
    fs::write(cgroup.directory.join("memory.limit_in_bytes"), (LIMIT / 2).to_string()).unwrap();
    let start = Instant::now();
    loop {
        let now = limits();
        if now == [Ok(LIMIT / 2), Ok(LIMIT / 2)] {
            break;
        }
        assert!(now.iter().all(|limit| *limit != Ok(LIMIT)), "the old one: {now:?}");
        assert!(start.elapsed() < Duration::from_secs(30), "{now:?}");
    }
}

#[test]
fn a_cgroup_that_is_not_there_is_said_to_be() {
    let missing = Target::Cgroup(PathBuf::from("/no-such-cgroup-here"));
    let error = LinuxSource::open(&missing).unwrap_err();
    let path = PathBuf::from("/no-such-cgroup-here");
    assert_eq!(error, memtrack::error::OpenError::NoSuchCgroup { path });
    let here = memtrack::cgroup::Hierarchy::at(Path::new("/"), "/no-such-cgroup-here");
    assert!(matches!(here.unwrap_err(), Absent::Gone | Absent::Unsupported));
}
