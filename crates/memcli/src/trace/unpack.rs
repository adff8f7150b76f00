//! Unpacks gzip, member by member, and loses nothing that can be had: what came out before a fault is given, and after it the next
//! member is looked for.

use std::io::{self, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Packed bytes that are read at a time.
const INPUT: usize = 64 << 10;
/// Packed bytes that are unpacked at a time: so few that all that comes out of them fits in at once. A fault loses what has no room.
const BITE: usize = 64;
/// The most that they can come to: deflate packs to 1/1032 at most.
const SWALLOWED: usize = BITE * 1032;
/// Unpacked bytes that are handed on together.
const PIECE: usize = 64 << 10;
/// Packed bytes before a fault among which the next member may begin: that one was cut off is noticed some blocks into the next.
const BACK: usize = 64 << 10;
/// Faults after which the next member is looked for. A file with more of them is none that a watch wrote.
const MOST_FAULTS: usize = 1000;
/// What every member begins with: the magic number, and deflate.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// What `input` unpacks to. After an error of the kind `InvalidData` reading goes on with the next member, if one is found.
pub(super) struct Unpack<R> {
    input: R,
    /// Packed bytes, from those that a fault may go back to.
    packed: Vec<u8>,
    /// How many of them are used up.
    used: usize,
    /// Where the member began, among them; 0 when they begin later.
    began: usize,
    unpacked: Vec<u8>,
    /// Unpacked bytes that are there, and how many of them were given.
    there: usize,
    given: usize,
    inflate: Decompress,
    crc: Crc,
    state: State,
    faults: usize,
}

enum State {
    /// Between two members.
    Between,
    /// Within one.
    Within,
    /// What came out is given before this is.
    Failed(io::Error),
    /// After a fault.
    Lost,
    Ended,
}

impl<R: Read> Unpack<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            packed: Vec::new(),
            used: 0,
            began: 0,
            unpacked: vec![0; PIECE + SWALLOWED],
            there: 0,
            given: 0,
            inflate: Decompress::new(false),
            crc: Crc::new(),
            state: State::Between,
            faults: 0,
        }
    }

    /// Packed bytes that are not used up; none at the end.
    fn packed(&mut self) -> io::Result<&[u8]> {
        if self.used == self.packed.len() {
            let gone = self.used.saturating_sub(BACK);
            self.packed.drain(..gone);
            (self.used, self.began) = (self.used - gone, self.began.saturating_sub(gone));
            let more = self.packed.len();
            self.packed.resize(more + INPUT, 0);
            let read = loop {
                match self.input.read(&mut self.packed[more..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read,
                }
            };
            self.packed.truncate(more + *read.as_ref().unwrap_or(&0));
            read?;
        }
        Ok(&self.packed[self.used..])
    }

    fn byte(&mut self) -> io::Result<u8> {
        let byte = *self.packed()?.first().ok_or(io::ErrorKind::UnexpectedEof)?;
        self.used += 1;
        Ok(byte)
    }

    /// Reads the header of a member; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        if self.packed()?.is_empty() {
            return Ok(false);
        }
        self.began = self.used;
        let mut header = [0; 10];
        for byte in &mut header {
            *byte = self.byte()?;
        }
        let [.., flags, _, _, _, _, _, _] = header;
        // Three bits are reserved.
        if !header.starts_with(&MAGIC) || flags & 0xe0 != 0 {
            return Err(invalid("invalid gzip header"));
        }
        let has = |bit: u8| flags & bit != 0;
        if has(4) {
            let length = u16::from_le_bytes([self.byte()?, self.byte()?]);
            for _ in 0..length {
                self.byte()?;
            }
        }
        // The name of the file, and a comment.
        for _ in [8, 16].into_iter().filter(|bit| has(*bit)) {
            while self.byte()? != 0 {}
        }
        if has(2) {
            self.byte()?;
            self.byte()?;
        }
        self.inflate.reset(false);
        self.crc.reset();
        Ok(true)
    }

    /// Unpacks a piece, and says whether that was the end of its member.
    fn inflate(&mut self) -> io::Result<bool> {
        while self.there < PIECE {
            let packed = self.packed()?;
            let bite = packed.len().min(BITE);
            if bite == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (was_in, was_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(
                &self.packed[self.used..self.used + bite],
                &mut self.unpacked[self.there..],
                FlushDecompress::None,
            );
            let taken = self.inflate.total_in() - was_in;
            let came = (self.inflate.total_out() - was_out) as usize;
            self.crc.update(&self.unpacked[self.there..self.there + came]);
            (self.used, self.there) = (self.used + taken as usize, self.there + came);
            match status {
                Ok(Status::StreamEnd) => return self.check().map(|()| true),
                Ok(_) if taken > 0 || came > 0 => {}
                _ => return Err(invalid("corrupt deflate stream")),
            }
        }
        Ok(false)
    }

    /// Reads what follows the packed bytes of a member: the checksum, and how long it is.
    fn check(&mut self) -> io::Result<()> {
        let mut trailer = [[0; 4]; 2];
        for byte in trailer.as_flattened_mut() {
            *byte = self.byte()?;
        }
        if trailer.map(u32::from_le_bytes) == [self.crc.sum(), self.crc.amount()] {
            Ok(())
        } else {
            Err(invalid("corrupt gzip stream does not have a matching checksum"))
        }
    }

    /// Looks for the next member, behind where this one began; false when there is none.
    fn find(&mut self) -> io::Result<bool> {
        self.faults += 1;
        if self.faults > MOST_FAULTS {
            return Ok(false);
        }
        self.used = (self.began + 1).max(self.used.saturating_sub(BACK)).min(self.packed.len());
        loop {
            let here = &self.packed[self.used..];
            if let Some(at) = here.windows(MAGIC.len()).position(|bytes| bytes == MAGIC) {
                self.used += at;
                return Ok(true);
            }
            // It may begin within what is there and go on in what is not.
            let rest = here.len().min(MAGIC.len() - 1);
            let tail = self.packed[self.packed.len() - rest..].to_vec();
            self.used = self.packed.len();
            if self.packed()?.is_empty() {
                return Ok(false);
            }
            self.used -= tail.len();
        }
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<R: Read> Read for Unpack<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.given < self.there {
                let n = (&self.unpacked[self.given..self.there]).read(buffer)?;
                self.given += n;
                return Ok(n);
            }
            (self.given, self.there) = (0, 0);
            let next = match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(0),
                State::Failed(error) => {
                    if error.kind() == io::ErrorKind::InvalidData {
                        self.state = State::Lost;
                    }
                    return Err(error);
                }
                State::Between => self.begin().map(|begun| match begun {
                    true => State::Within,
                    false => State::Ended,
                }),
                State::Within => self.inflate().map(|ended| match ended {
                    true => State::Between,
                    false => State::Within,
                }),
                State::Lost => self.find().map(|found| match found {
                    true => State::Between,
                    false => State::Ended,
                }),
            };
            self.state = next.unwrap_or_else(State::Failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;
    use std::io::Write;

    /// Lines, flushed now and then as a watch does.
    fn member(from: usize, to: usize) -> (Vec<u8>, Vec<u8>) {
        let builder = GzBuilder::new().filename("a").comment("b").extra(vec![1, 2, 3]);
        let mut gzip = builder.write(Vec::new(), Compression::new(1));
        let mut plain = Vec::new();
        for n in from..to {
            let line = format!("{{\"n\":{n},\"x\":{}}}\n", n.wrapping_mul(2_654_435_761) % 100_003);
            gzip.write_all(line.as_bytes()).unwrap();
            plain.extend_from_slice(line.as_bytes());
            if n % 10 == 9 {
                gzip.flush().unwrap();
            }
        }
        (gzip.finish().unwrap(), plain)
    }

    /// Everything that comes, and the errors on the way.
    fn all(packed: &[u8]) -> (Vec<u8>, Vec<io::ErrorKind>) {
        let mut unpack = Unpack::new(io::Cursor::new(packed.to_vec()));
        let (mut out, mut errors, mut buffer) = (Vec::new(), Vec::new(), [0; 1000]);
        loop {
            match unpack.read(&mut buffer) {
                Ok(0) => return (out, errors),
                Ok(n) => out.extend_from_slice(&buffer[..n]),
                Err(error) => errors.push(error.kind()),
            }
        }
    }

    #[test]
    fn members_come_one_after_the_other() {
        let ((one, first), (two, second)) = (member(0, 20_000), member(7, 30));
        assert_eq!(all(&[one, two].concat()), ([first, second].concat(), vec![]));
        assert_eq!(all(&[]), (vec![], vec![]));
    }

    #[test]
    fn after_one_that_was_cut_off_the_next_is_found() {
        let ((one, first), (two, second)) = (member(0, 500), member(1000, 1500));
        for cut in (20..one.len()).step_by(7) {
            let (out, errors) = all(&[&one[..cut], &two].concat());
            assert!(out.ends_with(&second), "{cut}");
            let whole = first.iter().zip(&out).take_while(|(a, b)| a == b).count();
            let (before, _) = all(&one[..cut]);
            assert!(whole >= before.len(), "{cut}: {whole} of {}", before.len());
            assert!(errors.iter().all(|kind| *kind == io::ErrorKind::InvalidData), "{errors:?}");
            assert!(!errors.is_empty());
        }
    }

    #[test]
    fn what_does_not_match_its_checksum_is_told() {
        let (mut one, first) = member(0, 50);
        let at = one.len() - 6;
        one[at] ^= 1;
        assert_eq!(all(&one), (first, vec![io::ErrorKind::InvalidData]));
    }

    #[test]
    fn a_file_of_nothing_but_beginnings_has_an_end() {
        let (_, errors) = all(&[31, 139, 8, 0, 0, 0, 0, 0, 0, 255].repeat(20_000));
        assert!(errors.len() <= MOST_FAULTS + 1, "{}", errors.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_panic_and_every_end_comes(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()
        ) {
            all(&bytes);
            let (mut packed, _) = member(0, 200);
            let at = at.index(packed.len());
            packed.splice(at..at, bytes);
            all(&packed);
        }
    }
}
