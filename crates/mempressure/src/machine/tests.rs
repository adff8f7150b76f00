//! The machine's rules one by one; `tests/properties.rs` holds what follows from them for every input.

use super::*;
use crate::config::Thresholds;
use memtrack::Stamp;

const GIB: u64 = 1 << 30;

/// A sample `seconds` after the start, in which `used` of 100 parts of the machine are in use.
fn machine_at(seconds: f64, used: u64) -> Sample {
    let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs_f64(seconds)));
    sample.system.total = Ok(100 * GIB);
    sample.system.available = Ok((100 - used) * GIB);
    sample
}

struct World {
    pressure: PressureConfig,
    budget: BudgetConfig,
    machine: Machine,
}

impl World {
    fn new() -> Self {
        let pressure = PressureConfig::default();
        Self { pressure, budget: BudgetConfig::default(), machine: Machine::new() }
    }

    fn step(&mut self, sample: &Sample) -> Option<Transition> {
        let rules = Rules { pressure: &self.pressure, budget: &self.budget, generation: 7 };
        self.machine.step(&rules, sample)
    }

    /// Steps with a machine `used` percent full and returns the level.
    fn level(&mut self, seconds: f64, used: u64) -> Level {
        self.step(&machine_at(seconds, used));
        self.machine.level()
    }
}

#[test]
fn nothing_known_is_unknown_and_never_normal() {
    let mut world = World::new();
    let empty = Sample::empty(Stamp::synthetic(Duration::ZERO));
    assert_eq!(world.step(&empty), None);
    assert_eq!(world.machine.level(), Level::Unknown);
    assert_eq!(world.level(1.0, 10), Level::Normal);
}

#[test]
fn up_at_once_over_any_number_of_levels() {
    let mut world = World::new();
    assert_eq!(world.level(0.0, 10), Level::Normal);
    let transition = world.step(&machine_at(0.1, 96)).unwrap();
    assert_eq!((transition.from, transition.to), (Level::Normal, Level::Emergency));
    assert_eq!(transition.signal, Some(Signal::System));
    assert_eq!((transition.value, transition.threshold), (Some(0.96), Some(0.95)));
    assert_eq!((transition.at, transition.generation), (Duration::from_millis(100), 7));
}

#[test]
fn down_one_level_at_a_time_after_the_hold() {
    let mut world = World::new();
    world.level(0.0, 96);
    let mut levels = Vec::new();
    for second in 1..40 {
        if let Some(transition) = world.step(&machine_at(f64::from(second), 10)) {
            levels.push((second, transition.to));
            assert_eq!(transition.signal, Some(Signal::System));
            assert_eq!(transition.value, Some(0.1));
        }
    }
    assert_eq!(
        levels,
        [(10, Level::Critical), (15, Level::Warning), (20, Level::Normal)],
        "the hold, then half a hold for each further level"
    );
}

#[test]
fn noise_inside_the_band_changes_nothing() {
    let mut world = World::new();
    world.level(0.0, 80);
    for second in 1..100 {
        let used = if second % 2 == 0 { 75 } else { 79 };
        assert_eq!(world.level(f64::from(second), used), Level::Critical, "second {second}");
    }
    assert_eq!(world.machine.status().transitions, 1);
}

#[test]
fn dips_shorter_than_the_hold_change_nothing() {
    let mut world = World::new();
    world.level(0.0, 80);
    for second in 1..100 {
        let used = if second % 9 == 0 { 80 } else { 10 };
        assert_eq!(world.level(f64::from(second), used), Level::Critical, "second {second}");
    }
}

#[test]
fn a_limit_of_zero_is_an_emergency_and_no_division() {
    let mut world = World::new();
    let mut sample = machine_at(0.0, 10);
    sample.cgroup.usage = Ok(1);
    sample.cgroup.inactive_file = Ok(0);
    sample.cgroup.limit = Ok(0);
    world.step(&sample);
    assert_eq!(world.machine.level(), Level::Emergency);
    assert_eq!(world.machine.status().signal, Some(Signal::Cgroup));
}

#[test]
fn the_budget_votes_by_its_own_thresholds() {
    let mut world = World::new();
    for (i, (share, level)) in [
        (0.79, Level::Normal),
        (0.81, Level::Warning),
        (0.94, Level::Critical),
        (0.99, Level::Emergency),
    ]
    .into_iter()
    .enumerate()
    {
        let mut sample = machine_at(i as f64, 10);
        sample.process.rss = Ok((3.0 * GIB as f64 * share) as u64);
        world.step(&sample);
        assert_eq!(world.machine.level(), level, "{share}");
    }
}

