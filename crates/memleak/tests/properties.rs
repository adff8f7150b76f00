//! What must hold for every series.

use std::time::Duration;

use memleak::{Detector, LeakConfig, Verdict};
use proptest::prelude::*;

#[path = "support/mod.rs"]
mod support;

use support::MIB;
use support::random::Random;

/// Seconds between samples; time is kept in whole seconds so that shifting it is exact.
const STEP: u64 = 30;

fn detect(samples: impl IntoIterator<Item = (Duration, u64)>) -> Detector {
    let mut detector = Detector::new(&LeakConfig::default());
    for (at, bytes) in samples {
        detector.push(at, bytes);
    }
    detector.conclude();
    detector
}

/// `n` samples from 200 MiB on with a slope in MiB/h and normal noise.
fn ramp(n: u64, mib_per_h: f64, noise: f64, seed: u64) -> Vec<(Duration, u64)> {
    let mut random = Random::new(seed);
    (0..n)
        .map(|i| {
            let hours = (i * STEP) as f64 / 3600.0;
            let level = 200.0 + mib_per_h * hours + noise * random.normal();
            (Duration::from_secs(i * STEP), (level.max(0.0) * MIB) as u64)
        })
        .collect()
}

fn speed(verdict: &Verdict) -> f64 {
    verdict.trend().map_or(0.0, |trend| trend.bytes_per_second)
}

