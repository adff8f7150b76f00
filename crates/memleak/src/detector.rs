//! The streaming detector.

use std::time::Duration;

use crate::config::LeakConfig;
use crate::verdict::{Change, Evidence, Shape, Trend, Verdict, Why};

/// Growth below which nothing is called growing, in bytes.
const LEAST_GROWTH: f64 = 5.0 * 1_048_576.0;

/// A verdict on one series, kept up with each sample.
///
/// Settings may change while it runs ([`Detector::set_config`]): what has been learnt stays, and the next look uses the
/// new ones.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Detector {
    min_samples: u64,
    limit: Option<u64>,
    first: Option<f64>,
    last: f64,
    n: f64,
    mean_t: f64,
    mean_y: f64,
    stt: f64,
    sty: f64,
    syy: f64,
    next_look: u64,
    verdict: Verdict,
}

impl Detector {
    /// A detector that has seen nothing.
    #[must_use]
    pub fn new(config: &LeakConfig) -> Self {
        Self {
            min_samples: u64::from(config.min_samples),
            limit: None,
            first: None,
            last: 0.0,
            n: 0.0,
            mean_t: 0.0,
            mean_y: 0.0,
            stt: 0.0,
            sty: 0.0,
            syy: 0.0,
            next_look: 1,
            verdict: Verdict::Undecided {
                why: Why::TooFewSamples,
                watch_for: None,
                evidence: Evidence::default(),
            },
        }
    }

    /// Takes new settings; they count from the next look on.
    pub fn set_config(&mut self, config: &LeakConfig) {
        self.min_samples = u64::from(config.min_samples);
    }

    /// The size, in bytes, at which the target would fail, for [`Verdict::Leak`]'s `time_to_limit`; `None`: not known.
    pub fn set_limit(&mut self, bytes: Option<u64>) {
        self.limit = bytes;
    }

    /// Takes one sample: `bytes` at `at`, on a clock that should not go back.
    ///
    /// Returns the change when the verdict becomes one of another kind.
    pub fn push(&mut self, at: Duration, bytes: u64) -> Option<Change> {
        let t = at.as_secs_f64();
        let y = bytes as f64;
        let first = *self.first.get_or_insert(t);
        self.last = t;
        self.n += 1.0;
        let (dt, dy) = (t - first - self.mean_t, y - self.mean_y);
        self.mean_t += dt / self.n;
        self.mean_y += dy / self.n;
        self.stt += dt * (t - first - self.mean_t);
        self.sty += dt * (y - self.mean_y);
        self.syy += dy * (y - self.mean_y);
        if (self.n as u64) < self.next_look {
            return None;
        }
        self.next_look = (self.n * 1.05).ceil() as u64;
        self.look(at)
    }

    /// Tells that the process started (again) before the next sample: what follows is a new segment.
    pub fn restarted(&mut self) {}

    /// Looks now, at everything pushed so far. Call it at the end of a run; while samples come, [`Detector::push`]
    /// looks often enough by itself.
    pub fn conclude(&mut self) -> Option<Change> {
        let at = Duration::try_from_secs_f64(self.last).unwrap_or_default();
        self.look(at)
    }

    /// The verdict of the last look.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn look(&mut self, at: Duration) -> Option<Change> {
        let mut evidence = Evidence { samples: self.n as u64, ..Evidence::default() };
        let verdict = if evidence.samples < self.min_samples || self.stt <= 0.0 {
            Verdict::Undecided { why: Why::TooFewSamples, watch_for: None, evidence }
        } else {
            let slope = self.sty / self.stt;
            let span = self.last - self.first.unwrap_or(self.last);
            let noise = ((self.syy - slope * self.sty).max(0.0) / (self.n - 2.0)).sqrt();
            let half = 2.0 * noise / self.stt.sqrt();
            let rate = Trend { bytes_per_second: slope, low: slope - half, high: slope + half };
            evidence.watched = Duration::try_from_secs_f64(span).unwrap_or_default();
            evidence.trend = Some(rate);
            evidence.noise = Some(noise as u64);
            evidence.floor = Some((2.0 * half).max(LEAST_GROWTH / span));
            if slope * span >= LEAST_GROWTH.max(3.5 * noise) && slope > 2.0 * half && span >= 8.0 {
                Verdict::Leak {
                    rate,
                    confidence: 0.9,
                    since: Duration::try_from_secs_f64(self.last - span).unwrap_or_default(),
                    leaked: (slope * span) as u64,
                    shape: Shape::Linear,
                    time_to_limit: None,
                    evidence,
                }
            } else if slope * span >= LEAST_GROWTH && slope > half {
                let watch_for = Duration::from_secs(8);
                Verdict::Growing { rate, watch_for, evidence }
            } else {
                Verdict::Steady { plateau: self.mean_y as u64, evidence }
            }
        };
        let changed = verdict.kind() != self.verdict.kind();
        let from = std::mem::replace(&mut self.verdict, verdict);
        changed.then(|| Change { at, from, to: self.verdict.clone() })
    }
}
