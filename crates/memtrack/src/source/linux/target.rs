//! One target's own part of a sample.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cgroup::{Groups, Hierarchy};
use crate::config::{Tier, TrackConfig};
use crate::error::{OpenError, SourceError};
use crate::mappings::MappingReadings;
use crate::processes::{Detail, ProcessId, Set, Snapshot, Strangers};
use crate::procfs::Proc;
use crate::pss::Pss;
use crate::reading::{Absent, Reading};
use crate::sample::{CgroupEvents, CgroupMemory, ProcessMemory, Sample};
use crate::source::Target;
use crate::source::linux::machine::{LinuxMachine, Tick};
use crate::text::Fields;

/// How often to ask whether the target was moved to another cgroup: 2 to 7 us each time.
pub(super) const REFRESH: Duration = Duration::from_secs(1);
/// The same for each target where there are many, so that asking all of them stays within 0.1 % of a core.
const REFRESH_EACH: Duration = Duration::from_millis(10);

/// A target that was opened on a [`LinuxMachine`].
#[derive(Debug)]
pub struct LinuxTarget {
    target: Target,
    /// Who opened the files: those of the own process stay with the parent across a `fork`.
    opened_by: u32,
    processes: Option<Set>,
    cgroup: Reading<Hierarchy>,
    /// When what need not be read on each tick was read last.
    refreshed: Option<Duration>,
    /// The last whole reading of the cgroup: it stands for up to [`REFRESH`] while nothing is limited.
    unlimited: CgroupMemory,
    pss: Pss,
    /// PSS of a single process is read in any tier.
    pub(super) always_pss: bool,
    /// `status` is read once a second only.
    pub(super) sparing: bool,
    snapshot: Snapshot,
    /// Counts this target among those of its machine.
    all: Arc<()>,
}

impl LinuxTarget {
    /// Opens `target`; `alone` when no other is read on the same machine.
    pub(super) fn open(
        machine: &mut LinuxMachine,
        target: &Target,
        alone: bool,
    ) -> Result<Self, OpenError> {
        let (processes, cgroup) = open(machine, target, alone)?;
        Ok(Self {
            target: target.clone(),
            opened_by: machine.process(),
            processes,
            cgroup,
            refreshed: None,
            unlimited: CgroupMemory::default(),
            pss: Pss::new(machine.clock().stamp().monotonic),
            always_pss: false,
            sparing: false,
            snapshot: Snapshot::default(),
            all: Arc::clone(&machine.targets),
        })
    }

    /// Takes one sample, of as much as the tier in `config` asks for.
    ///
    /// # Errors
    /// [`SourceError::Ended`] when there is nothing left to watch, [`SourceError::Failed`] when this read gave nothing
    /// at all but a later one may, and in a tick of another machine than the one that opened it.
    pub fn read(
        &mut self,
        tick: &mut Tick<'_>,
        config: &TrackConfig,
    ) -> Result<Sample, SourceError> {
        if !Arc::ptr_eq(&self.all, &tick.machine.targets) {
            return Err(SourceError::Failed {
                what: "a tick of its machine",
                reason: Absent::NotRead,
            });
        }
        self.notice_fork(tick.machine)?;
        let at = tick.machine.clock().stamp();
        let mut sample = Sample::empty(at);
        if config.tier == Tier::Disabled {
            return Ok(sample);
        }
        let now = at.monotonic;
        sample.process = self.read_processes(tick.machine, config.tier, now)?;
        sample.system = tick.machine.memory(now, self.processes.is_some());
        sample.psi = tick.machine.stalls(now);
        sample.cgroup = self.read_cgroup(tick, sample.system.total, now)?;
        Ok(sample)
    }

    /// See [`LinuxSource::adopting`](super::LinuxSource::adopting).
    pub(super) fn adopt(&mut self, machine: &mut LinuxMachine, strangers: Strangers) {
        if let Some(set) = &mut self.processes {
            set.adopt(&mut machine.table, strangers);
        }
    }

