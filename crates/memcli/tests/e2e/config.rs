//! The configuration as its users meet it: checked, shown, and edited while a watch runs.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::{Demo, memcli, read_json, run, run_summed};
use serde_json::Value;

fn write(folder: &Path, text: &str) -> String {
    let path = folder.join("config.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A running `watch --json` of a program that soon holds more than 16 MiB, and its rows.
struct Watch {
    program: Child,
    watch: Child,
    rows: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(config: &str) -> Self {
        let program = memcli(&["demo", "leak", "--unwatched", "--rate", "16MiB/s", "--for", "1m"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = program.id().to_string();
        let mut watch = memcli(&["watch", "--json", "--config", config, &pid])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let rows = BufReader::new(watch.stdout.take().unwrap()).lines();
        Self { program, watch, rows }
    }

    /// The first row from here on that `wanted` accepts.
    fn row(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        for row in self.rows.by_ref() {
            let row: Value = serde_json::from_str(&row.unwrap()).unwrap();
            if wanted(&row) {
                return row;
            }
        }
        panic!("the watch ended before the row that was waited for");
    }

    fn end(mut self) -> Value {
        Command::new("kill").args(["-INT", &self.watch.id().to_string()]).status().unwrap();
        let summary = self.row(|row| row["schema"] == "memcli.summary/1");
        self.watch.wait().unwrap();
        self.program.kill().unwrap();
        self.program.wait().unwrap();
        summary
    }
}

fn holds_over_16_mib(row: &Value) -> bool {
    row.pointer("/sample/readings/rss_bytes")
        .and_then(Value::as_u64)
        .is_some_and(|rss| rss > 17 << 20)
}

#[test]
fn an_edited_threshold_is_taken_up_and_a_bad_edit_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), "schema_version = 3\n[budget]\ntotal = \"64GiB\"\n");
    let mut watch = Watch::start(&config);
    watch.row(holds_over_16_mib);

    write(folder.path(), "schema_version = 3\n[budget]\ntotal = \"16MiB\"\n");
    let accepted = watch.row(|row| row["kind"] == "config");
    assert_eq!(accepted["config"]["outcome"], "accepted", "{accepted}");
    assert_eq!(accepted["config"]["changes"][0]["key"], "budget.total");
    let level = watch.row(|row| row["kind"] == "level");
    assert_eq!(level["level"]["to"], "emergency", "{level}");
    assert_eq!(level["level"]["signal"], "budget");
    assert_eq!(level["level"]["generation"], accepted["config"]["generation"]);

    write(folder.path(), "schema_version = 3\n[budget]\ntotal = \"16Mo\"\n");
    let rejected = watch.row(|row| row["kind"] == "config");
    assert_eq!(rejected["config"]["outcome"], "rejected", "{rejected}");
    assert_eq!(
        rejected["config"]["generation"], accepted["config"]["generation"],
        "the old one stays"
    );
    let problem = &rejected["config"]["diagnostics"][0];
    assert_eq!(problem["key"], "budget.total");
    assert_eq!(problem["labels"][0]["source"], config.as_str());
    assert_eq!(problem["labels"][0]["line"], 3);

    watch.row(|row| row["kind"] == "sample");
    let summary = watch.end();
    assert_eq!(summary["level"], "emergency");
    let reloads = &summary["reloads"];
    assert_eq!((&reloads["accepted"], &reloads["rejected"]), (&1.into(), &1.into()), "{summary}");
    assert!(reloads["told"][0]["text"].as_str().unwrap().contains("budget.total"), "{reloads}");
    assert!(reloads["told"][1]["text"].as_str().unwrap().contains("edit refused"), "{reloads}");
}

#[test]
fn leak_says_what_became_of_an_edit() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), "schema_version = 3\n");
    let held = Demo::holding(4);
    let words = ["leak", "--for", "1h", "--config", &config, &held.pid()];
    let mut leak = memcli(&words).stderr(Stdio::piped()).spawn().unwrap();
    // Once its sampler runs it follows the file.
    let sampler = |task: fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "memtrack\n")
    };
    let tasks = format!("/proc/{}/task", leak.id());
    while !fs::read_dir(&tasks).unwrap().any(|task| task.is_ok_and(sampler)) {
        std::thread::yield_now();
    }
    write(folder.path(), "schema_version = 3\n[leak]\nmin_samples = 11\n");
    let mut lines = BufReader::new(leak.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    leak.kill().unwrap();
    leak.wait().unwrap();
    assert!(line.starts_with("config: leak.min_samples 10 -> 11"), "{line}");
}

