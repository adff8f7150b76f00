//! More cgroups than may be held open: a program of its own, since the limit on files is that of the process.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::fs;

use common::machine::Fixture;
use memtrack::error::SourceError;
use memtrack::source::Target;
use memtrack::{Absent, TrackConfig};

const MIB: u64 = 1 << 20;

#[test]
fn cgroups_beyond_the_room_for_their_files_are_read_all_the_same() {
    let held = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = held();
    let fixture = Fixture::new();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let narrowed = rustix::process::Rlimit { current: Some(256), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, narrowed).unwrap();
    let mut machine = fixture.machine();
    let mut targets: Vec<_> = (1..300)
        .map(|n| {
            let name = format!("/pod/{n}");
            fixture.group(&name, n * MIB, 512 * MIB);
            machine.target(&Target::Cgroup(name.into())).unwrap()
        })
        .collect();
    for more in [0, 1] {
        for n in 1..300 {
            fixture.group(&format!("/pod/{n}"), (n + more) * MIB, 512 * MIB);
        }
        let mut tick = machine.tick();
        for (n, target) in (1..300).zip(&mut targets) {
            let sample = target.read(&mut tick, &TrackConfig::default()).unwrap();
            assert_eq!(sample.cgroup.usage, Ok((n + more) * MIB), "{n}");
            assert_eq!(sample.cgroup.events.max, Ok(1));
        }
        let held = held() - before;
        assert!(held <= 80, "{held} descriptors");
    }
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    fs::remove_dir_all(fixture.path("sys/fs/cgroup/pod/7")).unwrap();
    let mut tick = machine.tick();
    let read = targets[6].read(&mut tick, &TrackConfig::default());
    assert!(
        read == Err(SourceError::Ended)
            || read.is_ok_and(|sample| sample.cgroup.usage == Err(Absent::Gone)),
        "{read:?}"
    );
}
