//! Writes made-up traces in leakbench's form: `holdout FOLDER [TRACES_PER_FAMILY] [SEED]`.
//!
//! `cargo run --release -p memleak --example holdout -- /tmp/holdout 12 7` makes an index that
//! `--example leakbench` reads. Their families and ranges were written apart from the detector's tests.
#![expect(clippy::print_stderr, reason = "an example that reports on the terminal")]

use std::error::Error;
use std::fs::{File, create_dir_all};
use std::io::{BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

#[path = "../tests/support/mod.rs"]
mod support;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(arguments.first().ok_or("usage: holdout FOLDER [EACH] [SEED]")?);
    let each: u64 = arguments.get(1).map_or(Ok(8), |text| text.parse())?;
    let seed: u64 = arguments.get(2).map_or(Ok(1), |text| text.parse())?;
    create_dir_all(folder)?;
    let mut index = BufWriter::new(File::create(folder.join("index.jsonl"))?);
    let families = support::families::LEAKING.iter().chain(&support::families::CLEAN);
    let mut count = 0;
    for family in families {
        for number in 0..each {
            let trace = support::families::trace(family, seed, number);
            let file = format!("{}.csv.gz", trace.name);
            let out = File::create(folder.join(&file))?;
            let mut out = BufWriter::new(GzEncoder::new(out, Compression::fast()));
            writeln!(out, "t_s,rss_bytes")?;
            for (t, bytes) in &trace.samples {
                writeln!(out, "{t:.3},{bytes}")?;
            }
            out.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()?;
            let label = json!({
                "name": trace.name, "file": file, "family": trace.family, "kind": trace.family,
                "leak": trace.leak, "rate_mb_per_h": trace.rate_mib_per_h,
                "onset_s": trace.leak.then_some(trace.onset),
                "ambiguous_until_s": trace.ambiguous_until, "interval_s": trace.interval,
                "duration_s": trace.samples.last().map(|last| last.0),
                "leak_curve": trace.leak.then_some(&trace.leaked), "source": "synthetic",
            });
            writeln!(index, "{label}")?;
            count += 1;
        }
    }
    index.flush()?;
    eprintln!("{count} traces in {}", folder.display());
    Ok(())
}
