//! How close to the memory limit, and acting on it.
#![forbid(unsafe_code)]

pub mod advice;
pub mod budget;
pub mod cache;
pub mod config;
pub mod event;
pub mod evict;
pub mod guard;
pub mod level;
pub mod machine;
pub mod plan;
#[cfg(feature = "serde")]
mod seconds;
pub mod signal;
mod watch;

pub use advice::{Advice, Permit, Refused};
pub use budget::{BudgetInput, BudgetState, BudgetStatus, CheckError, Part, PartKind};
#[cfg(target_os = "linux")]
pub use budget::{check, check_against};
pub use cache::{Cache, CacheStatus, Caches, FnCache, Lookups, Registered, Registration};
pub use config::{
    BudgetConfig, BudgetTotal, BudgetTotalError, GuardConfig, Policy, PressureConfig, Priority,
    ProjectConfig, Targets, Thresholds, WorkloadConfig,
};
pub use event::{Event, EventKind, Events};
pub use evict::{CacheOutcome, Ended, Outcome, Trim};
pub use guard::{Counters, Guard, GuardStatus, Options, ServiceManager};
pub use level::{Level, Measure, Signal, Transition};
pub use machine::{Machine, Rules, Status};
pub use plan::{Offer, Pace, Plan, Request, Turn, Wait, need, plan};
pub use signal::{Abstains, SignalStatus};
