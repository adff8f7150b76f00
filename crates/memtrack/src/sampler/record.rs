//! Histories that the sampler keeps.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::config::DEFAULT_RETENTION;
use crate::history::{History, Statistics};
use crate::reading::Reading;
use crate::sample::Sample;
use crate::sampler::lock;

/// Which figure of a sample is recorded.
pub type Figure = fn(&Sample) -> Reading<u64>;

/// What a figure was in every sample, for as long as the settings say (`retention`). Kept while this lives.
#[derive(Clone, Debug)]
pub struct Record {
    history: Arc<Mutex<History>>,
}

impl Record {
    /// Looks at the history; the sampler waits meanwhile.
    pub fn look<R>(&self, at: impl FnOnce(&History) -> R) -> R {
        at(&lock(&self.history))
    }

    /// All numbers at once; `None` before the first value.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        self.look(History::statistics)
    }
}

#[derive(Debug)]
pub(super) struct Records {
    list: Vec<(Figure, Weak<Mutex<History>>)>,
    retention: Duration,
}

impl Default for Records {
    fn default() -> Self {
        Self { list: Vec::new(), retention: DEFAULT_RETENTION }
    }
}

impl Records {
    pub(super) fn add(&mut self, figure: Figure) -> Record {
        let history = Arc::new(Mutex::new(History::new(self.retention)));
        self.list.push((figure, Arc::downgrade(&history)));
        Record { history }
    }

    /// What could not be read is not in it.
    pub(super) fn push(&mut self, sample: &Sample) {
        self.list.retain(|(figure, history)| {
            let Some(history) = history.upgrade() else { return false };
            if let Ok(value) = figure(sample) {
                lock(&history).push(sample.at.monotonic, value);
            }
            true
        });
    }

    pub(super) fn retain_for(&mut self, retention: Duration) {
        self.retention = retention;
        for history in self.list.iter().filter_map(|(_, history)| history.upgrade()) {
            lock(&history).retain_for(retention);
        }
    }
}
