//! Saving a file so that it is the old one or the new one, never anything else.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::disk::{Disk, RealDisk};
use crate::files::{ReadError, read_trusted};
use crate::hash::Hash;
use crate::links;
use crate::metrics::SaveMetrics;
use crate::origin::SourceKind;
use crate::trust::Distrust;

/// Backups that are kept.
pub const BACKUPS: usize = 10;
/// How long a save waits for another process that holds the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// The step of a save that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Making the directory.
    Directory,
    /// Taking the lock.
    Lock,
    /// Reading what is there.
    Read,
    /// Writing the backup.
    Backup,
    /// Making the temporary file.
    Create,
    /// Writing it.
    Write,
    /// Bringing it to the device.
    Sync,
    /// Putting it in place.
    Rename,
    /// Bringing its name to the device. The new content is in place, and may be lost with the power.
    SyncDirectory,
}

impl Step {
    /// The name, as in JSON and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Step::Directory => "directory",
            Step::Lock => "lock",
            Step::Read => "read",
            Step::Backup => "backup",
            Step::Create => "create",
            Step::Write => "write",
            Step::Sync => "sync",
            Step::Rename => "rename",
            Step::SyncDirectory => "sync_directory",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Directory => "making its directory",
            Step::Lock => "taking its lock",
            Step::Read => "reading it",
            Step::Backup => "writing its backup",
            Step::Create => "making its temporary file",
            Step::Write => "writing its temporary file",
            Step::Sync => "syncing its temporary file",
            Step::Rename => "putting it in place",
            Step::SyncDirectory => "syncing its directory",
        })
    }
}

/// Why a file was not saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// Somebody else changed it meanwhile. Read it again, and edit that.
    #[error("`{path}` has changed since it was read", path = path.display())]
    Conflict {
        /// The file.
        path: PathBuf,
        /// The hash of what it holds now; nothing when it is gone.
        found: Option<Hash>,
    },
    /// Another process has been saving it for too long.
    #[error("`{path}` is being saved by another process", path = path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The present file could have been written by others.
    #[error("`{path}` cannot be trusted", path = path.display())]
    Distrust {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Distrust,
    },
    /// It is too large to be a document.
    #[error("`{path}` is larger than 1 MiB", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// There is no such backup.
    #[error("`{path}` has no backup {number}", path = path.display())]
    NoBackup {
        /// The file.
        path: PathBuf,
        /// The number asked for.
        number: u64,
    },
    /// The backup holds nothing that is valid: somebody has changed it since.
    #[error("backup {number} of `{path}` is not valid", path = path.display())]
    InvalidBackup {
        /// The file.
        path: PathBuf,
        /// The number of the backup.
        number: u64,
    },
    /// The system refused a step. Unless that was the last one, the old content is in place.
    #[error("cannot save `{path}`: {step} failed", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The step.
        step: Step,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What an edit was based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    Anything,
    /// No file.
    Absent,
    /// A file with this content.
    Content(Hash),
}

/// A save that is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// The hash of what is there now: what the next edit is based on.
    pub hash: Hash,
    /// The backup of what was there before, where that was valid.
    pub backup: Option<u64>,
}

/// A copy of an earlier valid content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// Its number; higher is newer.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// Whether a content may become a backup.
type IsValid<'a> = Box<dyn Fn(&[u8]) -> bool + Send + Sync + 'a>;

/// Edits one file: reads it, saves it against what was read, keeps backups.
pub struct Editor<'a> {
    path: PathBuf,
    valid: IsValid<'a>,
    metrics: SaveMetrics,
    disk: Box<dyn Disk + Send + Sync + 'a>,
}

