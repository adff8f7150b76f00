//! Runs the built binary and reads what it wrote.
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

use rustix::process::Signal;
use serde_json::Value;

/// The built `memcli`, away from the configuration and the colours of whoever runs the tests.
pub(crate) fn memcli(arguments: &[&str]) -> Command {
    let mut command = away_from_home(env!("CARGO_BIN_EXE_memcli"));
    command.args(arguments);
    command
}

/// A shell script away from them, to which `memcli` is `$0`.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = away_from_home("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_memcli")]);
    command
}

/// A program away from them.
pub(crate) fn away_from_home(program: &str) -> Command {
    let mut command = heeding(program);
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // `CI`: where it is set, whatever shows logs is taken to know colours.
        let colours = text.starts_with("CLICOLOR") || text == "NO_COLOR" || text == "CI";
        if text.starts_with("MEMCLI_") || colours {
            command.env_remove(&name);
        }
    }
    let nowhere = std::env::temp_dir().join("memcli-tests-have-no-config");
    command.env("XDG_CONFIG_HOME", &nowhere).env("XDG_STATE_HOME", &nowhere).env("HOME", &nowhere);
    command.current_dir(std::env::temp_dir());
    command
}

/// A program that ignores no signal which tests send, or wait for: under `nohup`, or in the background of a script, it would.
fn heeding(program: &str) -> Command {
    const SENT: [Signal; 5] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::XFSZ];
    static IGNORES: LazyLock<bool> = LazyLock::new(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        SENT.iter().any(|signal| ignored.unwrap_or(0) >> (signal.as_raw() - 1) & 1 == 1)
    });
    if !*IGNORES {
        return Command::new(program);
    }
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,QUIT,TERM,XFSZ", program]);
    command
}

/// A program of known behaviour, already running; ended when dropped.
pub(crate) struct Demo(Child);

impl Demo {
    pub(crate) fn start(program: &str, rate: &str) -> Self {
        Self::lasting(program, rate, "5m")
    }

    pub(crate) fn lasting(program: &str, rate: &str, duration: &str) -> Self {
        let mut command =
            memcli(&["demo", program, "--unwatched", "--for", duration, "--rate", rate]);
        command.stdout(Stdio::piped());
        Self::ready(command, "demo ")
    }

    /// Until it has ended by itself.
    pub(crate) fn wait(&mut self) {
        self.0.wait().expect("it ends");
    }

    /// A shell that holds this many MiB and does nothing.
    pub(crate) fn holding(mib: u32) -> Self {
        let bytes = mib << 20;
        let script = format!("held=$(head -c {bytes} /dev/zero | tr '\\0' x); echo held; read x");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::ready(command, "held")
    }

    fn ready(mut command: Command, word: &str) -> Self {
        let mut child = command.spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it was piped");
        BufReader::new(stdout).read_line(&mut line).expect("it speaks");
        assert!(line.starts_with(word), "{line}");
        Self(child)
    }

    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // A tree of processes would live on without its root.
        let pid = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            if let Some(child) = child.parse().ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(child, Signal::KILL);
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What one run said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().expect("memcli itself is not killed"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) fn run(arguments: &[&str]) -> Said {
    said(&memcli(arguments).output().expect("memcli starts"))
}

/// Runs with `--summary` in front of what follows the first argument, and reads the document it wrote.
pub(crate) fn run_summed(arguments: &[&str]) -> (Said, Value) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path: PathBuf = folder.path().join("summary.json");
    let (command, rest) = arguments.split_first().expect("a command");
    let mut all = vec![*command, "--summary", path.to_str().expect("a plain path")];
    all.extend_from_slice(rest);
    let said = run(&all);
    (said, read_json(&path))
}

pub(crate) fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("the summary was written");
    let document: Value = serde_json::from_str(&text).expect("the summary is JSON");
    if document["schema"].is_string() {
        crate::schemas::check(&document);
    }
    document
}

/// A folder that goes with its test.
pub(crate) struct Folder(pub(crate) tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}
