//! Recordings before and after a change: the document `memcli.diff/1`.
//!
//! With several runs a side their means are compared (Welch's test): that covers how much one run differs from the next. One run
//! against several is compared with where the next of them would lie (Student's t), which covers it too.
//! With one run a side only what varies within it can be seen, so a difference must also be one that matters.

use std::time::Duration;

use memleak::student::{Estimate, quantile, welch};
use memleak::{Difference, Verdict, compare};
use serde::Serialize;

use crate::curve::Curve;
use crate::recording::Recording;
use crate::size;
use crate::summary::Peak;

/// The name and version of the document.
pub const SCHEMA: &str = "memcli.diff/1";
/// A difference of the level below this is nothing to act on, in bytes: allocators move that much from run to run,
const LEAST_BYTES: f64 = 1_048_576.0;
/// and so is one below this share of what it was.
const LEAST_SHARE: f64 = 0.01;

/// The comparison of two sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// What was compared with.
    pub base: Side,
    /// What is compared.
    pub new: Side,
    /// What the peak counts: of several processes `PSS`, of one `RSS`; `size` where one is compared with several, and `RSS` where a run
    /// of several has no PSS.
    pub peak_measure: &'static str,
    /// Whether the peak of any run is an estimate: PSS is measured now and then, and may have been higher in between.
    pub peak_estimated: bool,
    /// What level and growth count; `null` where not every run has the same, and then neither is compared.
    pub series: Option<&'static str>,
    /// One row for each number.
    pub rows: Vec<Row>,
    /// Of one run against one: one of them wanders so slowly that nothing within it shows that it returns. The intervals allow for
    /// that as far as a run is long; how far the next run would lie from it, they do not know.
    pub wanders: bool,
    /// Worse when any row is, or when most runs leak and most did not before; else better when any row is.
    pub verdict: Outcome,
}

/// What is compared of one run, recorded or just watched.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The file it is from, or the target.
    pub name: String,
    /// What is watched for growth, in words: `anon + swap`.
    pub series: &'static str,
    /// What is watched for growth.
    pub watched: Curve,
    /// The highest it was.
    pub peak: Peak,
    /// Whether it grows.
    pub verdict: Verdict,
}

impl From<&Recording> for Measured {
    fn from(run: &Recording) -> Self {
        Self {
            name: run.path.display().to_string(),
            series: run.pipeline.series(),
            watched: run.watched.clone(),
            peak: Peak::new(&run.header.target.watched(), run.pipeline.seen(), run.peak_rss().0),
            verdict: run.verdict(),
        }
    }
}

/// One side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Side {
    /// The files.
    pub files: Vec<String>,
    /// Runs in them.
    pub runs: usize,
    /// Runs whose verdict is `leak`.
    pub leaking: usize,
}

/// One number on both sides. In bytes, or for growth in bytes per second; of several runs the mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Row {
    /// Which number.
    pub metric: Metric,
    /// Before.
    pub base: f64,
    /// After.
    pub new: f64,
    /// After - before.
    pub change: f64,
    /// Lower end of the 95 % interval of the change; `null` when there is no test.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
    /// How often a change this large comes about by chance when there is none; `null` of one run against several, too.
    pub p: Option<f64>,
    /// What follows.
    pub verdict: Outcome,
}

/// The numbers that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Highest size, of the kind that `peak_measure` names.
    Peak,
    /// Level over the later half of the shortest run.
    Steady,
    /// Growth: of several runs over each whole run, else over that half.
    Growth,
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole interval lies below zero.
    Better,
    /// The interval holds zero, or nothing that matters.
    NoDifference,
    /// There are too few runs or samples for a test.
    NotTested,
    /// There is a change that matters, and a run wanders so slowly that it may be one of those that come and go.
    Undecided,
    /// The whole interval lies above zero.
    Worse,
}

impl Outcome {
    /// The word of it, as JSON has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Better => "better",
            Outcome::NoDifference => "no_difference",
            Outcome::NotTested => "not_tested",
            Outcome::Undecided => "undecided",
            Outcome::Worse => "worse",
        }
    }
}

