//! What the guard tells whoever listens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::budget::BudgetStatus;
use crate::evict::Outcome;
use crate::level::{Level, Transition};

/// Events that a listener may leave unread before it loses some.
pub const EVENT_CAPACITY: usize = 256;

/// One event, with its place among all of them: a missing number is an event that was lost.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Event {
    /// Counts the guard's events from 0.
    pub sequence: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EventKind {
    /// The level changed.
    Transition(Transition),
    /// The process crossed the prompt threshold of its budget upwards, be the budget signal on or off; see
    /// [`BudgetStatus::prompt_text`].
    Prompt(BudgetStatus),
    /// A plan was carried out and measured.
    Outcome(Outcome),
    /// There is pressure, and no cache that may be asked has anything to give. Told once for each level.
    NothingToGive(Level),
}

/// A listener's end: every event from the subscription on.
#[derive(Debug)]
pub struct Events {
    receiver: Receiver<Event>,
    lost: Arc<AtomicU64>,
}

impl Events {
    /// The events, in order. Disconnected once the guard has stopped.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Event> {
        &self.receiver
    }

    /// Events that found [`EVENT_CAPACITY`] others still unread.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The guard's end.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sequence: u64,
    closed: bool,
    listeners: Vec<(Sender<Event>, Arc<AtomicU64>)>,
}

impl Hub {
    pub(crate) fn subscribe(&self) -> Events {
        let (sender, receiver) = bounded(EVENT_CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        let mut inner = self.lock();
        if !inner.closed {
            inner.listeners.push((sender, Arc::clone(&lost)));
        }
        Events { receiver, lost }
    }

    pub(crate) fn tell(&self, kind: EventKind) {
        let mut inner = self.lock();
        let event = Event { sequence: inner.sequence, kind };
        inner.sequence += 1;
        inner.listeners.retain(|(sender, lost)| match sender.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }

    /// Nothing more will be told.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.listeners.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_listener_sees_that_it_lost_events() {
        let hub = Hub::default();
        let events = hub.subscribe();
        for _ in 0..EVENT_CAPACITY + 5 {
            hub.tell(EventKind::NothingToGive(Level::Critical));
        }
        assert_eq!(events.lost(), 5);
        assert_eq!(events.receiver().iter().take(EVENT_CAPACITY).last().unwrap().sequence, 255);
        hub.tell(EventKind::NothingToGive(Level::Critical));
        assert_eq!(events.receiver().recv().unwrap().sequence, 261);
        hub.close();
        assert!(events.receiver().recv().is_err());
    }
}
