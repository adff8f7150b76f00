//! The verbs that write: init, set, unset, migrate, import, rollback. Each saves against what it read, so that an edit made
//! meanwhile is a conflict and not lost, and keeps a backup of what was valid.

use std::io::{self, Write};
use std::path::Path;

use memcfg::Diagnostic;
use memcfg::document;
use memcfg::load::{Inputs, Text, assemble};
use memcfg::origin::SourceKind;
use memcfg::path::KeyPath;
use memcfg::save::{Editor, Expected, SaveError, Saved};
use memcfg::schema::Lookup;
use memtrack::{Size, source};

use super::{edited, keys, read, say, version_line};
use crate::cli::{EditArgs, ImportArgs, InitArgs, MigrateArgs, RollbackArgs, SetArgs, UnsetArgs};
use crate::exit::{self, Failure};
use crate::live::refused;
use crate::output::{diagnostic, screen};

/// Writes a first file, with a budget that fits the machine or container.
pub(super) fn init(args: &InitArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let path = edited(explicit, args.which.project)?;
    let limit = args.limit.map_or_else(limit_here, |limit| Ok(limit.bytes()))?;
    let budget = document::suggested_budget(limit);
    if budget > limit {
        let (budget, limit) = (Size(budget).exact(), Size(limit));
        let message = format!("{limit} is below the least budget, {budget}");
        return Err(Failure::new(exit::USAGE, message).help("name a larger one with `--limit`"));
    }
    document::init(&path, limit).map_err(|error| match error {
        SaveError::Conflict { .. } => {
            Failure::new(exit::CONFLICT, format!("`{}` exists already", path.display()))
                .help("`memcli config set KEY VALUE` edits it")
        }
        error => not_saved(error),
    })?;
    // What was written, and not what it was worked out from: the one is rarely the other.
    let budget = Size(budget).exact();
    say(format_args!("wrote {}: budget.total = {budget}, of {}", path.display(), Size(limit)))?;
    Ok(exit::OK)
}

/// The nearest limit: of the cgroup this runs in, else of the machine.
fn limit_here() -> Result<u64, Failure> {
    use source::Source;
    let unknown = || {
        Failure::new(exit::UNAVAILABLE, "the limit of this machine or container cannot be read")
            .help("name it with `--limit 4GiB`")
    };
    let mut source = source::LinuxSource::open(&source::Target::Own).map_err(|_| unknown())?;
    let sample = source.read(&memtrack::TrackConfig::default()).map_err(|_| unknown())?;
    sample.cgroup.limit.or(sample.system.total).map_err(|_| unknown())
}

/// Sets one key, and leaves every other byte as it is.
pub(super) fn set(args: &SetArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    change(args.which, explicit, &args.key, |name, text| {
        document::set(name, text, &args.key, &args.value)
    })
}

/// Takes one key out.
pub(super) fn unset(args: &UnsetArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    change(args.which, explicit, &args.key, |name, text| document::unset(name, text, &args.key))
}

fn change(
    which: EditArgs,
    explicit: Option<&Path>,
    key: &str,
    make: impl FnOnce(&str, &str) -> Result<String, Vec<Diagnostic>>,
) -> Result<u8, Failure> {
    let path = edited(explicit, which.project)?;
    refuse_table(key, &path)?;
    let mut editor = document::editor(&path);
    let (old, expected) = match editor.read().map_err(not_saved)? {
        Some((bytes, hash)) => (text(&path, bytes)?, Expected::Content(hash)),
        None => (format!("{}\n", version_line()), Expected::Absent),
    };
    let name = path.display().to_string();
    let new = make(&name, &old).map_err(|problems| not_changed(key, &problems))?;
    if new == old {
        known(key)?;
        say(format_args!("{}: nothing to change", path.display()))?;
        return Ok(exit::OK);
    }
    if which.project {
        // As a global file it was tried already; a project may set less.
        accept(&path, true, &new)?;
    }
    let saved = editor.save(new.as_bytes(), expected).map_err(not_saved)?;
    say_saved(&path, &saved)?;
    Ok(exit::OK)
}

