//! Made-up memory series whose truth is known: leaks of many shapes, and everything that only looks like one.
//!
//! Deterministic: a family, a seed and a number give the same trace everywhere.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::needless_range_loop,
    clippy::allow_attributes,
    reason = "a module of several examples and tests, each of which uses its own part; curves are indexed by sample"
)]

pub mod clean;
pub mod families;
pub mod noise;
pub mod random;
pub mod rivals;
pub mod score;

/// One MiB in bytes.
pub const MIB: f64 = 1_048_576.0;
/// One hour in seconds.
pub const HOUR: f64 = 3600.0;

/// A series with its truth.
#[derive(Clone, Debug)]
pub struct Trace {
    pub name: String,
    pub family: &'static str,
    /// Seconds and bytes.
    pub samples: Vec<(f64, u64)>,
    pub interval: f64,
    /// Whether it leaks.
    pub leak: bool,
    /// Average MiB/h of the leak from its onset on; at the end for leaks that change speed.
    pub rate_mib_per_h: Option<f64>,
    /// Seconds when the leak begins.
    pub onset: f64,
    /// Seconds until which a benign growth could not be told from a leak.
    pub ambiguous_until: Option<f64>,
    /// MiB leaked so far, at each of a few times.
    pub leaked: Vec<(f64, f64)>,
}
