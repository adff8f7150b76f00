//! Whatever any kernel file says, a source reads on: nothing panics, and what the other files say stands.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic in a fixture is a failed test")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use memtrack::processes::ProcessId;
use memtrack::sampler::{Sampler, Update};
use memtrack::source::{LinuxSource, Source, Target};
use memtrack::{Sample, Settings, Tier, TrackConfig};
use proptest::prelude::*;

/// A machine with one process, each file as the kernel writes it.
const FILES: [(&str, &str); 19] = [
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
    ("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 900 100 5\n"),
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
                    let same_swap = of.contains("zram") && name == "proc/swaps";
                    let chain =
                        same_cgroup || same_swap || name.ends_with("mountinfo") || of == name;
                    assert!(there || chain, "{name} says {nonsense:.20}: {of} is lost");
                    assert!(!(there && of == name && nonsense != huge), "{name}: {nonsense:.20}");
                }
            }
        }
        fs::write(root.path().join(name), text).unwrap();
    }
}

#[test]
fn whichever_reading_is_garbage_is_counted_and_named() {
    let root = machine();
    let id = ProcessId::read(root.path(), 42).unwrap();
    let (usage, events) = ("sys/fs/cgroup/app/memory.current", "sys/fs/cgroup/app/memory.events");
    for (name, text, expected) in [
        ("proc/42/status", "State:\tS\nVmRSS:\t1 kB\nThreads:\tmany\n", &["process.threads"][..]),
        (
            "proc/meminfo",
            "MemTotal: 8000000 kB\nMemAvailable: -1 kB\nSwapTotal: 9 kB\nSwapFree: 10 kB\n",
            // The swap that the process has is more than there would be.
            &["process.swap", "system.available", "system.swap_free"],
        ),
        ("sys/block/zram0/mm_stat", "a b c\n", &["system.zram"]),
        ("sys/fs/cgroup/app/memory.max", "lots\n", &["cgroup.limit"]),
        ("sys/fs/cgroup/app/memory.high", "-3\n", &["cgroup.high"]),
        (
            "sys/fs/cgroup/app/memory.stat",
            "inactive_file ?\n",
            &["cgroup.inactive_file", "cgroup.limit"],
        ),
        (usage, "-5\n", &["cgroup.usage", "cgroup.inactive_file", "cgroup.limit"]),
        (usage, "18446744073709551615\n", &["cgroup.usage", "cgroup.limit"]),
        (
            events,
            "high x\nmax -\noom 0x3\noom_kill 1e9\n",
            &[
                "cgroup.events.max",
                "cgroup.events.high",
                "cgroup.events.oom",
                "cgroup.events.oom_kill",
            ],
        ),
        (
            "proc/pressure/memory",
            "some avg10=999.00 avg60=0.00 avg300=0.00 total=x\n\
             full avg10=0.00 avg60=no avg300=0.00 total=-4\n",
            &["psi.some.total_us", "psi.full.total_us", "psi.some.avg10", "psi.full.avg60"],
        ),
    ] {
        let good = fs::read(root.path().join(name)).unwrap();
        fs::write(root.path().join(name), text).unwrap();
        let source = LinuxSource::open_at(root.path(), &Target::Process(id)).unwrap();
        let sampler = Sampler::new(source, Settings::fixed(TrackConfig::default()));
        let all = sampler.all();
        assert!(sampler.drive().unwrap().step());
        let named = all.receiver().iter().filter_map(|update| match update {
            Update::Absurd(absurd) => Some(absurd.reading),
            _ => None,
        });
        assert_eq!(named.collect::<Vec<_>>(), expected, "{name}: {text}");
        assert_eq!(sampler.health().absurd, expected.len() as u64, "{name}: {text}");
        fs::write(root.path().join(name), good).unwrap();
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
