//! Replay through a trace file: what is decided live, and over the file twice, is the same to the byte.

#![expect(clippy::unwrap_used, reason = "a panic in a fixture is a failed test")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use memcli::trace::{Header, Reader, Row, Writer};
use mempressure::{
    BudgetConfig, BudgetTotal, Level, Machine, Offer, Pace, PressureConfig, Priority, Request,
    Rules, need, plan,
};
use memtrack::{Absent, Sample, Size, Stamp};
use proptest::prelude::*;
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Every decision over `samples`, with all that it was decided by: level, need, plan, and whether the plan may begin.
fn decisions(samples: &[Sample], budget: &BudgetConfig) -> String {
    let pressure = PressureConfig::default();
    let rules = Rules { pressure: &pressure, budget, generation: 3 };
    let (mut machine, mut pace, mut log) = (Machine::new(), Pace::default(), String::new());
    for sample in samples {
        let transition = machine.step(&rules, sample);
        let status = machine.status();
        let json = |value: Value| value.to_string();
        let told = json(serde_json::to_value(transition).unwrap());
        writeln!(log, "{told} {}", json(serde_json::to_value(status).unwrap())).unwrap();
        let need = need(&rules, sample, &status);
        // The caches hold what the process does, as no callback runs in a replay.
        let held = sample.process.rss.unwrap_or(0);
        let offers =
            [(Priority::Low, held / 2), (Priority::Normal, held / 4), (Priority::High, held / 8)]
                .map(|(priority, used)| Offer {
                    name: "cache",
                    priority,
                    used,
                    ceiling: None,
                    barred: false,
                });
        let (level, footprint) = (status.level, sample.process.footprint());
        let plan = plan(&Request { level, footprint, need, pressure: &pressure }, &offers);
        let asked = pace.ask(level, plan.is_urgent(need), &sample.at, pressure.cooldown);
        writeln!(log, "{need:?} {plan:?} {asked:?}").unwrap();
        if level >= Level::Warning && asked.is_ok() {
            pace.begin(level);
            pace.end(sample.at.monotonic);
            machine.evicted();
        }
    }
    log
}

/// The samples of a trace, in order.
fn read(path: &Path) -> Vec<Sample> {
    let mut reader = Reader::open(path).unwrap();
    let mut samples = Vec::new();
    while let Some(row) = reader.read() {
        if let Row::Sample(sample) = row {
            samples.push(sample);
        }
    }
    assert!(reader.damage().is_none(), "{:?}", reader.damage());
    samples
}

fn header() -> Header {
    serde_json::from_str(
        r#"{"schema":"memcli.trace/1","writer":"memcli 0.1.0","target":{"label":"service","kind":"system"},
        "started":"2026-11-21T12:00:00Z","interval_seconds":0.01}"#,
    )
    .unwrap()
}

fn write(path: &Path, samples: &[Sample]) {
    let mut writer = Writer::new(fs::File::create(path).unwrap(), &header()).unwrap();
    samples.iter().for_each(|sample| writer.sample(sample).unwrap());
    let end = r#"{"end":{"kind":"exited","code":0},"exit_code":0,"duration_seconds":1.0,"peak_rss_bytes":null,
        "peak_exact":false,"cpu_seconds":0.0,"max_rss_bytes":null}"#;
    writer.end(&serde_json::from_str(end).unwrap()).unwrap();
}

