//! Watching one process at 10 Hz: `memcli run` against psrecord, mprof and a bare C loop.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::Options;
use super::meter::{self, Cost};
use crate::page;
use crate::shell::{self, cargo};

const INTERVAL_SECONDS: f64 = 0.1;
/// What the budget of `memcli run` at 10 Hz is stated for, its child's cost taken off.
const BUDGET_SECONDS: u64 = 30;
const BUDGET_CPU_SECONDS: f64 = 0.05;
const BUDGET_PEAK_BYTES: u64 = 6 << 20;
const BUDGET_SAMPLES: std::ops::RangeInclusive<u64> = 299..=301;
const BUDGET_TRACE_BYTES: u64 = 12_000;

/// The recording that `memcli run` makes.
const TRACE: &str = "memcli.jsonl.gz";
/// What the rivals write, in the folder of the bench.
const LOGS: [&str; 4] = ["memcli.json", "psrecord.log", "mprof.dat", "loop.log"];

/// One of those that watch.
struct Rival {
    name: String,
    /// Whether it starts the target itself and so is accounted the target's time.
    starts_target: bool,
    command: fn(&Bench, u32) -> Command,
    samples: fn(&Bench) -> anyhow::Result<u64>,
    runs: Vec<(Cost, u64)>,
}

/// Where things are.
struct Bench {
    folder: PathBuf,
    memcli: PathBuf,
    target: PathBuf,
    seconds: u64,
}

impl Bench {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The target on its own.
    fn target(&self) -> Command {
        let mut target = Command::new(&self.target);
        target.arg(self.seconds.to_string());
        target
    }
}

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<bool> {
    let seconds = options.seconds.unwrap_or(BUDGET_SECONDS);
    if options.gate && seconds != BUDGET_SECONDS {
        bail!(
            "the gate of `run` needs --seconds {BUDGET_SECONDS}: its budget is stated for that time"
        );
    }
    let folder = root.join("target/bench");
    std::fs::create_dir_all(&folder).context("failed to make `target/bench`")?;
    build(root)?;
    let bench = Bench {
        memcli: crate::dist::program(root)?,
        folder,
        target: root.join("target/release/examples/bench-target"),
        seconds,
    };
    let mut missing = Vec::new();
    let mut rivals = vec![memcli()];
    match python(&bench) {
        Ok(versions) => rivals.extend([psrecord(&versions), mprof(&versions)]),
        Err(error) => missing.push(format!("psrecord and mprof: {error:#}")),
    }
    match c_loop(root, &bench) {
        Ok(rival) => rivals.push(rival),
        Err(error) => missing.push(format!("the C loop: {error:#}")),
    }
    for line in &missing {
        println!("SKIPPED {line}");
    }

    let mut alone = Vec::new();
    for round in 1..=options.rounds {
        alone.push(meter::run(&mut bench.target(), limit(&bench))?.cpu_seconds);
        // The order turns with each round, so that none always follows the same neighbour.
        let count = rivals.len();
        rivals.rotate_left((round - 1) % count);
        for rival in &mut rivals {
            measure(&bench, rival)?;
        }
        println!("round {round} of {}", options.rounds);
    }
    rivals.sort_by_key(|rival| rival.name != "memcli run");
    let trace = std::fs::metadata(bench.file(TRACE)).context("there is no trace")?.len();
    report(root, options.rounds, &bench, trace, &rivals, &alone, &missing)
}

fn limit(bench: &Bench) -> Duration {
    Duration::from_secs(bench.seconds * 2 + 60)
}

fn build(root: &Path) -> anyhow::Result<()> {
    let mut build = cargo(root, ["build", "--release", "--locked", "--package=xtask"]);
    let output = shell::capture(build.arg("--example=bench-target"))?;
    if !output.good {
        bail!("the build failed:\n{}", output.text);
    }
    Ok(())
}

