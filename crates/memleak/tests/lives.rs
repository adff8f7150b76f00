//! Many lives of one service: restarts that are told, told ends of processes in samples, and what they do not hide.

use std::time::Duration;

use memleak::{Detector, LeakConfig, Verdict};

#[path = "support/mod.rs"]
mod support;

use support::random::Random;
use support::{HOUR, MIB};

/// A service that is started again every `period` seconds, once a minute: it warms up by `warm` MiB and leaks `rate` MiB/h.
#[derive(Clone, Copy)]
struct Deploys {
    period: f64,
    warm: f64,
    rate: f64,
}

impl Deploys {
    fn level(&self, age: f64) -> f64 {
        80.0 + self.warm * (1.0 - (-age / 600.0).exp()) + self.rate * age / HOUR
    }
}

/// What a detector said over some lives.
struct Watched {
    detector: Detector,
    random: Random,
    now: f64,
}

impl Watched {
    fn new(seed: u64) -> Self {
        let detector = Detector::new(&LeakConfig::default());
        Self { detector, random: Random::new(seed), now: 0.0 }
    }

    /// Of each of `lives` lives, the share of its time for which a leak stood, the first sample after its start told.
    fn lives(&mut self, deploys: Deploys, lives: u32) -> Vec<f64> {
        let life = |watched: &mut Self, first: bool| {
            let (mut age, mut leaks, mut samples) = (0.0, 0u32, 0u32);
            while age < deploys.period {
                watched.detector.process_ended(age == 0.0 && !first);
                watched.push(deploys.level(age));
                leaks += u32::from(watched.detector.leaks());
                samples += 1;
                age += 60.0;
            }
            f64::from(leaks) / f64::from(samples)
        };
        (0..lives).map(|n| life(self, n == 0 && self.now == 0.0)).collect()
    }

    fn push(&mut self, mib: f64) {
        let bytes = ((mib + self.random.normal()) * MIB).max(0.0);
        self.detector.push(Duration::from_secs_f64(self.now), bytes as u64);
        self.now += 60.0;
    }
}

#[test]
fn a_leak_is_told_in_every_life_however_many_there_were() {
    for (hours, warm, rate, share) in [
        (24.0, 120.0, 10.0, 0.8),
        (12.0, 50.0, 10.0, 0.7),
        (6.0, 60.0, 20.0, 0.5),
        (4.0, 0.0, 60.0, 0.5),
    ] {
        let deploys = Deploys { period: hours * HOUR, warm, rate };
        let mut watched = Watched::new(2);
        let told = watched.lives(deploys, 21);
        assert!(
            told.iter().all(|told| *told >= share),
            "{rate} MiB/h, lives of {hours} h: {told:?}"
        );
        let verdict = watched.detector.verdict();
        let Verdict::Leak { rate: found, evidence, .. } = &verdict else { panic!("{verdict:?}") };
        assert!((found.bytes_per_second * HOUR / MIB / rate - 1.0).abs() < 0.1, "{found:?}");
        assert_eq!(evidence.restarts, 20);
    }
}

#[test]
fn a_clean_service_that_is_deployed_often_never_leaks() {
    for hours in [4.0, 24.0] {
        for seed in 0..3 {
            let deploys = Deploys { period: hours * HOUR, warm: 120.0, rate: 0.0 };
            let told = Watched::new(seed).lives(deploys, 20);
            assert!(told.iter().all(|told| *told == 0.0), "lives of {hours} h: {told:?}");
        }
    }
}

#[test]
fn a_build_that_leaks_is_found_as_soon_after_ten_clean_ones() {
    let clean = Deploys { period: 24.0 * HOUR, warm: 100.0, rate: 0.0 };
    let mut watched = Watched::new(1);
    watched.lives(clean, 10);
    let mut found = None;
    for minute in 0..24 * 60 {
        let age = f64::from(minute) * 60.0;
        watched.detector.process_ended(minute == 0);
        watched.push(Deploys { rate: 10.0, ..clean }.level(age));
        found = found.or(watched.detector.leaks().then_some(age / HOUR));
    }
    assert!(found.is_some_and(|hours| hours <= 5.0), "{found:?}");
}

#[test]
fn teeth_of_one_process_are_swings_and_falls_that_nobody_explains_are_once_there_are_many() {
    for told in [Some(false), None] {
        let mut watched = Watched::new(3);
        for minute in 0..40 * 120 {
            watched.detector.process_ended(told);
            watched.push(100.0 + 100.0 * (f64::from(minute) / 120.0).fract());
            let often = minute >= 9 * 120;
            assert!(!(often && watched.detector.leaks()), "{told:?}: minute {minute}");
        }
    }
}
