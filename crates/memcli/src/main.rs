//! The `memcli` binary.

#![deny(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    memcli::sys::startup::share_heap();
    ExitCode::from(memcli::main(std::env::args_os()))
}
