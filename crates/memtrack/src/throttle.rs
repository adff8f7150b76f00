//! At most one message per severity and time; an escalation always passes; nothing suppressed goes uncounted.

use std::time::Duration;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Deliver it. `suppressed` messages were held back since the last one that was delivered.
    Deliver {
        /// How many were held back.
        suppressed: u64,
    },
    /// Hold it back; it has been counted.
    Hold,
}

/// A throttle for one subject: one target's leak alerts, one file's warnings.
///
/// Pure: the time comes from the caller, as a [`Duration`] on any clock that does not go back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Throttle<S> {
    last: Option<S>,
    delivered: Vec<(S, Duration)>,
    suppressed: u64,
    total: u64,
}

impl<S> Default for Throttle<S> {
    fn default() -> Self {
        Self { last: None, delivered: Vec::new(), suppressed: 0, total: 0 }
    }
}

impl<S: Ord + Copy> Throttle<S> {
    /// A throttle that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks whether a message of `severity` may go out at `now`, at most once per `interval` and severity.
    ///
    /// A severity above that of the last delivered message is an escalation and always passes.
    pub fn ask(&mut self, severity: S, now: Duration, interval: Duration) -> Pass {
        self.total = self.total.saturating_add(1);
        let escalates = self.last.is_none_or(|last| severity > last);
        let slot = self.delivered.iter().position(|(known, _)| *known == severity);
        let due = slot.is_none_or(|slot| now.saturating_sub(self.delivered[slot].1) >= interval);
        if !escalates && !due {
            self.suppressed = self.suppressed.saturating_add(1);
            return Pass::Hold;
        }
        match slot {
            Some(slot) => self.delivered[slot].1 = now,
            None => self.delivered.push((severity, now)),
        }
        self.last = Some(severity);
        Pass::Deliver { suppressed: std::mem::take(&mut self.suppressed) }
    }

    /// The subject is well again: the next message is a new one, whatever was delivered before.
    pub fn reset(&mut self) {
        self.last = None;
        self.delivered.clear();
    }

    /// All messages asked about so far, delivered or not.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn minutes(n: u64) -> Duration {
        Duration::from_secs(60 * n)
    }

    #[test]
    fn one_per_severity_and_hour_with_the_held_back_counted() {
        let mut throttle = Throttle::new();
        assert_eq!(throttle.ask(1, minutes(0), HOUR), Pass::Deliver { suppressed: 0 });
        assert_eq!(throttle.ask(1, minutes(30), HOUR), Pass::Hold);
        assert_eq!(throttle.ask(1, minutes(59), HOUR), Pass::Hold);
        assert_eq!(throttle.ask(1, minutes(60), HOUR), Pass::Deliver { suppressed: 2 });
        assert_eq!(throttle.total(), 4);
    }

    #[test]
    fn an_escalation_passes_at_once_and_flapping_does_not() {
        let mut throttle = Throttle::new();
        assert_eq!(throttle.ask(1, minutes(0), HOUR), Pass::Deliver { suppressed: 0 });
        assert_eq!(throttle.ask(2, minutes(1), HOUR), Pass::Deliver { suppressed: 0 });
        for minute in 2..30 {
            assert_eq!(
                throttle.ask(1 + minute % 2, minutes(minute), HOUR),
                Pass::Hold,
                "minute {minute}"
            );
        }
    }

    #[test]
    fn after_a_reset_the_next_message_is_new() {
        let mut throttle = Throttle::new();
        throttle.ask(1, minutes(0), HOUR);
        throttle.reset();
        assert!(matches!(throttle.ask(1, minutes(1), HOUR), Pass::Deliver { .. }));
    }

    proptest! {
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0u8..3, 0u64..120), 0..200)) {
            let mut throttle = Throttle::new();
            let (mut now, mut delivered, mut reported) = (0, 0u64, 0u64);
            let asked = steps.len() as u64;
            for (severity, wait) in steps {
                now += wait;
                if let Pass::Deliver { suppressed } = throttle.ask(severity, minutes(now), HOUR) {
                    delivered += 1;
                    reported += suppressed;
                }
            }
            prop_assert_eq!(throttle.total(), asked);
            prop_assert_eq!(delivered + reported + throttle.suppressed, asked);
        }
    }
}
