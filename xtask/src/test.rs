//! `cargo xtask test`: every check, one after the other, none skipped because an earlier one failed.
//!
//! Steps are ordered and worded so that they share builds: no step sets `RUSTFLAGS` or a profile, lints go to clippy as arguments, and
//! the layers alone are linted rather than built. What differs between steps is only the set of features.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::book;
use crate::long::{self, Short};
use crate::shell::{self, Output, cargo};
use crate::tidy;

/// The crates that must stand without the rest of the workspace.
const LAYERS: [&str; 4] = ["memtrack", "mempressure", "memleak", "memcfg"];

/// What no member of the workspace switches on and yet has code and tests. Every step that builds tests names it, so that they share
/// one build.
pub(crate) const FEATURES: [&str; 2] = ["--features", "mempressure/moka"];

/// Tests that were run, over all steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// The steps so far.
#[derive(Default)]
struct Report {
    count: Count,
    failures: Vec<String>,
    /// What this machine cannot run: no failure, and said again at the end.
    skips: Vec<String>,
}

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    crate::no_arguments(args)?;
    let started = Instant::now();
    let mut report = Report::default();

    report.step("format", &mut cargo(root, ["fmt", "--all", "--check"]))?;
    report.check("tidy", || tidy::report(root))?;
    let whole = [&["--workspace", "--all-targets"], &FEATURES[..]].concat();
    report.step("lints, whole workspace", &mut clippy(root, &whole))?;
    for layer in LAYERS {
        // Without dev-dependencies: a feature that only a test switches on must not hide a missing one.
        report.step(&format!("{layer} alone"), &mut clippy(root, &["-p", layer]))?;
        let bare = ["-p", layer, "--no-default-features"];
        report.step(&format!("{layer} alone, no features"), &mut clippy(root, &bare))?;
    }
    report.tests("tests", &mut test_runner(root))?;
    report.tests(
        "documentation tests",
        cargo(root, ["test", "--workspace", "--doc", "--no-fail-fast"]).args(FEATURES),
    )?;
    report.survival(root)?;
    // After the tests, which build the memcli that the pages use.
    report.check("pages", || book::report(root))?;
    let mut docs = cargo(root, ["doc", "--workspace", "--no-deps", "--document-private-items"]);
    docs.args(FEATURES);
    report.step("documentation", docs.env("RUSTDOCFLAGS", "-D warnings"))?;

    Ok(report.close(started))
}

fn clippy(root: &Path, selection: &[&str]) -> Command {
    let mut command = cargo(root, ["clippy", "--locked", "--quiet"]);
    command.args(selection).args(["--", "-D", "warnings"]);
    command
}

/// nextest where it is installed: each test in a process of its own, and two at a time across binaries. Plain `cargo test` elsewhere.
fn test_runner(root: &Path) -> Command {
    let mut runner = if shell::exists("cargo-nextest", "--version") {
        let arguments = [
            "nextest",
            "run",
            "--workspace",
            "--no-fail-fast",
            "--hide-progress-bar",
            "--status-level=fail",
        ];
        cargo(root, arguments)
    } else {
        cargo(root, ["test", "--workspace", "--all-targets", "--no-fail-fast"])
    };
    runner.args(FEATURES);
    runner
}

impl Report {
    /// Runs one command as a step.
    fn step(&mut self, name: &str, command: &mut Command) -> anyhow::Result<Output> {
        self.check_output(name, || shell::capture(command))
    }

    /// Runs one step that is a function of this tool.
    fn check(
        &mut self,
        name: &str,
        check: impl FnOnce() -> anyhow::Result<Output>,
    ) -> anyhow::Result<()> {
        self.check_output(name, check).map(drop)
    }

    /// Runs a step whose output counts tests. No test at all is a failure.
    fn tests(&mut self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        let output = self.step(name, command)?;
        let count = count(&output.text);
        if output.good {
            for line in closing_lines(&output.text) {
                println!("    {line}");
            }
            if count.passed == 0 {
                self.failures.push(format!("{name}: no test ran"));
            }
        }
        self.count.passed += count.passed;
        self.count.failed += count.failed;
        Ok(())
    }

