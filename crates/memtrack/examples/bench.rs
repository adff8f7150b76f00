//! What sampling costs, against named rivals in the same run. Prints one Markdown text; with `--gate` it fails when a
//! promise is broken, with `--long` it also watches an 8 GiB process for three minutes.
//!
//! `cargo run --release -p memtrack --example bench`, or `cargo xtask bench memtrack`.

#[cfg(target_os = "linux")]
#[path = "bench/linux.rs"]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
