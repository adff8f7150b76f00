//! What people read, kept as it was: each output in 80 and 120 columns, without colour. Compiled for tests alone.
//!
//! `UPDATE=1 cargo test -p memcli --lib snapshots` writes the files anew. Those of recordings are kept by `tests/trace.rs`.

use std::path::Path;
use std::time::Duration;

use memleak::{Detector, LeakConfig, Severity, Verdict};
use mempressure::Level;
use memtrack::source::Target;
use memtrack::{Absent, Sample, Stamp};

use crate::alert::{Alert, Cause, Document, Sizes};
use crate::commands;
use crate::comparison::{Comparison, Metric, Outcome, Row, Side};
use crate::doctor;
use crate::exit::{self, Failure};
use crate::gate::{Judged, Quantity};
use crate::limit::{Limit, Owner};
use crate::look::Look;
use crate::output::badge::Marks;
use crate::output::verdict::Finding;
use crate::output::{human, series, status, verdict};
use crate::pipeline::{Event, Numbered, Seen};
use crate::places::{ClassPlace, KindPlace, MappingPlaces, NamedPlace, Places};
use crate::series::Series;
use crate::summary::{
    Alerted, Cost, End, Growth, Judgement, Peak, Recorded, Reloaded, Reloads, SCHEMA, Summary,
};
use crate::target::Found;
use crate::trace::rows::AlertRow;

const MIB: u64 = 1 << 20;

fn is_kept(name: &str, columns: usize, text: &str) {
    let text = anstream::adapter::strip_str(text).to_string();
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{name}-{columns}.txt"));
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{} is stale: UPDATE=1 writes it", path.display());
    let width = text.lines().map(textwrap::core::display_width).max();
    // A line a target and a line an event, however much there is to say.
    assert!(
        ["status", "events"].contains(&name) || width <= Some(columns),
        "{name}: {width:?}\n{text}"
    );
}

fn in_both(name: &str, text: impl Fn(usize) -> String) {
    for columns in [80, 120] {
        is_kept(name, columns, &text(columns));
    }
}

/// The verdict on a minute at 10 Hz that grows by `rate` MiB a second.
fn judged(rate: f64) -> Verdict {
    let mut detector = Detector::new(&LeakConfig::default());
    detector.set_limit(Some(4096 * MIB));
    for tenth in 0..600u32 {
        let bytes = (100.0 + rate * f64::from(tenth) / 10.0) * MIB as f64;
        detector.push(Duration::from_millis(100) * tenth, bytes as u64);
    }
    detector.conclude();
    detector.verdict()
}

fn summary(peak: u64, rate: f64) -> Summary {
    let verdict = judged(rate);
    let gate =
        |name, limit, value, pass| Judged { name, limit, value, bound: None, pass, reason: None };
    Summary {
        schema: SCHEMA,
        target: "worker(4321)".into(),
        command: Some(vec!["./worker".into(), "--queue".into(), "a".into()]),
        exit_code: exit::GATE,
        end: End::Exited { code: 0 },
        command_end: Some(End::Exited { code: 0 }),
        duration_seconds: 60.0,
        samples: 600,
        lost: 0,
        processes: Some(if rate > 0.0 { 3 } else { 1 }),
        left_running: Some(if rate > 0.0 { 2 } else { 0 }),
        peak: Peak {
            size_bytes: Some(if rate > 0.0 { peak - 24 * MIB } else { peak }),
            size_measure: Some(if rate > 0.0 { "PSS" } else { "RSS" }),
            size_of_several: rate > 0.0,
            size_estimated: false,
            rss_bytes: Some(peak),
            exact: rate == 0.0,
            rss_at_most_bytes: (rate == 0.0).then_some(peak),
            footprint_bytes: Some(peak),
            pss_bytes: (rate > 0.0).then_some(peak - 24 * MIB),
            pss_likely_bytes: (rate > 0.0).then_some(peak - 24 * MIB),
        },
        mean_rss_bytes: Some(peak / 2),
        growth: Growth::from(verdict.trend()),
        verdict: Judgement::new(&verdict, "anon + swap"),
        places: (rate > 0.0).then(places),
        level: Level::Normal,
        highest_level: Level::Critical,
        alerts: Alerted {
            delivered: 12,
            told: vec![AlertRow {
                t: 8.1,
                severity: Severity::Critical,
                cause: "leak".into(),
                text: "leak, +2.0 MiB/s; a cache without a limit looks the same".into(),
                suppressed: 0,
            }],
            problems: vec!["`notify` was killed: it had not ended after 10.0 s".into()],
        },
        reloads: Reloads {
            accepted: 9,
            rejected: 0,
            told: vec![Reloaded {
                t: 5.0,
                accepted: true,
                text: "budget.total \"64GiB\" -> \"16GiB\" (generation 2)".into(),
            }],
        },
        gates: vec![
            gate(
                "max_rss",
                Quantity::Bytes(128 * MIB),
                Some(Quantity::Bytes(peak)),
                peak <= 128 * MIB,
            ),
            gate("leak", Quantity::Word("leak"), Some(Quantity::Word(verdict.kind())), false),
        ],
        baseline: None,
        trace: Some(Recorded { path: "w.jsonl.gz".into(), error: None }),
        cost: Cost { cpu_seconds: 0.031, max_rss_bytes: Some(5 * MIB) },
        absent: std::collections::BTreeMap::new(),
    }
}

