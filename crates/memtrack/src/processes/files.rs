//! One process: its identity, its held files, what they said last.

use std::time::Instant;

use crate::held::Held;
use crate::processes::between::Between;
use crate::processes::{ProcessId, ProcessName};
use crate::procfs::{Proc, Stat, read_stat};
use crate::reading::{Absent, Reading};
use crate::sample::ProcessMemory;
use crate::text::Fields;

/// Holds `status` whole, with room for the lines that later kernels add.
pub(super) const STATUS_BUFFER: usize = 4096;
/// The pids of a process's children, some 500 of them; a scan finds the rest.
const CHILDREN_BUFFER: usize = 4096;

/// How much of a process is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// `statm` as long as it tells that little has changed, and `status` once a second. RSS and what it is made of, and with it
    /// the footprint, are as of now; the peak between two readings, threads and names may be up to
    /// [`ProcessMemory::age`] late. What is read once a second or less often is read as with [`Detail::Memory`].
    Sparing,
    /// `status` alone.
    Memory,
    /// Page faults too, from `stat`.
    Faults,
}

/// A process of the watched set.
///
/// A held descriptor stays bound to its process: once that has ended it answers ESRCH, and never with the figures of a
/// later process that was given the same pid. Without one, every read checks the start time.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: ProcessId,
    pub(crate) name: ProcessName,
    /// As read last: another one takes over when the parent ends.
    pub(crate) parent: Reading<u32>,
    pub(crate) memory: ProcessMemory,
    /// Where its stack begins: another one after an `exec`. 0 where the kernel does not say.
    pub(crate) stack: u64,
    /// What was read last looks like an `exec`.
    changed: bool,
    status: Option<Held>,
    between: Between,
    stat: Option<Held>,
    children: Option<Held>,
}

impl Member {
    /// The process `pid`, if `accept` says yes to what it is. With `hold`, its `status` is held from here on.
    pub(crate) fn open(
        proc: &Proc,
        pid: u32,
        hold: bool,
        accept: impl FnOnce(&Stat) -> bool,
    ) -> Reading<Self> {
        let status = proc.file(pid, "status")?;
        let stat_file = proc.file(pid, "stat")?;
        let stat = read_stat(&stat_file)?;
        if !accept(&stat) {
            return Err(Absent::Gone);
        }
        // Both were opened by pid. If that pid changed hands between the two, the first is by now bound to nobody.
        status.read(&mut [0; 64])?;
        let id = ProcessId { pid, start: stat.start };
        Ok(Self {
            id,
            name: stat.name,
            parent: Ok(stat.parent),
            memory: ProcessMemory::default(),
            stack: stat.stack,
            changed: false,
            status: hold.then_some(status),
            between: Between::default(),
            stat: None,
            children: None,
        })
    }

    /// Reads the process anew into `memory`; [`Absent::Gone`] when it has ended.
    ///
    /// `buffer` has room for `STATUS_BUFFER` bytes and is the same each time: clearing one would take as long as parsing.
    pub(crate) fn read(
        &mut self,
        proc: &Proc,
        now: Instant,
        detail: Detail,
        hold: bool,
        buffer: &mut [u8],
    ) -> Reading<()> {
        if detail == Detail::Sparing {
            if let Some(memory) = self.between.read(now, &self.memory) {
                self.memory = memory;
                return Ok(());
            }
            if hold {
                self.stat = None;
                self.between.open(proc, self.id.pid);
            }
        }
        let before = (self.name, self.memory.anon.unwrap_or(0));
        let read = match &self.status {
            Some(status) => status.read(buffer),
            None => self.read_unheld(proc, buffer),
        };
        match read {
            Ok(text) => {
                let mut fields = Fields::new(text);
                self.name = fields.text(b"Name:").map(ProcessName::new).unwrap_or_default();
                match parse_status(fields.clone()) {
                    Ok(read) => (self.parent, self.memory) = read,
                    Err(_) if fields.count(b"Threads:").is_ok_and(|threads| threads > 1) => {
                        self.read_other_thread(proc, buffer)?;
                    }
                    Err(ended) => return Err(ended),
                }
            }
            Err(Absent::Gone) => return Err(Absent::Gone),
            Err(why) => {
                // Whatever ails the descriptor, the next read starts from a fresh one.
                self.status = None;
                self.memory = ProcessMemory::absent(why);
                self.memory.processes = Ok(1);
            }
        }
        self.changed |= before.0 != self.name;
        self.changed |= self.memory.anon.is_ok_and(|anon| anon < before.1 / 2);
        self.between.status(now, self.memory.rss);
        if hold && self.status.is_none() {
            self.status =
                Self::open(proc, self.id.pid, true, |stat| stat.start == self.id.start)?.status;
        }
        if detail == Detail::Faults {
            self.between = Between::default();
            self.read_faults(proc, hold);
        }
        Ok(())
    }

