//! Whatever any kernel file says, a source reads on: nothing panics, and what the other files say stands.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic in a fixture is a failed test")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use memtrack::processes::ProcessId;
use memtrack::source::{LinuxSource, Source, Target};
use memtrack::{Sample, Tier, TrackConfig};
use proptest::prelude::*;

/// A machine with one process, each file as the kernel writes it.
const FILES: [(&str, &str); 18] = [
    (
        "proc/42/status",
        "Name:\tx\nState:\tS (sleeping)\nPPid:\t1\nVmHWM:\t900 kB\nVmRSS:\t800 kB\nRssAnon:\t500 kB\n\
         RssFile:\t200 kB\nRssShmem:\t100 kB\nVmSwap:\t50 kB\nThreads:\t3\n",
    ),
    ("proc/42/stat", "42 (x) S 1 42 42 0 -1 4194304 100 0 7 0 1 2 0 0 20 0 3 0 777 1000 10\n"),
    ("proc/42/smaps_rollup", "0-1 ---p 0 0 0 [rollup]\nRss: 800 kB\nPss: 400 kB\n"),
    (
        "proc/42/smaps",
        "1000-2000 rw-p 00000000 00:00 0 [heap]\nRss: 800 kB\nPss: 400 kB\nPrivate_Dirty: 1 kB\n\
         Anonymous: 1 kB\nSwap: 0 kB\n",
    ),
    ("proc/42/cgroup", "3:cpu:/\n0::/app\n"),
    ("proc/42/mountinfo", "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
    ("proc/42/task/42/children", "43 44 "),
    ("proc/self/mountinfo", "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
    ("proc/loadavg", "0.00 0.01 0.02 1/100 42\n"),
    (
        "proc/meminfo",
        "MemTotal: 8000000 kB\nMemFree: 9 kB\nMemAvailable: 4000 kB\nSwapTotal: 900 kB\nSwapFree: 800 kB\n",
    ),
    (
        "proc/pressure/memory",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4\n",
    ),
    ("sys/block/zram0/mm_stat", "100 50 4096 0 9 0 0 0 0\n"),
    ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
    ("sys/fs/cgroup/app/memory.current", "5000000\n"),
    ("sys/fs/cgroup/app/memory.stat", "anon 1\ninactive_file 1000000\n"),
    ("sys/fs/cgroup/app/memory.max", "9000000\n"),
    ("sys/fs/cgroup/app/memory.high", "max\n"),
    ("sys/fs/cgroup/app/memory.events", "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\n"),
];

fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn config() -> TrackConfig {
    TrackConfig { tier: Tier::Development, ..TrackConfig::default() }
}

fn read(root: &Path, target: fn(ProcessId) -> Target) -> Option<Sample> {
    let id = ProcessId::read(root, 42).ok()?;
    LinuxSource::open_at(root, &target(id)).ok()?.read(&config()).ok()
}

/// One reading of each file that a sample is made of.
fn whole(sample: &Sample) -> [(&'static str, bool); 9] {
    [
        ("proc/42/status", sample.process.swap.is_ok()),
        ("proc/42/stat", sample.process.major_faults.is_ok()),
        ("proc/meminfo", sample.system.available.is_ok()),
        ("proc/pressure/memory", sample.psi.full.total_us.is_ok()),
        ("sys/block/zram0/mm_stat", sample.system.zram.is_ok()),
        ("sys/fs/cgroup/app/memory.current", sample.cgroup.usage.is_ok()),
        ("sys/fs/cgroup/app/memory.stat", sample.cgroup.inactive_file.is_ok()),
        ("sys/fs/cgroup/app/memory.max", sample.cgroup.limit.is_ok()),
        ("sys/fs/cgroup/app/memory.events", sample.cgroup.events.oom_kill.is_ok()),
    ]
}

#[test]
fn a_file_that_says_nonsense_takes_its_own_readings_and_no_others() {
    let root = machine();
    let sample = read(root.path(), Target::Process).unwrap();
    assert!(whole(&sample).iter().all(|(_, there)| *there), "{sample:?}");
    let line = "9".repeat(1 << 20);
    let huge = u64::MAX.to_string();
    for (name, text) in FILES {
        for nonsense in ["", "\n", "\0\0\0\0", "-1\n", "NaN kB\n", "a: b: c\n", &huge, &line] {
            fs::write(root.path().join(name), nonsense).unwrap();
            for target in [Target::Process, Target::Tree] {
                // Without a start time there is no telling which process it is, and so no target.
                let Some(sample) = read(root.path(), target) else {
                    assert_eq!(name, "proc/42/stat", "{nonsense:.20}");
                    continue;
                };
                for (of, there) in whole(&sample) {
                    let same_cgroup = of.contains("memory.") && name.contains("group");
                    let chain = same_cgroup || name.ends_with("mountinfo") || of == name;
                    assert!(there || chain, "{name} says {nonsense:.20}: {of} is lost");
                    assert!(!(there && of == name && nonsense != huge), "{name}: {nonsense:.20}");
                }
            }
        }
        fs::write(root.path().join(name), text).unwrap();
    }
}

#[test]
fn the_slow_readings_survive_nonsense_too() {
    let root = machine();
    let id = ProcessId::read(root.path(), 42).unwrap();
    let line = "9".repeat(1 << 20);
    for nonsense in ["", "\0", "Rss: -1 kB\n", &line] {
        fs::write(root.path().join("proc/42/smaps"), nonsense).unwrap();
        fs::write(root.path().join("proc/42/smaps_rollup"), nonsense).unwrap();
        let mut source = LinuxSource::open_at(root.path(), &Target::Process(id)).unwrap();
        let mappings = source.mappings();
        mappings.ask();
        let start = Instant::now();
        while mappings.is_wanted() {
            let sample = source.read(&config()).unwrap();
            assert!(sample.process.rss.is_ok() && sample.process.pss.is_err());
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::yield_now();
        }
        assert!(mappings.newest().unwrap().is_err(), "{nonsense:.20}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_in_any_file_panic(
        which in 0..FILES.len(),
        bytes: Vec<u8>,
        cut in 0usize..400,
        flipped in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let root = machine();
        let (name, text) = FILES[which];
        let mut damaged = text.as_bytes().to_vec();
        damaged.truncate(cut);
        for (at, byte) in flipped {
            if !damaged.is_empty() {
                let at = at.index(damaged.len());
                damaged[at] = byte;
            }
        }
        for content in [bytes, damaged] {
            fs::write(root.path().join(name), content).unwrap();
            let _ = (read(root.path(), Target::Process), read(root.path(), Target::Tree));
        }
    }
}
