//! What must hold for whatever comes, of the pure cores as their users see them. What needs to look inside stands beside the code.

use std::time::Duration;

use memtrack::growth::slope;
use memtrack::{Pass, Rate, Size, Throttle};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

proptest! {
    /// A message is held back only while one as severe is younger than the interval and nothing less severe came between; a worse one always passes.
    #[test]
    fn a_throttle_holds_back_repetition_and_nothing_else(
        steps in prop::collection::vec((0u8..3, 0u32..90), 1..200),
    ) {
        let (mut throttle, mut now) = (Throttle::new(), Duration::ZERO);
        let mut delivered: Vec<(u8, Duration)> = Vec::new();
        for (severity, minutes) in steps {
            now += MINUTE * minutes;
            let worse = delivered.last().is_none_or(|(last, _)| severity > *last);
            let same = delivered.iter().rev().find(|(other, _)| *other == severity);
            let due = same.is_none_or(|(_, at)| now - *at >= HOUR);
            let passed = matches!(throttle.ask(severity, now, HOUR), Pass::Deliver { .. });
            prop_assert_eq!(passed, worse || due);
            if passed {
                delivered.push((severity, now));
            }
        }
    }

    /// A growth is the same whenever the watch began and however much was there before, and twice as much of it is twice the growth.
    #[test]
    fn a_slope_knows_neither_its_start_nor_its_level(
        steps in prop::collection::vec((1u32..1000, 0u32..1_000_000), 2..100),
        later in 0u32..1_000_000, more in 0u32..1_000_000,
    ) {
        let mut at = 0.0;
        let points: Vec<(f64, f64, f64)> = steps
            .iter()
            .map(|(step, value)| {
                at += f64::from(*step);
                (at, f64::from(*value), 1.0)
            })
            .collect();
        let moved = points.iter().map(|(t, v, w)| {
            (t + f64::from(later), 2.0 * (v + f64::from(more)), *w)
        });
        let (one, two) = (slope(points.iter().copied()).unwrap(), slope(moved).unwrap());
        prop_assert!((two - 2.0 * one).abs() <= 1e-6 * (1.0 + one.abs()), "{one} and {two}");
    }

    /// A size as it is shown to people is read back as one that is shown the same.
    #[test]
    fn what_people_are_shown_reads_back_as_what_they_were_shown(bytes: u64) {
        let shown = Size(bytes).to_string();
        let read: Size = shown.replace(' ', "").parse().unwrap_or(Size(u64::MAX));
        prop_assert_eq!(read.to_string(), shown);
    }

    /// So is a rate; what people set is never below 0.
    #[test]
    fn a_shown_rate_reads_back(bytes in 0f64..1e15) {
        let shown = Rate::per_second(bytes).to_string();
        let read = shown.replace(' ', "").parse::<Rate>().map(|rate| rate.to_string());
        prop_assert_eq!(read, Ok(shown));
    }
}
