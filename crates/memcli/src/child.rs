//! The command that `run` starts and watches. No shell stands between.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use memtrack::processes::{ProcessId, ProcessRow};

use crate::exit::{self, Failure};
use crate::summary::End;
use crate::sys;

/// A child that has been started.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    /// memcli's own peak when it started: what `ru_maxrss` of the child carries through `exec`.
    inherited_peak: u64,
    /// Processes that an earlier command left running.
    strangers: Vec<u32>,
    /// Some that it started were given to memcli.
    gave_away: Cell<bool>,
}

/// A child that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Gone {
    /// How it ended.
    pub status: ExitStatus,
    /// The kernel's figure of its peak RSS in bytes. Its own peak was at most this.
    pub max_rss: u64,
    /// The same, when it is its own and not memcli's.
    pub peak_rss: Option<u64>,
    /// It never had a child, so that its peak is that of all there was.
    pub alone: bool,
}

impl Child {
    /// Starts `command`; its streams, working directory and environment are memcli's own.
    ///
    /// # Errors
    /// 127 when there is no such command, 126 when it cannot be executed.
    pub fn start(command: &[OsString]) -> Result<Self, Failure> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(Failure::new(exit::USAGE, "no command to run"));
        };
        // Where the kernel refuses, what detaches itself between two samples is not seen.
        let _ = sys::adopt_orphans();
        let strangers = sys::children();
        let name = program.to_string_lossy();
        let child =
            Command::new(program).args(arguments).spawn().map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    Failure::new(exit::NOT_FOUND, format!("no such command: `{name}`"))
                }
                _ => Failure::new(exit::NOT_EXECUTABLE, format!("failed to execute `{name}`"))
                    .because(error),
            })?;
        // Read when `exec` has carried it over. Unknown counts as highest: then the child's figure is never taken for its own by
        // mistake.
        let inherited_peak = memtrack::peak().unwrap_or(u64::MAX);
        let gave_away = Cell::new(false);
        Ok(Self { pid: child.id(), inherited_peak, strangers, gave_away })
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Children of memcli that it has nothing to do with.
    #[must_use]
    pub fn strangers(&self) -> &[u32] {
        &self.strangers
    }

    /// How many of its descendants still run: those that memcli was given, and of `seen` the others.
    #[must_use]
    pub fn left_running(&self, seen: &[ProcessRow]) -> u64 {
        self.reap();
        let given = self.given();
        let root = Path::new("/");
        let seen = seen.iter().filter(|row| ProcessId::read(root, row.id.pid) == Ok(row.id));
        let mut left: HashSet<u32> = given.chain(seen.map(|row| row.id.pid)).collect();
        left.remove(&self.pid);
        left.len() as u64
    }

    /// Those of memcli's children that came from it.
    fn given(&self) -> impl Iterator<Item = u32> {
        sys::children().into_iter().filter(|pid| *pid != self.pid && !self.strangers.contains(pid))
    }

    /// Reaps those of them that have ended.
    fn reap(&self) {
        let reaped = sys::reap(Some(self.pid));
        if reaped.iter().any(|pid| !self.strangers.contains(pid)) {
            self.gave_away.set(true);
        }
    }

    /// Reaps it if it has ended, and with it those that memcli was given.
    ///
    /// # Errors
    /// When the kernel knows no such child.
    pub fn try_wait(&self) -> io::Result<Option<Gone>> {
        self.reap();
        let Some(ended) = sys::try_wait(self.pid)? else { return Ok(None) };
        // Behind it in the list there may be more.
        self.reap();
        let others = ended.had_children || self.gave_away.get() || self.given().next().is_some();
        Ok(Some(Gone {
            status: ended.status,
            max_rss: ended.max_rss_bytes,
            peak_rss: Some(ended.max_rss_bytes).filter(|peak| *peak > self.inherited_peak),
            alone: !others,
        }))
    }

    /// Sends it a signal.
    pub fn signal(&self, number: i32) {
        sys::send_signal(self.pid, number);
    }
}

impl Gone {
    /// The code a shell would give: its own, or 128 + the signal that ended it.
    #[must_use]
    pub fn code(&self) -> u8 {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(exit::SOFTWARE),
            (None, Some(signal)) => exit::of_signal(signal),
            (None, None) => exit::SOFTWARE,
        }
    }

    /// How it ended, for the summary.
    #[must_use]
    pub fn end(&self) -> End {
        match self.status.signal() {
            Some(signal) => End::Killed { signal },
            None => End::Exited { code: self.status.code().unwrap_or_default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_or_not_executable_exits_as_shells_have_it() {
        let start = |name: &str| Child::start(&[name.into()]).unwrap_err().code;
        assert_eq!(start("no-such-command-anywhere"), exit::NOT_FOUND);
        assert_eq!(start("/etc/passwd"), exit::NOT_EXECUTABLE);
        assert_eq!(Child::start(&[]).unwrap_err().code, exit::USAGE);
    }
}
