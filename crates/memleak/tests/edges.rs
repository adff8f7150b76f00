//! Clocks that are set, gaps, lives of a few samples, copies of a detector that go on.

use std::time::Duration;

use memleak::{Detector, LeakConfig, Trend, Verdict, Why};

#[path = "support/mod.rs"]
mod support;

use support::random::Random;
use support::{HOUR, MIB};

/// The hour, since the first sample after the gap, at which growth of 100 MiB/h at 1 Hz was first a leak: `before` samples, then
/// `gap` seconds without any, in which nothing grew.
fn found_after(before: u64, gap: u64) -> Option<f64> {
    let mut detector = Detector::new(&LeakConfig::default());
    for i in 0..before + 4 * 3600 {
        let since = i.saturating_sub(before) as f64 / 3600.0;
        let at = Duration::from_secs(if i < before { i } else { i + gap });
        detector.push(at, ((100.0 + 100.0 * since) * MIB) as u64);
        if detector.leaks() {
            let watched = detector.verdict().evidence().watched;
            // A clock that was set has not watched for years.
            assert!(gap < 100_000 || watched <= Duration::from_secs(i), "{watched:?}");
            return Some(since);
        }
    }
    None
}

#[test]
fn a_gap_after_the_first_samples_does_not_blind() {
    let never = found_after(0, 0).unwrap();
    // The clock of a machine that starts in 1970, a sleep, and a day; some of them before a window is full.
    for (before, gap) in [(10, 1_700_000_000), (3, 3600), (30, 3600), (45, 86_400), (4, 60)] {
        let found = found_after(before, gap);
        assert!(found.is_some_and(|found| found < never + 0.2), "{before}, {gap}: {found:?}");
    }
}

#[test]
fn samples_that_come_in_bursts_are_one_series() {
    // Ten samples at 1 Hz each hour.
    let mut detector = Detector::new(&LeakConfig::default());
    for i in 0..10 * 24 * 4u64 {
        let t = i / 10 * 3600 + i % 10;
        detector
            .push(Duration::from_secs(t), (100.0 * MIB + t as f64 / 3600.0 * 10.0 * MIB) as u64);
    }
    assert!(detector.leaks(), "{:?}", detector.verdict());
}

#[test]
fn a_copy_that_goes_on_stays_as_small_as_its_original() {
    for copied in [9, 300, 600, 1020, 1500] {
        let mut detector = Detector::new(&LeakConfig::default());
        let mut most = 0;
        for i in 0..4000u64 {
            if i == copied {
                detector = detector.clone();
            }
            // It falls now and then, so that ended lives are kept too.
            let bytes = (200 << 20) / (1 + i / 200 % 2) + (i * 7919 % 1000) * 1000;
            detector.push(Duration::from_secs(60 * i), bytes);
            most = most.max(detector.state_bytes());
        }
        assert!(most <= 32 << 10, "{most} B after a copy at {copied}");
        let mut quiet = Detector::new(&LeakConfig::default());
        for i in 0..4000u64 {
            if i == copied {
                quiet = quiet.clone();
            }
            quiet.push(Duration::from_secs(60 * i), (200 << 20) + (i * 7919 % 1000) * 1000);
            most = most.max(quiet.state_bytes());
        }
        assert!(most <= 32 << 10, "{most} B after a copy at {copied}");
    }
}

#[test]
fn a_life_of_a_few_samples_is_a_life() {
    let mut detector = Detector::new(&LeakConfig::default());
    for life in 0..3 {
        detector.restarted();
        assert_eq!(
            detector.restarts(),
            life,
            "told before any sample of it: the first is no restart"
        );
        for i in 0..3u64 {
            detector.push(Duration::from_secs(3 * u64::from(life) + i), 100 << 20);
        }
    }
    detector.restarted();
    detector.restarted();
    assert_eq!(detector.restarts(), 3);
}

#[test]
fn growth_too_small_for_its_level_is_not_called_noise() {
    let mut detector = Detector::new(&LeakConfig::default());
    for minute in 0..48 * 60u64 {
        // 100 MiB/h on 1 TiB.
        detector.push(Duration::from_secs(60 * minute), (1 << 40) + minute * (100 << 20) / 60);
    }
    let verdict = detector.verdict();
    let Verdict::Undecided { why, watch_for, .. } = &verdict else { panic!("{verdict:?}") };
    assert_eq!(*why, Why::BelowLeast);
    // 0.6 % of it take 63 h, and as long again by a third to be sure.
    let hours = watch_for.unwrap().as_secs_f64() / 3600.0;
    assert!((20.0..50.0).contains(&hours), "{hours}");
}

