//! The time that a sample stands for. What is told "of the time" weighs each sample by it.
//!
//! The time between two samples changes while it is watched: `track.adaptive` shortens it as growth nears a limit. Who counts samples
//! then tells where somebody looked, and not how it was. A sample stands for the time to which it is the nearest: half of that since
//! the one before and half of that until the next, so that a rise has the same mean however often it is looked at (the trapezoidal
//! rule). Where there is none before or none after it, or the time between was not watched, for as long on that side as on the other.

use std::time::Duration;

use memtrack::Stamp;

/// How long each sample of a series stands for, one after the other. Times are in nanoseconds, and never 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    /// When the newest sample was taken, unless nothing was told since.
    since: Option<Duration>,
    /// The time between it and the one before; `None` when it is the first after nothing.
    before: Option<u64>,
    /// The same of those before, when it is not known of this one.
    usual: u64,
}

impl Held {
    /// The time that the sample before stood for, with the next look at `at`; `None` when none stands.
    pub fn until(&mut self, at: Stamp) -> Option<u64> {
        let since = self.since.take()?;
        let before = self.before.take();
        if at.gap {
            return Some(before.unwrap_or(self.usual).max(1));
        }
        let step = nanoseconds(at.monotonic.saturating_sub(since));
        (self.before, self.usual) = (Some(step), step);
        Some(before.map_or(step, |before| before.midpoint(step)).max(1))
    }

    /// A sample was taken, and stands from now on.
    pub fn from(&mut self, at: Stamp) {
        self.since = Some(at.monotonic);
    }

    /// At this look nothing was told: what comes next has none before it.
    pub fn nothing(&mut self) {
        self.before = None;
    }

    /// The time that the newest sample stands for, as long as there is no other; `None` when none stands.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        self.since.map(|_| self.before.unwrap_or(self.usual).max(1))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A sum of bytes, each as often as the nanoseconds it stood for: exact, so that it is the same over whatever it is put together from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    bytes: u128,
    time: u64,
}

impl Sum {
    /// Adds `bytes` that stood for so many nanoseconds.
    pub fn add(&mut self, bytes: u64, time: u64) {
        *self = self.with(Self { bytes: u128::from(bytes) * u128::from(time), time });
    }

    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            time: self.time.saturating_add(other.time),
        }
    }

    /// Nanoseconds.
    #[must_use]
    pub fn time(self) -> u64 {
        self.time
    }

    /// The mean over the time, in bytes; `None` over none.
    #[must_use]
    pub fn mean(self) -> Option<f64> {
        (self.time > 0).then(|| self.bytes as f64 / self.time as f64)
    }
}

/// The mean of a series as it comes in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean {
    held: Held,
    newest: u64,
    sum: Sum,
}

impl Mean {
    /// Takes what a sample tells, in bytes; `None` when it tells nothing.
    pub fn note(&mut self, at: Stamp, bytes: Option<u64>) {
        if let Some(time) = self.held.until(at) {
            self.sum.add(self.newest, time);
        }
        match bytes {
            Some(bytes) => {
                self.newest = bytes;
                self.held.from(at);
            }
            None => self.held.nothing(),
        }
    }

    /// The mean so far, in bytes; `None` when nothing was told.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let mut sum = self.sum;
        if let Some(time) = self.held.newest() {
            sum.add(self.newest, time);
        }
        sum.mean().map(|bytes| bytes.round() as u64)
    }
}

/// Sizes in bytes, each with the nanoseconds that it stood for. In order of the sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weighed(Vec<(u64, u64)>);

impl FromIterator<(u64, u64)> for Weighed {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(sizes: I) -> Self {
        let mut sizes: Vec<_> = sizes.into_iter().collect();
        sizes.sort_unstable();
        Self(sizes)
    }
}

