//! Pressure stall information: how long tasks waited for memory.

mod trigger;

use std::path::Path;

use crate::held::Held;
use crate::reading::{Absent, Reading};
use crate::sample::{PsiLine, PsiMemory};
use crate::text::decimal;
pub(crate) use trigger::Trigger;

/// `/proc/pressure/memory` is two lines of at most some 70 bytes.
const BUFFER: usize = 512;

/// The memory pressure file of the machine, held open.
#[derive(Debug)]
pub struct Psi {
    file: Held,
}

impl Psi {
    /// Opens `proc/pressure/memory` under `root`: `/`, or a fixture.
    ///
    /// # Errors
    /// [`Absent::Unsupported`] on kernels before 4.20, without `CONFIG_PSI` or booted with `psi=0`;
    /// [`Absent::Denied`] where a container masks it.
    pub fn open(root: &Path) -> Reading<Self> {
        let psi = Self { file: Held::open(root.join("proc/pressure/memory"))? };
        // With `psi=0` the file is there and only reading it tells.
        psi.file.read(&mut [0; BUFFER])?;
        Ok(psi)
    }

    /// The stall figures now.
    #[must_use]
    pub fn read(&self) -> PsiMemory {
        match self.file.read(&mut [0; BUFFER]) {
            Ok(text) => parse(text),
            Err(why) => PsiMemory::absent(why),
        }
    }
}

/// Reads the two lines; fields in any order, others ignored.
///
/// Format: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, percentages and microseconds
/// (kernel, `Documentation/accounting/psi.rst`).
fn parse(text: &[u8]) -> PsiMemory {
    // A container that hides the file mounts an empty one over it.
    let missing =
        if text.trim_ascii().is_empty() { Absent::Unsupported } else { Absent::Malformed };
    let mut psi = PsiMemory::absent(missing);
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(fields) = line.strip_prefix(b"some ") {
            psi.some = parse_line(fields);
        } else if let Some(fields) = line.strip_prefix(b"full ") {
            psi.full = parse_line(fields);
        }
    }
    psi
}

fn parse_line(fields: &[u8]) -> PsiLine {
    let mut line = PsiLine::absent(Absent::Malformed);
    for field in fields.split(u8::is_ascii_whitespace) {
        if let Some(value) = field.strip_prefix(b"avg10=") {
            line.avg10 = share(value);
        } else if let Some(value) = field.strip_prefix(b"avg60=") {
            line.avg60 = share(value);
        } else if let Some(value) = field.strip_prefix(b"avg300=") {
            line.avg300 = share(value);
        } else if let Some(value) = field.strip_prefix(b"total=") {
            line.total_us = crate::text::number(value);
        }
    }
    line
}

/// A percentage such as `12.34` as a share of 1.
fn share(text: &[u8]) -> Reading<f64> {
    let (whole, rest) = decimal(text).ok_or(Absent::Malformed)?;
    let mut percent = whole as f64;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = match decimal(fraction) {
            Some((digits, [])) if fraction.len() <= 9 => digits,
            _ => return Err(Absent::Malformed),
        };
        percent += digits as f64 / 10f64.powi(fraction.len() as i32);
    } else if !rest.is_empty() {
        return Err(Absent::Malformed);
    }
    // The kernel rounds each part on its own and may show a little above 100.
    if percent > 101.0 { Err(Absent::Implausible) } else { Ok((percent / 100.0).min(1.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"some avg10=1.50 avg60=0.70 avg300=0.05 total=152023\n\
                          full avg10=100.00 avg60=0.00 avg300=0.00 total=18446744073709551615\n";

    #[test]
    fn both_lines_are_read_as_shares() {
        let psi = parse(TEXT);
        assert_eq!(psi.some.avg10, Ok(0.015));
        assert!((psi.some.avg300.unwrap() - 0.0005).abs() < 1e-12);
        assert_eq!(psi.some.total_us, Ok(152_023));
        assert_eq!(psi.full.avg10, Ok(1.0));
        assert_eq!(psi.full.total_us, Ok(u64::MAX));
    }

    #[test]
    fn what_is_missing_or_garbled_is_absent_alone() {
        let psi = parse(b"some avg10=nan avg60=1.5 total=-1\nsomething else\n");
        assert_eq!(psi.some.avg10, Err(Absent::Malformed));
        assert_eq!(psi.some.avg60, Ok(0.015));
        assert_eq!(psi.some.avg300, Err(Absent::Malformed));
        assert_eq!(psi.some.total_us, Err(Absent::Malformed));
        assert_eq!(psi.full.avg10, Err(Absent::Malformed));
        assert_eq!(parse(b"some avg10=250.00\n").some.avg10, Err(Absent::Implausible));
        assert_eq!(parse(b"").some.avg10, Err(Absent::Unsupported));
    }

    #[test]
    fn a_masked_or_missing_file_is_a_reason_and_no_error() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Psi::open(root.path()).unwrap_err(), Absent::Unsupported);
        std::fs::create_dir_all(root.path().join("proc/pressure")).unwrap();
        std::fs::write(root.path().join("proc/pressure/memory"), "").unwrap();
        let masked = Psi::open(root.path()).unwrap();
        assert_eq!(masked.read().some.avg10, Err(Absent::Unsupported));
        std::fs::write(root.path().join("proc/pressure/memory"), TEXT).unwrap();
        assert_eq!(masked.read().some.avg10, Ok(0.015));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_every_share_is_one(text: Vec<u8>, line in "[some avg10=.0-9\n]{0,80}") {
            parse(&text);
            for line in [parse(line.as_bytes()).some, parse(line.as_bytes()).full] {
                prop_assert!(line.avg10.is_err() || line.avg10.is_ok_and(|share| (0.0..=1.0).contains(&share)));
            }
        }
    }
}
