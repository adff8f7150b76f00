//! The pure cores: any series of samples, however absurd.

use std::time::{Duration, SystemTime};

use memleak::{Detector, LeakConfig};
use mempressure::{BudgetConfig, Machine, PressureConfig, Rules};
use memtrack::{Absent, Reading, Sample, Stamp};

/// Takes numbers off the front; zeros when nothing is left.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Mostly small steps, sometimes any number at all.
    fn number(&mut self) -> u64 {
        match self.byte() {
            0 => 0,
            1 => u64::MAX,
            2..=9 => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
            shift => u64::from(self.byte()) << (shift % 56),
        }
    }

    fn reading(&mut self) -> Reading<u64> {
        if self.byte() < 32 { Err(Absent::Malformed) } else { Ok(self.number()) }
    }
}

/// The detector on a series whose times may stand still, jump or go back.
pub(crate) fn detector(bytes: &[u8]) {
    let mut numbers = Numbers(bytes);
    let mut detector = Detector::new(&LeakConfig::default());
    detector.set_limit(numbers.reading().ok());
    let mut at = Duration::ZERO;
    while !numbers.0.is_empty() {
        at = match numbers.byte() {
            0 => Duration::from_nanos(numbers.number()),
            1 => {
                detector.restarted();
                at
            }
            step => at.saturating_add(Duration::from_millis(u64::from(step) * 40)),
        };
        detector.push(at, numbers.number());
    }
    detector.conclude();
    let verdict = detector.verdict();
    assert!(!verdict.words().is_empty());
    for value in
        verdict.trend().iter().flat_map(|trend| [trend.bytes_per_second, trend.low, trend.high])
    {
        assert!(!value.is_nan(), "{verdict:?}");
    }
}

/// The level machine on any samples.
pub(crate) fn level(bytes: &[u8]) {
    let mut numbers = Numbers(bytes);
    let (pressure, budget) = (PressureConfig::default(), BudgetConfig::default());
    let mut machine = Machine::new();
    let mut at = Duration::ZERO;
    while !numbers.0.is_empty() {
        at = match numbers.byte() {
            0 => Duration::from_nanos(numbers.number()),
            step => at.saturating_add(Duration::from_millis(u64::from(step) * 40)),
        };
        let mut sample =
            Sample::empty(Stamp { monotonic: at, wall: SystemTime::UNIX_EPOCH, gap: false });
        sample.process.rss = numbers.reading();
        sample.process.swap = numbers.reading();
        sample.system.total = numbers.reading();
        sample.system.available = numbers.reading();
        sample.cgroup.usage = numbers.reading();
        sample.cgroup.inactive_file = numbers.reading();
        sample.cgroup.limit = numbers.reading();
        let before = machine.level();
        let rules = Rules { pressure: &pressure, budget: &budget, generation: 1 };
        if let Some(transition) = machine.step(&rules, &sample) {
            assert_eq!((transition.from, transition.to), (before, machine.level()));
        } else {
            assert_eq!(before, machine.level(), "a level changed without a transition");
        }
    }
}
