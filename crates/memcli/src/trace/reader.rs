//! Reads a trace, whole or cut off, or an import, row by row. Nothing in a file is believed before it is checked.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use memtrack::Sample;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::trace::SCHEMA;
use crate::trace::delta::{self, State, Text};
use crate::trace::error::{Broken, Damage, TraceError};
use crate::trace::import::Import;
use crate::trace::lines::{Lines, Next};
use crate::trace::rows::{EndRow, EventRow, Header, Kind, TargetRow};
use crate::trace::tree::ProcessesRow;

/// A row of a trace.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every row is a sample")]
pub enum Row {
    /// A run begins.
    Header(Box<Header>),
    /// A sample, complete.
    Sample(Sample),
    /// The processes of the target.
    Processes(ProcessesRow),
    /// Something happened.
    Event(EventRow),
    /// The run ended in order.
    End(EndRow),
}

/// A trace that is being read.
pub struct Reader {
    path: PathBuf,
    size: u64,
    lines: Lines,
    format: Format,
    /// Rows that were read to know the format, newest first.
    waiting: Vec<Row>,
    rows: u64,
    at: Option<Duration>,
    /// The run that is being read has had its end row.
    ended: bool,
    damages: Vec<Damage>,
    done: bool,
}

/// Damages that are kept of one file.
const MOST_DAMAGES: usize = 1000;
/// What the first row of every run begins with.
const HEADER: &[u8] = b"{\"schema\"";

enum Format {
    Native(Box<State>),
    Import(Import),
}

