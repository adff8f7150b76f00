//! Alerts as those who are told see them: log lines, a command, the summary, an exit code.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Demo, memcli, read_json, run, said};

/// A configuration under which a program that holds more than 16 MiB is in an emergency.
fn tight(folder: &Path, alerts: &str) -> String {
    let path = folder.join("config.toml");
    fs::write(
        &path,
        format!("schema_version = 3\n[budget]\ntotal = \"16MiB\"\n[alerts]\n{alerts}\n"),
    )
    .unwrap();
    path.to_str().unwrap().to_owned()
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_command_is_run_for_each_alert_and_the_summary_tells_them() {
    let folder = tempfile::tempdir().unwrap();
    let (told, summary) = (folder.path().join("told.jsonl"), folder.path().join("s.json"));
    let exec = format!("exec = [\"tee\", \"-a\", \"{}\"]", told.display());
    let config = tight(folder.path(), &exec);
    let summary = summary.to_str().unwrap();
    let demo = ["--rate", "16MiB/s", "--for", "3s", "--config", &config, "--summary", summary];
    let said = run(&[&["demo", "leak", "--fail-on", "alert:critical"][..], &demo].concat());
    assert_eq!(said.code, 99, "{}", said.stderr);
    let summary = read_json(Path::new(summary));
    let text = fs::read_to_string(&told).unwrap();
    let told: Vec<Value> =
        serde_json::Deserializer::from_str(&text).into_iter().map(Result::unwrap).collect();
    assert_eq!(summary["alerts"]["delivered"], told.len(), "{text}");
    let emergency = told.iter().find(|alert| alert["level"] == "emergency").unwrap();
    assert_eq!(emergency["schema"], "memcli.alert/1");
    assert_eq!(emergency["severity"], "critical");
    assert!(emergency["target"].as_str().unwrap().starts_with("memcli("), "{emergency}");
    assert_eq!(summary["gates"][0]["name"], "alert");
    assert_eq!(summary["gates"][0]["pass"], false);
    assert!(said.stderr.contains("alert     critical, "), "{}", said.stderr);
}

#[test]
fn a_command_that_hangs_is_killed_and_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let config = tight(folder.path(), "exec = [\"sleep\", \"1000\"]\nexec_timeout = \"1s\"");
    let summary = folder.path().join("s.json");
    let summary = summary.to_str().unwrap();
    let demo = ["demo", "leak", "--rate", "32MiB/s", "--for", "1s"];
    let said = run(&[&demo[..], &["--config", &config, "--summary", summary]].concat());
    assert_eq!(said.code, 0, "the command did what it was asked: {}", said.stderr);
    let problem = read_json(Path::new(summary))["alerts"]["problems"][0].clone();
    assert_eq!(problem, "`sleep 1000` was killed: it had not ended after 1.0 s");
    assert!(said.stderr.contains("alerts.exec: `sleep 1000` was killed"), "{}", said.stderr);
}

