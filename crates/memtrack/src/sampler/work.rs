//! The sampler's thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, select};

use crate::config::{Tier, TrackConfig};
use crate::error::SourceError;
use crate::sample::{Sample, Stamp};
use crate::sampler::pace::Pace;
use crate::sampler::plausible::Plausibility;
use crate::sampler::{Parts, Shared, State, Update, lock};
use crate::settings::Settings;
use crate::source::is_gap;

/// A read that took this long hung: a whole sample takes some ten microseconds.
const HUNG: Duration = Duration::from_secs(1);
/// The longest pause between reads that keep failing, unless the interval itself is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

impl Shared {
    /// The thread's whole life.
    pub(super) fn work(&self, stopped: &Receiver<()>) {
        // Dropped on every way out, a panic of the source included.
        let _end = EndSubscriptions(self);
        let Some(mut parts) = lock(&self.idle).take() else { return };
        let state = self.sample_until_stopped(&mut parts, stopped);
        lock(&self.health).state = state;
        *lock(&self.idle) = Some(parts);
    }

    fn sample_until_stopped(&self, parts: &mut Parts, stopped: &Receiver<()>) -> State {
        let mut bell = parts.settings.changed().clone();
        let mut wake = parts.source.wake();
        let mut config = self.adopt(&parts.settings);
        let mut tick = Tick::default();
        let mut deadline = Instant::now();
        loop {
            select! {
                recv(stopped) -> _ => return State::Stopped,
                recv(bell) -> ring => {
                    if ring.is_err() {
                        // A disconnected bell is always ready: without this the loop would spin.
                        bell = never();
                    }
                    config = self.adopt(&parts.settings);
                    let base = config.base_interval();
                    tick.planned = tick.planned.max(base);
                    deadline = deadline.min(Instant::now() + base);
                    continue;
                }
                recv(wake) -> ring => {
                    if ring.is_err() {
                        wake = never();
                        continue;
                    }
                    if !config.adaptive {
                        continue;
                    }
                    tick.pace.stalled();
                    // The schedule starts anew from here.
                    deadline = Instant::now();
                }
                default(deadline.saturating_duration_since(Instant::now())) => {}
            }
            let interval = match config.tier {
                Tier::Disabled => config.base_interval(),
                _ => match self.take_sample(parts, &config, &mut tick) {
                    Some(interval) => interval,
                    None => return State::Ended,
                },
            };
            tick.planned = interval;
            let (next, missed) = next_deadline(deadline, Instant::now(), interval);
            deadline = next;
            self.beat(interval, missed);
        }
    }

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
                self.publish(sample);
                Some(tick.pace.next(&sample, config))
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
        lock(&self.records).retain_for(current.value.retention);
        let mut health = lock(&self.health);
        health.generation = current.generation;
        health.state = match current.value.tier {
            Tier::Disabled => State::Disabled,
            _ => State::Running,
        };
        current.value
    }

    fn publish(&self, sample: Sample) {
        *lock(&self.latest) = Some(sample);
        #[cfg(feature = "history")]
        lock(&self.records).push(&sample);
        {
            let mut health = lock(&self.health);
            health.samples = health.samples.saturating_add(1);
        }
        let mut subscribers = lock(&self.subscribers);
        subscribers.send(Update::Sample(sample));
        subscribers.ring();
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

/// Ends all subscriptions, so that nobody waits for a sample that will not come.
struct EndSubscriptions<'a>(&'a Shared);

impl Drop for EndSubscriptions<'_> {
    fn drop(&mut self) {
        lock(&self.0.subscribers).end();
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
