//! What one look at a target saw.

use std::time::{Duration, SystemTime};

use crate::reading::{Absent, Reading};

/// When a sample was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Time since the source was opened, on a clock that never goes back.
    pub monotonic: Duration,
    /// The wall clock, which may step in either direction.
    pub wall: SystemTime,
    /// The time before this sample was not watched: the machine slept, the watcher was stopped,
    /// or the wall clock stepped against the monotonic one.
    pub gap: bool,
}

impl Stamp {
    /// A stamp `monotonic` after the origin, on a wall clock that started at the Unix epoch: for tests and replay.
    #[must_use]
    pub fn synthetic(monotonic: Duration) -> Self {
        Self { monotonic, wall: SystemTime::UNIX_EPOCH + monotonic, gap: false }
    }
}

/// One timestamped set of readings. Fixed size and `Copy`: taking, sending and keeping one allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// When it was taken.
    pub at: Stamp,
    /// The watched process, or the sum over a watched tree.
    pub process: ProcessMemory,
    /// The whole machine.
    pub system: SystemMemory,
    /// The cgroup ancestor that binds the target.
    pub cgroup: CgroupMemory,
    /// Pressure stall information of the machine.
    pub psi: PsiMemory,
}

impl Sample {
    /// A sample in which nothing has been read yet.
    #[must_use]
    pub fn empty(at: Stamp) -> Self {
        Self {
            at,
            process: ProcessMemory::default(),
            system: SystemMemory::default(),
            cgroup: CgroupMemory::default(),
            psi: PsiMemory::default(),
        }
    }
}

/// Memory of one process, or summed over a tree. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProcessMemory {
    /// Resident set size (`VmRSS`). Over a tree, shared pages count once for each process that maps them.
    pub rss: Reading<u64>,
    /// Private, anonymous memory in RAM (`RssAnon`).
    pub anon: Reading<u64>,
    /// File pages in RAM (`RssFile`).
    pub file: Reading<u64>,
    /// Shared memory and tmpfs pages in RAM (`RssShmem`).
    pub shmem: Reading<u64>,
    /// Anonymous memory swapped out (`VmSwap`).
    pub swap: Reading<u64>,
    /// Highest RSS so far, kept by the kernel (`VmHWM`), so that spikes between samples are not missed.
    /// Over a tree: the highest of any one process, not the tree's simultaneous peak.
    pub peak: Reading<u64>,
    /// Resident bytes with every shared page divided among its users: what the processes of a tree really cost together.
    /// Measured when its budget allows; in between it is estimated: what was measured last, with the anonymous memory that came
    /// since, and the rest by RSS. A process that a `fork` made since adds what it has beyond the one it came from, another one
    /// all of its anonymous memory; one that has ended takes along what it shared with nobody.
    pub pss: Reading<u64>,
    /// Of `pss`, what is anonymous (`Pss_Anon`, Linux 5.4; before that by the shares of all that is resident): `anon` with each page
    /// that a `fork` left shared divided among its users. Measured and estimated with `pss`, and absent for the same reasons.
    pub pss_anon: Reading<u64>,
    /// `swap` divided in the same way (`SwapPss`).
    pub pss_swap: Reading<u64>,
    /// How long ago `pss` and its parts were measured; above 0 they are estimates.
    pub pss_age: Reading<Duration>,
    /// Page faults served without I/O, since the process started.
    pub minor_faults: Reading<u64>,
    /// Page faults that needed I/O, since the process started.
    pub major_faults: Reading<u64>,
    /// Threads.
    pub threads: Reading<u64>,
    /// Live processes that these figures cover.
    pub processes: Reading<u64>,
    /// How long before the sample was read what RSS and its parts do not tell: the peak between two readings, and threads. Above
    /// 0 only where the source was asked to be [sparing](crate::source::LinuxSource::sparing).
    pub age: Duration,
}

impl Default for ProcessMemory {
    fn default() -> Self {
        Self::absent(Absent::NotRead)
    }
}

impl ProcessMemory {
    /// All of it absent, for one reason.
    #[must_use]
    pub const fn absent(why: Absent) -> Self {
        Self {
            rss: Err(why),
            anon: Err(why),
            file: Err(why),
            shmem: Err(why),
            swap: Err(why),
            peak: Err(why),
            pss: Err(why),
            pss_anon: Err(why),
            pss_swap: Err(why),
            pss_age: Err(why),
            minor_faults: Err(why),
            major_faults: Err(why),
            threads: Err(why),
            processes: Err(why),
            age: Duration::ZERO,
        }
    }

