//! How fast the process grows by itself.

use std::collections::VecDeque;
use std::time::Duration;

use memtrack::{Rate, Sample};

/// Samples over which the growth of the footprint is taken.
const GROWTH_SAMPLES: usize = 8;

/// The growth of the footprint over the last samples, eviction left out.
#[derive(Default)]
pub(super) struct Growth {
    points: VecDeque<(Duration, u64)>,
    paused: bool,
    last: Option<f64>,
}

impl Growth {
    pub(super) fn push(&mut self, sample: &Sample) {
        let Ok(footprint) = sample.process.footprint() else { return };
        if self.paused {
            return;
        }
        if self.points.len() == GROWTH_SAMPLES {
            self.points.pop_front();
        }
        self.points.push_back((sample.at.monotonic, footprint));
        if self.points.len() >= 3 {
            let line = |(at, bytes): &(Duration, u64)| (at.as_secs_f64(), *bytes as f64, 1.0);
            self.last = memtrack::growth::slope(self.points.iter().map(line));
        }
    }

    /// A plan begins: what a sample sees while caches give memory back is not the growth of the process.
    pub(super) fn hold(&mut self) {
        self.paused = true;
    }

    /// A plan has freed something: the line begins anew after it.
    pub(super) fn pause(&mut self) {
        self.points.clear();
        self.paused = true;
    }

    pub(super) fn resume(&mut self) {
        self.paused = false;
    }

    pub(super) fn rate(&self) -> Option<Rate> {
        self.last.map(Rate::per_second)
    }
}
