//! What must not go untold, each by what nobody was told.
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use crate::support::{Said, memcli, run, said};
use crate::terminal::Terminal;

/// Runs it in `folder`.
fn run_in(folder: &Path, arguments: &[&str]) -> Said {
    said(&memcli(arguments).current_dir(folder).output().unwrap())
}

/// Runs it with a variable of the environment.
fn run_with(name: &str, value: &str, arguments: &[&str]) -> Said {
    said(&memcli(arguments).env(name, value).output().unwrap())
}

/// A recording of a process of 50 MiB that grows, as CSV.
fn table(folder: &Path) -> String {
    let path = folder.join("one.csv");
    let rows: String = (0..100).map(|n| format!("{n},{}\n", (50 << 20) + n * 1024)).collect();
    fs::write(&path, format!("t_s,rss_bytes\n{rows}")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A trace of a program that soon holds more than 16 MiB.
fn trace(folder: &Path) -> String {
    let path = folder.join("t.jsonl.gz").to_str().unwrap().to_owned();
    let leak = ["demo", "leak", "--rate", "16MiB/s", "--for", "2s", "--limit", "16MiB"];
    let said = run(&[&leak[..], &["-o", &path]].concat());
    assert_eq!(said.code, 0, "{}", said.stderr);
    path
}

#[test]
fn a_file_that_is_left_out_is_told_of_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".memcli")).unwrap();
    let file = folder.path().join(".memcli/config.toml");
    fs::write(&file, "schema_version = 3\n[pressure.thresholds]\nwarning = 0.71\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let table = table(folder.path());
    for arguments in [
        &["status", "self"][..],
        &["status", "--check"],
        &[],
        &["leak", "self", "--for", "300ms"],
        &["leak", &table],
        &["report", &table],
        &["replay", &table],
        &["diff", &table, &table],
        &["budget"],
        &["watch", "self", "--for", "200ms"],
    ] {
        let said = run_in(folder.path(), arguments);
        let told = said.stderr.matches("the project's file is left out").count();
        assert_eq!(told, 1, "{arguments:?}: {}", said.stderr);
    }
    let said = run_in(folder.path(), &["config", "check"]);
    assert_eq!(said.stdout, "ok: no configuration file; the defaults hold\n");
    let said = run_in(folder.path(), &["doctor"]);
    assert!(!said.stdout.contains("config.toml is read"), "{}", said.stdout);
}

