//! Real programs that leak and that do not, each watched by the built memcli: the short form of `cargo xtask live`.
//!
//! They take memory by the clock, and a leak is waited for until it is told: a slow machine makes this test longer and its
//! verdicts no others.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::memcli;

const KIB_PER_SECOND: &str = "4096";
/// How long a leak may take until it is told: 7 s where nothing is in the way.
const TOLD_WITHIN: Duration = Duration::from_secs(90);
const STEADY_FOR: &str = "10s";

/// A program that is ready and takes memory; ended when dropped.
struct Program(Child);

impl Program {
    /// `None` when it is not installed.
    fn start(mut command: Command, form: &str) -> Option<Self> {
        command.args([form, KIB_PER_SECOND, "1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut program = Self(command.spawn().ok()?);
        let mut line = String::new();
        let stdout = program.0.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        // A shim that stands for what is not installed can be started and says nothing.
        (line == "ready\n").then_some(program)
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
    fn start(program: &Program, longest: &str) -> Self {
        let pid = program.0.id().to_string();
        let mut command = memcli(&["watch", &pid, "--json", "--for", longest]);
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

/// Whether a line tells of a leak: by a change of the verdict, or by an alert.
fn tells_of_a_leak(line: &Value) -> bool {
    line["verdict"]["to"]["kind"] == "leak" || line["alert"]["cause"] == "leak"
}

/// The summary, which is the last line of a watch.
fn verdict(last: Option<Value>) -> Value {
    let last = last.unwrap();
    assert_eq!(last["schema"], "memcli.summary/1", "{last}");
    last["verdict"].clone()
}

/// Watches until a leak is told, and then on to the end of the watch.
fn leaks(program: &Program) -> Result<(), String> {
    let mut watch = Watch::start(program, &format!("{}s", TOLD_WITHIN.as_secs()));
    let (mut told, mut last) = (None, None);
    for line in watch.lines() {
        if told.is_none() && tells_of_a_leak(&line) {
            told = Some(Instant::now());
            watch.interrupt();
        }
        last = Some(line);
    }
    let verdict = verdict(last);
    let rate = verdict["rate_bytes_per_second"].as_f64().unwrap_or_default() / 1024.0;
    let off = rate / KIB_PER_SECOND.parse::<f64>().unwrap() - 1.0;
    match (told, verdict["kind"] == "leak") {
        (None, _) => Err(format!("no leak was told of within {TOLD_WITHIN:?}: {verdict}")),
        (Some(_), false) => Err(format!("its leak was taken back: {verdict}")),
        (Some(_), true) if off.abs() > 0.25 => {
            Err(format!("it keeps {KIB_PER_SECOND} KiB/s: {verdict}"))
        }
        (Some(_), true) => Ok(()),
    }
}

/// Watches for a while, in which no leak may be told of.
fn does_not_leak(program: &Program) -> Result<(), String> {
    let mut last = None;
    for line in Watch::start(program, STEADY_FOR).lines() {
        if tells_of_a_leak(&line) {
            return Err(format!("a leak was told of: {line}"));
        }
        last = Some(line);
    }
    let verdict = verdict(last);
    if verdict["kind"] == "leak" { Err(format!("it ended as a leak: {verdict}")) } else { Ok(()) }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live").join(name)
}

/// How each program is started: C only where there is a compiler.
fn commands(folder: &Path) -> Vec<(&'static str, PathBuf, Vec<PathBuf>)> {
    let mut commands = vec![
        ("python", "python3".into(), vec![source("grow.py")]),
        ("node", "node".into(), vec!["--expose-gc".into(), source("grow.js")]),
    ];
    let built = folder.join("grow");
    let compiled = Command::new("cc").arg("-o").arg(&built).arg(source("grow.c")).status();
    if let Ok(status) = compiled {
        assert!(status.success(), "grow.c does not compile");
        commands.push(("c", built, Vec::new()));
    }
    commands
}

#[test]
fn real_programs_that_leak_are_told_of_and_those_that_do_not_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let commands = commands(folder.path());
    let watch = |program: &Path, words: &[PathBuf], form: &str| {
        let mut command = Command::new(program);
        command.args(words);
        let running = Program::start(command, form)?;
        Some(if form == "leak" { leaks(&running) } else { does_not_leak(&running) })
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let watch = &watch;
        let threads: Vec<_> = commands
            .iter()
            .flat_map(|command| ["leak", "steady"].map(|form| (command, form)))
            .map(|((name, program, words), form)| {
                (name, form, scope.spawn(move || watch(program, words, form)))
            })
            .collect();
        threads
            .into_iter()
            .map(|(name, form, thread)| (name, form, thread.join().unwrap()))
            .collect()
    });
    for (name, form, outcome) in outcomes {
        match outcome {
            Some(Ok(())) => {}
            Some(Err(wrong)) => panic!("{name}, {form}: {wrong}"),
            None => eprintln!("SKIPPED: {name} is not installed"),
        }
    }
}
