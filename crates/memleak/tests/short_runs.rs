//! Runs of seconds at ten samples a second: what `memcli run` and `demo` live on.

use std::time::Duration;

use memleak::{Detector, LeakConfig, Verdict};

#[path = "support/mod.rs"]
mod support;

use support::MIB;
use support::random::Random;

/// Watches `level` (MiB after so many seconds) for `seconds`, ten times a second with a little jitter, and tells when
/// it was first called a leak.
fn watch(seconds: f64, noise: f64, level: impl Fn(f64) -> f64) -> (Verdict, Option<f64>) {
    let mut random = Random::new(11);
    let mut detector = Detector::new(&LeakConfig::default());
    let mut raised = None;
    for tenth in 0..(seconds * 10.0) as u32 {
        let t = f64::from(tenth) / 10.0 + 0.002 * random.unit();
        let bytes = (level(t) + noise * random.normal()).max(1.0) * MIB;
        let change = detector.push(Duration::from_secs_f64(t), bytes as u64 / 4096 * 4096);
        if raised.is_none() && change.is_some_and(|change| change.to.is_leak()) {
            raised = Some(t);
        }
    }
    detector.conclude();
    (detector.verdict(), raised)
}

#[test]
fn two_mib_a_second_for_twenty_seconds_is_a_leak_at_that_rate() {
    // An interpreter starts, then keeps 200 KiB each tenth of a second.
    let (verdict, raised) =
        watch(20.0, 0.0, |t| if t < 0.15 { 3.0 } else { 9.0 + 0.2 * ((t - 0.15) * 10.0).floor() });
    assert!(verdict.is_leak(), "{verdict:?}");
    let rate = verdict.trend().unwrap();
    assert!((rate.bytes_per_second / (2.0 * MIB) - 1.0).abs() < 0.05, "{rate:?}");
    assert!(rate.low <= 2.0 * MIB * 1.01 && rate.high >= 2.0 * MIB * 0.99, "{rate:?}");
    assert!(raised.unwrap() < 10.0, "{raised:?}");
}

#[test]
fn strong_growth_is_decided_within_ten_seconds_even_under_noise() {
    let (_, raised) = watch(12.0, 0.4, |t| 50.0 + 5.0 * t);
    assert!(raised.is_some_and(|at| at < 10.0), "{raised:?}");
}

#[test]
fn coarse_steps_of_a_quarter_second_are_still_a_leak() {
    let (verdict, _) = watch(20.0, 0.0, |t| 12.0 + 0.5 * (t * 4.0).floor());
    assert!(verdict.is_leak(), "{verdict:?}");
    let rate = verdict.trend().unwrap().bytes_per_second;
    assert!((rate / (2.0 * MIB) - 1.0).abs() < 0.05, "{rate}");
}

#[test]
fn a_cache_that_fills_for_four_seconds_is_no_leak_at_eight_or_later() {
    for seconds in [5.0, 6.0, 8.0, 12.0, 20.0] {
        let (verdict, raised) = watch(seconds, 0.05, |t| 20.0 + 20.0 * t.min(4.0));
        assert!(
            !verdict.is_leak() && raised.is_none(),
            "after {seconds} s: {verdict:?}, {raised:?}"
        );
    }
}

#[test]
fn warm_ups_of_twenty_seconds_are_never_a_leak() {
    type Curve = fn(f64) -> f64;
    let curves: [(&str, Curve); 5] = [
        ("node: fast rise, then a sawtooth", |t| {
            45.0 + 25.0 * (1.0 - (-t / 1.5).exp()) + 6.0 * (t / 0.9).fract()
        }),
        ("python: imports in steps", |t| {
            9.0 + 6.0 * f64::from(u8::from(t > 0.4))
                + 14.0 * f64::from(u8::from(t > 1.1))
                + 5.0 * f64::from(u8::from(t > 2.3))
        }),
        ("jvm: heap grows in halving steps", |t| {
            40.0 + 60.0 * (1.0 - 0.5f64.powf((t / 2.0).floor()))
        }),
        ("slow exponential", |t| 30.0 + 80.0 * (1.0 - (-t / 5.0).exp())),
        ("steady", |_| 200.0),
    ];
    for (what, curve) in curves {
        for noise in [0.0, 0.1, 0.5] {
            let (verdict, raised) = watch(20.0, noise, curve);
            assert!(raised.is_none(), "{what}, noise {noise}: raised {raised:?}");
            assert!(
                matches!(verdict.kind(), "steady" | "undecided"),
                "{what}, noise {noise}: {verdict:?}"
            );
        }
    }
}

#[test]
fn an_undecided_verdict_says_why_and_for_how_long() {
    let (verdict, _) = watch(1.0, 0.0, |_| 10.0);
    let Verdict::Undecided { watch_for, evidence, .. } = &verdict else { panic!("{verdict:?}") };
    assert!(watch_for.unwrap() > Duration::from_secs(1), "{verdict:?}");
    assert_eq!(evidence.samples, 10);
}

#[test]
fn a_java_program_that_keeps_a_list_is_told_before_its_third_stair() {
    // Where the size of a real one changed, in seconds and MiB, at four samples a second: growth from cycle to cycle, of which
    // the history holds hardly more than two.
    const CHANGES: [(f64, f64); 13] = [
        (0.0, 36.9),
        (0.25, 39.3),
        (0.5, 41.4),
        (0.75, 43.6),
        (1.75, 44.3),
        (5.25, 44.9),
        (7.0, 45.2),
        (8.0, 45.6),
        (10.75, 46.0),
        (12.5, 47.2),
        (56.25, 53.4),
        (114.25, 62.2),
        (172.5, 70.6),
    ];
    let mut detector = Detector::new(&LeakConfig::default());
    let mut leak = None;
    for quarter in 0..960 {
        let t = f64::from(quarter) / 4.0;
        let mib = CHANGES.iter().rev().find(|(at, _)| *at <= t).map_or(0.0, |(_, mib)| *mib);
        detector.push(Duration::from_secs_f64(t), (mib * MIB) as u64);
        if detector.leaks() {
            leak.get_or_insert(t);
        }
    }
    assert!(leak.is_some_and(|t| t < 172.5), "{leak:?}");
}
