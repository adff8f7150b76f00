//! How long until a limit is reached.

use std::time::Duration;

use memleak::{Detector, LeakConfig, Verdict};

const MIB: f64 = 1_048_576.0;

fn time_to_limit(detector: &mut Detector, limit: f64) -> Option<f64> {
    detector.set_limit(Some(limit as u64));
    let Verdict::Leak { time_to_limit, .. } = detector.verdict() else { return None };
    time_to_limit.map(|time| time.as_secs_f64())
}

#[test]
fn the_time_to_a_limit_is_counted_from_the_newest_sample() {
    // Samples, seconds from one to the next, MiB/h.
    for (n, interval, rate) in [(43_200u32, 60.0, 10.0), (3600, 1.0, 100.0), (43_200, 60.0, 1.0)] {
        let mut detector = Detector::new(&LeakConfig::default());
        let mut last = 0.0;
        for i in 0..n {
            let t = f64::from(i) * interval;
            last = (100.0 + rate * t / 3600.0) * MIB;
            detector.push(Duration::from_secs_f64(t), last as u64);
        }
        for over in [10.0, 0.0] {
            let left = time_to_limit(&mut detector, (last - over * MIB).floor());
            assert_eq!(left, Some(0.0), "{over} MiB over the limit");
        }
        for below in [10.0, 100.0] {
            let left = time_to_limit(&mut detector, last + below * MIB).unwrap();
            let true_left = below / rate * 3600.0;
            assert!(
                (left - true_left).abs() <= 0.01 * true_left + 2.0 * interval,
                "{left} for {true_left}"
            );
        }
    }
}

#[test]
fn noise_neither_hides_nor_brings_the_limit() {
    let mut detector = Detector::new(&LeakConfig::default());
    let noise =
        |i: u32| f64::from(i.wrapping_mul(2_654_435_761) >> 8) / f64::from(1u32 << 23) - 1.0;
    for i in 0..10_000u32 {
        let bytes = (200.0 + f64::from(i) / 60.0 * 10.0 + 5.0 * noise(i)) * MIB;
        detector.push(Duration::from_secs(60 * u64::from(i)), bytes as u64);
    }
    let now = 200.0 + 9999.0 / 60.0 * 10.0;
    let left = time_to_limit(&mut detector, (now + 100.0) * MIB).unwrap() / 3600.0;
    // Ten hours, and what the noise of the newest samples is worth.
    assert!((9.5..10.1).contains(&left), "{left}");
}
