//! One alert as programs read it: the document `memcli.alert/1`.

use memleak::Severity;
use mempressure::Level;
use memtrack::Stamp;
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
    /// The size, for an RSS above its threshold.
    pub rss_bytes: Option<u64>,
    /// Alerts on the same subject held back since the last one that was delivered.
    pub suppressed: u64,
}

impl Document {
    /// The document of `alert` on `target`.
    #[must_use]
    pub fn new(alert: &Alert, target: &str, at: Stamp) -> Self {
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
            rss_bytes: None,
            suppressed: alert.suppressed,
        };
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
            Cause::Growth(memleak::Cause::Rss { rss }) => document.rss_bytes = Some(*rss),
            Cause::Growth(_) => {}
        }
        document
    }
}
