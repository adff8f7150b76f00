//! Every call of a save made to fail, one at a time: the file is the old one or the new one, never anything else.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::disk::{Disk, RealDisk};
use crate::fault_row::tests::row;
use crate::hash::Hash;
use crate::metrics::SaveMetrics;
use crate::save::{BACKUPS, Editor, Expected, SaveError};

/// How the chosen call fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// With this error number, that once.
    Once(i32),
    /// With this error number, and so does every call after it: the process could not even clean up.
    FromThenOn(i32),
    /// A write that takes only half.
    Short,
}

const EIO: i32 = 5;
const EINTR: i32 = 4;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

struct FaultyDisk {
    calls: Arc<AtomicUsize>,
    at: usize,
    fault: Fault,
}

impl FaultyDisk {
    fn call<T>(&self, real: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Once(code) if call == self.at => Err(io::Error::from_raw_os_error(code)),
            Fault::FromThenOn(code) if call >= self.at => Err(io::Error::from_raw_os_error(code)),
            _ => real(),
        }
    }
}

impl Disk for FaultyDisk {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.call(|| RealDisk.make_directory(path))
    }
    fn open_lock(&self, path: &Path) -> io::Result<File> {
        self.call(|| RealDisk.open_lock(path))
    }
    fn create(&self, path: &Path) -> io::Result<File> {
        self.call(|| RealDisk.create(path))
    }
    fn adopt(&self, file: &File, from: &Path) -> io::Result<()> {
        self.call(|| RealDisk.adopt(file, from))
    }
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        let half = self.fault == Fault::Short && self.calls.load(Ordering::Relaxed) == self.at;
        let bytes = if half { &bytes[..bytes.len() / 2] } else { bytes };
        self.call(|| RealDisk.write(file, bytes))
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        self.call(|| RealDisk.sync(file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| RealDisk.rename(from, to))
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.call(|| RealDisk.sync_directory(path))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|| RealDisk.remove(path))
    }
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.call(|| RealDisk.read(path))
    }
    fn names(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.call(|| RealDisk.names(path))
    }
}

fn temps(directory: &Path) -> usize {
    let names = std::fs::read_dir(directory).unwrap();
    names
        .filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().contains(".tmp."))
        .count()
}

/// What a sweep over every call of a save found.
#[derive(Debug, Default)]
struct Sweep {
    calls: usize,
    other: usize,
    falsely_acknowledged: usize,
    unnamed: usize,
    stale: usize,
    bad_backups: usize,
}

/// Fails the first call of a save, then the second, and so on until one passes clean.
fn sweep(fault: Fault) -> Sweep {
    let (old, new) = ("old\n", "new, and longer\n");
    let mut found = Sweep::default();
    loop {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, old).unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let disk = FaultyDisk { calls: Arc::clone(&calls), at: found.calls, fault };
        let result = Editor::on(disk, &path, |_| true)
            .save(new.as_bytes(), Expected::Content(Hash::of(old.as_bytes())));
        let content = std::fs::read_to_string(&path).unwrap();
        found.other += usize::from(content != old && content != new);
        match &result {
            Ok(_) => found.falsely_acknowledged += usize::from(content != new),
            Err(SaveError::Io { .. }) => {}
            Err(_) => found.unnamed += 1,
        }
        // The next save sweeps what a dead one left.
        let mut editor = Editor::new(&path, |_| true);
        editor.save(b"next\n", Expected::Anything).unwrap();
        found.stale += temps(dir.path()) + temps(&dir.path().join("backups"));
        let whole = |path: &Path| {
            let content = std::fs::read_to_string(path).unwrap();
            content == old || content == new
        };
        found.bad_backups += editor.backups().unwrap().iter().filter(|b| !whole(&b.path)).count();
        if found.calls >= calls.load(Ordering::Relaxed) {
            assert!(result.is_ok(), "a pass without a fault succeeds: {result:?}");
            return found;
        }
        found.calls += 1;
    }
}