#[test]
fn a_budget_in_percent_is_one_of_the_cgroup_limit() {
    let mut world = World::new();
    world.budget.total = crate::BudgetTotal::Percent(50.0);
    let mut sample = machine_at(0.0, 10);
    sample.process.rss = Ok(85 << 20);
    sample.cgroup.limit = Ok(200 << 20);
    sample.cgroup.usage = Ok(85 << 20);
    world.step(&sample);
    assert_eq!(world.machine.status().of(Signal::Budget).value, Some(0.85));
    assert_eq!(world.machine.level(), Level::Warning);
    // Without a cgroup limit it is one of the machine's memory.
    sample.cgroup.limit = Err(Absent::Unlimited);
    sample.at = Stamp::synthetic(Duration::from_secs(1));
    world.step(&sample);
    assert!(world.machine.status().of(Signal::Budget).value < Some(0.01));
}

#[test]
fn stalls_alone_are_a_warning_and_with_a_witness_more() {
    let mut world = World::new();
    let mut sample = machine_at(0.0, 10);
    sample.psi.some.avg10 = Ok(0.9);
    sample.psi.full.avg10 = Ok(0.9);
    world.step(&sample);
    assert_eq!(world.machine.level(), Level::Warning);
    assert_eq!(world.machine.status().signal, Some(Signal::Psi));
    let mut sample = machine_at(1.0, 71);
    sample.psi.some.avg10 = Ok(0.9);
    sample.psi.full.avg10 = Ok(0.9);
    world.step(&sample);
    assert_eq!(world.machine.level(), Level::Emergency);
}

#[test]
fn the_release_point_of_stalls_is_told_as_it_is() {
    let mut world = World::new();
    world.pressure.signals = vec![Signal::Psi];
    let mut left = None;
    for second in 0..20 {
        let mut sample = machine_at(f64::from(second), 10);
        sample.psi.some.avg10 = Ok(if second == 0 { 0.5 } else { 0.01 });
        sample.psi.full.avg10 = Ok(0.0);
        left = left.or(world.step(&sample).filter(|t| t.to == Level::Normal));
    }
    // Half of the share at which a warning begins.
    let left = left.unwrap();
    assert_eq!((left.signal, left.threshold), (Some(Signal::Psi), Some(0.05)));
}

#[test]
fn stalled_time_is_measured_over_two_seconds() {
    let mut world = World::new();
    for tick in 0..=40 {
        let mut sample = machine_at(f64::from(tick) * 0.1, 10);
        sample.psi.some.avg10 = Ok(0.0);
        // 150 ms of stalls in each 2 s, then 400 ms.
        sample.psi.some.total_us =
            Ok(if tick < 40 { 150_000 * (tick as u64 / 20) } else { 550_000 });
        sample.psi.full.total_us = Ok(0);
        world.step(&sample);
    }
    let psi = *world.machine.status().of(Signal::Psi);
    assert_eq!((psi.vote, psi.value), (Some(Level::Warning), Some(0.2)));
}

#[test]
fn running_into_a_limit_full_of_page_cache_is_no_pressure() {
    let mut world = World::new();
    for second in 0..20 {
        let mut sample = machine_at(f64::from(second), 10);
        sample.cgroup.usage = Ok(100 << 20);
        sample.cgroup.inactive_file = Ok(90 << 20);
        sample.cgroup.limit = Ok(100 << 20);
        sample.cgroup.events.max = Ok(1000 * second as u64);
        world.step(&sample);
        assert_eq!(world.machine.level(), Level::Normal);
    }
    // The same counter with a working set that is high says that reclaim no longer finds enough.
    let mut sample = machine_at(20.0, 10);
    sample.cgroup.usage = Ok(72 << 20);
    sample.cgroup.limit = Ok(100 << 20);
    sample.cgroup.events.max = Ok(50_000);
    let transition = world.step(&sample).unwrap();
    assert_eq!(transition.to, Level::Critical);
    assert_eq!(transition.measure, Measure::Refusals);
}

