//! The one table of exit codes. Frozen: scripts and CI jobs depend on every number.

use std::fmt;

use mempressure::Level;

/// Done; gates and verdict good.
pub const OK: u8 = 0;
/// A gate or a verdict failed.
pub const GATE: u8 = 99;
/// `status --check`: the level is warning (monitoring plugins' convention, as the two below).
pub const CHECK_WARNING: u8 = 1;
/// `status --check`: the level is critical or emergency.
pub const CHECK_CRITICAL: u8 = 2;
/// `status --check`: nothing is known.
pub const CHECK_UNKNOWN: u8 = 3;
/// The command line was wrong (sysexits `EX_USAGE`).
pub const USAGE: u8 = 64;
/// A trace could not be read (`EX_DATAERR`).
pub const BAD_TRACE: u8 = 65;
/// No such target or file (`EX_NOINPUT`).
pub const NO_INPUT: u8 = 66;
/// Not available on this system (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;
/// Our own bug (`EX_SOFTWARE`).
pub const SOFTWARE: u8 = 70;
/// Input or output failed (`EX_IOERR`).
pub const IO: u8 = 74;
/// Somebody else edited the same file meanwhile (`EX_TEMPFAIL`: trying again may help).
pub const CONFLICT: u8 = 75;
/// Permission denied (`EX_NOPERM`).
pub const NO_PERMISSION: u8 = 77;
/// The configuration is not valid (`EX_CONFIG`).
pub const CONFIG: u8 = 78;
/// The command was found but could not be executed (as shells have it).
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found (as shells have it).
pub const NOT_FOUND: u8 = 127;

/// The code of a process that a signal ended, as shells have it.
#[must_use]
pub fn of_signal(signal: i32) -> u8 {
    u8::try_from(128 + (signal & 0x7f)).unwrap_or(u8::MAX)
}

/// What `status --check` exits with at this level.
#[must_use]
pub fn of_level(level: Level) -> u8 {
    match level {
        Level::Normal => OK,
        Level::Warning => CHECK_WARNING,
        Level::Critical | Level::Emergency => CHECK_CRITICAL,
        Level::Unknown => CHECK_UNKNOWN,
    }
}

/// Why a command could not do its work: what to say, and the code to exit with.
#[derive(Debug)]
pub struct Failure {
    /// The exit code, one of this module.
    pub code: u8,
    message: String,
    help: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// A failure with this code and message.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, source: None }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what caused it; shown behind the message, chain and all.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A failure to read or write, with the code that fits the system's reason.
    pub fn io(message: impl Into<String>, error: std::io::Error) -> Self {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => NO_INPUT,
            std::io::ErrorKind::PermissionDenied => NO_PERMISSION,
            _ => IO,
        };
        let errno = error.raw_os_error().unwrap_or(0);
        Self::new(code, message).because(error).of_limit(errno)
    }

    /// Adds what the user can do about it, where the system's error is a limit that was reached.
    #[must_use]
    pub fn of_limit(mut self, errno: i32) -> Self {
        let help = match errno {
            libc::EMFILE => "the limit is that of `ulimit -n`",
            libc::EFBIG => "the limit is that of `ulimit -f`",
            _ => return self,
        };
        self.help.get_or_insert_with(|| help.to_owned());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause: Option<&(dyn std::error::Error + 'static)> =
            self.source.as_deref().map(|source| source as _);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_exit_as_shells_have_it() {
        assert_eq!(of_signal(9), 137);
        assert_eq!(of_signal(2), 130);
        assert_eq!(of_signal(i32::MAX), 255);
    }

    #[test]
    fn a_limit_that_was_reached_is_named() {
        let full =
            |errno| Failure::io("failed to take over", std::io::Error::from_raw_os_error(errno));
        assert!(full(24).to_string().ends_with("\n  help: the limit is that of `ulimit -n`"));
        assert!(full(27).to_string().ends_with("`ulimit -f`"));
        assert!(!full(5).to_string().contains("help"));
    }

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let failure =
            Failure::io("failed to write `s.json`", std::io::Error::from_raw_os_error(13))
                .help("try another folder");
        assert_eq!(failure.code, NO_PERMISSION);
        let text = failure.to_string();
        assert!(text.starts_with("failed to write `s.json`: Permission denied"), "{text}");
        assert!(text.ends_with("\n  help: try another folder"), "{text}");
    }
}
