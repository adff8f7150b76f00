//! Repairs of the raw series: time that does not advance, single samples far off, falls of the level.

use crate::window::median;

/// Samples that the running median spans.
const WIDTH: usize = 5;
const INTERVALS: usize = 15;
/// Steps of the clock that are remembered.
const SHIFTS: usize = 16;

/// A clock that always advances.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Clock {
    raw: Option<f64>,
    /// Seconds added to the raw time because it stepped, each from a repaired time on.
    shifts: Vec<(f64, f64)>,
    intervals: Vec<f64>,
    /// Repaired seconds to go on from, when the clock has another origin now.
    resume: Option<f64>,
    next: usize,
}

impl Clock {
    /// The repaired time of a sample; `None` for a second sample at one time.
    pub(crate) fn advance(&mut self, raw: f64) -> Option<f64> {
        let Some(last) = self.raw else {
            self.raw = Some(raw);
            if let Some(last) = self.resume.take() {
                let repaired = last + self.interval();
                self.shift_from(repaired, repaired - raw);
                return Some(repaired);
            }
            return Some(raw);
        };
        let step = raw - last;
        if step == 0.0 {
            return None;
        }
        self.raw = Some(raw);
        if step < 0.0 {
            // The clock stepped back: one ordinary interval has passed.
            let shift = self.shift() + self.interval() - step;
            self.shift_from(raw + shift, shift);
        } else if self.intervals.len() < INTERVALS {
            self.intervals.push(step);
        } else {
            self.intervals[self.next] = step;
            self.next = (self.next + 1) % INTERVALS;
        }
        Some(raw + self.shift())
    }

    /// The next sample comes on a clock with another origin, one interval after the last.
    pub(crate) fn rebase(&mut self) {
        if let Some(raw) = self.raw.take() {
            self.resume = Some(raw + self.shift());
        }
    }

    /// Takes `pause` seconds out before the sample at `t`, and gives its new time.
    pub(crate) fn skip(&mut self, t: f64, pause: f64) -> f64 {
        let shift = self.shift() - pause;
        self.shift_from(t - pause, shift);
        t - pause
    }

    #[cfg(feature = "worker")]
    pub(crate) fn is_sound(&self) -> bool {
        let finite = self.shifts.iter().all(|(from, shift)| from.is_finite() && shift.is_finite());
        self.intervals.len() <= INTERVALS
            && self.next < INTERVALS
            && self.shifts.len() <= SHIFTS
            && finite
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.shifts.capacity() * size_of::<(f64, f64)>()
            + self.intervals.capacity() * size_of::<f64>()
    }

    fn shift(&self) -> f64 {
        self.shifts.last().map_or(0.0, |(_, shift)| *shift)
    }

    fn shift_from(&mut self, repaired: f64, shift: f64) {
        if self.shifts.len() == SHIFTS {
            self.shifts.remove(0);
        }
        self.shifts.push((repaired, shift));
    }

    /// Back from repaired to raw seconds.
    pub(crate) fn raw(&self, repaired: f64) -> f64 {
        let known = self.shifts.iter().rev().find(|(from, _)| *from <= repaired);
        (repaired - known.map_or(0.0, |(_, shift)| *shift)).max(0.0)
    }

    /// The median of the recent intervals, in seconds; 1 before there is one.
    pub(crate) fn interval(&self) -> f64 {
        if self.intervals.is_empty() {
            return 1.0;
        }
        let mut values = [0.0; INTERVALS];
        let n = self.intervals.len().min(INTERVALS);
        values[..n].copy_from_slice(&self.intervals[..n]);
        median(&mut values[..n])
    }
}

/// A running median of five: up to two samples far off in a row leave no trace. The result is two samples old.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Smoother {
    recent: [(f64, f64); WIDTH],
    seen: usize,
}

impl Smoother {
    /// Whether it has seen nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.seen == 0
    }

    /// The newest sample, and the median of those it holds; `None` before there are enough.
    pub(crate) fn newest(&self) -> Option<(f64, f64)> {
        let [a, b, c, d, e] = self.recent.map(|(_, y)| y);
        (self.seen == WIDTH).then(|| (e, median_of_five(a, b, c, d, e)))
    }

    pub(crate) fn push(&mut self, t: f64, y: f64) -> Option<(f64, f64)> {
        let [_, b, c, d, e] = self.recent;
        self.recent = [b, c, d, e, (t, y)];
        self.seen = (self.seen + 1).min(WIDTH);
        if self.seen < WIDTH {
            return None;
        }
        let [a, b, c, d, e] = self.recent.map(|(_, y)| y);
        Some((self.recent[WIDTH / 2].0, median_of_five(a, b, c, d, e)))
    }
}

fn median_of_five(a: f64, b: f64, c: f64, d: f64, e: f64) -> f64 {
    let (a, b) = (a.min(b), a.max(b));
    let (c, d) = (c.min(d), c.max(d));
    // The least and the greatest of the four cannot be the median: what is left is the median of three.
    let (low, high) = (a.max(c), b.min(d));
    low.min(high).max(e.min(low.max(high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_five_is_the_third_in_every_order() {
        for code in 0..3125u32 {
            let v: [f64; 5] = std::array::from_fn(|k| f64::from(code / 5u32.pow(k as u32) % 5));
            let mut sorted = v;
            sorted.sort_by(f64::total_cmp);
            assert_eq!(median_of_five(v[0], v[1], v[2], v[3], v[4]), sorted[2], "{v:?}");
        }
    }

    #[test]
    fn a_clock_that_steps_back_goes_on_by_one_interval() {
        let mut clock = Clock::default();
        let times: Vec<_> = [0.0, 10.0, 20.0, 5.0, 15.0].map(|t| clock.advance(t).unwrap()).into();
        assert_eq!(times, [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(clock.advance(15.0), None);
        assert_eq!(clock.raw(40.0), 15.0);
    }
}
