//! Who gets the samples: everybody's own channel of all of them, or a bell and the newest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use std::time::Duration;

use crate::error::SourceError;
use crate::sample::Sample;
use crate::sampler::{Absurd, Shared, lock};

/// How many updates an [`All`] subscription holds before it loses some, unless asked for more: 25 s at 10 Hz.
///
/// The channel's memory is touched when it is made, so this costs about 150 KiB a subscription.
pub const ALL_CAPACITY: usize = 256;

/// What an [`All`] subscription receives.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every update is a sample, and boxing it would allocate on each tick"
)]
pub enum Update {
    /// A sample was taken.
    Sample(Sample),
    /// A read gave nothing; the sampler goes on, after a pause that grows with each failure in a row.
    Failed(SourceError),
    /// A reading could not be true or failed, and is left out of the sample that follows. Said once for a row of them.
    Absurd(Absurd),
    /// A read took this long, far beyond what reading takes; it has come back now.
    Hung(Duration),
}

/// Every sample, in order: for whoever keeps or counts them.
#[derive(Debug)]
pub struct All {
    receiver: Receiver<Update>,
    filling: Receiver<()>,
    lost: Arc<AtomicU64>,
}

impl All {
    /// The updates. Disconnected once the target has ended or the sampler was stopped or dropped.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Update> {
        &self.receiver
    }

    /// Rings while half of the room is taken or more: for a subscriber who sleeps between looks, and whom samples that come closer
    /// all at once would else find asleep. Disconnected with [`receiver`](All::receiver).
    #[must_use]
    pub fn filling(&self) -> &Receiver<()> {
        &self.filling
    }

    /// Updates that found the channel full because this subscriber was too slow.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The newest sample only: for whoever acts on how things are now.
#[derive(Debug)]
pub struct Newest {
    bell: Receiver<()>,
    shared: Arc<Shared>,
}

impl Newest {
    /// Becomes ready when there is a newer sample. Disconnected once there will be none.
    #[must_use]
    pub fn bell(&self) -> &Receiver<()> {
        &self.bell
    }

    /// The newest sample.
    #[must_use]
    pub fn get(&self) -> Option<Sample> {
        *lock(&self.shared.latest)
    }
}

/// The other end of [`All`].
#[derive(Debug)]
struct ToAll {
    updates: Sender<Update>,
    filling: Sender<()>,
    half: usize,
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
pub(super) struct Subscribers {
    bells: Vec<Sender<()>>,
    all: Vec<ToAll>,
    /// No update will ever come: new subscriptions are born disconnected.
    pub(super) closed: bool,
}

impl Subscribers {
    pub(super) fn all(&mut self, capacity: usize) -> All {
        let capacity = capacity.max(1);
        let (updates, receiver) = bounded(capacity);
        let (ring, filling) = bounded(1);
        let lost = Arc::new(AtomicU64::new(0));
        if !self.closed {
            let (half, lost) = (capacity.div_ceil(2), Arc::clone(&lost));
            self.all.push(ToAll { updates, filling: ring, half, lost });
        }
        All { receiver, filling, lost }
    }

    pub(super) fn newest(&mut self, shared: Arc<Shared>) -> Newest {
        let (sender, bell) = bounded(1);
        if !self.closed {
            self.bells.push(sender);
        }
        Newest { bell, shared }
    }

    pub(super) fn send(&mut self, update: Update) {
        self.all.retain(|ToAll { updates, filling, half, lost }| {
            match updates.try_send(update) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
            if updates.len() >= *half {
                // A full bell has been rung already.
                let _ = filling.try_send(());
            }
            true
        });
    }

    pub(super) fn ring(&mut self) {
        // A full bell has been rung already and not yet answered; its owner will find the newest sample.
        self.bells.retain(|bell| !matches!(bell.try_send(()), Err(TrySendError::Disconnected(()))));
    }

    pub(super) fn end(&mut self) {
        self.closed = true;
        self.all.clear();
        self.bells.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Stamp;

    #[test]
    fn a_full_subscription_counts_what_it_lost() {
        let mut subscribers = Subscribers::default();
        let all = subscribers.all(ALL_CAPACITY);
        for _ in 0..ALL_CAPACITY + 10 {
            subscribers.send(Update::Sample(Sample::empty(Stamp::synthetic(Duration::ZERO))));
        }
        assert_eq!(all.lost(), 10);
        assert!(all.filling().try_recv().is_ok());
        drop(subscribers);
        assert_eq!(all.receiver().iter().count(), ALL_CAPACITY);
    }

    #[test]
    fn a_subscriber_who_sleeps_is_rung_for_before_anything_is_lost() {
        let mut subscribers = Subscribers::default();
        let all = subscribers.all(4);
        let mut send =
            || subscribers.send(Update::Sample(Sample::empty(Stamp::synthetic(Duration::ZERO))));
        send();
        assert!(all.filling().try_recv().is_err());
        send();
        assert!(all.filling().try_recv().is_ok());
        assert_eq!((all.receiver().try_iter().count(), all.lost()), (2, 0));
        send();
        assert!(all.filling().try_recv().is_err(), "there is room again");
        drop(subscribers);
        assert_eq!(all.filling().recv(), Err(crossbeam_channel::RecvError));
    }
}