impl Reader {
    /// Opens a trace, an mprof `.dat`, a psrecord log or CSV; each may be gzip.
    ///
    /// # Errors
    /// When the file cannot be read, or is none of these.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let failed = |source| TraceError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        Self::new(path, file, size)
    }

    /// Reads `input`, which is `size` bytes long; `path` is its name in messages.
    ///
    /// # Errors
    /// When it cannot be read, or is none of the formats.
    pub fn new(
        path: &Path,
        input: impl Read + Send + 'static,
        size: u64,
    ) -> Result<Self, TraceError> {
        let not = |why: &str| TraceError::NotATrace { path: path.to_owned(), why: why.to_owned() };
        let mut lines = Lines::new(input)
            .map_err(|source| TraceError::Read { path: path.to_owned(), source })?;
        let first = lines.next();
        match first {
            Next::Line | Next::Half(1..) => {}
            Next::End => return Err(not("it is empty")),
            Next::Half(0) => return Err(not("nothing of it is whole")),
            Next::Broken(why) => return Err(not(&why)),
            Next::TooLong => return Err(not("its first line has no end")),
        }
        // What some editors put before the first letter says nothing here.
        const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
        if lines.buffer.starts_with(BYTE_ORDER_MARK) {
            lines.buffer.drain(..BYTE_ORDER_MARK.len());
        }
        let start = Self {
            path: path.to_owned(),
            size,
            lines,
            format: Format::Native(Box::new(State::new(std::time::SystemTime::UNIX_EPOCH))),
            waiting: Vec::new(),
            rows: 0,
            at: None,
            ended: false,
            damages: Vec::new(),
            done: false,
        };
        if start.lines.buffer.trim_ascii_start().starts_with(b"{") {
            start.native(&first)
        } else {
            start.import()
        }
    }

    fn native(mut self, first: &Next) -> Result<Self, TraceError> {
        let path = self.path.clone();
        let not = |why: String| TraceError::NotATrace { path: path.clone(), why };
        #[derive(Deserialize)]
        struct Schema {
            schema: String,
        }
        let named: Result<Schema, _> = serde_json::from_slice(&self.lines.buffer);
        match named {
            Ok(Schema { schema }) if schema == SCHEMA => {}
            Ok(Schema { schema }) if schema.starts_with("memcli.trace/") => {
                let found = schema.chars().filter(|c| !c.is_control()).take(40).collect();
                return Err(TraceError::Version { path: self.path, found });
            }
            Ok(_) => return Err(not("it is another document of memcli".into())),
            Err(_) if matches!(first, Next::Half(_)) => {
                return Err(not("its header is cut off".into()));
            }
            Err(_) => return Err(not("its first line is no header".into())),
        }
        match self.parse() {
            Ok(Some(row)) => self.waiting.push(row),
            Ok(None) => return Err(not("its first line is no header".into())),
            Err(why) => return Err(not(format!("its header is malformed: {why}"))),
        }
        self.rows = 1;
        Ok(self)
    }

    fn import(mut self) -> Result<Self, TraceError> {
        let first = String::from_utf8_lossy(&self.lines.buffer).into_owned();
        let (import, is_data) = match Import::detect(&first) {
            Ok(detected) => detected,
            Err(why) => return Err(TraceError::NotATrace { path: self.path, why }),
        };
        self.format = Format::Import(import);
        // The header tells when it started, so the first sample is read ahead.
        let sample = if is_data {
            self.rows = 1;
            match self.parse() {
                Ok(row) => row,
                Err(why) => {
                    self.stop(Broken::Malformed { row: 1, why, after: 0 });
                    None
                }
            }
        } else {
            self.read()
        };
        let Format::Import(import) = &self.format else { return Ok(self) };
        let name = self.path.file_name().map_or_else(
            || self.path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        );
        let header = Header {
            schema: SCHEMA.to_owned(),
            writer: import.tool().to_owned(),
            target: TargetRow {
                label: name,
                kind: Kind::Process,
                pid: None,
                start: None,
                path: None,
            },
            command: import.command.clone(),
            started: import.started(),
            interval_seconds: 0.0,
            generation: 0,
            budget: None,
            machine: None,
        };
        self.waiting.extend(sample);
        self.waiting.push(Row::Header(Box::new(header.cleaned())));
        Ok(self)
    }

    /// Whether it is a trace of memcli, and no import.
    #[must_use]
    pub fn is_native(&self) -> bool {
        matches!(self.format, Format::Native(_))
    }

    /// The file's name in messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much of the file has been read, and its size; in bytes on the disk.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.lines.bytes_read().min(self.size), self.size)
    }

    /// The next row; `None` at the end, of the file or of what can be read of it.
    pub fn read(&mut self) -> Option<Row> {
        if let Some(row) = self.waiting.pop() {
            return Some(row);
        }
        while !self.done {
            let next = self.lines.next();
            match next {
                Next::Line => self.rows += 1,
                Next::Half(bytes) => {
                    let whole = match &self.format {
                        Format::Native(_) => true,
                        Format::Import(import) => import.takes_half_lines(),
                    };
                    // Half a row that reads as one has lost its line end and no more.
                    let row = if whole && bytes > 0 { self.parse().ok().flatten() } else { None };
                    if row.is_some() {
                        self.rows += 1;
                    }
                    if row.is_none() || matches!(self.format, Format::Native(_)) {
                        let bytes = if row.is_some() { 0 } else { bytes };
                        self.stop(Broken::CutOff { bytes });
                    }
                    self.done = true;
                    return row;
                }
                Next::End => {
                    self.done = true;
                    if matches!(self.format, Format::Native(_)) && !self.ended {
                        self.stop(Broken::CutOff { bytes: 0 });
                    }
                    return None;
                }
                Next::Broken(why) => {
                    let rows = self.rows;
                    return self.resume(rows, |_| Broken::Undecodable { why });
                }
                Next::TooLong => {
                    let why = "it has no end".to_owned();
                    self.stop(Broken::Malformed { row: self.rows + 1, why, after: 0 });
                    return None;
                }
            }
            let (ended, at) = (self.ended, self.at);
            match self.parse() {
                Ok(Some(row)) => {
                    if matches!(row, Row::Header(_)) && !ended {
                        let what = Broken::CutOff { bytes: 0 };
                        self.wrong(Damage { rows: self.rows - 1, at, what });
                    }
                    return Some(row);
                }
                Ok(None) => {}
                Err(why) => {
                    let row = self.rows;
                    return self.resume(row - 1, |after| Broken::Malformed { row, why, after });
                }
            }
        }
        None
    }

    /// Notes what is wrong after so many `rows`, with how many more cannot be used for it, and goes on with the next run.
    fn resume(&mut self, rows: u64, what: impl FnOnce(u64) -> Broken) -> Option<Row> {
        (self.rows, self.done) = (rows, true);
        let (at, mut after) = (self.at, 0);
        let native = self.is_native();
        let mut header = None;
        loop {
            match self.lines.next() {
                Next::Line if native && self.lines.buffer.starts_with(HEADER) => {
                    if let Ok(Some(row)) = self.parse() {
                        header = Some(row);
                        break;
                    }
                    after += 1;
                }
                Next::Line => after += 1,
                // What is broken again before the next run is broken once.
                Next::Broken(_) if native => {}
                _ => break,
            }
        }
        self.wrong(Damage { rows, at, what: what(after) });
        if header.is_some() {
            (self.rows, self.done) = (rows + 1, false);
        }
        header
    }

    /// What was wrong first, once [`Reader::read`] has returned `None`.
    #[must_use]
    pub fn damage(&self) -> Option<&Damage> {
        self.damages.first()
    }

    /// What was wrong with the runs that were read so far, one for each that is not whole.
    #[must_use]
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// What is odd about the file, though all of it could be read; once [`Reader::read`] has returned `None`.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let Format::Import(import) = &self.format else { return None };
        let times = match import.clock_steps() {
            0 => return None,
            1 => "once".to_owned(),
            steps => format!("{steps} times"),
        };
        Some(format!(
            "its clock was set {times}; the lines after that follow at the usual distance"
        ))
    }

    fn stop(&mut self, what: Broken) {
        self.done = true;
        self.wrong(Damage { rows: self.rows, at: self.at, what });
    }

    fn wrong(&mut self, damage: Damage) {
        if self.damages.len() < MOST_DAMAGES {
            self.damages.push(damage);
        }
    }

    /// The row in the buffer; `None` for one that says nothing.
    fn parse(&mut self) -> Result<Option<Row>, String> {
        let line = &self.lines.buffer;
        let row = match &mut self.format {
            Format::Import(import) => {
                let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
                import.line(text)?.map(Row::Sample)
            }
            Format::Native(state) => {
                let mut reader = serde_json::Deserializer::from_slice(line);
                let tagged = Tagged(state).deserialize(&mut reader).map_err(|e| e.to_string())?;
                reader.end().map_err(|error| error.to_string())?;
                match tagged {
                    Some(Content::Row(row)) => Some(row),
                    Some(Content::Header) => {
                        let header: Header =
                            serde_json::from_slice(line).map_err(|error| error.to_string())?;
                        **state = State::new(header.started);
                        (self.ended, self.at) = (false, None);
                        Some(Row::Header(Box::new(header.cleaned())))
                    }
                    None => None,
                }
            }
        };
        match &row {
            Some(Row::Sample(sample)) => self.at = Some(sample.at.monotonic),
            Some(Row::End(_)) => self.ended = true,
            _ => {}
        }
        Ok(row)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .field("rows", &self.rows)
            .field("damages", &self.damages)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::large_enum_variant, reason = "nearly every row is a sample")]
