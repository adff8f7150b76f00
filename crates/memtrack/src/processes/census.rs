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
/// Even if nothing seems to have been started: some sandboxes show a load average that is made up, and some containers that of
/// the machine around them, whose pids are none of theirs.
const FORCED_SCAN: Duration = Duration::from_secs(10);
/// The same where the load average can be believed and the kernel's lists of children leave nobody out.
const LISTED_SCAN: Duration = Duration::from_secs(60);
/// When no more than so many pids were given out since the last look, those alone are looked at.
const MOST_PROBED: u32 = 32;

/// When to look through everything again.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    not_before: Option<Instant>,
    /// When everything was looked through last.
    complete: Option<Instant>,
}

impl Schedule {
    /// Whether to look when something was started, and otherwise `at_least` so often.
    pub(super) fn due(&self, now: Instant, something_started: bool, at_least: Duration) -> bool {
        self.is_forced(now, at_least) || something_started && self.may(now)
    }

    fn may(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|time| now >= time)
    }

    fn is_forced(&self, now: Instant, at_least: Duration) -> bool {
        let complete = self.complete;
        complete.is_none_or(|last| now.saturating_duration_since(last) >= at_least && self.may(now))
    }

    /// A look at everything that took `cost`.
    pub(super) fn done(&mut self, now: Instant, cost: Duration) {
        self.glanced(now, cost);
        self.complete = Some(now);
    }

    /// A look at some of it.
    fn glanced(&mut self, now: Instant, cost: Duration) {
        self.not_before = now.checked_add(SCAN_INTERVAL.max(cost.saturating_mul(SCAN_SHARE)));
    }

    /// There is nothing yet that a look could find.
    fn begin(&mut self, now: Instant) {
        self.complete = Some(now);
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
    /// The newest pid is that of this machine, as far as one can see.
    believed: bool,
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
            believed: false,
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
        // After the pids have begun anew this is no until they have caught up, and a look more often does no harm.
        let own = u64::from(std::process::id());
        self.believed = self.own_pids && self.read_newest().is_ok_and(|newest| newest >= own);
        self.schedule = Schedule::default();
    }

    /// The tree that joined was started just now: who belongs to it is listed.
    pub(super) fn joined_at_its_start(&mut self, now: Instant) {
        self.schedule.begin(now);
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
        let at_least = if hidden || !self.believed { FORCED_SCAN } else { LISTED_SCAN };
        if self.schedule.due(now, hidden && self.started_since_scan, at_least) {
            let before = Instant::now();
            let newest = self.newest_pid().ok().and_then(|newest| u32::try_from(newest).ok());
            self.processes.clear();
            match self.new_pids(newest) {
                Some(new) if !self.schedule.is_forced(now, at_least) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_at_everything_waits_for_its_share_and_no_longer_than_it_must() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = Schedule::default();
        assert!(schedule.due(at(0), false, FORCED_SCAN), "nothing was seen yet");
        schedule.done(at(0), Duration::from_millis(1));
        assert!(!schedule.due(at(2), true, FORCED_SCAN), "1 ms is 0.03 % of 3 s");
        assert!(schedule.due(at(3), true, FORCED_SCAN) && !schedule.due(at(3), false, FORCED_SCAN));
        schedule.glanced(at(3), Duration::ZERO);
        assert!(
            !schedule.due(at(9), false, FORCED_SCAN) && schedule.due(at(10), false, FORCED_SCAN)
        );
        assert!(
            !schedule.due(at(59), false, LISTED_SCAN) && schedule.due(at(60), false, LISTED_SCAN)
        );
        schedule.done(at(60), Duration::from_secs(1));
        assert!(!schedule.due(at(3000), true, LISTED_SCAN), "3 s of 10000 s");
        let mut begun = Schedule::default();
        begun.begin(at(0));
        assert!(!begun.due(at(9), false, FORCED_SCAN) && begun.due(at(0), true, FORCED_SCAN));
    }

    #[test]
    fn a_load_average_that_is_made_up_is_not_believed() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str, text: String| {
            let path = root.path().join("proc").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let own = u64::from(std::process::id());
        file("self/stat", format!("{own} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0\n"));
        for (newest, believed) in [(0, false), (own - 1, false), (own, true), (own + 9, true)] {
            file("loadavg", format!("0.00 0.00 0.00 1/9 {newest}\n"));
            let mut census = Census::default();
            census.join(&Proc::open(root.path()).unwrap());
            assert_eq!(census.believed, believed, "{newest} of {own}");
        }
        file("self/stat", "1 (x) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0\n".to_owned());
        let mut census = Census::default();
        census.join(&Proc::open(root.path()).unwrap());
        assert_eq!(census.believed, own == 1, "pids of another namespace");
    }
}
