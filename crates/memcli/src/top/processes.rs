//! The rows of the process table: a tree, with what each process gained in the last minute.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use memtrack::ProcessMemory;
use memtrack::processes::{ProcessId, ProcessName};

/// Gains are over this time.
const MINUTE: Duration = Duration::from_secs(60);
/// One size is kept this often; a gain is exact to within it.
const EVERY: Duration = Duration::from_secs(2);

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which process.
    pub id: ProcessId,
    /// The pid of its parent, where it is known.
    pub parent: Option<u32>,
    /// How deep below the root of the tree.
    pub depth: usize,
    /// The command with its arguments.
    pub command: String,
    /// Its memory.
    pub memory: ProcessMemory,
    /// Bytes of private memory gained since a minute ago, or since it was first seen.
    pub gain: Option<i64>,
}

/// The table as of the newest sample.
#[derive(Debug, Default)]
pub struct Processes {
    rows: Vec<Row>,
    known: HashMap<ProcessId, Known>,
    seen: bool,
}

#[derive(Debug)]
struct Known {
    name: ProcessName,
    command: String,
    sizes: VecDeque<(Duration, u64)>,
}

/// Who came and went between two samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turnover {
    /// `name(pid)` of those that are new.
    pub started: Vec<String>,
    /// `name(pid)` of those that are gone.
    pub ended: Vec<String>,
}

impl Processes {
    /// The rows, parents before their children.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Takes the processes of the sample at `now`, of which `part` is what changes. `command` is asked once for each process, and again when its
    /// `name` is another: it has become another program.
    pub fn update<T>(
        &mut self,
        now: Duration,
        snapshot: &[T],
        part: impl Fn(&T) -> (ProcessId, Option<u32>, ProcessMemory),
        name_of: impl Fn(&T) -> ProcessName,
        command: impl Fn(&T) -> String,
    ) -> Turnover {
        let mut turnover = Turnover::default();
        let name = |id: ProcessId, command: &str| {
            format!("{}({})", command.split_whitespace().next().unwrap_or("process"), id.pid)
        };
        let alive: HashSet<ProcessId> = snapshot.iter().map(|one| part(one).0).collect();
        self.known.retain(|id, known| {
            let lives = alive.contains(id);
            if !lives {
                turnover.ended.push(name(*id, &known.command));
            }
            lives
        });
        let mut rows = Vec::with_capacity(snapshot.len());
        for process in snapshot {
            let (id, parent, memory) = part(process);
            let known = self.known.entry(id).or_insert_with(|| {
                let command = command(process);
                turnover.started.push(name(id, &command));
                Known { name: name_of(process), command, sizes: VecDeque::new() }
            });
            let renamed = name_of(process);
            if known.name != renamed {
                (known.name, known.command) = (renamed, command(process));
            }
            let gain = memory.private().ok().and_then(|bytes| known.gain(now, bytes));
            rows.push(Row { id, parent, depth: 0, command: known.command.clone(), memory, gain });
        }
        if !std::mem::replace(&mut self.seen, true) {
            turnover = Turnover::default();
        }
        self.rows = as_tree(rows);
        turnover
    }
}

impl Processes {
    /// Takes the memory of the only process there is: a recording tells it with each sample, and its processes seldom.
    pub fn alone(&mut self, now: Duration, memory: ProcessMemory) {
        let [row] = self.rows.as_mut_slice() else { return };
        let known = self.known.get_mut(&row.id);
        let private = memory.private().ok();
        row.gain = known.zip(private).and_then(|(known, bytes)| known.gain(now, bytes));
        row.memory = memory;
    }
}

impl Known {
    fn gain(&mut self, now: Duration, bytes: u64) -> Option<i64> {
        if self.sizes.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= EVERY) {
            self.sizes.push_back((now, bytes));
        }
        while self.sizes.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= MINUTE) {
            self.sizes.pop_front();
        }
        let (at, before) = self.sizes.front()?;
        let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        (*at < now).then(|| signed(bytes) - signed(*before))
    }
}

