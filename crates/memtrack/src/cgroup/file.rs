//! A file of a cgroup, or the one that names a process's own: held open, or opened for each read where many are watched.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::held::Held;
use crate::reading::{Absent, Reading};

#[derive(Debug)]
pub(super) enum File {
    Held(Held),
    /// Was there when it was looked for.
    At(PathBuf),
}

impl File {
    pub(super) fn open(path: PathBuf, hold: bool) -> Reading<Self> {
        let held = Held::open(&path)?;
        Ok(if hold { Self::Held(held) } else { Self::At(path) })
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    pub(super) fn read<'b>(&self, buffer: &'b mut [u8]) -> Reading<&'b [u8]> {
        match self {
            Self::Held(held) => held.read(buffer),
            Self::At(path) => {
                let opened = Held::open(path).map_err(|why| match why {
                    // It was there: the cgroup or the process has gone.
                    Absent::Unsupported => Absent::Gone,
                    why => why,
                })?;
                opened.read(buffer)
            }
        }
    }
}

/// How many files of cgroups may be held, and how many are.
#[derive(Clone, Debug)]
pub(super) struct Room {
    most: usize,
    taken: Arc<AtomicUsize>,
}

/// So many of them are held while this lives.
#[derive(Debug)]
pub(super) struct Place {
    files: usize,
    taken: Arc<AtomicUsize>,
}

impl Room {
    pub(super) fn of(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self, files: usize) -> Option<Place> {
        // Only whoever opens takes, one after the other; giving back from elsewhere makes more room and never less.
        if self.taken().saturating_add(files) > self.most {
            return None;
        }
        self.taken.fetch_add(files, Ordering::Relaxed);
        Some(Place { files, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.files, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_held_is_read_as_it_is_now_and_goes_with_its_cgroup() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.max");
        assert_eq!(File::open(path.clone(), false).unwrap_err(), Absent::Unsupported);
        std::fs::write(&path, "1\n").unwrap();
        let file = File::open(path.clone(), false).unwrap();
        assert_eq!(file.read(&mut [0; 8]), Ok(&b"1\n"[..]));
        std::fs::write(&path, "2\n").unwrap();
        assert_eq!(file.read(&mut [0; 8]), Ok(&b"2\n"[..]));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.read(&mut [0; 8]), Err(Absent::Gone));
    }

    #[test]
    fn room_that_was_taken_comes_back() {
        let room = Room::of(8);
        let first = room.take(5).unwrap();
        assert!(room.take(5).is_none());
        assert_eq!(room.taken(), 5);
        drop(first);
        assert!(room.take(8).is_some());
        assert_eq!(room.taken(), 0);
    }
}
