//! One alert as programs read it: the document `memcli.alert/1`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use memleak::Severity;
use mempressure::Level;
use memtrack::source::Target;
use memtrack::{Absent, Reading, Sample, Stamp};
use serde::Serialize;

use crate::alert::{Alert, Cause};

/// The name and version of this document.
pub const SCHEMA: &str = "memcli.alert/1";

/// What a hook reads on its standard input. Sizes are in bytes, times in seconds; what the cause does not have is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The wall clock of the sample that brought it, RFC 3339.
    pub time: String,
    /// The same since the watch began.
    pub at_seconds: f64,
    /// What is watched: `worker(4321)`.
    pub target: String,
    /// How bad it is.
    #[cfg_attr(test, schemars(with = "crate::schema::Severity"))]
    pub severity: Severity,
    /// `leak`, `rate`, `rss` or `level`.
    pub cause: &'static str,
    /// In words.
    pub text: String,
    /// The level that was reached, for a level.
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Level>"))]
    pub level: Option<Level>,
    /// The growth, for a leak and a rate.
    pub growth_bytes_per_second: Option<f64>,
    /// Until the nearest limit at this growth, for a leak under a limit.
    pub time_to_limit_seconds: Option<f64>,
    /// Its RSS then, whatever the cause.
    pub rss_bytes: Option<u64>,
    /// The size that stands for it: of several processes PSS, of a cgroup its working set, of the machine what is used.
    pub size_bytes: Option<u64>,
    /// What that size is: `RSS`, `PSS`, `working set` or `used`.
    pub size_measure: Option<&'static str>,
    /// Alerts on the same subject held back since the last one that was delivered.
    pub suppressed: u64,
    /// Why a size above is `null`, by its name.
    pub absent: BTreeMap<&'static str, String>,
}

/// The sizes of what is watched, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    rss: Reading<u64>,
    size: Reading<(u64, &'static str)>,
}

impl Default for Sizes {
    /// Of nothing that was read.
    fn default() -> Self {
        Self { rss: Err(Absent::NotRead), size: Err(Absent::NotRead) }
    }
}

impl Sizes {
    /// Those of a sample. What a sample has no reading of was not watched.
    #[must_use]
    pub fn of(sample: &Sample) -> Self {
        let watched = match (sample.process.rss, sample.cgroup.usage) {
            (Err(Absent::NotRead), Err(Absent::NotRead)) => Target::System,
            (Err(Absent::NotRead), _) => Target::Cgroup(PathBuf::new()),
            _ => Target::Own,
        };
        Self { rss: sample.process.rss, size: crate::size::size(&watched, sample) }
    }
}

impl Document {
    /// The document of `alert` on `target`.
    #[must_use]
    pub fn new(alert: &Alert, target: &str, at: Stamp, sizes: &Sizes) -> Self {
        let mut document = Self {
            schema: SCHEMA,
            time: humantime::format_rfc3339_millis(at.wall).to_string(),
            at_seconds: at.monotonic.as_secs_f64(),
            target: target.to_owned(),
            severity: alert.severity,
            cause: alert.cause.name(),
            text: alert.text(),
            level: None,
            growth_bytes_per_second: None,
            time_to_limit_seconds: None,
            rss_bytes: sizes.rss.ok(),
            size_bytes: sizes.size.map(|(bytes, _)| bytes).ok(),
            size_measure: sizes.size.map(|(_, measure)| measure).ok(),
            suppressed: alert.suppressed,
            absent: BTreeMap::new(),
        };
        if let Err(why) = sizes.rss {
            document.absent.insert("rss_bytes", why.to_string());
        }
        if let Err(why) = sizes.size {
            document.absent.insert("size_bytes", why.to_string());
        }
        match &alert.cause {
            Cause::Level(transition) => document.level = Some(transition.to),
            Cause::Growth(memleak::Cause::Leak { verdict }) => {
                document.growth_bytes_per_second =
                    verdict.trend().map(|trend| trend.bytes_per_second);
                if let memleak::Verdict::Leak { time_to_limit: Some(time), .. } = &**verdict {
                    document.time_to_limit_seconds = Some(time.as_secs_f64());
                }
            }
            Cause::Growth(memleak::Cause::Rate { growth }) => {
                document.growth_bytes_per_second = Some(*growth);
            }
            // What the rule judged, not what is read since.
            Cause::Growth(memleak::Cause::Rss { rss }) => {
                document.rss_bytes = Some(*rss);
                document.absent.remove("rss_bytes");
            }
            Cause::Growth(_) => {}
        }
        document
    }
}
