//! Kernel files opened once and read again and again, without allocation.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::reading::{Absent, Reading};

/// One kernel file, held open. A read costs one system call and gives the file as it is now.
///
/// A file under `/proc/self` stays bound to the process that opened it: after `fork` the child must open its own.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
}

impl Held {
    /// Opens `path` for reading.
    pub(crate) fn open(path: impl AsRef<Path>) -> Reading<Self> {
        #[cfg(test)]
        faults::on_open()?;
        let file = File::open(path).map_err(|error| Absent::from(&error))?;
        Ok(Self { file })
    }

    /// The whole lines that fit into `buffer`.
    ///
    /// Kernel files end in a line break. What follows the last one was cut, by a short read or by the end of `buffer`,
    /// and is dropped: the first digits of a number are not that number.
    pub(crate) fn read<'b>(&self, buffer: &'b mut [u8]) -> Reading<&'b [u8]> {
        Ok(up_to_last(b'\n', self.read_raw(buffer)?))
    }

    /// The same for a file of one long line, whose words each end in a blank.
    pub(crate) fn read_words<'b>(&self, buffer: &'b mut [u8]) -> Reading<&'b [u8]> {
        Ok(up_to_last(b' ', self.read_raw(buffer)?))
    }

    fn read_raw<'b>(&self, buffer: &'b mut [u8]) -> Reading<&'b [u8]> {
        let length = self.read_piece(buffer, 0)?;
        Ok(buffer.get(..length).unwrap_or_default())
    }

    /// As much as there is from `offset` on, or as fits: how many bytes, 0 at the end. For files longer than a buffer.
    pub(crate) fn read_piece(&self, buffer: &mut [u8], offset: u64) -> Reading<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Ok(length) => {
                    #[cfg(test)]
                    let length = faults::on_read(length)?;
                    return Ok(length);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Absent::from(&error)),
            }
        }
    }
}

impl From<OwnedFd> for Held {
    fn from(file: OwnedFd) -> Self {
        Self { file: File::from(file) }
    }
}

fn up_to_last(end: u8, text: &[u8]) -> &[u8] {
    let length = text.iter().rposition(|byte| *byte == end).map_or(0, |last| last + 1);
    text.get(..length).unwrap_or_default()
}

/// All of a file that is read rarely and may be long, such as `mountinfo`; what lies past `limit` bytes is left out.
pub(crate) fn slurp(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut text)?;
    Ok(text)
}

/// Faults on demand: the k-th open or read of this thread fails, once.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::Cell;
    use std::io;

    use crate::reading::{Absent, Reading};

    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Fault {
        /// With this OS error.
        Error(i32),
        /// A read gives so many bytes at most; an open is left alone.
        Short(usize),
    }

    thread_local! {
        static PLAN: Cell<Option<(u64, Fault)>> = const { Cell::new(None) };
    }

    /// Lets the `k`-th open or read from now on fail.
    pub(crate) fn arm(k: u64, fault: Fault) {
        PLAN.set(Some((k, fault)));
    }

    /// Takes the plan away; whether it had not struck yet.
    pub(crate) fn disarm() -> bool {
        PLAN.take().is_some()
    }

    fn strike() -> Option<Fault> {
        let (left, fault) = PLAN.get()?;
        PLAN.set(left.checked_sub(1).map(|left| (left, fault)));
        (left == 0).then_some(fault)
    }

    pub(crate) fn on_open() -> Reading<()> {
        match strike() {
            Some(Fault::Error(code)) => Err(Absent::from(&io::Error::from_raw_os_error(code))),
            _ => Ok(()),
        }
    }

    pub(crate) fn on_read(length: usize) -> Reading<usize> {
        match strike() {
            Some(Fault::Error(code)) => Err(Absent::from(&io::Error::from_raw_os_error(code))),
            Some(Fault::Short(most)) => Ok(length.min(most)),
            None => Ok(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_file_is_read_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("value");
        std::fs::write(&path, "12\n").unwrap();
        let held = Held::open(&path).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(held.read(&mut buffer), Ok(&b"12\n"[..]));
        std::fs::write(&path, "345\n").unwrap();
        assert_eq!(held.read(&mut buffer), Ok(&b"345\n"[..]));
    }

    #[test]
    fn a_line_that_was_cut_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("value");
        std::fs::write(&path, "a 1\nb 23456\n").unwrap();
        let held = Held::open(&path).unwrap();
        assert_eq!(held.read(&mut [0; 8]), Ok(&b"a 1\n"[..]));
        assert_eq!(held.read(&mut [0; 2]), Ok(&b""[..]));
        assert_eq!(held.read(&mut []), Ok(&b""[..]));
    }

    #[test]
    fn a_file_that_is_not_there_says_so() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Held::open(dir.path().join("none")).unwrap_err(), Absent::Unsupported);
        let held = Held::open(dir.path()).unwrap();
        assert!(matches!(held.read(&mut [0; 8]), Err(Absent::Failed(_))));
    }
}