    /// The processes behind the newest sample.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    /// Where the memory of the target lies: read when asked for, within the budget of PSS.
    #[must_use]
    pub fn mappings(&self) -> MappingReadings {
        self.pss.mappings().clone()
    }

    /// The name of the cgroup `depth` levels above the target's own, as in [`CgroupMemory::depth`].
    #[must_use]
    pub fn cgroup_path(&self, depth: u64) -> Option<&str> {
        self.cgroup.as_ref().ok()?.path(depth)
    }

    /// After a `fork` the held files of the own process still show the parent: the child opens its own. The thread that
    /// reads PSS stayed behind too.
    fn notice_fork(&mut self, machine: &mut LinuxMachine) -> Result<(), SourceError> {
        if self.opened_by == machine.process() {
            return Ok(());
        }
        self.pss.begin_anew(machine.clock().stamp().monotonic);
        if self.target == Target::Own {
            let reopened = open(machine, &self.target, true);
            (self.processes, self.cgroup) = reopened.map_err(|error| error.as_failed_read())?;
            self.refreshed = None;
        }
        self.opened_by = machine.process();
        Ok(())
    }

    /// As a `fork` leaves it, with `id` in the place of the parent.
    #[cfg(test)]
    pub(super) fn show_parent(&mut self, machine: &mut LinuxMachine, id: ProcessId) {
        self.processes = Set::of(&mut machine.table, &[id]).ok();
        self.opened_by = id.pid;
    }

    fn read_processes(
        &mut self,
        machine: &mut LinuxMachine,
        tier: Tier,
        now: Duration,
    ) -> Result<ProcessMemory, SourceError> {
        let Some(set) = &mut self.processes else {
            self.pss.turn_away(Absent::NotRead);
            return Ok(ProcessMemory::default());
        };
        let development = tier == Tier::Development;
        let detail = match self.refreshed {
            _ if development => Detail::Faults,
            // Not what a stall asked for.
            Some(_) if self.sparing => Detail::Sparing,
            _ => Detail::Memory,
        };
        let read = set.read(&mut machine.table, Instant::now(), detail);
        if read == Err(SourceError::Ended) {
            self.pss.turn_away(Absent::Gone);
        }
        let mut memory = read?;
        let LinuxMachine { root, account, .. } = machine;
        // Where processes share pages, RSS alone misleads in any tier.
        if development || self.always_pss || memory.processes.is_ok_and(|count| count > 1) {
            self.pss.fill(root, now, account, &mut memory, set);
        } else if self.pss.is_busy() {
            self.pss.tick(root, now, account, &memory, set, false);
        }
        self.snapshot.replace(set.rows());
        Ok(memory)
    }

    /// Looks for the cgroups once more where looking failed: there may be files again.
    fn find_cgroup(&mut self, machine: &mut LinuxMachine) {
        if !matches!(self.cgroup, Err(Absent::Failed(_))) {
            return;
        }
        let found = cgroup(&mut machine.groups, &self.target, false);
        if is_same(&self.target, machine.table.proc()) {
            self.cgroup = found;
        }
    }

    fn read_cgroup(
        &mut self,
        tick: &mut Tick<'_>,
        machine_total: Reading<u64>,
        now: Duration,
    ) -> Result<CgroupMemory, SourceError> {
        // The machine holds one of the count.
        let targets = Arc::strong_count(&self.all).saturating_sub(1);
        let targets = u32::try_from(targets).unwrap_or(u32::MAX);
        let every = REFRESH.max(REFRESH_EACH.saturating_mul(targets));
        let due = self.refreshed.is_none_or(|last| now.saturating_sub(last) >= every);
        if due {
            self.refreshed = Some(now);
            self.find_cgroup(tick.machine);
        }
        let cgroup = match &mut self.cgroup {
            Ok(cgroup) => cgroup,
            Err(why) => return Ok(CgroupMemory::absent(*why)),
        };
        let mut moved = false;
        if due {
            let LinuxMachine { groups, table, .. } = &mut *tick.machine;
            let is_same = || is_same(&self.target, table.proc());
            let refreshed = cgroup.refresh_in(tick.round, groups, is_same);
            moved = refreshed == Ok(true);
            if matches!(self.target, Target::Cgroup(_)) && refreshed == Err(Absent::Gone) {
                return Err(SourceError::Ended);
            }
        }
        // Where nothing limits a process, its cgroup decides nothing: every so often is enough. A limit that is set is seen as
        // late as a move to a cgroup that has one.
        if !due
            && self.unlimited.limit == Err(Absent::Unlimited)
            && self.unlimited.high.is_err()
            && !matches!(self.target, Target::Cgroup(_))
        {
            return Ok(self.unlimited);
        }
        let mut now = cgroup.read_in(tick.round, machine_total);
        let before = std::mem::replace(&mut self.unlimited, now);
        // A reading that failed stands for itself alone.
        if before.usage.is_ok() && now.usage.is_err()
            || before.events.oom_kill.is_ok() && now.events.oom_kill.is_err()
        {
            self.refreshed = None;
        }
        if moved {
            // What another cgroup has counted before is nothing that happened to the target: whoever takes differences
            // begins anew.
            now.events = CgroupEvents::default();
        }
        Ok(now)
    }

