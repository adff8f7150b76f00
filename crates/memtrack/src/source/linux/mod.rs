//! Samples from the kernel's own files, through descriptors that are held open.

mod machine;
mod system;
mod target;

use std::path::Path;

use crossbeam_channel::{Receiver, never};

use crate::config::TrackConfig;
use crate::error::{OpenError, SourceError};
use crate::mappings::MappingReadings;
use crate::processes::{ProcessId, Snapshot, Strangers};
use crate::psi::Trigger;
use crate::sample::Sample;
use crate::source::{Source, Target};

pub use machine::{LinuxMachine, Tick};
pub use target::LinuxTarget;

/// A target on this machine, read from `/proc` and the cgroup file systems.
///
/// For many targets at once see [`LinuxMachine`].
#[derive(Debug)]
pub struct LinuxSource {
    machine: LinuxMachine,
    target: LinuxTarget,
    /// Armed when a sampler first asks to be woken.
    trigger: Option<Trigger>,
}

impl LinuxSource {
    /// Opens `target` on this machine.
    ///
    /// # Errors
    /// When the target does not exist or may not be read. A missing cgroup or pressure file is no error: its readings
    /// say why they are absent.
    pub fn open(target: &Target) -> Result<Self, OpenError> {
        Self::open_at(Path::new("/"), target)
    }

    /// Opens `target` under another root, such as a fixture tree with `proc` and `sys/fs/cgroup` in it.
    ///
    /// # Errors
    /// As [`LinuxSource::open`].
    pub fn open_at(root: &Path, target: &Target) -> Result<Self, OpenError> {
        let mut machine = LinuxMachine::open_at(root)?;
        let target = LinuxTarget::open(&mut machine, target, true)?;
        Ok(Self { machine, target, trigger: None })
    }

    /// The same source, which reads PSS of a single process too, in any tier, within its budget; of several it is read in
    /// any case.
    #[must_use]
    pub fn with_pss(mut self) -> Self {
        self.target.always_pss = true;
        self
    }

    /// The same source, which reads `statm` in place of `status` on most ticks, as long as it tells that little has changed; in
    /// the production tier. It is half as dear to read, and hardly anything in it has to be looked for.
    ///
    /// RSS, its parts and the footprint are as of the sample as before. A spike between two samples reaches
    /// [`peak`](crate::ProcessMemory::peak) up to 0.9 s later, and never when the process ends before that: for whoever learns
    /// the peak in another way at the end, as a parent does (`wait4`), or does not need it. The number of threads is late
    /// by as much. How old they are says [`ProcessMemory::age`](crate::ProcessMemory::age).
    #[must_use]
    pub fn sparing(mut self) -> Self {
        self.target.sparing = true;
        self
    }

    /// The same source, whose tree holds on to descendants that this process is given when their parents end.
    ///
    /// A process that forks twice and lets the one in between end is else nobody's descendant, and invisible unless a sample
    /// saw it before. For a program that started the tree and asked for such processes (`PR_SET_CHILD_SUBREAPER`, before
    /// it did): each becomes a child of its first thread. But so does what others leave that this program started, and
    /// nothing in the kernel's tables tells them apart: `is_stranger` is asked of each child of this process, on the thread that
    /// reads, each time it is found and is no member yet. It must not wait.
    #[must_use]
    pub fn adopting(
        mut self,
        is_stranger: impl Fn(ProcessId) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.target.adopt(&mut self.machine, Strangers::new(is_stranger));
        self
    }

    /// The processes behind the newest sample. Take it before the source goes into a sampler.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.target.snapshot()
    }

    /// Where the memory of the target lies: read when asked for, within the budget of PSS. Take it before the source
    /// goes into a sampler.
    ///
    /// ```
    /// use memtrack::TrackConfig;
    /// use memtrack::mappings::MappingClass;
    /// use memtrack::source::{LinuxSource, Source, Target};
    ///
    /// let mut source = LinuxSource::open(&Target::Own)?;
    /// let mappings = source.mappings();
    /// mappings.ask();
    /// let earlier = loop {
    ///     source.read(&TrackConfig::default())?; // In a program a sampler does that, on time.
    ///     if let Some(reading) = mappings.newest() {
    ///         break reading?;
    ///     }
    /// };
    /// assert!(earlier.mappings.total().rss > 0);
    /// // Some minutes later, with a second reading:
    /// let later = earlier.clone();
    /// let growth = later.mappings.since(&earlier.mappings);
    /// assert_eq!(growth.class(MappingClass::Heap).rss, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn mappings(&self) -> MappingReadings {
        self.target.mappings()
    }

    /// The name of the cgroup `depth` levels above the target's own, as in
    /// [`CgroupMemory::depth`](crate::CgroupMemory::depth).
    #[must_use]
    pub fn cgroup_path(&self, depth: u64) -> Option<&str> {
        self.target.cgroup_path(depth)
    }
}