fn measure(bench: &Bench, rival: &mut Rival) -> anyhow::Result<()> {
    // mprof appends, and a count left by an earlier run would pass for this one's.
    for log in LOGS {
        match std::fs::remove_file(bench.file(log)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("failed to remove `{log}`"));
            }
            _ => {}
        }
    }
    let watched = if rival.starts_target { None } else { Some(Watched::start(bench)?) };
    let pid = watched.as_ref().map_or(0, |watched| watched.0.id());
    let mut command = (rival.command)(bench, pid);
    let complaints = std::fs::File::create(bench.file("stderr"))
        .context("failed to make `target/bench/stderr`")?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
    let cost = meter::run(&mut command, limit(bench)).with_context(|| {
        let said = std::fs::read_to_string(bench.file("stderr")).unwrap_or_default();
        format!("{} could not be measured; it said: {}", rival.name, said.trim())
    })?;
    drop(watched);
    let samples = (rival.samples)(bench)
        .with_context(|| format!("`{}` left no count of samples", rival.name))?;
    rival.runs.push((cost, samples));
    Ok(())
}

/// A target that runs while it is watched. It outlives the watcher and is ended after it.
struct Watched(Child);

impl Watched {
    fn start(bench: &Bench) -> anyhow::Result<Self> {
        let mut target = Command::new(&bench.target);
        let child = target.arg((bench.seconds + 60).to_string()).stdin(Stdio::null()).spawn();
        Ok(Self(child.context("failed to start the target")?))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Nothing is left to do about a target that has already ended.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn memcli() -> Rival {
    let command = |bench: &Bench, _: u32| {
        // It is looked at when all rivals have run, so it is not among the logs that each run removes. Its absence then is
        // an error.
        let _ = std::fs::remove_file(bench.file(TRACE));
        let mut command = Command::new(&bench.memcli);
        command.args(["run", "--interval", "100ms", "--for", &format!("{}s", bench.seconds)]);
        command.arg("--output").arg(bench.file(TRACE));
        command.arg("--summary").arg(bench.file("memcli.json")).arg("--").arg(&bench.target);
        command.arg(bench.seconds.to_string());
        command
    };
    let samples = |bench: &Bench| {
        let summary: Value =
            serde_json::from_str(&std::fs::read_to_string(bench.file("memcli.json"))?)?;
        if summary["peak"]["pss_bytes"].is_null() {
            bail!("it read no PSS");
        }
        summary["samples"].as_u64().context("the summary has no `samples`")
    };
    let name = "memcli run".to_owned();
    Rival { name, starts_target: true, command, samples, runs: Vec::new() }
}

/// The Python rivals, installed once below `target`; their versions.
fn python(bench: &Bench) -> anyhow::Result<String> {
    let venv = bench.file("venv");
    let pip = venv.join("bin/pip");
    if !venv.join("bin/psrecord").exists() || !venv.join("bin/mprof").exists() {
        let made = shell::capture(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        if !made.good {
            bail!("`python3 -m venv` failed: {}", made.text.trim());
        }
        let install =
            ["install", "--quiet", "--disable-pip-version-check", "psrecord", "memory_profiler"];
        let installed = shell::capture(Command::new(&pip).args(install))?;
        if !installed.good {
            bail!("pip could not install them: {}", installed.text.trim());
        }
    }
    shell::read(Command::new(&pip).args(["list", "--format=freeze", "--disable-pip-version-check"]))
}

fn version(freeze: &str, package: &str) -> String {
    let prefix = format!("{package}==");
    freeze
        .lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or("unknown version")
        .to_owned()
}

fn psrecord(versions: &str) -> Rival {
    let command = |bench: &Bench, pid: u32| {
        let mut command = Command::new(bench.file("venv/bin/psrecord"));
        command.args([pid.to_string(), "--interval".to_owned(), INTERVAL_SECONDS.to_string()]);
        command
            .arg("--duration")
            .arg(bench.seconds.to_string())
            .arg("--log")
            .arg(bench.file("psrecord.log"));
        command
    };
    let samples = |bench: &Bench| {
        let log = std::fs::read_to_string(bench.file("psrecord.log"))?;
        Ok(log.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).count()
            as u64)
    };
    let name = format!("psrecord {}", version(versions, "psrecord"));
    Rival { name, starts_target: false, command, samples, runs: Vec::new() }
}

fn mprof(versions: &str) -> Rival {
    let command = |bench: &Bench, _: u32| {
        let mut command = Command::new(bench.file("venv/bin/mprof"));
        command.args([
            "run",
            "--interval",
            &INTERVAL_SECONDS.to_string(),
            "--nopython",
            "--output",
        ]);
        command.arg(bench.file("mprof.dat")).arg(&bench.target).arg(bench.seconds.to_string());
        command
    };
    let samples = |bench: &Bench| {
        let data = std::fs::read_to_string(bench.file("mprof.dat"))?;
        Ok(data.lines().filter(|line| line.starts_with("MEM ")).count() as u64)
    };
    let name = format!("mprof {}", version(versions, "memory-profiler"));
    Rival { name, starts_target: true, command, samples, runs: Vec::new() }
}

fn c_loop(root: &Path, bench: &Bench) -> anyhow::Result<Rival> {
    let program = bench.file("loop");
    let mut compile = Command::new("cc");
    compile.args(["-O2", "-Wall", "-o"]).arg(&program).arg(root.join("xtask/bench/loop.c"));
    let compiled = shell::capture(&mut compile)?;
    if !compiled.good {
        bail!("it did not compile: {}", compiled.text.trim());
    }
    let command = |bench: &Bench, pid: u32| {
        let mut command = Command::new(bench.file("loop"));
        command.args([pid.to_string(), "100".to_owned(), bench.seconds.to_string()]);
        command.arg(bench.file("loop.log"));
        command
    };
    let samples =
        |bench: &Bench| Ok(std::fs::read_to_string(bench.file("loop.log"))?.lines().count() as u64);
    let name = "a bare C loop".to_owned();
    Ok(Rival { name, starts_target: false, command, samples, runs: Vec::new() })
}

/// Prints and writes the table; whether the budget is kept.
fn report(
    root: &Path,
    rounds: usize,
    bench: &Bench,
    trace_bytes: u64,
    rivals: &[Rival],
    alone: &[f64],
    missing: &[String],
) -> anyhow::Result<bool> {
    let target = page::median(alone.to_vec()).context("nothing was measured")?;
    let mut table = format!(
        "{} s at 10 Hz, median of {}; the target alone costs {target:.4} CPU s, which is taken off where it is a child.\n\n\
         | | CPU s | peak RSS | samples |\n|---|---:|---:|---:|\n",
        bench.seconds, rounds
    );
    let mut good = true;
    for rival in rivals {
        let own = |(cost, _): &(Cost, u64)| {
            cost.cpu_seconds - if rival.starts_target { target } else { 0.0 }
        };
        let cpu =
            page::median(rival.runs.iter().map(own).collect()).context("a rival never ran")?;
        let peak =
            page::median(rival.runs.iter().map(|(cost, _)| cost.peak_bytes as f64).collect())
                .unwrap_or(0.0);
        let samples = page::median(rival.runs.iter().map(|(_, samples)| *samples as f64).collect())
            .unwrap_or(0.0);
        table.push_str(&format!(
            "| {} | {cpu:.4} | {:.1} MiB | {samples:.0} |\n",
            rival.name,
            peak / 1_048_576.0
        ));
        if rival.name == "memcli run" {
            good = cpu <= BUDGET_CPU_SECONDS
                && peak <= BUDGET_PEAK_BYTES as f64
                && BUDGET_SAMPLES.contains(&(samples as u64))
                && trace_bytes <= BUDGET_TRACE_BYTES;
        }
    }
    for line in missing {
        table.push_str(&format!("\nNot measured here: {line}.\n"));
    }
    if bench.seconds != BUDGET_SECONDS {
        // Starting costs the same however long one watches, so the budget does not scale; and a short look is not for the page.
        println!("{table}\nThe budget is stated for {BUDGET_SECONDS} s: not judged, not written.");
        return Ok(true);
    }
    let kept = if good { "kept" } else { "exceeded" };
    table.push_str(&format!(
        "\n`memcli run` read RSS at each sample and PSS within its budget, judged growth and level, and left a trace of {trace_bytes} bytes. \
         Its budget for 30 s, 0.05 CPU s, 6 MiB, 300 samples give or take one and 12,000 bytes, was {kept}.\n"
    ));
    println!("{table}");
    page::write(root, "run", &table)?;
    Ok(good)
}
