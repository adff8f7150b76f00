//! Records one watch into a file, beside whatever else listens.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use memtrack::processes::Snapshot;

use crate::exit::Failure;
use crate::outfile::{self, OutFile};
use crate::pipeline::{Event, Numbered};
use crate::summary::{Recorded, Summary};
use crate::trace::rows::{EndRow, EventRow, Header};
use crate::trace::tree::Tree;
use crate::trace::writer::Writer;

/// Writes what the pipeline tells. The first failure is kept, and nothing is written after it: a full disk must not end
/// a watch.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: Option<Ready>,
    writer: Option<Writer<File>>,
    failed: Option<io::Error>,
    tree: Option<Tree>,
}

/// A file that the recording will go to.
#[derive(Debug)]
enum Ready {
    /// What it holds is replaced when the recording begins.
    Replaced(OutFile),
    /// The recording is added to it.
    Appended(File),
}

/// What to do in place of `-o -`.
const NO_STREAM: &str = "name a file, such as `-o trace.jsonl.gz`; `memcli report FILE -f json` and `-f csv` write to stdout";

impl Recorder {
    /// Makes the file ready. Do it before a command is started: what cannot be recorded should not begin. What is there already
    /// stays until the recording begins.
    ///
    /// # Errors
    /// When the file cannot be created, or another memcli writes it.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = OutFile::open(path, "the trace", NO_STREAM)?.alone()?;
        Ok(Self::with(path, Ready::Replaced(file)))
    }

    /// Opens a file that has runs already, to add one.
    ///
    /// # Errors
    /// When the file cannot be opened, or another memcli writes it.
    pub fn append(path: &Path) -> Result<Self, Failure> {
        let file = File::options().append(true).open(path).map_err(|error| {
            Failure::io(format!("failed to open the trace `{}`", path.display()), error)
        })?;
        outfile::lock(&file, path)?;
        Ok(Self::with(path, Ready::Appended(file)))
    }

    fn with(path: &Path, file: Ready) -> Self {
        Self { path: path.to_owned(), file: Some(file), writer: None, failed: None, tree: None }
    }

    /// Begins the recording; `snapshot` is of the processes behind each sample.
    pub fn begin(&mut self, header: &Header, snapshot: Snapshot) {
        self.tree = Some(Tree::new(snapshot));
        let Some(file) = self.file.take() else { return };
        let file = match file {
            Ready::Replaced(file) => file.begin(),
            Ready::Appended(file) => Ok(file),
        };
        match file.and_then(|file| Writer::new(file, header)) {
            Ok(writer) => self.writer = Some(writer),
            Err(error) => self.failed = Some(error),
        }
    }

    /// Records an event.
    pub fn event(&mut self, numbered: &Numbered) {
        let Some(writer) = &mut self.writer else { return };
        let written = match &numbered.event {
            Event::Sample(sample) => {
                let row = self.tree.as_mut().and_then(|tree| tree.row(sample));
                row.map_or(Ok(()), |row| writer.processes(&row))
                    .and_then(|()| writer.sample(sample))
            }
            _ => EventRow::new(numbered).map_or(Ok(()), |row| writer.event(&row)),
        };
        if let Err(error) = written {
            self.failed = Some(error);
            self.writer = None;
        }
    }

    /// Several samples that waited for each other are recorded now: what follows until [`release`](Recorder::release) is flushed
    /// together.
    pub fn hold(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.hold();
        }
    }

    /// The last of them was recorded.
    pub fn release(&mut self) {
        if let Some(Err(error)) = self.writer.as_mut().map(Writer::release) {
            self.failed = Some(error);
            self.writer = None;
        }
    }

    /// Ends the recording, and says what became of it.
    #[must_use]
    pub fn end(self, summary: &Summary) -> Recorded {
        self.finish(&EndRow::new(summary))
    }

    /// The same with an end that has no summary.
    #[must_use]
    pub fn finish(self, end: &EndRow) -> Recorded {
        let ended = match (self.writer, self.failed) {
            (_, Some(error)) => Err(error),
            (Some(writer), None) => writer.end(end).map(drop),
            (None, None) => Ok(()),
        };
        Recorded {
            path: self.path.display().to_string(),
            error: ended.err().map(|error| error.to_string()),
        }
    }
}
