//! `cargo xtask mutants [CORE]..`: the pure cores are changed in small ways, one at a time, and a test must notice each.
//!
//! A change that no test can notice, because the program does the same with it, is listed with its reason in `docs/mutants.md`. Any other that survives
//! is a failure, and so is a listed one that does not survive any more.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::page;
use crate::shell::{self, cargo};

/// Where survivors are explained.
const PAGE: &str = "docs/mutants.md";

const INSTALL: &str = "cargo install cargo-mutants --locked";

/// One pure core: its files, and the tests that hold its rules.
struct Core {
    name: &'static str,
    files: &'static [&'static str],
    /// Which of the crate's tests are built and run.
    tests: &'static [&'static str],
}

const CORES: [Core; 4] = [
    Core {
        name: "machine",
        files: &[
            "crates/mempressure/src/machine.rs",
            "crates/mempressure/src/machine/latches.rs",
            "crates/mempressure/src/machine/votes.rs",
        ],
        tests: &["--lib", "--test=properties"],
    },
    Core {
        name: "plan",
        files: &["crates/mempressure/src/plan.rs"],
        tests: &["--lib", "--test=properties"],
    },
    Core {
        name: "trend",
        files: &["crates/memleak/src/trend.rs", "crates/memleak/src/regression.rs"],
        tests: &["--lib"],
    },
    Core {
        name: "merge",
        files: &["crates/memcfg/src/merge.rs"],
        tests: &["--lib", "--test=engine", "--test=properties"],
    },
];

/// What came of one core's mutants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    /// Those that compile.
    tried: u64,
    caught: u64,
    /// Killed by the time limit: the change made a loop endless.
    timed_out: u64,
    survived: u64,
}

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    if let Some(unknown) = args.iter().find(|name| !CORES.iter().any(|core| core.name == **name)) {
        bail!("no core `{unknown}`: there are {}", CORES.map(|core| core.name).join(", "));
    }
    if !shell::has_subcommand(root, "mutants") {
        bail!("cargo-mutants is not installed: `{INSTALL}`");
    }
    let page = std::fs::read_to_string(root.join(PAGE))
        .with_context(|| format!("failed to read `{PAGE}`"))?;
    let explained = explained(&page);
    let mut table = String::from(
        "| core | mutants | killed by a test | endless | survive, explained | survive, not explained | minutes |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut good = true;
    for core in CORES.iter().filter(|core| args.is_empty() || args.contains(&core.name.to_owned()))
    {
        let started = Instant::now();
        let (figures, survivors) = mutate(root, core)?;
        let own = explained.iter().filter(|mutant| core.owns(mutant)).cloned().collect();
        let (unexplained, stale) = compare(&survivors, own);
        for mutant in &unexplained {
            println!("survives, and `{PAGE}` does not say why: {mutant}");
        }
        for mutant in &stale {
            println!("`{PAGE}` explains what does not survive: {mutant}");
        }
        good &= unexplained.is_empty() && stale.is_empty();
        let Figures { tried, caught, timed_out, survived } = figures;
        let minutes = started.elapsed().as_secs().div_ceil(60);
        let open = unexplained.len() as u64;
        table.push_str(&format!(
            "| {} | {tried} | {caught} | {timed_out} | {} | {open} | {minutes} |\n",
            core.name,
            survived - open
        ));
    }
    println!("\n{table}");
    if args.is_empty() {
        page::write(root, "mutants", &table)?;
    }
    Ok(good)
}

impl Core {
    fn owns(&self, mutant: &str) -> bool {
        self.files.iter().any(|file| mutant.starts_with(&format!("{file}:")))
    }
}

/// Runs the tool on a copy of the tree; what it counted, and the survivors without their places in the file.
fn mutate(root: &Path, core: &Core) -> anyhow::Result<(Figures, Vec<String>)> {
    let out = root.join("target/mutants").join(core.name);
    std::fs::create_dir_all(&out).with_context(|| format!("failed to make `{}`", out.display()))?;
    // Built and tested in one job, with the rest of the machine left to others, and without what only a debugger reads.
    let mut command = cargo(root, ["mutants", "--no-shuffle", "--jobs=1", "--colors=never"]);
    command.args(["--timeout=90", "--build-timeout=600", "--output"]).arg(&out);
    command.args(core.files.iter().map(|file| format!("--file={file}")));
    command.args(core.tests.iter().map(|test| format!("--cargo-arg={test}")));
    command.env("CARGO_PROFILE_DEV_DEBUG", "false").env("CARGO_PROFILE_TEST_DEBUG", "false");
    // One for all cores and all times: what the crates stand on is built once.
    command.env("CARGO_TARGET_DIR", root.join("target/mutants/build"));
    let (status, text) = shell::echo(&mut command)?;
    // 2: some survived; 3: some ran into the time limit. Anything else is no result.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        bail!("cargo-mutants ended with {status}");
    }
    let lines = |name: &str| {
        let path = out.join("mutants.out").join(name);
        std::fs::read_to_string(&path)
            .map(|text| text.lines().map(without_place).collect::<Vec<_>>())
            .with_context(|| format!("failed to read `{}`", path.display()))
    };
    let survivors = lines("missed.txt")?;
    let (caught, timed_out) =
        (lines("caught.txt")?.len() as u64, lines("timeout.txt")?.len() as u64);
    let survived = survivors.len() as u64;
    let figures = Figures { tried: caught + timed_out + survived, caught, timed_out, survived };
    if figures.tried == 0 {
        bail!("no mutant was tried:\n{text}");
    }
    Ok((figures, survivors))
}

/// `FILE:LINE:COLUMN: CHANGE` as `FILE: CHANGE`: a line that moves does not make another mutant of it.
fn without_place(line: &str) -> String {
    let mut parts = line.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(change)) => format!("{file}:{change}"),
        _ => line.to_owned(),
    }
}

/// The first cells of the page's table: ``| `FILE: CHANGE` | why |``, as often as it occurs.
fn explained(page: &str) -> Vec<String> {
    let cell = |line: &str| {
        let (mutant, _) = line.strip_prefix("| `crates/")?.split_once("` |")?;
        // A bar would end the cell, so it is written with a backslash there.
        Some(format!("crates/{}", mutant.replace("\\|", "|")))
    };
    page.lines().filter_map(cell).collect()
}

/// Survivors that are not explained, and explanations without a survivor; each explanation serves one survivor.
fn compare(survivors: &[String], mut explained: Vec<String>) -> (Vec<String>, Vec<String>) {
    let mut unexplained = Vec::new();
    for survivor in survivors {
        match explained.iter().position(|mutant| mutant == survivor) {
            Some(at) => drop(explained.swap_remove(at)),
            None => unexplained.push(survivor.clone()),
        }
    }
    (unexplained, explained)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_known_wherever_its_line_moves() {
        let line = "crates/a/src/b.rs:37:9: replace A::excess -> u64 with 0";
        assert_eq!(without_place(line), "crates/a/src/b.rs: replace A::excess -> u64 with 0");
    }

    #[test]
    fn each_explanation_serves_one_survivor() {
        let page =
            "| mutant | why |\n|---|---|\n| `crates/a.rs: replace \\|\\| with && in f` | x |\n";
        let known = explained(page);
        assert_eq!(known, ["crates/a.rs: replace || with && in f"]);
        let twice = [known[0].clone(), known[0].clone()];
        assert_eq!(compare(&twice, known.clone()), (vec![known[0].clone()], vec![]));
        assert_eq!(compare(&[], known.clone()), (vec![], known));
    }
}