fn near(a: f64, b: f64, share: f64, slack: f64) -> bool {
    (a - b).abs() <= share * a.abs().max(b.abs()) + slack
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn hostile_samples_never_panic(
        samples in prop::collection::vec(
            (
                prop_oneof![0u64..2_000, Just(0), Just(u64::MAX), any::<u64>()],
                prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 0u64..(1 << 30)],
            ),
            0..200,
        ),
        restart in 0usize..200,
    ) {
        let mut detector = Detector::new(&LeakConfig { min_samples: 3, ..LeakConfig::default() });
        detector.set_limit(Some(0));
        for (i, (millis, bytes)) in samples.into_iter().enumerate() {
            if i == restart {
                detector.restarted();
            }
            detector.push(Duration::from_millis(millis), bytes);
            // The figures after every sample would only cost time.
            if i % 40 != 0 {
                continue;
            }
            let verdict = detector.verdict();
            prop_assert!(verdict.trend().is_none_or(|trend| trend.bytes_per_second.is_finite()
                && trend.low.is_finite() && trend.high.is_finite()), "{verdict:?}");
        }
        detector.conclude();
        prop_assert!(detector.state_bytes() <= 32 << 10);
    }

    #[test]
    fn shifting_the_time_changes_nothing(rate in 0.0f64..100.0, seed in any::<u64>(), shift in 0u64..1_000_000) {
        let samples = ramp(400, rate, 1.0, seed);
        let later = samples.iter().map(|(at, bytes)| (*at + Duration::from_secs(shift), *bytes));
        let (a, b) = (detect(samples.clone()).verdict(), detect(later).verdict());
        prop_assert_eq!(a.kind(), b.kind());
        prop_assert!(near(speed(&a), speed(&b), 1e-6, 1e-3), "{a:?} {b:?}");
        if let (Verdict::Leak { since: a, .. }, Verdict::Leak { since: b, .. }) = (&a, &b) {
            let moved = b.as_secs_f64() - a.as_secs_f64();
            prop_assert!((moved - shift as f64).abs() < 1.0, "{moved} {shift}");
        }
    }

    #[test]
    fn a_constant_more_changes_nothing(rate in 0.0f64..100.0, seed in any::<u64>(), more in 0u64..200) {
        // Below the level at which the share of the level asks for more than the least growth.
        let samples = ramp(400, rate, 1.0, seed);
        let higher = samples.iter().map(|(at, bytes)| (*at, *bytes + (more << 20)));
        let (a, b) = (detect(samples.clone()).verdict(), detect(higher).verdict());
        prop_assert_eq!(a.kind(), b.kind());
        prop_assert!(near(speed(&a), speed(&b), 1e-6, 1.0), "{a:?} {b:?}");
    }

    #[test]
    fn slower_time_means_a_slower_rate(rate in 10.0f64..200.0, seed in any::<u64>(), factor in 2u32..5) {
        // Leaks large enough to be seen on either scale: from 10 MiB/h over 3.3 h.
        let samples = ramp(400, rate, 0.2, seed);
        let slow = samples.iter().map(|(at, bytes)| (*at * factor, *bytes));
        let (a, b) = (detect(samples.clone()).verdict(), detect(slow).verdict());
        prop_assert!(a.is_leak() && b.is_leak(), "{a:?} {b:?}");
        let (fast, slow) = (speed(&a), speed(&b) * f64::from(factor));
        prop_assert!(near(fast, slow, 0.01, 0.0), "{fast} {slow}");
    }

    #[test]
    fn scaling_the_sizes_scales_the_rate(seed in any::<u64>(), factor in 2u64..8) {
        let samples = ramp(400, 30.0, 0.3, seed);
        let larger = samples.iter().map(|(at, bytes)| (*at, *bytes * factor));
        let (a, b) = (detect(samples.clone()).verdict(), detect(larger).verdict());
        prop_assert!(a.is_leak() && b.is_leak());
        prop_assert!(near(speed(&a) * factor as f64, speed(&b), 1e-6, 1.0));
    }

    #[test]
    fn adding_a_slope_adds_to_the_rate_and_keeps_a_leak(base in 10.0f64..50.0, more in 1.0f64..100.0, seed in any::<u64>()) {
        let slow = detect(ramp(400, base, 0.5, seed)).verdict();
        let fast = detect(ramp(400, base + more, 0.5, seed)).verdict();
        prop_assert!(slow.is_leak() && fast.is_leak(), "{slow:?} {fast:?}");
        let added = (speed(&fast) - speed(&slow)) * 3600.0 / MIB;
        prop_assert!(near(added, more, 0.05, 0.3), "{added} for {more}");
        let trend = slow.trend().unwrap();
        prop_assert!(trend.low <= trend.bytes_per_second && trend.bytes_per_second <= trend.high);
    }

    #[test]
    fn losing_a_fifth_of_the_samples_hardly_moves_the_rate(rate in 15.0f64..200.0, seed in any::<u64>()) {
        let samples = ramp(600, rate, 0.5, seed);
        let mut random = Random::new(seed ^ 1);
        let fewer: Vec<_> = samples.iter().copied().filter(|_| random.unit() > 0.2).collect();
        let (a, b) = (detect(samples).verdict(), detect(fewer).verdict());
        prop_assert!(a.is_leak() && b.is_leak(), "{a:?} {b:?}");
        prop_assert!(near(speed(&a), speed(&b), 0.05, 0.0), "{a:?} {b:?}");
    }

    #[test]
    fn duplicates_and_single_outliers_change_neither_kind_nor_rate(rate in 15.0f64..200.0, seed in any::<u64>()) {
        let samples = ramp(600, rate, 0.3, seed);
        let mut random = Random::new(seed ^ 2);
        let mut dirty = Vec::new();
        for (i, sample) in samples.iter().copied().enumerate() {
            dirty.push(sample);
            if random.unit() < 0.05 {
                dirty.push(sample);
            }
            if i % 50 == 25 {
                let last = dirty.len() - 1;
                dirty[last].1 = random.pick(&[0, 1 << 40, u64::MAX]);
            }
        }
        let (a, b) = (detect(samples).verdict(), detect(dirty).verdict());
        prop_assert_eq!(a.kind(), b.kind());
        prop_assert!(near(speed(&a), speed(&b), 0.02, 0.0), "{a:?} {b:?}");
    }

    #[test]
    fn flat_for_long_enough_clears(rate in 15.0f64..200.0, seed in any::<u64>()) {
        let mut samples = ramp(300, rate, 0.3, seed);
        let end = samples[samples.len() - 1];
        for i in 1..=600 {
            samples.push((end.0 + Duration::from_secs(i * STEP), end.1 + (i % 3) * 4096));
        }
        let mut detector = Detector::new(&LeakConfig::default());
        let mut raised = false;
        for (at, bytes) in samples {
            detector.push(at, bytes);
            raised |= detector.leaks();
        }
        prop_assert!(raised);
        prop_assert_eq!(detector.verdict().kind(), "steady", "{:?}", detector.verdict());
    }

    /// Lives of two hours of noise, each told: what they show together is still nothing.
    #[test]
    fn restarts_of_a_steady_process_are_never_a_leak(lives in 2u64..12, deviation in 0.1f64..3.0, seed in any::<u64>()) {
        let mut detector = Detector::new(&LeakConfig::default());
        for life in 0..lives {
            detector.restarted();
            for (at, bytes) in ramp(240, 0.0, deviation, seed ^ life) {
                detector.push(at + Duration::from_secs(life * 240 * STEP), bytes);
                prop_assert!(!detector.leaks());
            }
        }
        prop_assert_eq!(u64::from(detector.verdict().evidence().restarts), lives - 1);
    }

    #[test]
    fn noise_alone_is_never_a_leak(kind in 0usize..3, deviation in 0.1f64..6.0, seed in any::<u64>()) {
        use support::noise::{Noise, noise};
        let kind = [Noise::Gauss, Noise::Ar1, Noise::Student][kind];
        let noise = noise(kind, deviation, 2_000, STEP as f64, &mut Random::new(seed));
        let mut detector = Detector::new(&LeakConfig::default());
        for (i, noise) in (0..).zip(noise) {
            let bytes = ((300.0 + noise).max(0.0) * MIB) as u64;
            detector.push(Duration::from_secs(i * STEP), bytes);
            prop_assert!(!detector.leaks());
        }
    }
}

