//! What the live view knows and what its user chose. Pure: samples, events and actions in; fields to draw out.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use memleak::Verdict;
use mempressure::{Machine, Status, Thresholds};
use memtrack::processes::{ProcessId, ProcessName, ProcessRow as Live};
use memtrack::source::Target as Watched;
use memtrack::{ProcessMemory, Reading, Sample};

use crate::command_line::command;
use crate::limit::Limit;
use crate::top::history::{History, Metric};
use crate::top::keys::Action;
use crate::top::processes::{Processes, Row, Turnover};
use crate::trace::tree::{ProcessRow, ProcessesRow};

/// A process that is alone in a recording is kept this often.
const ALONE: Duration = Duration::from_secs(1);
/// Times of a recording at which its processes are kept.
const TREES: usize = 1024;
/// Events kept.
const EVENTS: usize = 200;
/// The range of the chart's height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zoom {
    /// From 0 to the highest that is shown.
    Zero,
    /// From the lowest to the highest that is shown.
    Data,
    /// From 0 to the limit.
    Limit,
}

/// What the chart marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Somebody was told.
    Alert,
    /// The configuration was edited.
    Config,
    /// Samples are missing.
    Gap,
}

/// What the up and down keys move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// The processes.
    Processes,
    /// The events.
    Events,
}

/// What follows from the samples so far, as the pipeline holds it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The level, and what decides it.
    pub status: Status,
    /// Whether it grows.
    pub verdict: Verdict,
    /// The nearest limit.
    pub limit: Reading<Limit>,
    /// From which shares of the limit each level holds.
    pub thresholds: Thresholds,
}

/// What a row of a trace says of one process.
fn recorded_process(row: &ProcessRow) -> (ProcessId, Option<u32>, ProcessMemory) {
    let mut memory = ProcessMemory::default();
    for (reading, bytes) in [
        (&mut memory.rss, row.rss),
        (&mut memory.pss, row.pss),
        (&mut memory.anon, row.anon),
        // Left out where it is none.
        (&mut memory.swap, row.swap.or(row.anon.map(|_| 0))),
        (&mut memory.threads, row.threads),
    ] {
        if let Some(bytes) = bytes {
            *reading = Ok(bytes);
        }
    }
    (ProcessId { pid: row.pid, start: row.start }, row.parent, memory)
}

/// Processes that came and went, told in one line as long as nothing else happens.
#[derive(Debug)]
struct Churn {
    since: String,
    started: usize,
    ended: usize,
}

/// Everything that is drawn.
#[derive(Debug)]
pub struct State {
    /// `worker(4321)+7`.
    pub label: String,
    /// What is watched.
    pub watched: Watched,
    /// The time between samples that was asked for.
    pub interval: Duration,
    /// The newest sample.
    pub sample: Option<Sample>,
    /// What follows from it.
    pub judged: Judged,
    /// The processes of the target.
    pub processes: Processes,
    /// Lines about what happened, oldest first.
    pub events: VecDeque<String>,
    /// The target has ended; no sample will follow.
    pub ended: bool,
    /// It is a recording.
    pub recorded: bool,
    /// The points of the chart.
    pub history: History,
    /// When something happened that the chart marks, and with what.
    pub marks: VecDeque<(Duration, Mark)>,
    /// What the rows of processes and events must contain.
    pub filter: String,
    /// Whether keys are letters of the filter.
    pub typing: bool,
    /// The trace that is being written, when one is.
    pub saving: Option<String>,
    /// What is plotted.
    pub metric: Metric,
    /// The chart's height.
    pub zoom: Zoom,
    /// What the up and down keys move.
    pub pane: Pane,
    /// How far each pane is scrolled.
    pub scrolled: [usize; 2],
    /// Whether the keys are shown.
    pub help: bool,
    /// The last event, when it is one of these.
    churn: Option<Churn>,
    /// What the processes were at times of a recording.
    trees: VecDeque<(Duration, Vec<Row>)>,
}

