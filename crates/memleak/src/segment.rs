//! One life of the process: its history, and how a fall of the level ends it.

use crate::verdict::Trend;
use crate::window::{Bucket, History, median};

/// A level below this share of the recent median may be a new life.
const FALL: f64 = 0.72;
/// While a leak stands: a level with less than this share of the growth left may be, too.
const KEPT: f64 = 0.4;
/// Samples that the reference of a fall is the median of.
const REFERENCE: usize = 40;
/// Samples that must stay down before a fall counts.
const STAYS: usize = 6;
/// Samples a segment needs before it can end.
const LEAST_SAMPLES: u64 = 8;

/// Watches for the level falling to stay down.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Falls {
    recent: Vec<f64>,
    next: usize,
    sum: f64,
    /// Samples since the level fell, held back until it is known whether it stays down.
    held: Vec<(f64, f64)>,
    bound: f64,
}

/// What to do with the samples that were held back.
pub(crate) enum Fall {
    /// Nothing is held: take the sample as it is.
    None,
    /// Held back; nothing to do yet.
    Held,
    /// It was a dip: these samples belong to the present segment.
    Dip(Vec<(f64, f64)>),
    /// The level stays down: these samples begin a new segment.
    New(Vec<(f64, f64)>),
}

impl Falls {
    pub(crate) fn push(&mut self, history: &History, leaking: bool, t: f64, y: f64) -> Fall {
        if !self.held.is_empty() {
            self.held.push((t, y));
            if y >= self.bound {
                let held = std::mem::take(&mut self.held);
                for (_, y) in &held {
                    self.remember(*y);
                }
                return Fall::Dip(held);
            }
            if self.held.len() >= STAYS {
                let held = std::mem::take(&mut self.held);
                self.recent.clear();
                self.next = 0;
                self.sum = 0.0;
                for (_, y) in &held {
                    self.remember(*y);
                }
                return Fall::New(held);
            }
            return Fall::Held;
        }
        if history.samples() >= LEAST_SAMPLES && self.falls(history, leaking, y) {
            self.held.push((t, y));
            return Fall::Held;
        }
        self.remember(y);
        Fall::None
    }

    #[cfg(feature = "worker")]
    pub(crate) fn is_sound(&self) -> bool {
        self.recent.len() <= REFERENCE && self.next < REFERENCE && self.held.len() <= STAYS
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.recent.capacity() * size_of::<f64>() + self.held.capacity() * size_of::<(f64, f64)>()
    }

    fn falls(&mut self, history: &History, leaking: bool, y: f64) -> bool {
        let n = self.recent.len() as f64;
        // The mean is a cheap first look; the median decides.
        if y >= (if leaking { 0.99 } else { 0.9 }) * self.sum / n {
            return false;
        }
        let mut values = [0.0; REFERENCE];
        let values = &mut values[..self.recent.len()];
        values.copy_from_slice(&self.recent);
        let recent = median(values);
        self.bound = FALL * recent;
        if leaking && let Some(start) = history.start() {
            // Most of a leak gone at once: nobody frees that way but a new process.
            self.bound = self.bound.max(start + KEPT * (recent - start));
        }
        y < self.bound
    }

    fn remember(&mut self, y: f64) {
        if self.recent.len() < REFERENCE {
            self.next = 0;
            self.recent.push(y);
            self.sum += y;
            return;
        }
        self.sum += y - self.recent[self.next];
        self.recent[self.next] = y;
        self.next = (self.next + 1) % REFERENCE;
        if self.next == 0 {
            // Taken anew once a round, so that rounding does not pile up.
            self.sum = self.recent.iter().sum();
        }
    }
}

/// A gap of this many intervals
const PAUSE: f64 = 20.0;
/// and this share of the segment may be a pause,
const PAUSE_SHARE: f64 = 0.02;
/// when the level moved by less than this share of what it would have grown,
const STILL: f64 = 0.2;
/// and that is this many standard deviations of the history, whose samples are medians of five: twice what one sample after the
/// gap needs to tell.
const PAUSE_DEVIATIONS: f64 = 10.0;
/// What it grew by, and its noise, are asked of as long a stretch before the gap and of this many times as long.
const PAUSE_REACHES: [f64; 2] = [1.0, 4.0];

/// Standard deviations of normal noise in its median deviation.
const NORMAL: f64 = 1.4826;

