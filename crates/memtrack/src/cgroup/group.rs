//! One cgroup of the chain: its held files and what they say.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::Round;
use super::file::{File, Place, Room};
use super::locate::Version;
use crate::reading::{Absent, Reading};
use crate::sample::{CgroupEvents, CgroupMemory};
use crate::text::{Fields, number};

/// `memory.stat` is 2 to 4 KiB and the lines that matter are not its last.
const BUFFER: usize = 4096;

/// The files of a cgroup at most.
const FILES: usize = 5;

/// What v1 shows for "no limit" is `i64::MAX` rounded down to a page; nothing real comes near.
const NO_LIMIT: u64 = 1 << 62;

#[derive(Debug)]
pub(super) struct Group {
    version: Version,
    usage: Reading<File>,
    stat: Reading<File>,
    limit: Reading<File>,
    high: Reading<File>,
    /// `memory.events`; on v1 `memory.oom_control`.
    events: Reading<File>,
    /// v1 only: `memory.failcnt`.
    failures: Reading<File>,
    memo: Mutex<Memo>,
    /// For as long as the files are held.
    _place: Option<Place>,
}

/// What was read in a round, for the others who ask in it.
#[derive(Debug, Default)]
struct Memo {
    round: u64,
    limit: Option<Reading<u64>>,
    hidden_limit: Option<Reading<u64>>,
    high: Option<Reading<u64>>,
    usage: Option<Reading<u64>>,
    inactive_file: Option<Reading<u64>>,
    events: Option<CgroupEvents>,
}

/// How much is charged to a cgroup, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) usage: u64,
    pub(super) inactive_file: Reading<u64>,
}

impl Load {
    pub(super) fn working_set(&self) -> Reading<u64> {
        let inactive_file = self.inactive_file;
        let memory =
            CgroupMemory { usage: Ok(self.usage), inactive_file, ..CgroupMemory::default() };
        memory.working_set()
    }
}

impl Group {
    /// Opens what is there. A cgroup without the memory controller, and the v2 root, have none of it. Of an ancestor, one
    /// that is not the target's `own`, the counters are not wanted.
    pub(super) fn open(version: Version, own: bool, dir: &Path, room: &Room) -> Reading<Self> {
        let place = room.take(FILES);
        let open = |name: &str| File::open(dir.join(name), place.is_some());
        let of_own = |name: &str| if own { open(name) } else { Err(Absent::NotRead) };
        let (usage, limit, high, events, failures) = match version {
            Version::V1 => (
                open("memory.usage_in_bytes"),
                if is_root(dir) { Err(Absent::Unsupported) } else { open("memory.limit_in_bytes") },
                Err(Absent::Unsupported),
                of_own("memory.oom_control"),
                of_own("memory.failcnt"),
            ),
            Version::V2 => (
                open("memory.current"),
                open("memory.max"),
                open("memory.high"),
                of_own("memory.events"),
                Err(Absent::Unsupported),
            ),
        };
        if let (Err(why), Err(_)) = (&usage, &limit) {
            return Err(*why);
        }
        if version == Version::V1 && !own && !charges_children(dir) {
            return Err(Absent::Unsupported);
        }
        let stat = open("memory.stat");
        let memo = Mutex::default();
        Ok(Self { version, usage, stat, limit, high, events, failures, memo, _place: place })
    }

    /// Reads, unless somebody did in the same round.
    fn once<T: Copy>(
        &self,
        round: Round,
        slot: fn(&mut Memo) -> &mut Option<T>,
        read: impl FnOnce() -> T,
    ) -> T {
        let Round::Shared(round) = round else { return read() };
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        if memo.round != round {
            *memo = Memo { round, ..Memo::default() };
        }
        *slot(&mut memo).get_or_insert_with(read)
    }

    /// The hard limit in bytes, as it is now.
    pub(super) fn limit(&self, round: Round) -> Reading<u64> {
        self.once(round, |memo| &mut memo.limit, || limit(&self.limit))
    }

