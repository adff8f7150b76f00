//! The command that `run` starts and watches. No shell stands between.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use memtrack::processes::{Detail, ProcessId, ProcessRow, Processes};
use rustix::process::Signal;

use crate::alert::Offspring;
use crate::exit::{self, Failure};
use crate::summary::End;
use crate::sys;

/// A child that has been started.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    /// The same, told apart from any later process with this pid.
    id: Option<ProcessId>,
    /// memcli's own peak when it started: what `ru_maxrss` of the child carries through `exec`.
    inherited_peak: u64,
    strangers: Arc<Strangers>,
    /// Some that it started were given to memcli.
    gave_away: Cell<bool>,
    /// It was reaped: its pid may be another's.
    reaped: Cell<bool>,
}

/// Children of memcli that did not come from the command.
#[derive(Debug)]
struct Strangers {
    /// What an earlier command left running.
    earlier: Vec<ProcessId>,
    /// What the command of alerts leaves.
    alerts: Arc<Offspring>,
}

impl Strangers {
    /// `None` where that cannot be told now.
    fn holds(&self, id: ProcessId) -> Option<bool> {
        if self.earlier.contains(&id) { Some(true) } else { self.alerts.holds(id) }
    }
}

/// How long a command and its tree have to end after they were asked to, before they are killed.
pub const GRACE: Duration = Duration::from_secs(5);
/// How often one is looked after that nobody watches.
const LOOK: Duration = Duration::from_millis(10);
/// How often the tree is looked through for those to be killed: while it is, its processes may start others.
const KILL_ROUNDS: usize = 8;

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
    /// Starts `command`; its streams, working directory and environment are memcli's own. What is in `alerts` comes from the
    /// command of alerts, and is none of it.
    ///
    /// # Errors
    /// 127 when there is no such command, 126 when it cannot be executed.
    pub fn start(command: &[OsString], alerts: &Arc<Offspring>) -> Result<Self, Failure> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(Failure::new(exit::USAGE, "no command to run"));
        };
        // Where the kernel refuses, what detaches itself between two samples is not seen.
        let _ = sys::adopt_orphans();
        let earlier = sys::children().into_iter().filter_map(identify).collect();
        let strangers = Arc::new(Strangers { earlier, alerts: Arc::clone(alerts) });
        let name = program.to_string_lossy();
        let mut command = Command::new(program);
        command.args(arguments);
        let child = sys::inherited::with_first_mask(|| command.spawn());
        let child = child.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Failure::new(exit::NOT_FOUND, format!("no such command: `{name}`"))
            }
            _ => Failure::new(exit::NOT_EXECUTABLE, format!("failed to execute `{name}`"))
                .because(error),
        })?;
        // Read when `exec` has carried it over. Unknown counts as highest: then the child's figure is never taken for its own by
        // mistake.
        let inherited_peak = memtrack::peak().unwrap_or(u64::MAX);
        let (gave_away, reaped) = (Cell::new(false), Cell::new(false));
        let pid = child.id();
        Ok(Self { pid, id: identify(pid), inherited_peak, strangers, gave_away, reaped })
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells children of memcli that it has nothing to do with, for [`LinuxSource::adopting`](memtrack::source::LinuxSource::adopting).
    /// One of which nothing can be told now is none yet.
    pub fn strangers(&self) -> impl Fn(ProcessId) -> bool + Send + Sync + use<> {
        let strangers = Arc::clone(&self.strangers);
        move |id| strangers.holds(id) != Some(false)
    }

    /// How many of its descendants still run: those that memcli was given, and of `seen` the others.
    #[must_use]
    pub fn left_running(&self, seen: &[ProcessRow]) -> u64 {
        self.reap();
        let seen = seen.iter().map(|row| row.id).filter(|id| identify(id.pid) == Some(*id));
        let left: HashSet<ProcessId> = self.given().chain(seen).collect();
        left.iter().filter(|id| id.pid != self.pid).count() as u64
    }

    /// Those of memcli's children that came from it.
    fn given(&self) -> impl Iterator<Item = ProcessId> {
        let others = sys::children().into_iter().filter(|pid| *pid != self.pid);
        others.filter_map(identify).filter(|id| self.strangers.holds(*id) != Some(true))
    }

    /// Reaps those of them that have ended.
    pub fn reap(&self) {
        sys::reap(Some(self.pid), |pid| {
            // Of one that ended before it was seen nobody knows whose it was: it may have been the command's.
            let stranger = identify(pid).and_then(|id| self.strangers.holds(id));
            if stranger != Some(true) {
                self.gave_away.set(true);
            }
        });
    }

    /// Those of its tree that run, itself first: what it has started, what memcli was given of it, and `seen` as far as it still
    /// runs.
    fn tree(&self, seen: &[ProcessRow]) -> Vec<ProcessId> {
        let (mut tree, mut known) = (Vec::new(), HashSet::new());
        let given: Vec<_> = self.given().collect();
        for root in self.id.into_iter().chain(given).chain(seen.iter().map(|row| row.id)) {
            if known.contains(&root) {
                continue;
            }
            let found = Processes::tree(Path::new("/"), root).map(|mut found| {
                // What could not be read is in the list all the same.
                let _ = found.read(Instant::now(), Detail::Memory);
                found.rows().map(|row| row.id).collect::<Vec<_>>()
            });
            // Of one that cannot be looked into it is known that it is there.
            let found = found.unwrap_or_else(|_| vec![root]);
            tree.extend(found.into_iter().filter(|id| known.insert(*id)));
        }
        tree
    }

    /// Those of `tree` besides itself, which has its signals by its pid: that is its own until it is reaped, and where no
    /// descriptor is left nobody can be told from a later process.
    fn below(&self, tree: Vec<ProcessId>) -> impl Iterator<Item = ProcessId> {
        tree.into_iter().filter(|id| Some(*id) != self.id)
    }

    /// Asks its whole tree to end, itself first: else a shell would go on to its next line when what it waits for ends. Those
    /// that are stopped go on, or they would never hear of it.
    pub fn ask_to_end(&self, seen: &[ProcessRow]) {
        let tree = self.tree(seen);
        self.signal(libc::SIGTERM);
        self.signal(libc::SIGCONT);
        for id in self.below(tree) {
            sys::send_signal_to(id, Signal::TERM);
            sys::send_signal_to(id, Signal::CONT);
        }
    }

    /// Kills its whole tree.
    pub fn kill(&self, seen: &[ProcessRow]) {
        let mut killed = HashSet::new();
        for _ in 0..KILL_ROUNDS {
            let mut found = self.tree(seen);
            self.signal(libc::SIGKILL);
            found.retain(|id| killed.insert(*id));
            if found.is_empty() {
                return;
            }
            for id in self.below(found) {
                sys::send_signal_to(id, Signal::KILL);
            }
        }
    }

    /// Reaps it if it has ended, and with it those that memcli was given.
    ///
    /// # Errors
    /// When the kernel knows no such child.
    pub fn try_wait(&self) -> io::Result<Option<Gone>> {
        self.reap();
        let Some(ended) = sys::try_wait(self.pid)? else { return Ok(None) };
        self.reaped.set(true);
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

    /// Sends it a signal, unless it was reaped.
    pub fn signal(&self, number: i32) {
        if !self.reaped.get() {
            sys::send_signal(self.pid, number);
        }
    }

    /// Whether it ends, or cannot be waited for, until then.
    fn ends_until(&self, deadline: Instant) -> bool {
        while matches!(self.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }
}

/// A command that can be watched no longer does not run on behind the back of whoever started it, and is not left half done
/// without a word: it is asked to end, and killed when it does not.
impl Drop for Child {
    fn drop(&mut self) {
        if self.reaped.get() {
            return;
        }
        self.ask_to_end(&[]);
        if !self.ends_until(Instant::now() + GRACE) {
            self.kill(&[]);
            self.ends_until(Instant::now() + GRACE);
        }
    }
}

fn identify(pid: u32) -> Option<ProcessId> {
    ProcessId::read(Path::new("/"), pid).ok()
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
        let alerts = Arc::default();
        let start = |name: &str| Child::start(&[name.into()], &alerts).unwrap_err().code;
        assert_eq!(start("no-such-command-anywhere"), exit::NOT_FOUND);
        assert_eq!(start("/etc/passwd"), exit::NOT_EXECUTABLE);
        assert_eq!(Child::start(&[], &alerts).unwrap_err().code, exit::USAGE);
    }
}
