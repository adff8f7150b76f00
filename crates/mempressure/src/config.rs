//! The sections of this layer: `[pressure]`, `[budget]`, `[project]` and `[workload]`.
//!
//! Each field states its range. Who puts a document together checks these and the rules between fields; what a guard is
//! given by a program is checked at its door, by [`GuardConfig::check`](crate::GuardConfig::check), for what it could not
//! decide by.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use memtrack::Size;

use crate::level::{Level, Signal};

/// Default of [`PressureConfig::enabled`].
pub const DEFAULT_ENABLED: bool = true;
/// Default of [`PressureConfig::auto_eviction`].
pub const DEFAULT_AUTO_EVICTION: bool = true;
/// Default of [`PressureConfig::band`].
pub const DEFAULT_BAND: f64 = 0.05;
/// Default of [`PressureConfig::hold`].
pub const DEFAULT_HOLD: Duration = Duration::from_secs(10);
/// Default of [`PressureConfig::cooldown`].
pub const DEFAULT_COOLDOWN: Duration = Duration::from_secs(30);
/// Default of [`PressureConfig::thresholds`].
pub const DEFAULT_THRESHOLDS: Thresholds =
    Thresholds { warning: 0.70, critical: 0.80, emergency: 0.95 };
/// Default of [`PressureConfig::targets`].
pub const DEFAULT_TARGETS: Targets = Targets { warning: 0.15, critical: 0.30, emergency: 0.50 };
/// Default of [`BudgetConfig::total`].
pub const DEFAULT_BUDGET_TOTAL: BudgetTotal = BudgetTotal::Size(Size::gib(3));
/// Default of [`BudgetConfig::warning`].
pub const DEFAULT_BUDGET_WARNING: f64 = 0.80;
/// Default of [`BudgetConfig::prompt`].
pub const DEFAULT_BUDGET_PROMPT: f64 = 0.93;
/// Default of [`BudgetConfig::emergency`].
pub const DEFAULT_BUDGET_EMERGENCY: f64 = 0.98;
/// Default of [`ProjectConfig::estimated`].
pub const DEFAULT_PROJECT_ESTIMATED: Size = Size::mib(256);
/// Default of [`WorkloadConfig::parallel_workers`].
pub const DEFAULT_PARALLEL_WORKERS: u32 = 4;
/// Default of [`WorkloadConfig::batch_size`].
pub const DEFAULT_BATCH_SIZE: u32 = 50;
/// Default of [`WorkloadConfig::max_file_size`].
pub const DEFAULT_MAX_FILE_SIZE: Size = Size::mib(5);
/// Default of [`WorkloadConfig::cache_enabled`].
pub const DEFAULT_CACHE_ENABLED: bool = true;
/// Default of [`WorkloadConfig::cache_ttl`].
pub const DEFAULT_CACHE_TTL: Duration = Duration::from_secs(300);

/// The smallest budget that may be set.
pub const MIN_BUDGET_TOTAL: Size = Size::mib(16);
/// The largest budget that may be set.
pub const MAX_BUDGET_TOTAL: Size = Size(16 << 40);

/// When memory counts as tight, and what is done about it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, garde::Validate))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
pub struct PressureConfig {
    /// Watch at all. Off, every signal abstains and the level is [`Level::Unknown`].
    #[cfg_attr(feature = "config", garde(skip))]
    pub enabled: bool,
    /// Evict on our own when the level rises, and keep the ceilings of caches. Off, nothing is evicted; levels are still
    /// reported.
    #[cfg_attr(feature = "config", garde(skip))]
    pub auto_eviction: bool,
    /// How much an eviction takes.
    #[cfg_attr(feature = "config", garde(skip))]
    pub policy: Policy,
    /// The signals that may vote; at least one. A signal named twice counts once.
    #[cfg_attr(feature = "config", garde(custom(check::some_signal)))]
    pub signals: Vec<Signal>,
    /// A level is left only below its threshold - band; 0 to 0.25.
    #[cfg_attr(feature = "config", garde(custom(check::ratio(0.0, 0.25))))]
    pub band: f64,
    /// A level is left only when no sample has justified it for this long; 0 s to 1 h.
    #[cfg_attr(feature = "config", serde(with = "memtrack::units::duration"))]
    #[cfg_attr(feature = "config", garde(custom(check::up_to_an_hour)))]
    pub hold: Duration,
    /// Time between plans at one level, 0 s to 1 h; never blocks an escalation.
    #[cfg_attr(feature = "config", serde(with = "memtrack::units::duration"))]
    #[cfg_attr(feature = "config", garde(custom(check::up_to_an_hour)))]
    pub cooldown: Duration,
    /// From which ratio on the machine and the cgroup are at each level.
    #[cfg_attr(feature = "config", garde(dive))]
    pub thresholds: Thresholds,
    /// How much of the footprint one eviction may free.
    #[cfg_attr(feature = "config", garde(dive))]
    pub targets: Targets,
}

