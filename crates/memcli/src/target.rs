//! The one TARGET grammar of all commands, and what a target turns out to be on this machine.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use memtrack::error::OpenError;
use memtrack::processes::ProcessId;
use memtrack::source::Target as Watched;

use crate::command_line::command_line;
use crate::exit::{self, Failure};
use crate::output::human::shortened;
use crate::output::screen::harmless;

/// What somebody asked to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process by its pid.
    Pid(u32),
    /// The one process of this command name.
    Name(String),
    /// A cgroup by its path below the cgroup mount.
    Cgroup(PathBuf),
    /// memcli itself.
    Own,
    /// The machine.
    System,
}

/// What somebody asked to look at, right or wrong: what is no target is told among those that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The text, escaped where it could upset a terminal.
    pub text: String,
    /// What it means.
    pub target: Result<Target, TargetError>,
}

impl FromStr for Asked {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let target = text.parse::<Target>();
        let text = target.as_ref().map_or_else(|_| harmless(text), Target::to_string);
        Ok(Self { text, target })
    }
}

impl From<Target> for Asked {
    fn from(target: Target) -> Self {
        Self { text: target.to_string(), target: Ok(target) }
    }
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// An empty text.
    #[error("a target is a pid, a process name, `cgroup:/path`, `self` or `system`")]
    Empty,
    /// Digits that are no pid.
    #[error("`{0}` is no pid: pids are 1 to 4194304")]
    Pid(String),
    /// A cgroup path that does not start at the mount.
    #[error("`{0}` is no cgroup: write `cgroup:/path`, as `/proc/PID/cgroup` shows it")]
    Cgroup(String),
    /// Text with a control character, escaped.
    #[error("`{0}` holds a control character: a process of such a name is found by its pid")]
    Control(String),
    /// A cgroup path that leads up.
    #[error("`{0}` leads out of a cgroup: write the path without `..`")]
    Above(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        /// The kernel's highest pid (`PID_MAX_LIMIT` on 64 bits).
        const MAX_PID: u32 = 1 << 22;
        match text {
            "" => Err(TargetError::Empty),
            // One line wherever it is shown.
            _ if text.contains(char::is_control) => {
                Err(TargetError::Control(text.escape_debug().to_string()))
            }
            "self" => Ok(Target::Own),
            "system" => Ok(Target::System),
            _ if text.bytes().all(|b| b.is_ascii_digit()) => match text.parse() {
                Ok(pid @ 1..=MAX_PID) => Ok(Target::Pid(pid)),
                _ => Err(TargetError::Pid(text.to_owned())),
            },
            _ => match text.strip_prefix("cgroup:") {
                Some(path) if path.split('/').any(|part| part == "..") => {
                    Err(TargetError::Above(text.to_owned()))
                }
                Some(path) if path.starts_with('/') => Ok(Target::Cgroup(PathBuf::from(path))),
                Some(_) => Err(TargetError::Cgroup(text.to_owned())),
                None => Ok(Target::Name(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Pid(pid) => write!(f, "{pid}"),
            Target::Name(name) => f.write_str(name),
            Target::Cgroup(path) => write!(f, "cgroup:{}", path.display()),
            Target::Own => f.write_str("self"),
            Target::System => f.write_str("system"),
        }
    }
}

/// What `leak` and `top` look at: something that runs, or a recording of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Something that runs.
    Target(Target),
    /// A trace.
    Trace(PathBuf),
}

impl FromStr for Subject {
    type Err = TargetError;

    /// A path that is absolute or begins with a dot, or a name with the ending of a trace, is a trace: no file that
    /// happens to lie around may stand in for a process of its name.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let path = ["/", "./", "../"].iter().any(|start| text.starts_with(start));
        let ending = [".gz", ".jsonl", ".dat", ".csv"].iter().any(|end| text.ends_with(end));
        if (path || ending) && !text.starts_with("cgroup:") {
            return Ok(Subject::Trace(PathBuf::from(text)));
        }
        text.parse().map(Subject::Target)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Target(target) => target.fmt(f),
            Subject::Trace(path) => path.display().fmt(f),
        }
    }
}

/// A target that was found: what memtrack is to watch, and what people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What memtrack watches.
    pub watched: Watched,
    /// `worker(4321)`, `cgroup /app`, `system`.
    pub label: String,
}

impl Found {
    /// What people call it now: a process that was found just after its shell forked it runs another program since.
    #[must_use]
    pub fn label_now(&self) -> String {
        self.label_at(Path::new("/"))
    }

    fn label_at(&self, root: &Path) -> String {
        let name = match &self.watched {
            Watched::Tree(id) if ProcessId::read(root, id.pid) == Ok(*id) => {
                command_name(root, id.pid).map(|name| format!("{name}({})", id.pid))
            }
            _ => None,
        };
        name.unwrap_or_else(|| self.label.clone())
    }
}

