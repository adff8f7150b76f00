//! `cargo xtask gen`: the files that are made from the code, such as the references of the config and the command line.
//!
//! The crates make them: a test compares each file with what the code says, and writes it when it is told so by its environment variable. So a stale
//! file also fails plain `cargo test`. Manual pages and completions are not kept in the tree; the program makes them, here to be looked at and in `dist` to be given out.

use std::path::Path;

use anyhow::bail;

use crate::dist;
use crate::shell::{self, cargo};

/// What the names of those tests contain, and the variables that make them write.
const TESTS: [&str; 3] =
    ["the_reference_is", "a_released_version_never_changes", "the_schemas_are"];
const SWITCHES: [&str; 2] = ["UPDATE", "UPDATE_REFERENCE"];

/// Where the program's papers go.
const PAPERS: &str = "target/papers";

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    let check = match args {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("usage: gen [--check]"),
    };
    // Over the whole workspace, as the tests are built anyway: a package alone would be built with other features.
    let mut test = cargo(root, ["test", "--workspace", "--tests", "--no-fail-fast", "--"]);
    test.args(TESTS);
    for switch in SWITCHES {
        if check {
            test.env_remove(switch);
        } else {
            test.env(switch, "1");
        }
    }
    let output = shell::capture(&mut test)?;
    if !output.good {
        println!("{}", output.text);
        return Ok(false);
    }
    if let Some(lost) = TESTS.iter().find(|name| !passed(&output.text, name)) {
        bail!("no test `{lost}..` makes files: was it renamed?");
    }
    println!("generated files: {}", if check { "current" } else { "written" });
    // The tests have built the program.
    dist::papers(&root.join("target/debug/memcli"), &root.join(PAPERS))?;
    println!("manual pages and completions: made in `{PAPERS}`");
    Ok(true)
}

/// Whether a test with `name` in its name is among those that passed.
fn passed(text: &str, name: &str) -> bool {
    text.lines()
        .any(|line| line.starts_with("test ") && line.contains(name) && line.ends_with(" ... ok"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_makes_files_is_missed_when_it_is_gone() {
        let text = "test schema::the_schemas_are_x ... ok\ntest the_reference_is_y ... FAILED\n";
        assert!(passed(text, "the_schemas_are"));
        assert!(!passed(text, "the_reference_is") && !passed(text, "gone"));
    }
}
