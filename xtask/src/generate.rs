//! `cargo xtask gen`: the files that are made from the code, such as the reference of the config.
//!
//! The crates make them: an integration test named `generated` or `reference` compares each file with what the code says, and writes it when it is
//! told so by its environment variable. So a stale file also fails plain `cargo test`.

use std::path::Path;

use anyhow::bail;

use crate::shell::{self, cargo};
use crate::workspace;

/// The tests that hold generated files current, and the variables that make them write.
const TESTS: [&str; 2] = ["generated", "reference"];
const SWITCHES: [&str; 2] = ["UPDATE", "UPDATE_REFERENCE"];

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    let check = match args {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("usage: gen [--check]"),
    };
    // Over the whole workspace, as the tests are built anyway: a package alone would be built with other features.
    let mut test = cargo(root, ["test", "--workspace", "--quiet", "--no-fail-fast"]);
    let members = workspace::members(root)?;
    let mut found = false;
    for name in TESTS
        .iter()
        .filter(|name| members.iter().any(|member| member.tests.iter().any(|test| test == *name)))
    {
        test.args(["--test", name]);
        found = true;
    }
    if !found {
        bail!("no crate has a test that makes files");
    }
    for switch in SWITCHES {
        if check {
            test.env_remove(switch);
        } else {
            test.env(switch, "1");
        }
    }
    let output = shell::capture(&mut test)?;
    if output.good {
        println!("generated files: {}", if check { "current" } else { "written" });
    } else {
        println!("{}", output.text);
    }
    Ok(output.good)
}
