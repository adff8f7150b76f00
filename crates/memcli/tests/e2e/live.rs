//! Real programs that leak and that do not, each watched by the built memcli: the short form of `cargo xtask live`.
//!
//! They take memory by the clock, and a verdict is waited for until it is told: a slow machine makes this test longer and its
//! verdicts no others. What is not installed is passed over; `memcli demo`, which is always there, is watched in `main_job`.

#![expect(clippy::print_stderr, reason = "a program that is not installed is named")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::memcli;

const KIB_PER_SECOND: &str = "4096";
/// How long a verdict may take until it is told: 7 s where nothing is in the way.
const TOLD_WITHIN: &str = "90s";
/// A program that does not leak is watched this long at least.
const STEADY_SECONDS: f64 = 10.0;

/// A program that is ready and takes memory; ended when dropped.
struct Program(Child);

impl Program {
    fn start(mut command: Command, form: &str) -> Self {
        command.args([form, KIB_PER_SECOND, "1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut program = Self(command.spawn().unwrap());
        let mut line = String::new();
        let stdout = program.0.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{command:?}");
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A watch that speaks JSON; ended when dropped.
struct Watch(Child);

impl Watch {
    fn start(program: &Program) -> Self {
        let pid = program.0.id().to_string();
        let mut command = memcli(&["watch", &pid, "--json", "--for", TOLD_WITHIN]);
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Each line it writes, until it ends.
    fn lines(&mut self) -> impl Iterator<Item = Value> + use<> {
        let stdout = BufReader::new(self.0.stdout.take().unwrap());
        stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    fn interrupt(&self) {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a line changes the verdict to; an alert of a leak is one as well.
fn told(line: &Value) -> Option<&str> {
    match line["alert"]["cause"].as_str() {
        Some("leak") => Some("leak"),
        _ => line["verdict"]["to"]["kind"].as_str(),
    }
}

/// The summary, which is the last line of a watch.
fn verdict(last: Option<Value>) -> Value {
    let last = last.unwrap();
    assert_eq!(last["schema"], "memcli.summary/1", "{last}");
    last["verdict"].clone()
}

/// Watches until a leak is told, and asks the watch to end: the leak must stand.
fn leaks(program: &Program) -> Result<(), String> {
    let mut watch = Watch::start(program);
    let (mut seen, mut last) = (false, None);
    for line in watch.lines() {
        if !seen && told(&line) == Some("leak") {
            seen = true;
            watch.interrupt();
        }
        last = Some(line);
    }
    let verdict = verdict(last);
    let rate = verdict["rate_bytes_per_second"].as_f64().unwrap_or_default() / 1024.0;
    let off = rate / KIB_PER_SECOND.parse::<f64>().unwrap() - 1.0;
    if !seen {
        Err(format!("no leak was told of within {TOLD_WITHIN}: {verdict}"))
    } else if verdict["kind"] != "leak" {
        Err(format!("its leak was taken back: {verdict}"))
    } else if off.abs() > 0.25 {
        Err(format!("it keeps {KIB_PER_SECOND} KiB/s: {verdict}"))
    } else {
        Ok(())
    }
}

/// Watches for a while, and until it is told to be steady: no leak may be told of.
fn does_not_leak(program: &Program) -> Result<(), String> {
    let mut watch = Watch::start(program);
    let (mut steady, mut asked, mut last) = (false, false, None);
    for line in watch.lines() {
        match told(&line) {
            Some("leak") => return Err(format!("a leak was told of: {line}")),
            Some(kind) => steady = kind == "steady",
            None => {}
        }
        let long_enough = line["at_seconds"].as_f64().is_some_and(|at| at >= STEADY_SECONDS);
        if steady && long_enough && !asked {
            asked = true;
            watch.interrupt();
        }
        last = Some(line);
    }
    let verdict = verdict(last);
    if verdict["kind"] == "steady" { Ok(()) } else { Err(format!("it is steady: {verdict}")) }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live").join(name)
}

/// Whether it is there, and no shim for what is not.
pub(crate) fn is_installed(program: &str) -> bool {
    let mut probe = Command::new(program);
    probe.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let installed = probe.status().is_ok_and(|status| status.success());
    if !installed {
        eprintln!("SKIPPED: {program} is not installed");
    }
    installed
}

/// What each program is started with, of those that are installed.
fn commands(folder: &Path) -> Vec<Vec<PathBuf>> {
    let mut commands = Vec::new();
    if is_installed("python3") {
        commands.push(vec!["python3".into(), source("grow.py")]);
    }
    if is_installed("node") {
        commands.push(vec!["node".into(), "--expose-gc".into(), source("grow.js")]);
    }
    if is_installed("cc") {
        let built = folder.join("grow");
        let compiled = Command::new("cc").arg("-o").arg(&built).arg(source("grow.c")).status();
        assert!(compiled.unwrap().success(), "grow.c does not compile");
        commands.push(vec![built]);
    }
    commands
}

#[test]
fn real_programs_that_leak_are_told_of_and_those_that_do_not_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let commands = commands(folder.path());
    let watch = |words: &[PathBuf], form: &str| {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        let program = Program::start(command, form);
        if form == "leak" { leaks(&program) } else { does_not_leak(&program) }
    };
    thread::scope(|scope| {
        let watch = &watch;
        let threads: Vec<_> = commands
            .iter()
            .flat_map(|words| ["leak", "steady"].map(|form| (words, form)))
            .map(|(words, form)| (words, form, scope.spawn(move || watch(words, form))))
            .collect();
        for (words, form, thread) in threads {
            let outcome = thread.join().unwrap();
            assert_eq!(outcome, Ok(()), "{words:?}, {form}");
        }
    });
}
