//! The program that benchmarks watch: it lives for the given seconds and costs next to nothing itself.
//!
//! It touches a page each tenth of a second, so that there is something to see. It must stay small: the kernel accounts a child's memory and processor time to the
//! program that waited for it.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

const PAGE: usize = 4096;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(30.0);
    let started = Instant::now();
    let life = Duration::from_secs_f64(f64::min(seconds, 86_400.0));
    let mut kept: Vec<Box<[u8; PAGE]>> = Vec::new();
    while let Some(left) = life.checked_sub(started.elapsed()) {
        kept.push(Box::new([1; PAGE]));
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}
