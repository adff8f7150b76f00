//! How often the level changes on recorded traces: with bare thresholds, with a band, with band and latches.
//!
//! `cargo run -p mempressure --example flap` prints the table for the traces in `tests/traces`;
//! `cargo run -p mempressure --example flap -- record PID SECONDS FILE` records another one at 10 Hz.
#![expect(clippy::print_stdout, reason = "an example that prints a table")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use mempressure::{BudgetConfig, Machine, PressureConfig, Rules};
use memtrack::{Sample, Stamp};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => print!("{}", table(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces"))?),
        ["record", pid, seconds, file] => record(pid.parse()?, seconds.parse()?, file)?,
        _ => return Err("nothing, or: record PID SECONDS FILE".into()),
    }
    Ok(())
}

/// One row for each trace, in the order of their names.
pub(crate) fn table(folder: &Path) -> Result<String, Box<dyn Error>> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .map(|file| Ok(file?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    files.sort();
    let mut text = String::from("trace            samples    bare    band  band and latches\n");
    for file in files {
        let samples = read(&file)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let [bare, band, latches] = transitions(&samples);
        writeln!(text, "{name:<16} {:>7} {bare:>7} {band:>7} {latches:>17}", samples.len())?;
    }
    Ok(text)
}

/// Transitions without band and hold, with the default band, and with the default band and hold.
fn transitions(samples: &[Sample]) -> [u64; 3] {
    let full = PressureConfig::default();
    // The ratio alone: that a forecast lifts the level is not flapping.
    let full = PressureConfig { signals: vec![mempressure::Signal::Cgroup], ..full };
    let band = PressureConfig { hold: Duration::ZERO, ..full.clone() };
    let bare = PressureConfig { band: 0.0, ..band.clone() };
    let budget = BudgetConfig::default();
    [bare, band, full].map(|pressure| {
        let mut machine = Machine::new();
        for sample in samples {
            machine.step(&Rules { pressure: &pressure, budget: &budget, generation: 0 }, sample);
        }
        // The first one leaves unknown.
        machine.status().transitions.saturating_sub(1)
    })
}

/// A trace has one line for each sample: milliseconds, working set and limit of the cgroup in bytes.
fn read(file: &Path) -> Result<Vec<Sample>, Box<dyn Error>> {
    let mut samples = Vec::new();
    for line in std::fs::read_to_string(file)?.lines().filter(|line| !line.starts_with('#')) {
        let numbers: Vec<u64> = line.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let [millis, used, limit] = numbers[..] else { return Err(format!("`{line}`").into()) };
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_millis(millis)));
        (sample.cgroup.usage, sample.cgroup.limit) = (Ok(used), Ok(limit));
        samples.push(sample);
    }
    Ok(samples)
}

#[cfg(target_os = "linux")]
fn record(pid: u32, seconds: u64, file: &str) -> Result<(), Box<dyn Error>> {
    use memtrack::processes::ProcessId;
    use memtrack::source::{LinuxSource, Source, Target};
    let id = ProcessId::read(Path::new("/"), pid)?;
    let mut source = LinuxSource::open(&Target::Process(id))?;
    let mut text = String::from("# milliseconds, working set, limit\n");
    for _ in 0..seconds * 10 {
        let Ok(sample) = source.read(&memtrack::TrackConfig::default()) else { break };
        let used = sample.cgroup.working_set()?;
        writeln!(text, "{},{used},{}", sample.at.monotonic.as_millis(), sample.cgroup.limit?)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    std::fs::write(file, text)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn record(_: u32, _: u64, _: &str) -> Result<(), Box<dyn Error>> {
    Err("needs Linux".into())
}
