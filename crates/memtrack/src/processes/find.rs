//! Who belongs to a target: the descendants of a process, the members of a cgroup.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cgroup::Hierarchy;
use crate::held::{Held, slurp};
use crate::processes::ProcessId;
use crate::processes::census::Schedule;
use crate::processes::files::{Member, open_children, read_children};
use crate::processes::table::Table;
use crate::procfs::{Proc, Stat};
use crate::reading::{Absent, Reading};
use crate::text::number;

/// `cgroup.procs` of a cgroup with a hundred thousand processes.
const PROCS_LIMIT: u64 = 1 << 20;

/// Finds the descendants of the members, in two ways: on every tick on which something was started, by the lists of
/// children that the kernel keeps, which is quick and may miss some; and by a scan of all processes, which misses none.
#[derive(Debug)]
pub(super) struct Descendants {
    newest_pid: Reading<u64>,
    /// Something was started before the last look: the lists may have left out siblings of one that was just ending.
    started_before: bool,
    /// The last scan that was looked through.
    scan: u64,
    adopted: Option<Adopted>,
}

/// The processes that this one is given when their parents end, because it asked for that.
#[derive(Debug)]
struct Adopted {
    own: u32,
    children: Held,
    strangers: Strangers,
}

/// Tells children of this process that are not the target's from those that are.
pub(crate) struct Strangers(Box<dyn Fn(ProcessId) -> bool + Send + Sync>);

impl Strangers {
    pub(crate) fn new(is_stranger: impl Fn(ProcessId) -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(is_stranger))
    }
}

impl fmt::Debug for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Strangers").finish_non_exhaustive()
    }
}

impl Descendants {
    pub(super) fn new(table: &mut Table) -> Self {
        table.census.join(&table.proc);
        Self { newest_pid: Err(Absent::NotRead), started_before: false, scan: 0, adopted: None }
    }

    /// Takes in whoever becomes a child of the first thread of this process, but for `strangers`.
    pub(super) fn adopt(&mut self, table: &mut Table, strangers: Strangers) {
        table.census.joined_at_its_start(Instant::now());
        let proc = &table.proc;
        self.adopted = proc.own_stat().ok().and_then(|own| {
            let children = open_children(proc, own.pid).ok()?;
            Some(Adopted { own: own.pid, children, strangers })
        });
    }

    pub(super) fn find(&mut self, members: &mut Vec<Member>, table: &mut Table, now: Instant) {
        let newest = table.census.newest_pid();
        let started = newest.is_err() || newest != self.newest_pid;
        self.newest_pid = newest;
        let again = std::mem::replace(&mut self.started_before, started);
        // The kernel keeps a list for each thread, and that of the first is the one that is read.
        let hidden = members.iter().any(|member| member.memory.threads != Ok(1));
        let scan = table.census.scan(&table.proc, now, hidden);
        let scanned = scan != self.scan;
        self.scan = scan;
        if !started && !again && !scanned {
            return;
        }
        table.known.clear();
        table.known.extend(members.iter().map(|member| member.id.pid));
        if let Some(adopted) = &self.adopted {
            admit_adopted(members, table, adopted, scanned);
        }
        let mut index = 0;
        // Grows while it runs: the children of new members are asked for as well.
        while let Some(parent) = members.get_mut(index) {
            let pid = parent.id.pid;
            let mut found = std::mem::take(&mut table.found);
            found.clear();
            let before = parent.descriptors();
            parent.children(&table.proc, table.spare > 0, |child| found.push(child));
            table.take(parent.descriptors().saturating_sub(before));
            if scanned {
                found.extend((0..).map_while(|nth| table.census.child(pid, nth)));
            }
            for child in &found {
                if !table.known.contains(child) && admit_child(members, table, *child, index) {
                    table.known.insert(*child);
                }
            }
            table.found = found;
            index += 1;
        }
    }
}

/// Takes in what this process was given. It does not end meanwhile, so that its children are its own.
fn admit_adopted(members: &mut Vec<Member>, table: &mut Table, adopted: &Adopted, scanned: bool) {
    let mut found = std::mem::take(&mut table.found);
    found.clear();
    read_children(&adopted.children, |child| found.push(child));
    if scanned {
        found.extend((0..).map_while(|nth| table.census.child(adopted.own, nth)));
    }
    for child in &found {
        if table.known.contains(child) {
            continue;
        }
        let id = |start| ProcessId { pid: *child, start };
        let ours =
            |stat: &Stat| stat.parent == adopted.own && !(adopted.strangers.0)(id(stat.start));
        if let Ok(member) = table.member(*child, ours) {
            members.push(member);
            table.known.insert(*child);
        }
    }
    table.found = found;
}

