//! Gates: conditions a run must meet, judged on intervals, and a leak by the verdict, which has outlasted its own tests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use memleak::{Severity, Trend, Verdict};
use mempressure::Level;
use memtrack::{Rate, Size, Span};
use serde::{Serialize, Serializer};

use crate::alert;
use crate::comparison::Outcome;
use crate::pipeline::Seen;
use crate::summary::Peak;

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

impl FailOn {
    /// The words that can be named, for completion; the time is one of many.
    pub const WORDS: [&str; 9] = [
        "leak",
        "growing",
        "level:warning",
        "level:critical",
        "level:emergency",
        "alert:warning",
        "alert:critical",
        "regression",
        "limit-in:10m",
    ];
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
    /// Whether what is not decided yet fails too.
    pub strict: bool,
}

/// What the gates are judged on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Peak RSS, as far as it is known.
    pub peak_rss: Known,
    /// Peak PSS, as far as it is known.
    pub peak_pss: Known,
    /// The verdict at the end.
    pub verdict: &'a Verdict,
    /// The highest level.
    pub level: Level,
    /// The worst alert.
    pub alert: Option<Severity>,
    /// What the comparison with the baseline came to; `None` when there is none.
    pub regression: Option<Outcome>,
    /// Bytes until the nearest limit; 0 when it is reached.
    pub headroom: Option<u64>,
    /// Why nothing of it was measured, so that only its peak can be judged; `None` when something was, or when it was over before
    /// that could be.
    pub unseen: Option<&'static str>,
    /// Why no level was told though there were samples; `None` when one was, or there were none.
    pub no_level: Option<&'static str>,
}

/// What is known of a peak, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// It was at least this: somebody saw it.
    pub at_least: Option<u64>,
    /// It was at most this.
    pub at_most: Option<u64>,
    /// What it was if what was seen missed the highest; `None` when it did not, or nobody can tell.
    pub likely: Option<u64>,
}

impl Known {
    /// What is known of the peak RSS.
    #[must_use]
    pub fn rss(peak: &Peak) -> Self {
        Self { at_least: peak.rss_bytes, at_most: peak.rss_at_most_bytes, likely: None }
    }

    /// What is known of the peak PSS. It is read far more seldom than RSS, and of a process is never above it: the highest RSS
    /// bounds it, and without what was shared when both were measured, is what it most likely was. Of several processes nothing
    /// bounds it, and the highest that was estimated, between two times at which it was measured, is what it may have been.
    #[must_use]
    pub fn pss(peak: &Peak, seen: &Seen) -> Self {
        let at_most = peak.rss_at_most_bytes;
        let likely = at_most.zip(seen.shared).map(|(rss, shared)| rss.saturating_sub(shared));
        let likely = likely.or(peak.pss_likely_bytes);
        Self { at_least: peak.pss_bytes, at_most, likely }
    }

    /// Judges it against the most that is allowed.
    #[must_use]
    pub fn judge(self, name: &'static str, limit: Size) -> Judged {
        let limit = limit.bytes();
        let within = |bytes: Option<u64>| bytes.is_some_and(|bytes| bytes <= limit);
        let above = self.at_least.is_some_and(|bytes| bytes > limit);
        // What was seen is judged by, unless more is known of what was not.
        let pass = !above
            && (within(self.at_most)
                || within(self.at_least) && within(self.likely.or(self.at_least)));
        let (value, bound) = match (self.at_least, self.at_most) {
            (Some(least), Some(most)) if least == most => (Some(least), None),
            (_, most @ Some(_)) if within(most) && !above => (most, Some(Bound::AtMost)),
            (least, _) => (least, least.map(|_| Bound::AtLeast)),
        };
        let undecided = !pass && !above;
        let reason = undecided.then(|| match (self.at_least, self.at_most) {
            (Some(_), Some(most)) => {
                format!("it was not read at its highest, and was at most {}", Size(most))
            }
            (None, Some(most)) => format!("it was never read, and was at most {}", Size(most)),
            (Some(_), None) => {
                let likely = self.likely.map_or("more".into(), |likely| Size(likely).to_string());
                format!("it was not measured at its highest, which is estimated at {likely}")
            }
            (None, None) => "it was never read".to_owned(),
        });
        let value = value.map(Quantity::Bytes);
        Judged { name, limit: Quantity::Bytes(limit), value, bound, pass, reason }
    }
}

/// On which side of the truth a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// It was at least this.
    AtLeast,
    /// It was at most this.
    AtMost,
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
    /// Which side of the truth the value lies on; `null` when it is the truth.
    pub bound: Option<Bound>,
    /// Whether it passed. What could not be seen does not pass: a gate that cannot judge must not say yes.
    pub pass: bool,
    /// Why it did not pass though nothing beyond the limit was seen, or passed though something may be; else `null`.
    pub reason: Option<String>,
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
            Quantity::Growth(rate) => f.pad(&rate_as_typed(*rate)),
            Quantity::Time(time) => Span(*time).fmt(f),
            Quantity::Word(word) => f.pad(word),
        }
    }
}

/// In the unit in which it is a whole number, as people type rates; else as it reads best.
fn rate_as_typed(rate: Rate) -> String {
    let bytes = rate.bytes_per_second();
    for (seconds, time) in [(1.0, "s"), (60.0, "min"), (3600.0, "h")] {
        for (unit, name) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            let number = bytes * seconds / f64::from(1u32 << unit);
            if (1.0..1024.0).contains(&number) && (number - number.round()).abs() < 1e-6 {
                return format!("{number:.0} {name}/{time}");
            }
        }
    }
    rate.to_string()
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

impl Judged {
    fn new(name: &'static str, limit: Quantity, value: Option<Quantity>, pass: bool) -> Self {
        Self { name, limit, value, bound: None, pass, reason: None }
    }

