//! `memcli config`: see, check and edit the configuration. Looking never writes; only the verbs of the file `edit.rs` do.

mod edit;
mod keys;
mod look;
pub(crate) mod plan;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use memcfg::document::{self, PROJECT_FILE};
use memcfg::files::Sources;

use crate::cli::ConfigCommand;
use crate::exit::{self, Failure};
use crate::live::places;
use crate::output::{page, screen};

/// Does what was asked.
///
/// # Errors
/// 78 when the configuration is not valid, 75 when somebody else edited it meanwhile, 77 when it cannot be trusted.
pub fn config(command: &ConfigCommand, explicit: Option<&Path>) -> Result<u8, Failure> {
    match command {
        ConfigCommand::Check(args) => look::check(args, explicit),
        ConfigCommand::Show(args) => look::show(args, explicit),
        ConfigCommand::Explain(args) => look::explain(args, explicit),
        ConfigCommand::Path => look::path(explicit),
        ConfigCommand::Schema => look::schema(),
        ConfigCommand::Diff(args) => plan::diff(args, explicit),
        ConfigCommand::Plan(args) => plan::plan(args, explicit),
        ConfigCommand::Init(args) => edit::init(args, explicit),
        ConfigCommand::Set(args) => edit::set(args, explicit),
        ConfigCommand::Unset(args) => edit::unset(args, explicit),
        ConfigCommand::Migrate(args) => edit::migrate(args, explicit),
        ConfigCommand::Import(args) => edit::import(args, explicit),
        ConfigCommand::History(args) => edit::history(args, explicit),
        ConfigCommand::Rollback(args) => edit::rollback(args, explicit),
    }
}

fn sources(explicit: Option<&Path>) -> Result<Sources, Failure> {
    Ok(places().sources(explicit))
}

/// The file that an edit means: the one named by `--config`, that of the project, or the user's.
fn edited(explicit: Option<&Path>, project: bool) -> Result<PathBuf, Failure> {
    let places = places();
    if let Some(explicit) = explicit {
        return Ok(places.cwd.join(explicit));
    }
    if project {
        let folder = places.project().unwrap_or_else(|| places.cwd.clone());
        return Ok(folder.join(PROJECT_FILE));
    }
    places.user.ok_or_else(|| {
        Failure::new(exit::NO_INPUT, "there is no home directory for a configuration file")
            .help("name a file with `--config FILE`")
    })
}

/// The content of a file that a command names.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::io(format!("failed to read `{}`", path.display()), error))
}

fn say(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    match writeln!(screen::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("failed to write to stdout", error))
        }
        _ => Ok(()),
    }
}

/// Says a row under its name, broken at words.
fn say_row(name: &str, value: &str) -> Result<(), Failure> {
    let columns = page::columns(io::stdout(), 100);
    let options = textwrap::Options::new(columns).subsequent_indent("         ");
    say(format_args!("{}", textwrap::fill(&format!("  {name:<6} {value}"), options)))
}

/// The schema version of what this program writes, as the first line of every document.
fn version_line() -> String {
    format!("schema_version = {}", document::VERSION)
}
