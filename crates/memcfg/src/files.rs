//! Reading the files of a document: within limits, and only what may be trusted.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic, Label};
use crate::links;
use crate::load::{Inputs, Text};
use crate::origin::{Origin, Source, SourceKind};
use crate::overlay::Override;
use crate::parse::MAX_BYTES;
use crate::trust::{self, Distrust};

/// The inputs and what is odd about them, or why there are none.
pub type ReadInputs = Result<(Inputs, Vec<Diagnostic>), Vec<Diagnostic>>;

/// A file that a document may be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// Where it is, as people wrote it.
    pub path: PathBuf,
    /// Whether it is the machine's and the user's, or a project's.
    pub kind: SourceKind,
    /// Whether it must exist.
    pub required: bool,
}

/// Where the values of a document come from: files, the environment, flags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// The files, the weakest first.
    pub files: Vec<FileSource>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// What the command line sets.
    pub flags: Vec<Override>,
    /// Where relative paths in the environment and the flags start.
    pub cwd: Option<PathBuf>,
}

impl Sources {
    /// No sources: the document is its defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same sources with a file of the machine or the user.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        let (path, kind) = (path.into(), SourceKind::Global);
        self.files.push(FileSource { path, kind, required: false });
        self
    }

    /// The same sources with a file that must exist.
    #[must_use]
    pub fn required_file(mut self, path: impl Into<PathBuf>) -> Self {
        let (path, kind) = (path.into(), SourceKind::Global);
        self.files.push(FileSource { path, kind, required: true });
        self
    }

    /// The same sources with a file that comes with a project.
    #[must_use]
    pub fn project_file(mut self, path: impl Into<PathBuf>) -> Self {
        let (path, kind) = (path.into(), SourceKind::Project);
        self.files.push(FileSource { path, kind, required: false });
        self
    }

    /// The same sources with these environment variables.
    #[must_use]
    pub fn env(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(variables);
        self
    }

    /// The same sources with `key` set to `text`, as the command line does it.
    #[must_use]
    pub fn flag(self, key: &str, text: impl Into<String>) -> Self {
        self.flag_named(key, text, format!("--set {key}"))
    }

    /// The same as [`Sources::flag`], for a flag with a name of its own such as `--interval`.
    #[must_use]
    pub fn flag_named(
        mut self,
        key: &str,
        text: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        self.flags.push(Override::new(key, text, name));
        self
    }

    /// Reads the files that there are.
    ///
    /// # Errors
    /// Each file of the machine or the user that cannot be read or trusted. Project files that are not trusted are
    /// left out, with a warning in the second half of the answer.
    pub fn read(&self) -> ReadInputs {
        let mut inputs = Inputs {
            texts: Vec::new(),
            env: self.env.clone(),
            flags: self.flags.clone(),
            cwd: self.cwd.clone(),
        };
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for file in &self.files {
            match read(file) {
                Ok(Some(bytes)) => inputs.texts.push(Text::new(file.kind, &file.path, bytes)),
                Ok(None) => {}
                Err(problem) if problem.is_error() => errors.push(problem),
                Err(problem) => warnings.push(problem),
            }
        }
        if errors.is_empty() { Ok((inputs, warnings)) } else { Err(errors) }
    }
}

/// Reads one file; nothing when it does not exist and need not.
pub(crate) fn read(file: &FileSource) -> Result<Option<Vec<u8>>, Diagnostic> {
    let FileSource { path, kind, required } = file;
    match read_trusted(path, *kind) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound && !required => {
            Ok(None)
        }
        // A path through a file, such as `/dev/null/config.toml`: there is none.
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotADirectory && !required => {
            Ok(None)
        }
        Err(ReadError::Distrust(why)) if *kind == SourceKind::Project => {
            let message = format!("the project's file is left out: {}", told(path, &why));
            Err(at(file, Diagnostic::warning(Code::Permission, message)).help(why.remedy()))
        }
        Err(ReadError::Distrust(why)) => {
            let problem = Diagnostic::error(Code::Permission, told(path, &why));
            Err(at(file, problem).help(why.remedy()))
        }
        Err(ReadError::TooLarge) => {
            let message = format!("the file is larger than {MAX_BYTES} bytes");
            let problem = at(file, Diagnostic::error(Code::Limit, message));
            Err(problem.help("a document holds at most 1 MiB"))
        }
        Err(ReadError::Io(error)) => {
            Err(at(file, Diagnostic::error(Code::Io, format!("it cannot be read: {error}"))))
        }
    }
}

/// Why the file is not trusted. Its label names the file; what else is to blame, such as a directory on the way, is named here.
fn told(path: &Path, why: &Distrust) -> String {
    why.to_string().replacen(&format!("`{}`", path.display()), "it", 1)
}

fn at(file: &FileSource, diagnostic: Diagnostic) -> Diagnostic {
    let source = Arc::new(Source::new(file.kind, file.path.display().to_string(), ""));
    diagnostic.at(Label::key(&Origin::whole(&source), ""))
}

pub(crate) enum ReadError {
    Io(io::Error),
    Distrust(Distrust),
    TooLarge,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        ReadError::Io(error)
    }
}

impl From<Distrust> for ReadError {
    fn from(why: Distrust) -> Self {
        ReadError::Distrust(why)
    }
}

/// Reads a file that nobody else may write to. The size is checked while reading: it may grow.
///
/// A project's file may be shared with a group, and lie wherever its repository does.
pub(crate) fn read_trusted(path: &Path, kind: SourceKind) -> Result<Vec<u8>, ReadError> {
    let chain = links::follow(path)?;
    let file = trust::open(&chain.target)?;
    let metadata = file.metadata()?;
    if kind == SourceKind::Project {
        trust::judge(&chain.target, &metadata, trust::WORLD_WRITE)?;
    } else {
        trust::judge(&chain.target, &metadata, trust::OTHERS_WRITE)?;
        trust::judge_way(&chain)?;
    }
    if metadata.len() > MAX_BYTES as u64 {
        return Err(ReadError::TooLarge);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES { Err(ReadError::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_once() {
        let folder = tempfile::tempdir().unwrap();
        let told = |sources: Sources| {
            let problems = sources.read().unwrap_err();
            problems.iter().map(ToString::to_string).collect::<String>()
        };
        let path = folder.path().join("c.toml");
        let missing = told(Sources::new().required_file(&path));
        assert!(missing.contains("c.toml: error[io]: it cannot be read: "), "{missing}");
        assert_eq!(missing.matches("c.toml").count(), 1, "{missing}");
        std::fs::create_dir(&path).unwrap();
        let folder = told(Sources::new().file(&path));
        assert!(
            folder.contains("c.toml: error[permission]: it is not a regular file\n"),
            "{folder}"
        );
    }

    #[test]
    fn a_directory_on_the_way_is_named_beside_the_file() {
        let (path, directory) = (PathBuf::from("/a/c.toml"), PathBuf::from("/a"));
        let why = |path: &Path| Distrust::Foreign { path: path.to_path_buf(), owner: 7 };
        assert!(told(&path, &why(&directory)).starts_with("`/a` belongs to user 7"));
        assert!(told(&path, &why(&path)).starts_with("it belongs to user 7"));
    }
}
