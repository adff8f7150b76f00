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

/// What a figure was in every sample: point by point for as long as the settings say (`retention`), in its
/// [`statistics`](Record::statistics) since the beginning. Kept while this lives.
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
}

/// What could not be read is not in it.
pub(super) fn push(records: &Mutex<Records>, sample: &Sample) {
    for_each(records, |figure, history| {
        if let Ok(value) = figure(sample) {
            lock(history).push(sample.at.monotonic, value);
        }
    });
}

pub(super) fn retain_for(records: &Mutex<Records>, retention: Duration) {
    lock(records).retention = retention;
    for_each(records, |_, history| lock(history).retain_for(retention));
}

/// Visits the histories that somebody still has, with no lock held: a figure is code of the caller's, and whoever looks at a
/// history may add another meanwhile. Called by one thread, the one that samples.
fn for_each(records: &Mutex<Records>, mut visit: impl FnMut(Figure, &Mutex<History>)) {
    let mut list = std::mem::take(&mut lock(records).list);
    list.retain(|(figure, history)| {
        let Some(history) = history.upgrade() else { return false };
        visit(*figure, &history);
        true
    });
    let mut records = lock(records);
    list.append(&mut records.list);
    records.list = list;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Stamp;
    use std::sync::LazyLock;

    #[test]
    fn a_figure_and_whoever_looks_at_a_history_may_ask_for_another_record() {
        static RECORDS: LazyLock<Mutex<Records>> = LazyLock::new(Mutex::default);
        let sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
        // A figure that waited for a lock which is held would wait for ever.
        let first = lock(&RECORDS).add(|_| {
            let added = RECORDS.try_lock().map(|mut records| records.add(|_| Ok(7)));
            Ok(u64::from(added.is_ok()))
        });
        push(&RECORDS, &sample);
        assert_eq!(first.statistics().unwrap().max, 1);
        let second = lock(&RECORDS).add(|_| Ok(2));
        push(&RECORDS, &sample);
        assert_eq!(second.statistics().unwrap().max, 2, "what was added stays");
        assert_eq!(lock(&RECORDS).list.len(), 3, "and what nobody has any more goes");
    }
}