impl Target {
    /// Finds the target on this machine: a process with its whole tree.
    ///
    /// # Errors
    /// Exit code 66 when there is no such target, or more than one of that name.
    pub fn find(&self) -> Result<Found, Failure> {
        let found = self.find_at(Path::new("/"));
        // Where `/proc` shows nothing at all, it says nothing of this one target either.
        found.map_err(|failure| match own() {
            Err(nothing) if failure.code == exit::NO_INPUT => nothing,
            _ => failure,
        })
    }

    fn find_at(&self, root: &Path) -> Result<Found, Failure> {
        match self {
            Target::Pid(pid) => find_pid(root, *pid),
            Target::Name(name) => find_name(root, name),
            Target::Cgroup(path) => {
                let label = format!("cgroup {}", harmless(&path.to_string_lossy()));
                Ok(Found { watched: Watched::Cgroup(path.clone()), label })
            }
            Target::Own => find_pid(root, own()?.pid),
            Target::System => Ok(Found { watched: Watched::System, label: "system".into() }),
        }
    }
}

/// What there is to do about a `/proc` that is none, or another's.
pub const MOUNT_PROC: &str =
    "mount the one of this PID namespace: `mount -t proc proc /proc`, or `unshare --mount-proc`";

/// This process, as `/proc` numbers it.
///
/// # Errors
/// Exit code 69 where `/proc` does not show this process: nothing is mounted there, or what another PID namespace has.
pub fn own() -> Result<ProcessId, Failure> {
    ProcessId::own().map_err(|error| match error {
        OpenError::Unreadable { reason: memtrack::Absent::Unsupported, .. } => {
            Failure::new(exit::UNAVAILABLE, "`/proc` does not show this process").help(MOUNT_PROC)
        }
        error => not_opened(error),
    })
}

/// Whether what is started from here has the same numbers here and in `/proc`, so that it can be followed and ended by them.
///
/// # Errors
/// Exit code 69 where `/proc` is not that of this PID namespace.
pub fn check_numbers() -> Result<(), Failure> {
    let (own, kernel) = (own()?.pid, std::process::id());
    if own == kernel {
        return Ok(());
    }
    let other = format!(
        "`/proc` is that of another PID namespace: this process is {kernel} here and {own} there"
    );
    Err(Failure::new(exit::UNAVAILABLE, other).help(MOUNT_PROC))
}

fn find_pid(root: &Path, pid: u32) -> Result<Found, Failure> {
    let id = ProcessId::read(root, pid).map_err(not_opened)?;
    let name = command_name(root, pid).unwrap_or_else(|| "process".into());
    let label = format!("{name}({pid})");
    let nothing = |why: &str| Err(Failure::new(exit::NO_INPUT, format!("`{label}` {why}")));
    match Stat::read(root, pid) {
        // A process lives on when its first thread ends before others do.
        Some(Stat { state: 'Z' | 'X', threads: 0 | 1, .. }) => {
            nothing("has ended and has no memory any more; its parent has not taken note of that")
        }
        Some(stat) if stat.is_kernel_thread() => {
            nothing("is a thread of the kernel, which has no memory of its own")
        }
        _ => match process_of(root, pid) {
            // Its memory is that of the process, but what the process starts is not below it, and it may end before.
            Some(process) if process != pid => {
                nothing(&format!("is a thread of process {process}"))
                    .map_err(|failure| failure.help(format!("name the process: {process}")))
            }
            _ => Ok(Found { watched: Watched::Tree(id), label }),
        },
    }
}

/// The process that a thread is of; of its first thread, which has the same number, that number.
fn process_of(root: &Path, thread: u32) -> Option<u32> {
    let status = fs::read(root.join(format!("proc/{thread}/status"))).ok()?;
    let text = String::from_utf8_lossy(&status);
    // No name can hold a line of its own here: the kernel escapes them.
    text.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// What `/proc/PID/stat` says of a process, as far as it matters for finding one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    flags: u32,
    threads: u32,
}

