//! Lines of a file that may be compressed, within limits, with the count of bytes read from the disk.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ahead::Ahead;
use super::unpack::Unpack;

/// The longest line that is read: a header carries a command line, and Linux takes none beyond 2 MiB.
const LONGEST: u64 = 4 << 20;
const BUFFER: usize = 64 << 10;

/// What came next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// A whole line is in the buffer, without its end.
    Line,
    /// The end, in order.
    End,
    /// The end came within a line, of which this many bytes are there.
    Half(u64),
    /// The line, and what follows it up to the next member of the stream, cannot be had.
    Broken(String),
    /// More bytes than a line has.
    TooLong,
}

/// The lines of a file.
pub(super) struct Lines {
    input: Box<dyn BufRead>,
    read: Arc<AtomicU64>,
    pub(super) buffer: Vec<u8>,
}

impl Lines {
    /// The lines of `input`, unpacked when it is gzip.
    pub(super) fn new(input: impl Read + Send + 'static) -> io::Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted { input, read: Arc::clone(&read) };
        let mut raw = BufReader::with_capacity(BUFFER, counted);
        let zipped = raw.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let input: Box<dyn BufRead> =
            if zipped { Box::new(Ahead::new(Unpack::new(raw))?) } else { Box::new(raw) };
        Ok(Self { input, read, buffer: Vec::new() })
    }

    /// Bytes taken from the file so far, compressed or not, ahead of the lines by some buffers at most.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Puts the next line into the buffer.
    pub(super) fn next(&mut self) -> Next {
        self.buffer.clear();
        let read = (&mut self.input).take(LONGEST).read_until(b'\n', &mut self.buffer);
        match read {
            // Half a line may be there; the file's end within the stream is a cut, anything else is damage.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Next::Half(self.buffer.len() as u64)
            }
            Err(error) => Next::Broken(error.to_string()),
            Ok(0) => Next::End,
            Ok(_) if self.buffer.ends_with(b"\n") => {
                self.buffer.pop();
                Next::Line
            }
            Ok(n) if n as u64 == LONGEST => Next::TooLong,
            Ok(n) => Next::Half(n as u64),
        }
    }
}

struct Counted<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
