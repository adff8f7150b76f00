//! Growth that is found from cycle to cycle: its rate is that of one phase over the next, and so is the rate's interval.

use std::time::Duration;

use memleak::{Detector, LeakConfig, Verdict};

#[path = "support/mod.rs"]
mod support;

use support::families::trace;

#[test]
fn a_leak_under_a_cycle_has_an_interval_above_zero_whenever_the_run_ends() {
    let mut seen = 0;
    for (family, number) in [("diurnal_leak", 1), ("diurnal_leak", 2), ("day_only_leak", 1)] {
        let mut detector = Detector::new(&LeakConfig::default());
        for (n, (t, bytes)) in trace(family, 7, number).samples.into_iter().enumerate() {
            detector.push(Duration::from_secs_f64(t), bytes);
            if n % 397 != 0 {
                continue;
            }
            let mut ended = detector.clone();
            ended.conclude();
            // Where a window shows the leak, no cycle is told.
            if let Verdict::Leak { rate, evidence, .. } = ended.verdict()
                && evidence.season.is_some()
            {
                seen += 1;
                assert!(rate.low > 0.0, "{family} {number} at {t}: {rate:?}");
                assert!(rate.low <= rate.bytes_per_second && rate.bytes_per_second <= rate.high);
            }
        }
    }
    assert!(seen >= 3, "{seen}");
}