#[test]
fn what_is_turned_off_is_named() {
    let tier = ("MEMCLI_TRACK__TIER", "disabled", "`track.tier` is disabled by environment");
    let level = ("MEMCLI_PRESSURE__ENABLED", "false", "`pressure.enabled` is false by environment");
    for (name, value, why) in [tier, level] {
        let shown = run_with(name, value, &["status", "self"]);
        assert!(shown.stderr.contains(why), "{}", shown.stderr);
        // What is read goes on, as in a pipe without stderr.
        let line = shown.stdout.trim_end();
        assert!(line.contains(why) && !line.contains("not read"), "{line}");
        let shown = run_with(name, value, &["watch", "self", "--for", "200ms"]);
        assert!(shown.stderr.contains(why), "{}", shown.stderr);
        let shown = run_with(name, value, &["status", "self", "--json"]);
        let document: Value = serde_json::from_str(&shown.stdout).unwrap();
        crate::schemas::check(&document);
        let signal = document["targets"][0]["absent"]["signal"].as_str().unwrap();
        assert!(signal.starts_with(why), "{signal}");
        let shown = run_with(name, value, &["doctor", "--json"]);
        let document: Value = serde_json::from_str(&shown.stdout).unwrap();
        let rows = document["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["says"].as_str().unwrap().starts_with(why));
        assert_eq!(row.unwrap()["state"], "partly", "{document}");
    }
}

#[test]
fn a_variable_that_is_empty_names_no_file() {
    assert_eq!(run_with("MEMCLI_CONFIG", "", &["status", "self"]).code, 0);
    assert_eq!(run_with("MEMCLI_CONFIG", "/no/such.toml", &["status", "self"]).code, 78);
    assert_eq!(run(&["--config", "", "status", "self"]).code, 64);
}

#[test]
fn a_flag_that_does_not_fit_is_named_as_it_was_typed() {
    for (arguments, flag) in [
        (&["leak", "self", "--interval", "10m"][..], "--interval"),
        (&["watch", "self", "--interval", "1h"], "--interval"),
        (&["run", "--limit", "1KiB", "--", "true"], "--limit"),
    ] {
        let said = run(arguments);
        assert_eq!(said.code, 64, "{}", said.stderr);
        let begins = format!("error: `{flag}` does not fit");
        assert!(said.stderr.starts_with(&begins), "{}", said.stderr);
        assert!(!said.stderr.contains("--set"), "{}", said.stderr);
    }
    // What a file says is not a mistake of whoever typed the flag.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, "schema_version = 3\n[leak]\nwindow = \"2h\"\n").unwrap();
    let path = path.to_str().unwrap();
    let fits = ["watch", "self", "--interval", "10m", "--for", "200ms", "--config", path];
    assert_eq!(run(&fits).code, 0);
}

#[test]
fn a_trace_that_is_cut_off_is_told_of_by_whoever_plans_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = trace(folder.path());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() * 3 / 4]).unwrap();
    let candidate = folder.path().join("c.toml");
    fs::write(&candidate, "schema_version = 3\n").unwrap();
    let candidate = candidate.to_str().unwrap();
    for arguments in [&["budget", &path][..], &["config", "plan", candidate, "--trace", &path]] {
        let said = run(arguments);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(said.stderr.matches("note: ").count(), 1, "{}", said.stderr);
        assert!(said.stderr.contains("is cut off"), "{}", said.stderr);
    }
}

#[test]
fn a_recorded_alert_is_listed_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl.gz");
    let path = path.to_str().unwrap();
    // A size that it has from the first sample on is told once and then held back.
    let (name, size) = ("MEMCLI_LEAK__RSS_WARNING", "1MiB");
    let said = run_with(name, size, &["demo", "steady", "--for", "1s", "-o", path]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let mut terminal = Terminal::start(memcli(&["top", path]).env(name, size), 120, 45);
    let screen = terminal.wait_whole("alert", |text| text.contains("warning: "));
    assert_eq!(screen.matches("warning: ").count(), 1, "{screen}");
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn no_time_is_shown_that_an_import_does_not_tell() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path());
    for arguments in [&["replay", &table][..], &["report", &table, "-f", "csv"]] {
        let said = run(arguments);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(!said.stdout.contains("1970") && !said.stdout.contains("Z  "), "{}", said.stdout);
    }
    let mut terminal = Terminal::start(&mut memcli(&["top", &table]), 100, 30);
    let screen = terminal.wait_for("+00:01:39");
    assert!(screen.contains(" RSS ") && !screen.contains("anon + swap"), "{screen}");
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn a_clock_that_was_set_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.dat");
    let day = |n: u64| if n == 50 { 86_400 } else { 0 };
    let rows: String =
        (0..100).map(|n| format!("MEM 50 {}\n", 1_690_000_000 + n + day(n))).collect();
    fs::write(&path, format!("CMDLINE x\n{rows}")).unwrap();
    let said = run(&["report", path.to_str().unwrap()]);
    assert!(said.stderr.contains("its clock was set 2 times"), "{}", said.stderr);
    assert!(said.stdout.contains("100 samples over 1 min 39 s"), "{}", said.stdout);
}

#[test]
fn a_log_below_a_file_is_refused_in_our_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let path = file.join("m.log");
    let said = run(&["watch", "self", "--for", "200ms", "--log-file", path.to_str().unwrap()]);
    assert_ne!(said.code, 0);
    assert!(said.stderr.starts_with("error: failed to write the log"), "{}", said.stderr);
}

