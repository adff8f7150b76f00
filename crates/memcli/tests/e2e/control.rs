//! Who ends what, and what memcli answers to a mistake, as those meet it who type it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::support::{Demo, Said, memcli, read_json, run, run_summed, said, shell};
use crate::terminal::Terminal;

/// How long to wait for something that must come. Only a test that fails takes it.
const PATIENCE: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for the end of a program that must end, and kills one that does not.
fn end(mut child: Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_command_hears_that_the_terminal_of_its_session_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (pid, summary) = (folder.path().join("pid"), folder.path().join("s.json"));
    let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&control).unwrap();
    unlockpt(&control).unwrap();
    let name = ptsname(&control, Vec::new()).unwrap();
    let side = || {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        Stdio::from(open(name.as_c_str(), flags, Mode::empty()).unwrap())
    };
    // memcli leads the session, as it does under `ssh -t HOST memcli run ..`.
    let script =
        "exec setsid -c \"$0\" run --summary \"$1\" -- sh -c \"echo \\$\\$ > $2; exec sleep 1000\"";
    let mut command = shell(script);
    command.args([&summary, &pid]).stdin(side()).stdout(side()).stderr(side());
    let child = command.spawn().unwrap();
    // It holds the terminal open.
    drop(command);
    wait_until("the command starts", || {
        fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))
    });
    drop(control);
    assert_eq!(end(child).code(), Some(129));
    assert_eq!(read_json(&summary)["end"]["signal"], 1);
}

#[test]
fn a_watch_that_a_signal_ends_sums_up_whatever_signal_it_is() {
    let held = Demo::holding(16);
    for (signal, number) in [(Signal::USR1, 10), (Signal::USR2, 12), (Signal::QUIT, 3)] {
        let folder = tempfile::tempdir().unwrap();
        let summary = folder.path().join("s.json");
        let words = ["watch", "--json", "--summary", summary.to_str().unwrap(), &held.pid()];
        let mut watch = memcli(&words).stdout(Stdio::piped()).spawn().unwrap();
        let mut rows = BufReader::new(watch.stdout.take().unwrap());
        rows.read_line(&mut String::new()).unwrap();
        kill_process(Pid::from_child(&watch), signal).unwrap();
        let mut rest = String::new();
        rows.read_to_string(&mut rest).unwrap();
        assert_eq!(end(watch).code(), Some(128 + number), "{rest}");
        let last: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
        assert_eq!(last["end"]["signal"], number, "{last}");
        assert_eq!(read_json(&summary)["end"]["kind"], "interrupted");
    }
}

#[test]
fn an_option_of_run_that_there_is_not_is_no_command() {
    let said = run(&["run", "--max-rs", "1MiB", "--", "true"]);
    assert_eq!(said.code, 64, "{}", said.stderr);
    assert!(said.stderr.contains("--max-rss"), "{}", said.stderr);
    assert_eq!(run(&["run", "-x"]).code, 64);
    // Behind the command, and behind `--`, everything is the command's.
    assert_eq!(run(&["run", "sh", "-c", "exit 3"]).code, 3);
    assert_eq!(run(&["run", "--quiet", "--", "-no-such-command"]).code, 127);
}

#[test]
fn a_demo_that_would_be_too_fast_for_the_machine_is_refused() {
    let said = run(&["demo", "leak", "--rate", "1EiB/s", "--for", "1s"]);
    assert_eq!(said.code, 64, "{}", said.stderr);
    assert!(said.stderr.contains("of memory"), "{}", said.stderr);
}

