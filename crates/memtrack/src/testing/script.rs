//! A source that does what it is told.

use std::fmt;

use crossbeam_channel::{Receiver, never};

use crate::config::TrackConfig;
use crate::error::SourceError;
use crate::sample::Sample;
use crate::source::Source;

/// Gives what it is told, read by read, and ends after that.
pub struct Script {
    reads: Box<dyn Iterator<Item = Result<Sample, SourceError>> + Send>,
    gate: Option<Receiver<()>>,
    wake: Receiver<()>,
}

impl Script {
    /// Gives `reads` one after the other, failures among them; they may be without end.
    pub fn new<I>(reads: I) -> Self
    where
        I: IntoIterator<Item = Result<Sample, SourceError>>,
        I::IntoIter: Send + 'static,
    {
        Self { reads: Box::new(reads.into_iter()), gate: None, wake: never() }
    }

    /// Gives `samples` one after the other.
    pub fn of<I>(samples: I) -> Self
    where
        I: IntoIterator<Item = Sample>,
        I::IntoIter: Send + 'static,
    {
        Self::new(samples.into_iter().map(Ok))
    }

    /// Each read hangs until `gate` gives something or is disconnected.
    #[must_use]
    pub fn behind(self, gate: Receiver<()>) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// Asks to be read before its time whenever `wake` rings.
    #[must_use]
    pub fn woken_by(self, wake: Receiver<()>) -> Self {
        Self { wake, ..self }
    }
}

impl Source for Script {
    fn read(&mut self, _: &TrackConfig) -> Result<Sample, SourceError> {
        if let Some(gate) = &self.gate {
            let _ = gate.recv();
        }
        self.reads.next().unwrap_or(Err(SourceError::Ended))
    }

    fn wake(&mut self) -> Receiver<()> {
        self.wake.clone()
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("gated", &self.gate.is_some()).finish_non_exhaustive()
    }
}
