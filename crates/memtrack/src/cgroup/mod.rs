//! The memory cgroup of a target and all its ancestors, on v1, v2 and hybrid systems.

mod group;
mod locate;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use crate::held::Held;
use crate::reading::{Absent, Reading};
use crate::sample::CgroupMemory;
use group::{Group, Load};
use locate::{Place, Version};

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
    place: Place,
    groups: Vec<Group>,
}

#[derive(Debug)]
enum Target {
    Process { pid: String, membership: Held },
    Path(PathBuf),
}

impl Hierarchy {
    /// Finds the cgroups of process `pid`, a number or `self`, under `root`: `/`, or a fixture.
    ///
    /// # Errors
    /// [`Absent::Unsupported`] when no memory controller is visible, [`Absent::Gone`] when the process or its cgroup
    /// has ended, [`Absent::Denied`] when the kernel refuses.
    pub fn open(root: &Path, pid: &str) -> Reading<Self> {
        let process = root.join("proc").join(pid);
        let membership = Held::open(process.join("cgroup")).map_err(|why| match why {
            Absent::Unsupported if root.join("proc").is_dir() && !process.is_dir() => Absent::Gone,
            why => why,
        })?;
        let mut buffer = [0; MEMBERSHIP_BUFFER];
        let (version, path) = memory_path(&membership, &mut buffer)?;
        let place = locate::place(root, version, path)?;
        Self::at_place(root, Target::Process { pid: pid.to_owned(), membership }, place)
    }

    /// The cgroup `path`, such as `/system.slice/db.service`, as `/proc/PID/cgroup` would name it.
    ///
    /// A slash at the end, or none at the start, makes no difference.
    ///
    /// # Errors
    /// As [`Hierarchy::open`]; [`Absent::Gone`] when there is no such cgroup.
    pub fn at(root: &Path, path: impl AsRef<Path>) -> Reading<Self> {
        let mut name = PathBuf::from("/");
        name.extend(path.as_ref().components().filter(|part| !matches!(part, Component::RootDir)));
        let name = name.into_os_string().into_vec();
        let place = match locate::place(root, Version::V1, &name) {
            Err(Absent::Unsupported) => locate::place(root, Version::V2, &name)?,
            found => found?,
        };
        Self::at_place(root, Target::Path(PathBuf::from(OsString::from_vec(name))), place)
    }

    fn at_place(root: &Path, target: Target, place: Place) -> Reading<Self> {
        let mut groups = Vec::new();
        let mut last = Absent::Unsupported;
        for (depth, dir) in place.ancestors().enumerate() {
            match Group::open(place.version, depth, &dir) {
                Ok(group) => groups.push(group),
                Err(why) => last = why,
            }
        }
        if let Some(top) = groups.last_mut() {
            top.hides_ancestors = place.hides_ancestors;
        }
        if groups.is_empty() {
            return Err(last);
        }
        Ok(Self { root: root.to_owned(), target, place, groups })
    }

    /// All figures now. `machine_total` is `MemTotal` in bytes: a limit above it limits nothing.
    #[must_use]
    pub fn read(&self, machine_total: Reading<u64>) -> CgroupMemory {
        let mut binding: Option<(f64, &Group, u64, Load)> = None;
        let mut headroom = Err(Absent::Unlimited);
        let mut unread = None;
        for group in &self.groups {
            let load = match group.limit(machine_total) {
                Ok(limit) => group.load().map(|load| (limit, load)),
                Err(Absent::Unlimited | Absent::Unsupported) => continue,
                Err(why) => Err(why),
            };
            match load {
                Ok((limit, load)) => {
                    let used = load.working_set();
                    let left = limit.saturating_sub(used);
                    headroom = Ok(headroom.map_or(left, |least: u64| least.min(left)));
                    let ratio = ratio(used, limit);
                    // The nearest of equals: an ancestor without other children says nothing new.
                    if binding.as_ref().is_none_or(|(highest, ..)| ratio > *highest) {
                        binding = Some((ratio, group, limit, load));
                    }
                }
                Err(why) => unread = Some(why),
            }
        }
        // A minimum over some of them could be too large by any amount.
        let headroom = unread.map_or(headroom, Err);
        let (group, limit, load) = match binding {
            Some((_, group, limit, load)) => (group, Ok(limit), Ok(load)),
            None => {
                let group = self.most_throttled();
                (group, Err(unread.unwrap_or(Absent::Unlimited)), group.load())
            }
        };
        CgroupMemory {
            usage: load.map(|load| load.usage),
            inactive_file: load.and_then(|load| load.inactive_file),
            limit,
            high: group.high(),
            headroom,
            depth: Ok(group.depth),
            events: self.own().events(),
        }
    }

    /// Whether neither the target's own cgroup nor any above it has a limit now, hard or throttling.
    #[must_use]
    pub fn is_unlimited(&self, machine_total: Reading<u64>) -> bool {
        let none =
            |limit: Reading<u64>| matches!(limit, Err(Absent::Unlimited | Absent::Unsupported));
        self.groups.iter().all(|group| none(group.limit(machine_total)) && none(group.high()))
    }

    /// Without a hard limit: the group that runs nearest to its throttling limit, else the target's own.
    fn most_throttled(&self) -> &Group {
        let mut nearest = (f64::NEG_INFINITY, self.own());
        for group in &self.groups {
            let Ok(high) = group.high() else { continue };
            let Ok(load) = group.load() else { continue };
            let ratio = ratio(load.working_set(), high);
            if ratio > nearest.0 {
                nearest = (ratio, group);
            }
        }
        nearest.1
    }

    fn own(&self) -> &Group {
        // `at_place` makes no hierarchy without a group.
        &self.groups[0]
    }

    /// The name of the cgroup `depth` levels above the target's own, as `/proc/PID/cgroup` writes it.
    #[must_use]
    pub fn path(&self, depth: u64) -> Option<&str> {
        let depth = usize::try_from(depth).ok()?;
        if depth > self.place.levels() {
            return None;
        }
        let mut path = self.place.path.as_str();
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
        match &self.target {
            Target::Path(_) => Ok(false),
            Target::Process { membership, .. } => {
                let mut buffer = [0; MEMBERSHIP_BUFFER];
                let (version, path) = memory_path(membership, &mut buffer)?;
                Ok(version != self.place.version || path != self.place.name.as_slice())
            }
        }
    }

    /// Looks again when the process was moved, or when its cgroup was removed and made anew; true when it did.
    ///
    /// # Errors
    /// As [`Hierarchy::open`]; the hierarchy is then as it was.
    pub fn refresh(&mut self) -> Reading<bool> {
        let removed = self.own().usage() == Err(Absent::Gone);
        if !removed && !self.moved()? {
            return Ok(false);
        }
        *self = match &self.target {
            Target::Process { pid, .. } => Self::open(&self.root, pid)?,
            Target::Path(path) => Self::at(&self.root, path)?,
        };
        Ok(true)
    }

    /// The target's own cgroup as `/proc/PID/cgroup` names it, byte for byte.
    pub(crate) fn name(&self) -> &[u8] {
        &self.place.name
    }

    /// The directory of the target's own cgroup, as this process reaches it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.place.directory
    }
}

/// The path of the memory cgroup in the text of `/proc/PID/cgroup`.
pub(crate) fn memory_cgroup(membership: &[u8]) -> Option<&[u8]> {
    locate::membership(membership).map(|(_, path)| path)
}

fn memory_path<'b>(membership: &Held, buffer: &'b mut [u8]) -> Reading<(Version, &'b [u8])> {
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
