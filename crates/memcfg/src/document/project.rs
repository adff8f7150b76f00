//! The document as it is for one project, made on demand.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Config;
use crate::diagnostic::Diagnostic;
use crate::files::{self, FileSource};
use crate::hash::Hash;
use crate::live;
use crate::load::{Text, assemble_over};
use crate::origin::SourceKind;
use crate::store::Snapshot;

/// A project's own file, from the project's directory.
pub const PROJECT_FILE: &str = ".memcli/config.toml";

/// Projects that are kept. Past that all are forgotten and made again when asked for.
const MAX_PROJECTS: usize = 10_000;
/// A file changed within this time may change again without its time of change moving.
const COARSE: Duration = Duration::from_secs(2);

/// The document as it is for one project.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Effective {
    /// The document.
    pub config: Arc<Config>,
    /// The generation of the document it lies over.
    pub generation: u64,
    /// What is odd about it.
    pub warnings: Vec<Diagnostic>,
    /// Why the project's present file is not used: `config` is then the last good one for this project, or else the
    /// document without it.
    pub rejected: Vec<Diagnostic>,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

#[derive(Debug)]
struct Entry {
    stamp: Option<Stamp>,
    /// When set, the stamp was too fresh to be relied on, and the content decides.
    content: Option<Hash>,
    base: Hash,
    effective: Effective,
}

/// The projects that have been asked for.
#[derive(Debug, Default)]
pub(super) struct Projects {
    entries: Mutex<HashMap<PathBuf, Entry>>,
}

impl Projects {
    /// One look at the file's status says whether what is kept still holds; nothing is watched in between.
    pub(super) fn effective(&self, live: &live::Live<Config>, directory: &Path) -> Effective {
        let path = directory.join(PROJECT_FILE);
        let snapshot = live.load();
        let (base, stamp) = (live.active_hash(), stamp(&path));
        let kept = {
            let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.get(&path).map(|e| (e.stamp, e.content, e.base, e.effective.clone()))
        };
        let same_base = |at: Hash, effective: &Effective| {
            at == base && effective.generation == snapshot.generation
        };
        if let Some((then, None, at, effective)) = &kept
            && *then == stamp
            && same_base(*at, effective)
        {
            return effective.clone();
        }
        let source = FileSource { path: path.clone(), kind: SourceKind::Project, required: false };
        let read = files::read(&source);
        let content = read.as_ref().ok().and_then(|bytes| bytes.as_deref().map(Hash::of));
        if let Some((_, Some(then), at, effective)) = &kept
            && content == Some(*then)
            && same_base(*at, effective)
        {
            return effective.clone();
        }
        let last = kept.map(|(.., effective)| effective);
        let effective = make(live, &snapshot, &path, read, last);
        let content = content.filter(|_| stamp.is_some_and(is_fresh));
        let entry = Entry { stamp, content, base, effective: effective.clone() };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_PROJECTS {
            entries.clear();
        }
        entries.insert(path, entry);
        effective
    }
}

fn make(
    live: &live::Live<Config>,
    snapshot: &Snapshot<Config>,
    path: &Path,
    read: Result<Option<Vec<u8>>, Diagnostic>,
    last: Option<Effective>,
) -> Effective {
    let generation = snapshot.generation;
    let plain = || Effective {
        config: Arc::new(snapshot.loaded.value.clone()),
        generation,
        warnings: Vec::new(),
        rejected: Vec::new(),
    };
    let bytes = match read {
        Ok(bytes) => bytes,
        // Left out, with a warning: the project does not decide who may write to its file.
        Err(problem) if !problem.is_error() => {
            return Effective { warnings: vec![problem], ..plain() };
        }
        Err(problem) => return Effective { rejected: vec![problem], ..last.unwrap_or_else(plain) },
    };
    let text = bytes.map(|bytes| Text::new(SourceKind::Project, path, bytes));
    match assemble_over(live.spec(), &snapshot.loaded, text.as_ref()) {
        Ok(loaded) => Effective {
            config: Arc::new(loaded.value),
            generation,
            warnings: loaded.warnings,
            rejected: Vec::new(),
        },
        Err(rejected) => {
            let last = last.map(|last| Effective { generation, ..last });
            Effective { rejected, ..last.unwrap_or_else(plain) }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

fn is_fresh(stamp: Stamp) -> bool {
    let changed = u64::try_from(stamp.changed.0).unwrap_or(0);
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(changed);
    // A time in the future says nothing about how fresh it is.
    SystemTime::now().duration_since(changed).map_or(true, |age| age < COARSE)
}
