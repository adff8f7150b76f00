//! The processes of a target, read together.

use std::path::Path;
use std::time::Instant;

use crate::cgroup::Hierarchy;
use crate::error::{OpenError, SourceError};
use crate::processes::files::{Detail, Member};
use crate::processes::find::{CgroupMembers, Descendants, Strangers};
use crate::processes::table::Table;
use crate::processes::{ProcessId, ProcessRow, Program};
use crate::reading::{Absent, Reading};
use crate::sample::ProcessMemory;

/// A set of processes, read together and summed.
///
/// Who belongs to the set is found out anew on the way: descendants of a tree, the processes of a cgroup. Descriptors
/// are held for as many members as fit a quarter of the limit on open files, the longest known ones first; the others
/// are opened for each read. (A cache that forgets the least recently used would forget every one before its turn,
/// since all are read in turn.) When the program around has used up its files, the set lets go of half of its own, and
/// takes them back bit by bit when there are files again.
#[derive(Debug)]
pub struct Processes {
    table: Table,
    set: Set,
}

impl Processes {
    /// The processes `ids`, those of them that still run. `root` is `/`, or a fixture.
    ///
    /// # Errors
    /// When none of them runs, or `/proc` cannot be read.
    pub fn of(root: &Path, ids: &[ProcessId]) -> Result<Self, OpenError> {
        let mut table = Table::open(root)?;
        Ok(Self { set: Set::of(&mut table, ids)?, table })
    }

    /// The process `id` and all its descendants, also those whose parents end.
    ///
    /// # Errors
    /// When it does not run any more, or `/proc` cannot be read.
    pub fn tree(root: &Path, id: ProcessId) -> Result<Self, OpenError> {
        let mut table = Table::open(root)?;
        Ok(Self { set: Set::tree(&mut table, id)?, table })
    }

    /// The processes of the cgroup that `hierarchy` was opened at, and of the cgroups below.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn cgroup(root: &Path, hierarchy: &Hierarchy) -> Result<Self, OpenError> {
        let table = Table::open(root)?;
        Ok(Self { set: Set::cgroup(&table, hierarchy), table })
    }

    /// Reads all members, drops those that have ended, and finds new ones.
    ///
    /// # Errors
    /// [`SourceError::Ended`] when no member is left and none can come.
    pub fn read(&mut self, now: Instant, detail: Detail) -> Result<ProcessMemory, SourceError> {
        self.table.begin(0);
        self.set.read(&mut self.table, now, detail)
    }

    /// The members as read last.
    pub fn rows(&self) -> impl Iterator<Item = ProcessRow> + Clone {
        self.set.rows()
    }
}

/// A set without what it shares with others: read with the table that it was made with.
#[derive(Debug)]
pub(crate) struct Set {
    members: Vec<Member>,
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

impl Set {
    /// As [`Processes::of`].
    pub(crate) fn of(table: &mut Table, ids: &[ProcessId]) -> Result<Self, OpenError> {
        let mut set = Self { members: Vec::new(), finder: Finder::Fixed, ended_faults: (0, 0) };
        let mut last = OpenError::NoSuchProcess { pid: ids.first().map_or(0, |id| id.pid) };
        for id in ids {
            match table.member(id.pid, |stat| stat.start == id.start) {
                Ok(member) => set.members.push(member),
                Err(why) => last = OpenError::process(id.pid, why),
            }
        }
        if set.members.is_empty() { Err(last) } else { Ok(set) }
    }

    /// As [`Processes::tree`].
    pub(crate) fn tree(table: &mut Table, id: ProcessId) -> Result<Self, OpenError> {
        let set = Self::of(table, &[id])?;
        Ok(Self { finder: Finder::Tree(Descendants::new(table)), ..set })
    }

    /// Adds to a tree what this process is given of it; see [`Descendants::adopt`].
    pub(crate) fn adopt(&mut self, table: &mut Table, strangers: Strangers) {
        if let Finder::Tree(descendants) = &mut self.finder {
            descendants.adopt(table, strangers);
        }
    }

    /// As [`Processes::cgroup`].
    pub(crate) fn cgroup(table: &Table, hierarchy: &Hierarchy) -> Self {
        let finder = Finder::Cgroup(CgroupMembers::new(table, hierarchy));
        Self { members: Vec::new(), finder, ended_faults: (0, 0) }
    }

    /// As [`Processes::read`].
    pub(crate) fn read(
        &mut self,
        table: &mut Table,
        now: Instant,
        detail: Detail,
    ) -> Result<ProcessMemory, SourceError> {
        self.read_members(table, now, detail);
        let known = self.members.len();
        match &mut self.finder {
            Finder::Fixed => {}
            Finder::Tree(descendants) => descendants.find(&mut self.members, table, now),
            Finder::Cgroup(members) => members.find(&mut self.members, table, now),
        }
        if matches!(self.finder, Finder::Fixed | Finder::Tree(_)) && self.members.is_empty() {
            return Err(SourceError::Ended);
        }
        self.read_new(table, now, known, detail);
        if self.members.len() > 1 {
            self.members.iter_mut().for_each(|member| member.look_for_exec(&table.proc));
        }
        Ok(self.sum())
    }

    /// The members as read last.
    pub(crate) fn rows(&self) -> impl Iterator<Item = ProcessRow> + Clone {
        let members = self.members.iter();
        members.map(|member| ProcessRow {
            id: member.id,
            name: member.name,
            parent: member.parent,
            memory: member.memory,
        })
    }

    /// What the members run, and their memory as read last.
    pub(crate) fn programs(&self) -> impl Iterator<Item = (Program, &ProcessMemory)> {
        self.members.iter().map(|member| {
            let parent = member.parent.unwrap_or(0);
            (Program { id: member.id, parent, stack: member.stack }, &member.memory)
        })
    }

    /// The members' memory as read last, for what another read adds to it.
    pub(crate) fn memory_mut(&mut self) -> impl Iterator<Item = (ProcessId, &mut ProcessMemory)> {
        self.members.iter_mut().map(|member| (member.id, &mut member.memory))
    }

    fn read_members(&mut self, table: &mut Table, now: Instant, detail: Detail) {
        let ended = &mut self.ended_faults;
        self.members.retain_mut(|member| {
            let hold = table.may_hold();
            if !hold {
                member.release();
            }
            let (minor, major) = (member.memory.minor_faults, member.memory.major_faults);
            if member.read(&table.proc, now, detail, hold, &mut table.buffer) == Err(Absent::Gone) {
                ended.0 = ended.0.saturating_add(minor.unwrap_or(0));
                ended.1 = ended.1.saturating_add(major.unwrap_or(0));
                return false;
            }
            table.note(member.memory.rss);
            table.note(member.memory.minor_faults);
            table.take(member.descriptors());
            true
        });
    }

    /// Members found on this tick are read on this tick.
    fn read_new(&mut self, table: &mut Table, now: Instant, known: usize, detail: Detail) {
        let mut index = known.min(self.members.len());
        while let Some(member) = self.members.get_mut(index) {
            let hold = table.may_hold();
            if member.read(&table.proc, now, detail, hold, &mut table.buffer) == Err(Absent::Gone) {
                self.members.remove(index);
            } else {
                index += 1;
            }
        }
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
            sum.age = sum.age.max(memory.age);
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
