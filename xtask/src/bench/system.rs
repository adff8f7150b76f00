//! Watching the machine at 1 Hz: `memcli watch system` beside earlyoom.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Options;
use crate::page;
use crate::shell;

/// For how long each round is measured, unless asked otherwise.
const SECONDS: u64 = 120;
/// After this long nothing of the start is measured any more.
const SETTLED: Duration = Duration::from_secs(15);
const BUDGET_RSS_BYTES: u64 = 5 << 19;
/// 0.01 % of a core.
const BUDGET_MICROSECONDS_EACH_SECOND: f64 = 100.0;

/// What one watcher took while it was measured.
#[derive(Clone, Copy)]
struct Taken {
    microseconds_each_second: f64,
    rss_bytes: u64,
    anonymous_bytes: u64,
    threads: usize,
}

/// One of those that watch; it runs until it is dropped.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        // Nothing is left to do about one that has already ended.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<bool> {
    let seconds = options.seconds.unwrap_or(SECONDS);
    let memcli = crate::dist::program(root)?;
    let mut names = vec!["memcli watch system".to_owned()];
    let rival = earlyoom_version();
    names.extend(rival.clone());
    if rival.is_none() {
        println!("SKIPPED earlyoom: it is not installed");
    }
    let mut runs: Vec<Vec<Taken>> = vec![Vec::new(); names.len()];
    for round in 1..=options.rounds {
        let mut watchers = vec![start(Command::new(&memcli).args([
            "watch",
            "system",
            "--interval",
            "1s",
            "--for",
            "1h",
        ]))?];
        if rival.is_some() {
            watchers.push(start(Command::new("earlyoom").args(["-r", "0"]))?);
        }
        for (runs, taken) in runs.iter_mut().zip(measure(&watchers, seconds)?) {
            runs.push(taken);
        }
        println!("round {round} of {}", options.rounds);
    }
    report(root, seconds, options.rounds, &names, &runs)
}

fn earlyoom_version() -> Option<String> {
    let output = shell::capture(Command::new("earlyoom").arg("-v")).ok()?;
    output.text.lines().find(|line| line.starts_with("earlyoom")).map(str::to_owned)
}

fn start(command: &mut Command) -> anyhow::Result<Watcher> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Watcher(command.spawn().with_context(|| format!("failed to start `{name}`"))?))
}

/// All of them side by side, over the same time.
fn measure(watchers: &[Watcher], seconds: u64) -> anyhow::Result<Vec<Taken>> {
    let pids: Vec<u32> = watchers.iter().map(|watcher| watcher.0.id()).collect();
    let times = || pids.iter().map(|pid| nanoseconds(*pid)).collect::<anyhow::Result<Vec<_>>>();
    std::thread::sleep(SETTLED);
    let (before, started) = (times()?, Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let (after, passed) = (times()?, started.elapsed().as_secs_f64());
    pids.iter()
        .zip(before.iter().zip(after))
        .map(|(pid, (before, after))| {
            Ok(Taken {
                microseconds_each_second: after.saturating_sub(*before) as f64 / 1e3 / passed,
                rss_bytes: status(*pid, "VmRSS:")?,
                anonymous_bytes: status(*pid, "RssAnon:")?,
                threads: tasks(*pid)?.len(),
            })
        })
        .collect()
}

fn tasks(pid: u32) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let folder = format!("/proc/{pid}/task");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("`{folder}` is gone"))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Processor time of all threads: the first figure of `schedstat`. That of a thread which has ended is lost, and none of
/// these watchers starts one after it has settled.
fn nanoseconds(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0u64;
    for task in tasks(pid)? {
        let text = std::fs::read_to_string(task.join("schedstat"))?;
        let first = text.split_whitespace().next().context("`schedstat` is empty")?;
        sum = sum.saturating_add(first.parse()?);
    }
    Ok(sum)
}

fn status(pid: u32, key: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB"));
    Ok(kib.with_context(|| format!("no `{key}` of {pid}"))?.parse::<u64>()? * 1024)
}

/// Prints and writes the table; whether the budget is kept.
fn report(
    root: &Path,
    seconds: u64,
    rounds: usize,
    names: &[String],
    runs: &[Vec<Taken>],
) -> anyhow::Result<bool> {
    let mut table = format!(
        "{seconds} s at 1 Hz, side by side, median of {rounds}.\n\n\
         | | CPU each second | of a core | RSS | of it anonymous | threads |\n|---|---:|---:|---:|---:|---:|\n"
    );
    let mut good = true;
    for (at, (name, runs)) in names.iter().zip(runs).enumerate() {
        let middle = |figure: fn(&Taken) -> f64| {
            page::median(runs.iter().map(figure).collect()).context("nothing was measured")
        };
        let time = middle(|taken| taken.microseconds_each_second)?;
        let rss = middle(|taken| taken.rss_bytes as f64)?;
        table.push_str(&format!(
            "| {name} | {time:.0} us | {:.4} % | {:.2} MiB | {:.2} MiB | {:.0} |\n",
            time / 1e4,
            rss / 1_048_576.0,
            middle(|taken| taken.anonymous_bytes as f64)? / 1_048_576.0,
            middle(|taken| taken.threads as f64)?
        ));
        if at == 0 {
            good = time <= BUDGET_MICROSECONDS_EACH_SECOND && rss <= BUDGET_RSS_BYTES as f64;
        }
    }
    if names.len() == 1 {
        table.push_str("\nNot measured here: earlyoom, which is not installed.\n");
    }
    if seconds != SECONDS {
        // A short look is not for the page.
        println!("{table}\nNot judged, not written: the page has {SECONDS} s.");
        return Ok(true);
    }
    let kept = if good { "kept" } else { "exceeded" };
    table.push_str(&format!(
        "\nThe budget of `memcli watch system`, 100 us each second (0.01 % of a core) and 2.5 MiB, was {kept}.\n"
    ));
    println!("{table}");
    if runs.iter().all(Vec::is_empty) {
        bail!("nothing was measured");
    }
    page::write(root, "watch", &table)?;
    Ok(good)
}
