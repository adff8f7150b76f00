//! When to tell somebody: severity, throttle, escalation, and delivery.

use std::fmt;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use memtrack::{Pass, Throttle};

use crate::config::LeakConfig;
use crate::filter::Clock;
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
    /// What it is about.
    pub cause: Cause,
    /// Alerts on the same cause held back since the last one that was delivered.
    pub suppressed: u64,
}

/// Decides which alerts go out. Pure: the time comes with the verdict.
///
/// Each cause has its own throttle, so that one that stands never hides another: a leak, a rate, a size. An alert is
/// asked for when something begins to hold, when it becomes worse, and again each time the throttle's interval has passed
/// while it still holds. What comes and goes within the interval is held back and counted. Only a leak that became
/// [`Verdict::Steady`] is over: when it returns it is a new one and is told at once.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    leak: Subject,
    rate: Subject,
    rss: Subject,
    clock: Clock,
    /// Seconds of the last step, repaired.
    now: f64,
}

/// One cause: what holds of it, and when it was told last.
#[derive(Clone, Debug, Default)]
struct Subject {
    throttle: Throttle<Severity>,
    holding: Option<Severity>,
    told: Duration,
}

impl Subject {
    /// How many were held back before, when one is to go out now.
    fn step(&mut self, at: Duration, now: Option<Severity>, interval: Duration) -> Option<u64> {
        let was = std::mem::replace(&mut self.holding, now);
        let severity = now?;
        if was == now && at.saturating_sub(self.told) < interval {
            return None;
        }
        match self.throttle.ask(severity, at, interval) {
            Pass::Deliver { suppressed } => {
                self.told = at;
                Some(suppressed)
            }
            Pass::Hold => None,
        }
    }
}

impl Alerts {
    /// No alert so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All alerts asked for so far, delivered or held back.
    #[must_use]
    pub fn total(&self) -> u64 {
        let [leak, rate, rss] =
            [&self.leak, &self.rate, &self.rss].map(|subject| subject.throttle.total());
        leak.saturating_add(rate).saturating_add(rss)
    }

    /// The alerts to deliver now, at most one for each cause; mostly none. After a step back of the clock one ordinary interval
    /// has passed.
    pub fn step(
        &mut self,
        at: Duration,
        verdict: &Verdict,
        rules: &RuleReport,
        config: &LeakConfig,
    ) -> Vec<Alert> {
        let interval = config.alert_throttle;
        self.now = self.clock.advance(at.as_secs_f64()).unwrap_or(self.now);
        let now = Duration::try_from_secs_f64(self.now).unwrap_or(Duration::MAX);
        let leak = of_verdict(verdict, config);
        if matches!(verdict, Verdict::Steady { .. }) {
            self.leak.throttle.reset();
        }
        // The growth of a leak that is told is not told a second time under the name of a rule.
        let rate = rules.by_rate.filter(|severity| Some(*severity) > leak);
        let mut out = Vec::new();
        let mut told = |severity: Option<Severity>, suppressed, cause: &dyn Fn() -> Cause| {
            if let (Some(severity), Some(suppressed)) = (severity, suppressed) {
                out.push(Alert { at, severity, cause: cause(), suppressed });
            }
        };
        let cause = || Cause::Leak { verdict: Box::new(verdict.clone()) };
        told(leak, self.leak.step(now, leak, interval), &cause);
        let cause = || Cause::Rate { growth: rules.growth.unwrap_or(0.0) };
        told(rate, self.rate.step(now, rate, interval), &cause);
        let cause = || Cause::Rss { rss: rules.rss.unwrap_or(0) };
        told(rules.by_rss, self.rss.step(now, rules.by_rss, interval), &cause);
        out
    }
}

