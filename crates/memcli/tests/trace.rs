//! Traces end to end: the built binary writes, reads, replays, compares and plans.

#![expect(clippy::unwrap_used, reason = "a panic in a fixture is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use memcli::trace::tree::{ProcessRow, ProcessesRow};
use memcli::trace::{EndRow, EventRow, Header, Writer};
use memtrack::{Sample, Stamp};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// A folder of its own, and memcli in it, untouched by whatever configuration this machine has.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_memcli"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            // Where a program that is measured leaves its counts.
            .envs(std::env::vars_os().filter(|(name, _)| name == "LLVM_PROFILE_FILE"))
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.0.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    fn memcli(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints, when it exits with `code`.
    fn says(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.memcli(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
        if code == 0 || code == 99 { out } else { err }
    }

    /// A trace of `samples` samples at 10 Hz of a process that has `bytes` of anonymous memory at each.
    fn trace(&self, name: &str, samples: u64, bytes: impl Fn(u64) -> u64) -> String {
        let header: Header = serde_json::from_str(
            r#"{"schema":"memcli.trace/1","writer":"memcli 0.1.0","target":{"label":"worker(4321)","kind":"tree","pid":4321,"start":7},
            "command":["worker","--name","<b>&\u001b[31m"],"started":"2026-11-21T12:00:00Z","interval_seconds":0.1,
            "machine":{"kernel":"Linux 6.1.0","architecture":"x86_64","processors":4}}"#,
        )
        .unwrap();
        let file = fs::File::create(self.path(name)).unwrap();
        let mut writer = Writer::new(file, &header).unwrap();
        for n in 0..samples {
            writer.sample(&sample(header.started, n, bytes(n))).unwrap();
            if n == samples / 3 {
                let process = |pid, command: &str, mib| ProcessRow {
                    pid,
                    start: 7,
                    parent: Some(4321),
                    command: Some(command.to_owned()),
                    rss: Some(mib * MIB),
                    ..ProcessRow::default()
                };
                let rows =
                    vec![process(4321, "worker --name x", 60), process(4330, "worker: child", 7)];
                let row = ProcessesRow { t: n as f64 / 10.0, rows, more: 0 };
                writer.processes(&row).unwrap();
            }
            if n == samples / 2 {
                let config = Some(vec!["pressure.thresholds.critical 0.85 -> 0.80".to_owned()]);
                writer
                    .event(&EventRow { t: n as f64 / 10.0, seq: 9, config, ..EventRow::default() })
                    .unwrap();
            }
        }
        let end: EndRow = serde_json::from_str(&format!(
            r#"{{"end":{{"kind":"exited","code":0}},"exit_code":0,"duration_seconds":{},"peak_rss_bytes":{},"peak_exact":true,
            "cpu_seconds":0.02,"max_rss_bytes":5000000}}"#,
            samples as f64 / 10.0,
            (0..samples).map(&bytes).max().unwrap() + 5 * MIB
        ))
        .unwrap();
        writer.end(&end).unwrap();
        name.to_owned()
    }
}

/// A trace of five processes that share 60 MiB, and of which each grows.
fn of_a_tree(room: &Room, name: &str) -> String {
    let header: Header = serde_json::from_str(
        r#"{"schema":"memcli.trace/1","writer":"memcli 0.1.0","target":{"label":"worker(4321)","kind":"tree","pid":4321,"start":7},
        "command":["worker"],"started":"2026-11-21T12:00:00Z","interval_seconds":0.1}"#,
    )
    .unwrap();
    let mut writer = Writer::new(fs::File::create(room.path(name)).unwrap(), &header).unwrap();
    for n in 0..600 {
        let bytes = leaking(n);
        let mut sample = sample(header.started, n, 4 * 60 * MIB + bytes);
        let process = &mut sample.process;
        (process.processes, process.pss) = (Ok(5), Ok(bytes + 2 * MIB));
        process.pss_age = Ok(Duration::from_millis(n % 10 * 100));
        (sample.cgroup.limit, sample.cgroup.headroom) = (Ok(2 << 30), Ok(1 << 30));
        writer.sample(&sample).unwrap();
        if n % 100 == 0 {
            let rows = (0..5).map(|child| ProcessRow {
                pid: 4321 + child,
                start: 7,
                parent: Some(if child == 0 { 1 } else { 4321 }),
                command: Some(format!("worker --number {child}")),
                rss: Some(60 * MIB + bytes / 5),
                pss: Some(bytes / 5),
                ..ProcessRow::default()
            });
            let row = ProcessesRow { t: n as f64 / 10.0, rows: rows.collect(), more: 0 };
            writer.processes(&row).unwrap();
        }
    }
    name.to_owned()
}

