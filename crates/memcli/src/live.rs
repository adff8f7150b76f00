//! The configuration, live: what each core runs on, and word of every edit.

use std::time::Duration;

use crossbeam_channel::{Receiver, never};
use memleak::LeakConfig;
use mempressure::{BudgetConfig, PressureConfig};
use memtrack::{Settings, TrackConfig};

/// An edited configuration was taken up, or refused.
#[derive(Clone, Debug)]
pub struct Reload {
    /// The lines to show.
    pub lines: Vec<String>,
}

/// The settings of every core, and word of every edit.
#[derive(Debug)]
pub struct Live {
    /// Tier, interval.
    pub track: Settings<TrackConfig>,
    /// Thresholds, band, hold.
    pub pressure: Settings<PressureConfig>,
    /// The target's own budget.
    pub budget: Settings<BudgetConfig>,
    /// Windows and rates.
    pub leak: Settings<LeakConfig>,
    /// One item for each edit.
    pub reloads: Receiver<Reload>,
}

impl Live {
    /// Defaults with the command's own interval.
    #[must_use]
    pub fn fixed(interval: Duration) -> Self {
        Self {
            track: Settings::fixed(TrackConfig {
                interval: Some(interval),
                ..TrackConfig::default()
            }),
            pressure: Settings::fixed(PressureConfig::default()),
            budget: Settings::fixed(BudgetConfig::default()),
            leak: Settings::fixed(LeakConfig::default()),
            reloads: never(),
        }
    }
}
