//! What a verdict says must be true of the series that it says it of.

use std::time::Duration;

use memleak::{Detector, LeakConfig, Shape, Verdict, Why};

#[path = "support/mod.rs"]
mod support;

use support::noise::{Noise, noise};
use support::random::Random;
use support::{HOUR, MIB};

/// Pushes a level in MiB with a little noise every `step` seconds from `from` up to `to`.
fn push(detector: &mut Detector, step: f64, from: f64, to: f64, level: impl Fn(f64) -> f64) {
    let mut random = Random::new(9);
    let mut t = from;
    while t < to {
        let bytes = (level(t) + 0.3 * random.normal()).max(0.0) * MIB;
        detector.push(Duration::from_secs_f64(t), bytes as u64);
        t += step;
    }
}

fn watched(step: f64, to: f64, level: impl Fn(f64) -> f64) -> Verdict {
    let mut detector = Detector::new(&LeakConfig::default());
    push(&mut detector, step, 0.0, to, level);
    detector.conclude();
    detector.verdict()
}

#[test]
fn nothing_is_said_of_a_life_without_samples() {
    let mut detector = Detector::new(&LeakConfig::default());
    push(&mut detector, 60.0, 0.0, 5.0 * HOUR, |_| 200.0);
    assert_eq!(detector.verdict().kind(), "steady");
    detector.restarted();
    let told = |detector: &Detector| {
        let verdict = detector.verdict();
        matches!(verdict, Verdict::Undecided { why: Why::Restarted, .. })
    };
    assert!(told(&detector), "{:?}", detector.verdict());
    push(&mut detector, 60.0, 5.0 * HOUR, 5.0 * HOUR + 600.0, |_| 200.0);
    assert!(told(&detector), "{:?}", detector.verdict());
}

#[test]
fn a_leak_that_is_carried_over_a_restart_says_when_it_began() {
    let mut detector = Detector::new(&LeakConfig::default());
    push(&mut detector, 60.0, 0.0, HOUR, |_| 200.0);
    detector.restarted();
    push(&mut detector, 60.0, HOUR, 6.0 * HOUR, |t| 200.0 + 30.0 * (t / HOUR - 1.0));
    detector.restarted();
    let verdict = detector.verdict();
    let Verdict::Leak { since, time_to_limit, .. } = &verdict else { panic!("{verdict:?}") };
    assert!((since.as_secs_f64() / HOUR - 1.0).abs() < 0.2, "{verdict:?}");
    assert_eq!(*time_to_limit, None);
}

#[test]
fn a_leak_is_not_carried_into_a_life_that_excludes_it() {
    let mut detector = Detector::new(&LeakConfig::default());
    let day = 24.0 * HOUR;
    push(&mut detector, 60.0, 0.0, day, |t| 200.0 + 10.0 * t / HOUR);
    assert!(detector.leaks());
    push(&mut detector, 60.0, day, day + 900.0, |_| 200.0);
    assert!(detector.leaks(), "a quarter of an hour excludes nothing: {:?}", detector.verdict());
    push(&mut detector, 60.0, day + 900.0, day + 2.0 * HOUR, |_| 200.0);
    assert!(!detector.leaks(), "{:?}", detector.verdict());
}

#[test]
fn a_gap_longer_than_all_before_it_does_not_blind() {
    for gap in [24.0, 720.0] {
        let mut detector = Detector::new(&LeakConfig::default());
        push(&mut detector, 60.0, 0.0, HOUR, |_| 100.0);
        let from = (1.0 + gap) * HOUR;
        push(&mut detector, 60.0, from, from + 3.0 * HOUR, |t| 100.0 + 30.0 * (t - from) / HOUR);
        let verdict = detector.verdict();
        assert!(verdict.is_leak(), "{gap} h: {verdict:?}");
        assert_eq!(verdict.evidence().restarts, 0);
    }
}

#[test]
fn a_ramp_that_has_ended_when_the_run_does_is_no_leak() {
    for (ramp, run) in [(10.0, 12.0), (20.0, 25.0), (50.0, 60.0), (100.0, 110.0), (100.0, 120.0)] {
        let verdict = watched(0.1, run, |t| 50.0 + 60.0 * (t / ramp).min(1.0));
        assert!(!verdict.is_leak(), "{ramp} of {run} s: {verdict:?}");
    }
    let verdict = watched(0.1, 60.0, |t| 50.0 + 60.0 * t / 50.0);
    assert!(verdict.is_leak(), "{verdict:?}");
}

