//! Memory in use over a limit: of the machine, of the cgroup, of the budget.

use memtrack::{Absent, Reading, Sample};

use crate::config::{BudgetConfig, Thresholds};
use crate::level::Level;

/// Memory in use against what there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What is in use.
    pub used: u64,
    /// What there is.
    pub limit: u64,
}

impl Usage {
    /// Used over limit. A limit of 0 is legal in a cgroup and means that nothing may be used.
    #[must_use]
    pub fn ratio(self) -> f64 {
        if self.limit == 0 { 1.0 } else { self.used as f64 / self.limit as f64 }
    }

    /// What is left of it; 0 above the limit.
    #[must_use]
    pub fn left(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// The machine: all memory that is not available.
pub(crate) fn system(sample: &Sample) -> Reading<Usage> {
    let (limit, available) = (sample.system.total?, sample.system.available?);
    if limit == 0 || available > limit {
        return Err(Absent::Implausible);
    }
    Ok(Usage { used: limit - available, limit })
}

/// The binding cgroup: working set against the hard limit.
pub(crate) fn cgroup(sample: &Sample) -> Reading<Usage> {
    Ok(Usage { limit: sample.cgroup.limit?, used: sample.cgroup.working_set()? })
}

/// The binding cgroup: working set against the throttling limit.
pub(crate) fn cgroup_high(sample: &Sample) -> Reading<Usage> {
    Ok(Usage { limit: sample.cgroup.high?, used: sample.cgroup.working_set()? })
}

impl BudgetConfig {
    /// What a process has of its own budget: RSS and swap of the whole; over several processes PSS and swap, so that what
    /// they share counts once ([`ProcessMemory::held`](memtrack::ProcessMemory::held)). A share is one of the cgroup's limit, else of
    /// the machine's memory.
    ///
    /// # Errors
    /// Why its size or the budget is not known. The machine does not stand in for a cgroup that could not be read.
    pub fn usage(&self, sample: &Sample) -> Reading<Usage> {
        let whole = match sample.cgroup.limit {
            Err(why) if why.nothing_there() => sample.system.total,
            limit => limit,
        };
        let limit = self.total.resolve(whole.ok()).ok_or(whole.err().unwrap_or(Absent::NotRead))?;
        Ok(Usage { limit, used: sample.process.held()? })
    }

    /// From which shares of the budget each level holds.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        Thresholds { warning: self.warning, critical: self.prompt, emergency: self.emergency }
    }
}

impl Thresholds {
    /// The threshold of `level`; that of [`Level::Warning`] for the levels below.
    #[must_use]
    pub fn of(&self, level: Level) -> f64 {
        match level {
            Level::Unknown | Level::Normal | Level::Warning => self.warning,
            Level::Critical => self.critical,
            Level::Emergency => self.emergency,
        }
    }
}

/// The level of a ratio, given the level it voted for before: a level is entered at its threshold and left
/// only below threshold - band. Rising in `ratio` and in `before`.
pub(crate) fn banded(before: Level, ratio: f64, thresholds: &Thresholds, band: f64) -> Level {
    let holds = |level: Level| {
        let threshold = thresholds.of(level);
        ratio >= threshold || (before >= level && ratio >= threshold - band)
    };
    Level::RAISED.into_iter().rev().find(|level| holds(*level)).unwrap_or(Level::Normal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::Stamp;
    use std::time::Duration;

    #[test]
    fn of_its_budget_a_tree_has_what_it_shares_once() {
        const MIB: u64 = 1 << 20;
        let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
        (sample.system.total, sample.cgroup.limit) = (Ok(8 << 30), Err(Absent::Unlimited));
        let process = &mut sample.process;
        (process.rss, process.swap) = (Ok(550 * MIB), Ok(0));
        (process.pss, process.processes) = (Ok(114 * MIB), Ok(5));
        let budget = BudgetConfig::default();
        let used = |sample: &Sample| budget.usage(sample).map(|usage| usage.used / MIB);
        assert_eq!(used(&sample), Ok(114));
        sample.process.pss = Err(Absent::Pending);
        assert_eq!(used(&sample), Err(Absent::Pending), "no vote on a sum that is soon another");
        sample.process.pss = Err(Absent::Denied);
        assert_eq!(used(&sample), Ok(550), "where nobody can tell what they share");
        sample.process.processes = Ok(1);
        assert_eq!(used(&sample), Ok(550));
    }
}
