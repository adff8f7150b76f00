//! Floors on what the detector is worth, over labelled traces of many families made up here.
//!
//! The traces are streamed as they would come, and an alert is the verdict becoming a leak. The floors stand a little
//! below what was measured; they catch a rule that broke, and are no claim about other series.

use std::time::Duration;

use memleak::tuning::Tuning;
use memleak::{Detector, LeakConfig};

#[path = "support/mod.rs"]
mod support;

use support::families::{CLEAN, LEAKING, trace};
use support::score::{Outcome, Score, watch};

/// Each family's traces, on as many threads as there are processors.
fn outcomes(each: u64) -> Vec<Outcome> {
    let all: Vec<(&'static str, u64)> = LEAKING
        .iter()
        .chain(&CLEAN)
        .flat_map(|family| (0..each).map(move |number| (*family, number)))
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = all
            .chunks(all.len().div_ceil(threads))
            .map(|part| {
                scope.spawn(|| {
                    part.iter()
                        .map(|(family, number)| {
                            watch(&trace(family, 4242, *number), Tuning::default())
                        })
                        .collect()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| -> Vec<Outcome> { worker.join().unwrap_or_default() })
            .collect()
    })
}

#[test]
fn the_scores_stay_above_their_floors() {
    let outcomes = outcomes(3);
    let score = Score::of(outcomes.iter());
    let wrong: Vec<_> =
        outcomes.iter().filter(|one| one.leak != one.last).map(|one| one.family).collect();
    let figures = format!("{score:?}, wrong at the end: {wrong:?}");
    assert_eq!(score.traces, 3 * 37, "{figures}");
    assert!(score.any >= 0.82, "{figures}");
    assert!(score.clean >= 0.955 && score.clean_false <= 3, "{figures}");
    assert!(score.last >= 0.975 && score.last_false <= 1, "{figures}");
    assert!(score.rate_error <= 0.003 && score.rate_close >= 0.9, "{figures}");
    assert!(score.mib <= 19.0 && score.hours <= 4.3, "{figures}");
}

#[test]
fn a_quiet_week_of_noise_raises_nothing() {
    for process in ["iid", "ar1", "student_t3", "pink"] {
        for seed in 0..3 {
            let mut detector = Detector::new(&LeakConfig::default());
            for (t, bytes) in support::clean::clean(process, 7.0, seed) {
                detector.push(Duration::from_secs_f64(t), bytes);
                assert!(!detector.leaks(), "{process}, seed {seed}, after {t} s");
            }
        }
    }
}

#[test]
fn what_pink_noise_showed_after_days_is_no_leak() {
    // A drift of 2.55 over five days, and growth over 2.1 and 2.3 cycles; then a floor that rises for seven days, a drift of 3.2
    // over eight, and growth over 2.7 cycles: each was an alert once.
    for seed in [100_081, 100_800, 101_842, 613_383, 400_271, 615_542] {
        let mut detector = Detector::new(&LeakConfig::default());
        for (t, bytes) in support::clean::clean("pink", 8.5, seed) {
            detector.push(Duration::from_secs_f64(t), bytes);
            assert!(!detector.leaks(), "seed {seed}, after {t} s");
        }
    }
}

#[test]
fn a_leak_under_a_daily_cycle_is_told_whatever_the_phase_at_the_end() {
    // Each was growing and no more at its end once: three days, and the cycle fell just then.
    for (seed, number) in [(20_003, 3), (9000, 4), (9005, 6), (9007, 1)] {
        let trace = trace("diurnal_leak", seed, number);
        let outcome = watch(&trace, Tuning::default());
        assert!(outcome.last, "{}: {outcome:?}", trace.name);
    }
}

#[test]
fn a_leak_that_rests_at_the_end_of_a_run_is_told_all_the_same() {
    // Each was growing and no more once: the chapter of its last hours, in which it rested, had the last word.
    let rests =
        [("day_only_leak", 51_001, 7), ("day_only_leak", 51_005, 2), ("pink_leak", 53_005, 5)];
    for (family, seed, number) in rests {
        let trace = trace(family, seed, number);
        let outcome = watch(&trace, Tuning::default());
        assert!(outcome.last, "{}: {outcome:?}", trace.name);
    }
}
