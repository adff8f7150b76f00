//! `cargo xtask coverage`: which lines of the crates the tests run.
//!
//! The compiler counts, and cargo-llvm-cov reads with a component of the toolchain; see `docs/decisions/0022-coverage-by-llvm-cov.md`. Code that only another
//! process runs, such as memcli under its end-to-end tests, is counted as well, unless that process is killed. The tests in a file are not counted with it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};

use crate::page;
use crate::shell::{self, cargo};
use crate::test::{self, FEATURES};
use crate::tidy::sources::{is_tests, opens_tests};

const INSTALL: &str = "cargo install cargo-llvm-cov --locked && rustup component add llvm-tools";

/// Files of which the tests run less than this share are named.
const NAMED_BELOW: f64 = 0.7;

/// Lines that could run and that did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    all: u64,
    run: u64,
}

impl Lines {
    fn share(self) -> f64 {
        if self.all == 0 { 1.0 } else { self.run as f64 / self.all as f64 }
    }

    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.run += other.run;
    }
}

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    crate::no_arguments(args)?;
    if !shell::has_subcommand(root, "llvm-cov") {
        bail!("cargo-llvm-cov is not installed: `{INSTALL}`");
    }
    let out = root.join("target/coverage");
    std::fs::create_dir_all(&out).with_context(|| format!("failed to make `{}`", out.display()))?;
    let report = out.join("lcov.info");
    let selection = ["llvm-cov", "test", "--workspace", "--lib", "--bins", "--tests"];
    let mut command = cargo(root, selection);
    command.args(["--exclude=xtask", "--exclude=fuzz", "--exclude=guide"]).args(FEATURES);
    // A test that fails, because the counting slows it down or for a reason, does not take the figures of the others with it.
    command.args(["--ignore-run-fail", "--lcov", "--output-path"]).arg(&report);
    command.env("CARGO_PROFILE_DEV_DEBUG", "false").env("CARGO_PROFILE_TEST_DEBUG", "false");
    let output = shell::capture(&mut command)?;
    if !output.good {
        bail!("cargo-llvm-cov is not content; it takes `{INSTALL}`:\n{}", output.text);
    }
    let text = std::fs::read_to_string(&report)
        .with_context(|| format!("failed to read `{}`", report.display()))?;
    let files = files(&text, root, |path| std::fs::read_to_string(root.join(path)))?;
    let count = test::count(&output.text);
    let table = format!(
        "{} tests, of which {} failed.\n\n{}",
        count.passed + count.failed,
        count.failed,
        table(&files)
    );
    println!("{table}");
    page::write(root, "coverage", &table)?;
    if count.failed > 0 {
        println!("not every test passed:\n{}", output.text);
    }
    println!("each line: {}", report.display());
    Ok(count.failed == 0)
}

/// The sources of the crates by their paths in the tree, each up to its own tests. The report names a file by `SF:PATH`, and a line that could run by `DA:LINE,TIMES`.
fn files(
    report: &str,
    root: &Path,
    read: impl Fn(&str) -> std::io::Result<String>,
) -> anyhow::Result<BTreeMap<String, Lines>> {
    let mut files: BTreeMap<String, Lines> = BTreeMap::new();
    // The file that the next lines are of, and where its tests begin.
    let mut open: Option<(String, usize)> = None;
    for line in report.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            open = None;
            let Ok(path) = Path::new(path).strip_prefix(root) else { continue };
            let path = path.to_string_lossy().into_owned();
            let is_source = path.starts_with("crates/") && path.split('/').nth(2) == Some("src");
            if is_source && !is_tests(&path) {
                let text = read(&path).with_context(|| format!("failed to read `{path}`"))?;
                let code = text.lines().take_while(|line| !opens_tests(line)).count();
                open = Some((path, code));
            }
        } else if let (Some((path, code)), Some(counted)) = (&open, line.strip_prefix("DA:"))
            && let Some((number, times)) = counted.split_once(',')
            && number.parse::<usize>().is_ok_and(|number| number <= *code)
        {
            let run = u64::from(!times.starts_with('0'));
            files.entry(path.clone()).or_default().add(Lines { all: 1, run });
        }
    }
    if files.is_empty() {
        bail!("the report has none of our files");
    }
    Ok(files)
}

fn table(files: &BTreeMap<String, Lines>) -> String {
    let (mut crates, mut whole) = (BTreeMap::<&str, Lines>::new(), Lines::default());
    for (path, lines) in files {
        crates.entry(path.split('/').nth(1).unwrap_or_default()).or_default().add(*lines);
        whole.add(*lines);
    }
    let mut text = String::from("| crate | lines | run by a test | |\n|---|---:|---:|---:|\n");
    for (name, lines) in crates.into_iter().chain([("all", whole)]) {
        let percent = 100.0 * lines.share();
        text.push_str(&format!("| {name} | {} | {} | {percent:.1} % |\n", lines.all, lines.run));
    }
    let low: Vec<String> = files
        .iter()
        .filter(|(_, lines)| lines.share() < NAMED_BELOW)
        .map(|(path, lines)| format!("`{path}` {:.0} %", 100.0 * lines.share()))
        .collect();
    if !low.is_empty() {
        text.push_str(&format!("\nBelow {:.0} %: {}.\n", 100.0 * NAMED_BELOW, low.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_up_for_each_crate_without_its_tests() {
        let report = "SF:/w/crates/a/src/x.rs\nDA:1,7\nDA:2,0\nDA:3,10\nDA:9,1\nend_of_record\n\
            SF:/w/crates/a/src/y.rs\nDA:1,0\nDA:2,0\nend_of_record\n\
            SF:/w/crates/a/src/x/tests.rs\nDA:1,1\nSF:/w/crates/a/tests/z.rs\nDA:1,1\n\
            SF:/w/xtask/src/main.rs\nDA:1,1\n";
        let text = "1\n2\n3\n#[cfg(test)]\nmod tests {\n6\n7\n8\n9\n}\n";
        let files = files(report, Path::new("/w"), |_| Ok(text.to_owned())).unwrap();
        let table = table(&files);
        assert!(table.contains("| a | 5 | 2 | 40.0 % |"), "{table}");
        assert!(
            table.ends_with("Below 70 %: `crates/a/src/x.rs` 67 %, `crates/a/src/y.rs` 0 %.\n"),
            "{table}"
        );
    }
}
