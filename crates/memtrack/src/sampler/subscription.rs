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

/// A limit on the target's footprint (RSS + swap) that no reading shows, such as a budget of one's own, in bytes;
/// `u64::MAX` for none.
#[derive(Clone, Debug)]
struct Limit(Arc<AtomicU64>);

impl Limit {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    fn set(&self, bytes: Option<u64>) {
        self.0.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|bytes| *bytes != u64::MAX)
    }
}

/// Every sample, in order: for whoever keeps or counts them.
#[derive(Debug)]
pub struct All {
    receiver: Receiver<Update>,
    filling: Receiver<()>,
    lost: Arc<AtomicU64>,
    limit: Limit,
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

    /// As [`Newest::set_limit`].
    pub fn set_limit(&self, bytes: Option<u64>) {
        self.limit.set(bytes);
    }
}

/// The newest sample only: for whoever acts on how things are now.
#[derive(Debug)]
pub struct Newest {
    bell: Receiver<()>,
    shared: Arc<Shared>,
    limit: Limit,
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

    /// Tells of a limit on the target's footprint (RSS + swap) that no reading shows, such as a budget of one's own: the
    /// `adaptive` interval then reckons with the time until that is reached as well, from the next sample on. `None` takes
    /// it back, and so does dropping the subscription. Of several subscribers' limits the lowest counts.
    pub fn set_limit(&self, bytes: Option<u64>) {
        self.limit.set(bytes);
    }
}

/// The other end of [`All`].
#[derive(Debug)]
struct ToAll {
    updates: Sender<Update>,
    filling: Sender<()>,
    half: usize,
    lost: Arc<AtomicU64>,
    limit: Limit,
}

#[derive(Debug, Default)]
pub(super) struct Subscribers {
    bells: Vec<(Sender<()>, Limit)>,
    all: Vec<ToAll>,
    /// No update will ever come: new subscriptions are born disconnected.
    pub(super) closed: bool,
}

impl Subscribers {
    pub(super) fn all(&mut self, capacity: usize) -> All {
        let capacity = capacity.max(1);
        let (updates, receiver) = bounded(capacity);
        let (ring, filling) = bounded(1);
        let (lost, limit) = (Arc::new(AtomicU64::new(0)), Limit::new());
        if !self.closed {
            let half = capacity.div_ceil(2);
            let (lost, limit) = (Arc::clone(&lost), limit.clone());
            self.all.push(ToAll { updates, filling: ring, half, lost, limit });
        }
        All { receiver, filling, lost, limit }
    }

    pub(super) fn newest(&mut self, shared: Arc<Shared>) -> Newest {
        let ((sender, bell), limit) = (bounded(1), Limit::new());
        if !self.closed {
            self.bells.push((sender, limit.clone()));
        }
        Newest { bell, shared, limit }
    }

    pub(super) fn send(&mut self, update: Update) {
        self.all.retain(|ToAll { updates, filling, half, lost, .. }| {
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
        let heard = |bell: &Sender<()>| bell.try_send(()) != Err(TrySendError::Disconnected(()));
        self.bells.retain(|(bell, _)| heard(bell));
    }

    /// The lowest limit that a subscriber has told of.
    pub(super) fn limit(&self) -> Option<u64> {
        let limits = self.bells.iter().map(|(_, limit)| limit);
        limits.chain(self.all.iter().map(|all| &all.limit)).filter_map(Limit::get).min()
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
    fn the_lowest_limit_of_those_who_still_listen_counts() {
        let mut subscribers = Subscribers::default();
        let (first, second) = (subscribers.all(1), subscribers.all(1));
        assert_eq!(subscribers.limit(), None);
        first.set_limit(Some(200));
        second.set_limit(Some(100));
        assert_eq!(subscribers.limit(), Some(100));
        drop(second);
        subscribers.send(Update::Hung(Duration::ZERO));
        assert_eq!(subscribers.limit(), Some(200));
        first.set_limit(None);
        assert_eq!(subscribers.limit(), None);
    }

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
