//! What a detector's answers on labelled traces are worth: the rules of leakbench's scorer.

use std::time::Duration;

use memleak::tuning::Tuning;
use memleak::{Detector, LeakConfig};

use super::{HOUR, MIB, Trace};

/// Families whose leak has one rate.
const LINEAR: [&str; 8] = [
    "linear",
    "late_onset",
    "staircase",
    "gc_rising_floor",
    "diurnal_leak",
    "restarts_leak",
    "cache_evict_leak",
    "messy_leak",
];

/// What became of one trace.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub family: &'static str,
    pub leak: bool,
    /// Whether the verdict at the end is a leak.
    pub last: bool,
    /// Seconds at which an alert was raised and cleared.
    pub alerts: Vec<(f64, Option<f64>)>,
    /// An alert before the onset, or on a clean trace; forgiven when growth went on then and it was cleared soon after.
    pub false_any: bool,
    pub false_clean: bool,
    /// Hours and MiB from the onset to the alert that found it.
    pub delay: Option<(f64, f64)>,
    /// Share by which the rate is wrong.
    pub rate_error: Option<f64>,
}

/// Streams a trace as it would come, with one last look at its end.
pub fn watch(trace: &Trace, tuning: Tuning) -> Outcome {
    let mut detector = Detector::new(&LeakConfig::default());
    detector.set_tuning(tuning);
    let mut alerts: Vec<(f64, Option<f64>)> = Vec::new();
    let mut end = 0.0f64;
    let mut note = |change: Option<memleak::Change>, at: f64| {
        let Some(change) = change else { return };
        if change.to.is_leak() {
            alerts.push((at, None));
        } else if let Some((_, cleared @ None)) = alerts.last_mut() {
            *cleared = Some(at);
        }
    };
    for (t, bytes) in &trace.samples {
        note(detector.push(Duration::from_secs_f64(*t), *bytes), *t);
        end = *t;
    }
    note(detector.conclude(), end);
    let verdict = detector.verdict();
    let measured = verdict.trend().map(|trend| trend.bytes_per_second * HOUR / MIB);
    let forgiven = |(raised, cleared): (f64, Option<f64>), until: f64| {
        trace.ambiguous_until.zip(cleared).is_some_and(|(told, cleared)| {
            raised <= told && cleared <= until.min(1.35 * told + HOUR)
        })
    };
    let (early, later): (Vec<_>, Vec<_>) =
        alerts.iter().partition(|(raised, _)| trace.leak && *raised < trace.onset);
    let lasts = |(raised, cleared): &(f64, Option<f64>)| {
        cleared.is_none_or(|cleared| cleared - raised >= 0.1 * (end - raised))
    };
    let found = later.iter().copied().find(lasts).filter(|_| trace.leak);
    let last = verdict.is_leak();
    let false_clean = if trace.leak {
        early.iter().any(|alert| !forgiven(*alert, trace.onset))
    } else {
        last || alerts.iter().any(|alert| !forgiven(*alert, end))
    };
    Outcome {
        family: trace.family,
        leak: trace.leak,
        last,
        false_any: if trace.leak { !early.is_empty() } else { !alerts.is_empty() },
        false_clean,
        delay: found.map(|(at, _)| ((at - trace.onset) / HOUR, leaked(trace, at))),
        rate_error: trace
            .rate_mib_per_h
            .filter(|_| last && LINEAR.contains(&trace.family))
            .zip(measured)
            .map(|(rate, measured)| (measured / rate - 1.0).abs()),
        alerts,
    }
}

/// MiB that a trace has leaked by `at`.
fn leaked(trace: &Trace, at: f64) -> f64 {
    let after = trace.leaked.partition_point(|(t, _)| *t < at);
    let Some(&(b, y)) = trace.leaked.get(after) else {
        return trace.leaked.last().map_or(0.0, |(_, mib)| *mib);
    };
    let Some(&(a, x)) = after.checked_sub(1).and_then(|k| trace.leaked.get(k)) else { return y };
    x + (y - x) * (at - a) / (b - a)
}

/// The scores of many traces together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    pub traces: usize,
    pub any: f64,
    pub clean: f64,
    pub clean_false: usize,
    pub last: f64,
    pub last_false: usize,
    pub last_missed: usize,
    pub rate_error: f64,
    pub rate_close: f64,
    pub hours: f64,
    pub mib: f64,
}

impl Score {
    pub fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome> + Clone) -> Self {
        let count =
            |keep: &dyn Fn(&Outcome) -> bool| outcomes.clone().filter(|one| keep(one)).count();
        let f1 = |found: usize, wrong: usize, missed: usize| {
            2.0 * found as f64 / (2 * found + wrong + missed).max(1) as f64
        };
        let leaking = count(&|one| one.leak);
        let any = count(&|one| one.leak && !one.alerts.is_empty() && !one.false_any);
        let clean = count(&|one| one.delay.is_some());
        let last = count(&|one| one.leak && one.last);
        let (clean_false, last_false) =
            (count(&|one| one.false_clean), count(&|one| !one.leak && one.last));
        let errors: Vec<f64> = outcomes.clone().filter_map(|one| one.rate_error).collect();
        let close = errors.iter().filter(|error| **error <= 0.1).count();
        Self {
            traces: outcomes.clone().count(),
            any: f1(any, count(&|one| one.false_any), leaking - any),
            clean: f1(clean, clean_false, leaking - clean),
            clean_false,
            last: f1(last, last_false, leaking - last),
            last_false,
            last_missed: leaking - last,
            rate_close: close as f64 / errors.len().max(1) as f64,
            rate_error: middle(errors),
            hours: middle(outcomes.clone().filter_map(|one| Some(one.delay?.0)).collect()),
            mib: middle(outcomes.clone().filter_map(|one| Some(one.delay?.1)).collect()),
        }
    }
}

/// The median; 0 of nothing.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}
