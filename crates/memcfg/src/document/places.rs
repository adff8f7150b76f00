//! Where the files of the document are.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ENV_PREFIX;
use super::project::PROJECT_FILE;
use crate::files::{FileSource, Sources};
use crate::origin::SourceKind;

/// The roots that the files are looked for under. Tests and containers set their own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Places {
    /// The machine's file.
    pub system: PathBuf,
    /// The user's file; none when there is no home.
    pub user: Option<PathBuf>,
    /// Where the search for a project's file stops at the latest.
    pub home: Option<PathBuf>,
    /// Where the search for a project's file begins, and relative paths in the environment and the flags start.
    pub cwd: PathBuf,
    /// The environment variables of the document.
    pub env: Vec<(String, String)>,
    /// Where the last good document is kept for a restart; none when there is no home.
    pub state: Option<PathBuf>,
}

impl Places {
    /// The places that `env` and `cwd` stand for: `/etc/memcli/config.toml`, `$XDG_CONFIG_HOME/memcli/config.toml`
    /// (`~/.config` when unset), and `.memcli/config.toml` in `cwd` or the nearest directory above it.
    #[must_use]
    pub fn new(env: impl IntoIterator<Item = (String, String)>, cwd: impl Into<PathBuf>) -> Self {
        let (mut config, mut state, mut home, mut ours) = (None, None, None, Vec::new());
        for (name, value) in env {
            // The XDG specification has relative paths ignored.
            let directory = Some(PathBuf::from(&value)).filter(|path| path.is_absolute());
            match name.as_str() {
                "XDG_CONFIG_HOME" => config = directory,
                "XDG_STATE_HOME" => state = directory,
                "HOME" => home = directory,
                _ if name.starts_with(ENV_PREFIX) => ours.push((name, value)),
                _ => {}
            }
        }
        let config = config.or_else(|| home.as_ref().map(|home: &PathBuf| home.join(".config")));
        let state = state.or_else(|| home.as_ref().map(|home| home.join(".local/state")));
        Self {
            system: PathBuf::from("/etc/memcli/config.toml"),
            user: config.map(|config| config.join("memcli/config.toml")),
            home,
            cwd: cwd.into(),
            env: ours,
            state: state.map(|state| state.join("memcli")),
        }
    }

    /// The sources of the document, weakest first: the machine's file, the user's, the project's, the environment.
    ///
    /// An `explicit` file must exist, and takes the place of the machine's and the user's.
    #[must_use]
    pub fn sources(&self, explicit: Option<&Path>) -> Sources {
        let mut sources = Sources::new().env(self.env.iter().cloned());
        sources.cwd = Some(self.cwd.clone());
        let global = |path: &Path, required| FileSource {
            path: path.to_path_buf(),
            kind: SourceKind::Global,
            required,
        };
        match explicit {
            Some(path) => sources.files.push(global(&self.cwd.join(path), true)),
            None => {
                sources.files.push(global(&self.system, false));
                sources.files.extend(self.user.as_deref().map(|path| global(path, false)));
            }
        }
        let project = self.project().unwrap_or_else(|| self.cwd.clone());
        let path = project.join(PROJECT_FILE);
        if !sources.files.iter().any(|file| file.path == path) {
            sources.files.push(FileSource { path, kind: SourceKind::Project, required: false });
        }
        sources
    }

    /// The directory of the project that `cwd` lies in: the nearest one with a file of its own.
    ///
    /// The search stops at a repository's root, at the home directory, and where the owner changes.
    #[must_use]
    pub fn project(&self) -> Option<PathBuf> {
        let owner = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.uid());
        let mine = owner(&self.cwd)?;
        for directory in self.cwd.ancestors() {
            if owner(directory) != Some(mine) {
                return None;
            }
            if directory.join(PROJECT_FILE).is_file() {
                return Some(directory.to_path_buf());
            }
            if directory.join(".git").exists() || self.home.as_deref() == Some(directory) {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_user_file_is_where_xdg_says() {
        let user = |pairs: &[(&str, &str)]| Places::new(env(pairs), "/").user;
        let home = ("HOME", "/home/u");
        assert_eq!(user(&[home]), Some("/home/u/.config/memcli/config.toml".into()));
        assert_eq!(user(&[home, ("XDG_CONFIG_HOME", "/x")]), Some("/x/memcli/config.toml".into()));
        assert_eq!(
            user(&[home, ("XDG_CONFIG_HOME", "rel")]),
            Some("/home/u/.config/memcli/config.toml".into())
        );
        assert_eq!(user(&[]), None);
    }

    #[test]
    fn a_project_is_found_above_but_not_beyond_its_repository() {
        let root = tempfile::tempdir().unwrap();
        let repo = root.path().join("repo");
        std::fs::create_dir_all(repo.join("src/deep")).unwrap();
        std::fs::create_dir_all(root.path().join(".memcli")).unwrap();
        std::fs::write(root.path().join(PROJECT_FILE), "").unwrap();
        let project = || Places::new([], repo.join("src/deep")).project();
        assert_eq!(project().as_deref(), Some(root.path()), "no repository yet");
        std::fs::create_dir(repo.join(".git")).unwrap();
        assert_eq!(project(), None, "the one above is another's");
        std::fs::create_dir(repo.join(".memcli")).unwrap();
        std::fs::write(repo.join(PROJECT_FILE), "").unwrap();
        assert_eq!(project(), Some(repo.clone()));
    }

    #[test]
    fn an_explicit_file_takes_the_place_of_the_global_ones() {
        let places = Places::new(env(&[("HOME", "/home/u")]), "/srv/none");
        let kinds = |sources: &Sources| sources.files.iter().map(|f| f.kind).collect::<Vec<_>>();
        use SourceKind::{Global, Project};
        assert_eq!(kinds(&places.sources(None)), [Global, Global, Project]);
        let explicit = places.sources(Some(Path::new("c.toml")));
        assert_eq!(kinds(&explicit), [Global, Project]);
        assert_eq!(explicit.files[0].path, Path::new("/srv/none/c.toml"));
        assert!(explicit.files[0].required);
    }
}
