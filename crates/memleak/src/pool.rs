//! What the lives of a process show together: each is a segment of its own, and too short a one shows nothing alone.

use crate::growth::LEAST_SHARE;
use crate::segment::Past;
use crate::trend::{Z_95, score};
use crate::verdict::Trend;
use crate::window::median;

/// Once this many lives have ended, their falls count as swings, and their floors as a series.
pub(crate) const LIVES: usize = 8;
/// Mann-Kendall score that the floors must reach, in standard deviations. Of nine floors in random order one in 100 000
/// reaches it; they are looked at once a life.
const FLOORS_SCORE: f64 = 3.3;
/// The later half of the lives must hold this share of the rise of their floors.
const FLOORS_HALF: f64 = 0.3;

/// Floors that rise from life to life: what is left after each collection, or each start, is more than before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RisingFloor {
    /// Bytes per second, the median over pairs of lives.
    pub(crate) rate: f64,
    /// Bytes from the first life to the last.
    pub(crate) bytes: f64,
    /// Seconds from one life to the next.
    pub(crate) period: f64,
}

/// Whether the lowest level rises from life to life; `now` is the present life as its start and its lowest level so
/// far. Growth below `least` bytes is none.
pub(crate) fn rising_floor(pasts: &[Past], now: (f64, f64), least: f64) -> Option<RisingFloor> {
    if pasts.len() < LIVES {
        return None;
    }
    let mut floors: Vec<(f64, f64)> = pasts.iter().map(|past| (past.start, past.low)).collect();
    floors.push(now);
    let n = floors.len();
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    let mut sum = 0;
    for (k, earlier) in floors.iter().enumerate() {
        for later in &floors[k + 1..] {
            let rise = later.1 - earlier.1;
            sum += i64::from(rise > 0.0) - i64::from(rise < 0.0);
            slopes.push(rise / (later.0 - earlier.0).max(f64::MIN_POSITIVE));
        }
    }
    let count = n as f64;
    let score = score(sum, count * (count - 1.0) * (2.0 * count + 5.0) / 18.0);
    let span = now.0 - floors[0].0;
    let rate = median(&mut slopes);
    let bytes = rate * span;
    let half = now.1 - floors[n / 2].1;
    let rises = score >= FLOORS_SCORE
        && bytes >= least.max(LEAST_SHARE * now.1)
        && half >= FLOORS_HALF * bytes;
    rises.then_some(RisingFloor { rate, bytes, period: span / (count - 1.0) })
}

