//! Thirty simulated days of one service through the whole pipeline, with a config edit each simulated minute.
//!
//! ```text
//! cargo run --release -p memcli --example soak              # the 30 days, in minutes
//! cargo run --release -p memcli --example soak -- --real 1h # the same checks on a real clock and a real sampler
//! ```
//!
//! It prints one table and ends with 0 when every figure is as promised.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints its table, or why it cannot"
)]

mod oracle;
mod real;
mod simulated;
mod table;
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let table = match words.as_slice() {
        [] => simulated::run(30),
        ["--days", days] => {
            days.parse().context("`--days` takes a number").and_then(simulated::run)
        }
        ["--real", duration] => humantime::parse_duration(duration)
            .context("`--real` takes a duration such as `1h`")
            .and_then(real::run),
        _ => Err(anyhow::anyhow!("arguments: none, `--days N` or `--real DURATION`")),
    };
    match table {
        Ok(table) => {
            print!("{table}");
            if table.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Replaces a config file as an editor does: a reader sees the old text or the new one.
fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text).context("failed to write an edit")?;
    std::fs::rename(&temporary, path).context("failed to put an edit in place")
}

/// What this process holds of the machine.
#[derive(Clone, Copy, Debug)]
struct Held {
    rss: u64,
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn now() -> anyhow::Result<Self> {
        let count = |path: &str| -> anyhow::Result<usize> {
            Ok(std::fs::read_dir(path).with_context(|| format!("failed to list `{path}`"))?.count())
        };
        let Ok(rss) = memtrack::rss() else { bail!("our own RSS cannot be read") };
        Ok(Self { rss, descriptors: count("/proc/self/fd")?, threads: count("/proc/self/task")? })
    }

    /// What was gained from the first half of `all` to the second: by how much RSS ranged over both, in bytes, and how many more
    /// descriptors and threads were held at the least. At the least, since a file that is being read when they are counted is no
    /// gain.
    fn gained(all: &[Held]) -> (u64, usize, usize) {
        let (early, late) = all.split_at(all.len() / 2);
        let least = |part: &[Held], of: fn(&Held) -> usize| part.iter().map(of).min().unwrap_or(0);
        let more = |of| least(late, of).saturating_sub(least(early, of));
        let rss = || all.iter().map(|held| held.rss);
        let range = rss().max().unwrap_or(0) - rss().min().unwrap_or(0);
        (range, more(|held| held.descriptors), more(|held| held.threads))
    }
}

/// What a process may gain while it only does the same again and again: the allocator's slack, no more.
const FLAT: u64 = 1 << 20;

fn hours(hours: u64) -> Duration {
    Duration::from_secs(3600 * hours)
}
