//! The votes where readings come and go, are refused, or are looked at twice.

use memtrack::{Absent, Stamp};

use super::*;
use crate::config::BudgetConfig;

const MIB: u64 = 1 << 20;

struct World {
    pressure: PressureConfig,
    machine: Machine,
}

impl World {
    fn new() -> Self {
        Self { pressure: PressureConfig::default(), machine: Machine::new() }
    }

    fn step(&mut self, sample: &Sample) -> Level {
        let budget = BudgetConfig::default();
        let rules = Rules { pressure: &self.pressure, budget: &budget, generation: 1 };
        self.machine.step(&rules, sample);
        self.machine.level()
    }

    fn says(&self, signal: Signal) -> SignalStatus {
        *self.machine.status().of(signal)
    }
}

/// A cgroup, and nothing else, with so many of 100 MiB in use.
fn cgroup(seconds: u64, used: u64) -> Sample {
    let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(seconds)));
    sample.cgroup.usage = Ok(used * MIB);
    sample.cgroup.inactive_file = Ok(0);
    sample.cgroup.limit = Ok(100 * MIB);
    sample
}

/// The same with a machine, with so many of 100 MiB in use.
fn both(seconds: u64, used: u64, machine: u64) -> Sample {
    let mut sample = cgroup(seconds, used);
    sample.system.total = Ok(100 * MIB);
    sample.system.available = Ok((100 - machine) * MIB);
    sample
}

#[test]
fn a_refused_reading_is_counted_once_for_each_sample_that_has_one() {
    let mut world = World::new();
    world.step(&both(0, 10, 10));
    let mut absurd = both(1, 10, 10);
    absurd.system.available = Ok(101 * MIB);
    world.step(&absurd);
    world.step(&absurd);
    assert_eq!(world.machine.status().implausible, 1, "looking again counts nothing");
    world.step(&both(2, 10, 10));
    assert_eq!(world.machine.status().implausible, 1);
}

#[test]
fn a_notice_counts_as_long_as_its_sample_is_looked_at_and_no_longer() {
    let mut world = World::new();
    world.step(&cgroup(0, 10));
    assert_eq!(world.says(Signal::Psi).vote, None, "nobody gave a notice");
    world.machine.notice();
    world.step(&cgroup(1, 10));
    let psi = world.says(Signal::Psi);
    assert_eq!((psi.vote, psi.threshold), (Some(Level::Warning), Some(0.10)));
    world.step(&cgroup(1, 10));
    assert_eq!(world.says(Signal::Psi), psi, "looking again changes nothing");
    world.step(&cgroup(2, 10));
    assert_eq!(world.says(Signal::Psi).vote, None);
    world.step(&cgroup(2, 10));
    assert_eq!(world.says(Signal::Psi).vote, None);
}

#[test]
fn a_notice_for_a_signal_that_is_off_is_no_vote() {
    let mut world = World::new();
    world.pressure.signals = vec![Signal::Cgroup];
    world.machine.notice();
    assert_eq!(world.step(&cgroup(0, 10)), Level::Normal);
    assert_eq!(world.says(Signal::Psi).vote, None);
}

#[test]
fn a_forecast_is_gathering_until_it_has_seen_enough_of_the_same_ratios() {
    let mut world = World::new();
    for second in 0..15 {
        world.step(&cgroup(second, 60));
        // Looked at again, a sample is no further point.
        world.step(&cgroup(second, 60));
        assert_eq!(world.says(Signal::Forecast).absent, Some(Abstains::Gathering), "{second}");
    }
    world.step(&cgroup(15, 60));
    assert_eq!(world.says(Signal::Forecast).vote, Some(Level::Normal));
    // The highest of two ratios is another curve than that of one.
    world.step(&both(16, 60, 10));
    let forecast = world.says(Signal::Forecast);
    assert!(forecast.absent == Some(Abstains::Gathering), "{forecast:?}");
}

#[test]
fn a_limit_that_somebody_lowered_is_no_growth() {
    let mut world = World::new();
    let limited = |second, limit| {
        let mut sample = cgroup(second, 60);
        sample.cgroup.limit = Ok(limit * MIB);
        sample.cgroup.depth = Ok(1);
        sample
    };
    for second in 0..30 {
        world.step(&limited(second, 1000));
    }
    for second in 30..60 {
        // 60 MiB of 100 in place of 1000.
        assert_eq!(world.step(&limited(second, 100)), Level::Normal, "{second}");
    }
    assert_eq!(world.says(Signal::Forecast).vote, Some(Level::Normal));
    // That another ancestor binds is no edit: the curve goes on.
    let mut parent = limited(60, 99);
    parent.cgroup.depth = Ok(2);
    world.step(&parent);
    assert_eq!(world.says(Signal::Forecast).vote, Some(Level::Normal));
}

