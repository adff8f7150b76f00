//! What a process was started as.

use std::fs;
use std::path::Path;

use memtrack::processes::ProcessRow;

/// The command of a process without its folder, with its arguments; else the name that the kernel keeps.
#[must_use]
pub fn command(root: &Path, row: &ProcessRow) -> String {
    let folder = root.join(format!("proc/{}", row.id.pid));
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
    let shown = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() => '?',
        c => c,
    };
    command.chars().map(shown).take(200).collect()
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
