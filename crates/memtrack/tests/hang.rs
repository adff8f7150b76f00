//! Kernel files that hang, by way of named pipes in a fixture: opening one blocks until somebody opens the other end.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use common::fixture::{Fixture, next};
use memtrack::Tier;
use memtrack::sampler::{Sampler, State, Update};
use memtrack::source::Target;

/// A file that hangs whoever opens it, until let go.
struct Hanging(PathBuf);

impl Hanging {
    fn at(path: PathBuf) -> Self {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        Self(path)
    }

    /// Opens the other end, which blocks until somebody is at this one. Moved away first, so that nobody comes back.
    fn let_go(&self) {
        let away = self.0.with_extension("away");
        fs::rename(&self.0, &away).unwrap();
        fs::OpenOptions::new().write(true).open(&away).unwrap();
    }
}

#[test]
fn a_hanging_pss_reading_leaves_all_else_fresh() {
    let fixture = Fixture::new();
    let hanging = Hanging::at(fixture.path("proc/42/smaps_rollup"));
    let mut sampler = fixture.sampler(Target::Process, Tier::Development);
    let all = sampler.all();
    sampler.start().unwrap();
    for kib in 100..200 {
        fixture.set_rss(&format!("{kib} kB"));
        while next(all.receiver()).process.rss != Ok(kib << 10) {}
    }
    let sample = next(all.receiver());
    assert!(sample.process.pss.is_err() && sample.system.total.is_ok());
    let health = sampler.health();
    assert_eq!((health.state, health.failures), (State::Running, 0));
    sampler.stop();
    assert_eq!(sampler.health().state, State::Stopped);
    let again = sampler.all();
    sampler.start().unwrap();
    assert!(next(again.receiver()).process.rss.is_ok(), "the thread was joined and starts again");
    sampler.stop();
    hanging.let_go();
}

#[test]
fn a_read_that_hangs_for_two_seconds_is_seen_reported_and_got_over() {
    let fixture = Fixture::new();
    let mut sampler = fixture.sampler(Target::Tree, Tier::Production);
    let (all, newest) = (sampler.all(), sampler.newest());
    sampler.start().unwrap();
    next(all.receiver());
    let hanging = hang_the_next_read(&fixture);
    wait_until_hung(&sampler, Duration::from_secs(2));
    let health = sampler.health();
    assert_eq!(health.state, State::Running);
    assert!(health.since_progress.unwrap() >= Duration::from_secs(2), "no heartbeat meanwhile");
    assert_eq!(newest.get().unwrap().process.rss, Ok(100 << 10), "the last sample stands");
    hanging.let_go();
    let hung = all.receiver().iter().find_map(|update| match update {
        Update::Hung(time) => Some(time),
        _ => None,
    });
    assert!(hung.unwrap() >= Duration::from_secs(2));
    while !next(all.receiver()).at.gap {}
    fixture.set_rss("300 kB");
    while next(all.receiver()).process.rss != Ok(300 << 10) {}
    assert!(sampler.health().missed >= 100, "the deadlines that passed meanwhile are counted");
}

#[test]
fn stop_does_not_wait_for_a_read_that_hangs() {
    let fixture = Fixture::new();
    let mut sampler = fixture.sampler(Target::Tree, Tier::Production);
    let all = sampler.all();
    sampler.start().unwrap();
    next(all.receiver());
    let hanging = hang_the_next_read(&fixture);
    wait_until_hung(&sampler, Duration::from_millis(100));
    sampler.stop();
    assert_eq!(sampler.health().state, State::Stopped);
    while all.receiver().recv().is_ok() {}
    // Somebody still hangs at the other end, or this would not return.
    hanging.let_go();
}

/// The list of children is opened on every tick on which something was started: without `loadavg`, on every tick.
fn hang_the_next_read(fixture: &Fixture) -> Hanging {
    Hanging::at(fixture.path("proc/42/task/42/children"))
}

fn wait_until_hung(sampler: &Sampler, at_least: Duration) {
    while sampler.health().reading_for.is_none_or(|time| time < at_least) {
        std::thread::yield_now();
    }
}
