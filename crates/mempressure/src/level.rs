//! How close to the limit: levels, the signals that vote for them, and changes from one to another.

use std::fmt;
use std::time::Duration;

/// How close to the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Level {
    /// Every signal abstains: nothing is known. Never a silent [`Level::Normal`].
    #[default]
    Unknown,
    /// There is room.
    Normal,
    /// Room is getting short.
    Warning,
    /// Little room is left.
    Critical,
    /// The next allocation may be the last one.
    Emergency,
}

impl Level {
    /// The three levels that thresholds are set for, lowest first.
    pub const RAISED: [Level; 3] = [Level::Warning, Level::Critical, Level::Emergency];

    /// The word of this level, as in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Unknown => "unknown",
            Level::Normal => "normal",
            Level::Warning => "warning",
            Level::Critical => "critical",
            Level::Emergency => "emergency",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What votes for a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Signal {
    /// Share of the machine's memory that is not available.
    System,
    /// Working set of the binding cgroup against its limit, and the cgroup's event counters.
    Cgroup,
    /// Footprint of the process against its own budget.
    Budget,
    /// Time tasks stalled for lack of memory. Alone it raises at most to [`Level::Warning`].
    Psi,
    /// Time to exhaustion at the present growth. It lifts the level by at most one.
    Forecast,
}

impl Signal {
    /// Every signal, in the order in which ties are decided.
    pub const ALL: [Signal; 5] =
        [Signal::System, Signal::Cgroup, Signal::Budget, Signal::Psi, Signal::Forecast];

    /// The word of this signal, as in text, JSON and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Signal::System => "system",
            Signal::Cgroup => "cgroup",
            Signal::Budget => "budget",
            Signal::Psi => "psi",
            Signal::Forecast => "forecast",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the number of a signal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Measure {
    /// Used over limit, 0 to 1; more when the limit has been passed.
    Ratio,
    /// Share of time stalled, 0 to 1.
    Stalled,
    /// Seconds until nothing is left, at the present growth.
    SecondsLeft,
    /// Times the kernel refused memory since the sample before.
    Refusals,
}

/// A change of level, and what decided it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Transition {
    /// The level before.
    pub from: Level,
    /// The level from now on.
    pub to: Level,
    /// When: the monotonic time of the sample that showed it. Seconds in JSON.
    #[cfg_attr(feature = "serde", serde(rename = "at_seconds", with = "crate::seconds"))]
    pub at: Duration,
    /// On the way up, the signal that justifies the new level; on the way down, the one that last justified
    /// the level now left. `None` when the level becomes unknown.
    pub signal: Option<Signal>,
    /// What `value` and `threshold` count.
    pub measure: Measure,
    /// What that signal reads now, where it reads anything.
    pub value: Option<f64>,
    /// What it was held against: the threshold on the way up, the release point on the way down.
    pub threshold: Option<f64>,
    /// The generation of the configuration that decided.
    pub generation: u64,
}

impl Transition {
    /// Whether it got tighter. Coming out of [`Level::Unknown`] into [`Level::Normal`] is no escalation.
    #[must_use]
    pub fn is_escalation(&self) -> bool {
        self.to > self.from && self.to > Level::Normal
    }
}

impl fmt::Display for Transition {
    /// Such as `warning -> critical (cgroup 0.81, threshold 0.80)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)?;
        let Some(signal) = self.signal else { return Ok(()) };
        write!(f, " ({signal}")?;
        let number = |x: f64| match self.measure {
            Measure::Ratio | Measure::Stalled => format!("{x:.2}"),
            Measure::SecondsLeft => format!("{x:.1} s left"),
            Measure::Refusals => format!("{x:.0} refused"),
        };
        if let Some(value) = self.value {
            write!(f, " {}", number(value))?;
        }
        if let Some(threshold) = self.threshold {
            write!(f, ", threshold {}", number(threshold))?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_named() {
        assert!(Level::Unknown < Level::Normal && Level::Normal < Level::Warning);
        assert!(Level::Warning < Level::Critical && Level::Critical < Level::Emergency);
        assert_eq!(format!("{:>10}", Level::Critical), "  critical");
    }

    #[test]
    fn a_transition_says_what_decided_it() {
        let transition = Transition {
            from: Level::Warning,
            to: Level::Critical,
            at: Duration::from_millis(1500),
            signal: Some(Signal::Cgroup),
            measure: Measure::Ratio,
            value: Some(0.8149),
            threshold: Some(0.8),
            generation: 3,
        };
        assert_eq!(transition.to_string(), "warning -> critical (cgroup 0.81, threshold 0.80)");
        assert!(transition.is_escalation());
        let lost = Transition { to: Level::Unknown, signal: None, ..transition };
        assert_eq!(lost.to_string(), "warning -> unknown");
        let left = Transition {
            signal: Some(Signal::Forecast),
            measure: Measure::SecondsLeft,
            value: Some(12.34),
            threshold: Some(20.0),
            ..transition
        };
        assert_eq!(
            left.to_string(),
            "warning -> critical (forecast 12.3 s left, threshold 20.0 s left)"
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn json_counts_seconds_and_reads_back() {
        let transition = Transition {
            from: Level::Unknown,
            to: Level::Normal,
            at: Duration::from_millis(1500),
            signal: None,
            measure: Measure::Ratio,
            value: None,
            threshold: None,
            generation: 0,
        };
        let json = serde_json::to_string(&transition).unwrap();
        assert!(
            json.contains(r#""to":"normal""#) && json.contains(r#""at_seconds":1.5"#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Transition>(&json).unwrap(), transition);
    }
}
