//! The thread that samples on time and hands samples on.

mod health;
mod pace;
mod plausible;
#[cfg(feature = "history")]
mod record;
mod subscription;
mod work;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use crate::config::TrackConfig;
use crate::sample::Sample;
use crate::settings::Settings;
use crate::source::Source;

pub use health::{Health, State};
pub use plausible::Absurd;
#[cfg(feature = "history")]
pub use record::{Figure, Record};
pub use subscription::{ALL_CAPACITY, All, Newest, Update};
pub use work::Driver;

/// Enough for the sampler's shallow calls, with room for a source of the caller's own.
const STACK_BYTES: usize = 256 * 1024;
/// How long [`Sampler::stop`] waits for a read that hangs before it leaves the thread to itself.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Takes samples on a thread of its own, at absolute deadlines, until stopped or until the target ends.
///
/// Subscribe first, then [`start`](Sampler::start), and the first sample is not missed. Dropping it stops it.
///
/// A `fork` does not take threads along: in the child the sampler has stopped and cannot start again, so the child makes
/// its own. (A source that is read without a sampler goes on in the child, with the child's figures.)
pub struct Sampler {
    shared: Arc<Shared>,
    running: Option<Running>,
}

struct Running {
    /// Dropped to stop the thread: nothing is ever sent.
    stop: Sender<()>,
    /// Disconnected when the thread has ended.
    done: Receiver<()>,
    thread: JoinHandle<()>,
    /// The process that the thread is in.
    process: u32,
}

impl Running {
    /// The target has ended, or the source panicked.
    fn has_ended(&self) -> bool {
        self.done.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Whether this is a child that was forked since: the thread stayed behind.
    fn is_elsewhere(&self) -> bool {
        self.process != std::process::id()
    }
}

/// What the thread works with. Left in `Shared` while no thread has it, so that a stopped sampler can start again.
struct Parts {
    source: Box<dyn Source>,
    settings: Settings<TrackConfig>,
}

struct Shared {
    idle: Mutex<Option<Parts>>,
    latest: Mutex<Option<Sample>>,
    health: Mutex<Health>,
    subscribers: Mutex<subscription::Subscribers>,
    #[cfg(feature = "history")]
    records: Mutex<record::Records>,
    origin: Instant,
    /// When the present read began, in nanoseconds after `origin`; 0 between reads.
    reading_since: AtomicU64,
}

impl Sampler {
    /// A sampler that is not yet running.
    #[must_use]
    pub fn new(source: impl Source + 'static, settings: Settings<TrackConfig>) -> Self {
        let parts = Parts { source: Box::new(source), settings };
        let shared = Shared {
            idle: Mutex::new(Some(parts)),
            latest: Mutex::default(),
            health: Mutex::default(),
            subscribers: Mutex::default(),
            #[cfg(feature = "history")]
            records: Mutex::default(),
            origin: Instant::now(),
            reading_since: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), running: None }
    }