fn sample(started: SystemTime, n: u64, bytes: u64) -> Sample {
    let monotonic = Duration::from_millis(100 * n);
    let mut sample = Sample::empty(Stamp { monotonic, wall: started + monotonic, gap: false });
    sample.process.rss = Ok(bytes + 4 * MIB);
    sample.process.anon = Ok(bytes);
    sample.process.swap = Ok(0);
    sample.process.processes = Ok(1);
    sample.system.total = Ok(8 << 30);
    sample.system.available = Ok(6 << 30);
    sample.cgroup.limit = Ok(256 * MIB);
    sample.cgroup.usage = Ok(bytes + 8 * MIB);
    sample.cgroup.inactive_file = Ok(0);
    sample.cgroup.headroom = Ok(248 * MIB - bytes.min(248 * MIB));
    sample
}

/// 2 MiB each second on a base of 64 MiB.
fn leaking(n: u64) -> u64 {
    64 * MIB + n * 2 * MIB / 10
}

/// A constant level with a little deterministic noise.
fn steady(level: u64) -> impl Fn(u64) -> u64 {
    move |n| level * MIB + (n * 7919 % 64) * 4096
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// Compares with the file in `tests/snapshots`; `UPDATE_SNAPSHOTS=1` writes it.
fn matches_snapshot(name: &str, said: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, said).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(said, expected, "{}", path.display());
}

#[test]
fn what_people_read_of_a_trace() {
    let room = Room::new();
    let leak = room.trace("leak.jsonl.gz", 600, leaking);
    let report = room.says(0, &["report", &leak]);
    assert!(
        report.contains("verdict   leak")
            && report.contains("69.0 MiB RSS") | report.contains("exact"),
        "{report}"
    );
    assert!(!report.contains('\u{1b}'), "no escape sequence of a trace reaches the terminal");
    let chart = report.lines().filter(|line| line.contains(['│', '┤', '└']));
    assert!(chart.clone().count() >= 10 && chart.clone().all(|line| line.chars().count() <= 80));
    let tree = of_a_tree(&room, "tree.jsonl.gz");
    let (base, new) = (room.trace("a.gz", 600, steady(100)), room.trace("b.gz", 600, steady(110)));
    fs::write(room.path("c.toml"), "schema_version = 3\n[budget]\ntotal = \"128MiB\"\n").unwrap();
    for columns in ["80", "120"] {
        for (name, words) in [
            ("report", &["report", leak.as_str()][..]),
            ("report-tree", &["report", &tree]),
            ("replay", &["replay", &leak]),
            ("budget", &["budget", &leak]),
            ("diff", &["diff", &base, &new]),
            ("plan", &["config", "plan", "c.toml", "--trace", &leak]),
        ] {
            let output = room.command(words).env("COLUMNS", columns).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            matches_snapshot(&format!("{name}-{columns}.txt"), &text(&output.stdout));
        }
        let output = room.command(&["leak", &leak]).env("COLUMNS", columns).output().unwrap();
        assert_eq!(output.status.code(), Some(99), "{}", text(&output.stderr));
        matches_snapshot(&format!("leak-{columns}.txt"), &text(&output.stdout));
    }
}

#[test]
fn a_run_is_recorded_and_its_report_agrees_with_its_summary() {
    let room = Room::new();
    let own = env!("CARGO_BIN_EXE_memcli");
    let output = room.memcli(&[
        "run",
        "-o",
        "t.jsonl.gz",
        "--summary",
        "s.json",
        "--",
        own,
        "demo",
        "leak",
        "--unwatched",
        "--for",
        "3s",
        "--rate",
        "4MiB/s",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("trace     t.jsonl.gz"));

    let zcat = Command::new("zcat").arg(room.path("t.jsonl.gz")).output().unwrap();
    let rows: Vec<_> = text(&zcat.stdout).lines().map(json).collect();
    assert_eq!(rows[0]["schema"], "memcli.trace/1");
    assert_eq!(rows[0]["command"][1], "demo");
    assert!(rows.last().unwrap()["end"]["exit_code"] == 0);
    let samples = rows.iter().filter(|row| row["sample"].is_object()).count() as u64;

    let summary = json(&fs::read_to_string(room.path("s.json")).unwrap());
    let report = json(&room.says(0, &["report", "-f", "json", "t.jsonl.gz"]));
    assert_eq!(report["schema"], "memcli.report/1");
    let run = &report["runs"][0];
    assert_eq!(run["samples"], samples);
    for key in [
        "samples",
        "lost",
        "peak",
        "growth",
        "verdict",
        "level",
        "highest_level",
        "end",
        "exit_code",
        "target",
    ] {
        assert_eq!(run[key], summary[key], "{key}");
    }
    assert_eq!(run["complete"], true);

    // The watch wrote down what it decided; the same configuration decides the same over the recording.
    let told = |kind: &str, row: &serde_json::Value| {
        Some(row[kind]["to"].clone()).filter(|to| !to.is_null())
    };
    let recorded: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            Some((
                row["event"]["t"].as_f64()?,
                told("level", &row["event"]).or_else(|| told("verdict", &row["event"]))?,
            ))
        })
        .collect();
    let replayed = room.says(0, &["replay", "t.jsonl.gz", "--json"]);
    let replayed: Vec<_> = replayed
        .lines()
        .map(json)
        .filter_map(|row| {
            let kind = row["verdict"]["to"]["kind"].clone();
            let to = told("level", &row).or(Some(kind).filter(|to| !to.is_null()))?;
            Some((row["at_seconds"].as_f64()?, to))
        })
        .collect();
    assert_eq!(replayed, recorded);
    assert!(!recorded.is_empty());
}

