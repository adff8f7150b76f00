//! What is ordinary for a process, learnt from lives that became steady: how high it rises when it starts, how long that
//! takes, and how far it swings. A new life is held against it from its first sample on.

use crate::growth::MIB;
use crate::window::{History, quantile};

/// A life teaches when it has been steady for this share of its time.
const STEADY: f64 = 0.3;
/// A new life may take this many times as long to rise as the one that taught.
const PATIENCE: f64 = 2.0;
/// Of the rise of a life, so much may be missing for it to count as risen.
const RISEN: f64 = 0.1;
/// This share of the time on either side is left out of the swing: a spike of minutes each day says nothing about a rise
/// that lasts.
const SPIKES: f64 = 0.05;

/// What a steady life has shown. All in bytes and seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Profile {
    /// The level that it stayed at.
    pub(crate) plateau: f64,
    /// How long it rose until then.
    pub(crate) rise: f64,
    /// How far it moved once it was there, but for rare spikes: its swing and its noise.
    pub(crate) swing: f64,
}

impl Profile {
    /// What a life teaches that ended steady; `None` when it was still rising for most of its time.
    pub(crate) fn learn(history: &History) -> Option<Self> {
        let end = history.end();
        let plateau = history.level_since(end - STEADY * history.span(), 0.9)?;
        let rise = plateau - history.start()?;
        let least = plateau - (RISEN * rise).max(MIB);
        let risen = history.buckets().iter().find(|bucket| bucket.mean >= least)?;
        let until = history.middle(risen) - history.origin();
        if until > (1.0 - STEADY) * history.span() {
            return None;
        }
        let since = history.since(history.middle(risen));
        let mut levels: Vec<f64> = since.iter().map(|bucket| bucket.mean).collect();
        let swing = quantile(&mut levels, 1.0 - SPIKES) - quantile(&mut levels, SPIKES);
        Some(Self { plateau, rise: until, swing })
    }

    /// Whether a life that has reached `level` after `age` seconds does no more than the one that taught did: it starts.
    /// Half of `least`, the bytes below which growth is none, counts as no higher.
    pub(crate) fn is_start(&self, age: f64, level: f64, least: f64) -> bool {
        age <= PATIENCE * self.rise && level <= self.plateau + self.swing.max(0.5 * least)
    }

    #[cfg(feature = "worker")]
    pub(crate) fn is_sound(&self) -> bool {
        self.plateau.is_finite() && self.rise.is_finite() && self.swing.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(minutes: u32, level: impl Fn(f64) -> f64) -> History {
        let mut history = History::default();
        for minute in 0..minutes {
            history.push(60.0 * f64::from(minute), MIB * level(f64::from(minute)));
        }
        history
    }

    #[test]
    fn a_life_that_fills_and_stays_teaches_height_and_time() {
        let swing = |t: f64| if (t as u32).is_multiple_of(7) { -2.0 } else { 0.0 };
        let learnt = history(600, |t| 100.0 + t.min(180.0) + swing(t));
        let profile = Profile::learn(&learnt).unwrap();
        assert!((profile.plateau / MIB - 280.0).abs() < 1.0, "{profile:?}");
        assert!((profile.rise / 60.0 - 162.0).abs() < 5.0, "{profile:?}");
        assert!(profile.swing / MIB >= 1.9 && profile.swing / MIB < 2.1, "{profile:?}");
        assert!(profile.is_start(200.0 * 60.0, 270.0 * MIB, 5.0 * MIB));
        assert!(!profile.is_start(200.0 * 60.0, 290.0 * MIB, 5.0 * MIB), "above the plateau");
        assert!(!profile.is_start(400.0 * 60.0, 200.0 * MIB, 5.0 * MIB), "slower than ever");
    }

    #[test]
    fn a_life_that_was_still_rising_teaches_nothing() {
        assert_eq!(Profile::learn(&history(600, |t| 100.0 + t)), None);
        assert_eq!(Profile::learn(&History::default()), None);
    }
}
