//! A running document and its files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests assert by unwrapping"
)]

use std::path::Path;
use std::time::Duration;

use crossbeam_channel::Receiver;
use memcfg::document::Live;
use memcfg::files::Sources;
use memcfg::live::{LiveOptions, Reload};

fn options() -> LiveOptions {
    let mut options = LiveOptions::default();
    options.settle = Duration::from_millis(20);
    options.patience = Duration::from_millis(300);
    options
}

fn next(reloads: &Receiver<Reload>) -> Reload {
    reloads.recv_timeout(Duration::from_secs(20)).expect("an event")
}

fn save(path: &Path, warning: f64) {
    let text = format!("schema_version = 3\n[pressure.thresholds]\nwarning = {warning}\n");
    let temp = path.with_extension("new");
    std::fs::write(&temp, text).unwrap();
    std::fs::rename(&temp, path).unwrap();
}

#[test]
fn an_edit_reaches_every_section_and_a_bad_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    save(&path, 0.6);
    let live = Live::start_with(Sources::new().file(&path), options()).unwrap();
    let (pressure, guard) = (live.pressure(), live.guard());
    assert_eq!(pressure.load().generation, 1);
    save(&path, 0.5);
    let Reload::Accepted { generation, changes, .. } = next(live.reloads()) else { panic!() };
    assert_eq!(generation, 2);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].key, "pressure.thresholds.warning");
    assert_eq!(
        (
            changes[0].old.as_ref().unwrap().to_string(),
            changes[0].new.as_ref().unwrap().to_string()
        ),
        ("0.6".into(), "0.5".into())
    );
    pressure.changed().recv().unwrap();
    guard.changed().recv().unwrap();
    assert_eq!(pressure.load().value.thresholds.warning, 0.5);
    assert_eq!(guard.load().value.pressure.thresholds.warning, 0.5);
    assert!(live.status().observers.iter().all(|observer| observer.generation == 2));

    std::fs::write(&path, "schema_version = 3\n[pressure.thresholds]\nwarnin = 0.4\n").unwrap();
    let Reload::Rejected { generation, diagnostics, .. } = next(live.reloads()) else { panic!() };
    assert_eq!(generation, 2);
    assert!(diagnostics[0].to_string().contains("c.toml:3:1"), "{}", diagnostics[0]);
    assert_eq!(pressure.load().value.thresholds.warning, 0.5);
    let status = live.status();
    assert!(!status.last_reload_ok && status.active != status.on_disk);
    assert!(status.last_rejected.unwrap().standing);

    // Back to what is in force: mended, and no new generation.
    save(&path, 0.5);
    live.check_now();
    let status = live.status();
    assert!(status.last_reload_ok && status.active == status.on_disk);
    assert_eq!(status.generation, 2);
    assert!(!status.last_rejected.unwrap().standing);
}

#[test]
fn polling_alone_finds_an_edit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    save(&path, 0.6);
    let mut options = options();
    options.events = false;
    options.poll = Duration::from_millis(50);
    let live = Live::start_with(Sources::new().file(&path), options).unwrap();
    save(&path, 0.5);
    assert!(matches!(next(live.reloads()), Reload::Accepted { generation: 2, .. }));
}

#[test]
fn a_candidate_is_compared_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    save(&path, 0.6);
    let live = Live::start_with(Sources::new().file(&path), options()).unwrap();
    let text =
        b"schema_version = 3\n[pressure.thresholds]\nwarning = 0.65\n[leak]\nwindow = \"2h\"\n";
    let candidate = live.candidate(&path, text).unwrap();
    let shown: Vec<_> =
        candidate.changes.iter().map(|change| (change.key.as_str(), change.direction)).collect();
    use memcfg::diff::Direction::Loosened;
    assert_eq!(shown, [("leak.window", None), ("pressure.thresholds.warning", Some(Loosened))]);
    assert!(candidate.changes[1].origin.to_string().ends_with("c.toml:3:11"));
    assert!(live.candidate(&path, b"schema_version = 3\nx = 1\n").is_err());
    assert_eq!(live.load().generation, 1);
    assert_eq!(live.pressure().load().value.thresholds.warning, 0.6);
}
