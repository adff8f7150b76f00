//! What must be told, worked out without the program under test: from the script alone, and from all that was told before.

use std::time::Duration;

use memleak::Severity;

use crate::world::Settings;

/// One per severity and hour, as `alert_throttle` says by default.
const THROTTLE: Duration = Duration::from_secs(3600);

/// Which alerts are due, kept as plain lists of what was asked and told in this episode.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    asked: Vec<(Duration, Severity)>,
    told: Vec<(Duration, Severity)>,
    /// All that was ever told.
    pub(crate) total: u64,
}

impl Oracle {
    /// Begins anew: what comes next is new, whatever was told before.
    pub(crate) fn forget(&mut self) {
        self.asked.clear();
        self.told.clear();
    }

    /// Whether an alert of which severity is due at `at`.
    pub(crate) fn due(
        &mut self,
        at: Duration,
        rss: u64,
        leak: bool,
        settings: Settings,
    ) -> Option<Severity> {
        let severity = if rss >= settings.rss_critical {
            Severity::Critical
        } else if rss >= settings.rss_warning || leak {
            Severity::Warning
        } else {
            self.forget();
            return None;
        };
        let standing = self
            .asked
            .last()
            .is_some_and(|(asked, was)| *was == severity && at - *asked < THROTTLE);
        if standing {
            return None;
        }
        self.asked.push((at, severity));
        let worse = self.told.last().is_none_or(|(_, told)| severity > *told);
        let recent = self.told.iter().any(|(told, was)| *was == severity && at - *told < THROTTLE);
        if recent && !worse {
            return None;
        }
        self.told.push((at, severity));
        self.total += 1;
        Some(severity)
    }
}
