//! What the property tests draw from: configurations in the ranges of the document, and streams of samples.
#![allow(dead_code, clippy::allow_attributes, reason = "each suite uses its part")]

use std::time::Duration;

use mempressure::{
    BudgetConfig, BudgetTotal, Level, Machine, PressureConfig, Rules, Signal, Status, Thresholds,
    Transition,
};
use memtrack::{Absent, Sample, Size, Stamp};
use proptest::prelude::*;

/// Ratios are drawn in parts of 10 000.
pub(crate) const PARTS: u64 = 10_000;

/// One sample as a test draws it: time since the one before, and the used parts of each ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    pub(crate) wait_ms: u64,
    pub(crate) gap: bool,
    pub(crate) system: Option<u64>,
    pub(crate) cgroup: Option<u64>,
    pub(crate) budget: Option<u64>,
}

impl Draw {
    pub(crate) fn system(used: u64, wait_ms: u64) -> Self {
        Self { wait_ms, gap: false, system: Some(used), cgroup: None, budget: None }
    }

    fn sample(&self, at: Duration) -> Sample {
        let mut sample = Sample::empty(Stamp { gap: self.gap, ..Stamp::synthetic(at) });
        let failed = Err(Absent::Failed(5));
        sample.system.total = Ok(PARTS << 20);
        sample.system.available = self.system.map_or(failed, |used| Ok((PARTS - used) << 20));
        sample.cgroup.limit = Ok(PARTS << 10);
        sample.cgroup.usage = self.cgroup.map_or(failed, |used| Ok(used << 10));
        sample.process.rss = self.budget.map_or(failed, |used| Ok(used << 12));
        sample
    }

    pub(crate) fn ratios(&self) -> [Option<f64>; 3] {
        [self.system, self.cgroup, self.budget].map(|used| Some(used? as f64 / PARTS as f64))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Stream(pub(crate) Vec<Draw>);

impl Stream {
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let mut at = Duration::ZERO;
        let next = |draw: &Draw| {
            at += Duration::from_millis(draw.wait_ms);
            draw.sample(at)
        };
        self.0.iter().map(next).collect()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) pressure: PressureConfig,
    pub(crate) budget: BudgetConfig,
}

impl Config {
    pub(crate) fn rules(&self, generation: u64) -> Rules<'_> {
        Rules { pressure: &self.pressure, budget: &self.budget, generation }
    }

    pub(crate) fn thresholds(&self, signal: usize) -> Thresholds {
        if signal < 2 {
            return self.pressure.thresholds;
        }
        let BudgetConfig { warning, prompt, emergency, .. } = self.budget;
        Thresholds { warning, critical: prompt, emergency }
    }
}

/// A stream, and the configurations it is seen under: the first, and others from some sample on.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) stream: Stream,
    pub(crate) first: Config,
    pub(crate) reloads: Vec<(prop::sample::Index, Config)>,
}

/// One look of the machine at a sample: a new one, or the last one again because the configuration has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look<'a> {
    /// The place of the sample in the stream.
    pub(crate) place: usize,
    pub(crate) sample: Sample,
    pub(crate) config: &'a Config,
    pub(crate) again: bool,
}

impl Story {
    pub(crate) fn looks(&self) -> Vec<Look<'_>> {
        let samples = self.stream.samples();
        let mut config = &self.first;
        let mut looks = Vec::new();
        for (place, sample) in samples.iter().enumerate() {
            looks.push(Look { place, sample: *sample, config, again: false });
            for (at, new) in &self.reloads {
                if at.index(samples.len()) == place {
                    config = new;
                    looks.push(Look { place, sample: *sample, config, again: true });
                }
            }
        }
        looks
    }
}

/// What the machine says after each look.
pub(crate) fn follow(looks: &[Look<'_>]) -> Vec<(Status, Option<Transition>)> {
    let mut machine = Machine::new();
    let mut step = |look: &Look<'_>| {
        let transition = machine.step(&look.config.rules(0), &look.sample);
        (machine.status(), transition)
    };
    looks.iter().map(&mut step).collect()
}

pub(crate) fn run(config: &Config, samples: &[Sample]) -> (Vec<Status>, Vec<Transition>) {
    let mut machine = Machine::new();
    let mut transitions = Vec::new();
    let statuses = samples.iter().map(|sample| {
        transitions.extend(machine.step(&config.rules(0), sample));
        machine.status()
    });
    (statuses.collect(), transitions)
}

pub(crate) fn levels(config: &Config, samples: &[Sample]) -> Vec<Level> {
    run(config, samples).0.iter().map(|status| status.level).collect()
}

prop_compose! {
    /// Thresholds rise, stand further apart than the band, and stay below 1.
    pub(crate) fn config()(
        warning in 0.30..0.60f64,
        first in 0.0..0.12f64,
        second in 0.0..0.07f64,
        band in 0.0..0.10f64,
        hold_ms in prop_oneof![Just(0u64), 1..20_000u64],
        budget in 0.50..0.95f64,
    ) -> Config {
        let critical = warning + band + first + 0.001;
        let emergency = critical + band + second + 0.001;
        let pressure = PressureConfig {
            signals: vec![Signal::System, Signal::Cgroup, Signal::Budget, Signal::Psi],
            thresholds: Thresholds { warning, critical, emergency },
            band,
            hold: Duration::from_millis(hold_ms),
            ..PressureConfig::default()
        };
        let budget = BudgetConfig {
            total: BudgetTotal::Size(Size(PARTS << 12)),
            warning: budget,
            prompt: budget + 0.02,
            emergency: budget + 0.04,
            ..BudgetConfig::default()
        };
        Config { pressure, budget }
    }
}

/// A ratio that is read with the given probability.
fn ratio(read: f64) -> impl Strategy<Value = Option<u64>> {
    prop::option::weighted(read, 2_000u64..=PARTS)
}

prop_compose! {
    fn draw(read: f64)(
        wait_ms in prop_oneof![5 => 1..3_000u64, 1 => 3_000..20_000u64],
        gap in prop::bool::weighted(0.05),
        system in ratio(read), cgroup in ratio(read), budget in ratio(read / 2.0),
    ) -> Draw {
        Draw { wait_ms, gap, system, cgroup, budget }
    }
}

/// Independent draws, some of them with signals that fall silent for long, and walks, which stay near one ratio for long enough that time matters.
pub(crate) fn stream() -> impl Strategy<Value = Stream> {
    let step = (-600i64..600, 1..3_000u64, prop::bool::weighted(0.02));
    let walk = (2_000..PARTS, prop::collection::vec(step, 1..120));
    prop_oneof![
        prop::collection::vec(draw(0.95), 1..120).prop_map(Stream),
        prop::collection::vec(draw(0.30), 1..120).prop_map(Stream),
        walk.prop_map(|(start, steps)| {
            let mut used = start;
            let next = |(step, wait_ms, gap): (i64, u64, bool)| {
                used = used.saturating_add_signed(step).min(PARTS);
                Draw { wait_ms, gap, system: Some(used), cgroup: None, budget: Some(used / 2) }
            };
            Stream(steps.into_iter().map(next).collect())
        }),
    ]
}

prop_compose! {
    /// Any stream under any configurations, changed up to three times while it lasts.
    pub(crate) fn story()(
        stream in stream(),
        first in config(),
        reloads in prop::collection::vec((any::<prop::sample::Index>(), config()), 0..4),
    ) -> Story {
        Story { stream, first, reloads }
    }
}
