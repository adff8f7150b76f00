//! What does not change while a process lives: its parent and its command.

use std::fs;
use std::path::Path;

use memtrack::processes::ProcessRow;

/// What does not change while a process lives, read when it is first seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Birth {
    /// The parent's pid, where it is known.
    pub parent: Option<u32>,
    /// The command without its folder, with its arguments; else the name the kernel keeps.
    pub command: String,
}

/// What the kernel says of a process when it is first seen. What it does not say is left to the name in `row`.
#[must_use]
pub fn birth(root: &Path, row: &ProcessRow) -> Birth {
    let folder = root.join(format!("proc/{}", row.id.pid));
    let stat = fs::read(folder.join("stat")).unwrap_or_default();
    let line = fs::read(folder.join("cmdline")).unwrap_or_default();
    // Arguments end in NUL. A program may write anything there, so nothing of it may reach the terminal as a control.
    let line = String::from_utf8_lossy(&line);
    let (program, arguments) = line.split_once('\0').unwrap_or((&line, ""));
    let program = program.rsplit('/').next().filter(|name| !name.is_empty());
    let command = match program {
        // A kernel thread, or a process that has wiped its command line.
        None => row.name.to_string(),
        Some(program) => format!("{program} {}", arguments.replace('\0', " ")),
    };
    let command = command.trim_end();
    let command = command.chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect();
    Birth { parent: parent(&stat), command }
}

/// Field 4 of `/proc/PID/stat`; the name before it is in brackets and may hold brackets and blanks itself.
fn parent(stat: &[u8]) -> Option<u32> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let text = std::str::from_utf8(stat.get(after..)?).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::processes::ProcessId;
    use memtrack::source::{LinuxSource, Source, Target};

    #[test]
    fn a_live_process_has_a_parent_and_a_command() {
        let mut source = LinuxSource::open(&Target::Process(ProcessId::own().unwrap())).unwrap();
        let snapshot = source.snapshot();
        source.read(&memtrack::TrackConfig::default()).unwrap();
        let birth = birth(Path::new("/"), &snapshot.rows()[0]);
        assert_eq!(birth.parent, Some(std::os::unix::process::parent_id()));
        assert!(!birth.command.is_empty());
        assert_eq!(parent(b"12 (a ) b) S 77 1 1"), Some(77));
        assert_eq!(parent(b"nonsense"), None);
    }
}
