//! The `[track]` section: how closely to look.

use std::time::Duration;

/// Default of [`TrackConfig::adaptive`].
pub const DEFAULT_ADAPTIVE: bool = true;
/// Default of [`TrackConfig::retention`].
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(24 * 3600);
/// The shortest interval that may be asked for, and to which `adaptive` may shorten one.
pub const MIN_INTERVAL: Duration = Duration::from_millis(5);
/// The longest interval that may be asked for.
pub const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// How closely to look at a target.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, garde::Validate))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
pub struct TrackConfig {
    /// What is read, and how often by default.
    #[cfg_attr(feature = "config", garde(skip))]
    pub tier: Tier,
    /// Time between samples, 5 ms to 1 h. Unset: the tier's own (production 5 s, development 1 s).
    #[cfg_attr(
        feature = "config",
        serde(with = "crate::units::duration::option", skip_serializing_if = "Option::is_none")
    )]
    #[cfg_attr(feature = "config", garde(custom(interval_in_range)))]
    pub interval: Option<Duration>,
    /// Shorten the interval, down to 5 ms, while the headroom would not last long.
    #[cfg_attr(feature = "config", garde(skip))]
    pub adaptive: bool,
    /// How long history is kept, in bounded memory whatever the interval; 1 min to 31 days.
    #[cfg_attr(feature = "config", serde(with = "crate::units::duration"))]
    #[cfg_attr(feature = "config", garde(custom(retention_in_range)))]
    pub retention: Duration,
}

impl Default for TrackConfig {
    fn default() -> Self {
        Self {
            tier: Tier::default(),
            interval: None,
            adaptive: DEFAULT_ADAPTIVE,
            retention: DEFAULT_RETENTION,
        }
    }
}

impl TrackConfig {
    /// The interval in force: the one set, else the tier's.
    #[must_use]
    pub fn base_interval(&self) -> Duration {
        self.interval.unwrap_or(self.tier.interval()).clamp(MIN_INTERVAL, MAX_INTERVAL)
    }
}

/// What is read on each tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Tier {
    /// The cheap files only: process status, machine, cgroup, pressure. Of several processes also their PSS, within
    /// its budget of 0.1 % of a core, since RSS alone counts what they share once for each.
    #[default]
    Production,
    /// Adds page faults and PSS for every target, on top of which a program may show what its allocator and its
    /// components say of themselves (`alloc`, `component`).
    Development,
    /// Reads nothing, and says so.
    Disabled,
}

impl Tier {
    /// The interval of this tier when the config sets none.
    #[must_use]
    pub const fn interval(self) -> Duration {
        match self {
            Tier::Production | Tier::Disabled => Duration::from_secs(5),
            Tier::Development => Duration::from_secs(1),
        }
    }
}

#[cfg(feature = "config")]
fn interval_in_range(interval: &Option<Duration>, _: &()) -> garde::Result {
    match interval {
        Some(interval) => in_range(*interval, MIN_INTERVAL, MAX_INTERVAL),
        None => Ok(()),
    }
}

#[cfg(feature = "config")]
fn retention_in_range(retention: &Duration, _: &()) -> garde::Result {
    in_range(*retention, Duration::from_secs(60), Duration::from_secs(31 * 24 * 3600))
}

#[cfg(feature = "config")]
fn in_range(value: Duration, low: Duration, high: Duration) -> garde::Result {
    use crate::units::format_duration;
    if value < low || value > high {
        let (low, high) = (format_duration(low), format_duration(high));
        return Err(garde::Error::new(format!("must be between {low} and {high}")));
    }
    Ok(())
}

#[cfg(all(test, feature = "config"))]
mod tests {
    use super::*;
    use garde::Validate;

    #[test]
    fn every_default_is_valid() {
        TrackConfig::default().validate().unwrap();
    }

    #[test]
    fn an_interval_outside_its_range_is_refused_with_the_range() {
        let config =
            TrackConfig { interval: Some(Duration::from_millis(1)), ..TrackConfig::default() };
        let report = config.validate().unwrap_err().to_string();
        assert!(
            report.contains("interval") && report.contains("5ms") && report.contains("1h"),
            "{report}"
        );
    }

    #[test]
    fn the_interval_falls_back_to_the_tier() {
        assert_eq!(TrackConfig::default().base_interval(), Duration::from_secs(5));
        let config = TrackConfig { tier: Tier::Development, ..TrackConfig::default() };
        assert_eq!(config.base_interval(), Duration::from_secs(1));
    }
}
