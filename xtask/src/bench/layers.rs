//! The benches of single layers: examples of their crates.
//!
//! Such an example prints its tables to stdout, in Markdown, with whatever must be said of them. Called with `--gate`, one whose name begins
//! with `bench` also compares with its budgets and ends with a failure when one is exceeded. The section in `docs/benchmarks.md` has the name of the crate.

use std::path::Path;

use super::Options;
use crate::page;
use crate::shell::{self, cargo};
use crate::workspace::{self, Member};

/// Benches whose names say what they measure, beside those that begin with `bench`.
const NAMED: [&str; 5] = ["pressure_figures", "config_figures", "flap", "push_cost", "quiet_month"];

/// Features beyond the default that a crate's benches measure too.
const FEATURES: [(&str, &str); 1] = [("memtrack", "history,tracking")];

/// The benches of one layer.
pub(crate) struct Layer {
    /// The crate's name, and that of the section.
    pub(crate) name: String,
    examples: Vec<String>,
}

impl Layer {
    /// `memleak` is called by its name or as `leak`.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.strip_prefix("mem") == Some(name)
    }
}

/// The benches that the crates have.
pub(crate) fn all(root: &Path) -> anyhow::Result<Vec<Layer>> {
    let is_bench =
        |example: &String| example.starts_with("bench") || NAMED.contains(&example.as_str());
    let layer = |member: Member| Layer {
        examples: member.examples.into_iter().filter(is_bench).collect(),
        name: member.name,
    };
    let members = workspace::members(root)?.into_iter().filter(|member| member.name != "xtask");
    Ok(members.map(layer).filter(|layer| !layer.examples.is_empty()).collect())
}

/// Runs the benches of one layer and writes its section.
pub(crate) fn run(root: &Path, layer: &Layer, options: &Options) -> anyhow::Result<bool> {
    let (mut good, mut text) = (true, String::new());
    for example in &layer.examples {
        println!("{}: {example}", layer.name);
        let mut bench = cargo(root, ["run", "--release", "--quiet", "--package", &layer.name]);
        for (_, features) in FEATURES.iter().filter(|(name, _)| *name == layer.name) {
            bench.args(["--features", features]);
        }
        bench.args(["--example", example, "--"]);
        if options.gate && example.starts_with("bench") {
            bench.arg("--gate");
        }
        let (status, said) = shell::echo(&mut bench)?;
        text.push_str(&format!("From `{example}`:\n\n{}\n\n", markdown(&said)));
        if !status.success() {
            println!("FAILED: {example} of {} ended with {status}", layer.name);
            good = false;
        }
    }
    page::write(root, &layer.name, &text)?;
    Ok(good)
}

/// Tables as they are; plain lines as a block.
fn markdown(text: &str) -> String {
    let text = text.trim();
    if text.contains("|---") || text.contains("| ---") {
        text.to_owned()
    } else {
        format!("```text\n{text}\n```")
    }
}