/// Why an edit of `key` was refused. The file is as it was, and need not have a problem.
fn not_changed(key: &str, problems: &[Diagnostic]) -> Failure {
    let shown = problems.iter().map(|problem| {
        let mut problem = problem.clone();
        // A value from the command line, which nobody typed as a flag; the message says which.
        problem.labels.retain(|label| label.origin.source.is_file());
        diagnostic::render(&problem)
    });
    let shown: Vec<_> = shown.collect();
    let message = format!("`{key}` stays as it is: nothing was written\n\n{}", shown.join("\n\n"));
    let failure = Failure::new(exit::CONFIG, message);
    // Only a key that is spelled nearly right has a help of its own.
    let helpless = problems.iter().all(|problem| problem.help.is_none());
    if helpless && known(key).is_err() { failure.help(keys::meant(key)) } else { failure }
}

/// Refuses to set or unset a whole table.
fn refuse_table(key: &str, file: &Path) -> Result<(), Failure> {
    let (spec, path) = (document::spec(), KeyPath::parse(key));
    if !matches!(spec.schema().lookup(&path), Lookup::Table) {
        return Ok(());
    }
    let mut keys = spec.schema().keys().iter().map(|key| &key.path);
    let of = keys.find(|key| key.starts_with(&path));
    let of = of.map_or(String::new(), |key| format!(", such as `{key}`"));
    let message = format!("`{key}` is a table: `{}` stays as it is", file.display());
    Err(Failure::new(exit::USAGE, message).help(format!("name a key of it{of}")))
}

/// Refuses a key that no configuration can hold.
fn known(key: &str) -> Result<(), Failure> {
    let (spec, path) = (document::spec(), KeyPath::parse(key));
    if !matches!(spec.schema().lookup(&path), Lookup::Unknown) {
        return Ok(());
    }
    let failure = Failure::new(exit::USAGE, format!("there is no key `{key}`"));
    Err(failure.help(keys::meant(key)))
}

/// Refuses a text that would not load on its own: an edit must not leave a file that the next start rejects.
fn accept(path: &Path, project: bool, text: &str) -> Result<(), Failure> {
    let kind = if project { SourceKind::Project } else { SourceKind::Global };
    let inputs = Inputs { texts: vec![Text::new(kind, path, text)], ..Inputs::default() };
    assemble(&document::spec(), &inputs).map(|_| ()).map_err(|problems| refused(&problems))
}

/// Shows the text in the present version, or writes it, with a backup of the old one.
pub(super) fn migrate(args: &MigrateArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let path = edited(explicit, args.which.project)?;
    let mut editor = document::editor(&path);
    let Some((bytes, hash)) = editor.read().map_err(not_saved)? else {
        return Err(Failure::new(exit::NO_INPUT, format!("there is no file `{}`", path.display())));
    };
    let old = text(&path, bytes)?;
    let name = path.display().to_string();
    let migrated = document::migrate(&name, &old).map_err(|problems| refused(&problems))?;
    if migrated.from == migrated.to {
        say(format_args!("{name}: version {} is the present one", migrated.to))?;
    } else if args.write {
        let saved =
            editor.save(migrated.text.as_bytes(), Expected::Content(hash)).map_err(not_saved)?;
        say(format_args!("migrated from version {} to {}", migrated.from, migrated.to))?;
        say_saved(&path, &saved)?;
    } else {
        put(&migrated.text)?;
    }
    Ok(exit::OK)
}

/// Prints a YAML document of version 1 or 2 as TOML of the present one, or makes it the configuration.
pub(super) fn import(args: &ImportArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let name = args.file.display().to_string();
    let text =
        document::import_yaml(&name, read(&args.file)?).map_err(|problems| refused(&problems))?;
    if !args.write {
        put(&text)?;
        return Ok(exit::OK);
    }
    let path = edited(explicit, args.which.project)?;
    accept(&path, args.which.project, &text)?;
    let saved = document::editor(&path).save(text.as_bytes(), Expected::Absent).map_err(
        |error| match error {
            SaveError::Conflict { .. } => {
                Failure::new(exit::CONFLICT, format!("`{}` exists already", path.display()))
                    .help("without `--write` the imported text is printed")
            }
            error => not_saved(error),
        },
    )?;
    say_saved(&path, &saved)?;
    Ok(exit::OK)
}

