//! The process file system, reached through one held directory.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};

use crate::held::Held;
use crate::processes::ProcessName;
use crate::reading::{Absent, Reading};
use crate::text::{decimal, number};

/// `stat` is one line of some 350 bytes; the command name in it is at most 64.
const STAT_BUFFER: usize = 1024;

/// `proc` under a root, held open.
#[derive(Debug)]
pub(crate) struct Proc {
    dir: OwnedFd,
}

/// What `/proc/PID/stat` says that nothing cheaper does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) name: ProcessName,
    /// Clock ticks since boot.
    pub(crate) start: u64,
    pub(crate) minor_faults: u64,
    pub(crate) major_faults: u64,
    /// It was asked for by the number of a thread that is not the process's first: only that one has a signal to send to the
    /// parent at its end.
    pub(crate) is_thread: bool,
    /// Where the stack begins; 0 where this process may not know.
    pub(crate) stack: u64,
}

impl Proc {
    pub(crate) fn open(root: &Path) -> Reading<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, root.join("proc"), flags, Mode::empty()).map_err(absent)?;
        Ok(Self { dir })
    }

    /// Opens a file of process `pid`; [`Absent::Gone`] when there is no such process.
    pub(crate) fn file(&self, pid: u32, name: &str) -> Reading<Held> {
        let mut path = [0; 64];
        let length = path.len();
        let mut rest = path.as_mut_slice();
        // A pid has at most ten digits and the names are ours; what did not fit would not exist.
        let written = write!(rest, "{pid}/{name}").map(|()| rest.len());
        let path = path.get(..length - written.unwrap_or(length)).unwrap_or_default();
        self.open_file(path).map_err(|why| match why {
            // The files of a live process are always there, unless the kernel was built without them.
            Absent::Unsupported if !self.exists(pid) => Absent::Gone,
            why => why,
        })
    }

    /// Opens a file that belongs to no process.
    pub(crate) fn machine_file(&self, name: &str) -> Reading<Held> {
        self.open_file(name.as_bytes())
    }

    fn open_file(&self, path: &[u8]) -> Reading<Held> {
        #[cfg(test)]
        crate::held::faults::on_open()?;
        let file = openat(&self.dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        Ok(Held::from(file.map_err(absent)?))
    }

    fn exists(&self, pid: u32) -> bool {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let mut path = [0; 16];
        let length = path.len();
        let mut rest = path.as_mut_slice();
        let written = write!(rest, "{pid}").map(|()| rest.len()).unwrap_or(length);
        openat(&self.dir, path.get(..length - written).unwrap_or_default(), flags, Mode::empty())
            .is_ok()
    }

    /// `stat` of a process, read once. Every process has one: where it is not to be found, `/proc` hides it (`hidepid`).
    pub(crate) fn stat(&self, pid: u32) -> Reading<Stat> {
        let file = self.file(pid, "stat").map_err(|why| match why {
            Absent::Unsupported => Absent::Denied,
            why => why,
        });
        read_stat(&file?)
    }

    /// The process that `/proc/self` names.
    pub(crate) fn own_stat(&self) -> Reading<Stat> {
        read_stat(&self.machine_file("self/stat")?)
    }

    /// Calls `visit` with the pid of every process, in rising order and without leaving out one that lives throughout:
    /// the kernel lists by pid, not by position.
    pub(crate) fn pids(&self, visit: impl FnMut(u32)) -> Reading<()> {
        self.numbers(".", visit)
    }

    /// Calls `visit` with the number of every thread of process `pid`.
    pub(crate) fn threads(&self, pid: u32, visit: impl FnMut(u32)) -> Reading<()> {
        self.numbers(&format!("{pid}/task"), visit)
    }

    fn numbers(&self, directory: &str, mut visit: impl FnMut(u32)) -> Reading<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // A descriptor of its own, since the position in the directory belongs to the descriptor.
        let dir = openat(&self.dir, directory, flags, Mode::empty()).map_err(absent)?;
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(dir, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(absent)?;
            if let Some((pid, [])) = decimal(entry.file_name().to_bytes())
                && let Ok(pid) = u32::try_from(pid)
            {
                visit(pid);
            }
        }
        Ok(())
    }
}

