//! `cargo xtask races`: what concurrency and unsafe code do on a machine with weak memory, looked at by Miri and by ThreadSanitizer.
//!
//! Both need a nightly toolchain, and minutes, so this is no part of the tests. Schedules are tried out by `memcfg`'s own tests on every run; see
//! `docs/decisions/0012-faults-and-schedules.md`.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::bail;

use crate::page;
use crate::shell;
use crate::test;

/// What runs the tests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Miri,
    ThreadSanitizer,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Tool::Miri => "Miri",
            Tool::ThreadSanitizer => "ThreadSanitizer",
        }
    }
}

/// Tests that one of them can run.
struct Suite {
    tool: Tool,
    what: &'static str,
    /// What is handed to `cargo test`, before `--` and after it.
    selection: &'static [&'static str],
    filter: &'static [&'static str],
}

const SUITES: &[Suite] = &[
    Suite {
        tool: Tool::Miri,
        what: "settings, gauges and subscriptions of memtrack",
        selection: &["-p=memtrack", "--no-default-features", "--lib"],
        filter: &["settings::", "sampler::subscription", "component::tests::a_gauge"],
    },
    Suite {
        tool: Tool::Miri,
        what: "the store of memcfg on its real primitives: a writer, three observers, five generations",
        selection: &["-p=memcfg", "--no-default-features", "--lib"],
        filter: &["store_tests"],
    },
    Suite {
        tool: Tool::ThreadSanitizer,
        what: "live documents of memcfg, and its observers under reloads, storms and lost descriptors",
        selection: &["-p=memcfg", "--test=live", "--test=faults"],
        filter: &["observers", "reloads", "live"],
    },
    Suite {
        tool: Tool::ThreadSanitizer,
        what: "the guard of mempressure: worker, watch and caches",
        selection: &["-p=mempressure", "--test=guard", "--test=liars"],
        filter: &[],
    },
    Suite {
        tool: Tool::ThreadSanitizer,
        what: "the worker of memleak on a sampler",
        selection: &["-p=memleak", "--test=worker"],
        filter: &[],
    },
];

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    let only = match args {
        [] => None,
        [tool] if tool == "miri" => Some(Tool::Miri),
        [tool] if tool == "tsan" => Some(Tool::ThreadSanitizer),
        _ => bail!("usage: races [miri|tsan]"),
    };
    if !succeeds(&["+nightly", "miri", "--version"]) {
        bail!(
            "there is no nightly toolchain with Miri: `rustup toolchain install nightly --component miri --component rust-src`"
        );
    }
    let mut table =
        String::from("| tool | what it ran | tests | reports | s |\n|---|---|---:|---:|---:|\n");
    let mut good = true;
    for suite in SUITES.iter().filter(|suite| only.is_none_or(|tool| tool == suite.tool)) {
        let started = Instant::now();
        let output = shell::capture(&mut command(root, suite))?;
        let reports = reports(&output.text);
        let ran = test::count(&output.text).passed;
        let seconds = started.elapsed().as_secs();
        println!(
            "{}: {}: {ran} tests, {reports} reports, {seconds} s",
            suite.tool.name(),
            suite.what
        );
        if !output.good || reports > 0 || ran == 0 {
            println!("{}", output.text);
            good = false;
        }
        table.push_str(&format!(
            "| {} | {} | {ran} | {reports} | {seconds} |\n",
            suite.tool.name(),
            suite.what
        ));
    }
    println!("\n{table}");
    if only.is_none() && good {
        page::write(root, "races", &table)?;
    }
    Ok(good)
}

fn command(root: &Path, suite: &Suite) -> Command {
    // By name and not by the cargo that built this tool, which would refuse to be another toolchain.
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root).env_remove("RUSTUP_TOOLCHAIN").env("CARGO_TERM_COLOR", "never");
    cargo.arg("+nightly");
    // A test that panics on purpose would take minutes to tell where.
    cargo.env("RUST_BACKTRACE", "0");
    match suite.tool {
        Tool::Miri => {
            // The clock and the environment of this machine; each run has an order of threads of its own, from a fixed seed.
            cargo.args(["miri", "test"]).env("MIRIFLAGS", "-Zmiri-disable-isolation");
        }
        Tool::ThreadSanitizer => {
            // The standard library has to be watched as well, so it is built anew; naming the target keeps the flag away from build scripts.
            cargo.args(["test", "-Zbuild-std", "--target=x86_64-unknown-linux-gnu"]);
            cargo.env("RUSTFLAGS", "-Zsanitizer=thread --cfg tsan");
            cargo.env("CARGO_TARGET_DIR", root.join("target/tsan"));
        }
    }
    cargo.args(suite.selection).arg("--").args(suite.filter);
    cargo
}

fn succeeds(args: &[&str]) -> bool {
    let mut cargo = Command::new("cargo");
    cargo.env_remove("RUSTUP_TOOLCHAIN").args(args);
    shell::capture(&mut cargo).is_ok_and(|output| output.good)
}

/// Races and undefined behaviour that were reported.
fn reports(text: &str) -> usize {
    let starts = ["WARNING: ThreadSanitizer:", "error: Undefined Behavior", "error: memory leaked"];
    text.lines().filter(|line| starts.iter().any(|start| line.trim().starts_with(start))).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_both_tools_are_counted() {
        let text = "test a ... ok\nWARNING: ThreadSanitizer: data race (pid=7)\nerror: Undefined Behavior: x\n";
        assert_eq!(reports(text), 2);
        assert_eq!(reports("test result: ok. 1 passed; 0 failed"), 0);
    }
}