impl fmt::Debug for Editor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Editor").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<'a> Editor<'a> {
    /// An editor of the file at `path`. Only a content that `valid` accepts becomes a backup.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, valid: impl Fn(&[u8]) -> bool + Send + Sync + 'a) -> Self {
        Self::on(RealDisk, path, valid)
    }

    pub(crate) fn on(
        disk: impl Disk + Send + Sync + 'a,
        path: impl Into<PathBuf>,
        valid: impl Fn(&[u8]) -> bool + Send + Sync + 'a,
    ) -> Self {
        let (path, metrics) = (path.into(), SaveMetrics::default());
        Self { path, valid: Box::new(valid), metrics, disk: Box::new(disk) }
    }

    /// Counts and times of this editor.
    #[must_use]
    pub fn metrics(&self) -> &SaveMetrics {
        &self.metrics
    }

    /// What is there, and its hash; nothing when there is no file.
    ///
    /// # Errors
    /// When it cannot be read or trusted.
    pub fn read(&self) -> Result<Option<(Vec<u8>, Hash)>, SaveError> {
        let path = self.path.clone();
        match read_trusted(&self.path, SourceKind::Global) {
            Ok(bytes) => {
                let hash = Hash::of(&bytes);
                Ok(Some((bytes, hash)))
            }
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(ReadError::Io(source)) => Err(SaveError::Io { path, step: Step::Read, source }),
            Err(ReadError::Distrust(source)) => Err(SaveError::Distrust { path, source }),
            Err(ReadError::TooLarge) => Err(SaveError::TooLarge { path }),
        }
    }

    /// Puts `content` in the place of what `expected` says is there.
    ///
    /// When this answers, the content is on the device. A link is followed: its target is replaced, and it stays.
    ///
    /// # Errors
    /// A conflict when the file holds something else; else the step that failed. In every case the file is the old one
    /// or the new one.
    pub fn save(&mut self, content: &[u8], expected: Expected) -> Result<Saved, SaveError> {
        let started = Instant::now();
        let result = self.place().and_then(|place| place.save(content, expected, &self.valid));
        self.metrics.last_duration_seconds = started.elapsed().as_secs_f64();
        match result {
            Ok((saved, swept)) => {
                self.metrics.saved += 1;
                self.metrics.swept += swept;
                self.metrics.backups += u64::from(saved.backup.is_some());
                self.metrics.last_success = Some(SystemTime::now());
                Ok(saved)
            }
            Err(error) => {
                match &error {
                    SaveError::Conflict { .. } => self.metrics.conflicts += 1,
                    SaveError::Io { step, .. } => {
                        *self.metrics.failed_by.entry(step.name()).or_default() += 1;
                    }
                    _ => *self.metrics.failed_by.entry("refused").or_default() += 1,
                }
                Err(error)
            }
        }
    }

    /// The backups, the newest first.
    ///
    /// # Errors
    /// When their directory cannot be read.
    pub fn backups(&self) -> Result<Vec<Backup>, SaveError> {
        let place = self.place()?;
        place.backups().map_err(place.failed(Step::Read))
    }

    /// What backup `number` holds, valid or not. A link is not followed: no backup is one.
    ///
    /// # Errors
    /// When there is no such backup, or it cannot be read or trusted.
    pub fn backup(&self, number: u64) -> Result<Vec<u8>, SaveError> {
        let path = || self.path.clone();
        let missing = || SaveError::NoBackup { path: path(), number };
        let backups = self.backups()?;
        let backup = backups.iter().find(|b| b.number == number).ok_or_else(missing)?;
        if std::fs::symlink_metadata(&backup.path).is_ok_and(|found| found.is_symlink()) {
            let source = Distrust::NotAFile { path: backup.path.clone() };
            return Err(SaveError::Distrust { path: backup.path.clone(), source });
        }
        read_trusted(&backup.path, SourceKind::Global).map_err(|error| match error {
            ReadError::Io(error) if error.kind() == io::ErrorKind::NotFound => missing(),
            ReadError::Io(source) => SaveError::Io { path: path(), step: Step::Read, source },
            ReadError::Distrust(source) => {
                SaveError::Distrust { path: backup.path.clone(), source }
            }
            ReadError::TooLarge => SaveError::TooLarge { path: backup.path.clone() },
        })
    }

    /// Makes backup `number` the content of the file. What it replaces becomes a backup itself, when it is valid.
    ///
    /// # Errors
    /// As [`Editor::save`] and [`Editor::backup`], and when the backup is not valid.
    pub fn rollback(&mut self, number: u64, expected: Expected) -> Result<Saved, SaveError> {
        let content = self.backup(number)?;
        if !(self.valid)(&content) {
            return Err(SaveError::InvalidBackup { path: self.path.clone(), number });
        }
        self.save(&content, expected)
    }

    fn place(&self) -> Result<Place<'_>, SaveError> {
        let failed = |source| SaveError::Io { path: self.path.clone(), step: Step::Read, source };
        let target = links::follow(&self.path).map_err(failed)?.target;
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned());
        let directory = target.parent().map(Path::to_path_buf);
        match (name, directory) {
            (Some(name), Some(directory)) => {
                Ok(Place { disk: &*self.disk, shown: &self.path, target, directory, name })
            }
            _ => Err(failed(io::Error::from(io::ErrorKind::InvalidInput))),
        }
    }
}

/// A file with its directory, its lock, its backups.
struct Place<'a> {
    disk: &'a (dyn Disk + Send + Sync),
    shown: &'a Path,
    target: PathBuf,
    directory: PathBuf,
    name: String,
}

