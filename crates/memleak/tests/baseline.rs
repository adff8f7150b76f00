//! The baseline file: what it keeps, whom it serves, what it refuses.
#![cfg(feature = "worker")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use memleak::baseline::{BaselineError, Identity, load, save};
use memleak::{Detector, LeakConfig};

fn identity() -> Identity {
    Identity {
        program: "/usr/bin/service".into(),
        build: "1.2.3".into(),
        memory: 8 << 30,
        processors: 4,
    }
}

fn learnt() -> Detector {
    let mut detector = Detector::new(&LeakConfig::default());
    for i in 0..500u64 {
        detector.push(Duration::from_secs(30 * i), (200 << 20) + (i % 5) * 100_000);
    }
    detector
}

fn at(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("baseline.json")
}

#[test]
fn what_was_learnt_survives_and_a_restart_is_no_leak() {
    let folder = tempfile::tempdir().unwrap();
    let path = at(&folder);
    save(&path, &identity(), &learnt()).unwrap();
    let mut detector = load(&path, &identity()).unwrap();
    assert_eq!(detector.verdict().evidence().restarts, 1);
    // The new process starts small, on a clock from zero, warms up and stays.
    for i in 0..500u64 {
        let warm = 150.0 * (1.0 - (-(i as f64) / 20.0).exp());
        detector.push(Duration::from_secs(30 * i), (50 << 20) + (warm * 1_048_576.0) as u64);
        assert!(!detector.leaks(), "sample {i}");
    }
    let watched = detector.verdict().evidence().watched;
    assert!((watched.as_secs_f64() - 1000.0 * 30.0).abs() < 100.0, "{watched:?}");
}

#[test]
#[cfg(unix)]
fn what_lies_in_the_way_is_neither_followed_nor_kept() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = at(&folder);
    let beside = folder.path().join(format!("baseline.json.{}.new", std::process::id()));
    let other = folder.path().join("other");
    fs::write(&other, "not ours").unwrap();
    std::os::unix::fs::symlink(&other, &beside).unwrap();
    save(&path, &identity(), &learnt()).unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), "not ours");
    // What a process of the same pid left behind when it was killed, readable by all.
    fs::write(&beside, "half").unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o644)).unwrap();
    save(&path, &identity(), &learnt()).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(load(&path, &identity()).is_ok());
}

#[test]
#[cfg(unix)]
fn only_the_owner_may_read_it_and_nothing_else_is_left_behind() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = at(&folder);
    save(&path, &identity(), &learnt()).unwrap();
    save(&path, &identity(), &learnt()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn another_program_or_machine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = at(&folder);
    save(&path, &identity(), &learnt()).unwrap();
    for other in [
        Identity { program: "/usr/bin/other".into(), ..identity() },
        Identity { build: "1.2.4".into(), ..identity() },
        Identity { memory: 16 << 30, ..identity() },
        Identity { processors: 8, ..identity() },
    ] {
        assert!(matches!(load(&path, &other), Err(BaselineError::Foreign { .. })), "{other:?}");
    }
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(load(folder.path(), &identity()), Err(BaselineError::Read { .. })));
    let pipe = at(&folder);
    if std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|made| made.success()) {
        assert!(matches!(load(&pipe, &identity()), Err(BaselineError::Read { .. })));
    }
}

