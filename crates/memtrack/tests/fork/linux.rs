#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::time::Duration;

use memtrack::processes::ProcessId;
use memtrack::sampler::{Sampler, Update};
use memtrack::source::{LinuxMachine, LinuxSource, LinuxTarget, Source, Target};
use memtrack::{Settings, Tier, TrackConfig};

const MIB: u64 = 1 << 20;

/// Runs `child` in a fork of this process, which ends with it; gives its pid.
fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: this program has no second thread that is in the middle of anything; the child panics or exits.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        // SAFETY: ends this process at once, without what the parent has registered for its own end.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    pid
}

/// Waits for a fork, which must not have failed.
fn ends_well(pid: i32) {
    let mut status = 0;
    // SAFETY: `status` is a place for the answer.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0, "the child failed");
}

fn in_a_fork(child: impl FnOnce()) {
    ends_well(fork(child));
}

fn a_source_shows_the_child_its_own_figures() {
    let config = TrackConfig { tier: Tier::Development, ..TrackConfig::default() };
    let mut block = black_box(Some(vec![1u8; 64 << 20]));
    let mut source = LinuxSource::open(&Target::Own).unwrap();
    let (snapshot, mappings) = (source.snapshot(), source.mappings());
    // A pressure trigger and the thread that reads PSS exist by now, where they can be had.
    let reports = source.wake();
    while source.read(&config).unwrap().process.pss.is_err() {
        std::thread::yield_now();
    }
    let parent = ProcessId::own().unwrap();
    let before = source.read(&config).unwrap();
    in_a_fork(|| {
        block = None;
        let sample = source.read(&config).unwrap();
        let own = ProcessId::own().unwrap();
        assert_ne!(own, parent);
        assert_eq!(snapshot.rows().iter().map(|row| row.id).collect::<Vec<_>>(), [own]);
        let lost = before.process.rss.unwrap() - sample.process.rss.unwrap();
        assert!(lost > 60 * MIB, "{} MiB less than the parent", lost / MIB);
        assert!(sample.at.monotonic >= before.at.monotonic, "the clock goes on");
        mappings.ask();
        while mappings.is_wanted() || source.read(&config).unwrap().process.pss.is_err() {
            source.read(&config).unwrap();
            std::thread::yield_now();
        }
        let anon = mappings.newest().unwrap().unwrap().mappings.total().anon;
        assert!(anon < 60 * MIB, "{} MiB", anon / MIB);
    });
    // What the child let go of is still there for the parent.
    black_box(&block);
    let sample = source.read(&config).unwrap();
    assert!(sample.process.rss.unwrap() > 64 * MIB);
    assert_eq!(snapshot.rows()[0].id, parent);
    assert_ne!(reports.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected));
}

fn targets_that_are_read_together_show_the_child_its_own_figures() {
    let config = TrackConfig { tier: Tier::Development, ..TrackConfig::default() };
    let mut machine = LinuxMachine::open().unwrap();
    let parent = ProcessId::own().unwrap();
    let mut targets =
        [Target::Own, Target::Process(parent)].map(|target| machine.target(&target).unwrap());
    let whose = [targets[0].snapshot(), targets[1].snapshot()];
    let ids = || whose.each_ref().map(|snapshot| snapshot.rows()[0].id);
    let mut read_until_measured = || {
        while {
            let mut tick = machine.tick();
            let read = |target: &mut LinuxTarget| target.read(&mut tick, &config).unwrap();
            !targets.each_mut().map(read).iter().all(|sample| sample.process.pss.is_ok())
        } {
            std::thread::yield_now();
        }
    };
    read_until_measured();
    assert_eq!(ids(), [parent, parent]);
    in_a_fork(|| {
        // The thread that reads PSS stayed behind: a new one is started.
        read_until_measured();
        assert_eq!(ids(), [ProcessId::own().unwrap(), parent]);
    });
    read_until_measured();
    assert_eq!(ids(), [parent, parent]);
}

fn a_sampler_stays_with_the_parent_and_does_not_hold_up_the_child() {
    let config = TrackConfig { interval: Some(Duration::from_millis(5)), ..TrackConfig::default() };
    let settings = || Settings::fixed(config.clone());
    let mut sampler = Sampler::new(LinuxSource::open(&Target::Own).unwrap(), settings());
    let all = sampler.all();
    sampler.start().unwrap();
    all.receiver().recv().unwrap();
    in_a_fork(|| {
        assert!(sampler.start().is_err());
        sampler.stop();
        let mut own = Sampler::new(LinuxSource::open(&Target::Own).unwrap(), settings());
        let all = own.all();
        own.start().unwrap();
        all.receiver().recv().unwrap();
        own.stop();
    });
    all.receiver().recv().unwrap();
    sampler.stop();
}

/// Here in place of the other suites, since it is the own process that is stopped.
fn a_program_that_is_stopped_and_goes_on_sees_the_gap() {
    let (mut heard, mut told) = std::io::pipe().unwrap();
    let child = fork(|| {
        let interval = Some(Duration::from_millis(5));
        let config = TrackConfig { interval, ..TrackConfig::default() };
        let source = LinuxSource::open(&Target::Own).unwrap();
        let mut sampler = Sampler::new(source, Settings::fixed(config));
        let all = sampler.all_within(100_000);
        sampler.start().unwrap();
        let mut before = None;
        loop {
            let Update::Sample(sample) = all.receiver().recv().unwrap() else { continue };
            // Before the first nothing was watched: on a busy machine it may be late, and that is no gap.
            let last = before.replace(sample.at.monotonic).unwrap_or(sample.at.monotonic);
            assert!(sample.at.monotonic >= last, "time does not go back");
            let passed = sample.at.monotonic - last;
            // From here on the parent may stop it.
            told.write_all(b".").unwrap();
            if passed >= Duration::from_millis(1000) {
                assert!(sample.at.gap, "{passed:?} went by unwatched");
                break;
            }
        }
    });
    let send = |signal| {
        // SAFETY: a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(child, signal) }, 0);
    };
    heard.read_exact(&mut [0; 1]).unwrap();
    send(libc::SIGSTOP);
    // This is how long it is stopped, and nothing that anybody waits for.
    std::thread::sleep(Duration::from_millis(1200));
    send(libc::SIGCONT);
    ends_well(child);
}

pub(crate) fn main() {
    a_program_that_is_stopped_and_goes_on_sees_the_gap();
    a_source_shows_the_child_its_own_figures();
    targets_that_are_read_together_show_the_child_its_own_figures();
    a_sampler_stays_with_the_parent_and_does_not_hold_up_the_child();
}
