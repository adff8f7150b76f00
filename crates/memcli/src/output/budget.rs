//! What people read of a plan: sentences, and the TOML to paste.

use std::fmt::Write as _;

use memtrack::{Rate, Size};

use crate::budget::MOST_WORKERS;
use crate::commands::budget::Document;
use crate::output::human::{BAD, BOLD, Painted, counted};
use crate::output::page;

/// What fits, in sentences, and the TOML to paste; in this many columns.
#[must_use]
pub fn budget(document: &Document, columns: usize) -> String {
    let mut text = String::new();
    let about = document.target.as_deref().unwrap_or("this system");
    let _ = writeln!(text, "{BOLD}budget for {about}{BOLD:#}");
    let mut row = |name: &str, value: String| page::row(&mut text, columns, name, &value);
    row("limit", format!("{} ({})", Size(document.limit_bytes), document.limit_from));
    let Some(plan) = &document.plan else {
        row(
            "next",
            "memcli run -o w.jsonl.gz -- ./worker, then memcli budget w.jsonl.gz: how many fit"
                .into(),
        );
        let _ = write!(text, "\n{}", document.toml);
        return text;
    };
    let estimated = match document.estimated_samples {
        0 => String::new(),
        estimated => format!(", estimated in {estimated} of them"),
    };
    row(
        "seen",
        format!(
            "{} in {}, as {}{estimated}",
            counted(document.samples, "sample"),
            counted(document.runs as u64, "run"),
            document.measure.unwrap_or("nothing")
        ),
    );
    row(
        "needs",
        format!(
            "half of the time at most {}, 99 % {}, peak {}{}",
            Size(plan.p50_bytes),
            Size(plan.p99_bytes),
            Size(plan.peak_bytes),
            if document.peak_estimated { " (estimated)" } else { "" }
        ),
    );
    row(
        "alone",
        format!(
            "a limit of {} keeps its peak below level warning ({:.2})",
            Size(plan.limit_for_one_bytes),
            document.shares.warning
        ),
    );
    row(
        "together",
        format!(
            "{} below level warning, with all at their peak at once",
            fit_or_fits(plan.workers_at_peak)
        ),
    );
    let more = plan.one_more_passes.map_or(String::new(), |passes| {
        format!("; one more passes it {:.0} % of the time", 100.0 * passes)
    });
    row(
        "",
        format!(
            "{} below level critical ({:.2}) for 95 % of the time, if their peaks come independently{more}",
            fit_or_fits(plan.workers),
            document.shares.critical
        ),
    );
    if let Some(rate) = document.leak_bytes_per_second {
        row(
            "beware",
            Painted(BAD, format!(
                "it grew by {} without a bound in sight: every limit is reached, only when differs",
                Rate::per_second(rate)
            ))
            .to_string(),
        );
    }
    if document.measure == Some("RSS + swap") {
        row(
            "beware",
            "shared pages count in full for each worker: without PSS more may fit than this says"
                .into(),
        );
    }
    let _ = write!(text, "\n{}", document.toml);
    text
}

fn fit_or_fits(workers: u32) -> String {
    match workers {
        0 => "not even 1 fits".to_owned(),
        1 => "1 fits".to_owned(),
        MOST_WORKERS => format!("at least {MOST_WORKERS} fit (more were not tried)"),
        n => format!("{n} fit"),
    }
}
