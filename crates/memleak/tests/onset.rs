//! When a leak began, how much it has leaked since and how sure that is: settled when it is confirmed, for as long as it stands.

use std::time::Duration;

use memleak::{Detector, LeakConfig, Verdict};
use proptest::prelude::*;

#[path = "support/mod.rs"]
mod support;

use support::random::Random;
use support::{HOUR, MIB};

/// What a verdict says of a leak: hours since, MiB leaked, confidence.
#[derive(Clone, Copy, Debug)]
struct Told {
    hours: f64,
    since: f64,
    leaked: f64,
    confidence: f64,
}

/// What is said every six hours while a leak stands of a level in MiB, by hours, that is sampled once a minute.
fn told(hours: f64, noise: f64, seed: u64, level: impl Fn(f64) -> f64) -> Vec<Told> {
    let mut random = Random::new(seed);
    let mut detector = Detector::new(&LeakConfig::default());
    let mut told = Vec::new();
    for minute in 0..(hours * 60.0) as u32 {
        let hours = f64::from(minute) / 60.0;
        let bytes = (level(hours) + noise * random.normal()).max(0.0) * MIB;
        detector.push(Duration::from_secs(u64::from(minute) * 60), bytes as u64);
        if minute % 360 == 0
            && let Verdict::Leak { since, leaked, confidence, .. } = detector.verdict()
        {
            let since = since.as_secs_f64() / HOUR;
            told.push(Told { hours, since, leaked: leaked as f64 / MIB, confidence });
        }
    }
    told
}

/// That the start stays, and the confidence never falls.
fn is_settled(told: &[Told]) -> Result<(), String> {
    for pair in told.windows(2) {
        // The clock of a verdict counts in whole samples.
        if (pair[0].since - pair[1].since).abs() > 0.01 || pair[1].confidence < pair[0].confidence {
            return Err(format!("{pair:?}"));
        }
    }
    Ok(())
}

#[test]
fn a_leak_that_begins_late_keeps_the_time_when_it_began() {
    for (days, per_h) in [(1.0, 5.0), (3.0, 5.0), (10.0, 5.0), (10.0, 50.0), (30.0, 5.0)] {
        let what = format!("{per_h} MiB/h after {days} d");
        let onset = days * 24.0;
        let told = told(onset + 240.0, 1.0, 3, |h| 200.0 + per_h * (h - onset).max(0.0));
        assert!(told.len() >= 38, "{what}: {}", told.len());
        is_settled(&told).unwrap_or_else(|why| panic!("{what}: {why}"));
        for told in told {
            assert!((told.since - onset).abs() < 1.5, "{what}: {told:?}");
            let truth = per_h * (told.hours - told.since);
            assert!((told.leaked / truth - 1.0).abs() < 0.05, "{what}: {truth} MiB, {told:?}");
        }
    }
}

#[test]
fn a_leak_that_hides_in_its_noise_at_first_began_with_its_line_and_not_with_the_window_that_showed_it()
 {
    for seed in 0..8 {
        let told = told(72.0, 3.0, seed, |h| 200.0 + h);
        assert!(told.last().is_some_and(|told| told.since < 4.0), "{seed}: {told:?}");
        is_settled(&told).unwrap_or_else(|why| panic!("{seed}: {why}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn on_a_line_the_start_stays_and_confidence_does_not_fall(
        per_h in 2.0f64..40.0,
        noise in 0.0f64..1.0,
        flat in prop_oneof![Just(0.0), 24.0f64..200.0],
        seed in any::<u64>(),
    ) {
        let told = told(flat + 120.0, noise, seed, |h| 200.0 + per_h * (h - flat).max(0.0));
        prop_assert!(told.len() >= 17, "{}", told.len());
        is_settled(&told).map_err(TestCaseError::fail)?;
        // The least growth that counts takes its time, and what lies before it may be left out.
        for told in &told[2..] {
            let truth = per_h * (told.hours - told.since);
            prop_assert!((told.leaked / truth - 1.0).abs() < 0.03, "{truth} MiB, {told:?}");
        }
    }
}

#[test]
fn a_leak_that_stands_over_a_restart_is_no_less_sure_with_every_day() {
    let mut random = Random::new(2);
    let mut detector = Detector::new(&LeakConfig::default());
    let mut before = 0.0;
    for minute in 0..8 * 1440u64 {
        if minute == 1440 {
            detector.restarted();
        }
        let age = if minute < 1440 { minute } else { minute - 1440 };
        let bytes = (200.0 + 30.0 * age as f64 / 60.0 + random.normal()) * MIB;
        detector.push(Duration::from_secs(minute * 60), bytes as u64);
        if minute % 720 == 719 {
            let verdict = detector.verdict();
            let Verdict::Leak { confidence, .. } = verdict else { panic!("{verdict:?}") };
            assert!(confidence >= before, "{before}: {verdict:?}");
            before = confidence;
        }
    }
    assert!(before > 0.9, "{before}");
}
