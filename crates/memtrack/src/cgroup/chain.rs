//! The cgroups of one target from its own up, and those of many targets without any of them twice.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use super::file::Room;
use super::group::Group;
use super::locate::{self, Place, Version};
use crate::reading::{Absent, Reading};

/// In which round of reading something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// Nobody else asks: every question is a reading.
    Alone,
    /// The round of this number: what was read in it stands for all who ask in it.
    Shared(u64),
}

/// A cgroup and those above it that can be seen and count what it uses.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) place: Place,
    /// At least one, the nearest first.
    pub(super) links: Vec<Link>,
}

#[derive(Debug)]
pub(super) struct Link {
    /// Levels above the target's own cgroup.
    pub(super) depth: u64,
    pub(super) group: Arc<Group>,
    /// Ancestors exist that cannot be seen from here, and the limit of one of them may be tighter.
    hides_ancestors: bool,
}

impl Link {
    /// The hard limit in bytes, as it is now. `machine_total` is `MemTotal`: a limit above it limits nothing.
    pub(super) fn limit(&self, round: Round, machine_total: Reading<u64>) -> Reading<u64> {
        let limit = if self.hides_ancestors {
            self.group.limit_with_hidden(round)?
        } else {
            self.group.limit(round)?
        };
        match machine_total {
            // Inside a container that fakes /proc/meminfo, `MemTotal` is the limit: equal still limits.
            Ok(total) if total > 0 && limit > total => Err(Absent::Unlimited),
            _ => Ok(limit),
        }
    }
}

impl Chain {
    pub(super) fn own(&self) -> &Group {
        // `Groups::open` makes no chain without a link.
        &self.links[0].group
    }

    /// Whether its cgroup was removed since it was opened, and perhaps made anew.
    pub(super) fn is_gone(&self, round: Round) -> bool {
        self.own().usage(round) == Err(Absent::Gone)
    }
}

/// The cgroups in use under one root, so that whoever comes later shares their files and, in a round, their readings.
#[derive(Debug)]
pub(crate) struct Groups {
    root: PathBuf,
    chains: HashMap<(Version, Vec<u8>), Weak<Chain>>,
    groups: HashMap<(PathBuf, bool), Weak<Group>>,
    room: Room,
}

impl Groups {
    /// Under `root`, with at most so many files held.
    pub(crate) fn within(root: &Path, files: usize) -> Self {
        let (chains, groups) = (HashMap::new(), HashMap::new());
        Self { root: root.to_owned(), chains, groups, room: Room::of(files) }
    }

    /// Those of one target, which are few.
    pub(super) fn of_one(root: &Path) -> Self {
        Self::within(root, usize::MAX)
    }

    /// How many files are held.
    pub(crate) fn held(&self) -> usize {
        self.room.taken()
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The cgroup `name` with those above it, opened unless it is open already.
    pub(super) fn chain(&mut self, version: Version, name: &[u8]) -> Reading<Arc<Chain>> {
        let key = (version, name.to_vec());
        let known = self.chains.get(&key).and_then(Weak::upgrade);
        if let Some(chain) = known.filter(|chain| !chain.is_gone(Round::Alone)) {
            return Ok(chain);
        }
        let chain = Arc::new(self.open(locate::place(&self.root, version, name)?)?);
        remember(&mut self.chains, key, &chain);
        Ok(chain)
    }

    fn open(&mut self, place: Place) -> Reading<Chain> {
        let (mut links, mut last) = (Vec::new(), Absent::Unsupported);
        let directories: Vec<PathBuf> = place.ancestors().collect();
        for (level, directory) in directories.into_iter().enumerate() {
            match self.group(place.version, level == 0, directory) {
                Ok(group) => {
                    let depth = u64::try_from(level).unwrap_or(u64::MAX);
                    links.push(Link { depth, group, hides_ancestors: false });
                }
                Err(why) => last = why,
            }
        }
        let top = links.last_mut().ok_or(last)?;
        top.hides_ancestors = place.hides_ancestors;
        Ok(Chain { place, links })
    }

    fn group(&mut self, version: Version, own: bool, directory: PathBuf) -> Reading<Arc<Group>> {
        let key = (directory, own);
        let known = self.groups.get(&key).and_then(Weak::upgrade);
        if let Some(group) = known.filter(|group| group.usage(Round::Alone) != Err(Absent::Gone)) {
            return Ok(group);
        }
        let group = Arc::new(Group::open(version, own, &key.0, &self.room)?);
        remember(&mut self.groups, key, &group);
        Ok(group)
    }
}

/// Those that nobody uses any more are left out before the map would grow.
fn remember<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, Weak<V>>, key: K, value: &Arc<V>) {
    if map.len() == map.capacity() {
        map.retain(|_, value| value.strong_count() > 0);
    }
    map.insert(key, Arc::downgrade(value));
}
