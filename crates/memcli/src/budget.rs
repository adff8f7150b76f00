//! The budget planner: which limit a recorded process needs, and how many of it fit into one. Pure.

use serde::Serialize;

use crate::weight::Weighed;

/// The most workers that are tried: what `workload.parallel_workers` takes.
pub const MOST_WORKERS: u32 = 32;
/// How often the critical level may be passed by workers whose peaks do not coincide.
pub const SELDOM: f64 = 0.05;
/// Steps into which the peak of one worker is divided; sizes are rounded up to the next.
const STEPS: usize = 256;
const MIB: u64 = 1 << 20;

/// What one worker was seen to need.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// Its sizes, with the time of each.
    sizes: Weighed,
    /// Its highest, in bytes, spikes between the samples included.
    peak: u64,
}

/// The shares that a plan keeps to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Of the process budget: the soft limit.
    pub budget_soft: f64,
    /// Of the process budget: where planners of work are told.
    pub budget_prompt: f64,
    /// Of the common limit: level warning.
    pub warning: f64,
    /// Of the common limit: level critical.
    pub critical: f64,
}

/// What fits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Plan {
    /// The common limit.
    pub limit_bytes: u64,
    /// Half of the time it was at most this.
    pub p50_bytes: u64,
    /// 99 % of the time it was at most this.
    pub p99_bytes: u64,
    /// The peak.
    pub peak_bytes: u64,
    /// `budget.total` of the process, by RSS + swap, which is what counts against it: 99 % of the time below its soft limit, its
    /// peak below `prompt`.
    pub budget_bytes: u64,
    /// The limit that keeps one worker's peak below level warning.
    pub limit_for_one_bytes: u64,
    /// Workers that stay below level warning with all at their peak at once.
    pub workers_at_peak: u32,
    /// Workers that pass level critical in at most 5 % of the time, if their peaks are independent of each other.
    pub workers: u32,
    /// The share of time in which one worker more would pass it; `null` when none more was tried.
    pub one_more_passes: Option<f64>,
}

impl Need {
    /// The need of a worker that had these sizes. `None` when there are none.
    #[must_use]
    pub fn new(sizes: Weighed, peak: Option<u64>) -> Option<Self> {
        let highest = sizes.highest()?;
        Some(Self { sizes, peak: peak.unwrap_or(0).max(highest).max(1) })
    }

    /// The highest, in bytes.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// The highest but for 1 % of the time.
    fn p99(&self) -> u64 {
        self.sizes.quantile(0.99).unwrap_or(self.peak)
    }

    /// The `budget.total` of one process that needs this of what counts against it.
    #[must_use]
    pub fn budget(&self, shares: &Shares) -> u64 {
        let (p99, peak) = (self.p99() as f64, self.peak as f64);
        round_up((p99 / shares.budget_soft).max(peak / shares.budget_prompt)).max(16 * MIB)
    }

    /// What fits into `limit` bytes, of workers that have this `budget` each.
    #[must_use]
    pub fn plan(&self, limit: u64, budget: u64, shares: &Shares) -> Plan {
        let (workers, one_more_passes) = self.workers(limit as f64 * shares.critical);
        let at_peak = (limit as f64 * shares.warning / self.peak as f64).floor();
        Plan {
            limit_bytes: limit,
            p50_bytes: self.sizes.quantile(0.5).unwrap_or(self.peak),
            p99_bytes: self.p99(),
            peak_bytes: self.peak,
            budget_bytes: budget,
            limit_for_one_bytes: round_up(self.peak as f64 / shares.warning),
            workers_at_peak: at_peak.min(f64::from(MOST_WORKERS)) as u32,
            workers,
            one_more_passes,
        }
    }

    /// How many workers seldom pass `bytes` together, and how often one more would.
    ///
    /// The distribution of a sum of independent workers is that of one, folded with itself.
    fn workers(&self, bytes: f64) -> (u32, Option<f64>) {
        let step = self.peak as f64 / STEPS as f64;
        let one = self.shares(step);
        let room = (bytes / step).floor();
        let mut sum = vec![1.0];
        for n in 1..=MOST_WORKERS {
            sum = folded(&sum, &one);
            // Every entry is the probability of exactly that many steps.
            let within: f64 = sum.iter().take((room as usize).saturating_add(1)).sum();
            let passes = (1.0 - within).clamp(0.0, 1.0);
            if passes > SELDOM {
                return (n - 1, Some(passes));
            }
        }
        (MOST_WORKERS, None)
    }

    /// The numbers of steps, rounded up, that it has, and the share of the time with each.
    fn shares(&self, step: f64) -> Vec<(usize, f64)> {
        let mut shares = [0.0; STEPS + 1];
        let total = self.sizes.time() as f64;
        for (bytes, time) in self.sizes.iter() {
            let steps = (bytes as f64 / step).ceil() as usize;
            shares[steps.min(STEPS)] += time as f64 / total;
        }
        shares.into_iter().enumerate().filter(|(_, share)| *share > 0.0).collect()
    }
}