fn of_verdict(verdict: &Verdict, config: &LeakConfig) -> Option<Severity> {
    let Verdict::Leak { rate, .. } = verdict else { return None };
    let critical = rate.bytes_per_second >= config.critical_rate;
    Some(if critical { Severity::Critical } else { Severity::Warning })
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
        let mut alerts = Alerts::new();
        let mut out = Vec::new();
        for (minute, verdict) in (0..).zip(verdicts) {
            let report = RuleReport::default();
            for alert in alerts.step(minutes(minute), &verdict, &report, &config) {
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
    fn a_clock_that_steps_back_holds_no_alert_back() {
        let config = LeakConfig::default();
        let mut alerts = Alerts::new();
        let mut out = Vec::new();
        for minute in 0..300 {
            // Back by a day after 100 minutes; a size that stands is told once an hour.
            let at = minutes(if minute < 100 { 1500 + minute } else { 60 + minute });
            let size = (!(110..200).contains(&minute)).then_some(Severity::Warning);
            let report = RuleReport { by_rss: size, ..RuleReport::default() };
            let told = alerts.step(at, &steady(), &report, &config);
            out.extend(told.into_iter().map(|alert| {
                assert_eq!(alert.at, at);
                minute
            }));
        }
        assert_eq!(out, [0, 60, 200, 260]);
    }

    #[test]
    fn a_leak_that_was_cleared_and_returned_is_new() {
        let (out, _) =
            run((0..30).map(|i| if (10..12).contains(&i) { steady() } else { leak(10.0) }));
        assert_eq!(out.iter().map(|(minute, ..)| *minute).collect::<Vec<_>>(), [0, 12]);
    }

    #[test]
    fn a_leak_in_doubt_is_the_same_leak() {
        let (out, total) =
            run((0..120).map(|i| if i % 2 == 1 { Verdict::unseen() } else { leak(10.0) }));
        assert_eq!(out, [(0, Severity::Warning, 0), (60, Severity::Warning, 29)]);
        assert_eq!(total, 60);
    }

    #[test]
    fn a_size_and_a_rate_that_flap_are_told_once_an_hour_and_counted() {
        let config = LeakConfig::default();
        let mut alerts = Alerts::new();
        let mut out = Vec::new();
        for minute in 0..180 {
            let now = (minute % 2 == 0).then_some(Severity::Warning);
            let report = RuleReport { by_rate: now, by_rss: now, ..RuleReport::default() };
            let told = alerts.step(minutes(minute), &steady(), &report, &config);
            out.extend(told.into_iter().map(|alert| (minute, alert.suppressed)));
        }
        assert_eq!(out, [(0, 0), (0, 0), (60, 29), (60, 29), (120, 29), (120, 29)]);
    }

    #[test]
    fn what_was_held_back_and_stands_is_told_once_the_interval_is_over() {
        let (out, _) =
            run((0..100)
                .map(|i| if (10..30).contains(&i) { Verdict::unseen() } else { leak(10.0) }));
        assert_eq!(out, [(0, Severity::Warning, 0), (60, Severity::Warning, 1)]);
    }

    #[test]
    fn a_size_that_stands_hides_no_leak() {
        let config = LeakConfig::default();
        let mut alerts = Alerts::new();
        let report = RuleReport {
            rss: Some(600 << 20),
            by_rss: Some(Severity::Critical),
            ..RuleReport::default()
        };
        let mut out = Vec::new();
        for minute in 0..60 {
            let verdict = if minute < 20 { steady() } else { leak(20.0) };
            for alert in alerts.step(minutes(minute), &verdict, &report, &config) {
                out.push((minute, alert.severity, matches!(alert.cause, Cause::Leak { .. })));
            }
        }
        assert_eq!(out, [(0, Severity::Critical, false), (20, Severity::Warning, true)]);
    }

    #[test]
    fn the_rules_alert_on_their_own_and_name_their_cause() {
        let config = LeakConfig::default();
        let mut alerts = Alerts::new();
        let report = RuleReport {
            rss: Some(600 << 20),
            by_rss: Some(Severity::Critical),
            growth: Some(9.0),
            by_rate: Some(Severity::Warning),
            ..RuleReport::default()
        };
        let told = alerts.step(minutes(0), &steady(), &report, &config);
        let told: Vec<_> = told.into_iter().map(|alert| (alert.severity, alert.cause)).collect();
        assert_eq!(
            told,
            [
                (Severity::Warning, Cause::Rate { growth: 9.0 }),
                (Severity::Critical, Cause::Rss { rss: 600 << 20 }),
            ]
        );
        // A leak at least as bad says the same of the growth, and more.
        let told = Alerts::new().step(minutes(0), &leak(60.0), &report, &config);
        assert!(matches!(told[0].cause, Cause::Leak { .. }) && told.len() == 2, "{told:?}");
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
