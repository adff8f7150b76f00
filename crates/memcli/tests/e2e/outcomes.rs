//! What people met who used it for the first time: gates on commands that are too short or too large, files that cannot be
//! written, commands that are told to end.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use memcli::trace::{Reader, Row};
use serde_json::{Value, json};

use crate::support::{Demo, memcli, read_json, run, run_summed, said};

#[test]
fn a_peak_gate_on_a_command_of_an_instant_passes_every_time() {
    for _ in 0..5 {
        let (said, summary) = run_summed(&["run", "--max-rss", "1GiB", "--", "true"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(summary["peak"]["rss_at_most_bytes"].as_u64().unwrap() > 0, "{summary}");
        assert_eq!(summary["gates"][0]["pass"], true);
        assert!(!said.stderr.contains("unknown, allowed"), "{}", said.stderr);
    }
    let (said, runs) = run_summed(&["run", "--runs", "3", "--max-rss", "1GiB", "--", "true"]);
    assert_eq!((said.code, &runs["gates"][0]["pass"]), (0, &true.into()), "{}", said.stderr);
}

#[test]
fn a_peak_is_exact_only_when_no_child_ran_between_the_samples() {
    // Sampled once a minute: only the kernel can know of a child. Of the three one is waited for, and one is given away.
    let peak = |script: &str| {
        let (_, summary) = run_summed(&["run", "--interval", "1m", "--", "sh", "-c", script]);
        (summary["peak"]["exact"].clone(), summary["peak"]["rss_at_most_bytes"].is_u64())
    };
    let waits = "test -n \"$(head -c 1000 /proc/self/stat)\"; true";
    let gives_away = "(sleep 0.3 &) ; true";
    for script in [waits, gives_away] {
        assert_eq!(peak(script), (json!(false), false), "{script}");
    }
    assert!(peak("true").1, "without one the kernel's figure bounds it");

    let script = "echo held; read x; test -n \"$x\" && test -n \"$(head -c 9 /proc/self/stat)\"; echo did; read x";
    let exact = |child: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut held = command.spawn().unwrap();
        let mut says = BufReader::new(held.stdout.take().unwrap()).lines();
        says.next().unwrap().unwrap();
        let words = ["watch", "--json", "--interval", "1m", &held.id().to_string()];
        let mut watch = memcli(&words).stdout(Stdio::piped()).spawn().unwrap();
        let mut rows = BufReader::new(watch.stdout.take().unwrap()).lines();
        rows.next().unwrap().unwrap();
        writeln!(held.stdin.as_mut().unwrap(), "{child}").unwrap();
        says.next().unwrap().unwrap();
        let pid = rustix::process::Pid::from_child(&watch);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let last: Value = serde_json::from_str(&rows.last().unwrap().unwrap()).unwrap();
        watch.wait().unwrap();
        held.kill().unwrap();
        held.wait().unwrap();
        last["peak"]["exact"].clone()
    };
    assert_eq!((exact(""), exact("on")), (json!(true), json!(false)));
}

#[test]
fn a_gate_of_a_watch_is_not_about_what_was_before_it() {
    // It held 60 MiB once, and the kernel remembers. Then it reads a word, holds that much again, and says so.
    let script = "import sys; held = b'x' * (60 << 20); del held; print('held', flush=True)\n\
                  for line in sys.stdin: held = b'x' * (80 << 20); del held; print('again', flush=True)";
    let mut python = Command::new("python3");
    python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut python) = python.spawn() else {
        eprintln!("SKIPPED: python3 is not installed");
        return;
    };
    let mut says = BufReader::new(python.stdout.take().unwrap()).lines();
    says.next().unwrap().unwrap();
    let pid = python.id().to_string();
    let gate = ["watch", "--for", "300ms", "--max-rss", "50MiB", "--abort", &pid];
    let (past, summary) = run_summed(&gate);
    assert_eq!(past.code, 0, "{}", past.stdout);
    let peak = &summary["peak"];
    assert_eq!(peak["exact"], false, "{summary}");
    assert!(peak["rss_at_most_bytes"].as_u64().unwrap() > 60 << 20, "{summary}");
    assert!(past.stdout.contains("in its samples; at most "), "{}", past.stdout);

    let mut watch = memcli(&["watch", "--json", "--max-rss", "50MiB", &pid]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let rows = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut rows = rows.map(|row| serde_json::from_str::<Value>(&row.unwrap()).unwrap());
    rows.next().unwrap();
    writeln!(python.stdin.as_mut().unwrap(), "again").unwrap();
    says.next().unwrap().unwrap();
    let ever = |row: &Value| row["sample"]["readings"]["peak_bytes"].as_u64();
    rows.find(|row| ever(row).is_some_and(|bytes| bytes > 80 << 20)).unwrap();
    let signal = rustix::process::Signal::INT;
    rustix::process::kill_process(rustix::process::Pid::from_child(&watch), signal).unwrap();
    let last = rows.last().unwrap();
    watch.wait().unwrap();
    assert_eq!(last["gates"][0]["pass"], false, "{last}");
    assert!(last["peak"]["rss_bytes"].as_u64().unwrap() > 80 << 20, "{last}");
    assert_eq!(last["peak"]["exact"], true, "it rose while it was watched: {last}");
    python.kill().unwrap();
    python.wait().unwrap();
}

#[test]
fn a_pss_gate_that_missed_the_peak_fails_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(Command::new("mkfifo").arg(at("go")).status().unwrap().success());
    // One process all along, which takes 300 MiB for an instant once somebody says so.
    let script =
        "read -r now < go; exec dd if=/dev/zero of=/dev/null bs=314572800 count=1 status=none";
    let run = |most: &str| {
        let (trace, summary) = (at("t.jsonl.gz"), at("summary.json"));
        let gate = ["run", "--interval", "1m", "--max-pss", most];
        let mut memcli = memcli(&gate);
        memcli.arg("-o").arg(&trace).arg("--summary").arg(&summary).current_dir(folder.path());
        memcli.args(["--", "sh", "-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = memcli.spawn().unwrap();
        // The next sample is a minute away: no PSS is read of what comes after the first.
        while !holds_a_sample(&trace) {
            std::thread::sleep(Duration::from_millis(10));
        }
        fs::write(at("go"), "now\n").unwrap();
        let said = said(&child.wait_with_output().unwrap());
        fs::remove_file(&trace).unwrap();
        (said, read_json(&summary))
    };
    // What the first sample asked for is read by another thread, which may come so late that it sees the peak: no miss then.
    let missed = (0..20).find_map(|_| {
        let (said, summary) = run("64MiB");
        assert_eq!(said.code, 99, "{}", said.stderr);
        assert!(said.stderr.contains("FAIL  max_pss"), "{}", said.stderr);
        let gate = &summary["gates"][0];
        let value = gate["value"].as_u64();
        assert!(gate["reason"].is_string() || value > Some(64 << 20), "{summary}");
        gate["reason"].as_str().map(str::to_owned)
    });
    let reason = missed.expect("one of twenty misses the peak");
    assert!(reason.contains("was at most 30"), "{reason}");
    let (said, _) = run("1GiB");
    assert_eq!(said.code, 0, "the exact peak bounds it: {}", said.stderr);
}

fn holds_a_sample(trace: &Path) -> bool {
    let Ok(mut reader) = Reader::open(trace) else { return false };
    std::iter::from_fn(|| reader.read()).any(|row| matches!(row, Row::Sample(_)))
}

#[test]
fn gates_of_a_watch_that_could_not_see_do_not_pass() {
    let names = "leak,growing,level:warning,alert:warning,limit-in:10m";
    let command = ["run", "--fail-on", names, "--max-growth", "1KiB/min", "--", "true"];
    let watch = |name: &str, value: &str| {
        let said = said(&memcli(&command).env(name, value).output().unwrap());
        (said.code, said.stderr.matches("FAIL").count(), said.stderr)
    };
    let (code, failed, text) = watch("MEMCLI_TRACK__TIER", "disabled");
    assert_eq!((code, failed), (99, 6), "{text}");
    assert!(text.contains("`track.tier` is `disabled`"), "{text}");
    let held = Demo::holding(4);
    let gate = ["watch", "--for", "500ms", "--fail-on", "level:emergency", &held.pid()];
    let output = memcli(&gate).env("MEMCLI_PRESSURE__ENABLED", "false").output();
    let said = said(&output.unwrap());
    assert_eq!(said.code, 99, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("`pressure.enabled` is false"), "{}", said.stdout);
    assert_eq!(run(&command).code, 0, "a command of an instant has no growth");
}

#[test]
fn a_watch_ends_at_once_when_a_gate_has_failed_and_what_is_over_the_budget_has_reached_it() {
    let held = Demo::holding(40);
    let gates = ["--fail-on", "limit-in:1h,level:emergency,limit-in:1h", "--abort"];
    let pid = held.pid();
    let words = [&["watch", "--limit", "16MiB"][..], &gates, &[&pid]].concat();
    let (said, summary) = run_summed(&words);
    assert_eq!((said.code, &summary["end"]["kind"]), (99, &"aborted".into()), "{}", said.stdout);
    assert!(said.stdout.contains("until a gate failed"), "{}", said.stdout);
    let judged = summary["gates"].as_array().unwrap();
    assert_eq!(judged.len(), 2, "what is named twice is judged once: {summary}");
    assert_eq!((&judged[0]["value"], &judged[0]["pass"]), (&json!(0.0), &json!(false)));
}

#[test]
fn the_peak_of_a_tree_is_its_pss() {
    let tree = Demo::start("tree", "2MiB/s");
    // Ends as soon as PSS was read.
    let (said, summary) = run_summed(&["watch", "--max-pss", "1MiB", "--abort", &tree.pid()]);
    assert_eq!(said.code, 99, "{}", said.stdout);
    assert!(summary["peak"]["pss_bytes"].is_u64(), "{summary}");
    let peak = row_of(&said.stdout, "peak");
    let estimated = peak.contains("about ");
    let how = if estimated { "PSS (estimated, measured up to" } else { "PSS (at least" };
    assert!(peak.contains(how), "{peak}");
    assert!(!estimated || summary["peak"]["size_estimated"] == true, "{summary}");
    assert!(peak.contains("shared pages once for each process"), "{peak}");
}

#[test]
fn a_summary_that_cannot_be_written_hides_neither_the_text_nor_the_code() {
    let full = |script: &str| run(&["run", "--summary", "/dev/full", "--", "sh", "-c", script]);
    let failed = full("exit 7");
    assert_eq!(failed.code, 7, "{}", failed.stderr);
    let well = full("exit 0");
    assert_eq!(well.code, 74, "{}", well.stderr);
    for said in [failed, well] {
        assert!(said.stderr.contains("  peak "), "{}", said.stderr);
        assert!(said.stderr.contains("failed to write the summary `/dev/full`"), "{}", said.stderr);
    }
}

#[test]
fn where_nothing_can_be_written_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("started");
    let touch = ["--", "touch", witness.to_str().unwrap()];
    for (words, code) in [
        (["--summary", "/no/such/folder/s.json"], 66),
        (["--summary", "-"], 64),
        (["-o", "/no/such/folder/t.jsonl.gz"], 66),
        (["-o", "-"], 64),
    ] {
        let said = run(&[&["run"][..], &words, &touch].concat());
        assert_eq!(said.code, code, "{words:?}: {}", said.stderr);
        assert_eq!(said.stderr.contains("help: name a file"), code == 64, "{}", said.stderr);
    }
    assert!(!witness.exists());
}

#[test]
fn a_trace_stays_when_the_command_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.jsonl.gz"), folder.path().join("new.jsonl.gz"));
    fs::write(&old, "what was there").unwrap();
    for path in [&old, &new] {
        let path = path.to_str().unwrap();
        assert_eq!(run(&["run", "-o", path, "--", "no-such-command-anywhere"]).code, 127);
    }
    assert_eq!(fs::read_to_string(&old).unwrap(), "what was there");
    assert!(!new.exists());
    assert_eq!(run(&["run", "-o", old.to_str().unwrap(), "--", "true"]).code, 0);
    assert_eq!(fs::read(&old).unwrap()[..2], [0x1f, 0x8b], "and is replaced when it is");
}

