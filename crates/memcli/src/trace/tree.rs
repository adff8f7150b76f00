//! The processes of a target as rows of a trace: who was there, and how large each was.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use memtrack::Sample;
use memtrack::processes::{ProcessId, ProcessRow as Live, Snapshot};
use serde::{Deserialize, Serialize};

use crate::command_line::command;
use crate::output::screen::harmless;

/// A tree that stays the same is told again this often; one that changes at once, but not more often than [`LEAST`]; and one that is
/// larger by [`LARGER`] than it ever was told at once, so that who was there at its largest is known. That is no more than ten times
/// for each tenfold.
const EVERY: Duration = Duration::from_secs(10);
const LEAST: Duration = Duration::from_secs(1);
/// A quarter, as a divisor.
const LARGER: u64 = 4;
/// Processes of one row. A machine with more has other tools for that.
const MOST: usize = 256;
/// Letters of a command that are kept.
const LETTERS: usize = 120;

/// All processes of the target at one time, in order of their pids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProcessesRow {
    /// Seconds since the watch began.
    pub t: f64,
    /// The processes.
    pub rows: Vec<ProcessRow>,
    /// Processes beyond those listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

/// One process. Sizes are in bytes; what could not be read is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProcessRow {
    /// Its pid.
    pub pid: u32,
    /// When it started, in clock ticks since boot: with the pid its identity.
    pub start: u64,
    /// The pid of its parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
    /// Its command with the arguments, where it was not told before in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Resident bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss: Option<u64>,
    /// Resident bytes, shared pages divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pss: Option<u64>,
    /// Private bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anon: Option<u64>,
    /// Swapped bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<u64>,
    /// Threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(more: &u64) -> bool {
    *more == 0
}

impl ProcessesRow {
    /// The sum of RSS over the listed processes, shared pages in each.
    #[must_use]
    pub fn rss(&self) -> u64 {
        self.rows.iter().filter_map(|row| row.rss).fold(0, u64::saturating_add)
    }

    pub(super) fn cleaned(mut self) -> Self {
        if !self.t.is_finite() {
            self.t = 0.0;
        }
        for row in &mut self.rows {
            row.command = row.command.as_deref().map(harmless);
        }
        self
    }
}

/// Decides when a tree is told, and what of it is new.
#[derive(Debug)]
pub struct Tree {
    snapshot: Snapshot,
    told: HashSet<ProcessId>,
    at: Option<Duration>,
    count: u64,
    /// The highest RSS at which it was told, in bytes.
    highest: u64,
}

impl Tree {
    /// A tree that has not been told yet.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, told: HashSet::new(), at: None, count: 0, highest: 0 }
    }

    /// The row that is due with `sample`, if any.
    pub fn row(&mut self, sample: &Sample) -> Option<ProcessesRow> {
        let (now, count) = (sample.at.monotonic, sample.process.processes.ok()?);
        let rss = sample.process.rss.unwrap_or(0);
        let due = self.at.is_none_or(|at| {
            let since = now.saturating_sub(at);
            let larger = rss > self.highest.saturating_add(self.highest / LARGER);
            // One process alone is what the samples tell already.
            (count != self.count && since >= LEAST) || (count > 1 && (since >= EVERY || larger))
        });
        if !due {
            return None;
        }
        let live = self.snapshot.rows();
        if live.is_empty() {
            return None;
        }
        (self.at, self.count, self.highest) = (Some(now), count, self.highest.max(rss));
        let row = self.tell(now, &live, |process| command(Path::new("/"), process));
        Some(row)
    }

    fn tell(
        &mut self,
        now: Duration,
        live: &[Live],
        command: impl Fn(&Live) -> String,
    ) -> ProcessesRow {
        let mut live: Vec<&Live> = live.iter().collect();
        live.sort_by_key(|process| std::cmp::Reverse(process.memory.rss.unwrap_or(0)));
        let more = live.len().saturating_sub(MOST) as u64;
        live.truncate(MOST);
        live.sort_by_key(|process| process.id.pid);
        let before = std::mem::take(&mut self.told);
        let rows = live.iter().map(|process| {
            let known = before.contains(&process.id);
            let command = (!known).then(|| command(process).chars().take(LETTERS).collect());
            let memory = &process.memory;
            let row = ProcessRow {
                pid: process.id.pid,
                start: process.id.start,
                parent: process.parent.ok().filter(|parent| *parent != 0),
                command,
                rss: memory.rss.ok(),
                pss: memory.pss.ok(),
                anon: memory.anon.ok(),
                swap: memory.swap.ok().filter(|swap| *swap > 0),
                threads: memory.threads.ok(),
            };
            self.told.insert(process.id);
            row
        });
        let t = now.as_secs_f64();
        ProcessesRow { t: (t * 1e4).round() / 1e4, rows: rows.collect(), more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::source::{LinuxSource, Source, Target};

    #[test]
    fn a_tree_is_told_at_first_when_it_changes_and_from_time_to_time() {
        let id = ProcessId::own().unwrap();
        let mut source = LinuxSource::open(&Target::Process(id)).unwrap();
        let snapshot = source.snapshot();
        let mut sample = source.read(&memtrack::TrackConfig::default()).unwrap();
        let mut tree = Tree::new(snapshot);
        let mut told = Vec::new();
        for tenth in 0..400u64 {
            sample.at.monotonic = Duration::from_millis(100 * tenth);
            sample.process.processes = Ok(match tenth {
                0..50 => 1,
                50..55 => 2,
                _ => 3,
            });
            told.extend(tree.row(&sample).map(|row| (tenth, row)));
        }
        // Three processes of 100, 124, 126, 200 and 100 MiB, a tenth of a second each.
        let mut told_of = |tenth: u64, mib: u64| {
            sample.at.monotonic = Duration::from_millis(100 * tenth);
            sample.process.rss = Ok(mib << 20);
            tree.row(&sample).is_some()
        };
        let grown = [(400, 100), (401, 124), (402, 126), (403, 200), (404, 100), (405, 200)];
        let grown = grown.map(|(tenth, mib)| told_of(tenth, mib));
        assert_eq!(grown, [true, false, true, true, false, false]);
        sample.process.processes = Ok(1);
        sample.process.rss = Ok(1 << 40);
        assert!(tree.row(&sample).is_none(), "one alone");
        let at: Vec<u64> = told.iter().map(|(tenth, _)| *tenth).collect();
        assert_eq!(at, [0, 50, 60, 160, 260, 360]);
        assert_eq!(told[0].1.rows[0].pid, id.pid);
        assert!(told[0].1.rows[0].command.is_some() && told[1].1.rows[0].command.is_none());
        assert!(told[0].1.rss() > 0 && told[0].1.more == 0);
    }
}
