//! `run --runs` and `--baseline`: several runs as one measurement, and against another.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Folder, Said, memcli, read_json, run, run_summed, said, shell};

impl Folder {
    /// Runs a program that holds `mib` MiB for a while, in one buffer and one process, and reads the summary.
    fn hold(&self, mib: u32, words: &[&str]) -> (Said, Value) {
        let summary = self.at("summary.json");
        let bytes = mib << 20;
        let size = format!("bs={bytes}");
        let command = ["--summary", &summary, "--", "dd", "if=/dev/zero", "of=/dev/null"];
        let command = [&command[..], &[&size, "count=400", "status=none"]].concat();
        let said = run(&[&["run"][..], words, &command].concat());
        (said, read_json(Path::new(&summary)))
    }
}

#[test]
fn several_runs_are_one_table_and_one_trace() {
    let folder = Folder::new();
    let trace = folder.at("t.jsonl.gz");
    let (said, runs) =
        folder.hold(16, &["--runs", "3", "--warmup", "1", "-o", &trace, "--max-rss", "1GiB"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(runs["schema"], "memcli.runs/1");
    assert_eq!(runs["runs"].as_array().unwrap().len(), 3, "the one to warm up does not count");
    let peak = &runs["peak_rss_bytes"];
    let number = |name: &str| peak[name].as_f64().unwrap();
    assert!(number("min") <= number("median") && number("median") <= number("max"), "{peak}");
    assert!(number("low") <= number("mean") && number("mean") <= number("high"), "{peak}");
    assert!(number("min") > f64::from(16 << 20), "{peak}");
    assert_eq!(runs["gates"][0]["pass"], true);
    for part in ["3 runs after 1 run to warm up", "median", "peak", "growth", "verdict", "gate"] {
        assert!(said.stderr.contains(part), "{part} in {}", said.stderr);
    }
    let report: Value =
        serde_json::from_str(&run(&["report", &trace, "-f", "json"]).stdout).unwrap();
    assert_eq!(report["runs"].as_array().unwrap().len(), 3);
}

#[test]
fn a_run_costs_what_it_costs_and_not_what_those_before_it_did() {
    let (said, runs) = run_summed(&["run", "--runs", "8", "--", "true"]);
    let cost = |run: &Value| run["cost"]["cpu_seconds"].as_f64().unwrap();
    let costs: Vec<f64> = runs["runs"].as_array().unwrap().iter().map(cost).collect();
    // The first has the start of memcli in it. Added up, each would cost more than the one before.
    assert!(costs.len() == 8 && !costs.is_sorted(), "{costs:?}: {}", said.stderr);
}

#[test]
fn a_run_that_another_program_became_does_not_cost_what_that_had_used() {
    let folder = Folder::new();
    let path = folder.at("summary.json");
    // As `cargo run` does, which builds first: one process all along. The first number of schedstat is its CPU time in ns.
    let script = r#"while read -r used rest < /proc/$$/schedstat && [ "$used" -lt 1000000000 ]; do :; done
        exec "$0" run --summary "$1" -- true"#;
    let said = said(&shell(script).arg(&path).output().unwrap());
    assert_eq!(said.code, 0, "{}", said.stderr);
    let cost = read_json(Path::new(&path))["cost"]["cpu_seconds"].as_f64().unwrap();
    assert!(cost > 0.0 && cost < 0.5, "a second was used before it began, and it cost {cost} s");
}

#[test]
fn a_gate_over_runs_fails_only_when_they_clear_it() {
    let folder = Folder::new();
    let (said, runs) = folder.hold(32, &["--runs", "3", "--max-rss", "16MiB"]);
    assert_eq!((said.code, &runs["exit_code"]), (99, &99.into()), "{}", said.stderr);
    assert!(said.stderr.contains("FAIL  max_rss"), "{}", said.stderr);
    for run in runs["runs"].as_array().unwrap() {
        assert_eq!(run["exit_code"], 0, "the command itself did well");
    }
}

#[test]
fn a_run_that_fails_ends_the_series_with_its_own_code() {
    let folder = Folder::new();
    let count = folder.at("count");
    let script = format!("echo x >> {count}; test $(wc -l < {count}) -lt 2 || exit 7");
    let words = ["run", "--runs", "5", "--max-rss", "1GiB", "--", "sh", "-c", &script];
    let said = run(&words);
    assert_eq!(said.code, 7, "{}", said.stderr);
    assert!(said.stderr.contains("2 of 5 runs"), "{}", said.stderr);
    assert_eq!(fs::read_to_string(&count).unwrap().lines().count(), 2);
}

#[test]
fn a_signal_ends_the_series_however_well_the_command_takes_it() {
    for (signal, name, code) in [(Signal::INT, "INT", 130), (Signal::TERM, "TERM", 143)] {
        let folder = Folder::new();
        let (count, summary) = (folder.at("count"), folder.at("summary.json"));
        // The first ends at once, the others wait for the signal, and take it for a good end.
        let script = format!(
            "trap 'exit 0' {name}; echo x >> {count}; test $(wc -l < {count}) -gt 1 || exit 0
            while :; do sleep 0.05; done"
        );
        let words = ["run", "--runs", "4", "--summary", &summary, "--", "sh", "-c", &script];
        let mut command = memcli(&words);
        let run = command.stderr(Stdio::piped()).spawn().unwrap();
        let started = || fs::read_to_string(&count).unwrap_or_default().lines().count();
        while started() < 2 {
            std::thread::sleep(Duration::from_millis(10));
        }
        kill_process(Pid::from_child(&run), signal).unwrap();
        let said = said(&run.wait_with_output().unwrap());
        assert_eq!((said.code, started()), (code, 2), "{}", said.stderr);
        assert!(
            said.stderr.contains(&format!("1 of 4 runs: SIG{name} ended them")),
            "{}",
            said.stderr
        );
        let runs = read_json(Path::new(&summary));
        assert_eq!(
            runs["runs"].as_array().unwrap().len(),
            1,
            "the one it interrupted does not count"
        );
        assert_eq!(runs["interrupted_by"], code - 128);
    }
}

#[test]
fn a_baseline_finds_what_is_worse_and_nothing_against_itself() {
    let folder = Folder::new();
    let base = folder.at("base.jsonl.gz");
    folder.hold(32, &["--runs", "4", "-o", &base]);
    let against = ["--runs", "4", "--baseline", &base, "--fail-on", "regression"];
    let (said, same) = folder.hold(32, &against);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_ne!(same["baseline"]["verdict"], "worse");
    let (said, more) = folder.hold(64, &against);
    assert_eq!(said.code, 99, "{}", said.stderr);
    assert_eq!(more["baseline"]["verdict"], "worse");
    assert_eq!(more["gates"][0]["value"], "worse");
    assert!(said.stderr.contains("new against base: worse"), "{}", said.stderr);
    // One run against several is compared with where the next of them would lie.
    let one_against = ["--baseline", &base, "--fail-on", "regression"];
    let (said, one) = folder.hold(64, &one_against);
    assert_eq!((said.code, &one["schema"]), (99, &"memcli.summary/1".into()), "{}", said.stderr);
    assert_eq!(one["baseline"]["rows"][0]["verdict"], "worse");
    let (said, one) = folder.hold(32, &one_against);
    assert_eq!((said.code, &one["gates"][0]["value"]), (0, &"no_difference".into()), "{said:?}");
}

#[test]
fn a_regression_that_nothing_could_show_is_no_pass() {
    let folder = Folder::new();
    let base = folder.at("base.jsonl.gz");
    folder.hold(8, &["-o", &base]);
    let words = ["run", "--baseline", &base, "--fail-on", "regression", "--", "true"];
    let said = run(&words);
    assert_eq!(said.code, 99, "{}", said.stderr);
    assert!(
        said.stderr.contains("FAIL  regression: not tested; too few samples or runs"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_baseline_that_is_none_is_told_before_anything_is_started() {
    let folder = Folder::new();
    let witness = folder.at("started");
    let touch = ["--", "touch", &witness];
    for (words, code) in [
        (&["--fail-on", "regression"][..], 64),
        (&["--baseline", "/no/such.jsonl.gz"], 66),
        (&["--baseline", "/etc/passwd"], 65),
    ] {
        assert_eq!(run(&[&["run"][..], words, &touch].concat()).code, code, "{words:?}");
    }
    assert!(!Path::new(&witness).exists());
}
