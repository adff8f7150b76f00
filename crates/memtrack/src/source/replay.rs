//! Samples from a recording, or from a test's script.

use crate::config::TrackConfig;
use crate::error::SourceError;
use crate::sample::Sample;
use crate::source::Source;

/// A source that gives the samples of an iterator, in their order and with their own stamps.
#[derive(Clone, Debug)]
pub struct Replay<I> {
    samples: I,
}

impl<I: Iterator<Item = Sample> + Send> Replay<I> {
    /// Replays `samples`; the source ends when they do.
    pub fn new(samples: impl IntoIterator<IntoIter = I>) -> Self {
        Self { samples: samples.into_iter() }
    }
}

impl<I: Iterator<Item = Sample> + Send> Source for Replay<I> {
    fn read(&mut self, _: &TrackConfig) -> Result<Sample, SourceError> {
        self.samples.next().ok_or(SourceError::Ended)
    }
}
