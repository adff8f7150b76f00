//! When to tell somebody: severity, throttle, escalation, and delivery.

use std::fmt;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use memtrack::{Pass, Throttle};

use crate::config::LeakConfig;
use crate::rules::{RuleReport, Severity};
use crate::verdict::Verdict;

/// What an alert is about.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "cause", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Cause {
    /// The verdict is a leak. Growth, and no proof of a lost pointer.
    Leak {
        /// The verdict.
        verdict: Box<Verdict>,
    },
    /// The growth over the recent window is above a threshold.
    Rate {
        /// Bytes per second.
        growth: f64,
    },
    /// The RSS is above a threshold.
    Rss {
        /// Bytes.
        rss: u64,
    },
}

/// Something to tell somebody.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Alert {
    /// The time of the sample that brought it.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub at: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: the worst of what holds, a leak before a rate before a size.
    pub cause: Cause,
    /// Alerts held back since the last one that was delivered.
    pub suppressed: u64,
}

/// Decides which alerts go out. Pure: the time comes with the verdict.
///
/// An alert is asked for when something begins to hold, when it becomes worse, and again each time the throttle's
/// interval has passed while it still holds. Once nothing holds any more the next alert is a new one.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    throttle: Throttle<Severity>,
    holding: Option<(Severity, Duration)>,
    interval: Duration,
}

impl Alerts {
    /// No alert so far.
    #[must_use]
    pub fn new(config: &LeakConfig) -> Self {
        Self { interval: config.alert_throttle, ..Self::default() }
    }

    /// All alerts asked for so far, delivered or held back.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.throttle.total()
    }

    /// The alert to deliver now, if any.
    pub fn step(
        &mut self,
        at: Duration,
        verdict: &Verdict,
        rules: &RuleReport,
        config: &LeakConfig,
    ) -> Option<Alert> {
        self.interval = config.alert_throttle;
        let Some((severity, cause)) = worst(verdict, rules, config) else {
            if self.holding.take().is_some() {
                self.throttle.reset();
            }
            return None;
        };
        let (was, asked) = self.holding.unzip();
        let due = asked.is_none_or(|asked| at.saturating_sub(asked) >= self.interval);
        if was == Some(severity) && !due {
            return None;
        }
        self.holding = Some((severity, at));
        match self.throttle.ask(severity, at, self.interval) {
            Pass::Deliver { suppressed } => {
                Some(Alert { at, severity, cause: cause(), suppressed })
            }
            Pass::Hold => None,
        }
    }
}

/// The worst of what holds; what it is about is only put together when it is told.
fn worst<'a>(
    verdict: &'a Verdict,
    rules: &'a RuleReport,
    config: &LeakConfig,
) -> Option<(Severity, Box<dyn FnOnce() -> Cause + 'a>)> {
    let leak = match verdict {
        Verdict::Leak { rate, .. } if rate.bytes_per_second >= config.critical_rate => {
            Some(Severity::Critical)
        }
        Verdict::Leak { .. } => Some(Severity::Warning),
        _ => None,
    };
    let severity = leak.max(rules.severity())?;
    if leak == Some(severity) {
        let verdict = Box::new(verdict.clone());
        return Some((severity, Box::new(move || Cause::Leak { verdict })));
    }
    if rules.by_rate == Some(severity) {
        return Some((severity, Box::new(|| Cause::Rate { growth: rules.growth.unwrap_or(0.0) })));
    }
    Some((severity, Box::new(|| Cause::Rss { rss: rules.rss.unwrap_or(0) })))
}

type Callback = Box<dyn FnMut(&Alert) + Send>;

/// Where alerts go: one channel and any number of callbacks.
#[derive(Default)]
pub struct Outlets {
    channel: Option<Sender<Alert>>,
    callbacks: Vec<Callback>,
    lost: u64,
}

impl Outlets {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A channel with room for `capacity` alerts (at least 1) that wait to be received. Replaces an earlier one.
    pub fn channel(&mut self, capacity: usize) -> Receiver<Alert> {
        let (sender, receiver) = bounded(capacity.max(1));
        self.channel = Some(sender);
        receiver
    }

    /// Calls `callback` for each alert, on the thread that delivers; it should not block.
    pub fn callback(&mut self, callback: impl FnMut(&Alert) + Send + 'static) {
        self.callbacks.push(Box::new(callback));
    }

