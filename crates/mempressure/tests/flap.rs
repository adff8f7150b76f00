//! The flap table of the recorded traces, as the example prints it.

use std::path::Path;

#[path = "../examples/flap.rs"]
#[expect(dead_code, reason = "an example whose table is looked at here")]
mod flap;

#[test]
fn on_recorded_traces_the_band_helps_and_the_latches_help_more() {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let table = flap::table(&traces).unwrap();
    let rows: Vec<Vec<u64>> = table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().skip(1).map(|number| number.parse().unwrap()).collect())
        .collect();
    assert!(rows.len() >= 3, "{table}");
    for row in rows {
        let [samples, bare, band, latches] = row[..] else { panic!("{table}") };
        assert!(bare > band && band > latches, "{table}");
        // 60 s and a hold of 10 s: not more than one way down in each, and as many back up.
        assert!(samples == 600 && latches <= 12, "{table}");
    }
}
