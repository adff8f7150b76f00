//! Log lines: on stderr, or in files that a day fills and that age out.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use clap::ValueEnum;
use memleak::Severity;
use tracing::{Dispatch, Level, dispatcher, event};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::fmt::MakeWriter;

use crate::exit::{self, Failure};

/// How many days of log files are kept.
pub const DAYS_KEPT: usize = 14;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line to read
    #[default]
    Human,
    /// A JSON object a line
    Json,
}

/// Where lines go.
#[derive(Debug)]
enum Sink {
    Stderr,
    File(Box<Daily>),
}

/// A log that costs nothing before its first line.
#[derive(Debug)]
pub struct Log {
    format: Format,
    /// Whether lines without severity are written too: recoveries, reloads.
    all: bool,
    /// Taken when the first line is written.
    sink: Option<Sink>,
    dispatch: Option<Dispatch>,
}

impl Log {
    /// Lines on stderr: with `all` also those that are no alert.
    #[must_use]
    pub fn stderr(format: Format, all: bool) -> Self {
        Self { format, all, sink: Some(Sink::Stderr), dispatch: None }
    }

    /// Lines in `path.YYYY-MM-DD`, a file a day (UTC), of which the last [`DAYS_KEPT`] are kept; `path` is a link to the newest.
    ///
    /// # Errors
    /// When it cannot be written there, or when something stands at `path` that is no such link.
    pub fn file(format: Format, path: &Path) -> Result<Self, Failure> {
        let failed =
            |error| Failure::io(format!("failed to write the log `{}`", path.display()), error);
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            Failure::new(exit::USAGE, format!("`{}` is no name for a log file", path.display()))
        })?;
        // The link is replaced each day: what somebody else has put there must not be.
        if path.symlink_metadata().is_ok_and(|found| !found.is_symlink()) {
            let message = format!("`{}` is there already and no log of memcli", path.display());
            return Err(Failure::new(exit::IO, message)
                .help("choose a name of its own: memcli writes a file a day and links to it"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // A link is followed from where it lies.
        let folder: PathBuf = folder.unwrap_or(Path::new(".")).canonicalize().map_err(failed)?;
        // Old files are looked for there.
        folder.read_dir().map_err(failed)?;
        // The library would age files out as well: all that begin with the name, by the time they were made.
        let appender = RollingFileAppender::builder()
            .rotation(Rotation::DAILY)
            .filename_prefix(name)
            .latest_symlink(name)
            .build(&folder)
            .map_err(|error| failed(reason(&error)))?;
        let days = Days::new(folder, name);
        days.age_out(SystemTime::now());
        Ok(Self {
            format,
            all: true,
            sink: Some(Sink::File(Box::new(Daily { appender, days }))),
            dispatch: None,
        })
    }

    /// Writes an alert.
    pub fn alert(&mut self, document: &super::Document) {
        let super::Document { severity, target, cause, text, at_seconds, suppressed, .. } =
            document;
        self.write(|| match severity {
            Severity::Info => {
                event!(Level::INFO, watched = target, cause, at_seconds, suppressed, "{text}");
            }
            Severity::Warning => {
                event!(Level::WARN, watched = target, cause, at_seconds, suppressed, "{text}");
            }
            _ => event!(Level::ERROR, watched = target, cause, at_seconds, suppressed, "{text}"),
        });
    }

    /// Writes what is worth knowing: a recovery, a reload.
    pub fn note(&mut self, target: &str, text: &str) {
        if self.all {
            self.write(|| event!(Level::INFO, watched = target, "{text}"));
        }
    }

    /// Writes what went wrong within memcli.
    pub fn problem(&mut self, target: &str, text: &str) {
        self.write(|| event!(Level::WARN, watched = target, "{text}"));
    }

    fn write(&mut self, line: impl FnOnce()) {
        if let Some(sink) = self.sink.take() {
            self.dispatch = Some(match sink {
                Sink::Stderr => dispatch(self.format, io::stderr),
                Sink::File(daily) => dispatch(self.format, Telling::new(*daily)),
            });
        }
        if let Some(dispatch) = &self.dispatch {
            dispatcher::with_default(dispatch, line);
        }
    }
}

/// The files of one log, each named for its day.
#[derive(Debug)]
struct Days {
    folder: PathBuf,
    prefix: String,
    /// The day on which old ones were looked for last, counted from 1970.
    aged: AtomicU64,
}

impl Days {
    fn new(folder: PathBuf, name: &str) -> Self {
        Self { folder, prefix: format!("{name}."), aged: AtomicU64::new(0) }
    }

    /// The day that a file of this log is for, as its name has it: `None` of every other file.
    fn day<'a>(&self, name: &'a str) -> Option<&'a str> {
        let day = name.strip_prefix(&self.prefix)?;
        let shape = day.len() == 10
            && day.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let real = shape && humantime::parse_rfc3339(&format!("{day}T00:00:00Z")).is_ok();
        real.then_some(day)
    }

    /// Removes what is older than the last [`DAYS_KEPT`] files up to today, by the day in its name; no more than once a day.
    fn age_out(&self, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let today = since.as_secs() / (24 * 60 * 60);
        if self.aged.swap(today, Ordering::Relaxed) == today {
            return;
        }
        let today = humantime::format_rfc3339_seconds(now).to_string();
        let Ok(entries) = self.folder.read_dir() else { return };
        let files =
            entries.flatten().filter(|entry| entry.file_type().is_ok_and(|is| is.is_file()));
        let names = files.filter_map(|entry| entry.file_name().into_string().ok());
        let mut old: Vec<String> = names
            .filter(|name| {
                self.day(name).is_some_and(|day| !today.starts_with(day) && *day < *today)
            })
            .collect();
        // Within a year and across them, days sort as their names do.
        old.sort_unstable_by(|a, b| b.cmp(a));
        for name in old.iter().skip(DAYS_KEPT - 1) {
            // One that may not be removed is there tomorrow.
            let _ = fs::remove_file(self.folder.join(name));
        }
    }
}

