//! Alerts: what is worth telling somebody who does not look, how often at most, and how it reaches them.
//!
//! [`Alarms`] decides, purely and on the samples' clock, so that a replay asks for the same alerts as the watch did. [`Delivery`]
//! carries them out of the program: log lines ([`log::Log`]) and a command ([`hook::Hook`]).

mod alarms;
mod delivery;
mod document;
pub mod hook;
pub mod log;
mod offspring;

pub use alarms::Alarms;
pub use delivery::Delivery;
pub use document::{Document, SCHEMA, Sizes};
pub use offspring::Offspring;

use memleak::Severity;
use mempressure::Transition;
use memtrack::{Rate, Size};

/// Something to tell somebody, that has passed the throttle.
#[derive(Clone, Debug)]
pub struct Alert {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub cause: Cause,
    /// Alerts on the same subject held back since the last one that was delivered.
    pub suppressed: u64,
}

/// What an alert is about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The target grows, or is large.
    Growth(memleak::Cause),
    /// The pressure level rose.
    Level(Transition),
}

impl Cause {
    /// `leak`, `rate`, `rss` or `level`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Cause::Growth(memleak::Cause::Leak { .. }) => "leak",
            Cause::Growth(memleak::Cause::Rate { .. }) => "rate",
            Cause::Growth(_) => "rss",
            Cause::Level(_) => "level",
        }
    }
}

impl Alert {
    /// What happened, in one line, with what was held back before it.
    #[must_use]
    pub fn text(&self) -> String {
        let text = match &self.cause {
            Cause::Growth(memleak::Cause::Leak { verdict }) => {
                let trend = verdict.trend().map_or(String::new(), |trend| {
                    format!(", {}", crate::output::human::growth(trend))
                });
                format!("leak{trend}; a cache without a limit looks the same")
            }
            Cause::Growth(memleak::Cause::Rate { growth }) => {
                format!("grew by {} over the recent window", Rate::per_second(*growth))
            }
            Cause::Growth(memleak::Cause::Rss { rss }) => format!("RSS is {}", Size(*rss)),
            Cause::Growth(_) => "it grows".into(),
            Cause::Level(transition) => format!("level {transition}"),
        };
        match self.suppressed {
            0 => text,
            1 => format!("{text} (1 before it was held back)"),
            held => format!("{text} ({held} before it were held back)"),
        }
    }
}

/// `info`, `warning` or `critical`.
#[must_use]
pub fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        _ => "critical",
    }
}
