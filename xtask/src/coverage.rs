//! `cargo xtask coverage`: which lines of the crates the tests run.
//!
//! The compiler counts and cargo-tarpaulin reads: it brings its own reader of the counts, where `cargo llvm-cov` needs a component of the toolchain that belongs
//! to just this compiler. Code that only another process runs, such as memcli under its end-to-end tests, is counted as well.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::page;
use crate::shell::{self, cargo};
use crate::test::FEATURES;

const INSTALL: &str = "cargo install cargo-tarpaulin --locked --no-default-features";

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
    if !shell::has_subcommand(root, "tarpaulin") {
        bail!("cargo-tarpaulin is not installed: `{INSTALL}`");
    }
    let out = root.join("target/coverage");
    std::fs::create_dir_all(&out).with_context(|| format!("failed to make `{}`", out.display()))?;
    let mut command =
        cargo(root, ["tarpaulin", "--engine=llvm", "--workspace", "--lib", "--tests"]);
    command.args(["--exclude=xtask", "--exclude=fuzz", "--exclude=guide", "--follow-exec"]);
    // A test that was slowed down by the counting is no failure of this command; those are for `cargo xtask test`.
    command.args(["--no-fail-fast", "--timeout=600", "--skip-clean", "--out=Json"]).args(FEATURES);
    command
        .arg("--output-dir")
        .arg(&out)
        .arg("--target-dir")
        .arg(root.join("target/coverage-build"));
    let output = shell::capture(&mut command)?;
    let report = out.join("tarpaulin-report.json");
    let text = std::fs::read_to_string(&report).with_context(|| {
        format!("`{}` was not written; cargo-tarpaulin said:\n{}", report.display(), output.text)
    })?;
    let files = files(root, &text)?;
    let table = table(&files);
    println!("{table}");
    page::write(root, "coverage", &table)?;
    if !output.good {
        println!("not every test passed:\n{}", output.text);
    }
    Ok(output.good)
}

/// The sources of the crates, without their tests, by their paths in the tree.
fn files(root: &Path, report: &str) -> anyhow::Result<BTreeMap<String, Lines>> {
    let report: Value = serde_json::from_str(report).context("the report is not JSON")?;
    let mut files = BTreeMap::new();
    for file in report["files"].as_array().context("the report names no files")? {
        let path = file["path"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let path: std::path::PathBuf = path.collect();
        let Ok(path) = path.strip_prefix(root) else { continue };
        let path = path.to_string_lossy().into_owned();
        let source = path.starts_with("crates/") && path.split('/').nth(2) == Some("src");
        if !source || path.ends_with("tests.rs") {
            continue;
        }
        let count = |key: &str| file[key].as_u64().unwrap_or(0);
        files.insert(path, Lines { all: count("coverable"), run: count("covered") });
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
        let report = r#"{"files": [
            {"path": ["/", "w", "crates", "a", "src", "x.rs"], "covered": 3, "coverable": 4},
            {"path": ["/", "w", "crates", "a", "src", "y.rs"], "covered": 1, "coverable": 4},
            {"path": ["/", "w", "crates", "a", "src", "x", "tests.rs"], "covered": 9, "coverable": 9},
            {"path": ["/", "w", "crates", "a", "tests", "z.rs"], "covered": 9, "coverable": 9},
            {"path": ["/", "w", "xtask", "src", "main.rs"], "covered": 0, "coverable": 9}
        ]}"#;
        let files = files(Path::new("/w"), report).unwrap();
        let table = table(&files);
        assert!(table.contains("| a | 8 | 4 | 50.0 % |"), "{table}");
        assert!(table.ends_with("Below 70 %: `crates/a/src/y.rs` 25 %.\n"), "{table}");
    }
}
