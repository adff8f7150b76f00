//! `cargo xtask tidy`: the rules of the house that no compiler checks, each as a table or a small function.
//!
//! A rule returns its violations as sentences that name the place; none means the rule holds.

mod arrows;
mod budgets;
mod exit_codes;
mod frozen;
mod manifests;
mod metrics;
pub(crate) mod sources;

use std::path::Path;

use crate::shell::Output;
use crate::workspace::Workspace;

/// One rule of the house.
struct Rule {
    name: &'static str,
    check: fn(&Workspace) -> anyhow::Result<Vec<String>>,
}

const RULES: &[Rule] = &[
    Rule { name: "crate arrows", check: arrows::crates },
    Rule { name: "the config engine knows no layer", check: arrows::engine },
    Rule { name: "no printing, logging or argument parsing below memcli", check: arrows::silence },
    Rule { name: "manifests", check: manifests::check },
    Rule { name: "unsafe code", check: sources::unsafe_code },
    Rule { name: "front pages", check: sources::front_pages },
    Rule { name: "file sizes", check: sources::sizes },
    Rule { name: "no ignored test", check: sources::ignored },
    Rule { name: "exit codes have tests", check: exit_codes::check },
    Rule { name: "metrics have tests", check: metrics::check },
    Rule { name: "released schemas are unchanged", check: frozen::check },
    Rule { name: "no machine in the tree", check: sources::machine },
    Rule { name: "dependency budgets", check: budgets::check },
    Rule { name: "dependencies' rust-version", check: budgets::rust_version },
];

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    crate::no_arguments(args)?;
    let output = report(root)?;
    print!("{}", output.text);
    Ok(output.good)
}

/// Applies every rule; the text has a line for each, and one for each violation.
pub(crate) fn report(root: &Path) -> anyhow::Result<Output> {
    let workspace = Workspace::load(root)?;
    let mut output = Output { good: true, text: String::new() };
    for rule in RULES {
        let violations = (rule.check)(&workspace)?;
        output.good &= violations.is_empty();
        let mark = if violations.is_empty() { "ok    " } else { "FAILED" };
        output.text.push_str(&format!("{mark} {}\n", rule.name));
        for violation in violations {
            output.text.push_str(&format!("       {violation}\n"));
        }
    }
    Ok(output)
}
