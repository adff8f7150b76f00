//! What the program is made of, as a CycloneDX bill of materials.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::shell::{self, cargo};
use crate::workspace::Workspace;

const INSTALL: &str = "cargo install cargo-cyclonedx --locked";

/// Writes the bill of the program for `host`. `None`, and it says so, without the tool.
pub(super) fn make(root: &Path, dist: &Path, host: &str) -> anyhow::Result<Option<PathBuf>> {
    if !shell::has_subcommand(root, "cyclonedx") {
        println!("without a bill of materials: cargo-cyclonedx is not installed: `{INSTALL}`");
        return Ok(None);
    }
    // The tool writes beside each manifest, so it is given a copy of them.
    let stage = dist.join("sbom");
    super::clear(&stage)?;
    copy_tree(root, &stage)?;
    let mut bill = cargo(&stage, ["cyclonedx", "--format=json", "--spec-version=1.5"]);
    bill.args(["--no-build-deps", "--manifest-path=crates/memcli/Cargo.toml", "--target", host]);
    let output = shell::capture(bill.env("SOURCE_DATE_EPOCH", "0"))?;
    if !output.good {
        bail!("cargo-cyclonedx is not content:\n{}", output.text);
    }
    let made = stage.join("crates/memcli/memcli.cdx.json");
    let text = std::fs::read_to_string(&made)
        .with_context(|| format!("failed to read `{}`", made.display()))?;
    // Where it was built is nobody's business, and differs where the same is built elsewhere.
    let text = text.replace(&format!("{}/", stage.display()), "");
    check(&text)?;
    let out = dist.join("memcli.cdx.json");
    std::fs::write(&out, text).with_context(|| format!("failed to write `{}`", out.display()))?;
    Ok(Some(out))
}

fn copy_tree(root: &Path, to: &Path) -> anyhow::Result<()> {
    for path in Workspace::load(root)?.paths()? {
        let (from, to) = (root.join(&path), to.join(&path));
        if let Some(folder) = to.parent() {
            super::make(folder)?;
        }
        std::fs::copy(&from, &to).with_context(|| format!("failed to copy `{path}`"))?;
    }
    Ok(())
}

/// A bill that names the program, a good number of parts with a licence each, and no folder of this machine.
fn check(text: &str) -> anyhow::Result<()> {
    let bill: Value = serde_json::from_str(text).context("the bill of materials is not JSON")?;
    let name = &bill["metadata"]["component"]["name"];
    if bill["bomFormat"] != "CycloneDX" || name != "memcli" {
        bail!("the bill of materials is one of {name}");
    }
    let parts = bill["components"].as_array().map(Vec::as_slice).unwrap_or_default();
    for ours in ["memtrack", "mempressure", "memleak", "memcfg"] {
        if !parts.iter().any(|part| part["name"] == ours) {
            bail!("the bill of materials lacks `{ours}`");
        }
    }
    if let Some(part) = parts.iter().find(|part| part["licenses"].is_null()) {
        bail!("the bill of materials has no licence of {}", part["name"]);
    }
    if text.contains("path+file:///") {
        bail!("the bill of materials names a folder of this machine");
    }
    println!("bill of materials: {} parts, each with its licence", parts.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_without_a_licence_or_with_a_folder_is_refused() {
        let part = |name: &str| format!("{{\"name\":\"{name}\",\"licenses\":[1]}}");
        let parts = ["memtrack", "mempressure", "memleak", "memcfg"].map(part).join(",");
        let bill = format!(
            "{{\"bomFormat\":\"CycloneDX\",\"metadata\":{{\"component\":{{\"name\":\"memcli\"}}}},\"components\":[{parts}]}}"
        );
        assert!(check(&bill).is_ok());
        assert!(check(&bill.replacen(",\"licenses\":[1]", "", 1)).is_err());
        assert!(check(&bill.replace("memcfg", "path+file:///a")).is_err());
    }
}