/// A gap that is this many times as long as the segment before it leaves no window of both that is filled well enough.
const BLIND: f64 = 3.0;

/// Whether a sample at `t` comes so late that it begins a segment; what came before filled a window of `hold` seconds.
pub(crate) fn parts(history: &History, t: f64, hold: impl Fn() -> f64) -> bool {
    t - history.end() > BLIND * history.span() && history.span() >= hold()
}

/// The seconds to take out before a sample, when it begins anew: it comes `gap` seconds after the one before, in a segment that has
/// not filled a window of `hold` seconds, and all that was `watched` so far is short beside the gap. The clock was set, or nobody
/// watched; the few samples from before would leave a history whose buckets are too wide for what follows.
pub(crate) fn outgrown(gap: f64, watched: f64, interval: f64, hold: f64) -> Option<f64> {
    (gap > hold.max(PAUSE * interval) && gap > BLIND * watched).then_some(gap - interval)
}

/// The seconds to take out before a sample `y` at `t` because the level stood still over a gap, although it grew before:
/// the clock was set forward, or the process was stopped. Where it would have grown by less than `least` bytes, or by less than
/// its noise hides, nobody can tell.
pub(crate) fn pause(
    history: &History,
    t: f64,
    y: f64,
    interval: impl Fn() -> f64,
    least: f64,
) -> Option<f64> {
    let gap = t - history.end();
    let span = history.span();
    // Nearly all samples of nearly all series end here.
    if gap < PAUSE_SHARE * span || history.samples() < LEAST_SAMPLES {
        return None;
    }
    let interval = interval();
    if gap < PAUSE * interval {
        return None;
    }
    let mut line: Option<Line> = None;
    for times in PAUSE_REACHES {
        let longer = Line::of(history, (times * gap).min(span / 2.0))?;
        line = Some(line.map_or(longer, |line| longer.and(line)));
    }
    let Line { slope, level, noise } = line?;
    let expected = slope * gap;
    let stood = (y - level).abs() < STILL * expected;
    (stood && expected >= least.max(PAUSE_DEVIATIONS * noise)).then_some(gap - interval)
}

/// The end of a history as a line.
#[derive(Clone, Copy)]
struct Line {
    /// Bytes per second.
    slope: f64,
    /// The level at its end, in bytes.
    level: f64,
    /// Standard deviation of a sample around it, in bytes.
    noise: f64,
}

impl Line {
    /// Of the last `reach` seconds, through the levels of their first and their last sixth.
    fn of(history: &History, reach: f64) -> Option<Self> {
        let end = history.end();
        let level = |from: f64| history.level_between(from, from + reach / 6.0);
        let (before, last) = (level(end - reach)?, level(end - reach / 6.0)?);
        let slope = (last - before) / reach * 1.2;
        // The mean of the samples in a bucket varies less than one of them.
        let off = |bucket: &Bucket| {
            let line = last + slope * (history.middle(bucket) - (end - reach / 12.0));
            (bucket.mean - line).abs() * f64::from(bucket.count).sqrt()
        };
        let mut off: Vec<f64> = history.since(end - reach).iter().map(off).collect();
        Some(Self { slope, level: last, noise: NORMAL * median(&mut off) })
    }

    /// With the lesser slope and the greater noise of both, at the level of `newer`.
    fn and(self, newer: Self) -> Self {
        let (slope, noise) = (self.slope.min(newer.slope), self.noise.max(newer.noise));
        Self { slope, noise, ..newer }
    }
}

/// What ended a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The process was started again, as somebody told.
    Restart,
    /// The level fell, and nobody told why: a restart, unless it happens often.
    Fall,
    /// The level fell in one life of the process: what it held before was a swing.
    Swing,
    /// Nobody watched for long.
    Gap,
}

/// What is kept of a segment that has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Past {
    /// Seconds of its first sample.
    pub(crate) start: f64,
    /// Seconds it lasted.
    pub(crate) span: f64,
    /// Its lowest level, in bytes.
    pub(crate) low: f64,
    /// How far the level fell when it ended, in bytes; 0 where a process had ended, which gave nothing back.
    pub(crate) fell: f64,
    /// Seconds before that for which the level had stood more than halfway up: a swing's own time.
    pub(crate) stood: f64,
    /// The process lived on when it ended.
    pub(crate) swing: bool,
    /// Its slope, when most of it showed growth when it ended.
    pub(crate) grew: Option<Trend>,
}
