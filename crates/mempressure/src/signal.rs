//! What each signal reads from a sample. No signal knows of another; the machine weighs them.
//!
//! Everything here is pure: time and readings come from the sample.

use memtrack::Absent;

use crate::level::{Level, Measure, Signal};

mod forecast;
mod ratio;
mod refusals;
mod stall;

pub use forecast::{FORECAST_CRITICAL, FORECAST_EMERGENCY, FORECAST_WARNING};
pub use stall::{PSI_FULL_CRITICAL, PSI_FULL_EMERGENCY, PSI_SOME_WARNING};

pub(crate) use forecast::{Forecast, Of, forecast_threshold};
pub use ratio::Usage;
pub(crate) use ratio::{banded, cgroup, cgroup_high, system};
pub(crate) use refusals::{Refusals, Refused};
pub(crate) use stall::{Stall, stall_release, stall_threshold, stalled};

/// Why a signal does not vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Abstains {
    /// The configuration does not name it.
    #[error("switched off")]
    Off,
    /// A reading that it needs is absent.
    #[error("{0}")]
    Absent(Absent),
    /// It has not seen enough samples yet.
    #[error("gathering samples")]
    Gathering,
}

/// What one signal says now.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SignalStatus {
    /// Which signal.
    pub signal: Signal,
    /// The level it votes for; `None` when it abstains.
    pub vote: Option<Level>,
    /// What it reads.
    pub value: Option<f64>,
    /// What `value` and `threshold` count.
    pub measure: Measure,
    /// The threshold of the level it votes for, or of [`Level::Warning`] while it votes for less.
    pub threshold: Option<f64>,
    /// Why there is no fresh reading, when there is none.
    pub absent: Option<Abstains>,
    /// The vote is that of an earlier sample. It stands for three samples without a reading, then it expires.
    pub stale: bool,
}

impl SignalStatus {
    pub(crate) fn fresh(signal: Signal, vote: Vote) -> Self {
        let Vote { level, value, measure, threshold } = vote;
        let (vote, threshold) = (Some(level), Some(threshold));
        Self { signal, vote, value, measure, threshold, absent: None, stale: false }
    }

    pub(crate) fn silent(signal: Signal, why: Abstains) -> Self {
        let measure = match signal {
            Signal::System | Signal::Cgroup | Signal::Budget => Measure::Ratio,
            Signal::Psi => Measure::Stalled,
            Signal::Forecast => Measure::SecondsLeft,
        };
        let (vote, value, threshold, absent) = (None, None, None, Some(why));
        Self { signal, vote, value, measure, threshold, absent, stale: false }
    }
}

/// A fresh vote with its evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Vote {
    pub(crate) level: Level,
    pub(crate) value: Option<f64>,
    pub(crate) measure: Measure,
    pub(crate) threshold: f64,
}
