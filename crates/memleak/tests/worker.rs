//! The worker on a sampler that replays.
#![cfg(feature = "worker")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memleak::alert::{Cause, Outlets};
use memleak::{Detector, LeakConfig, Severity, Worker};
use memtrack::sampler::Sampler;
use memtrack::source::Replay;
use memtrack::{Current, Sample, Settings, Stamp, TrackConfig};

/// `n` samples a minute apart that grow by `mib_per_h`, all of it private memory.
fn samples(n: u64, mib_per_h: f64) -> Vec<Sample> {
    (0..n)
        .map(|i| {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(60 * i)));
            let grown = mib_per_h * i as f64 / 60.0 * 1_048_576.0;
            sample.process.rss = Ok((150 << 20) + grown as u64);
            sample.process.anon = Ok((100 << 20) + grown as u64);
            sample.process.file = Ok(50 << 20);
            sample
        })
        .collect()
}

fn sampler(samples: Vec<Sample>) -> Sampler {
    let config = TrackConfig { interval: Some(Duration::from_millis(5)), ..TrackConfig::default() };
    Sampler::new(Replay::new(samples), Settings::fixed(config))
}

/// Settings that are `before` in generation 1 and `after` from the edit on.
fn edited(before: LeakConfig, after: LeakConfig) -> (Settings<LeakConfig>, Edit) {
    let generation = Arc::new(AtomicU64::new(1));
    let source = Arc::clone(&generation);
    let (ring, bell) = crossbeam_channel::bounded(1);
    let values = [Arc::new(before), Arc::new(after)];
    let settings = Settings::live(
        move || {
            let generation = source.load(Ordering::Acquire);
            Current { generation, value: Arc::clone(&values[usize::from(generation > 1)]) }
        },
        bell,
    );
    (settings, Edit { generation, ring })
}

struct Edit {
    generation: Arc<AtomicU64>,
    ring: crossbeam_channel::Sender<()>,
}

