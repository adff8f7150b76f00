//! The benches of single layers: examples of their crates whose name begins with `bench`.
//!
//! Such an example prints one Markdown text (tables, and whatever must be said of them) to stdout. Called with `--gate` it also compares with its
//! budgets and ends with a failure when one is exceeded. Its section in `docs/benchmarks.md` has the name of the crate.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::{Options, page};
use crate::shell::{self, cargo};

/// One bench of one layer.
pub(crate) struct Layer {
    /// The crate's name, and that of the section.
    pub(crate) name: String,
    example: String,
}

/// The benches that the crates have.
pub(crate) fn all(root: &Path) -> anyhow::Result<Vec<Layer>> {
    let metadata = shell::read(&mut cargo(root, ["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut layers = Vec::new();
    for package in list(&metadata["packages"]).iter().filter(|package| package["name"] != "xtask") {
        for target in list(&package["targets"]) {
            let name = target["name"].as_str().unwrap_or_default();
            let example = list(&target["kind"]).iter().any(|kind| kind == "example");
            if example && name.starts_with("bench") {
                let package = package["name"].as_str().unwrap_or_default().to_owned();
                layers.push(Layer { name: package, example: name.to_owned() });
            }
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
    let output = bench.stderr(std::process::Stdio::inherit()).output();
    let output =
        output.with_context(|| format!("failed to start the bench of `{}`", layer.name))?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    if !text.trim().is_empty() {
        page::write(root, &layer.name, &text)?;
    }
    if !output.status.success() {
        println!("FAILED: {} ended with {}", layer.name, output.status);
    }
    Ok(output.status.success())
}
