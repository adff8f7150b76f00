//! A real stall: the kernel reports it, and the sampler looks before its time.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::cgroup::RealCgroup;
use crossbeam_channel::RecvTimeoutError;
use memtrack::config::MAX_INTERVAL;
use memtrack::psi::Psi;
use memtrack::sampler::{Sampler, Update};
use memtrack::source::{LinuxSource, Target};
use memtrack::{Sample, Settings, TrackConfig};

/// How long somebody has waited for memory since boot.
fn stalled() -> Duration {
    let total = Psi::open(Path::new("/")).and_then(|psi| psi.read().some.total_us);
    Duration::from_micros(total.unwrap())
}

/// Whether the kernel takes a trigger from this process, asked apart from the code under test.
fn takes_triggers() -> bool {
    let file = File::options().read(true).write(true).open("/proc/pressure/memory");
    ["some 100000 1000000\0", "some 200000 2000000\0"].iter().any(|trigger| {
        let file = file.as_ref().ok().and_then(|file| file.try_clone().ok());
        file.is_some_and(|mut file| file.write_all(trigger.as_bytes()).is_ok())
    })
}

#[test]
fn a_stall_that_the_kernel_reports_brings_a_sample_before_its_time() {
    const LIMIT: u64 = 8 << 20;
    /// With that much of it made and nothing reported, the report was lost: it takes a tenth of one or two seconds.
    const ENOUGH: Duration = Duration::from_secs(20);
    /// Looks at the machine until then, two a second.
    const LOOKS: u32 = 60;
    if !takes_triggers() {
        eprintln!("skipped: the kernel takes no pressure trigger from this process");
        return;
    }
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let Some(mut cgroup) = RealCgroup::new("stall", LIMIT) else { return };
    // Far apart: what comes after the first sample comes because it was called.
    let config = TrackConfig { interval: Some(MAX_INTERVAL), ..TrackConfig::default() };
    let source = LinuxSource::open(&Target::System).unwrap();
    let mut sampler = Sampler::new(source, Settings::fixed(config));
    let all = sampler.all();
    sampler.start().unwrap();
    let next = |timeout| -> Result<Sample, RecvTimeoutError> {
        loop {
            if let Update::Sample(sample) = all.receiver().recv_timeout(timeout)? {
                return Ok(sample);
            }
        }
    };
    let first = next(Duration::from_secs(60)).unwrap();
    let before = stalled();

    // Who writes more than the limit into files waits for them to reach the disk: that is waiting for memory.
    let writer = "while :; do head -c 33554432 /dev/zero > \"$1\"; done";
    for n in 0..2 {
        let file = scratch.path().join(n.to_string());
        cgroup.run(Command::new("sh").args(["-c", writer, "sh"]).arg(file));
    }
    let mut looks = 0;
    let woken = loop {
        match next(Duration::from_millis(500)) {
            Ok(sample) => break sample,
            Err(RecvTimeoutError::Disconnected) => panic!("the sampler has ended"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let made = stalled().saturating_sub(before);
        assert!(made < ENOUGH, "{made:?} of stalls and no report");
        looks += 1;
        if looks == LOOKS {
            eprintln!("skipped: no stall can be made here: {made:?} after {looks} looks");
            return;
        }
    };
    drop(cgroup);
    let passed = woken.at.monotonic - first.at.monotonic;
    assert!(passed < MAX_INTERVAL, "not by the clock: {passed:?}");
    assert_eq!(sampler.health().missed, 0);
    // And goes on closely for as long as the report covers.
    let closer = next(Duration::from_secs(60)).unwrap();
    assert!(closer.at.monotonic - woken.at.monotonic < MAX_INTERVAL);
}
