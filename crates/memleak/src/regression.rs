//! Least squares on time over a recent window, in bounded memory.

use std::collections::VecDeque;

/// Parts of a window; it moves on by one part at a time.
const PARTS: usize = 120;

/// Sums over samples, centred so that large values keep their precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sums {
    start: f64,
    /// How many samples.
    pub(crate) n: f64,
    t: f64,
    y: f64,
    stt: f64,
    sty: f64,
    syy: f64,
}

impl Sums {
    fn of(t: f64, y: f64) -> Self {
        Self { start: t, n: 1.0, t, y, stt: 0.0, sty: 0.0, syy: 0.0 }
    }

    /// The pairwise update of T. F. Chan, G. H. Golub and R. J. LeVeque, The American Statistician 37 (1983) 242.
    fn with(self, other: Self) -> Self {
        let n = self.n + other.n;
        let share = self.n * other.n / n;
        let (dt, dy) = (other.t - self.t, other.y - self.y);
        Self {
            start: self.start,
            n,
            t: self.t + dt * other.n / n,
            y: self.y + dy * other.n / n,
            stt: self.stt + other.stt + dt * dt * share,
            sty: self.sty + other.sty + dt * dy * share,
            syy: self.syy + other.syy + dy * dy * share,
        }
    }

    /// The seconds from first to last of as many samples at equal intervals that are spread as these are.
    pub(crate) fn width(&self) -> f64 {
        (12.0 * self.stt / self.n * (self.n - 1.0) / (self.n + 1.0)).sqrt()
    }

    /// Slope and its standard error, taking the samples as independent; `None` below three samples or without spread.
    pub(crate) fn slope(&self) -> Option<(f64, f64)> {
        if self.n < 3.0 || self.stt <= 0.0 {
            return None;
        }
        let slope = self.sty / self.stt;
        let left = (self.syy - slope * self.sty).max(0.0) / (self.n - 2.0);
        Some((slope, (left / self.stt).sqrt()))
    }
}

/// The samples of the last so many seconds, as sums of at most about [`PARTS`] parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    parts: VecDeque<Sums>,
}

impl Recent {
    /// Takes a sample that is later than all before, and drops what is older than `window` seconds.
    pub(crate) fn push(&mut self, t: f64, y: f64, window: f64) {
        // After the window was shortened there may be more parts than usual until the old ones have left.
        let full = self.parts.len() > 2 * PARTS;
        match self.parts.back_mut() {
            Some(part) if full || t - part.start < window / PARTS as f64 => {
                *part = part.with(Sums::of(t, y));
            }
            _ => self.parts.push_back(Sums::of(t, y)),
        }
        let start = t - window;
        while self.parts.front().is_some_and(|part| part.t < start) {
            self.parts.pop_front();
        }
    }

    pub(crate) fn sums(&self) -> Option<Sums> {
        self.parts.iter().copied().reduce(Sums::with)
    }

    /// Those of the later half of the time.
    pub(crate) fn later_half(&self) -> Option<Sums> {
        let middle = f64::midpoint(self.parts.front()?.t, self.parts.back()?.t);
        self.parts.iter().filter(|part| part.t >= middle).copied().reduce(Sums::with)
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> usize {
        self.parts.len()
    }
}

#[cfg(test)]
mod tests;
