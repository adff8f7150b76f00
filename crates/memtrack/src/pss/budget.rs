//! When a dear reading is affordable. Pure: times come from the caller, on a clock that does not go back.

use std::time::Duration;

use super::{PSS_INTERVAL, PSS_LONGEST, PSS_SHARE};

/// Time that may be spent beyond the share at once, so that a set that just changed is looked at soon.
const CREDIT: Duration = Duration::from_millis(20);
/// The prediction before there is experience: 10 us for each MiB, about what was measured from 64 MiB to 8 GiB.
const SECONDS_PER_BYTE: f64 = 10e-6 / 1_048_576.0;
/// A reading that was dearer than that counts half as much dearer after this time: it may have met a busy machine.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// The two files that are read within one budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `smaps_rollup`: the sums alone.
    Sums,
    /// `smaps`: every mapping. The same walk, and text for each mapping, whose number nothing cheap tells beforehand.
    Mappings,
}

/// What may be spent: one account for all targets that are read together, and for both kinds.
#[derive(Clone, Debug)]
pub(crate) struct Credit {
    /// Seconds; negative after a reading that took longer than there was credit.
    left: f64,
    since: Duration,
}

impl Credit {
    pub(crate) fn new(now: Duration) -> Self {
        Self { left: CREDIT.as_secs_f64(), since: now }
    }

    /// Takes so many seconds ahead of a reading, if they are there. Of what costs more than there ever is, full credit
    /// is enough: it goes into debt.
    fn take(&mut self, now: Duration, seconds: f64) -> bool {
        let passed = now.saturating_sub(self.since).as_secs_f64();
        self.left = (self.left + passed * PSS_SHARE).min(CREDIT.as_secs_f64());
        self.since = now;
        // An addition of many small steps may end a hair below the cap.
        let enough = self.left >= seconds.min(CREDIT.as_secs_f64()) - 1e-9;
        if enough {
            self.left -= seconds;
        }
        enough
    }

    /// Gives seconds back that were taken ahead; below 0 takes what more a reading took.
    pub(crate) fn give_back(&mut self, seconds: f64) {
        self.left += seconds;
    }
}

/// When one target was read last, and what that tells of the next time.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    not_before: Duration,
    /// The last reading, as far as it counts for what fades.
    read_at: Duration,
    costs: [Cost; 2],
}

/// What the last reading of a kind told about its cost, in seconds.
///
/// What it took beyond the usual is kept as it is and not by the byte: the text for each mapping costs a small process
/// most, and says nothing of what it will cost when it has grown.
#[derive(Clone, Copy, Debug)]
struct Cost {
    per_byte: f64,
    beyond: f64,
}

impl Cost {
    const UNKNOWN: Self = Self { per_byte: SECONDS_PER_BYTE, beyond: 0.0 };

    fn learnt(cost: f64, rss: f64) -> Self {
        let beyond = cost - rss * SECONDS_PER_BYTE;
        if beyond > 0.0 {
            Self { beyond, ..Self::UNKNOWN }
        } else {
            Self { per_byte: cost / rss, beyond: 0.0 }
        }
    }
}

impl Budget {
    pub(crate) fn new(now: Duration) -> Self {
        Self { not_before: now, read_at: now, costs: [Cost::UNKNOWN; 2] }
    }

    /// Whether a target of `rss` bytes may be read now: gives the seconds that were taken from `credit` for it, as
    /// many as the reading is predicted to take.
    pub(crate) fn afford(
        &self,
        credit: &mut Credit,
        now: Duration,
        kind: Kind,
        rss: u64,
    ) -> Option<f64> {
        let predicted = self.predicted(now, kind, rss);
        let may = now >= self.not_before && !self.is_too_dear(now, kind, rss);
        (may && credit.take(now, predicted)).then_some(predicted)
    }

    /// Whether it would take longer than any reading may. What was learnt fades, so this may change.
    pub(crate) fn is_too_dear(&self, now: Duration, kind: Kind, rss: u64) -> bool {
        self.predicted(now, kind, rss) > PSS_LONGEST.as_secs_f64()
    }

    fn predicted(&self, now: Duration, kind: Kind, rss: u64) -> f64 {
        let Cost { per_byte, beyond } = self.costs[kind as usize];
        let since_read = now.saturating_sub(self.read_at).as_secs_f64();
        rss as f64 * per_byte + beyond * 0.5f64.powf(since_read / HALF_LIFE.as_secs_f64())
    }

