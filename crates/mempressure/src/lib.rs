//! How close to the memory limit, and acting on it.
#![forbid(unsafe_code)]

pub mod config;
pub mod level;
#[cfg(feature = "serde")]
mod seconds;

pub use config::{
    BudgetConfig, BudgetTotal, BudgetTotalError, GuardConfig, Policy, PressureConfig, Priority,
    ProjectConfig, Targets, Thresholds, WorkloadConfig,
};
pub use level::{Level, Measure, Signal, Transition};