pub(crate) fn read_stat(file: &Held) -> Reading<Stat> {
    let mut buffer = [0; STAT_BUFFER];
    parse_stat(file.read(&mut buffer)?)
}

/// Fields as numbered in proc(5): 1 pid, 4 ppid, 10 minflt, 12 majflt, 22 starttime, 28 startstack, 38 exit_signal.
fn parse_stat(text: &[u8]) -> Reading<Stat> {
    let (pid, _) = decimal(text).ok_or(Absent::Malformed)?;
    // The command name in brackets may itself hold brackets and blanks: fields count from the last bracket.
    let name_end = text.iter().rposition(|byte| *byte == b')').ok_or(Absent::Malformed)?;
    let fields = text.get(name_end + 1..).unwrap_or_default();
    let mut words = fields.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    // One pass: each field is asked for after the one before it.
    let mut next = 3;
    let mut word = |number: usize| {
        let skipped = number - next;
        next = number + 1;
        words.nth(skipped)
    };
    let mut field = |field: usize| word(field).map_or(Err(Absent::Malformed), number);
    let narrow = |value: u64| u32::try_from(value).map_err(|_| Absent::Malformed);
    let name = text.get(..name_end).unwrap_or_default().splitn(2, |byte| *byte == b'(').nth(1);
    Ok(Stat {
        pid: narrow(pid)?,
        name: ProcessName::new(name.unwrap_or_default()),
        parent: narrow(field(4)?)?,
        minor_faults: field(10)?,
        major_faults: field(12)?,
        start: field(22)?,
        stack: field(28).unwrap_or(0),
        is_thread: word(38) == Some(b"-1"),
    })
}

fn absent(errno: rustix::io::Errno) -> Absent {
    Absent::from(&std::io::Error::from(errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stat_is_read_whatever_the_process_is_called() {
        let line =
            b"42 (a (b) c) 1) S 7 42 42 0 -1 4194304 100 5 3 6 1 2 0 0 20 0 3 0 777 1000 10\n";
        let stat = Stat {
            pid: 42,
            parent: 7,
            start: 777,
            minor_faults: 100,
            major_faults: 3,
            is_thread: false,
            name: ProcessName::new(b"a (b) c) 1"),
            stack: 0,
        };
        assert_eq!(parse_stat(line), Ok(stat));
        let whole =
            b"42 (a (b) c) 1) S 7 42 42 0 -1 4194304 100 5 3 6 1 2 0 0 20 0 3 0 777 1000 10 \
            18446744073709551615 1 2 140721111111136 0 0 0 0 0 0 0 0 0 17 1\n";
        assert_eq!(parse_stat(whole), Ok(Stat { stack: 140_721_111_111_136, ..stat }));
        assert_eq!(parse_stat(b"42 (cut) S 7 42\n"), Err(Absent::Malformed));
        assert_eq!(parse_stat(b""), Err(Absent::Malformed));
    }

    #[test]
    fn own_process_is_among_the_listed() {
        let proc = Proc::open(Path::new("/")).unwrap();
        let own = proc.own_stat().unwrap();
        let mut seen = Vec::new();
        proc.pids(|pid| seen.push(pid)).unwrap();
        assert!(seen.contains(&own.pid));
        assert!(seen.is_sorted());
        assert_eq!(proc.stat(own.pid).unwrap().start, own.start);
        assert_eq!(proc.file(u32::MAX, "stat").unwrap_err(), Absent::Gone);
        assert_eq!(proc.file(own.pid, "no_such_file").unwrap_err(), Absent::Unsupported);
    }

    #[test]
    fn a_process_that_is_there_and_shows_nothing_is_hidden_and_not_gone() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/42")).unwrap();
        let proc = Proc::open(root.path()).unwrap();
        assert_eq!(proc.stat(42), Err(Absent::Denied));
        assert_eq!(proc.stat(43), Err(Absent::Gone));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text: Vec<u8>, line in "[0-9]{0,5} [()a-z ]{0,9}[0-9 -]{0,90}") {
            let _ = (parse_stat(&text), parse_stat(line.as_bytes()));
        }
    }
}