impl Source for LinuxSource {
    fn read(&mut self, config: &TrackConfig) -> Result<Sample, SourceError> {
        let mut tick = self.machine.tick_alone();
        if tick.is_in_a_fork() {
            // Its thread stayed with the parent.
            self.trigger = None;
        }
        self.target.read(&mut tick, config)
    }

    /// Stalls of the whole machine, by a trigger of `/proc/pressure/memory` where the kernel grants one.
    fn wake(&mut self) -> Receiver<()> {
        if self.trigger.is_none() {
            self.trigger = Trigger::arm(&self.machine.root).ok();
        }
        self.trigger.as_ref().map_or_else(never, |trigger| trigger.reports().clone())
    }

    fn woken(&mut self) {
        self.machine.forget();
        self.target.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Tier;
    use crate::reading::{Absent, Reading};
    use std::fs;

    const STAT: &str =
        "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 3 0 777 1000 10\n";

    fn fixture(status: &str, meminfo: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/42")).unwrap();
        fs::write(root.path().join("proc/42/status"), status).unwrap();
        fs::write(root.path().join("proc/42/stat"), STAT).unwrap();
        fs::write(root.path().join("proc/meminfo"), meminfo).unwrap();
        root
    }

    fn sleeper() -> std::io::Result<std::process::Child> {
        // Not our output: whoever reads it would wait for the sleeper when a test fails.
        std::process::Command::new("sleep").arg("1000").stdout(std::process::Stdio::null()).spawn()
    }

    fn read(root: &Path) -> Result<Sample, SourceError> {
        let id = ProcessId::read(root, 42).unwrap();
        LinuxSource::open_at(root, &Target::Process(id)).unwrap().read(&TrackConfig::default())
    }

    const MEMINFO: &str = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 600 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";

    #[test]
    fn a_process_and_its_machine_are_read() {
        let status = "Name:\tx\nState:\tS (sleeping)\nVmHWM:\t900 kB\nVmRSS:\t800 kB\nRssAnon:\t500 kB\n\
                      RssFile:\t200 kB\nRssShmem:\t100 kB\nVmSwap:\t50 kB\nThreads:\t3\n";
        let sample = read(fixture(status, MEMINFO).path()).unwrap();
        assert_eq!(sample.process.rss, Ok(800 << 10));
        assert_eq!(sample.process.footprint(), Ok(850 << 10));
        assert_eq!(sample.process.private(), Ok(550 << 10));
        assert_eq!(sample.process.peak, Ok(900 << 10));
        assert_eq!(sample.process.threads, Ok(3));
        assert_eq!(sample.system.available, Ok(600 << 10));
        assert_eq!(sample.system.swap_total, Ok(0));
        assert_eq!(sample.psi.some.avg10, Err(Absent::Unsupported));
    }

    #[test]
    fn garbage_is_a_reason_and_never_a_zero() {
        let sample = read(fixture("VmRSS:\tmany kB\n", "MemTotal: 0 kB\n").path()).unwrap();
        assert_eq!(sample.process.rss, Err(Absent::Malformed));
        assert_eq!(sample.process.anon, Err(Absent::Unsupported));
        assert_eq!(sample.system.total, Err(Absent::Implausible));
        assert_eq!(sample.system.available, Err(Absent::Unsupported));
    }

    #[test]
    fn a_sample_that_a_stall_asked_for_carries_the_pressure_of_now() {
        let root = fixture("VmRSS:\t1 kB\n", MEMINFO);
        let pressure = root.path().join("proc/pressure/memory");
        fs::create_dir_all(pressure.parent().unwrap()).unwrap();
        let line = |avg10| format!("avg10={avg10} avg60=0.00 avg300=0.00 total=0\n");
        let write = |avg10| {
            fs::write(&pressure, format!("some {}full {}", line(avg10), line("0.00"))).unwrap();
        };
        write("0.00");
        let id = ProcessId::read(root.path(), 42).unwrap();
        let mut source = LinuxSource::open_at(root.path(), &Target::Process(id)).unwrap();
        let config = TrackConfig::default();
        assert_eq!(source.read(&config).unwrap().psi.some.avg10, Ok(0.0));
        write("12.00");
        source.woken();
        assert_eq!(source.read(&config).unwrap().psi.some.avg10, Ok(0.12));
    }

    #[test]
    fn a_zombie_has_ended() {
        let root = fixture("Name:\tx\nState:\tZ (zombie)\nThreads:\t1\n", MEMINFO);
        assert_eq!(read(root.path()).unwrap_err(), SourceError::Ended);
    }

    #[test]
    fn a_reused_pid_is_refused() {
        let root = fixture("VmRSS:\t1 kB\n", MEMINFO);
        let earlier = ProcessId { pid: 42, start: 776 };
        let opened = LinuxSource::open_at(root.path(), &Target::Process(earlier));
        assert_eq!(opened.unwrap_err(), OpenError::NoSuchProcess { pid: 42 });
    }

    #[test]
    fn own_process_agrees_with_itself() {
        let mut source = LinuxSource::open(&Target::Own).unwrap();
        let sample = source.read(&TrackConfig::default()).unwrap();
        let process = sample.process;
        assert!(process.rss.unwrap() > 0);
        assert!(process.peak.unwrap() >= process.anon.unwrap());
        assert!(sample.system.available.unwrap() < sample.system.total.unwrap());
    }

    #[test]
    fn a_process_that_ended_ends_its_series() {
        let mut child = sleeper().unwrap();
        let id = ProcessId::read(Path::new("/"), child.id()).unwrap();
        let mut source = LinuxSource::open(&Target::Process(id)).unwrap();
        assert!(source.read(&TrackConfig::default()).is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(source.read(&TrackConfig::default()), Err(SourceError::Ended));
        assert_eq!(
            LinuxSource::open(&Target::Process(id)).unwrap_err(),
            OpenError::NoSuchProcess { pid: id.pid }
        );
    }

    #[test]
    fn after_a_fork_the_own_files_are_opened_anew() {
        let mut source = LinuxSource::open(&Target::Own).unwrap();
        let before = source.read(&TrackConfig::default()).unwrap().at;
        // As if another process had opened them: these files show one that has ended.
        let mut child = sleeper().unwrap();
        let id = ProcessId::read(Path::new("/"), child.id()).unwrap();
        source.target.show_parent(&mut source.machine, id);
        child.kill().unwrap();
        child.wait().unwrap();
        let sample = source.read(&TrackConfig::default()).unwrap();
        assert!(sample.process.rss.is_ok());
        assert!(sample.at.monotonic >= before.monotonic, "the clock goes on");
    }

    #[test]
    fn a_process_that_is_killed_while_it_is_read_ends_and_gives_no_other_error() {
        for _ in 0..20 {
            let mut child = sleeper().unwrap();
            let id = ProcessId::read(Path::new("/"), child.id()).unwrap();
            let mut source = LinuxSource::open(&Target::Process(id)).unwrap();
            assert!(source.read(&TrackConfig::default()).is_ok());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    child.kill().unwrap();
                    child.wait().unwrap();
                });
                loop {
                    match source.read(&TrackConfig::default()) {
                        Ok(sample) => assert_eq!(sample.process.processes, Ok(1)),
                        Err(end) => break assert_eq!(end, SourceError::Ended),
                    }
                }
            });
        }
    }

    /// The parts of a sample in which `now` lacks what `whole` has.
    fn parts_lost(whole: &Sample, now: &Sample) -> Vec<&'static str> {
        let mut lost = Vec::new();
        let is_lost = |had: Reading<u64>, has: Reading<u64>| had.is_ok() && has.is_err();
        if is_lost(whole.process.rss, now.process.rss)
            || is_lost(whole.process.threads, now.process.threads)
        {
            lost.push("process");
        }
        if is_lost(whole.system.total, now.system.total)
            || is_lost(whole.system.available, now.system.available)
        {
            lost.push("system");
        }
        if is_lost(whole.cgroup.usage, now.cgroup.usage)
            || is_lost(whole.cgroup.events.oom_kill, now.cgroup.events.oom_kill)
        {
            lost.push("cgroup");
        }
        if is_lost(whole.psi.some.total_us, now.psi.some.total_us) {
            lost.push("psi");
        }
        lost
    }

    #[test]
    fn whichever_read_fails_only_its_own_part_is_lost_and_comes_back() {
        use crate::held::faults::{Fault, arm, disarm};
        let config = TrackConfig { tier: Tier::Development, ..TrackConfig::default() };
        let mut child = sleeper().unwrap();
        let id = ProcessId::read(Path::new("/"), child.id()).unwrap();
        let (eio, enoent, eacces) = (Fault::Error(5), Fault::Error(2), Fault::Error(13));
        for target in [Target::Own, Target::Process(id), Target::Tree(id)] {
            for fault in [eio, enoent, eacces, Fault::Short(0), Fault::Short(3), Fault::Short(40)] {
                let mut source = LinuxSource::open(&target).unwrap();
                let whole = source.read(&config).unwrap();
                let mut k = 0;
                loop {
                    // Of what is kept for a moment nothing would be read, and no read would fail.
                    source.woken();
                    arm(k, fault);
                    let struck = source.read(&config).unwrap();
                    let passed_clean = disarm();
                    let lost = parts_lost(&whole, &struck);
                    assert!(lost.len() <= 1, "{target:?} {fault:?} {k}: {lost:?}");
                    // At the latest the second read after it is whole again.
                    source.read(&config).unwrap();
                    let healed = source.read(&config).unwrap();
                    assert_eq!(
                        parts_lost(&whole, &healed),
                        Vec::<&str>::new(),
                        "{target:?} {fault:?} {k}"
                    );
                    if passed_clean {
                        break;
                    }
                    k += 1;
                }
                assert!(k >= 5, "{target:?}: {k} reads were struck");
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn whichever_read_fails_the_targets_that_are_read_together_lose_that_part_alone() {
        use crate::held::faults::{Fault, arm, disarm};
        let config = TrackConfig::default();
        let mut child = sleeper().unwrap();
        let id = ProcessId::read(Path::new("/"), child.id()).unwrap();
        for fault in [Fault::Error(5), Fault::Error(2), Fault::Error(13), Fault::Short(3)] {
            let mut k = 0;
            loop {
                let mut machine = LinuxMachine::open().unwrap();
                let mut targets = [Target::Own, Target::Tree(id), Target::Process(id)]
                    .map(|target| machine.target(&target).unwrap());
                let mut read = || {
                    let mut tick = machine.tick();
                    targets.each_mut().map(|target| target.read(&mut tick, &config).unwrap())
                };
                let whole = read();
                arm(k, fault);
                let struck = read();
                let passed_clean = disarm();
                let lost = struck.iter().zip(&whole).map(|(now, whole)| parts_lost(whole, now));
                let lost: Vec<_> = lost.filter(|lost| !lost.is_empty()).collect();
                let process = vec!["process"];
                assert!(lost.iter().all(|part| part.len() == 1), "{fault:?} {k}: {lost:?}");
                // The machine and the cgroup are shared; a process is its own.
                let of_one = lost.iter().filter(|part| **part == process).count();
                assert!(of_one == 0 || lost.len() == 1, "{fault:?} {k}: {lost:?}");
                read();
                for (now, whole) in read().iter().zip(&whole) {
                    assert_eq!(parts_lost(whole, now), Vec::<&str>::new(), "{fault:?} {k}");
                }
                if passed_clean {
                    break;
                }
                k += 1;
            }
            assert!(k >= 5, "{k} reads were struck");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn whichever_step_of_opening_fails_is_an_error_or_an_absence() {
        use crate::held::faults::{Fault, arm, disarm};
        for fault in [Fault::Error(5), Fault::Error(2), Fault::Error(13), Fault::Short(3)] {
            let mut k = 0;
            loop {
                arm(k, fault);
                let opened = LinuxSource::open(&Target::Own);
                let passed_clean = disarm();
                if let Ok(mut source) = opened {
                    assert!(source.read(&TrackConfig::default()).unwrap().process.rss.is_ok());
                }
                if passed_clean {
                    break;
                }
                k += 1;
            }
            assert!(k >= 5, "{k} steps were struck");
        }
    }
}
