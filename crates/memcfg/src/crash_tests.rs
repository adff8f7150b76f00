//! Power loss at any moment of a save: every state that a disk may be left in.
//!
//! The real saves run on the real disk and are written down call by call. From the record, a model of a file system makes
//! every state that a crash may leave: of a file that was not synced any part may be there, and of the names in a directory that
//! was not synced any selection. That is more than any journal does, and as much as POSIX allows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::disk::{Disk, RealDisk};
use crate::fault_row::tests::row;
use crate::save::{Editor, Expected};

/// What a save did, in order. A file is known by a number that no other ever has.
#[derive(Clone, Debug)]
enum Step {
    Made(PathBuf),
    Created(PathBuf, u64),
    Wrote(u64, Vec<u8>),
    Synced(u64),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
    SyncedDirectory(PathBuf),
    /// The save of this number was acknowledged.
    Acknowledged(usize),
}

#[derive(Clone, Default)]
struct Recorder {
    steps: Arc<Mutex<Vec<Step>>>,
    /// The system gives the number of a removed file to the next one; here each has its own.
    numbers: Arc<Mutex<BTreeMap<u64, u64>>>,
}

impl Recorder {
    fn note(&self, step: Step) {
        self.steps.lock().unwrap().push(step);
    }

    fn created(&self, path: &Path, file: &File) -> io::Result<()> {
        let number = 1 + self.steps.lock().unwrap().len() as u64;
        self.numbers.lock().unwrap().insert(file.metadata()?.ino(), number);
        self.note(Step::Created(path.to_owned(), number));
        Ok(())
    }

    fn number(&self, file: &File) -> io::Result<u64> {
        Ok(self.numbers.lock().unwrap()[&file.metadata()?.ino()])
    }
}

impl Disk for Recorder {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        RealDisk.make_directory(path)?;
        self.note(Step::Made(path.to_owned()));
        Ok(())
    }
    fn create(&self, path: &Path) -> io::Result<File> {
        let file = RealDisk.create(path)?;
        self.created(path, &file)?;
        Ok(file)
    }
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        let count = RealDisk.write(file, bytes)?;
        self.note(Step::Wrote(self.number(file)?, bytes[..count].to_vec()));
        Ok(count)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        RealDisk.sync(file)?;
        self.note(Step::Synced(self.number(file)?));
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)?;
        self.note(Step::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_directory(path)?;
        self.note(Step::SyncedDirectory(path.to_owned()));
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)?;
        self.note(Step::Removed(path.to_owned()));
        Ok(())
    }
}

/// A change of a name that may not have reached the device.
#[derive(Clone, Debug)]
enum Name {
    Is(PathBuf, u64),
    Moves(PathBuf, PathBuf, u64),
    Goes(PathBuf),
}

/// The device, and what is still on its way to it. A directory is a file of number 0.
#[derive(Clone, Debug, Default)]
struct Model {
    names: BTreeMap<PathBuf, u64>,
    pending: Vec<Name>,
    /// Of each file: what is on the device, and what was written.
    contents: BTreeMap<u64, (Vec<u8>, Vec<u8>)>,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Made(path) => self.pending.push(Name::Is(path.clone(), 0)),
            Step::Created(path, file) => {
                self.contents.insert(*file, Default::default());
                self.pending.push(Name::Is(path.clone(), *file));
            }
            Step::Wrote(file, bytes) => {
                self.contents.get_mut(file).unwrap().1.extend_from_slice(bytes);
            }
            Step::Synced(file) => {
                let (device, written) = self.contents.get_mut(file).unwrap();
                device.clone_from(written);
            }
            Step::Renamed(from, to) => {
                let file = self.now()[from];
                if from.parent() == to.parent() {
                    self.pending.push(Name::Moves(from.clone(), to.clone(), file));
                } else {
                    // Two directories reach the device each on its own.
                    self.pending.push(Name::Is(to.clone(), file));
                    self.pending.push(Name::Goes(from.clone()));
                }
            }
            Step::Removed(path) => self.pending.push(Name::Goes(path.clone())),
            Step::SyncedDirectory(directory) => {
                let (there, later): (Vec<_>, Vec<_>) = self
                    .pending
                    .drain(..)
                    .partition(|name| name.directory() == Some(directory.as_path()));
                self.pending = later;
                there.iter().for_each(|name| name.take(&mut self.names));
            }
            Step::Acknowledged(_) => {}
        }
    }

    /// The names as the running system sees them.
    fn now(&self) -> BTreeMap<PathBuf, u64> {
        let mut names = self.names.clone();
        self.pending.iter().for_each(|name| name.take(&mut names));
        names
    }

    /// Every selection of the names that were on their way.
    fn crashes(&self) -> impl Iterator<Item = BTreeMap<PathBuf, u64>> + '_ {
        (0u32..1 << self.pending.len()).map(|selection| {
            let mut names = self.names.clone();
            for (at, name) in self.pending.iter().enumerate() {
                if selection & (1 << at) != 0 {
                    name.take(&mut names);
                }
            }
            names
        })
    }

    /// Every content that a file may be left with.
    fn contents(&self, file: u64) -> Vec<Vec<u8>> {
        let (device, written) = &self.contents[&file];
        if device == written {
            return vec![device.clone()];
        }
        let mut all: Vec<Vec<u8>> =
            (device.len()..=written.len()).map(|end| written[..end].to_vec()).collect();
        // Its length may be there before its bytes are.
        all.push(vec![0; written.len()]);
        all
    }
}

