//! The invariants of the level machine, on every input that can be drawn, and its agreement with a naive reference.

mod common;
#[path = "common/reference.rs"]
mod reference;

use std::time::Duration;

use common::{Config, Draw, PARTS, Story, Stream, config, follow, levels, run, story, stream};
use mempressure::{BudgetConfig, Level, Machine, PressureConfig, Signal, Status};
use memtrack::{Sample, Stamp};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_agrees_with_the_naive_reference(story in story()) {
        let looks = story.looks();
        let levels: Vec<_> = follow(&looks).iter().map(|(status, _)| status.level).collect();
        prop_assert_eq!(levels, reference::levels(&looks, &story.stream));
    }

    /// P1: inside the band of the level that was entered, nothing changes, however long.
    #[test]
    fn p01_inside_the_band_nothing_changes(
        config in config(),
        level in prop::sample::select(&Level::RAISED[..]),
        within in prop::collection::vec((0.0..1.0f64, 1..30_000u64), 1..60),
    ) {
        let threshold = config.pressure.thresholds.of(level);
        // The least number of parts whose ratio, as the machine computes it, is not below `ratio`.
        let at_least = |ratio: f64| {
            let below = (ratio * PARTS as f64).floor() as u64;
            (below..).find(|used| *used as f64 / PARTS as f64 >= ratio).unwrap_or(PARTS)
        };
        let enter = at_least(threshold);
        let floor = at_least(threshold - config.pressure.band);
        let mut draws = vec![Draw::system(enter, 1)];
        draws.extend(within.iter().map(|(x, wait_ms)| {
            Draw::system(floor + (enter.saturating_sub(floor) as f64 * x) as u64, *wait_ms)
        }));
        let levels = levels(&config, &Stream(draws).samples());
        prop_assert!(levels.iter().all(|seen| *seen == level), "{:?}", levels);
    }

    /// P2: a ratio at the emergency threshold is an emergency on that look, whatever came before and whatever else is
    /// going on: a hold, a reload, an eviction, a notice.
    #[test]
    fn p02_an_emergency_is_never_late(
        story in story(),
        meanwhile in prop::collection::vec(any::<(bool, bool)>(), 130),
    ) {
        let mut story = story;
        story.first.pressure.signals.push(Signal::Forecast);
        story.reloads.iter_mut().for_each(|(_, c)| c.pressure.signals.push(Signal::Forecast));
        let mut machine = Machine::new();
        for (look, (evicted, noticed)) in story.looks().iter().zip(meanwhile.iter().cycle()) {
            if *evicted {
                machine.evicted();
            }
            if *noticed {
                machine.notice();
            }
            machine.step(&look.config.rules(0), &look.sample);
            let ratios = story.stream.0[look.place].ratios();
            let emergency = |signal: usize| Some(look.config.thresholds(signal).emergency);
            if (0..3).any(|signal| ratios[signal] >= emergency(signal)) {
                prop_assert_eq!(machine.level(), Level::Emergency);
            }
        }
    }

    /// P3: down by exactly one level, only with a new sample, half a hold apart, never within a hold of a vote for the
    /// level left.
    #[test]
    fn p03_down_one_at_a_time(story in story()) {
        let looks = story.looks();
        let said = follow(&looks);
        let mut last_down: Option<Duration> = None;
        for (i, (status, transition)) in said.iter().enumerate() {
            if status.level == Level::Unknown {
                last_down = None;
            }
            let Some(down) = transition.filter(|t| t.to < t.from && t.to != Level::Unknown) else {
                continue;
            };
            let hold = looks[i].config.pressure.hold;
            prop_assert!(!looks[i].again);
            prop_assert_eq!(down.from as i32 - down.to as i32, 1);
            let before = said[..i].iter().rev().map(|(status, _)| status);
            let known = before.take_while(|status| status.level != Level::Unknown);
            let voted = |status: &&Status| status.signals.iter().any(|s| s.vote >= Some(down.from));
            if let Some(last) = known.into_iter().find(voted) {
                prop_assert!(down.at - last.at >= hold);
            }
            prop_assert!(last_down.is_none_or(|last| down.at - last >= hold / 2));
            last_down = Some(down.at);
        }
    }

    /// P4: a worse input at the same times, under the same configurations, never gives a lower level.
    #[test]
    fn p04_worse_is_never_lower(
        story in story(),
        extra in prop::collection::vec(0..4_000u64, 120),
    ) {
        let worse = story.stream.0.iter().zip(extra).map(|(draw, extra)| {
            let more = |used: Option<u64>| used.map(|used| (used + extra).min(PARTS));
            let (system, cgroup, budget) = (more(draw.system), more(draw.cgroup), more(draw.budget));
            Draw { system, cgroup, budget, ..*draw }
        });
        let worse = Story { stream: Stream(worse.collect()), ..story.clone() };
        let (low, high) = (follow(&story.looks()), follow(&worse.looks()));
        for (i, (low, high)) in low.iter().zip(&high).enumerate() {
            let (low, high) = (low.0.level, high.0.level);
            prop_assert!(high >= low, "look {}: {} below {}", i, high, low);
        }
    }

    /// P5: the order in which signals are named changes nothing; one that is silent cannot raise the level.
    #[test]
    fn p05_order_and_silence_of_signals(config in config(), stream in stream()) {
        let samples = stream.samples();
        let mut turned = config.clone();
        turned.pressure.signals.reverse();
        let statuses = run(&config, &samples).0;
        prop_assert_eq!(&statuses, &run(&turned, &samples).0);
        for status in &statuses {
            let highest = status.signals.iter().filter_map(|s| s.vote).max();
            prop_assert!(status.level >= highest.unwrap_or(Level::Unknown));
        }
        let mut silent = stream.clone();
        // The machine stays: were all silent, unknown would start the latches afresh.
        silent.0.iter_mut().for_each(|draw| {
            draw.cgroup = None;
            draw.budget = draw.budget.or(Some(0));
        });
        let mut heard = silent.clone();
        for (heard, original) in heard.0.iter_mut().zip(&stream.0) {
            heard.cgroup = original.cgroup;
        }
        let (with, without) = (levels(&config, &heard.samples()), levels(&config, &silent.samples()));
        for (with, without) in with.iter().zip(&without) {
            prop_assert!(without <= with);
        }
    }

    /// P6: constant input makes one transition, out of unknown, and then silence.
    #[test]
    fn p06_constant_input_is_silent(
        config in config(),
        used in 0..=PARTS,
        waits in prop::collection::vec(1..30_000u64, 1..60),
    ) {
        let mut config = config;
        config.pressure.signals.push(Signal::Forecast);
        let draw = |wait_ms: &u64| Draw { cgroup: Some(used / 2), ..Draw::system(used, *wait_ms) };
        let transitions = run(&config, &Stream(waits.iter().map(draw).collect()).samples()).1;
        prop_assert_eq!(transitions.len(), 1, "{:?}", transitions);
    }

    /// P7: time bounds the number of transitions, and a level is not left and left again within a hold.
    #[test]
    fn p07_transitions_are_bounded_by_time(config in config(), stream in stream()) {
        let mut stream = stream;
        // With one signal always heard there is no way down but through the latches.
        stream.0.iter_mut().for_each(|draw| draw.budget = draw.budget.or(Some(0)));
        let samples = stream.samples();
        let transitions = run(&config, &samples).1;
        let downs: Vec<_> = transitions.iter().filter(|t| t.to < t.from).collect();
        prop_assert!(transitions.len() <= 4 + 2 * downs.len());
        let (first, last) = (samples[0].at.monotonic, samples[samples.len() - 1].at.monotonic);
        let step = (config.pressure.hold / 2).max(Duration::from_nanos(1));
        prop_assert!(downs.len() as u128 <= (last - first).as_nanos() / step.as_nanos() + 1);
        let calm: Vec<_> = downs.iter().filter(|t| t.to == Level::Normal).collect();
        for pair in calm.windows(2) {
            prop_assert!(pair[1].at - pair[0].at >= config.pressure.hold);
        }
    }

    /// P12: the same samples under the same configurations give the same decisions, to the byte.
    #[test]
    fn p12_replay_is_identical(story in story()) {
        let mut story = story;
        story.first.pressure.signals.push(Signal::Forecast);
        let replay = || format!("{:?}", follow(&story.looks()));
        prop_assert_eq!(replay(), replay());
    }

    /// P14: a jump of the clock makes no transition by itself, forwards (a gap) or backwards.
    #[test]
    fn p14_time_alone_changes_nothing(
        config in config(),
        stream in stream(),
        seconds in 1..1_000_000u64,
        back in any::<bool>(),
    ) {
        let mut stream = stream;
        // A gap ends votes that only stood in for missing readings, so the last readings are all there.
        if let Some(last) = stream.0.last_mut() {
            *last = Draw { cgroup: Some(5_000), budget: Some(5_000), ..Draw::system(5_000, last.wait_ms) };
        }
        let mut machine = Machine::new();
        let samples = stream.samples();
        for sample in &samples {
            machine.step(&config.rules(0), sample);
        }
        let mut jumped = samples[samples.len() - 1];
        let jump = Duration::from_secs(seconds);
        let at = &mut jumped.at.monotonic;
        *at = if back { at.saturating_sub(jump) } else { *at + jump };
        jumped.at.gap = !back;
        prop_assert_eq!(machine.step(&config.rules(0), &jumped), None);
    }

    /// P15: looking again at the same sample under the same rules is a no-op, at any point.
    #[test]
    fn p15_a_reload_without_a_change_is_a_no_op(
        config in config(),
        stream in stream(),
        at in any::<prop::sample::Index>(),
    ) {
        let samples = stream.samples();
        let at = at.index(samples.len());
        let (mut plain, mut reloaded) = (Machine::new(), Machine::new());
        for (i, sample) in samples.iter().enumerate() {
            let expected = plain.step(&config.rules(0), sample);
            prop_assert_eq!(reloaded.step(&config.rules(0), sample), expected);
            if i == at {
                prop_assert_eq!(reloaded.step(&config.rules(0), sample), None);
            }
            prop_assert_eq!(plain.status(), reloaded.status());
        }
    }

    /// A reload to any other rules may raise at once, to what the new rules say, and never lowers at once.
    #[test]
    fn a_reload_never_lowers_at_once(before in config(), after in config(), stream in stream()) {
        let mut machine = Machine::new();
        for (sample, draw) in stream.samples().iter().zip(&stream.0) {
            machine.step(&before.rules(0), sample);
            let mut reloaded = machine.clone();
            let transition = reloaded.step(&after.rules(1), sample);
            prop_assert!(transition.is_none_or(|t| t.to > machine.level()), "{:?}", transition);
            let ratios = draw.ratios();
            if (0..3).any(|signal| ratios[signal] >= Some(after.thresholds(signal).emergency)) {
                prop_assert_eq!(reloaded.level(), Level::Emergency);
            }
        }
    }

    /// The forecast lifts the level by at most one, and never lowers it.
    #[test]
    fn the_forecast_lifts_by_at_most_one(config in config(), stream in stream()) {
        let mut with = config.clone();
        with.pressure.signals.push(Signal::Forecast);
        let samples = stream.samples();
        for (plain, lifted) in levels(&config, &samples).iter().zip(levels(&with, &samples)) {
            prop_assert!(lifted >= *plain);
            prop_assert!(lifted as i32 - *plain as i32 <= 1, "{} to {}", plain, lifted);
        }
    }

    /// P13: whatever numbers come in, no step panics, and what it reports is finite.
    #[test]
    fn p13_no_numbers_panic(
        numbers in prop::collection::vec(any::<[u64; 8]>(), 1..40),
        floats in any::<[f64; 2]>(),
    ) {
        let config = Config { pressure: PressureConfig::default(), budget: BudgetConfig::default() };
        let mut machine = Machine::new();
        for n in numbers {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_nanos(n[0] >> 2)));
            sample.system.total = Ok(n[1]);
            sample.system.available = Ok(n[2]);
            sample.cgroup.usage = Ok(n[3]);
            sample.cgroup.inactive_file = Ok(n[4]);
            sample.cgroup.limit = Ok(n[5]);
            sample.cgroup.high = Ok(n[6]);
            sample.process.rss = Ok(n[6]);
            sample.process.swap = Ok(n[7]);
            sample.cgroup.events.oom = Ok(n[0]);
            sample.cgroup.events.oom_kill = Ok(n[1]);
            sample.psi.some.avg10 = Ok(floats[0]);
            sample.psi.full.avg10 = Ok(floats[1]);
            sample.psi.some.total_us = Ok(n[2]);
            sample.psi.full.total_us = Ok(n[3]);
            machine.step(&config.rules(0), &sample);
            for signal in machine.status().signals {
                prop_assert!(signal.value.is_none_or(f64::is_finite), "{:?}", signal);
            }
        }
    }

    /// P2, P5, P12, P13 and P15 with all five signals, over samples in which anything may stand anywhere or be absent.
    #[test]
    fn p02_p05_p12_p13_p15_over_any_trace(config in config(), trace in memtrack::testing::trace(1..80)) {
        let pressure = PressureConfig { signals: Signal::ALL.to_vec(), ..config.pressure };
        let config = Config { pressure, ..config };
        let rules = config.rules(3);
        let (mut machine, mut again) = (Machine::new(), Machine::new());
        let mut level = machine.level();
        for sample in &trace {
            let transition = machine.step(&rules, sample);
            prop_assert_eq!(transition.map(|t| (t.from, t.to)), (level != machine.level()).then_some((level, machine.level())));
            level = machine.level();
            let status = machine.status();
            let highest = status.signals.iter().filter_map(|signal| signal.vote).max();
            prop_assert!(highest.is_none_or(|vote| vote <= level), "{:?}", status);
            prop_assert_eq!(highest.is_none(), level == Level::Unknown);
            if let Some(transition) = transition {
                prop_assert_eq!(transition.generation, 3);
                prop_assert!(transition.signal.is_some() == (transition.to != Level::Unknown));
                prop_assert!(transition.threshold.is_none_or(f64::is_finite));
            }
            for signal in status.signals {
                prop_assert!(signal.value.is_none_or(f64::is_finite), "{:?}", signal);
                prop_assert_eq!(signal.vote.is_none(), signal.value.is_none() && signal.threshold.is_none(), "{:?}", signal);
                prop_assert!(signal.vote.is_some() || signal.absent.is_some(), "silent without a reason: {:?}", signal);
            }
            // The machine's own ratio, as plainly as it can be computed.
            if let (Ok(total), Ok(available)) = (sample.system.total, sample.system.available)
                && total > 0
                && available <= total
                && (total - available) as f64 / total as f64 >= config.thresholds(0).emergency
            {
                prop_assert_eq!(level, Level::Emergency);
            }
            prop_assert_eq!(machine.step(&rules, sample), None);
            // Another machine that looks once comes to the same.
            again.step(&rules, sample);
            prop_assert_eq!(format!("{:?}", again.status()), format!("{:?}", machine.status()));
        }
    }
}