impl Stat {
    fn read(root: &Path, pid: u32) -> Option<Self> {
        let stat = fs::read(root.join(format!("proc/{pid}/stat"))).ok()?;
        // The name, in parentheses, may hold anything, a parenthesis included.
        let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(name_ends + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        // After the group, the session, the terminal and its foreground group.
        let flags = fields.nth(4)?.parse().ok()?;
        // After ten counts of faults, times and priorities.
        let threads = fields.nth(10)?.parse().ok()?;
        Some(Self { state, parent, flags, threads })
    }

    fn is_kernel_thread(self) -> bool {
        /// `PF_KTHREAD` of the kernel's `sched.h`; `PF_*` are told in field 9 of proc_pid_stat(5).
        const KERNEL_THREAD: u32 = 0x0020_0000;
        self.flags & KERNEL_THREAD != 0
    }
}

/// The one of `pids` that all others descend from, if there is one: its tree holds them all.
fn common_root(root: &Path, pids: &[u32]) -> Option<u32> {
    /// More than any tree is deep. A pid that is used again while this reads must not make it go round.
    const DEEPEST: usize = 1000;
    let ancestors = |pid: u32| {
        let parent =
            |pid: &u32| Stat::read(root, *pid).map(|stat| stat.parent).filter(|pid| *pid > 0);
        std::iter::successors(parent(&pid), parent).take(DEEPEST)
    };
    let above_all =
        |top: &u32| pids.iter().all(|pid| pid == top || ancestors(*pid).any(|a| a == *top));
    pids.iter().copied().find(above_all)
}

/// A file as `leak` and `top` take it for a trace and not for the name of a process; and a word on it where that needs more than
/// the name.
fn as_path(name: &str) -> (String, &'static str) {
    match name.parse() {
        Ok(Subject::Trace(_)) => (name.to_owned(), ""),
        _ => (format!("./{name}"), " when written as a path"),
    }
}

fn find_name(root: &Path, name: &str) -> Result<Found, Failure> {
    let own = ProcessId::own().map_or_else(|_| std::process::id(), |own| own.pid);
    let mut pids: Vec<u32> = fs::read_dir(root.join("proc"))
        .map_err(|error| Failure::io("failed to list the processes", error))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own && is_called(root, *pid, name))
        .collect();
    pids.sort_unstable();
    match pids.as_slice() {
        [] => {
            let failure = Failure::new(exit::NO_INPUT, format!("no process is called `{name}`"));
            Err(if Path::new(name).is_file() {
                let (path, written) = as_path(name);
                failure.help(format!(
                    "`{name}` is a file here: traces are read by `leak`, `top`, `report` and `replay`{written}, as in `memcli report {path}`"
                ))
            } else {
                failure.help("a name is the command's own, as in `ps -o comm`; a pid always works")
            })
        }
        [pid] => find_pid(root, *pid),
        many => {
            if let Some(top) = common_root(root, many) {
                return find_pid(root, top);
            }
            let listed: Vec<_> = many
                .iter()
                .take(10)
                .map(|pid| match command_line(root, *pid) {
                    Some(command) => format!("{pid} ({})", shortened(&command, 40)),
                    None => pid.to_string(),
                })
                .collect();
            let more = if many.len() > listed.len() { ", ..." } else { "" };
            Err(Failure::new(
                exit::NO_INPUT,
                format!("{} processes are called `{name}`", many.len()),
            )
            .help(format!("name one of them by its pid: {}{more}", listed.join(", "))))
        }
    }
}

/// Whether a process has this name. Of a name that is longer than the kernel keeps, the command line has the rest.
fn is_called(root: &Path, pid: u32, name: &str) -> bool {
    /// `TASK_COMM_LEN` of the kernel's `sched.h`, less the NUL at its end.
    const KEPT: usize = 15;
    let Some(short) = command_name(root, pid) else { return false };
    if short == name {
        return true;
    }
    let program = || {
        let line = fs::read(root.join(format!("proc/{pid}/cmdline"))).ok()?;
        // Of a script the interpreter comes first.
        let words = line.split(|byte| *byte == 0).take(2).map(String::from_utf8_lossy);
        Some(
            words
                .map(|word| word.rsplit('/').next().unwrap_or_default().to_owned())
                .any(|last| last == name),
        )
    };
    name.len() > KEPT && short.len() >= KEPT && name.starts_with(&short) && program() == Some(true)
}

/// The kernel's short name of a process, with what could upset a terminal left out.
fn command_name(root: &Path, pid: u32) -> Option<String> {
    let name = fs::read(root.join(format!("proc/{pid}/comm"))).ok()?;
    // The kernel ends it with a line's end; one of its own may come before that.
    let name = String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name));
    Some(harmless(&name))
}

/// A target that could not be opened, as a failure with the code that fits.
#[must_use]
pub fn not_opened(error: OpenError) -> Failure {
    match error {
        OpenError::Unreadable { reason: memtrack::Absent::Denied, .. } => {
            Failure::new(exit::NO_PERMISSION, "the target may not be read")
                .because(error)
                .help("try as its owner, or with sudo")
        }
        OpenError::Unreadable { reason: memtrack::Absent::Unsupported, .. } => {
            Failure::new(exit::UNAVAILABLE, "the target cannot be watched on this system")
                .because(error)
        }
        OpenError::NoSuchProcess { .. } => Failure::new(exit::NO_INPUT, error.to_string()),
        OpenError::NoSuchCgroup { .. } => Failure::new(exit::NO_INPUT, error.to_string())
            .help("`/proc/PID/cgroup` has the path of the cgroup that a process is in"),
        OpenError::Unreadable { reason: memtrack::Absent::Failed(errno), .. } => {
            Failure::new(exit::IO, "failed to open the target").because(error).of_limit(errno)
        }
        _ => Failure::new(exit::IO, "failed to open the target").because(error),
    }
}

#[cfg(test)]
mod tests;