impl Default for PressureConfig {
    fn default() -> Self {
        Self {
            enabled: DEFAULT_ENABLED,
            auto_eviction: DEFAULT_AUTO_EVICTION,
            policy: Policy::default(),
            signals: Signal::ALL.to_vec(),
            band: DEFAULT_BAND,
            hold: DEFAULT_HOLD,
            cooldown: DEFAULT_COOLDOWN,
            thresholds: DEFAULT_THRESHOLDS,
            targets: DEFAULT_TARGETS,
        }
    }
}

/// Ratios of used to limit from which a level holds: of the machine, and of the binding cgroup.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, garde::Validate))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
pub struct Thresholds {
    /// [`Level::Warning`] from here on; 0.05 to 1.
    #[cfg_attr(feature = "config", garde(custom(check::ratio(0.05, 1.0))))]
    pub warning: f64,
    /// [`Level::Critical`] from here on; 0.05 to 1.
    #[cfg_attr(feature = "config", garde(custom(check::ratio(0.05, 1.0))))]
    pub critical: f64,
    /// [`Level::Emergency`] from here on; 0.05 to 1.
    #[cfg_attr(feature = "config", garde(custom(check::ratio(0.05, 1.0))))]
    pub emergency: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        DEFAULT_THRESHOLDS
    }
}

/// Shares of the process footprint that one plan may free at most.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, garde::Validate))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
pub struct Targets {
    /// At [`Level::Warning`]; 0.01 to 1.
    #[cfg_attr(feature = "config", garde(custom(check::ratio(0.01, 1.0))))]
    pub warning: f64,
    /// At [`Level::Critical`]; 0.01 to 1.
    #[cfg_attr(feature = "config", garde(custom(check::ratio(0.01, 1.0))))]
    pub critical: f64,
    /// At [`Level::Emergency`]; 0.01 to 1.
    #[cfg_attr(feature = "config", garde(custom(check::ratio(0.01, 1.0))))]
    pub emergency: f64,
}

impl Default for Targets {
    fn default() -> Self {
        DEFAULT_TARGETS
    }
}

impl Targets {
    /// The share for `level`: none below [`Level::Warning`].
    #[must_use]
    pub fn share(&self, level: Level) -> f64 {
        match level {
            Level::Unknown | Level::Normal => 0.0,
            Level::Warning => self.warning,
            Level::Critical => self.critical,
            Level::Emergency => self.emergency,
        }
    }
}

/// How much an eviction takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Policy {
    /// Only what brings the deciding signal below its release point; high-priority caches only at emergency.
    #[default]
    Conservative,
    /// The whole target of the level; high-priority caches from critical on.
    Aggressive,
}

/// How much something is worth keeping: low goes first, high goes last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Priority {
    /// Evicted first.
    Low,
    /// Evicted after every low one.
    #[default]
    Normal,
    /// Evicted last, and only at the highest levels.
    High,
}

/// The budget of the process itself.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, garde::Validate))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
pub struct BudgetConfig {
    /// The whole of it: 16 MiB to 16 TiB, or a percentage of the limit that binds.
    #[cfg_attr(feature = "config", garde(custom(check::budget_total)))]
    pub total: BudgetTotal,
    /// Soft limit, as a share of the total; 0.50 to 0.95.
    #[cfg_attr(feature = "config", garde(custom(check::ratio(0.50, 0.95))))]
    pub warning: f64,
    /// From this share on, whoever plans work is told about memory; 0.60 to 0.99.
    #[cfg_attr(feature = "config", garde(custom(check::ratio(0.60, 0.99))))]
    pub prompt: f64,
    /// Hard limit, as a share of the total; 0.70 to 1.
    #[cfg_attr(feature = "config", garde(custom(check::ratio(0.70, 1.0))))]
    pub emergency: f64,
    /// Named reservations within the total; none by default.
    #[cfg_attr(feature = "config", garde(skip))]
    pub components: BTreeMap<String, Size>,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self {
            total: DEFAULT_BUDGET_TOTAL,
            warning: DEFAULT_BUDGET_WARNING,
            prompt: DEFAULT_BUDGET_PROMPT,
            emergency: DEFAULT_BUDGET_EMERGENCY,
            components: BTreeMap::new(),
        }
    }
}

