//! The memory cgroup of a target and all its ancestors, on v1, v2 and hybrid systems.

mod chain;
mod file;
mod group;
mod locate;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::reading::{Absent, Reading};
use crate::sample::CgroupMemory;
use chain::{Chain, Link};
pub(crate) use chain::{Groups, Round};
use file::File;
use group::Load;
use locate::Version;

/// `/proc/PID/cgroup` has one line for each hierarchy, at most some 300 bytes long in practice.
pub(crate) const MEMBERSHIP_BUFFER: usize = 8192;

/// The memory cgroups that a target is charged to, from its own up to the highest that is visible, files held open.
///
/// Opening finds the place; reading follows whatever changes there, limits included. When the process was moved or the
/// cgroup was made anew, [`Hierarchy::refresh`] finds the new place.
#[derive(Debug)]
pub struct Hierarchy {
    root: PathBuf,
    target: Target,
    chain: Arc<Chain>,
}

#[derive(Debug)]
enum Target {
    Process { pid: String, membership: File },
    Path(PathBuf),
}

impl Hierarchy {
    /// Finds the cgroups of process `pid`, a number or `self`, under `root`: `/`, or a fixture.
    ///
    /// # Errors
    /// [`Absent::Unsupported`] when no memory controller is visible, [`Absent::Gone`] when the process or its cgroup
    /// has ended, [`Absent::Denied`] when the kernel refuses.
    pub fn open(root: &Path, pid: &str) -> Reading<Self> {
        Self::of_process(&mut Groups::of_one(root), pid, true)
    }

    /// The cgroup `path`, such as `/system.slice/db.service`, as `/proc/PID/cgroup` would name it.
    ///
    /// A slash at the end, or none at the start, makes no difference.
    ///
    /// # Errors
    /// As [`Hierarchy::open`]; [`Absent::Gone`] when there is no such cgroup.
    pub fn at(root: &Path, path: impl AsRef<Path>) -> Reading<Self> {
        Self::of_path(&mut Groups::of_one(root), path.as_ref())
    }

    /// As [`Hierarchy::open`], among others. With `hold`, the file that names the cgroup is held open.
    pub(crate) fn of_process(groups: &mut Groups, pid: &str, hold: bool) -> Reading<Self> {
        let root = groups.root().to_owned();
        let process = root.join("proc").join(pid);
        // What asks has not ended: a `/proc` that does not show it is none, or another's.
        let may_be_gone = pid != "self" && root.join("proc").is_dir() && !process.is_dir();
        let membership = File::open(process.join("cgroup"), hold).map_err(|why| match why {
            Absent::Unsupported if may_be_gone => Absent::Gone,
            why => why,
        })?;
        let mut buffer = [0; MEMBERSHIP_BUFFER];
        let (version, name) = memory_path(&membership, &mut buffer)?;
        let chain = groups.chain(version, name)?;
        let target = Target::Process { pid: pid.to_owned(), membership };
        Ok(Self { root, target, chain })
    }

    /// As [`Hierarchy::at`], among others.
    pub(crate) fn of_path(groups: &mut Groups, path: &Path) -> Reading<Self> {
        let mut name = PathBuf::from("/");
        name.extend(path.components().filter(|part| !matches!(part, Component::RootDir)));
        let name = name.into_os_string().into_vec();
        let chain = match groups.chain(Version::V1, &name) {
            Err(Absent::Unsupported) => groups.chain(Version::V2, &name)?,
            found => found?,
        };
        let target = Target::Path(PathBuf::from(OsString::from_vec(name)));
        Ok(Self { root: groups.root().to_owned(), target, chain })
    }

    /// All figures now. `machine_total` is `MemTotal` in bytes: a limit above it limits nothing.
    #[must_use]
    pub fn read(&self, machine_total: Reading<u64>) -> CgroupMemory {
        self.read_in(Round::Alone, machine_total)
    }

    /// As [`Hierarchy::read`], together with others.
    pub(crate) fn read_in(&self, round: Round, machine_total: Reading<u64>) -> CgroupMemory {
        let mut binding: Option<(f64, &Link, u64, Load)> = None;
        let mut headroom = Err(Absent::Unlimited);
        let mut unread = None;
        for link in &self.chain.links {
            let load = match link.limit(round, machine_total) {
                Ok(limit) => link.group.load(round).map(|load| (limit, load)),
                Err(Absent::Unlimited | Absent::Unsupported) => continue,
                Err(why) => Err(why),
            };
            let load = load.and_then(|(limit, load)| Ok((limit, load, load.working_set()?)));
            match load {
                Ok((limit, load, used)) => {
                    if machine_total.is_ok_and(|total| total > 0 && load.usage > total) {
                        // Garbage. Shown as it is, for whoever counts such readings, but no headroom of 0 comes of it.
                        unread = Some(Absent::Implausible);
                    }
                    let left = limit.saturating_sub(used);
                    headroom = Ok(headroom.map_or(left, |least: u64| least.min(left)));
                    let ratio = ratio(used, limit);
                    // The nearest of equals: an ancestor without other children says nothing new.
                    if binding.as_ref().is_none_or(|(highest, ..)| ratio > *highest) {
                        binding = Some((ratio, link, limit, load));
                    }
                }
                Err(why) => unread = Some(why),
            }
        }
        let (link, limit, load) = match binding {
            Some((_, link, limit, load)) => (link, Ok(limit), Ok(load)),
            None => {
                let link = self.most_throttled(round);
                (link, Err(Absent::Unlimited), link.group.load(round))
            }
        };
        // A minimum over some of them could be too large by any amount, and the one that was not read might be the one that
        // binds.
        let own = match self.target {
            Target::Process { .. } => Err(Absent::NotRead),
            // Read already.
            Target::Path(_) if link.depth == 0 => load.and_then(|load| load.working_set()),
            Target::Path(_) => self.chain.own().load(round).and_then(|load| load.working_set()),
        };
        let (limit, headroom) = unread.map_or((limit, headroom), |why| (Err(why), Err(why)));
        CgroupMemory {
            usage: load.map(|load| load.usage),
            inactive_file: load.and_then(|load| load.inactive_file),
            limit,
            high: link.group.high(round),
            headroom,
            own,
            depth: Ok(link.depth),
            events: self.chain.own().events(round),
        }
    }

