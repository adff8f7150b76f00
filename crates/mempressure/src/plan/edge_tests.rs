//! The planner at the edges of its rules: what is just enough, just too much, or nothing at all.

use super::*;
use crate::Machine;

const MIB: u64 = 1 << 20;

fn offer(name: &str, priority: Priority, used: u64) -> Offer<'_> {
    Offer { name, priority, used: used * MIB, ceiling: None, barred: false }
}

fn request(level: Level, need: Option<u64>, pressure: &PressureConfig) -> Request<'_> {
    let need = need.map(|need| need * MIB);
    Request { level, footprint: Ok(1000 * MIB), need, pressure }
}

#[test]
fn nobody_is_asked_for_nothing() {
    let pressure = PressureConfig::default();
    let offers = [offer("a", Priority::Low, 40), offer("b", Priority::Normal, 40)];
    let planned = plan(&request(Level::Critical, Some(40), &pressure), &offers);
    assert_eq!(planned.turns.len(), 2, "b is in reserve, should a give less than it holds");
    assert_eq!(planned.asks().collect::<Vec<_>>(), [(0, 40 * MIB)]);
    assert_eq!(planned.total(), 40 * MIB);
    let waiting = plan(&request(Level::Critical, Some(0), &pressure), &offers);
    assert_eq!((waiting.is_empty(), waiting.total()), (true, 0), "it only waits to be left");
}

#[test]
fn a_plan_is_urgent_from_a_sixteenth_of_the_need_on_and_at_emergency_alone() {
    let pressure = PressureConfig::default();
    let urgent = |level, held, need| {
        let offers = [offer("a", Priority::Low, held)];
        plan(&request(level, Some(400), &pressure), &offers).is_urgent(need)
    };
    let need = Some(160 * MIB);
    assert!(urgent(Level::Emergency, 10, need));
    assert!(!urgent(Level::Emergency, 9, need), "hardly anything would be freed");
    assert!(!urgent(Level::Critical, 100, need));
    assert!(!urgent(Level::Emergency, 100, None), "nobody knows what it would help");
    assert!(!urgent(Level::Emergency, 100, Some(0)), "nothing is needed");
}

#[test]
fn refusals_of_the_kernel_need_no_number_of_bytes() {
    let (pressure, budget) = Default::default();
    let rules = Rules { pressure: &pressure, budget: &budget, generation: 0 };
    let mut machine = Machine::new();
    let mut needs = Vec::new();
    for second in 0..2 {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
        sample.cgroup.limit = Ok(1000 * MIB);
        sample.cgroup.usage = Ok(850 * MIB);
        sample.cgroup.events.oom_kill = Ok(second);
        machine.step(&rules, &sample);
        let status = machine.status();
        needs.push((status.level, need(&rules, &sample, &status)));
    }
    let (level, bytes) = needs[0];
    // 0.80 less the band and the margin.
    assert!(level == Level::Critical && bytes.unwrap().abs_diff(120 * MIB) <= 1, "{bytes:?}");
    assert_eq!(needs[1], (Level::Emergency, None));
}

/// What is needed at each of the usages, in MiB of 1000, that a cgroup has every 5 ms.
fn forecast(usages: impl IntoIterator<Item = u64>) -> Vec<(Level, Option<Signal>, Option<u64>)> {
    let (pressure, budget) = Default::default();
    let rules = Rules { pressure: &pressure, budget: &budget, generation: 0 };
    let mut machine = Machine::new();
    let mut said = Vec::new();
    for (tick, used) in (0..).zip(usages) {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_millis(5 * tick)));
        sample.cgroup.limit = Ok(1000 * MIB);
        sample.cgroup.usage = Ok(used * MIB);
        machine.step(&rules, &sample);
        let status = machine.status();
        said.push((status.level, status.signal, need(&rules, &sample, &status)));
    }
    said
}

#[test]
fn a_forecast_over_calm_ratios_has_no_number_and_needs_none_once_it_is_over() {
    let growing = (0..20).map(|tick| 500 + 5 * tick);
    let said = forecast(growing.chain([595; 20]));
    assert_eq!(said[19], (Level::Warning, Some(Signal::Forecast), None));
    assert_eq!(said[39], (Level::Warning, Some(Signal::Forecast), Some(0)));
}

#[test]
fn growth_that_pauses_exactly_at_a_threshold_is_acted_on() {
    let growing = (0..21).map(|tick| 700 + 5 * tick);
    let at = |paused: u64| {
        let said = forecast(growing.clone().chain([paused; 20]));
        assert_eq!((said[40].0, said[40].1), (Level::Emergency, Some(Signal::Forecast)));
        said[40].2
    };
    assert_eq!(at(799), Some(0));
    assert!(at(800).is_some_and(|bytes| bytes.abs_diff(70 * MIB) <= 1), "{:?}", at(800));
}

#[test]
fn a_plan_that_found_nothing_to_do_leaves_no_trace() {
    let at = |seconds| Stamp::synthetic(Duration::from_secs(seconds));
    let mut pace = Pace::default();
    assert_eq!(pace.ended(), None);
    pace.begin(Level::Warning);
    pace.cancel();
    assert_eq!(pace.ask(Level::Warning, false, &at(1), Duration::from_secs(30)), Ok(()));
    pace.begin(Level::Warning);
    pace.end(Duration::from_secs(2));
    assert_eq!(pace.ended(), Some(Duration::from_secs(2)));
}

#[test]
fn ceilings_do_not_wait_for_a_cooldown() {
    let at = |seconds| Stamp::synthetic(Duration::from_secs(seconds));
    let mut pace = Pace::default();
    pace.begin(Level::Emergency);
    pace.end(Duration::from_secs(1));
    let cooldown = Duration::from_secs(3600);
    assert_eq!(pace.ask(Level::Warning, false, &at(2), cooldown), Err(Wait::Cooldown));
    assert_eq!(pace.ask(Level::Normal, false, &at(2), cooldown), Ok(()));
    assert_eq!(pace.ask(Level::Normal, false, &at(1), cooldown), Err(Wait::OldSample));
    pace.begin(Level::Normal);
    pace.end(Duration::from_secs(3));
    pace.escalate(Level::Critical);
    assert_eq!(pace.ask(Level::Critical, false, &at(4), cooldown), Ok(()), "nor do they cool");
}

#[test]
fn an_escalation_while_a_plan_hangs_does_not_wait_for_the_cooldown_of_that_plan() {
    let cooldown = Duration::from_secs(3600);
    for (rise, expected) in [
        (None, Err(Wait::Cooldown)),
        (Some(Level::Warning), Ok(())),
        (Some(Level::Critical), Ok(())),
    ] {
        let mut pace = Pace::default();
        pace.begin(Level::Critical);
        // It fell and rose again while the plan was under way.
        rise.into_iter().for_each(|level| pace.escalate(level));
        pace.end(Duration::from_secs(10));
        let stamp = Stamp::synthetic(Duration::from_secs(11));
        assert_eq!(pace.ask(Level::Critical, false, &stamp, cooldown), expected, "{rise:?}");
    }
}