    /// Books a reading that ended `now`, took `cost` and covered `rss` bytes. The next one of this target is at least
    /// as far away as lets each of `targets` have its turn.
    pub(crate) fn spent(
        &mut self,
        now: Duration,
        kind: Kind,
        cost: Duration,
        rss: u64,
        targets: usize,
    ) {
        let round = if targets > 1 { cost.as_secs_f64() * targets as f64 / PSS_SHARE } else { 0.0 };
        let round = Duration::try_from_secs_f64(round).unwrap_or(Duration::MAX);
        (self.read_at, self.not_before) = (now, now.saturating_add(PSS_INTERVAL.max(round)));
        if rss > 0 {
            self.costs[kind as usize] = Cost::learnt(cost.as_secs_f64(), rss as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    /// Targets of `rss` bytes each, read whenever affordable, every 100 ms for `seconds`, at `us_per_mib`, by turns the
    /// kinds that are wanted. Total cost and the number of readings of each target.
    fn spend_together(
        seconds: u64,
        rss: &[u64],
        us_per_mib: f64,
        kinds: &[Kind],
    ) -> (Duration, Vec<u32>) {
        let targets = rss.len();
        let mut credit = Credit::new(Duration::ZERO);
        let mut budgets = vec![Budget::new(Duration::ZERO); rss.len()];
        let (mut total, mut counts) = (Duration::ZERO, vec![0; rss.len()]);
        for tick in 0..seconds * 10 {
            let now = Duration::from_millis(tick * 100);
            for ((budget, rss), count) in budgets.iter_mut().zip(rss).zip(&mut counts) {
                let kind = kinds[*count as usize % kinds.len()];
                if let Some(taken) = budget.afford(&mut credit, now, kind, *rss) {
                    let seconds = *rss as f64 / 1_048_576.0 * us_per_mib * 1e-6;
                    let cost = Duration::from_secs_f64(seconds);
                    credit.give_back(taken - cost.as_secs_f64());
                    budget.spent(now, kind, cost, *rss, targets);
                    total += cost;
                    *count += 1;
                }
            }
        }
        (total, counts)
    }

    fn spend_over(seconds: u64, rss: u64, us_per_mib: f64, kinds: &[Kind]) -> (Duration, u32) {
        let (cost, counts) = spend_together(seconds, &[rss], us_per_mib, kinds);
        (cost, counts[0])
    }

    #[test]
    fn a_small_process_is_read_each_second_and_a_large_one_when_it_can_be_paid() {
        let sums = [Kind::Sums];
        assert_eq!(spend_over(100, 10 << 20, 10.0, &sums).1, 100);
        let (cost, count) = spend_over(1000, 8 * GIB, 8.7, &sums);
        assert!(count >= 13, "{count}");
        assert!(cost <= Duration::from_millis(1000 + 72), "{cost:?}");
        assert_eq!(spend_over(1000, 64 * GIB, 10.0, &sums).1, 0, "predicted above 100 ms");
        assert!(Budget::new(Duration::ZERO).is_too_dear(Duration::ZERO, Kind::Sums, 64 * GIB));
        // 160 ms on a busy machine: not again at once, and not never.
        let dear = spend_over(4 * 3600, 8 * GIB, 20.0, &sums).1;
        assert!((2..=20).contains(&dear), "{dear}");
    }

    #[test]
    fn a_small_process_whose_mappings_were_dear_may_be_read_when_it_has_grown() {
        let mut budget = Budget::new(Duration::ZERO);
        let mut credit = Credit::new(Duration::ZERO);
        // Measured: 246 us for 3 MiB, nearly all of it text.
        budget.spent(Duration::ZERO, Kind::Mappings, Duration::from_micros(246), 3 << 20, 1);
        let later = Duration::from_secs(60);
        assert!(!budget.is_too_dear(later, Kind::Mappings, 8 * GIB));
        assert!(budget.afford(&mut credit, later, Kind::Mappings, 2 * GIB).is_some());
    }

    #[test]
    fn both_kinds_are_paid_from_one_account() {
        let (_, alone) = spend_over(1000, 8 * GIB, 8.7, &[Kind::Sums]);
        let (_, both) = spend_over(1000, 8 * GIB, 8.7, &[Kind::Sums, Kind::Mappings]);
        assert_eq!(alone, both);
    }

    #[test]
    fn many_targets_share_one_budget_and_each_has_its_turn() {
        let rss: Vec<u64> = (1..=100).map(|n| (n % 10 + 1) * (64 << 20)).collect();
        let (cost, counts) = spend_together(3600, &rss, 10.0, &[Kind::Sums]);
        assert!(cost <= Duration::from_millis(3600 + 20), "{cost:?}");
        assert!(counts.iter().all(|count| *count >= 4), "{counts:?}");
    }

    proptest! {
        #[test]
        fn the_budget_holds_whatever_a_reading_costs(
            rss in 1u64..64 * GIB,
            us_per_mib in 0.1f64..1e4,
            seconds in 1u64..400,
            mappings: bool,
        ) {
            let kinds = if mappings { &[Kind::Sums, Kind::Mappings][..] } else { &[Kind::Sums] };
            let (cost, count) = spend_over(seconds, rss, us_per_mib, kinds);
            // The share, the credit, and of each kind one reading that turned out dearer than predicted.
            let longest = rss as f64 / 1_048_576.0 * us_per_mib * 1e-6 * kinds.len() as f64;
            let limit = seconds as f64 * PSS_SHARE + CREDIT.as_secs_f64() + longest;
            prop_assert!(cost.as_secs_f64() <= limit + 1e-6, "{cost:?} in {seconds} s, {count} readings");
            prop_assert!(u64::from(count) <= seconds);
        }
    }
}
