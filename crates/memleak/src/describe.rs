//! From a detector's state to a [`Verdict`] with its figures. Computed when asked, not at every look.

use std::time::Duration;

use crate::detector::Detector;
use crate::growth::{Growth, measured};
use crate::judge::{FIRST_LOOK, Judge, Speed, State};
use crate::order;
use crate::rate::Now;
use crate::saturation::power;
use crate::season::Season;
use crate::trend::Z_95;
use crate::verdict::{Evidence, Shape, Spread, Trend, Verdict, Why};
use crate::window::{History, POINTS, Window};

/// The verdict of `detector` now.
pub(crate) fn verdict(detector: &Detector) -> Verdict {
    let (judge, known) = (detector.present(), &detector.known);
    let history = &judge.history;
    let now = judge.now(known);
    let rate = || judge.rate(known, now.map(|now| now.trend));
    // Where no window grows, the later half decides.
    let later = history.end() - (history.span() / 2.0).max(known.hold()).min(history.span());
    let later = later.max(judge.begun());
    let window = history.window(judge.hit.map_or(later, |_| judge.grown_from()));
    let found = window.as_ref().map(|window| measured(window, &known.tuning, known.least_growth));
    let season = judge.season(known);
    let mut evidence = evidence(detector, now, window.as_ref().zip(found), season.as_ref());
    match judge.state {
        State::Early => Verdict::Undecided {
            why: early(detector),
            watch_for: seconds(wait_of_early(detector)),
            evidence,
        },
        State::Steady => {
            let fell = evidence.trend.is_some_and(|trend| {
                trend.high < 0.0 && -trend.bytes_per_second * history.span() >= known.least_growth
            });
            // Of what falls, the level it has fallen to.
            let end = history.end() - history.span() / if fell { 48.0 } else { 4.0 };
            let plateau = history.level_since(end.max(judge.begun()), 0.5).unwrap_or(0.0) as u64;
            Verdict::Steady { plateau, evidence }
        }
        State::Undecided(why) => {
            let watch_for = seconds(wait_of_rise(why, detector, found.as_ref(), rate));
            Verdict::Undecided { why, watch_for, evidence }
        }
        State::Growing => {
            let rate = rate();
            evidence.trend = Some(rate);
            let watch_for = seconds(judge.wait(known)).unwrap_or_default();
            Verdict::Growing { rate, watch_for, evidence }
        }
        State::Leak => {
            let rate = rate();
            // The slope of a life that only carries a leak is its own.
            if judge.hit.is_some() {
                evidence.trend = Some(rate);
            }
            leak(detector, rate, season.as_ref(), evidence)
        }
    }
}

fn leak(
    detector: &Detector,
    rate: Trend,
    season: Option<&Season>,
    mut evidence: Evidence,
) -> Verdict {
    let (judge, known) = (detector.present(), &detector.known);
    let history = &judge.history;
    // A leak that is carried began in the life that showed it.
    let past = known.pasts.iter().rev().find(|past| past.grew.is_some());
    let carried = past.filter(|_| judge.hit.is_none());
    let since = judge.onset.map(|onset| onset.at).or(carried.map(|past| past.start));
    let since = since.unwrap_or(history.origin());
    let short = (history.span() / 60.0).max(known.interval() * 5.0);
    let level = history.level_since(history.end() - short, 0.5);
    let leaked = match carried {
        Some(past) => level.map_or(0.0, |level| level - past.low),
        None => judge.leaked(known, since, season, rate),
    };
    let grown = history.window(since);
    let speed = judge.hit.filter(|hit| hit.season.is_none()).and_then(|_| judge.speed(since));
    let (confidence, rate) = (confidence(judge, rate), speed.map_or(rate, |speed| speed.now));
    if speed.is_some() {
        evidence.trend = Some(rate);
    }
    let time_to_limit = detector
        .limit
        .zip(level)
        .and_then(|(limit, level)| left(detector, limit, level, short, rate, speed));
    Verdict::Leak {
        rate,
        confidence,
        since: Duration::try_from_secs_f64(known.clock.raw(since)).unwrap_or_default(),
        leaked: leaked.max(0.0) as u64,
        shape: grown.as_ref().map_or(Shape::Linear, shape),
        time_to_limit,
        evidence,
    }
}

/// Seconds until `limit` bytes are reached at `rate`, when the median over the last `short` seconds is `level`: that is the level of
/// their middle, and grew since. No more than the newest samples leave, and none when the newest is there.
fn left(
    detector: &Detector,
    limit: u64,
    level: f64,
    short: f64,
    rate: Trend,
    speed: Option<Speed>,
) -> Option<Duration> {
    let judge = detector.present();
    let history = &judge.history;
    let rate = rate.bytes_per_second;
    if rate <= 0.0 {
        return None;
    }
    let limit = limit as f64;
    let (newest, lately) = detector.newest().unwrap_or((level, level));
    if newest >= limit {
        return Some(Duration::ZERO);
    }
    let level = match judge.hit.and_then(|hit| hit.season) {
        // The peaks of a cycle reach a limit first.
        Some((period, _)) => history.level_since(history.end() - period, 1.0).unwrap_or(level),
        None => {
            let of = history.since(history.end() - short);
            let middle = of.first().zip(of.last()).map_or(history.end(), |(first, last)| {
                f64::midpoint(history.middle(first), history.middle(last))
            });
            level + rate * (detector.last - middle)
        }
    };
    let left = (limit - level.max(lately)).max(0.0);
    seconds(Some(speed.map_or(left / rate, |speed| speed.reaches(left))))
}

