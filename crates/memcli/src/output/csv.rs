//! Samples as CSV, a column for each reading, an empty cell for what could not be had.

use std::io::{self, Write};
use std::time::SystemTime;

use memtrack::Sample;

use crate::output::human::NO_WALL_CLOCK;
use crate::trace::fields::{FIELDS, SHARES};

/// The names of the columns.
///
/// # Errors
/// When it cannot be written.
pub fn header(out: &mut impl Write) -> io::Result<()> {
    write!(out, "run,t_s,wall,gap")?;
    for field in FIELDS {
        write!(out, ",{}", field.name)?;
    }
    for share in SHARES {
        write!(out, ",{}", share.key)?;
    }
    // Above 0 the PSS is an estimate.
    writeln!(out, ",pss_age_s")
}

/// One sample of the given run, counted from 1.
///
/// # Errors
/// When it cannot be written.
pub fn sample(out: &mut impl Write, run: u64, sample: &Sample) -> io::Result<()> {
    let mut sample = *sample;
    let at = sample.at;
    let told = at.wall.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|at| at >= NO_WALL_CLOCK);
    let wall = told.then(|| humantime::format_rfc3339_millis(at.wall).to_string());
    let wall = wall.unwrap_or_default();
    write!(out, "{run},{},{wall},{}", at.monotonic.as_secs_f64(), u8::from(at.gap))?;
    for field in FIELDS {
        match (field.of)(&mut sample) {
            Ok(value) => write!(out, ",{value}")?,
            Err(_) => write!(out, ",")?,
        }
    }
    for share in SHARES {
        match (share.of)(&mut sample) {
            Ok(value) => write!(out, ",{value}")?,
            Err(_) => write!(out, ",")?,
        }
    }
    match sample.process.pss_age {
        Ok(age) => writeln!(out, ",{}", age.as_secs_f64()),
        Err(_) => writeln!(out, ","),
    }
}
