//! The processes of a target, read together.

use std::path::Path;
use std::time::Instant;

use crate::error::{OpenError, SourceError};
use crate::processes::files::{Detail, Member, STATUS_BUFFER};
use crate::processes::find::{CgroupMembers, Descendants};
use crate::processes::{ProcessId, ProcessRow};
use crate::procfs::Proc;
use crate::reading::{Absent, Reading};
use crate::sample::ProcessMemory;

/// A member holds up to three descriptors: `status`, `stat`, `children`.
const DESCRIPTORS_EACH: usize = 3;
/// Beyond this many descriptors, holding one more saves little against what it takes from the program around us.
const MAX_DESCRIPTORS: usize = 1024;

/// A set of processes, read together and summed.
///
/// Who belongs to the set is found out anew on the way: descendants of a tree, the processes of a cgroup. Descriptors
/// are held for as many members as fit a quarter of the limit on open files, the longest known ones first; the others
/// are opened for each read. (A cache that forgets the least recently used would forget every one before its turn,
/// since all are read in turn.) When the program around has used up its files, the set lets go of half of its own, and
/// takes them back bit by bit when there are files again.
#[derive(Debug)]
pub struct Processes {
    pub(super) proc: Proc,
    pub(super) members: Vec<Member>,
    /// Descriptors that may still be taken.
    pub(super) spare: usize,
    shares: DescriptorShare,
    buffer: Box<[u8]>,
    finder: Finder,
    /// Page faults of members that have ended, so that the sum never goes back.
    ended_faults: (u64, u64),
}

#[derive(Debug)]
enum Finder {
    Fixed,
    Tree(Descendants),
    Cgroup(CgroupMembers),
}

impl Processes {
    /// The processes `ids`, those of them that still run. `root` is `/`, or a fixture.
    ///
    /// # Errors
    /// When none of them runs, or `/proc` cannot be read.
    pub fn of(root: &Path, ids: &[ProcessId]) -> Result<Self, OpenError> {
        let mut set = Self::empty(root, Finder::Fixed)?;
        let mut last = OpenError::NoSuchProcess { pid: ids.first().map_or(0, |id| id.pid) };
        for id in ids {
            if let Err(why) = set.admit(id.pid, |stat| stat.start == id.start) {
                last = OpenError::process(id.pid, why);
            }
        }
        if set.members.is_empty() { Err(last) } else { Ok(set) }
    }

    /// The process `id` and all its descendants, also those whose parents end.
    ///
    /// # Errors
    /// When it does not run any more, or `/proc` cannot be read.
    pub fn tree(root: &Path, id: ProcessId) -> Result<Self, OpenError> {
        let mut set = Self::of(root, &[id])?;
        set.finder = Finder::Tree(Descendants::new(&set.proc));
        Ok(set)
    }

