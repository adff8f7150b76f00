//! What follows from a recording whose samples are known to the byte.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Demo, Folder, memcli, run};

pub(crate) const MIB: u64 = 1 << 20;

impl Folder {
    /// A trace of these rows after a header with `extra` keys.
    pub(crate) fn trace(
        &self,
        name: &str,
        extra: &Value,
        rows: impl IntoIterator<Item = Value>,
    ) -> String {
        let mut header = json!({
            "schema": "memcli.trace/1", "writer": "memcli 0.1.0", "started": "2026-11-21T12:00:00Z",
            "target": { "label": "worker(4321)", "kind": "tree", "pid": 4321, "start": 7 },
            "interval_seconds": 0.1,
            "machine": { "kernel": "Linux 6.1.0", "architecture": "x86_64", "processors": 4 },
        });
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let mut text = format!("{header}\n");
        for row in rows {
            let _ = writeln!(text, "{row}");
        }
        fs::write(self.at(name), text).unwrap();
        self.at(name)
    }
}

/// The sample at this tenth of a second of one process with so many MiB of its own and 6 of files.
pub(crate) fn sample(tenth: u64, mib: f64, more: &Value) -> Value {
    let anon = (mib * MIB as f64) as u64;
    let mut sample = json!({
        "t": tenth as f64 / 10.0, "rss": anon + 6 * MIB, "anon": anon, "file": 6 * MIB, "shmem": 0, "swap": 0,
        "threads": 1, "procs": 1, "total": 8_u64 << 30, "avail": 6_u64 << 30,
    });
    sample.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "sample": sample })
}

pub(crate) fn end(seconds: f64) -> Value {
    json!({ "end": { "end": { "kind": "exited", "code": 0 }, "exit_code": 0, "duration_seconds": seconds } })
}

pub(crate) fn document(arguments: &[&str]) -> Value {
    let said = run(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {}", said.stderr);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    crate::schemas::check(&document);
    document
}

#[test]
fn a_plan_counts_what_was_estimated_after_the_only_measurement() {
    let folder = Folder::new();
    // PSS was read once, of 0.5 MiB, before it took what it takes.
    let rows = (0..60).map(|tenth| {
        let mib = if tenth < 2 { 0.5 } else { 26.0 };
        sample(tenth, mib, &json!({ "pss": (mib * MIB as f64) as u64 + 300_000, "pss_at": 0.0 }))
    });
    let trace = folder.trace("t.jsonl", &json!({}), rows.chain([end(6.0)]));
    let plan = document(&["budget", "--limit", "100MiB", "--json", &trace]);
    assert_eq!(plan["measure"], "PSS");
    assert_eq!(plan["plan"]["workers"], 3, "3 of 26 MiB are below 80: {plan}");
    assert_eq!((&plan["estimated_samples"], &plan["peak_estimated"]), (&json!(59), &json!(true)));
    let text = run(&["budget", "--limit", "100MiB", &trace]).stdout;
    assert!(text.contains("as PSS, estimated in 59 of them"), "{text}");

    // The report tells the two apart, and its figures are those of the plan.
    let report = document(&["report", "--json", &trace]);
    let run_of = &report["runs"][0];
    assert_eq!(run_of["peak"]["pss_bytes"], MIB / 2 + 300_000, "measured");
    let spread = &run_of["percentiles"];
    assert_eq!(spread["pss"]["p99_bytes"], plan["plan"]["p99_bytes"]);
    assert_eq!(spread["pss_estimated_samples"], 59);
    let page = run(&["report", "-f", "html", &trace]).stdout;
    assert!(page.contains("PSS, estimated in 59 of 60 samples"), "{page}");
}

/// A leak of 10 MiB/s under a budget that it passed long ago, whose last sample found it ended and not waited for.
fn past_its_limit(folder: &Folder) -> String {
    let gone = json!({ "sample": { "t": 30.0, "rss": 0, "anon": 0, "file": 0, "procs": 0 } });
    let rows = (0..300).map(|tenth| sample(tenth, 1.0 + tenth as f64, &json!({})));
    folder.trace("past.jsonl", &json!({ "budget": "20MiB" }), rows.chain([gone, end(30.1)]))
}

#[test]
fn what_is_past_its_limit_is_not_said_to_reach_it() {
    let folder = Folder::new();
    let trace = past_its_limit(&folder);
    let report = document(&["report", "--json", &trace]);
    let verdict = &report["runs"][0]["verdict"];
    assert_eq!(
        (&verdict["kind"], &verdict["time_to_limit_seconds"]),
        (&json!("leak"), &json!(0.0))
    );
    for words in [
        &["report", &trace][..],
        &["report", "-f", "html", &trace],
        &["replay", &trace],
        &["leak", &trace],
    ] {
        let said = run(words).stdout;
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("it is past its limit"), "{words:?}: {said}");
        assert!(!said.contains("reached in about"), "{words:?}: {said}");
    }
    assert_eq!(report["runs"][0]["percentiles"]["rss"]["min_bytes"], 7 * MIB, "0 is no size of it");
}

