//! Writes a trace of as many samples as are asked for: what the bench of the command line reads.
//!
//! `long_trace FILE SAMPLES`

use std::fs::File;
use std::time::Duration;

use memcli::trace::{Header, Writer};
use memtrack::{Sample, Stamp};

const HEADER: &str = r#"{"schema":"memcli.trace/1","writer":"memcli 0.1.0","target":{"label":"worker(4321)","kind":"tree","pid":4321,"start":7},
"started":"2026-11-21T12:00:00Z","interval_seconds":0.1}"#;
const MIB: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(path), Some(samples)) = (words.next(), words.next()) else {
        return Err("expected a file and a number of samples".into());
    };
    let header: Header = serde_json::from_str(HEADER)?;
    let mut writer = Writer::new(File::create(path)?, &header)?;
    for n in 0..samples.parse::<u64>()? {
        let monotonic = Duration::from_millis(100 * n);
        let stamp = Stamp { monotonic, wall: header.started + monotonic, gap: false };
        let mut sample = Sample::empty(stamp);
        // A service that breathes: no two samples in a row are alike.
        let bytes = 200 * MIB + n * 7919 % 4096 * 4096;
        let process = &mut sample.process;
        (process.rss, process.anon) = (Ok(bytes + 8 * MIB), Ok(bytes));
        (process.file, process.shmem, process.swap) = (Ok(8 * MIB), Ok(0), Ok(0));
        (process.peak, process.processes, process.threads) = (Ok(225 * MIB), Ok(1), Ok(8));
        (sample.system.total, sample.system.available) = (Ok(8 << 30), Ok((6 << 30) - bytes));
        writer.sample(&sample)?;
    }
    Ok(())
}
