//! The thread that samples on time and hands samples on.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, select};

use crate::config::{Tier, TrackConfig};
use crate::error::SourceError;
use crate::sample::Sample;
use crate::settings::Settings;
use crate::source::{Source, is_gap};

/// How many updates an [`All`] subscription holds before it loses some, unless asked for more: 25 s at 10 Hz.
///
/// The channel's memory is touched when it is made, so this costs about 150 KiB a subscription.
pub const ALL_CAPACITY: usize = 256;

/// Enough for the sampler's shallow calls, with room for a source of the caller's own.
const STACK_BYTES: usize = 256 * 1024;

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
    /// A read gave nothing; the sampler goes on.
    Failed(SourceError),
}

/// Whether the sampler is at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum State {
    /// Not started, or stopped.
    #[default]
    Stopped,
    /// Taking samples.
    Running,
    /// The tier is `disabled`: alive, reading nothing.
    Disabled,
    /// The target has ended; there will be no further sample.
    Ended,
}

/// What the sampler has done so far. Counters never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// Whether it is at work.
    pub state: State,
    /// Samples taken.
    pub samples: u64,
    /// Deadlines that passed while an earlier read was still going on or the thread was not run.
    pub missed: u64,
    /// Reads that gave nothing.
    pub failures: u64,
    /// Why the last such read failed.
    pub last_failure: Option<SourceError>,
    /// When the thread last finished a tick, on the samples' monotonic clock. Proves progress, not life.
    pub last_progress: Option<Duration>,
    /// The generation of the settings in force.
    pub generation: u64,
}

/// Takes samples on a thread of its own, at absolute deadlines, until stopped or until the target ends.
///
/// Subscribe first, then [`start`](Sampler::start), and the first sample is not missed. Dropping it stops it.
pub struct Sampler {
    shared: Arc<Shared>,
    running: Option<Running>,
}

struct Running {
    /// Dropped to stop the thread: nothing is ever sent.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// What the thread works with. Left in `Shared` while no thread has it, so that a stopped sampler can start again.
struct Parts {
    source: Box<dyn Source>,
    settings: Settings<TrackConfig>,
}

#[derive(Default)]
struct Shared {
    idle: Mutex<Option<Parts>>,
    latest: Mutex<Option<Sample>>,
    health: Mutex<Health>,
    subscribers: Mutex<Subscribers>,
}

#[derive(Default)]
struct Subscribers {
    bells: Vec<Sender<()>>,
    all: Vec<(Sender<Update>, Arc<AtomicU64>)>,
    /// No update will ever come: new subscriptions are born disconnected.
    closed: bool,
}

/// Every sample, in order: for whoever keeps or counts them.
#[derive(Debug)]
pub struct All {
    receiver: Receiver<Update>,
    lost: Arc<AtomicU64>,
}

impl All {
    /// The updates. Disconnected once the target has ended or the sampler was stopped or dropped.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Update> {
        &self.receiver
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

impl Sampler {
    /// A sampler that is not yet running.
    #[must_use]
    pub fn new(source: impl Source + 'static, settings: Settings<TrackConfig>) -> Self {
        let parts = Parts { source: Box::new(source), settings };
        let shared = Shared { idle: Mutex::new(Some(parts)), ..Shared::default() };
        Self { shared: Arc::new(shared), running: None }
    }

    /// Starts the thread; does nothing when it runs already.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(&mut self) -> io::Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let (stop, stopped) = bounded(0);
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("memtrack".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn(move || shared.work(&stopped))?;
        self.running = Some(Running { stop, thread });
        Ok(())
    }

    /// Stops the thread and waits until it has; does nothing when it does not run. Subscriptions end.
    pub fn stop(&mut self) {
        let Some(Running { stop, thread }) = self.running.take() else { return };
        // The order matters: the thread ends because its stop channel is disconnected.
        drop(stop);
        // A panic in a caller's source has already ended the subscriptions; there is no one else to tell.
        let _ = thread.join();
        // With its source back it can start again, and who subscribes before that must be served.
        lock(&self.shared.subscribers).closed = lock(&self.shared.idle).is_none();
    }

