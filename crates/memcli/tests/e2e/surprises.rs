//! What a newcomer stumbled over, each by its symptom.
use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Demo, memcli, run, said};
use crate::terminal::Terminal;

fn configured(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// The live view of itself.
fn own_view() -> Terminal {
    Terminal::start(&mut memcli(&["top", "self", "--interval", "100ms"]), 100, 30)
}

#[test]
fn an_emergency_of_the_budget_does_not_show_how_empty_the_machine_is() {
    let holder = Demo::holding(32);
    let (_folder, config) = configured("schema_version = 3\n[budget]\ntotal = \"24MiB\"\n");
    let said = run(&["status", &holder.pid(), "--config", &config]);
    assert!(said.stdout.contains(" of 24.0 MiB, ") && said.stdout.contains(" %: the budget"));
    let said = run(&["status", &holder.pid(), "--config", &config, "--json"]);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    crate::schemas::check(&document);
    let limit = &document["targets"][0]["limit"];
    assert_eq!((&limit["kind"], &limit["limit_bytes"]), (&"budget".into(), &(24u64 << 20).into()));
    assert!(limit["ratio"].as_f64().unwrap() > 1.0, "{limit}");
    assert_eq!(document["targets"][0]["headroom_bytes"], 0);
}

#[test]
fn config_check_names_a_file_of_version_1_and_what_became_of_it() {
    let (_folder, config) = configured("version = \"1.0\"\n");
    let said = run(&["config", "check", "--config", &config]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.starts_with(&format!("ok: {config}")), "{}", said.stdout);
    assert!(said.stdout.contains("version 1;") && said.stdout.contains("config migrate"));
    assert!(!said.stdout.contains("no configuration file"), "{}", said.stdout);
}

#[test]
fn help_and_version_are_given_to_whoever_asks_without_dashes() {
    for (asked, meant) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "help"], &["--help"]),
        (&["help", "run"], &["run", "--help"]),
        (&["help", "config", "set"], &["config", "set", "--help"]),
        (&["config", "help"], &["config", "--help"]),
        (&["config", "help", "set"], &["config", "set", "--help"]),
        (&["version"], &["--version"]),
    ] {
        let (asked, meant) = (run(asked), run(meant));
        assert_eq!((asked.code, asked.stdout), (0, meant.stdout));
    }
    let said = run(&["help", "statsu"]);
    assert_eq!(said.code, 64);
    assert!(said.stderr.contains("did you mean `status`?"), "{}", said.stderr);
    // A command that is called so is still one.
    assert_eq!(run(&["run", "--", "version-of-nothing"]).code, 127);
}

#[test]
fn format_json_leads_to_json() {
    for words in [&["status", "--format", "json"][..], &["leak", "self", "-f", "json"]] {
        let said = run(words);
        assert_eq!(said.code, 64);
        assert!(
            said.stderr.contains("`--json`") && !said.stderr.contains("--for "),
            "{}",
            said.stderr
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    fs::write(&path, "t_s,rss_bytes\n0,1048576\n1,1048576\n").unwrap();
    let path = path.to_str().unwrap();
    let (json, format) = (run(&["report", path, "--json"]), run(&["report", path, "-f", "json"]));
    assert_eq!((json.code, &json.stdout), (0, &format.stdout), "{}", json.stderr);
    assert!(json.stdout.contains("memcli.report/1"));
    assert_eq!(run(&["report", path, "--json", "-f", "csv"]).code, 64);
}

#[test]
fn top_gives_the_terminal_back_on_sigquit() {
    let mut terminal = own_view();
    terminal.wait_for("1 process");
    terminal.signal(Signal::QUIT);
    assert_eq!(terminal.end().0.code(), Some(131));
    let mut terminal = own_view();
    terminal.wait_for("1 process");
    terminal.press("\x1c");
    assert_eq!(terminal.end().0.code(), Some(131));
}

#[test]
fn top_stops_on_ctrl_z_with_the_terminal_given_back_and_goes_on() {
    let mut terminal = own_view();
    for key in [true, false] {
        terminal.wait_for("1 process");
        if key {
            terminal.press("\x1a");
        } else {
            terminal.signal(Signal::TSTP);
        }
        terminal.wait_stopped();
        terminal.signal(Signal::CONT);
    }
    terminal.wait_for("1 process");
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn q_in_the_help_of_top_leaves_the_help_alone() {
    let mut terminal = own_view();
    terminal.wait_for("1 process");
    terminal.press("?");
    terminal.wait_for("next pane");
    terminal.press("q");
    terminal.wait("no help", |text| !text.contains("next pane") && text.contains("1 process"));
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn an_edit_that_is_refused_blames_neither_the_file_nor_a_flag() {
    let (_folder, config) = configured("schema_version = 3\n");
    let edit = |words: &[&str]| {
        let words: Vec<_> = [&["config"], words, &["--config", &config]].concat();
        run(&words)
    };
    let said = edit(&["set", "pressure.thresholds.warning", "1.6"]);
    assert_eq!(said.code, 78);
    assert!(said.stderr.contains("nothing was written"), "{}", said.stderr);
    for wrong in ["the configuration has", "flag `"] {
        assert!(!said.stderr.contains(wrong), "{wrong}: {}", said.stderr);
    }
    let said = edit(&["unset", "budget.totl"]);
    assert_eq!(said.code, 64, "{}", said.stdout);
    assert!(said.stderr.contains("did you mean `budget.total`?"), "{}", said.stderr);
    assert_eq!(edit(&["unset", "budget.total"]).code, 0, "a key that is not set");
    assert_eq!(fs::read_to_string(&config).unwrap(), "schema_version = 3\n");
}

#[test]
fn config_init_says_the_budget_that_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("new.toml");
    let config = config.to_str().unwrap();
    let said = run(&["config", "init", "--limit", "23GiB", "--config", config]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("budget.total = 8GiB, of 23.0 GiB"), "{}", said.stdout);
    assert!(fs::read_to_string(config).unwrap().contains("total = \"8GiB\""));
}

#[test]
fn leak_of_a_process_that_ends_says_so_and_sends_nobody_to_a_dead_pid() {
    // It ends when its input does.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "read line"]).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let watch = memcli(&["leak", &child.id().to_string(), "--for", "1h"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Once its sampler runs it has found the process.
    let samples = |task: fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "memtrack\n")
    };
    let tasks = format!("/proc/{}/task", watch.id());
    while !fs::read_dir(&tasks).unwrap().any(|task| task.is_ok_and(samples)) {
        std::thread::yield_now();
    }
    drop(child.stdin.take());
    let pid = child.id();
    child.wait().unwrap();
    let said = said(&watch.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("it ended after"), "{}", said.stdout);
    assert!(!said.stdout.contains(&format!("memcli watch {pid}")), "{}", said.stdout);
}

#[test]
fn a_report_names_what_its_chart_is_of_and_no_time_that_nobody_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let rows: String = (0..100).map(|n| format!("{n},{}\n", (50 << 20) + n * 1024)).collect();
    fs::write(&path, format!("t_s,rss_bytes\n{rows}")).unwrap();
    let path = path.to_str().unwrap();
    let said = run(&["report", path]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let mut lines = said.stdout.lines().skip_while(|line| !line.is_empty()).skip(1);
    assert_eq!(lines.next().unwrap(), "  RSS", "{}", said.stdout);
    for format in ["human", "html", "json"] {
        assert!(!run(&["report", path, "-f", format]).stdout.contains("1970-01-01"), "{format}");
    }
    let document: Value = serde_json::from_str(&run(&["report", path, "--json"]).stdout).unwrap();
    crate::schemas::check(&document);
    assert!(
        document["runs"][0]["started"].is_null()
            && document["runs"][0]["absent"]["started"].is_string()
    );
}

#[test]
fn an_import_that_cannot_be_right_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let report = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        run(&["report", path.to_str().unwrap()])
    };
    let said = report("unit.csv", "time,mem\n0,100\n1,200\n");
    assert_eq!(said.code, 65, "{}", said.stdout);
    assert!(said.stderr.contains("`mem_mib`"), "{}", said.stderr);
    let newest_first: String = (0..200).rev().map(|n| format!("{n},1048576\n")).collect();
    let said = report("order.csv", &format!("t_s,rss_bytes\n{newest_first}"));
    let all = said.stdout + &said.stderr;
    assert!(all.contains("sort the rows by time"), "{all}");
}

