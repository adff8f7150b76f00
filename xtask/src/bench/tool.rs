//! The command line itself: how fast it starts, what the live view costs, how long a long report takes, how large it is.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::pty::{OpenptyResult, Winsize, openpty};

use super::Options;
use super::meter::{self, children_seconds};
use crate::page;
use crate::shell::{self, cargo};

/// How long the live view is up.
const SECONDS: u64 = 30;
const SCREEN: Winsize = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
/// Starts of one command in a round.
const STARTS: usize = 51;
const SAMPLES: &str = "1000000";

/// A figure with its budget, or one of a rival without.
struct Row {
    what: String,
    /// One for each round.
    measured: Vec<f64>,
    unit: &'static str,
    budget: Option<f64>,
}

/// What the live view cost.
struct Shown {
    cpu_seconds: f64,
    peak_bytes: u64,
}

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<bool> {
    let seconds = options.seconds.unwrap_or(SECONDS);
    let folder = root.join("target/bench");
    std::fs::create_dir_all(&folder).context("failed to make `target/bench`")?;
    let memcli = crate::dist::program(root)?;
    let mut build = cargo(root, ["build", "--release", "--locked", "--package=memcli"]);
    let built = shell::capture(build.arg("--example=long_trace"))?;
    if !built.good {
        bail!("the build failed:\n{}", built.text);
    }
    let trace = folder.join("long.jsonl.gz");
    let mut write = Command::new(root.join("target/release/examples/long_trace"));
    shell::read(write.arg(&trace).arg(SAMPLES))?;

    let row = |what: &str, unit, budget: Option<f64>| Row {
        what: what.to_owned(),
        measured: Vec::new(),
        unit,
        budget,
    };
    let mut rows = vec![
        row("`memcli --version`, from its start to its end", "ms", Some(5.0)),
        row("`memcli status PID`, of a process of its own size", "ms", Some(20.0)),
        row("`true`, which does nothing: what a start costs here", "ms", None),
        row("`memcli top PID` at 1 Hz in 120x40 for 30 s", "CPU s", Some(0.10)),
        row("the same, its peak RSS", "MiB", Some(10.0)),
        row("`memcli report`, 1,000,000 samples", "s", Some(2.0)),
        row("`memcli`, linked statically and stripped", "MiB", Some(8.0)),
    ];
    let htop = Command::new("htop").arg("--version").output().is_ok();
    if htop {
        rows.insert(5, row("`htop -p PID` at 1 Hz in 120x40 for 30 s", "CPU s", None));
    } else {
        println!("SKIPPED htop: it is not installed");
    }
    let mut slept = Command::new("sleep").arg("3600").spawn().context("failed to start `sleep`")?;
    let measured = (1..=options.rounds).try_for_each(|round| -> anyhow::Result<()> {
        let pid = slept.id().to_string();
        let mut figures = vec![
            start(Command::new(&memcli).arg("--version"))?,
            start(Command::new(&memcli).args(["status", &pid]))?,
            start(&mut Command::new("true"))?,
        ];
        let top = shown(Command::new(&memcli).args(["top", &pid]), seconds)?;
        figures.extend([top.cpu_seconds, top.peak_bytes as f64 / 1_048_576.0]);
        if htop {
            let mut htop = Command::new("htop");
            figures.push(shown(htop.args(["-d", "10", "-p", &pid]), seconds)?.cpu_seconds);
        }
        let started = Instant::now();
        let mut report = Command::new(&memcli);
        meter::run(
            report.arg("report").arg(&trace).stdout(Stdio::null()),
            Duration::from_secs(120),
        )?;
        figures.push(started.elapsed().as_secs_f64());
        figures.push(std::fs::metadata(&memcli)?.len() as f64 / 1_048_576.0);
        for (row, figure) in rows.iter_mut().zip(figures) {
            row.measured.push(figure);
        }
        println!("round {round} of {}", options.rounds);
        Ok(())
    });
    // Nothing is left to do about one that has already ended.
    let _ = slept.kill().and_then(|()| slept.wait());
    measured?;
    report(root, seconds, options.rounds, rows)
}

/// The median time of a start, in milliseconds.
fn start(command: &mut Command) -> anyhow::Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let started = Instant::now();
        let status = command.status()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        if !status.success() {
            bail!("`{}` ended with {status}", command.get_program().to_string_lossy());
        }
    }
    page::median(times).context("nothing was measured")
}

/// What a program cost that is shown on a terminal for so long, and is then told to quit.
fn shown(command: &mut Command, seconds: u64) -> anyhow::Result<Shown> {
    let OpenptyResult { master, slave } = openpty(Some(&SCREEN), None)?;
    let side = |fd: &OwnedFd| -> anyhow::Result<Stdio> { Ok(fd.try_clone()?.into()) };
    command.stdin(side(&slave)?).stdout(side(&slave)?).stderr(side(&slave)?);
    command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8");
    let before = children_seconds()?;
    let mut child = command.spawn()?;
    let mut screen = File::from(master.try_clone()?);
    // Somebody must look, or the terminal is full before long. Ends with the last writer.
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while matches!(screen.read(&mut buffer), Ok(1..)) {}
    });
    std::thread::sleep(Duration::from_secs(seconds));
    let peak_bytes = meter::peak(child.id()).context("it did not stay")?;
    File::from(master).write_all(b"q")?;
    let status = child.wait()?;
    // With the last one who could write, the reader ends.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    drop(slave);
    let _ = reader.join();
    if !status.success() {
        bail!("the live view ended with {status}");
    }
    Ok(Shown { cpu_seconds: children_seconds()? - before, peak_bytes })
}

/// Prints and writes the table; whether each budget is kept.
fn report(root: &Path, seconds: u64, rounds: usize, rows: Vec<Row>) -> anyhow::Result<bool> {
    let mut table = format!(
        "Medians of {rounds} rounds; of a start, of {STARTS} starts in each.\n\n\
         | | measured | at most | |\n|---|---:|---:|---|\n"
    );
    let mut good = true;
    for Row { what, measured, unit, budget } in rows {
        let figure = page::median(measured).context("nothing was measured")?;
        let kept = budget.is_none_or(|budget| figure <= budget);
        good &= kept;
        let word = match budget {
            Some(_) if kept => "kept",
            Some(_) => "**exceeded**",
            None => "",
        };
        let budget = budget.map_or(String::new(), |budget| format!("{budget} {unit}"));
        table.push_str(&format!("| {what} | {figure:.3} {unit} | {budget} | {word} |\n"));
    }
    println!("{table}");
    if seconds != SECONDS {
        println!("Not written: the page has the live view over {SECONDS} s.");
        return Ok(good);
    }
    page::write(root, "tool", &table)?;
    Ok(good)
}
