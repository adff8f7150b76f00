//! The thread that reads what may hang.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::budget::Kind;
use super::part::{Measured, Part, anon_share};
use crate::mappings::{Mappings, Reader};
use crate::processes::ProcessId;
use crate::procfs::Proc;
use crate::reading::{Absent, Reading};
use crate::text::Fields;

/// Requests that wait for the thread at most; those after them are made again on a later tick.
const REQUESTS: usize = 64;

/// What to read, of whom, and for whom.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) parts: Vec<Part>,
    pub(super) answer: Sender<Answer>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    /// Those of the request that still ran, filled in.
    pub(super) parts: Vec<Part>,
    pub(super) outcome: Reading<()>,
    /// With [`Kind::Mappings`], of all of them together.
    pub(super) mappings: Option<Mappings>,
    pub(super) cost: Duration,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) requests: Sender<Request>,
}

impl Worker {
    /// The thread ends when its requests do. Nobody joins it: it may hang in the kernel with the target's lock.
    pub(super) fn start(root: &Path) -> io::Result<Self> {
        let proc = Proc::open(root).map_err(|why| io::Error::other(why.to_string()))?;
        let (requests, received) = bounded::<Request>(REQUESTS);
        let thread = thread::Builder::new().name("memtrack-pss".into()).stack_size(128 * 1024);
        thread.spawn(move || {
            for Request { kind, mut parts, answer } in received {
                let before = processor_time();
                let mut tally = (kind == Kind::Mappings).then(Reader::new);
                let outcome = read_parts(&proc, &mut parts, tally.as_mut());
                let mappings = tally.map(Reader::finish);
                let cost = processor_time().saturating_sub(before);
                // Whoever asked has room for the one answer, or has gone.
                let _ = answer.try_send(Answer { kind, parts, outcome, mappings, cost });
            }
        })?;
        Ok(Self { requests })
    }
}

/// Of this thread: what others took in between is not the cost of reading.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Fills in `parts`, and leaves out those that have ended.
fn read_parts(proc: &Proc, parts: &mut Vec<Part>, mut tally: Option<&mut Reader>) -> Reading<()> {
    let mut outcome = Ok(());
    parts.retain_mut(|part| {
        let id = part.program.id;
        let read = match &mut tally {
            _ if outcome.is_err() => return false,
            Some(reader) => reader.read(proc, id),
            None => read_rollup(proc, id),
        };
        match read {
            Ok(read) => read.fill(part),
            Err(Absent::Gone) => {}
            Err(why) => outcome = Err(why),
        }
        read.is_ok()
    });
    outcome
}

/// One process. Opened each time: a held one would stay with the old memory across an `exec`.
fn read_rollup(proc: &Proc, id: ProcessId) -> Reading<Measured> {
    let file = proc.file(id.pid, "smaps_rollup")?;
    if proc.stat(id.pid)?.start != id.start {
        return Err(Absent::Gone);
    }
    let mut buffer = [0; 4096];
    let text = file.read(&mut buffer)?;
    if text.is_empty() {
        return Err(Absent::Gone);
    }
    parse_rollup(Fields::new(text))
}

/// In the order in which the kernel writes it. Every kernel that has the file has these, but for `Pss_Anon` (Linux 5.4).
fn parse_rollup(mut fields: Fields<'_>) -> Reading<Measured> {
    let (rss, pss) = (fields.kb(b"Rss:")?, fields.kb(b"Pss:")?);
    let pss_anon = fields.kb(b"Pss_Anon:");
    let (clean, dirty) = (fields.kb(b"Private_Clean:")?, fields.kb(b"Private_Dirty:")?);
    let unique = clean.saturating_add(dirty);
    let anon = fields.kb(b"Anonymous:")?;
    let swap = fields.kb(b"Swap:").unwrap_or(0);
    let pss_swap = fields.kb(b"SwapPss:").unwrap_or(swap);
    let pss_anon = pss_anon.unwrap_or_else(|_| anon_share(rss, pss, anon, dirty, unique));
    Ok(Measured { rss, pss, anon, pss_anon, swap, pss_swap, unique })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one of eleven that a parent with 60 MiB was forked into, as Linux 6.18 writes it.
    const ROLLUP: &str = "\
55ff00000000-7ffecffc9000 ---p 00000000 00:00 0                          [rollup]
Rss:               73728 kB
Pss:               12708 kB
Pss_Dirty:         10585 kB
Pss_Anon:          10585 kB
Pss_File:           2123 kB
Pss_Shmem:             0 kB
Shared_Clean:       7168 kB
Shared_Dirty:      61440 kB
Private_Clean:         0 kB
Private_Dirty:      5120 kB
Referenced:        73728 kB
Anonymous:         66560 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
Swap:               2048 kB
SwapPss:             512 kB
Locked:                0 kB
";

    fn kib(text: &str) -> Reading<Measured> {
        parse_rollup(Fields::new(text.as_bytes())).map(|read| Measured {
            rss: read.rss >> 10,
            pss: read.pss >> 10,
            anon: read.anon >> 10,
            pss_anon: read.pss_anon >> 10,
            swap: read.swap >> 10,
            pss_swap: read.pss_swap >> 10,
            unique: read.unique >> 10,
        })
    }

    #[test]
    fn all_parts_come_from_one_reading() {
        let read = kib(ROLLUP).unwrap();
        assert_eq!((read.rss, read.pss, read.anon, read.pss_anon), (73728, 12708, 66560, 10585));
        assert_eq!((read.swap, read.pss_swap, read.unique), (2048, 512, 5120));
        assert_eq!(kib("Rss: 4 kB\n"), Err(Absent::Unsupported));
        assert_eq!(kib(&ROLLUP.replace("5120 kB", "5120")), Err(Absent::Malformed));
    }

    #[test]
    fn before_linux_5_4_the_anonymous_part_is_told_by_the_shares_of_the_whole() {
        let without: String = ROLLUP
            .lines()
            .filter(|line| !line.starts_with("Pss_"))
            .map(|line| format!("{line}\n"))
            .collect();
        let read = kib(&without).unwrap();
        // 5,120 of its own, and of 61,440 shared the share that 7,588 are of all 68,608 that are shared.
        assert_eq!(read.pss_anon, 5120 + 61440 * 7588 / 68608);
        assert_eq!(read, Measured { pss_anon: read.pss_anon, ..kib(ROLLUP).unwrap() });
        let all = without.replace("66560 kB", "73728 kB");
        assert_eq!(kib(&all).unwrap().pss_anon, 12708, "there is nothing else");
    }
}