    /// Asks where the stack begins where what was read last looks like an `exec`: another name, or little left of its memory.
    pub(crate) fn look_for_exec(&mut self, proc: &Proc) {
        if std::mem::take(&mut self.changed)
            && let Ok(stat) = proc.stat(self.id.pid)
            && stat.start == self.id.start
        {
            self.stack = stat.stack;
        }
    }

    fn read_unheld<'b>(&self, proc: &Proc, buffer: &'b mut [u8]) -> Reading<&'b [u8]> {
        let text = proc.file(self.id.pid, "status")?.read(buffer)?;
        // Still the same process after the read, so it was the same during it.
        if proc.stat(self.id.pid)?.start == self.id.start { Ok(text) } else { Err(Absent::Gone) }
    }

    /// The first thread has ended, and others have not: `status` of the process shows a zombie without memory, and that of
    /// any living thread what there is.
    fn read_other_thread(&mut self, proc: &Proc, buffer: &mut [u8]) -> Reading<()> {
        let pid = self.id.pid;
        let mut read = Err(Absent::Gone);
        let listed = proc.threads(pid, |thread| {
            if read.is_err() {
                let status = proc.file(pid, &format!("task/{thread}/status"));
                let text = status.and_then(|status| status.read(buffer));
                read = text.and_then(|text| parse_status(Fields::new(text)));
            }
        });
        // Still the same process after the read, so it was the same during it.
        if proc.stat(pid)?.start != self.id.start {
            return Err(Absent::Gone);
        }
        match listed.and(read) {
            Ok(read) => (self.parent, self.memory) = read,
            Err(Absent::Gone) => return Err(Absent::Gone),
            Err(why) => {
                self.memory = ProcessMemory { processes: Ok(1), ..ProcessMemory::absent(why) }
            }
        }
        Ok(())
    }

    fn read_faults(&mut self, proc: &Proc, hold: bool) {
        if self.stat.is_none() {
            match proc.file(self.id.pid, "stat") {
                Ok(file) => self.stat = Some(file),
                Err(why) => {
                    self.memory.minor_faults = Err(why);
                    self.memory.major_faults = Err(why);
                    return;
                }
            }
        }
        let stat = self.stat.as_ref().map_or(Err(Absent::NotRead), read_stat);
        let stat =
            stat.and_then(
                |stat| if stat.start == self.id.start { Ok(stat) } else { Err(Absent::Gone) },
            );
        self.memory.minor_faults = stat.map(|stat| stat.minor_faults);
        self.memory.major_faults = stat.map(|stat| stat.major_faults);
        if !hold || stat.is_err() {
            self.stat = None;
        }
    }

    /// Calls `visit` with the pid of each child that its first thread has, as far as they fit the buffer.
    ///
    /// The kernel may leave out siblings while one of them exits, so this is a quick look and no census.
    pub(crate) fn children(&mut self, proc: &Proc, hold: bool, mut visit: impl FnMut(u32)) {
        if self.children.is_none() {
            self.children = open_children(proc, self.id.pid).ok();
        }
        if let Some(file) = &self.children {
            read_children(file, &mut visit);
        }
        if !hold {
            self.children = None;
        }
    }

    /// Whether the process is still there, a zombie included.
    pub(crate) fn lives(&self, proc: &Proc) -> bool {
        match &self.status {
            Some(status) => status.read(&mut [0; 64]).is_ok(),
            None => proc.stat(self.id.pid).is_ok_and(|stat| stat.start == self.id.start),
        }
    }

    /// How many descriptors it holds.
    pub(crate) fn descriptors(&self) -> usize {
        let files = [&self.status, &self.stat, &self.children];
        files.into_iter().flatten().count() + usize::from(self.between.holds())
    }

    /// Gives up its descriptors; reading goes on without.
    pub(crate) fn release(&mut self) {
        (self.status, self.stat, self.children) = (None, None, None);
        self.between = Between::default();
    }
}