#[test]
fn a_full_disk_under_the_rows_of_a_watch_is_an_error() {
    let steady = Demo::start("steady", "2MiB/s");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let pid = steady.pid();
    let watch = memcli(&["watch", "--json", &pid]).stdout(full).stderr(Stdio::piped()).spawn();
    let said = said(&watch.unwrap().wait_with_output().unwrap());
    assert_eq!(said.code, 74, "{}", said.stderr);
    assert!(said.stderr.contains("failed to write to stdout"), "{}", said.stderr);
}

#[test]
fn a_command_whose_time_is_up_is_said_to_be_ended_and_how_it_took_it() {
    let (said, summary) = run_summed(&["run", "--for", "300ms", "--", "sleep", "1000"]);
    assert_eq!(summary["command_end"], json!({ "kind": "killed", "signal": 15 }));
    assert!(said.stderr.contains("was ended by --for after"), "{}", said.stderr);
    assert!(said.stderr.contains("SIGTERM ended it"), "{}", said.stderr);
    let (_, exited) = run_summed(&["run", "--", "true"]);
    assert_eq!(exited["command_end"], json!({ "kind": "exited", "code": 0 }));
}

#[test]
fn an_edit_that_is_refused_is_a_warning_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (config, steady) = (folder.path().join("c.toml"), Demo::start("steady", "2MiB/s"));
    fs::write(&config, "schema_version = 3\n").unwrap();
    let path = config.to_str().unwrap();
    let pid = steady.pid();
    let words = ["watch", "--json", "--log-format", "json", "--config", path, &pid];
    let mut watch = memcli(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut rows = BufReader::new(watch.stdout.take().unwrap());
    // It runs, and follows the file.
    rows.read_line(&mut String::new()).unwrap();
    std::thread::spawn(move || std::io::copy(&mut rows, &mut std::io::sink()));
    fs::write(&config, "schema_version = 3\n[budget]\ntotal = \"much\"\n").unwrap();
    let refused = BufReader::new(watch.stderr.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|row| row["message"].as_str().is_some_and(|text| text.contains("edit refused")));
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(refused.unwrap()["level"], "WARN");
}