impl Comparison {
    /// Compares two sides of at least one run each.
    #[must_use]
    pub fn of(base: &[Measured], new: &[Measured]) -> Self {
        let shortest = base.iter().chain(new).filter_map(length).min().unwrap_or_default();
        let mut rows = Vec::new();
        let mut wanders = false;
        rows.extend(peaks(base, new));
        let series = series(base, new);
        match (base, new) {
            _ if series.is_none() => {}
            ([one], [other]) => {
                let found;
                (found, wanders) = within(one, other);
                rows.extend(found);
            }
            _ => {
                let steady = means(Metric::Steady, base, new, None, |run| steady(run, shortest));
                let seconds = shortest.as_secs_f64().max(f64::MIN_POSITIVE);
                // What would move the level by as much as matters within the shortest run.
                let least = steady.map(|row| LEAST_BYTES.max(LEAST_SHARE * row.base) / seconds);
                rows.extend(steady);
                rows.extend(means(Metric::Growth, base, new, least, growth));
            }
        }
        let measure = peak_measure(base, new);
        let estimated = |run: &Measured| measure.is_some() && run.peak.size_estimated;
        let peak_estimated = base.iter().chain(new).any(estimated);
        let peak_measure = measure.unwrap_or(size::RSS);
        let leaks = leaks_now(base, new);
        let (base, new) = (Side::of(base), Side::of(new));
        let any = |outcome| rows.iter().any(|row| row.verdict == outcome);
        let verdict = if leaks || any(Outcome::Worse) {
            Outcome::Worse
        } else if any(Outcome::Better) {
            Outcome::Better
        } else if any(Outcome::Undecided) {
            Outcome::Undecided
        } else if any(Outcome::NoDifference) {
            Outcome::NoDifference
        } else {
            Outcome::NotTested
        };
        Self {
            schema: SCHEMA,
            base,
            new,
            peak_measure,
            peak_estimated,
            series,
            rows,
            wanders,
            verdict,
        }
    }
}

impl Side {
    fn of(runs: &[Measured]) -> Self {
        let mut files: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
        files.dedup();
        let leaking = runs.iter().filter(|run| run.verdict.is_leak()).count();
        Self { files, runs: runs.len(), leaking }
    }
}

/// Whether most runs leak, and most before did not. One that was too short to tell may have leaked as well, unless it surely grew
/// slower than any that leaks now.
fn leaks_now(base: &[Measured], new: &[Measured]) -> bool {
    let most = |runs: &[Measured], is: &dyn Fn(&Measured) -> bool| {
        2 * runs.iter().filter(|run| is(run)).count() > runs.len()
    };
    let leaking = new.iter().filter(|run| run.verdict.is_leak());
    let slowest = leaking.filter_map(|run| Some(run.verdict.trend()?.low)).reduce(f64::min);
    let slower =
        |run: &Measured| run.verdict.trend().zip(slowest).is_some_and(|(of, low)| of.high < low);
    most(new, &|run| run.verdict.is_leak())
        && most(base, &|run| match run.verdict.kind() {
            "steady" => true,
            "undecided" => slower(run),
            _ => false,
        })
}

fn length(run: &Measured) -> Option<Duration> {
    let (first, last) = run.watched.span()?;
    Some(last - first)
}

fn peaks(base: &[Measured], new: &[Measured]) -> Option<Row> {
    let of = |run: &Measured| match peak_measure(base, new) {
        Some(_) => run.peak.size_bytes,
        None => run.peak.rss_bytes,
    };
    means(Metric::Peak, base, new, None, |run| of(run).map(|bytes| bytes as f64))
}

fn peak_measure(base: &[Measured], new: &[Measured]) -> Option<&'static str> {
    Peak::common_measure(base.iter().chain(new).map(|run| &run.peak))
}

/// What all runs are watched by; `None` when they are not watched by the same.
fn series(base: &[Measured], new: &[Measured]) -> Option<&'static str> {
    let mut all = base.iter().chain(new).map(|run| run.series);
    let first = all.next()?;
    all.all(|series| series == first).then_some(first)
}

/// Mean of what is watched, over the later half of the time that every run lasted. By time: one that grew towards a limit was looked
/// at more often while it did.
fn steady(run: &Measured, shortest: Duration) -> Option<f64> {
    let (first, _) = run.watched.span()?;
    run.watched.mean(first + shortest / 2, first + shortest)
}

fn growth(run: &Measured) -> Option<f64> {
    run.verdict.trend().map(|trend| trend.bytes_per_second)
}

