//! What can be wrong with a trace: as a whole, or from some row on.

use std::path::PathBuf;
use std::time::Duration;

use crate::exit::{self, Failure};

/// Why a file gives no trace at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be opened or read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is something else.
    #[error("`{}` is no trace: {why}", path.display())]
    NotATrace {
        /// Which.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// It is of a version that this program does not know.
    #[error("`{}` is of the format `{found}`, and this memcli reads `{}`", path.display(), crate::trace::SCHEMA)]
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// It has a header, no sample, and no end.
    #[error("`{}` holds no whole sample{}", path.display(), because(damage.as_ref()))]
    Empty {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, if anything.
        damage: Option<Damage>,
    },
}

fn because(damage: Option<&Damage>) -> String {
    damage.map_or(String::new(), |damage| format!(": {damage}"))
}

impl From<TraceError> for Failure {
    fn from(error: TraceError) -> Self {
        match error {
            TraceError::Read { path, source } => {
                Failure::io(format!("failed to read `{}`", path.display()), source)
            }
            TraceError::NotATrace { .. } => Failure::new(exit::BAD_TRACE, error.to_string()).help(
                "a trace is what `memcli run -o FILE` writes, a `.dat` of mprof, or CSV with the columns t_s,rss_bytes",
            ),
            TraceError::Version { .. } => Failure::new(exit::BAD_TRACE, error.to_string())
                .help("a newer memcli wrote it: update this one"),
            TraceError::Empty { .. } => Failure::new(exit::BAD_TRACE, error.to_string()),
        }
    }
}

/// Where the readable part of a run ends, and why. All whole rows before it have been given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{what}; {} before it {}", counted(*rows, "whole row"), if *rows == 1 { "was read" } else { "were read" })]
pub struct Damage {
    /// Rows that were read, the header among them.
    pub rows: u64,
    /// The time of the last of them.
    pub at: Option<Duration>,
    /// What is wrong there.
    pub what: Broken,
}

/// What is wrong with the rest of a trace.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The file ends before the watch did: memcli was killed, the disk was full, or the copy was not complete.
    #[error("the file is cut off{}", if *bytes > 0 { format!(" and ends with {} of half a row", counted(*bytes, "byte")) } else { String::new() })]
    CutOff {
        /// Bytes of the row that is not whole.
        bytes: u64,
    },
    /// The compressed stream does not decode any further, up to the next run if there is one.
    #[error("its compressed stream is broken ({why})")]
    Undecodable {
        /// What the decoder said.
        why: String,
    },
    /// A row is not what a row is. The rows after it only tell what changed, so they cannot be used, up to the next run.
    #[error("row {row} is malformed ({why}), and {} after it cannot be used", counted(*after, "row"))]
    Malformed {
        /// Which, counted from 1.
        row: u64,
        /// What is wrong with it.
        why: String,
        /// Rows after it.
        after: u64,
    },
}

fn counted(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