#[test]
fn a_log_that_may_not_be_written_says_so_once() {
    let steady = Demo::start("steady", "2MiB/s");
    // Nobody makes files there, not even root.
    let said = run(&["watch", "--for", "1s", "--log-file", "/proc/m.log", &steady.pid()]);
    assert!([66, 77].contains(&said.code), "{}: {}", said.code, said.stderr);
    assert_eq!(said.stderr.matches("os error").count(), 1, "{}", said.stderr);
    assert!(!Path::new("/proc/m.log").exists());
}

#[test]
fn a_hook_is_told_the_size_whatever_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let (told, config) = (folder.path().join("told.json"), folder.path().join("c.toml"));
    let exec = format!("[alerts]\nexec = [\"tee\", \"{}\"]\n", told.display());
    fs::write(&config, format!("schema_version = 3\n{exec}")).unwrap();
    let held = Demo::holding(40);
    let gate = ["--limit", "16MiB", "--fail-on", "alert:critical", "--abort"];
    let config = ["--config", config.to_str().unwrap()];
    run(&[&["watch"][..], &gate, &config, &[&held.pid()]].concat());
    let alert = read_json(&told);
    assert_eq!(alert["cause"], "level", "{alert}");
    assert!(alert["rss_bytes"].as_u64().unwrap() > 40 << 20, "{alert}");
    assert_eq!((&alert["size_bytes"], &alert["absent"]), (&alert["rss_bytes"], &json!({})));
}

