//! The invariants of planning and pace, with caches that do what they like.

use std::time::Duration;

use mempressure::{
    BudgetConfig, Level, Machine, Offer, Pace, Plan, Policy, PressureConfig, Priority, Request,
    Rules, Signal, Wait, plan,
};
use memtrack::{Sample, Stamp};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

/// A cache as a test draws it, and how it answers.
#[derive(Clone, Debug)]
struct Drawn {
    name: String,
    priority: Priority,
    used: u64,
    ceiling: Option<u64>,
    barred: bool,
    /// Claims this many hundredths of what it is asked for.
    claims: u64,
}

impl Drawn {
    fn offer(&self) -> Offer<'_> {
        let Drawn { name, priority, used, ceiling, barred, .. } = self;
        Offer { name, priority: *priority, used: *used, ceiling: *ceiling, barred: *barred }
    }
}

prop_compose! {
    fn cache()(
        name in "[a-d]{1,2}",
        priority in prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]),
        used in prop_oneof![Just(0), 1..400 * MIB],
        ceiling in prop::option::weighted(0.3, 1..400 * MIB),
        barred in prop::bool::weighted(0.1),
        claims in prop::sample::select(vec![0, 50, 100, 100, 100, 130]),
    ) -> Drawn {
        Drawn { name, priority, used, ceiling, barred, claims }
    }
}

fn level() -> impl Strategy<Value = Level> {
    prop::sample::select(vec![
        Level::Unknown,
        Level::Normal,
        Level::Warning,
        Level::Critical,
        Level::Emergency,
    ])
}

fn pressure(policy: Policy) -> PressureConfig {
    PressureConfig { policy, ..PressureConfig::default() }
}

