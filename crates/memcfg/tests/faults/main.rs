//! Real processes, real signals, real file-system events: the faults that a configuration meets.
//!
//! Each prints a row, with what it counted, for the table that `cargo xtask faults` makes. `MEMCFG_LONG=1` runs the long forms.
//! Processes are this very binary, told by a variable what to do.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests, which print the rows of a table"
)]

mod observers;
mod reloads;
mod saves;
mod support;

use std::path::PathBuf;

use support::{COUNT, FILE, ROLE};

/// Not a test of its own: what the processes of the other tests do.
#[test]
fn in_another_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var_os(FILE).unwrap());
    let count: u64 = std::env::var(COUNT).unwrap().parse().unwrap();
    match role.as_str() {
        "save for ever" => saves::save_for_ever(&path, count),
        "migrate for ever" => saves::migrate_for_ever(&path),
        "count up" => saves::count_up(&path, count),
        "follow without descriptors" => reloads::follow_without_descriptors(&path),
        other => panic!("no such role: {other}"),
    }
}
