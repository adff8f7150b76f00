//! What begins after a process has been steady for long: leaks are found in hours, whatever the uptime, and steps and fills
//! are what they would have been at the start.

use std::time::Duration;

use memleak::{Change, Detector, LeakConfig, Verdict};

#[path = "support/mod.rs"]
mod support;

use support::random::Random;
use support::{HOUR, MIB};

const DAY: f64 = 24.0 * HOUR;

/// A detector that has seen a level of 200 MiB with noise of 1 MiB, once a minute.
struct Service {
    detector: Detector,
    random: Random,
    now: f64,
}

impl Service {
    fn steady_for(seconds: f64, seed: u64) -> Self {
        let detector = Detector::new(&LeakConfig::default());
        let mut service = Self { detector, random: Random::new(seed), now: 0.0 };
        let changes = service.go_on(seconds, |_| 200.0);
        assert!(changes.iter().all(|change| !change.to.is_leak()), "{changes:?}");
        assert_eq!(service.detector.verdict().kind(), "steady");
        service
    }

    /// Goes on for some seconds at `level` MiB, by the seconds since now.
    fn go_on(&mut self, seconds: f64, level: impl Fn(f64) -> f64) -> Vec<Change> {
        let (from, mut changes) = (self.now, Vec::new());
        while self.now < from + seconds {
            let bytes = (level(self.now - from) + self.random.normal()).max(0.0) * MIB;
            let at = Duration::from_secs_f64(self.now);
            changes.extend(self.detector.push(at, bytes as u64));
            self.now += 60.0;
        }
        changes
    }

    /// Whether it is called steady at `mib`.
    fn is_steady_at(&self, mib: f64) -> bool {
        match self.detector.verdict() {
            Verdict::Steady { plateau, .. } => (plateau as f64 / MIB - mib).abs() < 1.0,
            _ => false,
        }
    }
}

fn mib_per_h(bytes_per_second: f64) -> f64 {
    bytes_per_second * HOUR / MIB
}

#[test]
fn a_leak_that_begins_after_days_or_weeks_is_found_within_four_hours() {
    for days in [1.0, 3.0, 10.0, 30.0] {
        for rate in [5.0, 20.0, 100.0] {
            let what = format!("{rate} MiB/h after {days} d");
            let mut service = Service::steady_for(days * DAY, 77);
            let onset = service.now;
            let changes = service.go_on(4.0 * HOUR, |t| 200.0 + rate * t / HOUR);
            let leak = changes.iter().find(|change| change.to.is_leak());
            let Some(Change { to: Verdict::Leak { rate: found, since, .. }, .. }) = leak else {
                panic!("{what}: {changes:?}");
            };
            let error = mib_per_h(found.bytes_per_second) / rate - 1.0;
            assert!(error.abs() < 0.1, "{what}: {found:?}");
            assert!((since.as_secs_f64() - onset).abs() < 1.5 * HOUR, "{what}: {since:?}");
            // It stands while it goes on, first by its chapter and later by the whole life, too.
            let more = service.go_on(2.0 * DAY, |t| 200.0 + rate * (t / HOUR + 4.0));
            assert!(more.is_empty(), "{what}: {more:?}");
        }
    }
}

#[test]
fn nothing_is_called_steady_while_it_departs() {
    let mut service = Service::steady_for(30.0 * DAY, 3);
    service.go_on(1.0 * HOUR, |t| 200.0 + 5.0 * t / HOUR);
    let changes = service.go_on(5.0 * HOUR, |t| 205.0 + 5.0 * t / HOUR);
    assert!(changes.iter().all(|change| change.to.kind() != "steady"), "{changes:?}");
    assert!(service.detector.leaks());
}

#[test]
fn a_late_step_is_no_leak_and_settles_within_a_day() {
    for days in [1.0, 3.0, 10.0, 30.0] {
        let mut service = Service::steady_for(days * DAY, 5);
        let changes = service.go_on(DAY, |_| 250.0);
        assert!(changes.iter().all(|change| !change.to.is_leak()), "{days} d: {changes:?}");
        assert!(service.is_steady_at(250.0), "{days} d: {:?}", service.detector.verdict());
        // And what leaks from there on is found as fast.
        let changes = service.go_on(4.0 * HOUR, |t| 250.0 + 20.0 * t / HOUR);
        let found = changes.iter().any(|change| change.to.is_leak());
        assert!(found || days < 3.0, "{days} d: {changes:?}");
    }
}

#[test]
fn a_late_fill_that_ends_is_cleared_soon() {
    let mut service = Service::steady_for(10.0 * DAY, 7);
    // A fill that still goes on looks like a leak; one of an hour is over before anybody calls it one.
    let changes = service.go_on(6.0 * HOUR, |t| 200.0 + 20.0 * (t / HOUR).min(1.0));
    assert!(changes.iter().all(|change| !change.to.is_leak()), "{changes:?}");
    let mut service = Service::steady_for(10.0 * DAY, 7);
    service.go_on(6.0 * HOUR, |t| 200.0 + 20.0 * (t / HOUR).min(4.0));
    assert!(!service.detector.leaks(), "{:?}", service.detector.verdict());
    service.go_on(18.0 * HOUR, |_| 280.0);
    assert!(service.is_steady_at(280.0), "{:?}", service.detector.verdict());
}

