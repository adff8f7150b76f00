//! What the sampler says about itself.

use std::time::Duration;

use crate::error::SourceError;
use crate::sampler::Absurd;

/// Whether the sampler is at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum State {
    /// Not started, or stopped.
    #[default]
    Stopped,
    /// Taking samples.
    Running,
    /// The tier is `disabled`: alive, reading nothing.
    Disabled,
    /// The target has ended; there will be no further sample.
    Ended,
}

/// What the sampler has done so far. Counters never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Health {
    /// Whether it is at work.
    pub state: State,
    /// Samples taken.
    pub samples: u64,
    /// Deadlines that passed while an earlier read was still going on or the thread was not run.
    pub missed: u64,
    /// Reads that gave nothing.
    pub failures: u64,
    /// Why the last such read failed.
    pub last_failure: Option<SourceError>,
    /// Readings that could not be true, were in no known form, or failed on their own.
    pub absurd: u64,
    /// The last of them.
    pub last_absurd: Option<Absurd>,
    /// When the thread last finished a tick, counted from when the sampler was made. Proves progress, not life.
    pub last_progress: Option<Duration>,
    /// The same as an age: the heartbeat. Above a few intervals the thread hangs, or is not run.
    pub since_progress: Option<Duration>,
    /// How long the present read has been going on, when there is one: what a hang looks like while it lasts.
    pub reading_for: Option<Duration>,
    /// The interval in force, which `adaptive` and failures change.
    pub interval: Option<Duration>,
    /// The generation of the settings in force.
    pub generation: u64,
}