    /// What the process costs wherever it lies: RSS + swap. A kernel without swap accounting adds none.
    pub fn footprint(&self) -> Reading<u64> {
        match self.swap {
            Ok(swap) => Ok(self.rss?.saturating_add(swap)),
            Err(Absent::Unsupported | Absent::NotRead) => self.rss,
            Err(why) => Err(why),
        }
    }

    /// What a leak shows in: anon + swap where the kernel tells them apart, else the footprint. Over several processes each page
    /// that they share counts once, so that a `fork` is no growth.
    ///
    /// Mapped files and shared buffers come and go with the page cache and are no leak of this process.
    ///
    /// # Errors
    /// [`Absent::Pending`] over several processes whose PSS has not been measured for the first time yet, which takes some
    /// milliseconds. Where it cannot be had at all, because it may not be read, is too dear, or was not recorded, it is the sum
    /// over the processes, in which a shared page counts for each.
    pub fn private(&self) -> Reading<u64> {
        if let Some(anon) = self.once(self.pss_anon)? {
            return Ok(anon.saturating_add(self.swap_once()?));
        }
        match (self.anon, self.swap) {
            (Ok(anon), Ok(swap)) => Ok(anon.saturating_add(swap)),
            (Ok(anon), Err(Absent::Unsupported | Absent::NotRead)) => Ok(anon),
            _ => self.footprint(),
        }
    }

    /// What the processes hold together, wherever it lies: of several PSS + swap, so that what they share counts once; of one its
    /// footprint. To be held against a limit that is on all of it.
    ///
    /// # Errors
    /// As [`ProcessMemory::private`]; where PSS cannot be had it is the footprint.
    pub fn held(&self) -> Reading<u64> {
        match self.once(self.pss)? {
            Some(pss) => Ok(pss.saturating_add(self.swap_once()?)),
            None => self.footprint(),
        }
    }

    /// `divided` of several processes; `None` of one, and where it cannot be had.
    fn once(&self, divided: Reading<u64>) -> Reading<Option<u64>> {
        match divided {
            _ if !self.processes.is_ok_and(|processes| processes > 1) => Ok(None),
            Err(Absent::Pending) => Err(Absent::Pending),
            divided => Ok(divided.ok()),
        }
    }

    /// Swap over several processes, each page once where the kernel told so.
    fn swap_once(&self) -> Reading<u64> {
        match self.pss_swap.or(self.swap) {
            Err(Absent::Unsupported | Absent::NotRead) => Ok(0),
            swap => swap,
        }
    }
}

/// Memory of the machine. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SystemMemory {
    /// All RAM the kernel manages (`MemTotal`).
    pub total: Reading<u64>,
    /// What can be had without swapping (`MemAvailable`, or its documented approximation on kernels before 3.14).
    pub available: Reading<u64>,
    /// Swap space (`SwapTotal`); 0 means that there is none.
    pub swap_total: Reading<u64>,
    /// Swap space not in use (`SwapFree`).
    pub swap_free: Reading<u64>,
    /// RAM that swap on zram takes up: such swap frees less than it holds. Of the devices that were swapped to
    /// (`/proc/swaps`) when the source was opened; absent without any.
    pub zram: Reading<u64>,
    /// How long before the sample all of this was read: beside a process that is read several times a second, and while more
    /// than half of the machine is available, it stands for up to 0.9 s.
    pub age: Duration,
}

impl Default for SystemMemory {
    fn default() -> Self {
        Self::absent(Absent::NotRead)
    }
}

impl SystemMemory {
    /// All of it absent, for one reason.
    #[must_use]
    pub const fn absent(why: Absent) -> Self {
        Self {
            total: Err(why),
            available: Err(why),
            swap_total: Err(why),
            swap_free: Err(why),
            zram: Err(why),
            age: Duration::ZERO,
        }
    }
}

