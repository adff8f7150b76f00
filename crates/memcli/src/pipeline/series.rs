//! What of a target is watched for growth, and what is known of the ends of its processes.

use memleak::Ends;
use memtrack::source::Target;
use memtrack::{Absent, ProcessMemory, Reading, Sample};

/// Which number of a sample is watched for growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    /// A process: its private memory.
    Private,
    /// A cgroup: its working set.
    WorkingSet,
    /// The machine: what is not available.
    Unavailable,
}

impl Series {
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Cgroup(_) => Series::WorkingSet,
            Target::System => Series::Unavailable,
            _ => Series::Private,
        }
    }

    pub(super) fn read(self, sample: &Sample) -> Reading<u64> {
        match self {
            Series::Private => sample.process.private(),
            Series::WorkingSet => sample.cgroup.own_working_set(),
            Series::Unavailable => {
                Ok(sample.system.total?.saturating_sub(sample.system.available?))
            }
        }
    }
}

/// Each kind of memory: anonymous, of files, shared, swapped. Of several processes as PSS divides it, so that a `fork` is no growth.
pub(super) fn kinds(process: &ProcessMemory) -> [Option<u64>; 4] {
    let ProcessMemory { anon, file, shmem, swap, pss, pss_anon, pss_swap, .. } = *process;
    let several = process.processes.is_ok_and(|processes| processes > 1);
    if several && pss_anon == Err(Absent::Pending) {
        return [None; 4];
    }
    if !several || pss_anon.is_err() {
        return [anon, file, shmem, swap].map(Result::ok);
    }
    // PSS does not tell the two apart: each is as shared as the other.
    let whole = file.unwrap_or(0).saturating_add(shmem.unwrap_or(0));
    let rest = pss.unwrap_or(0).saturating_sub(pss_anon.unwrap_or(0));
    let share = if whole == 0 { 0.0 } else { (rest as f64 / whole as f64).min(1.0) };
    let divided = |bytes: u64| (bytes as f64 * share) as u64;
    [pss_anon.ok(), file.ok().map(divided), shmem.ok().map(divided), pss_swap.or(swap).ok()]
}

/// What is known of the ends of the processes that are watched.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    /// One process of known pid and start time: it lives as long as it can be watched.
    Alone,
    /// What its samples tell: a tree, a cgroup, or a trace of another program.
    Seen(Ends),
}

impl Root {
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Own => Root::Alone,
            Target::Process(id) if id.pid != 0 => Root::Alone,
            _ => Root::Seen(Ends::new()),
        }
    }

    /// Whether a process has ended before `sample`; `None` where nobody can tell.
    pub(super) fn ended(&mut self, sample: &Sample) -> Option<bool> {
        match self {
            Root::Alone => Some(false),
            Root::Seen(ends) => ends.tell(sample),
        }
    }
}
