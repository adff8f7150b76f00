//! The false-alarm table: clean processes for 30 days at one sample a minute, and how many series ever raise a leak.
//!
//! `cargo run --release -p memleak --example quiet_month -- [SERIES_EACH]`
#![expect(clippy::print_stdout, reason = "an example that reports on the terminal")]

use std::time::Duration;

use memleak::{Detector, LeakConfig};

#[path = "../tests/support/mod.rs"]
mod support;

fn main() -> Result<(), std::num::ParseIntError> {
    let each: u64 = std::env::args().nth(1).map_or(Ok(300), |text| text.parse())?;
    println!("| process | series | with an alert | alerts | leak at the end |");
    println!("| --- | --- | --- | --- | --- |");
    for process in support::clean::PROCESSES {
        let (mut with, mut alerts, mut last) = (0, 0, 0);
        for seed in 0..each {
            let mut detector = Detector::new(&LeakConfig::default());
            let mut raised = 0;
            for (t, bytes) in support::clean::clean(process, 30.0, seed) {
                let change = detector.push(Duration::from_secs_f64(t), bytes);
                raised += u64::from(change.is_some_and(|change| change.to.is_leak()));
            }
            with += u64::from(raised > 0);
            alerts += raised;
            last += u64::from(detector.verdict().is_leak());
        }
        println!("| {process} | {each} | {with} | {alerts} | {last} |");
    }
    Ok(())
}