/// Asks the caches in turn, as the eviction thread does: what was asked of whom, and claimed.
fn carry_out(plan: &Plan, caches: &[Drawn]) -> Vec<(usize, u64, u64)> {
    let mut claimed = 0;
    let mut asked = Vec::new();
    for turn in &plan.turns {
        let bytes = plan.ask(turn, claimed);
        if bytes > 0 {
            let claim = bytes * caches[turn.cache].claims / 100;
            claimed += claim;
            asked.push((turn.cache, bytes, claim));
        }
    }
    asked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    /// P8: no more is asked for than the target, ceilings aside, and nobody above the permitted priority.
    #[test]
    fn p08_no_more_than_the_target_and_nobody_above_the_permitted(
        caches in prop::collection::vec(cache(), 0..20),
        level in level(),
        footprint in 0..2000 * MIB,
        need in prop::option::of(0..2000 * MIB),
        aggressive in any::<bool>(),
    ) {
        let policy = if aggressive { Policy::Aggressive } else { Policy::Conservative };
        let pressure = pressure(policy);
        let offers: Vec<_> = caches.iter().map(Drawn::offer).collect();
        let plan = plan(&Request { level, footprint: Ok(footprint), need, pressure: &pressure }, &offers);
        let cap = (footprint as f64 * pressure.targets.share(level)) as u64;
        prop_assert!(plan.target <= cap);
        if policy == Policy::Conservative && let Some(need) = need {
            prop_assert!(plan.target <= need);
        }
        let high = level == Level::Emergency || (aggressive && level == Level::Critical);
        let mut before = 0_u64;
        for (cache, bytes, claim) in carry_out(&plan, &caches) {
            let drawn = &caches[cache];
            let excess = drawn.ceiling.map_or(0, |ceiling| drawn.used.saturating_sub(ceiling));
            prop_assert!(bytes <= drawn.used && !drawn.barred);
            prop_assert!(bytes <= excess.max(plan.target.saturating_sub(before)));
            if drawn.priority == Priority::High && !high || level < Level::Warning {
                prop_assert_eq!(bytes, excess);
            }
            before += claim;
        }
        // What the plan foretells is what happens when everybody gives what was asked.
        let honest: Vec<_> = caches.iter().map(|c| Drawn { claims: 100, ..c.clone() }).collect();
        let foretold: Vec<_> = plan.asks().collect();
        let happened: Vec<_> = carry_out(&plan, &honest).into_iter().map(|(c, b, _)| (c, b)).collect();
        prop_assert_eq!(foretold, happened);
    }

    /// P9: nobody is asked for a share of the target while one of lower priority could still be asked; within a
    /// priority the larger goes first, then the name that sorts first; short of the target everybody is asked.
    #[test]
    fn p09_lower_priorities_are_emptied_first(
        caches in prop::collection::vec(cache(), 0..20),
        level in prop::sample::select(&Level::RAISED[..]),
        need in 1..2000 * MIB,
    ) {
        let caches: Vec<_> = caches.into_iter().map(|c| Drawn { ceiling: None, ..c }).collect();
        let pressure = pressure(Policy::Conservative);
        let offers: Vec<_> = caches.iter().map(Drawn::offer).collect();
        let request = Request { level, footprint: Ok(4000 * MIB), need: Some(need), pressure: &pressure };
        let plan = plan(&request, &offers);
        // The naive order: repeatedly the best of those that are left.
        let mut left: Vec<_> = (0..caches.len())
            .filter(|i| !caches[*i].barred && caches[*i].used > 0)
            .filter(|i| caches[*i].priority < Priority::High || level == Level::Emergency)
            .collect();
        let mut expected = Vec::new();
        while !left.is_empty() {
            let mut best = 0;
            for i in 1..left.len() {
                let (a, b) = (&caches[left[i]], &caches[left[best]]);
                let better = a.priority < b.priority
                    || a.priority == b.priority && a.used > b.used
                    || a.priority == b.priority && a.used == b.used && a.name < b.name;
                if better {
                    best = i;
                }
            }
            expected.push(left.remove(best));
        }
        let turns: Vec<_> = plan.turns.iter().map(|turn| turn.cache).collect();
        prop_assert_eq!(&turns, &expected);
        let asked = carry_out(&plan, &caches);
        let claimed: u64 = asked.iter().map(|(_, _, claim)| claim).sum();
        let order: Vec<_> = asked.iter().map(|(cache, _, _)| *cache).collect();
        prop_assert_eq!(&order[..], &expected[..order.len()]);
        prop_assert!(claimed >= plan.target || order.len() == expected.len());
    }

    /// P10 and P11: whatever came before, an urgent plan, one that keeps ceilings and the first one after the level rose pass
    /// as soon as there is a sample newer than the last plan's end; nothing ever begins on an older one, nor beside another
    /// plan; and as long as the level does not rise, nothing else begins within the cooldown of a plan at it or above.
    #[test]
    fn p10_p11_the_pace_of_plans(
        steps in prop::collection::vec((level(), 1..20_000u64, 0..5_000u64, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let cooldown = Duration::from_secs(30);
        let mut pace = Pace::default();
        let mut ended: Option<Duration> = None;
        // The plans since the level last rose to one that is not above theirs: the only ones that may hold any back.
        let mut plans: Vec<(Level, Duration)> = Vec::new();
        let (mut now, mut before) = (Duration::ZERO, Level::Normal);
        for (level, wait_ms, takes_ms, gap, urgent) in steps {
            now += Duration::from_millis(wait_ms);
            let stamp = Stamp { gap, ..Stamp::synthetic(now) };
            let rose = level > before;
            if rose {
                pace.escalate(level);
                plans.retain(|(of, _)| *of < level);
            }
            before = level;
            let asked = pace.ask(level, urgent, &stamp, cooldown);
            let newer = ended.is_none_or(|end| now > end);
            prop_assert_eq!(asked == Err(Wait::OldSample), !newer);
            if newer && !urgent && gap {
                prop_assert_eq!(asked, Err(Wait::Gap));
            } else if newer && (urgent || rose || level < Level::Warning) {
                prop_assert_eq!(asked, Ok(()), "an escalation waits");
            } else if newer {
                let cools = plans.iter().any(|(of, end)| *of >= level && now - *end < cooldown);
                prop_assert_eq!(asked, if cools { Err(Wait::Cooldown) } else { Ok(()) });
            }
            if asked.is_ok() {
                pace.begin(level);
                prop_assert_eq!(pace.ask(Level::Emergency, true, &stamp, cooldown), Err(Wait::InFlight));
                let end = now + Duration::from_millis(takes_ms);
                pace.end(end);
                ended = Some(end);
                plans.push((level, end));
            }
        }
    }

    /// P10 by the machine: with a cooldown longer than the story, and caches that leave the level as it is, each sample
    /// that raises the level begins a plan.
    #[test]
    fn p10_no_rise_of_the_level_waits_for_a_cooldown(
        parts in prop::collection::vec((100..1000u64, 1..40_000u64), 1..60),
    ) {
        let pressure = PressureConfig {
            cooldown: Duration::from_secs(3600),
            signals: vec![Signal::Cgroup],
            ..PressureConfig::default()
        };
        let budget = BudgetConfig::default();
        let rules = Rules { pressure: &pressure, budget: &budget, generation: 0 };
        let (mut machine, mut pace, mut at) = (Machine::new(), Pace::default(), Duration::ZERO);
        for (used, wait_ms) in parts {
            at += Duration::from_millis(wait_ms);
            let mut sample = Sample::empty(Stamp::synthetic(at));
            sample.cgroup.limit = Ok(1000 * MIB);
            sample.cgroup.usage = Ok(used * MIB);
            let before = machine.level();
            machine.step(&rules, &sample);
            let level = machine.level();
            if level > before {
                pace.escalate(level);
            }
            let asked = pace.ask(level, false, &sample.at, pressure.cooldown);
            if level > before.max(Level::Normal) {
                prop_assert_eq!(asked, Ok(()), "{} after {}", level, before);
            }
            if asked.is_ok() && level >= Level::Warning {
                pace.begin(level);
                pace.end(at);
            }
        }
    }
}
