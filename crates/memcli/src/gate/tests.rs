//! What a gate says of figures that are made up.
use super::*;
use crate::pipeline::{Pipeline, Policies};
use memleak::{Detector, LeakConfig, Trend};

use memtrack::source::Target;
use memtrack::{Sample, Stamp};

/// A verdict on `rate` MiB/s, watched for 30 s at 10 Hz.
fn verdict_on(rate: f64) -> Verdict {
    let mut detector = Detector::new(&LeakConfig::default());
    for tick in 0..300u32 {
        let seconds = f64::from(tick) / 10.0;
        let bytes = (50.0 + rate * seconds) * 1_048_576.0;
        detector.push(Duration::from_millis(u64::from(tick) * 100), bytes as u64);
    }
    detector.conclude();
    detector.verdict()
}

fn exactly(bytes: u64) -> Known {
    Known { at_least: Some(bytes), at_most: Some(bytes), likely: None }
}

fn facts(verdict: &Verdict) -> Facts<'_> {
    Facts {
        peak_rss: exactly(64 << 20),
        peak_pss: Known::default(),
        verdict,
        level: Level::Critical,
        alert: Some(Severity::Warning),
        regression: Some(Outcome::NoDifference),
        headroom: Some(120 << 20),
        unseen: None,
        no_level: None,
    }
}

#[test]
fn a_gate_that_cannot_judge_does_not_say_yes() {
    let (flat, leak) = (verdict_on(0.0), verdict_on(2.0));
    let names = ["leak", "growing", "level:emergency", "alert:critical", "limit-in:1s"];
    let fail_on = names.map(|name| name.parse().unwrap()).to_vec();
    let max_growth = Some(Rate::per_second(1e9));
    let gates = Gates { max_growth, fail_on, ..Gates::default() };
    let failed = |facts| -> Vec<_> {
        let judged = gates.judge(facts).into_iter().filter(|gate| !gate.pass);
        judged.map(|gate| (gate.name, gate.reason.unwrap_or_default())).collect()
    };
    let known = facts(&flat);
    assert!(failed(known).is_empty());
    let unseen = failed(Facts { unseen: Some("why"), ..known });
    assert!(unseen.len() == 6 && unseen.iter().all(|(_, why)| why == "why"), "{unseen:?}");
    let no_level = Facts { level: Level::Unknown, no_level: Some("why"), ..known };
    assert_eq!(failed(no_level), [("level", "why".to_owned())]);
    let no_limit = failed(Facts { headroom: None, ..facts(&leak) });
    let limit_in = no_limit.iter().find(|(name, _)| *name == "limit_in");
    assert!(limit_in.is_some_and(|(_, why)| why.contains("no limit")), "{no_limit:?}");
    assert!(failed(Facts { headroom: None, ..known }).is_empty(), "it does not grow");
}

#[test]
fn growth_that_is_not_decided_yet_tells_when_it_would_reach_the_limit_and_fails_only_strict_gates()
{
    let mut detector = Detector::new(&LeakConfig::default());
    for tick in 0..40u32 {
        let bytes = (50.0 + f64::from(tick) / 10.0) * 1_048_576.0;
        detector.push(Duration::from_millis(u64::from(tick) * 100), bytes as u64);
    }
    detector.conclude();
    let verdict = detector.verdict();
    let low = verdict.trend().map(|trend| trend.low);
    assert!(verdict.kind() == "undecided" && low > Some(0.0), "{verdict:?}");
    let judge = |limit, strict| {
        let fail_on = vec![FailOn::LimitIn(Duration::from_secs(limit))];
        let gates = Gates { fail_on, strict, ..Gates::default() };
        gates.judge(Facts { headroom: Some(30 << 20), ..facts(&verdict) }).remove(0)
    };
    let near = judge(600, false);
    assert!(near.pass && near.reason.is_some(), "{near:?}");
    let told = near.value.as_ref().and_then(Quantity::number);
    assert!(told.is_some_and(|seconds| (seconds - 30.0).abs() < 1.0), "{near:?}");
    let far = judge(10, false);
    assert!(far.pass && far.reason.is_none(), "{far:?}");
    assert!(!judge(600, true).pass);
}

