//! How many other crates each layer may bring along.

use std::collections::BTreeSet;

use anyhow::Context;
use serde_json::Value;

use crate::shell::{self, cargo};
use crate::workspace::Workspace;

/// The crates that one selection of features links into a program on Linux, without itself and without procedural macros.
struct Budget {
    package: &'static str,
    default_features: bool,
    most: usize,
}

/// What was counted, and one for the road. Half of a layer's default is its section of the config (serde, garde); `memcfg` pays for two file formats,
/// spans, hashes and the watcher; `memcli` adds the terminal.
const BUDGETS: &[Budget] = &[
    Budget { package: "memtrack", default_features: false, most: 7 },
    Budget { package: "memtrack", default_features: true, most: 21 },
    Budget { package: "mempressure", default_features: false, most: 9 },
    Budget { package: "mempressure", default_features: true, most: 20 },
    Budget { package: "memleak", default_features: false, most: 0 },
    Budget { package: "memleak", default_features: true, most: 22 },
    Budget { package: "memcfg", default_features: false, most: 36 },
    Budget { package: "memcfg", default_features: true, most: 57 },
    Budget { package: "memcli", default_features: true, most: 124 },
];

/// Counts with `cargo tree` and compares.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for budget in BUDGETS {
        let mut tree =
            cargo(&workspace.root, ["tree", "--edges=normal,no-proc-macro", "--prefix=none"]);
        tree.args(["--package", budget.package]);
        if !budget.default_features {
            tree.arg("--no-default-features");
        }
        let linked = packages(&shell::read(&mut tree)?, budget.package);
        if linked.len() > budget.most {
            let features = if budget.default_features { "default" } else { "no default" };
            violations.push(format!(
                "`{}` with {features} features links {} crates, {} are budgeted: {}",
                budget.package,
                linked.len(),
                budget.most,
                linked.into_iter().collect::<Vec<_>>().join(", ")
            ));
        }
    }
    Ok(violations)
}

/// The distinct packages of a listing such as `serde v1.0.2 (*)`, without `itself`.
fn packages(listing: &str, itself: &str) -> BTreeSet<String> {
    let package = |line: &str| {
        let mut words = line.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?.trim_start_matches('v')))
    };
    let own = format!("{itself} ");
    listing.lines().filter_map(package).filter(|package| !package.starts_with(&own)).collect()
}

/// No dependency on this platform needs a newer Rust than we promise.
pub(crate) fn rust_version(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let version = shell::read(std::process::Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?;
    let mut metadata =
        cargo(&workspace.root, ["metadata", "--format-version=1", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&shell::read(&mut metadata)?)?;
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .context("cargo metadata resolved nothing")?
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ours = packages
        .iter()
        .find(|package| package["name"] == "memtrack")
        .context("memtrack is missing")?;
    let promised =
        number(&text(&ours["rust_version"])).context("memtrack promises no rust-version")?;
    let mut violations = Vec::new();
    for package in packages.iter().filter(|package| used.contains(text(&package["id"]).as_str())) {
        let needed = text(&package["rust_version"]);
        if number(&needed).is_some_and(|needed| needed > promised) {
            let (name, version) = (text(&package["name"]), text(&package["version"]));
            violations.push(format!("`{name} {version}` needs Rust {needed}"));
        }
    }
    Ok(violations)
}

/// `1.89` or `1.89.0` as something to compare.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_counts_each_package_once_and_not_itself() {
        let listing = "memtrack v0.1.0 (/x)\narc-swap v1.9.3\nserde v1.0.2\nserde v1.0.2 (*)\nsyn v2.0.1\nsyn v3.0.1\n";
        assert_eq!(packages(listing, "memtrack").len(), 4);
    }

    #[test]
    fn rust_versions_compare_as_numbers() {
        assert!(number("1.100") > number("1.89.0"));
        assert_eq!(number("1.89"), number("1.89.3"));
        assert_eq!(number(""), None);
    }
}
