//! The copy of the tree that is packaged: bumped, renamed for the registry, each crate with its licences and a page of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{RENAMES, Version};
use crate::workspace::{Member, Workspace};

/// Makes the copy below `target` and returns its folder.
pub(crate) fn make(
    workspace: &Workspace,
    current: Version,
    version: Version,
    changelog: &str,
) -> anyhow::Result<PathBuf> {
    let stage = workspace.root.join("target/release-stage");
    // What an earlier run built stays: only sources are replaced.
    for old in ["crates", "xtask"] {
        let old = stage.join(old);
        if old.exists() {
            std::fs::remove_dir_all(&old)
                .with_context(|| format!("failed to clear `{}`", old.display()))?;
        }
    }
    for path in workspace.paths()? {
        copy(&workspace.root.join(&path), &stage.join(&path))?;
    }
    write(&stage.join("CHANGELOG.md"), changelog)?;
    edit(&stage.join("Cargo.toml"), |text| {
        Ok(rename_in_workspace(&bump(&text, current, version)?))
    })?;
    for member in workspace.members.iter().filter(|member| member.published) {
        let folder = stage.join(&member.folder);
        edit(&folder.join("Cargo.toml"), |text| rename_package(&text, member))?;
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            copy(&workspace.root.join(licence), &folder.join(licence))?;
        }
        if !folder.join("README.md").exists() {
            write(&folder.join("README.md"), &page(workspace, member)?)?;
        }
    }
    Ok(stage)
}

/// The root manifest with the new version, of the workspace and of every crate of ours that it names.
pub(crate) fn bump(manifest: &str, current: Version, version: Version) -> anyhow::Result<String> {
    let (old, new) = (format!("version = \"{current}\""), format!("version = \"{version}\""));
    let mut bumped = 0;
    let mut text = String::new();
    for line in manifest.lines() {
        let ours = line == old || (line.contains("path = \"crates/") && line.contains(&old));
        bumped += usize::from(ours);
        text.push_str(&if ours { line.replace(&old, &new) } else { line.to_owned() });
        text.push('\n');
    }
    if bumped < 2 {
        bail!("the root manifest does not state the version as this task expects it");
    }
    Ok(text)
}

fn rename_in_workspace(manifest: &str) -> String {
    let mut text = manifest.to_owned();
    for (ours, published) in RENAMES {
        text = text.replace(
            &format!("\n{ours} = {{ path = "),
            &format!("\n{ours} = {{ package = \"{published}\", path = "),
        );
    }
    text
}

/// Gives the package its published name and keeps the library's.
fn rename_package(manifest: &str, member: &Member) -> anyhow::Result<String> {
    let Some((ours, published)) = RENAMES.iter().find(|(ours, _)| *ours == member.name) else {
        return Ok(manifest.to_owned());
    };
    let name = format!("name = \"{ours}\"");
    if manifest.matches(&name).count() != 1 || manifest.contains("[lib]") {
        bail!("the manifest of `{ours}` states its name otherwise than this task expects it");
    }
    let renamed = manifest.replace(&name, &format!("name = \"{published}\""));
    Ok(format!("{}\n\n[lib]\n{name}\n", renamed.trim_end()))
}

/// The page that the registry shows: the crate's own front page, or the project's for the command line.
fn page(workspace: &Workspace, member: &Member) -> anyhow::Result<String> {
    let front = format!("{}src/lib.rs", member.folder);
    let text = match workspace.file(&front) {
        Some(front) if member.name != "memcli" => front_page(&front.text),
        _ => workspace.file("README.md").map(|readme| readme.text.clone()).unwrap_or_default(),
    };
    if text.trim().is_empty() {
        bail!("there is no page for `{}`: neither a README nor a front page", member.name);
    }
    Ok(format!(
        "# {}\n\n{}",
        member.name,
        text.trim_start_matches(&format!("# {}\n\n", member.name))
    ))
}

fn front_page(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let mut text = String::new();
    for line in lines {
        let line = line.strip_prefix(' ').unwrap_or(line);
        // Elsewhere than in rustdoc an unmarked block is not known to be Rust.
        let opens = line == "```" && text.matches("```").count().is_multiple_of(2);
        text.push_str(if opens { "```rust" } else { line });
        text.push('\n');
    }
    text
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to make `{}`", folder.display()))?;
    }
    std::fs::copy(from, to)
        .with_context(|| format!("failed to copy `{}`", from.display()))
        .map(drop)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
}

fn edit(path: &Path, change: impl FnOnce(String) -> anyhow::Result<String>) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read `{}`", path.display()))?;
    write(path, &change(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bump_reaches_the_workspace_and_its_own_crates_only() {
        let manifest = "version = \"0.1.0\"\na = { path = \"crates/a\", version = \"0.1.0\" }\nb = { version = \"0.1.0\" }\n";
        let bumped = bump(manifest, Version(0, 1, 0), Version(0, 2, 0)).unwrap();
        assert_eq!(bumped.matches("0.2.0").count(), 2, "{bumped}");
        assert!(bumped.contains("b = { version = \"0.1.0\" }"), "{bumped}");
        assert!(bump(manifest, Version(0, 9, 0), Version(1, 0, 0)).is_err());
    }

    #[test]
    fn a_front_page_becomes_markdown() {
        let page =
            front_page("//! What.\n//!\n//! ```\n//! let a = 1;\n//! ```\nuse x;\n//! not this\n");
        assert_eq!(page, "What.\n\n```rust\nlet a = 1;\n```\n");
    }
}