#[test]
fn a_killed_watch_leaves_all_but_the_last_seconds() {
    let room = Room::new();
    let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = sleeper.id().to_string();
    let mut watch = room
        .command(&["watch", "--interval", "20ms", "-o", "t.jsonl.gz", &pid])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Until a few flushes are on the disk: each is some hundred bytes behind the header.
    let begun = Instant::now();
    let rows = || {
        let zcat = Command::new("zcat").arg(room.path("t.jsonl.gz")).stderr(Stdio::null()).output();
        zcat.map_or(0, |output| output.stdout.split(|b| *b == b'\n').count())
    };
    while rows() < 100 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is flushed");
        std::thread::yield_now();
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();

    let report = json(&room.says(0, &["report", "-f", "json", "t.jsonl.gz"]));
    let run = &report["runs"][0];
    assert_eq!(run["complete"], false);
    assert!(run["damage"].as_str().unwrap().starts_with("the file is cut off"), "{run}");
    assert!(run["samples"].as_u64().unwrap() >= 90);
    assert!(run["end"].is_null() && run["absent"]["end"].is_string());
    assert!(room.says(0, &["report", "t.jsonl.gz"]).contains("incomplete: the file is cut off"));
}

#[test]
fn a_replay_is_the_same_twice_and_follows_todays_configuration() {
    let room = Room::new();
    let leak = room.trace("leak.jsonl.gz", 600, leaking);
    let first = room.says(0, &["replay", &leak]);
    assert_eq!(first, room.says(0, &["replay", &leak]), "byte for byte");
    let changes = |said: &str| said.lines().filter(|line| line.contains(" level    ")).count();

    fs::write(
        room.path("c.toml"),
        "schema_version = 3\n[pressure.thresholds]\nwarning = 0.40\ncritical = 0.60\nemergency = 0.95\n",
    )
    .unwrap();
    let lowered = room.says(0, &["replay", &leak, "--config", "c.toml"]);
    assert!(changes(&lowered) > changes(&first), "{first}\n{lowered}");
    assert!(lowered.contains("warning -> critical (cgroup 0.60, threshold 0.60)"), "{lowered}");

    let rows = room.says(0, &["replay", &leak, "--json"]);
    let rows: Vec<_> = rows.lines().map(json).collect();
    assert!(rows[..rows.len() - 1].iter().all(|row| row["schema"] == "memcli.event/1"));
    let outcome = rows.last().unwrap();
    assert_eq!(
        (&outcome["schema"], &outcome["verdict"]["kind"]),
        (&"memcli.replay/1".into(), &"leak".into())
    );
    room.says(64, &["replay", &leak, "--speed", "0"]);
}

#[test]
fn a_difference_is_found_and_none_is_not() {
    let room = Room::new();
    let base = room.trace("base.gz", 600, steady(100));
    let new = room.trace("new.gz", 600, steady(110));
    let same = json(&room.says(0, &["diff", &base, &base, "--json", "--fail-on", "regression"]));
    assert_eq!(
        (&same["schema"], &same["verdict"]),
        (&"memcli.diff/1".into(), &"no_difference".into())
    );

    let worse = json(&room.says(99, &["diff", &base, &new, "--json", "--fail-on", "regression"]));
    assert_eq!(worse["verdict"], "worse");
    let steady = &worse["rows"][1];
    assert_eq!(steady["metric"], "steady");
    let change = 10.0 * MIB as f64;
    assert!(
        steady["low"].as_f64().unwrap() <= change && change <= steady["high"].as_f64().unwrap(),
        "{steady}"
    );
    assert_eq!(
        json(&room.says(0, &["diff", &new, &base, "--json", "--fail-on", "regression"]))["verdict"],
        "better"
    );
    assert_eq!(
        json(&room.says(0, &["diff", &base, &new, "--json"]))["verdict"],
        "worse",
        "no gate was asked for"
    );
}

