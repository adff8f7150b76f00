//! `cargo xtask gen`: the files that are made from the code, such as the reference of the config.
//!
//! The crates make them: an integration test named `generated` compares each file with what the code says, and with `UPDATE=1` writes it. So a stale file
//! also fails plain `cargo test`.

use std::path::Path;

use anyhow::bail;

use crate::shell::{self, cargo};
use crate::workspace;

const TEST: &str = "generated";

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    let check = match args {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("usage: gen [--check]"),
    };
    let members = workspace::members(root)?;
    let mut good = true;
    for member in members.iter().filter(|member| member.tests.iter().any(|test| test == TEST)) {
        let mut test = cargo(root, ["test", "--quiet", "--package", &member.name, "--test", TEST]);
        if !check {
            test.env("UPDATE", "1");
        }
        let output = shell::capture(&mut test)?;
        good &= output.good;
        let state = match (output.good, check) {
            (true, true) => "current",
            (true, false) => "written",
            (false, _) => "FAILED",
        };
        println!("{}: {state}", member.name);
        if !output.good {
            println!("{}", output.text);
        }
    }
    Ok(good)
}
