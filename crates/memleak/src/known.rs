//! What every judge knows beside its own history: the settings, the clock, and what the lives before have shown.

use crate::config::LeakConfig;
use crate::filter::Clock;
use crate::judge::{Judge, State};
use crate::profile::Profile;
use crate::segment::{End, Past};
use crate::tuning::Tuning;
use crate::verdict::Why;

/// A window spans at least this many sampling intervals,
const HOLD_SAMPLES: f64 = 50.0;
/// at least this many seconds,
pub(crate) const HOLD_LEAST: f64 = 4.0;
/// and need not span more seconds than this.
pub(crate) const HOLD_MOST: f64 = 1800.0;
/// A leak that ended in a restart stands until the new segment is this share of the old one's age.
const CARRY: f64 = 1.0;
/// Segments that are remembered.
const PASTS: usize = 16;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Known {
    /// Samples before the first verdict.
    pub(crate) min_samples: u64,
    /// Growth below this many bytes is none.
    pub(crate) least_growth: f64,
    pub(crate) clock: Clock,
    /// All samples so far, of whatever life.
    pub(crate) samples: u64,
    /// Seconds of the first of them.
    pub(crate) first: Option<f64>,
    pub(crate) restarts: u32,
    /// The lives before, the latest last.
    pub(crate) pasts: Vec<Past>,
    /// What the last steady life has shown.
    pub(crate) profile: Option<Profile>,
    /// Seconds until which a leak that ended in a restart still counts.
    pub(crate) carried: Option<f64>,
    /// The margins; those of this build, whatever build saved the rest.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) tuning: Tuning,
}

impl Known {
    pub(crate) fn set_config(&mut self, config: &LeakConfig) {
        self.min_samples = u64::from(config.min_samples);
        self.least_growth = config.least_growth as f64;
    }

    /// The usual seconds between two samples.
    pub(crate) fn interval(&self) -> f64 {
        self.clock.interval()
    }

    /// Seconds that a window spans at least.
    pub(crate) fn hold(&self) -> f64 {
        (HOLD_SAMPLES * self.interval()).clamp(HOLD_LEAST, HOLD_MOST)
    }

    /// Remembers a life that has ended, which `judge` saw whole; the next begins at `level` bytes. What the next is called
    /// before it has shown anything.
    pub(crate) fn remember(&mut self, judge: &Judge, level: f64, end: End) -> State {
        let history = &judge.history;
        let span = history.span();
        let watched = history.end() - self.first.unwrap_or(history.origin());
        // What grew and was given back by the process itself did not grow without end.
        let grew = end != End::Swing
            && matches!(judge.state, State::Leak | State::Growing)
            && judge.hit.is_some_and(|hit| hit.share >= 0.5);
        if end == End::Swing {
            self.carried = None;
        } else if span > 0.3 * watched {
            self.carried = grew.then_some(history.end() + CARRY * span);
        }
        if judge.state == State::Steady {
            self.profile = Profile::learn(history).or(self.profile);
        }
        if self.pasts.len() == PASTS {
            self.pasts.remove(0);
        }
        let top = history.level_since(history.end() - span / 48.0, 1.0).unwrap_or(0.0);
        let fell = if end == End::Restart { 0.0 } else { (top - level).max(0.0) };
        self.pasts.push(Past {
            start: history.origin(),
            span,
            low: history.floor_between(history.origin(), history.end()).unwrap_or(level),
            fell,
            stood: history.stood_above(level + 0.5 * fell),
            swing: end == End::Swing,
            grew: grew.then(|| judge.slope(self, judge.now(self).map(|now| now.trend))).flatten(),
        });
        if matches!(end, End::Restart | End::Fall) {
            self.restarts = self.restarts.saturating_add(1);
        }
        match end {
            End::Swing => State::Undecided(Why::Swinging),
            _ if judge.state == State::Leak && self.carried.is_some() => State::Leak,
            _ => State::Early,
        }
    }

    /// Whether its parts fit together.
    #[cfg(feature = "worker")]
    pub(crate) fn is_sound(&self) -> bool {
        self.clock.is_sound()
            && self.pasts.len() <= PASTS
            && self.profile.is_none_or(|profile| profile.is_sound())
            && self.least_growth.is_finite()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.clock.heap_bytes() + self.pasts.capacity() * size_of::<Past>()
    }
}
