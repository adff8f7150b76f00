//! The main job on live processes: `run`, `watch`, `demo`, their exit codes and their summary.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::support::{Demo, memcli, run, run_summed, said};
use serde_json::{Value, json};

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {value}"))
}

#[test]
fn a_leak_is_called_one_with_its_rate() {
    let (said, summary) = run_summed(&["demo", "leak", "--fail-on", "leak"]);
    assert_eq!(said.code, 99, "{}", said.stderr);
    assert_eq!(summary["verdict"]["kind"], "leak", "{summary}");
    let rate = number(&summary, "/verdict/rate_bytes_per_second") / 1_048_576.0;
    assert!((rate - 2.0).abs() < 0.1, "{rate} MiB/s");
    let gate = &summary["gates"][0];
    let judged = json!({
        "name": "leak", "limit": "leak", "value": "leak", "bound": null, "pass": false, "reason": null,
    });
    assert_eq!(*gate, judged);
    // Growth is not proof, and the text says so.
    assert!(said.stderr.contains("cache"), "{}", said.stderr);
    assert!(said.stdout.starts_with("demo leak"), "the program's own output: {}", said.stdout);
    assert_eq!(summary["peak"]["exact"], true);
    assert!(number(&summary, "/peak/rss_bytes") > 16.0 * 1_048_576.0);
    let samples = number(&summary, "/samples");
    assert!(samples > 20.0, "{samples} samples in 10 s at 10 Hz");
}

