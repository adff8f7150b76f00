//! The commands that look and do not gate: `memcli` alone, `status`, `leak`, `top`, `doctor`, `completions`, `man`.
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::support::{Demo, memcli, run, shell};
use crate::terminal::Terminal;
use rustix::process::Signal;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn memcli_alone_says_how_the_machine_is_and_what_to_try() {
    let said = run(&[]);
    assert_eq!(said.code, 0);
    let first = said.stdout.lines().next().unwrap();
    assert!(first.contains("system") && first.contains('%'), "{first}");
    let words = ["normal", "warning", "critical", "emergency", "unknown"];
    assert!(words.iter().any(|word| first.to_lowercase().contains(word)), "{first}");
    let commands = said.stdout.lines().filter(|line| line.starts_with("  memcli ")).count();
    assert_eq!(commands, 3, "{}", said.stdout);
}

#[test]
fn what_is_suggested_exists() {
    for line in run(&[]).stdout.lines().filter_map(|line| line.strip_prefix("  memcli ")) {
        let command = line.split("  ").next().unwrap();
        let name = command.split(' ').next().unwrap();
        assert_eq!(run(&[name, "--help"]).code, 0, "{command}");
    }
}

#[test]
fn status_is_a_line_a_target() {
    let demo = Demo::start("steady", "1MiB/s");
    let said = memcli(&["status", &demo.pid(), "self", "system"]).env("LANG", "C.UTF-8").output();
    let said = crate::support::said(&said.unwrap());
    assert_eq!(said.code, 0, "{}", said.stderr);
    let lines: Vec<_> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", said.stdout);
    assert!(lines[0].contains(&format!("memcli({})", demo.pid())), "{}", lines[0]);
    assert!(lines[0].contains(" RSS "), "{}", lines[0]);
    assert!(!said.stdout.contains('\x1b'), "no colour into a pipe: {}", said.stdout);
}

#[test]
fn status_without_emoji_is_ascii() {
    for command in [
        memcli(&["status", "self", "--no-emoji"]).env("LANG", "C.UTF-8"),
        memcli(&["status", "self"]).env_remove("LC_ALL").env_remove("LC_CTYPE").env("LANG", "C"),
    ] {
        let said = crate::support::said(&command.output().unwrap());
        assert!(said.stdout.is_ascii() && said.stdout.starts_with('['), "{}", said.stdout);
    }
}

