//! The traces that a running memcli of the same user is writing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::trace::Reader;

/// Traces that some memcli is writing right now, in order of their names. None where `/proc` does not say.
#[must_use]
pub fn running() -> Vec<PathBuf> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| is_memcli(&Path::new("/proc").join(pid.to_string())))
        .flat_map(|pid| traces(&Path::new("/proc").join(pid.to_string())))
        .collect();
    found.sort();
    found.dedup();
    found
}

fn is_memcli(process: &Path) -> bool {
    // Files of another user are not for us, even where we may read them.
    let user = |path: &Path| fs::metadata(path).ok().map(|found| found.uid());
    fs::read(process.join("comm")).is_ok_and(|name| name == b"memcli\n")
        && user(process).is_some_and(|of| user(Path::new("/proc/self")) == Some(of))
}

/// The files it has open that are traces. Anything may be open there: what is no plain file is not touched.
fn traces(process: &Path) -> Vec<PathBuf> {
    let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|path| path.is_absolute() && path.metadata().is_ok_and(|found| found.is_file()))
        .filter(|path| Reader::open(path).is_ok_and(|reader| reader.is_native()))
        .collect()
}