#[test]
fn leaks_at_the_floor_are_found_in_nine_of_ten() {
    let kinds = [Noise::Gauss, Noise::Ar1, Noise::Student];
    let (mut floors, mut found, mut twice) = (0, 0, 0);
    for seed in 0..60u64 {
        let (deviation, step, n) =
            [(30.0, 5.0, 720), (1.0, 5.0, 720), (5.0, 60.0, 1440)][seed as usize % 3];
        let kind = kinds[seed as usize / 3 % 3];
        let noise = noise(kind, deviation, n, step, &mut Random::new(seed));
        let run = |rate: f64| {
            let mut detector = Detector::new(&LeakConfig::default());
            for (i, noise) in noise.iter().enumerate() {
                let t = i as f64 * step;
                let bytes = (300.0 + noise).max(0.0) * MIB + rate * t;
                detector.push(Duration::from_secs_f64(t), bytes as u64);
            }
            detector.conclude();
            detector.verdict()
        };
        let quiet = run(0.0);
        let (Some(floor), Some(trend)) = (quiet.evidence().floor, quiet.trend()) else {
            continue;
        };
        assert!(quiet.evidence().noise > Some(0), "{quiet:?}");
        assert!(floor >= trend.high, "{quiet:?}");
        floors += 1;
        found += u32::from(matches!(run(floor).kind(), "growing" | "leak"));
        twice += u32::from(run(2.0 * floor).is_leak());
    }
    assert!(floors == 60 && 10 * found >= 9 * floors, "{found} of {floors}");
    assert!(10 * twice >= 9 * floors, "{twice} of {floors}");
}

#[test]
fn the_shape_is_that_of_the_growth_since_it_began() {
    let verdict = watched(10.0, 3.0 * HOUR, |t| 100.0 + 100.0 * (t / HOUR - 1.0).max(0.0));
    let Verdict::Leak { shape, since, .. } = &verdict else { panic!("{verdict:?}") };
    assert!((since.as_secs_f64() / HOUR - 1.0).abs() < 0.1, "{verdict:?}");
    assert_eq!(*shape, Shape::Linear, "{verdict:?}");
}

#[test]
fn what_falls_is_steady_at_the_level_it_has_fallen_to() {
    let verdict = watched(30.0, 4.0 * HOUR, |t| 900.0 - 20.0 * t / HOUR);
    let Verdict::Steady { plateau, .. } = &verdict else { panic!("{verdict:?}") };
    assert!((*plateau as f64 / MIB - 820.0).abs() < 2.0, "{verdict:?}");
}

#[test]
fn what_has_filled_once_and_stays_is_not_said_to_swing() {
    for flat in [1.0, 2.0, 3.0] {
        let verdict = watched(60.0, (4.0 + flat) * HOUR, |t| 100.0 + 25.0 * (t / HOUR).min(4.0));
        let swings = matches!(verdict, Verdict::Undecided { why: Why::Swinging, .. });
        assert!(!swings, "{flat} h: {verdict:?}");
    }
}

#[test]
fn what_leaks_under_a_cycle_is_not_a_matter_of_its_phase() {
    const RUNS: std::ops::Range<i32> = 12..28;
    for per_h in [2.0, 5.0] {
        let mut off = Vec::new();
        for quarters in RUNS {
            let days = f64::from(quarters) / 4.0;
            let daily = |t: f64| 50.0 * (std::f64::consts::TAU * t / (24.0 * HOUR)).sin();
            let level = |t: f64| 300.0 + per_h * t / HOUR + daily(t);
            let verdict = watched(60.0, days * 24.0 * HOUR, level);
            let Verdict::Leak { leaked, since, .. } = &verdict else {
                panic!("{per_h} MiB/h, {days} d: {verdict:?}")
            };
            let truth = per_h * (24.0 * days - since.as_secs_f64() / HOUR);
            let error = *leaked as f64 / MIB / truth - 1.0;
            if error.abs() > 0.06 {
                off.push((days, error));
            }
        }
        // Of the run that is cut where its cycle shows worst, little can be said.
        assert!(off.len() <= 2, "{per_h} MiB/h: {off:?}");
        assert!(off.iter().all(|(_, error)| error.abs() < 0.15), "{per_h} MiB/h: {off:?}");
    }
}

#[test]
fn a_straight_line_has_no_cycle() {
    for rate in [-300.0, -30.0, 3.0, 30.0, 300.0] {
        for minutes in [97, 150, 193, 250, 400] {
            let mut detector = Detector::new(&LeakConfig::default());
            for i in 0..minutes * 2 {
                let bytes = (2000.0 + rate * f64::from(i) / 120.0) * MIB;
                detector.push(Duration::from_secs(30 * u64::from(i as u32)), bytes as u64);
            }
            let verdict = detector.verdict();
            assert_eq!(verdict.evidence().season, None, "{rate} MiB/h");
        }
    }
}