/// The cgroup ancestor with the highest working set / limit. Sizes are in bytes.
///
/// Usage, inactive file and limit always belong to the same ancestor. Where one of the ancestors could not be read, it might be
/// the one: limit and headroom are then absent for that reason, and usage is that of the fullest of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CgroupMemory {
    /// Charged to the binding ancestor (`memory.current`, on v1 `memory.usage_in_bytes`).
    pub usage: Reading<u64>,
    /// Page cache of it that goes first (`inactive_file`).
    pub inactive_file: Reading<u64>,
    /// Its hard limit (`memory.max`), at most the machine's memory; [`Absent::Unlimited`] when no ancestor has one.
    pub limit: Reading<u64>,
    /// Its throttling limit (`memory.high`, v2 only).
    pub high: Reading<u64>,
    /// The least `limit - working set` over all ancestors that have a limit.
    pub headroom: Reading<u64>,
    /// Working set of the target's own cgroup, whichever ancestor binds. Read where a cgroup is the target; see
    /// [`CgroupMemory::own_working_set`].
    pub own: Reading<u64>,
    /// Which ancestor binds: 0 is the target's own cgroup, 1 its parent, and so on.
    pub depth: Reading<u64>,
    /// How often the kernel said no, counted in the target's own cgroup and those below it, whichever ancestor binds. A
    /// kill for an ancestor's limit counts here, where the victim was; that an ancestor itself ran into its `max` or
    /// `high` does not, since that may be the doing of others in it (kernel, `Documentation/admin-guide/cgroup-v2.rst`,
    /// `memory.events`). Not read in the first sample after a move to another cgroup, so that what was counted there
    /// before is not taken for news.
    pub events: CgroupEvents,
}

impl Default for CgroupMemory {
    fn default() -> Self {
        Self::absent(Absent::NotRead)
    }
}

impl CgroupMemory {
    /// All of it absent, for one reason.
    #[must_use]
    pub const fn absent(why: Absent) -> Self {
        Self {
            usage: Err(why),
            inactive_file: Err(why),
            limit: Err(why),
            high: Err(why),
            headroom: Err(why),
            own: Err(why),
            depth: Err(why),
            events: CgroupEvents::absent(why),
        }
    }

    /// Usage - inactive file: what cannot be dropped at once.
    ///
    /// The two are separate reads; where the pair is impossible (inactive file above usage), and where nobody counts
    /// inactive file, the usage stands. Where it is counted and could not be read, the working set is as unknown: with all
    /// of the cache in it, a group that is half empty would look full.
    pub fn working_set(&self) -> Reading<u64> {
        let usage = self.usage?;
        match self.inactive_file {
            Ok(inactive) => Ok(usage.checked_sub(inactive).unwrap_or(usage)),
            Err(Absent::Unsupported | Absent::NotRead) => Ok(usage),
            Err(why) => Err(why),
        }
    }

    /// What a cgroup that is the target holds itself: `own`. In samples without it, such as those recorded before it was
    /// read, the working set of the binding ancestor, which is the same cgroup where the depth is 0.
    pub fn own_working_set(&self) -> Reading<u64> {
        match self.own {
            Err(Absent::NotRead) => self.working_set(),
            own => own,
        }
    }
}

/// Cumulative event counters of a cgroup (`memory.events`; on v1 `memory.failcnt` and `memory.oom_control`).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CgroupEvents {
    /// Times usage ran into the hard limit.
    pub max: Reading<u64>,
    /// Times usage ran into the throttling limit.
    pub high: Reading<u64>,
    /// Times an allocation was about to fail.
    pub oom: Reading<u64>,
    /// Processes killed by the kernel for lack of memory.
    pub oom_kill: Reading<u64>,
}

impl Default for CgroupEvents {
    fn default() -> Self {
        Self::absent(Absent::NotRead)
    }
}

impl CgroupEvents {
    /// All of it absent, for one reason.
    #[must_use]
    pub const fn absent(why: Absent) -> Self {
        Self { max: Err(why), high: Err(why), oom: Err(why), oom_kill: Err(why) }
    }
}

/// Memory pressure stall information, as `/proc/pressure/memory` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[non_exhaustive]
pub struct PsiMemory {
    /// At least one task waited for memory.
    pub some: PsiLine,
    /// All non-idle tasks waited at once.
    pub full: PsiLine,
}

impl PsiMemory {
    /// All of it absent, for one reason.
    #[must_use]
    pub const fn absent(why: Absent) -> Self {
        Self { some: PsiLine::absent(why), full: PsiLine::absent(why) }
    }
}

/// One line of pressure stall information.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PsiLine {
    /// Share of the last 10 s that was stalled, 0 to 1.
    pub avg10: Reading<f64>,
    /// Share of the last 60 s, 0 to 1.
    pub avg60: Reading<f64>,
    /// Share of the last 300 s, 0 to 1.
    pub avg300: Reading<f64>,
    /// Stalled time since boot, in microseconds.
    pub total_us: Reading<u64>,
}

impl Default for PsiLine {
    fn default() -> Self {
        Self::absent(Absent::NotRead)
    }
}

