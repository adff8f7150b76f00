//! Floors on what the detector is worth, over labelled traces of many families made up here.
//!
//! The traces are streamed as they would come, and an alert is the verdict becoming a leak. The floors stand a little
//! below what was measured; they catch a rule that broke, and are no claim about other series.

use std::time::Duration;

use memleak::{Detector, LeakConfig};

#[path = "support/mod.rs"]
mod support;

use support::families::{CLEAN, LEAKING, trace};
use support::{HOUR, MIB, Trace};

/// What became of one trace.
struct Outcome {
    family: &'static str,
    leak: bool,
    /// Whether the verdict at the end is a leak.
    last: bool,
    /// Whether an alert was raised after the growth could have been told from a leak (clean), or at all (leaking).
    alert: bool,
    /// Share by which the rate is wrong.
    rate_error: Option<f64>,
}

fn watch(trace: &Trace) -> Outcome {
    let mut detector = Detector::new(&LeakConfig::default());
    let mut alert = false;
    let told = trace.ambiguous_until.unwrap_or(0.0);
    for (t, bytes) in &trace.samples {
        let change = detector.push(Duration::from_secs_f64(*t), *bytes);
        let raised = change.is_some_and(|change| change.to.is_leak());
        alert |= raised && *t >= if trace.leak { trace.onset } else { told };
    }
    // What is only said at the end, when there is no more to wait for, counts as an alert there.
    let raised = detector.conclude().is_some_and(|change| change.to.is_leak());
    alert |= raised;
    let verdict = detector.verdict();
    let measured = verdict.trend().map(|trend| trend.bytes_per_second * HOUR / MIB);
    let rate_error = trace
        .rate_mib_per_h
        .filter(|_| verdict.is_leak())
        .zip(measured)
        .map(|(rate, measured)| (measured / rate - 1.0).abs());
    Outcome { family: trace.family, leak: trace.leak, last: verdict.is_leak(), alert, rate_error }
}

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
                        .map(|(family, number)| watch(&trace(family, 4242, *number)))
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
    let count =
        |keep: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|o| keep(o)).count() as f64;
    let (leaking, clean) = (count(&|o| o.leak), count(&|o| !o.leak));
    let found = count(&|o| o.leak && o.last) / leaking;
    let alerted = count(&|o| o.leak && o.alert) / leaking;
    let false_at_end = count(&|o| !o.leak && o.last) / clean;
    let false_alerts = count(&|o| !o.leak && o.alert) / clean;
    let mut errors: Vec<f64> = outcomes
        .iter()
        .filter(|o| {
            matches!(
                o.family,
                "linear" | "late_onset" | "staircase" | "gc_rising_floor" | "messy_leak"
            )
        })
        .filter_map(|o| o.rate_error)
        .collect();
    errors.sort_by(f64::total_cmp);
    let median = errors[errors.len() / 2];
    let close = errors.iter().filter(|error| **error <= 0.1).count() as f64 / errors.len() as f64;
    let missed: Vec<_> = outcomes.iter().filter(|o| o.leak != o.last).map(|o| o.family).collect();
    let figures = format!(
        "found {found:.3}, alerted {alerted:.3}, false at the end {false_at_end:.3}, false alerts {false_alerts:.3}, \
         rate off by {median:.4}, within 10 % {close:.3}, wrong at the end: {missed:?}"
    );
    assert!(found >= 0.92, "{figures}");
    assert!(alerted >= 0.95, "{figures}");
    assert!(false_at_end <= 0.02, "{figures}");
    assert!(false_alerts <= 0.06, "{figures}");
    assert!(median <= 0.01 && close >= 0.9, "{figures}");
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
