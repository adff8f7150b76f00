//! What `statm` tells of a process between two readings of its `status`.
//!
//! The kernel writes seven numbers there, from the same counters.

use std::time::{Duration, Instant};

use rustix::param::page_size;

use crate::held::Held;
use crate::procfs::Proc;
use crate::reading::{Absent, Reading};
use crate::sample::ProcessMemory;
use crate::text::column;

/// How long what only `status` tells stands: short of a second, so that who reads each second reads it each time ...
const STANDS: Duration = Duration::from_millis(900);
/// ... while RSS is within this share of what it was.
const SAME_SHARE: u64 = 32;

/// `statm` of one process, held open, and what `status` told last.
#[derive(Debug, Default)]
pub(super) struct Between {
    statm: Option<Held>,
    /// When `status` was read, and the RSS that it told.
    status: Option<(Instant, u64)>,
}

impl Between {
    /// Opens `statm` of `pid`. The caller reads `status` through a descriptor of its own after that: if it still answers, the
    /// pid had not changed hands.
    pub(super) fn open(&mut self, proc: &Proc, pid: u32) {
        if self.statm.is_none() {
            self.statm = proc.file(pid, "statm").ok();
        }
    }

    /// `status` was read `now` and told `rss`.
    pub(super) fn status(&mut self, now: Instant, rss: Reading<u64>) {
        self.status = rss.ok().map(|rss| (now, rss));
    }

    /// `before` as it is now; `None` when `status` has to be read.
    pub(super) fn read(&self, now: Instant, before: &ProcessMemory) -> Option<ProcessMemory> {
        let (at, rss) = self.status?;
        let age = now.saturating_duration_since(at);
        if age >= STANDS {
            return None;
        }
        let mut buffer = [0; 128];
        let (resident, shared) = parse(self.statm.as_ref()?.read(&mut buffer).ok()?).ok()?;
        follow(before, rss, resident, shared).map(|memory| ProcessMemory { age, ..memory })
    }

    /// Whether it holds a descriptor.
    pub(super) fn holds(&self) -> bool {
        self.statm.is_some()
    }
}

/// Resident bytes, and those of them that are pages of files or shared memory: the second and third number.
fn parse(text: &[u8]) -> Reading<(u64, u64)> {
    let page = u64::try_from(page_size()).unwrap_or(u64::MAX);
    let bytes = |index| column(text, index)?.checked_mul(page).ok_or(Absent::Implausible);
    Ok((bytes(1)?, bytes(2)?))
}

