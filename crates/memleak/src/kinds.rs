//! Which kind of memory grows.

use std::time::Duration;

use crate::filter::Clock;
use crate::regression::Recent;
use crate::rules::ERRORS;

/// A kind of memory, as the kernel accounts it to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Kind {
    /// Private memory: heaps, stacks, arenas. Where a leak of allocations shows.
    Anon,
    /// Mapped files. Grows while files are read through mappings, and can be dropped by the kernel.
    File,
    /// Shared memory and tmpfs. Grows while a process touches a shared buffer it has not touched before.
    Shmem,
    /// Swapped out: private memory that is not in RAM at the moment.
    Swap,
}

/// The growth of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct KindGrowth {
    /// Which kind.
    pub kind: Kind,
    /// Least-squares slope over the window, in bytes per second.
    pub bytes_per_second: f64,
    /// Its part of all growth, 0 to 1; 0 for a kind that shrinks.
    pub share: f64,
}

/// Growth of a kind that the verdict leaves out: shared memory and mapped files are no proof of a leak, for a process that touches
/// a shared buffer for the first time grows as well, but somebody who reads `steady` must know of it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Outside {
    /// Which kind.
    pub kind: Kind,
    /// By how much its line rose over the recent window, in bytes.
    pub bytes: u64,
    /// In what time.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub over: Duration,
}

/// Follows the kinds over a recent window.
#[derive(Clone, Debug)]
pub struct Kinds {
    window: Duration,
    clock: Clock,
    recent: [Recent; 4],
}

/// Growth goes on when the later half of the window has this share of its slope: what was mapped at the start and stays is none.
const GOES_ON: f64 = 0.5;

const KINDS: [Kind; 4] = [Kind::Anon, Kind::File, Kind::Shmem, Kind::Swap];

