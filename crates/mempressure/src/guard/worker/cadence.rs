//! How far samples are apart, and how long the next one is waited for.

use std::time::Duration;

use memtrack::Stamp;

/// So many of the last interval are waited for.
const INTERVALS: u32 = 3;
/// But no less than this: an interval that was shortened goes back to its base from one sample to the next. Three of the
/// default ones.
const LEAST: Duration = Duration::from_secs(15);
/// As long as no two samples have shown how far they are apart.
const UNSEEN: Duration = Duration::from_secs(60);

/// The interval of the samples, as it shows in them.
#[derive(Debug, Default)]
pub(super) struct Cadence {
    last: Option<Duration>,
    interval: Option<Duration>,
}

impl Cadence {
    pub(super) fn see(&mut self, at: &Stamp) {
        let last = self.last.replace(at.monotonic);
        if let Some(last) = last
            && !at.gap
        {
            self.interval = Some(at.monotonic.saturating_sub(last));
        }
    }

    /// Without a sample for this long, something keeps them from coming.
    pub(super) fn patience(&self) -> Duration {
        self.interval.map_or(UNSEEN, |interval| interval.saturating_mul(INTERVALS).max(LEAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_that_of_the_last_interval() {
        let mut cadence = Cadence::default();
        let at = |seconds| Stamp::synthetic(Duration::from_secs(seconds));
        cadence.see(&at(10));
        assert_eq!(cadence.patience(), UNSEEN);
        cadence.see(&at(15));
        assert_eq!(cadence.patience(), Duration::from_secs(15));
        cadence.see(&at(75));
        assert_eq!(cadence.patience(), Duration::from_secs(180));
        // After a gap it is not known; what was known still is the best guess.
        cadence.see(&Stamp { gap: true, ..at(36_000) });
        assert_eq!(cadence.patience(), Duration::from_secs(180));
        cadence.see(&at(36_001));
        assert_eq!(cadence.patience(), LEAST);
        cadence.see(&Stamp { monotonic: Duration::MAX, ..at(0) });
        assert_eq!(cadence.patience(), Duration::MAX);
    }
}
