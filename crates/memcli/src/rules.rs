//! The plain rules beside the verdict, under their own name: what `leak` and `report` tell of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use memleak::{RuleReport, Severity};
use memtrack::{Rate, Size};
use serde::Serialize;

use crate::alert;

/// What the rules say of the RSS. They cannot tell a leak from a warm-up; that is what the verdict is for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RulesRow {
    /// The median over the first `leak.baseline_window`.
    pub baseline_bytes: Option<u64>,
    /// Least-squares growth over the last `leak.window`.
    pub growth_bytes_per_second: Option<f64>,
    /// Samples in that window.
    pub samples: u64,
    /// What the growth earns; `null` when it is below `leak.warning_rate` or near its own error.
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Severity>"))]
    pub growth_severity: Option<Severity>,
    /// The last RSS.
    pub rss_bytes: Option<u64>,
    /// What the RSS earns; `null` below `leak.rss_warning`, or where no such threshold is set.
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Severity>"))]
    pub rss_severity: Option<Severity>,
}

impl RulesRow {
    /// The row of `report`.
    #[must_use]
    pub fn new(report: &RuleReport) -> Self {
        Self {
            baseline_bytes: report.baseline,
            growth_bytes_per_second: report.growth,
            samples: report.samples,
            growth_severity: report.by_rate,
            rss_bytes: report.rss,
            rss_severity: report.by_rss,
        }
    }

    /// Says in `absent` why sizes of `report` are `null`, by their paths.
    pub fn give_reasons(report: &RuleReport, absent: &mut BTreeMap<&'static str, String>) {
        let why = |why: Option<memleak::Waits>| match (report.rss, why) {
            (None, _) => "RSS was not read".to_owned(),
            (_, Some(why)) => why.to_string(),
            (_, None) => "too few samples for a slope".to_owned(),
        };
        for (missing, path, why) in [
            (
                report.baseline.is_none(),
                "rules.baseline_bytes",
                why(Some(memleak::Waits::Baseline)),
            ),
            (report.growth.is_none(), "rules.growth_bytes_per_second", why(report.waits)),
            (report.rss.is_none(), "rules.rss_bytes", why(None)),
        ] {
            if missing {
                absent.insert(path, why);
            }
        }
    }
}

/// What `report` says, in one line; `None` when no RSS was read.
#[must_use]
pub fn line(report: &RuleReport) -> Option<String> {
    let rss = report.rss?;
    let earned = |severity: Option<Severity>| {
        severity.map_or(String::new(), |severity| format!(" ({})", alert::word(severity)))
    };
    let mut text = "by the plain rules: ".to_owned();
    let _ = match (report.growth, report.waits) {
        (Some(growth), _) => {
            write!(text, "growth of RSS {}{}", Rate::per_second(growth), earned(report.by_rate))
        }
        (None, Some(why)) => write!(text, "no growth, since {why}"),
        (None, None) => write!(text, "no growth"),
    };
    let _ = write!(text, "; RSS {}{}", Size(rss), earned(report.by_rss));
    Some(text)
}
