//! One cgroup of the chain: its held files and what they say.

use std::path::Path;

use super::locate::Version;
use crate::held::Held;
use crate::reading::{Absent, Reading};
use crate::sample::{CgroupEvents, CgroupMemory};
use crate::text::{Fields, number};

/// `memory.stat` is 2 to 4 KiB and the lines that matter are not its last.
const BUFFER: usize = 4096;

/// What v1 shows for "no limit" is `i64::MAX` rounded down to a page; nothing real comes near.
const NO_LIMIT: u64 = 1 << 62;

#[derive(Debug)]
pub(super) struct Group {
    version: Version,
    /// Levels above the target's own cgroup.
    pub(super) depth: u64,
    /// Ancestors exist that cannot be seen from here, and the limit of one of them may be tighter.
    pub(super) hides_ancestors: bool,
    usage: Reading<Held>,
    stat: Reading<Held>,
    limit: Reading<Held>,
    high: Reading<Held>,
    /// `memory.events`; on v1 `memory.oom_control`.
    events: Reading<Held>,
    /// v1 only: `memory.failcnt`.
    failures: Reading<Held>,
}

/// How much is charged to a cgroup, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) usage: u64,
    pub(super) inactive_file: Reading<u64>,
}

impl Load {
    pub(super) fn working_set(&self) -> u64 {
        let inactive_file = self.inactive_file;
        let memory =
            CgroupMemory { usage: Ok(self.usage), inactive_file, ..CgroupMemory::default() };
        memory.working_set().unwrap_or(self.usage)
    }
}

impl Group {
    /// Opens what is there. A cgroup without the memory controller, and the v2 root, have none of it.
    pub(super) fn open(version: Version, depth: usize, dir: &Path) -> Reading<Self> {
        let open = |name: &str| Held::open(dir.join(name));
        let own = |name: &str| if depth == 0 { open(name) } else { Err(Absent::NotRead) };
        let (usage, limit, high, events, failures) = match version {
            Version::V1 => (
                open("memory.usage_in_bytes"),
                open("memory.limit_in_bytes"),
                Err(Absent::Unsupported),
                own("memory.oom_control"),
                own("memory.failcnt"),
            ),
            Version::V2 => (
                open("memory.current"),
                open("memory.max"),
                open("memory.high"),
                own("memory.events"),
                Err(Absent::Unsupported),
            ),
        };
        if let (Err(why), Err(_)) = (&usage, &limit) {
            return Err(*why);
        }
        if version == Version::V1 && depth > 0 && !charges_children(dir) {
            return Err(Absent::Unsupported);
        }
        let stat = open("memory.stat");
        let depth = u64::try_from(depth).unwrap_or(u64::MAX);
        Ok(Self {
            version,
            depth,
            hides_ancestors: false,
            usage,
            stat,
            limit,
            high,
            events,
            failures,
        })
    }

    /// The hard limit in bytes, as it is now.
    pub(super) fn limit(&self, machine_total: Reading<u64>) -> Reading<u64> {
        let mut limit = limit(&self.limit);
        if self.hides_ancestors && self.version == Version::V1 {
            let hidden = count(&self.stat, b"hierarchical_memory_limit ");
            limit = match (limit, hidden) {
                (Ok(own), Ok(hidden)) => Ok(own.min(hidden)),
                (Err(Absent::Unlimited), Ok(hidden)) if hidden < NO_LIMIT => Ok(hidden),
                (own, _) => own,
            };
        }
        let limit = limit?;
        match machine_total {
            // Inside a container that fakes /proc/meminfo, `MemTotal` is the limit: equal still limits.
            Ok(total) if total > 0 && limit > total => Err(Absent::Unlimited),
            _ => Ok(limit),
        }
    }

    /// The throttling limit in bytes, as it is now.
    pub(super) fn high(&self) -> Reading<u64> {
        limit(&self.high)
    }

    /// What is charged, in bytes.
    pub(super) fn usage(&self) -> Reading<u64> {
        one_number(&self.usage)
    }

    pub(super) fn load(&self) -> Reading<Load> {
        let usage = self.usage()?;
        // v1 counts children in usage but only in the `total_` lines of the statistics.
        let key: &[u8] = match self.version {
            Version::V1 => b"total_inactive_file ",
            Version::V2 => b"inactive_file ",
        };
        Ok(Load { usage, inactive_file: count(&self.stat, key) })
    }

    pub(super) fn events(&self) -> CgroupEvents {
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

/// Whether a v1 cgroup counts what its children use. With `use_hierarchy` 0, possible before 5.11, its limit is its own.
fn charges_children(dir: &Path) -> bool {
    !std::fs::read(dir.join("memory.use_hierarchy")).is_ok_and(|text| text.trim_ascii() == b"0")
}

fn read<'b>(file: &Reading<Held>, buffer: &'b mut [u8]) -> Reading<&'b [u8]> {
    file.as_ref().map_err(|why| *why)?.read(buffer)
}

fn one_number(file: &Reading<Held>) -> Reading<u64> {
    number(read(file, &mut [0; 64])?)
}

fn count(file: &Reading<Held>, key: &[u8]) -> Reading<u64> {
    Fields::new(read(file, &mut [0; BUFFER])?).count(key)
}

fn limit(file: &Reading<Held>) -> Reading<u64> {
    let mut buffer = [0; 64];
    match read(file, &mut buffer)?.trim_ascii() {
        b"max" | b"-1" => Err(Absent::Unlimited),
        text => match number(text)? {
            NO_LIMIT.. => Err(Absent::Unlimited),
            bytes => Ok(bytes),
        },
    }
}
