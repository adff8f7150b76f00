//! What the detector says about a series, and on what grounds.

use std::fmt;
use std::time::Duration;

use crate::kinds::Outside;
use crate::parts::PartGrowth;

/// A slope with its interval. All in bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Trend {
    /// The estimate.
    pub bytes_per_second: f64,
    /// Lower end of the 95 % interval, widened for samples that resemble their neighbours.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// How the levels of a series are spread. All in bytes; quantiles are of the history's buckets, each over equal time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Spread {
    /// The lowest sample.
    pub min: u64,
    /// 10 % of the time was spent below.
    pub p10: u64,
    /// Half of the time was spent below.
    pub p50: u64,
    /// 90 % of the time was spent below.
    pub p90: u64,
    /// The highest sample.
    pub max: u64,
}

/// What a verdict rests on. The same for every kind, so that a reader can always ask how fast, over how long and how sure.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Evidence {
    /// Samples seen, over all segments.
    pub samples: u64,
    /// Time from the first sample to the last.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub watched: Duration,
    /// Times the level fell as a restart does, or the caller said so.
    pub restarts: u32,
    /// The slope now, when there are samples enough to fit one.
    pub trend: Option<Trend>,
    /// Median level over the baseline window at the start of the present segment, in bytes.
    pub baseline: Option<u64>,
    /// Standard deviation around the trend, robust to outliers, in bytes: of the middle levels of 48 equal parts of the time
    /// that decided, so less than that of the samples where each part holds many.
    pub noise: Option<u64>,
    /// The slowest growth that the tests of size would have told from this noise and these falls over this time, in bytes per
    /// second; where nothing grows, never below the upper end of the interval of the slope.
    pub floor: Option<f64>,
    /// Mann-Kendall score of the window that decided, corrected for autocorrelation; in standard deviations.
    pub score: Option<f64>,
    /// Period of a cycle that was found and taken into account.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds::option"))]
    pub season: Option<Duration>,
    /// How the levels are spread over the present segment.
    pub spread: Option<Spread>,
    /// Which parts of the program grow, by its own account, the fastest first; empty unless a worker was told of parts
    /// and the series grows.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub parts: Vec<PartGrowth>,
    /// Growth of kinds of memory that the series leaves out, the most first; empty where nobody told the verdict of it
    /// ([`Verdict::name_outside`]).
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub outside: Vec<Outside>,
}

/// Why nothing can be said yet. Displays as a fragment: "the growth is within the noise".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Why {
    /// Fewer samples than the configured least.
    TooFewSamples,
    /// Samples enough, but over too short a time.
    TooShort,
    /// The process has just started, or started again.
    Restarted,
    /// It has risen, but no further than its noise reaches.
    WithinNoise,
    /// It grows, by less so far than the configured least.
    BelowLeast,
    /// It has risen in a way that a warm-up or a cache that fills also does: slowing down, or in one or two steps.
    Settling,
    /// It swings, and has not been watched for two full swings.
    Swinging,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Why::TooFewSamples => "too few samples",
            Why::TooShort => "watched for too short a time",
            Why::Restarted => "it has just started",
            Why::WithinNoise => "the growth is within the noise",
            Why::BelowLeast => "it grows, by less so far than counts as growth",
            Why::Settling => "it has risen, and may still be warming up or filling a cache",
            Why::Swinging => "it swings, and has not been watched for two full swings",
        })
    }
}

/// How the growth of a leak runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Shape {
    /// At one speed.
    Linear,
    /// Faster and faster.
    Accelerating,
    /// Slower, but without an end in sight.
    Decelerating,
    /// In steps with rests between them.
    Stepwise,
}

