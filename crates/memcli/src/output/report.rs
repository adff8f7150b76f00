//! What people read of a trace: `report` and `replay`.

use std::fmt::Write as _;
use std::time::SystemTime;

use mempressure::BudgetTotal;
use memtrack::{Size, Span};

use crate::exit;
use crate::output::chart::Chart;
use crate::output::drawn::{Drawn, charts};
use crate::output::growth::growth_row;
use crate::output::human::{
    BOLD, Painted, WARN, counted, end, level_words, peak, peak_line, seconds, shortened,
    verdict_style,
};
use crate::output::page;
use crate::recording::Recording;
use crate::report::Run;
use crate::size::{PSS, RSS};
use crate::summary::End;
use crate::trace::Header;
use crate::trace::tree::{ProcessRow, ProcessesRow};

/// Lines of the chart in a report.
const CHART_LINES: usize = 10;
/// From so many samples on it is said how they are spread.
const SPREAD: u64 = 10;
/// Processes that a report lists.
const PROCESSES: usize = 5;
/// Events that a report lists.
const EVENTS: usize = 12;

/// What a trace holds: a chart of what is watched, and what follows from it.
#[must_use]
pub fn report(run: &Run, recording: &Recording, columns: usize) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{BOLD}{}{BOLD:#}  {}", run.target, run.file);
    if let Some(command) = &run.command {
        let _ = writeln!(text, "  {}", shortened(&command.join(" "), columns.saturating_sub(2)));
    }
    let every = every(run);
    let _ = writeln!(
        text,
        "  {} over {}{every},{} by {}",
        counted(run.samples, "sample"),
        Span(seconds(run.duration_seconds)),
        run.started.as_ref().map_or(String::new(), |started| format!(" from {started}")),
        run.writer
    );
    if let Some(damage) = &run.damage {
        let _ = writeln!(text, "  {}", Painted(WARN, format!("incomplete: {damage}")));
    }
    let _ = writeln!(text);
    let letters = run.news().take(EVENTS).zip('a'..='z');
    let marks: Vec<_> = letters.clone().map(|(event, c)| (seconds(event.t), c)).collect();
    for (n, Drawn { name, curve, fit, times, .. }) in charts(run, recording).into_iter().enumerate()
    {
        let chart = Chart { curve, fit, times, marks: &marks, width: columns, height: CHART_LINES };
        let drawn = chart.draw();
        if !drawn.is_empty() {
            let sum = if n > 0 { ", of all processes: what grows" } else { "" };
            let _ = writeln!(text, "  {BOLD}{name}{BOLD:#}{sum}");
        }
        text.push_str(&drawn);
    }
    for (event, letter) in letters {
        let line =
            format!("  {letter} {:>9}  {}", Span(seconds(event.t)).to_string(), event.text());
        let options = textwrap::Options::new(columns).subsequent_indent("               ");
        let _ = writeln!(text, "{}", textwrap::fill(&line, options));
    }
    let left = run.news().skip(EVENTS).count() as u64 + run.more_events;
    if left > 0 {
        let _ = writeln!(text, "    and {} more", counted(left, "event"));
    }
    let _ = writeln!(text);
    report_rows(&mut text, run, recording, columns);
    text
}

/// Whether the processes that are listed were recorded when there was not much more of them than that.
pub(super) fn near_largest(run: &Run) -> bool {
    let rss = run.processes.as_ref().map(ProcessesRow::rss);
    // A quarter more is recorded anew.
    rss.zip(run.peak.rss_bytes).is_some_and(|(rss, peak)| rss.saturating_add(rss / 4) >= peak)
}

/// The time between two samples, where it is known: what was asked for is not what was done where sampling went faster towards a
/// limit, or was held up.
pub(super) fn every(run: &Run) -> String {
    /// A mean interval that is off by more than this is another one.
    const OFF: f64 = 0.1;
    let asked = run.interval_seconds;
    if asked <= 0.0 {
        return String::new();
    }
    let between = run.samples.saturating_sub(1) as f64;
    let expected = run.duration_seconds / asked;
    // One more or less is a matter of where it ends.
    let as_asked = (between - expected).abs() <= (OFF * expected).max(1.0);
    let asked = Span(seconds(asked));
    if as_asked {
        format!(", one every {asked}")
    } else {
        format!(" (one every {asked} was asked for)")
    }
}

/// The first line of a replay.
#[must_use]
pub fn replay_of(header: &Header) -> String {
    let label = &header.target.label;
    if header.started == SystemTime::UNIX_EPOCH {
        // What an import that tells no wall clock stands at.
        return format!("{BOLD}replay of {label}{BOLD:#}");
    }
    let started = humantime::format_rfc3339_seconds(header.started);
    format!("{BOLD}replay of {label}{BOLD:#}, recorded from {started}")
}

