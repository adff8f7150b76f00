//! What a sampler does, on its own thread or on that of its caller.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, TryRecvError, never, select};

use crate::config::{Tier, TrackConfig};
use crate::error::SourceError;
use crate::sample::{Sample, Stamp};
use crate::sampler::pace::{AFTER_STALL, Pace};
use crate::sampler::plausible::Plausibility;
#[cfg(feature = "history")]
use crate::sampler::record;
use crate::sampler::{Parts, Shared, State, Update, lock};
use crate::settings::Settings;
use crate::source::is_gap;

/// A read that took this long hung: a whole sample takes some ten microseconds.
const HUNG: Duration = Duration::from_secs(1);
/// The longest pause between reads that keep failing, unless the interval itself is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Samples on the thread of its caller, who waits for what is due and for two bells: for a program in which one thread does
/// all, and one wake-up each second is all there is to be.
///
/// While a read hangs, so does its caller: whoever must answer to something else meanwhile gives the sampler its own thread,
/// with [`Sampler::start`](super::Sampler::start).
///
/// ```
/// use crossbeam_channel::select;
/// use memtrack::sampler::{Sampler, Update};
/// use memtrack::source::{LinuxSource, Target};
/// use memtrack::{Settings, TrackConfig};
///
/// let source = LinuxSource::open(&Target::System)?;
/// let sampler = Sampler::new(source, Settings::fixed(TrackConfig::default()));
/// let all = sampler.all();
/// let mut driver = sampler.drive().ok_or("it runs already")?;
/// select! {
///     recv(driver.bell()) -> ring => driver.on_bell(ring),
///     recv(driver.wake()) -> ring => driver.on_wake(ring),
///     default(driver.due_in()) => {}
/// }
/// assert!(driver.step(), "the machine does not end");
/// assert!(matches!(all.receiver().try_recv()?, Update::Sample(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
    /// Given back at the end, so that the sampler can start again.
    parts: Option<Parts>,
    bell: Receiver<()>,
    wake: Receiver<()>,
    config: Arc<TrackConfig>,
    tick: Tick,
    deadline: Instant,
    state: State,
}

impl Driver {
    /// `None` when somebody else drives it, or it has no source any more.
    pub(super) fn new(shared: Arc<Shared>) -> Option<Self> {
        let mut parts = lock(&shared.idle).take()?;
        let (bell, wake) = (parts.settings.changed().clone(), parts.source.wake());
        let config = shared.adopt(&parts.settings);
        let (tick, deadline) = (Tick::default(), Instant::now());
        let (parts, state) = (Some(parts), State::Stopped);
        Some(Self { shared, parts, bell, wake, config, tick, deadline, state })
    }

    /// The time until the next read.
    #[must_use]
    pub fn due_in(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Rings when the settings have changed.
    #[must_use]
    pub fn bell(&self) -> &Receiver<()> {
        &self.bell
    }

    /// Rings when the source wants to be read at once.
    #[must_use]
    pub fn wake(&self) -> &Receiver<()> {
        &self.wake
    }

    /// Takes up the settings that [`bell`](Driver::bell) told of.
    pub fn on_bell(&mut self, ring: Result<(), RecvError>) {
        if ring.is_err() {
            // A disconnected bell is always ready: without this its reader would spin.
            self.bell = never();
        }
        let Some(parts) = &self.parts else { return };
        self.config = self.shared.adopt(&parts.settings);
        let base = self.config.base_interval();
        self.tick.planned = self.tick.planned.max(base);
        self.deadline = self.deadline.min(Instant::now() + base);
    }

    /// Makes a read due when [`wake`](Driver::wake) asked for it, unless the settings forbid to read out of turn.
    pub fn on_wake(&mut self, ring: Result<(), RecvError>) {
        if ring.is_err() {
            self.wake = never();
        } else if self.config.adaptive {
            self.tick.pace.stalled();
            if let Some(parts) = &mut self.parts {
                parts.source.woken();
            }
            // The schedule starts anew from here.
            self.deadline = Instant::now();
        }
    }

    /// The thread's whole life.
    pub(super) fn work(mut self, stopped: &Receiver<()>) {
        loop {
            if self.tick.planned <= AFTER_STALL {
                // A stall could not bring a sample much earlier than it comes anyway, and it is dear to wait for several things
                // at once: a seventh of all that a sample costs. Whoever stops this thread unparks it.
                std::thread::park_timeout(self.due_in());
                if stopped.try_recv() != Err(TryRecvError::Empty) {
                    return;
                }
                self.answer_bells();
            } else {
                select! {
                    recv(stopped) -> _ => return,
                    recv(self.bell) -> ring => self.on_bell(ring),
                    recv(self.wake) -> ring => self.on_wake(ring),
                    default(self.due_in()) => {}
                }
            }
            if !self.step() {
                return;
            }
        }
    }

    /// Does what the bells ask for that have rung meanwhile.
    fn answer_bells(&mut self) {
        match self.bell.try_recv() {
            Err(TryRecvError::Empty) => {}
            ring => self.on_bell(ring.map_err(|_| RecvError)),
        }
        match self.wake.try_recv() {
            Err(TryRecvError::Empty) => {}
            ring => self.on_wake(ring.map_err(|_| RecvError)),
        }
    }

    /// Reads when that is due, and tells every subscriber; false when the target has ended.
    pub fn step(&mut self) -> bool {
        let Some(parts) = &mut self.parts else { return false };
        if Instant::now() < self.deadline {
            return true;
        }
        let interval = match self.config.tier {
            Tier::Disabled => self.config.base_interval(),
            _ => match self.shared.take_sample(parts, &self.config, &mut self.tick) {
                Some(interval) => interval,
                None => {
                    self.state = State::Ended;
                    return false;
                }
            },
        };
        self.tick.planned = interval;
        let (next, missed) = next_deadline(self.deadline, Instant::now(), interval);
        self.deadline = next;
        self.shared.beat(interval, missed);
        true
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        // On every way out, so that nobody waits for a sample that will not come. All of it under one lock: whoever finds the
        // parts given back, and starts again, subscribes after the end of those before.
        let mut subscribers = lock(&self.shared.subscribers);
        lock(&self.shared.health).state = if panicked { State::Stopped } else { self.state };
        subscribers.end();
        subscribers.closed = panicked || self.state == State::Ended;
        // What a panic of the source left behind is not read again.
        if !panicked {
            *lock(&self.shared.idle) = self.parts.take();
        }
    }
}

impl Shared {
    /// Reads once, and gives the time until the next read; `None` when the target has ended.
    fn take_sample(
        &self,
        parts: &mut Parts,
        config: &TrackConfig,
        tick: &mut Tick,
    ) -> Option<Duration> {
        let before = self.origin.elapsed();
        self.reading_since.store(nanos(before), Ordering::Relaxed);
        let read = parts.source.read(config);
        self.reading_since.store(0, Ordering::Relaxed);
        let took = self.origin.elapsed().saturating_sub(before);
        if took >= HUNG {
            lock(&self.subscribers).send(Update::Hung(took));
        }
        match read {
            Ok(mut sample) => {
                tick.failures_in_row = 0;
                sample.at.gap |=
                    tick.before.is_some_and(|before| is_gap(before, sample.at, tick.planned));
                tick.before = Some(sample.at);
                self.leave_out_absurd(&mut sample, &mut tick.plausibility);
                let limit = self.publish(&sample);
                Some(tick.pace.next(&sample, limit, config))
            }
            Err(SourceError::Ended) => None,
            Err(failure) => {
                tick.failures_in_row = tick.failures_in_row.saturating_add(1);
                self.report(failure);
                Some(backoff(config.base_interval(), tick.failures_in_row))
            }
        }
    }

