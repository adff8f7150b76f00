//! A file that is written at the end, or once something has begun, and that must be there to be written before.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::exit::{self, Failure};

/// A file that can be written, and whose content is still what it was. One that had to be made goes again when nothing is written.
#[derive(Debug)]
pub struct OutFile {
    path: PathBuf,
    file: Option<File>,
    made: bool,
}

impl OutFile {
    /// Opens `path` for writing, and makes it when it is not there; `what` names it when that fails. `-` is refused with `instead`:
    /// the streams belong to others.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, what: &str, instead: &str) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Err(Failure::new(exit::USAGE, format!("{what} cannot go to `-`")).help(instead));
        }
        let made = !path.exists();
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| {
            Failure::io(format!("failed to create {what} `{}`", path.display()), error)
        })?;
        Ok(Self { path: path.to_owned(), file: Some(file), made })
    }

    /// The same file, which no other memcli writes as long as it is open: two that write one file leave none that can be read.
    ///
    /// # Errors
    /// When another one does.
    pub fn alone(mut self) -> Result<Self, Failure> {
        let file = self.file.as_ref().filter(|file| is_file(file));
        if let Some(Err(failure)) = file.map(|file| lock(file, &self.path)) {
            // It is the other one's.
            self.made = false;
            return Err(failure);
        }
        Ok(self)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, empty.
    ///
    /// # Errors
    /// When it cannot be emptied.
    pub fn begin(mut self) -> io::Result<File> {
        let file = self.file.take().ok_or_else(|| io::Error::other("it is closed"))?;
        // A pipe or a device has no length.
        if is_file(&file) {
            file.set_len(0)?;
        }
        Ok(file)
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if self.made && self.file.is_some() {
            // It is empty and nobody asked for that; what cannot be taken away is no reason to fail.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn is_file(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.is_file())
}

/// Keeps other memclis from writing `file`, until it is closed. A file system that knows no locks keeps nobody.
///
/// # Errors
/// When another one writes it.
pub fn lock(file: &File, path: &Path) -> Result<(), Failure> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let taken = format!("another memcli is writing `{}`", path.display());
            Err(Failure::new(exit::USAGE, taken).help("name another file"))
        }
        _ => Ok(()),
    }
}

/// Whether both are one file, by whatever name; what is no file, such as `/dev/null`, can be written by many.
#[must_use]
pub fn same(one: &Path, two: &Path) -> bool {
    let found = |path: &Path| path.metadata().ok();
    match (found(one), found(two)) {
        (Some(one), Some(two)) => one.is_file() && (one.dev(), one.ino()) == (two.dev(), two.ino()),
        (None, None) => place(one) == place(two),
        _ => false,
    }
}

/// The path of what is not there yet, with the folder as it is called without links.
fn place(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok();
    folder.zip(path.file_name()).map_or(path.to_owned(), |(folder, name)| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn a_file_stays_as_it_was_until_something_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::write(&old, "what was there").unwrap();
        for path in [&old, &new] {
            drop(OutFile::open(path, "the trace", "").unwrap());
        }
        assert_eq!(fs::read_to_string(&old).unwrap(), "what was there");
        assert!(!new.exists(), "nothing was written");
        for path in [&old, &new] {
            let mut file = OutFile::open(path, "the trace", "").unwrap().begin().unwrap();
            file.write_all(b"x").unwrap();
            assert_eq!(fs::read_to_string(path).unwrap(), "x");
        }
    }

    #[test]
    fn one_file_has_one_writer_and_is_known_by_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let first = OutFile::open(&at("t"), "the trace", "").unwrap().alone().unwrap();
        let again = || OutFile::open(&at("t"), "the trace", "").unwrap().alone();
        let refused = again().unwrap_err();
        assert_eq!(refused.code, exit::USAGE);
        assert!(refused.to_string().contains("another memcli is writing"), "{refused}");
        assert!(at("t").exists(), "it is the other one's");
        // As when it is written: the lock is that of the file.
        let writing = first.begin().unwrap();
        again().unwrap_err();
        drop(writing);
        again().unwrap();
        let nothing = Path::new("/dev/null");
        let _one = OutFile::open(nothing, "the trace", "").unwrap().alone().unwrap();
        OutFile::open(nothing, "the trace", "").unwrap().alone().unwrap();
        assert!(!same(nothing, nothing));

        fs::hard_link(at("t"), at("hard")).unwrap();
        std::os::unix::fs::symlink(at("t"), at("soft")).unwrap();
        fs::create_dir(at("x")).unwrap();
        for name in ["t", "hard", "soft", "x/../t"] {
            assert!(same(&at("t"), &at(name)), "{name}");
        }
        assert!(same(&at("new"), &at("x/../new")) && !same(&at("new"), &at("t")));
        assert!(!same(&at("new"), &at("newer")));
    }

    #[test]
    fn a_stream_is_no_file_and_says_what_to_do() {
        let failure = OutFile::open(Path::new("-"), "the trace", "name a file").unwrap_err();
        assert_eq!(failure.code, exit::USAGE);
        assert!(failure.to_string().contains("help: name a file"), "{failure}");
        let nowhere = OutFile::open(Path::new("/no/such/folder/t"), "the trace", "");
        assert_eq!(nowhere.unwrap_err().code, exit::NO_INPUT);
    }
}
