//! The way from a path to its file: every symbolic link, and every directory that holds one of them.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many as Linux itself follows.
const MAX_LINKS: usize = 40;

/// What lies on the way from a path to its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The path without links; it need not exist.
    pub(crate) target: PathBuf,
    /// The links on the way.
    pub(crate) links: Vec<PathBuf>,
    /// The directories that hold the links and the target: whoever can write to one can change what is read.
    pub(crate) directories: Vec<PathBuf>,
}

/// Follows `path`. A part that does not exist ends the chase; the rest is then taken as it is.
pub(crate) fn follow(path: &Path) -> io::Result<Chain> {
    let absolute = std::path::absolute(path)?;
    let mut chain = Chain::default();
    let mut rest: Vec<OsString> = steps(&absolute);
    let mut at = PathBuf::from("/");
    while let Some(step) = rest.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&step);
        match std::fs::read_link(&next) {
            Ok(to) => {
                if chain.links.len() == MAX_LINKS {
                    return Err(io::Error::other("too many symbolic links"));
                }
                chain.directories.push(at.clone());
                chain.links.push(next);
                if to.is_absolute() {
                    at = PathBuf::from("/");
                }
                rest.extend(steps(&to));
            }
            // EINVAL: not a link. Anything else, such as a missing file, is found out when it is opened.
            Err(_) => at = next,
        }
    }
    chain.directories.extend(at.parent().map(Path::to_path_buf));
    chain.directories.dedup();
    chain.target = at;
    Ok(chain)
}

/// The steps of a path, the last one first.
fn steps(path: &Path) -> Vec<OsString> {
    let mut steps: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect();
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_config_map_shows_both_of_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("..2024")).unwrap();
        std::fs::write(root.join("..2024/c.toml"), "x").unwrap();
        symlink("..2024", root.join("..data")).unwrap();
        symlink("..data/c.toml", root.join("c.toml")).unwrap();
        let chain = follow(&root.join("c.toml")).unwrap();
        assert_eq!(chain.target, root.join("..2024/c.toml"));
        assert_eq!(chain.links, [root.join("c.toml"), root.join("..data")]);
        assert_eq!(chain.directories, [root.clone(), root.join("..2024")]);
    }

    #[test]
    fn a_missing_file_is_followed_as_far_as_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        symlink("nowhere/x", root.join("c.toml")).unwrap();
        assert_eq!(follow(&root.join("c.toml")).unwrap().target, root.join("nowhere/x"));
    }

    #[test]
    fn a_circle_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(follow(&dir.path().join("a")).is_err());
    }
}