impl State {
    /// A view of `watched` before the first sample; `recorded` says that it is a recording.
    #[must_use]
    pub fn new(label: String, watched: Watched, interval: Duration, recorded: bool) -> Self {
        let metric = Metric::of(&watched);
        let judged = Judged {
            status: Machine::new().status(),
            verdict: memleak::Detector::new(&memleak::LeakConfig::default()).verdict(),
            limit: Err(memtrack::Absent::NotRead),
            thresholds: Thresholds::default(),
        };
        Self {
            label,
            watched,
            interval,
            sample: None,
            judged,
            processes: Processes::default(),
            events: VecDeque::new(),
            ended: false,
            recorded,
            history: History::new(recorded),
            marks: VecDeque::new(),
            filter: String::new(),
            typing: false,
            saving: None,
            metric,
            zoom: Zoom::Zero,
            pane: Pane::Processes,
            scrolled: [0, 0],
            help: false,
            churn: None,
            trees: VecDeque::new(),
        }
    }

    /// Takes a sample with what follows from it, and the processes behind it.
    pub fn observe(&mut self, sample: &Sample, judged: Judged, snapshot: &[Live]) {
        self.history.push(sample, judged.status.level);
        let at = sample.at;
        self.sample = Some(*sample);
        self.judged = judged;
        if self.recorded {
            if sample.process.processes == Ok(1) {
                self.alone(at.monotonic, sample.process);
            }
            return;
        }
        let turnover = self.processes.update(
            at.monotonic,
            snapshot,
            |row| (row.id, row.parent.ok(), row.memory),
            |row| row.name,
            |row| command(Path::new("/"), row),
        );
        self.note_turnover(&crate::output::human::time_of_day(at.wall), turnover);
    }

    /// The time between points: that between samples, or more once they were thinned.
    #[must_use]
    pub fn step(&self) -> Duration {
        self.interval.saturating_mul(self.history.stride())
    }

    /// One line for all that came and went since something else happened: a tree that forks all the time must not drive
    /// the rest out of sight.
    fn note_turnover(&mut self, time: &str, turnover: Turnover) {
        if turnover == Turnover::default() {
            return;
        }
        let mut churn = match self.churn.take() {
            Some(churn) => {
                self.events.pop_back();
                churn
            }
            None => Churn { since: time.to_owned(), started: 0, ended: 0 },
        };
        churn.started += turnover.started.len();
        churn.ended += turnover.ended.len();
        let Churn { since, started, ended } = &churn;
        let line = match (*started, *ended, turnover.started.first(), turnover.ended.first()) {
            (1, 0, Some(name), _) => format!("{time} process  {name} started"),
            (0, 1, _, Some(name)) => format!("{time} process  {name} ended"),
            _ => format!("{time} process  {started} started, {ended} ended since {since}"),
        };
        self.note(line);
        self.churn = Some(churn);
    }

    /// Keeps the processes of a recording at one time.
    pub fn tree(&mut self, tree: &ProcessesRow) {
        let Ok(at) = Duration::try_from_secs_f64(tree.t) else { return };
        let unnamed = |_: &ProcessRow| ProcessName::default();
        self.processes.update(at, &tree.rows, recorded_process, unnamed, |row| {
            row.command.clone().unwrap_or_default()
        });
        self.keep_tree(at);
    }

    /// The same for one process alone, which a recording tells with its samples.
    fn alone(&mut self, at: Duration, memory: ProcessMemory) {
        self.processes.alone(at, memory);
        let last = self.trees.back().map(|(last, _)| *last);
        if last.is_some_and(|last| at.saturating_sub(last) >= ALONE) {
            self.keep_tree(at);
        }
    }

    fn keep_tree(&mut self, at: Duration) {
        if self.trees.len() == TREES {
            // Every other one goes, so that the whole recording stays within reach.
            let mut keep = false;
            self.trees.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.trees.push_back((at, self.processes.rows().to_vec()));
    }

    /// The processes to show: those under the cursor of a recording, else the newest; as far as the filter lets them through.
    pub fn process_rows(&self) -> impl Iterator<Item = &Row> {
        let at = self.history.cursor().filter(|_| self.recorded);
        let then = at.and_then(|at| {
            let after = self.trees.partition_point(|(then, _)| *then <= at);
            self.trees.get(after.saturating_sub(1)).map(|(_, rows)| rows.as_slice())
        });
        then.unwrap_or(self.processes.rows()).iter().filter(|row| {
            self.passes(&row.command) || row.id.pid.to_string().contains(&self.filter)
        })
    }

    /// Lines about what happened, the newest first, as far as the filter lets them through.
    pub fn event_lines(&self) -> impl Iterator<Item = &String> {
        self.events.iter().rev().filter(|line| self.passes(line))
    }

    fn passes(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.filter.to_lowercase())
    }