#[test]
fn a_steady_program_is_never_called_a_leak() {
    let (said, summary) = run_summed(&["demo", "steady", "--for", "6s", "--fail-on", "leak"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let kind = summary["verdict"]["kind"].as_str().unwrap();
    assert!(kind == "steady" || kind == "undecided", "{summary}");
    assert!(!summary["verdict"]["reason"].as_str().unwrap().is_empty());
}

#[test]
fn the_summary_has_every_field_and_a_reason_for_every_null() {
    let (_, summary) = run_summed(&["run", "--", "true"]);
    for path in [
        "/schema",
        "/target",
        "/command",
        "/exit_code",
        "/duration_seconds",
        "/samples",
        "/peak/exact",
        "/peak/rss_bytes",
        "/peak/footprint_bytes",
        "/peak/pss_bytes",
        "/growth/bytes_per_second",
        "/growth/low",
        "/growth/high",
        "/verdict/kind",
        "/verdict/reason",
        "/verdict/rate_bytes_per_second",
        "/level",
        "/gates",
        "/cost/cpu_seconds",
        "/cost/max_rss_bytes",
        "/absent",
    ] {
        assert!(summary.pointer(path).is_some(), "{path} in {summary}");
    }
    assert_eq!(summary["schema"], "memcli.summary/1");
    assert_eq!(summary["command"], json!(["true"]));
    assert_eq!(summary["growth"]["bytes_per_second"], Value::Null);
    assert!(summary["absent"]["growth"].is_string(), "{summary}");
    assert!(number(&summary, "/cost/max_rss_bytes") > 0.0);
}

#[test]
fn the_exit_code_is_the_commands_own() {
    assert_eq!(run(&["run", "--", "sh", "-c", "exit 7"]).code, 7);
    assert_eq!(run(&["run", "--", "sh", "-c", "kill -9 $$"]).code, 137);
    assert_eq!(run(&["run", "--", "true"]).code, 0);
    assert_eq!(run(&["run", "--", "no-such-command-anywhere"]).code, 127);
    assert_eq!(run(&["run", "--", "/etc/passwd"]).code, 126);
}

#[test]
fn a_failing_command_wins_over_a_failing_gate() {
    let (said, summary) = run_summed(&["run", "--max-rss", "1KiB", "--", "sh", "-c", "exit 7"]);
    assert_eq!(said.code, 7);
    assert_eq!(summary["gates"][0]["pass"], false);
    assert!(said.stderr.contains("FAIL"), "{}", said.stderr);
}

#[test]
fn the_streams_are_the_commands_own() {
    let said = run(&["run", "--", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(said.stdout, "out\n");
    assert!(said.stderr.starts_with("err\n"), "{}", said.stderr);
    let help = run(&["run", "echo", "--help", "-x"]);
    assert_eq!(help.stdout, "--help -x\n");
}

#[test]
fn a_spike_between_samples_is_in_the_exact_peak() {
    // Sampled once a minute: only the kernel's own figure can have seen it.
    let (said, summary) =
        run_summed(&["demo", "spike", "--for", "500ms", "--interval", "1m", "--max-rss", "64MiB"]);
    assert_eq!(said.code, 99, "{}", said.stderr);
    assert_eq!(summary["peak"]["exact"], true);
    let peak = number(&summary, "/peak/rss_bytes") / 1_048_576.0;
    // 300 MiB, and the program that takes them: a debug build of memcli.
    assert!((300.0..330.0).contains(&peak), "{peak} MiB");
}

#[test]
fn a_whole_tree_is_watched() {
    let (_, summary) = run_summed(&["demo", "tree", "--for", "5s"]);
    assert_eq!(summary["processes"], 5);
    assert_eq!(summary["peak"]["exact"], false, "a tree's peak at one time is sampled");
    let peak = number(&summary, "/peak/rss_bytes") / 1_048_576.0;
    assert!(peak > 64.0, "{peak} MiB of four children with 16 MiB each");
}

#[test]
fn a_cache_that_fills_and_stops_is_no_leak() {
    let (said, summary) = run_summed(&["demo", "cache", "--for", "8s", "--fail-on", "leak"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let kind = summary["verdict"]["kind"].as_str().unwrap();
    assert!(kind == "steady" || kind == "undecided", "{summary}");
}

#[test]
fn the_time_given_ends_a_command_that_would_go_on() {
    let (said, summary) = run_summed(&["run", "--for", "300ms", "--", "sleep", "1000"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(summary["end"]["kind"], "time_up");
}

#[test]
fn abort_ends_the_command_once_a_gate_has_failed() {
    let (said, summary) =
        run_summed(&["demo", "leak", "--for", "10m", "--max-rss", "8MiB", "--abort"]);
    assert_eq!(said.code, 99, "{}", said.stderr);
    assert_eq!(summary["end"]["kind"], "aborted");
    assert_eq!(summary["gates"][0]["pass"], false);
}

#[test]
fn the_pss_of_a_single_process_is_a_gate() {
    for (limit, code) in [("1GiB", 0), ("1MiB", 99)] {
        let (said, summary) = run_summed(&["demo", "leak", "--for", "2s", "--max-pss", limit]);
        assert_eq!(said.code, code, "{}", said.stderr);
        assert!(summary["gates"][0]["value"].as_u64().unwrap() > 1 << 20, "{summary}");
    }
}

#[test]
fn growth_and_time_to_the_limit_are_gates() {
    let (said, summary) = run_summed(&[
        "demo",
        "leak",
        "--for",
        "8s",
        "--max-growth",
        "1MiB/s",
        "--fail-on",
        "growing,limit-in:1000d,level:emergency",
    ]);
    assert_eq!(said.code, 99, "{}", said.stderr);
    let passed: Vec<_> = summary["gates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gate| (gate["name"].as_str().unwrap(), gate["pass"].as_bool().unwrap()))
        .collect();
    assert_eq!(
        passed,
        [("max_growth", false), ("growing", false), ("limit_in", false), ("level", true)]
    );
}

#[test]
fn the_limit_that_was_given_is_one_to_run_into() {
    let (said, summary) = run_summed(&[
        "demo",
        "leak",
        "--for",
        "8s",
        "--limit",
        "400MiB",
        "--fail-on",
        "limit-in:10m",
    ]);
    assert_eq!(said.code, 99, "{}", said.stderr);
    let seconds = number(&summary, "/gates/0/value");
    // Some 190 s at 2 MiB/s.
    assert!((100.0..400.0).contains(&seconds), "{summary}");
}

#[test]
fn an_interrupt_reaches_the_command_first_and_the_summary_still_comes() {
    // The command ends by its own decision when it is told to: with 3.
    let script = "trap 'echo told; exit 3' INT; echo ready; while :; do sleep 0.05; done";
    let mut child = memcli(&["run", "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "told\n");
    let said = said(&child.wait_with_output().unwrap());
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("exited with 3"), "{}", said.stderr);
}

#[test]
fn signals_that_a_command_has_its_own_use_for_reach_it_and_end_nothing() {
    let traps = "for s in QUIT USR1 USR2 ALRM; do trap \"echo $s\" $s; done; trap 'exit 3' TERM";
    let script = format!("{traps}; echo ready; while :; do sleep 0.05; done");
    let mut child = memcli(&["run", "--", "sh", "-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let send = |name: &str| {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    };
    for name in ["QUIT", "USR1", "USR2", "ALRM"] {
        send(name);
        assert_eq!(lines.next().unwrap().unwrap(), name);
    }
    send("TERM");
    assert!(lines.next().is_none());
    let said = said(&child.wait_with_output().unwrap());
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("exited with 3"), "{}", said.stderr);
}

#[test]
fn a_process_already_running_is_watched() {
    let child = Demo::start("leak", "2MiB/s");
    let pid = child.pid();
    let (said, summary) = run_summed(&["watch", "--for", "2s", &pid]);
    drop(child);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(summary["end"]["kind"], "time_up");
    assert_eq!(summary["target"], format!("memcli({pid})"));
    assert!(number(&summary, "/peak/rss_bytes") > 1_048_576.0);
    assert!(said.stdout.contains("peak"), "the summary is the output of watch: {}", said.stdout);
}

#[test]
fn a_watched_process_that_ends_ends_the_watch() {
    let mut child = Demo::lasting("steady", "2MiB/s", "500ms");
    let pid = child.pid();
    let watch = memcli(&["watch", "--json", &pid]).stdout(Stdio::piped()).spawn().unwrap();
    child.wait();
    let said = said(&watch.wait_with_output().unwrap());
    assert_eq!(said.code, 0);
    let rows: Vec<Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, events) = rows.split_last().unwrap();
    assert_eq!(summary["schema"], "memcli.summary/1");
    assert_eq!(summary["end"]["kind"], "target_ended");
    assert_eq!(events.last().unwrap()["kind"], "ended");
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["schema"], "memcli.event/1");
        assert_eq!(event["seq"], at as u64 + 1, "no event is missing");
    }
    assert!(events.iter().any(|event| event["kind"] == "sample"));
}

#[test]
fn an_interrupted_watch_sums_up_and_exits_as_shells_have_it() {
    let child = Demo::start("steady", "2MiB/s");
    let pid = child.pid();
    let mut watch = memcli(&["watch", "--json", &pid]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(watch.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    Command::new("kill").args(["-INT", &watch.id().to_string()]).status().unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(130));
    drop(child);
    let summary: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!(summary["end"], json!({ "kind": "interrupted", "signal": 2 }));
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    for (arguments, code, expected) in [
        (&["watch", "999999"][..], 66, "no process with pid 999999"),
        (&["watch", "no-such-name-anywhere"], 66, "no process is called"),
        (&["watch", "cgroup:/no/such/cgroup"], 66, "no such cgroup"),
        (&["watch", "cgroup:relative"], 64, "cgroup:/path"),
        (&["wach"], 64, "did you mean `watch`?"),
        (&["run", "--max-rss", "512Mo", "--", "true"], 64, "such as 512MiB"),
        (&["run", "--for", "30", "--", "true"], 64, "such as 500ms"),
        (&["run", "--interval", "1ms", "--", "true"], 64, "5ms to 1h"),
        (&["run", "--fail-on", "leek", "--", "true"], 64, "leak"),
        (&["run"], 64, "required"),
        (&["demo", "leak", "--unwatched", "--max-rss", "1KiB"], 64, "cannot be used with"),
        (&["demo", "leak", "--unwatched", "--json"], 64, "cannot be used with"),
        (
            &["run", "--summary", "/no/such/folder/s.json", "--", "true"],
            66,
            "/no/such/folder/s.json",
        ),
    ] {
        let said = run(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(expected), "{arguments:?}: {}", said.stderr);
        assert!(!said.stderr.contains("panicked"), "{arguments:?}: {}", said.stderr);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let child = Demo::start("steady", "2MiB/s");
    let pid = child.pid();
    let mut watch = memcli(&["watch", "--json", "--interval", "5ms", &pid])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(watch.stdout.take());
    let said = said(&watch.wait_with_output().unwrap());
    drop(child);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
}