impl Place<'_> {
    fn failed(&self, step: Step) -> impl Fn(io::Error) -> SaveError + '_ {
        move |source| SaveError::Io { path: self.shown.to_path_buf(), step, source }
    }

    fn save(
        &self,
        content: &[u8],
        expected: Expected,
        valid: &IsValid<'_>,
    ) -> Result<(Saved, u64), SaveError> {
        self.make_directory(&self.directory, Step::Directory)?;
        let _lock = self.lock()?;
        // Only a holder of the lock has temporary files here: whatever is left is a dead process's.
        let swept = self.sweep();
        let present = self.disk.read(&self.target).map_err(self.failed(Step::Read))?;
        let found = present.as_deref().map(Hash::of);
        let as_expected = match expected {
            Expected::Anything => true,
            Expected::Absent => found.is_none(),
            Expected::Content(hash) => found == Some(hash),
        };
        if !as_expected {
            return Err(SaveError::Conflict { path: self.shown.to_path_buf(), found });
        }
        let backup = match present {
            Some(present) if present != content && valid(&present) => Some(self.back_up(&present)?),
            _ => None,
        };
        self.write_in_place(&self.target, content, Some(&self.target))?;
        Ok((Saved { hash: Hash::of(content), backup }, swept))
    }

    /// Makes a directory and those above it that are missing. What is saved in it must not be lost with its name, so the
    /// name is brought to the device as well.
    fn make_directory(&self, path: &Path, step: Step) -> Result<(), SaveError> {
        let missing: Vec<&Path> = path.ancestors().take_while(|at| !at.is_dir()).collect();
        for directory in missing.into_iter().rev() {
            self.disk.make_directory(directory).map_err(self.failed(step))?;
            let parent = directory.parent().unwrap_or(directory);
            self.disk.sync_directory(parent).map_err(self.failed(step))?;
        }
        Ok(())
    }

    /// Temporary file, sync, rename, sync of the directory.
    fn write_in_place(
        &self,
        target: &Path,
        content: &[u8],
        like: Option<&Path>,
    ) -> Result<(), SaveError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temp = format!("{}{}.{count}", self.temp_prefix(), std::process::id());
        let temp = self.directory.join(temp);
        let result = self.write_and_rename(&temp, target, content, like);
        if result.is_err() {
            // After a failed sync nobody knows what the device holds: the file is thrown away, never synced again.
            let _ = self.disk.remove(&temp);
        }
        result?;
        let parent = target.parent().unwrap_or(&self.directory);
        self.disk.sync_directory(parent).map_err(self.failed(Step::SyncDirectory))
    }

    fn write_and_rename(
        &self,
        temp: &Path,
        target: &Path,
        content: &[u8],
        like: Option<&Path>,
    ) -> Result<(), SaveError> {
        let mut file = self.disk.create(temp).map_err(self.failed(Step::Create))?;
        if let Some(like) = like {
            self.disk.adopt(&file, like).map_err(self.failed(Step::Create))?;
        }
        let mut rest = content;
        while !rest.is_empty() {
            match self.disk.write(&mut file, rest) {
                Ok(0) => {
                    return Err(self.failed(Step::Write)(io::ErrorKind::WriteZero.into()));
                }
                Ok(count) => rest = rest.get(count..).unwrap_or(&[]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(Step::Write)(error)),
            }
        }
        self.disk.sync(&file).map_err(self.failed(Step::Sync))?;
        drop(file);
        self.disk.rename(temp, target).map_err(self.failed(Step::Rename))
    }

    fn lock(&self) -> Result<File, SaveError> {
        let path = self.directory.join(format!(".{}.lock", self.name));
        let file = self.disk.open_lock(&path).map_err(self.failed(Step::Lock))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    return Err(SaveError::Locked { path: self.shown.to_path_buf() });
                }
                Err(std::fs::TryLockError::Error(error)) => {
                    return Err(self.failed(Step::Lock)(error));
                }
            }
        }
    }

    fn temp_prefix(&self) -> String {
        format!(".{}.tmp.", self.name)
    }

    fn sweep(&self) -> u64 {
        let prefix = self.temp_prefix();
        let stale =
            self.disk.names(&self.directory).unwrap_or_default().into_iter().filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            });
        stale.filter(|path| self.disk.remove(path).is_ok()).count() as u64
    }

    fn backup_directory(&self) -> PathBuf {
        self.directory.join("backups")
    }

    fn backups(&self) -> io::Result<Vec<Backup>> {
        let prefix = format!("{}.", self.name);
        let mut backups: Vec<_> = self
            .disk
            .names(&self.backup_directory())?
            .into_iter()
            .filter_map(|path| {
                let number = path.file_name()?.to_str()?.strip_prefix(&prefix)?.parse().ok()?;
                Some(Backup { number, path })
            })
            .collect();
        backups.sort_by_key(|backup| std::cmp::Reverse(backup.number));
        Ok(backups)
    }

    fn back_up(&self, present: &[u8]) -> Result<u64, SaveError> {
        let directory = self.backup_directory();
        self.make_directory(&directory, Step::Backup)?;
        let backups = self.backups().map_err(self.failed(Step::Backup))?;
        let newest = backups.first().map_or(0, |backup| backup.number);
        if let Some(backup) = backups.first() {
            // Saving the same again and again must not push older contents out.
            if self.disk.read(&backup.path).ok().flatten().as_deref() == Some(present) {
                return Ok(newest);
            }
        }
        let number = newest + 1;
        self.write_in_place(&directory.join(format!("{}.{number}", self.name)), present, None)?;
        for old in backups.iter().skip(BACKUPS - 1) {
            let _ = self.disk.remove(&old.path);
        }
        Ok(number)
    }
}

/// Replaces a file of our own, without backup.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), SaveError> {
    Editor::new(path, |_| false).save(content, Expected::Anything).map(|_| ())
}