/// A budget as people write it: `3GiB`, or `50%` of the limit that binds the process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BudgetTotal {
    /// This many bytes.
    Size(Size),
    /// This many hundredths of the cgroup limit, or of the machine's memory where there is none.
    Percent(f64),
}

impl BudgetTotal {
    /// The bytes, given the limit that binds; `None` for a percentage of a limit nobody knows.
    #[must_use]
    pub fn resolve(self, limit: Option<u64>) -> Option<u64> {
        match self {
            BudgetTotal::Size(size) => Some(size.bytes()),
            // A product of finite numbers; `as` saturates.
            BudgetTotal::Percent(percent) => Some((limit? as f64 * percent / 100.0) as u64),
        }
    }
}

impl Default for BudgetTotal {
    fn default() -> Self {
        DEFAULT_BUDGET_TOTAL
    }
}

impl fmt::Display for BudgetTotal {
    /// Text that reads back as the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BudgetTotal::Size(size) => f.pad(&size.exact()),
            BudgetTotal::Percent(percent) => f.pad(&format!("{percent}%")),
        }
    }
}

/// What was wrong with a budget somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetTotalError {
    /// A percentage that is not a number above 0 and at most 100.
    #[error("invalid percentage `{text}`: expected more than 0% and at most 100%")]
    Percent {
        /// What was written.
        text: String,
    },
    /// Neither a percentage nor a size.
    #[error("invalid budget `{text}`: expected a size such as 3GiB, or a percentage such as 50%")]
    Size {
        /// What was written.
        text: String,
        /// Why it is not a size.
        #[source]
        source: memtrack::UnitError,
    },
}

impl FromStr for BudgetTotal {
    type Err = BudgetTotalError;

    fn from_str(text: &str) -> Result<Self, BudgetTotalError> {
        if let Some(number) = text.trim().strip_suffix('%') {
            return number
                .trim_end()
                .parse::<f64>()
                .ok()
                .filter(|percent| *percent > 0.0 && *percent <= 100.0)
                .map(BudgetTotal::Percent)
                .ok_or_else(|| BudgetTotalError::Percent { text: text.to_owned() });
        }
        text.parse()
            .map(BudgetTotal::Size)
            .map_err(|source| BudgetTotalError::Size { text: text.to_owned(), source })
    }
}

/// What one project is expected to need: a hint for planning, not a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, garde::Validate))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
pub struct ProjectConfig {
    /// What to expect until real usage is known; 32 MiB to 4 GiB.
    #[cfg_attr(feature = "config", garde(custom(check::size(Size::mib(32), Size::gib(4)))))]
    pub estimated: Size,
    /// How much its caches are worth keeping.
    #[cfg_attr(feature = "config", garde(skip))]
    pub priority: Priority,
}

impl Default for ProjectConfig {
    fn default() -> Self {
        Self { estimated: DEFAULT_PROJECT_ESTIMATED, priority: Priority::default() }
    }
}

/// Ceilings of the work a service takes on, which pressure scales down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, garde::Validate))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
pub struct WorkloadConfig {
    /// Workers at once; 1 to 32.
    #[cfg_attr(feature = "config", garde(custom(check::count(1, 32))))]
    pub parallel_workers: u32,
    /// Items taken at once; 10 to 500.
    #[cfg_attr(feature = "config", garde(custom(check::count(10, 500))))]
    pub batch_size: u32,
    /// The largest item taken; 1 KiB to 1 GiB.
    #[cfg_attr(feature = "config", garde(custom(check::size(Size::kib(1), Size::gib(1)))))]
    pub max_file_size: Size,
    /// Whether results are cached.
    #[cfg_attr(feature = "config", garde(skip))]
    pub cache_enabled: bool,
    /// How long a result stays cached; 30 s to 1 h.
    #[cfg_attr(feature = "config", serde(with = "memtrack::units::duration"))]
    #[cfg_attr(feature = "config", garde(custom(check::cache_ttl)))]
    pub cache_ttl: Duration,
}

impl Default for WorkloadConfig {
    fn default() -> Self {
        Self {
            parallel_workers: DEFAULT_PARALLEL_WORKERS,
            batch_size: DEFAULT_BATCH_SIZE,
            max_file_size: DEFAULT_MAX_FILE_SIZE,
            cache_enabled: DEFAULT_CACHE_ENABLED,
            cache_ttl: DEFAULT_CACHE_TTL,
        }
    }
}