/// `before` with the RSS that it has now; `None` when more may have changed than `statm` can tell. Pure.
///
/// RSS is anon + shared in both files. Files and shared memory are told apart by `status` alone, so they must add up to what
/// they were; what was swapped out leaves anon, so that must not have shrunk; and a process that has ended has nothing at
/// all.
fn follow(before: &ProcessMemory, rss_then: u64, rss: u64, shared: u64) -> Option<ProcessMemory> {
    let anon = rss.checked_sub(shared)?;
    let same = before.file.ok()?.checked_add(before.shmem.ok()?)? == shared
        && before.swap == Ok(0)
        && anon >= before.anon.ok()?
        && rss.abs_diff(rss_then) <= rss_then / SAME_SHARE
        && rss > 0;
    same.then(|| ProcessMemory {
        rss: Ok(rss),
        anon: Ok(anon),
        peak: before.peak.map(|peak| peak.max(rss)),
        pss: Err(Absent::NotRead),
        pss_anon: Err(Absent::NotRead),
        pss_swap: Err(Absent::NotRead),
        pss_age: Err(Absent::NotRead),
        ..*before
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::{Detail, ProcessId, Processes};
    use crate::testing;
    use proptest::prelude::*;

    fn memory() -> ProcessMemory {
        ProcessMemory {
            rss: Ok(3200),
            anon: Ok(2000),
            file: Ok(1000),
            shmem: Ok(200),
            swap: Ok(0),
            peak: Ok(3250),
            ..ProcessMemory::default()
        }
    }

    #[test]
    fn growth_of_anon_is_followed_and_all_else_asks_for_status() {
        let before = memory();
        let grown = follow(&before, 3200, 3300, 1200).unwrap();
        assert_eq!((grown.rss, grown.anon, grown.peak), (Ok(3300), Ok(2100), Ok(3300)));
        assert_eq!((grown.file, grown.shmem, grown.swap), (Ok(1000), Ok(200), Ok(0)));
        assert_eq!(follow(&before, 3200, 3200, 1200).unwrap().peak, Ok(3250));
        assert_eq!(follow(&before, 3200, 3301, 1200), None, "a thirty-second more");
        assert_eq!(follow(&before, 3200, 3200, 1201), None, "a file or shared memory?");
        assert_eq!(follow(&before, 3200, 3199, 1200), None, "freed or swapped out?");
        assert_eq!(follow(&before, 0, 0, 0), None, "it has ended");
        let swapped = ProcessMemory { swap: Ok(1), ..before };
        assert_eq!(follow(&swapped, 3200, 3200, 1200), None);
        let unknown = ProcessMemory { swap: Err(Absent::Unsupported), ..before };
        assert_eq!(follow(&unknown, 3200, 3200, 1200), None);
    }

    #[test]
    fn the_numbers_are_pages() {
        let page = page_size() as u64;
        assert_eq!(parse(b"900 30 20 4 0 5 0\n"), Ok((30 * page, 20 * page)));
        assert_eq!(parse(b"900 30\n"), Err(Absent::Malformed));
        assert_eq!(parse(b"1 18446744073709551615 1 1\n"), Err(Absent::Implausible));
    }

    /// A process of 256 pages of anon and two of a file.
    struct Fixture {
        root: tempfile::TempDir,
        set: Processes,
        start: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let dir = root.path().join("proc/42");
            std::fs::create_dir_all(&dir).unwrap();
            let stat = "42 (x) S 1 42 42 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 3 0 777 1000 10\n";
            std::fs::write(dir.join("stat"), stat).unwrap();
            write(&dir, 256, 0, 1);
            let set = Processes::of(root.path(), &[ProcessId { pid: 42, start: 777 }]).unwrap();
            Self { root, set, start: Instant::now() }
        }

        fn dir(&self) -> std::path::PathBuf {
            self.root.path().join("proc/42")
        }

        fn read(&mut self, ms: u64, detail: Detail) -> ProcessMemory {
            self.set.read(self.start + Duration::from_millis(ms), detail).unwrap()
        }
    }

    /// Both files, of a process with two pages of a file and so many of anon.
    fn write(dir: &std::path::Path, anon: u64, swap_kib: u64, threads: u64) {
        let kib = |pages: u64| pages * page_size() as u64 / 1024;
        let status = format!(
            "Name:\tx\nState:\tS (sleeping)\nVmHWM:\t{} kB\nVmRSS:\t{} kB\nRssAnon:\t{} kB\nRssFile:\t{} kB\n\
             RssShmem:\t0 kB\nVmSwap:\t{swap_kib} kB\nThreads:\t{threads}\n",
            kib(anon + 2),
            kib(anon + 2),
            kib(anon),
            kib(2)
        );
        std::fs::write(dir.join("status"), status).unwrap();
        std::fs::write(dir.join("statm"), format!("900 {} 2 1 0 9 0\n", anon + 2)).unwrap();
    }

    #[test]
    fn between_two_readings_of_status_memory_is_of_now_and_the_rest_has_its_age() {
        let mut fixture = Fixture::new();
        let page = page_size() as u64;
        assert_eq!(fixture.read(0, Detail::Sparing).threads, Ok(1));
        write(&fixture.dir(), 260, 0, 2);
        let now = fixture.read(100, Detail::Sparing);
        assert_eq!((now.rss, now.anon, now.file), (Ok(262 * page), Ok(260 * page), Ok(2 * page)));
        assert_eq!((now.threads, now.age), (Ok(1), Duration::from_millis(100)));
        assert_eq!(now.peak, Ok(262 * page));
        let later = fixture.read(900, Detail::Sparing);
        assert_eq!((later.threads, later.age), (Ok(2), Duration::ZERO));
        write(&fixture.dir(), 260, 0, 3);
        assert_eq!(fixture.read(1_000, Detail::Sparing).threads, Ok(2));
        assert_eq!(fixture.read(1_050, Detail::Memory).threads, Ok(3), "everything anew");
    }

    #[test]
    fn what_statm_cannot_tell_apart_is_read_at_once() {
        let mut fixture = Fixture::new();
        fixture.read(0, Detail::Sparing);
        write(&fixture.dir(), 250, 24, 1);
        let swapped = fixture.read(100, Detail::Sparing);
        assert_eq!((swapped.swap, swapped.age), (Ok(24 << 10), Duration::ZERO));
        write(&fixture.dir(), 250, 48, 1);
        assert_eq!(fixture.read(200, Detail::Sparing).swap, Ok(48 << 10), "there is swap");
        write(&fixture.dir(), 2000, 0, 7);
        assert_eq!(fixture.read(300, Detail::Sparing).threads, Ok(7), "it has changed much");

        let mut without = Fixture::new();
        std::fs::remove_file(without.dir().join("statm")).unwrap();
        assert!(without.read(0, Detail::Sparing).rss.is_ok());
        assert_eq!(without.read(100, Detail::Sparing).age, Duration::ZERO, "no such file");
    }

    #[test]
    fn both_files_of_a_real_process_tell_the_same() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let root = std::path::Path::new("/");
        let id = ProcessId::read(root, child.id()).unwrap();
        let mut set = Processes::of(root, &[id]).unwrap();
        let start = Instant::now();
        // Until it has started and sleeps.
        let (status, statm) = loop {
            let status = set.read(start, Detail::Memory).unwrap();
            set.read(start, Detail::Sparing).unwrap();
            let statm = set.read(start + Duration::from_millis(1), Detail::Sparing).unwrap();
            let again = set.read(start, Detail::Memory).unwrap();
            if status == again && statm.age > Duration::ZERO {
                break (status, statm);
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{status:?} {statm:?}");
        };
        assert_eq!(ProcessMemory { age: Duration::ZERO, ..statm }, status);
        child.kill().unwrap();
        // A zombie still has both files, and no memory.
        while set.read(start + Duration::from_millis(2), Detail::Sparing).is_ok() {
            assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
        }
        child.wait().unwrap();
    }

    proptest! {
        #[test]
        fn what_is_followed_adds_up(
            sample in testing::sample(), then in testing::bytes(), rss in testing::bytes(), shared in testing::bytes(),
            near: bool,
        ) {
            let mut before = sample.process;
            let (mut rss, mut shared) = (rss, shared);
            if near {
                // Figures without a connection are never followed.
                before.swap = Ok(0);
                shared = before.file.unwrap_or(0).saturating_add(before.shmem.unwrap_or(0));
                rss = shared.saturating_add(before.anon.unwrap_or(0)).saturating_add(rss % 4096);
            }
            if let Some(now) = follow(&before, if near { rss } else { then }, rss, shared) {
                prop_assert_eq!(now.rss, Ok(rss));
                let sum = now.anon.unwrap() + now.file.unwrap() + now.shmem.unwrap();
                prop_assert_eq!(sum, rss);
                prop_assert_eq!(now.footprint(), Ok(rss));
                prop_assert!(now.anon.unwrap() >= before.anon.unwrap());
                prop_assert!(now.peak.is_err() || now.peak.unwrap() >= rss.max(before.peak.unwrap()));
            }
        }
    }
}
