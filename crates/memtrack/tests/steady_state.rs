//! Once it runs, sampling allocates nothing. Counted by the allocator of this test program, over all its threads: so it
//! does without the harness, whose own thread would be counted too.

#[cfg(target_os = "linux")]
#[path = "steady_state/linux.rs"]
mod linux;

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {}
