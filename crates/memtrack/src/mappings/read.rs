//! `smaps` of live processes.

use std::path::Path;

use super::Mappings;
use super::smaps::Tally;
use crate::processes::ProcessId;
use crate::procfs::Proc;
use crate::pss::Measured;
use crate::reading::{Absent, Reading};

/// How much is read at once. A mapping takes some 700 bytes; a line is longer than that only in hostile text.
const PIECE: usize = 64 * 1024;

/// Reads the mappings of processes, summed, on the spot: `root` is `/`, or a fixture.
///
/// The caller waits and nothing limits what it costs: some 10 us for each MiB that is resident, 71 ms at 8 GiB, while
/// the kernel holds a lock of the process. To read again and again, ask a source:
/// [`LinuxSource::mappings`](crate::source::LinuxSource::mappings).
///
/// # Errors
/// [`Absent::Gone`] when none of them runs, [`Absent::Denied`] for a process of another user, [`Absent::Malformed`] for
/// text that is cut or in no known form.
pub fn read(root: &Path, ids: &[ProcessId]) -> Reading<Mappings> {
    let proc = Proc::open(root)?;
    let (mut reader, mut alive) = (Reader::new(), false);
    for id in ids {
        match reader.read(&proc, *id) {
            Ok(_) => alive = true,
            Err(Absent::Gone) => {}
            Err(why) => return Err(why),
        }
    }
    if alive { Ok(reader.finish()) } else { Err(Absent::Gone) }
}

/// Sums the mappings of processes up, one after the other.
pub(crate) struct Reader {
    sum: Tally,
    buffer: Vec<u8>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { sum: Tally::default(), buffer: vec![0; PIECE] }
    }

    /// Adds one process: all of it, or on failure nothing. Gives what it has in all.
    pub(crate) fn read(&mut self, proc: &Proc, id: ProcessId) -> Reading<Measured> {
        let one = read_process(proc, id, &mut self.buffer)?;
        let measured = one.measured();
        self.sum.merge(one);
        Ok(measured)
    }

    pub(crate) fn finish(self) -> Mappings {
        self.sum.finish()
    }
}

/// One process. Opened each time: a held file would stay with the old memory across an `exec`.
fn read_process(proc: &Proc, id: ProcessId, buffer: &mut [u8]) -> Reading<Tally> {
    let file = proc.file(id.pid, "smaps")?;
    if proc.stat(id.pid)?.start != id.start {
        return Err(Absent::Gone);
    }
    let mut tally = Tally::default();
    let (mut offset, mut filled) = (0u64, 0);
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            // A line that fills the whole buffer is none of the kernel's.
            return Err(Absent::Malformed);
        }
        let length = file.read_piece(room, offset)?;
        if length == 0 {
            break;
        }
        offset = offset.saturating_add(length as u64);
        filled += length;
        let text = buffer.get(..filled).unwrap_or_default();
        let lines = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let whole = text.get(..lines).unwrap_or_default();
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            tally.line(line.strip_suffix(b"\n").unwrap_or(line))?;
        }
        buffer.copy_within(lines..filled, 0);
        filled -= lines;
    }
    if filled > 0 {
        return Err(Absent::Malformed);
    }
    // When the process ends or execs, its old memory reads as empty from then on: what came before is a part only.
    if offset == 0 || file.read_piece(&mut [0; 64], 0)? == 0 {
        return Err(Absent::Gone);
    }
    tally.end()?;
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::faults::{Fault, arm, disarm};
    use crate::mappings::smaps::tests::mapping;

    const STAT: &str = "42 (x) S 1 42 42 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 3 0 777 1000 10\n";
    const ID: ProcessId = ProcessId { pid: 42, start: 777 };

    fn fixture(smaps: &[u8]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/42")).unwrap();
        std::fs::write(root.path().join("proc/42/stat"), STAT).unwrap();
        std::fs::write(root.path().join("proc/42/smaps"), smaps).unwrap();
        root
    }

    #[test]
    fn a_file_of_many_pieces_is_read_whole() {
        let one = |n: u64| {
            let start = (n + 1) << 13;
            mapping(&format!("{start:x}-{:x} rw-p 00000000 00:00 0 ", start + 4096), [4; 5])
        };
        let text: String = (0..1000).map(one).collect();
        assert!(text.len() > 4 * PIECE);
        let mappings = read(fixture(text.as_bytes()).path(), &[ID]).unwrap();
        assert_eq!((mappings.anonymous.mappings, mappings.anonymous.rss), (1000, 1000 << 12));
    }

    #[test]
    fn what_is_no_smaps_is_a_reason() {
        let line = [b'x'; 1 << 20];
        assert_eq!(read(fixture(&line).path(), &[ID]), Err(Absent::Malformed));
        assert_eq!(read(fixture(b"").path(), &[ID]), Err(Absent::Gone), "a kernel thread");
        assert_eq!(
            read(fixture(b"1000-2000 rw-p 0 0 0\nRss: 4 k").path(), &[ID]),
            Err(Absent::Malformed)
        );
        let later = ProcessId { start: 778, ..ID };
        let whole = mapping("1000-2000 rw-p 0 0 0", [4; 5]);
        assert_eq!(read(fixture(whole.as_bytes()).path(), &[later]), Err(Absent::Gone));
        assert_eq!(read(fixture(whole.as_bytes()).path(), &[later, ID]).unwrap().total().rss, 4096);
        assert_eq!(read(tempfile::tempdir().unwrap().path(), &[ID]), Err(Absent::Unsupported));
    }

    #[test]
    fn whichever_step_fails_there_is_a_reason() {
        let own = ProcessId::own().unwrap();
        for fault in
            [Fault::Error(5), Fault::Error(13), Fault::Error(2), Fault::Short(0), Fault::Short(100)]
        {
            let mut k = 0;
            loop {
                arm(k, fault);
                let mappings = read(Path::new("/"), &[own]);
                if disarm() {
                    assert!(mappings.is_ok());
                    break;
                }
                if let (Ok(mappings), Fault::Error(_)) = (&mappings, fault) {
                    panic!("{fault:?} {k}: {mappings:?}");
                }
                k += 1;
            }
            assert!(k >= 4, "{fault:?}: {k} steps were struck");
        }
    }
}
