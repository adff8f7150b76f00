//! A file that is written at the end, or once something has begun, and that must be there to be written before.

use std::fs::File;
use std::io;
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
        if file.metadata()?.is_file() {
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
    fn a_stream_is_no_file_and_says_what_to_do() {
        let failure = OutFile::open(Path::new("-"), "the trace", "name a file").unwrap_err();
        assert_eq!(failure.code, exit::USAGE);
        assert!(failure.to_string().contains("help: name a file"), "{failure}");
        let nowhere = OutFile::open(Path::new("/no/such/folder/t"), "the trace", "");
        assert_eq!(nowhere.unwrap_err().code, exit::NO_INPUT);
    }
}
