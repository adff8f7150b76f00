//! Suites that take minutes.
//!
//! Most are examples of the crates: such a suite prints its table to stdout and ends with 0 when every figure is as promised, 77 when this machine cannot run
//! it (it then says why), anything else when a promise is broken. `faults` is made of tests instead, and `live` of programs that the built `memcli` watches; see [`faults`] and [`live`].

mod faults;
mod live;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::page;
use crate::shell::{self, cargo};
use crate::test::FEATURES;
use crate::workspace::Member;

/// A command and what drives it; a crate that has it provides the suite.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) options: &'static str,
    pub(crate) about: &'static str,
    driver: Driver,
}

#[derive(Clone, Copy)]
enum Driver {
    /// An example of this name.
    Example(&'static str),
    /// The tests, in their long forms, of each crate that has a test target `faults`.
    Tests,
    /// Programs that `memcli` watches.
    Programs,
}

pub(crate) const SUITES: [Suite; 4] = [
    Suite {
        name: "survive",
        options: " [--short|--full]",
        about: "a service under a real cgroup limit, with the guard and without: two hours, --full one, --short a minute",
        driver: Driver::Example("survive_bench"),
    },
    Suite {
        name: "faults",
        options: "",
        about: "the tests of injected faults in their long forms, as one table",
        driver: Driver::Tests,
    },
    Suite {
        name: "soak",
        options: " [--days N|--real TIME]",
        about: "30 simulated days, or TIME such as 1h on a real clock, through the whole pipeline",
        driver: Driver::Example("soak"),
    },
    Suite {
        name: "live",
        options: " [--seconds N] [PROGRAM]..",
        about: "programs that leak and programs that do not, four minutes each, and what memcli says of them",
        driver: Driver::Programs,
    },
];

/// The suite of a name, if a crate provides it.
pub(crate) fn provided(members: &[Member], name: &str) -> Option<&'static Suite> {
    SUITES.iter().find(|suite| suite.name == name && suite.providers(members).next().is_some())
}

impl Suite {
    /// Where its table stands.
    fn page(&self) -> &'static str {
        match self.driver {
            Driver::Programs => "docs/guide/live.md",
            Driver::Example(_) | Driver::Tests => page::BENCHMARKS,
        }
    }

    /// The crates that provide it.
    pub(crate) fn providers<'a>(&self, members: &'a [Member]) -> impl Iterator<Item = &'a Member> {
        let driver = self.driver;
        members.iter().filter(move |member| match driver {
            Driver::Example(example) => member.examples.iter().any(|name| name == example),
            Driver::Tests => faults::has_tests(member),
            Driver::Programs => member.name == "memcli",
        })
    }
}

/// How a suite ends that cannot run here.
const SKIPPED: u8 = 77;

/// Runs a suite in every crate that provides it; the worst end is ours. A suite that was skipped is never a success.
///
/// The table of a whole run, one without arguments or with `--full`, goes into the suite's page.
pub(crate) fn run(
    root: &Path,
    members: &[Member],
    suite: &Suite,
    args: &[String],
) -> anyhow::Result<ExitCode> {
    let (worst, tables) = match suite.driver {
        Driver::Example(example) => examples(root, members, suite, example, args)?,
        Driver::Tests => faults::run(root, suite.providers(members), args)?,
        Driver::Programs => live::run(root, args)?,
    };
    if is_whole(args) && worst != SKIPPED {
        page::write_to(root, suite.page(), suite.name, &tables)?;
    }
    Ok(ExitCode::from(worst))
}

fn examples(
    root: &Path,
    members: &[Member],
    suite: &Suite,
    example: &str,
    args: &[String],
) -> anyhow::Result<(u8, String)> {
    let (mut worst, mut tables) = (0, String::new());
    for member in suite.providers(members) {
        // All examples of the crate: the driver starts others of them.
        let build = ["build", "--release", "--package", &member.name, "--examples"];
        let built = shell::capture(&mut cargo(root, build))?;
        if !built.good {
            bail!("the examples of `{}` do not build:\n{}", member.name, built.text);
        }
        let commit = commit(root);
        let driver = set_aside(root, suite.name, &member.examples)?.join(example);
        let (status, table) = shell::echo(Command::new(driver).current_dir(root).args(args))?;
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        println!("{}: {} ended with {status}", member.name, suite.name);
        let called = [&[example.to_owned()], args].concat().join(" ");
        tables.push_str(&format!("From `{called}`{commit}:\n\n{}\n\n", block(&table)));
        worst = worse(worst, code);
    }
    Ok((worst, tables))
}

