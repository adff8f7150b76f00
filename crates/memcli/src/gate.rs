//! Gates: conditions a run must meet, judged on intervals and never on a point inside the noise.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use memleak::{Severity, Verdict};
use mempressure::Level;
use memtrack::{Rate, Size, Span};
use serde::{Serialize, Serializer};

use crate::alert;
use crate::comparison::Outcome;
use crate::pipeline::Seen;

/// What `--fail-on` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// The verdict at the end is `leak`.
    Leak,
    /// The verdict at the end is `growing` or `leak`.
    Growing,
    /// The level reached this one, or a higher one, at any time.
    Level(Level),
    /// An alert of this severity, or a worse one, was asked for at any time.
    Alert(Severity),
    /// It is worse than the baseline.
    Regression,
    /// At the growth at the end, the nearest limit is reached within this time.
    LimitIn(Duration),
}

/// Why a text names nothing to fail on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "nothing to fail on is called `{0}`: expected leak, growing, level:warning, level:critical, level:emergency, alert:warning, alert:critical, regression or limit-in:TIME such as limit-in:10m"
)]
pub struct FailOnError(String);

impl FromStr for FailOn {
    type Err = FailOnError;

    fn from_str(text: &str) -> Result<Self, FailOnError> {
        Ok(match text {
            "leak" => FailOn::Leak,
            "growing" => FailOn::Growing,
            "level:warning" => FailOn::Level(Level::Warning),
            "level:critical" => FailOn::Level(Level::Critical),
            "level:emergency" => FailOn::Level(Level::Emergency),
            "alert:warning" => FailOn::Alert(Severity::Warning),
            "alert:critical" => FailOn::Alert(Severity::Critical),
            "regression" => FailOn::Regression,
            _ => {
                let unknown = || FailOnError(text.to_owned());
                let time = text.strip_prefix("limit-in:").ok_or_else(unknown)?;
                FailOn::LimitIn(memtrack::units::parse_duration(time).map_err(|_| unknown())?)
            }
        })
    }
}

/// The gates of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gates {
    /// Highest peak RSS that passes.
    pub max_rss: Option<Size>,
    /// Highest peak PSS that passes.
    pub max_pss: Option<Size>,
    /// Fastest growth that passes.
    pub max_growth: Option<Rate>,
    /// What fails.
    pub fail_on: Vec<FailOn>,
}

/// What the gates are judged on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Peak RSS in bytes, as far as it is known.
    pub peak_rss: Option<u64>,
    /// Peak PSS in bytes, as far as it is known.
    pub peak_pss: Option<u64>,
    /// The verdict at the end.
    pub verdict: &'a Verdict,
    /// The highest level.
    pub level: Level,
    /// The worst alert.
    pub alert: Option<Severity>,
    /// What the comparison with the baseline came to; `None` when there is none.
    pub regression: Option<Outcome>,
    /// Bytes until the nearest limit.
    pub headroom: Option<u64>,
}

/// How one gate was judged. Serialises into `gates[]` of the summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Judged {
    /// The gate: `max_rss`, `leak`.
    pub name: &'static str,
    /// What must not be passed.
    #[cfg_attr(test, schemars(with = "crate::schema::Quantity"))]
    pub limit: Quantity,
    /// What was seen; `null` when it could not be had.
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Quantity>"))]
    pub value: Option<Quantity>,
    /// Whether it passed. What could not be seen does not pass: a gate that cannot judge must not say yes.
    pub pass: bool,
}

/// A number with its unit in the text form, bare in JSON: bytes, bytes per second, seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantity {
    /// Bytes.
    Bytes(u64),
    /// Growth.
    Growth(Rate),
    /// A time.
    Time(Duration),
    /// A word, such as a verdict.
    Word(&'static str),
}

