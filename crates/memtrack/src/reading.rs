//! A value that may be absent, and why.

/// One measured value, or the reason there is none. Never 0 for unknown.
pub type Reading<T> = Result<T, Absent>;

/// Why a [`Reading`] has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Absent {
    /// Nobody asked for it: the tier or the target leaves it out.
    #[error("not read")]
    NotRead,
    /// It was asked for, and has not come yet.
    #[error("not read yet")]
    Pending,
    /// This kernel, platform or machine does not have it.
    #[error("not available on this system")]
    Unsupported,
    /// The kernel refused: another user's process, or a masked file.
    #[error("permission denied")]
    Denied,
    /// The process or cgroup it belongs to has ended.
    #[error("it has ended")]
    Gone,
    /// No limit is set, so there is none to report.
    #[error("no limit is set")]
    Unlimited,
    /// The kernel's text was not in the documented form.
    #[error("malformed kernel text")]
    Malformed,
    /// The value was parsed but cannot be true, such as more memory than the machine has.
    #[error("implausible value")]
    Implausible,
    /// Reading it would cost more than its budget ever allows.
    #[error("too dear to read")]
    TooDear,
    /// The read itself failed with this OS error number (0 when the system gave none).
    #[error("{}", std::io::Error::from_raw_os_error(*.0))]
    Failed(i32),
}

impl Absent {
    /// Whether there is nothing to read: no limit, not on this system, or not asked for. A read that failed is another
    /// matter: there is a value, and what it was before still tells of it.
    #[must_use]
    pub const fn nothing_there(self) -> bool {
        matches!(self, Absent::Unlimited | Absent::Unsupported | Absent::NotRead)
    }
}

impl From<&std::io::Error> for Absent {
    fn from(error: &std::io::Error) -> Self {
        // ESRCH: what a held descriptor under /proc/PID answers once that process has been reaped.
        // ENODEV: what one under a removed cgroup answers.
        const ESRCH: i32 = 3;
        const ENODEV: i32 = 19;
        const EOPNOTSUPP: i32 = 95;
        match (error.kind(), error.raw_os_error()) {
            (_, Some(ESRCH | ENODEV)) => Absent::Gone,
            (_, Some(EOPNOTSUPP)) => Absent::Unsupported,
            (std::io::ErrorKind::NotFound, _) => Absent::Unsupported,
            (std::io::ErrorKind::PermissionDenied, _) => Absent::Denied,
            (_, code) => Absent::Failed(code.unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[test]
    fn a_read_that_failed_is_not_one_of_nothing() {
        for why in [Absent::Unlimited, Absent::Unsupported, Absent::NotRead] {
            assert!(why.nothing_there(), "{why}");
        }
        for why in
            [Absent::Pending, Absent::Denied, Absent::Gone, Absent::Malformed, Absent::Failed(5)]
        {
            assert!(!why.nothing_there(), "{why}");
        }
    }

    #[test]
    fn os_errors_become_reasons() {
        assert_eq!(Absent::from(&Error::from_raw_os_error(3)), Absent::Gone);
        assert_eq!(Absent::from(&Error::from_raw_os_error(2)), Absent::Unsupported);
        assert_eq!(Absent::from(&Error::from_raw_os_error(13)), Absent::Denied);
        assert_eq!(Absent::from(&Error::from_raw_os_error(5)), Absent::Failed(5));
        assert_eq!(Absent::from(&Error::other("no number")), Absent::Failed(0));
    }
}