    /// Whether neither the target's own cgroup nor any above it has a limit now, hard or throttling.
    #[must_use]
    pub fn is_unlimited(&self, machine_total: Reading<u64>) -> bool {
        self.is_unlimited_in(Round::Alone, machine_total)
    }

    /// As [`Hierarchy::is_unlimited`], together with others.
    pub(crate) fn is_unlimited_in(&self, round: Round, machine_total: Reading<u64>) -> bool {
        let none =
            |limit: Reading<u64>| matches!(limit, Err(Absent::Unlimited | Absent::Unsupported));
        let mut links = self.chain.links.iter();
        links.all(|link| none(link.limit(round, machine_total)) && none(link.group.high(round)))
    }

    /// Without a hard limit: the group that runs nearest to its throttling limit, else the target's own.
    fn most_throttled(&self, round: Round) -> &Link {
        // A chain has at least its first link.
        let mut nearest = (f64::NEG_INFINITY, &self.chain.links[0]);
        for link in &self.chain.links {
            let Ok(high) = link.group.high(round) else { continue };
            let Ok(load) = link.group.load(round) else { continue };
            let Ok(used) = load.working_set() else { continue };
            let ratio = ratio(used, high);
            if ratio > nearest.0 {
                nearest = (ratio, link);
            }
        }
        nearest.1
    }

    /// The name of the cgroup `depth` levels above the target's own, as `/proc/PID/cgroup` writes it.
    #[must_use]
    pub fn path(&self, depth: u64) -> Option<&str> {
        let depth = usize::try_from(depth).ok()?;
        if depth > self.chain.place.levels() {
            return None;
        }
        let mut path = self.chain.place.path.as_str();
        for _ in 0..depth {
            path = path.rsplit_once('/')?.0;
        }
        Some(if path.is_empty() { "/" } else { path })
    }

    /// Whether the process is in another cgroup than the one being read. A cgroup target never moves.
    ///
    /// # Errors
    /// [`Absent::Gone`] when the process has ended.
    pub fn moved(&self) -> Reading<bool> {
        let Target::Process { membership, .. } = &self.target else { return Ok(false) };
        let mut buffer = [0; MEMBERSHIP_BUFFER];
        let (version, name) = memory_path(membership, &mut buffer)?;
        let place = &self.chain.place;
        Ok(version != place.version || name != place.name.as_slice())
    }

    /// Looks again when the process was moved, or when its cgroup was removed and made anew; true when it did.
    ///
    /// # Errors
    /// As [`Hierarchy::open`]; the hierarchy is then as it was.
    pub fn refresh(&mut self) -> Reading<bool> {
        self.refresh_in(Round::Alone, &mut Groups::of_one(&self.root), || true)
    }

    /// As [`Hierarchy::refresh`], among others. `is_same` says whether the pid is still that of the target: asked when
    /// something has changed, for without a held file it may by then be somebody else's.
    pub(crate) fn refresh_in(
        &mut self,
        round: Round,
        groups: &mut Groups,
        is_same: impl FnOnce() -> bool,
    ) -> Reading<bool> {
        if !self.chain.is_gone(round) && !self.moved()? {
            return Ok(false);
        }
        *self = match &self.target {
            Target::Process { pid, membership } => {
                let found = Self::of_process(groups, pid, membership.is_held())?;
                if !is_same() {
                    return Err(Absent::Gone);
                }
                found
            }
            Target::Path(path) => Self::of_path(groups, path)?,
        };
        Ok(true)
    }

    /// The target's own cgroup as `/proc/PID/cgroup` names it, byte for byte.
    pub(crate) fn name(&self) -> &[u8] {
        &self.chain.place.name
    }

    /// The directory of the target's own cgroup, as this process reaches it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.chain.place.directory
    }
}

/// The path of the memory cgroup in the text of `/proc/PID/cgroup`.
pub(crate) fn memory_cgroup(membership: &[u8]) -> Option<&[u8]> {
    locate::membership(membership).map(|(_, path)| path)
}

fn memory_path<'b>(membership: &File, buffer: &'b mut [u8]) -> Reading<(Version, &'b [u8])> {
    locate::membership(membership.read(buffer)?).ok_or(Absent::Malformed)
}

/// `used / limit`; a limit of 0 is legal and exceeds every other.
fn ratio(used: u64, limit: u64) -> f64 {
    if limit == 0 { f64::INFINITY } else { used as f64 / limit as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The own cgroup of this process, wherever the tests run: whatever is found can be read.
    #[test]
    fn the_live_machine_can_be_read() {
        match Hierarchy::open(Path::new("/"), "self") {
            Ok(mut hierarchy) => {
                let memory = hierarchy.read(Err(Absent::NotRead));
                assert!(memory.usage.is_ok_and(|usage| usage > 0), "{memory:?}");
                assert_eq!(hierarchy.moved(), Ok(false));
                assert_eq!(hierarchy.refresh(), Ok(false));
                assert!(hierarchy.path(0).is_some_and(|path| path.starts_with('/')));
            }
            Err(why) => assert_eq!(why, Absent::Unsupported),
        }
    }
}
