//! Values on the command line that have a grammar of their own.

use std::ffi::OsStr;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};
use mempressure::{BudgetTotal, BudgetTotalError};
use memtrack::UnitError;

use crate::gate::FailOn;

/// How fast a replay goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as it can.
    Max,
    /// So many times as fast as it was.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        match text.strip_suffix('x').unwrap_or(text).parse::<f64>() {
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Speed::Times(times)),
            _ => Err("a speed is `max`, or a number above 0 such as 1x or 60x".into()),
        }
    }
}

/// Reads what to fail on, and tells the shells its words.
#[derive(Clone)]
pub(super) struct FailOnWords;

impl TypedValueParser for FailOnWords {
    type Value = FailOn;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<FailOn, clap::Error> {
        // The words below are not all that is taken.
        FailOn::from_str.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(FailOn::WORDS.into_iter().map(PossibleValue::new)))
    }
}

/// A size, or a share of the limit.
pub(super) fn size_or_share(text: &str) -> Result<BudgetTotal, String> {
    if text.trim_end().ends_with('%') {
        return text.parse().map_err(|error: BudgetTotalError| error.to_string());
    }
    let size = text.parse().map(BudgetTotal::Size);
    size.map_err(|error: UnitError| match error {
        UnitError::Size { .. } => format!("{error}, or a share of the limit such as 25%"),
        _ => error.to_string(),
    })
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    memtrack::units::parse_duration(text).map_err(|error| error.to_string())
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    use memtrack::config::{MAX_INTERVAL, MIN_INTERVAL};
    let interval = duration(text)?;
    if (MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) {
        Ok(interval)
    } else {
        Err("an interval is 5ms to 1h".into())
    }
}