#[test]
fn a_kill_is_an_emergency_that_passes() {
    let mut world = World::new();
    let with_kills = |second: u32, kills: u64| {
        let mut sample = machine_at(f64::from(second), 10);
        sample.cgroup.usage = Ok(91 << 20);
        sample.cgroup.limit = Ok(100 << 20);
        sample.cgroup.events.oom_kill = Ok(kills);
        sample
    };
    world.step(&with_kills(0, 5));
    assert_eq!(world.machine.level(), Level::Critical, "kills from before we watched do not count");
    world.step(&with_kills(1, 6));
    assert_eq!(world.machine.level(), Level::Emergency);
    for second in 2..=11 {
        world.step(&with_kills(second, 6));
    }
    // The ratio stands in the band under emergency, which only a ratio that was there could hold.
    assert_eq!(world.machine.level(), Level::Critical);
}

#[test]
fn a_kill_does_not_linger_where_the_usage_cannot_be_read() {
    let mut world = World::new();
    let with = |second: u32, usage, kills: u64| {
        let mut sample = machine_at(f64::from(second), 10);
        sample.cgroup.usage = usage;
        sample.cgroup.limit = Ok(100 << 20);
        sample.cgroup.events.oom_kill = Ok(kills);
        sample
    };
    world.step(&with(0, Ok(50 << 20), 0));
    let killed = with(1, Err(Absent::Failed(5)), 1);
    assert_eq!(world.step(&killed).unwrap().to, Level::Emergency);
    let seen = world.machine.status();
    assert_eq!(world.step(&killed), None);
    assert_eq!(world.machine.status(), seen, "looking again changes nothing");
    world.step(&with(2, Err(Absent::Failed(5)), 1));
    let cgroup = *world.machine.status().of(Signal::Cgroup);
    assert_eq!(
        (cgroup.vote, cgroup.stale),
        (Some(Level::Normal), true),
        "the last ratio stands in"
    );
}

#[test]
fn above_memory_high_is_critical_at_most() {
    let mut world = World::new();
    let mut sample = machine_at(0.0, 10);
    sample.cgroup.usage = Ok(200 << 20);
    sample.cgroup.high = Ok(100 << 20);
    sample.cgroup.limit = Err(Absent::Unlimited);
    world.step(&sample);
    assert_eq!(world.machine.level(), Level::Critical);
    assert_eq!(world.machine.status().of(Signal::Cgroup).value, Some(2.0));
}

#[test]
fn a_vote_outlives_three_missing_readings_and_then_expires() {
    let mut world = World::new();
    let silent = |second: u32| {
        let mut sample = machine_at(f64::from(second), 10);
        sample.system.available = Err(Absent::Failed(5));
        sample
    };
    world.level(0.0, 96);
    for second in 1..=3 {
        world.step(&silent(second));
        let system = *world.machine.status().of(Signal::System);
        assert!(system.stale && system.vote == Some(Level::Emergency), "{system:?}");
        assert!(world.machine.status().degraded());
    }
    let transition = world.step(&silent(4)).unwrap();
    assert_eq!((transition.to, transition.signal), (Level::Unknown, None));
    assert_eq!(
        world.machine.status().of(Signal::System).absent,
        Some(Abstains::Absent(Absent::Failed(5)))
    );
}

#[test]
fn a_limit_that_was_lifted_is_forgotten_at_once() {
    let mut world = World::new();
    let mut sample = machine_at(0.0, 10);
    sample.cgroup.usage = Ok(99);
    sample.cgroup.limit = Ok(100);
    world.step(&sample);
    sample.at = Stamp::synthetic(Duration::from_secs(1));
    sample.cgroup.limit = Err(Absent::Unlimited);
    world.step(&sample);
    assert_eq!(world.machine.status().of(Signal::Cgroup).vote, None);
    assert!(!world.machine.status().degraded(), "no limit is not a failure");
}

#[test]
fn more_available_than_there_is_is_refused() {
    let mut world = World::new();
    let mut sample = machine_at(0.0, 10);
    sample.system.available = Ok(101 * GIB);
    world.step(&sample);
    assert_eq!(world.machine.level(), Level::Unknown);
    assert_eq!(world.machine.status().implausible, 1);
}