#[test]
fn another_version_damage_and_nonsense_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = at(&folder);
    assert!(matches!(load(&path, &identity()), Err(BaselineError::Read { .. })));
    for other in [2, 4] {
        fs::write(&path, format!(r#"{{"version":{other},"something":"else"}}"#)).unwrap();
        let error = load(&path, &identity()).unwrap_err();
        assert!(matches!(error, BaselineError::Version { found, .. } if found == other));
        let told = format!("has version {other}, this program reads 3");
        assert!(error.to_string().ends_with(&told), "{error}");
    }
    fs::write(&path, "not json").unwrap();
    assert!(matches!(load(&path, &identity()), Err(BaselineError::Malformed { .. })));
    fs::write(&path, vec![b' '; 2 << 20]).unwrap();
    assert!(matches!(load(&path, &identity()), Err(BaselineError::Damaged { .. })));
    save(&path, &identity(), &learnt()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    // An index beyond the history: whatever wrote this was no detector.
    let broken = text.replacen(r#""index":1,"#, r#""index":4000000000,"#, 1);
    assert_ne!(text, broken);
    fs::write(&path, broken).unwrap();
    assert!(matches!(load(&path, &identity()), Err(BaselineError::Damaged { .. })));
    let half = &text[..text.len() / 2];
    fs::write(&path, half).unwrap();
    assert!(matches!(load(&path, &identity()), Err(BaselineError::Malformed { .. })));
}

#[test]
fn a_leaking_life_that_was_saved_is_no_leak_of_the_next() {
    let mut leaking = Detector::new(&LeakConfig::default());
    for i in 0..600u64 {
        leaking.push(Duration::from_secs(30 * i), (100 << 20) + i * 300_000);
    }
    assert!(leaking.leaks());
    let folder = tempfile::tempdir().unwrap();
    save(&at(&folder), &identity(), &leaking).unwrap();
    let mut detector = load(&at(&folder), &identity()).unwrap();
    assert_eq!(detector.verdict().kind(), "undecided", "{:?}", detector.verdict());
    for i in 0..600u64 {
        let change = detector.push(Duration::from_secs(30 * i), (100 << 20) + (i % 5) * 50_000);
        assert!(!detector.leaks(), "sample {i}");
        assert!(!change.is_some_and(|change| change.from.is_leak()), "sample {i}");
    }
    // A new life that leaks is found by what it shows itself.
    let mut detector = load(&at(&folder), &identity()).unwrap();
    for i in 0..600u64 {
        detector.push(Duration::from_secs(30 * i), (100 << 20) + i * 300_000);
    }
    assert!(detector.leaks());
}

#[test]
fn counts_that_are_full_stay_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = at(&folder);
    save(&path, &identity(), &learnt()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let full = text.replace(r#""samples":500"#, &format!(r#""samples":{}"#, u64::MAX));
    let full = full.replace(r#""samples":496"#, &format!(r#""samples":{}"#, u64::MAX));
    assert_ne!(text, full);
    fs::write(&path, full).unwrap();
    let Ok(mut detector) = load(&path, &identity()) else { return };
    for i in 0..100u64 {
        detector.push(Duration::from_secs(30 * i), 200 << 20);
    }
    assert_eq!(detector.verdict().evidence().samples, u64::MAX);
}

/// Two hours of a cache that fills by 40 MiB/h until it is full, then eight hours of nothing.
fn fill(detector: &mut Detector, start: u64) -> u32 {
    let mut alerts = 0;
    for i in 0..1200u64 {
        let hours = (30 * i) as f64 / 3600.0;
        let bytes = (100.0 + 40.0 * hours.min(2.0)) * 1_048_576.0;
        let at = Duration::from_secs(start + 30 * i);
        let change = detector.push(at, bytes as u64 + (i % 5) * 50_000);
        alerts += u32::from(change.is_some_and(|change| change.to.is_leak()));
    }
    assert_eq!(detector.verdict().kind(), "steady");
    alerts
}

#[test]
fn a_fill_that_was_seen_to_end_is_no_alert_in_the_next_life_and_growth_beyond_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = at(&folder);
    let mut first = Detector::new(&LeakConfig::default());
    // Nobody can tell the first fill from a leak before it ends.
    assert_eq!(fill(&mut first, 0), 1);
    save(&path, &identity(), &first).unwrap();
    let mut second = load(&path, &identity()).unwrap();
    assert_eq!(fill(&mut second, 0), 0);
    save(&path, &identity(), &second).unwrap();
    let mut third = load(&path, &identity()).unwrap();
    let mut raised = None;
    for i in 0..1200u64 {
        let hours = (30 * i) as f64 / 3600.0;
        let bytes = (100.0 + 40.0 * hours) * 1_048_576.0;
        let change = third.push(Duration::from_secs(30 * i), bytes as u64);
        if raised.is_none() && change.is_some_and(|change| change.to.is_leak()) {
            raised = Some(hours);
        }
    }
    // It is no fill any more once it is higher than a fill ever was.
    let raised = raised.unwrap();
    assert!(raised > 2.0 && raised < 3.5, "{raised}");
}

#[test]
fn a_new_life_starts_with_the_swing_that_the_last_one_had() {
    // Collections take 30 MiB each half hour; the new life is too young to have seen one.
    let level = |i: u64| 100.0 + 30.0 * ((i % 60) as f64 / 60.0);
    let mut known = Detector::new(&LeakConfig::default());
    for i in 0..2000u64 {
        known.push(Duration::from_secs(30 * i), (level(i) * 1_048_576.0) as u64);
    }
    assert_eq!(known.verdict().kind(), "steady", "{:?}", known.verdict());
    let folder = tempfile::tempdir().unwrap();
    save(&at(&folder), &identity(), &known).unwrap();
    let mut known = load(&at(&folder), &identity()).unwrap();
    let mut new = Detector::new(&LeakConfig::default());
    let (mut with, mut without) = (0, 0);
    // The first collection comes later than usual.
    for i in 0..100u64 {
        let bytes = ((100.0 + 0.5 * i as f64 * 0.6) * 1_048_576.0) as u64;
        known.push(Duration::from_secs(30 * i), bytes);
        new.push(Duration::from_secs(30 * i), bytes);
        with += u32::from(known.verdict().kind() == "growing" || known.leaks());
        without += u32::from(new.verdict().kind() == "growing" || new.leaks());
    }
    assert!(with == 0 && without > 0, "{with} {without}");
}