#[test]
fn a_peak_at_the_limit_passes_and_one_byte_more_does_not() {
    let verdict = verdict_on(0.0);
    let gates = Gates { max_rss: Some(Size::mib(64)), ..Gates::default() };
    let judge = |peak_rss| gates.judge(Facts { peak_rss, ..facts(&verdict) });
    assert!(judge(exactly(64 << 20))[0].pass);
    let failed = judge(exactly((64 << 20) + 1));
    assert!(!failed[0].pass);
    assert_eq!(
        serde_json::to_string(&failed[0]).unwrap(),
        r#"{"name":"max_rss","limit":67108864,"value":67108865,"bound":null,"pass":false,"reason":null}"#
    );
    let unknown = &judge(Known::default())[0];
    assert!(!unknown.pass, "an unknown peak is no pass");
    assert_eq!(unknown.reason.as_deref(), Some("it was never read"));
}

#[test]
fn a_command_too_short_for_a_sample_is_judged_by_what_it_was_at_most() {
    let most = |mib: u64| Known { at_most: Some(mib << 20), ..Known::default() };
    let judge = |mib| most(mib).judge("max_rss", Size::mib(64));
    let passed = judge(9);
    assert!(passed.pass && passed.reason.is_none());
    assert_eq!(passed.value, Some(Quantity::Bytes(9 << 20)));
    assert_eq!(passed.bound, Some(Bound::AtMost));
    let undecided = judge(65);
    assert_eq!((undecided.pass, undecided.value), (false, None));
    assert!(undecided.reason.unwrap().contains("at most 65.0 MiB"));
}

#[test]
fn a_pss_that_was_read_before_the_peak_passes_no_gate_below_the_peak() {
    let peak = Peak {
        size_bytes: Some(51 << 20),
        size_measure: Some("RSS"),
        size_of_several: false,
        size_estimated: false,
        rss_bytes: Some(51 << 20),
        exact: true,
        rss_at_most_bytes: Some(51 << 20),
        footprint_bytes: None,
        pss_bytes: Some(5 << 20),
        pss_likely_bytes: Some(5 << 20),
    };
    let seen = Seen { shared: Some(1 << 20), ..Seen::default() };
    let judge = |mib| Known::pss(&peak, &seen).judge("max_pss", Size::mib(mib));
    assert!(!judge(4).pass && judge(4).reason.is_none(), "it was seen above it");
    let stale = judge(10);
    assert!(!stale.pass);
    assert_eq!(stale.bound, Some(Bound::AtLeast));
    assert!(stale.reason.unwrap().contains("at most 51.0 MiB"));
    assert!(judge(50).pass, "what was shared is not PSS");
    assert_eq!(judge(51).bound, Some(Bound::AtMost));
    // Over a tree nothing bounds it: what was read is all there is.
    let tree = Peak { exact: false, rss_at_most_bytes: None, ..peak };
    assert!(Known::pss(&tree, &seen).judge("max_pss", Size::mib(10)).pass);
    let more = Peak { pss_likely_bytes: Some(12 << 20), ..tree };
    let open = Known::pss(&more, &seen).judge("max_pss", Size::mib(10));
    assert!(!open.pass && open.reason.unwrap().contains("estimated at 12.0 MiB"));
}

