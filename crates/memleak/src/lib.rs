//! Is this memory series growing without end?
//!
//! [`Detector::push`] takes one sample after another, [`Detector::verdict`] answers: undecided, steady, growing or leak,
//! each with its evidence and the slowest growth it could have seen. It is pure, streaming and causal, and its state is
//! bounded: no clock, no I/O, the same samples give the same verdicts live and replayed, at ten samples a second for
//! seconds as at one a minute for a month. Beside it stand the plain [`Rules`] (growth and RSS against thresholds), the
//! [`Kinds`] of memory and the [`Parts`] of a program that grow, and [`compare()`] for two runs of one program.
//!
//! With feature `worker` come a thread on a sampler's subscription ([`Worker`]), throttled [`Alerts`] and the
//! [`baseline`] file; `config` makes [`LeakConfig`] a section of a document; without features the crate is mathematics
//! and depends on nothing.
//!
//! It is not a heap profiler. It sees sizes, and growth of a size is no proof of a lost pointer: a cache that is still
//! filling looks the same to anybody who sees no more than its size. The first rise of a large daily cycle may look the
//! same too, and a program restarted faster than a leak can be told from its warm-up is seen only by its rules.
//!
//! ```
//! use std::time::Duration;
//! use memleak::{Detector, LeakConfig};
//!
//! let mut detector = Detector::new(&LeakConfig::default());
//! for tenth in 0..200u64 {
//!     // 2 MiB each second, looked at ten times a second.
//!     let bytes = (100 << 20) + tenth * (2 << 20) / 10;
//!     detector.push(Duration::from_millis(100 * tenth), bytes);
//! }
//! detector.conclude();
//! assert_eq!(detector.verdict().kind(), "leak");
//! let rate = detector.verdict().trend().unwrap().bytes_per_second;
//! assert!((rate / 2_097_152.0 - 1.0).abs() < 0.05);
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "worker")]
pub mod alert;
#[cfg(feature = "worker")]
pub mod baseline;
mod chapter;
pub mod compare;
pub mod config;
mod confirm;
mod describe;
pub mod detector;
#[cfg(feature = "worker")]
mod ends;
mod filter;
mod growth;
mod judge;
pub mod kinds;
mod known;
mod life;
#[cfg(test)]
mod noise;
mod order;
mod ordinary;
pub mod parts;
mod pink;
mod pool;
mod profile;
mod rate;
mod regression;
mod rest;
pub mod rules;
mod saturation;
mod search;
mod season;
#[cfg(feature = "serde")]
mod seconds;
mod segment;
mod stopped;
pub mod student;
mod trend;
#[doc(hidden)]
pub mod tuning;
pub mod verdict;
mod walk;
mod window;
#[cfg(feature = "worker")]
pub mod worker;

#[cfg(feature = "worker")]
pub use alert::{Alert, Alerts, Cause, Outlets};
pub use compare::{Comparison, compare};
pub use config::LeakConfig;
pub use detector::Detector;
#[cfg(feature = "worker")]
pub use ends::Ends;
pub use kinds::{Kind, KindGrowth, Kinds, Outside};
pub use parts::{PartGrowth, Parts};
pub use rules::{RuleReport, Rules, Severity, Waits};
pub use student::Difference;
pub use verdict::{Change, Evidence, Shape, Spread, Trend, Verdict, Why};
#[cfg(feature = "worker")]
pub use worker::Worker;
