//! Several runs of one command: how they are spread, and gates over them all. The document `memcli.runs/1`.

use memleak::student::Estimate;
use serde::Serialize;

use crate::comparison::Comparison;
use crate::gate::{Judged, Quantity};
use crate::summary::{Peak, Summary};

/// The name and version of this document.
pub const SCHEMA: &str = "memcli.runs/1";

/// What several runs came to. Sizes are in bytes, times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Series {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The command that was started, with its arguments.
    pub command: Vec<String>,
    /// The code memcli exits with.
    pub exit_code: u8,
    /// Runs that were not counted.
    pub warmup: u32,
    /// Runs that were asked for; fewer are listed when one failed, or a signal ended them.
    pub asked: u32,
    /// The signal by which somebody ended them all; the run that it interrupted is not listed. `null` when nobody did.
    pub interrupted_by: Option<i32>,
    /// What the peak counts: of several processes `PSS`, of one `RSS`; `size` where some runs were of one
    /// and some of several; `null` when it is not known of each.
    pub peak_measure: Option<&'static str>,
    /// Peak of the size that `peak_measure` names.
    pub peak_bytes: Option<Spread>,
    /// Peak RSS.
    pub peak_rss_bytes: Option<Spread>,
    /// Mean RSS over the time of a run.
    pub mean_rss_bytes: Option<Spread>,
    /// Growth, in bytes per second.
    pub growth_bytes_per_second: Option<Spread>,
    /// From start to end.
    pub duration_seconds: Option<Spread>,
    /// How often each verdict was reached.
    pub verdicts: Verdicts,
    /// The gates that were asked for, over all runs.
    pub gates: Vec<Judged>,
    /// The comparison with the baseline; `null` when none was asked for.
    pub baseline: Option<Comparison>,
    /// Each run.
    pub runs: Vec<Summary>,
}

/// One number over the runs that have it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Spread {
    /// Runs that have it.
    pub runs: usize,
    /// Half of them are at most this.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// Lower end of the 95 % interval of the mean (Student's t); `null` for a single run.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
}

/// How often each verdict was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verdicts {
    /// `leak`.
    pub leak: u32,
    /// `growing`.
    pub growing: u32,
    /// `steady`.
    pub steady: u32,
    /// `undecided`.
    pub undecided: u32,
}

impl Spread {
    /// The spread of `values`; `None` without a finite one.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let runs = values.len();
        let median = f64::midpoint(values[(runs - 1) / 2], values[runs / 2]);
        let mean = values.iter().sum::<f64>() / runs as f64;
        let interval = Estimate::mean(&values).map(|mean| (mean.value, mean.reach()));
        Some(Self {
            runs,
            median,
            min,
            max,
            mean,
            low: interval.map(|(mean, reach)| mean - reach),
            high: interval.map(|(mean, reach)| mean + reach),
        })
    }
}

impl Series {
    /// What `runs` came to, of `asked` after `warmup` others. Gates and the exit code are for the caller.
    #[must_use]
    pub fn new(command: Vec<String>, warmup: u32, asked: u32, runs: Vec<Summary>) -> Self {
        let spread = |of: &dyn Fn(&Summary) -> Option<f64>| Spread::of(runs.iter().filter_map(of));
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        let peak_measure = Peak::common_measure(runs.iter().map(|run| &run.peak));
        let mut verdicts = Verdicts::default();
        for run in &runs {
            match run.verdict.kind {
                "leak" => verdicts.leak += 1,
                "growing" => verdicts.growing += 1,
                "steady" => verdicts.steady += 1,
                _ => verdicts.undecided += 1,
            }
        }
        Self {
            schema: SCHEMA,
            command,
            exit_code: 0,
            warmup,
            asked,
            interrupted_by: None,
            peak_measure,
            peak_bytes: peak_measure.and_then(|_| spread(&|run| bytes(run.peak.size_bytes))),
            peak_rss_bytes: spread(&|run| bytes(run.peak.rss_bytes)),
            mean_rss_bytes: spread(&|run| bytes(run.mean_rss_bytes)),
            growth_bytes_per_second: spread(&|run| run.growth.bytes_per_second),
            duration_seconds: spread(&|run| Some(run.duration_seconds)),
            verdicts,
            gates: Vec::new(),
            baseline: None,
            runs,
        }
    }
}

/// Judges each gate over all runs, from how it was judged in each; `runs` must have the same gates in the same order.
///
/// A number fails when the whole 95 % interval of its mean is beyond the gate: one run that came out high is noise, and a build
/// must not fail on it. A verdict fails when more than half of the runs have it. A level or an alert is a fact, and fails when
/// any run reached it.
#[must_use]
pub fn gates(runs: &[Vec<Judged>]) -> Vec<Judged> {
    let Some((first, _)) = runs.split_first() else { return Vec::new() };
    let over = |at: usize| runs.iter().filter_map(move |run| run.get(at));
    first.iter().enumerate().map(|(at, gate)| judge(gate, over(at).collect())).collect()
}

