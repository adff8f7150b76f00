//! Reading ahead on a thread of its own, so that a long trace is unpacked on one processor and parsed on another.

use std::io::{self, BufRead, Read};
use std::thread;

use crossbeam_channel::{Receiver, bounded};

/// Bytes that are read at a time, and how many such pieces wait at most.
const PIECE: usize = 64 << 10;
const WAITING: usize = 4;

/// What `input` gives, read before it is asked for.
pub(super) struct Ahead {
    /// An empty piece is the end.
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl Ahead {
    /// Begins to read `input`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn new(mut input: impl Read + Send + 'static) -> io::Result<Self> {
        let (give, pieces) = bounded(WAITING);
        let read = move || loop {
            let mut piece = vec![0; PIECE];
            let read = match input.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read,
            };
            let last = is_last(read.as_ref().copied());
            let read = read.map(|n| {
                piece.truncate(n);
                piece
            });
            // Nobody waits for the rest when the reader was dropped.
            if give.send(read).is_err() || last {
                return;
            }
        };
        thread::Builder::new().name("memcli-ahead".into()).spawn(read)?;
        Ok(Self { pieces, piece: Vec::new(), taken: 0, ended: false })
    }
}

/// Whether nothing comes after it. What cannot be unpacked may be followed by what can.
fn is_last(read: Result<usize, &io::Error>) -> bool {
    match read {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != io::ErrorKind::InvalidData,
    }
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.piece.len() && !self.ended {
            self.taken = 0;
            let lost = || Err(io::Error::other("the thread that unpacks has ended"));
            let next = self.pieces.recv().unwrap_or_else(|_| lost());
            self.ended = is_last(next.as_ref().map(Vec::len));
            self.piece.clear();
            self.piece = next?;
        }
        Ok(&self.piece[self.taken..])
    }

    fn consume(&mut self, amount: usize) {
        self.taken = self.piece.len().min(self.taken.saturating_add(amount));
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_comes_in_order_and_then_the_end() {
        let bytes: Vec<u8> = (0..PIECE * 6 + 17).map(|i| (i % 251) as u8).collect();
        let mut ahead = Ahead::new(io::Cursor::new(bytes.clone())).unwrap();
        let mut read = Vec::new();
        ahead.read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        assert_eq!(ahead.fill_buf().unwrap(), b"");
    }

    #[test]
    fn what_came_before_an_error_is_there_and_then_the_error() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
        let mut ahead = Ahead::new(io::Cursor::new(b"half").chain(Fails)).unwrap();
        let mut read = Vec::new();
        let error = ahead.read_to_end(&mut read).unwrap_err();
        assert_eq!((read.as_slice(), error.kind()), (&b"half"[..], io::ErrorKind::UnexpectedEof));
        assert_eq!(ahead.fill_buf().unwrap(), b"", "nothing more");
    }

    #[test]
    fn a_thread_that_is_lost_is_no_end() {
        struct Panics;
        impl Read for Panics {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                std::panic::resume_unwind(Box::new(()));
            }
        }
        let mut ahead = Ahead::new(Panics).unwrap();
        assert!(ahead.fill_buf().is_err());
    }
}