    /// Starts the thread; does nothing when it runs already.
    ///
    /// # Errors
    /// When the system gives no thread; in a child that was forked while it ran; while a [`Driver`] lives, while a read
    /// that hung in [`stop`](Sampler::stop) has not come back, and after a panic of the source.
    pub fn start(&mut self) -> io::Result<()> {
        match &self.running {
            Some(running) if running.is_elsewhere() => {
                return Err(io::Error::other("the sampler runs in the parent of this process"));
            }
            Some(running) if !running.has_ended() => return Ok(()),
            _ => self.running = None,
        }
        // Before the thread is made, so that nothing is said to run that has nothing to read.
        let Some(driver) = self.drive() else {
            return Err(io::Error::other(
                "the sampler has no source: a driver or a read that hangs has it, or it panicked",
            ));
        };
        // Not of capacity 0: waiting on such a channel allocates, and the thread waits on each tick.
        let (stop, stopped) = bounded(1);
        let (ending, done) = bounded(0);
        let thread = thread::Builder::new().name("memtrack".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn(move || {
            // Dropped last, on every way out.
            let _ending: Sender<()> = ending;
            driver.work(&stopped);
        })?;
        let process = std::process::id();
        self.running = Some(Running { stop, done, thread, process });
        Ok(())
    }

    /// Reads on the thread of the caller in place of one of its own, for as long as the [`Driver`] lives; `None` when it
    /// runs already. Dropping that stops it, and subscriptions end.
    #[must_use]
    pub fn drive(&self) -> Option<Driver> {
        Driver::new(Arc::clone(&self.shared))
    }

    /// Stops the thread and waits until it has; does nothing when it does not run. Subscriptions end.
    ///
    /// A read that hangs in the kernel is waited for a second and then left to itself: its thread ends when it comes
    /// back, and until then the sampler cannot start again.
    pub fn stop(&mut self) {
        if self.running.as_ref().is_some_and(Running::is_elsewhere) {
            // Its locks may have been held when the fork copied them, and there is no thread to join.
            std::mem::forget(self.running.take());
            return;
        }
        let Some(Running { stop, done, thread, .. }) = self.running.take() else { return };
        // The order matters: the thread ends because its stop channel is disconnected, and it looks when it is awake.
        drop(stop);
        thread.thread().unpark();
        if done.recv_timeout(STOP_PATIENCE) != Err(RecvTimeoutError::Timeout) {
            // A panic in a caller's source has already ended the subscriptions; there is no one else to tell.
            let _ = thread.join();
        }
        let mut subscribers = lock(&self.shared.subscribers);
        subscribers.end();
        let mut health = lock(&self.shared.health);
        if health.state != State::Ended {
            health.state = State::Stopped;
        }
        // With its source back it can start again, and who subscribes before that must be served.
        let no_source = lock(&self.shared.idle).is_none();
        subscribers.closed = no_source || health.state == State::Ended;
    }

    /// Subscribes to every sample, with room for [`ALL_CAPACITY`] that wait to be received.
    #[must_use]
    pub fn all(&self) -> All {
        self.all_within(ALL_CAPACITY)
    }

    /// Subscribes to every sample, with room for `capacity` (at least 1) that wait to be received.
    #[must_use]
    pub fn all_within(&self, capacity: usize) -> All {
        lock(&self.shared.subscribers).all(capacity)
    }

    /// Subscribes to the newest sample.
    #[must_use]
    pub fn newest(&self) -> Newest {
        lock(&self.shared.subscribers).newest(Arc::clone(&self.shared))
    }

    /// Keeps what `figure` was in every sample from now on, also across a stop and another start. At most 300 KiB.
    ///
    /// ```
    /// # use memtrack::sampler::Sampler;
    /// # use memtrack::source::{LinuxSource, Target};
    /// # use memtrack::{Settings, TrackConfig};
    /// # let source = LinuxSource::open(&Target::Own)?;
    /// let mut sampler = Sampler::new(source, Settings::fixed(TrackConfig::default()));
    /// let rss = sampler.record(|sample| sample.process.rss);
    /// # let newest = sampler.newest();
    /// sampler.start()?;
    /// # newest.bell().recv()?;
    /// // ... at any time later:
    /// let statistics = rss.statistics().ok_or("no sample yet")?;
    /// assert!(statistics.p50 <= statistics.max);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "history")]
    #[must_use]
    pub fn record(&self, figure: Figure) -> Record {
        lock(&self.shared.records).add(figure)
    }

    /// The newest sample, for a reader without a subscription.
    #[must_use]
    pub fn latest(&self) -> Option<Sample> {
        *lock(&self.shared.latest)
    }

    /// What the sampler has done so far.
    #[must_use]
    pub fn health(&self) -> Health {
        let mut health = *lock(&self.shared.health);
        let now = self.shared.origin.elapsed();
        health.since_progress = health.last_progress.map(|last| now.saturating_sub(last));
        health.reading_for = match self.shared.reading_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(now.saturating_sub(Duration::from_nanos(since))),
        };
        health
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

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("latest", &*lock(&self.latest)).finish_non_exhaustive()
    }
}

