//! A report as one page: no script, nothing from outside, light or dark as the reader has it.

use std::fmt::{self, Write as _};
use std::time::Duration;

use memleak::{Evidence, Verdict};
use memtrack::{Rate, Size, Span};

use crate::curve::Percentiles;
use crate::output::drawn::{Drawn, charts};
use crate::output::growth::growth_row;
use crate::output::{human, report, svg};
use crate::recording::Recording;
use crate::report::Run;
use crate::size::{PSS, RSS};

const STYLE: &str = include_str!("report.css");

/// The page of these runs.
#[must_use]
pub fn page(runs: &[(&Run, &Recording)]) -> String {
    let title = match runs {
        [(run, _)] => format!("{} - memory report", run.target),
        _ => format!("{} runs - memory report", runs.len()),
    };
    let sections: String =
        runs.iter().enumerate().map(|(n, (run, recording))| section(run, recording, n)).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{sections}</main>\n<footer>Made by {} from recordings; the page needs no network.</footer>\n\
         </body>\n</html>\n",
        escape(&title),
        concat!("memcli ", env!("CARGO_PKG_VERSION")),
    )
}

/// Text as it may stand between tags and in attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

fn section(run: &Run, recording: &Recording, n: usize) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "<section>\n<h1>{}</h1>", escape(&run.target));
    if let Some(command) = &run.command {
        let _ =
            writeln!(out, "<p class=\"command\"><code>{}</code></p>", escape(&command.join(" ")));
    }
    let _ = writeln!(out, "<p class=\"facts\">{}</p>", escape(&facts(run, recording)));
    if let Some(damage) = &run.damage {
        let _ = writeln!(out, "<p class=\"notice\">Incomplete: {}.</p>", escape(damage));
    }
    let _ = writeln!(out, "<div class=\"cards\">");
    for (name, class, value, below) in cards(run) {
        let _ = writeln!(
            out,
            "<div class=\"card {class}\"><span>{name}</span><strong>{}</strong><small>{}</small></div>",
            escape(&value),
            escape(&below)
        );
    }
    let _ = writeln!(out, "</div>");
    for (m, drawn) in charts(run, recording).iter().enumerate() {
        let _ = writeln!(
            out,
            "<figure>\n<div class=\"chart\">{}</div>\n{}</figure>",
            svg::chart(run, recording, drawn, &format!("plot{n}-{m}")),
            legend(run, recording, drawn)
        );
    }
    events(&mut out, run);
    evidence(&mut out, run, recording);
    spreads(&mut out, run, recording.pipeline.series());
    processes(&mut out, run);
    out.push_str("</section>\n");
    out
}

fn facts(run: &Run, recording: &Recording) -> String {
    let mut text = format!("{} samples over {}", run.samples, Span(seconds(run.duration_seconds)));
    text.push_str(&report::every(run));
    let ended = report::ended(run);
    let _ = write!(text, "; {}", ended.as_deref().unwrap_or("how it ended is not known"));
    if let Some(started) = &run.started {
        let _ = write!(text, "; from {started}");
    }
    if let Some(machine) = &run.machine {
        let _ = write!(
            text,
            " on {}, {}, {} processors",
            machine.kernel, machine.architecture, machine.processors
        );
    }
    if let Some(budget) = report::budget(run, recording) {
        let _ = write!(text, "; budget {budget}");
    }
    let _ = write!(text, "; recorded by {} in {}", run.writer, run.file);
    text
}

fn cards(run: &Run) -> [(&'static str, &'static str, String, String); 4] {
    let verdict = match run.verdict.kind {
        "steady" => "good",
        "leak" => "bad",
        _ => "warn",
    };
    let level = match run.highest_level {
        mempressure::Level::Normal => "good",
        mempressure::Level::Critical | mempressure::Level::Emergency => "bad",
        _ => "warn",
    };
    // As everywhere else, in two lines.
    let growth = growth_row(&run.growth, run.verdict.kind);
    let (rate, interval) = match growth.split_once(" (") {
        Some((rate, interval)) => (rate.to_owned(), interval.replacen(')', "", 1)),
        None => (growth, String::new()),
    };
    let (peak, how) = human::peak(&run.peak, &run.absent);
    [
        (
            "Verdict",
            verdict,
            run.verdict.kind.to_owned(),
            match run.verdict.confidence {
                Some(confidence) => format!("confidence {:.0} %", 100.0 * confidence),
                None => "judged from all samples".to_owned(),
            },
        ),
        ("Growth", "", rate, interval),
        ("Peak", "", peak, how),
        ("Level", level, run.level.to_string(), format!("{} at its highest", run.highest_level)),
    ]
}