    /// Subscribes to every sample, with room for [`ALL_CAPACITY`] that wait to be received.
    #[must_use]
    pub fn all(&self) -> All {
        self.all_within(ALL_CAPACITY)
    }

    /// Subscribes to every sample, with room for `capacity` (at least 1) that wait to be received.
    #[must_use]
    pub fn all_within(&self, capacity: usize) -> All {
        let (sender, receiver) = bounded(capacity.max(1));
        let lost = Arc::new(AtomicU64::new(0));
        let mut subscribers = lock(&self.shared.subscribers);
        if !subscribers.closed {
            subscribers.all.push((sender, Arc::clone(&lost)));
        }
        All { receiver, lost }
    }

    /// Subscribes to the newest sample.
    #[must_use]
    pub fn newest(&self) -> Newest {
        let (sender, bell) = bounded(1);
        let mut subscribers = lock(&self.shared.subscribers);
        if !subscribers.closed {
            subscribers.bells.push(sender);
        }
        Newest { bell, shared: Arc::clone(&self.shared) }
    }

    /// The newest sample, for a reader without a subscription.
    #[must_use]
    pub fn latest(&self) -> Option<Sample> {
        *lock(&self.shared.latest)
    }

    /// What the sampler has done so far.
    #[must_use]
    pub fn health(&self) -> Health {
        *lock(&self.shared.health)
    }

    /// The generation of the settings it runs on.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.health().generation
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler").field("health", &self.health()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("latest", &*lock(&self.latest)).finish_non_exhaustive()
    }
}

impl Shared {
    /// The thread's whole life.
    fn work(&self, stopped: &Receiver<()>) {
        // Dropped on every way out, a panic of the source included.
        let _end = EndSubscriptions(self);
        let Some(mut parts) = lock(&self.idle).take() else { return };
        let state = self.sample_until_stopped(&mut parts, stopped);
        lock(&self.health).state = state;
        *lock(&self.idle) = Some(parts);
    }

    fn sample_until_stopped(&self, parts: &mut Parts, stopped: &Receiver<()>) -> State {
        let gone = never();
        let mut bell = parts.settings.changed().clone();
        let mut config = self.adopt(&parts.settings);
        let mut deadline = Instant::now();
        let mut before = None;
        loop {
            select! {
                recv(stopped) -> _ => return State::Stopped,
                recv(bell) -> ring => {
                    if ring.is_err() {
                        // A disconnected bell is always ready: without this the loop would spin.
                        bell = gone.clone();
                    }
                    config = self.adopt(&parts.settings);
                    deadline = deadline.min(Instant::now() + config.base_interval());
                    continue;
                }
                default(deadline.saturating_duration_since(Instant::now())) => {}
            }
            let interval = config.base_interval();
            if config.tier != Tier::Disabled {
                match parts.source.read(&config) {
                    Ok(mut sample) => {
                        sample.at.gap |=
                            before.is_some_and(|before| is_gap(before, sample.at, interval));
                        before = Some(sample.at);
                        self.publish(sample);
                    }
                    Err(SourceError::Ended) => return State::Ended,
                    Err(failure) => self.report(failure),
                }
            }
            let (next, missed) = next_deadline(deadline, Instant::now(), interval);
            deadline = next;
            if missed > 0 {
                let mut health = lock(&self.health);
                health.missed = health.missed.saturating_add(missed);
            }
        }
    }

    /// One load per change: every tick until the next ring works with this configuration.
    fn adopt(&self, settings: &Settings<TrackConfig>) -> Arc<TrackConfig> {
        let current = settings.load();
        let mut health = lock(&self.health);
        health.generation = current.generation;
        health.state =
            if current.value.tier == Tier::Disabled { State::Disabled } else { State::Running };
        current.value
    }

