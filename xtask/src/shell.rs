//! Running other programs: always by argument list, never through a shell.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, bail};

/// What a program said and whether it was content.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) good: bool,
    /// stdout and stderr, in the order they were written.
    pub(crate) text: String,
}

/// A `cargo` command in the workspace: the same cargo that built this tool.
pub(crate) fn cargo(root: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(args).env("CARGO_TERM_COLOR", "never");
    // Set by the cargo that started us, for the package xtask; build scripts and tests must not see it as theirs.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs to the end with both streams in one text. An error only when it could not be started.
pub(crate) fn capture(command: &mut Command) -> anyhow::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (mut reader, writer) = std::io::pipe().context("failed to make a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("failed to share a pipe")?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("failed to start `{name}`"))?;
    // The command keeps its copies of the write end; the reader sees the end only once they are closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).with_context(|| format!("failed to read from `{name}`"))?;
    let status = child.wait().with_context(|| format!("failed to wait for `{name}`"))?;
    Ok(Output { good: status.success(), text: String::from_utf8_lossy(&bytes).into_owned() })
}

/// The stdout of a program that must succeed.
pub(crate) fn read(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("failed to start `{name}`"))?;
    if !output.status.success() {
        bail!("`{name}` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end, passing stdout on line by line; how it ended and what it said there.
pub(crate) fn echo(command: &mut Command) -> anyhow::Result<(ExitStatus, String)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start `{name}`"))?;
    let mut text = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.with_context(|| format!("failed to read from `{name}`"))?;
            println!("{line}");
            text.push_str(&line);
            text.push('\n');
        }
    }
    let status = child.wait().with_context(|| format!("failed to wait for `{name}`"))?;
    Ok((status, text))
}

/// Whether a program can be started at all.
pub(crate) fn exists(program: &str, probe: &str) -> bool {
    Command::new(program)
        .arg(probe)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether cargo has a subcommand. It is asked for by cargo, since most of these programs do not know their options under their own names.
pub(crate) fn has_subcommand(root: &Path, name: &str) -> bool {
    capture(&mut cargo(root, [name, "--version"])).is_ok_and(|output| output.good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subcommand_is_there_or_not() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(has_subcommand(root, "fmt"));
        assert!(!has_subcommand(root, "no-such-command-anywhere"));
    }
}