#[cfg(feature = "serde")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn restoring_and_going_on_is_an_uninterrupted_run(rate in 0.0f64..60.0, seed in any::<u64>(), cut in 0usize..500) {
        let samples = ramp(500, rate, 1.0, seed);
        let mut whole = Detector::new(&LeakConfig::default());
        let mut parted = Detector::new(&LeakConfig::default());
        for (i, (at, bytes)) in samples.into_iter().enumerate() {
            if i == cut {
                let text = serde_json::to_string(&parted).unwrap();
                parted = serde_json::from_str(&text).unwrap();
            }
            prop_assert_eq!(whole.push(at, bytes), parted.push(at, bytes));
        }
        prop_assert_eq!(whole, parted);
    }

    /// With falls, restarts, gaps, outliers and clock steps, told restarts among them.
    #[test]
    fn restoring_within_any_kind_of_trace_is_an_uninterrupted_run(
        family in 0usize..37, number in any::<u32>(), cut in 0usize..1500, restart in 0usize..1500,
    ) {
        use support::families::{CLEAN, LEAKING, trace};
        let family = LEAKING.iter().chain(&CLEAN).nth(family).unwrap();
        let mut whole = Detector::new(&LeakConfig::default());
        let mut parted = Detector::new(&LeakConfig::default());
        for (i, (t, bytes)) in trace(family, 77, number.into()).samples.into_iter().take(1500).enumerate() {
            if i == restart {
                whole.restarted();
                parted.restarted();
            }
            if i == cut {
                let text = serde_json::to_string(&parted).unwrap();
                parted = serde_json::from_str(&text).unwrap();
            }
            let at = Duration::from_secs_f64(t);
            prop_assert_eq!(whole.push(at, bytes), parted.push(at, bytes));
        }
        prop_assert_eq!(whole.conclude(), parted.conclude());
        prop_assert_eq!(whole, parted);
    }
}

#[test]
fn a_constant_series_has_a_rate_of_exactly_zero() {
    let detector = detect((0..500).map(|i| (Duration::from_secs(i * STEP), 123_456_789)));
    let verdict = detector.verdict();
    assert_eq!(verdict.kind(), "steady");
    assert_eq!(speed(&verdict), 0.0);
    let Verdict::Steady { plateau, .. } = verdict else { panic!() };
    assert_eq!(plateau, 123_456_789);
}

#[test]
fn nothing_and_one_sample_are_undecided() {
    assert_eq!(detect([]).verdict().kind(), "undecided");
    assert_eq!(detect([(Duration::ZERO, 1)]).verdict().kind(), "undecided");
    assert_eq!(detect([(Duration::MAX, u64::MAX)]).verdict().kind(), "undecided");
}

#[test]
fn memory_is_constant_after_a_million_samples() {
    let mut detector = Detector::new(&LeakConfig::default());
    let mut random = Random::new(5);
    let mut size = 0;
    for i in 0..1_000_000u64 {
        let bytes = ((300.0 + random.normal()) * MIB) as u64;
        detector.push(Duration::from_secs(60 * i), bytes);
        if i == 10_000 {
            size = detector.state_bytes();
        }
    }
    assert_eq!(detector.state_bytes(), size);
    assert!(size <= 32 << 10, "{size}");
}

#[test]
fn a_restart_is_a_boundary_and_the_leak_stands_over_it() {
    let mut detector = Detector::new(&LeakConfig::default());
    for life in 0..2u64 {
        for (at, bytes) in ramp(if life == 0 { 600 } else { 60 }, 60.0, 0.3, 9 + life) {
            detector.push(at + Duration::from_secs(life * 600 * STEP), bytes);
        }
    }
    let verdict = detector.verdict();
    assert!(verdict.is_leak(), "{verdict:?}");
    assert_eq!(verdict.evidence().restarts, 1, "{verdict:?}");
}

