//! What a process was started as.

use std::fs;
use std::path::Path;

use memtrack::processes::ProcessRow;

/// The command of a process without its folder, with its arguments; else the name that the kernel keeps.
#[must_use]
pub fn command(root: &Path, row: &ProcessRow) -> String {
    // A kernel thread, or a process that has wiped its command line, has none.
    command_line(root, row.id.pid).unwrap_or_else(|| shown(&row.name.to_string()))
}

/// The command of a process without its folder, with its arguments; `None` where there is none to be read.
#[must_use]
pub fn command_line(root: &Path, pid: u32) -> Option<String> {
    let line = fs::read(root.join(format!("proc/{pid}/cmdline"))).ok()?;
    // Arguments end in NUL. A program may write anything there, so nothing of it may reach the terminal as a control.
    let line = String::from_utf8_lossy(&line);
    let (program, arguments) = line.split_once('\0').unwrap_or((&line, ""));
    let program = program.rsplit('/').next().filter(|name| !name.is_empty())?;
    Some(shown(&format!("{program} {}", arguments.replace('\0', " "))))
}

/// What may reach a terminal, and no more of it than anyone reads.
fn shown(command: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() => '?',
        c => c,
    };
    command.trim_end().chars().map(shown).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::processes::ProcessId;
    use memtrack::source::{LinuxSource, Source, Target};

    #[test]
    fn a_live_process_has_a_command() {
        let mut source = LinuxSource::open(&Target::Process(ProcessId::own().unwrap())).unwrap();
        let snapshot = source.snapshot();
        source.read(&memtrack::TrackConfig::default()).unwrap();
        let command = command(Path::new("/"), &snapshot.rows()[0]);
        let own = std::env::current_exe().unwrap();
        let name = own.file_name().unwrap().to_str().unwrap();
        assert!(command.starts_with(name), "{command}");
    }
}
