//! What of a target is watched for growth, and what is known of the ends of its processes.

use memleak::Ends;
use memtrack::source::Target;
use memtrack::{Reading, Sample};

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
