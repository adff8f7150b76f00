//! How fast a leak grows is told of the leak alone, whatever happened beside it: a start, steps, a rest.

use std::time::Duration;

use memleak::{Detector, LeakConfig, Trend, Verdict};
use proptest::prelude::*;

#[path = "support/mod.rs"]
mod support;

use support::random::Random;
use support::{HOUR, MIB};

const MINUTE: f64 = 60.0;

/// Watches a level in MiB, by seconds, with normal noise.
fn watched(step: f64, until: f64, noise: f64, seed: u64, level: impl Fn(f64) -> f64) -> Detector {
    let mut random = Random::new(seed);
    let mut detector = Detector::new(&LeakConfig::default());
    let mut t = 0.0;
    while t < until {
        let bytes = (level(t) + noise * random.normal()).max(0.0) * MIB;
        detector.push(Duration::from_secs_f64(t), bytes as u64);
        t += step;
    }
    detector
}

/// The rate of a leak with its interval, in MiB per second; `None` where there is none.
fn rate(verdict: &Verdict) -> Option<Trend> {
    let Verdict::Leak { rate, .. } = verdict else { return None };
    let mib = |bytes: f64| bytes / MIB;
    Some(Trend {
        bytes_per_second: mib(rate.bytes_per_second),
        low: mib(rate.low),
        high: mib(rate.high),
    })
}

/// A level that nears `height` MiB with a time constant of `tau` seconds.
fn fill(height: f64, tau: f64, t: f64) -> f64 {
    height * (1.0 - (-t.max(0.0) / tau).exp())
}