    fn leave_out_absurd(&self, sample: &mut Sample, plausibility: &mut Plausibility) {
        plausibility.check(sample, |absurd, first| {
            {
                let mut health = lock(&self.health);
                health.absurd = health.absurd.saturating_add(1);
                health.last_absurd = Some(absurd);
            }
            if first {
                lock(&self.subscribers).send(Update::Absurd(absurd));
            }
        });
    }

    /// One load per change: every tick until the next ring works with this configuration.
    fn adopt(&self, settings: &Settings<TrackConfig>) -> Arc<TrackConfig> {
        let current = settings.load();
        #[cfg(feature = "history")]
        record::retain_for(&self.records, current.value.retention);
        let mut health = lock(&self.health);
        health.generation = current.generation;
        health.state = match current.value.tier {
            Tier::Disabled => State::Disabled,
            _ => State::Running,
        };
        current.value
    }

    /// Gives the sample to everybody; returns the limit that subscribers have told of.
    fn publish(&self, sample: &Sample) -> Option<u64> {
        *lock(&self.latest) = Some(*sample);
        #[cfg(feature = "history")]
        record::push(&self.records, sample);
        {
            let mut health = lock(&self.health);
            health.samples = health.samples.saturating_add(1);
        }
        let mut subscribers = lock(&self.subscribers);
        subscribers.send(Update::Sample(*sample));
        subscribers.ring();
        subscribers.limit()
    }

    fn report(&self, failure: SourceError) {
        {
            let mut health = lock(&self.health);
            health.failures = health.failures.saturating_add(1);
            health.last_failure = Some(failure);
        }
        lock(&self.subscribers).send(Update::Failed(failure));
    }

    /// The heartbeat.
    fn beat(&self, interval: Duration, missed: u64) {
        let mut health = lock(&self.health);
        health.last_progress = Some(self.origin.elapsed());
        health.interval = Some(interval);
        health.missed = health.missed.saturating_add(missed);
    }
}

/// What one tick leaves to the next.
#[derive(Debug, Default)]
struct Tick {
    before: Option<Stamp>,
    /// The wait that was meant to be.
    planned: Duration,
    failures_in_row: u32,
    pace: Pace,
    plausibility: Plausibility,
}

/// The first deadline of the schedule after `now`, and how many passed by unused.
///
/// Deadlines are `deadline + n * interval`, never "now + interval": so the mean rate is exact and does not drift.
fn next_deadline(deadline: Instant, now: Instant, interval: Duration) -> (Instant, u64) {
    let next = deadline + interval;
    let late = now.saturating_duration_since(next);
    if late < interval {
        return (next, 0);
    }
    let missed = u64::try_from(late.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u64::MAX);
    let skip = interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
    (next + skip, missed)
}

/// Twice as long after each failure in a row.
fn backoff(interval: Duration, failures_in_row: u32) -> Duration {
    let doubled = interval.saturating_mul(1 << failures_in_row.min(20));
    doubled.min(MAX_BACKOFF.max(interval))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_absolute_and_late_ones_are_counted() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let interval = Duration::from_millis(100);
        assert_eq!(next_deadline(at(0), at(3), interval), (at(100), 0));
        assert_eq!(next_deadline(at(0), at(99), interval), (at(100), 0));
        assert_eq!(next_deadline(at(0), at(350), interval), (at(300), 2));
    }

    #[test]
    fn failures_in_a_row_wait_longer_up_to_a_minute() {
        let second = Duration::from_secs(1);
        assert_eq!(backoff(second, 1), 2 * second);
        assert_eq!(backoff(second, 3), 8 * second);
        assert_eq!(backoff(second, 99), MAX_BACKOFF);
        assert_eq!(backoff(100 * second, 1), 100 * second);
    }
}