/// The distribution of a sum: of `sum`, by number of steps, and one more worker.
fn folded(sum: &[f64], one: &[(usize, f64)]) -> Vec<f64> {
    let mut out = vec![0.0; sum.len() + STEPS];
    for (i, x) in sum.iter().enumerate().filter(|(_, x)| **x > 0.0) {
        for (j, y) in one {
            out[i + j] += x * y;
        }
    }
    out
}

/// To a size that people write: 16 MiB steps below 1 GiB, 128 MiB steps above.
fn round_up(bytes: f64) -> u64 {
    let step = if bytes < 1024.0 * MIB as f64 { 16 * MIB } else { 128 * MIB };
    let steps = (bytes / step as f64).ceil().max(1.0) as u64;
    steps.saturating_mul(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHARES: Shares =
        Shares { budget_soft: 0.8, budget_prompt: 0.93, warning: 0.7, critical: 0.8 };

    fn plan(samples: &[u64], limit: u64) -> Plan {
        let need = Need::new(samples.iter().map(|mib| (mib * MIB, 1)).collect(), None).unwrap();
        need.plan(limit * MIB, need.budget(&SHARES), &SHARES)
    }

    #[test]
    fn a_constant_worker_fits_as_often_as_it_divides() {
        let plan = plan(&[100; 50], 1000);
        assert_eq!((plan.workers_at_peak, plan.workers, plan.one_more_passes), (7, 8, Some(1.0)));
        assert_eq!(plan.budget_bytes, 128 * MIB, "100 of 125 MiB is the soft limit");
        assert_eq!(plan.limit_for_one_bytes, 144 * MIB);
    }

    #[test]
    fn rare_peaks_seldom_coincide() {
        // At 100 MiB in one sample of a hundred, else at 10 MiB.
        let samples: Vec<u64> = (0..1000).map(|n| if n % 100 == 0 { 100 } else { 10 }).collect();
        let plan = plan(&samples, 250);
        assert_eq!(plan.workers_at_peak, 1);
        // Two peaks at once among the others pass 200 MiB: 1 - P(at most one of 11 peaks) = 0.5 %;
        // from twelve on one peak does: 100 + 11 * 10 > 200.
        assert_eq!(plan.workers, 10);
        let passes = plan.one_more_passes.unwrap();
        assert!((passes - (1.0 - 0.99_f64.powi(11))).abs() < 1e-9, "{passes}");
    }

    #[test]
    fn a_peak_that_was_looked_at_often_is_no_longer_for_it() {
        // Half a second of a minute at 100 MiB, at 200 samples a second, and the rest at 10 MiB, at 10 a second.
        let sizes = [(100 * MIB, 5); 100].into_iter().chain([(10 * MIB, 100); 595]);
        let need = Need::new(sizes.collect(), None).unwrap();
        let often = need.plan(250 * MIB, need.budget(&SHARES), &SHARES);
        let mib: Vec<u64> = (0..600).map(|n| if n < 5 { 100 } else { 10 }).collect();
        let told =
            |plan: Plan| (plan.p50_bytes, plan.p99_bytes, plan.workers_at_peak, plan.workers);
        assert_eq!(told(often), told(plan(&mib, 250)));
    }

    #[test]
    fn what_does_not_fit_once_fits_no_times() {
        let plan = plan(&[1000], 500);
        assert_eq!((plan.workers_at_peak, plan.workers), (0, 0));
        assert!(Need::new(Weighed::default(), Some(1)).is_none());
    }

    #[test]
    fn a_tiny_worker_fits_as_often_as_the_setting_goes() {
        let plan = plan(&[1], 100_000);
        assert_eq!((plan.workers_at_peak, plan.workers, plan.one_more_passes), (32, 32, None));
        assert_eq!(plan.budget_bytes, 16 * MIB);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn more_room_never_fits_fewer_and_independence_never_costs(
            samples in proptest::collection::vec(0..1u64 << 40, 1..50),
            limit in any::<u64>(), more in 0..1u64 << 40,
        ) {
            let need = Need::new(samples.into_iter().map(|bytes| (bytes, 3)).collect(), None).unwrap();
            let plan = |limit| need.plan(limit, need.budget(&SHARES), &SHARES);
            let (less, more) = (plan(limit), plan(limit.saturating_add(more)));
            prop_assert!(less.workers <= more.workers && less.workers_at_peak <= more.workers_at_peak);
            prop_assert!(less.workers_at_peak <= less.workers);
            prop_assert!(less.budget_bytes >= less.peak_bytes);
        }
    }
}
