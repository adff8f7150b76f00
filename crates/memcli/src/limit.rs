//! The limit that stands nearest, and the name people know it by.

use std::fmt;
use std::path::Path;

use mempressure::{BudgetConfig, Level, Signal, Status};
use memtrack::cgroup::Hierarchy;
use memtrack::source::Target as Watched;
use memtrack::{Absent, Reading, Sample};

/// What would run out first: the binding cgroup, or the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whose limit it is.
    pub owner: Owner,
    /// What is used of it, in bytes: the working set of the cgroup, what the machine has not available, or the RSS and swap of
    /// the processes that have the budget.
    pub used: u64,
    /// The limit in bytes.
    pub bytes: u64,
}

/// Whose limit it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// All memory of the machine.
    Machine,
    /// A cgroup, by its path; `None` when the kernel did not say.
    Cgroup(Option<String>),
    /// The target's own budget, which somebody set.
    Budget,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Machine => f.pad("the machine"),
            Owner::Cgroup(Some(path)) => f.pad(&format!("cgroup {path}")),
            Owner::Cgroup(None) => f.pad("cgroup"),
            Owner::Budget => f.pad("the budget"),
        }
    }
}

impl Limit {
    /// Used over limit; a limit of 0 is legal in a cgroup and counts as full.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        if self.bytes == 0 { 1.0 } else { self.used as f64 / self.bytes as f64 }
    }

    /// What is left of it, in bytes.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.bytes.saturating_sub(self.used)
    }
}

/// The names of a target's cgroup and its ancestors.
#[derive(Debug)]
pub struct Ancestors {
    hierarchy: Reading<Hierarchy>,
}

impl Ancestors {
    /// Those of `watched`, on this machine.
    #[must_use]
    pub fn of(watched: &Watched) -> Self {
        let root = Path::new("/");
        let hierarchy = match watched {
            Watched::Own => Hierarchy::open(root, "self"),
            Watched::Process(id) | Watched::Tree(id) => Hierarchy::open(root, &id.pid.to_string()),
            Watched::Cgroup(path) => Hierarchy::at(root, path),
            _ => Err(Absent::NotRead),
        };
        Self { hierarchy }
    }

    /// Of a recording: the machine it was made on is not this one, so no name is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self { hierarchy: Err(Absent::NotRead) }
    }

    /// The limit that is used most, in shares: the one under which the target would fail first.
    ///
    /// # Errors
    /// Why the machine's memory is not known, when no limit is.
    pub fn nearest(&self, sample: &Sample) -> Reading<Limit> {
        nearest(sample, |depth| Some(self.hierarchy.as_ref().ok()?.path(depth)?.to_owned()))
    }
}

/// The same for a sample of a recording, whose cgroups may be gone or on another machine: they have no names here.
///
/// # Errors
/// Why the machine's memory is not known, when no limit is.
pub fn recorded(sample: &Sample) -> Reading<Limit> {
    nearest(sample, |_| None)
}

/// The same, with the name of the cgroup so many levels above the target's own from `path`.
///
/// # Errors
/// Why the machine's memory is not known, when no limit is.
pub fn nearest(sample: &Sample, path: impl Fn(u64) -> Option<String>) -> Reading<Limit> {
    let cgroup = || -> Reading<Limit> {
        let (used, bytes) = (sample.cgroup.working_set()?, sample.cgroup.limit?);
        Ok(Limit { owner: Owner::Cgroup(sample.cgroup.depth.ok().and_then(path)), used, bytes })
    };
    let machine = || -> Reading<Limit> {
        let (bytes, available) = (sample.system.total?, sample.system.available?);
        Ok(Limit { owner: Owner::Machine, used: bytes.saturating_sub(available), bytes })
    };
    match (cgroup(), machine()) {
        // The cgroup when they tie: inside a container that fakes `meminfo` both are one.
        (Ok(cgroup), Ok(machine)) if machine.ratio() > cgroup.ratio() => Ok(machine),
        (Ok(cgroup), _) => Ok(cgroup),
        (Err(_), machine) => machine,
    }
}

/// The memory that there is for `sample`'s target: the limit of its cgroup, of the machine where it has none, and whether it is
/// a cgroup's.
///
/// # Errors
/// Why the machine's memory is not known, when no limit is.
pub fn around(sample: &Sample) -> Reading<(u64, bool)> {
    let cgroup = sample.cgroup.limit.map(|limit| (limit, true));
    cgroup.or_else(|_| Ok((sample.system.total?, false)))
}

/// The budget as a limit.
///
/// # Errors
/// Why the footprint or the budget is not known.
pub fn of_budget(sample: &Sample, budget: &BudgetConfig) -> Reading<Limit> {
    let usage = budget.usage(sample)?;
    Ok(Limit { owner: Owner::Budget, used: usage.used, bytes: usage.limit })
}