    /// A service under a real cgroup limit, which the kernel kills without the guard and must not kill with it.
    fn survival(&mut self, root: &Path) -> anyhow::Result<()> {
        let name = "survival";
        let started = begin(name)?;
        let output = match long::survive_short(root) {
            Ok(Short::Skipped(why)) => {
                println!("{why}");
                self.skips.push(format!("{name}: {why}"));
                return Ok(());
            }
            Ok(Short::Ran(output)) => Ok(output),
            Err(error) => Err(error),
        };
        let output = self.conclude(name, started, output);
        if output.good {
            output.text.lines().for_each(|line| println!("    {line}"));
        }
        Ok(())
    }

    fn check_output(
        &mut self,
        name: &str,
        check: impl FnOnce() -> anyhow::Result<Output>,
    ) -> anyhow::Result<Output> {
        let started = begin(name)?;
        let output = check();
        Ok(self.conclude(name, started, output))
    }

    fn conclude(&mut self, name: &str, started: Instant, output: anyhow::Result<Output>) -> Output {
        // A step that could not even start has failed, and the next ones still run.
        let failed = |error| Output { good: false, text: format!("{error:#}") };
        let output = output.unwrap_or_else(failed);
        let seconds = started.elapsed().as_secs_f64();
        if output.good {
            println!("ok {seconds:7.1} s");
        } else {
            println!("FAILED {seconds:.1} s\n{}", output.text.trim_end());
            self.failures.push(name.to_owned());
        }
        output
    }

    /// Prints the closing lines; true when everything was good.
    fn close(&self, started: Instant) -> bool {
        println!("\n{:.1} s in all", started.elapsed().as_secs_f64());
        for skip in &self.skips {
            println!("{skip}");
        }
        for failure in &self.failures {
            println!("FAILED: {failure}");
        }
        println!("{} passed, {} failed", self.count.passed, self.count.failed);
        self.failures.is_empty()
    }
}

/// Names a step that begins.
fn begin(name: &str) -> anyhow::Result<Instant> {
    print!("{name:32}");
    std::io::stdout().flush()?;
    Ok(Instant::now())
}

/// The lines with which a test runner closes.
fn closing_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| line.starts_with("Summary ["))
}

/// Adds up what nextest (`Summary [..] 9 tests run: 8 passed, 1 failed`) or libtest (`test result: ok. 8 passed; 1 failed; ..`) counted.
pub(crate) fn count(text: &str) -> Count {
    let mut count = Count::default();
    // Under nextest a failed test's own output holds a result of libtest, too.
    let nextest = closing_lines(text).next().is_some();
    let closing = if nextest { "Summary [" } else { "test result: " };
    for line in text.lines().map(str::trim).filter(|line| line.starts_with(closing)) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1].trim_end_matches([',', ';']) {
                "passed" => count.passed += number,
                // nextest counts a test that hung or could not start apart from one that failed.
                "failed" | "timed" | "exec" => count.failed += number,
                _ => {}
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_is_counted() {
        let text = "     Summary [   0.1s] 9 tests run: 6 passed (1 slow), 2 failed, 1 timed out, 3 skipped\n";
        assert_eq!(count(text), Count { passed: 6, failed: 3 });
        let text = format!("    test result: FAILED. 0 passed; 1 failed; 0 ignored\n{text}");
        assert_eq!(count(&text), Count { passed: 6, failed: 3 });
    }

    #[test]
    fn every_binary_of_cargo_test_is_counted() {
        let text = "test result: ok. 4 passed; 0 failed; 0 ignored\n\nrunning 2 tests\n\
                    test result: FAILED. 1 passed; 1 failed; 0 ignored; finished in 0.00s\n";
        assert_eq!(count(text), Count { passed: 5, failed: 1 });
    }

    #[test]
    fn output_that_only_looks_like_a_result_counts_nothing() {
        assert_eq!(count("7 passed, 0 failed\nerror: could not compile\n"), Count::default());
    }
}
