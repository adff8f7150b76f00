//! `memcli watch`: watch what runs already.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cli::{WatchArgs, Watching};
use crate::commands::{baseline, code_after, keep, written};
use crate::exit::Failure;
use crate::output::page::columns;
use crate::output::screen::{self, Screen, Style};
use crate::output::{human, json};
use crate::session::{Session, Watched};
use crate::sys;
use crate::target::Found;

/// Watches the target until it ends, the time is up, or someone interrupts. `spent` is CPU time from before memcli began.
///
/// # Errors
/// When the target cannot be watched or the output cannot be written.
pub fn watch(args: &WatchArgs, config: Option<&Path>, spent: Duration) -> Result<u8, Failure> {
    let watching = &args.watching;
    watch_target(args.target.find()?, watching, config, spent)
}

/// The same into a trace, which is named after the target and the time where no name was given.
///
/// # Errors
/// When the target cannot be watched or the output cannot be written.
pub fn record(args: &WatchArgs, config: Option<&Path>, spent: Duration) -> Result<u8, Failure> {
    let target = args.target.find()?;
    let mut watching = args.watching.clone();
    if watching.output.is_none() {
        watching.output = Some(unused(&target.label, SystemTime::now()));
    }
    watch_target(target, &watching, config, spent)
}

/// `redis-server-20261121-120341.jsonl.gz`, or with a number behind it where there is such a file.
fn unused(label: &str, now: SystemTime) -> PathBuf {
    let name = label.split('(').next().unwrap_or(label);
    let word = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
    let name: String = name.chars().map(word).collect();
    let time = humantime::format_rfc3339_seconds(now).to_string();
    let time: String = time.chars().filter(char::is_ascii_alphanumeric).collect();
    let time = time.trim_end_matches('Z').replace('T', "-");
    let stem = format!("{}-{time}", name.trim_matches(['-', '.']));
    let numbered = (2..).map(|n: u32| format!("{stem}-{n}.jsonl.gz"));
    let mut names = std::iter::once(format!("{stem}.jsonl.gz")).chain(numbered);
    names.find(|name| !Path::new(name).exists()).map(PathBuf::from).unwrap_or_default()
}

fn watch_target(
    target: Found,
    watching: &Watching,
    config: Option<&Path>,
    spent: Duration,
) -> Result<u8, Failure> {
    let live = watching.live(config, true)?;
    let gates = watching.gates(&target.watched, &live)?;
    let baseline = baseline(watching, &live)?;
    // Who opens a pipe waits for its reader, and a signal still ends that.
    let (recorder, file) = (watching.recorder()?, watching.summary_file()?);
    let signals =
        sys::signals().map_err(|error| Failure::io("failed to take over signals", error))?;
    let session = Session {
        target,
        command: None,
        child: None,
        duration: watching.duration,
        gates,
        recorder,
        abort: watching.abort,
        baseline: baseline.as_deref(),
        measured: baseline.is_some(),
        gates_decide: true,
        spent,
    };
    let style = match (watching.json, watching.quiet) {
        (true, _) => Style::Json,
        (_, true) => Style::Silent,
        _ => Style::Lines,
    };
    // On one terminal what goes to stdout and stderr is read as one: there an alert is a line among the others.
    let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let logging = &watching.logging;
    let as_lines = terminal && !logging.to_stderr() && logging.log_file.is_none();
    let mut screen = Screen::new(style, &session.target).with_alerts(as_lines);
    let log = !watching.json && !as_lines && !watching.quiet;
    let mut delivery = logging.delivery(&session.target.label, &live, log)?;
    let Watched { summary, .. } = session.watch(&live, &signals, &mut screen, &mut delivery)?;
    let kept = keep(file, &summary);
    if let Some(error) = screen.take_failure() {
        return Ok(code_after(summary.exit_code, [written(Err(error)), kept]));
    }
    let shown = if !watching.shows(&summary.gates) {
        Ok(())
    } else if watching.json {
        writeln!(screen::stdout(), "{}", json::summary(&summary))
    } else {
        write!(screen::stdout(), "{}", human::summary(&summary, columns(std::io::stdout(), 100)))
    };
    Ok(code_after(summary.exit_code, [written(shown), kept]))
}