    fn publish(&self, sample: Sample) {
        *lock(&self.latest) = Some(sample);
        {
            let mut health = lock(&self.health);
            health.samples = health.samples.saturating_add(1);
            health.last_progress = Some(sample.at.monotonic);
        }
        let mut subscribers = lock(&self.subscribers);
        subscribers.send(Update::Sample(sample));
        // A full bell has been rung already and not yet answered; its owner will find this sample.
        subscribers
            .bells
            .retain(|bell| !matches!(bell.try_send(()), Err(TrySendError::Disconnected(()))));
    }

    fn report(&self, failure: SourceError) {
        {
            let mut health = lock(&self.health);
            health.failures = health.failures.saturating_add(1);
            health.last_failure = Some(failure);
        }
        lock(&self.subscribers).send(Update::Failed(failure));
    }
}

impl Subscribers {
    fn send(&mut self, update: Update) {
        self.all.retain(|(sender, lost)| match sender.try_send(update) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }
}

/// Ends all subscriptions, so that nobody waits for a sample that will not come.
struct EndSubscriptions<'a>(&'a Shared);

impl Drop for EndSubscriptions<'_> {
    fn drop(&mut self) {
        let mut subscribers = lock(&self.0.subscribers);
        subscribers.closed = true;
        subscribers.all.clear();
        subscribers.bells.clear();
    }
}

/// The first deadline of the schedule after `now`, and how many passed by unused.
///
/// Deadlines are `deadline + n * interval`, never "now + interval": so the mean rate is exact and does not drift.
fn next_deadline(deadline: Instant, now: Instant, interval: Duration) -> (Instant, u64) {
    let next = deadline + interval;
    let late = now.saturating_duration_since(next);
    let missed = u64::try_from(late.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u64::MAX);
    let skip = interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
    (next + skip, missed)
}