/// All sections that the guard reads, from one generation of the document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuardConfig {
    /// `[pressure]`
    pub pressure: PressureConfig,
    /// `[budget]`
    pub budget: BudgetConfig,
    /// `[project]`
    pub project: ProjectConfig,
    /// `[workload]`
    pub workload: WorkloadConfig,
}

/// Ranges, with the range in the message. NaN is in none of them (garde's own `range` lets it pass).
#[cfg(feature = "config")]
mod check {
    use super::{BudgetTotal, Duration, MAX_BUDGET_TOTAL, MIN_BUDGET_TOTAL, Signal, Size};
    use memtrack::units::format_duration;

    fn outside(low: impl std::fmt::Display, high: impl std::fmt::Display) -> garde::Error {
        garde::Error::new(format!("must be between {low} and {high}"))
    }

    pub(super) fn ratio(low: f64, high: f64) -> impl Fn(&f64, &()) -> garde::Result {
        move |value, ()| (low..=high).contains(value).then_some(()).ok_or(outside(low, high))
    }

    pub(super) fn count(low: u32, high: u32) -> impl Fn(&u32, &()) -> garde::Result {
        move |value, ()| (low..=high).contains(value).then_some(()).ok_or(outside(low, high))
    }

    pub(super) fn size(low: Size, high: Size) -> impl Fn(&Size, &()) -> garde::Result {
        move |value, ()| {
            (low..=high).contains(value).then_some(()).ok_or(outside(low.exact(), high.exact()))
        }
    }

    fn duration(value: Duration, low: Duration, high: Duration) -> garde::Result {
        (low..=high)
            .contains(&value)
            .then_some(())
            .ok_or(outside(format_duration(low), format_duration(high)))
    }

    pub(super) fn up_to_an_hour(value: &Duration, _: &()) -> garde::Result {
        duration(*value, Duration::ZERO, Duration::from_secs(3600))
    }

    pub(super) fn cache_ttl(value: &Duration, _: &()) -> garde::Result {
        duration(*value, Duration::from_secs(30), Duration::from_secs(3600))
    }

    pub(super) fn some_signal(signals: &[Signal], _: &()) -> garde::Result {
        if signals.is_empty() {
            return Err(garde::Error::new(
                "must name at least one signal; `enabled = false` watches none",
            ));
        }
        Ok(())
    }

    pub(super) fn budget_total(total: &BudgetTotal, _: &()) -> garde::Result {
        match total {
            BudgetTotal::Size(bytes) => size(MIN_BUDGET_TOTAL, MAX_BUDGET_TOTAL)(bytes, &()),
            BudgetTotal::Percent(percent) if *percent > 0.0 && *percent <= 100.0 => Ok(()),
            BudgetTotal::Percent(_) => {
                Err(garde::Error::new("must be more than 0% and at most 100%"))
            }
        }
    }
}