#[test]
fn a_defect_of_ours_has_an_exit_code_of_its_own() {
    let arguments = std::iter::from_fn(|| -> Option<std::ffi::OsString> { panic!("a defect") });
    assert_eq!(memcli::main(arguments, Duration::ZERO), 70);
}

#[test]
fn a_replay_under_the_budget_that_its_trace_asks_for_passes_the_soft_limit_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (trace, config) = (at("t.jsonl.gz"), at("c.toml"));
    // Three shells that share all of 40 MiB: 120 MiB of RSS, 40 of PSS.
    let script = "held=$(head -c 40000000 /dev/zero | tr '\\0' x)
        hold() { for n in 1 2 3 4; do sleep 0.5; done; }
        hold & hold & hold; wait";
    let recorded = run(&["run", "-o", &trace, "--interval", "20ms", "--", "sh", "-c", script]);
    let replayed = |trace: &str| -> Value {
        let said = run(&["budget", "--json", trace]);
        let plan: Value = serde_json::from_str(&said.stdout).unwrap();
        crate::schemas::check(&plan);
        let toml = plan["toml"].as_str().unwrap();
        let text = format!("schema_version = 3\n[pressure]\nsignals = [\"budget\"]\n{toml}");
        fs::write(&config, text).unwrap();
        let said = run(&["replay", trace, "--json", "--config", &config]);
        let last: Value = serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap();
        json!([plan["measure"], last["highest_level"], plan["plan"]["peak_bytes"]])
    };
    let tree = replayed(&trace);
    assert_eq!(tree[0], "PSS", "{}", recorded.stderr);
    assert!(tree[1] == "normal" || tree[1] == "warning", "{tree}: {}", recorded.stderr);

    // The kernel saw a spike that no PSS was read of.
    run(&["demo", "spike", "--for", "1200ms", "--interval", "500ms", "-o", &trace]);
    let spike = replayed(&trace);
    assert!(spike[2].as_u64().unwrap() > 290 << 20, "{spike}");
    assert!(spike[1] == "normal" || spike[1] == "warning", "{spike}");

    let said = run(&["budget", "--limit", "23GiB"]);
    assert!(said.stdout.contains("total = \"8GiB\""), "as `config init` has it: {}", said.stdout);
}

