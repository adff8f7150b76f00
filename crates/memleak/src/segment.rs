//! One life of the process: its history, and how a fall of the level ends it.

use crate::window::{History, median};

/// A level below this share of the recent median may be a new life.
const FALL: f64 = 0.72;
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
    pub(crate) fn push(&mut self, history: &History, t: f64, y: f64) -> Fall {
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
        if history.samples() >= LEAST_SAMPLES && self.falls(y) {
            self.held.push((t, y));
            return Fall::Held;
        }
        self.remember(y);
        Fall::None
    }

    fn falls(&mut self, y: f64) -> bool {
        let n = self.recent.len() as f64;
        // The mean is a cheap first look; the median decides.
        if y >= 0.9 * self.sum / n {
            return false;
        }
        let mut values = [0.0; REFERENCE];
        let values = &mut values[..self.recent.len()];
        values.copy_from_slice(&self.recent);
        self.bound = FALL * median(values);
        y < self.bound
    }

    fn remember(&mut self, y: f64) {
        if self.recent.len() < REFERENCE {
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

/// What is kept of a segment that has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Past {
    /// Seconds it lasted.
    pub(crate) span: f64,
    /// Slope over its end, in bytes per second.
    pub(crate) rate: f64,
    /// Whether most of it showed growth when it ended.
    pub(crate) grew: bool,
}
