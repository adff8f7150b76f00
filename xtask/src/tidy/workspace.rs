//! What the rules look at: the members with their declared dependencies, and the files of the tree.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde_json::Value;

use crate::shell::{self, cargo};

/// The workspace as cargo and git see it.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) members: Vec<Member>,
    /// Every text file that is, or would be, committed; paths are relative to the root.
    pub(crate) files: Vec<File>,
}

/// One crate of ours.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) description: String,
    /// Its folder, relative to the root, with a `/` at the end.
    pub(crate) folder: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One declared dependency of a [`Member`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `normal`, `dev` or `build`.
    pub(crate) kind: String,
    pub(crate) optional: bool,
}

/// One text file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Workspace {
    pub(crate) fn load(root: &Path) -> anyhow::Result<Self> {
        let metadata =
            shell::read(&mut cargo(root, ["metadata", "--no-deps", "--format-version=1"]))?;
        let metadata: Value =
            serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
        let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
        let members =
            packages.iter().map(|package| member(root, package)).collect::<Result<_, _>>()?;
        Ok(Self { root: root.to_path_buf(), members, files: files(root)? })
    }

    /// The Rust files of a folder.
    pub(crate) fn rust<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a File> {
        self.files
            .iter()
            .filter(move |file| file.path.starts_with(folder) && file.path.ends_with(".rs"))
    }
}

fn member(root: &Path, package: &Value) -> anyhow::Result<Member> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = text(&package["manifest_path"]);
    let folder = Path::new(&manifest)
        .parent()
        .and_then(|folder| folder.strip_prefix(root).ok())
        .ok_or_else(|| anyhow!("`{manifest}` is outside the workspace"))?;
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let dependency = |value: &Value| Dependency {
        name: text(&value["name"]),
        kind: value["kind"].as_str().unwrap_or("normal").to_owned(),
        optional: value["optional"].as_bool().unwrap_or(false),
    };
    Ok(Member {
        name: text(&package["name"]),
        description: text(&package["description"]),
        folder: format!("{}/", folder.display()),
        dependencies: dependencies.iter().map(dependency).collect(),
    })
}

/// Asks git, so that build output and editors' leavings do not count.
fn files(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut git = std::process::Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listing = shell::read(&mut git)?;
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        // Deleted but still in the index, or not text: nothing to check.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

/// Every crate takes the workspace's lints, says what it is, and names a version for each crate of ours.
pub(crate) fn manifests(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for member in &workspace.members {
        let path = format!("{}Cargo.toml", member.folder);
        let Some(manifest) = workspace.files.iter().find(|file| file.path == path) else {
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
    let root = workspace.files.iter().find(|file| file.path == "Cargo.toml");
    if !root.is_some_and(|root| root.text.contains("missing_docs = \"deny\"")) {
        violations.push("`Cargo.toml` no longer denies `missing_docs`".to_owned());
    }
    Ok(violations)
}
