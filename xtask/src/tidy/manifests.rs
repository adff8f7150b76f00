//! What every manifest must say.

use crate::workspace::Workspace;

/// Every crate takes the workspace's lints, says what it is, and names a version for each crate of ours.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for member in &workspace.members {
        let path = format!("{}Cargo.toml", member.folder);
        let Some(manifest) = workspace.file(&path) else {
            violations.push(format!("`{path}` is not in the tree"));
            continue;
        };
        if !manifest.text.contains("[lints]\nworkspace = true") {
            violations.push(format!("`{path}` lacks `[lints] workspace = true`"));
        }
        if member.description.len() < 20 {
            violations.push(format!("`{path}` has no description"));
        }
        for inherited in ["version", "edition", "rust-version", "license"] {
            if !manifest.text.contains(&format!("{inherited}.workspace = true")) {
                violations.push(format!("`{path}` does not take `{inherited}` from the workspace"));
            }
        }
    }
    let root = workspace.file("Cargo.toml");
    if !root.is_some_and(|root| root.text.contains("missing_docs = \"deny\"")) {
        violations.push("`Cargo.toml` no longer denies `missing_docs`".to_owned());
    }
    Ok(violations)
}
