//! The workspace as data: the members with their declared dependencies, and the files of the tree.

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
    /// Not `publish = false`.
    pub(crate) published: bool,
    pub(crate) categories: Vec<String>,
    pub(crate) keywords: Vec<String>,
    /// Its folder, relative to the root, with a `/` at the end.
    pub(crate) folder: String,
    pub(crate) dependencies: Vec<Dependency>,
    /// The names of its examples.
    pub(crate) examples: Vec<String>,
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
        Ok(Self { root: root.to_path_buf(), members: members(root)?, files: files(root)? })
    }

    /// The paths of all files, also of those that are not text.
    pub(crate) fn paths(&self) -> anyhow::Result<Vec<String>> {
        listing(&self.root)
    }

    /// One file by its path.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The crates that are published, each after those of ours that it depends on.
    pub(crate) fn arrow_order(&self) -> anyhow::Result<Vec<&Member>> {
        let mut waiting: Vec<&Member> =
            self.members.iter().filter(|member| member.published).collect();
        let mut ordered: Vec<&Member> = Vec::new();
        while !waiting.is_empty() {
            let ready = |member: &&Member| {
                let ours = |name: &str| {
                    waiting.iter().any(|other| other.name == name && other.name != member.name)
                };
                !member.dependencies.iter().any(|dependency| ours(&dependency.name))
            };
            let next = waiting
                .iter()
                .position(ready)
                .context("the crates depend on each other in a circle")?;
            ordered.push(waiting.remove(next));
        }
        Ok(ordered)
    }

    /// The Rust files of a folder.
    pub(crate) fn rust<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a File> {
        self.files
            .iter()
            .filter(move |file| file.path.starts_with(folder) && file.path.ends_with(".rs"))
    }
}

/// The crates alone, without reading the tree.
pub(crate) fn members(root: &Path) -> anyhow::Result<Vec<Member>> {
    let metadata = shell::read(&mut cargo(root, ["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    packages.iter().map(|package| member(root, package)).collect()
}

fn member(root: &Path, package: &Value) -> anyhow::Result<Member> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect();
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
        // `publish = false` is an empty list of registries; absent means any.
        published: package["publish"].is_null(),
        categories: texts(&package["categories"]),
        keywords: texts(&package["keywords"]),
        folder: format!("{}/", folder.display()),
        dependencies: dependencies.iter().map(dependency).collect(),
        examples: targets(package, "example"),
    })
}

fn files(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for path in listing(root)? {
        // Not text, such as a corpus of bad input: nothing to check.
        if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
            files.push(File { path, text });
        }
    }
    Ok(files)
}

/// The names of a package's targets of one kind.
fn targets(package: &Value, kind: &str) -> Vec<String> {
    let targets = package["targets"].as_array().into_iter().flatten();
    let of_kind = |target: &&Value| {
        target["kind"].as_array().into_iter().flatten().any(|other| other == kind)
    };
    targets
        .filter(of_kind)
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect()
}

/// Every file that is, or would be, committed. Without git or its folder, as after unpacking an archive, everything but build output.
fn listing(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut git = std::process::Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let mut paths = Vec::new();
    match shell::read(&mut git) {
        Ok(listed) => {
            paths.extend(listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned));
        }
        Err(_) => walk(root, root, &mut paths)?,
    }
    // Deleted but still in git's index.
    paths.retain(|path| root.join(path).is_file());
    paths.sort();
    Ok(paths)
}

fn walk(root: &Path, folder: &Path, paths: &mut Vec<String>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("failed to list `{}`", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("failed to list `{}`", folder.display()))?.path();
        let relative = path.strip_prefix(root)?;
        if relative == Path::new("target") || relative == Path::new(".git") {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, paths)?;
        } else {
            paths.push(relative.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        Workspace::load(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()).unwrap()
    }

    #[test]
    fn crates_are_published_after_what_they_stand_on() {
        let workspace = workspace();
        let order = workspace.arrow_order().unwrap();
        let place = |name: &str| order.iter().position(|member| member.name == name);
        for (at, member) in order.iter().enumerate() {
            // A crate may name itself in its own tests, to switch on a feature.
            let others = member.dependencies.iter().filter(|other| other.name != member.name);
            for dependency in others {
                assert!(
                    place(&dependency.name).is_none_or(|before| before < at),
                    "{}",
                    member.name
                );
            }
        }
        assert_eq!((place("xtask"), place("fuzz")), (None, None));
    }

    #[test]
    fn git_and_a_plain_walk_see_the_same_sources() {
        let workspace = workspace();
        let mut walked = Vec::new();
        walk(&workspace.root, &workspace.root, &mut walked).unwrap();
        for file in &workspace.files {
            assert!(walked.contains(&file.path), "{}", file.path);
        }
    }
}