fn sweep_all(faults: &[Fault]) -> Sweep {
    let mut all = Sweep::default();
    for one in faults.iter().map(|fault| sweep(*fault)) {
        assert!(one.calls > 10, "the sweep went over {} calls only", one.calls);
        all.calls += one.calls;
        all.other += one.other;
        all.falsely_acknowledged += one.falsely_acknowledged;
        all.unnamed += one.unnamed;
        all.stale += one.stale;
        all.bad_backups += one.bad_backups;
    }
    all
}

fn judge(number: &str, fault: &str, all: &Sweep) {
    let Sweep { calls, other, falsely_acknowledged, unnamed, stale, bad_backups } = all;
    row(
        number,
        fault,
        format!("{calls} calls, each in turn"),
        format!(
            "{other} neither old nor new, {falsely_acknowledged} falsely acknowledged, {unnamed} without the step's name, \
             {bad_backups} bad backups, {stale} stale temporary files"
        ),
    );
    assert_eq!((*other, *falsely_acknowledged, *unnamed), (0, 0, 0), "{all:?}");
    assert_eq!((*bad_backups, *stale), (0, 0), "{all:?}");
}

#[test]
fn a_disk_that_fills_up_at_any_call_leaves_the_old_or_the_new() {
    let all = sweep_all(&[Fault::Once(ENOSPC), Fault::FromThenOn(ENOSPC)]);
    judge("3", "disk full at call k of a save", &all);
}

#[test]
fn any_call_that_fails_leaves_the_old_or_the_new() {
    let all = sweep_all(&[
        Fault::Once(EIO),
        Fault::FromThenOn(EIO),
        Fault::Once(EINTR),
        Fault::FromThenOn(EROFS),
        Fault::Short,
    ]);
    judge("4", "EIO, EINTR, read-only or a short write at call k of a save", &all);
}

#[test]
fn a_stale_edit_is_a_conflict_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let mut editor = Editor::new(&path, |_| true);
    let first = editor.save(b"1\n", Expected::Absent).unwrap();
    editor.save(b"2\n", Expected::Content(first.hash)).unwrap();
    let stale = editor.save(b"3\n", Expected::Content(first.hash)).unwrap_err();
    assert!(
        matches!(stale, SaveError::Conflict { found: Some(found), .. } if found == Hash::of(b"2\n"))
    );
    assert!(matches!(editor.save(b"3\n", Expected::Absent), Err(SaveError::Conflict { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"2\n");
    assert_eq!((editor.metrics().saved, editor.metrics().conflicts), (2, 2));
    assert_eq!(editor.metrics().backups, 1);
}

#[test]
fn only_valid_contents_become_backups_and_ten_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let mut editor = Editor::new(&path, |bytes| bytes.starts_with(b"good"));
    for number in 0..15 {
        editor.save(format!("good {number}\n").as_bytes(), Expected::Anything).unwrap();
        // Somebody else spoils the file: that must push no good backup out.
        std::fs::write(&path, "bad\n").unwrap();
        let saved = editor.save(format!("good {number}\n").as_bytes(), Expected::Anything).unwrap();
        assert_eq!(saved.backup, None);
    }
    let backups = editor.backups().unwrap();
    assert_eq!(backups.len(), BACKUPS);
    for backup in &backups {
        assert!(std::fs::read_to_string(&backup.path).unwrap().starts_with("good"));
    }
    let oldest = backups.last().unwrap();
    let content = std::fs::read_to_string(&oldest.path).unwrap();
    editor.rollback(oldest.number, Expected::Anything).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    let missing = editor.rollback(999, Expected::Anything);
    assert!(matches!(missing, Err(SaveError::NoBackup { number: 999, .. })));
}

#[test]
fn a_backup_that_somebody_has_changed_is_not_put_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let mut editor = Editor::new(&path, |bytes| bytes.starts_with(b"good"));
    editor.save(b"good 1\n", Expected::Anything).unwrap();
    let number = editor.save(b"good 2\n", Expected::Anything).unwrap().backup.unwrap();
    let backup = editor.backups().unwrap().remove(0).path;
    let foreign = dir.path().join("foreign");
    std::fs::write(&foreign, "good for somebody else\n").unwrap();
    let linked = backup.with_file_name("c.toml.77");
    std::os::unix::fs::symlink(&foreign, linked).unwrap();
    for content in ["bad\n", ""] {
        std::fs::write(&backup, content).unwrap();
        let refused = editor.rollback(number, Expected::Anything);
        assert!(matches!(refused, Err(SaveError::InvalidBackup { .. })), "{refused:?}");
    }
    let refused = editor.rollback(77, Expected::Anything);
    assert!(matches!(refused, Err(SaveError::Distrust { .. })), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "good 2\n");
    std::fs::write(&backup, "good 1\n").unwrap();
    editor.rollback(number, Expected::Anything).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "good 1\n");
}