#[test]
fn a_check_leaves_the_four_codes_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    fs::write(&config, "schema_version = 3\n[pressure]\nbnad = 0.1\n").unwrap();
    let broken = ["--config", config.to_str().unwrap()];
    let missing = ["--config", "/no/such/file.toml"];
    for (words, reason) in
        [(&["0"][..], "is no pid"), (&broken, "did you mean"), (&missing, "cannot be read")]
    {
        let words = [&["status", "--check"], words].concat();
        let text = run(&words);
        assert_eq!(text.code, 3, "{words:?}: {}", text.stderr);
        assert!((text.stdout + &text.stderr).contains(reason), "{words:?}");
        let document = run(&[&words[..], &["--json"]].concat());
        assert_eq!(document.code, 3, "{words:?}: {}", document.stderr);
        let document: Value = serde_json::from_str(&document.stdout).unwrap();
        crate::schemas::check(&document);
        assert_eq!(document["targets"][0]["level"], "unknown", "{document}");
    }
    // What is known to be bad is told in any case, and a mistake without a check is one.
    let several = run(&["status", "--check", "--json", "self", "0"]);
    let several: Value = serde_json::from_str(&several.stdout).unwrap();
    assert_eq!(several["targets"].as_array().unwrap().len(), 2);
    assert!(several["targets"][0]["readings"]["rss_bytes"].is_u64(), "{several}");
    assert_eq!(run(&["status", "0"]).code, 64);
    assert_eq!(run(&["status", broken[0], broken[1]]).code, 78);
    // Where the answer cannot even be written.
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let code = |words: &[&str]| memcli(words).stdout(full()).output().unwrap().status.code();
    assert_eq!(code(&["status", "--check"]), Some(3));
    for words in [&["--help"][..], &["--version"], &["run", "--help"], &["status"]] {
        assert_eq!(code(words), Some(74), "{words:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_66_whoever_looks_for_it() {
    for words in [
        &["config", "check"][..],
        &["config", "check", "--json"],
        &["config", "show"],
        &["status"],
        &["run", "true"],
    ] {
        let (first, rest) = words.split_first().unwrap();
        let words = [&[*first, "--config", "/no/such/file.toml"], rest].concat();
        assert_eq!(run(&words).code, 66, "{words:?}");
    }
    let check = memcli(&["config", "check"]).env("MEMCLI_CONFIG", "/no/such/file.toml").output();
    assert_eq!(check.unwrap().status.code(), Some(66));
}

#[test]
fn a_directory_that_was_removed_is_enough_to_run_a_command_in() {
    let there = |words: &str| -> Said {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("mkdir gone && cd gone && rmdir ../gone && exec \"$0\" {words}");
        said(&shell(&script).current_dir(folder.path()).output().unwrap())
    };
    for words in ["run -- true", "status self", "config show", "doctor", "watch --for 200ms self"] {
        let said = there(words);
        assert_eq!(said.code, 0, "{words}: {}", said.stderr);
    }
}

#[test]
fn an_edit_is_told_with_its_own_time_and_not_that_of_a_sample_long_before() {
    let folder = tempfile::tempdir().unwrap();
    let (config, held) = (folder.path().join("c.toml"), Demo::holding(16));
    fs::write(&config, "schema_version = 3\n").unwrap();
    let path = config.to_str().unwrap();
    let words = ["watch", "--json", "--interval", "6m", "--config", path, &held.pid()];
    let mut watch = memcli(&words).stdout(Stdio::piped()).spawn().unwrap();
    let rows = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut rows = rows.map(|row| serde_json::from_str::<Value>(&row.unwrap()).unwrap());
    let first = rows.find(|row| row["kind"] == "sample").unwrap();
    // No figure is held against the clock: it is at least this much later, however slow the machine.
    std::thread::sleep(Duration::from_millis(2500));
    fs::write(&config, "schema_version = 3\n[pressure]\nhold = \"20s\"\n").unwrap();
    let edit = rows.find(|row| row["kind"] == "config").unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    let t = |row: &Value| row["at_seconds"].as_f64().unwrap();
    // Less the time that samples may wait for each other.
    assert!(t(&edit) - t(&first) >= 1.0, "{first}\n{edit}");
    let time = |row: &Value| humantime::parse_rfc3339(row["time"].as_str().unwrap()).unwrap();
    assert!(time(&edit).duration_since(time(&first)).unwrap() >= Duration::from_secs(1), "{edit}");
}

#[test]
fn a_table_of_the_configuration_is_told_key_by_key_and_is_none_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    let content = "schema_version = 3\n[budget]\ntotal = \"2GiB\"\n";
    fs::write(&config, content).unwrap();
    let config =
        |words: &[&str]| run(&[&["config", "--config", config.to_str().unwrap()], words].concat());
    let said = config(&["explain", "budget"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(!said.stdout.contains("hides"), "{}", said.stdout);
    let line = |key: &str| said.stdout.lines().find(|line| line.starts_with(key)).unwrap();
    assert!(line("budget.total").contains("c.toml:3"), "{}", said.stdout);
    assert!(line("budget.warning").contains("default"), "{}", said.stdout);
    for words in [&["unset", "budget"][..], &["set", "budget", "1GiB"]] {
        let said = config(words);
        assert_eq!(said.code, 64, "{}", said.stderr);
        for part in ["`budget` is a table", "c.toml", "name a key of it, such as `budget."] {
            assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
        }
    }
    assert_eq!(fs::read_to_string(folder.path().join("c.toml")).unwrap(), content);
}

#[test]
fn a_limit_with_no_room_for_a_budget_is_no_limit_to_begin_with() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    for limit in ["0", "1KiB", "15MiB"] {
        let said = run(&["config", "init", "--limit", limit, "--config", config.to_str().unwrap()]);
        assert_eq!(said.code, 64, "{}", said.stderr);
        assert!(said.stderr.contains("below the least budget, 16MiB"), "{}", said.stderr);
    }
    assert!(!config.exists());
}

#[test]
fn a_mistyped_command_of_config_finds_the_one_that_was_meant() {
    let said = run(&["config", "shwo"]);
    assert_eq!(said.code, 64);
    assert!(said.stderr.contains("there is no command `config shwo`"), "{}", said.stderr);
    assert!(said.stderr.contains("did you mean `show`?"), "{}", said.stderr);
    let said = run(&["config", "zzz"]);
    assert!(said.stderr.contains("`memcli config --help`"), "{}", said.stderr);
    assert!(run(&["stauts"]).stderr.contains("did you mean `status`?"));
}

fn colours(written: &[u8]) -> bool {
    let text = String::from_utf8_lossy(written).into_owned();
    ["\x1b[38;", "\x1b[31m", "\x1b[32m", "\x1b[91m"].iter().any(|code| text.contains(code))
}

#[test]
fn top_hears_whatever_else_turns_colour_off() {
    let view = |command: &mut Command| {
        let mut terminal = Terminal::start(command, 90, 30);
        terminal.wait_for("1 process");
        terminal.press("q");
        let coloured = colours(&terminal.written);
        terminal.end();
        coloured
    };
    // The terminal of the tests sets its own name.
    for variable in ["TERM=dumb", "CLICOLOR=0", "NO_COLOR=1"] {
        let script = format!("{variable} exec \"$0\" top self --interval 100ms");
        assert!(!view(&mut shell(&script)), "{variable}");
    }
    assert!(view(&mut memcli(&["top", "self", "--interval", "100ms"])));
    assert!(view(&mut shell("TERM=dumb exec \"$0\" --color always top self --interval 100ms")));
}

#[test]
fn top_says_that_a_trace_has_more_runs_than_it_shows() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("t.jsonl.gz");
    let trace = trace.to_str().unwrap();
    let (said, _) = run_summed(&["run", "--runs", "2", "-o", trace, "--", "sleep", "0.3"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(Path::new(trace).exists());
    let mut terminal = Terminal::start(&mut memcli(&["top", trace]), 100, 30);
    terminal.wait_for("the last of 2 runs");
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));
}