/// What a replay came to, beside what the watch itself came to.
#[must_use]
pub fn replayed(recorded: &Run, recording: &Recording, columns: usize) -> String {
    let mut text = String::new();
    let seen = recording.pipeline.seen();
    let _ = writeln!(
        text,
        "{BOLD}{} of {} over {}{BOLD:#}",
        counted(recorded.samples, "sample"),
        recorded.target,
        Span(seconds(recorded.duration_seconds))
    );
    let mut row = |name: &str, value: String| page::row(&mut text, columns, name, &value);
    row("level", level_words(recording.pipeline.level(), seen.level));
    if recording.events.iter().any(|event| event.level.is_some()) {
        row("recorded", level_words(recorded.level, recorded.highest_level));
    }
    let kind = recorded.verdict.kind;
    row("verdict", format!("{}: {}", Painted(verdict_style(kind), kind), recorded.verdict.reason));
    text
}

/// What is watched for growth, as the name of a row: of a cgroup and of the machine it is their size.
fn row_name(series: &'static str) -> &'static str {
    match series {
        "anon + swap" => "anon+swap",
        "RSS" => "RSS",
        _ => "size",
    }
}

/// How the watch ended, and the code that memcli exited with where it is not the one that follows; `None` when the trace does not say.
pub(super) fn ended(run: &Run) -> Option<String> {
    let how = run.end?;
    let mut text = end(how, run.command.is_some(), seconds(run.duration_seconds));
    let follows = match how {
        End::Exited { code } => u8::try_from(code).ok(),
        End::Killed { signal } | End::Interrupted { signal } => Some(exit::of_signal(signal)),
        _ => Some(exit::OK),
    };
    if let Some(code) = run.exit_code.filter(|code| follows != Some(*code)) {
        let _ = write!(text, "; memcli exited with {code}");
    }
    Some(text)
}

/// The budget it was watched under.
pub(super) fn budget(run: &Run, recording: &Recording) -> Option<String> {
    let budget = match recording.header.budget()? {
        BudgetTotal::Size(size) => size.to_string(),
        share => format!("{share} of the limit around it"),
    };
    let edited = run.events.iter().any(|event| event.config.is_some());
    let then = if edited { " when it began; the configuration was edited since" } else { "" };
    Some(budget + then)
}

fn report_rows(text: &mut String, run: &Run, recording: &Recording, columns: usize) {
    let mut row = |name: &str, value: String| page::row(text, columns, name, &value);
    row("ended", ended(run).unwrap_or("not known: the trace does not say".into()));
    row("peak", peak_line(peak(&run.peak, &run.absent)));
    let kind = run.verdict.kind;
    row("growth", growth_row(&run.growth, kind));
    row("verdict", format!("{}: {}", Painted(verdict_style(kind), kind), run.verdict.reason));
    row("level", level_words(run.level, run.highest_level));
    if let Some(budget) = budget(run, recording) {
        row("budget", budget);
    }
    let spreads = &run.percentiles;
    let sizes = match run.peak.size_measure {
        Some(PSS) => ("PSS", spreads.pss),
        _ => ("RSS", spreads.rss),
    };
    let watched = (row_name(recording.pipeline.series()), spreads.watched);
    // Of an import both may be RSS.
    for (name, spread) in
        [Some(sizes), Some(watched).filter(|(name, _)| *name != sizes.0)].into_iter().flatten()
    {
        let Some(p) = spread.filter(|_| run.samples >= SPREAD) else { continue };
        let estimated = match spreads.pss_estimated_samples {
            samples @ 1.. if name == PSS => {
                format!("; estimated in {samples} of {} samples", run.samples)
            }
            _ => String::new(),
        };
        row(
            name,
            format!(
                "half of the time at most {}, 95 % {}, 99 % {}, never below {}{estimated}",
                Size(p.p50_bytes),
                Size(p.p95_bytes),
                Size(p.p99_bytes),
                Size(p.min_bytes)
            ),
        );
    }
    // One process alone is what the figures above are of.
    if let Some(processes) = run.processes.as_ref().filter(|tree| tree.rows.len() > 1) {
        let count = processes.rows.len() as u64 + processes.more;
        let at = Span(seconds(processes.t));
        let when = if near_largest(run) { ", near its largest" } else { "" };
        row("tree", format!("{}, recorded at {at}{when}", counted(count, "process")));
        let mut largest: Vec<_> = processes.rows.iter().collect();
        let by_pss = processes.rows.iter().all(|process| process.pss.is_some());
        let measure = if by_pss { PSS } else { RSS };
        let size = |process: &ProcessRow| if by_pss { process.pss } else { process.rss };
        largest.sort_by_key(|process| std::cmp::Reverse(size(process)));
        for process in largest.into_iter().take(PROCESSES) {
            let bytes = size(process).map_or("?".to_owned(), |bytes| Size(bytes).to_string());
            let command = process.command.as_deref().unwrap_or_default();
            let room = columns.saturating_sub(34);
            row(
                "",
                format!("{bytes:>10} {measure} {:>7} {}", process.pid, shortened(command, room)),
            );
        }
    }
    if run.lost > 0 {
        row("lost", counted(run.lost, "sample"));
    }
}