    /// The same, which does not pass when it could not be judged, for the reason given.
    fn unless(self, unjudged: Option<&'static str>) -> Self {
        let reason = unjudged.filter(|_| self.pass).map(str::to_owned).or(self.reason);
        Self { pass: self.pass && unjudged.is_none(), reason, ..self }
    }
}

impl Gates {
    /// Judges every gate.
    #[must_use]
    pub fn judge(&self, facts: Facts<'_>) -> Vec<Judged> {
        let growth = self.max_growth.map(|limit| {
            let trend = facts.verdict.trend();
            Judged::new(
                "max_growth",
                Quantity::Growth(limit),
                trend.map(|trend| Quantity::Growth(Rate::per_second(trend.bytes_per_second))),
                // Only when the whole interval is above it: what may be noise does not fail a build.
                trend.is_none_or(|trend| trend.low <= limit.bytes_per_second()),
            )
            .unless(facts.unseen)
            .unless(self.open(match trend {
                None => Some("too few samples for a slope"),
                Some(trend) if trend.high > limit.bytes_per_second() => {
                    Some("the interval of the growth reaches past it")
                }
                Some(_) => None,
            }))
        });
        let rss = self.max_rss.map(|limit| facts.peak_rss.judge("max_rss", limit));
        let pss = self.max_pss.map(|limit| facts.peak_pss.judge("max_pss", limit));
        let named = self.fail_on.iter().map(|fail_on| match fail_on {
            // What was not compared passes no gate, strict or not.
            FailOn::Regression => {
                let undecided = facts.regression == Some(Outcome::Undecided);
                fail_on.judge(facts).unless(self.open(undecided.then_some(WANDERS)))
            }
            FailOn::Leak | FailOn::Growing | FailOn::LimitIn(_) => {
                let undecided = facts.verdict.kind() == "undecided";
                fail_on
                    .judge(facts)
                    .unless(facts.unseen)
                    .unless(self.open(undecided.then_some("a strict gate wants it decided")))
            }
            FailOn::Level(_) | FailOn::Alert(_) => fail_on.judge(facts).unless(facts.unseen),
        });
        rss.into_iter().chain(pss).chain(growth).chain(named).collect()
    }

    /// Why a gate is not decided, where that fails it.
    fn open(&self, why: Option<&'static str>) -> Option<&'static str> {
        why.filter(|_| self.strict)
    }

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
        let verdict =
            |name, pass| Judged::new(name, Quantity::Word(name), Some(Quantity::Word(kind)), pass);
        match self {
            FailOn::Leak => verdict("leak", kind != "leak"),
            FailOn::Growing => verdict("growing", kind != "leak" && kind != "growing"),
            FailOn::Level(level) => Judged::new(
                "level",
                Quantity::Word(level.as_str()),
                Some(Quantity::Word(facts.level.as_str())),
                facts.level < level,
            )
            .unless(facts.no_level),
            FailOn::Alert(severity) => Judged::new(
                "alert",
                Quantity::Word(alert::word(severity)),
                Some(Quantity::Word(facts.alert.map_or("none", alert::word))),
                facts.alert < Some(severity),
            ),
            FailOn::Regression => regression(facts.regression),
            FailOn::LimitIn(limit) => {
                let grows = kind == "leak" || kind == "growing";
                // Where nothing is decided yet a slope that is surely one is told, and judges nothing.
                let open = |trend: &Trend| kind == "undecided" && trend.low > 0.0;
                let trend = facts.verdict.trend().filter(|trend| grows || open(trend));
                // Of a leak the verdict tells it, and no two figures are told.
                let told = match (facts.verdict, trend) {
                    (Verdict::Leak { time_to_limit: Some(time), .. }, Some(trend)) => {
                        Some(time.as_secs_f64() * trend.bytes_per_second)
                    }
                    _ => facts.headroom.map(|bytes| bytes as f64),
                };
                let left = |rate: f64| {
                    let seconds = told? / rate;
                    (rate > 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
                };
                let no_limit = (grows && trend.is_some() && facts.headroom.is_none())
                    .then_some("it grows, and no limit around it could be read");
                let judged =
                    |value, pass| Judged::new("limit_in", Quantity::Time(limit), value, pass);
                if facts.headroom == Some(0) {
                    // Whatever it does from here on, the limit is reached.
                    return judged(Some(Quantity::Time(Duration::ZERO)), false);
                }
                let time = trend.and_then(|trend| left(trend.bytes_per_second));
                // By the slow end of the interval.
                let near =
                    trend.and_then(|trend| left(trend.low)).is_some_and(|time| time <= limit);
                let reason = (near && !grows)
                    .then(|| "it is not decided yet whether this growth goes on".to_owned());
                Judged { reason, ..judged(time.map(Quantity::Time), !near || !grows) }
                    .unless(no_limit)
            }
        }
    }
}

/// How a comparison with a baseline is judged. Where there was nothing to test it is no pass.
#[must_use]
pub fn regression(outcome: Option<Outcome>) -> Judged {
    let value = outcome.map(|outcome| Quantity::Word(outcome.word()));
    let pass = outcome.is_some_and(|outcome| outcome != Outcome::Worse);
    let untested = (outcome == Some(Outcome::NotTested)).then_some(UNTESTED);
    Judged::new("regression", Quantity::Word("worse"), value, pass).unless(untested)
}

/// Why a comparison decides nothing.
const WANDERS: &str =
    "a run wanders too slowly for a change of this size: compare several with `--runs 3`";

/// Why a comparison tells nothing.
pub const UNTESTED: &str =
    "too few samples or runs to compare: run it for longer, or several times with `--runs 3`";

#[cfg(test)]
mod tests;
