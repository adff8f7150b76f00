//! Descendants whose parents end, where this program is given them. Alone in its program: what it is given comes to all of it.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::Actor;
use memtrack::TrackConfig;
use memtrack::source::{LinuxSource, Source, Target};

#[test]
fn a_daemon_is_found_where_this_program_is_given_it_and_a_stranger_is_not_taken_for_one() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    // The one in between has ended before there is anyone to look.
    let daemon = "(sleep 1000 > /dev/null 2>&1 & echo $!)";
    let start = |script: &str| Command::new("sh").args(["-c", script]).output().unwrap();
    let stranger: u32 = String::from_utf8(start(daemon).stdout).unwrap().trim().parse().unwrap();

    let script = format!("read go; {daemon}; echo ended; read on");
    let mut actor = Actor::spawn(Command::new("sh").args(["-c", &script]));
    let target = Target::Tree(actor.id());
    let mut plain = LinuxSource::open(&target).unwrap();
    let mut source = LinuxSource::open(&target).unwrap().adopting(move |id| id.pid == stranger);
    let count = |source: &mut LinuxSource| {
        source.read(&TrackConfig::default()).unwrap().process.processes.unwrap()
    };
    assert_eq!((count(&mut plain), count(&mut source)), (1, 1));
    actor.tell("go");
    let mut line = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut actor.output, &mut line).unwrap();
        line.trim().to_owned()
    };
    let started_by_it: u32 = line().parse().unwrap();
    assert_eq!(line(), "ended", "the one in between is gone only when its shell has waited for it");
    let started = Instant::now();
    while count(&mut source) < 2 {
        assert!(started.elapsed() < Duration::from_secs(30));
    }
    let rows = source.snapshot().rows();
    let pids: Vec<u32> = rows.iter().map(|row| row.id.pid).collect();
    assert_eq!(pids, [actor.child.id(), started_by_it]);
    assert_eq!(count(&mut plain), 1, "nobody told this one");
    for pid in [stranger, pids[1]] {
        Command::new("kill").arg(pid.to_string()).status().unwrap();
    }
}
