//! `leak.least_growth`: how small a growth may be to be called one.

use std::time::Duration;

use memleak::{Detector, LeakConfig, Verdict, Why};

#[path = "support/mod.rs"]
mod support;

use support::random::Random;

const MIB: f64 = 1_048_576.0;
const SAMPLES: u64 = 1200;

fn config(least_growth: u64) -> LeakConfig {
    LeakConfig { least_growth, ..LeakConfig::default() }
}

/// Ten hours from 100 MiB on, every 30 s, that grow by `grown` MiB under noise of 4 KiB.
fn series(grown: f64) -> impl Iterator<Item = (Duration, u64)> {
    let mut random = Random::new(5);
    (0..SAMPLES).map(move |i| {
        let bytes = (100.0 + grown * i as f64 / SAMPLES as f64) * MIB + 4096.0 * random.normal();
        (Duration::from_secs(30 * i), bytes as u64)
    })
}

/// What is said at the end, and whether a leak was called on the way.
fn watch(mut detector: Detector, grown: f64) -> (Verdict, bool) {
    let leak = series(grown).fold(false, |leak, (at, bytes)| {
        leak | detector.push(at, bytes).is_some_and(|change| change.to.is_leak())
    });
    detector.conclude();
    (detector.verdict(), leak)
}

fn why(verdict: &Verdict) -> Option<Why> {
    if let Verdict::Undecided { why, .. } = verdict { Some(*why) } else { None }
}

#[test]
fn three_mib_are_a_leak_above_a_floor_of_one_and_not_above_the_default() {
    let (verdict, _) = watch(Detector::new(&config(1 << 20)), 3.0);
    assert!(verdict.is_leak(), "{verdict:?}");
    let rate = verdict.trend().unwrap().bytes_per_second * 36_000.0 / MIB;
    assert!((rate / 3.0 - 1.0).abs() < 0.02, "{rate}");
    let (verdict, leak) = watch(Detector::new(&LeakConfig::default()), 3.0);
    assert_eq!((why(&verdict), leak), (Some(Why::BelowLeast), false), "{verdict:?}");
}

#[test]
fn growth_that_does_not_count_yet_is_no_plateau_and_says_when_it_will() {
    // A minute of a process that keeps 2.9 MiB in it.
    let mut detector = Detector::new(&LeakConfig::default());
    let mut random = Random::new(7);
    for i in 0..600u32 {
        let bytes = (6.0 + 2.9 * f64::from(i) / 600.0) * MIB + 4096.0 * random.normal();
        detector.push(Duration::from_millis(100 * u64::from(i)), bytes as u64);
    }
    detector.conclude();
    let Verdict::Undecided { why, watch_for, .. } = detector.verdict() else {
        panic!("{:?}", detector.verdict());
    };
    assert_eq!(why, Why::BelowLeast);
    // 5 MiB take 103 s at this rate; then it must go on for a while.
    let seconds = watch_for.unwrap().as_secs_f64();
    assert!((40.0..180.0).contains(&seconds), "{seconds}");
}

#[test]
fn the_noise_still_decides_above_a_low_floor() {
    let (verdict, leak) = watch(Detector::new(&config(64 << 10)), 0.0);
    assert_eq!((verdict.kind(), leak), ("steady", false), "{verdict:?}");
}

#[test]
fn ten_mib_are_a_leak_by_default_and_silent_under_a_floor_of_twenty() {
    let (verdict, _) = watch(Detector::new(&LeakConfig::default()), 10.0);
    assert!(verdict.is_leak(), "{verdict:?}");
    let (verdict, leak) = watch(Detector::new(&config(20 << 20)), 10.0);
    assert_eq!((why(&verdict), leak), (Some(Why::BelowLeast), false), "{verdict:?}");
    // What would have been seen is stated from the same floor.
    let (Verdict::Undecided { evidence, .. }, floor) = (&verdict, 20.0 * MIB / 18_000.0) else {
        panic!("{verdict:?}");
    };
    assert!(evidence.floor.unwrap() > 0.95 * floor, "{evidence:?}");
}

#[test]
fn an_edit_is_in_force_at_the_next_look() {
    let mut detector = Detector::new(&LeakConfig::default());
    for (k, (at, bytes)) in series(3.0).enumerate() {
        if k as u64 == SAMPLES / 2 {
            assert_eq!(why(&detector.verdict()), Some(Why::BelowLeast));
            detector.set_config(&config(1 << 20));
        }
        detector.push(at, bytes);
    }
    assert!(detector.verdict().is_leak(), "{:?}", detector.verdict());
    // And back: a leak that is none by the new floor is cleared.
    detector.set_config(&LeakConfig::default());
    for (at, bytes) in series(0.0) {
        let at = at + Duration::from_secs(30 * SAMPLES);
        detector.push(at, bytes + 3 * (1 << 20));
    }
    assert_eq!(detector.verdict().kind(), "steady", "{:?}", detector.verdict());
}

#[test]
fn the_extremes_of_the_type_say_something_finite() {
    for least_growth in [0, u64::MAX] {
        let (verdict, _) = watch(Detector::new(&config(least_growth)), 3.0);
        assert_eq!(verdict.is_leak(), least_growth == 0, "{verdict:?}");
        assert!(verdict.evidence().floor.is_some_and(f64::is_finite), "{verdict:?}");
    }
}

#[cfg(feature = "serde")]
mod saved {
    use super::*;

    fn learnt(config: &LeakConfig) -> Detector {
        let mut detector = Detector::new(config);
        series(0.0).for_each(|(at, bytes)| {
            detector.push(at, bytes);
        });
        detector
    }

    #[test]
    fn the_floor_is_saved_with_the_detector() {
        let detector = learnt(&config(1 << 20));
        let text = serde_json::to_string(&detector).unwrap();
        assert!(text.contains(r#""least_growth":1048576.0"#), "{text}");
        assert_eq!(serde_json::from_str::<Detector>(&text).unwrap(), detector);
        assert!(detector.state_bytes() <= 32 << 10, "{}", detector.state_bytes());
    }
}
