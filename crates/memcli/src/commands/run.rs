//! `memcli run`: start a command, watch it to its end, judge it.

use std::ffi::OsString;
use std::path::Path;

use memtrack::processes::ProcessId;
use memtrack::source::Target;

use crate::child::Child;
use crate::cli::{RunArgs, Watching};
use crate::commands::show_on_stderr;
use crate::exit::Failure;
use crate::output::screen::{Screen, Style};
use crate::session::Session;
use crate::sys;
use crate::target::{Found, not_opened};

/// Runs the command; the exit code is its own, unless it succeeded and a gate failed.
///
/// # Errors
/// When the command cannot be started or the summary cannot be written.
pub fn run(args: &RunArgs, config: Option<&Path>) -> Result<u8, Failure> {
    start(&args.command, &args.watching, config)
}

/// The same for any command.
pub(crate) fn start(
    command: &[OsString],
    watching: &Watching,
    config: Option<&Path>,
) -> Result<u8, Failure> {
    let live = watching.live(config, false)?;
    let recorder = watching.recorder()?;
    // Before the child: its end must find someone listening.
    let signals =
        sys::signals().map_err(|error| Failure::io("failed to take over signals", error))?;
    let child = Child::start(command)?;
    let id = ProcessId::read(Path::new("/"), child.pid()).map_err(not_opened)?;
    let words: Vec<String> =
        command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let name = Path::new(&command[0])
        .file_name()
        .map_or(words[0].clone(), |name| name.to_string_lossy().into_owned());
    let session = Session {
        target: Found { watched: Target::Tree(id), label: format!("{name}({})", id.pid) },
        command: Some(words),
        child: Some(child),
        duration: watching.duration,
        gates: watching.gates(),
        recorder,
        abort: watching.abort,
    };
    let mut delivery = watching.logging.delivery(&session.target.label, &live, false)?;
    // Both streams are the child's until it has ended.
    let mut screen = Screen::new(Style::Silent, &session.target.label);
    let summary = session.watch(&live, &signals, &mut screen, &mut delivery)?;
    watching.keep(&summary)?;
    show_on_stderr(&summary, watching.json)?;
    Ok(summary.exit_code)
}
