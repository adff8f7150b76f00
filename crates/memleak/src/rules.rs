//! The plain rules beside the verdict: growth over a recent window and RSS against fixed thresholds.
//!
//! They are what many services start with, and are reported apart from the verdict: they cannot tell a leak from a
//! warm-up and do not try.

use std::fmt;
use std::time::Duration;

use crate::config::LeakConfig;
use crate::filter::Clock;
use crate::regression::Recent;

/// Samples that the median baseline is taken from; beyond that every other one is dropped.
const BASELINE_SAMPLES: usize = 256;
/// Samples that must span the baseline window.
const BASELINE_LEAST: usize = 5;
/// A slope below this many of its standard errors earns nothing, and none does that makes less than `leak.least_growth` over the
/// samples it is of. What moves by 1 MiB up and down never makes more than twice the root of three, 3.5 MiB, however few or close
/// the samples are: no correlation is above 1.
pub(crate) const ERRORS: f64 = 3.0;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing. Nothing in this crate is told at this severity; growth that is not confirmed asks for no alert.
    Info,
    /// Worth a look.
    Warning,
    /// Worth waking somebody.
    Critical,
}

/// Why the rules say nothing of growth. Displays as a fragment: "the baseline does not stand yet".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Waits {
    /// Too few samples, or over too short a time, for the median at the start.
    Baseline,
    /// Fewer samples so far than `leak.min_samples`.
    Samples,
    /// The whole window holds fewer samples than `leak.min_samples`: at this interval the rule never speaks.
    Window,
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Waits::Baseline => "the baseline does not stand yet",
            Waits::Samples => "fewer samples than `leak.min_samples`",
            Waits::Window => {
                "at this interval `leak.window` never holds `leak.min_samples` samples"
            }
        })
    }
}

/// What the rules say now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RuleReport {
    /// The reference level: the median over the first baseline window, in bytes.
    pub baseline: Option<u64>,
    /// Least-squares growth over the recent window, in bytes per second; `None` until there are samples enough and the
    /// baseline stands.
    pub growth: Option<f64>,
    /// Why there is no growth, when there is none.
    pub waits: Option<Waits>,
    /// Samples in the recent window.
    pub samples: u64,
    /// What the growth earns, if anything. Growth that makes less than `leak.least_growth` over the samples it is of earns
    /// nothing: it may be noise, and over a window too short for more the rule needs a lower `leak.least_growth` to speak.
    pub by_rate: Option<Severity>,
    /// The newest RSS, in bytes.
    pub rss: Option<u64>,
    /// What the RSS earns, if anything.
    pub by_rss: Option<Severity>,
}

impl RuleReport {
    /// The worse of the two.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.by_rate.max(self.by_rss)
    }
}

/// The rules over one series. Memory is bounded by the number of parts, whatever the interval.
#[derive(Clone, Debug)]
pub struct Rules {
    config: LeakConfig,
    recent: Recent,
    clock: Clock,
    first: Option<f64>,
    last: f64,
    early: Vec<f64>,
    /// One early sample in this many is kept.
    stride: u64,
    early_seen: u64,
    baseline: Option<f64>,
    newest: Option<u64>,
}

impl Rules {
    /// Rules that have seen nothing.
    #[must_use]
    pub fn new(config: &LeakConfig) -> Self {
        Self {
            config: config.clone(),
            recent: Recent::default(),
            clock: Clock::default(),
            first: None,
            last: f64::NEG_INFINITY,
            early: Vec::new(),
            stride: 1,
            early_seen: 0,
            baseline: None,
            newest: None,
        }
    }

    /// Takes new settings; the window's length counts from the next sample on.
    pub fn set_config(&mut self, config: &LeakConfig) {
        self.config = config.clone();
    }

    /// The process was started (again): the baseline and the window begin anew.
    pub fn restarted(&mut self) {
        *self = Self::new(&self.config.clone());
    }

    /// Takes one sample. A second one at the same time adds its size but no growth; after a step back of the clock one
    /// ordinary interval has passed.
    pub fn push(&mut self, at: Duration, bytes: u64) {
        let y = bytes as f64;
        self.newest = Some(bytes);
        let Some(t) = self.clock.advance(at.as_secs_f64()).filter(|t| *t > self.last) else {
            return;
        };
        self.last = t;
        let first = *self.first.get_or_insert(t);
        self.learn(t - first, y);
        self.recent.push(t, y, self.config.window.as_secs_f64());
    }

    fn learn(&mut self, age: f64, y: f64) {
        if self.baseline.is_some() {
            return;
        }
        if self.early_seen.is_multiple_of(self.stride) {
            self.early.push(y);
        }
        self.early_seen += 1;
        if self.early.len() == BASELINE_SAMPLES {
            let mut keep = false;
            self.early.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
        }
        if age >= self.config.baseline_window.as_secs_f64() && self.early.len() >= BASELINE_LEAST {
            self.baseline = Some(crate::window::median(&mut self.early));
            self.early = Vec::new();
        }
    }

