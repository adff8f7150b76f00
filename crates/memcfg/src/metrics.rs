//! Counts and times of loading and saving, as plain numbers.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::diagnostic::{Code, Diagnostic};

/// What has happened to a live document since it was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LoadMetrics {
    /// Loads that became a new generation.
    pub accepted: u64,
    /// Loads that said the same as the active document.
    pub unchanged: u64,
    /// Loads that were refused.
    pub rejected: u64,
    /// Refusals by the code of their first error.
    pub rejected_by: BTreeMap<&'static str, u64>,
    /// How long the last load took, reading not counted.
    pub last_duration_seconds: f64,
    /// How long the longest took.
    pub longest_duration_seconds: f64,
    /// The generation in force.
    pub generation: u64,
    /// When a document was last loaded without an error.
    pub last_success: Option<SystemTime>,
    /// When one was last tried.
    pub last_attempt: Option<SystemTime>,
    /// Events that a reader was too slow to take.
    pub lost_events: u64,
    /// Looks at the files, changed or not.
    pub polls: u64,
    /// Times that the file system could not be watched.
    pub watch_errors: u64,
}

impl LoadMetrics {
    pub(crate) fn loaded(&mut self, at: SystemTime, took: Duration) {
        self.last_attempt = Some(at);
        self.last_duration_seconds = took.as_secs_f64();
        self.longest_duration_seconds = self.longest_duration_seconds.max(took.as_secs_f64());
    }

    pub(crate) fn refused(&mut self, diagnostics: &[Diagnostic]) {
        self.rejected += 1;
        let code = diagnostics.iter().find(|d| d.is_error()).map_or(Code::Invalid, |d| d.code);
        *self.rejected_by.entry(code.name()).or_default() += 1;
    }
}

/// What has happened to the saves of one editor.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SaveMetrics {
    /// Saves that are on the disk.
    pub saved: u64,
    /// Saves refused because the file had changed meanwhile.
    pub conflicts: u64,
    /// Saves that failed, by the step that did.
    pub failed_by: BTreeMap<&'static str, u64>,
    /// Backups written.
    pub backups: u64,
    /// Temporary files of dead processes removed.
    pub swept: u64,
    /// How long the last save took.
    pub last_duration_seconds: f64,
    /// When a save last succeeded.
    pub last_success: Option<SystemTime>,
}
