//! One life of the process: its history, and how a fall of the level ends it.

use crate::verdict::Trend;
use crate::window::{History, median};

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
/// when the level moved by less than this share of what it would have grown.
const STILL: f64 = 0.2;

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
/// the clock was set forward, or the process was stopped. Where it would have grown by less than `least` bytes, nobody can
/// tell.
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
    let reach = gap.min(span / 2.0);
    let end = history.end();
    let level = |from: f64| history.level_between(from, from + reach / 6.0);
    let (before, last) = (level(end - reach)?, level(end - reach / 6.0)?);
    let expected = (last - before) / reach * 1.2 * gap;
    (expected >= least && (y - last).abs() < STILL * expected).then_some(gap - interval)
}

/// What ended a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The process was started again.
    Restart,
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
    /// How far the level fell when it ended, in bytes.
    pub(crate) fell: f64,
    /// Seconds before that for which the level had stood more than halfway up: a swing's own time.
    pub(crate) stood: f64,
    /// The process lived on when it ended.
    pub(crate) swing: bool,
    /// Its slope, when most of it showed growth when it ended.
    pub(crate) grew: Option<Trend>,
}
