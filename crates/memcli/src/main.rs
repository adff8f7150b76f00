//! The `memcli` binary.

#![deny(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: what the process had used before it became this program by `exec` is none of its cost.
    let spent = memcli::sys::cpu_time();
    memcli::sys::startup::share_heap();
    memcli::sys::inherited::outlast_file_limit();
    ExitCode::from(memcli::main(std::env::args_os(), spent))
}