impl Edit {
    fn reaches(&self, worker: &Worker) {
        self.generation.store(2, Ordering::Release);
        assert!(self.ring.send(()).is_ok(), "the settings are there");
        while worker.generation() < 2 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_leak_is_found_told_once_and_named() {
    let samples = samples(300, 40.0);
    let mut sampler = sampler(samples);
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut outlets = Outlets::new();
    let alerts = outlets.channel(16);
    let seen = Arc::clone(&told);
    outlets.callback(move |alert| seen.lock().unwrap().push(alert.clone()));
    let config = LeakConfig {
        rss_warning: None,
        rss_critical: None,
        warning_rate: 1e9,
        critical_rate: 1e9,
        ..LeakConfig::default()
    };
    let worker = Worker::spawn(
        sampler.all_within(400),
        Settings::fixed(config.clone()),
        Detector::new(&config),
        outlets,
    )
    .unwrap();
    sampler.start().unwrap();
    // Disconnected once the replay has ended and the worker has seen all of it.
    let changes: Vec<_> = worker.changes().iter().collect();
    assert!(changes.iter().any(|event| event.change.to.is_leak()), "{changes:?}");
    assert!(changes.iter().zip(0..).all(|(event, number)| event.number == number));
    let status = worker.status();
    assert!(status.ended && status.verdict.is_leak(), "{status:?}");
    assert_eq!(status.lost_samples, 0);
    assert_eq!(status.kinds[0].kind, memleak::Kind::Anon);
    assert!(status.kinds[0].share > 0.99, "{status:?}");
    let first = alerts.recv().unwrap();
    assert_eq!(first.severity, Severity::Warning);
    assert!(matches!(first.cause, Cause::Leak { .. }), "{first:?}");
    assert_eq!(told.lock().unwrap().len() as u64, status.alerts);
    let mut detector = worker.stop().unwrap();
    detector.conclude();
    let rate = detector.verdict().trend().unwrap().bytes_per_second;
    assert!((rate * 3600.0 / 1_048_576.0 - 40.0).abs() < 1.0, "{rate}");
}

#[test]
fn a_callback_that_panics_ends_the_worker_and_the_status_says_so() {
    let mut sampler = sampler(samples(300, 40.0));
    let mut outlets = Outlets::new();
    outlets.callback(|_| panic!("as a callback may"));
    let config = LeakConfig { rss_warning: Some(1), ..LeakConfig::default() };
    let settings = Settings::fixed(config.clone());
    let detector = Detector::new(&config);
    let worker = Worker::spawn(sampler.all_within(400), settings, detector, outlets).unwrap();
    sampler.start().unwrap();
    // Disconnected when the thread has unwound.
    assert_eq!(worker.changes().iter().count(), 0);
    assert!(worker.status().ended);
    assert!(worker.stop().is_none());
}

#[test]
fn the_rules_too_begin_anew_with_a_new_life() {
    // 500 MiB for an hour, then a life that starts at 100 MiB and grows by 200 MiB/h.
    let mut samples = samples(110, 0.0);
    for (i, sample) in (0u64..).zip(&mut samples) {
        let bytes = if i < 60 { 500 << 20 } else { (100 << 20) + (i - 60) * (200 << 20) / 60 };
        sample.process.anon = Ok(bytes);
        sample.process.rss = Ok(bytes);
    }
    let mut sampler = sampler(samples);
    let config = LeakConfig { rss_warning: None, rss_critical: None, ..LeakConfig::default() };
    let (settings, detector) = (Settings::fixed(config.clone()), Detector::new(&config));
    let worker =
        Worker::spawn(sampler.all_within(400), settings, detector, Outlets::new()).unwrap();
    sampler.start().unwrap();
    worker.changes().iter().for_each(drop);
    let report = worker.status().rules;
    assert!((100 << 20..200 << 20).contains(&report.baseline.unwrap()), "{report:?}");
    let growth = report.growth.unwrap() * 3600.0 / 1_048_576.0;
    assert!((growth - 200.0).abs() < 5.0, "{report:?}");
    assert_eq!(report.by_rate, Some(Severity::Critical));
}

#[test]
fn what_grows_outside_the_series_stands_beside_steady() {
    let mut samples = samples(300, 0.0);
    for (i, sample) in (0u64..).zip(&mut samples) {
        sample.process.shmem = Ok(i << 22);
        sample.process.rss = Ok((150 << 20) + (i << 22));
    }
    let mut sampler = sampler(samples);
    let config = LeakConfig::default();
    let (settings, detector) = (Settings::fixed(config.clone()), Detector::new(&config));
    let worker =
        Worker::spawn(sampler.all_within(400), settings, detector, Outlets::new()).unwrap();
    sampler.start().unwrap();
    let changes: Vec<_> = worker.changes().iter().collect();
    let verdict = worker.status().verdict;
    assert_eq!(verdict.kind(), "steady");
    for verdict in [&verdict, &changes[changes.len() - 1].change.to] {
        let outside = &verdict.evidence().outside;
        assert_eq!(outside.len(), 1, "{verdict:?}");
        assert_eq!(outside[0].kind, memleak::Kind::Shmem);
        // The last window of an hour, at 4 MiB a minute.
        assert!(outside[0].bytes >= 100 << 20, "{outside:?}");
    }
}

#[test]
fn the_kind_that_grows_is_that_of_the_present_life() {
    // Three hours of growing private memory, a restart, and 40 minutes more; mapped files grow a little all the time.
    let mut samples = samples(220, 60.0);
    for (i, sample) in (0u64..).zip(&mut samples) {
        let grown = (i % 180) << 20;
        sample.process.anon = Ok((100 << 20) + grown);
        sample.process.file = Ok((50 << 20) + 6000 * i);
        sample.process.rss = Ok((150 << 20) + grown + 6000 * i);
    }
    let mut sampler = sampler(samples);
    let config = LeakConfig::default();
    let (settings, detector) = (Settings::fixed(config.clone()), Detector::new(&config));
    let worker =
        Worker::spawn(sampler.all_within(300), settings, detector, Outlets::new()).unwrap();
    sampler.start().unwrap();
    assert!(worker.changes().iter().count() > 0);
    let status = worker.status();
    assert_eq!(status.verdict.evidence().restarts, 1);
    assert_eq!(status.kinds[0].kind, memleak::Kind::Anon);
    assert!(status.kinds[0].share > 0.98, "{:?}", status.kinds);
}

#[test]
fn new_settings_are_in_force_once_the_bell_has_rung() {
    let before = LeakConfig { rss_critical: None, rss_warning: None, ..LeakConfig::default() };
    let after = LeakConfig { rss_critical: Some(1), ..before.clone() };
    let (settings, edit) = edited(before, after);
    let mut sampler = sampler(samples(5, 0.0));
    let mut outlets = Outlets::new();
    let alerts = outlets.channel(4);
    let worker =
        Worker::spawn(sampler.all(), settings, Detector::new(&LeakConfig::default()), outlets)
            .unwrap();
    edit.reaches(&worker);
    // The maker of the settings goes away: the worker keeps what it has.
    drop(edit);
    sampler.start().unwrap();
    let alert = alerts.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!((alert.severity, alert.cause), (Severity::Critical, Cause::Rss { rss: 150 << 20 }));
    assert_eq!(worker.changes().iter().count(), 0);
    assert!(worker.status().ended);
}

#[test]
fn an_edit_of_the_least_growth_reaches_the_running_detector() {
    let before = LeakConfig { least_growth: 5 << 20, ..LeakConfig::default() };
    let after = LeakConfig { least_growth: 1 << 20, ..LeakConfig::default() };
    let (settings, edit) = edited(before, after);
    // Ten hours at 0.3 MiB/h: 3 MiB.
    let mut sampler = sampler(samples(600, 0.3));
    let detector = Detector::new(&LeakConfig::default());
    let worker =
        Worker::spawn(sampler.all_within(700), settings, detector, Outlets::new()).unwrap();
    edit.reaches(&worker);
    sampler.start().unwrap();
    let changes: Vec<_> = worker.changes().iter().collect();
    assert!(changes.iter().any(|event| event.change.to.is_leak()), "{changes:?}");
}

#[test]
fn stopping_does_not_wait_for_the_next_sample() {
    let sampler = sampler(samples(5, 0.0));
    let config = LeakConfig::default();
    let worker = Worker::spawn(
        sampler.all(),
        Settings::fixed(config.clone()),
        Detector::new(&config),
        Outlets::new(),
    )
    .unwrap();
    assert_eq!(worker.stop().unwrap().verdict().evidence().samples, 0);
}

#[test]
fn what_the_own_process_frees_is_no_restart() {
    // 100 MiB, and 150 more that go all at once each hour.
    let teeth = || {
        let mut samples = samples(390, 0.0);
        for (minute, sample) in (0..).zip(&mut samples) {
            sample.process.anon = Ok((100 << 20) + (minute % 60) * (150 << 20) / 60);
        }
        sampler(samples)
    };
    let restarts = |mut sampler: Sampler, worker: Worker| {
        sampler.start().unwrap();
        worker.changes().iter().for_each(drop);
        worker.status().verdict.evidence().restarts
    };
    let config = LeakConfig::default();
    let settings = || Settings::fixed(config.clone());
    let (sampler, detector) = (teeth(), Detector::new(&config));
    let all = sampler.all_within(400);
    let inside = Worker::spawn_inside(all, settings(), detector, Outlets::new(), Vec::new).unwrap();
    assert_eq!(restarts(sampler, inside), 0);
    // Of another process nobody here knows.
    let (sampler, detector) = (teeth(), Detector::new(&config));
    let outside =
        Worker::spawn(sampler.all_within(400), settings(), detector, Outlets::new()).unwrap();
    assert!(restarts(sampler, outside) > 0);
}

#[test]
fn the_component_and_the_size_class_that_grow_are_named() {
    let components = memtrack::component::Components::new();
    let (cache, index) = (components.component("cache"), components.component("index"));
    index.set(1 << 20);
    let mut asked = 0u64;
    let parts = move || {
        asked += 1;
        cache.set(asked << 10);
        let classes = [("allocations of 65 to 128 bytes".to_owned(), asked << 9)];
        memleak::parts::of_components(&components).into_iter().chain(classes).collect()
    };
    let mut sampler = sampler(samples(300, 40.0));
    let config = LeakConfig {
        warning_rate: 1e9,
        critical_rate: 1e9,
        rss_warning: None,
        rss_critical: None,
        ..LeakConfig::default()
    };
    let (settings, detector) = (Settings::fixed(config.clone()), Detector::new(&config));
    let mut outlets = Outlets::new();
    let alerts = outlets.channel(16);
    let worker =
        Worker::spawn_inside(sampler.all_within(400), settings, detector, outlets, parts).unwrap();
    sampler.start().unwrap();
    let changes: Vec<_> = worker.changes().iter().collect();
    let named = |verdict: &memleak::Verdict| -> Vec<String> {
        verdict.evidence().parts.iter().map(|part| part.name.clone()).collect()
    };
    let grows = ["cache", "allocations of 65 to 128 bytes"];
    assert_eq!(named(&worker.status().verdict), grows);
    let leak = changes.iter().find(|event| event.change.to.is_leak()).unwrap();
    assert_eq!(named(&leak.change.to), grows);
    let alert = alerts.try_iter().find_map(|alert| match alert.cause {
        Cause::Leak { verdict } => Some(verdict),
        _ => None,
    });
    assert_eq!(named(&alert.unwrap()), grows);
}

/// So many lives of 20 seconds, four samples a second, of a process that holds 100 MiB and gains 8 MiB a second. Where they are `one`
/// process, it keeps the highest RSS that it ever had.
fn lives(lives: u64, one: bool) -> Vec<Sample> {
    let mut peak = 0;
    (0..80 * lives)
        .map(|n| {
            let bytes = (100 << 20) + (n % 80) * (2 << 20) + (n * 7919 % 11) * 50_000;
            peak = if one || n % 80 > 0 { bytes.max(peak) } else { bytes };
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_millis(250 * n)));
            let process = &mut sample.process;
            (process.rss, process.anon, process.swap) = (Ok(bytes), Ok(bytes), Ok(0));
            (process.peak, process.processes) = (Ok(peak), Ok(1));
            sample
        })
        .collect()
}

#[test]
fn what_a_process_gives_back_is_told_from_its_end_by_the_samples() {
    for (n, one) in [(10, false), (4, true)] {
        let mut sampler = sampler(lives(n, one));
        let config = LeakConfig::default();
        let settings = Settings::fixed(config.clone());
        let (detector, outlets) = (Detector::new(&config), Outlets::new());
        let samples = sampler.all_within(1_000);
        let worker = Worker::spawn(samples, settings, detector, outlets).unwrap();
        sampler.start().unwrap();
        // Disconnected once the worker has seen all of the replay.
        worker.changes().iter().for_each(drop);
        let mut detector = worker.stop().unwrap();
        detector.conclude();
        let verdict = detector.verdict();
        assert_eq!(verdict.is_leak(), !one, "{verdict:?}");
        assert_eq!(verdict.evidence().restarts, if one { 0 } else { 9 });
    }
}
