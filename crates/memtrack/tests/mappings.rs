//! Where a real process grows: on its heap, in anonymous memory, in a file, in shared memory, on stacks.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Actor;
use memtrack::mappings::{MappingClass, MappingReading, MappingReadings, Mappings, read};
use memtrack::source::{LinuxSource, Source, Target};
use memtrack::{Absent, TrackConfig};

const MIB: u64 = 1 << 20;

fn mappings_of(actor: &Actor) -> Mappings {
    read(Path::new("/"), &[actor.id()]).unwrap()
}

/// Grows by 32 MiB in a way of its own for each line that it is sent.
const SCRIPT: &str = "
import mmap, os, sys, threading
SIZE = 32 << 20
kept = []
def touch(view):
    for page in range(0, SIZE, 4096): view[page] = 1
    kept.append(view)
def deep(ready, done):
    ready.set(); done.wait()
print('ready')
for line in sys.stdin:
    how = line.strip()
    if how == 'heap':
        # Below the size from which the C library maps each block on its own.
        kept.extend(bytearray(b'x') * 65536 for _ in range(SIZE // 65536))
    elif how == 'anonymous':
        touch(mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    elif how == 'shmem':
        touch(mmap.mmap(-1, SIZE))
    elif how == 'memfd':
        fd = os.memfd_create('ring'); os.ftruncate(fd, SIZE)
        touch(mmap.mmap(fd, SIZE))
    elif how == 'threads':
        done = threading.Event()
        for _ in range(8):
            ready = threading.Event()
            threading.Thread(target=deep, args=(ready, done), daemon=True).start()
            ready.wait()
    else:
        with open(how, 'r+b') as file:
            view = mmap.mmap(file.fileno(), SIZE)
        touch(view)
    print('done')
";

#[test]
fn what_grew_is_named_by_its_class_and_its_file() {
    let Some(mut actor) = Actor::python(SCRIPT) else { return };
    actor.hear("ready");
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("a file");
    std::fs::write(&path, vec![1u8; 32 << 20]).unwrap();
    let path = path.to_str().unwrap();
    for (how, class, name) in [
        ("heap", MappingClass::Heap, None),
        ("anonymous", MappingClass::Anonymous, None),
        ("shmem", MappingClass::Shmem, Some("/dev/zero (deleted)")),
        ("memfd", MappingClass::Shmem, Some("/memfd:ring (deleted)")),
        (path, MappingClass::File, Some(path)),
    ] {
        let before = mappings_of(&actor);
        actor.tell(how);
        actor.hear("done");
        let after = mappings_of(&actor);
        let growth = after.since(&before);
        let (largest, change) = growth.largest().unwrap();
        assert_eq!(largest, class, "{how}: {growth:?}");
        let grown = u64::try_from(change.footprint()).unwrap();
        assert!((31 * MIB..=34 * MIB).contains(&grown), "{how}: {} MiB", grown / MIB);
        let private = matches!(class, MappingClass::Heap | MappingClass::Anonymous);
        assert_eq!(change.anon > 31 * MIB as i64, private, "{how}: {change:?}");
        // A page of some library more or less comes and goes.
        let grown = growth.named.iter().find(|named| named.change.rss > MIB as i64);
        assert_eq!(grown.map(|named| named.name.as_str()), name, "{how}");
        // The same as the kernel's own sums.
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", actor.child.id()));
        let rollup = rollup.unwrap();
        for (key, ours) in [
            ("Rss:", after.total().rss),
            ("Anonymous:", after.total().anon),
            ("Private_Dirty:", after.total().private_dirty),
        ] {
            let line = rollup.lines().find(|line| line.starts_with(key)).unwrap();
            let theirs: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            let agree = ours.abs_diff(theirs << 10) <= ours / 100;
            assert!(agree, "{how}: {key} {ours}, not {theirs} KiB");
        }
    }
    let before = mappings_of(&actor);
    actor.tell("threads");
    actor.hear("done");
    let growth = mappings_of(&actor).since(&before);
    // A kernel that keeps guards without a mapping of their own leaves threads' stacks among the anonymous ones.
    let stacks = growth.class(MappingClass::Stack).mappings;
    let guards = std::fs::read_to_string(format!("/proc/{}/maps", actor.child.id())).unwrap();
    let guards = guards.lines().filter(|line| line.contains(" ---p ")).count();
    assert!(stacks == 8 || guards < 8, "{stacks} stacks, {guards} guards");
}

/// Reads the source as a sampler would, until what was asked for is there.
fn answered(source: &mut LinuxSource, readings: &MappingReadings) -> Arc<MappingReading> {
    readings.ask();
    let start = Instant::now();
    while readings.is_wanted() {
        source.read(&TrackConfig::default()).unwrap();
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
    readings.newest().unwrap().unwrap()
}

#[test]
fn a_source_answers_who_asks_and_only_then() {
    // The second process ends with the pipe from here, and outlives no test.
    let script = "exec 3<&0; (echo ready; read line <&3) & wait";
    let mut top = Actor::spawn(Command::new("sh").args(["-c", script]));
    top.hear("ready");
    let mut source = LinuxSource::open(&Target::Tree(top.id())).unwrap();
    let readings = source.mappings();
    for _ in 0..50 {
        source.read(&TrackConfig::default()).unwrap();
    }
    assert_eq!(readings.newest(), None);
    let sample = source.read(&TrackConfig::default()).unwrap();
    let reading = answered(&mut source, &readings);
    assert_eq!(Ok(reading.processes), sample.process.processes);
    assert!(reading.at >= sample.at.monotonic);
    assert!(reading.mappings.total().pss <= reading.mappings.total().rss);
    assert!(reading.mappings.named.iter().any(|named| named.name.contains("libc")));
    let again = answered(&mut source, &readings);
    assert!(again.at > reading.at, "a reading of its own");
    assert_eq!(read(Path::new("/"), &[]), Err(Absent::Gone));
    top.child.kill().unwrap();
    top.child.wait().unwrap();
    drop(top);
    readings.ask();
    while source.read(&TrackConfig::default()).is_ok() {
        std::thread::yield_now();
    }
    assert!(!readings.is_wanted(), "nobody waits for what has ended");
    assert!(readings.newest().is_some());
}

#[test]
fn a_target_without_processes_answers_at_once() {
    let mut source = LinuxSource::open(&Target::System).unwrap();
    let readings = source.mappings();
    readings.ask();
    source.read(&TrackConfig::default()).unwrap();
    assert_eq!(readings.newest(), Some(Err(Absent::NotRead)));
}

#[cfg(feature = "serde")]
#[test]
fn a_reading_survives_being_written_down() {
    let own = memtrack::processes::ProcessId::own().unwrap();
    let mappings = read(Path::new("/"), &[own]).unwrap();
    let growth = mappings.since(&Mappings::default());
    let text = serde_json::to_string(&(&mappings, &growth)).unwrap();
    assert!(text.contains("\"class\":\"file\""), "{text}");
    assert_eq!(serde_json::from_str::<(Mappings, _)>(&text).unwrap(), (mappings, growth));
}