#[test]
fn the_limit_gives_the_time_that_is_left() {
    let mut detector = Detector::new(&LeakConfig::default());
    detector.set_limit(Some(500 << 20));
    // 200 MiB + 60 MiB/h for 2 h: 180 MiB are left, which is 3 h.
    for (at, bytes) in ramp(240, 60.0, 0.1, 3) {
        detector.push(at, bytes);
    }
    let Verdict::Leak { time_to_limit, leaked, since, shape, confidence, .. } = detector.verdict()
    else {
        panic!("{:?}", detector.verdict())
    };
    let hours = time_to_limit.unwrap().as_secs_f64() / 3600.0;
    assert!((hours - 3.0).abs() < 0.1, "{hours}");
    assert!(leaked > 105 << 20 && leaked < 125 << 20, "{leaked}");
    assert!(since < Duration::from_secs(600), "{since:?}");
    assert_eq!(shape, memleak::Shape::Linear);
    assert!(confidence > 0.7 && confidence < 1.0, "{confidence}");
}

#[test]
fn a_leak_that_starts_late_says_since_when() {
    let mut detector = Detector::new(&LeakConfig::default());
    for i in 0..1200u64 {
        let hours = (i * STEP) as f64 / 3600.0;
        let bytes = (300.0 + 40.0 * (hours - 4.0).max(0.0)) * MIB;
        detector.push(Duration::from_secs(i * STEP), bytes as u64 + (i % 7) * 65_536);
    }
    let verdict = detector.verdict();
    let Verdict::Leak { since, .. } = &verdict else { panic!("{verdict:?}") };
    let hours = since.as_secs_f64() / 3600.0;
    assert!((hours - 4.0).abs() < 0.7, "{hours}");
    assert!(near(speed(&verdict), 40.0 * MIB / 3600.0, 0.02, 0.0), "{verdict:?}");
}

#[test]
fn brief_spikes_each_day_do_not_hide_a_leak_of_half_a_day() {
    let mut random = Random::new(5);
    let mut level = |minute: u64| {
        let (day, of_day) = (minute / 1440, minute % 1440);
        let script = match of_day {
            180..200 => 303.0,
            240..250 => 420.0,
            360.. if day == 7 => 120.0 + 0.2 * (of_day - 360) as f64,
            _ => 120.0,
        };
        (MIB * (script + 0.5 * random.normal())) as u64
    };
    let minute = |minute: u64| Duration::from_secs(60 * minute);
    // Seven days of spikes, then 12 MiB/h from the sixth hour on.
    let detector = detect((0..7 * 1440 + 1080).map(|n| (minute(n), level(n))));
    let verdict = detector.verdict();
    assert!(verdict.is_leak(), "{verdict:?}");
    let rate = speed(&verdict) / MIB * 3600.0;
    assert!((rate / 12.0 - 1.0).abs() < 0.1, "{rate} MiB/h");
}

#[test]
fn a_rate_measured_over_two_lives_is_the_one_that_both_show() {
    let mut detector = Detector::new(&LeakConfig::default());
    let (long, short) = (ramp(800, 30.0, 1.0, 21), ramp(150, 30.0, 1.0, 22));
    for (at, bytes) in &long {
        detector.push(*at, *bytes);
    }
    let alone = detector.verdict().trend().unwrap();
    detector.restarted();
    for (at, bytes) in &short {
        detector.push(*at + Duration::from_secs(800 * STEP), *bytes);
    }
    let verdict = detector.verdict();
    assert!(verdict.is_leak(), "{verdict:?}");
    let pooled = verdict.trend().unwrap();
    // An hour by itself would be wrong by a tenth and more.
    assert!(near(pooled.bytes_per_second, 30.0 * MIB / 3600.0, 0.02, 0.0), "{pooled:?}");
    assert!(pooled.high - pooled.low < 1.05 * (alone.high - alone.low), "{pooled:?} {alone:?}");
}

#[test]
fn a_floor_that_rises_from_life_to_life_is_a_leak_although_no_life_shows_it() {
    // A heap that is collected every half hour from 160 to 100 MiB, and 2 MiB that each collection leaves.
    let mut detector = Detector::new(&LeakConfig::default());
    let mut random = Random::new(31);
    let mut flat = Detector::new(&LeakConfig::default());
    for i in 0..1500u64 {
        let (cycle, phase) = (i / 60, (i % 60) as f64 / 60.0);
        let swing = 100.0 + 80.0 * phase + 0.3 * random.normal();
        let bytes = |level: f64| (level * MIB) as u64;
        detector.push(Duration::from_secs(i * STEP), bytes(swing + 2.0 * cycle as f64));
        flat.push(Duration::from_secs(i * STEP), bytes(swing));
    }
    detector.conclude();
    flat.conclude();
    let verdict = detector.verdict();
    assert!(verdict.is_leak(), "{verdict:?}");
    assert!(near(speed(&verdict), 4.0 * MIB / 3600.0, 0.1, 0.0), "{verdict:?}");
    assert!(!flat.verdict().is_leak(), "{:?}", flat.verdict());
}