/// The row of this name, with the lines that it was broken into.
fn row_of(text: &str, name: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("  {name} ")));
    let first = lines.next().unwrap_or_else(|| panic!("no {name} in {text}"));
    let rest = lines.take_while(|line| line.starts_with("            "));
    let row: Vec<&str> =
        std::iter::once(first).chain(rest).flat_map(str::split_whitespace).collect();
    row.join(" ")
}

#[test]
fn the_size_of_a_tree_is_one_number_wherever_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("t.jsonl.gz");
    let trace = trace.to_str().unwrap();
    let tree = Demo::start("tree", "2MiB/s");
    let (said, summary) = run_summed(&["watch", "--for", "2s", "-o", trace, &tree.pid()]);
    let peak = &summary["peak"];
    let size = (&peak["size_measure"], &peak["size_bytes"]);
    assert_eq!(size, (&json!("PSS"), &peak["pss_likely_bytes"]));
    let bytes = |key| peak[key].as_u64().unwrap();
    let above = bytes("pss_likely_bytes") > bytes("pss_bytes");
    assert_eq!(peak["size_estimated"], above, "{peak}");
    let report = |format| run(&["report", "-f", format, trace]).stdout;

    let human = report("human");
    assert_eq!(row_of(&human, "peak"), row_of(&said.stdout, "peak"));
    assert!(human.lines().any(|line| line == "  PSS"), "its chart is of that size:\n{human}");
    let told: Value = serde_json::from_str(&report("json")).unwrap();
    assert_eq!(&told["runs"][0]["peak"], peak);
    let size = memtrack::Size(peak["size_bytes"].as_u64().unwrap());
    let page = report("html");
    assert!(
        page.contains(&format!("{size} PSS")) && page.contains("PSS of all processes"),
        "{page}"
    );
    let csv = report("csv");
    let mut rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = rows.next().unwrap();
    let column = |name| names.iter().position(|other| *other == name).unwrap();
    let (pss, age) = (column("pss_bytes"), column("pss_age_s"));
    // What was estimated in between is told with its age, and beside what was measured.
    let measured = rows.filter(|row| row[age] == "0");
    let highest = measured.filter_map(|row| row[pss].parse::<u64>().ok()).max();
    assert_eq!(highest, peak["pss_bytes"].as_u64());
}

