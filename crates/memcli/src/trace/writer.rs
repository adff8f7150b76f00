//! Writes a trace, row by row.

use std::io::{self, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use memtrack::Sample;
use serde::Serialize;

use crate::trace::delta::{SampleRow, State};
use crate::trace::rows::{EndRow, EventRow, Header};
use crate::trace::tree::ProcessesRow;

/// Samples this far apart are flushed at least.
const FLUSH: Duration = Duration::from_secs(1);

/// Of 0 to 9. What a second adds is little, and searching all that came before for something like it costs more than all else
/// that is done with a sample: 6 takes twice the time of 1, for a sixth off the file.
const LEVEL: Compression = Compression::new(1);

/// A trace that is being written. What was flushed can be read whatever happens to the writer.
#[derive(Debug)]
pub struct Writer<W: Write> {
    gzip: GzEncoder<W>,
    line: Vec<u8>,
    state: State,
    flushed: Duration,
    /// The newest sample.
    newest: Duration,
    /// More is to come at once.
    held: bool,
}

impl<W: Write> Writer<W> {
    /// Begins a trace with its header.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(output: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self {
            gzip: GzEncoder::new(output, LEVEL),
            line: Vec::with_capacity(512),
            state: State::new(header.started),
            flushed: Duration::ZERO,
            newest: Duration::ZERO,
            held: false,
        };
        writer.row(header)?;
        writer.gzip.flush()?;
        Ok(writer)
    }

    /// Adds a sample, and flushes when a second has passed on the samples' clock.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn sample(&mut self, sample: &Sample) -> io::Result<()> {
        #[derive(Serialize)]
        struct Row {
            sample: SampleRow,
        }
        let row = Row { sample: self.state.row(sample) };
        self.row(&row)?;
        self.newest = sample.at.monotonic;
        if self.held { Ok(()) } else { self.flush_in_time() }
    }

    fn flush_in_time(&mut self) -> io::Result<()> {
        if self.newest.abs_diff(self.flushed) < FLUSH {
            return Ok(());
        }
        self.flushed = self.newest;
        self.gzip.flush()
    }

    /// Leaves samples to be flushed together, at [`release`](Writer::release): several wait to be added now.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// The last of those that waited was added.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn release(&mut self) -> io::Result<()> {
        self.held = false;
        self.flush_in_time()
    }

    /// Adds an event. Events are rare and explain what comes next: each is flushed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn event(&mut self, event: &EventRow) -> io::Result<()> {
        #[derive(Serialize)]
        struct Row<'a> {
            event: &'a EventRow,
        }
        self.row(&Row { event })?;
        self.gzip.flush()
    }

    /// Adds the processes of the target. They are flushed with the next sample.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn processes(&mut self, processes: &ProcessesRow) -> io::Result<()> {
        #[derive(Serialize)]
        struct Row<'a> {
            processes: &'a ProcessesRow,
        }
        self.row(&Row { processes })
    }

    /// Ends the trace in order, and gives back what it was written to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(mut self, end: &EndRow) -> io::Result<W> {
        #[derive(Serialize)]
        struct Row<'a> {
            end: &'a EndRow,
        }
        self.row(&Row { end })?;
        self.gzip.finish()
    }

    fn row(&mut self, row: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, row)?;
        self.line.push(b'\n');
        self.gzip.write_all(&self.line)
    }
}
