//! What the live view knows and what its user chose. Pure: samples, events and actions in; fields to draw out.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, SystemTime};

use memleak::Verdict;
use mempressure::{Level, Machine, Status, Thresholds};
use memtrack::processes::ProcessRow;
use memtrack::source::Target as Watched;
use memtrack::{Reading, Sample};

use crate::command_line::command;
use crate::limit::Limit;
use crate::top::keys::Action;
use crate::top::processes::{Processes, Turnover};

/// Points kept: an hour at one a second, in some 500 KiB. A recording that is longer is kept more coarsely.
const POINTS: usize = 3600;
/// Events kept.
const EVENTS: usize = 200;
/// The times that a chart may cover.
pub const SPANS: [Duration; 8] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(24 * 3600),
    Duration::from_secs(7 * 24 * 3600),
];
/// The longest that is taken by itself, as history grows.
const WIDEST_BY_ITSELF: usize = 1;

/// A number that can be plotted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Private memory: anon + swap.
    Private,
    /// Resident memory.
    Rss,
    /// Proportional share.
    Pss,
    /// The working set of the binding cgroup.
    WorkingSet,
    /// What the machine has not available.
    Used,
}

impl Metric {
    /// All of them, in the order in which `m` goes through them.
    pub const ALL: [Metric; 5] =
        [Metric::Private, Metric::Rss, Metric::Pss, Metric::WorkingSet, Metric::Used];

    /// What is plotted at first: the number that is watched for growth.
    #[must_use]
    pub fn of(watched: &Watched) -> Self {
        match watched {
            Watched::Cgroup(_) => Metric::WorkingSet,
            Watched::System => Metric::Used,
            _ => Metric::Private,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Metric::Private => "anon + swap",
            Metric::Rss => "RSS",
            Metric::Pss => "PSS",
            Metric::WorkingSet => "working set",
            Metric::Used => "in use on the machine",
        }
    }

    fn read(self, sample: &Sample) -> Reading<u64> {
        match self {
            Metric::Private => sample.process.private(),
            Metric::Rss => sample.process.rss,
            Metric::Pss => sample.process.pss,
            Metric::WorkingSet => sample.cgroup.working_set(),
            Metric::Used => Ok(sample.system.total?.saturating_sub(sample.system.available?)),
        }
    }
}

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

/// What the up and down keys move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// The processes.
    Processes,
    /// The events.
    Events,
}

/// One sample as the chart keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// When, on the samples' clock.
    pub at: Duration,
    /// When, by the wall clock.
    pub wall: SystemTime,
    /// The level then.
    pub level: Level,
    values: [Option<u64>; Metric::ALL.len()],
}

impl Point {
    /// The value of `metric`, where it was read.
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<u64> {
        self.values[metric as usize]
    }
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
    /// It is a recording: all of it is kept, and shown at first.
    pub recorded: bool,
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
    points: VecDeque<Point>,
    /// How many samples one point stands for.
    stride: u32,
    span: Option<usize>,
    /// The right edge of a chart that was stopped.
    stopped: Option<Duration>,
    cursor: Option<Duration>,
}

