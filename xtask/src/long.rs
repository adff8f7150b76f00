//! Suites that take minutes: examples of the crates, named after the command that runs them.
//!
//! A suite prints its table to stdout and ends with 0 when every figure is as promised, 77 when this machine cannot run it (it then says why), anything
//! else when a promise is broken.

use std::path::Path;
use std::process::ExitCode;

use crate::page;
use crate::shell::{self, cargo};
use crate::workspace::Member;

/// The commands that a crate may provide, and what they are about.
pub(crate) const SUITES: [(&str, &str); 3] = [
    ("survive", "a service under a real cgroup limit, with the guard and without"),
    ("faults", "the table of injected faults"),
    ("soak", "30 simulated days through the whole pipeline"),
];

/// How a suite ends that cannot run here.
const SKIPPED: u8 = 77;

/// The crates that provide a suite.
pub(crate) fn providers<'a>(
    members: &'a [Member],
    suite: &'a str,
) -> impl Iterator<Item = &'a Member> {
    members.iter().filter(move |member| member.examples.iter().any(|example| example == suite))
}

/// Runs a suite in every crate that provides it; the worst end is ours. A suite that was skipped is never a success.
///
/// The table of a whole run, one without arguments, goes into `docs/benchmarks.md`.
pub(crate) fn run(
    root: &Path,
    members: &[Member],
    suite: &str,
    args: &[String],
) -> anyhow::Result<ExitCode> {
    let mut worst = 0;
    let mut tables = String::new();
    for member in providers(members, suite) {
        let mut command = cargo(root, ["run", "--release", "--quiet", "--package", &member.name]);
        command.args(["--example", suite, "--"]).args(args);
        let (status, table) = shell::echo(&mut command)?;
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        println!("{}: {suite} ended with {status}", member.name);
        tables.push_str(&table);
        worst = worse(worst, code);
    }
    if args.is_empty() && worst != SKIPPED {
        page::write(root, suite, &tables)?;
    }
    Ok(ExitCode::from(worst))
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
    fn the_worst_end_wins() {
        assert_eq!(worse(0, 77), 77);
        assert_eq!(worse(77, 1), 1);
        assert_eq!(worse(2, 77), 2);
        assert_eq!(worse(0, 0), 0);
    }
}