/// The terminal of a view is closed under it, as by the cross of its window.
#[test]
fn a_view_whose_terminal_is_closed_ends_as_hung_up() {
    let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&control).unwrap();
    unlockpt(&control).unwrap();
    let name = ptsname(&control, Vec::new()).unwrap();
    let side = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let size = Winsize { ws_row: 30, ws_col: 90, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&side, size).unwrap();
    let view = memcli(&["top", "self", "--interval", "100ms"]);
    // The view's own session, as a terminal gives it: only then does the kernel tell of its end.
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(view.get_program()).args(view.get_args());
    command.env("TERM", "xterm-256color").env("XDG_CONFIG_HOME", "/dev/null");
    let copy = || Stdio::from(side.try_clone().unwrap());
    let mut child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().unwrap();
    drop(command);
    drop(side);
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("q quit") {
        let length = rustix::io::read(&control, &mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..length]);
    }
    drop(control);
    assert_eq!(child.wait().unwrap().code(), Some(129));
}

#[test]
fn a_quiet_watch_says_nothing_unless_a_gate_fails() {
    let allowed = |most| {
        let gate = ["--max-rss", most, "--quiet"];
        run(&[&["run"][..], &gate, &["--", "echo", "its own"]].concat())
    };
    let good = allowed("1GiB");
    assert_eq!((good.code, &*good.stdout, &*good.stderr), (0, "its own\n", ""));
    let bad = allowed("1KiB");
    assert_eq!((bad.code, &*bad.stdout), (99, "its own\n"));
    assert!(bad.stderr.contains("FAIL  max_rss"), "{}", bad.stderr);
    let twice = run(&["run", "-q", "--runs", "2", "--", "true"]);
    assert_eq!((twice.code, &*twice.stdout, &*twice.stderr), (0, "", ""));
    let watched = run(&["watch", "self", "--for", "200ms", "-q"]);
    assert_eq!((watched.code, &*watched.stdout, &*watched.stderr), (0, "", ""));
}

#[test]
fn colour_is_as_it_was_asked_for() {
    let coloured = |arguments: &[&str]| run(arguments).stdout.contains('\u{1b}');
    assert!(coloured(&["status", "self", "--color", "always"]));
    assert!(coloured(&["--color=always", "status", "self"]));
    assert!(!coloured(&["status", "self"]), "a pipe");
    let forced = run_with("CLICOLOR_FORCE", "1", &["status", "self", "--color", "never"]);
    assert!(!forced.stdout.contains('\u{1b}'), "{}", forced.stdout);
    assert_eq!(run(&["status", "self", "--color", "mauve"]).code, 64);
}

#[test]
fn a_limit_may_be_a_share_of_the_one_above() {
    // Any program is above a millionth of a percent, and a budget of some bytes is none that a file may set: it is asked for.
    let summary = tempfile::tempdir().unwrap();
    let path = summary.path().join("s.json");
    let path = path.to_str().unwrap();
    let watch =
        |limit| run(&["watch", "self", "--for", "300ms", "--limit", limit, "--summary", path]);
    assert_eq!(watch("0.0001%").code, 0);
    let document = crate::support::read_json(Path::new(path));
    assert_eq!(document["highest_level"], "emergency", "{document}");
    assert_eq!(watch("120%").code, 64);
    assert_eq!(watch("0%").code, 64);
}

#[test]
fn a_plan_reads_its_trace_once() {
    let folder = tempfile::tempdir().unwrap();
    let rows = fs::read(table(folder.path())).unwrap();
    let (pipe, candidate) = (folder.path().join("pipe"), folder.path().join("new.toml"));
    fs::write(&candidate, "schema_version = 3\n").unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut plan = memcli(&["config", "plan", candidate.to_str().unwrap(), "--trace"]);
    let mut plan = plan.arg(&pipe).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What a trace holds that is being recorded would be more at a second time: here it is nothing at all.
    let mut left = Some(rows);
    while plan.try_wait().unwrap().is_none() {
        let open = fs::File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&pipe);
        match (open, left.take()) {
            (Ok(mut writer), Some(rows)) => writer.write_all(&rows).unwrap(),
            // Nobody reads yet, or nobody reads any more.
            (Err(_), rows) => left = rows,
            (Ok(_), None) => {}
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let said = said(&plan.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("100 samples"), "{}", said.stdout);
}