/// Lists the backups, the newest first.
pub(super) fn history(which: &EditArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let path = edited(explicit, which.project)?;
    let backups = document::editor(&path).backups().map_err(not_saved)?;
    if backups.is_empty() {
        say(format_args!("{}: no backups", path.display()))?;
    }
    for backup in backups {
        let saved = std::fs::metadata(&backup.path).and_then(|file| file.modified());
        let saved = saved.map_or_else(
            |error| error.to_string(),
            |time| humantime::format_rfc3339_seconds(time).to_string(),
        );
        say(format_args!("{:>6}  {saved}  {}", backup.number, backup.path.display()))?;
    }
    Ok(exit::OK)
}

/// Makes a backup the content of the file again: the newest, unless one is named.
pub(super) fn rollback(args: &RollbackArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let path = edited(explicit, args.which.project)?;
    let mut editor = document::editor(&path);
    let present = editor.read().map_err(not_saved)?;
    let expected = present.map_or(Expected::Absent, |(_, hash)| Expected::Content(hash));
    let number = match args.number {
        Some(number) => number,
        None => newest(&editor, &path)?,
    };
    // Somebody may have written to it since.
    let backup = editor.backup(number).map_err(not_saved)?;
    let backup = text(&path, backup)?;
    accept(&path, args.which.project, &backup).map_err(|why| {
        why.help(format!(
            "that is backup {number}, and the file is as it was; `memcli config history` lists the others"
        ))
    })?;
    let saved = editor.rollback(number, expected).map_err(not_saved)?;
    say(format_args!("backup {number} is in force again"))?;
    say_saved(&path, &saved)?;
    Ok(exit::OK)
}

/// The number of the newest backup.
fn newest(editor: &Editor<'_>, path: &Path) -> Result<u64, Failure> {
    let backups = editor.backups().map_err(not_saved)?;
    let newest = backups.iter().map(|backup| backup.number).max();
    newest.ok_or_else(|| {
        Failure::new(exit::NO_INPUT, format!("`{}` has no backups", path.display()))
            .help("an edit by `memcli config set`, `unset` or `migrate --write` makes one")
    })
}

/// Prints a document as it is: it ends as it is to end in a file.
fn put(document: &str) -> Result<(), Failure> {
    match screen::stdout().write_all(document.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("failed to write to stdout", error))
        }
        _ => Ok(()),
    }
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        Failure::new(exit::CONFIG, format!("`{}` is not UTF-8", path.display())).because(error)
    })
}

fn say_saved(path: &Path, saved: &Saved) -> Result<(), Failure> {
    match saved.backup {
        Some(number) => {
            say(format_args!("wrote {}; the old one is backup {number}", path.display()))
        }
        None => say(format_args!("wrote {}", path.display())),
    }
}

/// A save that failed, with the code that fits and what to do.
fn not_saved(error: SaveError) -> Failure {
    let (code, help) = match &error {
        SaveError::Conflict { .. } => (
            exit::CONFLICT,
            Some(String::from("try again: the edit starts from what is there now")),
        ),
        SaveError::Locked { .. } => (exit::CONFLICT, Some("try again in a moment".into())),
        SaveError::Distrust { source, .. } => (exit::NO_PERMISSION, Some(source.remedy())),
        SaveError::NoBackup { .. } => {
            (exit::NO_INPUT, Some("`memcli config history` lists them".into()))
        }
        SaveError::Io { source, .. } => {
            (Failure::io("", io::Error::from(source.kind())).code, None)
        }
        _ => (exit::CONFIG, None),
    };
    // The error itself is the message; its source follows as the cause.
    let message = error.to_string();
    let failure = Failure::new(code, message);
    let failure = match std::error::Error::source(&error) {
        Some(source) => failure.because(source.to_string()),
        None => failure,
    };
    match help {
        Some(help) => failure.help(help),
        None => failure,
    }
}
