//! What must be told, worked out without the program under test: from the script alone, and from all that was told before.

use std::time::Duration;

use memleak::{Severity, Verdict};

use crate::world::Settings;

/// One per cause, severity and hour, as `alert_throttle` says by default.
const THROTTLE: Duration = Duration::from_secs(3600);

/// Which alerts are due.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    leak: Cause,
    rss: Cause,
    /// All that was ever told.
    pub(crate) total: u64,
}

/// One cause, kept as a plain list of what was told in this episode.
#[derive(Debug, Default)]
struct Cause {
    held: Option<Severity>,
    told: Vec<(Duration, Severity)>,
}

impl Oracle {
    /// Begins anew: what comes next is new, whatever was told before.
    pub(crate) fn forget(&mut self) {
        (self.leak, self.rss) = Default::default();
    }

    /// The causes and severities of the alerts that are due at `at`.
    pub(crate) fn due(
        &mut self,
        at: Duration,
        rss: u64,
        verdict: &Verdict,
        settings: Settings,
    ) -> Vec<(&'static str, Severity)> {
        if matches!(verdict, Verdict::Steady { .. }) {
            self.leak.told.clear();
        }
        let leak = verdict.is_leak().then_some(Severity::Warning);
        let rss = if rss >= settings.rss_critical {
            Some(Severity::Critical)
        } else {
            (rss >= settings.rss_warning).then_some(Severity::Warning)
        };
        let due = [("leak", self.leak.due(at, leak)), ("rss", self.rss.due(at, rss))];
        let due: Vec<_> = due.into_iter().filter_map(|(name, due)| Some((name, due?))).collect();
        self.total += due.len() as u64;
        due
    }
}

impl Cause {
    fn due(&mut self, at: Duration, now: Option<Severity>) -> Option<Severity> {
        let was = std::mem::replace(&mut self.held, now);
        let severity = now?;
        let recent = |(told, _): &(Duration, Severity)| at - *told < THROTTLE;
        // What stands is told again an hour after anything was.
        if was == now && self.told.last().is_some_and(recent) {
            return None;
        }
        let worse = self.told.last().is_none_or(|(_, told)| severity > *told);
        if !worse && self.told.iter().filter(|(_, was)| *was == severity).any(recent) {
            return None;
        }
        self.told.push((at, severity));
        Some(severity)
    }
}
