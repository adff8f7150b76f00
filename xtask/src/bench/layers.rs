//! The benches of single layers: examples of their crates whose name begins with `bench`.
//!
//! Such an example prints one Markdown text (tables, and whatever must be said of them) to stdout. Called with `--gate` it also compares with its
//! budgets and ends with a failure when one is exceeded. Its section in `docs/benchmarks.md` has the name of the crate.

use std::path::Path;

use super::Options;
use crate::page;
use crate::shell::{self, cargo};
use crate::workspace;

/// One bench of one layer.
pub(crate) struct Layer {
    /// The crate's name, and that of the section.
    pub(crate) name: String,
    example: String,
}

impl Layer {
    /// `memleak` is called by its name or as `leak`.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.strip_prefix("mem") == Some(name)
    }
}

/// The benches that the crates have.
pub(crate) fn all(root: &Path) -> anyhow::Result<Vec<Layer>> {
    let mut layers = Vec::new();
    for member in workspace::members(root)?.into_iter().filter(|member| member.name != "xtask") {
        for example in member.examples.into_iter().filter(|example| example.starts_with("bench")) {
            layers.push(Layer { name: member.name.clone(), example });
        }
    }
    Ok(layers)
}

/// Runs one and writes its section.
pub(crate) fn run(root: &Path, layer: &Layer, options: &Options) -> anyhow::Result<bool> {
    println!("{}: {}", layer.name, layer.example);
    let mut bench =
        cargo(root, ["run", "--release", "--quiet", "--package", &layer.name, "--example"]);
    bench.args([&layer.example, "--"]);
    if options.gate {
        bench.arg("--gate");
    }
    let (status, text) = shell::echo(&mut bench)?;
    if !text.trim().is_empty() {
        page::write(root, &layer.name, &text)?;
    }
    if !status.success() {
        println!("FAILED: {} ended with {status}", layer.name);
    }
    Ok(status.success())
}