impl Quantity {
    /// The number as JSON has it; `None` for a word.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Quantity::Bytes(bytes) => Some(*bytes as f64),
            Quantity::Growth(rate) => Some(rate.bytes_per_second()),
            Quantity::Time(time) => Some(time.as_secs_f64()),
            Quantity::Word(_) => None,
        }
    }

    /// The same kind of quantity with another number; `None` for a word, and for what cannot be such a quantity.
    #[must_use]
    pub fn like(&self, number: f64) -> Option<Self> {
        match self {
            Quantity::Bytes(_) => Some(Quantity::Bytes(number.max(0.0).round() as u64)),
            Quantity::Growth(_) => Some(Quantity::Growth(Rate::per_second(number))),
            Quantity::Time(_) => Duration::try_from_secs_f64(number).ok().map(Quantity::Time),
            Quantity::Word(_) => None,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quantity::Bytes(bytes) => Size(*bytes).fmt(f),
            Quantity::Growth(rate) => rate.fmt(f),
            Quantity::Time(time) => Span(*time).fmt(f),
            Quantity::Word(word) => f.pad(word),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Quantity::Bytes(bytes) => serializer.serialize_u64(*bytes),
            Quantity::Growth(rate) => serializer.serialize_f64(rate.bytes_per_second()),
            Quantity::Time(time) => serializer.serialize_f64(time.as_secs_f64()),
            Quantity::Word(word) => serializer.serialize_str(word),
        }
    }
}

impl Gates {
    /// Judges every gate.
    #[must_use]
    pub fn judge(&self, facts: Facts<'_>) -> Vec<Judged> {
        let ceiling = |name, limit: Option<Size>, peak: Option<u64>| {
            limit.map(|limit| Judged {
                name,
                limit: Quantity::Bytes(limit.bytes()),
                value: peak.map(Quantity::Bytes),
                pass: peak.is_some_and(|peak| peak <= limit.bytes()),
            })
        };
        let growth = self.max_growth.map(|limit| {
            let trend = facts.verdict.trend();
            Judged {
                name: "max_growth",
                limit: Quantity::Growth(limit),
                value: trend
                    .map(|trend| Quantity::Growth(Rate::per_second(trend.bytes_per_second))),
                // Only when the whole interval is above it: what may be noise does not fail a build.
                pass: trend.is_none_or(|trend| trend.low <= limit.bytes_per_second()),
            }
        });
        let rss = ceiling("max_rss", self.max_rss, facts.peak_rss);
        let pss = ceiling("max_pss", self.max_pss, facts.peak_pss);
        let named = self.fail_on.iter().map(|fail_on| fail_on.judge(facts));
        rss.into_iter().chain(pss).chain(growth).chain(named).collect()
    }
}

impl Gates {
    /// Whether a gate has failed that nothing later can mend: a peak, a level or an alert.
    #[must_use]
    pub fn failed_for_good(&self, seen: &Seen) -> bool {
        let above = |limit: Option<Size>, peak: Option<u64>| match (limit, peak) {
            (Some(limit), Some(peak)) => peak > limit.bytes(),
            _ => false,
        };
        let reached = |fail_on: &FailOn| match fail_on {
            FailOn::Level(level) => seen.level >= *level,
            FailOn::Alert(severity) => seen.alert >= Some(*severity),
            _ => false,
        };
        above(self.max_rss, seen.peak_rss)
            || above(self.max_pss, seen.pss)
            || self.fail_on.iter().any(reached)
    }
}

