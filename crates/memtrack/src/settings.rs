//! Settings that may change while the program runs.

use std::fmt;
use std::sync::Arc;

use crossbeam_channel::{Receiver, never};

/// A value together with the count of accepted configurations it came from.
#[derive(Debug, PartialEq, Eq)]
pub struct Current<T> {
    /// Rises by one with every accepted configuration; 0 for settings that never change.
    pub generation: u64,
    /// The value. Hold it for one unit of work, then load again.
    pub value: Arc<T>,
}

impl<T> Clone for Current<T> {
    /// Shares the value: it need not be `Clone` itself.
    fn clone(&self) -> Self {
        Self { generation: self.generation, value: Arc::clone(&self.value) }
    }
}

/// A layer's view of its own settings, wherever they come from.
///
/// One `Settings` belongs to one worker: its bell wakes a single sleeper. Ask the maker for another one per worker.
pub struct Settings<T> {
    load: Box<dyn Fn() -> Current<T> + Send + Sync>,
    bell: Receiver<()>,
}

impl<T: Send + Sync + 'static> Settings<T> {
    /// Settings that never change: for tests and small programs.
    #[must_use]
    pub fn fixed(value: T) -> Self {
        let value = Arc::new(value);
        Self {
            load: Box::new(move || Current { generation: 0, value: Arc::clone(&value) }),
            bell: never(),
        }
    }

    /// Settings that `load` reads, with a bell that is rung after each change.
    ///
    /// `load` must not block. The bell should hold at most one ring: rings say "look again", not how often.
    #[must_use]
    pub fn live(load: impl Fn() -> Current<T> + Send + Sync + 'static, bell: Receiver<()>) -> Self {
        Self { load: Box::new(load), bell }
    }
}

impl<T> Settings<T> {
    /// The settings now. Load once for each unit of work, so that one unit sees one configuration.
    #[must_use]
    pub fn load(&self) -> Current<T> {
        (self.load)()
    }

    /// Becomes ready when the settings may have changed.
    ///
    /// Once its sender is gone it is always ready: a loop must then put `crossbeam_channel::never()` in its place.
    #[must_use]
    pub fn changed(&self) -> &Receiver<()> {
        &self.bell
    }
}

impl<T: fmt::Debug> fmt::Debug for Settings<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Settings").field(&self.load()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn fixed_settings_never_ring() {
        let settings = Settings::fixed(7);
        assert_eq!(settings.load(), Current { generation: 0, value: Arc::new(7) });
        assert!(settings.changed().try_recv().is_err());
    }

    #[test]
    fn live_settings_load_the_newest_and_ring() {
        let (ring, bell) = crossbeam_channel::bounded(1);
        let generation = Arc::new(AtomicU64::new(1));
        let source = Arc::clone(&generation);
        let settings = Settings::live(
            move || {
                let generation = source.load(Ordering::Acquire);
                Current { generation, value: Arc::new(generation * 10) }
            },
            bell,
        );
        assert_eq!(*settings.load().value, 10);
        generation.store(2, Ordering::Release);
        ring.try_send(()).unwrap();
        assert!(settings.changed().try_recv().is_ok());
        assert_eq!(settings.load(), Current { generation: 2, value: Arc::new(20) });
    }
}
