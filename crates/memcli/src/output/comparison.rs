//! What people read of a comparison: a table.

use std::fmt::Write as _;

use memtrack::Size;

use crate::comparison::{Comparison, Metric, Outcome};
use crate::output::human::{BAD, BOLD, GOOD, Painted, WARN, counted, signed};
use crate::output::page;

/// Columns that a row needs on one line.
const WIDE: usize = 114;

/// Two sides in a table; where there is little room each number takes two lines.
#[must_use]
pub fn comparison(comparison: &Comparison, columns: usize) -> String {
    let wide = columns >= WIDE;
    let mut text = String::new();
    let side = |name: &str, runs: usize| format!("{name} ({})", counted(runs as u64, "run"));
    let (base, new) = (side("base", comparison.base.runs), side("new", comparison.new.runs));
    let middle = if wide { format!("{:<30} {:>6}  ", "95 % interval", "p") } else { String::new() };
    let _ = writeln!(
        text,
        "{BOLD}{:<8} {base:>14} {new:>14} {:>14}  {middle}verdict{BOLD:#}",
        "", "change"
    );
    let peak = format!("peak {}", comparison.peak_measure);
    for row in &comparison.rows {
        let rate = row.metric == Metric::Growth;
        let name = match row.metric {
            Metric::Peak if comparison.peak_measure.len() <= 3 => peak.as_str(),
            Metric::Peak => "peak",
            Metric::Steady => "steady",
            Metric::Growth => "growth",
        };
        let value = |x: f64| {
            if rate { signed(x, x) } else { Size(x.max(0.0) as u64).to_string() }
        };
        // Growth may be zero before, so it has no share.
        let change = |x: f64| {
            if rate {
                signed(x, x)
            } else if row.base > 0.0 {
                format!("{:+.1} %", 100.0 * x / row.base)
            } else {
                "no share".to_owned()
            }
        };
        let interval = match (row.low, row.high) {
            (Some(low), Some(high)) => format!("{} to {}", change(low), change(high)),
            _ => "n = 1, not tested".to_owned(),
        };
        let p = row.p.map_or("-".to_owned(), |p| {
            if p < 0.001 { "<0.001".into() } else { format!("{p:.3}") }
        });
        let middle = if wide { format!("{interval:<30} {p:>6}  ") } else { String::new() };
        let _ = writeln!(
            text,
            "{name:<8} {:>14} {:>14} {:>14}  {middle}{}",
            value(row.base),
            value(row.new),
            change(row.change),
            outcome(row.verdict)
        );
        if !wide {
            let _ = match (row.low, row.p) {
                (_, Some(_)) => writeln!(text, "{:<9}95 %: {interval}, p {p}", ""),
                (Some(_), None) => writeln!(text, "{:<9}95 %: {interval}", ""),
                (None, None) => writeln!(text, "{:<9}{interval}", ""),
            };
        }
    }
    if comparison.series.is_none() {
        let _ = writeln!(
            text,
            "level and growth are not compared: not every run is watched by the same size"
        );
    } else if comparison.rows.len() < 2 {
        let _ = writeln!(text, "the curves have too few samples in common to be compared");
    }
    if comparison.peak_estimated {
        let why = "PSS was not measured at its highest: the peak of a run is an estimate";
        page::row(&mut text, columns, "beware", why);
    }
    if comparison.wanders {
        let why = "it wanders slowly, and how far one run lies from the next is not seen in one of each: compare several, \
                   as with --runs 5";
        page::row(&mut text, columns, "beware", why);
    }
    if comparison.base.leaking + comparison.new.leaking > 0 {
        let _ = writeln!(
            text,
            "leaking  {:>14} {:>14}",
            comparison.base.leaking, comparison.new.leaking
        );
    }
    let _ = writeln!(text, "new against base: {}", outcome(comparison.verdict));
    text
}

fn outcome(outcome: Outcome) -> Painted<&'static str> {
    match outcome {
        Outcome::Better => Painted(GOOD, "better"),
        Outcome::NoDifference => Painted(GOOD, "no difference found"),
        Outcome::NotTested => Painted(WARN, "not tested"),
        Outcome::Undecided => Painted(WARN, "undecided"),
        Outcome::Worse => Painted(BAD, "worse"),
    }
}
