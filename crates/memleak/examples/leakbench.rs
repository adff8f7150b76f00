//! Streams every trace of an index through the detector and writes its predictions.
//!
//! `cargo run --release -p memleak --example leakbench -- INDEX.jsonl --out PRED.jsonl`
//!
//! The index has one JSON object a line with at least `name` and `file`, a gzipped CSV of `t_s,rss_bytes` with a header
//! row, relative to the index's folder; further columns are passed over. What cannot be read is told and has no prediction; the rest has,
//! and the exit code is not 0. A prediction is the verdict and rate at the end of the trace, and every alert as
//! `[raised_s, cleared_s | null]` in trace time; an alert is raised when the verdict becomes a leak and cleared when it
//! stops being one.
#![expect(clippy::print_stderr, reason = "an example that reports on the terminal")]

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use memleak::{Detector, LeakConfig};
use serde::{Deserialize, Serialize};

const MIB: f64 = 1_048_576.0;

#[derive(Deserialize)]
struct Label {
    name: String,
    file: PathBuf,
}

#[derive(Serialize)]
struct Prediction {
    name: String,
    leak: bool,
    /// Beside the scored fields: the verdict's kind at the end.
    kind: &'static str,
    rate_mb_per_h: Option<f64>,
    first_alert_s: Option<f64>,
    alerts: Vec<(f64, Option<f64>)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [index, flag, out] = arguments.as_slice() else {
        return Err("usage: leakbench INDEX.jsonl --out PRED.jsonl".into());
    };
    if flag != "--out" {
        return Err(format!("unknown option `{flag}`").into());
    }
    let folder = Path::new(index).parent().unwrap_or(Path::new("."));
    let mut out = BufWriter::new(File::create(out)?);
    let (mut traces, mut samples) = (0u64, 0u64);
    let mut spent = Duration::ZERO;
    let mut failed = 0u64;
    for (number, line) in (1..).zip(BufReader::new(File::open(index)?).lines()) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let read = serde_json::from_str(&line)
            .map_err(|error| format!("line {number} of the index: {error}").into())
            .and_then(|label: Label| read(&folder.join(&label.file)).map(|trace| (label, trace)));
        let (label, trace) = match read {
            Ok(read) => read,
            Err(error) => {
                eprintln!("no prediction: {error}");
                failed += 1;
                continue;
            }
        };
        let started = std::time::Instant::now();
        let prediction = predict(label.name, &trace);
        spent += started.elapsed();
        traces += 1;
        samples += trace.len() as u64;
        serde_json::to_writer(&mut out, &prediction)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    let each = spent.as_nanos() as f64 / samples.max(1) as f64;
    eprintln!("{traces} traces, {samples} samples, {each:.0} ns a sample with all looks");
    if failed > 0 {
        return Err(format!("{failed} traces of the index have no prediction").into());
    }
    Ok(())
}

/// The samples of one trace, from the first two columns; rows that are no pair of numbers are passed over, and how many is said.
fn read(path: &Path) -> Result<Vec<(f64, f64)>, Box<dyn Error>> {
    let of = |error: std::io::Error| format!("`{}`: {error}", path.display());
    let mut samples = Vec::new();
    let mut passed = 0u64;
    let file = File::open(path).map_err(of)?;
    for (row, line) in BufReader::new(MultiGzDecoder::new(file)).lines().enumerate() {
        let line = line.map_err(of)?;
        let mut columns = line.split(',').map(|column| column.trim().parse::<f64>());
        match (columns.next(), columns.next()) {
            (Some(Ok(t)), Some(Ok(bytes)))
                if t.is_finite() && bytes.is_finite() && bytes >= 0.0 =>
            {
                samples.push((t, bytes));
            }
            // The first is the header.
            _ => passed += u64::from(row > 0 && !line.trim().is_empty()),
        }
    }
    if samples.is_empty() {
        return Err(format!("`{}`: no row is a pair of numbers", path.display()).into());
    }
    if passed > 0 {
        eprintln!(
            "`{}`: {passed} rows are no pair of numbers and were passed over",
            path.display()
        );
    }
    Ok(samples)
}

fn predict(name: String, trace: &[(f64, f64)]) -> Prediction {
    // A trace may start before zero, or its clock may step back there; the detector's clock does not.
    let zero = trace.iter().map(|(t, _)| *t).fold(0.0, f64::min);
    let mut detector = Detector::new(&LeakConfig::default());
    let mut alerts: Vec<(f64, Option<f64>)> = Vec::new();
    let mut note = |change: Option<memleak::Change>, at: f64| {
        let Some(change) = change else { return };
        if change.to.is_leak() {
            alerts.push((at, None));
        } else if let Some((_, cleared @ None)) = alerts.last_mut() {
            *cleared = Some(at);
        }
    };
    for &(t, bytes) in trace {
        let at = Duration::try_from_secs_f64(t - zero).unwrap_or_default();
        note(detector.push(at, bytes as u64), t);
    }
    note(detector.conclude(), trace.last().map_or(0.0, |(t, _)| *t));
    let verdict = detector.verdict();
    Prediction {
        name,
        leak: verdict.is_leak(),
        kind: verdict.kind(),
        rate_mb_per_h: verdict.trend().map(|trend| trend.bytes_per_second * 3600.0 / MIB),
        first_alert_s: alerts.first().map(|(raised, _)| *raised),
        alerts,
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_member_is_read_further_columns_are_passed_over_and_what_is_no_trace_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.csv.gz");
        let text =
            [packed("t_s,rss_bytes,note\n0,1,a\n1,2,b\n"), packed("2,3,c\nnan,4,d\n3,5,e\n")];
        std::fs::write(&path, text.concat()).unwrap();
        assert_eq!(read(&path).unwrap(), [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 5.0)]);
        std::fs::write(&path, packed("t_s,rss_bytes\nno,trace\n")).unwrap();
        assert!(read(&path).is_err());
        assert!(read(&folder.path().join("missing.csv.gz")).is_err());
    }
}
