//! `cargo xtask release X.Y.Z`: everything up to publishing, in a copy of the tree.
//!
//! The copy is bumped, its changelog cut, every crate packaged in the order of the arrows and built from its package, where it sees the others only as
//! packages too. With `--dry-run` that is all. Without, the bump and the changelog go into the tree as one commit with a tag; publishing stays a
//! person's act, and the commands for it are printed.

mod changelog;
mod registry;
mod stage;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::shell::{self, cargo};
use crate::workspace::Workspace;

/// Package names on the public registry that differ from ours: see `docs/decisions/0005-published-names.md`. The library's name stays.
const RENAMES: &[(&str, &str)] = &[("memtrack", "memtrack-core")];

/// A released version: three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u64, u64, u64);

impl Version {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let parts: Vec<u64> = text
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| format!("`{text}` is not a version such as 1.2.3"))?;
        match parts[..] {
            [major, minor, patch] => Ok(Self(major, minor, patch)),
            _ => bail!("`{text}` is not a version such as 1.2.3"),
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The name under which a crate of ours is published.
fn published_name(name: &str) -> &str {
    RENAMES.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, published)| published)
}

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    let (version, dry) = match args {
        [version] => (Version::parse(version)?, false),
        [version, flag] | [flag, version] if flag == "--dry-run" => {
            (Version::parse(version)?, true)
        }
        _ => bail!("usage: release X.Y.Z [--dry-run]"),
    };
    let workspace = Workspace::load(root)?;
    let current = current(&workspace)?;
    if version < current {
        bail!("{version} is below the present version {current}");
    }
    let problems = registry::problems(&workspace);
    if !problems.is_empty() {
        bail!("the registry would refuse this:\n  {}", problems.join("\n  "));
    }
    let date = shell::read(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let log = workspace.file("CHANGELOG.md").context("there is no CHANGELOG.md")?;
    let log = changelog::cut(&log.text, &version.to_string(), date.trim())?;
    println!("changelog: [Unreleased] becomes [{version}] of {}", date.trim());
    let compared = compare_api(root, version)?;

    let stage = stage::make(&workspace, current, version, &log)?;
    println!("staged in {}", stage.strip_prefix(root).unwrap_or(&stage).display());
    package(&stage, &workspace)?;

    if dry {
        println!("dry run: nothing in the tree was changed");
    } else {
        if !compared {
            bail!("the public API was not compared with the last release: see above");
        }
        land(root, &workspace, current, version, &log)?;
    }
    println!("\nto publish, in this order, from the staged copy:");
    for member in workspace.arrow_order()? {
        println!("  cargo publish --package {}", published_name(&member.name));
    }
    Ok(true)
}

fn current(workspace: &Workspace) -> anyhow::Result<Version> {
    let manifest = workspace.file("Cargo.toml").context("there is no Cargo.toml")?;
    let line = manifest.text.lines().find_map(|line| line.strip_prefix("version = "));
    Version::parse(line.context("the workspace has no version")?.trim_matches('"'))
}

/// Compares the layers' public API with the last release, and refuses a break that the step to `version` does not announce. False: it should have been compared
/// and was not.
fn compare_api(root: &Path, version: Version) -> anyhow::Result<bool> {
    let mut describe = Command::new("git");
    describe.current_dir(root).args(["describe", "--tags", "--abbrev=0", "--match", "v*"]);
    let described = describe.output().context("failed to start `git`")?;
    if !described.status.success() {
        println!(
            "public API: this is the first release, so there is none to compare with; the next is compared with its tag"
        );
        return Ok(true);
    }
    let tag = String::from_utf8_lossy(&described.stdout).trim().to_owned();
    let released = Version::parse(tag.trim_start_matches('v'))?;
    if !shell::has_subcommand(root, "semver-checks") {
        println!(
            "public API: SKIPPED the comparison with {tag}, cargo-semver-checks is not installed: `cargo install cargo-semver-checks --locked`"
        );
        return Ok(false);
    }
    // The tree still has the version before, so the step is said.
    let step = step(released, version);
    let mut check = cargo(root, ["semver-checks", "--workspace", "--release-type", step]);
    // Programs promise what they print, and that is tested.
    check.args(["--exclude=memcli", "--exclude=xtask", "--exclude=fuzz", "--exclude=guide"]);
    let output = shell::capture(check.args(["--baseline-rev", &tag]))?;
    if !output.good {
        bail!(
            "{version} is a {step} step from {tag}, and the public API changed by more:\n{}",
            output.text
        );
    }
    println!("public API against {tag}: no more than a {step} step");
    Ok(true)
}

