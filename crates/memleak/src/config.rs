//! The `[leak]` section: the windows and thresholds of the rate rules, and how often an alert may repeat.

use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Default of [`LeakConfig::window`].
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(3600);
/// Default of [`LeakConfig::baseline_window`].
pub const DEFAULT_BASELINE_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Default of [`LeakConfig::min_samples`].
pub const DEFAULT_MIN_SAMPLES: u32 = 10;
/// Default of [`LeakConfig::least_growth`], in bytes: allocators and page caches move this much by themselves.
pub const DEFAULT_LEAST_GROWTH: u64 = 5 * MIB;
/// The smallest [`LeakConfig::least_growth`], in bytes: sixteen pages, which a quiet heap moves by.
pub const MIN_LEAST_GROWTH: u64 = 64 << 10;
/// The largest [`LeakConfig::least_growth`], in bytes: 1 TiB.
pub const MAX_LEAST_GROWTH: u64 = 1 << 40;
/// Default of [`LeakConfig::warning_rate`]: 50 MiB/h, in bytes per second.
pub const DEFAULT_WARNING_RATE: f64 = 50.0 * MIB as f64 / 3600.0;
/// Default of [`LeakConfig::critical_rate`]: 100 MiB/h, in bytes per second.
pub const DEFAULT_CRITICAL_RATE: f64 = 100.0 * MIB as f64 / 3600.0;
/// Default of [`LeakConfig::rss_warning`], in bytes.
pub const DEFAULT_RSS_WARNING: u64 = 256 * MIB;
/// Default of [`LeakConfig::rss_critical`], in bytes.
pub const DEFAULT_RSS_CRITICAL: u64 = 512 * MIB;
/// Default of [`LeakConfig::alert_throttle`].
pub const DEFAULT_ALERT_THROTTLE: Duration = Duration::from_secs(3600);

/// What counts as a lot of growth, and how often to say so.
///
/// Sizes are bytes and rates bytes per second; as text (feature `config`) they carry their units: `256MiB`, `50MiB/h`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, garde::Validate))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
pub struct LeakConfig {
    /// The recent window over which the rate rules measure growth; 10 s to 31 days.
    #[cfg_attr(feature = "config", serde(with = "memtrack::units::duration"))]
    #[cfg_attr(feature = "config", garde(custom(text::window_in_range)))]
    pub window: Duration,
    /// The first stretch of a series, whose median is the baseline; 1 s to 1 day.
    #[cfg_attr(feature = "config", serde(with = "memtrack::units::duration"))]
    #[cfg_attr(feature = "config", garde(custom(text::baseline_in_range)))]
    pub baseline_window: Duration,
    /// Samples below which nothing is said about growth; 3 to 100 000.
    #[cfg_attr(feature = "config", garde(range(min = 3, max = 100_000)))]
    pub min_samples: u32,
    /// Growth below which the verdict calls nothing growing, in bytes; 64 KiB to 1 TiB. Above it the series' own noise,
    /// level and swing decide.
    #[cfg_attr(feature = "config", serde(with = "text::bytes"))]
    #[cfg_attr(feature = "config", garde(custom(text::least_growth_in_range)))]
    pub least_growth: u64,
    /// Growth over the window that earns a warning, in bytes per second.
    #[cfg_attr(feature = "config", serde(with = "text::rate"))]
    #[cfg_attr(feature = "config", garde(custom(text::positive)))]
    pub warning_rate: f64,
    /// Growth over the window that is critical, in bytes per second; not below the warning.
    #[cfg_attr(feature = "config", serde(with = "text::rate"))]
    #[cfg_attr(
        feature = "config",
        garde(custom(text::positive), custom(text::rate_at_least(&self.warning_rate)))
    )]
    pub critical_rate: f64,
    /// RSS that earns a warning, in bytes; `None` leaves the check out.
    #[cfg_attr(
        feature = "config",
        serde(with = "text::size", skip_serializing_if = "Option::is_none")
    )]
    #[cfg_attr(feature = "config", garde(skip))]
    pub rss_warning: Option<u64>,
    /// RSS that is critical, in bytes; `None` leaves the check out. Not below the warning.
    #[cfg_attr(
        feature = "config",
        serde(with = "text::size", skip_serializing_if = "Option::is_none")
    )]
    #[cfg_attr(feature = "config", garde(custom(text::size_at_least(&self.rss_warning))))]
    pub rss_critical: Option<u64>,
    /// The least time between two alerts of one severity; an escalation always passes. 0 s to 31 days.
    #[cfg_attr(feature = "config", serde(with = "memtrack::units::duration"))]
    #[cfg_attr(feature = "config", garde(custom(text::throttle_in_range)))]
    pub alert_throttle: Duration,
}

impl Default for LeakConfig {
    fn default() -> Self {
        Self {
            window: DEFAULT_WINDOW,
            baseline_window: DEFAULT_BASELINE_WINDOW,
            min_samples: DEFAULT_MIN_SAMPLES,
            least_growth: DEFAULT_LEAST_GROWTH,
            warning_rate: DEFAULT_WARNING_RATE,
            critical_rate: DEFAULT_CRITICAL_RATE,
            rss_warning: Some(DEFAULT_RSS_WARNING),
            rss_critical: Some(DEFAULT_RSS_CRITICAL),
            alert_throttle: DEFAULT_ALERT_THROTTLE,
        }
    }
}

/// Text forms and ranges.
#[cfg(feature = "config")]
mod text {
    use std::time::Duration;

