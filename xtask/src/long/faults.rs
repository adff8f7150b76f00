//! `cargo xtask faults`: every fault that is injected anywhere, as one table.
//!
//! A test that injects a fault prints a line `fault-row: NUMBER | FAULT | RUNS | FIGURE` once it has counted, and fails where a count that should be 0 is not.
//! The number is that of the list the faults were chosen from; `+` is one that is not in it. `MEMCFG_LONG=1` asks for the long forms. What other layers
//! prove with tests that count nothing is named in [`NAMED`].

use std::path::Path;

use anyhow::bail;

use crate::shell::{self, cargo};
use crate::workspace::Member;

const MARK: &str = "fault-row: ";
const LONG: &str = "MEMCFG_LONG";

/// Faults whose tests have no figure but that they pass.
struct Named {
    number: u32,
    fault: &'static str,
    package: &'static str,
    /// Parts of the names of the tests.
    tests: &'static [&'static str],
}

const NAMED: [Named; 5] = [
    Named {
        number: 10,
        fault: "clock steps and suspend",
        package: "memtrack",
        tests: &["suspend_stop_and_clock_steps_are_gaps"],
    },
    Named {
        number: 10,
        fault: "a gap in the samples",
        package: "mempressure",
        tests: &["a_gap_restarts_the_wait"],
    },
    Named {
        number: 11,
        fault: "reads of the kernel's files fail, vanish or are garbage",
        package: "memtrack",
        tests: &[
            "garbage_is_a_reason_and_never_a_zero",
            "whichever_read_fails_only_its_own_part_is_lost",
        ],
    },
    Named {
        number: 16,
        fault: "a source panics",
        package: "memtrack",
        tests: &["a_panicking_source_ends_its_subscriptions"],
    },
    Named {
        number: 16,
        fault: "a cache's callback panics or hangs",
        package: "mempressure",
        tests: &["a_panic_is_isolated", "a_callback_that_hangs_is_left_behind"],
    },
];

/// What of the list is measured elsewhere, or concerns what does not exist.
const ELSEWHERE: &str = "Fault 12, one's own memory running out under a cgroup limit, is `cargo xtask survive`. \
    Faults 17, 18 and 19 are about webhooks and a server, which do not exist.";

/// Whether a crate has tests of faults of its own.
pub(super) fn has_tests(member: &Member) -> bool {
    let tests = crate::root().join(&member.folder).join("tests");
    tests.join("faults.rs").is_file() || tests.join("faults/main.rs").is_file()
}

/// Runs them all. 0 when every test passed; and the table.
pub(super) fn run<'a>(
    root: &Path,
    providers: impl Iterator<Item = &'a Member>,
    args: &[String],
) -> anyhow::Result<(u8, String)> {
    crate::no_arguments(args)?;
    let (mut rows, mut good) = (Vec::new(), true);
    for member in providers {
        println!("{}: its tests in their long forms", member.name);
        // One at a time: they measure, and two would measure each other.
        let arguments = ["test", "--package", &member.name, "--lib", "--tests", "--no-fail-fast"];
        let mut tests = cargo(root, arguments);
        tests.args(["--", "--nocapture", "--test-threads=1"]).env(LONG, "1");
        let (status, text) = shell::echo(&mut tests)?;
        let found = read_rows(&text);
        if found.is_empty() {
            bail!("the tests of `{}` printed no row", member.name);
        }
        rows.extend(found);
        good &= status.success();
    }
    for named in &NAMED {
        let (passed, all_good) = named.run(root)?;
        good &= all_good;
        let figure = if all_good { "as promised" } else { "**broken**" };
        let tests = format!("tests of {}: {passed} passed", named.package);
        rows.push([named.number.to_string(), named.fault.to_owned(), tests, figure.to_owned()]);
    }
    let table = table(rows);
    println!("\n{table}");
    Ok((u8::from(!good), table))
}

impl Named {
    /// How many of the tests passed, and whether all did. A name that no test has is a failure.
    fn run(&self, root: &Path) -> anyhow::Result<(u64, bool)> {
        let (mut passed, mut good) = (0, true);
        for name in self.tests {
            let arguments = ["test", "--package", self.package, "--lib", "--tests", "--", name];
            let output = shell::capture(&mut cargo(root, arguments))?;
            let count = crate::test::count(&output.text);
            if !output.good || count.passed == 0 {
                println!("`{name}` of {} does not pass:\n{}", self.package, output.text);
                good = false;
            }
            passed += count.passed;
        }
        Ok((passed, good))
    }
}

/// The rows in what tests said. The runner begins a line that a test goes on with.
fn read_rows(text: &str) -> Vec<[String; 4]> {
    let rows = text.lines().filter_map(|line| line.split_once(MARK)).filter_map(|(_, row)| {
        let cells: Vec<String> = row.splitn(4, '|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().ok()
    });
    rows.collect()
}

/// By number, those without one last.
fn table(mut rows: Vec<[String; 4]>) -> String {
    rows.sort_by_key(|row| row[0].parse::<u32>().unwrap_or(u32::MAX));
    let mut table = String::from("| # | fault | runs | found |\n|---|---|---|---|\n");
    for row in rows {
        table.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    format!("{table}\n{ELSEWHERE}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_wherever_in_a_line_and_sorted() {
        let text = "test a ... fault-row: + | b | 2 runs | 0 lost\nok\nfault-row: 9 | c | 1 | 0 | 0\nfault-row: bad\nfault-row: 10 | d | 1 | 0\n";
        let rows = read_rows(text);
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[1][3], "0 | 0");
        let table = table(rows);
        let order: Vec<_> = table.lines().skip(2).filter_map(|line| line.get(2..4)).collect();
        assert_eq!(&order[..3], ["9 ", "10", "+ "]);
    }

    #[test]
    fn the_crate_of_the_configuration_takes_part() {
        let members = crate::workspace::members(&crate::root()).unwrap();
        assert!(members.iter().any(|member| member.name == "memcfg" && has_tests(member)));
    }
}
