//! Which process is which, and the set of processes that a target is made of.

#[cfg(target_os = "linux")]
mod between;
#[cfg(target_os = "linux")]
mod census;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod find;
#[cfg(target_os = "linux")]
mod set;
#[cfg(target_os = "linux")]
mod table;

use std::fmt;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(target_os = "linux")]
pub use files::Detail;
#[cfg(target_os = "linux")]
pub(crate) use find::Strangers;
#[cfg(target_os = "linux")]
pub use set::Processes;
#[cfg(target_os = "linux")]
pub(crate) use set::Set;
#[cfg(target_os = "linux")]
pub(crate) use table::Table;

#[cfg(target_os = "linux")]
use crate::error::OpenError;
#[cfg(target_os = "linux")]
use crate::procfs::Proc;
#[cfg(target_os = "linux")]
use crate::reading::Absent;
use crate::reading::Reading;
use crate::sample::ProcessMemory;

/// A process, told apart from any later one that is given the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ProcessId {
    /// The pid.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start: u64,
}

/// What a process runs, as far as it tells who shares memory with whom.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) id: ProcessId,
    /// The pid of its parent; 0 where nobody knows.
    pub(crate) parent: u32,
    /// Where its stack begins: copied by a `fork`, drawn anew by an `exec`. 0 where the kernel does not say, as it does not of a
    /// process whose PSS it would not tell either.
    pub(crate) stack: u64,
}

#[cfg(target_os = "linux")]
impl ProcessId {
    /// The process that has this pid now. `root` is `/`, or a fixture.
    ///
    /// # Errors
    /// [`OpenError::NoSuchProcess`] when there is none, [`OpenError::Unreadable`] when the kernel does not say.
    pub fn read(root: &Path, pid: u32) -> Result<Self, OpenError> {
        let stat = Proc::open(root).and_then(|proc| proc.stat(pid));
        let stat = stat.map_err(|reason| OpenError::process(pid, reason))?;
        Ok(Self { pid, start: stat.start })
    }

    /// The process this code runs in, as `/proc` numbers it.
    ///
    /// # Errors
    /// [`OpenError::Unreadable`] when the kernel does not say.
    pub fn own() -> Result<Self, OpenError> {
        let stat = Proc::open(Path::new("/")).and_then(|proc| proc.own_stat());
        let stat = stat.map_err(|reason| OpenError::process(std::process::id(), reason))?;
        Ok(Self { pid: stat.pid, start: stat.start })
    }
}

#[cfg(target_os = "linux")]
impl OpenError {
    pub(crate) fn process(pid: u32, reason: Absent) -> Self {
        match reason {
            Absent::Gone => OpenError::NoSuchProcess { pid },
            reason => OpenError::Unreadable { what: "`/proc` of the process", reason },
        }
    }
}

/// The name that the kernel keeps for a process: at most 15 bytes, set by whoever started it.
///
/// Shown with control characters, what turns the direction of text and what is no UTF-8 replaced, since any program may choose it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ProcessName {
    bytes: [u8; 16],
}

impl ProcessName {
    /// The first 16 bytes of `name`.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(name) {
            *to = *from;
        }
        Self { bytes }
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(self.bytes.len());
        let text = String::from_utf8_lossy(self.bytes.get(..length).unwrap_or_default());
        f.pad(&text.replace(is_no_text, "\u{fffd}"))
    }
}

/// Control characters, and those of Unicode's property `Bidi_Control`.
fn is_no_text(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

impl fmt::Debug for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

/// One process of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProcessRow {
    /// Which process.
    pub id: ProcessId,
    /// What it is called.
    pub name: ProcessName,
    /// The pid of its parent, as read last: when that ends another process takes its place, and 0 is none.
    pub parent: Reading<u32>,
    /// Its memory, as read last. PSS where the target's is read, estimated in the same way.
    pub memory: ProcessMemory,
}

/// The processes behind the newest sample of a source, for whoever wants to see them one by one.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    rows: Arc<Mutex<Vec<ProcessRow>>>,
}

impl Snapshot {
    /// The processes as of the newest sample.
    #[must_use]
    pub fn rows(&self) -> Vec<ProcessRow> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the rows, in the memory that they had.
    #[cfg(target_os = "linux")]
    pub(crate) fn replace(&self, rows: impl Iterator<Item = ProcessRow>) {
        let mut kept = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
        kept.extend(rows);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_found_and_its_start_does_not_change() {
        let id = ProcessId::own().unwrap();
        assert_eq!(ProcessId::read(Path::new("/"), id.pid), Ok(id));
    }

    #[test]
    fn a_pid_that_is_not_there_says_so() {
        let pid = u32::MAX - 1;
        assert_eq!(ProcessId::read(Path::new("/"), pid), Err(OpenError::NoSuchProcess { pid }));
    }

    #[test]
    fn names_are_shown_harmless() {
        assert_eq!(ProcessName::new(b"python3").to_string(), "python3");
        assert_eq!(ProcessName::new(b"a\x1b[31m\xff").to_string(), "a\u{fffd}[31m\u{fffd}");
        assert_eq!(ProcessName::new(&[b'x'; 40]).to_string(), "x".repeat(16));
    }
}