#[test]
fn the_start_of_a_short_run_does_not_blur_the_rate_of_its_leak() {
    for seconds in [30.0, 45.0, 60.0, 90.0, 120.0] {
        for tau in [0.5, 1.0, 2.0] {
            for height in [50.0, 100.0, 200.0] {
                let what = format!("{height} MiB in {tau} s, of {seconds} s");
                let mut detector =
                    watched(0.1, seconds, 0.02, 1, |t| 20.0 + fill(height, tau, t) + t);
                detector.conclude();
                let verdict = detector.verdict();
                let found = rate(&verdict).unwrap_or_else(|| panic!("{what}: {verdict:?}"));
                assert!((found.bytes_per_second - 1.0).abs() < 0.1, "{what}: {found:?}");
                assert!(found.low > 0.8 && found.high < 1.2, "{what}: {found:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_interval_of_a_leak_that_follows_a_warm_up_is_above_nothing(
        days in 1.0f64..11.0,
        height in 50.0f64..450.0,
        tau in 0.1f64..3.0,
        rate_per_h in 2.0f64..12.0,
        seed in any::<u64>(),
    ) {
        let level = |t: f64| 100.0 + fill(height, tau * HOUR, t) + rate_per_h * t / HOUR;
        let detector = watched(MINUTE, days * 24.0 * HOUR, 1.0, seed, level);
        let verdict = detector.verdict();
        if let Some(found) = rate(&verdict) {
            let truth = rate_per_h / HOUR;
            prop_assert!(found.low > 0.0, "{verdict:?}");
            prop_assert!(found.high - found.low < 0.5 * truth, "{verdict:?}");
            prop_assert!((found.bytes_per_second / truth - 1.0).abs() < 0.1, "{verdict:?}");
        }
    }
}

#[test]
fn one_leak_with_steps_in_it_has_one_rate() {
    const SERIES: u64 = 40;
    let (mut leaks, mut near, mut above) = (0, 0, 0);
    for seed in 0..SERIES {
        let mut random = Random::new(seed);
        let hours = random.between(48.0, 288.0);
        let steps: Vec<(f64, f64)> = (0..1 + seed % 3)
            .map(|_| (0.7 * hours * random.unit(), random.between(20.0, 200.0)))
            .collect();
        let (per_h, onset) = (random.between(3.0, 13.0), random.between(0.0, 0.5 * hours));
        let level = |t: f64| {
            let stepped = steps.iter().map(|(at, height)| fill(*height, 0.3, t / HOUR - at));
            200.0 + stepped.sum::<f64>() + per_h * (t / HOUR - onset).max(0.0)
        };
        let detector = watched(MINUTE, hours * HOUR, 1.0, seed, level);
        let Some(found) = rate(&detector.verdict()) else { continue };
        leaks += 1;
        near += u32::from((found.bytes_per_second * HOUR / per_h - 1.0).abs() < 0.1);
        above += u32::from(found.low > 0.0);
    }
    assert!(leaks >= 38, "{leaks}");
    assert!(10 * near >= 9 * leaks, "{near} of {leaks}");
    assert_eq!(above, leaks);
}

#[test]
fn a_leak_that_goes_on_after_a_rest_has_the_rate_that_it_goes_on_with() {
    let level = |t: f64| {
        let hours = t / HOUR;
        200.0 + 10.0 * hours.min(48.0) + 5.0 * (hours - 120.0).max(0.0)
    };
    let mut random = Random::new(7);
    let mut detector = Detector::new(&LeakConfig::default());
    detector.set_limit(Some(4 << 30));
    let mut looks = 0;
    for minute in 0..14 * 24 * 60 {
        let t = f64::from(minute) * MINUTE;
        let bytes = (level(t) + random.normal()) * MIB;
        detector.push(Duration::from_secs_f64(t), bytes as u64);
        if minute % 360 != 0 || t < 130.0 * HOUR {
            continue;
        }
        let verdict = detector.verdict();
        let Verdict::Leak { rate, time_to_limit: Some(left), .. } = &verdict else {
            panic!("{} h: {verdict:?}", t / HOUR)
        };
        looks += 1;
        let found = rate.bytes_per_second * HOUR / MIB;
        assert!((found / 5.0 - 1.0).abs() < 0.1, "{} h: {verdict:?}", t / HOUR);
        assert!(rate.low > 0.0, "{} h: {verdict:?}", t / HOUR);
        let truth = (4096.0 - level(t)) / 5.0;
        let error = left.as_secs_f64() / HOUR / truth - 1.0;
        assert!(error.abs() < 0.1, "{} h: {truth} h, {verdict:?}", t / HOUR);
    }
    assert!(looks > 30, "{looks}");
}

#[test]
fn growth_that_gets_faster_is_as_fast_as_it_is_at_its_end() {
    const LIMIT: f64 = 4096.0;
    for power in [1.5, 2.0, 2.5] {
        for hours in [40.0f64, 60.0, 83.0] {
            let scale = 1500.0 / 83f64.powf(power);
            let level = |t: f64| 100.0 + scale * (t / HOUR).powf(power);
            let mut random = Random::new(5);
            let mut detector = Detector::new(&LeakConfig::default());
            detector.set_limit(Some((LIMIT * MIB) as u64));
            for minute in 0..(hours * 60.0) as u32 {
                let t = f64::from(minute) * MINUTE;
                let bytes = (level(t) + random.normal()) * MIB;
                detector.push(Duration::from_secs_f64(t), bytes as u64);
            }
            let verdict = detector.verdict();
            let what = format!("power {power}, {hours} h: {verdict:?}");
            let Verdict::Leak { rate, shape, time_to_limit: Some(left), .. } = verdict else {
                panic!("{what}")
            };
            assert_eq!(shape, memleak::Shape::Accelerating, "{what}");
            let truth = power * scale * hours.powf(power - 1.0);
            let found = rate.bytes_per_second * HOUR / MIB;
            assert!((found / truth - 1.0).abs() < 0.08, "{truth} MiB/h, {what}");
            assert!(rate.low > 0.0 && rate.low <= rate.high, "{what}");
            let truth = ((LIMIT - 100.0) / scale).powf(1.0 / power) - hours;
            let error = left.as_secs_f64() / HOUR / truth - 1.0;
            assert!(error.abs() < 0.25, "{truth} h, {error}, {what}");
        }
    }
}

#[test]
fn a_speed_that_changed_once_is_not_said_to_go_on_changing() {
    for hours in [130.0, 160.0, 240.0] {
        let level = |t: f64| 200.0 + 2.0 * (t / HOUR).min(96.0) + 20.0 * (t / HOUR - 96.0).max(0.0);
        let verdict = watched(MINUTE, hours * HOUR, 1.0, 7, level).verdict();
        let found = rate(&verdict).unwrap_or_else(|| panic!("{hours} h: {verdict:?}"));
        assert!((found.bytes_per_second * HOUR / 20.0 - 1.0).abs() < 0.1, "{hours} h: {verdict:?}");
    }
}
