//! What the sets of processes on one machine share: the way into `/proc`, the descriptors, the census.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::error::OpenError;
use crate::processes::census::Census;
use crate::processes::files::{Member, STATUS_BUFFER};
use crate::procfs::{Proc, Stat};
use crate::reading::{Absent, Reading};

/// A member holds up to three descriptors: `status`, `stat` or `statm`, `children`.
pub(super) const DESCRIPTORS_EACH: usize = 3;
/// Beyond this many descriptors, holding one more saves little against what it takes from the program around us.
const MAX_DESCRIPTORS: usize = 4096;

/// The common part of any number of sets. Whoever owns it calls [`Table::begin`] before each round of reading.
#[derive(Debug)]
pub(crate) struct Table {
    pub(super) proc: Proc,
    /// Descriptors that may still be taken in this round: whoever is read first has them first.
    pub(super) spare: usize,
    shares: DescriptorShare,
    ran_out: bool,
    /// Holds one `status`. The same each time: clearing one would take as long as parsing.
    pub(super) buffer: Box<[u8]>,
    pub(super) census: Census,
    /// One for each set that is a cgroup, and one here.
    pub(super) cgroup_sets: Arc<()>,
    /// For one set at a time: the pids of its members, and those of children.
    pub(super) known: HashSet<u32>,
    pub(super) found: Vec<u32>,
}

impl Table {
    /// Opens `proc` under `root`.
    pub(crate) fn open(root: &Path) -> Result<Self, OpenError> {
        let unreadable = |reason| OpenError::Unreadable { what: "`/proc`", reason };
        let shares = DescriptorShare::of(descriptor_limit());
        Ok(Self {
            proc: Proc::open(root).map_err(unreadable)?,
            spare: shares.now,
            shares,
            ran_out: false,
            buffer: vec![0; STATUS_BUFFER].into(),
            census: Census::default(),
            cgroup_sets: Arc::default(),
            known: HashSet::new(),
            found: Vec::new(),
        })
    }

    /// Begins a round: every member may claim its descriptors anew, and the machine is looked at once more. So many
    /// descriptors of the share are taken by `others`.
    pub(crate) fn begin(&mut self, others: usize) {
        self.shares.after_a_round(std::mem::take(&mut self.ran_out));
        self.spare = self.shares.now.saturating_sub(others);
        self.census.begin();
    }

    /// How many descriptors may be held in all.
    pub(crate) fn most(&self) -> usize {
        self.shares.most
    }

    /// Whether a member may hold what it opens.
    pub(super) fn may_hold(&self) -> bool {
        self.spare >= DESCRIPTORS_EACH
    }

    pub(super) fn take(&mut self, descriptors: usize) {
        self.spare = self.spare.saturating_sub(descriptors);
    }

    /// Looks whether a reading failed because the program has no files left.
    pub(super) fn note(&mut self, reading: Reading<u64>) {
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        self.ran_out |= matches!(reading, Err(Absent::Failed(EMFILE | ENFILE)));
    }

    /// The process `pid`, unless `accept` says no to what it is; [`Absent::Gone`] then.
    pub(super) fn member(
        &mut self,
        pid: u32,
        accept: impl FnOnce(&Stat) -> bool,
    ) -> Reading<Member> {
        let member = Member::open(&self.proc, pid, self.may_hold(), accept)?;
        self.take(member.descriptors());
        Ok(member)
    }

    /// The way into `/proc`.
    pub(crate) fn proc(&self) -> &Proc {
        &self.proc
    }
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
    fn after_a_round(&mut self, ran_out: bool) {
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_share_of_descriptors_stays_within_its_bounds_and_comes_back(
            limit: usize, rounds in prop::collection::vec(any::<bool>(), 0..40),
        ) {
            let mut share = DescriptorShare::of(limit);
            for ran_out in rounds {
                let before = share.now;
                share.after_a_round(ran_out);
                prop_assert!(share.now <= share.most && share.most <= limit / 4);
                let bound = if ran_out { share.now <= before / 2 } else { share.now >= before };
                prop_assert!(bound, "{before} {share:?}");
            }
            (0..20).for_each(|_| share.after_a_round(false));
            prop_assert_eq!(share.now, share.most);
        }
    }
}
