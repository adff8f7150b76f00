//! Samples from the kernel's own files, through descriptors that are held open.

use std::path::{Path, PathBuf};

use crate::cgroup::Hierarchy;
use crate::config::TrackConfig;
use crate::error::{OpenError, SourceError};
use crate::held::Held;
use crate::processes::ProcessId;
use crate::psi::Psi;
use crate::reading::{Absent, Reading};
use crate::sample::{CgroupMemory, ProcessMemory, PsiMemory, Sample, SystemMemory};
use crate::source::{Clock, Source, Target};
use crate::text::Fields;

/// Holds `status` and `meminfo` whole, with room for the lines that later kernels add.
const BUFFER: usize = 4096;

/// A target on this machine, read from `/proc` and the cgroup file systems.
#[derive(Debug)]
pub struct LinuxSource {
    clock: Clock,
    process: Option<ProcessFiles>,
    meminfo: Reading<Held>,
    cgroup: Reading<Hierarchy>,
    psi: Reading<Psi>,
}

/// The files of one process. A held descriptor stays bound to its process: once that has ended it answers ESRCH, and
/// never with the figures of a later process that was given the same pid.
#[derive(Debug)]
struct ProcessFiles {
    status: Held,
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
        let clock = Clock::start();
        let (process, cgroup) = match target {
            Target::Own => {
                let files = ProcessFiles::open(root, "self", std::process::id())?;
                (Some(files), Hierarchy::open(root, "self"))
            }
            Target::Process(id) | Target::Tree(id) => {
                let pid = id.pid.to_string();
                let files = ProcessFiles::open(root, &pid, id.pid)?;
                let cgroup = Hierarchy::open(root, &pid);
                // The files are the named process's only if it still runs now that they are open.
                if ProcessId::read(root, id.pid)? != *id {
                    return Err(OpenError::NoSuchProcess { pid: id.pid });
                }
                (Some(files), cgroup)
            }
            Target::Cgroup(path) => {
                let cgroup = Hierarchy::at(root, path).map_err(|_| OpenError::NoSuchCgroup)?;
                (None, Ok(cgroup))
            }
            Target::System => (None, Err(Absent::NotRead)),
        };
        let meminfo = Held::open(root.join("proc/meminfo"));
        Ok(Self { clock, process, meminfo, cgroup, psi: Psi::open(root) })
    }
}

impl Source for LinuxSource {
    fn read(&mut self, _: &TrackConfig) -> Result<Sample, SourceError> {
        let mut sample = Sample::empty(self.clock.stamp());
        if let Some(files) = &self.process {
            sample.process = files.read()?;
        }
        sample.system =
            self.meminfo.as_ref().map_or_else(|why| SystemMemory::absent(*why), read_meminfo);
        sample.cgroup = match &self.cgroup {
            Ok(cgroup) => cgroup.read(sample.system.total),
            Err(why) => CgroupMemory::absent(*why),
        };
        sample.psi = match &self.psi {
            Ok(psi) => psi.read(),
            Err(why) => PsiMemory::absent(*why),
        };
        Ok(sample)
    }
}

impl ProcessFiles {
    fn open(root: &Path, name: &str, pid: u32) -> Result<Self, OpenError> {
        let folder: PathBuf = root.join("proc").join(name);
        let status = Held::open(folder.join("status")).map_err(|reason| match reason {
            Absent::Unsupported | Absent::Gone => OpenError::NoSuchProcess { pid },
            reason => OpenError::Unreadable { what: "`status` of the process", reason },
        })?;
        Ok(Self { status })
    }

    fn read(&self) -> Result<ProcessMemory, SourceError> {
        let mut buffer = [0; BUFFER];
        let text = match self.status.read(&mut buffer) {
            Ok(text) => text,
            Err(Absent::Gone) => return Err(SourceError::Ended),
            Err(reason) => {
                return Err(SourceError::Failed { what: "`status` of the process", reason });
            }
        };
        let mut fields = Fields::new(text);
        if let Some(state) = fields.text(b"State:")
            && matches!(state.first(), Some(b'Z' | b'X'))
        {
            return Err(SourceError::Ended);
        }
        // In the order in which the kernel writes them, so that one pass finds all.
        Ok(ProcessMemory {
            peak: fields.kb(b"VmHWM:"),
            rss: fields.kb(b"VmRSS:"),
            anon: fields.kb(b"RssAnon:"),
            file: fields.kb(b"RssFile:"),
            shmem: fields.kb(b"RssShmem:"),
            swap: fields.kb(b"VmSwap:"),
            threads: fields.count(b"Threads:"),
            processes: Ok(1),
            ..ProcessMemory::default()
        })
    }
}

fn read_meminfo(file: &Held) -> SystemMemory {
    let mut buffer = [0; BUFFER];
    match file.read(&mut buffer) {
        Ok(text) => parse_meminfo(text),
        Err(why) => SystemMemory::absent(why),
    }
}

fn parse_meminfo(text: &[u8]) -> SystemMemory {
    let mut fields = Fields::new(text);
    // In the order in which the kernel writes them, so that one pass finds all.
    let total = match fields.kb(b"MemTotal:") {
        // No machine runs on nothing; a masked file reads like this.
        Ok(0) => Err(Absent::Implausible),
        total => total,
    };
    let free = fields.kb(b"MemFree:");
    let available = match fields.kb(b"MemAvailable:") {
        Err(Absent::Unsupported) => approximate_available(fields.clone(), free),
        available => available,
    };
    let swap_total = fields.kb(b"SwapTotal:");
    let swap_free = fields.kb(b"SwapFree:");
    SystemMemory { total, available, swap_total, swap_free }
}

/// For kernels before 3.14: what is free, and the page cache without the part of it that is shared memory and cannot be
/// dropped. The approximation of earlyoom and of procps `free`.
fn approximate_available(mut fields: Fields<'_>, free: Reading<u64>) -> Reading<u64> {
    let buffers = fields.kb(b"Buffers:")?;
    let cached = fields.kb(b"Cached:")?;
    let shmem = fields.kb(b"Shmem:").unwrap_or(0);
    Ok(free?.saturating_add(buffers).saturating_add(cached).saturating_sub(shmem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const STAT: &str = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 3 0 777 1000 10";

    fn fixture(status: &str, meminfo: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/42")).unwrap();
        fs::write(root.path().join("proc/42/status"), status).unwrap();
        fs::write(root.path().join("proc/42/stat"), STAT).unwrap();
        fs::write(root.path().join("proc/meminfo"), meminfo).unwrap();
        root
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
    fn a_kernel_without_mem_available_is_approximated() {
        let meminfo =
            "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 300 kB\nShmem: 20 kB\n";
        let sample = read(fixture("VmRSS:\t1 kB\n", meminfo).path()).unwrap();
        assert_eq!(sample.system.available, Ok(430 << 10));
        assert_eq!(sample.system.swap_total, Err(Absent::Unsupported));
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
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
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
}