/// Parents before their children, each set of siblings by size.
fn as_tree(mut rows: Vec<Row>) -> Vec<Row> {
    let pids: HashSet<u32> = rows.iter().map(|row| row.id.pid).collect();
    let parent = |row: &Row| {
        let parent = row.parent?;
        // A process that is its own parent would be left out of the tree.
        (pids.contains(&parent) && parent != row.id.pid).then_some(parent)
    };
    // Taken from the back, so the largest comes first.
    rows.sort_by_key(|row| row.memory.rss.unwrap_or(0));
    let mut children: HashMap<u32, Vec<Row>> = HashMap::new();
    let mut waiting = Vec::new();
    for row in rows {
        match parent(&row) {
            Some(parent) => children.entry(parent).or_default().push(row),
            None => waiting.push(row),
        }
    }
    let mut tree = Vec::new();
    loop {
        while let Some(row) = waiting.pop() {
            for mut child in children.remove(&row.id.pid).unwrap_or_default() {
                child.depth = row.depth + 1;
                waiting.push(child);
            }
            tree.push(row);
        }
        // Parents were read at different times: should they form a ring, its members are still shown.
        let Some(pid) = children.keys().min().copied() else { return tree };
        waiting = children.remove(&pid).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type One = (ProcessId, Option<u32>, ProcessMemory);

    fn row(pid: u32, parent: u32, rss: u64) -> One {
        let mut memory = ProcessMemory::default();
        (memory.rss, memory.anon) = (Ok(rss), Ok(rss));
        (ProcessId { pid, start: 1 }, Some(parent), memory)
    }

    fn update(processes: &mut Processes, second: u64, snapshot: &[One]) -> Turnover {
        let command = |(id, ..): &One| format!("worker --number {}", id.pid);
        processes.update(
            Duration::from_secs(second),
            snapshot,
            |one| *one,
            |_| ProcessName::default(),
            command,
        )
    }

    #[test]
    fn children_follow_their_parents_and_the_largest_comes_first() {
        let mut processes = Processes::default();
        let snapshot = [row(1, 99, 5), row(2, 1, 6), row(3, 1, 9), row(4, 2, 7)];
        let turnover = update(&mut processes, 0, &snapshot);
        assert_eq!(turnover, Turnover::default(), "who is there at the start did not start");
        let shown: Vec<_> = processes.rows().iter().map(|row| (row.id.pid, row.depth)).collect();
        assert_eq!(shown, [(1, 0), (3, 1), (2, 1), (4, 2)]);
    }

    #[test]
    fn a_process_that_becomes_another_program_is_shown_as_that() {
        let mut processes = Processes::default();
        for name in ["sh", "python3", "python3"] {
            processes.update(
                Duration::ZERO,
                &[row(1, 0, 5)],
                |one| *one,
                |_| ProcessName::new(name.as_bytes()),
                |_| format!("{name} x"),
            );
            assert_eq!(processes.rows()[0].command, format!("{name} x"));
        }
    }

    #[test]
    fn a_ring_of_parents_loses_nobody() {
        let mut processes = Processes::default();
        update(&mut processes, 0, &[row(1, 2, 5), row(2, 1, 6), row(3, 3, 9)]);
        assert_eq!(processes.rows().len(), 3);
    }

    #[test]
    fn a_gain_is_that_of_the_last_minute() {
        let mut processes = Processes::default();
        for second in 0..=180u64 {
            update(&mut processes, second, &[row(1, 0, 1000 + second)]);
        }
        let gain = processes.rows()[0].gain.unwrap();
        assert!((60..=62).contains(&gain), "{gain}");
    }

    #[test]
    fn who_comes_and_goes_is_told() {
        let mut processes = Processes::default();
        update(&mut processes, 0, &[row(1, 0, 1), row(2, 0, 1)]);
        let turnover = update(&mut processes, 1, &[row(1, 0, 1), row(3, 0, 1)]);
        assert_eq!(turnover.started, ["worker(3)"]);
        assert_eq!(turnover.ended, ["worker(2)"]);
    }
}
