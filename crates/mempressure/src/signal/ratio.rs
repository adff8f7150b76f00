//! Memory in use over a limit: of the machine, of the cgroup, of the budget.

use memtrack::{Absent, Reading, Sample};

use crate::config::{BudgetConfig, Thresholds};
use crate::level::Level;

/// Memory in use against what there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

impl Usage {
    /// Used over limit. A limit of 0 is legal in a cgroup and means that nothing may be used.
    pub(crate) fn ratio(self) -> f64 {
        if self.limit == 0 { 1.0 } else { self.used as f64 / self.limit as f64 }
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

/// Whether a reading is absent because there is nothing to read. A read that failed is another matter: what it would have
/// said still holds.
pub(crate) fn nothing_there(why: Absent) -> bool {
    matches!(why, Absent::Unlimited | Absent::Unsupported | Absent::NotRead)
}

/// The process against its own budget.
pub(crate) fn budget(sample: &Sample, budget: &BudgetConfig) -> Reading<Usage> {
    let limit = budget_total(sample, budget)?;
    Ok(Usage { limit, used: sample.process.footprint()? })
}

/// The budget in bytes; a percentage is one of the cgroup limit, else of the machine's memory.
fn budget_total(sample: &Sample, budget: &BudgetConfig) -> Reading<u64> {
    let limit = match sample.cgroup.limit {
        Err(why) if nothing_there(why) => sample.system.total,
        limit => limit,
    };
    budget.total.resolve(limit.ok()).ok_or(limit.err().unwrap_or(Absent::NotRead))
}

/// The thresholds of the budget, in the levels' words.
pub(crate) fn budget_thresholds(budget: &BudgetConfig) -> Thresholds {
    Thresholds { warning: budget.warning, critical: budget.prompt, emergency: budget.emergency }
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
