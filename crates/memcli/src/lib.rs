//! How much memory a process uses, how close to the limit it is, and whether it leaks.
//!
//! The library half of the `memcli` command: the only place of this workspace that parses arguments, prints and serves.
//! It wires the layers into one pipeline ([`pipeline::Pipeline`]) and shows what comes out. It measures and judges
//! nothing itself: that is for `memtrack`, `mempressure` and `memleak`.

#![deny(unsafe_code)]

pub mod alert;
pub mod budget;
pub mod child;
pub mod cli;
pub mod command_line;
pub mod commands;
pub mod comparison;
pub mod curve;
pub mod doctor;
pub mod exit;
pub mod fit;
pub mod gate;
pub mod intake;
pub mod limit;
pub mod live;
pub mod look;
pub mod outfile;
pub mod output;
pub mod pipeline;
pub mod places;
pub mod recording;
pub mod recordings;
pub mod report;
pub mod rules;
#[cfg(test)]
mod schema;
pub mod series;
pub mod session;
pub mod size;
pub mod summary;
#[expect(unsafe_code, reason = "wait4 and sigaction have no safe wrapper among the kept crates")]
pub mod sys;
pub mod target;
pub mod top;
pub mod trace;
pub mod weight;

use std::ffi::OsString;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Color, Command, RECORD};
use crate::exit::Failure;
use crate::output::screen;

/// Does what the arguments say, and returns the exit code. The first argument is the program's own name; `spent` is the CPU
/// time that the process had used when its program began ([`sys::cpu_time`]), which is none of the cost of watching.
pub fn main(arguments: impl IntoIterator<Item = OsString>, spent: Duration) -> u8 {
    // What panicked has been told of by then, and a terminal given back, by the hook.
    std::panic::catch_unwind(AssertUnwindSafe(|| obey(arguments, spent))).unwrap_or_else(|_| {
        report(&Failure::new(exit::SOFTWARE, "this is a defect of memcli, not of what it watches"))
    })
}

fn obey(arguments: impl IntoIterator<Item = OsString>, spent: Duration) -> u8 {
    let arguments = as_flags(arguments.into_iter().collect());
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments),
    };
    // Read here and not by clap, to which a variable that is empty is a mistake in `--config`.
    let named = std::env::var_os("MEMCLI_CONFIG").filter(|path| !path.is_empty());
    let config = cli.config.or(named.map(PathBuf::from));
    let config = config.as_deref();
    match cli.color {
        // As it is, unless somebody says so.
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let Some(command) = &cli.command else {
        return commands::overview::overview(config).unwrap_or_else(|failure| report(&failure));
    };
    let done = match command {
        Command::Status(args) => commands::status::status(args, config),
        Command::Top(args) => commands::top::top(args, config),
        Command::Leak(args) => commands::leak::leak(args, config),
        Command::Run(args) => commands::run::run(args, config, spent),
        Command::Watch(args) if typed(&arguments) == Some(RECORD) => {
            commands::watch::record(args, config, spent)
        }
        Command::Watch(args) => commands::watch::watch(args, config, spent),
        Command::Demo(args) => commands::demo::demo(args, config, spent),
        Command::Report(args) => commands::report::report(args, config),
        Command::Replay(args) => commands::replay::replay(args, config),
        Command::Diff(args) => commands::diff::diff(args, config),
        Command::Budget(args) => commands::budget::budget(args, config),
        Command::Config(command) => commands::config::config(command, config),
        Command::Doctor(args) => commands::doctor::doctor(args, config),
        Command::Completions(args) => commands::completions::completions(args),
        Command::Man(args) => commands::man::man(args),
    };
    done.unwrap_or_else(|failure| report(&failure))
}

/// `memcli help run` and `memcli version`, as people type them, in the words of the command line: `memcli run --help` and
/// `memcli --version`. As commands they would be two more of each page and script.
fn as_flags(mut arguments: Vec<OsString>) -> Vec<OsString> {
    match arguments.get(1).and_then(|word| word.to_str()) {
        Some("help") => {
            arguments.remove(1);
            // Only the names of commands have a page: `help help` is that of all.
            if arguments.get(1).is_some_and(|word| word == "help") {
                arguments.truncate(1);
            }
            arguments.push("--help".into());
        }
        // The one command that has commands of its own.
        Some("config") if arguments.get(2).is_some_and(|word| word == "help") => {
            arguments.remove(2);
            arguments.push("--help".into());
        }
        Some("version") if arguments.len() == 2 => arguments[1] = "--version".into(),
        _ => {}
    }
    arguments
}

/// Says what went wrong, and gives its exit code.
pub(crate) fn report(failure: &Failure) -> u8 {
    // When stderr is gone too, the exit code is all that is left to say.
    let _ = writeln!(screen::stderr(), "error: {failure}");
    failure.code
}

/// Whether the option that is not known is one by which other tools, and `memcli report`, choose a format.
fn asks_for_a_format(error: &clap::Error) -> bool {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => {
            matches!(option.as_str(), "--format" | "--output-format" | "-f")
        }
        _ => false,
    }
}

/// The name by which a command was called, which may be an alias.
fn typed(arguments: &[OsString]) -> Option<&str> {
    let command = Cli::command();
    let mut words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    words.find(|word| command.find_subcommand(word).is_some())
}

/// The command that was typed before `word`: `config` of `memcli config shwo`; else that of the whole line.
fn command_before(word: &str, arguments: &[OsString]) -> clap::Command {
    let mut command = Cli::command();
    let words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    for name in words.take_while(|typed| *typed != word || word.is_empty()) {
        if let Some(typed) = command.find_subcommand(name).cloned() {
            command = typed;
        }
    }
    command
}

/// Whether the command that was typed takes `--json`.
fn has_json(arguments: &[OsString]) -> bool {
    command_before("", arguments).get_arguments().any(|argument| argument.get_id() == "json")
}

/// Help and version go to stdout with 0; a mistake goes to stderr with 64, since 2 means something else here.
fn usage(error: &clap::Error, arguments: &[OsString]) -> u8 {
    match error.kind() {
        ErrorKind::UnknownArgument if asks_for_a_format(error) && has_json(arguments) => {
            let failure = Failure::new(exit::USAGE, "there is no option `--format` here");
            report(&failure.help("`--json` prints a document"))
        }
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let printed = error.print().and_then(|()| std::io::stdout().flush());
            commands::written(printed).map_or_else(|failure| report(&failure), |()| exit::OK)
        }
        ErrorKind::InvalidSubcommand => {
            let words = |kind| match error.get(kind) {
                Some(ContextValue::String(word)) => vec![word.clone()],
                Some(ContextValue::Strings(words)) => words.clone(),
                _ => Vec::new(),
            };
            let typed = words(ContextKind::InvalidSubcommand).concat();
            let parent = command_before(&typed, arguments);
            let path = match parent.get_name() {
                "memcli" => String::new(),
                name => format!("{name} "),
            };
            let failure = Failure::new(exit::USAGE, format!("there is no command `{path}{typed}`"));
            // The likest comes last. A hidden alias is no name to learn.
            let known =
                |word: &String| parent.get_subcommands().any(|command| command.get_name() == word);
            let meant = words(ContextKind::SuggestedSubcommand).into_iter().rfind(known);
            let failure = match meant {
                Some(meant) => failure.help(format!("did you mean `{meant}`?")),
                None => failure.help(format!("`memcli {path}--help` lists the commands")),
            };
            report(&failure)
        }
        _ => {
            let _ = error.print();
            exit::USAGE
        }
    }
}