#[test]
fn several_runs_a_side_are_compared_by_their_means() {
    let room = Room::new();
    let side = |name: &str, level: u64| {
        // Three runs that differ by up to a MiB, in one file, one after the other.
        let runs = [0, 1, 2].map(|n| {
            let part =
                room.trace(&format!("{name}{n}"), 300, move |i| steady(level)(i) + n * MIB / 2);
            fs::read(room.path(&part)).unwrap()
        });
        fs::write(room.path(name), runs.concat()).unwrap();
    };
    side("base.gz", 100);
    side("new.gz", 110);
    let worse =
        json(&room.says(99, &["diff", "base.gz", "new.gz", "--json", "--fail-on", "regression"]));
    assert_eq!((&worse["base"]["runs"], &worse["verdict"]), (&3.into(), &"worse".into()));
    let peak = &worse["rows"][0];
    assert!(peak["metric"] == "peak" && peak["p"].as_f64().unwrap() < 0.01, "{peak}");
    let more = json(&room.says(
        0,
        &["diff", "base.gz", "base.gz0", "--new", "base.gz1", "--new", "base.gz2", "--json"],
    ));
    assert_eq!((&more["new"]["runs"], &more["verdict"]), (&3.into(), &"no_difference".into()));
}

#[test]
fn a_recorded_leak_is_one_and_exits_with_99() {
    let room = Room::new();
    let leak = room.trace("leak.jsonl.gz", 600, leaking);
    assert!(room.says(99, &["leak", &leak]).contains("worker(4321)"));
    let steady = room.trace("steady.jsonl.gz", 600, steady(100));
    let document = json(&room.says(0, &["leak", &steady, "--json"]));
    assert_eq!(
        (&document["schema"], &document["verdict"]["kind"]),
        (&"memcli.leak/1".into(), &"steady".into())
    );
}

#[test]
fn csv_goes_out_and_comes_back_the_same() {
    let room = Room::new();
    let trace = room.trace("t.jsonl.gz", 200, leaking);
    let csv = room.says(0, &["report", "-f", "csv", &trace]);
    assert_eq!(csv.lines().count(), 201);
    fs::write(room.path("t.csv"), csv).unwrap();
    let from_trace = json(&room.says(0, &["report", "-f", "json", &trace]));
    let from_csv = json(&room.says(0, &["report", "-f", "json", "t.csv"]));
    for key in ["samples", "percentiles", "growth", "verdict"] {
        assert_eq!(from_csv["runs"][0][key], from_trace["runs"][0][key], "{key}");
    }
    fs::write(room.path("mprofile.dat"), "CMDLINE x\nMEM 1.0 1690000000.5\nMEM 2.0 1690000001.5\n")
        .unwrap();
    let mprof = json(&room.says(0, &["report", "-f", "json", "mprofile.dat"]));
    assert_eq!(mprof["runs"][0]["peak"]["rss_bytes"], 2 * MIB);
    assert_eq!(mprof["runs"][0]["writer"], "mprof");
}

#[test]
fn the_page_needs_nothing_else_and_holds_names_as_text() {
    let room = Room::new();
    let trace = room.trace("t.jsonl.gz", 600, leaking);
    let page = room.says(0, &["report", "-f", "html", &trace]);
    assert!(
        page.starts_with("<!DOCTYPE html>")
            && page.contains("<svg")
            && page.contains("prefers-color-scheme: dark")
    );
    assert!(page.contains("--name &lt;b&gt;&amp;[31m") && !page.contains("<b>"));
    for outside in ["http:", "https:", "src=", "@import", "<script", "url(//"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("class=\"fit\"") && page.contains("class=\"limit\""));
    assert!(page.contains("pressure.thresholds.critical 0.85 -&gt; 0.80"));
    assert!(page.len() < 100_000, "{} bytes", page.len());
}