impl Weighed {
    /// The sizes, in order, with the nanoseconds of each.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    /// The highest, in bytes.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.0.last().map(|(bytes, _)| *bytes)
    }

    /// Nanoseconds in all.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.iter().fold(0, |sum, (_, time)| sum.saturating_add(time))
    }

    /// The least size that is not exceeded for at least this share of the time (nearest rank).
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        // 0.55 is a little more than that: what only rounding lifts above a whole number is none.
        let rank = share * self.time() as f64 * (1.0 - f64::EPSILON);
        let rank = (rank.ceil() as u64).max(1);
        let mut passed: u64 = 0;
        let reaches = |(_, time): &(u64, u64)| {
            passed = passed.saturating_add(*time);
            passed >= rank
        };
        // What rounds beyond all of them is the highest.
        self.iter().find(reaches).map(|(bytes, _)| bytes).or(self.highest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn at(millis: u64) -> Stamp {
        Stamp::synthetic(Duration::from_millis(millis))
    }

    /// What the samples of these times and sizes stand for.
    fn weighed(samples: &[(u64, u64)]) -> Weighed {
        let mut held = Held::default();
        let mut times: Vec<u64> = Vec::new();
        for (millis, _) in samples {
            times.extend(held.until(at(*millis)));
            held.from(at(*millis));
        }
        times.extend(held.newest());
        samples.iter().map(|(_, bytes)| *bytes).zip(times).collect()
    }

    #[test]
    fn a_sample_stands_for_the_time_to_which_it_is_the_nearest() {
        let mut held = Held::default();
        assert_eq!((held.until(at(0)), held.newest()), (None, None));
        held.from(at(0));
        assert_eq!(held.newest(), Some(1), "one alone is all there is");
        assert_eq!(held.until(at(100)), Some(100 * MS));
        held.from(at(100));
        assert_eq!(held.newest(), Some(100 * MS));
        assert_eq!(held.until(at(120)), Some(60 * MS), "half of 100 and half of 20");
        held.from(at(120));
        // The machine slept for a day, of which nothing is known.
        let woke = Stamp { gap: true, ..at(86_400_000) };
        assert_eq!(held.until(woke), Some(20 * MS));
        held.from(woke);
        assert_eq!(held.newest(), Some(20 * MS));
        // It could not be read: what was before stands no longer.
        assert_eq!(held.until(at(86_400_005)), Some(5 * MS));
        held.nothing();
        assert_eq!((held.until(at(86_400_100)), held.newest()), (None, None));
        held.from(at(86_400_100));
        assert_eq!(held.until(at(86_400_110)), Some(10 * MS));
    }

    #[test]
    fn a_mean_is_of_the_time_however_often_somebody_looked() {
        let mean = |samples: &[(u64, u64)]| {
            let mut mean = Mean::default();
            samples.iter().for_each(|(millis, bytes)| mean.note(at(*millis), Some(*bytes)));
            mean.bytes()
        };
        let coarse: Vec<_> = (0..10).map(|n| (n * 100, if n < 5 { 10 } else { 30 })).collect();
        assert_eq!(mean(&coarse), Some(20));
        // The later half twenty times as often.
        let fine = (500..1000).step_by(5).map(|millis| (millis, 30));
        let both: Vec<_> = coarse[..5].iter().copied().chain(fine).collect();
        assert!(mean(&both).is_some_and(|mean| mean.abs_diff(20) <= 1), "{:?}", mean(&both));
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[(7, 9)]), Some(9));
    }

    proptest! {
        #[test]
        fn equally_spaced_samples_have_the_plain_quantile(
            mut sizes in vec(0..1u64 << 50, 1..300), spacing in 1..10_000u64, percent in 0..=100u32,
        ) {
            let samples: Vec<_> = (0..).map(|n| n * spacing).zip(sizes.iter().copied()).collect();
            let found = weighed(&samples).quantile(f64::from(percent) / 100.0);
            sizes.sort_unstable();
            let rank = (percent as usize * sizes.len()).div_ceil(100);
            prop_assert_eq!(found, Some(sizes[rank.clamp(1, sizes.len()) - 1]));
        }

        /// All but the first step and the last, whose lengths the ends are taken to stand for.
        #[test]
        fn who_looks_more_often_sees_the_same_within_a_step(
            corners in vec((0..1u64 << 40, 1..40u64), 4..60), percent in 0..=100u32,
        ) {
            let coarse: Vec<_> = (0..).map(|n| n * 1000).zip(corners.iter().map(|(bytes, _)| *bytes)).collect();
            let mut fine = Vec::new();
            for (n, pair) in coarse.windows(2).enumerate() {
                let ((from, low), (_, high)) = (pair[0], pair[1]);
                let looks = if n > 0 && n + 2 < coarse.len() { corners[n].1 } else { 1 };
                fine.extend((0..looks).map(|look| {
                    let share = look as f64 / looks as f64;
                    (from + look * 1000 / looks, (low as f64 + share * (high as f64 - low as f64)) as u64)
                }));
            }
            fine.extend(coarse.last());
            let step = coarse.windows(2).map(|pair| pair[0].1.abs_diff(pair[1].1)).max().unwrap_or(0);
            let (coarse, fine) = (weighed(&coarse), weighed(&fine));
            prop_assert_eq!(coarse.time(), fine.time());
            let share = f64::from(percent) / 100.0;
            let (one, other) = (coarse.quantile(share).unwrap(), fine.quantile(share).unwrap());
            prop_assert!(one.abs_diff(other) <= step + 1, "{} and {} with steps of {}", one, other, step);
            let mean = |all: &Weighed| {
                let mut sum = Sum::default();
                all.iter().for_each(|(bytes, time)| sum.add(bytes, time));
                sum.mean().unwrap()
            };
            // Of straight lines it is exact, but for whole bytes and milliseconds.
            prop_assert!((mean(&coarse) - mean(&fine)).abs() <= 2.0 + 1e-3 * step as f64);
        }
    }
}