/// The limit to name beside a level: the one behind it, so that nobody reads of an emergency at 9 %; while nothing is wrong,
/// the one that is used most.
///
/// # Errors
/// That of `nearest`, when there is no budget either.
pub fn behind(status: &Status, nearest: Reading<Limit>, budget: Option<Limit>) -> Reading<Limit> {
    let (Ok(outer), Some(budget)) = (&nearest, &budget) else {
        return budget.ok_or(()).or(nearest);
    };
    let own = match status.signal {
        Some(Signal::Budget) if status.level > Level::Normal => true,
        Some(Signal::System | Signal::Cgroup) if status.level > Level::Normal => false,
        _ => budget.ratio() > outer.ratio(),
    };
    if own { Ok(budget.clone()) } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::{CgroupMemory, Stamp, SystemMemory};

    fn sample(machine: (u64, u64), cgroup: Option<(u64, u64)>) -> Sample {
        let mut sample = Sample::empty(Stamp::synthetic(std::time::Duration::ZERO));
        let (total, used) = machine;
        sample.system.total = Ok(total);
        sample.system.available = Ok(total - used);
        sample.cgroup = CgroupMemory::absent(Absent::Unlimited);
        if let Some((limit, usage)) = cgroup {
            (sample.cgroup.limit, sample.cgroup.usage) = (Ok(limit), Ok(usage));
            (sample.cgroup.inactive_file, sample.cgroup.depth) = (Ok(0), Ok(1));
        }
        sample
    }

    #[test]
    fn the_limit_that_is_used_most_is_the_nearest() {
        let named = |depth| Some(format!("/at-{depth}"));
        let alone = nearest(&sample((100, 40), None), named).unwrap();
        assert_eq!((alone.owner, alone.used, alone.bytes), (Owner::Machine, 40, 100));
        let tight = nearest(&sample((100, 40), Some((10, 9))), named).unwrap();
        assert_eq!(tight.owner, Owner::Cgroup(Some("/at-1".into())));
        assert_eq!((tight.ratio(), tight.left()), (0.9, 1));
        let roomy = nearest(&sample((100, 40), Some((10, 3))), named).unwrap();
        assert_eq!(roomy.owner, Owner::Machine);
        let tied = nearest(&sample((100, 40), Some((100, 40))), named).unwrap();
        assert!(matches!(tied.owner, Owner::Cgroup(_)));
    }

    #[test]
    fn the_limit_beside_a_level_is_the_one_behind_it() {
        let limit = |owner, used| Limit { owner, used, bytes: 100 };
        let machine = |used| Ok(limit(Owner::Machine, used));
        let budget = |used| Some(limit(Owner::Budget, used));
        let mut status = mempressure::Machine::new().status();
        let owner =
            |status: &Status, machine, budget| behind(status, machine, budget).unwrap().owner;
        assert_eq!(owner(&status, machine(40), budget(50)), Owner::Budget);
        assert_eq!(owner(&status, machine(50), budget(40)), Owner::Machine);
        assert_eq!(owner(&status, machine(50), None), Owner::Machine);
        assert_eq!(owner(&status, Err(Absent::Denied), budget(1)), Owner::Budget);
        assert_eq!(behind(&status, Err(Absent::Denied), None), Err(Absent::Denied));
        // Each has its own thresholds: the fuller one need not be the one that is behind.
        (status.level, status.signal) = (Level::Warning, Some(Signal::Budget));
        assert_eq!(owner(&status, machine(85), budget(82)), Owner::Budget);
        status.signal = Some(Signal::System);
        assert_eq!(owner(&status, machine(75), budget(79)), Owner::Machine);
    }

    #[test]
    fn the_budget_is_used_by_what_the_processes_hold() {
        let mut sample = sample((100, 40), None);
        (sample.process.rss, sample.process.swap) = (Ok(30), Ok(3));
        let total = mempressure::BudgetTotal::Size(memtrack::Size(24));
        let config = BudgetConfig { total, ..BudgetConfig::default() };
        let limit = of_budget(&sample, &config).unwrap();
        assert_eq!(limit, Limit { owner: Owner::Budget, used: 33, bytes: 24 });
        sample.process.rss = Err(Absent::Denied);
        assert_eq!(of_budget(&sample, &config), Err(Absent::Denied));
    }

    #[test]
    fn an_unknown_machine_is_a_reason() {
        let mut unknown = sample((100, 40), None);
        unknown.system = SystemMemory::absent(Absent::Denied);
        assert_eq!(nearest(&unknown, |_| None), Err(Absent::Denied));
        let full = Limit { owner: Owner::Machine, used: 0, bytes: 0 };
        assert_eq!(full.ratio(), 1.0);
    }
}
