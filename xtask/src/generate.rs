//! `cargo xtask gen`: the files that are made from the code, such as the references of the config and the command line.
//!
//! The crates make them: a test compares each file with what the code says, and writes it when it is told so by its environment variable. So a stale
//! file also fails plain `cargo test`.

use std::path::Path;

use anyhow::bail;

use crate::shell::{self, cargo};
use crate::test;

/// What the names of those tests contain, and the variables that make them write.
const TESTS: [&str; 2] = ["the_reference_is", "a_released_version_never_changes"];
const SWITCHES: [&str; 2] = ["UPDATE", "UPDATE_REFERENCE"];

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
    if output.good && test::count(&output.text).passed == 0 {
        bail!("no test makes files: were they renamed?");
    }
    if output.good {
        println!("generated files: {}", if check { "current" } else { "written" });
    } else {
        println!("{}", output.text);
    }
    Ok(output.good)
}
