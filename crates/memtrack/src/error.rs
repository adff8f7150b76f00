//! What can go wrong as a whole; a single value that cannot be had is an [`Absent`] in its place.

use std::path::PathBuf;

use crate::reading::Absent;

/// Why a source gave no sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SourceError {
    /// The process or cgroup is gone, or the recording is over: there will be no further sample.
    #[error("the target has ended")]
    Ended,
    /// This read failed; a later one may succeed.
    #[error("failed to read {what}")]
    Failed {
        /// What was being read.
        what: &'static str,
        /// Why it could not be.
        #[source]
        reason: Absent,
    },
}

/// Why a source could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such process, or it ended just now.
    #[error("no process with pid {pid}")]
    NoSuchProcess {
        /// The pid asked for.
        pid: u32,
    },
    /// There is no such cgroup below the mount of the memory controller.
    #[error("no such cgroup: `{}`", path.display())]
    NoSuchCgroup {
        /// The cgroup asked for.
        path: PathBuf,
    },
    /// The target exists but may not be read.
    #[error("failed to open {what}")]
    Unreadable {
        /// What was being opened.
        what: &'static str,
        /// Why it could not be.
        #[source]
        reason: Absent,
    },
}

#[cfg(target_os = "linux")]
impl OpenError {
    /// The same while a source is already in use.
    pub(crate) fn as_failed_read(&self) -> SourceError {
        match self {
            OpenError::NoSuchProcess { .. } | OpenError::NoSuchCgroup { .. } => SourceError::Ended,
            OpenError::Unreadable { what, reason } => SourceError::Failed { what, reason: *reason },
        }
    }
}