#[test]
fn a_level_that_returns_ends_the_chapter() {
    for hours in [2.0, 8.0, 16.0] {
        let mut service = Service::steady_for(10.0 * DAY, 9);
        let up = service.go_on(hours * HOUR, |_| 240.0);
        assert!(up.iter().any(|change| change.to.kind() == "undecided"), "{hours} h: {up:?}");
        let back = service.go_on(4.0 * HOUR, |_| 200.0);
        assert!(up.iter().chain(&back).all(|change| !change.to.is_leak()), "{hours} h");
        assert!(service.is_steady_at(200.0), "{hours} h: {:?}", service.detector.verdict());
        // What has been there once is no departure.
        let again = service.go_on(hours * HOUR, |_| 240.0);
        assert!(again.is_empty(), "{hours} h: {again:?}");
    }
}

#[test]
fn a_leak_that_has_stopped_is_cleared_within_thirty_hours_and_found_again() {
    for (days, rate) in [(5.0, 4.0), (20.0, 5.0), (30.0, 20.0)] {
        let what = format!("{rate} MiB/h for {days} d");
        let detector = Detector::new(&LeakConfig::default());
        let mut service = Service { detector, random: Random::new(11), now: 0.0 };
        service.go_on(days * DAY, |t| 200.0 + rate * t / HOUR);
        assert!(service.detector.leaks(), "{what}");
        let top = 200.0 + rate * days * 24.0;
        let changes = service.go_on(30.0 * HOUR, |_| top);
        assert!(matches!(&changes[..], [change] if change.from.is_leak()), "{what}: {changes:?}");
        assert!(service.is_steady_at(top), "{what}: {:?}", service.detector.verdict());
        let changes = service.go_on(3.0 * DAY, |_| top);
        assert!(changes.is_empty(), "{what}: {changes:?}");
        service.go_on(8.0 * HOUR, |t| top + rate * t / HOUR);
        assert!(service.detector.leaks(), "{what}: {:?}", service.detector.verdict());
    }
}

#[test]
fn a_leak_that_rests_by_night_is_not_cleared_by_it() {
    let by_day = |t: f64| {
        let (days, hours) = ((t / DAY).floor(), (t % DAY) / HOUR);
        200.0 + 5.0 * (10.0 * days + hours.min(10.0))
    };
    let detector = Detector::new(&LeakConfig::default());
    let mut service = Service { detector, random: Random::new(13), now: 0.0 };
    service.go_on(12.0 * DAY, by_day);
    assert!(service.detector.leaks(), "{:?}", service.detector.verdict());
    let changes = service.go_on(6.0 * DAY, |t| by_day(t + 12.0 * DAY));
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn the_state_stays_bounded_with_lives_steps_of_the_clock_and_a_chapter() {
    let mut detector = Detector::new(&LeakConfig::default());
    let mut now = 0u64;
    for life in 0..40u64 {
        detector.restarted();
        // The clock steps back in every life.
        now = now.saturating_sub(500);
        for n in 0..if life == 39 { 60_000 } else { 400 } {
            detector.push(Duration::from_secs(now), (200 << 20) + (n * 7919 % 1_000) * 1024);
            now += 30;
        }
    }
    for n in 0..1_000u64 {
        detector.push(Duration::from_secs(now), (260 << 20) + (n * 7919 % 1_000) * 1024);
        now += 30;
    }
    assert_eq!(detector.verdict().kind(), "undecided", "{:?}", detector.verdict());
    assert!(detector.state_bytes() <= 32 << 10, "{}", detector.state_bytes());
}

#[cfg(feature = "serde")]
mod saved {
    use proptest::prelude::*;

    use super::*;

    /// One sample a second: steady for 50 minutes, then what `kind` says.
    fn sample(n: u64, kind: usize, random: &mut Random) -> (Duration, u64) {
        let late = n.saturating_sub(3_000) as f64;
        let more = match kind {
            0 => 0.03 * late,
            1 if late > 0.0 => 40.0,
            2 => 0.05 * late.min(400.0),
            3 if late > 0.0 && late < 500.0 => 40.0,
            _ => 0.0,
        };
        let bytes = (200.0 + more + 0.5 * random.normal()) * MIB;
        (Duration::from_secs(n), bytes as u64)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn restoring_within_a_chapter_is_an_uninterrupted_run(
            kind in 0usize..4,
            seed in any::<u64>(),
            cut in 2_900u64..4_600,
        ) {
            let mut random = Random::new(seed);
            let mut whole = Detector::new(&LeakConfig::default());
            let mut parts = whole.clone();
            for n in 0..4_800 {
                let (at, bytes) = sample(n, kind, &mut random);
                prop_assert_eq!(whole.push(at, bytes), parts.push(at, bytes));
                if n == cut {
                    let saved = serde_json::to_string(&parts).unwrap();
                    parts = serde_json::from_str(&saved).unwrap();
                }
            }
            prop_assert_eq!(&whole, &parts);
        }
    }
}
