//! Records one watch into a file, beside whatever else listens.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use memtrack::processes::Snapshot;

use crate::exit::Failure;
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
    file: Option<File>,
    writer: Option<Writer<File>>,
    failed: Option<io::Error>,
    tree: Option<Tree>,
}

impl Recorder {
    /// Creates the file. Do it before a command is started: what cannot be recorded should not begin.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        Self::with(path, File::create(path))
    }

    /// Opens a file that has runs already, to add one.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn append(path: &Path) -> Result<Self, Failure> {
        Self::with(path, File::options().append(true).open(path))
    }

    fn with(path: &Path, file: io::Result<File>) -> Result<Self, Failure> {
        let file = file.map_err(|error| {
            Failure::io(format!("failed to create the trace `{}`", path.display()), error)
        })?;
        Ok(Self { path: path.to_owned(), file: Some(file), writer: None, failed: None, tree: None })
    }

    /// Begins the recording; `snapshot` is of the processes behind each sample.
    pub fn begin(&mut self, header: &Header, snapshot: Snapshot) {
        self.tree = Some(Tree::new(snapshot));
        let Some(file) = self.file.take() else { return };
        match Writer::new(file, header) {
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