#[test]
fn the_limit_of_the_command_line_is_a_budget() {
    let (_, summary) =
        run_summed(&["demo", "leak", "--rate", "16MiB/s", "--for", "2s", "--limit", "16MiB"]);
    assert_eq!(summary["highest_level"], "emergency");
    let (_, summary) = run_summed(&["demo", "leak", "--rate", "16MiB/s", "--for", "2s"]);
    assert_ne!(summary["highest_level"], "emergency", "nobody gave this program a budget");
}

#[test]
fn check_says_ok_or_shows_every_problem_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let good = write(folder.path(), "schema_version = 3\n[pressure]\nhold = \"20s\"\n");
    for words in [&["--config", &good][..], &[&good]] {
        let said = run(&[&["config", "check"], words].concat());
        assert_eq!((said.code, said.stdout), (0, format!("ok: {good}\n")));
    }

    let bad = write(folder.path(), "schema_version = 3\n[pressure]\nholt = \"20s\"\nband = 2\n");
    let said = run(&["config", "check", "--config", &bad]);
    assert_eq!(said.code, 78);
    assert!(said.stderr.contains(&format!("{bad}:3:1: error[unknown_key]")), "{}", said.stderr);
    assert!(said.stderr.contains("did you mean `pressure.hold`?"), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("{bad}:4:8: error[")), "{}", said.stderr);
    assert!(said.stderr.contains("^"), "the value is underlined: {}", said.stderr);

    let said = run(&["config", "check", "--json", "--config", &bad]);
    assert_eq!(said.code, 78);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["valid"], false);
    assert_eq!(document["diagnostics"].as_array().unwrap().len(), 2);
}

#[test]
fn a_bad_configuration_is_refused_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let bad = write(folder.path(), "schema_version = 3\n[budgit]\n");
    let witness = folder.path().join("started");
    let said = run(&["run", "--config", &bad, "--", "touch", witness.to_str().unwrap()]);
    assert_eq!(said.code, 78, "{}", said.stderr);
    assert!(!witness.exists());
    let said = run(&["run", "--config", "/no/such/config.toml", "--", "true"]);
    assert_eq!(said.code, 66);
    assert!(said.stderr.contains("/no/such/config.toml"), "{}", said.stderr);
}

#[test]
fn show_prints_what_is_in_force_and_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), "schema_version = 3\n[pressure]\nhold = \"20s\"\n");
    let output = memcli(&["config", "show", "--origin", "--config", &config])
        .env("MEMCLI_LEAK__WINDOW", "2h")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("pressure.hold").contains("\"20s\"") && line("pressure.hold").contains(&config));
    assert!(
        line("leak.window").contains("\"2h\"")
            && line("leak.window").contains("MEMCLI_LEAK__WINDOW")
    );
    assert!(line("pressure.band").contains("the default"));

    // What `show` prints is a document itself, and means the same.
    let again = write(folder.path(), &shown);
    let second = run(&["config", "show", "--config", &again]);
    assert_eq!(second.code, 0, "{}", second.stderr);
    assert!(
        second.stdout.contains("pressure.hold = \"20s\"")
            && second.stdout.contains("leak.window = \"2h\"")
    );
}

#[test]
fn the_interval_of_the_configuration_holds_when_no_flag_sets_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), "schema_version = 3\n[track]\ninterval = \"2m\"\n");
    let summary = folder.path().join("s.json");
    let summary = summary.to_str().unwrap();
    run(&["demo", "steady", "--for", "1s", "--config", &config, "--summary", summary]);
    assert_eq!(read_json(Path::new(summary))["samples"], 1);
}
