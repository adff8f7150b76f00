//! The last minutes as points, or a whole recording, and the part of it that is looked at.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use mempressure::Level;
use memtrack::source::Target as Watched;
use memtrack::{Reading, Sample};

/// Points kept: an hour at one a second, in some 500 KiB. A recording that is longer is kept more coarsely.
pub(super) const POINTS: usize = 3600;
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
/// The shortest time that a recording is drawn over.
const LEAST_SPAN: Duration = Duration::from_secs(1);
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

    pub(super) fn read(self, sample: &Sample) -> Reading<u64> {
        match self {
            Metric::Private => sample.process.private(),
            Metric::Rss => sample.process.rss,
            Metric::Pss => sample.process.pss,
            Metric::WorkingSet => sample.cgroup.own_working_set(),
            Metric::Used => Ok(sample.system.total?.saturating_sub(sample.system.available?)),
        }
    }
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

/// The points and the window on them.
#[derive(Debug, Default)]
pub struct History {
    pub(super) points: VecDeque<Point>,
    /// It is a recording: all of it is kept, and shown at first.
    whole: bool,
    /// How many samples one point stands for.
    stride: u32,
    span: Option<usize>,
    /// The right edge of a chart that was stopped.
    stopped: Option<Duration>,
    cursor: Option<Duration>,
}

impl History {
    /// No points; of a recording all are kept, as coarsely as there is room for.
    #[must_use]
    pub fn new(whole: bool) -> Self {
        Self { whole, stride: 1, ..Self::default() }
    }

    /// Adds a sample and the level that followed from it.
    pub fn push(&mut self, sample: &Sample, level: Level) {
        let values = Metric::ALL.map(|metric| metric.read(sample).ok());
        if self.points.len() == POINTS {
            if self.whole {
                self.thin();
            } else {
                self.points.pop_front();
            }
        }
        let at = sample.at;
        self.points.push_back(Point { at: at.monotonic, wall: at.wall, level, values });
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

    /// How many samples one point stands for.
    #[must_use]
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// The newest point.
    #[must_use]
    pub fn last(&self) -> Option<&Point> {
        self.points.back()
    }

    /// Stops the chart where it is, or lets it go on.
    pub(super) fn pause(&mut self) {
        self.stopped = match self.stopped {
            None => self.newest(),
            Some(_) => None,
        };
        self.cursor = None;
    }

    /// Puts the cursor on the oldest point.
    pub(super) fn oldest(&mut self) {
        self.put_cursor(self.points.front().map(|point| point.at));
    }

    /// Goes back to the newest.
    pub(super) fn live(&mut self) {
        (self.stopped, self.cursor) = (None, None);
    }

    /// Takes a shorter or a longer span.
    pub(super) fn widen(&mut self, by: i32) {
        let index = self.span_index().saturating_add_signed(by as isize);
        self.span = Some(index.min(SPANS.len() - 1));
    }

    /// Moves the cursor by this many of `columns`.
    pub(super) fn scrub(&mut self, by: i32, columns: usize) {
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
            let age = self.age();
            let widest = if self.whole { SPANS.len() - 1 } else { WIDEST_BY_ITSELF };
            SPANS.iter().position(|span| *span >= age).unwrap_or(SPANS.len()).min(widest)
        })
    }

    /// How much time the chart covers. Of a recording all of it, and no more, until somebody chooses.
    #[must_use]
    pub fn span(&self) -> Duration {
        let all = self.age().max(LEAST_SPAN);
        if self.shows_all() { all } else { SPANS[self.span_index()] }
    }

    /// Whether the chart is of a whole recording.
    #[must_use]
    pub fn shows_all(&self) -> bool {
        self.whole && self.span.is_none() && self.age() <= SPANS[SPANS.len() - 1]
    }

    fn age(&self) -> Duration {
        match (self.points.front(), self.points.back()) {
            (Some(first), Some(last)) => last.at.saturating_sub(first.at),
            _ => Duration::ZERO,
        }
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

    /// Where the cursor is, when there is one.
    #[must_use]
    pub fn cursor(&self) -> Option<Duration> {
        self.cursor
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
}