#[test]
fn new_files_are_private_and_old_ones_keep_their_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/c.toml");
    let mut editor = Editor::new(&path, |_| true);
    editor.save(b"1\n", Expected::Absent).unwrap();
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
    editor.save(b"2\n", Expected::Anything).unwrap();
    assert_eq!(mode(&path), 0o644, "readable as before, writable by its owner alone");
}

#[test]
fn a_link_stays_and_its_target_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real.toml"), dir.path().join("link.toml"));
    std::fs::write(&real, "1\n").unwrap();
    std::os::unix::fs::symlink("real.toml", &link).unwrap();
    Editor::new(&link, |_| true).save(b"2\n", Expected::Content(Hash::of(b"1\n"))).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read(&real).unwrap(), b"2\n");
}

#[test]
fn a_save_that_fails_names_its_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/c.toml");
    let calls = Arc::new(AtomicUsize::new(0));
    let disk = FaultyDisk { calls, at: 0, fault: Fault::FromThenOn(ENOSPC) };
    let mut editor = Editor::on(disk, &path, |_| true);
    let error = editor.save(b"new\n", Expected::Anything).unwrap_err();
    assert!(error.to_string().contains("making its directory failed"), "{error}");
    assert_eq!(editor.metrics().failed_by.get("directory"), Some(&1));
    assert_eq!((editor.metrics().saved, editor.metrics().last_success), (0, None));
}

#[test]
fn temporary_files_of_dead_processes_are_swept_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(dir.path().join(".c.toml.tmp.1.0"), "half").unwrap();
    std::fs::write(dir.path().join(".other.toml.tmp.1.0"), "another file's").unwrap();
    let mut editor = Editor::new(&path, |_| true);
    editor.save(b"1\n", Expected::Absent).unwrap();
    assert_eq!(editor.metrics().swept, 1);
    assert!(
        editor.metrics().last_success.is_some() && editor.metrics().last_duration_seconds > 0.0
    );
    assert_eq!(temps(dir.path()), 1);
}

/// Each figure by name: one that is added and not moved here does not compile.
#[test]
fn every_figure_of_saving_moves_on_its_event() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(dir.path().join(".c.toml.tmp.1.0"), "half").unwrap();
    let mut editor = Editor::new(&path, |_| true);
    assert_eq!(*editor.metrics(), SaveMetrics::default());
    editor.save(b"1\n", Expected::Absent).unwrap();
    editor.save(b"2\n", Expected::Anything).unwrap();
    editor.save(b"3\n", Expected::Absent).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    editor.save(b"4\n", Expected::Anything).unwrap_err();
    let SaveMetrics {
        saved,
        conflicts,
        failed_by,
        backups,
        swept,
        last_duration_seconds,
        last_success,
    } = editor.metrics().clone();
    assert_eq!((saved, conflicts, backups, swept), (2, 1, 1, 1));
    assert_eq!(failed_by, [("read", 1)].into());
    assert!(last_duration_seconds > 0.0 && last_success.is_some());
}