impl Name {
    fn directory(&self) -> Option<&Path> {
        let (Name::Is(path, _) | Name::Moves(path, _, _) | Name::Goes(path)) = self;
        path.parent()
    }

    fn take(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Name::Is(path, file) => drop(names.insert(path.clone(), *file)),
            Name::Moves(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Name::Goes(path) => drop(names.remove(path)),
        }
    }
}

const SAVES: usize = 13;

fn content(save: usize) -> Vec<u8> {
    format!("save {save}\n").into_bytes()
}

/// Thirteen saves into a directory that does not exist yet: the last ones rotate the backups.
fn record(base: &Path) -> Vec<Step> {
    let recorder = Recorder::default();
    let mut editor = Editor::on(recorder.clone(), base.join("made/c.toml"), |_| true);
    for save in 0..SAVES {
        editor.save(&content(save), Expected::Anything).unwrap();
        recorder.note(Step::Acknowledged(save));
    }
    let steps = recorder.steps.lock().unwrap();
    steps.clone()
}

#[derive(Debug, Default)]
struct Found {
    states: usize,
    /// Neither the acknowledged content nor the one being saved.
    other: usize,
    /// An acknowledged save or its backup is gone.
    lost: usize,
    bad_backups: usize,
}

/// Looks at every state that a crash after each of the steps may leave.
fn crash_everywhere(base: &Path, steps: &[Step]) -> Found {
    let (target, backups) = (base.join("made/c.toml"), base.join("made/backups"));
    let (mut model, mut acknowledged, mut found) = (Model::default(), None, Found::default());
    for step in steps {
        model.apply(step);
        if let Step::Acknowledged(save) = step {
            acknowledged = Some(*save);
        }
        let next = acknowledged.map_or(0, |save| save + 1);
        for names in model.crashes() {
            let reachable = |path: &Path| {
                let above = path.ancestors().skip(1).take_while(|at| *at != base);
                above.into_iter().all(|at| names.contains_key(at))
            };
            let file = names.get(&target).filter(|_| reachable(&target));
            match file {
                Some(file) => {
                    for bytes in model.contents(*file) {
                        found.states += 1;
                        let old = acknowledged.is_some_and(|save| bytes == content(save));
                        found.other += usize::from(!old && bytes != content(next));
                    }
                }
                None => {
                    found.states += 1;
                    found.lost += usize::from(acknowledged.is_some());
                }
            }
            let mut kept = Vec::new();
            for (path, file) in names.iter().filter(|(path, _)| path.parent() == Some(&backups)) {
                let temporary = path.file_name().unwrap().to_string_lossy().contains(".tmp.");
                if temporary || !reachable(path) {
                    continue;
                }
                for bytes in model.contents(*file) {
                    found.states += 1;
                    found.bad_backups +=
                        usize::from(!(0..SAVES).any(|save| bytes == content(save)));
                    kept.push(bytes);
                }
            }
            // What an acknowledged save replaced is in a backup.
            if let Some(before) = acknowledged.and_then(|save| save.checked_sub(1)) {
                found.lost += usize::from(!kept.contains(&content(before)));
            }
        }
    }
    found
}

#[test]
fn power_loss_at_any_moment_of_a_save_leaves_the_old_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let steps = record(dir.path());
    let found = crash_everywhere(dir.path(), &steps);
    let Found { states, other, lost, bad_backups } = &found;
    row(
        "2",
        "power loss after each call of a save, unsynced changes lost in any selection",
        format!("{SAVES} saves, {} calls, {states} states", steps.len()),
        format!(
            "{other} neither old nor new, {lost} acknowledged and lost, {bad_backups} bad backups"
        ),
    );
    assert!(*states > 300, "{found:?}");
    assert_eq!((*other, *lost, *bad_backups), (0, 0, 0), "{found:?}");
}

/// The model sees what it is there to see: without any one kind of sync the same saves are not safe.
#[test]
fn saves_without_a_sync_do_not_pass_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let steps = record(dir.path());
    let without = |leave_out: fn(&Step) -> bool| {
        let rest: Vec<_> = steps.iter().filter(|step| !leave_out(step)).cloned().collect();
        crash_everywhere(dir.path(), &rest[..rest.len().min(40)])
    };
    let files = without(|step| matches!(step, Step::Synced(_)));
    assert!(files.other > 0 && files.bad_backups > 0, "{files:?}");
    let made = without(
        |step| matches!(step, Step::SyncedDirectory(path) if !path.ends_with("made") && !path.ends_with("backups")),
    );
    assert!(made.lost > 0, "the directory itself: {made:?}");
    let backups =
        without(|step| matches!(step, Step::SyncedDirectory(path) if path.ends_with("backups")));
    assert!(backups.lost > 0, "{backups:?}");
}