#[test]
fn the_peak_of_the_machine_is_what_it_used_and_nothing_is_said_of_a_process() {
    let (said, summary) = run_summed(&["watch", "system", "--for", "300ms"]);
    assert_eq!(summary["peak"]["size_measure"], "used", "{summary}");
    assert!(row_of(&said.stdout, "peak").contains("iB used (at least"), "{}", said.stdout);
    let absent = summary["absent"].to_string();
    assert!(!absent.contains("no sample was taken of a process"), "{absent}");
    assert!(!absent.contains("PSS was not read in time"), "{absent}");
}

#[test]
fn the_peak_of_a_command_of_an_instant_says_what_it_was_at_most() {
    let (said, summary) = run_summed(&["run", "--", "true"]);
    let peak = row_of(&said.stderr, "peak");
    let seen = summary["peak"]["rss_bytes"].is_u64();
    let words = if seen { "in its samples; at most" } else { "(it ended before a sample saw" };
    assert!(peak.contains(words) && peak.contains("at most") && !peak.contains(" 0 B"), "{peak}");
}

#[test]
fn a_recording_keeps_the_budget_it_was_watched_under() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let trace = at("t.jsonl.gz");
    let held = Demo::holding(40);
    // 40 MiB and a shell: above 98 % of 32 MiB from the first sample on.
    let watched =
        run(&["watch", "--limit", "32MiB", "--for", "1s", "-o", &trace, "--json", &held.pid()]);
    assert_eq!(watched.code, 0, "{}", watched.stderr);
    let report: Value =
        serde_json::from_str(&run(&["report", &trace, "--json"]).stdout).expect("a document");
    assert_eq!(report["runs"][0]["budget"], "32MiB", "{report}");
    assert!(run(&["report", &trace]).stdout.contains("budget    32.0 MiB"));

    let highest = |arguments: &[&str]| {
        let said = run(&[&["replay", "--json", &trace], arguments].concat());
        let last: Value = serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap();
        last["highest_level"].as_str().unwrap().to_owned()
    };
    assert_eq!(highest(&[]), "emergency");
    let leak = run(&["leak", &trace]).stdout;
    assert!(leak.contains("of 32.0 MiB of the budget"), "{leak}");
    // What somebody sets today is what yesterday's samples go through.
    let config = at("memcli.toml");
    fs::write(&config, "schema_version = 3\n[budget]\ntotal = \"16GiB\"\n").unwrap();
    assert_ne!(highest(&["--config", &config]), "emergency");
}

