//! What people write.

use clap::Parser;
use memcli::cli::Cli;
use memcli::target::{Subject, Target};
use mempressure::config::BudgetTotal;
use memtrack::units::{format_duration, parse_duration};
use memtrack::{Rate, Size};

/// Sizes, budgets, rates and durations. What was understood reads back as the same value.
pub(crate) fn units(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(size) = text.parse::<Size>() {
        assert_eq!(size.exact().parse::<Size>().ok(), Some(size), "{text:?}");
    }
    if let Ok(total) = text.parse::<BudgetTotal>() {
        assert!(total.to_string().parse::<BudgetTotal>().is_ok(), "{text:?} is shown as {total}");
    }
    if let Ok(rate) = text.parse::<Rate>() {
        assert!(rate.to_string().parse::<Rate>().is_ok(), "{text:?} is shown as {rate}");
    }
    if let Ok(duration) = parse_duration(text) {
        assert_eq!(parse_duration(&format_duration(duration)).ok(), Some(duration), "{text:?}");
    }
}

/// A command line, one argument in each line: what it means or why it means nothing. A target reads back as itself.
pub(crate) fn arguments(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for word in text.lines() {
        if let Ok(target) = word.parse::<Target>() {
            assert_eq!(target.to_string().parse(), Ok(target), "{word:?}");
        }
        if let Ok(subject) = word.parse::<Subject>() {
            assert_eq!(subject.to_string().parse(), Ok(subject), "{word:?}");
        }
    }
    let arguments = std::iter::once("memcli").chain(text.lines());
    if let Err(error) = Cli::try_parse_from(arguments) {
        assert!(!error.to_string().is_empty(), "{text:?}");
    }
}
