//! Samples through the `sysinfo` crate: any OS it knows, and on Linux the oracle the other source is tested against.
//!
//! It is about 35 times as dear as a held descriptor, and says less: no anon/file/shmem split, no peak, no pressure.

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::config::TrackConfig;
use crate::error::{OpenError, SourceError};
use crate::reading::Absent;
use crate::sample::{Sample, SystemMemory};
use crate::source::{Clock, Source};

/// One process and the machine, as `sysinfo` sees them.
#[derive(Debug)]
pub struct SysinfoSource {
    system: System,
    pid: Option<(Pid, u64)>,
    clock: Clock,
}

impl SysinfoSource {
    /// Watches the process `pid`.
    ///
    /// # Errors
    /// [`OpenError::NoSuchProcess`] when there is none.
    pub fn process(pid: u32) -> Result<Self, OpenError> {
        let mut source = Self { system: System::new(), pid: None, clock: Clock::start() };
        let key = Pid::from_u32(pid);
        source.refresh(key);
        let start =
            source.system.process(key).ok_or(OpenError::NoSuchProcess { pid })?.start_time();
        source.pid = Some((key, start));
        Ok(source)
    }

    /// Watches the machine only.
    #[must_use]
    pub fn system() -> Self {
        Self { system: System::new(), pid: None, clock: Clock::start() }
    }

    fn refresh(&mut self, pid: Pid) {
        // `nothing()` still walks the tasks; `without_tasks` is a third of the price on a threaded process.
        let kind = ProcessRefreshKind::nothing().with_memory().without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, kind);
    }
}

impl Source for SysinfoSource {
    fn read(&mut self, _: &TrackConfig) -> Result<Sample, SourceError> {
        let mut sample = Sample::empty(self.clock.stamp());
        let unsupported = Err(Absent::Unsupported);
        if let Some((pid, start)) = self.pid {
            self.refresh(pid);
            // A pid that was given to another process is not our target any more.
            let process = self.system.process(pid).filter(|process| process.start_time() == start);
            let process = process.ok_or(SourceError::Ended)?;
            sample.process.rss = known(process.memory());
            sample.process.processes = Ok(1);
            sample.process.anon = unsupported;
            sample.process.file = unsupported;
            sample.process.shmem = unsupported;
            sample.process.swap = unsupported;
            sample.process.peak = unsupported;
        }
        self.system.refresh_memory_specifics(MemoryRefreshKind::everything());
        let total = known(self.system.total_memory());
        sample.system = SystemMemory {
            total,
            available: known(self.system.available_memory()),
            swap_total: swap(total, self.system.total_swap()),
            swap_free: swap(total, self.system.free_swap()),
            zram: unsupported,
            age: std::time::Duration::ZERO,
        };
        Ok(sample)
    }
}

/// `sysinfo` says 0 for what it could not read; a live process or machine never has 0.
fn known(value: u64) -> crate::Reading<u64> {
    if value == 0 { Err(Absent::Unsupported) } else { Ok(value) }
}

/// A machine may well be without swap. Where not even its memory is known, no swap is nothing that anyone read.
fn swap(total: crate::Reading<u64>, swap: u64) -> crate::Reading<u64> {
    if swap > 0 { Ok(swap) } else { total.map(|_| 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_and_machine_are_read() {
        let mut source = SysinfoSource::process(std::process::id()).unwrap();
        let sample = source.read(&TrackConfig::default()).unwrap();
        assert!(sample.process.rss.unwrap() > 0);
        assert!(sample.system.available.unwrap() <= sample.system.total.unwrap());
        assert_eq!(sample.process.anon, Err(Absent::Unsupported));
    }

    #[test]
    fn no_swap_is_a_fact_only_where_the_machine_was_read_at_all() {
        assert_eq!(swap(known(1 << 30), 0), Ok(0));
        assert_eq!(swap(known(1 << 30), 5), Ok(5));
        assert_eq!(swap(known(0), 0), Err(Absent::Unsupported));
    }

    #[test]
    fn a_pid_that_does_not_exist_is_refused() {
        assert_eq!(
            SysinfoSource::process(u32::MAX - 1).unwrap_err(),
            OpenError::NoSuchProcess { pid: u32::MAX - 1 }
        );
    }
}