enum Content {
    Row(Row),
    /// To be read again as a [`Header`].
    Header,
}

/// Reads the one key of a row that says what it is.
struct Tagged<'a>(&'a mut State);

impl<'de> DeserializeSeed<'de> for Tagged<'_> {
    type Value = Option<Content>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tagged<'_> {
    type Value = Option<Content>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a row of a trace")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut content = None;
        while let Some(key) = map.next_key_seed(Text)? {
            content = match &*key {
                "sample" => {
                    Some(Content::Row(Row::Sample(map.next_value_seed(delta::Read(self.0))?)))
                }
                "event" => Some(Content::Row(Row::Event(map.next_value::<EventRow>()?.cleaned()))),
                "processes" => {
                    let row = map.next_value::<ProcessesRow>()?;
                    Some(Content::Row(Row::Processes(row.cleaned())))
                }
                "end" => {
                    let end: EndRow = map.next_value()?;
                    if !end.duration_seconds.is_finite() || end.duration_seconds < 0.0 {
                        return Err(A::Error::custom("`duration_seconds` is no time"));
                    }
                    Some(Content::Row(Row::End(end)))
                }
                "schema" => {
                    map.next_value::<IgnoredAny>()?;
                    Some(Content::Header)
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    content
                }
            };
        }
        Ok(content)
    }
}
