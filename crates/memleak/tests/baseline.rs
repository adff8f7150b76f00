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
fn a_later_version_damage_and_nonsense_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = at(&folder);
    assert!(matches!(load(&path, &identity()), Err(BaselineError::Read { .. })));
    fs::write(&path, r#"{"version":2,"something":"else"}"#).unwrap();
    assert!(matches!(load(&path, &identity()), Err(BaselineError::Version { found: 2, .. })));
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