    /// The processes of the cgroup that `hierarchy` was opened at, and of the cgroups below.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn cgroup(root: &Path, hierarchy: &crate::cgroup::Hierarchy) -> Result<Self, OpenError> {
        Self::empty(root, Finder::Cgroup(CgroupMembers::new(hierarchy)))
    }

    fn empty(root: &Path, finder: Finder) -> Result<Self, OpenError> {
        let unreadable = |reason| OpenError::Unreadable { what: "`/proc`", reason };
        let proc = Proc::open(root).map_err(unreadable)?;
        let shares = DescriptorShare::of(descriptor_limit());
        Ok(Self {
            proc,
            members: Vec::new(),
            spare: shares.now,
            shares,
            buffer: vec![0; STATUS_BUFFER].into(),
            finder,
            ended_faults: (0, 0),
        })
    }

    /// Reads all members, drops those that have ended, and finds new ones.
    ///
    /// # Errors
    /// [`SourceError::Ended`] when no member is left and none can come.
    pub fn read(&mut self, now: Instant, detail: Detail) -> Result<ProcessMemory, SourceError> {
        self.read_members(detail);
        let known = self.members.len();
        match std::mem::replace(&mut self.finder, Finder::Fixed) {
            Finder::Fixed => {}
            Finder::Tree(mut descendants) => {
                descendants.find(self, now);
                self.finder = Finder::Tree(descendants);
            }
            Finder::Cgroup(mut members) => {
                members.find(self, now);
                self.finder = Finder::Cgroup(members);
            }
        }
        if matches!(self.finder, Finder::Fixed | Finder::Tree(_)) && self.members.is_empty() {
            return Err(SourceError::Ended);
        }
        self.read_new(known, detail);
        Ok(self.sum())
    }

    /// The members as read last.
    pub fn rows(&self) -> impl Iterator<Item = ProcessRow> + Clone {
        let members = self.members.iter();
        members.map(|member| ProcessRow {
            id: member.id,
            name: member.name,
            parent: member.parent,
            memory: member.memory,
        })
    }

    /// The members' memory as read last, for what another read adds to it.
    pub(crate) fn memory_mut(&mut self) -> impl Iterator<Item = (ProcessId, &mut ProcessMemory)> {
        self.members.iter_mut().map(|member| (member.id, &mut member.memory))
    }

    fn read_members(&mut self, detail: Detail) {
        let mut spare = self.shares.now;
        let mut ran_out = false;
        let (proc, ended, buffer) = (&self.proc, &mut self.ended_faults, &mut self.buffer);
        self.members.retain_mut(|member| {
            let hold = spare >= DESCRIPTORS_EACH;
            if !hold {
                member.release();
            }
            let (minor, major) = (member.memory.minor_faults, member.memory.major_faults);
            if member.read(proc, detail, hold, buffer) == Err(Absent::Gone) {
                ended.0 = ended.0.saturating_add(minor.unwrap_or(0));
                ended.1 = ended.1.saturating_add(major.unwrap_or(0));
                return false;
            }
            ran_out |=
                is_out_of_files(member.memory.rss) || is_out_of_files(member.memory.minor_faults);
            spare = spare.saturating_sub(member.descriptors());
            true
        });
        self.spare = spare;
        self.shares.after_a_tick(ran_out);
    }

    /// Members found on this tick are read on this tick.
    fn read_new(&mut self, known: usize, detail: Detail) {
        let hold = self.spare >= DESCRIPTORS_EACH;
        let mut index = known.min(self.members.len());
        while let Some(member) = self.members.get_mut(index) {
            if member.read(&self.proc, detail, hold, &mut self.buffer) == Err(Absent::Gone) {
                self.members.remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// Takes `pid` in, unless `accept` says no to what it is; fails with [`Absent::Gone`] then.
    pub(super) fn admit(
        &mut self,
        pid: u32,
        accept: impl FnOnce(&crate::procfs::Stat) -> bool,
    ) -> Reading<()> {
        let hold = self.spare >= DESCRIPTORS_EACH;
        let member = Member::open(&self.proc, pid, hold, accept)?;
        self.spare = self.spare.saturating_sub(member.descriptors());
        self.members.push(member);
        Ok(())
    }

    fn sum(&self) -> ProcessMemory {
        let mut sum = ProcessMemory::absent(Absent::Unsupported);
        for member in &self.members {
            let memory = &member.memory;
            for (total, part) in [
                (&mut sum.rss, memory.rss),
                (&mut sum.anon, memory.anon),
                (&mut sum.file, memory.file),
                (&mut sum.shmem, memory.shmem),
                (&mut sum.swap, memory.swap),
                (&mut sum.minor_faults, memory.minor_faults),
                (&mut sum.major_faults, memory.major_faults),
                (&mut sum.threads, memory.threads),
            ] {
                *total = combine(*total, part, u64::saturating_add);
            }
            sum.peak = combine(sum.peak, memory.peak, u64::max);
        }
        if self.members.is_empty() {
            // A cgroup without processes: nothing is used, and that is known.
            sum = ProcessMemory::absent(Absent::NotRead);
            (sum.rss, sum.anon, sum.file, sum.shmem, sum.swap) =
                (Ok(0), Ok(0), Ok(0), Ok(0), Ok(0));
        }
        sum.minor_faults = sum.minor_faults.map(|sum| sum.saturating_add(self.ended_faults.0));
        sum.major_faults = sum.major_faults.map(|sum| sum.saturating_add(self.ended_faults.1));
        sum.processes = Ok(self.members.len() as u64);
        sum.pss = Err(Absent::NotRead);
        sum
    }
}

/// What no member has (kernel threads have no memory of their own) adds nothing; what could not be read spoils the sum.
fn combine(total: Reading<u64>, part: Reading<u64>, with: fn(u64, u64) -> u64) -> Reading<u64> {
    match (total, part) {
        (Ok(total), Ok(part)) => Ok(with(total, part)),
        (Err(Absent::Unsupported), part) => part,
        (total, Err(Absent::Unsupported)) => total,
        (Err(why), _) | (_, Err(why)) => Err(why),
    }
}

fn is_out_of_files(reading: Reading<u64>) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(reading, Err(Absent::Failed(EMFILE | ENFILE)))
}

/// How many descriptors to hold. Pure.
#[derive(Clone, Copy, Debug)]
struct DescriptorShare {
    most: usize,
    now: usize,
}

impl DescriptorShare {
    /// A quarter of the files that this process may open: the rest is for the program around us.
    fn of(limit: usize) -> Self {
        let most = (limit / 4).min(MAX_DESCRIPTORS);
        Self { most, now: most }
    }

    /// Halves when there were no files left, and otherwise grows by a sixteenth of the whole.
    fn after_a_tick(&mut self, ran_out: bool) {
        let step = (self.most / 16).max(DESCRIPTORS_EACH);
        self.now =
            if ran_out { self.now / 2 } else { self.now.saturating_add(step).min(self.most) };
    }
}

fn descriptor_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;

    #[test]
    fn sums_skip_what_a_member_has_not_and_spoil_on_what_could_not_be_read() {
        let add = u64::saturating_add;
        assert_eq!(combine(Ok(1), Ok(2), add), Ok(3));
        assert_eq!(combine(Err(Absent::Unsupported), Ok(2), add), Ok(2));
        assert_eq!(combine(Ok(1), Err(Absent::Unsupported), add), Ok(1));
        assert_eq!(combine(Ok(1), Err(Absent::Failed(5)), add), Err(Absent::Failed(5)));
        assert_eq!(combine(Ok(u64::MAX), Ok(1), add), Ok(u64::MAX));
    }

    proptest! {
        #[test]
        fn the_share_of_descriptors_stays_within_its_bounds_and_comes_back(
            limit: usize, ticks in prop::collection::vec(any::<bool>(), 0..40),
        ) {
            let mut share = DescriptorShare::of(limit);
            for ran_out in ticks {
                let before = share.now;
                share.after_a_tick(ran_out);
                prop_assert!(share.now <= share.most && share.most <= limit / 4);
                let bound = if ran_out { share.now <= before / 2 } else { share.now >= before };
                prop_assert!(bound, "{before} {share:?}");
            }
            (0..20).for_each(|_| share.after_a_tick(false));
            prop_assert_eq!(share.now, share.most);
        }

        #[test]
        fn a_sum_is_there_unless_a_part_failed_in_whatever_order(
            mut parts in prop::collection::vec(testing::reading(testing::bytes()), 0..9),
        ) {
            let fold = |parts: &[Reading<u64>]| {
                let mut sum = Err(Absent::Unsupported);
                for part in parts {
                    sum = combine(sum, *part, u64::saturating_add);
                }
                sum
            };
            let forward = fold(&parts);
            parts.reverse();
            let backward = fold(&parts);
            prop_assert_eq!(forward.ok(), backward.ok());
            let spoilt = parts.iter().any(|part| part.is_err_and(|why| why != Absent::Unsupported));
            let nothing = parts.iter().all(Reading::is_err);
            prop_assert_eq!(forward.is_err(), spoilt || nothing);
        }
    }
}