#[test]
fn what_the_command_leaves_running_is_none_of_the_program_that_is_watched() {
    // In the group of the command, as a job of a shell is; and as a daemon, in a session of its own.
    for start in ["sh", "setsid sh"] {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (pid, go, hook, summary) = (at("pid"), at("go"), at("hook"), at("s.json"));
        // It holds 100 MiB as long as the program runs, and the command itself has ended well long before.
        let left = format!(
            "echo \\$\\$ >> {pid}; held=\\$(head -c 104857600 /dev/zero | tr '\\\\0' x); echo x > {go}; exec sleep 1000"
        );
        fs::write(&hook, format!("{start} -c \"{left}\" &\n")).unwrap();
        let exec = format!("exec = [\"sh\", \"{hook}\"]\nexec_timeout = \"5m\"");
        let config = tight(folder.path(), &exec);
        let script = format!(
            "held=$(head -c 31457280 /dev/zero | tr '\\0' x); until [ -e {go} ]; do sleep 0.05; done; sleep 1"
        );
        let words = ["run", "--max-rss", "90MiB", "--config", &config, "--summary", &summary];
        let said = run(&[&words[..], &["--", "sh", "-c", &script]].concat());
        let pids = fs::read_to_string(&pid).unwrap();
        for pid in pids.lines() {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        assert_eq!(said.code, 0, "{}", said.stderr);
        let summary = read_json(Path::new(&summary));
        assert_eq!(summary["left_running"], 0, "{}", said.stderr);
    }
}

#[test]
fn a_command_that_is_killed_does_not_blur_the_peak() {
    let folder = tempfile::tempdir().unwrap();
    // What it waits for is given to memcli when it is killed.
    let config =
        tight(folder.path(), "exec = [\"sh\", \"-c\", \"sleep 1000; :\"]\nexec_timeout = \"1s\"");
    let summary = folder.path().join("s.json");
    let demo = ["demo", "leak", "--rate", "64MiB/s", "--for", "4s", "--config", &config];
    let said = run(&[&demo[..], &["--summary", summary.to_str().unwrap()]].concat());
    let summary = read_json(&summary);
    assert_eq!(summary["peak"]["exact"], true, "{}", said.stderr);
    let problem = summary["alerts"]["problems"][0].as_str().unwrap();
    assert!(problem.contains("was killed"), "{problem}");
}

#[test]
fn nobody_who_is_in_a_hurry_waits_for_a_command_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let config = tight(folder.path(), "exec = [\"sleep\", \"1000\"]\nexec_timeout = \"5m\"");
    let summary = folder.path().join("s.json");
    let script = "held=$(head -c 40000000 /dev/zero | tr '\\0' x); sleep 2";
    let words = ["run", "--config", &config, "--summary", summary.to_str().unwrap()];
    let mut run = memcli(&[&words[..], &["--", "sh", "-c", script]].concat()).spawn().unwrap();
    let pid = run.id();
    // The first thread has the command as its child, from its start until it is reaped.
    let children = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    for started in [true, false] {
        while children().is_empty() == started {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    let signal = rustix::process::Signal::INT;
    rustix::process::kill_process(rustix::process::Pid::from_child(&run), signal).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0), "the command had done well by then");
    let summary = read_json(&summary);
    let problem = summary["alerts"]["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("`sleep 1000` was killed"), "{problem}");
}

#[test]
fn watch_logs_alerts_on_stderr_and_its_lines_stay_on_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let (leak, config) = (Demo::start("leak", "16MiB/s"), tight(folder.path(), ""));
    let pid = leak.pid();
    let said = run(&["watch", "--for", "4s", "--config", &config, &pid]);
    assert!(said.stderr.contains("ERROR") && said.stderr.contains("level "), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("memcli({pid})")), "{}", said.stderr);
    assert!(!said.stdout.contains("ERROR"), "{}", said.stdout);
}

#[test]
fn a_log_of_json_rows_is_written_where_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (leak, config) = (Demo::start("leak", "16MiB/s"), tight(folder.path(), ""));
    let pid = leak.pid();
    let log = folder.path().join("m.log");
    let words = ["watch", "--json", "--for", "4s", "--config", &config, "--log-format", "json"];
    let quiet = run(&[&words[..], &["--log-file", log.to_str().unwrap(), &pid]].concat());
    assert_eq!(quiet.stderr, "");
    let events = rows(&quiet.stdout);
    let critical = |row: &&Value| row["kind"] == "alert" && row["alert"]["severity"] == "critical";
    let alert = events.iter().find(critical).unwrap();
    assert_eq!(alert["alert"]["cause"], "level", "{alert}");
    let lines = rows(&fs::read_to_string(&log).unwrap());
    let line = lines.iter().find(|row| row["level"] == "ERROR").unwrap();
    assert_eq!(line["watched"], format!("memcli({pid})"));
    assert!(line["message"].as_str().unwrap().starts_with("level "), "{line}");
    assert!(line["timestamp"].is_string() && line["cause"] == "level", "{line}");

    let said = run(&[&words[..], &[&pid]].concat());
    assert!(rows(&said.stderr).iter().any(|row| row["level"] == "ERROR"), "{}", said.stderr);
}

#[test]
fn the_streams_of_run_are_the_childs_unless_a_log_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = tight(folder.path(), "");
    let script = "held=$(head -c 40000000 /dev/zero | tr '\\0' x); sleep 2; echo done >&2";
    let run = |words: &[&str]| {
        let command = ["--config", &config, "--", "sh", "-c", script];
        said(&memcli(&[&["run"][..], words, &command].concat()).output().unwrap()).stderr
    };
    assert!(run(&[]).starts_with("done\n"));
    assert!(run(&["--log-format", "human"]).contains(" ERROR "));
}