/// Growth seen for a time T goes on for as long again in about half of all cases, whatever T: each doubling of the time
/// over which it showed first halves the doubt. What chance alone does is taken from the interval of the rate (normal tail bound).
fn confidence(judge: &Judge, rate: Trend) -> f64 {
    let doubt = 0.5 / judge.times_seen().max(1.0);
    let error = ((rate.bytes_per_second - rate.low) / Z_95).max(f64::MIN_POSITIVE);
    let score = (rate.bytes_per_second / error).max(0.0);
    let chance = 0.5 * (-score * score / 2.0).exp();
    ((1.0 - doubt) * (1.0 - chance)).clamp(0.0, 0.99)
}

fn evidence(
    detector: &Detector,
    now: Option<Now>,
    found: Option<(&Window, Growth)>,
    season: Option<&Season>,
) -> Evidence {
    let (judge, known) = (detector.present(), &detector.known);
    let first = known.first.unwrap_or_default();
    let mut out = Evidence {
        samples: known.samples,
        watched: seconds(Some((detector.last - first).max(0.0))).unwrap_or_default(),
        restarts: known.restarts,
        trend: now.map(|now| now.trend),
        baseline: detector.baseline().map(|bytes| bytes as u64),
        spread: spread(&detector.life.whole.history),
        ..Evidence::default()
    };
    if let Some((window, found)) = found {
        out.noise = Some(found.noise as u64);
        out.score = Some(found.score);
        let needs = judge.search(known).needs(&found, window.span);
        let floor = needs / window.span;
        // What the interval of the slope does not exclude has not shown either.
        let seen = out.trend.filter(|_| judge.hit.is_none());
        out.floor = Some(seen.map_or(floor, |trend| floor.max(trend.high)));
    }
    let lives = judge.hit.filter(|hit| hit.lives).and_then(|hit| hit.season);
    let period = lives.map(|(period, _)| period).or(season.map(|season| season.cycle));
    out.season = seconds(period);
    out
}

fn shape(window: &Window) -> Shape {
    let y = &window.level;
    let total = y[POINTS - 1] - y[0];
    let mut steps: [f64; POINTS - 1] = std::array::from_fn(|k| y[k + 1] - y[k]);
    steps.sort_unstable_by(|a, b| b.total_cmp(a));
    // A quarter of the points that make nearly all of the growth are steps.
    let largest: f64 = steps[..POINTS / 4].iter().sum();
    if largest > 0.9 * total && steps[POINTS / 2] < 0.25 * total / POINTS as f64 {
        return Shape::Stepwise;
    }
    match power(y) {
        p if p > 1.0 => Shape::Accelerating,
        p if p < 1.0 => Shape::Decelerating,
        _ => Shape::Linear,
    }
}

fn spread(history: &History) -> Option<Spread> {
    let buckets = history.buckets();
    if buckets.is_empty() {
        return None;
    }
    let mut means: Vec<i64> = buckets.iter().map(|bucket| order::key(bucket.mean)).collect();
    let last = (means.len() - 1) as f64;
    let [p10, p50, p90] = [0.1, 0.5, 0.9].map(|share| (last * share).round() as usize);
    // Those below and above the middle one are on either side of it.
    let (below, &mut middle, above) = means.select_nth_unstable(p50);
    let of = |part: &mut [i64], rank: Option<usize>| match rank {
        Some(rank) if rank < part.len() => *part.select_nth_unstable(rank).1,
        _ => middle,
    };
    Some(Spread {
        min: buckets.iter().map(|bucket| bucket.low).fold(f64::INFINITY, f64::min) as u64,
        p10: order::value(of(below, Some(p10))) as u64,
        p50: order::value(middle) as u64,
        p90: order::value(of(above, p90.checked_sub(p50 + 1))) as u64,
        max: history.high() as u64,
    })
}

fn early(detector: &Detector) -> Why {
    let known = &detector.known;
    if known.samples < known.min_samples.max(FIRST_LOOK) {
        Why::TooFewSamples
    } else if known.restarts > 0 {
        Why::Restarted
    } else {
        Why::TooShort
    }
}

fn wait_of_early(detector: &Detector) -> Option<f64> {
    let (history, known) = (&detector.present().history, &detector.known);
    let least = known.min_samples.saturating_sub(known.samples);
    let least = least.max(FIRST_LOOK.saturating_sub(history.samples())) as f64;
    let missing = known.hold() - history.span();
    (known.samples > 1).then(|| missing.max(least * known.interval()).max(0.0))
}

/// How long until growth of this speed would be told from this noise, or a rise that settles has settled.
fn wait_of_rise(
    why: Why,
    detector: &Detector,
    found: Option<&Growth>,
    rate: impl Fn() -> Trend,
) -> Option<f64> {
    let (judge, known) = (detector.present(), &detector.known);
    let span = judge.history.span();
    match (why, found) {
        (Why::WithinNoise, Some(found)) if found.rate > 0.0 => {
            let wait = (1.0 + known.tuning.confirm) * found.needed / found.rate - span;
            // Most of it may be noise, and then it does not go on: `steady` comes sooner.
            Some(wait.clamp(0.1 * span, span))
        }
        (Why::BelowLeast, _) => {
            let rate = rate().bytes_per_second;
            let needed = found.map_or(known.least_growth, |found| found.needed);
            let wait = (1.0 + known.tuning.confirm) * needed / rate - span;
            // Of a rate that is no rate, nothing follows.
            wait.is_finite().then(|| wait.clamp(0.1 * span, 10.0 * span))
        }
        // Another swing tells no more than two did.
        (Why::Swinging, _) if judge.has_swung() => None,
        // What settles shows it within as long again: the hazard of an end is one over the age.
        _ => Some(span),
    }
}

fn seconds(seconds: Option<f64>) -> Option<Duration> {
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}