#[test]
fn a_trace_with_a_byte_order_mark_is_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("t.jsonl.gz");
    let said =
        run(&["run", "--interval", "10ms", "-o", trace.to_str().unwrap(), "--", "sleep", "0.2"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let plain = std::process::Command::new("zcat").arg(&trace).output().unwrap().stdout;
    let marked = folder.path().join("marked.jsonl");
    fs::write(&marked, ["\u{feff}".as_bytes(), &plain].concat()).unwrap();
    let said = run(&["report", marked.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("sleep"), "{}", said.stdout);
}

#[test]
fn a_report_and_the_doctor_stay_within_a_terminal_of_40_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let rows: String = (0..100).map(|n| format!("{n},{}\n", (50 << 20) + n * 1024)).collect();
    fs::write(&path, format!("t_s,rss_bytes\n{rows}")).unwrap();
    // The name of a file is as long as it is.
    let name = path.file_name().unwrap().to_str().unwrap();
    for words in [&["report", name][..], &["doctor", "--no-emoji"]] {
        let output = memcli(words).env("COLUMNS", "40").current_dir(folder.path()).output();
        let said = said(&output.unwrap());
        assert_eq!(said.code, 0, "{}", said.stderr);
        for line in said.stdout.lines() {
            // Nor can a path be broken.
            let longest = line.split_whitespace().map(|word| word.chars().count()).max();
            let fits = line.chars().count() <= 40 || longest.is_some_and(|longest| longest > 28);
            assert!(fits, "{line}\nin\n{}", said.stdout);
        }
    }
}

#[test]
fn help_stays_within_a_terminal_of_60_columns() {
    for words in [&["run", "--help"][..], &["status", "-h"], &["config", "plan", "--help"]] {
        let output = memcli(words).env("COLUMNS", "60").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(60), "{widest:?} in {help}");
    }
}

#[test]
fn a_long_report_has_a_bar_on_a_terminal_and_leaves_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.csv");
    // So long that no machine reads it before somebody wonders.
    let mut text = String::from("t_s,rss_bytes\n");
    for n in 0..400_000u32 {
        text.push_str(&format!("{n},{}\n", 50_000_000 + n % 97 * 4096));
    }
    fs::write(&path, text).unwrap();
    let mut command = memcli(&["report", path.to_str().unwrap()]);
    let mut terminal = Terminal::start(&mut command, 80, 40);
    terminal.wait("a bar", |text| text.contains("reading ") && text.contains("% of"));
    let screen = terminal.wait_for("verdict");
    assert!(!screen.contains("reading "), "{screen}");
    assert_eq!(terminal.end().0.code(), Some(0));
}