fn legend(run: &Run, recording: &Recording, drawn: &Drawn<'_>) -> String {
    let mut out = String::from("<figcaption>");
    let mut item = |class: &str, text: &str| {
        let _ = write!(out, "<span><i class=\"{class}\"></i>{}</span>", escape(text));
    };
    let several = run.peak.size_measure == Some(PSS);
    let what = match drawn.name {
        PSS => {
            "PSS of all processes: what they share counts once; estimated between two measurements"
        }
        "anon + swap" if several => {
            "private memory of all processes, where a leak shows"
        }
        "anon + swap" => "private memory: anonymous and swap, where a leak shows",
        name => name,
    };
    item("curve", what);
    if let Some((name, _)) = drawn.beside {
        item("rss", name);
    }
    if drawn.fit.is_some() {
        item("fit", "fitted growth with its 95 % interval");
    }
    for (level, class) in [
        (mempressure::Level::Warning, "warning"),
        (mempressure::Level::Critical, "critical"),
        (mempressure::Level::Emergency, "emergency"),
    ] {
        let was =
            |event: &crate::trace::EventRow| event.level.as_ref().is_some_and(|l| l.to == level);
        if run.events.iter().any(was) {
            item(class, &format!("level {level}"));
        }
    }
    if let Some((bytes, what)) = svg::limit(recording) {
        item("limit", &format!("{what} {}", Size(bytes)));
    }
    out.push_str("</figcaption>\n");
    out
}

fn events(out: &mut String, run: &Run) {
    if run.news().next().is_none() {
        return;
    }
    out.push_str("<h2>What happened</h2>\n<table class=\"events\">\n");
    let mut letters = svg::letters();
    for event in run.news().take(200) {
        let letter = letters.next().map_or(String::new(), String::from);
        let _ = writeln!(
            out,
            "<tr><th>{letter}</th><td>{}</td><td>{}</td></tr>",
            Span(seconds(event.t)),
            escape(&event.text())
        );
    }
    out.push_str("</table>\n");
    let left = run.news().skip(200).count() as u64 + run.more_events;
    if left > 0 {
        let _ = writeln!(out, "<p>And {left} more.</p>");
    }
}

/// What the verdict rests on, a sentence for each fact.
fn evidence(out: &mut String, run: &Run, recording: &Recording) {
    let verdict = recording.verdict();
    let _ = writeln!(
        out,
        "<h2>Why: {}</h2>\n<p>{}.</p>\n<ul>",
        escape(verdict.kind()),
        escape(&capitalised(&human::reason(&verdict, recording.pipeline.series())))
    );
    for sentence in sentences(&verdict, run) {
        let _ = writeln!(out, "<li>{}</li>", escape(&sentence));
    }
    out.push_str("</ul>\n");
}