/// The inverse-variance mean of the present slope and those of the ended lives that it does not contradict, with its
/// interval: the estimate of least variance when all lives grow at one rate.
pub(crate) fn pooled(pasts: &[Past], now: Option<Trend>) -> Option<Trend> {
    let error = |trend: &Trend| {
        let half = (trend.high - trend.low) / 2.0 / Z_95;
        half.max(1e-6 * trend.bytes_per_second.abs()).max(f64::MIN_POSITIVE)
    };
    let agrees = |past: &Trend| {
        now.is_none_or(|now| {
            let apart = (past.bytes_per_second - now.bytes_per_second).abs();
            apart <= Z_95 * error(past).hypot(error(&now))
        })
    };
    let ended = pasts.iter().filter_map(|past| past.grew).filter(agrees);
    if ended.clone().next().is_none() {
        // Its own interval need not lie evenly about the slope.
        return now;
    }
    let lives = ended.chain(now);
    let (mut weights, mut sum) = (0.0, 0.0);
    // In units of the smallest error, so that no weight overflows.
    let least = lives.clone().map(|trend| error(&trend)).min_by(f64::total_cmp)?;
    for trend in lives {
        let weight = (least / error(&trend)).powi(2);
        weights += weight;
        sum += weight * trend.bytes_per_second;
    }
    let (rate, half) = (sum / weights, Z_95 * least / weights.sqrt());
    Some(Trend { bytes_per_second: rate, low: rate - half, high: rate + half })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::growth::MIB;

    fn life(start: f64, low: f64) -> Past {
        Past { start, low, span: 600.0, fell: 50.0 * MIB, stood: 300.0, swing: false, grew: None }
    }

    fn lives(n: u32, low: impl Fn(u32) -> f64) -> (Vec<Past>, (f64, f64)) {
        let at = |k: u32| f64::from(k) * 600.0;
        ((0..n).map(|k| life(at(k), low(k) * MIB)).collect(), (at(n), low(n) * MIB))
    }

    #[test]
    fn floors_that_rise_at_every_start_are_growth_at_their_rate() {
        let (pasts, now) = lives(9, |k| 100.0 + 2.0 * f64::from(k));
        let found = rising_floor(&pasts, now, 5.0 * MIB).unwrap();
        assert!((found.rate - 2.0 * MIB / 600.0).abs() < 1e-6, "{found:?}");
        assert_eq!(found.period, 600.0);
    }

    #[test]
    fn floors_that_stay_have_stopped_rising_or_are_too_few_are_none() {
        let (pasts, now) = lives(16, |_| 100.0);
        assert_eq!(rising_floor(&pasts, now, 5.0 * MIB), None);
        let (pasts, now) = lives(16, |k| 100.0 + 4.0 * f64::from(k.min(7)));
        assert_eq!(rising_floor(&pasts, now, 5.0 * MIB), None);
        let (pasts, now) = lives(7, |k| 100.0 + 2.0 * f64::from(k));
        assert_eq!(rising_floor(&pasts, now, 5.0 * MIB), None);
    }

    fn trend(rate: f64, half: f64) -> Trend {
        Trend { bytes_per_second: rate, low: rate - half, high: rate + half }
    }

    #[test]
    fn a_life_that_contradicts_the_present_one_is_left_out() {
        let past = |rate: f64| Past { grew: Some(trend(rate, 1.0)), ..life(0.0, 0.0) };
        let found = pooled(&[past(10.0), past(500.0)], Some(trend(10.0, 1.0))).unwrap();
        assert!((found.bytes_per_second - 10.0).abs() < 1e-9, "{found:?}");
        assert!((found.high - 10.0 - 1.0 / 2f64.sqrt()).abs() < 1e-9, "{found:?}");
        assert_eq!(pooled(&[], None), None);
        let uneven = Some(Trend { bytes_per_second: 10.0, low: 9.0, high: 40.0 });
        assert_eq!(pooled(&[past(500.0)], uneven), uneven);
    }

    proptest! {
        #[test]
        fn the_pooled_slope_lies_among_its_parts_and_is_surer_than_each(
            parts in prop::collection::vec((-1e9f64..1e9, 0.0f64..1e9), 1..16),
        ) {
            let pasts: Vec<Past> = parts
                .iter()
                .map(|(rate, half)| Past { grew: Some(trend(*rate, *half)), ..life(0.0, 0.0) })
                .collect();
            let found = pooled(&pasts, None).unwrap();
            let rates = parts.iter().map(|(rate, _)| *rate);
            let (least, most) = (
                rates.clone().fold(f64::INFINITY, f64::min),
                rates.fold(f64::NEG_INFINITY, f64::max),
            );
            let slack = 1e-6 * most.abs().max(least.abs());
            prop_assert!(found.bytes_per_second >= least - slack && found.bytes_per_second <= most + slack);
            for (rate, half) in &parts {
                prop_assert!(found.high - found.low <= 2.0 * half.max(Z_95 * 1e-6 * rate.abs()) + slack + 1e-9);
            }
        }

        #[test]
        fn floors_in_random_order_do_not_rise(
            floors in Just((0..12u32).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            // One order in tens of thousands passes. The score of 12 floors is 3.3 when at most 8 of their 66 pairs fall.
            let (pasts, now) = lives(11, |k| 100.0 + 5.0 * f64::from(floors[k as usize]));
            if rising_floor(&pasts, now, 5.0 * MIB).is_some() {
                let falls: usize = (0..12)
                    .map(|k| floors[k + 1..].iter().filter(|later| **later < floors[k]).count())
                    .sum();
                prop_assert!(falls <= 8 && floors[11] > floors[6], "{falls}");
            }
        }
    }
}