/// A row of the means over runs; `None` when a side has no value. A change below `least` does not matter, by default below
/// [`LEAST_SHARE`] of what it was.
fn means(
    metric: Metric,
    base: &[Measured],
    new: &[Measured],
    least: Option<f64>,
    of: impl Fn(&Measured) -> Option<f64>,
) -> Option<Row> {
    let base: Vec<f64> = base.iter().filter_map(&of).collect();
    let new: Vec<f64> = new.iter().filter_map(&of).collect();
    if base.is_empty() || new.is_empty() {
        return None;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (before, after) = (mean(&base), mean(&new));
    let (change, least) = (after - before, least.unwrap_or(LEAST_SHARE * before));
    let test = welch(&base, &new).map(|test| (test.low, test.high, Some(test.p)));
    let test = test.or_else(|| {
        let half = match (&base[..], &new[..]) {
            ([_, _, ..], [_]) => next_lies_within(&base)?,
            ([_], [_, _, ..]) => next_lies_within(&new)?,
            _ => return None,
        };
        Some((change - half, change + half, None))
    });
    Some(Row {
        metric,
        base: before,
        new: after,
        change,
        low: test.map(|(low, ..)| low),
        high: test.map(|(_, high, _)| high),
        p: test.and_then(|(.., p)| p),
        verdict: test.map_or(Outcome::NotTested, |(low, high, _)| {
            // Whether it is real is for the interval, whether it matters for the estimate.
            if change.abs() < least { Outcome::NoDifference } else { judged(low, high, 0.0) }
        }),
    })
}

/// How far from the mean of `values` another one of their kind lies at most, t s sqrt(1 + 1 / n): in 95 % of all cases each of the
/// three numbers of a run does, for which a third of 5 % is left to each (Bonferroni).
fn next_lies_within(values: &[f64]) -> Option<f64> {
    let mean = Estimate::mean(values)?;
    let one = mean.error * (values.len() as f64 + 1.0).sqrt();
    Some(quantile(mean.freedom, 0.05 / 3.0) * one)
}

/// The rows of one run against one, tested within them, and whether one of them wanders.
fn within(base: &Measured, new: &Measured) -> (Vec<Row>, bool) {
    // What the longer one did later would only thin out what they have in common.
    let common = length(base).min(length(new)).unwrap_or_default();
    let series = |run: &Measured| -> Vec<(Duration, u64)> {
        let first = run.watched.span().map_or(Duration::ZERO, |(first, _)| first);
        let in_common = run.watched.until(first.saturating_add(common)).iter();
        in_common.map(|bucket| (bucket.to, bucket.last)).collect()
    };
    let Some(found) = compare(series(base), series(new)) else { return (Vec::new(), false) };
    let wanders = found.before.wanders || found.after.wanders;
    let seconds = (found.to - found.from).as_secs_f64().max(f64::MIN_POSITIVE);
    let row = |metric, before, after, test: Difference, least: f64| Row {
        metric,
        base: before,
        new: after,
        change: test.estimate,
        low: Some(test.low),
        high: Some(test.high),
        p: Some(test.p),
        verdict: match judged(test.low, test.high, least) {
            Outcome::NoDifference if wanders && test.estimate.abs() > least => Outcome::Undecided,
            outcome => outcome,
        },
    };
    let least = LEAST_BYTES.max(LEAST_SHARE * found.before.level);
    let rows = vec![
        row(Metric::Steady, found.before.level, found.after.level, found.level, least),
        row(
            Metric::Growth,
            found.before.growth.bytes_per_second,
            found.after.growth.bytes_per_second,
            found.growth,
            // What would move the level by that much within the time compared.
            least / seconds,
        ),
    ];
    (rows, wanders)
}

/// The whole interval must lie beyond what matters, not only the estimate.
fn judged(low: f64, high: f64, least: f64) -> Outcome {
    if low > least {
        Outcome::Worse
    } else if high < -least {
        Outcome::Better
    } else {
        Outcome::NoDifference
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Seen;
    use std::slice::from_ref;

    use memtrack::Stamp;
    use memtrack::source::Target;

    #[test]
    fn only_a_whole_interval_beyond_what_matters_is_a_difference() {
        assert_eq!(judged(1.0, 2.0, 0.0), Outcome::Worse);
        assert_eq!(judged(-0.1, 2.0, 0.0), Outcome::NoDifference);
        assert_eq!(judged(1.0, 2.0, 1.5), Outcome::NoDifference);
        assert_eq!(judged(-3.0, -2.0, 1.5), Outcome::Better);
    }

    fn at(step: u32) -> Stamp {
        Stamp::synthetic(Duration::from_millis(300) * step)
    }

    /// Noise of one run: white noise, a slow wander, and now and then a spike, all deterministic.
    fn simulated(seed: u64, level: f64) -> Measured {
        lasting(seed, level, 100, 0.0)
    }

    /// The same of so many samples, and with a growth in MiB a sample.
    fn lasting(seed: u64, level: f64, samples: u32, growth: f64) -> Measured {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut uniform = move || {
            // xorshift64*: good enough for noise, and the same everywhere.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
        };
        let (mut watched, mut wander, mut peak) = (Curve::default(), 0.0, 0);
        for step in 0..samples {
            wander = 0.9 * wander + (uniform() - 0.5);
            let spike = if uniform() > 0.99 { 0.05 } else { 0.0 };
            let noise = 0.01 * (uniform() - 0.5) + 0.004 * wander + spike;
            let level = level + growth * f64::from(step);
            let bytes = (level * (1.0 + noise) * 1_048_576.0) as u64;
            watched.note(at(step), Some(bytes));
            peak = peak.max(bytes);
        }
        let mut detector = memleak::Detector::new(&memleak::LeakConfig::default());
        for bucket in watched.buckets().iter().step_by(2) {
            detector.push(bucket.to, bucket.last);
        }
        detector.conclude();
        let verdict = detector.verdict();
        let seen = Seen { processes: Some(1), ..Seen::default() };
        let peak = Peak::new(&Target::Own, &seen, Some(peak));
        Measured { name: format!("{seed}"), series: "RSS", watched, peak, verdict }
    }

    fn side(from: u64, runs: u64, level: f64) -> Vec<Measured> {
        (from..from + runs).map(|run| simulated(run, level)).collect()
    }

    #[test]
    fn private_memory_is_not_compared_with_rss() {
        // The same process: 100 MiB of its own in 300 MiB, once watched as the one and once as the other.
        let private = Measured { series: "anon + swap", ..simulated(1, 100.0) };
        let peak = simulated(2, 300.0).peak;
        let compared = Comparison::of(
            &[Measured { peak, ..private }],
            &[Measured { peak, ..simulated(2, 300.0) }],
        );
        assert_eq!(compared.series, None);
        assert!(compared.rows.iter().all(|row| row.metric == Metric::Peak), "{compared:?}");
        assert_ne!(compared.verdict, Outcome::Worse);
        assert_eq!(Comparison::of(&side(1, 1, 9.0), &side(2, 1, 9.0)).series, Some("RSS"));
    }

    #[test]
    fn peaks_are_compared_by_what_every_run_has() {
        let of = |pss| {
            let seen = Seen { processes: Some(4), pss_of_several: pss, ..Seen::default() };
            let peak = Peak::new(&Target::Own, &seen, Some(100 << 20));
            Measured { peak, ..simulated(1, 50.0) }
        };
        let peak = |base, new| {
            let compared = Comparison::of(&[of(base)], &[of(new)]);
            (compared.peak_measure, compared.rows[0].new)
        };
        assert_eq!(peak(Some(30 << 20), Some(40 << 20)), ("PSS", f64::from(40 << 20)));
        let summed = peak(Some(30 << 20), None);
        assert_eq!(
            summed,
            ("RSS", f64::from(100 << 20)),
            "a sum of RSS is compared with RSS alone"
        );
        let one = simulated(1, 50.0);
        let compared = Comparison::of(&[one], &[of(Some(40 << 20))]);
        assert_eq!((compared.peak_measure, compared.rows[0].new), ("size", f64::from(40 << 20)));
    }

    #[test]
    fn a_run_that_wanders_slowly_is_told_of() {
        let told =
            |base: &Measured, new: &Measured| Comparison::of(from_ref(base), from_ref(new)).wanders;
        let noisy = |seed| lasting(seed, 200.0, 300, 0.0);
        assert!(!told(&noisy(1), &noisy(2)));
        assert!(!told(&lasting(1, 50.0, 300, 0.5), &noisy(2)), "growth is no wandering");
        let wandering = |seed: u64| {
            let (mut watched, mut at, mut state) = (Curve::default(), 0.0, seed);
            for step in 0..300u32 {
                state =
                    state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                at = 0.995 * at + ((state >> 11) as f64 / (1u64 << 53) as f64 - 0.5);
                watched.note(self::at(step), Some(((200.0 + at) * 1_048_576.0) as u64));
            }
            Measured { watched, ..noisy(seed) }
        };
        // In pairs that differ in nothing but where they wandered.
        let (mut called, mut undecided) = (0, 0);
        for seed in 1..=60 {
            let compared = Comparison::of(&[wandering(seed)], &[wandering(seed + 100)]);
            match compared.verdict {
                Outcome::Better | Outcome::Worse => called += 1,
                Outcome::Undecided => undecided += 1,
                Outcome::NoDifference | Outcome::NotTested => {}
            }
            let steady = compared.rows[1];
            let matters = steady.change.abs() > 0.02 * steady.base;
            assert!(!(matters && compared.wanders) || steady.verdict != Outcome::NoDifference);
        }
        assert!(
            called <= 5 && undecided >= 10,
            "{called} called different, {undecided} not tested, of 60"
        );
        let found = (1..=30).filter(|seed| told(&wandering(*seed), &noisy(3))).count();
        assert!(found >= 15, "{found} of 30");
        let still = |bytes: u64| {
            let mut watched = Curve::default();
            (0..300u32).for_each(|step| watched.note(at(step), Some(bytes)));
            Measured { watched, ..noisy(1) }
        };
        assert!(!told(&still(1 << 30), &still(1 << 30)));
    }

    #[test]
    fn runs_of_very_different_lengths_are_compared_over_the_time_they_share() {
        let of = |base: &Measured, new: &Measured| Comparison::of(from_ref(base), from_ref(new));
        for (short, long) in [(60, 3000), (40, 3000), (100, 6000), (100, 20_000), (5000, 60_000)] {
            let (base, new) = (lasting(1, 200.0, short, 0.0), lasting(2, 400.0, long, 0.0));
            let worse = of(&base, &new);
            assert_eq!(worse.verdict, Outcome::Worse, "{short} {long}: {worse:?}");
            assert_eq!(of(&new, &base).verdict, Outcome::Better);
        }
    }

    #[test]
    fn a_leak_is_no_regression_of_a_run_that_was_too_short_to_tell() {
        let leaks = lasting(1, 50.0, 600, 0.3);
        assert!(leaks.verdict.is_leak(), "{:?}", leaks.verdict);
        let of = |base: &[Measured], new: &[Measured]| Comparison::of(base, new).verdict;
        let start = lasting(1, 50.0, 12, 0.3);
        assert_ne!(start.verdict.kind(), "steady");
        assert_ne!(of(from_ref(&start), from_ref(&leaks)), Outcome::Worse);
        let steady = lasting(3, 50.0, 600, 0.0);
        assert_eq!(steady.verdict.kind(), "steady");
        assert_eq!(of(from_ref(&steady), from_ref(&leaks)), Outcome::Worse);
        // One of many is no majority, whatever it does.
        let many = |last: &Measured| {
            let mut runs: Vec<_> = (10..13).map(|seed| lasting(seed, 50.0, 600, 0.0)).collect();
            runs.push(Measured { watched: runs[0].watched.clone(), ..runs[0].clone() });
            runs.push(Measured { verdict: last.verdict.clone(), ..runs[1].clone() });
            runs
        };
        assert_ne!(of(&many(&steady), &many(&leaks)), Outcome::Worse);
    }

    #[test]
    fn one_run_against_several_is_compared_with_where_the_next_would_lie() {
        let (mut same, mut worse, mut better) = (0, 0, 0);
        for pair in 0..40 {
            let seed = 1 + pair * 100;
            let base = side(seed, 4, 200.0);
            let against = |seed, level| Comparison::of(&base, &side(seed, 1, level)).verdict;
            same += u32::from(against(seed + 50, 200.0) == Outcome::NoDifference);
            worse += u32::from(against(seed + 70, 240.0) == Outcome::Worse);
            better += u32::from(against(seed + 70, 160.0) == Outcome::Better);
        }
        assert!(same >= 38, "no difference in {same} of 40");
        assert!(worse >= 38 && better >= 38, "worse in {worse}, better in {better} of 40");
    }

    #[test]
    fn a_leak_that_surely_was_not_there_is_a_regression_of_runs_that_were_undecided() {
        let leaks = lasting(1, 50.0, 600, 0.3);
        // Too short for a verdict, and long enough to tell that nothing like it was there.
        let short = |seed| lasting(seed, 50.0, 40, 0.0);
        let base: Vec<Measured> = (2..5).map(short).collect();
        assert!(base.iter().all(|run| run.verdict.kind() == "undecided"), "{base:?}");
        assert!(leaks_now(&base, from_ref(&leaks)));
        assert!(!leaks_now(from_ref(&lasting(1, 50.0, 12, 0.3)), from_ref(&leaks)));
    }

    #[test]
    fn nothing_is_found_where_nothing_is_and_a_tenth_more_is() {
        for runs in [1, 4] {
            let (mut same, mut worse) = (0, 0);
            for pair in 0..200 {
                let seed = 1 + pair * 100;
                let base = side(seed, runs, 200.0);
                let against = |new: &[Measured]| Comparison::of(&base, new).verdict;
                same += u32::from(against(&side(seed + 50, runs, 200.0)) == Outcome::NoDifference);
                worse += u32::from(against(&side(seed + 70, runs, 220.0)) == Outcome::Worse);
            }
            assert!(same >= 190, "{runs} a side: no difference in {same} of 200");
            assert!(worse >= 190, "{runs} a side: worse in {worse} of 200");
        }
    }
}