fn sentences(verdict: &Verdict, run: &Run) -> Vec<String> {
    let mut said = Vec::new();
    let evidence: &Evidence = verdict.evidence();
    said.push(format!("{} samples over {} were judged.", evidence.samples, Span(evidence.watched)));
    if let Some(trend) = verdict.trend() {
        said.push(format!(
            "The slope is {}. Samples that resemble their neighbours widen the interval.",
            super::growth::growth_beside(verdict.kind(), trend)
        ));
    }
    if let Verdict::Leak { confidence, since, leaked, shape, .. } = verdict {
        said.push(format!(
            "It began {} into the watch and has kept {} since; it runs {}.",
            Span(*since),
            Size(*leaked),
            match shape {
                memleak::Shape::Linear => "at one speed",
                memleak::Shape::Accelerating => "faster and faster",
                memleak::Shape::Decelerating => "slower and slower, with no end in sight",
                memleak::Shape::Stepwise => "in steps with rests between them",
                _ => "in a way this page has no word for",
            }
        ));
        said.push(format!(
            "The confidence of {:.0} % says how far it stands above the noise and how long it has gone on. It is not the probability that memory was lost, which no size can show.",
            100.0 * confidence
        ));
    }
    if let Some(noise) = evidence.noise {
        said.push(format!("Around the trend the samples scatter by {}.", Size(noise)));
    }
    if let Some(floor) = evidence.floor {
        said.push(format!(
            "Over this time and with this noise, growth of {} or faster would have been told from none.",
            Rate::per_second(floor)
        ));
    }
    if let Some(score) = evidence.score {
        said.push(format!(
            "The rank test for a trend (Mann-Kendall, corrected for autocorrelation) stands at {score:.1} standard deviations."
        ));
    }
    // Before it stands it would be the median of all there is.
    if let Some(baseline) = run.rules.baseline_bytes {
        said.push(format!(
            "The baseline, the median RSS of the first stretch, is {}.",
            Size(baseline)
        ));
    }
    if evidence.restarts > 0 {
        said.push(format!(
            "It fell as after a restart {} times; each stretch is judged by itself.",
            evidence.restarts
        ));
    }
    if let Some(season) = evidence.season {
        said.push(format!(
            "It swings with a period of {}, which is taken into account.",
            Span(season)
        ));
    }
    said
}

/// The processes of a tree when it was largest, of the times at which it was recorded.
fn processes(out: &mut String, run: &Run) {
    let Some(tree) = run.processes.as_ref().filter(|tree| tree.rows.len() > 1) else { return };
    let _ = writeln!(
        out,
        "<h2>Processes at {}{}</h2>\n<table class=\"numbers\">\n\
         <tr><th>PID</th><th>RSS</th><th>PSS</th><th>anon</th><th>swap</th><th>command</th></tr>",
        Span(seconds(tree.t)),
        if report::near_largest(run) { ", near their largest" } else { ", as they were recorded" }
    );
    for row in &tree.rows {
        let _ = write!(out, "<tr><th>{}</th>", row.pid);
        for bytes in [row.rss, row.pss, row.anon, row.swap.or(row.anon.map(|_| 0))] {
            let shown = bytes.map_or("unknown".to_owned(), |bytes| Size(bytes).to_string());
            let _ = write!(out, "<td>{shown}</td>");
        }
        let command = escape(row.command.as_deref().unwrap_or_default());
        let _ = writeln!(out, "<td class=\"command\">{command}</td></tr>");
    }
    out.push_str("</table>\n");
}

/// `series` is what is watched for growth.
fn spreads(out: &mut String, run: &Run, series: &str) {
    out.push_str(
        "<h2>How it was spread over the time</h2>\n<table class=\"numbers\">\n<tr><th></th><th>least</th><th>mean</th>\
         <th>50 %</th><th>90 %</th><th>95 %</th><th>99 %</th><th>most</th></tr>\n",
    );
    let p = &run.percentiles;
    let estimated = match p.pss_estimated_samples {
        0 => String::new(),
        samples => format!(", estimated in {samples} of {} samples", run.samples),
    };
    let (pss, rss) = ((PSS, p.pss), (RSS, p.rss));
    let [first, second] = if run.peak.size_measure == Some(PSS) { [pss, rss] } else { [rss, pss] };
    for (name, spread) in [first, second, ("RSS + swap", p.footprint), (series, p.watched)] {
        let Some(Percentiles {
            min_bytes,
            mean_bytes,
            p50_bytes,
            p90_bytes,
            p95_bytes,
            p99_bytes,
            max_bytes,
        }) = spread
        else {
            continue;
        };
        let note = if name == PSS { estimated.as_str() } else { "" };
        let _ = write!(out, "<tr><th>{name}{note}</th>");
        for bytes in [min_bytes, mean_bytes, p50_bytes, p90_bytes, p95_bytes, p99_bytes, max_bytes]
        {
            let _ = write!(out, "<td>{}</td>", Cell(bytes));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// A size that does not wrap within its cell.
struct Cell(u64);

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Size(self.0).to_string().replace(' ', "\u{a0}"))
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_a_trace_stay_text() {
        assert_eq!(escape(r#"<b onclick="x">&'"#), "&lt;b onclick=&quot;x&quot;&gt;&amp;&#39;");
    }
}