    /// What the rules say now.
    #[must_use]
    pub fn report(&self) -> RuleReport {
        let sums = self.recent.sums();
        let samples = sums.map_or(0, |sums| sums.n as u64);
        let waits = self.waits(samples);
        let growth = sums.filter(|_| waits.is_none()).and_then(|sums| sums.slope());
        let grown = |slope: f64| sums.map_or(0.0, |sums| slope * sums.width());
        let by_rate = growth
            .filter(|(slope, error)| *slope >= ERRORS * error)
            .filter(|(slope, _)| grown(*slope) >= self.config.least_growth as f64)
            .and_then(|(slope, _)| self.by_rate(slope));
        RuleReport {
            baseline: self.baseline.map(|bytes| bytes as u64),
            growth: growth.map(|(slope, _)| slope),
            waits,
            samples,
            by_rate,
            rss: self.newest,
            by_rss: self.newest.and_then(|bytes| self.by_rss(bytes)),
        }
    }

    fn waits(&self, samples: u64) -> Option<Waits> {
        let lasted = self.first.map_or(0.0, |first| self.last - first);
        if samples < u64::from(self.config.min_samples) {
            let window = self.config.window.as_secs_f64();
            let least =
                f64::from(self.config.min_samples.saturating_sub(1)) * self.clock.interval();
            // After a gap the window fills again.
            let never = lasted > window && least > window;
            return Some(if never { Waits::Window } else { Waits::Samples });
        }
        self.baseline.is_none().then_some(Waits::Baseline)
    }

    fn by_rate(&self, slope: f64) -> Option<Severity> {
        if slope >= self.config.critical_rate {
            Some(Severity::Critical)
        } else {
            (slope >= self.config.warning_rate).then_some(Severity::Warning)
        }
    }

