//! Children that act on command.
#![allow(dead_code, reason = "each test program uses some of it")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

pub(crate) mod cgroup;
pub(crate) mod fixture;
pub(crate) mod machine;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use memtrack::processes::ProcessId;

/// A child that does a step for each line it is sent, and says when it has done it.
pub(crate) struct Actor {
    pub(crate) child: Child,
    pub(crate) input: ChildStdin,
    pub(crate) output: BufReader<ChildStdout>,
}

impl Actor {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    pub(crate) fn python(script: &str) -> Option<Self> {
        let found =
            Command::new("python3").arg("-c").arg("").status().is_ok_and(|status| status.success());
        if !found {
            eprintln!("skipped: this test needs python3");
            return None;
        }
        Some(Self::spawn(Command::new("python3").args(["-u", "-c", script])))
    }

    pub(crate) fn id(&self) -> ProcessId {
        ProcessId::read(Path::new("/"), self.child.id()).unwrap()
    }

    /// Waits until it has said `line`.
    pub(crate) fn hear(&mut self, line: &str) {
        let mut heard = String::new();
        self.output.read_line(&mut heard).unwrap();
        assert_eq!(heard.trim(), line);
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