/// Takes `pid` in if it is a child of the member at `parent`.
///
/// The proof is in the order. The child's `stat`, read through a descriptor that stays bound to it, names the parent's
/// pid; and after that the parent was still there, so that pid was still its own.
fn admit_child(members: &mut Vec<Member>, table: &mut Table, pid: u32, parent: usize) -> bool {
    let Some(parent) = members.get(parent) else { return false };
    let parent_pid = parent.id.pid;
    let Ok(child) = table.member(pid, |stat| stat.parent == parent_pid) else { return false };
    if !parent.lives(&table.proc) {
        return false;
    }
    members.push(child);
    true
}

/// Finds the processes of a cgroup and of all cgroups below it.
#[derive(Debug)]
pub(super) struct CgroupMembers {
    directory: PathBuf,
    name: Vec<u8>,
    schedule: Schedule,
    all: Arc<()>,
}

impl CgroupMembers {
    pub(super) fn new(table: &Table, hierarchy: &Hierarchy) -> Self {
        Self {
            directory: hierarchy.directory().to_owned(),
            name: hierarchy.name().to_owned(),
            schedule: Schedule::default(),
            all: Arc::clone(&table.cgroup_sets),
        }
    }

    pub(super) fn find(&mut self, members: &mut Vec<Member>, table: &mut Table, now: Instant) {
        if !self.schedule.due(now, true, Duration::MAX) {
            return;
        }
        let before = Instant::now();
        let mut listed = std::mem::take(&mut table.known);
        listed.clear();
        list_processes(&self.directory, &mut |pid| {
            listed.insert(pid);
        });
        members.retain(|member| listed.contains(&member.id.pid));
        for member in members.iter() {
            listed.remove(&member.id.pid);
        }
        for pid in &listed {
            // First its files, then where it is: a pid that changed hands in between is found out by the last check.
            if let Ok(member) = table.member(*pid, |_| true)
                && is_inside(&table.proc, *pid, &self.name)
                && member.lives(&table.proc)
            {
                members.push(member);
            }
        }
        table.known = listed;
        // Together with all others within the share; the table holds one of the count.
        let cgroups = Arc::strong_count(&self.all).saturating_sub(1);
        let cgroups = u32::try_from(cgroups).unwrap_or(u32::MAX);
        self.schedule.done(now, before.elapsed().saturating_mul(cgroups));
    }
}

/// How deep the cgroups go is up to whoever makes them: no recursion, and one directory open at a time.
fn list_processes(directory: &Path, visit: &mut impl FnMut(u32)) {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let text = slurp(&directory.join("cgroup.procs"), PROCS_LIMIT).unwrap_or_default();
        let lines = text.split(|byte| *byte == b'\n');
        lines.filter_map(|line| u32::try_from(number(line).ok()?).ok()).for_each(&mut *visit);
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            // The type comes with the entry; links do not count as directories, so there are no loops.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(entry.path());
            }
        }
    }
}

fn is_inside(proc: &Proc, pid: u32, name: &[u8]) -> bool {
    let mut buffer = [0; crate::cgroup::MEMBERSHIP_BUFFER];
    let Ok(file) = proc.file(pid, "cgroup") else { return false };
    let Ok(text) = file.read(&mut buffer) else { return false };
    let Some(path) = crate::cgroup::memory_cgroup(text) else { return false };
    match path.strip_prefix(name) {
        Some(below) => name == b"/" || below.is_empty() || below.starts_with(b"/"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_as_deep_as_a_path_can_be_is_listed_within_the_stack_of_a_sampler() {
        let root = tempfile::tempdir().unwrap();
        let mut deepest = root.path().to_owned();
        let mut levels = 0;
        while deepest.as_os_str().len() < 4000 {
            deepest.push("d");
            std::fs::create_dir(&deepest).unwrap();
            levels += 1;
        }
        std::fs::write(deepest.join("cgroup.procs"), "4711\n").unwrap();
        let thread = std::thread::Builder::new().stack_size(256 * 1024);
        let found = std::thread::scope(|scope| {
            let list = || {
                let mut found = Vec::new();
                list_processes(root.path(), &mut |pid| found.push(pid));
                found
            };
            thread.spawn_scoped(scope, list).unwrap().join().unwrap()
        });
        // From the bottom up: what removes a tree at once may hold a descriptor for each level.
        std::fs::remove_file(deepest.join("cgroup.procs")).unwrap();
        for _ in 0..levels {
            std::fs::remove_dir(&deepest).unwrap();
            deepest.pop();
        }
        assert_eq!(found, [4711]);
    }
}