impl Kinds {
    /// Follows the last `window`.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self { window, clock: Clock::default(), recent: Default::default() }
    }

    /// Takes another length of the window, which counts from the next sample on.
    pub fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    /// The process was started (again): what was seen of another life says nothing of this one.
    pub fn restarted(&mut self) {
        self.recent = Default::default();
    }

    /// Takes one sample of each kind, in bytes: anon, file, shmem, swap. A kind that could not be read adds nothing.
    pub fn push(&mut self, at: Duration, [anon, file, shmem, swap]: [Option<u64>; 4]) {
        let Some(t) = self.clock.advance(at.as_secs_f64()) else { return };
        for (recent, bytes) in self.recent.iter_mut().zip([anon, file, shmem, swap]) {
            if let Some(bytes) = bytes {
                recent.push(t, bytes as f64, self.window.as_secs_f64());
            }
        }
    }

    /// What grows outside anon + swap, the most first, from samples of at least `min_samples`: by `least_growth` bytes or more, by
    /// more than its noise, and still; as the rules ask with [`LeakConfig`](crate::LeakConfig). Empty where private memory is not
    /// told apart: then a verdict is of all kinds.
    #[must_use]
    pub fn outside(&self, min_samples: u32, least_growth: u64) -> Vec<Outside> {
        let of = |(kind, recent): (&Kind, &Recent)| {
            let sums = recent.sums().filter(|sums| sums.n >= f64::from(min_samples))?;
            let (slope, error) = sums.slope()?;
            let (later, _) = recent.later_half()?.slope()?;
            let bytes = slope * sums.width();
            let grows = slope >= ERRORS * error && later >= GOES_ON * slope;
            let over = Duration::try_from_secs_f64(sums.width()).ok()?;
            (grows && bytes >= least_growth as f64).then_some(Outside {
                kind: *kind,
                bytes: bytes as u64,
                over,
            })
        };
        let [anon, ..] = &self.recent;
        let told_apart = anon.sums().is_some();
        let all = KINDS.iter().zip(&self.recent).filter(|_| told_apart);
        let outside = all.filter(|(kind, _)| matches!(kind, Kind::File | Kind::Shmem));
        let mut out: Vec<Outside> = outside.filter_map(of).collect();
        out.sort_by_key(|one| std::cmp::Reverse(one.bytes));
        out
    }

    /// The kinds that were read, fastest growth first; empty until there are samples enough for a slope.
    #[must_use]
    pub fn report(&self) -> Vec<KindGrowth> {
        let mut out: Vec<KindGrowth> = KINDS
            .iter()
            .zip(&self.recent)
            .filter_map(|(kind, recent)| {
                let (slope, _) = recent.sums()?.slope()?;
                Some(KindGrowth { kind: *kind, bytes_per_second: slope, share: 0.0 })
            })
            .collect();
        let all: f64 = out.iter().map(|one| one.bytes_per_second.max(0.0)).sum();
        if all > 0.0 {
            for one in &mut out {
                one.share = one.bytes_per_second.max(0.0) / all;
            }
        }
        out.sort_by(|a, b| b.bytes_per_second.total_cmp(&a.bytes_per_second));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_window_counts_from_the_next_sample_on() {
        let mut kinds = Kinds::new(Duration::from_secs(3600));
        for second in 0..1200u64 {
            if second == 1100 {
                kinds.set_window(Duration::from_secs(60));
            }
            let anon = if second < 1000 { 1000 * second } else { 1_000_000 };
            kinds.push(Duration::from_secs(second), [Some(anon), None, None, None]);
        }
        assert!(kinds.report()[0].bytes_per_second.abs() < 1e-6, "{:?}", kinds.report());
    }

    #[test]
    fn after_a_restart_only_the_new_life_counts() {
        let mut kinds = Kinds::new(Duration::from_secs(3600));
        for second in 0..600u64 {
            if second == 500 {
                kinds.restarted();
            }
            let anon = if second < 500 { 1000 * second } else { 100 * (second - 500) };
            kinds.push(Duration::from_secs(second), [Some(anon), Some(second), None, None]);
        }
        let report = kinds.report();
        assert_eq!(report[0].kind, Kind::Anon);
        assert!((report[0].bytes_per_second - 100.0).abs() < 1e-6, "{report:?}");
    }

    #[test]
    fn what_grows_outside_private_memory_is_told_while_it_does() {
        // 4 MiB/s of shared memory, files that were mapped in the first five seconds, private memory that stands.
        let sample =
            |i: u64, anon| [anon, Some((20 << 20) + (i.min(5) << 22)), Some(i << 22), Some(0)];
        let mut kinds = Kinds::new(Duration::from_secs(3600));
        for i in 0..30u64 {
            kinds.push(Duration::from_secs(i), sample(i, Some(8 << 20)));
            let told = kinds.outside(10, 5 << 20);
            let names: Vec<Kind> = told.iter().map(|one| one.kind).filter(|_| i > 12).collect();
            assert!(i <= 12 || names == [Kind::Shmem], "{told:?} after {i} s");
        }
        let told = kinds.outside(10, 5 << 20)[0];
        assert!((115.9..116.1).contains(&(told.bytes as f64 / 1_048_576.0)), "{told:?}");
        assert!((28.9..29.1).contains(&told.over.as_secs_f64()), "{told:?}");
        assert!(kinds.outside(10, 500 << 20).is_empty(), "less than what counts");
        assert!(kinds.outside(31, 5 << 20).is_empty(), "too few samples");
        let mut kinds = Kinds::new(Duration::from_secs(3600));
        (0..30).for_each(|i| kinds.push(Duration::from_secs(i), sample(i, None)));
        assert!(kinds.outside(10, 5 << 20).is_empty(), "the series is all of it");
    }

    #[test]
    fn the_kind_that_grows_comes_first_with_its_share() {
        let mut kinds = Kinds::new(Duration::from_secs(60));
        for i in 0..60u64 {
            kinds.push(
                Duration::from_secs(i),
                [Some(1000 * i), Some(3000 * i), Some(50_000 - 100 * i), None],
            );
        }
        let report = kinds.report();
        let order: Vec<Kind> = report.iter().map(|one| one.kind).collect();
        assert_eq!(order, [Kind::File, Kind::Anon, Kind::Shmem]);
        assert!((report[0].share - 0.75).abs() < 1e-6 && report[2].share == 0.0, "{report:?}");
    }
}
