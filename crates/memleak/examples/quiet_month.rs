//! The false-alarm table: clean processes for 30 days at one sample a minute, and how many series ever raise a leak, beside
//! what others use.
//!
//! `cargo run --release -p memleak --example quiet_month -- [SERIES_EACH] [FIRST_SEED]`; the rivals see the first 60.
#![expect(clippy::print_stdout, reason = "an example that reports on the terminal")]

use std::time::Duration;

use memleak::{Detector, LeakConfig};

#[path = "../tests/support/mod.rs"]
mod support;

use support::rivals;

/// Series of each process that the rivals see.
const FOR_RIVALS: u64 = 60;
/// The first seed of the table. Looked at once, after the last choice of a margin; series from 10 000, 100 000, 200 000, 400 000
/// and 600 000 on were looked at before it.
const FRESH: u64 = 500_000;

/// Whether a rival ever raised an alert on a series.
type Rival = fn(&[(f64, u64)]) -> bool;

const RIVALS: [(&str, Rival); 4] = [
    ("deriv[1h]", rivals::deriv),
    ("60 min, 50 MiB/h", rivals::least_squares),
    ("mprof slope", rivals::slope_of_all),
    ("Mann-Kendall", rivals::mann_kendall),
];

fn main() -> Result<(), std::num::ParseIntError> {
    let mut arguments = std::env::args().skip(1);
    let each: u64 = arguments.next().map_or(Ok(300), |text| text.parse())?;
    let first: u64 = arguments.next().map_or(Ok(FRESH), |text| text.parse())?;
    let names = RIVALS.map(|(name, _)| format!(" {name} |")).concat();
    println!("Series with an alert; the rivals' columns are of the first {FOR_RIVALS} series.\n");
    println!("| process | series | memleak | share | alerts | leak at the end |{names}");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |{}", " ---: |".repeat(RIVALS.len()));
    for process in support::clean::PROCESSES {
        let (mut with, mut alerts, mut last) = (0, 0, 0);
        let mut rivals = [0; RIVALS.len()];
        for seed in first..first + each {
            let series = support::clean::clean(process, 30.0, seed);
            let mut detector = Detector::new(&LeakConfig::default());
            let mut raised = 0;
            for (t, bytes) in &series {
                if process == support::clean::DEEP_SAWTOOTH {
                    detector.process_ended(false);
                }
                let change = detector.push(Duration::from_secs_f64(*t), *bytes);
                raised += u64::from(change.is_some_and(|change| change.to.is_leak()));
            }
            with += u64::from(raised > 0);
            alerts += raised;
            last += u64::from(detector.verdict().is_leak());
            if seed < first + FOR_RIVALS {
                for (count, (_, raises)) in rivals.iter_mut().zip(RIVALS) {
                    *count += u64::from(raises(&series));
                }
            }
        }
        let share = 100.0 * with as f64 / each.max(1) as f64;
        let rivals = rivals.map(|count| format!(" {count} |")).concat();
        println!("| {process} | {each} | {with} | {share:.1} % | {alerts} | {last} |{rivals}");
    }
    Ok(())
}