/// No code of a caller runs under these locks, so a poisoned one still holds a whole value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Tier;
    use crate::error::SourceError;
    use crate::reading::Absent;
    use crate::sample::Stamp;
    use crate::source::Replay;
    use crate::testing::Script;

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
        let mut sampler = Sampler::new(Script::of((0..20).map(sample)), fast());
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

    #[cfg(feature = "history")]
    #[test]
    fn a_record_holds_every_sample_for_as_long_as_the_settings_say() {
        let with_rss = |n: u64| {
            let mut sample = sample(n);
            sample.process.rss = if n == 7 { Err(Absent::Denied) } else { Ok((n + 1) << 20) };
            sample
        };
        let retention = Duration::from_millis(50);
        let settings = Settings::fixed(TrackConfig { retention, ..(*fast().load().value).clone() });
        let mut sampler = Sampler::new(Script::of((0..20).map(with_rss)), settings);
        let rss = sampler.record(|sample| sample.process.rss);
        drop(sampler.record(|sample| sample.process.anon));
        let all = sampler.all();
        sampler.start().unwrap();
        assert_eq!(all.receiver().iter().count(), 20);
        sampler.stop();
        let statistics = rss.statistics().unwrap();
        assert_eq!((statistics.count, statistics.min, statistics.max), (19, 1 << 20, 20 << 20));
        assert_eq!(rss.look(|history| history.recent().count()), 11, "50 ms at 5 ms");
    }

    #[test]
    fn a_slow_reader_of_the_newest_finds_the_newest() {
        let mut sampler = Sampler::new(Script::of((0..9).map(sample)), fast());
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
        let reads = [Ok(sample(0)), Err(failure), Ok(sample(2))];
        let mut sampler = Sampler::new(Script::new(reads), fast());
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
    fn start_and_stop_are_idempotent_and_it_can_start_again() {
        let mut sampler = Sampler::new(Replay::new((0..1_000_000).map(sample)), fast());
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
        assert_eq!(sampler.health().state, State::Stopped);
        sampler.stop();
        assert!(sampler.start().is_err(), "what a panic left behind is not read again");
        assert!(sampler.all().receiver().recv().is_err());
    }

    #[test]
    fn a_sampler_that_was_driven_can_be_subscribed_to_again() {
        let mut sampler = Sampler::new(Script::of((0..).map(sample)), fast());
        for _ in 0..2 {
            let all = sampler.all();
            let mut driver = sampler.drive().unwrap();
            assert!(sampler.start().is_err(), "the driver has the source");
            assert!(driver.step());
            drop(driver);
            assert_eq!(times(&all).len(), 1);
        }
        let all = sampler.all();
        sampler.start().unwrap();
        assert!(all.receiver().recv().is_ok());
    }

    #[test]
    fn while_a_read_hangs_from_before_a_stop_start_says_so_and_then_it_samples_again() {
        let (release, gate) = bounded(0);
        let mut sampler = Sampler::new(Script::of((0..).map(sample)).behind(gate), fast());
        sampler.start().unwrap();
        while sampler.health().reading_for.is_none() {
            thread::yield_now();
        }
        sampler.stop();
        assert!(sampler.start().is_err());
        assert_eq!(sampler.health().state, State::Stopped);
        drop(release);
        while sampler.start().is_err() {
            thread::yield_now();
        }
        assert!(sampler.all().receiver().recv().is_ok());
    }

    #[test]
    fn whoever_subscribes_after_the_end_is_told_of_it() {
        let mut sampler = Sampler::new(Script::of((0..2).map(sample)), fast());
        let all = sampler.all();
        sampler.start().unwrap();
        assert_eq!(times(&all).len(), 2);
        assert!(sampler.all().receiver().recv().is_err());
        sampler.stop();
        assert!(sampler.all().receiver().recv().is_err());
        assert_eq!(sampler.health().state, State::Ended);
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
        let mut sampler = Sampler::new(Script::of((0..3).map(sample)), settings);
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

    fn failure() -> SourceError {
        SourceError::Failed { what: "status", reason: Absent::Failed(5) }
    }

    #[test]
    fn a_stall_that_the_kernel_reports_is_looked_at_at_once() {
        let hourly =
            TrackConfig { interval: Some(Duration::from_secs(3600)), ..TrackConfig::default() };
        let (ring, bell) = bounded(1);
        let mut sampler =
            Sampler::new(Script::of((0..).map(sample)).woken_by(bell), Settings::fixed(hourly));
        let all = sampler.all();
        sampler.start().unwrap();
        assert!(all.receiver().recv().is_ok());
        ring.send(()).unwrap();
        // Without the report the second sample would be an hour away.
        assert!(all.receiver().recv().is_ok());
        // From here on it is looked at more closely, without further reports.
        drop(ring);
        assert!(all.receiver().recv().is_ok());
        assert!(sampler.health().interval.unwrap() <= Duration::from_millis(100));
    }

    #[test]
    fn a_read_that_hangs_is_visible_while_it_lasts_and_stop_does_not_wait_for_it() {
        let (release, gate) = bounded(0);
        let mut sampler = Sampler::new(Script::of((0..2).map(sample)).behind(gate), fast());
        let all = sampler.all();
        sampler.start().unwrap();
        release.send(()).unwrap();
        assert!(all.receiver().recv().is_ok());
        while sampler.health().reading_for.is_none() {
            thread::yield_now();
        }
        let hanging = sampler.health();
        assert_eq!((hanging.state, hanging.samples), (State::Running, 1));
        while sampler.health().since_progress <= hanging.since_progress {
            thread::yield_now();
        }
        // The gate stays shut: this returns all the same.
        sampler.stop();
        assert_eq!(sampler.health().state, State::Stopped);
        assert!(all.receiver().recv().is_err());
        drop(release);
    }

    #[test]
    fn the_heart_beats_while_reads_fail_and_while_disabled() {
        let reads = std::iter::repeat_n(Err(failure()), 3);
        let mut failing = Sampler::new(Script::new(reads), fast());
        let all = failing.all();
        failing.start().unwrap();
        assert_eq!(all.receiver().iter().collect::<Vec<_>>(), [Update::Failed(failure()); 3]);
        assert!(failing.health().last_progress.is_some());
        let config = TrackConfig { tier: Tier::Disabled, ..(*fast().load().value).clone() };
        let mut disabled = Sampler::new(Script::new([]), Settings::fixed(config));
        disabled.start().unwrap();
        while disabled.health().last_progress.is_none() {
            thread::yield_now();
        }
        assert_eq!((disabled.health().state, disabled.health().samples), (State::Disabled, 0));
    }

    #[test]
    fn an_absurd_reading_is_named_and_left_out() {
        let absurd = |n, rss| {
            let mut sample = sample(n);
            sample.process.rss = Ok(rss);
            sample.system.total = Ok(1 << 30);
            Ok(sample)
        };
        let reads = [absurd(0, 1 << 20), absurd(1, u64::MAX), absurd(2, u64::MAX)];
        let mut sampler = Sampler::new(Script::new(reads), fast());
        let all = sampler.all();
        sampler.start().unwrap();
        let updates: Vec<_> = all.receiver().iter().collect();
        let names = updates.iter().filter_map(|update| match update {
            Update::Absurd(absurd) => Some((absurd.reading, absurd.last_good.unwrap().0)),
            _ => None,
        });
        assert_eq!(names.collect::<Vec<_>>(), [("process.rss", 1 << 20)], "said once");
        assert!(
            matches!(updates.last(), Some(Update::Sample(sample)) if sample.process.rss.is_err())
        );
        assert_eq!(sampler.health().absurd, 2, "counted each time");
    }

    #[test]
    fn a_tier_that_is_switched_live_takes_effect() {
        let (ring, bell) = bounded(1);
        let tier = Arc::new(Mutex::new(Tier::Disabled));
        let shown = Arc::clone(&tier);
        let settings = Settings::live(
            move || {
                let tier = *lock(&shown);
                let value = Arc::new(TrackConfig { tier, ..(*fast().load().value).clone() });
                crate::settings::Current { generation: u64::from(tier != Tier::Disabled), value }
            },
            bell,
        );
        let mut sampler = Sampler::new(Script::of((0..).map(sample)), settings);
        let all = sampler.all();
        sampler.start().unwrap();
        while sampler.health().last_progress.is_none() {
            thread::yield_now();
        }
        assert_eq!((sampler.health().state, sampler.latest()), (State::Disabled, None));
        *lock(&tier) = Tier::Production;
        ring.send(()).unwrap();
        assert!(all.receiver().recv().is_ok());
        assert_eq!((sampler.health().state, sampler.generation()), (State::Running, 1));
    }
}