fn places() -> Places {
    let kind = |kind, share| KindPlace { kind, bytes_per_second: 2e6 * share, share };
    Places {
        kinds: vec![kind("anon", 0.97), kind("file", 0.03)],
        mappings: Some(MappingPlaces {
            seconds: 42.0,
            classes: vec![ClassPlace { class: "anonymous", bytes: 84 << 20 }],
            named: vec![NamedPlace { name: "/var/lib/app/index.db".into(), bytes: 3 << 20 }],
        }),
    }
}

fn comparison() -> Comparison {
    let row = |metric, base: f64, new: f64, half: f64, p, verdict| Row {
        metric,
        base,
        new,
        change: new - base,
        low: Some(new - base - half),
        high: Some(new - base + half),
        p: Some(p),
        verdict,
    };
    let mib = MIB as f64;
    let side = |file: &str| Side { files: vec![file.into()], runs: 5, leaking: 0 };
    Comparison {
        schema: crate::comparison::SCHEMA,
        base: side("base.jsonl.gz"),
        new: side("new.jsonl.gz"),
        peak_measure: "RSS",
        peak_estimated: false,
        series: Some("anon + swap"),
        rows: vec![
            row(Metric::Peak, 212.4 * mib, 241.9 * mib, 4.0 * mib, 0.0001, Outcome::Worse),
            row(Metric::Steady, 180.1 * mib, 181.0 * mib, 2.5 * mib, 0.42, Outcome::NoDifference),
            row(Metric::Growth, -0.1 * mib, 0.2 * mib, 0.31 * mib, 0.051, Outcome::NoDifference),
        ],
        wanders: false,
        verdict: Outcome::Worse,
    }
}

fn limit() -> Limit {
    Limit { owner: Owner::Cgroup(Some("/app".into())), used: 3584 * MIB, bytes: 4096 * MIB }
}

#[test]
fn summaries() {
    in_both("summary-leak", |columns| human::summary(&summary(220 * MIB, 2.0), columns));
    in_both("summary-steady", |columns| {
        let mut steady = summary(101 * MIB, 0.0);
        (steady.gates, steady.alerts) = (Vec::new(), Alerted::default());
        (steady.trace, steady.end) = (None, End::Killed { signal: 9 });
        steady.baseline = Some(Comparison { wanders: true, ..comparison() });
        human::summary(&steady, columns)
    });
}

/// What is said of a command that was over at once.
#[test]
fn a_summary_of_little() {
    in_both("summary-short", |columns| {
        let mut text = String::new();
        for rss in [None, Some(2 * MIB)] {
            let mut short = summary(101 * MIB, 0.0);
            short.peak = Peak {
                size_bytes: rss,
                size_measure: rss.map(|_| "RSS"),
                size_of_several: false,
                size_estimated: false,
                rss_bytes: rss,
                exact: false,
                rss_at_most_bytes: Some(14 * MIB),
                footprint_bytes: rss,
                pss_bytes: None,
                pss_likely_bytes: None,
            };
            let why = crate::size::unread(&Target::Own, &Seen::default());
            short.absent.insert("peak.size_bytes", why.to_owned());
            (short.samples, short.duration_seconds, short.end) =
                (0, 0.005, End::Exited { code: 0 });
            (short.gates, short.alerts, short.trace) = (Vec::new(), Alerted::default(), None);
            let verdict = Detector::new(&LeakConfig::default()).verdict();
            short.verdict = Judgement::new(&verdict, "anon + swap");
            short.growth = Growth::from(None);
            (short.level, short.highest_level) = (Level::Unknown, Level::Unknown);
            text.push_str(&human::summary(&short, columns));
        }
        text
    });
}

