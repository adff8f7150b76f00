//! What pages say of this tool: each `cargo xtask COMMAND` must exist, with the options it is shown with. They are not run, since one would run the others.

use crate::COMMANDS;
use crate::long::SUITES;
use crate::workspace::File;

/// Every call on the pages that this tool would refuse.
pub(crate) fn check(pages: &[&File]) -> Vec<String> {
    let mut violations = Vec::new();
    for page in pages {
        for (number, line) in (1..).zip(page.text.lines()) {
            let wrong = calls(line).filter(|call| !exists(call));
            violations.extend(wrong.map(|call| {
                format!("{}:{number}: `cargo xtask {call}` does not exist", page.path)
            }));
        }
    }
    violations
}

/// What stands behind `cargo xtask`, to the end of the code it is in.
fn calls(line: &str) -> impl Iterator<Item = &str> {
    line.split("cargo xtask ").skip(1).map(|rest| rest.split('`').next().unwrap_or_default().trim())
}

fn exists(call: &str) -> bool {
    let mut words = call.split_whitespace();
    let name = words.next().unwrap_or_default();
    let known = COMMANDS.iter().map(|command| (command.name, command.usage));
    let suites = SUITES.iter().map(|suite| (suite.name, suite.options));
    known.chain(suites).any(|(command, usage)| {
        let takes = |option: &str| usage.split(['[', ']', '|', ' ']).any(|word| word == option);
        command == name && words.clone().filter(|word| word.starts_with('-')).all(takes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_command_with_its_options() {
        assert!(exists("test") && exists("fuzz --seconds N") && exists("survive --full"));
        assert!(exists("release 0.2.0 --dry-run") && exists("soak --real 1h"));
        assert!(!exists("polish") && !exists("dist --full") && !exists("fuzz --second 3"));
        let line = "see `cargo xtask tidy` and `cargo xtask`, then `cargo xtask soak --days 2`";
        assert_eq!(calls(line).collect::<Vec<_>>(), ["tidy", "soak --days 2"]);
    }
}
