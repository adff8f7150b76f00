//! Falls in one life of a process: what it gives back by itself is a swing, and no restart.

use std::time::Duration;

use memleak::{Detector, LeakConfig, Verdict};

#[path = "support/mod.rs"]
mod support;

use support::MIB;
use support::random::Random;

/// Bytes at a time, in seconds, of a process that stays one process.
fn watch(step: f64, until: f64, told: bool, level: impl Fn(f64) -> f64) -> (Detector, Vec<f64>) {
    let mut random = Random::new(4);
    let mut detector = Detector::new(&LeakConfig::default());
    let (mut t, mut leaks) = (0.0, Vec::new());
    while t < until {
        if told {
            detector.process_ended(false);
        }
        let bytes = (level(t) + 0.5 * random.normal()).max(0.0) * MIB;
        let change = detector.push(Duration::from_secs_f64(t), bytes as u64);
        if change.is_some_and(|change| change.to.is_leak()) {
            leaks.push(t);
        }
        t += step;
    }
    detector.conclude();
    (detector, leaks)
}

/// Level in MiB that teeth begin at, their height, their period and the sampling interval in seconds.
const TEETH: [(f64, f64, f64, f64); 7] = [
    (100.0, 60.0, 1200.0, 5.0),
    (100.0, 200.0, 7200.0, 60.0),
    (200.0, 80.0, 1200.0, 5.0),
    (300.0, 150.0, 1800.0, 5.0),
    (500.0, 500.0, 3600.0, 60.0),
    (64.0, 64.0, 600.0, 1.0),
    (50.0, 30.0, 60.0, 0.1),
];

#[test]
fn teeth_of_a_collector_are_no_leak_once_one_has_been_seen() {
    for (base, height, period, step) in TEETH {
        let tooth = |t: f64| base + height * (t / period).fract();
        for turns in [2.5, 4.5, 6.5, 8.5, 12.5] {
            let (detector, leaks) = watch(step, turns * period, true, tooth);
            let what = format!("{base} + {height} MiB each {period} s, {turns} turns: {leaks:?}");
            assert!(!detector.leaks(), "{what}, {:?}", detector.verdict());
            assert_eq!(detector.verdict().evidence().restarts, 0, "{what}");
            // The first rise cannot be told from a leak before its first fall.
            assert!(leaks.iter().all(|t| *t < period), "{what}");
        }
    }
}

#[test]
fn a_heap_that_is_freed_once_after_the_start_does_not_hide_a_leak() {
    let level = |t: f64| if t < 600.0 { 600.0 } else { 200.0 + 20.0 * (t - 600.0) / 3600.0 };
    let (detector, _) = watch(30.0, 5.0 * 3600.0, true, level);
    let Verdict::Leak { rate, .. } = detector.verdict() else { panic!("{:?}", detector.verdict()) };
    assert!((rate.bytes_per_second * 3600.0 / MIB - 20.0).abs() < 1.0, "{rate:?}");
}

#[test]
fn teeth_whose_floor_rises_are_a_leak() {
    let level = |t: f64| 100.0 + 80.0 * (t / 1800.0).fract() + 2.0 * (t / 1800.0).floor();
    let (detector, _) = watch(30.0, 12.5 * 3600.0, true, level);
    let Verdict::Leak { rate, .. } = detector.verdict() else { panic!("{:?}", detector.verdict()) };
    assert!((rate.bytes_per_second * 3600.0 / MIB - 4.0).abs() < 0.5, "{rate:?}");
}

#[test]
fn a_fall_after_the_end_of_a_process_is_a_restart_and_its_leak_stands() {
    let mut detector = Detector::new(&LeakConfig::default());
    let step = 30u64;
    for n in 0..1200u64 {
        let restart = n == 1000;
        detector.process_ended(restart);
        let age = if n < 1000 { n } else { n - 1000 };
        let level = 200.0 + 60.0 * (age * step) as f64 / 3600.0 + (n % 5) as f64 * 0.1;
        detector.push(Duration::from_secs(n * step), (level * MIB) as u64);
    }
    assert_eq!(detector.verdict().evidence().restarts, 1);
    assert!(detector.leaks(), "{:?}", detector.verdict());
}

#[test]
fn a_steady_fall_in_one_life_is_no_restart() {
    let (detector, leaks) = watch(1.0, 1000.0, true, |t| 1000.0 - t);
    assert_eq!(detector.verdict().evidence().restarts, 0);
    assert!(!detector.leaks() && leaks.is_empty());
}