prop_compose! {
    /// A walk of all that the five signals look at, with readings that come and go, gaps, kills and stalls.
    fn walk()(
        steps in prop::collection::vec((0u64..1000, 0u64..1000, 0u8..40, 0u64..30_000), 20..200),
    ) -> Vec<Sample> {
        let started = header().started;
        let (mut at, mut stalled, mut kills) = (Duration::ZERO, 0, 0);
        steps.into_iter().map(|(used, machine, fate, passed)| {
            // To a tenth of a millisecond, as a watch stamps its samples.
            at += Duration::from_micros(100 * (passed + 1));
            let mut sample =
                Sample::empty(Stamp { monotonic: at, wall: started + at, gap: fate == 0 });
            (sample.process.rss, sample.process.swap) = (Ok(used * MIB), Ok(machine % 7 * MIB));
            (sample.system.total, sample.system.available) =
                (Ok(1000 * MIB), Ok((1000 - machine) * MIB));
            (sample.cgroup.limit, sample.cgroup.usage) = (Ok(1000 * MIB), Ok(used * MIB + 4096));
            sample.cgroup.inactive_file = Ok(10 * MIB);
            stalled += if fate < 8 { 40 * passed } else { 0 };
            kills += u64::from(fate == 1);
            sample.cgroup.events.max = Ok(stalled / 1000);
            sample.cgroup.events.oom_kill = Ok(kills);
            sample.psi.some.avg10 = Ok(f64::from(fate) / 400.0);
            (sample.psi.some.total_us, sample.psi.full.total_us) = (Ok(stalled), Ok(stalled / 3));
            match fate {
                2 => sample.cgroup.usage = Err(Absent::Denied),
                3 => sample.system.available = Err(Absent::Implausible),
                4 => sample.process.swap = Err(Absent::Unsupported),
                5 => sample.cgroup.limit = Err(Absent::Unlimited),
                _ => {}
            }
            sample
        }).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn machine_and_planner_decide_over_the_file_as_they_did_live_and_twice_alike(samples in walk()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl.gz");
        write(&path, &samples);
        let budget = BudgetConfig::default();
        let live = decisions(&samples, &budget);
        prop_assert_eq!(&decisions(&read(&path), &budget), &live);
        prop_assert_eq!(&decisions(&read(&path), &budget), &live);
    }
}

/// Without the configuration of whoever runs the tests, in a folder of its own.
fn memcli(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memcli"));
    command.args(arguments).current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin");
    // Where a program that is measured leaves its counts.
    command.envs(std::env::vars_os().filter(|(name, _)| name == "LLVM_PROFILE_FILE"));
    command.env("HOME", folder).env("XDG_CONFIG_HOME", folder).env("XDG_STATE_HOME", folder);
    command.stdin(Stdio::null());
    command
}

#[test]
fn a_recorded_run_replays_to_the_decisions_it_was_recorded_with_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("memcli")).unwrap();
    // So tight that a program of a few MiB goes through every level while it grows.
    fs::write(
        folder.path().join("memcli/config.toml"),
        "schema_version = 3\n[budget]\ntotal = \"64MiB\"\n[pressure]\nhold = \"100ms\"\nsignals = [\"budget\", \"cgroup\", \"psi\", \"forecast\"]\n",
    )
    .unwrap();
    let recorded = memcli(
        folder.path(),
        &[
            "demo",
            "leak",
            "--rate",
            "40MiB/s",
            "--for",
            "2s",
            "--interval",
            "5ms",
            "-o",
            "t.jsonl.gz",
        ],
    )
    .output()
    .unwrap();
    let path = folder.path().join("t.jsonl.gz");
    let said = String::from_utf8_lossy(&recorded.stderr);
    let samples = read(&path);
    assert!(samples.len() > 50, "{} samples\n{said}", samples.len());

    // The pure cores, with their plans.
    let budget =
        BudgetConfig { total: BudgetTotal::Size(Size(64 * MIB)), ..BudgetConfig::default() };
    let decided = decisions(&samples, &budget);
    assert!(decided == decisions(&read(&path), &budget), "the same file, other decisions");
    assert!(decided.contains("\"to\":\"emergency\"") && decided.contains("Turn {"), "{said}");

    // The command, in both its forms.
    let replayed = |arguments: &[&str]| {
        let output = memcli(folder.path(), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let rows = replayed(&["replay", "t.jsonl.gz", "--json"]);
    assert_eq!(replayed(&["replay", "t.jsonl.gz", "--json"]), rows);
    assert_eq!(replayed(&["replay", "t.jsonl.gz"]), replayed(&["replay", "t.jsonl.gz"]));

    // What the watch told while it ran, word for word.
    let mut reader = Reader::open(&path).unwrap();
    let mut live = String::new();
    while let Some(row) = reader.read() {
        if let Row::Event(event) = row
            && let Some(level) = event.level
        {
            writeln!(
                live,
                "{} {} {:?} {:?} {}",
                event.t, event.seq, level.from, level.to, level.text
            )
            .unwrap();
        }
    }
    let mut again = String::new();
    for row in rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap()) {
        let Ok(level) = serde_json::from_value::<mempressure::Transition>(row["level"].clone())
        else {
            continue;
        };
        let (at, seq) = (row["at_seconds"].as_f64().unwrap(), row["seq"].as_u64().unwrap());
        writeln!(again, "{at} {seq} {:?} {:?} {level}", level.from, level.to).unwrap();
    }
    assert_eq!(again, live);
    assert!(live.lines().count() >= 3, "{live}");
}
