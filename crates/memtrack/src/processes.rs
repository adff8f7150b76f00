//! Which process is which.

use std::path::Path;

use crate::error::OpenError;
use crate::held::slurp;
use crate::reading::Absent;
use crate::text::column;

/// A process, told apart from any later one that is given the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// The pid.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start: u64,
}

impl ProcessId {
    /// The process that has this pid now. `root` is `/`, or a fixture.
    ///
    /// # Errors
    /// [`OpenError::NoSuchProcess`] when there is none, [`OpenError::Unreadable`] when the kernel does not say.
    pub fn read(root: &Path, pid: u32) -> Result<Self, OpenError> {
        let unreadable = |reason| OpenError::Unreadable { what: "`stat` of the process", reason };
        let path = root.join("proc").join(pid.to_string()).join("stat");
        let text = slurp(&path, 4096).map_err(|error| match Absent::from(&error) {
            Absent::Unsupported | Absent::Gone => OpenError::NoSuchProcess { pid },
            reason => unreadable(reason),
        })?;
        // The command name in brackets may itself hold brackets and blanks: fields count from the last bracket.
        let after_name = text.iter().rposition(|byte| *byte == b')').map(|at| at + 1);
        let fields =
            after_name.and_then(|at| text.get(at..)).ok_or(unreadable(Absent::Malformed))?;
        // Field 3 of the file is the first one here.
        let start = column(fields, 22 - 3).map_err(unreadable)?;
        Ok(Self { pid, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_found_and_its_start_does_not_change() {
        let id = ProcessId::read(Path::new("/"), std::process::id()).unwrap();
        assert_eq!(ProcessId::read(Path::new("/"), id.pid), Ok(id));
    }

    #[test]
    fn a_pid_that_is_not_there_says_so() {
        let pid = u32::MAX - 1;
        assert_eq!(ProcessId::read(Path::new("/"), pid), Err(OpenError::NoSuchProcess { pid }));
    }
}
