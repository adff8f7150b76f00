//! How close a process is to its memory limit, and acting on it before the kernel does.
//!
//! Signals (the machine, the cgroup that binds, the process's own budget, stalls, a forecast) vote for a
//! [`Level`] that rises at once and does not flap on the way down. When it rises, registered [`Caches`] give
//! memory back in order of priority, as much as brings the level down, and what really left the process is
//! measured against what they claimed. Work asks for [`Advice`] before it allocates.
//!
//! Two doors. [`Guard`] does all of it on threads of its own, from a `memtrack` subscription and live
//! settings. [`Machine`] and [`plan()`] are the pure cores: time and readings come in with the samples, so a
//! recording replays to the same decisions, and a pipeline of one's own calls them inline.
//!
//! It is not a killer of processes, it sets no limits, and it frees nothing that nobody registered.
//!
//! ```
//! use mempressure::{BudgetConfig, Level, Machine, PressureConfig, Rules, Signal};
//! use memtrack::{Sample, Stamp};
//! use std::time::Duration;
//!
//! let (pressure, budget) = (PressureConfig::default(), BudgetConfig::default());
//! let rules = Rules { pressure: &pressure, budget: &budget, generation: 0 };
//! let mut machine = Machine::new();
//!
//! let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
//! sample.cgroup.limit = Ok(256 << 20);
//! sample.cgroup.usage = Ok(250 << 20);
//! let transition = machine.step(&rules, &sample).expect("the first sample leaves unknown");
//!
//! assert_eq!((transition.from, transition.to), (Level::Unknown, Level::Emergency));
//! assert_eq!(transition.signal, Some(Signal::Cgroup));
//! assert_eq!(machine.step(&rules, &sample), None, "looking again changes nothing");
//! ```
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
#[cfg(feature = "moka")]
pub mod moka;
pub mod plan;
#[cfg(feature = "serde")]
mod seconds;
pub mod signal;
mod watch;

pub use advice::{Advice, Permit, Refused};
pub use budget::{BudgetInput, BudgetState, BudgetStatus, CheckError, Part, PartKind};
#[cfg(target_os = "linux")]
pub use budget::{check, check_against};
pub use cache::{
    Cache, CacheStatus, Caches, FnCache, Lookups, Registered, Registration, gauge_cache,
};
pub use config::{
    BudgetConfig, BudgetTotal, BudgetTotalError, GuardConfig, Policy, PressureConfig, Priority,
    ProjectConfig, Targets, Thresholds, WorkloadConfig,
};
pub use event::{Event, EventKind, Events};
pub use evict::{CacheOutcome, Ended, Outcome, Trim};
pub use guard::{Counters, Guard, GuardStatus, Options, ServiceManager, SettingsError};
pub use level::{Level, Measure, Signal, Transition};
pub use machine::{Machine, Rules, Status};
#[cfg(feature = "moka")]
pub use moka::MokaCache;
pub use plan::{Offer, Pace, Plan, Request, Turn, Wait, need, plan};
pub use signal::{Abstains, SignalStatus, Usage};