#[test]
fn a_forecast_lifts_by_one_level() {
    let mut world = World::new();
    let mut lifted = None;
    // 1 % a second from 50 %: 60 s are left at 40, 20 s at 80.
    for second in 0..45 {
        if let Some(transition) = world.step(&machine_at(f64::from(second), 20 + second as u64)) {
            lifted = Some(transition);
        }
    }
    let lifted = lifted.unwrap();
    assert_eq!((lifted.to, lifted.signal), (Level::Warning, Some(Signal::Forecast)));
    assert!(lifted.value < Some(60.0) && lifted.threshold == Some(60.0), "{lifted}");
    // Faster, it may say emergency, yet others say normal: warning.
    for second in 45..60 {
        world.step(&machine_at(f64::from(second), 69));
    }
    assert!(world.machine.level() <= Level::Warning);
}

#[test]
fn growth_at_low_use_and_noise_without_growth_are_no_forecast() {
    let mut world = World::new();
    for second in 0..40 {
        assert_eq!(world.level(f64::from(second), second as u64), Level::Normal);
    }
    let mut world = World::new();
    for second in 0..200 {
        let used = 60 + (second as u64 * 7919) % 9;
        assert_eq!(world.level(f64::from(second), used), Level::Normal, "second {second}");
    }
}

#[test]
fn room_that_was_made_does_not_hide_how_fast_it_fills() {
    let mut forecasts = [0; 2];
    for (i, tell) in [false, true].into_iter().enumerate() {
        let mut world = World::new();
        let mut used = 60;
        for tick in 0..200 {
            used += 1;
            if used > 80 {
                used = 73;
                if tell {
                    world.machine.evicted();
                }
            }
            world.level(f64::from(tick) * 0.01, used);
            let vote = world.machine.status().of(Signal::Forecast).vote;
            forecasts[i] += u32::from(tick > 20 && vote > Some(Level::Normal));
        }
    }
    assert!(forecasts[0] < 20 && forecasts[1] > 170, "{forecasts:?}");
}

#[test]
fn a_gap_restarts_the_wait() {
    let mut world = World::new();
    world.level(0.0, 85);
    world.level(1.0, 10);
    let mut after_sleep = machine_at(3600.0, 10);
    after_sleep.at.gap = true;
    assert_eq!(world.step(&after_sleep), None, "the time asleep was not watched");
    assert_eq!(world.level(3609.0, 10), Level::Critical);
    assert_eq!(world.level(3610.0, 10), Level::Warning);
}

#[test]
fn new_thresholds_raise_at_once_and_lower_through_the_latches() {
    let mut world = World::new();
    let sample = machine_at(0.0, 60);
    world.step(&sample);
    world.pressure.thresholds = Thresholds { warning: 0.3, critical: 0.5, emergency: 0.9 };
    assert_eq!(world.step(&sample).unwrap().to, Level::Critical, "the same sample again");
    assert_eq!(world.step(&sample), None);
    world.pressure.thresholds = Thresholds::default();
    assert_eq!(world.step(&sample), None);
    assert_eq!(world.level(9.0, 60), Level::Critical);
    assert_eq!(world.level(10.0, 60), Level::Warning);
}

#[test]
fn signals_that_are_switched_off_say_so() {
    let mut world = World::new();
    world.pressure.signals = vec![Signal::Budget];
    world.step(&machine_at(0.0, 99));
    assert_eq!(world.machine.level(), Level::Unknown);
    assert_eq!(world.machine.status().of(Signal::System).absent, Some(Abstains::Off));
    let mut world = World::new();
    world.level(0.0, 99);
    world.pressure.enabled = false;
    assert_eq!(world.level(1.0, 99), Level::Unknown);
}

#[test]
fn a_notice_is_a_warning_on_the_next_step() {
    let mut world = World::new();
    world.level(0.0, 10);
    world.machine.notice();
    let transition = world.step(&machine_at(0.0, 10)).unwrap();
    assert_eq!((transition.to, transition.signal), (Level::Warning, Some(Signal::Psi)));
    assert_eq!(world.level(9.9, 10), Level::Warning);
    assert_eq!(world.level(10.0, 10), Level::Normal);
    world.pressure.signals = vec![Signal::System];
    world.machine.notice();
    assert_eq!(world.level(11.0, 10), Level::Normal, "the signal is switched off");
}

#[cfg(feature = "serde")]
#[test]
fn the_status_reads_back_from_json() {
    let mut world = World::new();
    world.level(1.5, 96);
    let status = world.machine.status();
    let json = serde_json::to_string(&status).unwrap();
    assert!(json.contains(r#""level":"emergency","since_seconds":1.5"#), "{json}");
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
}
