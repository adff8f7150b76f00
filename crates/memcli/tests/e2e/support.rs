//! Runs the built binary and reads what it wrote.
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The built `memcli`, away from the configuration and the colours of whoever runs the tests.
pub(crate) fn memcli(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memcli"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("MEMCLI_") || text.starts_with("CLICOLOR") || text == "NO_COLOR" {
            command.env_remove(&name);
        }
    }
    let nowhere = std::env::temp_dir().join("memcli-tests-have-no-config");
    command.env("XDG_CONFIG_HOME", &nowhere).env("XDG_STATE_HOME", &nowhere).env("HOME", &nowhere);
    command.current_dir(std::env::temp_dir());
    command
}

/// What one run said.
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
