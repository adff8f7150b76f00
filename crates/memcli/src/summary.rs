//! The summary of one watch: what it saw, what follows, what it cost. The document `memcli.summary/1`.

use std::collections::BTreeMap;
use std::time::Duration;

use memleak::{Shape, Trend, Verdict};
use mempressure::Level;
use memtrack::source::Target;
use serde::{Deserialize, Serialize};

use crate::comparison::Comparison;
use crate::gate::Judged;
use crate::pipeline::Seen;
use crate::places::Places;
use crate::size;
use crate::trace::rows::AlertRow;

/// The name and version of this document.
pub const SCHEMA: &str = "memcli.summary/1";

/// What one watch saw. Sizes are in bytes, times in seconds; what is unknown is `null` with its reason in `absent`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// What was watched, in words: `python3(4321)`.
    pub target: String,
    /// The command that was started, with its arguments; `null` when the target ran already.
    pub command: Option<Vec<String>>,
    /// The code memcli exits with.
    pub exit_code: u8,
    /// How the watch came to its end.
    pub end: End,
    /// How the command ended, whoever asked it to: `exited` or `killed`; `null` when there is none, or memcli ended before it.
    pub command_end: Option<End>,
    /// From the start of the watch to its end.
    pub duration_seconds: f64,
    /// Samples taken.
    pub samples: u64,
    /// Samples taken and not looked at, because memcli was too slow.
    pub lost: u64,
    /// The most processes at one time; `null` when the target is none.
    pub processes: Option<u64>,
    /// Processes that the command started and that ran on when it had ended; `null` when there is no command, or memcli ended
    /// before it.
    pub left_running: Option<u64>,
    /// The highest it was.
    pub peak: Peak,
    /// The mean RSS, each sample weighed by the time it stands for.
    pub mean_rss_bytes: Option<u64>,
    /// How fast it grew.
    pub growth: Growth,
    /// Whether it leaks.
    pub verdict: Judgement,
    /// Where it grows; `null` when the verdict knows of no growth.
    pub places: Option<Places>,
    /// The pressure level at the end.
    #[cfg_attr(test, schemars(with = "crate::schema::Level"))]
    pub level: Level,
    /// The highest pressure level.
    #[cfg_attr(test, schemars(with = "crate::schema::Level"))]
    pub highest_level: Level,
    /// Whom it would have woken.
    pub alerts: Alerted,
    /// What became of each edit of the configuration.
    pub reloads: Reloads,
    /// The gates that were asked for.
    pub gates: Vec<Judged>,
    /// The comparison with the baseline; `null` when none was asked for.
    pub baseline: Option<Comparison>,
    /// The trace that was written; `null` when none was asked for.
    pub trace: Option<Recorded>,
    /// What watching cost.
    pub cost: Cost,
    /// Why a value above is `null`, by its path.
    pub absent: BTreeMap<&'static str, String>,
}

/// How a watch came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum End {
    /// The command exited by itself.
    Exited {
        /// Its own code.
        code: i32,
    },
    /// A signal ended the command.
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// The time of `--for` was up.
    TimeUp,
    /// `--abort` ended the command, or else the watch, when a gate had failed.
    Aborted,
    /// Someone interrupted memcli.
    Interrupted {
        /// The signal's number.
        signal: i32,
    },
    /// The target that ran already has ended.
    TargetEnded,
}

/// The highest it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Peak {
    /// The highest of the size that stands for the target: of several processes PSS where it was read, of one RSS, of a cgroup its
    /// working set, of the machine what is used.
    pub size_bytes: Option<u64>,
    /// What that size is: `PSS`, `RSS`, `working set` or `used`.
    pub size_measure: Option<&'static str>,
    /// Whether several processes had it at one time: RSS then counts what they share once for each.
    pub size_of_several: bool,
    /// Whether that size is an estimate: PSS is measured now and then, and this is above every one that was.
    pub size_estimated: bool,
    /// Resident bytes.
    pub rss_bytes: Option<u64>,
    /// Whether the kernel kept this peak up to the end. If not it was at least this.
    pub exact: bool,
    /// What the peak RSS was at most: of a command that ended, the kernel's own figure, which may be that of memcli before it.
    pub rss_at_most_bytes: Option<u64>,
    /// RSS + swap, the highest of the samples.
    pub footprint_bytes: Option<u64>,
    /// Proportional share, the highest that was measured.
    pub pss_bytes: Option<u64>,
    /// What the proportional share most likely was at its highest: `pss_bytes`, or above it what was estimated between two
    /// measurements.
    pub pss_likely_bytes: Option<u64>,
}

impl Peak {
    /// What was seen of `watched`, of which `rss_bytes` is the highest RSS that anyone knows of.
    #[must_use]
    pub fn new(watched: &Target, seen: &Seen, rss_bytes: Option<u64>) -> Self {
        let size = size::highest(watched, seen, rss_bytes);
        Self {
            size_bytes: size.map(|size| size.bytes),
            size_measure: size.map(|size| size.measure),
            size_of_several: size.is_some_and(|size| size.of_several),
            size_estimated: size.is_some_and(|size| size.estimated),
            rss_bytes,
            exact: false,
            rss_at_most_bytes: None,
            footprint_bytes: seen.footprint,
            pss_bytes: seen.pss,
            pss_likely_bytes: seen.likely_pss(rss_bytes),
        }
    }

