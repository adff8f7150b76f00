//! The `memcli` binary.

#![deny(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(memcli::main(std::env::args_os()))
}