impl State {
    /// A view of `watched` before the first sample.
    #[must_use]
    pub fn new(label: String, watched: Watched, interval: Duration) -> Self {
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
            recorded: false,
            metric,
            zoom: Zoom::Zero,
            pane: Pane::Processes,
            scrolled: [0, 0],
            help: false,
            churn: None,
            points: VecDeque::new(),
            stride: 1,
            span: None,
            stopped: None,
            cursor: None,
        }
    }

    /// Takes a sample with what follows from it, and the processes behind it.
    pub fn observe(&mut self, sample: &Sample, judged: Judged, snapshot: &[ProcessRow]) {
        let values = Metric::ALL.map(|metric| metric.read(sample).ok());
        let level = judged.status.level;
        if self.points.len() == POINTS {
            if self.recorded {
                self.thin();
            } else {
                self.points.pop_front();
            }
        }
        let at = sample.at;
        self.points.push_back(Point { at: at.monotonic, wall: at.wall, level, values });
        self.sample = Some(*sample);
        self.judged = judged;
        let turnover = self.processes.update(
            at.monotonic,
            snapshot,
            |row| (row.id, row.parent.ok(), row.memory),
            |row| command(Path::new("/"), row),
        );
        self.note_turnover(&crate::output::human::time_of_day(at.wall), turnover);
    }

    /// Makes one point of every two: the highest of both.
    fn thin(&mut self) {
        let pairs = std::mem::take(&mut self.points);
        let mut pairs = pairs.into_iter();
        while let Some(mut first) = pairs.next() {
            if let Some(second) = pairs.next() {
                first.level = first.level.max(second.level);
                for (value, other) in first.values.iter_mut().zip(second.values) {
                    *value = (*value).max(other);
                }
            }
            self.points.push_back(first);
        }
        self.stride = self.stride.saturating_mul(2);
    }

    /// The time between points: that between samples, or more once they were thinned.
    #[must_use]
    pub fn step(&self) -> Duration {
        self.interval.saturating_mul(self.stride)
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
            Action::Pause => {
                self.stopped = match self.stopped {
                    None => self.newest(),
                    Some(_) => None,
                };
                self.cursor = None;
            }
            Action::Scrub(by) => self.scrub(by, columns.max(1)),
            Action::Oldest => self.put_cursor(self.points.front().map(|point| point.at)),
            Action::Live => (self.stopped, self.cursor, self.help) = (None, None, false),
            Action::NextPane => {
                self.pane = match self.pane {
                    Pane::Processes => Pane::Events,
                    Pane::Events => Pane::Processes,
                }
            }
            Action::Scroll(by) => {
                let scrolled = &mut self.scrolled[self.pane as usize];
                let most = match self.pane {
                    Pane::Processes => self.processes.rows().len(),
                    Pane::Events => self.events.len(),
                };
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
            Action::Span(by) => {
                let index = self.span_index().saturating_add_signed(by as isize);
                self.span = Some(index.min(SPANS.len() - 1));
            }
            Action::Help => self.help = !self.help,
            Action::Quit | Action::Interrupt => {}
        }
    }

    fn next_metric(&mut self) {
        let Some(newest) = self.points.back() else { return };
        let start = Metric::ALL.iter().position(|metric| *metric == self.metric).unwrap_or(0);
        let following = Metric::ALL.iter().cycle().skip(start + 1).take(Metric::ALL.len());
        let next = following.copied().find(|metric| newest.value(*metric).is_some());
        self.metric = next.unwrap_or(self.metric);
    }

    fn scrub(&mut self, by: i32, columns: usize) {
        let Some(newest) = self.newest() else { return };
        let step = self.span() / u32::try_from(columns).unwrap_or(u32::MAX);
        let moved = step.saturating_mul(by.unsigned_abs());
        let from = self.cursor.or(self.stopped).unwrap_or(newest);
        let to = if by < 0 { from.saturating_sub(moved) } else { from.saturating_add(moved) };
        let oldest = self.points.front().map_or(newest, |point| point.at);
        self.put_cursor(Some(to.clamp(oldest, newest)));
    }

    /// A cursor stops the chart, and the chart follows a cursor that leaves it.
    fn put_cursor(&mut self, at: Option<Duration>) {
        self.cursor = at;
        let (Some(at), Some(newest)) = (at, self.newest()) else { return };
        let end = self.stopped.unwrap_or(newest);
        let start = end.saturating_sub(self.span());
        self.stopped = Some(if at > end {
            at
        } else if at < start {
            at.saturating_add(self.span()).min(newest)
        } else {
            end
        });
    }

    fn newest(&self) -> Option<Duration> {
        self.points.back().map(|point| point.at)
    }

    fn span_index(&self) -> usize {
        self.span.unwrap_or_else(|| {
            let age = match (self.points.front(), self.points.back()) {
                (Some(first), Some(last)) => last.at.saturating_sub(first.at),
                _ => Duration::ZERO,
            };
            let widest = if self.recorded { SPANS.len() - 1 } else { WIDEST_BY_ITSELF };
            SPANS.iter().position(|span| *span >= age).unwrap_or(SPANS.len()).min(widest)
        })
    }

    /// How much time the chart covers.
    #[must_use]
    pub fn span(&self) -> Duration {
        SPANS[self.span_index()]
    }

    /// The right edge of the chart, on the samples' clock.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.stopped.or(self.newest()).unwrap_or_default()
    }

    /// Whether the chart was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// The point under the cursor: the last one that is not after it.
    #[must_use]
    pub fn under_cursor(&self) -> Option<&Point> {
        let at = self.cursor?;
        let after = self.points.partition_point(|point| point.at <= at);
        self.points.get(after.saturating_sub(1))
    }

    /// The points within the chart, oldest first.
    pub fn shown(&self) -> impl Iterator<Item = &Point> + Clone {
        let (end, span) = (self.end(), self.span());
        let start = end.saturating_sub(span);
        let first = self.points.partition_point(|point| point.at < start);
        self.points.iter().skip(first).take_while(move |point| point.at <= end)
    }

    /// The newest value of what is plotted.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        self.points.back()?.value(self.metric)
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
pub(crate) mod tests {
    use super::*;
    use crate::limit::Owner;
    use memtrack::Stamp;