impl FailOn {
    fn judge(self, facts: Facts<'_>) -> Judged {
        let kind = facts.verdict.kind();
        let verdict = |name, pass| Judged {
            name,
            limit: Quantity::Word(name),
            value: Some(Quantity::Word(kind)),
            pass,
        };
        match self {
            FailOn::Leak => verdict("leak", kind != "leak"),
            FailOn::Growing => verdict("growing", kind != "leak" && kind != "growing"),
            FailOn::Level(level) => Judged {
                name: "level",
                limit: Quantity::Word(level.as_str()),
                value: Some(Quantity::Word(facts.level.as_str())),
                pass: facts.level < level,
            },
            FailOn::Alert(severity) => Judged {
                name: "alert",
                limit: Quantity::Word(alert::word(severity)),
                value: Some(Quantity::Word(facts.alert.map_or("none", alert::word))),
                pass: facts.alert < Some(severity),
            },
            FailOn::Regression => regression(facts.regression),
            FailOn::LimitIn(limit) => {
                let grows = kind == "leak" || kind == "growing";
                let left = |rate: f64| {
                    let seconds = facts.headroom? as f64 / rate;
                    (rate > 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
                };
                let trend = facts.verdict.trend().filter(|_| grows);
                Judged {
                    name: "limit_in",
                    limit: Quantity::Time(limit),
                    value: trend.and_then(|trend| left(trend.bytes_per_second)).map(Quantity::Time),
                    // By the slow end of the interval.
                    pass: trend.and_then(|trend| left(trend.low)).is_none_or(|time| time > limit),
                }
            }
        }
    }
}

/// How a comparison with a baseline is judged. One run against one may leave nothing to test: that is no proof of a regression,
/// but no comparison at all is no pass.
#[must_use]
pub fn regression(outcome: Option<Outcome>) -> Judged {
    Judged {
        name: "regression",
        limit: Quantity::Word("worse"),
        value: outcome.map(|outcome| Quantity::Word(outcome.word())),
        pass: outcome.is_some_and(|outcome| outcome != Outcome::Worse),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memleak::{Detector, LeakConfig};

    /// A verdict on `rate` MiB/s, watched for 30 s at 10 Hz.
    fn verdict_on(rate: f64) -> Verdict {
        let mut detector = Detector::new(&LeakConfig::default());
        for tick in 0..300u32 {
            let seconds = f64::from(tick) / 10.0;
            let bytes = (50.0 + rate * seconds) * 1_048_576.0;
            detector.push(Duration::from_millis(u64::from(tick) * 100), bytes as u64);
        }
        detector.conclude();
        detector.verdict()
    }

    fn facts(verdict: &Verdict) -> Facts<'_> {
        Facts {
            peak_rss: Some(64 << 20),
            peak_pss: None,
            verdict,
            level: Level::Critical,
            alert: Some(Severity::Warning),
            regression: Some(Outcome::NoDifference),
            headroom: Some(120 << 20),
        }
    }

    #[test]
    fn a_peak_at_the_limit_passes_and_one_byte_more_does_not() {
        let verdict = verdict_on(0.0);
        let gates = Gates { max_rss: Some(Size::mib(64)), ..Gates::default() };
        let judge = |peak_rss| gates.judge(Facts { peak_rss, ..facts(&verdict) });
        assert!(judge(Some(64 << 20))[0].pass);
        let failed = judge(Some((64 << 20) + 1));
        assert!(!failed[0].pass);
        assert!(!judge(None)[0].pass, "an unknown peak is no pass");
        assert_eq!(
            serde_json::to_string(&failed[0]).unwrap(),
            r#"{"name":"max_rss","limit":67108864,"value":67108865,"pass":false}"#
        );
    }

    #[test]
    fn growth_fails_only_when_its_whole_interval_is_above_the_gate() {
        let (leak, flat) = (verdict_on(2.0), verdict_on(0.0));
        let passes = |mib: f64, verdict: &Verdict| {
            let max_growth = Some(Rate::per_second(mib * 1_048_576.0));
            Gates { max_growth, ..Gates::default() }.judge(facts(verdict))[0].pass
        };
        assert!(!passes(1.0, &leak) && passes(3.0, &leak) && passes(1.0, &flat));
    }

    #[test]
    fn verdicts_levels_and_times_are_judged_by_name() {
        let (leak, flat) = (verdict_on(2.0), verdict_on(0.0));
        for (name, on_leak, on_flat) in [
            ("leak", false, true),
            ("growing", false, true),
            ("level:critical", false, false),
            ("level:emergency", true, true),
            ("alert:warning", false, false),
            ("alert:critical", true, true),
            ("regression", true, true),
            // 120 MiB at 2 MiB/s is a minute.
            ("limit-in:2m", false, true),
            ("limit-in:30s", true, true),
        ] {
            let fail_on: FailOn = name.parse().unwrap();
            assert_eq!(fail_on.judge(facts(&leak)).pass, on_leak, "{name} on a leak");
            assert_eq!(fail_on.judge(facts(&flat)).pass, on_flat, "{name} on a flat series");
        }
        for text in ["", "leek", "level:normal", "limit-in:", "limit-in:10"] {
            let error = text.parse::<FailOn>().unwrap_err().to_string();
            assert!(error.contains("limit-in:10m"), "{error}");
        }
    }
}