/// Whether everything that the suite promises was asked for.
fn is_whole(args: &[String]) -> bool {
    args.is_empty() || args == ["--full"]
}

/// The commit that is measured, in words; nothing outside a repository.
fn commit(root: &Path) -> String {
    let git = |args: &[&str]| shell::read(Command::new("git").current_dir(root).args(args));
    let Ok(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return String::new() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let changed = changed.is_ok_and(|changed| !changed.trim().is_empty());
    format!(", commit {}{}", commit.trim(), if changed { " with changes" } else { "" })
}

/// Copies the examples to where no build replaces them: a driver starts others of them for an hour. Gives the folder.
fn set_aside(root: &Path, suite: &str, examples: &[String]) -> anyhow::Result<PathBuf> {
    let (from, to) = (root.join("target/release/examples"), root.join("target/long").join(suite));
    std::fs::create_dir_all(&to).context("failed to make a folder for the suite")?;
    for example in examples {
        // Removed first: what runs from there already keeps its own.
        let _ = std::fs::remove_file(to.join(example));
        std::fs::copy(from.join(example), to.join(example))
            .with_context(|| format!("failed to copy the example `{example}`"))?;
    }
    Ok(to)
}

/// A table in Markdown as it is; plain lines as a block.
fn block(text: &str) -> String {
    let text = text.trim_end();
    let is_markdown = text.lines().any(|line| line.starts_with('|'));
    if is_markdown { text.to_owned() } else { format!("```text\n{text}\n```") }
}

/// What came of a suite that is part of the tests.
pub(crate) enum Short {
    /// It ran; its table.
    Ran(shell::Output),
    /// This machine cannot run it, and why.
    Skipped(String),
}

/// The survival suite in short form: one run without the guard and three with it, in less than a minute.
///
/// It takes the debug build, which the tests have made already.
pub(crate) fn survive_short(root: &Path) -> anyhow::Result<Short> {
    let mut build = cargo(root, ["build", "--workspace", "--examples"]);
    let built = shell::capture(build.args(FEATURES))?;
    if !built.good {
        return Ok(Short::Ran(built));
    }
    let driver = root.join("target/debug/examples/survive_bench");
    let ended = Command::new(driver).current_dir(root).arg("--short").output();
    let ended = ended.context("failed to start the survival suite")?;
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    if ended.status.code() == Some(i32::from(SKIPPED)) {
        return Ok(Short::Skipped(text.trim_end().to_owned()));
    }
    let errors = String::from_utf8_lossy(&ended.stderr);
    Ok(Short::Ran(shell::Output { good: ended.status.success(), text: text + &errors }))
}

/// A failure is worse than a skip, and a skip worse than success.
fn worse(one: u8, other: u8) -> u8 {
    match (one, other) {
        (0, code) | (code, 0) => code,
        (SKIPPED, code) | (code, _) => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_run_goes_on_the_page_and_a_part_of_one_does_not() {
        let args = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        assert!(is_whole(&[]) && is_whole(&args("--full")));
        assert!(!is_whole(&args("--short")) && !is_whole(&args("--full --runs 2")));
    }

    #[test]
    fn a_plain_table_becomes_a_block_and_one_in_markdown_stays() {
        assert_eq!(block("a  b\n1  2\n"), "```text\na  b\n1  2\n```");
        assert_eq!(block("| a |\n| --- |\n"), "| a |\n| --- |");
    }

    #[test]
    fn the_worst_end_wins() {
        assert_eq!(worse(0, 77), 77);
        assert_eq!(worse(77, 1), 1);
        assert_eq!(worse(2, 77), 2);
        assert_eq!(worse(0, 0), 0);
    }
}
