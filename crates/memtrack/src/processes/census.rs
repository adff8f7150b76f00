//! All processes of the machine, looked through seldom, for whoever looks for descendants.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::held::Held;
use crate::procfs::{Proc, Stat};
use crate::reading::{Absent, Reading};
use crate::text::number;

/// All processes of the machine are looked through at most this often ...
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// ... and the longer it takes the less often, so that it stays within 0.03 % of a core.
const SCAN_SHARE: u32 = 3000;
/// Even if nothing seems to have been started: some sandboxes show a load average that is made up.
const FORCED_SCAN: Duration = Duration::from_secs(10);
/// When no more than so many pids were given out since the last look, those alone are looked at.
const MOST_PROBED: u32 = 32;

/// When to look through everything again.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    not_before: Option<Instant>,
    forced: Option<Instant>,
}

impl Schedule {
    pub(super) fn due(&self, now: Instant, something_started: bool) -> bool {
        let may = self.not_before.is_none_or(|time| now >= time);
        self.is_forced(now) || something_started && may
    }

    fn is_forced(&self, now: Instant) -> bool {
        self.forced.is_none_or(|time| now >= time)
    }

    /// A look at everything that took `cost`.
    pub(super) fn done(&mut self, now: Instant, cost: Duration) {
        self.glanced(now, cost);
        let forced = now.checked_add(FORCED_SCAN);
        self.forced = forced.max(self.not_before);
    }

    /// A look at some of it.
    fn glanced(&mut self, now: Instant, cost: Duration) {
        self.not_before = now.checked_add(SCAN_INTERVAL.max(cost.saturating_mul(SCAN_SHARE)));
    }
}

/// Who is whose child, as of the last scan: of all processes, or of those that are new since the scan before. A hint and no
/// proof: whoever takes a process in looks at it again.
///
/// One scan serves all sets, since it costs as much as reading every process of the machine.
#[derive(Debug)]
pub(super) struct Census {
    loadavg: Reading<Held>,
    /// The newest pid as of this round, once somebody asked.
    newest: Option<Reading<u64>>,
    newest_before: Reading<u64>,
    /// The newest pid as of the last scan; unknown too where `proc` counts in other pids than the kernel does for us.
    scanned_to: Option<u32>,
    own_pids: bool,
    started_since_scan: bool,
    schedule: Schedule,
    /// Sorted by parent.
    processes: Vec<Stat>,
    scans: u64,
}

impl Default for Census {
    fn default() -> Self {
        Self {
            loadavg: Err(Absent::NotRead),
            newest: None,
            newest_before: Err(Absent::NotRead),
            scanned_to: None,
            own_pids: false,
            started_since_scan: true,
            schedule: Schedule::default(),
            processes: Vec::new(),
            scans: 0,
        }
    }
}

impl Census {
    /// Serves one more tree: what was seen before it was known does not count for it.
    pub(super) fn join(&mut self, proc: &Proc) {
        if self.loadavg.is_err() {
            self.loadavg = proc.machine_file("loadavg");
        }
        self.own_pids = proc.own_stat().is_ok_and(|own| own.pid == std::process::id());
        self.schedule = Schedule::default();
    }

    pub(super) fn begin(&mut self) {
        self.newest = None;
    }

    /// The newest pid of the machine, the last field of `loadavg`: another one than before when something was started.
    pub(super) fn newest_pid(&mut self) -> Reading<u64> {
        if let Some(newest) = self.newest {
            return newest;
        }
        let newest = self.read_newest();
        self.started_since_scan |= newest.is_err() || newest != self.newest_before;
        self.newest_before = newest;
        self.newest = Some(newest);
        newest
    }

    fn read_newest(&self) -> Reading<u64> {
        let mut buffer = [0; 128];
        let text = self.loadavg.as_ref().map_err(|why| *why)?.read(&mut buffer)?;
        let newest = text.trim_ascii().rsplit(|byte| *byte == b' ').next();
        number(newest.ok_or(Absent::Malformed)?)
    }

    /// Looks through all processes when that is due, and gives the number of the last scan. With `hidden`, some set has
    /// members whose children nobody else lists, and what was started since is looked at soon.
    pub(super) fn scan(&mut self, proc: &Proc, now: Instant, hidden: bool) -> u64 {
        if self.schedule.due(now, hidden && self.started_since_scan) {
            let before = Instant::now();
            let newest = self.newest_pid().ok().and_then(|newest| u32::try_from(newest).ok());
            self.processes.clear();
            match self.new_pids(newest) {
                Some(new) if !self.schedule.is_forced(now) => {
                    let new = new.filter_map(|pid| proc.stat(pid).ok());
                    self.processes.extend(new.filter(|stat| !stat.is_thread));
                    self.schedule.glanced(now, before.elapsed());
                }
                _ => {
                    // What a failing scan misses is found by the next one, which is due soon.
                    let _ = proc.pids(|pid| self.processes.extend(proc.stat(pid)));
                    self.schedule.done(now, before.elapsed());
                }
            }
            self.processes.sort_unstable_by_key(|stat| (stat.parent, stat.pid));
            self.scanned_to = newest.filter(|_| self.own_pids);
            self.started_since_scan = false;
            self.scans += 1;
        }
        self.scans
    }

    /// The pids that were given out since the last scan, when they are few. The kernel gives them out in rising order, and to
    /// threads as well.
    fn new_pids(&self, newest: Option<u32>) -> Option<RangeInclusive<u32>> {
        let (before, newest) = (self.scanned_to?, newest?);
        let new = newest.checked_sub(before)?;
        (new <= MOST_PROBED).then(|| before.saturating_add(1)..=newest)
    }

    /// The `nth` child of `parent`.
    pub(super) fn child(&self, parent: u32, nth: usize) -> Option<u32> {
        let first = self.processes.partition_point(|stat| stat.parent < parent);
        let child = self.processes.get(first.checked_add(nth)?)?;
        (child.parent == parent).then_some(child.pid)
    }
}