impl PsiLine {
    /// All of it absent, for one reason.
    #[must_use]
    pub const fn absent(why: Absent) -> Self {
        Self { avg10: Err(why), avg60: Err(why), avg300: Err(why), total_us: Err(why) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;

    #[test]
    fn footprint_counts_swap_and_survives_a_kernel_without_it() {
        let mut process = ProcessMemory { rss: Ok(10), ..ProcessMemory::default() };
        assert_eq!(process.footprint(), Ok(10));
        process.swap = Ok(5);
        assert_eq!(process.footprint(), Ok(15));
        process.swap = Err(Absent::Gone);
        assert_eq!(process.footprint(), Err(Absent::Gone));
        process.swap = Ok(u64::MAX);
        assert_eq!(process.footprint(), Ok(u64::MAX));
    }

    #[test]
    fn private_prefers_anon_and_falls_back_to_the_footprint() {
        let mut process = ProcessMemory { rss: Ok(100), swap: Ok(1), ..ProcessMemory::default() };
        assert_eq!(process.private(), Ok(101));
        process.anon = Ok(40);
        assert_eq!(process.private(), Ok(41));
    }

    #[test]
    fn what_several_processes_share_counts_once_and_each_for_itself_only_where_nobody_can_tell() {
        let mut tree = ProcessMemory {
            rss: Ok(500),
            anon: Ok(400),
            swap: Ok(40),
            pss: Ok(120),
            pss_anon: Ok(100),
            pss_swap: Ok(10),
            processes: Ok(5),
            ..ProcessMemory::default()
        };
        assert_eq!((tree.private(), tree.held()), (Ok(110), Ok(130)));
        assert_eq!(tree.footprint(), Ok(540), "the sum stays what it is");
        for why in [Absent::Denied, Absent::TooDear, Absent::Unsupported, Absent::NotRead] {
            let none =
                ProcessMemory { pss: Err(why), pss_anon: Err(why), pss_swap: Err(why), ..tree };
            assert_eq!((none.private(), none.held()), (Ok(440), Ok(540)), "{why}");
        }
        let soon = Err(Absent::Pending);
        let first = ProcessMemory { pss: soon, pss_anon: soon, pss_swap: soon, ..tree };
        assert_eq!((first.private(), first.held()), (soon, soon), "no sum that is soon another");
        let old = ProcessMemory {
            pss_anon: Err(Absent::NotRead),
            pss_swap: Err(Absent::NotRead),
            ..tree
        };
        assert_eq!((old.private(), old.held()), (Ok(440), Ok(160)), "a trace of before");
        for swap in [Err(Absent::Unsupported), Err(Absent::NotRead)] {
            let without = ProcessMemory { swap, pss_swap: swap, ..tree };
            assert_eq!((without.private(), without.held()), (Ok(100), Ok(120)));
        }
        tree.processes = Ok(1);
        assert_eq!((tree.private(), tree.held()), (Ok(440), Ok(540)), "of one it is exact");
        let alone = ProcessMemory { processes: Ok(1), ..first };
        assert_eq!((alone.private(), alone.held()), (Ok(440), Ok(540)));
    }

    #[test]
    fn cache_that_could_not_be_read_is_no_working_set() {
        let mut cgroup =
            CgroupMemory { usage: Ok(100), inactive_file: Ok(30), ..CgroupMemory::default() };
        assert_eq!(cgroup.working_set(), Ok(70));
        cgroup.inactive_file = Ok(101);
        assert_eq!(cgroup.working_set(), Ok(100));
        cgroup.inactive_file = Err(Absent::Unsupported);
        assert_eq!(cgroup.working_set(), Ok(100));
        for why in [Absent::Failed(5), Absent::Denied, Absent::Malformed, Absent::Implausible] {
            cgroup.inactive_file = Err(why);
            assert_eq!(cgroup.working_set(), Err(why));
        }
    }

    proptest! {
        #[test]
        fn derived_figures_never_overflow_and_never_invent(sample in testing::sample()) {
            let process = sample.process;
            prop_assert!(process.rss.is_ok() || process.footprint().is_err());
            prop_assert!(process.footprint().is_err() || process.footprint().ok() >= process.rss.ok());
            let some = process.rss.is_ok() || process.anon.is_ok();
            prop_assert!(process.private().is_err() || some || process.pss_anon.is_ok());
            prop_assert!(process.held().is_err() || process.rss.is_ok() || process.pss.is_ok());
            let cgroup = sample.cgroup;
            prop_assert!(cgroup.working_set().is_err() || cgroup.usage.is_ok());
            prop_assert!(cgroup.working_set().is_err() || cgroup.working_set().ok() <= cgroup.usage.ok());
        }
    }

    #[test]
    fn a_sample_is_small_enough_to_copy() {
        assert!(size_of::<Sample>() <= 768, "{}", size_of::<Sample>());
    }
}
