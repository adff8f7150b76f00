//! The thread that reads what may hang.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::budget::Kind;
use super::{grown, scaled};
use crate::mappings::{Mappings, Reader};
use crate::processes::ProcessId;
use crate::procfs::Proc;
use crate::reading::{Absent, Reading};
use crate::text::Fields;

/// What one process has, all figures from the same read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) id: ProcessId,
    pub(super) pss: u64,
    pub(super) rss: u64,
    /// Of the RSS, what is no page of a file.
    pub(super) anon: Reading<u64>,
}

impl Part {
    pub(super) fn unread(id: ProcessId) -> Self {
        Self { id, pss: 0, rss: 0, anon: Err(Absent::NotRead) }
    }

    /// The PSS now, by the RSS and the anon that it has now.
    pub(super) fn now(&self, rss: u64, anon: Reading<u64>) -> u64 {
        let grown = grown(anon, self.anon, rss);
        scaled(self.pss, rss - grown, self.rss).saturating_add(grown)
    }
}

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
        let read = match &mut tally {
            _ if outcome.is_err() => return false,
            Some(reader) => reader.read(proc, part.id).map(|one| Part {
                id: part.id,
                pss: one.pss,
                rss: one.rss,
                anon: Ok(one.anon),
            }),
            None => read_rollup(proc, part.id),
        };
        match read {
            Ok(read) => *part = read,
            Err(Absent::Gone) => {}
            Err(why) => outcome = Err(why),
        }
        read.is_ok()
    });
    outcome
}

/// One process. Opened each time: a held one would stay with the old memory across an `exec`.
fn read_rollup(proc: &Proc, id: ProcessId) -> Reading<Part> {
    let file = proc.file(id.pid, "smaps_rollup")?;
    if proc.stat(id.pid)?.start != id.start {
        return Err(Absent::Gone);
    }
    let mut buffer = [0; 4096];
    let text = file.read(&mut buffer)?;
    if text.is_empty() {
        return Err(Absent::Gone);
    }
    let mut fields = Fields::new(text);
    let (rss, pss) = (fields.kb(b"Rss:")?, fields.kb(b"Pss:")?);
    Ok(Part { id, pss, rss, anon: fields.kb(b"Anonymous:") })
}