/// What the step from one version to another allows. Below 1.0.0 the second number announces a break, and the third one whatever is none.
fn step(from: Version, to: Version) -> &'static str {
    let unstable = from.0 == 0;
    if to.0 != from.0 || (unstable && (to.1 != from.1 || (from.1 == 0 && to.2 != from.2))) {
        "major"
    } else if to.1 != from.1 || (unstable && to.2 != from.2) {
        "minor"
    } else {
        "patch"
    }
}

/// Packages all crates at once: cargo then builds each from its package and takes the others from their packages.
fn package(stage: &Path, workspace: &Workspace) -> anyhow::Result<()> {
    let order = workspace.arrow_order()?;
    let mut package = cargo(stage, ["package", "--allow-dirty"]);
    for member in &order {
        package.args(["--package", published_name(&member.name)]);
    }
    // Not the outer target directory: its lock and its artefacts belong to the tree that is being worked on.
    package.env("CARGO_TARGET_DIR", stage.join("target"));
    let output = shell::capture(&mut package)?;
    if !output.good {
        bail!("a package does not build by itself:\n{}", output.text);
    }
    for member in &order {
        let name = published_name(&member.name);
        let archive = std::fs::read_dir(stage.join("target/package"))?
            .filter_map(Result::ok)
            .find(|entry| {
                entry.file_name().to_string_lossy().starts_with(&format!("{name}-"))
                    && entry.path().is_file()
            })
            .with_context(|| format!("cargo left no package of `{name}`"))?;
        let bytes = archive.metadata()?.len();
        // The public registry's limit.
        if bytes > 10 << 20 {
            bail!("the package of `{name}` has {bytes} bytes, the registry takes 10 MiB");
        }
        println!(
            "packaged and built: {} ({} KiB)",
            archive.file_name().to_string_lossy(),
            bytes.div_ceil(1024)
        );
    }
    Ok(())
}

/// Writes the bump and the changelog into the tree, as one commit with a tag.
fn land(
    root: &Path,
    workspace: &Workspace,
    current: Version,
    version: Version,
    log: &str,
) -> anyhow::Result<()> {
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(root).args(args);
        shell::read(&mut git)
    };
    if !git(&["status", "--porcelain"])?.trim().is_empty() {
        bail!("the tree has changes that are not committed");
    }
    let manifest = workspace.file("Cargo.toml").context("there is no Cargo.toml")?;
    std::fs::write(root.join("Cargo.toml"), stage::bump(&manifest.text, current, version)?)?;
    std::fs::write(root.join("CHANGELOG.md"), log)?;
    shell::read(&mut cargo(root, ["metadata", "--format-version=1"]))?;
    git(&[
        "commit",
        "--quiet",
        "--message",
        &format!("Release {version}"),
        "Cargo.toml",
        "Cargo.lock",
        "CHANGELOG.md",
    ])?;
    git(&[
        "tag",
        "--annotate",
        &format!("v{version}"),
        "--message",
        &format!("Release {version}"),
    ])?;
    println!("committed and tagged v{version}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_what_cargo_takes_it_for() {
        let of =
            |from: &str, to: &str| step(Version::parse(from).unwrap(), Version::parse(to).unwrap());
        assert_eq!(
            (of("1.2.3", "2.0.0"), of("1.2.3", "1.3.0"), of("1.2.3", "1.2.4")),
            ("major", "minor", "patch")
        );
        assert_eq!(
            (of("0.1.0", "0.2.0"), of("0.1.0", "0.1.1"), of("0.0.1", "0.0.2")),
            ("major", "minor", "major")
        );
        assert_eq!((of("0.9.0", "1.0.0"), of("0.1.0", "0.1.0")), ("major", "patch"));
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(Version::parse("0.10.0").unwrap() > Version::parse("0.9.9").unwrap());
        assert!(Version::parse("1.2").is_err());
        assert!(Version::parse("1.2.x").is_err());
    }
}