    /// A state that was fed `seconds` samples, one a second, of `bytes(second)`.
    pub(crate) fn fed(seconds: u64, bytes: impl Fn(u64) -> u64) -> State {
        let label = "worker(4321)+7".to_owned();
        let mut state = State::new(label, Watched::Own, Duration::from_secs(1));
        feed(&mut state, 0..seconds, bytes);
        state
    }

    pub(crate) fn feed(
        state: &mut State,
        seconds: std::ops::Range<u64>,
        bytes: impl Fn(u64) -> u64,
    ) {
        for second in seconds {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
            sample.process.rss = Ok(bytes(second) + (3 << 20));
            (sample.process.anon, sample.process.swap) = (Ok(bytes(second)), Ok(0));
            let mut judged = state.judged.clone();
            let owner = Owner::Cgroup(Some("/app".into()));
            judged.limit = Ok(Limit { owner, used: bytes(second) + (1 << 30), bytes: 4 << 30 });
            judged.status.level = Level::Normal;
            judged.status.at = sample.at.monotonic;
            state.observe(&sample, judged, &[]);
        }
    }

    #[test]
    fn the_chart_grows_with_history_up_to_five_minutes() {
        assert_eq!(fed(30, |_| 1).span(), SPANS[0]);
        assert_eq!(fed(100, |_| 1).span(), SPANS[1]);
        let mut state = fed(2000, |_| 1);
        assert_eq!(state.span(), SPANS[1]);
        state.act(Action::Span(1), 80);
        assert_eq!(state.span(), SPANS[2]);
        for _ in 0..9 {
            state.act(Action::Span(-1), 80);
        }
        assert_eq!(state.span(), SPANS[0]);
        assert_eq!(state.shown().count(), 61);
    }

    #[test]
    fn history_is_bounded() {
        let state = fed(POINTS as u64 + 100, |_| 1);
        assert_eq!(state.points.len(), POINTS);
    }

    #[test]
    fn a_recording_is_kept_whole_with_its_peaks() {
        let mut state = fed(0, |_| 0);
        state.recorded = true;
        let hours = 8 * 3600;
        feed(&mut state, 0..hours, |second| if second == 4321 { 1 << 30 } else { 1 << 20 });
        assert!(state.points.len() <= POINTS && state.points.len() > POINTS / 2);
        assert_eq!(state.points[0].at, Duration::ZERO);
        assert_eq!(state.span(), SPANS[6]);
        let highest = state.shown().filter_map(|point| point.value(Metric::Private)).max();
        assert_eq!(highest, Some(1 << 30));
        assert!(state.step() >= Duration::from_secs(hours / POINTS as u64));
    }