#[test]
fn a_forecast_without_a_ratio_reads_nothing_and_one_that_is_off_says_so() {
    let mut world = World::new();
    let mut nothing = Sample::empty(Stamp::synthetic(Duration::ZERO));
    nothing.psi.some.avg10 = Ok(0.0);
    world.step(&nothing);
    assert_eq!(world.says(Signal::Forecast).absent, Some(Abstains::Absent(Absent::NotRead)));
    world.pressure.signals = vec![Signal::Cgroup];
    for second in 1..40 {
        world.step(&cgroup(second, 60));
        assert_eq!(world.says(Signal::Forecast).absent, Some(Abstains::Off));
    }
}

#[test]
fn a_cgroup_that_is_off_is_not_heard_by_its_counters_either() {
    let mut world = World::new();
    world.pressure.signals = vec![Signal::System];
    for second in 0..3 {
        let mut sample = both(second, 99, 10);
        sample.cgroup.high = Ok(50 * MIB);
        sample.cgroup.events.oom_kill = Ok(second);
        sample.cgroup.events.max = Ok(100 * second);
        assert_eq!(world.step(&sample), Level::Normal);
        assert_eq!(world.says(Signal::Cgroup).vote, None);
    }
    // Nor does what was not heard linger: the throttling limit begins at its own threshold, and not in the band under it.
    world.pressure.signals = vec![Signal::System, Signal::Cgroup];
    let mut sample = both(3, 34, 10);
    sample.cgroup.high = Ok(50 * MIB);
    assert_eq!(world.step(&sample), Level::Normal);
}

#[test]
fn refusals_count_from_the_sample_before_and_only_upwards() {
    let mut world = World::new();
    let with = |second: u64, used: u64, hits: u64, kills: u64| {
        let mut sample = both(second, used, 10);
        sample.cgroup.events.max = Ok(hits);
        sample.cgroup.events.oom_kill = Ok(kills);
        sample
    };
    assert_eq!(world.step(&with(0, 75, 5, 5)), Level::Warning, "what was before we watched");
    assert_eq!(world.step(&with(1, 75, 5, 5)), Level::Warning, "nothing was refused");
    assert_eq!(world.says(Signal::Cgroup).measure, Measure::Ratio);
    assert_eq!(world.step(&with(2, 75, 6, 5)), Level::Critical);
    let cgroup = world.says(Signal::Cgroup);
    assert_eq!((cgroup.measure, cgroup.value), (Measure::Refusals, Some(1.0)));
    // Where the ratio votes as high by itself, that is what is shown.
    assert_eq!(world.step(&with(3, 85, 7, 5)), Level::Critical);
    assert_eq!(world.says(Signal::Cgroup).measure, Measure::Ratio);
    assert_eq!(world.step(&with(4, 85, 7, 6)), Level::Emergency);
    assert_eq!(world.says(Signal::Cgroup).measure, Measure::Refusals);
}

#[test]
fn a_witness_of_stalls_is_short_of_memory_itself() {
    let mut world = World::new();
    let with = |second: u64, machine: u64| {
        let mut sample = both(second, 10, machine);
        sample.psi.some.avg10 = Ok(0.9);
        sample.psi.full.avg10 = Ok(0.9);
        sample
    };
    world.step(&with(0, 69));
    assert_eq!(world.says(Signal::Psi).vote, Some(Level::Warning), "a slow disk stalls, too");
    world.step(&with(1, 70));
    assert_eq!(world.says(Signal::Psi).vote, Some(Level::Emergency));
}

#[test]
fn a_vote_stands_in_for_three_samples_and_not_for_a_limit_that_was_lifted() {
    let mut world = World::new();
    world.step(&both(0, 75, 10));
    let missing = |second: u64, why: Absent| {
        let mut sample = both(second, 75, 10);
        sample.cgroup.limit = Err(why);
        sample
    };
    for second in 1..=3 {
        world.step(&missing(second, Absent::Denied));
        world.step(&missing(second, Absent::Denied));
        let cgroup = world.says(Signal::Cgroup);
        assert_eq!((cgroup.vote, cgroup.stale), (Some(Level::Warning), true), "{second}");
        assert_eq!(cgroup.absent, Some(Abstains::Absent(Absent::Denied)));
    }
    world.step(&missing(4, Absent::Denied));
    assert_eq!(world.says(Signal::Cgroup).vote, None);
    world.step(&both(5, 75, 10));
    world.step(&missing(6, Absent::Unlimited));
    let cgroup = world.says(Signal::Cgroup);
    assert_eq!((cgroup.vote, cgroup.stale), (None, false));
    // The band went with the vote: in it, nothing is voted for any more.
    world.step(&both(7, 68, 10));
    assert_eq!(world.says(Signal::Cgroup).vote, Some(Level::Normal));
    world.pressure.signals = vec![Signal::System];
    world.step(&both(8, 75, 10));
    assert_eq!(world.says(Signal::Cgroup).absent, Some(Abstains::Off), "off is said at once");
}
