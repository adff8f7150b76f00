//! For test suites, this crate's own and those of crates on top of it: arbitrary samples, a scripted source, a clock
//! that is told what time it is. Behind feature `testing`, for `[dev-dependencies]` only.
//!
//! ```
//! use std::time::Duration;
//! use memtrack::sampler::{Sampler, State};
//! use memtrack::testing::{FakeClock, Script};
//! use memtrack::{Sample, Settings, TrackConfig};
//!
//! let mut clock = FakeClock::default();
//! let samples: Vec<_> = (0..3).map(|_| Sample::empty(clock.advance(Duration::from_secs(1)))).collect();
//! let interval = Some(Duration::from_millis(5));
//! let config = TrackConfig { interval, ..TrackConfig::default() };
//! let mut sampler = Sampler::new(Script::of(samples), Settings::fixed(config));
//! let all = sampler.all();
//! sampler.start()?;
//! assert_eq!(all.receiver().iter().count(), 3);
//! # sampler.stop();
//! assert_eq!(sampler.health().state, State::Ended);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arbitrary;
mod clock;
mod script;

pub use arbitrary::{
    absent, bytes, cgroup_memory, process_memory, psi_memory, reading, sample, system_memory, trace,
};
pub use clock::FakeClock;
pub use script::Script;

use crate::processes::{ProcessId, ProcessName, ProcessRow};
use crate::sample::ProcessMemory;

/// A row of a snapshot, which elsewhere only a source makes.
#[must_use]
pub fn process_row(id: ProcessId, parent: u32, name: &str, memory: ProcessMemory) -> ProcessRow {
    ProcessRow { id, name: ProcessName::new(name.as_bytes()), parent: Ok(parent), memory }
}