#[test]
fn an_estimated_pss_fails_no_gate_once_it_was_measured_again() {
    let mut pipeline = Pipeline::new(&Target::Own, Policies::unedited());
    let mut judge = |millis: u64, pss: u64, age: u64| {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_millis(millis)));
        (sample.process.rss, sample.process.processes) = (Ok(960 << 20), Ok(4));
        (sample.process.pss, sample.process.pss_age) =
            (Ok(pss << 20), Ok(Duration::from_millis(age)));
        pipeline.push(&sample, |_| {});
        let seen = pipeline.seen();
        assert!(seen.pss_of_several == seen.pss, "the headline is no estimate either");
        let peak = Peak::new(&Target::Own, seen, None);
        let judged = Known::pss(&peak, seen).judge("max_pss", Size::mib(500));
        let gates = Gates { max_pss: Some(Size::mib(500)), ..Gates::default() };
        (judged.pass, judged.reason.is_some(), gates.failed_for_good(seen))
    };
    assert_eq!(judge(0, 210, 0), (true, false, false));
    assert_eq!(judge(100, 710, 100), (false, true, false), "nobody knows, and --abort waits");
    assert_eq!(judge(500, 390, 0), (true, false, false));
    assert_eq!(judge(600, 510, 100), (false, true, false));
    assert_eq!(judge(700, 501, 0), (false, false, true));
}

#[test]
fn a_spike_that_was_only_estimated_passes_no_gate_below_it_at_any_time_of_measuring() {
    // A shell of 2 MiB, and a program of 300 MiB with it for four samples. PSS is measured at one tenth in ten, or in the spike.
    for measured in 0..10u64 {
        let mut pipeline = Pipeline::new(&Target::Own, Policies::unedited());
        for tenth in 0..30u64 {
            let there = (12..16).contains(&tenth);
            let mib = if there { 302 } else { 2 };
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_millis(100 * tenth)));
            let process = &mut sample.process;
            (process.rss, process.pss) = (Ok(mib << 20), Ok(mib << 20));
            process.processes = Ok(if there { 2 } else { 1 });
            let age = (tenth + 10 - measured) % 10;
            process.pss_age = Ok(Duration::from_millis(100 * age));
            pipeline.push(&sample, |_| {});
        }
        let seen = pipeline.seen();
        let peak = Peak::new(&Target::Own, seen, seen.peak_rss);
        let was = (2..6).contains(&measured);
        assert_eq!((peak.size_bytes, peak.size_measure), (Some(302 << 20), Some("PSS")));
        assert_eq!(peak.size_estimated, !was, "measured at {measured}");
        let judged = Known::pss(&peak, seen).judge("max_pss", Size::mib(100));
        assert_eq!((judged.pass, judged.reason.is_some()), (false, !was), "{judged:?}");
        assert!(Known::pss(&peak, seen).judge("max_pss", Size::mib(302)).pass);
    }
}

#[test]
fn a_spike_that_only_the_kernel_saw_passes_no_gate_below_it() {
    let (pss, rss) = (Some(1 << 20), Some(3 << 20));
    let seen =
        Seen { processes: Some(2), pss, pss_of_several: pss, sampled_rss: rss, ..Seen::default() };
    let peak = Peak::new(&Target::Own, &seen, Some(303 << 20));
    assert_eq!((peak.size_bytes, peak.size_estimated), (Some(301 << 20), true));
    assert!(!Known::pss(&peak, &seen).judge("max_pss", Size::mib(100)).pass);
    let peak = Peak::new(&Target::Own, &seen, rss);
    assert_eq!((peak.size_bytes, peak.size_estimated), (pss, false));
    assert!(Known::pss(&peak, &seen).judge("max_pss", Size::mib(100)).pass);
}

#[test]
fn a_rate_comes_back_as_it_was_typed() {
    for typed in ["1 KiB/min", "2 MiB/s", "1 MiB/min", "5 KiB/h", "3 GiB/min"] {
        let rate: Rate = typed.parse().unwrap();
        assert_eq!(Quantity::Growth(rate).to_string(), typed);
    }
    assert_eq!(Quantity::Growth(Rate::per_second(1234.5)).to_string(), "4.2 MiB/h");
}

