//! What follows from a recording whose samples are known to the byte.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::support::run;

const MIB: u64 = 1 << 20;

/// A folder of traces that are written as they are to be.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// A trace of these rows after a header with `extra` keys.
    fn trace(&self, name: &str, extra: &Value, rows: impl IntoIterator<Item = Value>) -> String {
        let mut header = json!({
            "schema": "memcli.trace/1", "writer": "memcli 0.1.0", "started": "2026-11-21T12:00:00Z",
            "target": { "label": "worker(4321)", "kind": "tree", "pid": 4321, "start": 7 },
            "interval_seconds": 0.1,
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
fn sample(tenth: u64, mib: f64, more: &Value) -> Value {
    let anon = (mib * MIB as f64) as u64;
    let mut sample = json!({
        "t": tenth as f64 / 10.0, "rss": anon + 6 * MIB, "anon": anon, "file": 6 * MIB, "shmem": 0, "swap": 0,
        "threads": 1, "procs": 1, "total": 8_u64 << 30, "avail": 6_u64 << 30,
    });
    sample.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "sample": sample })
}

fn end(seconds: f64) -> Value {
    json!({ "end": { "end": { "kind": "exited", "code": 0 }, "exit_code": 0, "duration_seconds": seconds } })
}

fn document(arguments: &[&str]) -> Value {
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
