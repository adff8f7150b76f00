//! The thread that reads what may hang.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::budget::Kind;
use crate::mappings::{Mappings, read_all};
use crate::processes::ProcessId;
use crate::procfs::Proc;
use crate::reading::{Absent, Reading};
use crate::text::Fields;

/// What to read, and of whom.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) ids: Vec<ProcessId>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    /// As in the request, whose memory is used again.
    pub(super) ids: Vec<ProcessId>,
    pub(super) found: Reading<Found>,
    pub(super) cost: Duration,
}

/// What the processes have together.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) pss: u64,
    pub(super) rss: u64,
    /// Those of them that still ran.
    pub(super) processes: u64,
    /// With [`Kind::Mappings`].
    pub(super) mappings: Option<Mappings>,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) requests: Sender<Request>,
    pub(super) answers: Receiver<Answer>,
}

impl Worker {
    /// The thread ends when its requests do. Nobody joins it: it may hang in the kernel with the target's lock.
    pub(super) fn start(root: &Path) -> io::Result<Self> {
        let proc = Proc::open(root).map_err(|why| io::Error::other(why.to_string()))?;
        let (requests, received) = bounded::<Request>(1);
        let (answer, answers) = bounded(1);
        let thread = thread::Builder::new().name("memtrack-pss".into()).stack_size(128 * 1024);
        thread.spawn(move || {
            for Request { kind, ids } in received {
                let before = processor_time();
                let found = match kind {
                    Kind::Sums => read_sums(&proc, &ids),
                    Kind::Mappings => read_mappings(&proc, &ids),
                };
                let cost = processor_time().saturating_sub(before);
                if answer.send(Answer { kind, ids, found, cost }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { requests, answers })
    }
}

/// Of this thread: what others took in between is not the cost of reading.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn read_sums(proc: &Proc, ids: &[ProcessId]) -> Reading<Found> {
    let mut found = Found::default();
    for id in ids {
        match read_rollup(proc, *id) {
            Ok((pss, rss)) => {
                found.pss = found.pss.saturating_add(pss);
                found.rss = found.rss.saturating_add(rss);
                found.processes += 1;
            }
            Err(Absent::Gone) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(found)
}

/// PSS and RSS of one process. Opened each time: a held one would stay with the old memory across an `exec`.
fn read_rollup(proc: &Proc, id: ProcessId) -> Reading<(u64, u64)> {
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
    let rss = fields.kb(b"Rss:")?;
    Ok((fields.kb(b"Pss:")?, rss))
}

/// The same sums come with the mappings.
fn read_mappings(proc: &Proc, ids: &[ProcessId]) -> Reading<Found> {
    let (mappings, processes) = read_all(proc, ids)?;
    let total = mappings.total();
    Ok(Found { pss: total.pss, rss: total.rss, processes, mappings: Some(mappings) })
}