    /// The next read reads everything anew.
    pub(super) fn forget(&mut self) {
        self.refreshed = None;
    }
}

/// Finds the processes and the cgroups of `target`.
fn open(
    machine: &mut LinuxMachine,
    target: &Target,
    alone: bool,
) -> Result<(Option<Set>, Reading<Hierarchy>), OpenError> {
    let LinuxMachine { table, groups, .. } = machine;
    Ok(match target {
        Target::Own => {
            (Some(Set::of(table, &[own(table.proc())?])?), cgroup(groups, target, alone))
        }
        Target::Process(id) => (Some(Set::of(table, &[*id])?), cgroup(groups, target, alone)),
        Target::Tree(id) => (Some(Set::tree(table, *id)?), cgroup(groups, target, alone)),
        Target::Cgroup(path) => {
            let cgroup = cgroup(groups, target, alone).map_err(|why| no_cgroup(path, why))?;
            (Some(Set::cgroup(table, &cgroup)), Ok(cgroup))
        }
        Target::System => (None, Err(Absent::NotRead)),
    })
}

fn no_cgroup(path: &Path, why: Absent) -> OpenError {
    match why {
        Absent::Gone => OpenError::NoSuchCgroup { path: path.to_owned() },
        reason => OpenError::Unreadable { what: "the memory files of the cgroup", reason },
    }
}

/// Finds the cgroups of `target`. The file that names them is held for a target that is `alone`; of many it is asked too
/// seldom.
fn cgroup(groups: &mut Groups, target: &Target, alone: bool) -> Reading<Hierarchy> {
    match target {
        Target::Own => Hierarchy::of_process(groups, "self", alone),
        Target::Process(id) | Target::Tree(id) => {
            Hierarchy::of_process(groups, &id.pid.to_string(), alone)
        }
        Target::Cgroup(path) => Hierarchy::of_path(groups, path),
        Target::System => Err(Absent::NotRead),
    }
}

/// The own process. Asked of `/proc`, whose numbers may be those of another pid namespace.
fn own(proc: &Proc) -> Result<ProcessId, OpenError> {
    let stat = proc.own_stat();
    let stat = stat.map_err(|reason| OpenError::process(std::process::id(), reason))?;
    Ok(ProcessId { pid: stat.pid, start: stat.start })
}

/// Whether the pid of `target` is still its own, and its first thread alive: of one that has ended v1 says that it is in the
/// root (`proc_cgroup_show`), where the process is not.
fn is_same(target: &Target, proc: &Proc) -> bool {
    match target {
        Target::Process(id) | Target::Tree(id) => {
            let state = proc.file(id.pid, "status").and_then(|status| {
                let mut buffer = [0; 256];
                let state = Fields::new(status.read(&mut buffer)?).text(b"State:");
                Ok(state.and_then(|state| state.first().copied()))
            });
            proc.stat(id.pid).is_ok_and(|stat| stat.start == id.start) && state != Ok(Some(b'Z'))
        }
        _ => true,
    }
}