#[test]
fn a_strict_gate_passes_only_what_is_decided() {
    let early = Detector::new(&LeakConfig::default()).verdict();
    let flat = verdict_on(0.0);
    assert_eq!((early.kind(), flat.kind()), ("undecided", "steady"));
    let max_growth = Some(Rate::per_second(1e9));
    let fail_on = ["leak", "growing", "limit-in:1s", "regression", "level:emergency"];
    let fail_on = fail_on.map(|name| name.parse().unwrap()).to_vec();
    let lenient = Gates { max_growth, fail_on, ..Gates::default() };
    let strict = Gates { strict: true, ..lenient.clone() };
    let passed = |gates: &Gates, facts| -> Vec<bool> {
        gates.judge(facts).into_iter().map(|gate| gate.pass).collect()
    };
    let open = Facts { regression: Some(Outcome::Undecided), ..facts(&early) };
    assert_eq!(passed(&lenient, open), [true; 6]);
    assert_eq!(passed(&strict, open), [false, false, false, false, false, true]);
    let apart = Facts { regression: Some(Outcome::NotTested), ..facts(&flat) };
    assert_eq!(passed(&lenient, apart), [true, true, true, true, false, true]);
    assert_eq!(passed(&strict, facts(&flat)), [true; 6]);
    // The interval reaches past the gate: that it grows faster is not excluded.
    let leak = verdict_on(2.0);
    let Trend { low, high, .. } = leak.trend().unwrap();
    let between = Some(Rate::per_second(f64::midpoint(low, high)));
    let grows = |strict| {
        let gates = Gates { max_growth: between, strict, ..Gates::default() };
        gates.judge(facts(&leak))[0].clone()
    };
    assert!(grows(false).pass && low < high);
    assert!(grows(true).reason.unwrap().contains("reaches past"));
}

#[test]
fn a_limit_that_is_reached_already_is_reached_in_no_time() {
    let flat = verdict_on(0.0);
    let fail_on: FailOn = "limit-in:1h".parse().unwrap();
    let judged = fail_on.judge(Facts { headroom: Some(0), ..facts(&flat) });
    assert_eq!((judged.pass, judged.value), (false, Some(Quantity::Time(Duration::ZERO))));
}

#[test]
fn growth_fails_only_when_its_whole_interval_is_above_the_gate() {
    let (leak, flat) = (verdict_on(2.0), verdict_on(0.0));
    let passes = |mib: f64, verdict: &Verdict| {
        let max_growth = Some(Rate::per_second(mib * 1_048_576.0));
        Gates { max_growth, ..Gates::default() }.judge(facts(verdict))[0].pass
    };
    assert!(!passes(1.0, &leak) && passes(3.0, &leak) && passes(1.0, &flat));
}

#[test]
fn verdicts_levels_and_times_are_judged_by_name() {
    let (leak, flat) = (verdict_on(2.0), verdict_on(0.0));
    for (name, on_leak, on_flat) in [
        ("leak", false, true),
        ("growing", false, true),
        ("level:critical", false, false),
        ("level:emergency", true, true),
        ("alert:warning", false, false),
        ("alert:critical", true, true),
        ("regression", true, true),
        // 120 MiB at 2 MiB/s is a minute.
        ("limit-in:2m", false, true),
        ("limit-in:30s", true, true),
    ] {
        let fail_on: FailOn = name.parse().unwrap();
        assert_eq!(fail_on.judge(facts(&leak)).pass, on_leak, "{name} on a leak");
        assert_eq!(fail_on.judge(facts(&flat)).pass, on_flat, "{name} on a flat series");
    }
    assert!(FailOn::WORDS.iter().all(|word| word.parse::<FailOn>().is_ok()));
    for text in ["", "leek", "level:normal", "limit-in:", "limit-in:10"] {
        let error = text.parse::<FailOn>().unwrap_err().to_string();
        assert!(error.contains("limit-in:10m"), "{error}");
    }
}