#[test]
fn status_as_a_document_says_why_for_every_null() {
    let said = run(&["status", "self", "system", "--json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let document = json(&said.stdout);
    assert_eq!(document["schema"], "memcli.status/1");
    for target in document["targets"].as_array().unwrap() {
        for (name, value) in target["readings"].as_object().unwrap() {
            assert!(!value.is_null() || target["absent"][name].is_string(), "{name} in {target}");
        }
        for name in ["signal", "size", "limit", "growth", "verdict"] {
            assert!(!target[name].is_null() || target["absent"][name].is_string(), "{name}");
        }
        assert!(target["limit"]["limit_bytes"].as_u64().unwrap() > 0);
    }
}

#[test]
fn status_shows_what_is_there_beside_what_is_not() {
    let said = run(&["status", "999999", "self"]);
    assert_eq!(said.code, 66);
    assert_eq!(said.stdout.lines().count(), 2, "{}", said.stdout);
    assert!(said.stdout.contains("no process with pid 999999"), "{}", said.stdout);
}

#[test]
fn status_check_speaks_to_a_monitoring_system() {
    let level = |target: &str| {
        let said = run(&["status", target, "--json"]);
        json(&said.stdout)["targets"][0]["level"].as_str().unwrap().to_owned()
    };
    let expected = match level("self").as_str() {
        "normal" => 0,
        "warning" => 1,
        "unknown" => 3,
        _ => 2,
    };
    assert_eq!(run(&["status", "self", "--check"]).code, expected);
    assert_eq!(run(&["status", "999999", "--check"]).code, 3);
}

#[test]
fn status_of_what_ended_meanwhile_is_not_what_it_was() {
    for (flag, code) in [("--json", 66), ("--check", 3)] {
        let mut short = Command::new("sleep").arg("1").spawn().unwrap();
        // Far longer than it lives: there is nothing to wait for any more.
        let said = run(&["status", &short.id().to_string(), "--for", "10m", flag]);
        short.wait().unwrap();
        assert_eq!(said.code, code, "{}{}", said.stdout, said.stderr);
        assert!(said.stdout.contains("has ended while it was watched"), "{}", said.stdout);
    }
}

#[test]
fn status_check_tells_a_warning_from_worse() {
    let holder = Demo::holding(32);
    let said = run(&["status", &holder.pid(), "--json"]);
    let readings = json(&said.stdout)["targets"][0]["readings"].clone();
    let bytes = |name: &str| readings[name].as_u64().unwrap_or_default();
    let footprint = (bytes("rss_bytes") + bytes("swap_bytes")) as f64;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    // The soft limit is at 0.80 of the budget, the prompt at 0.93, the hard limit at 0.98.
    for (share, code) in [(0.5, 0), (0.86, 1), (0.95, 2), (1.5, 2)] {
        let total = (footprint / share) as u64;
        // By the budget alone: what else this machine has to do is no matter.
        let signals = "[pressure]\nsignals = [\"budget\"]\n";
        let text = format!("schema_version = 3\n{signals}[budget]\ntotal = {total}\n");
        std::fs::write(&config, text).unwrap();
        let words = ["status", &holder.pid(), "--check", "--config", config.to_str().unwrap()];
        let said = run(&words);
        assert_eq!(said.code, code, "at {share}: {}{}", said.stdout, said.stderr);
    }
}

#[test]
fn status_for_a_while_says_how_fast_it_grows() {
    let demo = Demo::start("leak", "4MiB/s");
    let said = run(&["status", &demo.pid(), "--for", "4s", "--json"]);
    let target = &json(&said.stdout)["targets"][0];
    let rate = target["growth"]["bytes_per_second"].as_f64().unwrap() / 1_048_576.0;
    assert!((rate - 4.0).abs() < 0.4, "{rate} MiB/s");
    assert!(target["verdict"]["kind"].is_string());
}

#[test]
fn leak_is_99_and_says_on_what_grounds() {
    let demo = Demo::start("leak", "4MiB/s");
    let said = run(&["leak", &demo.pid(), "--for", "10s", "--skip", "1s"]);
    assert_eq!(said.code, 99, "{}{}", said.stdout, said.stderr);
    for part in [
        "leak",
        "MiB/s (95 %:",
        "samples of anon + swap",
        "left out",
        "cache",
        "Next: memcli watch",
    ] {
        assert!(
            said.stdout.to_lowercase().contains(&part.to_lowercase()),
            "{part}: {}",
            said.stdout
        );
    }
}

#[test]
fn leak_of_something_steady_is_no_failure() {
    let demo = Demo::start("steady", "1MiB/s");
    let said = run(&["leak", &demo.pid(), "--for", "3s", "--json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let document = json(&said.stdout);
    assert_eq!(document["schema"], "memcli.leak/1");
    let kind = document["verdict"]["kind"].as_str().unwrap();
    assert!(kind == "steady" || kind == "undecided", "{document}");
    assert!(document["evidence"]["samples"].as_u64().unwrap() > 10, "{document}");
}

#[test]
fn leak_interrupted_gives_the_verdict_so_far() {
    let demo = Demo::start("steady", "1MiB/s");
    let child =
        memcli(&["leak", &demo.pid(), "--for", "1h"]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    wait_until_signals_are_taken(child.id());
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{:?}", output.status.signal());
    assert!(String::from_utf8_lossy(&output.stdout).contains("undecided"));
}

/// Until memcli has taken over SIGINT a signal would end it at once.
fn wait_until_signals_are_taken(pid: u32) {
    loop {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        if u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (libc::SIGINT - 1)) != 0 {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn leak_with_nothing_left_to_watch_is_a_mistake() {
    assert_eq!(run(&["leak", "self", "--for", "1s", "--skip", "1s"]).code, 64);
    assert_eq!(run(&["leak", "999999"]).code, 66);
}

#[test]
fn top_without_a_terminal_is_not_available() {
    let said = run(&["top", "self"]);
    assert_eq!(said.code, 69);
    assert!(said.stderr.contains("memcli watch"), "{}", said.stderr);
}

#[test]
fn top_shows_a_leak_and_leaves_the_terminal_as_it_was() {
    let demo = Demo::start("leak", "4MiB/s");
    let mut command = memcli(&["top", &demo.pid(), "--interval", "100ms"]);
    let mut terminal = Terminal::start(&mut command, 100, 30);
    let screen = terminal.wait("verdict", |text| text.contains("growth: LEAK"));
    for part in
        ["┌ ● ", "anon + swap", "█", "1 process", "memcli demo leak", "events", "q quit", "╌"]
    {
        assert!(screen.contains(part), "{part} in\n{screen}");
    }
    // 4 MiB/s, as near as a busy machine lets it be seen.
    assert!(["+4.", "+3."].iter().any(|rate| screen.contains(rate)), "{screen}");
    terminal.press("q");
    let (status, left) = terminal.end();
    assert_eq!(status.code(), Some(0));
    assert!(left.trim().is_empty(), "nothing is left behind: {left}");
}

#[test]
fn top_obeys_its_keys() {
    let demo = Demo::start("steady", "1MiB/s");
    let mut command = memcli(&["top", &demo.pid(), "--interval", "100ms"]);
    let mut terminal = Terminal::start(&mut command, 100, 30);
    terminal.wait_for("1 process");
    terminal.press(" ");
    terminal.wait_for("STOPPED");
    terminal.press(" ");
    terminal.wait("the chart going on", |text| !text.contains("STOPPED"));
    terminal.press("\x1b[D");
    terminal.wait_for(" ago): ");
    terminal.press("\x1b[F");
    terminal.wait("now", |text| !text.contains(" ago): "));
    terminal.press("m");
    terminal.wait("another number", |text| text.contains(" RSS last"));
    terminal.press("z");
    terminal.wait_for("the data alone");
    terminal.press("+");
    terminal.wait_for("last 5 min");
    terminal.press("?");
    terminal.wait_for("next pane");
    terminal.press("?");
    terminal.wait("no help", |text| !text.contains("next pane"));
    // Ctrl-C comes as a key here.
    terminal.press("\x03");
    assert_eq!(terminal.end().0.code(), Some(130));
}

#[test]
fn top_filters_saves_and_shows_what_it_saved() {
    let demo = Demo::start("tree", "1MiB/s");
    let folder = tempfile::tempdir().unwrap();
    let mut command = memcli(&["top", &demo.pid(), "--interval", "100ms"]);
    command.current_dir(folder.path());
    let mut terminal = Terminal::start(&mut command, 120, 40);
    terminal.wait_for("5 processes");
    terminal.press("/");
    terminal.press("cache");
    // The parent is no cache.
    terminal.wait_for("4 processes");
    terminal.press("\r");
    terminal.press("\x1b");
    terminal.wait_for("5 processes");
    terminal.press("s");
    terminal.wait_for("is written from now on");
    let saved = |files: std::fs::ReadDir| -> Vec<_> {
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    let names = saved(std::fs::read_dir(folder.path()).unwrap());
    assert!(names.len() == 1 && names[0].ends_with(".jsonl.gz"), "{names:?}");
    terminal.wait("its name above", |text| text.lines().next().unwrap().contains(&names[0]));
    // Until there is more than the header: what is seen is flushed once a second.
    let written = || std::fs::metadata(folder.path().join(&names[0])).unwrap().len();
    let header = written();
    let grown = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        written() > header
    });
    assert!(grown, "nothing is written");
    terminal.press("s");
    terminal.wait_for("is complete");
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));

    let path = folder.path().join(&names[0]);
    let path = path.to_str().unwrap();
    assert_eq!(run(&["report", path]).code, 0);
    let mut command = memcli(&["top", path]);
    let mut terminal = Terminal::start(&mut command, 120, 40);
    // What comes first is not yet a whole screen.
    let whole = |text: &str, parts: &[&str]| parts.iter().all(|part| text.contains(part));
    let parts = ["RECORDED", "5 processes", "memcli demo cache"];
    terminal.wait("what was saved", |text| whole(text, &parts));
    terminal.press("\x1b[H");
    terminal.wait("its beginning", |text| whole(text, &[" ago): ", "5 processes"]));
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn top_gives_the_terminal_back_before_a_panic_is_told() {
    const DEFECT: &str = "MEMCLI_TESTS_MEET_A_DEFECT";
    if std::env::var_os(DEFECT).is_some() {
        // This is the program on the terminal: it takes it, and then meets a defect.
        let mut terminal = memcli::top::terminal::Terminal::take().unwrap();
        terminal.draw(|_| {}).unwrap();
        panic!("a defect in the view");
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let this = "look::top_gives_the_terminal_back_before_a_panic_is_told";
    command.args(["--exact", this, "--nocapture"]).env("RUST_BACKTRACE", "0").env(DEFECT, "1");
    let (status, screen) = Terminal::start(&mut command, 100, 30).end();
    assert!(!status.success());
    assert!(screen.contains("a defect in the view"), "it is on the screen that stays: {screen}");
}

#[test]
fn top_fits_every_size() {
    let mut command = memcli(&["top", "--interval", "100ms"]);
    let mut terminal = Terminal::start(&mut command, 80, 24);
    let screen = terminal.wait_for("signals");
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    terminal.resize(60, 10);
    // What the emulator cut off stays until it is drawn over.
    terminal.wait("the little that fits", |text| {
        text.contains("80x24 shows it all") && !text.contains('│')
    });
    terminal.resize(60, 1);
    terminal.wait("one line", |text| text.contains("used  ") && !text.contains("80x24"));
    terminal.resize(120, 40);
    terminal.wait_for("signals");
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn top_gives_the_terminal_back_when_it_is_asked_to_end() {
    for (signal, code) in
        [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130), (Signal::USR1, 138)]
    {
        let mut command = memcli(&["top", "self", "--interval", "100ms"]);
        let mut terminal = Terminal::start(&mut command, 90, 30);
        terminal.wait_for("q quit");
        terminal.signal(signal);
        assert_eq!(terminal.end().0.code(), Some(code), "{signal:?}");
    }
}

/// As `docker exec` starts it: the session began outside the PID namespace, and has no number inside.
#[test]
fn top_hears_a_hangup_where_its_session_has_no_number() {
    let apart = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    if !Command::new("unshare").args(apart).arg("true").status().is_ok_and(|done| done.success()) {
        eprintln!("SKIPPED: no PID namespace can be made here");
        return;
    }
    let mut command = shell("unshare \"$@\" \"$0\" top self --interval 100ms");
    let mut terminal = Terminal::start(command.args(apart), 90, 30);
    terminal.wait_for("q quit");
    let found = processes(&terminal);
    let inside = found.last().expect("memcli is the last of them");
    rustix::process::kill_process(*inside, Signal::HUP).unwrap();
    assert_eq!(terminal.end().0.code(), Some(129));
}

/// A program on a terminal and, of each, its child.
fn processes(terminal: &Terminal) -> Vec<rustix::process::Pid> {
    let first = i32::try_from(terminal.pid()).ok();
    let child = |pid: &i32| {
        let path = format!("/proc/{pid}/task/{pid}/children");
        std::fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
    };
    std::iter::successors(first, child).filter_map(rustix::process::Pid::from_raw).collect()
}

#[test]
fn top_stays_when_the_target_ends_so_that_it_can_be_looked_at() {
    let demo = Demo::start("steady", "1MiB/s");
    let mut command = memcli(&["top", &demo.pid(), "--interval", "100ms"]);
    let mut terminal = Terminal::start(&mut command, 90, 30);
    terminal.wait_for("1 process");
    drop(demo);
    let screen = terminal.wait_for("it has ended");
    assert!(screen.contains("ENDED"), "{screen}");
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn top_rests_between_samples() {
    let mut command = memcli(&["top", "self", "--interval", "5m"]);
    let mut terminal = Terminal::start(&mut command, 90, 30);
    terminal.wait_for("1 process");
    // How often the thread that draws has gone to sleep; whoever follows the configuration has one of its own.
    let path = format!("/proc/{0}/task/{0}/status", terminal.pid());
    let sleeps = || {
        let status = std::fs::read_to_string(&path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    // Until it has come to rest. A loop that spins or polls never does, however long this waits.
    let mut before = sleeps();
    let mut rested = false;
    for _ in 0..50 {
        std::thread::sleep(std::time::Duration::from_millis(500));
        let now = sleeps();
        rested = now == before;
        if rested {
            break;
        }
        before = now;
    }
    assert!(rested, "it never rests");
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));
}

/// What a terminal far away has to carry: the cells that changed, within a frame that is shown as a whole.
#[test]
fn top_writes_only_what_changed_and_never_clears_the_screen() {
    const BEGIN: &str = "\x1b[?2026h";
    const END: &str = "\x1b[?2026l";
    let demo = Demo::start("leak", "4MiB/s");
    let mut command = memcli(&["top", &demo.pid(), "--interval", "100ms"]);
    let mut terminal = Terminal::start(&mut command, 120, 40);
    // While it grows the chart is scaled anew: frames that change as much as frames do.
    terminal.wait_whole("first sample", |text| text.contains("1 process"));
    let from = terminal.written.len();
    terminal.wait_frames(from, END, 20);
    let text = String::from_utf8_lossy(&terminal.written).into_owned();
    let steady = String::from_utf8_lossy(&terminal.written[from..]).into_owned();
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));

    let (first, rest) = text.split_once(END).unwrap();
    assert!(first.contains(BEGIN), "the first frame is one, too");
    for clears in ["\x1b[2J", "\x1b[3J", "\x1b[J", "\x1b[0J", "\x1bc"] {
        assert!(!rest.contains(clears), "{clears:?}");
    }
    let frames: Vec<&str> =
        steady.split_inclusive(END).filter(|part| part.ends_with(END)).collect();
    assert!(frames.len() >= 20);
    for frame in &frames {
        assert!(frame.starts_with(BEGIN), "drawn outside of a frame: {frame:?}");
    }
    // A whole screen is 4800 cells, and its curve and borders take three bytes a cell.
    let mut sizes: Vec<usize> = frames.iter().map(|frame| frame.len()).collect();
    sizes.sort_unstable();
    assert!(sizes[sizes.len() / 2] <= 2048 && sizes[sizes.len() - 1] <= 4800, "{sizes:?}");
}

#[test]
fn top_does_without_colour_and_without_unicode() {
    let mut command = memcli(&["top", "self", "--interval", "100ms"]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(&mut command, 90, 30);
    terminal.wait_for("1 process");
    terminal.press("q");
    let colours = |written: &[u8]| {
        let text = String::from_utf8_lossy(written).into_owned();
        ["\x1b[38;", "\x1b[31m", "\x1b[32m", "\x1b[91m"].iter().any(|code| text.contains(code))
    };
    assert!(!colours(&terminal.written), "no colour");
    terminal.end();
    let mut command = memcli(&["top", "self", "--interval", "100ms"]);
    command.env("LC_CTYPE", "C");
    let mut terminal = Terminal::start(&mut command, 90, 30);
    let screen = terminal.wait_for("1 process");
    assert!(screen.is_ascii(), "{screen}");
    assert!(colours(&terminal.written), "colour where it is wanted");
    terminal.press("q");
    terminal.end();
}

/// A trace of the demo that leaks.
fn trace(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("w.jsonl.gz");
    let path = path.to_str().unwrap().to_owned();
    let said = run(&["demo", "leak", "--for", "9s", "--rate", "4MiB/s", "-o", &path]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    path
}

#[test]
fn leak_and_top_read_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = trace(&folder);
    let said = run(&["leak", &path, "--json"]);
    assert_eq!(said.code, 99, "{}{}", said.stdout, said.stderr);
    let document = json(&said.stdout);
    assert_eq!(document["verdict"]["kind"], "leak");
    let rate = document["growth"]["bytes_per_second"].as_f64().unwrap() / 1_048_576.0;
    assert!((rate - 4.0).abs() < 0.2, "{rate} MiB/s");
    let skipped = json(&run(&["leak", &path, "--skip", "4s", "--json"]).stdout);
    let samples = |document: &Value| document["evidence"]["samples"].as_u64().unwrap();
    assert!(samples(&skipped) < samples(&document), "{skipped}");
    let said = run(&["leak", &path, "--skip", "1h"]);
    assert_eq!(said.code, 64, "{}", said.stderr);
    assert!(said.stderr.contains("ends within the first 1 h"), "{}", said.stderr);
    assert_eq!(run(&["leak", "/no/such/trace.jsonl.gz"]).code, 66);

    let mut command = memcli(&["top", &path]);
    let mut terminal = Terminal::start(&mut command, 100, 30);
    let screen = terminal.wait_for("-> leak");
    for part in ["RECORDED", "growth: LEAK", "+4.0 MiB/s", "anon + swap"] {
        assert!(screen.contains(part), "{part} in\n{screen}");
    }
    terminal.press("\x1b[H");
    terminal.wait_for(" ago): ");
    terminal.press("q");
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn doctor_has_a_remedy_for_every_no() {
    let said = run(&["doctor", "--json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let document = json(&said.stdout);
    assert_eq!(document["schema"], "memcli.doctor/1");
    let rows = document["rows"].as_array().unwrap();
    assert!(rows.len() >= 9, "{document}");
    for row in rows {
        assert!(row["state"] == "yes" || row["remedy"].is_string(), "{row}");
    }
    let text = run(&["doctor", "--no-emoji"]).stdout;
    assert!(text.contains("[YES]") && text.contains("kernel"), "{text}");
}

#[test]
fn doctor_finds_a_mistake_in_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "schema_version = 3\n[pressure]\nbnad = 0.1\n").unwrap();
    let said = run(&["doctor", "--config", path.to_str().unwrap()]);
    assert_eq!(said.code, 0);
    assert!(said.stdout.contains("c.toml:3:1") && said.stdout.contains("band"), "{}", said.stdout);
}

#[test]
fn man_pages_cover_every_command() {
    let said = run(&["man"]);
    assert_eq!(said.code, 0);
    assert!(said.stdout.contains(".TH memcli 1"), "{}", said.stdout);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", "--out", folder.path().to_str().unwrap()]).code, 0);
    for page in ["memcli.1", "memcli-status.1", "memcli-top.1", "memcli-leak.1", "memcli-run.1"] {
        assert!(folder.path().join(page).is_file(), "{page}");
    }
    assert_eq!(run(&["man", "--out", "/no/such/folder"]).code, 66);
}

#[test]
fn guesses_from_other_tools_work_and_stay_hidden() {
    for (guess, command) in [
        ("attach", "watch"),
        ("record", "watch"),
        ("live", "top"),
        ("dash", "top"),
        ("check", "doctor"),
    ] {
        let (guessed, meant) = (run(&[guess, "--help"]), run(&[command, "--help"]));
        assert_eq!((guessed.code, &guessed.stdout), (0, &meant.stdout), "{guess}");
    }
    let help = run(&["--help"]).stdout;
    for guess in ["attach", "record", "dash"] {
        assert!(!help.lines().any(|line| line.trim_start().starts_with(guess)), "{help}");
    }
}
