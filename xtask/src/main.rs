//! The workshop: every check, figure and package of this workspace is one `cargo xtask` command.
//!
//! It runs `cargo` and the built programs from outside and links none of the crates it checks, so a broken layer cannot break the tool
//! that reports it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool prints")]

mod bench;
mod book;
mod coverage;
mod dist;
mod fuzz;
mod generate;
mod long;
mod mutants;
mod page;
mod races;
mod release;
mod schema;
mod shell;
mod test;
mod tidy;
mod workspace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One subcommand: its name, what it says of itself, and what it does with the arguments after its name.
struct Command {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&Path, &[String]) -> anyhow::Result<bool>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "test",
        usage: "test",
        about: "format, lints, each layer alone, tests, docs, tidy: what CI runs",
        run: test::run,
    },
    Command {
        name: "tidy",
        usage: "tidy",
        about: "the rules of the house that a compiler does not check",
        run: tidy::run,
    },
    Command {
        name: "book",
        usage: "book",
        about: "run every command and check every document and link of the pages; make the book",
        run: book::run,
    },
    Command {
        name: "gen",
        usage: "gen [--check]",
        about: "write, or only compare, the files that are made from the code",
        run: generate::run,
    },
    Command {
        name: "schema",
        usage: "schema new-version [--base REV]",
        about: "the draft of a new version of the document: what changed, as operations and a test",
        run: schema::run,
    },
    Command {
        name: "bench",
        usage: "bench [run|watch|CRATE].. [--gate] [--rounds N] [--seconds N]",
        about: "figures beside their rivals, into docs/benchmarks.md",
        run: bench::run,
    },
    Command {
        name: "fuzz",
        usage: "fuzz [TARGET].. [--seconds N]",
        about: "libFuzzer on every parser of outside bytes, 60 s each",
        run: fuzz::run,
    },
    Command {
        name: "coverage",
        usage: "coverage",
        about: "which lines the tests run, for each crate",
        run: coverage::run,
    },
    Command {
        name: "mutants",
        usage: "mutants [CORE]..",
        about: "change the pure cores in small ways: a test must notice, or a page say why not",
        run: mutants::run,
    },
    Command {
        name: "races",
        usage: "races [miri|tsan]",
        about: "concurrency and unsafe code under Miri and ThreadSanitizer: needs nightly",
        run: races::run,
    },
    Command {
        name: "release",
        usage: "release X.Y.Z [--dry-run]",
        about: "bump, cut the changelog, compare the API with the last tag, build each crate from its package; commit and tag",
        run: release::run,
    },
    Command {
        name: "dist",
        usage: "dist",
        about: "the program with its papers as a tarball and a .deb, each started from an empty folder; a bill of materials",
        run: dist::run,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        return usage("");
    };
    match run(name, rest) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, args: &[String]) -> anyhow::Result<ExitCode> {
    let root = root();
    if matches!(name, "help" | "-h" | "--help") {
        print!("{}", help(&root));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        let good = (command.run)(&root, args)?;
        return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let members = workspace::members(&root)?;
    if let Some(suite) = long::provided(&members, name) {
        return long::run(&root, &members, suite, args);
    }
    Ok(usage(&format!("xtask: no command `{name}`\n\n")))
}

fn usage(complaint: &str) -> ExitCode {
    eprint!("{complaint}{}", help(&root()));
    ExitCode::from(64)
}

/// The workspace this tool was built in. It is run from there by cargo, and nowhere else.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// What there is. A suite that no crate provides is not listed.
fn help(root: &Path) -> String {
    let members = workspace::members(root).unwrap_or_default();
    let suites = long::SUITES.iter().filter(|suite| suite.providers(&members).next().is_some());
    let suites: Vec<_> =
        suites.map(|suite| (format!("{}{}", suite.name, suite.options), suite.about)).collect();
    let commands = COMMANDS.iter().map(|command| (command.usage.to_owned(), command.about));
    let lines: Vec<(String, &str)> = commands.chain(suites).collect();
    let width = lines.iter().map(|(usage, _)| usage.len()).max().unwrap_or(0);
    let mut text = String::from("cargo xtask COMMAND\n\n");
    for (usage, about) in lines {
        text.push_str(&format!("  {usage:width$}  {about}\n"));
    }
    text
}

/// Refuses arguments that a command does not take.
fn no_arguments(args: &[String]) -> anyhow::Result<()> {
    match args.first() {
        None => Ok(()),
        Some(extra) => anyhow::bail!("unexpected argument `{extra}`"),
    }
}