    /// Marks the time of something that happened.
    pub fn mark(&mut self, at: Duration, mark: Mark) {
        if self.marks.len() == EVENTS {
            self.marks.pop_front();
        }
        self.marks.push_back((at, mark));
    }

    /// Keeps a line about what happened.
    pub fn note(&mut self, line: String) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.churn = None;
        self.events.push_back(line);
    }

    /// Does what the user asked for. `columns` is the width of the chart.
    pub fn act(&mut self, action: Action, columns: usize) {
        match action {
            Action::Pause => self.history.pause(),
            Action::Scrub(by) => self.history.scrub(by, columns.max(1)),
            Action::Oldest => self.history.oldest(),
            Action::Live => {
                self.history.live();
                (self.help, self.typing) = (false, false);
                self.filter.clear();
            }
            Action::Filter => self.typing = true,
            Action::Type(letter) => self.filter.push(letter),
            Action::Erase => drop(self.filter.pop()),
            Action::Typed => self.typing = false,
            Action::NextPane => {
                self.pane = match self.pane {
                    Pane::Processes => Pane::Events,
                    Pane::Events => Pane::Processes,
                }
            }
            Action::Scroll(by) => {
                let most = match self.pane {
                    Pane::Processes => self.process_rows().count(),
                    Pane::Events => self.event_lines().count(),
                };
                let scrolled = &mut self.scrolled[self.pane as usize];
                *scrolled = scrolled.saturating_add_signed(by as isize).min(most.saturating_sub(1));
            }
            Action::NextMetric => self.next_metric(),
            Action::Zoom => {
                self.zoom = match self.zoom {
                    Zoom::Zero => Zoom::Data,
                    Zoom::Data => Zoom::Limit,
                    Zoom::Limit => Zoom::Zero,
                }
            }
            Action::Span(by) => self.history.widen(by),
            Action::Help => self.help = !self.help,
            Action::Quit if self.help => self.help = false,
            Action::Save | Action::Quit | Action::Interrupt | Action::Abort | Action::Suspend => {}
        }
    }

    fn next_metric(&mut self) {
        let Some(newest) = self.history.last() else { return };
        let start = Metric::ALL.iter().position(|metric| *metric == self.metric).unwrap_or(0);
        let following = Metric::ALL.iter().cycle().skip(start + 1).take(Metric::ALL.len());
        let next = following.copied().find(|metric| newest.value(*metric).is_some());
        self.metric = next.unwrap_or(self.metric);
    }

    /// What the plotted number is called. What was imported has no private memory told apart from RSS.
    #[must_use]
    pub fn metric_name(&self) -> &'static str {
        let process = self.sample.as_ref().map(|sample| &sample.process);
        match process {
            Some(process)
                if self.metric == Metric::Private
                    && process.anon.is_err()
                    && process.rss.is_ok() =>
            {
                Metric::Rss.name()
            }
            _ => self.metric.name(),
        }
    }

    /// The newest value of what is plotted.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        self.history.last()?.value(self.metric)
    }

    /// Where in the plotted number a share of the nearest limit lies: what the number would be at that share if all
    /// else under the limit stayed as it is. `None` where that is below 0, or the limit is unknown.
    #[must_use]
    pub fn at_share(&self, share: f64) -> Option<f64> {
        let limit = self.judged.limit.as_ref().ok()?;
        let value = self.value()? as f64 + share * limit.bytes as f64 - limit.used as f64;
        (value > 0.0).then_some(value)
    }
}

#[cfg(test)]
pub(crate) mod tests;
