//! `memcli config`: show and check the configuration.

use std::io::{self, Write};
use std::path::Path;

use memcfg::Diagnostic;
use memcfg::document::{self, Config};
use memcfg::load::Loaded;
use serde_json::json;

use crate::cli::{CheckArgs, ConfigCommand, ShowArgs};
use crate::exit::{self, Failure};
use crate::live::{places, refused};
use crate::output::{diagnostic, screen};

/// Does what was asked.
///
/// # Errors
/// 78 when the configuration is not valid.
pub fn config(command: &ConfigCommand, explicit: Option<&Path>) -> Result<u8, Failure> {
    match command {
        ConfigCommand::Check(args) => check(args, explicit),
        ConfigCommand::Show(args) => show(args, explicit),
    }
}

fn load(explicit: Option<&Path>) -> Result<Result<Loaded<Config>, Vec<Diagnostic>>, Failure> {
    Ok(document::load(&places()?.sources(explicit)))
}

fn check(args: &CheckArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let loaded = load(explicit)?;
    if args.json {
        let (valid, problems) = match &loaded {
            Ok(loaded) => (true, &loaded.warnings),
            Err(problems) => (false, problems),
        };
        let document =
            json!({ "schema": "memcli.config-check/1", "valid": valid, "diagnostics": problems });
        say(format_args!("{document}"))?;
        return Ok(if valid { exit::OK } else { exit::CONFIG });
    }
    let loaded = loaded.map_err(|problems| refused(&problems))?;
    for warning in &loaded.warnings {
        let _ = writeln!(screen::stderr(), "{}", diagnostic::render(warning));
    }
    let files: Vec<_> = loaded.overlays.iter().filter_map(file_of).collect();
    match files.as_slice() {
        [] => say(format_args!("ok: no configuration file; the defaults hold"))?,
        files => say(format_args!("ok: {}", files.join(", ")))?,
    }
    Ok(exit::OK)
}

fn file_of(overlay: &memcfg::overlay::Overlay) -> Option<String> {
    let first = overlay.values.values().next()?;
    let source = &first.origin.source;
    source.is_file().then(|| source.name.clone())
}

fn show(args: &ShowArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let loaded = load(explicit)?.map_err(|problems| refused(&problems))?;
    // With its version in front it is a document that can be loaded again.
    say(format_args!("schema_version = {}", document::VERSION))?;
    for key in loaded.keys() {
        let Some(found) = loaded.explain(&key) else { continue };
        let value = &found.effective.value;
        if args.origin {
            say(format_args!("{:<48} # {}", format!("{key} = {value}"), found.effective.origin))?;
        } else {
            say(format_args!("{key} = {value}"))?;
        }
    }
    Ok(exit::OK)
}

fn say(line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    match writeln!(screen::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("failed to write to stdout", error))
        }
        _ => Ok(()),
    }
}
