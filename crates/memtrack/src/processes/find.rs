//! Who belongs to a target: the descendants of a process, the members of a cgroup.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cgroup::Hierarchy;
use crate::held::{Held, slurp};
use crate::processes::set::Processes;
use crate::procfs::{Proc, Stat};
use crate::text::number;

/// All processes of the machine are looked through at most this often ...
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// ... and the longer it takes the less often, so that it stays within 0.1 % of a core.
const SCAN_SHARE: u32 = 1000;
/// Even if nothing seems to have been started: some sandboxes show a load average that is made up.
const FORCED_SCAN: Duration = Duration::from_secs(10);
/// `cgroup.procs` of a cgroup with a hundred thousand processes.
const PROCS_LIMIT: u64 = 1 << 20;

/// When to look through everything again.
#[derive(Debug, Default)]
struct Schedule {
    not_before: Option<Instant>,
    forced: Option<Instant>,
}

impl Schedule {
    fn due(&self, now: Instant, something_started: bool) -> bool {
        let passed = |time: Option<Instant>| time.is_none_or(|time| now >= time);
        passed(self.forced) || something_started && passed(self.not_before)
    }

    fn done(&mut self, now: Instant, cost: Duration) {
        let pause = SCAN_INTERVAL.max(cost.saturating_mul(SCAN_SHARE));
        self.not_before = now.checked_add(pause);
        self.forced = now.checked_add(pause.max(FORCED_SCAN));
    }
}

/// Finds the descendants of the members, in two ways: on every tick on which something was started, by the lists of
/// children that the kernel keeps, which is quick and may miss some; and by a scan of all processes, which misses none.
#[derive(Debug)]
pub(super) struct Descendants {
    loadavg: Option<Held>,
    newest_pid: Option<u64>,
    started_since_scan: bool,
    schedule: Schedule,
    known: HashSet<u32>,
    found: Vec<u32>,
    strangers: Vec<Stat>,
}

impl Descendants {
    pub(super) fn new(proc: &Proc) -> Self {
        Self {
            loadavg: proc.machine_file("loadavg").ok(),
            newest_pid: None,
            started_since_scan: true,
            schedule: Schedule::default(),
            known: HashSet::new(),
            found: Vec::new(),
            strangers: Vec::new(),
        }
    }

    pub(super) fn find(&mut self, set: &mut Processes, now: Instant) {
        let started = self.something_started();
        self.started_since_scan |= started;
        let scan = self.schedule.due(now, self.started_since_scan);
        if !started && !scan {
            return;
        }
        self.known.clear();
        self.known.extend(set.members.iter().map(|member| member.id.pid));
        self.ask_parents(set);
        if scan {
            let before = Instant::now();
            self.scan(set);
            self.schedule.done(now, before.elapsed());
            self.started_since_scan = false;
        }
    }

    /// Whether the newest pid of the machine is another one than at the last look: the last field of `loadavg`.
    fn something_started(&mut self) -> bool {
        let mut buffer = [0; 128];
        let text = self.loadavg.as_ref().and_then(|file| file.read(&mut buffer).ok());
        let newest = text
            .and_then(|text| number(text.trim_ascii().rsplit(|byte| *byte == b' ').next()?).ok());
        let started = newest.is_none() || newest != self.newest_pid;
        self.newest_pid = newest;
        started
    }

    fn ask_parents(&mut self, set: &mut Processes) {
        let mut index = 0;
        // Grows while it runs: the children of new members are asked for as well.
        while index < set.members.len() {
            let hold = set.spare > 0;
            self.found.clear();
            if let Some(member) = set.members.get_mut(index) {
                let before = member.descriptors();
                member.children(&set.proc, hold, |pid| self.found.push(pid));
                set.spare = set.spare.saturating_sub(member.descriptors().saturating_sub(before));
            }
            for pid in &self.found {
                if !self.known.contains(pid) && admit_child(set, *pid, index) {
                    self.known.insert(*pid);
                }
            }
            index += 1;
        }
    }

    fn scan(&mut self, set: &mut Processes) {
        self.strangers.clear();
        let (known, strangers) = (&self.known, &mut self.strangers);
        let proc = &set.proc;
        // A failing scan leaves what is known; the next one is due soon.
        let _ = proc.pids(|pid| {
            if !known.contains(&pid)
                && let Ok(stat) = proc.stat(pid)
            {
                strangers.push(stat);
            }
        });
        // Parents are older than their children, so mostly one pass will do.
        self.strangers.sort_unstable_by_key(|stat| (stat.start, stat.pid));
        loop {
            let before = self.known.len();
            for stranger in &self.strangers {
                if self.known.contains(&stranger.parent) && !self.known.contains(&stranger.pid) {
                    let parent =
                        set.members.iter().position(|member| member.id.pid == stranger.parent);
                    if parent.is_some_and(|parent| admit_child(set, stranger.pid, parent)) {
                        self.known.insert(stranger.pid);
                    }
                }
            }
            if self.known.len() == before {
                return;
            }
        }
    }
}

/// Takes `pid` in if it is a child of the member at `parent`.
///
/// The proof is in the order. The child's `stat`, read through a descriptor that stays bound to it, names the parent's
/// pid; and after that the parent was still there, so that pid was still its own.
fn admit_child(set: &mut Processes, pid: u32, parent: usize) -> bool {
    let Some(parent_pid) = set.members.get(parent).map(|member| member.id.pid) else {
        return false;
    };
    if set.admit(pid, |stat| stat.parent == parent_pid).is_err() {
        return false;
    }
    let lives = set.members.get(parent).is_some_and(|member| member.lives(&set.proc));
    if !lives {
        set.members.pop();
    }
    lives
}

/// Finds the processes of a cgroup and of all cgroups below it.
#[derive(Debug)]
pub(super) struct CgroupMembers {
    directory: PathBuf,
    name: Vec<u8>,
    schedule: Schedule,
    listed: HashSet<u32>,
}

impl CgroupMembers {
    pub(super) fn new(hierarchy: &Hierarchy) -> Self {
        Self {
            directory: hierarchy.directory().to_owned(),
            name: hierarchy.name().to_owned(),
            schedule: Schedule::default(),
            listed: HashSet::new(),
        }
    }

    pub(super) fn find(&mut self, set: &mut Processes, now: Instant) {
        if !self.schedule.due(now, true) {
            return;
        }
        let before = Instant::now();
        self.listed.clear();
        list_processes(&self.directory, &mut self.listed);
        set.members.retain(|member| self.listed.contains(&member.id.pid));
        for member in &set.members {
            self.listed.remove(&member.id.pid);
        }
        for pid in &self.listed {
            // First its files, then where it is: a pid that changed hands in between is found out by the last check.
            if set.admit(*pid, |_| true).is_ok() {
                let inside = is_inside(&set.proc, *pid, &self.name)
                    && set.members.last().is_some_and(|member| member.lives(&set.proc));
                if !inside {
                    set.members.pop();
                }
            }
        }
        self.schedule.done(now, before.elapsed());
    }
}

fn list_processes(directory: &Path, pids: &mut HashSet<u32>) {
    let text = slurp(&directory.join("cgroup.procs"), PROCS_LIMIT).unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n');
    pids.extend(lines.filter_map(|line| u32::try_from(number(line).ok()?).ok()));
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        // The type comes with the entry; links do not count as directories, so there are no loops.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list_processes(&entry.path(), pids);
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