#[test]
fn a_plan_says_what_fits_and_its_toml_is_a_valid_configuration() {
    let room = Room::new();
    let trace = room.trace("t.jsonl.gz", 600, steady(60));
    let document = json(&room.says(0, &["budget", &trace, "--limit", "1GiB", "--json"]));
    assert_eq!(document["schema"], "memcli.budget/1");
    // 69.0 MiB at its peak: below 0.70 of 1 GiB ten times.
    assert_eq!(document["plan"]["workers_at_peak"], 10);
    let toml = format!("schema_version = 3\n{}", document["toml"].as_str().unwrap());
    fs::write(room.path("c.toml"), &toml).unwrap();
    room.says(0, &["config", "check", "--config", "c.toml"]);
    assert!(
        room.says(0, &["budget"]).contains("[budget]"),
        "without a trace the limit here is told"
    );
}

#[test]
fn mistakes_end_with_their_codes() {
    let room = Room::new();
    fs::write(room.path("noise"), [0u8, 159, 146, 150, 7]).unwrap();
    fs::write(room.path("empty"), "").unwrap();
    fs::write(room.path("later.jsonl"), "{\"schema\":\"memcli.trace/9\"}\n").unwrap();
    let trace = room.trace("t.jsonl.gz", 100, leaking);
    let whole = fs::read(room.path(&trace)).unwrap();
    fs::write(room.path("head.gz"), &whole[..30]).unwrap();
    for command in ["report", "replay", "budget"] {
        assert!(room.says(65, &[command, "noise"]).contains("no trace"));
        assert!(room.says(65, &[command, "empty"]).contains("it is empty"));
        assert!(room.says(65, &[command, "later.jsonl"]).contains("update this one"));
        room.says(65, &[command, "head.gz"]);
        room.says(66, &[command, "nowhere.jsonl.gz"]);
    }
    room.says(66, &["leak", "nowhere.jsonl.gz"]);
    room.says(64, &["report"]);
    room.says(64, &["report", "-f", "pdf", &trace]);

    // What cannot be recorded does not begin.
    let output = room.memcli(&["run", "-o", "no/such/folder.gz", "--", "touch", "begun"]);
    assert_eq!(output.status.code(), Some(66), "{}", text(&output.stderr));
    assert!(!room.path("begun").exists());
}

#[test]
fn a_full_disk_spoils_the_trace_and_not_the_run() {
    let room = Room::new();
    let output = room.memcli(&["run", "-o", "/dev/full", "--", "sh", "-c", "echo done"]);
    assert_eq!(text(&output.stdout), "done\n");
    assert_eq!(output.status.code(), Some(74), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("is not complete: "), "{}", text(&output.stderr));
    let output = room.memcli(&["run", "-o", "/dev/full", "--", "sh", "-c", "exit 7"]);
    assert_eq!(output.status.code(), Some(7), "the command's own failure wins");
}

#[test]
fn a_page_can_be_printed() {
    let room = Room::new();
    let leak = room.trace("leak.jsonl.gz", 600, leaking);
    let page = room.says(0, &["report", "-f", "html", &leak]);
    let print = page.split("@media print").nth(1).expect("it has rules for paper");
    // Else browsers leave out the colours of the levels, and cut charts in two.
    assert!(print.contains("print-color-adjust: exact") && print.contains("break-inside: avoid"));
}

#[test]
fn a_plan_holds_the_peak_that_no_sample_saw() {
    let room = Room::new();
    let header: Header = serde_json::from_str(
        r#"{"schema":"memcli.trace/1","writer":"memcli 0.1.0","target":{"label":"worker(4321)","kind":"tree","pid":4321,"start":7},
        "started":"2026-11-21T12:00:00Z","interval_seconds":0.1}"#,
    )
    .unwrap();
    let file = fs::File::create(room.path("spike.jsonl.gz")).unwrap();
    let mut writer = Writer::new(file, &header).unwrap();
    for n in 0..100 {
        let mut sample = sample(header.started, n, 100 * MIB);
        (sample.process.pss, sample.process.pss_age) = (Ok(101 * MIB), Ok(Duration::ZERO));
        writer.sample(&sample).unwrap();
    }
    let end = format!(
        r#"{{"end":{{"kind":"exited","code":0}},"exit_code":0,"duration_seconds":10,"peak_rss_bytes":{},"peak_exact":true}}"#,
        304 * MIB
    );
    writer.end(&serde_json::from_str(&end).unwrap()).unwrap();
    let plan = json(&room.says(0, &["budget", "--json", "spike.jsonl.gz"]));
    assert_eq!(plan["measure"], "PSS");
    // 3 MiB of its 104 were shared, and so of its peak.
    assert_eq!(plan["plan"]["peak_bytes"], 301 * MIB, "{plan}");
}
