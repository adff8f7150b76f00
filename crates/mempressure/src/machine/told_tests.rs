//! What a transition says of its reason, to the digit.

use super::*;
use memtrack::Stamp;

const MIB: u64 = 1 << 20;

fn sample(seconds: u64) -> Sample {
    Sample::empty(Stamp::synthetic(Duration::from_secs(seconds)))
}

/// A cgroup with so many of 100 MiB in use.
fn cgroup(seconds: u64, used: u64) -> Sample {
    let mut sample = sample(seconds);
    sample.cgroup.usage = Ok(used * MIB);
    sample.cgroup.inactive_file = Ok(0);
    sample.cgroup.limit = Ok(100 * MIB);
    sample
}

fn steps(
    pressure: &PressureConfig,
    samples: impl IntoIterator<Item = Sample>,
) -> (Machine, Vec<Transition>) {
    let budget = BudgetConfig {
        total: crate::BudgetTotal::Size(memtrack::Size::mib(100)),
        ..BudgetConfig::default()
    };
    let rules = Rules { pressure, budget: &budget, generation: 1 };
    let mut machine = Machine::new();
    let told = samples.into_iter().filter_map(|sample| machine.step(&rules, &sample)).collect();
    (machine, told)
}

fn close(a: Option<f64>, b: f64) -> bool {
    a.is_some_and(|a| (a - b).abs() < 1e-12)
}

#[test]
fn of_equal_votes_the_first_signal_decides() {
    let mut sample = cgroup(0, 75);
    sample.system.total = Ok(100 * MIB);
    sample.system.available = Ok(25 * MIB);
    let (machine, told) = steps(&PressureConfig::default(), [sample]);
    assert_eq!(machine.status().signal, Some(Signal::System));
    assert_eq!(told[0].signal, Some(Signal::System));
}

#[test]
fn the_way_down_is_told_with_the_point_below_which_the_level_is_left() {
    let down = (0..60).map(|second| cgroup(second, if second == 0 { 96 } else { 10 }));
    let (_, told) = steps(&PressureConfig::default(), down);
    let points: Vec<_> = told.iter().map(|t| (t.to, t.threshold)).collect();
    assert_eq!(points[0], (Level::Emergency, Some(0.95)));
    // Thresholds of 0.95, 0.80 and 0.70, less the band of 0.05.
    for ((to, threshold), (level, point)) in points[1..].iter().zip([
        (Level::Critical, 0.90),
        (Level::Warning, 0.75),
        (Level::Normal, 0.65),
    ]) {
        assert!(*to == level && close(*threshold, point), "{to}: {threshold:?}");
    }
    assert_eq!(points.len(), 4);
}

#[test]
fn a_budget_is_left_below_its_own_thresholds() {
    let with = |second: u64| {
        let mut sample = sample(second);
        sample.process.rss = Ok(if second == 0 { 99 } else { 10 } * MIB);
        sample.process.swap = Ok(0);
        sample
    };
    let (_, told) = steps(&PressureConfig::default(), (0..60).map(with));
    let left: Vec<_> = told.iter().filter(|t| t.to < t.from).map(|t| t.threshold).collect();
    // Thresholds of 0.98, 0.93 and 0.80, less the band.
    assert!(close(left[0], 0.93) && close(left[1], 0.88) && close(left[2], 0.75), "{left:?}");
}

#[test]
fn refusals_that_go_on_are_no_reason_to_leave_a_level_and_are_not_told_as_one() {
    let with = |second: u64, kills: u64, hits: u64| {
        let mut sample = cgroup(second, 75);
        sample.cgroup.events.oom_kill = Ok(kills);
        sample.cgroup.events.max = Ok(hits);
        sample
    };
    // A kill, and afterwards only the limit that is run into on every sample: critical, no longer an emergency.
    let story = (0..15).map(|second| with(second, u64::from(second > 0), 10 * second));
    let (_, told) = steps(&PressureConfig::default(), story);
    let up = told.iter().find(|t| t.to == Level::Emergency).expect("a kill is an emergency");
    assert_eq!((up.measure, up.value, up.threshold), (Measure::Refusals, Some(1.0), Some(1.0)));
    let down = told.last().expect("it passes");
    assert_eq!((down.from, down.to), (Level::Emergency, Level::Critical));
    assert_eq!((down.measure, down.value), (Measure::Ratio, None));
    assert!(close(down.threshold, 0.90), "{down:?}");
}
