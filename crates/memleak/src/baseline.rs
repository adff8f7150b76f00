//! What was learnt about a program, kept in a file across restarts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::detector::Detector;

/// The version of the file's form; others are refused. 2: segments keep their slopes and floors, and the profile of a steady
/// life is kept. 3: the whole life and a chapter of it have a judge each.
pub const VERSION: u32 = 3;
/// A file larger than this is not ours: a full history is below 100 KiB.
const MOST_BYTES: u64 = 1 << 20;

/// Whose series it is. A baseline of another program or machine says nothing about this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// What names the program to its user: its path, or a service name.
    pub program: String,
    /// Its version or the hash of its executable; empty when the caller does not tell builds apart.
    pub build: String,
    /// The machine's memory in bytes: caches and heaps are sized by it.
    pub memory: u64,
    /// The machine's processors: arenas and worker pools are sized by them.
    pub processors: u32,
}

/// What went wrong with a baseline file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// It could not be read.
    #[error("cannot read baseline `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be written.
    #[error("cannot write baseline `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no baseline, or a damaged one.
    #[error("`{}` is not a baseline", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// Its values cannot have been saved by a detector, or it is far too large.
    #[error("baseline `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It has another version.
    #[error("baseline `{}` has version {found}, this program reads {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It belongs to another program or machine.
    #[error("baseline `{}` belongs to `{}` on another machine or build", path.display(), found.program)]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whom it belongs to.
        found: Box<Identity>,
    },
}

#[derive(Serialize)]
struct Saved<'a> {
    version: u32,
    identity: &'a Identity,
    detector: &'a Detector,
}

/// Read first and alone, so that a later version is told from damage.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Deserialize)]
struct Loaded {
    identity: Identity,
    detector: Detector,
}

/// Saves `detector` in `path`, readable by its owner only. Atomic: a reader sees the old file or the new one.
///
/// # Errors
/// [`BaselineError::Write`].
pub fn save(path: &Path, identity: &Identity, detector: &Detector) -> Result<(), BaselineError> {
    let failed = |source| BaselineError::Write { path: path.to_owned(), source };
    let saved = Saved { version: VERSION, identity, detector };
    let text = serde_json::to_vec(&saved).map_err(|error| failed(error.into()))?;
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let mut beside = name.to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(beside);
    // What a process of the same pid left when it died here, or what somebody else put here: a link is not followed.
    let _ = fs::remove_file(&beside);
    let written = write(&beside, &text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // The old file is untouched; a leftover would only be in the way.
        let _ = fs::remove_file(&beside);
        failed(error)
    })
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // A file that is there all the same is not ours.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Loads the detector saved in `path` for `identity`. What it sees next is a new segment: a restart, and no leak.
///
/// # Errors
/// When there is no such file, when it is damaged or of another version, or when it belongs to somebody else; the caller
/// then starts with a new detector.
pub fn load(path: &Path, identity: &Identity) -> Result<Detector, BaselineError> {
    let failed = |source| BaselineError::Read { path: path.to_owned(), source };
    let damaged = || BaselineError::Damaged { path: path.to_owned() };
    let malformed = |source| BaselineError::Malformed { path: path.to_owned(), source };
    let mut text = Vec::new();
    // To open a pipe would wait for whoever writes.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
    }
    let file = File::open(path).map_err(failed)?;
    file.take(MOST_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(damaged());
    }
    let Head { version } = serde_json::from_slice(&text).map_err(malformed)?;
    if version != VERSION {
        return Err(BaselineError::Version { path: path.to_owned(), found: version });
    }
    let Loaded { identity: found, mut detector } =
        serde_json::from_slice(&text).map_err(malformed)?;
    if found != *identity {
        return Err(BaselineError::Foreign { path: path.to_owned(), found: Box::new(found) });
    }
    if !detector.is_sound() {
        return Err(damaged());
    }
    detector.resumed();
    Ok(detector)
}