#[cfg(feature = "config")]
mod text_form {
    use super::{BudgetTotal, Size};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = BudgetTotal;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a size such as \"3GiB\", or a percentage such as \"50%\"")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<BudgetTotal, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<BudgetTotal, E> {
            Ok(BudgetTotal::Size(Size(bytes)))
        }

        fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<BudgetTotal, E> {
            u64::try_from(bytes)
                .map(|bytes| BudgetTotal::Size(Size(bytes)))
                .map_err(|_| E::custom(format!("a size cannot be negative: {bytes}")))
        }
    }

    impl<'de> Deserialize<'de> for BudgetTotal {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Visitor)
        }
    }

    impl Serialize for BudgetTotal {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn budgets_read_as_people_write_them() {
        assert_eq!("3GiB".parse(), Ok(DEFAULT_BUDGET_TOTAL));
        assert_eq!("50%".parse(), Ok(BudgetTotal::Percent(50.0)));
        assert_eq!(" 12.5 % ".parse(), Ok(BudgetTotal::Percent(12.5)));
        for text in ["0%", "101%", "-1%", "NaN%", "inf%", "%", "half%"] {
            let error = text.parse::<BudgetTotal>().unwrap_err();
            assert!(matches!(error, BudgetTotalError::Percent { .. }), "{text}: {error}");
        }
        for text in ["", "3Gio", "half"] {
            let error = text.parse::<BudgetTotal>().unwrap_err();
            assert!(matches!(error, BudgetTotalError::Size { .. }), "{text}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// P13: no text panics, and a budget reads back from what it prints.
        #[test]
        fn p13_any_budget(text in "[0-9.eE+%a-zA-Z -]{0,20}", bytes: u64, percent in 0.001..=100.0f64) {
            if let Ok(BudgetTotal::Percent(percent)) = text.parse() {
                prop_assert!(percent > 0.0 && percent <= 100.0);
            }
            for total in [BudgetTotal::Size(Size(bytes)), BudgetTotal::Percent(percent)] {
                prop_assert_eq!(total.to_string().parse(), Ok(total));
            }
            prop_assert!(BudgetTotal::Percent(percent).resolve(Some(bytes)) <= Some(bytes));
        }
    }

    #[test]
    fn a_percentage_of_an_unknown_limit_is_unknown() {
        assert_eq!(BudgetTotal::Percent(50.0).resolve(Some(200)), Some(100));
        assert_eq!(BudgetTotal::Percent(50.0).resolve(None), None);
        assert_eq!(BudgetTotal::Size(Size(7)).resolve(None), Some(7));
    }

    #[cfg(feature = "config")]
    mod document {
        use super::super::*;
        use garde::Validate;

        #[test]
        fn every_default_is_valid() {
            PressureConfig::default().validate().unwrap();
            BudgetConfig::default().validate().unwrap();
            ProjectConfig::default().validate().unwrap();
            WorkloadConfig::default().validate().unwrap();
        }

        #[test]
        fn an_empty_table_is_the_default() {
            assert_eq!(toml::from_str::<PressureConfig>("").unwrap(), PressureConfig::default());
            assert_eq!(toml::from_str::<BudgetConfig>("").unwrap(), BudgetConfig::default());
            assert_eq!(toml::from_str::<ProjectConfig>("").unwrap(), ProjectConfig::default());
            assert_eq!(toml::from_str::<WorkloadConfig>("").unwrap(), WorkloadConfig::default());
        }

        #[test]
        fn sections_read_back_what_they_wrote() {
            let pressure = PressureConfig::default();
            let text = toml::to_string(&pressure).unwrap();
            assert_eq!(toml::from_str::<PressureConfig>(&text).unwrap(), pressure);
            let budget = BudgetConfig {
                total: BudgetTotal::Percent(12.5),
                components: [("global_index".to_owned(), Size::mib(512))].into(),
                ..BudgetConfig::default()
            };
            let text = toml::to_string(&budget).unwrap();
            assert!(text.contains("total = \"12.5%\""), "{text}");
            assert_eq!(toml::from_str::<BudgetConfig>(&text).unwrap(), budget);
        }

        #[test]
        fn the_keys_are_those_of_the_document() {
            let text = "enabled = true\nauto_eviction = true\npolicy = \"aggressive\"\n\
                signals = [\"system\", \"cgroup\", \"budget\", \"psi\", \"forecast\"]\n\
                band = 0.05\nhold = \"10s\"\ncooldown = \"30s\"\n\
                [thresholds]\nwarning = 0.70\ncritical = 0.80\nemergency = 0.95\n\
                [targets]\nwarning = 0.15\ncritical = 0.30\nemergency = 0.50\n";
            let config: PressureConfig = toml::from_str(text).unwrap();
            let default = PressureConfig::default();
            assert_eq!(config, PressureConfig { policy: Policy::Aggressive, ..default });
            let error = toml::from_str::<PressureConfig>("bnad = 0.05").unwrap_err().to_string();
            assert!(error.contains("bnad"), "{error}");
        }

        #[test]
        fn values_outside_their_range_are_refused_with_the_range() {
            let refused = |text: &str, range: &str| {
                let report = toml::from_str::<PressureConfig>(text)
                    .unwrap()
                    .validate()
                    .unwrap_err()
                    .to_string();
                assert!(report.contains(range), "{text}: {report}");
            };
            refused("band = 0.3", "between 0 and 0.25");
            refused("band = nan", "between 0 and 0.25");
            refused("hold = \"2h\"", "between 0s and 1h");
            refused("signals = []", "at least one");
            refused("[thresholds]\nwarning = nan", "between 0.05 and 1");
            refused("[targets]\nwarning = 0.0", "between 0.01 and 1");
            for total in [
                BudgetTotal::Size(Size::mib(15)),
                BudgetTotal::Percent(f64::NAN),
                BudgetTotal::Percent(0.0),
            ] {
                let config = BudgetConfig { total, ..BudgetConfig::default() };
                assert!(config.validate().is_err(), "{total}");
            }
        }
    }
}