    /// The same, or a tighter one of an ancestor that cannot be seen from here: v1 says it, v2 does not.
    pub(super) fn limit_with_hidden(&self, round: Round) -> Reading<u64> {
        let limit = self.limit(round);
        if self.version == Version::V2 {
            return limit;
        }
        let read = || count(&self.stat, b"hierarchical_memory_limit ");
        match (limit, self.once(round, |memo| &mut memo.hidden_limit, read)) {
            (Ok(own), Ok(hidden)) => Ok(own.min(hidden)),
            (Err(Absent::Unlimited), Ok(hidden)) if hidden < NO_LIMIT => Ok(hidden),
            (own, _) => own,
        }
    }

    /// The throttling limit in bytes, as it is now.
    pub(super) fn high(&self, round: Round) -> Reading<u64> {
        self.once(round, |memo| &mut memo.high, || limit(&self.high))
    }

    /// What is charged, in bytes.
    pub(super) fn usage(&self, round: Round) -> Reading<u64> {
        self.once(round, |memo| &mut memo.usage, || one_number(&self.usage))
    }

    pub(super) fn load(&self, round: Round) -> Reading<Load> {
        let usage = self.usage(round)?;
        // v1 counts children in usage but only in the `total_` lines of the statistics.
        let key: &[u8] = match self.version {
            Version::V1 => b"total_inactive_file ",
            Version::V2 => b"inactive_file ",
        };
        let inactive_file =
            self.once(round, |memo| &mut memo.inactive_file, || count(&self.stat, key));
        Ok(Load { usage, inactive_file })
    }

    pub(super) fn events(&self, round: Round) -> CgroupEvents {
        self.once(round, |memo| &mut memo.events, || self.read_events())
    }

    fn read_events(&self) -> CgroupEvents {
        match self.version {
            Version::V1 => CgroupEvents {
                max: one_number(&self.failures),
                high: Err(Absent::Unsupported),
                oom: Err(Absent::Unsupported),
                oom_kill: count(&self.events, b"oom_kill "),
            },
            Version::V2 => {
                let mut buffer = [0; BUFFER];
                let text = match read(&self.events, &mut buffer) {
                    Ok(text) => text,
                    Err(why) => return CgroupEvents::absent(why),
                };
                let mut fields = Fields::new(text);
                CgroupEvents {
                    high: fields.count(b"high "),
                    max: fields.count(b"max "),
                    oom: fields.count(b"oom "),
                    oom_kill: fields.count(b"oom_kill "),
                }
            }
        }
    }
}

/// Whether this is the root of a v1 hierarchy, on which the kernel takes no limit (`mem_cgroup_write`): there is nothing
/// to read on each tick. Only the root has this file (`CFTYPE_ONLY_ON_ROOT`), be the mount point what it may; on v2 the
/// root has no limit to read.
fn is_root(dir: &Path) -> bool {
    dir.join("release_agent").exists()
}

/// Whether a v1 cgroup counts what its children use. With `use_hierarchy` 0, possible before 5.11, its limit is its own.
fn charges_children(dir: &Path) -> bool {
    !std::fs::read(dir.join("memory.use_hierarchy")).is_ok_and(|text| text.trim_ascii() == b"0")
}

fn read<'b>(file: &Reading<File>, buffer: &'b mut [u8]) -> Reading<&'b [u8]> {
    file.as_ref().map_err(|why| *why)?.read(buffer)
}

fn one_number(file: &Reading<File>) -> Reading<u64> {
    number(read(file, &mut [0; 64])?)
}

fn count(file: &Reading<File>, key: &[u8]) -> Reading<u64> {
    Fields::new(read(file, &mut [0; BUFFER])?).count(key)
}

fn limit(file: &Reading<File>) -> Reading<u64> {
    let mut buffer = [0; 64];
    match read(file, &mut buffer)?.trim_ascii() {
        b"max" | b"-1" => Err(Absent::Unlimited),
        text => match number(text)? {
            NO_LIMIT.. => Err(Absent::Unlimited),
            bytes => Ok(bytes),
        },
    }
}