/// No code of a caller runs under these locks, so a poisoned one still holds a whole value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Absent;
    use crate::sample::Stamp;
    use crate::source::Replay;
    use std::collections::VecDeque;

    /// Gives what it is told, then ends; waits for the test before each read when it has a gate.
    struct Script {
        reads: VecDeque<Result<Sample, SourceError>>,
        gate: Option<Receiver<()>>,
    }

    impl Source for Script {
        fn read(&mut self, _: &TrackConfig) -> Result<Sample, SourceError> {
            if let Some(gate) = &self.gate {
                let _ = gate.recv();
            }
            self.reads.pop_front().unwrap_or(Err(SourceError::Ended))
        }
    }

    fn sample(n: u64) -> Sample {
        Sample::empty(Stamp::synthetic(Duration::from_millis(5 * n)))
    }

    fn fast() -> Settings<TrackConfig> {
        Settings::fixed(TrackConfig {
            interval: Some(Duration::from_millis(5)),
            ..TrackConfig::default()
        })
    }

    fn times(all: &All) -> Vec<Duration> {
        let samples = all.receiver().iter();
        samples
            .filter_map(
                |update| if let Update::Sample(s) = update { Some(s.at.monotonic) } else { None },
            )
            .collect()
    }

    #[test]
    fn every_subscriber_to_all_gets_every_sample_in_order_and_then_the_end() {
        let mut sampler =
            Sampler::new(Replay::new((0..20).map(sample).collect::<Vec<_>>()), fast());
        let (one, two) = (sampler.all(), sampler.all());
        sampler.start().unwrap();
        let expected: Vec<_> = (0..20).map(|n| Duration::from_millis(5 * n)).collect();
        assert_eq!(times(&one), expected);
        assert_eq!(times(&two), expected);
        assert_eq!(one.lost(), 0);
        sampler.stop();
        assert_eq!(sampler.health().state, State::Ended);
        assert_eq!(sampler.health().samples, 20);
    }

    #[test]
    fn a_slow_reader_of_the_newest_finds_the_newest() {
        let mut sampler = Sampler::new(Replay::new((0..9).map(sample).collect::<Vec<_>>()), fast());
        let newest = sampler.newest();
        let all = sampler.all();
        sampler.start().unwrap();
        assert_eq!(times(&all).len(), 9);
        assert!(newest.bell().recv().is_ok());
        assert_eq!(newest.get().unwrap().at.monotonic, Duration::from_millis(40));
        assert!(newest.bell().recv().is_err(), "one ring for nine samples, then the end");
    }

    #[test]
    fn a_failed_read_is_reported_and_sampling_goes_on() {
        let failure = SourceError::Failed { what: "status", reason: Absent::Failed(5) };
        let reads = VecDeque::from([Ok(sample(0)), Err(failure), Ok(sample(2))]);
        let mut sampler = Sampler::new(Script { reads, gate: None }, fast());
        let all = sampler.all();
        sampler.start().unwrap();
        let updates: Vec<_> = all.receiver().iter().collect();
        assert_eq!(
            updates,
            [Update::Sample(sample(0)), Update::Failed(failure), Update::Sample(sample(2))]
        );
        sampler.stop();
        let health = sampler.health();
        assert_eq!((health.samples, health.failures, health.last_failure), (2, 1, Some(failure)));
    }

    #[test]
    fn a_full_subscription_counts_what_it_lost() {
        let count = ALL_CAPACITY as u64 + 10;
        let mut subscribers = Subscribers::default();
        let (sender, receiver) = bounded(ALL_CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        subscribers.all.push((sender, Arc::clone(&lost)));
        for n in 0..count {
            subscribers.send(Update::Sample(sample(n)));
        }
        let all = All { receiver, lost };
        assert_eq!(all.lost(), 10);
        drop(subscribers);
        assert_eq!(times(&all).len(), ALL_CAPACITY);
    }

    #[test]
    fn start_and_stop_are_idempotent_and_it_can_start_again() {
        let reads = (0..1_000_000).map(sample);
        let mut sampler = Sampler::new(Replay::new(reads), fast());
        sampler.stop();
        for _ in 0..3 {
            let all = sampler.all();
            sampler.start().unwrap();
            sampler.start().unwrap();
            assert!(all.receiver().recv().is_ok());
            sampler.stop();
            sampler.stop();
            assert_eq!(sampler.health().state, State::Stopped);
            assert!(all.receiver().iter().count() < ALL_CAPACITY, "the subscription ended");
        }
    }

    #[test]
    fn a_panicking_source_ends_its_subscriptions() {
        struct Broken;
        impl Source for Broken {
            fn read(&mut self, _: &TrackConfig) -> Result<Sample, SourceError> {
                panic!("a source of the caller's own")
            }
        }
        let mut sampler = Sampler::new(Broken, fast());
        let all = sampler.all();
        sampler.start().unwrap();
        assert!(all.receiver().recv().is_err());
    }

    #[test]
    fn a_changed_interval_is_taken_up_at_once() {
        let hourly =
            TrackConfig { interval: Some(Duration::from_secs(3600)), ..TrackConfig::default() };
        let quick =
            TrackConfig { interval: Some(Duration::from_millis(5)), ..TrackConfig::default() };
        let (ring, bell) = bounded(1);
        let generation = Arc::new(AtomicU64::new(1));
        let shown = Arc::clone(&generation);
        let settings = Settings::live(
            move || {
                let generation = shown.load(Ordering::Acquire);
                let value = if generation == 1 { hourly.clone() } else { quick.clone() };
                crate::settings::Current { generation, value: Arc::new(value) }
            },
            bell,
        );
        let mut sampler =
            Sampler::new(Replay::new((0..3).map(sample).collect::<Vec<_>>()), settings);
        let all = sampler.all();
        sampler.start().unwrap();
        assert!(all.receiver().recv().is_ok());
        generation.store(2, Ordering::Release);
        ring.send(()).unwrap();
        drop(ring);
        // Without the bell the second sample would be an hour away.
        assert_eq!(times(&all).len(), 2);
        assert_eq!(sampler.generation(), 2);
    }

    #[test]
    fn deadlines_are_absolute_and_late_ones_are_counted() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let interval = Duration::from_millis(100);
        assert_eq!(next_deadline(at(0), at(3), interval), (at(100), 0));
        assert_eq!(next_deadline(at(0), at(99), interval), (at(100), 0));
        assert_eq!(next_deadline(at(0), at(350), interval), (at(300), 2));
    }
}
