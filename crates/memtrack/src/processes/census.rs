//! All processes of the machine, looked through seldom, for whoever looks for descendants.

use std::time::{Duration, Instant};

use crate::held::Held;
use crate::procfs::{Proc, Stat};
use crate::reading::{Absent, Reading};
use crate::text::number;

/// All processes of the machine are looked through at most this often ...
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// ... and the longer it takes the less often, so that it stays within 0.1 % of a core.
const SCAN_SHARE: u32 = 1000;
/// Even if nothing seems to have been started: some sandboxes show a load average that is made up.
const FORCED_SCAN: Duration = Duration::from_secs(10);

/// When to look through everything again.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    not_before: Option<Instant>,
    forced: Option<Instant>,
}

impl Schedule {
    pub(super) fn due(&self, now: Instant, something_started: bool) -> bool {
        let passed = |time: Option<Instant>| time.is_none_or(|time| now >= time);
        passed(self.forced) || something_started && passed(self.not_before)
    }

    pub(super) fn done(&mut self, now: Instant, cost: Duration) {
        let pause = SCAN_INTERVAL.max(cost.saturating_mul(SCAN_SHARE));
        self.not_before = now.checked_add(pause);
        self.forced = now.checked_add(pause.max(FORCED_SCAN));
    }
}

/// Who is whose child, as of the last scan. A hint and no proof: whoever takes a process in looks at it again.
///
/// One scan serves all sets, since it costs as much as reading every process of the machine.
#[derive(Debug)]
pub(super) struct Census {
    loadavg: Reading<Held>,
    /// The newest pid as of this round, once somebody asked.
    newest: Option<Reading<u64>>,
    newest_before: Reading<u64>,
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

    /// Looks through all processes when that is due, and gives the number of the last scan.
    pub(super) fn scan(&mut self, proc: &Proc, now: Instant) -> u64 {
        if self.schedule.due(now, self.started_since_scan) {
            let before = Instant::now();
            self.processes.clear();
            // What a failing scan misses is found by the next one, which is due soon.
            let _ = proc.pids(|pid| self.processes.extend(proc.stat(pid)));
            self.processes.sort_unstable_by_key(|stat| (stat.parent, stat.pid));
            self.started_since_scan = false;
            self.scans += 1;
            self.schedule.done(now, before.elapsed());
        }
        self.scans
    }

    /// The `nth` child of `parent`.
    pub(super) fn child(&self, parent: u32, nth: usize) -> Option<u32> {
        let first = self.processes.partition_point(|stat| stat.parent < parent);
        let child = self.processes.get(first.checked_add(nth)?)?;
        (child.parent == parent).then_some(child.pid)
    }
}
