//! Processes that are killed, or that save against each other.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use memcfg::document;
use memcfg::save::{Editor, Expected, SaveError};

use super::support::{long, row, this_binary};

fn valid(bytes: &[u8]) -> bool {
    bytes.starts_with(b"schema_version = 3\n") && bytes.ends_with(b"# end\n")
}

/// A content that shows when it is cut short, and whose number can be read back.
fn numbered(number: u64) -> Vec<u8> {
    let filling = "# filling\n".repeat(usize::try_from(number % 500).unwrap());
    format!("schema_version = 3\n# {number}\n{filling}# end\n").into_bytes()
}

fn number_of(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.lines().nth(1)?.trim_start_matches("# ").parse().ok()
}

fn temps(directory: &Path) -> usize {
    let Ok(names) = std::fs::read_dir(directory) else { return 0 };
    names
        .filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().contains(".tmp."))
        .count()
}

/// Lets `child` get going, kills it at an instant that differs from round to round, and answers the number of the last
/// thing it said it had done.
fn kill(mut child: Child, round: usize) -> u64 {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    let first = lines.by_ref().map(Result::unwrap).find(|line| line.contains("ack "));
    let first = number(&first.expect("it gets going"));
    std::thread::sleep(Duration::from_micros((round as u64 * 7919) % 20_000));
    child.kill().unwrap();
    child.wait().unwrap();
    let last = lines.map_while(Result::ok).filter(|line| line.starts_with("ack ")).last();
    last.map_or(first, |line| number(&line))
}

fn acknowledge(number: u64) {
    println!("ack {number}");
    std::io::stdout().flush().unwrap();
}

pub(crate) fn save_for_ever(path: &Path, from: u64) {
    let mut editor = Editor::new(path, valid);
    for number in from.. {
        editor.save(&numbered(number), Expected::Anything).unwrap();
        acknowledge(number);
    }
}

#[test]
fn kill_9_while_saving_corrupts_nothing_and_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let rounds = if long() { 500 } else { 25 };
    let (mut next, mut acknowledged, mut left) = (1, 0u64, 0);
    let (mut corrupt, mut lost) = (0, 0);
    for round in 0..rounds {
        let from = usize::try_from(next).unwrap();
        let child = this_binary("save for ever", &path, from).stdout(Stdio::piped()).spawn();
        let last = kill(child.unwrap(), round);
        acknowledged += last + 1 - next;
        let bytes = std::fs::read(&path).unwrap();
        let found = number_of(&bytes).filter(|number| bytes == numbered(*number));
        corrupt += usize::from(found.is_none());
        // The one after the last acknowledged may be there already; an older one may not.
        let found = found.unwrap_or(last);
        lost += last.saturating_sub(found);
        assert!(found <= last + 1, "round {round}: {found} after {last}");
        left += temps(dir.path());
        next = found + 1;
    }
    Editor::new(&path, valid).save(&numbered(1), Expected::Anything).unwrap();
    let stale = temps(dir.path()) + temps(&dir.path().join("backups"));
    row(
        "1",
        "kill -9 during a save",
        format!("{rounds} kills, {acknowledged} acknowledged saves"),
        format!(
            "{corrupt} corrupt, {lost} acknowledged and lost, {stale} stale temporary files after the next start ({left} swept)"
        ),
    );
    assert_eq!((corrupt, lost, stale), (0, 0, 0));
}

const OLD: &str = "\
# Mine: keep it.
version = \"1.0\" # the first

max_workers = 8 # cores
[memory_settings]
total_mb = 4096 # four
";

/// Puts the old file there, migrates it and saves it, again and again.
pub(crate) fn migrate_for_ever(path: &Path) {
    for number in 1.. {
        // Another program's way to put a file there: whole, or not at all.
        let temp = path.with_extension("old");
        std::fs::write(&temp, OLD).unwrap();
        std::fs::rename(temp, path).unwrap();
        let mut editor = document::editor(path);
        let (bytes, hash) = editor.read().unwrap().unwrap();
        let new = document::migrate("c.toml", std::str::from_utf8(&bytes).unwrap()).unwrap().text;
        editor.save(new.as_bytes(), Expected::Content(hash)).unwrap();
        acknowledge(number);
    }
}

#[test]
fn kill_9_while_migrating_leaves_the_old_file_or_the_new_and_a_backup_of_the_old() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let new = document::migrate("c.toml", OLD).unwrap().text;
    for comment in ["# Mine: keep it.", "# the first", "# cores", "# four"] {
        assert!(new.contains(comment), "{new}");
    }
    let rounds = if long() { 200 } else { 10 };
    let (mut other, mut migrated, mut without_backup) = (0, 0, 0);
    for round in 0..rounds {
        let child = this_binary("migrate for ever", &path, 0).stdout(Stdio::piped()).spawn();
        kill(child.unwrap(), round);
        let found = std::fs::read_to_string(&path).unwrap();
        other += usize::from(found != OLD && found != new);
        migrated += usize::from(found == new);
        let backups = document::editor(&path).backups().unwrap();
        let kept = |b: &memcfg::save::Backup| std::fs::read_to_string(&b.path).unwrap() == OLD;
        without_backup += usize::from(!backups.iter().any(kept));
        assert!(document::load(&memcfg::Sources::new().file(&path)).is_ok());
    }
    row(
        "20",
        "kill -9 during `config migrate --write`",
        format!("{rounds} kills, {migrated} found migrated"),
        format!(
            "{other} neither old nor new, {without_backup} without a backup of the old; comments kept"
        ),
    );
    assert_eq!((other, without_backup), (0, 0));
}

pub(crate) fn count_up(path: &Path, count: u64) {
    let mut editor = Editor::new(path, |_| false);
    let (mut done, mut conflicts) = (0, 0);
    while done < count {
        let (bytes, hash) = editor.read().unwrap().unwrap();
        let number: u64 = String::from_utf8(bytes).unwrap().trim().parse().unwrap();
        let next = format!("{}\n", number + 1);
        match editor.save(next.as_bytes(), Expected::Content(hash)) {
            Ok(_) => done += 1,
            Err(SaveError::Conflict { .. }) => conflicts += 1,
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
    println!("conflicts {conflicts}");
}

#[test]
fn many_processes_that_compare_and_save_lose_no_update() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("counter");
    Editor::new(&path, |_| false).save(b"0\n", Expected::Absent).unwrap();
    let (processes, each) = if long() { (8, 500) } else { (4, 40) };
    let children: Vec<_> = (0..processes)
        .map(|_| this_binary("count up", &path, each).stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    let mut conflicts = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = text.lines().find_map(|line| line.split_once("conflicts "));
        conflicts += said.unwrap().1.parse::<u64>().unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let lost = processes * each - text.trim().parse::<usize>().unwrap();
    row(
        "9",
        "writers that compare and save",
        format!("{processes} processes x {each}"),
        format!("{lost} updates lost ({conflicts} conflicts reported and tried again)"),
    );
    assert_eq!(lost, 0);
}