#[test]
fn what_has_swung_for_days_is_not_told_to_wait_longer_and_longer() {
    let mut detector = Detector::new(&LeakConfig::default());
    for minute in 0..240 * 60u32 {
        let day = f64::from(minute) / 1440.0 * std::f64::consts::TAU;
        let bytes = (200.0 + 20.0 * day.sin()) * MIB;
        detector.push(Duration::from_secs(60 * u64::from(minute)), bytes as u64);
        let verdict = if minute % 1440 == 0 { detector.verdict() } else { continue };
        if let Verdict::Undecided { why: Why::Swinging, watch_for, .. } = verdict {
            assert!(minute <= 3 * 1440 || watch_for.is_none(), "{watch_for:?} after {minute} min");
        }
    }
    let verdict = detector.verdict();
    let cycle = verdict.evidence().season.unwrap().as_secs_f64() / 3600.0;
    assert!((cycle - 24.0).abs() < 0.5, "{cycle}");
}

#[test]
fn what_may_be_noise_asks_for_no_longer_than_as_long_again() {
    let mut detector = Detector::new(&LeakConfig::default());
    let mut random = Random::new(11);
    let mut asked = 0;
    for minute in 0..3_000u64 {
        let at = Duration::from_secs(60 * minute);
        detector.push(at, ((16_384.0 + 200.0 * random.normal()) * MIB) as u64);
        if minute % 10 != 0 {
            continue;
        }
        if let Verdict::Undecided { why: Why::WithinNoise, watch_for: Some(longer), .. } =
            detector.verdict()
        {
            asked += 1;
            assert!(longer <= at, "after {at:?}: {longer:?}");
        }
    }
    assert!(asked > 0);
}

/// MiB/h of a leak that a detector shows, at the times in seconds and levels in MiB that `samples` gives.
fn rate_of(samples: impl Iterator<Item = (f64, f64)>) -> Trend {
    let mut detector = Detector::new(&LeakConfig::default());
    for (t, mib) in samples {
        detector.push(Duration::from_secs_f64(t), (mib * MIB) as u64);
    }
    let verdict = detector.verdict();
    let Verdict::Leak { rate, .. } = verdict else { panic!("{verdict:?}") };
    let of = |rate: f64| rate * HOUR / MIB;
    Trend { bytes_per_second: of(rate.bytes_per_second), low: of(rate.low), high: of(rate.high) }
}

#[test]
fn growth_that_goes_on_over_gaps_is_counted_over_them() {
    // Noise of 3 MiB, of each sample its own or with a memory of half an hour, and a gap of up to 45 minutes after each
    // hundredth sample.
    for memory in [1.0, 1800.0] {
        let held = (0..24)
            .filter(|seed| {
                let mut random = Random::new(*seed);
                let (mut t, mut noise) = (0.0, 0.0);
                let rate = rate_of(std::iter::from_fn(|| {
                    let gap =
                        if random.unit() < 0.01 { (45.0 * random.unit()).floor() } else { 0.0 };
                    let step = 60.0 * (1.0 + gap);
                    let kept = (-step / memory).exp();
                    noise = kept * noise + (1.0 - kept * kept).sqrt() * random.normal();
                    t += step;
                    (t < 24.0 * HOUR).then_some((t, 200.0 + 10.0 * t / HOUR + 3.0 * noise))
                }));
                assert!((rate.bytes_per_second - 10.0).abs() < 0.4, "{memory} s, {seed}: {rate:?}");
                rate.low <= 10.0 && 10.0 <= rate.high
            })
            .count();
        // 23 of 24 expected. Where time is taken out of the gaps, less than half of the short noise's hold.
        assert!(held >= 20, "{held} with noise of {memory} s");
    }
}

#[test]
fn time_for_which_a_process_was_stopped_counts_no_growth() {
    for (gap, noise) in [(2.0, 0.3), (8.0, 1.0), (48.0, 1.0)] {
        let mut random = Random::new(5);
        let rate = rate_of((0..900).map(|minute| {
            let t = f64::from(minute) * 60.0;
            let stopped = if minute < 450 { 0.0 } else { gap * HOUR };
            (t + stopped, 200.0 + 60.0 * t / HOUR + noise * random.normal())
        }));
        assert!((rate.bytes_per_second - 60.0).abs() < 1.0, "{gap} h: {rate:?}");
    }
}