#[test]
fn a_gate_takes_a_share_of_the_limit() {
    // Of `--limit`: 40 MiB and a shell are more than a quarter of 128 MiB, and less than nine tenths.
    let held = Demo::holding(40);
    let watch = |gate: &[&str]| {
        run_summed(
            &[&["watch"], gate, &["--limit", "128MiB", "--for", "500ms", &held.pid()]].concat(),
        )
    };
    for gate in ["--max-rss", "--max-pss"] {
        let (said, summary) = watch(&[gate, "25%"]);
        assert_eq!(said.code, 99, "{}", said.stderr);
        assert_eq!(summary["gates"][0]["limit"], 32 << 20, "{summary}");
        assert!(said.stdout.contains("allowed up to 32.0 MiB"), "{}", said.stdout);
        assert_eq!(watch(&[gate, "90%"]).0.code, 0);
    }
    // Without one, of what there is here: all of it is enough for `true`, over before a sample is taken as it may be.
    let (said, summary) = run_summed(&["run", "--max-rss", "100%", "--", "true"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(summary["gates"][0]["limit"].as_u64().unwrap() > 128 << 20, "{summary}");
    for wrong in ["0%", "101%", "x%", "512Mo"] {
        let said = run(&["run", "--max-rss", wrong, "--", "true"]);
        assert_eq!(said.code, 64, "{wrong}: {}", said.stderr);
    }
    let planned: Value =
        serde_json::from_str(&run(&["budget", "--limit", "50%", "--json"]).stdout).unwrap();
    let whole: Value = serde_json::from_str(&run(&["budget", "--json"]).stdout).unwrap();
    assert_eq!(planned["limit_bytes"], whole["limit_bytes"].as_u64().unwrap() / 2);
}

#[test]
fn what_is_undecided_fails_a_strict_gate_and_no_other() {
    // Nothing can be said of what is watched for an instant.
    let gates = ["--fail-on", "leak,growing,limit-in:1s", "--max-growth", "1GiB/s"];
    let words = ["--for", "300ms", "self"];
    let (said, _) = run_summed(&[&["watch"], &gates[..], &words].concat());
    assert_eq!(said.code, 0, "{}", said.stderr);
    let (said, summary) = run_summed(&[&["watch", "--strict"], &gates[..], &words].concat());
    assert_eq!(said.code, 99, "{}", said.stderr);
    let judged = summary["gates"].as_array().unwrap();
    assert!(judged.iter().all(|gate| gate["pass"] == false), "{judged:?}");
    assert!(said.stdout.contains("a strict gate wants it decided"), "{}", said.stdout);
    let leak = |flags: &[&str]| run(&[&["leak", "self", "--for", "300ms"], flags].concat()).code;
    assert_eq!((leak(&[]), leak(&["--strict"])), (0, 99));
}

#[test]
fn record_names_its_trace_where_nobody_does() {
    let folder = tempfile::tempdir().unwrap();
    let traces = || {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let record = |words: &[&str]| {
        let arguments = [&["record", "--for", "200ms"], words].concat();
        said(&memcli(&arguments).current_dir(folder.path()).output().unwrap())
    };
    for _ in 0..2 {
        let said = record(&["self"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
    }
    let named = traces();
    assert_eq!(named.len(), 2, "the second is beside the first: {named:?}");
    for name in &named {
        assert!(name.starts_with("memcli-2") && name.ends_with(".jsonl.gz"), "{name}");
        let report = memcli(&["report", name]).current_dir(folder.path()).output().unwrap();
        assert_eq!(said(&report).code, 0);
    }
    assert_eq!(record(&["-o", "mine.jsonl.gz", "self"]).code, 0);
    assert!(traces().contains(&"mine.jsonl.gz".to_owned()));
    // It is a guess that works, and no command to learn.
    let help = run(&["--help"]).stdout;
    assert!(!help.contains("record  ") && !help.contains("export"), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).stdout;
        let offered = script.split(|c: char| !c.is_alphanumeric()).any(|word| word == "attach");
        assert!(!offered, "{shell}");
        assert!(!script.contains("__record") && !script.contains("'record"), "{shell}");
    }
}

#[test]
fn what_people_know_from_other_tools_works() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("t.jsonl.gz");
    let trace = trace.to_str().unwrap();
    let attached = run(&["attach", "self", "--for", "200ms", "-o", trace]);
    assert_eq!(attached.code, 0, "{}", attached.stderr);
    let report = run(&["report", trace]).stdout;
    for alias in ["plot", "dump", "export"] {
        assert_eq!(run(&[alias, trace]).stdout, report, "{alias}");
    }
    assert_eq!(run(&["compare", trace, trace]).code, 0);
    assert_eq!(run(&["check"]).code, 0);
    for alias in ["live", "dash"] {
        assert_eq!(run(&[alias, "self"]).code, 69, "there is no terminal here");
    }
}

#[test]
fn a_verbose_run_tells_on_stderr_what_happens() {
    let held = Demo::holding(40);
    let watch = |words: &[&str]| {
        let words = [&["watch", "--limit", "32MiB", "--for", "300ms"], words, &[&held.pid()]];
        run(&words.concat())
    };
    let said = watch(&["-v"]);
    assert!(said.stderr.contains("emergency"), "{}", said.stderr);
    assert_eq!(watch(&["-v", "--log-format", "json"]).code, 64, "one of both");
}
