//! The traces that a running memcli of the same user is writing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::trace::Reader;

/// Traces that some memcli is writing right now, in order of their names. None where `/proc` does not say.
#[must_use]
pub fn running() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = processes().flat_map(|process| traces(&process)).collect();
    found.sort();
    found.dedup();
    found
}

/// Whether a running memcli of the same user is writing the trace at `path`. False where `/proc` does not say.
#[must_use]
pub fn is_written(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    processes().any(|process| written(&process).any(|open| open == path))
}

/// The memclis of the same user but this one.
fn processes() -> impl Iterator<Item = PathBuf> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(move |pid| *pid != own)
        .map(|pid| Path::new("/proc").join(pid.to_string()))
        .filter(|process| is_memcli(process))
}

fn is_memcli(process: &Path) -> bool {
    // Files of another user are not for us, even where we may read them.
    let user = |path: &Path| fs::metadata(path).ok().map(|found| found.uid());
    fs::read(process.join("comm")).is_ok_and(|name| name == b"memcli\n")
        && user(process).is_some_and(|of| user(Path::new("/proc/self")) == Some(of))
}

/// The traces it writes. Anything may be open there: what is no plain file is not touched.
fn traces(process: &Path) -> Vec<PathBuf> {
    written(process)
        .filter(|path| path.is_absolute() && path.metadata().is_ok_and(|found| found.is_file()))
        .filter(|path| Reader::open(path).is_ok_and(|reader| reader.is_native()))
        .collect()
}

/// The files it has open to write.
fn written(process: &Path) -> impl Iterator<Item = PathBuf> {
    let process = process.to_owned();
    let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    open.filter_map(move |entry| {
        // As the kernel documents it: `flags:` in octal, whose last two bits are 0 for what is only read.
        let told = fs::read_to_string(process.join("fdinfo").join(entry.file_name())).ok()?;
        let flags = told.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let written = u32::from_str_radix(flags.trim(), 8).ok()? & 3 != 0;
        fs::read_link(entry.path()).ok().filter(|_| written)
    })
}