    /// What the sizes of several runs count, so that they can be compared: the same in each, or `size` where one process stands
    /// beside several. `None` where a run is known by a sum of RSS alone: that compares with RSS only.
    #[must_use]
    pub fn common_measure<'a>(
        mut peaks: impl Iterator<Item = &'a Self> + Clone,
    ) -> Option<&'static str> {
        let first = peaks.clone().next()?.size_measure?;
        if peaks.clone().all(|peak| peak.size_measure == Some(first)) {
            return Some(first);
        }
        let summed = |peak: &Self| peak.size_of_several && peak.size_measure == Some(size::RSS);
        let known = peaks.all(|peak| peak.size_measure.is_some() && !summed(peak));
        known.then_some(size::SIZE)
    }

    /// The same, of which the kernel kept the RSS up to the end, or knows that it was no more than `at_most`.
    #[must_use]
    pub fn bounded(self, exact: bool, at_most: Option<u64>) -> Self {
        let rss_at_most_bytes = if exact {
            self.rss_bytes
        } else {
            at_most.max(self.rss_bytes.filter(|_| at_most.is_some()))
        };
        Self { exact, rss_at_most_bytes, ..self }
    }
}

/// How fast it grew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Growth {
    /// The estimate.
    pub bytes_per_second: Option<f64>,
    /// Lower end of the 95 % interval.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
}

impl Growth {
    /// The same as the layers have it, where it is known.
    #[must_use]
    pub fn trend(&self) -> Option<Trend> {
        let (bytes_per_second, low) = self.bytes_per_second.zip(self.low)?;
        Some(Trend { bytes_per_second, low, high: self.high? })
    }
}

impl From<Option<Trend>> for Growth {
    fn from(trend: Option<Trend>) -> Self {
        Self {
            bytes_per_second: trend.map(|t| t.bytes_per_second),
            low: trend.map(|t| t.low),
            high: trend.map(|t| t.high),
        }
    }
}

/// The verdict, flat. What its kind does not have is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Judgement {
    /// `undecided`, `steady`, `growing` or `leak`.
    pub kind: &'static str,
    /// In words, with what else it could be, and what would decide when it is undecided.
    pub reason: String,
    /// The growth, when the kind is `growing` or `leak`.
    pub rate_bytes_per_second: Option<f64>,
    /// 0 to 1, for a leak.
    pub confidence: Option<f64>,
    /// Time into the watch at which the growth began, for a leak.
    pub since_seconds: Option<f64>,
    /// Growth since then, for a leak.
    pub leaked_bytes: Option<u64>,
    /// How the growth runs, for a leak.
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Shape>"))]
    pub shape: Option<Shape>,
    /// Until the nearest limit at this rate, for a leak.
    pub time_to_limit_seconds: Option<f64>,
    /// The level it stays at, when steady.
    pub plateau_bytes: Option<u64>,
    /// How much longer to watch, when undecided or growing.
    pub watch_for_seconds: Option<f64>,
    /// The slowest growth that would have been seen.
    pub floor_bytes_per_second: Option<f64>,
}

impl Judgement {
    /// The judgement of `verdict` on `series`, such as `anon + swap`.
    #[must_use]
    pub fn new(verdict: &Verdict, series: &str) -> Self {
        let mut judgement = Self {
            kind: verdict.kind(),
            reason: crate::output::human::reason(verdict, series),
            rate_bytes_per_second: None,
            confidence: None,
            since_seconds: None,
            leaked_bytes: None,
            shape: None,
            time_to_limit_seconds: None,
            plateau_bytes: None,
            watch_for_seconds: None,
            floor_bytes_per_second: verdict.evidence().floor,
        };
        let seconds = |time: Duration| time.as_secs_f64();
        match verdict {
            Verdict::Undecided { watch_for, .. } => {
                judgement.watch_for_seconds = watch_for.map(seconds);
            }
            Verdict::Steady { plateau, .. } => judgement.plateau_bytes = Some(*plateau),
            Verdict::Growing { rate, watch_for, .. } => {
                judgement.rate_bytes_per_second = Some(rate.bytes_per_second);
                judgement.watch_for_seconds = Some(seconds(*watch_for));
            }
            Verdict::Leak { rate, confidence, since, leaked, shape, time_to_limit, .. } => {
                judgement.rate_bytes_per_second = Some(rate.bytes_per_second);
                judgement.confidence = Some(*confidence);
                judgement.since_seconds = Some(seconds(*since));
                judgement.leaked_bytes = Some(*leaked);
                judgement.shape = Some(*shape);
                judgement.time_to_limit_seconds = time_to_limit.map(seconds);
            }
            _ => {}
        }
        judgement
    }
}

/// The alerts of one watch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Alerted {
    /// Alerts that passed the throttle.
    pub delivered: u64,
    /// The first of them.
    pub told: Vec<AlertRow>,
    /// What went wrong with the command that they are handed to.
    pub problems: Vec<String>,
}

/// The edits of the configuration during one watch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reloads {
    /// Edits that were taken up.
    pub accepted: u64,
    /// Edits that were refused: the configuration before stayed in force.
    pub rejected: u64,
    /// The first of both.
    pub told: Vec<Reloaded>,
}

/// One edit of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reloaded {
    /// Time into the watch, in seconds.
    pub t: f64,
    /// Whether it was taken up.
    pub accepted: bool,
    /// What it changed, or where it was refused and why.
    pub text: String,
}

/// What became of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Recorded {
    /// The file.
    pub path: String,
    /// Why it is not complete; `null` when it is.
    pub error: Option<String>,
}

/// What watching cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cost {
    /// CPU time of memcli, from its start; of the second and later of several runs from the end of the one before.
    pub cpu_seconds: f64,
    /// Peak RSS of memcli.
    pub max_rss_bytes: Option<u64>,
}