    use memtrack::units::{Rate, Size, format_duration};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    pub(super) mod rate {
        use super::Rate;
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<f64, D::Error> {
            Rate::deserialize(deserializer).map(Rate::bytes_per_second)
        }

        pub(in super::super) fn serialize<S: Serializer>(
            value: &f64,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            Rate::per_second(*value).serialize(serializer)
        }
    }

    pub(super) mod bytes {
        use super::Size;
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<u64, D::Error> {
            Size::deserialize(deserializer).map(Size::bytes)
        }

        pub(in super::super) fn serialize<S: Serializer>(
            value: &u64,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            Size(*value).serialize(serializer)
        }
    }

    pub(super) mod size {
        use super::Size;
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<u64>, D::Error> {
            Ok(Option::<Size>::deserialize(deserializer)?.map(Size::bytes))
        }

        pub(in super::super) fn serialize<S: Serializer>(
            value: &Option<u64>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            value.map(Size).serialize(serializer)
        }
    }

    pub(super) fn window_in_range(value: &Duration, _: &()) -> garde::Result {
        in_range(*value, Duration::from_secs(10), 31 * DAY)
    }

    pub(super) fn baseline_in_range(value: &Duration, _: &()) -> garde::Result {
        in_range(*value, Duration::from_secs(1), DAY)
    }

    pub(super) fn throttle_in_range(value: &Duration, _: &()) -> garde::Result {
        in_range(*value, Duration::ZERO, 31 * DAY)
    }

    pub(super) fn least_growth_in_range(value: &u64, _: &()) -> garde::Result {
        use super::{MAX_LEAST_GROWTH, MIN_LEAST_GROWTH};
        if (MIN_LEAST_GROWTH..=MAX_LEAST_GROWTH).contains(value) {
            return Ok(());
        }
        let (low, high) = (Size(MIN_LEAST_GROWTH).exact(), Size(MAX_LEAST_GROWTH).exact());
        Err(garde::Error::new(format!("must be between {low} and {high}")))
    }

    pub(super) fn positive(value: &f64, _: &()) -> garde::Result {
        if value.is_finite() && *value > 0.0 {
            return Ok(());
        }
        Err(garde::Error::new("must be above 0"))
    }

    pub(super) fn rate_at_least(least: &f64) -> impl FnOnce(&f64, &()) -> garde::Result + '_ {
        move |value, ()| {
            if value >= least {
                return Ok(());
            }
            let least = Rate::per_second(*least);
            Err(garde::Error::new(format!("must not be below `warning_rate` ({least})")))
        }
    }

    pub(super) fn size_at_least(
        least: &Option<u64>,
    ) -> impl FnOnce(&Option<u64>, &()) -> garde::Result + '_ {
        move |value, ()| match (value, least) {
            (Some(value), Some(least)) if value < least => {
                let least = Size(*least);
                Err(garde::Error::new(format!("must not be below `rss_warning` ({least})")))
            }
            _ => Ok(()),
        }
    }

    fn in_range(value: Duration, low: Duration, high: Duration) -> garde::Result {
        if value < low || value > high {
            let (low, high) = (format_duration(low), format_duration(high));
            return Err(garde::Error::new(format!("must be between {low} and {high}")));
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "config"))]
mod tests {
    use super::*;
    use garde::Validate;

    #[test]
    fn every_default_is_valid() {
        LeakConfig::default().validate().unwrap();
    }

    #[test]
    fn text_forms_read_back_as_the_same_config() {
        let text = serde_json::to_string(&LeakConfig::default()).unwrap();
        assert!(text.contains(r#""warning_rate":"50MiB/h""#), "{text}");
        assert!(text.contains(r#""rss_critical":"512MiB""#), "{text}");
        assert!(text.contains(r#""least_growth":"5MiB""#), "{text}");
        assert_eq!(serde_json::from_str::<LeakConfig>(&text).unwrap(), LeakConfig::default());
    }

    #[test]
    fn a_missing_key_has_its_default_and_an_unknown_one_is_refused() {
        let config: LeakConfig = serde_json::from_str(r#"{"warning_rate":"1MiB/min"}"#).unwrap();
        assert_eq!(config.warning_rate, 1_048_576.0 / 60.0);
        assert_eq!(config.rss_warning, Some(256 << 20));
        assert!(serde_json::from_str::<LeakConfig>(r#"{"windov":"1h"}"#).is_err());
    }

    #[test]
    fn the_least_growth_has_a_range() {
        let at = |least_growth| LeakConfig { least_growth, ..LeakConfig::default() }.validate();
        at(MIN_LEAST_GROWTH).unwrap();
        at(MAX_LEAST_GROWTH).unwrap();
        for outside in [0, MIN_LEAST_GROWTH - 1, MAX_LEAST_GROWTH + 1] {
            let report = at(outside).unwrap_err().to_string();
            assert!(report.contains("must be between 64KiB and 1TiB"), "{report}");
        }
        let config: LeakConfig = serde_json::from_str(r#"{"least_growth":"1MiB"}"#).unwrap();
        assert_eq!(config.least_growth, MIB);
    }

    #[test]
    fn critical_below_warning_is_refused_and_names_the_other_key() {
        let config = LeakConfig { critical_rate: 1.0, ..LeakConfig::default() };
        let report = config.validate().unwrap_err().to_string();
        assert!(report.contains("critical_rate") && report.contains("warning_rate"), "{report}");
        let config = LeakConfig { rss_critical: Some(1), ..LeakConfig::default() };
        let report = config.validate().unwrap_err().to_string();
        assert!(report.contains("rss_warning"), "{report}");
    }
}