    fn by_rss(&self, bytes: u64) -> Option<Severity> {
        let reaches = |limit: Option<u64>| limit.is_some_and(|limit| bytes >= limit);
        if reaches(self.config.rss_critical) {
            Some(Severity::Critical)
        } else {
            reaches(self.config.rss_warning).then_some(Severity::Warning)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    /// An hour at one sample each five seconds: `rate` MiB/h and a disturbance of at most 1 MiB.
    fn hour(rate: f64) -> RuleReport {
        let config = LeakConfig { rss_warning: None, rss_critical: None, ..LeakConfig::default() };
        let mut rules = Rules::new(&config);
        for i in 0..720u32 {
            let t = f64::from(i) * 5.0;
            let noise = f64::from(i.wrapping_mul(2_654_435_761) >> 8) / f64::from(1u32 << 23) - 1.0;
            let bytes = (200.0 + rate * t / 3600.0 + noise) * MIB;
            rules.push(Duration::from_secs_f64(t), bytes as u64);
        }
        rules.report()
    }

    #[test]
    fn a_hundred_mib_an_hour_is_measured_within_ten_percent() {
        let report = hour(100.0);
        let measured = report.growth.unwrap() * 3600.0 / MIB;
        assert!((90.0..110.0).contains(&measured), "{measured}");
        assert!(report.by_rate >= Some(Severity::Warning));
        assert_eq!(hour(120.0).by_rate, Some(Severity::Critical));
        assert_eq!(hour(70.0).by_rate, Some(Severity::Warning));
    }

    #[test]
    fn a_disturbance_of_one_mib_is_no_growth() {
        let report = hour(0.0);
        assert_eq!(report.severity(), None, "{report:?}");
        assert!(report.growth.unwrap().abs() * 3600.0 < 2.0 * MIB, "{report:?}");
    }

    #[test]
    fn nothing_is_said_of_growth_before_the_baseline_stands() {
        let mut rules = Rules::new(&LeakConfig::default());
        for i in 0..200u64 {
            rules.push(Duration::from_secs(i), i << 20);
            assert_eq!(rules.report().growth, None);
        }
        rules.push(Duration::from_secs(300), 300 << 20);
        assert_eq!(rules.report().baseline, Some(100 << 20));
        assert!(rules.report().growth.is_some());
    }

    #[test]
    fn a_rule_that_can_never_speak_says_so() {
        let mut rules = Rules::new(&LeakConfig::default());
        assert_eq!(rules.report().waits, Some(Waits::Samples));
        for i in 0..20u64 {
            rules.push(Duration::from_secs(600 * i), i << 20);
        }
        assert_eq!((rules.report().growth, rules.report().waits), (None, Some(Waits::Window)));
        let mut rules = Rules::new(&LeakConfig::default());
        for i in 0..20u64 {
            rules.push(Duration::from_secs(i), i << 20);
        }
        assert_eq!(rules.report().waits, Some(Waits::Baseline));
        assert_eq!(hour(0.0).waits, None);
    }

    #[test]
    fn a_disturbance_of_one_mib_is_no_growth_over_any_window_nor_after_any_gap() {
        let none = LeakConfig { rss_warning: None, rss_critical: None, ..LeakConfig::default() };
        let short = LeakConfig { window: Duration::from_secs(60), ..none.clone() };
        // SplitMix64 of S. Vigna.
        let mut state = 12u64;
        let mut noise = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        for (config, interval) in [(&none, 0.1f64), (&none, 1.0), (&none, 5.0), (&short, 1.0)] {
            for run in 0..100 {
                let mut rules = Rules::new(config);
                let mut t = 0.0;
                for i in 0..1000 {
                    t += if i < 600 { interval.max(1.0) } else { interval };
                    t += if i == 600 { 7200.0 } else { 0.0 };
                    let bytes = (200.0 + noise()) * MIB;
                    rules.push(Duration::from_secs_f64(t), bytes as u64);
                    assert_eq!(rules.report().by_rate, None, "{interval} s, run {run}, sample {i}");
                }
            }
        }
    }

    #[test]
    fn growth_shows_soon_after_a_gap_and_over_a_short_window() {
        let mut rules = Rules::new(&LeakConfig::default());
        for i in 0..600 {
            rules.push(Duration::from_secs(i), 200 << 20);
        }
        // 300 MiB/h: 5 MiB take a minute.
        for i in 0..70 {
            rules.push(Duration::from_secs(7800 + i), (200 << 20) + i * 87_381);
        }
        assert_eq!(rules.report().by_rate, Some(Severity::Critical), "{:?}", rules.report());
        let short = LeakConfig { window: Duration::from_secs(60), ..LeakConfig::default() };
        let least = LeakConfig { least_growth: 1 << 20, ..short.clone() };
        for (config, found) in [(short, None), (least, Some(Severity::Critical))] {
            let mut rules = Rules::new(&config);
            for i in 0..600 {
                // 105 MiB/h make 1.75 MiB a minute.
                rules.push(Duration::from_secs(i), (200 << 20) + i * 30_583);
            }
            assert_eq!(rules.report().by_rate, found, "{:?}", rules.report());
        }
    }

    #[test]
    fn a_window_that_fills_again_after_a_gap_waits_for_samples() {
        let mut rules = Rules::new(&LeakConfig::default());
        for i in 0..720 {
            rules.push(Duration::from_secs(5 * i), 200 << 20);
        }
        for i in 0..12 {
            rules.push(Duration::from_secs(10_800 + 5 * i), 200 << 20);
            let waits = (i < 9).then_some(Waits::Samples);
            assert_eq!(rules.report().waits, waits, "sample {i}");
        }
    }

    #[test]
    fn a_clock_that_steps_back_stops_no_rule() {
        let mut rules = Rules::new(&LeakConfig::default());
        for i in 0..1440u64 {
            let at = if i < 720 { 100_000 + 5 * i } else { 5 * i };
            rules.push(Duration::from_secs(at), (200 << 20) + i * 200_000);
        }
        // 40 000 bytes a second, through the step.
        let growth = rules.report().growth.unwrap();
        assert!((growth / 40_000.0 - 1.0).abs() < 0.01, "{growth}");
        assert!(rules.report().samples <= 730, "{:?}", rules.report());
    }

    #[test]
    fn rss_thresholds_hold_at_once_and_can_be_left_out() {
        let mut rules = Rules::new(&LeakConfig::default());
        rules.push(Duration::ZERO, 256 << 20);
        assert_eq!(rules.report().by_rss, Some(Severity::Warning));
        rules.push(Duration::from_secs(1), 512 << 20);
        assert_eq!(rules.report().by_rss, Some(Severity::Critical));
        rules.set_config(&LeakConfig {
            rss_warning: None,
            rss_critical: None,
            ..LeakConfig::default()
        });
        assert_eq!(rules.report().by_rss, None);
    }

    #[test]
    fn old_growth_leaves_the_window_and_memory_stays_bounded() {
        let mut rules = Rules::new(&LeakConfig::default());
        for i in 0..100_000u64 {
            let bytes = if i < 20_000 { i * 65_536 } else { 20_000 * 65_536 };
            rules.push(Duration::from_secs(i), bytes);
        }
        assert!(rules.report().growth.unwrap().abs() < 1.0, "{:?}", rules.report());
        assert!(rules.recent.parts() <= 122, "{}", rules.recent.parts());
    }
}