    #[test]
    fn pausing_stops_the_chart_and_not_the_samples() {
        let mut state = fed(30, |second| second);
        state.act(Action::Pause, 80);
        feed(&mut state, 30..40, |second| second);
        assert_eq!(state.end(), Duration::from_secs(29));
        assert_eq!(state.value(), Some(39));
        state.act(Action::Pause, 80);
        assert_eq!(state.end(), Duration::from_secs(39));
    }

    #[test]
    fn the_cursor_moves_within_history_and_takes_the_chart_along() {
        let mut state = fed(600, |second| second);
        state.act(Action::Span(-1), 60);
        state.act(Action::Scrub(-10), 60);
        assert_eq!(state.under_cursor().unwrap().value(Metric::Private), Some(589));
        assert_eq!(state.end(), Duration::from_secs(599));
        state.act(Action::Scrub(-100), 60);
        assert_eq!(state.under_cursor().unwrap().at, Duration::from_secs(489));
        assert!(state.shown().any(|point| point.at == Duration::from_secs(489)));
        state.act(Action::Oldest, 60);
        assert_eq!(state.under_cursor().unwrap().at, Duration::ZERO);
        assert!(state.shown().next().is_some_and(|point| point.at == Duration::ZERO));
        state.act(Action::Scrub(-1), 60);
        assert_eq!(state.under_cursor().unwrap().at, Duration::ZERO);
        state.act(Action::Scrub(10_000), 60);
        assert_eq!(state.under_cursor().unwrap().at, Duration::from_secs(599));
        state.act(Action::Live, 60);
        assert!(state.under_cursor().is_none() && !state.is_stopped());
    }

    #[test]
    fn only_numbers_that_were_read_can_be_plotted() {
        let mut state = fed(3, |_| 5);
        assert_eq!(state.metric, Metric::Private);
        state.act(Action::NextMetric, 80);
        assert_eq!(state.metric, Metric::Rss);
        state.act(Action::NextMetric, 80);
        assert_eq!(state.metric, Metric::Private, "no PSS, no cgroup, no machine");
    }

    #[test]
    fn a_limit_lies_where_the_number_would_be_if_all_else_stayed() {
        let state = fed(3, |_| 1 << 30);
        // 2 of 4 GiB used, one of them by the target: at the limit it would have 3.
        assert_eq!(state.at_share(1.0), Some(3.0 * (1u64 << 30) as f64));
        assert_eq!(state.at_share(0.25), None, "the others alone use more");
    }

    #[test]
    fn processes_that_come_and_go_take_one_line() {
        let mut state = fed(1, |_| 1);
        let name = |name: &str| vec![name.to_owned()];
        let started = |who| Turnover { started: name(who), ended: Vec::new() };
        state.note_turnover("t1", started("a(1)"));
        assert_eq!(state.events, ["t1 process  a(1) started"]);
        state.note_turnover("t2", Turnover { started: name("b(2)"), ended: name("a(1)") });
        state.note_turnover("t3", Turnover::default());
        assert_eq!(state.events, ["t2 process  2 started, 1 ended since t1"]);
        state.note("t4 level".into());
        state.note_turnover("t5", started("c(3)"));
        assert_eq!(state.events.len(), 3);
        assert_eq!(state.events[2], "t5 process  c(3) started");
        for number in 0..1000 {
            state.note(format!("{number}"));
            state.note_turnover("t", started("d(4)"));
        }
        assert_eq!(state.events.len(), EVENTS);
        assert_eq!(state.events[EVENTS - 2], "999", "nothing else was taken away");
    }

    #[test]
    fn nothing_panics_before_the_first_sample() {
        let mut state = State::new("x".into(), Watched::System, Duration::from_secs(1));
        for action in [
            Action::Pause,
            Action::Scrub(-3),
            Action::Oldest,
            Action::NextMetric,
            Action::Scroll(5),
            Action::Span(1),
            Action::Live,
        ] {
            state.act(action, 0);
        }
        assert_eq!(state.shown().count(), 0);
        assert_eq!(state.at_share(1.0), None);
    }
}