#[test]
fn two_files_that_are_one_are_refused_before_anything_is_started() {
    let folder = Folder::new();
    let (base, witness) = (folder.at("base.jsonl"), folder.at("started"));
    let rows = (0..20).map(|tenth| sample(tenth, 9.0, &json!({})));
    folder.trace("base.jsonl", &json!({}), rows.chain([end(2.0)]));
    let before = fs::read(&base).unwrap();
    fs::hard_link(&base, folder.at("hard")).unwrap();
    let (same, hard) = (folder.at("same"), folder.at("hard"));
    for words in [
        ["--summary", &same, "-o", &same],
        ["--baseline", &base, "-o", &base],
        ["--baseline", &base, "-o", &hard],
        ["--baseline", &base, "--summary", &hard],
    ] {
        let said = run(&[&["run"][..], &words, &["--", "touch", &witness]].concat());
        assert_eq!(said.code, 64, "{words:?}: {}", said.stderr);
        assert!(said.stderr.contains("name one file"), "{}", said.stderr);
    }
    assert_eq!(fs::read(&base).unwrap(), before);
    assert!(!std::path::Path::new(&witness).exists() && !std::path::Path::new(&same).exists());

    // Another memcli has it: an inner one is told so, and the outer one's trace is whole.
    let script = format!("{} run -o {same} -- true; echo $? >&2", env!("CARGO_BIN_EXE_memcli"));
    let said = run(&["run", "-q", "-o", &same, "--", "sh", "-c", &script]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(
        said.stderr.contains("another memcli is writing") && said.stderr.contains("\n64"),
        "{}",
        said.stderr
    );
    document(&["report", "--json", &same]);
}

#[test]
fn the_runs_of_a_table_are_runs() {
    let folder = Folder::new();
    let run_of = |mib: f64, samples: u64| {
        let rows =
            (0..samples).map(|tenth| sample(tenth, mib, &json!({ "pss": 1, "pss_at": 0.0 })));
        let trace = folder.trace("one.jsonl", &json!({}), rows.chain([end(3.0)]));
        fs::read_to_string(trace).unwrap()
    };
    let runs = [run_of(10.0, 20), run_of(20.0, 30), run_of(30.0, 25)].concat();
    fs::write(folder.at("three.jsonl"), runs).unwrap();
    let csv = run(&["report", "-f", "csv", &folder.at("three.jsonl")]).stdout;
    fs::write(folder.at("three.csv"), csv).unwrap();
    let figures = |file: &str| -> Vec<Value> {
        let report = document(&["report", "--json", &folder.at(file)]);
        let runs = report["runs"].as_array().unwrap().iter();
        runs.map(|run| json!([run["samples"], run["percentiles"], run["damage"]])).collect()
    };
    assert_eq!(figures("three.csv"), figures("three.jsonl"));
    assert_eq!(figures("three.csv").len(), 3);
}

#[test]
fn what_is_not_known_says_the_true_reason() {
    let folder = Folder::new();
    let rows = (0..12).map(|tenth| sample(tenth, 9.0, &json!({})));
    let trace = folder.trace("t.jsonl", &json!({}), rows);
    let absent = &document(&["report", "--json", &trace])["runs"][0]["absent"];
    assert_eq!(absent["peak.pss_bytes"], "PSS was not read in time");
    assert_eq!(absent["percentiles.pss"], "PSS was not read in time");
    fs::write(folder.at("t.csv"), "t_s,rss_bytes\n0,1000000\n1,1000000\n").unwrap();
    let absent = &document(&["report", "--json", &folder.at("t.csv")])["runs"][0]["absent"];
    for path in ["peak.pss_bytes", "percentiles.pss", "most_processes"] {
        assert_eq!(absent[path], "no sample has such a reading", "{path}: {absent}");
    }
}

#[test]
fn a_page_says_how_it_ended_and_no_baseline_before_it_stands_and_marks_every_event() {
    let folder = Folder::new();
    let event = |tenth: f64| {
        let level = json!({ "from": "normal", "to": "warning", "text": "normal -> warning" });
        json!({ "event": { "t": tenth / 10.0, "seq": 1, "level": level } })
    };
    let rows = (0..80).map(|tenth| sample(tenth, 9.0, &json!({})));
    let events = [event(20.0), event(73.0), event(73.0), event(73.2), event(79.0)];
    let mut last = end(8.2);
    last["end"]["exit_code"] = json!(99);
    let trace =
        folder.trace("t.jsonl", &json!({ "command": ["x"] }), rows.chain(events).chain([last]));
    let page = run(&["report", "-f", "html", &trace]).stdout;
    assert!(page.contains("exited with 0 after 8.2 s; memcli exited with 99"), "{page}");
    let report = document(&["report", "--json", &trace]);
    assert!(report["runs"][0]["rules"]["baseline_bytes"].is_null());
    assert!(!page.contains("baseline"), "{page}");
    for marked in [">a</text>", ">b-d</text>", ">e</text>"] {
        assert!(page.contains(marked), "{marked} in {page}");
    }
    // On a narrow screen the chart is all there, and not scrolled.
    let narrow = page.split("max-width: 700px").nth(1).unwrap();
    assert!(narrow.contains("svg { min-width: 0;"), "{narrow}");
    let human = run(&["report", &trace]).stdout;
    assert!(human.contains("exited with 0 after 8.2 s; memcli exited with 99"), "{human}");
}

#[test]
fn a_run_that_was_over_before_a_sample_is_told_of_as_far_as_it_is_known() {
    let folder = Folder::new();
    let trace = folder.trace("t.jsonl", &json!({ "command": ["true"] }), [end(0.004)]);
    let report = document(&["report", "--json", &trace]);
    let run_of = &report["runs"][0];
    assert_eq!((&run_of["samples"], &run_of["command"]), (&json!(0), &json!(["true"])));
    assert_eq!((&run_of["exit_code"], &run_of["damage"]), (&json!(0), &Value::Null));
    for format in ["human", "html", "csv"] {
        let said = run(&["report", "-f", format, &trace]);
        assert_eq!(said.code, 0, "{format}: {}", said.stderr);
        assert!(format == "csv" || said.stdout.contains("exited with 0"), "{}", said.stdout);
    }
    // With nothing to compare it is a baseline all the same.
    let said = run(&["run", "--baseline", &trace, "--", "true"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    for words in [&["replay", &trace][..], &["leak", &trace], &["diff", &trace, &trace]] {
        let said = run(words);
        assert_eq!(said.code, 0, "{words:?}: {}", said.stderr);
    }
    assert_eq!(run(&["budget", &trace]).code, 65, "a worker that nobody saw is no plan");
    let cut = folder.trace("cut.jsonl", &json!({}), []);
    assert_eq!(run(&["report", &cut]).code, 65);
}

#[test]
fn a_series_says_why_its_trace_is_not_complete() {
    let said = run(&["run", "--runs", "2", "-o", "/dev/full", "--", "true"]);
    assert_eq!(said.code, 74, "{}", said.stderr);
    assert!(said.stderr.contains("FAIL: /dev/full is not complete: "), "{}", said.stderr);
}

#[test]
fn a_report_tells_of_the_limit_that_its_levels_were_judged_by() {
    let folder = Folder::new();
    let rows = || (0..300).map(|tenth| sample(tenth, 1.0 + tenth as f64 / 10.0, &json!({})));
    let config = folder.at("c.toml");
    fs::write(&config, "schema_version = 3\n[budget]\ntotal = \"16MiB\"\n").unwrap();
    let left = |extra: &Value| {
        let trace = folder.trace("t.jsonl", extra, rows().chain([end(30.0)]));
        let report = document(&["report", "--json", "--config", &config, &trace]);
        report["runs"][0]["verdict"]["time_to_limit_seconds"].as_f64().unwrap()
    };
    // 30 + 6 MiB of 64, at 1 MiB/s; today's 16 MiB are passed, and were no limit then.
    let of_its_own = left(&json!({ "budget": "64MiB" }));
    assert!((25.0..31.0).contains(&of_its_own), "{of_its_own}");
    let of_the_machine = left(&json!({}));
    assert!(of_the_machine > 1000.0, "{of_the_machine}");
}

#[test]
fn a_trace_that_is_being_written_is_not_damaged() {
    let folder = Folder::new();
    let (trace, candidate) = (folder.at("w.jsonl.gz"), folder.at("c.toml"));
    fs::write(&candidate, "schema_version = 3\n[budget]\ntotal = \"16MiB\"\n").unwrap();
    let held = Demo::holding(8);
    let mut watch = memcli(&["watch", "-o", &trace, "--for", "5m", &held.pid()]);
    let mut watch = watch.stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while run(&["report", &trace]).code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no sample is ever there");
        std::thread::sleep(Duration::from_millis(50));
    }
    let plan = run(&["config", "plan", "--trace", &trace, &candidate]);
    let report = document(&["report", "--json", &trace]);
    let _ = watch.kill();
    let _ = watch.wait();
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    assert!(!plan.stderr.contains("note"), "{}", plan.stderr);
    let told = report["runs"][0]["damage"].as_str().unwrap();
    assert!(told.starts_with("a watch is still writing it; "), "{told}");
    let report = document(&["report", "--json", &trace]);
    let told = report["runs"][0]["damage"].as_str().unwrap();
    assert!(told.starts_with("the file is cut off"), "{told}");
}