fn judge(gate: &Judged, runs: Vec<&Judged>) -> Judged {
    let failed = runs.iter().filter(|run| !run.pass).count();
    let numbers: Vec<f64> =
        runs.iter().filter_map(|run| run.value.as_ref().and_then(Quantity::number)).collect();
    let spread = Spread::of(numbers.iter().copied());
    let undecided = runs.iter().find_map(|run| run.reason.as_deref());
    // The mean of bounds is one.
    let bound = runs.iter().find_map(|run| run.bound);
    match (&gate.limit, spread) {
        (Quantity::Bytes(_) | Quantity::Growth(_), _) if runs.len() < 2 => gate.clone(),
        // What a run does not tell leaves nothing to judge by, and that is no pass. Growth that is not there yet is one.
        (Quantity::Bytes(_) | Quantity::Growth(_), spread) if undecided.is_some() => Judged {
            value: spread.and_then(|spread| gate.limit.like(spread.mean)),
            bound,
            pass: false,
            reason: undecided.map(|why| format!("of a run: {why}")),
            ..gate.clone()
        },
        (limit @ (Quantity::Bytes(_) | Quantity::Growth(_)), Some(spread)) => Judged {
            value: limit.like(spread.mean),
            bound,
            pass: limit.number().is_none_or(|limit| spread.low.unwrap_or(spread.mean) <= limit),
            ..gate.clone()
        },
        _ => {
            let worst = runs.iter().find(|run| !run.pass).copied();
            let fact = matches!(gate.name, "level" | "alert");
            let pass = if fact { failed == 0 } else { failed * 2 <= runs.len() };
            let shown = worst.filter(|_| !pass).unwrap_or(gate);
            let (value, reason) = (shown.value.clone(), shown.reason.clone().filter(|_| !pass));
            Judged { value, reason, pass, ..gate.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Bound, Known};
    use memtrack::Size;

    fn ceiling(peak: Option<u64>) -> Vec<Judged> {
        let known = Known { at_least: peak, at_most: peak, likely: None };
        vec![known.judge("max_rss", Size(100))]
    }

    fn word(name: &'static str, pass: bool) -> Vec<Judged> {
        let limit = Quantity::Word(name);
        let value = Some(Quantity::Word("x"));
        vec![Judged { name, limit, value, bound: None, pass, reason: None }]
    }

    fn passes(runs: &[Vec<Judged>]) -> bool {
        gates(runs)[0].pass
    }

    #[test]
    fn a_ceiling_fails_only_when_the_interval_of_the_mean_is_above_it() {
        let runs =
            |peaks: &[u64]| peaks.iter().map(|peak| ceiling(Some(*peak))).collect::<Vec<_>>();
        assert!(passes(&runs(&[90, 91, 120])), "one run that came out high is noise");
        assert!(passes(&runs(&[95, 102, 106])), "the mean is above, the interval is not");
        assert!(!passes(&runs(&[120, 121, 122])));
        assert!(!passes(&runs(&[101])), "one run has no interval");
        assert!(!passes(&[ceiling(Some(50)), ceiling(None)]), "unknown is no pass");
        assert_eq!(gates(&runs(&[120, 121, 122]))[0].value, Some(Quantity::Bytes(121)));
    }

    #[test]
    fn runs_too_short_for_a_sample_are_judged_by_what_they_were_at_most() {
        let most = |bytes| Known { at_most: Some(bytes), ..Known::default() };
        let runs = |peaks: &[u64]| -> Vec<_> {
            peaks.iter().map(|peak| vec![most(*peak).judge("max_rss", Size(100))]).collect()
        };
        let passed = &gates(&runs(&[90, 92]))[0];
        assert!(passed.pass && passed.bound == Some(Bound::AtMost), "{passed:?}");
        let undecided = &gates(&runs(&[90, 101]))[0];
        assert!(!undecided.pass && undecided.reason.is_some(), "{undecided:?}");
    }

    #[test]
    fn a_verdict_needs_most_runs_and_a_level_one() {
        let runs =
            |name, passed: &[bool]| passed.iter().map(|pass| word(name, *pass)).collect::<Vec<_>>();
        assert!(
            passes(&runs("leak", &[false, true])) && !passes(&runs("leak", &[false, true, false]))
        );
        assert!(!passes(&runs("level", &[true, true, false])));
        assert!(gates(&[]).is_empty());
    }

    #[test]
    fn a_spread_has_an_interval_from_two_on() {
        let one = Spread::of([5.0]).unwrap();
        assert_eq!((one.median, one.low), (5.0, None));
        let spread = Spread::of([1.0, 2.0, 3.0, 4.0, f64::NAN]).unwrap();
        assert_eq!((spread.runs, spread.median, spread.min, spread.max), (4, 2.5, 1.0, 4.0));
        // 2.5 +- 3.182 * 1.291 / 2, by the tables.
        assert!((spread.low.unwrap() - 0.446).abs() < 0.002, "{spread:?}");
        assert_eq!(Spread::of([]), None);
    }
}
