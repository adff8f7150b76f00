//! Decides which alerts go out. Pure: the time comes with the samples.

use std::time::Duration;

use memleak::{Alerts, Detector, LeakConfig, RuleReport, Rules, Severity, Verdict};
use mempressure::{Level, Transition};
use memtrack::{Pass, Throttle};

use crate::alert::{Alert, Cause};

/// How often sizes and rates are looked at, on the samples' clock. An alert is for people, and looking costs more than sampling.
const EVERY: Duration = Duration::from_secs(1);
/// How often the figures of a standing leak are: they cost more again, and change slowly.
const FIGURES: Duration = Duration::from_secs(30);

/// The subjects of alerts and their throttles: the growth of the target, and its pressure level.
#[derive(Debug)]
pub struct Alarms {
    rules: Rules,
    growth: Alerts,
    /// By level, so that an emergency still passes after a critical level was told.
    levels: Throttle<Level>,
    due: Duration,
    /// A leak, or what the verdict has just become, and when its figures were put together.
    shown: Option<(Duration, Verdict)>,
    /// What [`Alerts`] is shown while there is no leak and no change: its figures would cost and say nothing.
    quiet: Verdict,
}

impl Alarms {
    /// Alarms that have seen nothing.
    #[must_use]
    pub fn new(config: &LeakConfig) -> Self {
        Self {
            rules: Rules::new(config),
            growth: Alerts::new(),
            levels: Throttle::new(),
            due: Duration::ZERO,
            shown: None,
            quiet: Detector::new(config).verdict(),
        }
    }

    /// Takes new settings.
    pub fn set_config(&mut self, config: &LeakConfig) {
        self.rules.set_config(config);
    }

    /// The process was started (again): for the rules its life begins anew.
    pub fn restarted(&mut self) {
        self.rules.restarted();
    }

    /// What the plain rules say.
    #[must_use]
    pub fn rules(&self) -> RuleReport {
        self.rules.report()
    }

    /// What a change of level asks for: a rise to a warning or worse, at most once per level and throttle time, unless it
    /// is worse than the last that was told.
    pub fn level(&mut self, transition: &Transition, config: &LeakConfig) -> Option<Alert> {
        if !transition.is_escalation() {
            return None;
        }
        let severity = match transition.to {
            Level::Warning => Severity::Warning,
            _ => Severity::Critical,
        };
        match self.levels.ask(transition.to, transition.at, config.alert_throttle) {
            Pass::Deliver { suppressed } => {
                Some(Alert { severity, cause: Cause::Level(*transition), suppressed })
            }
            Pass::Hold => None,
        }
    }

    /// Takes one sample and asks what its growth and size are worth. `changed` says that the verdict became another one.
    pub fn growth(
        &mut self,
        at: Duration,
        rss: Option<u64>,
        detector: &Detector,
        changed: bool,
        config: &LeakConfig,
    ) -> Vec<Alert> {
        if let Some(rss) = rss {
            self.rules.push(at, rss);
        }
        if at < self.due && !changed {
            return Vec::new();
        }
        self.due = at.saturating_add(EVERY);
        let old = |then: Duration| changed || at.saturating_sub(then) >= FIGURES;
        match &self.shown {
            _ if !changed && !detector.leaks() => self.shown = None,
            Some((then, _)) if !old(*then) => {}
            _ => self.shown = Some((at, detector.verdict())),
        }
        let verdict = self.shown.as_ref().map_or(&self.quiet, |(_, verdict)| verdict);
        let alerts = self.growth.step(at, verdict, &self.rules.report(), config);
        let of = |alert: memleak::Alert| Alert {
            severity: alert.severity,
            cause: Cause::Growth(alert.cause),
            suppressed: alert.suppressed,
        };
        alerts.into_iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mempressure::Measure;

    fn to(from: Level, to: Level, minute: u64) -> Transition {
        let json = serde_json::json!({
            "from": from, "to": to, "at_seconds": 60 * minute, "signal": "cgroup",
            "measure": Measure::Ratio, "value": 0.9, "threshold": 0.8, "generation": 1,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_level_that_flaps_is_told_once_and_one_that_rises_at_once() {
        use Level::{Critical, Emergency, Normal, Warning};
        let config = LeakConfig::default();
        let mut alarms = Alarms::new(&config);
        let mut told = Vec::new();
        for (minute, from, into) in [
            (0, Level::Unknown, Normal),
            (1, Normal, Warning),
            (2, Warning, Normal),
            (3, Normal, Warning),
            (4, Warning, Normal),
            (5, Normal, Critical),
            (6, Critical, Emergency),
            (70, Warning, Critical),
        ] {
            if let Some(alert) = alarms.level(&to(from, into, minute), &config) {
                told.push((minute, alert.severity, alert.suppressed));
            }
        }
        let (warning, critical) = (Severity::Warning, Severity::Critical);
        assert_eq!(told, [(1, warning, 0), (5, critical, 1), (6, critical, 0), (70, critical, 0)]);
    }

    #[test]
    fn growth_is_told_when_the_verdict_changes_and_then_once_an_hour() {
        let config = LeakConfig { rss_warning: None, rss_critical: None, ..LeakConfig::default() };
        let (mut alarms, mut detector) = (Alarms::new(&config), Detector::new(&config));
        let mut told = Vec::new();
        for second in (0..7200u64).step_by(10) {
            let (at, bytes) = (Duration::from_secs(second), (100 + second) << 20);
            let changed = detector.push(at, bytes).is_some();
            for alert in alarms.growth(at, Some(bytes), &detector, changed, &config) {
                told.push((second, alert.severity, alert.cause.name()));
            }
        }
        assert!(told.iter().all(|(_, severity, _)| *severity == Severity::Critical), "{told:?}");
        // The plain rule speaks first; the verdict is told when it is there, and the rule is silent while it stands.
        let [(300, _, "rate"), (first, _, "leak"), (second, _, "leak")] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert!(*first < 3000 && *second == first + 3600, "{told:?}");
    }

    #[test]
    fn a_size_is_told_only_where_a_threshold_is_set() {
        let none = LeakConfig { rss_warning: None, rss_critical: None, ..LeakConfig::default() };
        let detector = Detector::new(&none);
        let ask = |config: &LeakConfig| {
            let at = Duration::from_secs(1);
            Alarms::new(config).growth(at, Some(400 << 20), &detector, false, config)
        };
        assert!(ask(&none).is_empty());
        let alert = ask(&LeakConfig::default()).remove(0);
        assert_eq!((alert.severity, alert.cause.name()), (Severity::Warning, "rss"));
        assert_eq!(alert.text(), "RSS is 400.0 MiB");
    }
}
