//! What was released stays as it was released.
//!
//! A test of memcfg compares the code with the schemas of released versions, and them with the ledger beside them. Who edits all three in one change gets past
//! it, and not past this: the last release has its own copy.

use std::process::Command;

use crate::shell;
use crate::workspace::Workspace;

const LEDGER: &str = "crates/memcfg/schemas/ledger.toml";

/// Compares the schema of every version that was released by the last tag with the file of that tag.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        shell::read(git.current_dir(&workspace.root).args(args)).ok()
    };
    let describe = ["describe", "--tags", "--abbrev=0", "--match", "v*"];
    // Before the first release, and in an archive without git, there is nothing to compare with.
    let Some(tag) = git(&describe).map(|tag| tag.trim().to_owned()) else { return Ok(Vec::new()) };
    let Some(ledger) = git(&["show", &format!("{tag}:{LEDGER}")]) else { return Ok(Vec::new()) };
    let mut violations = Vec::new();
    for version in released(&ledger) {
        let path = LEDGER.replace("ledger.toml", &format!("{version}.json"));
        let then = git(&["show", &format!("{tag}:{path}")]);
        let now = workspace.file(&path).map(|file| file.text.as_str());
        if then.as_deref() != now {
            violations.push(format!("`{path}` is not what {tag} released"));
        }
    }
    Ok(violations)
}

/// The versions that a ledger calls released.
fn released(ledger: &str) -> Vec<String> {
    let mut versions = Vec::new();
    let mut version = "";
    for line in ledger.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            version = name;
        } else if line.replace(' ', "") == "released=true" {
            versions.push(version.to_owned());
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_released_is_frozen() {
        let ledger = "[v1]\nreleased = true\nsha256 = \"a\"\n\n[v2]\nreleased = false\n";
        assert_eq!(released(ledger), ["v1"]);
    }
}
