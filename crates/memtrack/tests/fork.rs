//! A program that forks with sampling under way: the child sees itself. Without the harness, since of several threads a
//! fork takes one along, with whatever locks the others held.

#[cfg(target_os = "linux")]
#[path = "fork/linux.rs"]
mod linux;

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {}
