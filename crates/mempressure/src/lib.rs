//! How close to the memory limit, and acting on it.
#![forbid(unsafe_code)]

pub mod cache;
pub mod config;
pub mod level;
pub mod machine;
pub mod plan;
#[cfg(feature = "serde")]
mod seconds;
pub mod signal;

pub use cache::{Cache, CacheStatus, Caches, FnCache, Lookups, Registered, Registration};
pub use config::{
    BudgetConfig, BudgetTotal, BudgetTotalError, GuardConfig, Policy, PressureConfig, Priority,
    ProjectConfig, Targets, Thresholds, WorkloadConfig,
};
pub use level::{Level, Measure, Signal, Transition};
pub use machine::{Machine, Rules, Status};
pub use plan::{Offer, Pace, Plan, Request, Turn, Wait, need, plan};
pub use signal::{Abstains, SignalStatus};
