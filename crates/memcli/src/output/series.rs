//! What people read of several runs: a table, and the gates over them.

use std::fmt::Write as _;

use memtrack::{Size, Span};

use crate::output::human::{
    BAD, BOLD, Painted, counted, judged, seconds, shortened, signal_name, signed,
};
use crate::series::{Series, Spread};
use crate::size::RSS;

/// Room for the command.
const COMMAND: usize = 48;

/// The table of a series, in this many columns.
#[must_use]
pub fn series(series: &Series, columns: usize) -> String {
    let mut text = String::new();
    let runs = series.runs.len();
    let command = shortened(&series.command.join(" "), COMMAND);
    let warmup = match series.warmup {
        0 => String::new(),
        warmup => format!(" after {} to warm up", counted(u64::from(warmup), "run")),
    };
    let _ =
        writeln!(text, "{BOLD}memcli: {command}, {}{warmup}{BOLD:#}", counted(runs as u64, "run"));
    if runs > 0 {
        text.push_str(&table(series));
    }
    for gate in &series.gates {
        let _ = writeln!(text, "  {:<9} {}", "gate", judged(gate));
    }
    if let Some(trace) = series.runs.iter().find_map(|run| run.trace.as_ref()) {
        let _ = writeln!(text, "  {:<9} {}", "trace", trace.path);
    }
    if (runs as u32) < series.asked || series.interrupted_by.is_some() {
        let why = match series.interrupted_by {
            Some(signal) => format!("{} ended them", signal_name(signal)),
            None => "the last one failed".to_owned(),
        };
        let missing = format!("{runs} of {} runs: {why}", series.asked);
        let _ = writeln!(text, "  {:<9} {}", "ended", Painted(BAD, missing));
    }
    if let Some(comparison) = &series.baseline {
        let _ = write!(text, "{}", super::comparison::comparison(comparison, columns));
    }
    text
}

/// How what the runs came to is spread.
fn table(series: &Series) -> String {
    let mut text = String::new();
    let runs = series.runs.len();
    let size = |bytes: f64| Size(bytes.max(0.0) as u64).to_string();
    let time = |time: f64| Span(seconds(time)).to_string();
    let mut rows = vec![["", "median", "spread", "mean (95 %)"].map(str::to_owned)];
    let mut row = |name: &str, spread: Option<Spread>, show: &dyn Fn(f64, f64) -> String| {
        let Some(spread) = spread else {
            rows.push([name.to_owned(), "unknown".to_owned(), String::new(), String::new()]);
            return;
        };
        let show = |value: f64| show(value, spread.median);
        let range = format!("{} to {}", show(spread.min), show(spread.max));
        let mean = match (spread.low, spread.high) {
            (Some(low), Some(high)) => format!("{} to {}", show(low), show(high)),
            _ => "one run has none".to_owned(),
        };
        rows.push([name.to_owned(), show(spread.median), range, mean]);
    };
    let (measure, peak) = match series.peak_measure {
        Some(measure) => (measure, series.peak_bytes),
        None => (RSS, series.peak_rss_bytes),
    };
    row(format!("peak {measure}").trim_end_matches(" size"), peak, &|bytes, _| size(bytes));
    row("mean RSS", series.mean_rss_bytes, &|bytes, _| size(bytes));
    row("growth", series.growth_bytes_per_second, &signed);
    row("time", series.duration_seconds, &|value, _| time(value));
    let widest = rows.iter().map(|[_, _, range, _]| range.chars().count()).max().unwrap_or(0);
    for [name, median, range, mean] in &rows {
        let line = format!("  {name:<9} {median:>11}   {range:<widest$}   {mean}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let verdicts = &series.verdicts;
    let reached: Vec<String> = [
        ("leak", verdicts.leak),
        ("growing", verdicts.growing),
        ("steady", verdicts.steady),
        ("undecided", verdicts.undecided),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(name, count)| format!("{name} in {count} of {runs}"))
    .collect();
    let _ = writeln!(text, "  {:<9} {}", "verdict", reached.join(", "));
    text
}