/// A file a day, of which the old ones age out as soon as there is a new one.
#[derive(Debug)]
struct Daily {
    appender: RollingFileAppender,
    days: Days,
}

impl<'a> MakeWriter<'a> for Daily {
    type Writer = <RollingFileAppender as MakeWriter<'a>>::Writer;

    fn make_writer(&'a self) -> Self::Writer {
        let writer = self.appender.make_writer();
        self.days.age_out(SystemTime::now());
        writer
    }
}

/// Writes as the other does, and tells once on stderr that a line could not be written.
struct Telling<M> {
    inner: M,
    told: AtomicBool,
}

impl<M> Telling<M> {
    fn new(inner: M) -> Self {
        Self { inner, told: AtomicBool::new(false) }
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Telling<M> {
    type Writer = TellingWriter<'a, M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        TellingWriter { inner: self.inner.make_writer(), told: &self.told }
    }
}

struct TellingWriter<'a, W> {
    inner: W,
    told: &'a AtomicBool,
}

impl<W> TellingWriter<'_, W> {
    fn tell<T>(&self, written: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &written
            && !self.told.swap(true, Ordering::Relaxed)
        {
            // Without stderr nobody can be told.
            let _ = writeln!(
                io::stderr(),
                "error: the log cannot be written, and lines of it are lost: {error}"
            );
        }
        written
    }
}

impl<W: Write> Write for TellingWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        self.tell(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        self.tell(flushed)
    }
}

/// The system's own word on why a log could not be made, and not what stands around it.
fn reason(error: &dyn std::error::Error) -> io::Error {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let code = source.and_then(io::Error::raw_os_error);
    code.map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

fn dispatch<W>(format: Format, writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_target(false)
        .with_ansi(false)
        // A line of its own for each line that is lost would fill the terminal.
        .log_internal_errors(false)
        .with_writer(writer);
    match format {
        Format::Human => lines.into(),
        Format::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_a_day_is_linked_and_old_ones_are_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        for day in 1..=20 {
            fs::write(folder.path().join(format!("m.log.2020-01-{day:02}")), "old\n").unwrap();
        }
        let path = folder.path().join("m.log");
        let mut log = Log::file(Format::Json, &path).unwrap();
        log.problem("worker(1)", "say \"so\"");
        drop(log);
        let row: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((&row["level"], &row["watched"]), (&"WARN".into(), &"worker(1)".into()));
        assert_eq!(row["message"], "say \"so\"");
        let logs = files(folder.path());
        // The link beside the days that are kept.
        assert_eq!(logs.len(), DAYS_KEPT + 1, "{logs:?}");
        let mut again = Log::file(Format::Human, &path).unwrap();
        again.note("worker(1)", "well again");
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2, "it is appended to");
    }

    #[test]
    fn only_files_of_a_day_are_aged_out_and_by_the_day_in_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(folder.path().join(name), "x").unwrap();
        // The oldest is made last.
        (1..=20).rev().for_each(|day| write(&format!("m.log.2020-01-{day:02}")));
        let others = [
            "m.log.notes",
            "m.log.bak",
            "m.log.2019-13-45",
            "m.log.2019-02-30",
            "m.log.2019-01-01.gz",
            "m.log.2019-1-01",
            "other.log.2019-01-01",
            // Not up to today, so none of the last.
            "m.log.2999-01-01",
        ];
        others.iter().for_each(|name| write(name));
        fs::create_dir(folder.path().join("m.log.2019-01-02")).unwrap();
        let days = Days::new(folder.path().to_owned(), "m.log");
        let noon = humantime::parse_rfc3339("2020-01-20T12:00:00Z").unwrap();
        days.age_out(noon);
        let logs = |from: u32| -> Vec<String> {
            let logs = (from..=20).map(|day| format!("m.log.2020-01-{day:02}"));
            let mut all: Vec<_> = logs.chain(others.map(str::to_owned)).collect();
            all.push("m.log.2019-01-02".into());
            all.sort();
            all
        };
        assert_eq!(files(folder.path()), logs(7), "today's and the 13 before");
        days.age_out(noon + Duration::from_secs(60));
        days.age_out(noon + Duration::from_secs(24 * 60 * 60));
        assert_eq!(files(folder.path()), logs(8), "room for that of the next day");
    }

    #[test]
    fn a_full_disk_is_told_once_and_not_for_each_line() {
        let full = Telling::new(|| fs::File::options().write(true).open("/dev/full").unwrap());
        assert!(!full.told.load(Ordering::Relaxed));
        for _ in 0..2 {
            let failed = full.make_writer().write_all(b"x").unwrap_err();
            assert_eq!(failed.raw_os_error(), Some(libc::ENOSPC));
            assert!(full.told.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn a_file_of_somebody_else_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        assert_eq!(Log::file(Format::Human, &path).unwrap_err().code, exit::IO);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(files(folder.path()), ["notes.txt"]);
        let nowhere = Log::file(Format::Human, Path::new("/no/such/folder/m.log"));
        assert_eq!(nowhere.unwrap_err().code, exit::NO_INPUT);
    }
}
