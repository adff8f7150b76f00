//! How close to the memory limit, and acting on it.
#![forbid(unsafe_code)]

pub mod config;
pub mod level;
pub mod machine;
#[cfg(feature = "serde")]
mod seconds;
pub mod signal;

pub use config::{
    BudgetConfig, BudgetTotal, BudgetTotalError, GuardConfig, Policy, PressureConfig, Priority,
    ProjectConfig, Targets, Thresholds, WorkloadConfig,
};
pub use level::{Level, Measure, Signal, Transition};
pub use machine::{Machine, Rules, Status};
pub use signal::{Abstains, SignalStatus};
