//! Many falls of one series: restarts that are told, teeth, jobs that free what they held, and what they do not hide.

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

    /// Whether the verdict became one of another kind.
    fn push(&mut self, mib: f64) -> bool {
        let bytes = ((mib + self.random.normal()) * MIB).max(0.0);
        let at = Duration::from_secs_f64(self.now);
        self.now += 60.0;
        self.detector.push(at, bytes as u64).is_some()
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

/// Over a week once a minute, 150 MiB and `rate` MiB/h, with jobs of half an hour, of up to 200 MiB, in half of all half-hours. The
/// detector at the end, the changes, and the share of the last three days for which a leak stood.
fn jobs(rate: f64, seed: u64, told: Option<bool>) -> (Detector, u32, f64) {
    let mut watched = Watched::new(seed);
    let (mut job, mut changes, mut leaks) = (0.0, 0, 0u32);
    for minute in 0..7 * 1440 {
        if minute % 30 == 0 {
            let held = watched.random.between(0.0, 200.0);
            job = if watched.random.unit() < 0.5 { held } else { 0.0 };
        }
        watched.detector.process_ended(told);
        changes += u32::from(watched.push(150.0 + rate * f64::from(minute) / 60.0 + job));
        leaks += u32::from(minute >= 4 * 1440 && watched.detector.leaks());
    }
    (watched.detector, changes, f64::from(leaks) / (3.0 * 1440.0))
}

#[test]
fn jobs_that_free_what_they_held_end_no_life() {
    for seed in 0..4 {
        for told in [Some(false), None] {
            let (detector, changes, leaks) = jobs(0.0, seed, told);
            let verdict = detector.verdict();
            assert_eq!(verdict.kind(), "steady", "{seed}: {verdict:?}");
            assert!(verdict.evidence().floor.is_some_and(|floor| floor * HOUR / MIB < 2.0));
            // While a day has not shown the jobs yet, each may be anything. Two hundred, when each ended a life.
            assert!(changes < 60 && detector.restarts() < 20 && leaks == 0.0, "{seed}: {changes}");
        }
    }
}

#[test]
fn a_leak_under_jobs_stands() {
    for seed in 0..4 {
        let (detector, _, leaks) = jobs(6.0, seed, Some(false));
        let verdict = detector.verdict();
        let Verdict::Leak { rate, .. } = &verdict else { panic!("{seed}: {verdict:?}") };
        assert!((rate.bytes_per_second * HOUR / MIB - 6.0).abs() < 0.6, "{seed}: {rate:?}");
        assert!(leaks > 0.9, "{seed}: {leaks}");
    }
}

#[test]
fn falls_of_less_than_the_least_growth_are_no_restarts() {
    // A process of 3 MiB that jumps by half of that, and noise around nothing.
    for (level, jump, noise) in [(2.8, 1.6, 0.02), (0.0, 0.0, 0.5)] {
        let mut random = Random::new(2);
        let (mut detector, mut changes) = (Detector::new(&LeakConfig::default()), 0);
        for minute in 0..7 * 1440u32 {
            let up = f64::from(minute / 25 % 2) * jump;
            let bytes = (level + up + noise * random.normal()).max(0.0) * MIB;
            let at = Duration::from_secs(60 * u64::from(minute));
            changes += u32::from(detector.push(at, bytes as u64).is_some());
        }
        assert_eq!(detector.restarts(), 0, "{level} MiB");
        assert!(
            changes <= 3 && !detector.leaks(),
            "{level} MiB: {changes}, {:?}",
            detector.verdict()
        );
    }
}