/// The answer: is it growing without end.
///
/// Growth is never proof. A cache that is still filling looks like a leak to anyone who only sees its size; the words
/// for every kind say so.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "kind", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing can be said yet.
    #[non_exhaustive]
    Undecided {
        /// Why not.
        why: Why,
        /// How much longer to watch, at this noise, until it can be. `None`: not known yet.
        #[cfg_attr(feature = "serde", serde(with = "crate::seconds::option"))]
        watch_for: Option<Duration>,
        /// What it rests on.
        evidence: Evidence,
    },
    /// It does not grow faster than the floor in the evidence.
    #[non_exhaustive]
    Steady {
        /// The level it stays at, or has fallen to where the slope is surely below 0, in bytes.
        plateau: u64,
        /// What it rests on.
        evidence: Evidence,
    },
    /// It grows, and nothing bounds it so far; not confirmed by going on for long enough.
    #[non_exhaustive]
    Growing {
        /// The growth.
        rate: Trend,
        /// How much longer it must go on like this to be called a leak.
        #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
        watch_for: Duration,
        /// What it rests on.
        evidence: Evidence,
    },
    /// Growth that went on after it was first seen, above the noise, with no sign of a bound.
    #[non_exhaustive]
    Leak {
        /// The growth now, with its interval.
        rate: Trend,
        /// 0 to 1: how far the growth stands above the noise and how long it has gone on; not a probability that
        /// memory was lost, which no size can show.
        confidence: f64,
        /// When the growth began, on the clock of the samples.
        #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
        since: Duration,
        /// Growth since then, in bytes.
        leaked: u64,
        /// How it runs.
        shape: Shape,
        /// When the limit is reached at this rate, if the detector was told one.
        #[cfg_attr(feature = "serde", serde(with = "crate::seconds::option"))]
        time_to_limit: Option<Duration>,
        /// What it rests on.
        evidence: Evidence,
    },
}

impl Verdict {
    /// What is said before the first sample.
    pub(crate) fn unseen() -> Self {
        Verdict::Undecided {
            why: Why::TooFewSamples,
            watch_for: None,
            evidence: Evidence::default(),
        }
    }

    /// `undecided`, `steady`, `growing` or `leak`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Verdict::Undecided { .. } => "undecided",
            Verdict::Steady { .. } => "steady",
            Verdict::Growing { .. } => "growing",
            Verdict::Leak { .. } => "leak",
        }
    }

    /// Whether it is [`Verdict::Leak`].
    #[must_use]
    pub fn is_leak(&self) -> bool {
        matches!(self, Verdict::Leak { .. })
    }

    /// What it rests on.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        match self {
            Verdict::Undecided { evidence, .. }
            | Verdict::Steady { evidence, .. }
            | Verdict::Growing { evidence, .. }
            | Verdict::Leak { evidence, .. } => evidence,
        }
    }

    /// Names the parts that grow in the evidence of growth.
    #[cfg(feature = "worker")]
    pub(crate) fn name_parts(&mut self, parts: Vec<PartGrowth>) {
        if let Verdict::Growing { evidence, .. } | Verdict::Leak { evidence, .. } = self {
            evidence.parts = parts;
        }
    }

    /// Names in the evidence, whatever the kind, what grows outside the series: see [`Kinds::outside`](crate::Kinds::outside).
    pub fn name_outside(&mut self, outside: Vec<Outside>) {
        match self {
            Verdict::Undecided { evidence, .. }
            | Verdict::Steady { evidence, .. }
            | Verdict::Growing { evidence, .. }
            | Verdict::Leak { evidence, .. } => evidence.outside = outside,
        }
    }

    /// The slope now with its interval, whatever the kind; `None` while there are too few samples to fit one.
    #[must_use]
    pub fn trend(&self) -> Option<Trend> {
        match self {
            Verdict::Growing { rate, .. } | Verdict::Leak { rate, .. } => Some(*rate),
            Verdict::Undecided { evidence, .. } | Verdict::Steady { evidence, .. } => {
                evidence.trend
            }
        }
    }

    /// The verdict in plain words, without figures: what it is, and what else it could be.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self {
            Verdict::Undecided { why, .. } => match why {
                Why::TooFewSamples | Why::TooShort => "not watched long enough to say",
                Why::Restarted => "it has just started; nothing can be said yet",
                Why::WithinNoise => {
                    "no growth that stands out from the noise; a slow leak could still hide in it"
                }
                Why::BelowLeast => {
                    "it grows, by less so far than `leak.least_growth`; watch longer to tell"
                }
                Why::Settling => {
                    "it has risen, as a warm-up or a cache that fills does; watch longer to tell"
                }
                Why::Swinging => {
                    "it swings; two full swings are needed to tell a rise from a swing"
                }
            },
            Verdict::Steady { .. } => "steady: no growth above the floor",
            Verdict::Growing { .. } => {
                "growing, not confirmed: it could be a leak, a warm-up or a cache that fills"
            }
            Verdict::Leak { .. } => {
                "growing without a bound in sight: a leak, or a cache without a limit; the size alone cannot tell which"
            }
        }
    }
}

/// The verdict became one of another kind.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Change {
    /// The time of the sample that brought it.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub at: Duration,
    /// What was said before.
    pub from: Verdict,
    /// What is said now.
    pub to: Verdict,
}