    /// Hands `alert` to all of them. Never waits: a full channel loses it, and the loss is counted.
    pub fn deliver(&mut self, alert: &Alert) {
        for callback in &mut self.callbacks {
            callback(alert);
        }
        if let Some(channel) = &self.channel {
            match channel.try_send(alert.clone()) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => self.lost = self.lost.saturating_add(1),
                Err(TrySendError::Disconnected(_)) => self.channel = None,
            }
        }
    }

    /// Alerts that found the channel full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl fmt::Debug for Outlets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlets")
            .field("channel", &self.channel.is_some())
            .field("callbacks", &self.callbacks.len())
            .field("lost", &self.lost)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Evidence, Shape, Trend};

    fn minutes(n: u64) -> Duration {
        Duration::from_secs(60 * n)
    }

    fn leak(mib_per_h: f64) -> Verdict {
        let bytes_per_second = mib_per_h * 1_048_576.0 / 3600.0;
        Verdict::Leak {
            rate: Trend { bytes_per_second, low: bytes_per_second, high: bytes_per_second },
            confidence: 0.9,
            since: Duration::ZERO,
            leaked: 0,
            shape: Shape::Linear,
            time_to_limit: None,
            evidence: Evidence::default(),
        }
    }

    fn steady() -> Verdict {
        Verdict::Steady { plateau: 0, evidence: Evidence::default() }
    }

    /// The minutes at which alerts went out, with their severities.
    fn run(verdicts: impl Iterator<Item = Verdict>) -> (Vec<(u64, Severity, u64)>, u64) {
        let config = LeakConfig::default();
        let mut alerts = Alerts::new(&config);
        let mut out = Vec::new();
        for (minute, verdict) in (0..).zip(verdicts) {
            let report = RuleReport::default();
            if let Some(alert) = alerts.step(minutes(minute), &verdict, &report, &config) {
                out.push((minute, alert.severity, alert.suppressed));
            }
        }
        (out, alerts.total())
    }

    #[test]
    fn a_standing_leak_is_told_once_an_hour() {
        let (out, total) = run((0..150).map(|_| leak(10.0)));
        let expected = [0, 60, 120].map(|minute| (minute, Severity::Warning, 0));
        assert_eq!(out, expected);
        assert_eq!(total, 3);
    }

    #[test]
    fn an_escalation_passes_at_once_and_flapping_is_counted_not_told() {
        let (out, total) =
            run((0..50).map(|i| leak(if i > 4 && i % 2 == 1 { 200.0 } else { 10.0 })));
        assert_eq!(out, [(0, Severity::Warning, 0), (5, Severity::Critical, 0)]);
        assert!(total > 40, "{total}");
    }

    #[test]
    fn a_leak_that_was_cleared_and_returned_is_new() {
        let (out, _) =
            run((0..30).map(|i| if (10..12).contains(&i) { steady() } else { leak(10.0) }));
        assert_eq!(out.iter().map(|(minute, ..)| *minute).collect::<Vec<_>>(), [0, 12]);
    }

    #[test]
    fn the_rules_alert_on_their_own_and_name_their_cause() {
        let config = LeakConfig::default();
        let mut alerts = Alerts::new(&config);
        let report = RuleReport {
            rss: Some(600 << 20),
            by_rss: Some(Severity::Critical),
            by_rate: Some(Severity::Warning),
            ..RuleReport::default()
        };
        let alert = alerts.step(minutes(0), &steady(), &report, &config).unwrap();
        assert_eq!(
            (alert.severity, alert.cause),
            (Severity::Critical, Cause::Rss { rss: 600 << 20 })
        );
    }

    #[test]
    fn outlets_hand_on_and_count_what_a_full_channel_lost() {
        let (seen, told) = crossbeam_channel::unbounded();
        let mut outlets = Outlets::new();
        let channel = outlets.channel(1);
        outlets.callback(move |alert| seen.send(alert.severity).unwrap());
        let alert = Alert {
            at: Duration::ZERO,
            severity: Severity::Warning,
            cause: Cause::Rss { rss: 1 },
            suppressed: 0,
        };
        outlets.deliver(&alert);
        outlets.deliver(&alert);
        assert_eq!(told.len(), 2);
        assert_eq!((channel.len(), outlets.lost()), (1, 1));
    }
}
