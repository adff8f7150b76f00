//! What a sample costs: one long series, many short ones, the worst single push, and the size of the state.
//!
//! `cargo run --release -p memleak --example push_cost`
#![expect(clippy::print_stdout, reason = "an example that reports on the terminal")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use memleak::{Detector, LeakConfig};

#[path = "../tests/support/mod.rs"]
mod support;

use support::MIB;
use support::random::Random;

/// A level of 300 MiB with noise of 1 MiB and a slope in MiB per sample.
fn series(n: usize, slope: f64, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    (0..n).map(|i| ((300.0 + slope * i as f64 + random.normal()) * MIB) as u64).collect()
}

fn run(values: &[u64]) -> Detector {
    let mut detector = Detector::new(&LeakConfig::default());
    for (i, bytes) in values.iter().enumerate() {
        black_box(detector.push(Duration::from_secs(60 * i as u64), *bytes));
    }
    detector
}

fn main() {
    for (what, slope) in [("steady", 0.0), ("leaking", 0.01)] {
        let values = series(1_000_000, slope, 1);
        let mut runs: Vec<Duration> = (0..5)
            .map(|_| {
                let started = Instant::now();
                black_box(run(&values));
                started.elapsed()
            })
            .collect();
        runs.sort();
        let median = runs[2];
        println!(
            "1 000 000 samples, {what}: {:.3} s, {} ns each",
            median.as_secs_f64(),
            median.as_nanos() / 1_000_000
        );
        let mut detector = Detector::new(&LeakConfig::default());
        let mut costs: Vec<Duration> = Vec::with_capacity(values.len());
        for (i, bytes) in values.iter().enumerate() {
            let at = Duration::from_secs(60 * i as u64);
            let started = Instant::now();
            black_box(detector.push(at, *bytes));
            costs.push(started.elapsed());
        }
        // The machine's own interruptions are in the maximum: the quantiles beside it tell them apart.
        costs.sort();
        let at = |share: f64| costs[((costs.len() - 1) as f64 * share) as usize];
        println!(
            "  worst push {:?}, 99.9 % {:?}, 99.99 % {:?}",
            costs[costs.len() - 1],
            at(0.999),
            at(0.9999)
        );
        println!("  state {} bytes", detector.state_bytes());
    }
    let mut noise = series(1440, 0.0, 2);
    let started = Instant::now();
    for _ in 0..10_000 {
        noise.rotate_left(7);
        black_box(run(&noise));
    }
    println!("10 000 series x 1440 samples, steady: {:.2} s", started.elapsed().as_secs_f64());
    let growing = series(1440, 0.02, 3);
    let started = Instant::now();
    for _ in 0..1_000 {
        black_box(run(&growing));
    }
    println!("1 000 series x 1440 samples, leaking: {:.2} s", started.elapsed().as_secs_f64());
}