/// The list of the children of the first thread of `pid`.
pub(super) fn open_children(proc: &Proc, pid: u32) -> Reading<Held> {
    proc.file(pid, task_children(&mut [0; 32], pid))
}

/// Calls `visit` with each pid of such a list, as far as they fit the buffer.
pub(super) fn read_children(file: &Held, visit: impl FnMut(u32)) {
    let mut buffer = [0; CHILDREN_BUFFER];
    let Ok(text) = file.read_words(&mut buffer) else { return };
    let pids = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    pids.filter_map(|word| u32::try_from(crate::text::number(word).ok()?).ok()).for_each(visit);
}

fn task_children(buffer: &mut [u8; 32], pid: u32) -> &str {
    use std::io::Write;
    let length = buffer.len();
    let mut rest = buffer.as_mut_slice();
    let left = write!(rest, "task/{pid}/children").map(|()| rest.len()).unwrap_or(length);
    std::str::from_utf8(buffer.get(..length - left).unwrap_or_default()).unwrap_or_default()
}

/// `status`, in the order in which the kernel writes it, so that one pass finds all. [`Absent::Gone`] for a zombie, and for what
/// is about to be one: an exiting process has given up its memory and has no sizes, and is still "running". A kernel thread has
/// none either; its parent is kthreadd, which is 2, or none.
pub(crate) fn parse_status(mut fields: Fields<'_>) -> Reading<(Reading<u32>, ProcessMemory)> {
    if let Some(state) = fields.text(b"State:")
        && matches!(state.first(), Some(b'Z' | b'X'))
    {
        return Err(Absent::Gone);
    }
    let parent = fields.count(b"PPid:");
    let parent = parent.and_then(|pid| u32::try_from(pid).map_err(|_| Absent::Malformed));
    let memory = ProcessMemory {
        peak: fields.kb(b"VmHWM:"),
        rss: fields.kb(b"VmRSS:"),
        anon: fields.kb(b"RssAnon:"),
        file: fields.kb(b"RssFile:"),
        shmem: fields.kb(b"RssShmem:"),
        swap: fields.kb(b"VmSwap:"),
        threads: fields.count(b"Threads:"),
        processes: Ok(1),
        ..ProcessMemory::default()
    };
    if memory.rss == Err(Absent::Unsupported) && parent.is_ok_and(|pid| pid != 0 && pid != 2) {
        return Err(Absent::Gone);
    }
    Ok((parent, memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exiting_is_gone_and_a_kernel_thread_has_no_sizes() {
        let status = |parent: u32, sizes: &str| {
            let text =
                format!("Name:\tx\nState:\tR (running)\nPPid:\t{parent}\n{sizes}Threads:\t1\n");
            parse_status(Fields::new(text.as_bytes())).map(|(_, memory)| memory.rss)
        };
        assert_eq!(status(77, "VmRSS:\t8 kB\n"), Ok(Ok(8192)));
        assert_eq!(status(77, ""), Err(Absent::Gone));
        assert_eq!(status(2, ""), Ok(Err(Absent::Unsupported)));
        assert_eq!(status(0, ""), Ok(Err(Absent::Unsupported)));
    }
}