/// The line that is drawn anew while a watch runs.
#[test]
fn the_line_of_a_watch() {
    let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
    (sample.process.rss, sample.process.processes) = (Ok(300 * MIB), Ok(1));
    (sample.system.total, sample.system.available) = (Ok(8 << 30), Ok(6 << 30));
    let verdict = judged(2.0);
    let line = |watched: &Target, sample: &Sample| {
        let target = Found { watched: watched.clone(), label: "worker(4321)".into() };
        human::status_line(&target, sample, Level::Warning, &verdict)
    };
    let mut tree = sample;
    (tree.process.processes, tree.process.pss) = (Ok(4), Ok(120 * MIB));
    let lines =
        [line(&Target::Own, &sample), line(&Target::Own, &tree), line(&Target::System, &sample)];
    in_both("watch-line", |_| lines.join("\n") + "\n");
}

#[test]
fn several_runs() {
    in_both("runs", |columns| {
        let runs = [212, 215, 210].map(|peak| summary(peak * MIB, 2.0)).to_vec();
        let mut several = Series::new(vec!["./worker".into(), "--once".into()], 1, 5, runs);
        several.gates = crate::series::gates(
            &several.runs.iter().map(|run| run.gates.clone()).collect::<Vec<_>>(),
        );
        several.baseline = Some(comparison());
        series::series(&several, columns)
    });
}

#[test]
fn verdicts() {
    for (name, rate) in [("leak", 2.0), ("steady", 0.0)] {
        in_both(&format!("verdict-{name}"), |columns| {
            let finding = Finding {
                label: "worker(4321)+7".into(),
                series: "anon + swap",
                skipped: Duration::from_secs(10),
                verdict: judged(rate),
                rules: memleak::RuleReport::default(),
                limit: Some(Ok(limit())),
                places: (rate > 0.0).then(places),
                ended: None,
                next: Some("memcli watch 4321 --for 1h".into()),
            };
            verdict::lines(&finding, Marks::Emoji, columns)
        });
    }
}

#[test]
fn targets() {
    let look = |level, verdict| {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
        (sample.process.rss, sample.process.processes) = (Ok(3584 * MIB), Ok(8));
        let mut status = mempressure::Machine::new().status();
        status.level = level;
        let watched = Target::Own;
        let label = "worker(4321)+7".into();
        Look { label, watched, sample, status, limit: Ok(limit()), series: "anon + swap", verdict }
    };
    let mut unknown = look(Level::Unknown, None);
    (unknown.sample.process.rss, unknown.limit) = (Err(Absent::Denied), Err(Absent::Denied));
    let gone = Failure::new(exit::NO_INPUT, "no process with pid 999999").help("look at `ps`");
    let rows = [
        ("4321".to_owned(), Ok(look(Level::Critical, None))),
        ("4321".to_owned(), Ok(look(Level::Normal, Some(judged(2.0))))),
        ("1".to_owned(), Ok(unknown)),
        ("999999".to_owned(), Err(gone)),
    ];
    in_both("status", |_| {
        status::lines(&rows, Marks::Emoji, &[]) + &status::lines(&rows, Marks::Plain, &[])
    });
}

#[test]
fn the_doctor() {
    let row = |name, state, says: &str, remedy: Option<&str>| doctor::Row {
        name,
        state,
        says: says.into(),
        remedy: remedy.map(Into::into),
    };
    let rows = [
        row("kernel", doctor::State::Yes, "Linux 6.18.0, x86_64", None),
        row(
            "PSI triggers",
            doctor::State::Partly,
            "`/proc/pressure/memory` cannot be opened for writing, so that a stall is seen with the next sample and not at once",
            Some(
                "run as root, or on Linux 6.1 or later set a window that is a multiple of two seconds",
            ),
        ),
        row("PSS", doctor::State::No, "not available here", Some("RSS is shown in its place")),
    ];
    in_both("doctor", |columns| commands::doctor::lines(&rows, Marks::Emoji, columns));
}

#[test]
fn event_lines() {
    let mut lines = String::new();
    let verdict = judged(2.0);
    let alert = Alert {
        severity: Severity::Critical,
        cause: Cause::Growth(memleak::Cause::Leak { verdict: Box::new(verdict) }),
        suppressed: 3,
    };
    let mut at = Stamp::synthetic(Duration::from_secs(100));
    // A day on which there was a wall clock.
    at.wall += Duration::from_secs(20_000 * 86_400);
    let document = Document::new(&alert, "worker(4321)", at, &Sizes::default());
    assert_eq!(document.suppressed, 3);
    for event in [
        Event::Alert(alert),
        Event::Hook("`notify` failed with exit code 3".into()),
        Event::Lost(7),
    ] {
        let line = human::event_line(&Numbered { seq: 1, at, event }).unwrap();
        lines.push_str(&format!("{line}\n"));
    }
    in_both("events", |_| lines.clone());
}
