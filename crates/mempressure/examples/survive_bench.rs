//! Runs `survive` under a real cgroup limit, unguarded and guarded, and prints one table.
//!
//! `cargo xtask survive` starts it: `--short` for less than a minute, `--full` for 20 runs of 60 s at each rate, nothing
//! for the same with eviction alone as well, which takes two hours.
//!
//! The table goes to standard output, how each run ended to standard error. Exits 0 when the kernel killed every
//! unguarded run and no guarded one, 1 when not, and 77 with SKIPPED on standard output where no memory cgroup can be
//! made.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a driver that prints a table")]

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

fn main() -> ExitCode {
    match Plan::parse().and_then(|plan| run(&plan)) {
        Ok(Verdict::AsExpected) => ExitCode::SUCCESS,
        Ok(Verdict::Not) => ExitCode::FAILURE,
        Ok(Verdict::Skipped(why)) => {
            println!("SKIPPED: {why}");
            ExitCode::from(77)
        }
        Err(error) => {
            eprintln!("survive: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Verdict {
    AsExpected,
    Not,
    Skipped(String),
}

struct Plan {
    fills: Vec<u64>,
    runs: u64,
    seconds: u64,
    limit: u64,
    modes: Vec<&'static str>,
    unguarded_once: bool,
    extra: Vec<String>,
}

impl Plan {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut plan = Self {
            fills: vec![50, 150, 500],
            runs: 20,
            seconds: 60,
            limit: 256 * MIB,
            modes: vec!["evict", "full"],
            unguarded_once: false,
            extra: Vec::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            let mut number = || -> Result<u64, Box<dyn Error>> {
                Ok(words.next().ok_or(format!("`{name}` needs a number"))?.parse()?)
            };
            match name.as_str() {
                "--short" => {
                    (plan.runs, plan.seconds) = (1, 10);
                    (plan.modes, plan.unguarded_once) = (vec!["full"], true);
                }
                "--runs" => plan.runs = number()?,
                "--seconds" => plan.seconds = number()?,
                "--fill" => plan.fills = vec![number()?],
                "--limit-mib" => plan.limit = number()? * MIB,
                "--evict" => plan.modes = vec!["evict"],
                "--full" => plan.modes = vec!["full"],
                "--aggressive" => plan.extra.push(name),
                _ => {
                    return Err(format!(
                        "unknown option `{name}`; there are --short, --runs N, --seconds N, --fill MIB, \
                         --limit-mib N, --evict, --full, --aggressive"
                    )
                    .into());
                }
            }
        }
        Ok(plan)
    }
}

fn run(plan: &Plan) -> Result<Verdict, Box<dyn Error>> {
    let service = std::env::current_exe()?.with_file_name("survive");
    if !service.exists() {
        return Err(format!("`{}` is not built", service.display()).into());
    }
    let cgroups = match Controller::find(&service) {
        Ok(cgroups) => cgroups,
        Err(why) => return Ok(Verdict::Skipped(why)),
    };
    println!(
        "limit {} MiB, {} s of load in each run, {} runs a row; modes: evict = caches are evicted,\n\
         full = the service also asks before it allocates. act = from crossing the critical threshold to the next\n\
         callback, cooldowns included. load = of the machine, when the row ended",
        plan.limit / MIB,
        plan.seconds,
        plan.runs
    );
    println!(
        "{:>6} {:>9} {:>9} {:>6} {:>11} {:>7} {:>10} {:>10} {:>9} {:>6} {:>8} {:>13} {:>5}",
        "MiB/s",
        "guard",
        "survived",
        "kills",
        "peak/limit",
        "plans",
        "claimed",
        "measured",
        "meas/clm",
        "work",
        "filled",
        "act p50/p99",
        "load"
    );
    let mut as_expected = true;
    let fills = if plan.unguarded_once { &plan.fills[..1] } else { &plan.fills[..] };
    for fill in fills {
        let fill = if plan.unguarded_once { 150 } else { *fill };
        let row = one_row(&cgroups, &service, plan, fill, "none", 1)?;
        as_expected &= row.survived == 0 && row.kills > 0;
    }
    for fill in &plan.fills {
        for mode in &plan.modes {
            let row = one_row(&cgroups, &service, plan, *fill, mode, plan.runs)?;
            as_expected &= row.survived == plan.runs && row.kills == 0;
        }
    }
    Ok(if as_expected { Verdict::AsExpected } else { Verdict::Not })
}

/// Sums over the runs of one row.
#[derive(Default)]
struct Row {
    runs: u64,
    survived: u64,
    kills: u64,
    peak: u64,
    plans: f64,
    claimed: f64,
    measured: f64,
    work: f64,
    filled: f64,
    /// Microseconds from crossing the critical threshold to the first callback.
    delays: Vec<u64>,
    ends: Vec<String>,
}

impl Row {
    /// Median and 99th percentile of the delays, in milliseconds.
    fn delay(&mut self) -> String {
        self.delays.sort_unstable();
        let at = |share: usize| self.delays.get(self.delays.len() * share / 100);
        match (at(50), at(99)) {
            (Some(median), Some(p99)) => {
                format!("{:.1}/{:.1} ms", *median as f64 / 1e3, *p99 as f64 / 1e3)
            }
            _ => "-".to_owned(),
        }
    }
}

fn one_row(
    cgroups: &Controller,
    service: &Path,
    plan: &Plan,
    fill: u64,
    mode: &str,
    runs: u64,
) -> Result<Row, Box<dyn Error>> {
    let mut row = Row { runs, ..Row::default() };
    for run in 1..=runs {
        one_run(&mut row, cgroups, service, plan, fill, mode)?;
        let (survived, load) = (row.survived, load());
        eprintln!("{fill} MiB/s, {mode}: {survived} of {run} runs survived, load {load}");
    }
    let delay = row.delay();
    let share = |part: f64, whole: f64| {
        if whole > 0.0 { format!("{:.0} %", 100.0 * part / whole) } else { "-".to_owned() }
    };
    let (n, mib) = (row.survived.max(1) as f64, MIB as f64);
    let whole = fill as f64 * mib * plan.seconds as f64 * row.survived as f64;
    println!(
        "{fill:>6} {mode:>9} {:>9} {:>6} {:>11} {:>7.0} {:>10.0} {:>10.0} {:>9} {:>6} {:>8} {:>13} {:>5} {}",
        format!("{}/{}", row.survived, row.runs),
        row.kills,
        share(row.peak as f64, plan.limit as f64),
        row.plans / n,
        row.claimed / n / mib,
        row.measured / n / mib,
        share(row.measured, row.claimed),
        share(row.work, row.survived as f64),
        share(row.filled, whole),
        delay,
        load(),
        row.ends.join(" ")
    );
    Ok(row)
}

/// The machine's load over the last minute.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn one_run(
    row: &mut Row,
    cgroups: &Controller,
    service: &Path,
    plan: &Plan,
    fill: u64,
    mode: &str,
) -> Result<(), Box<dyn Error>> {
    let cgroup = cgroups.create(plan.limit)?;
    let (fill, seconds) = (fill.to_string(), plan.seconds.to_string());
    let child = Command::new(service)
        .args(["--guard", mode, "--fill", &fill, "--seconds", &seconds])
        .arg("--cgroup")
        .arg(&cgroup.path)
        .args(&plan.extra)
        // glibc raises its mmap threshold when it first frees a large block, and from then on keeps freed
        // chunks in the heap. A fixed threshold keeps chunks of their own: what is freed leaves.
        .env("MALLOC_MMAP_THRESHOLD_", "131072")
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let output = child.wait_with_output()?;
    row.kills += cgroup.kills();
    row.peak = row.peak.max(cgroup.peak());
    if let Some(signal) = output.status.signal() {
        row.ends.push((128 + signal).to_string());
        return Ok(());
    }
    if !output.status.success() {
        return Err(format!("the service ended with {}", output.status).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let value = |key: &str| -> f64 {
        text.split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == key)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(f64::NAN)
    };
    row.survived += 1;
    row.plans += value("plans");
    row.claimed += value("claimed");
    row.measured += value("measured");
    row.work += value("work");
    row.filled += value("filled");
    let delays = text.split_whitespace().find_map(|pair| pair.strip_prefix("delays_us="));
    row.delays
        .extend(delays.unwrap_or("").split(',').filter_map(|micros| micros.parse::<u64>().ok()));
    Ok(())
}

/// Where memory cgroups can be made.
struct Controller {
    parent: PathBuf,
    unified: bool,
}

/// A cgroup of ours, removed when dropped.
struct Cgroup {
    path: PathBuf,
    unified: bool,
}

impl Controller {
    /// The first place where a cgroup with a limit can be made and a process may join it.
    fn find(service: &Path) -> Result<Self, String> {
        let mut why = "no memory controller under /sys/fs/cgroup".to_owned();
        for found in Self::candidates() {
            match found.probe(service) {
                Ok(()) => return Ok(found),
                Err(error) => why = format!("no cgroup in `{}`: {error}", found.parent.display()),
            }
        }
        Err(why)
    }

    /// The hierarchy of the memory controller: the old one, or where the unified one hands the controller down.
    fn candidates() -> Vec<Self> {
        let old = PathBuf::from("/sys/fs/cgroup/memory");
        if old.join("memory.limit_in_bytes").exists() {
            return vec![Self { parent: old, unified: false }];
        }
        let root = Path::new("/sys/fs/cgroup");
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let handed_down = |folder: &&Path| {
            let text = fs::read_to_string(folder.join("cgroup.subtree_control"));
            text.is_ok_and(|text| text.split_whitespace().any(|name| name == "memory"))
        };
        let above = root.join(own);
        let above = above.ancestors().take_while(|folder| folder.starts_with(root));
        let unified = |folder: &Path| Self { parent: folder.to_owned(), unified: true };
        above.filter(handed_down).map(unified).collect()
    }

    /// Whether we may is known once it has been done.
    fn probe(&self, service: &Path) -> Result<(), String> {
        let cgroup = self.create(256 * MIB).map_err(|error| error.to_string())?;
        let mut service = Command::new(service);
        service.args(["--guard", "none", "--fill", "0", "--seconds", "0", "--cgroup"]);
        service.arg(&cgroup.path).stdin(Stdio::null());
        let output = service.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("the service did not start there: {}", said.trim_end()))
    }

    fn create(&self, limit: u64) -> io::Result<Cgroup> {
        let path = self.parent.join(format!("mempressure-survive-{}", std::process::id()));
        fs::create_dir(&path)?;
        let cgroup = Cgroup { path, unified: self.unified };
        let (file, swap) = if self.unified {
            ("memory.max", "memory.swap.max")
        } else {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        };
        fs::write(cgroup.path.join(file), limit.to_string())?;
        let swap_limit = if self.unified { "0".to_owned() } else { limit.to_string() };
        let limited = fs::write(cgroup.path.join(swap), swap_limit);
        // Without swap accounting there is no such file. Without swap there is nothing to limit either; with it,
        // what does not fit would go there, and the limit would kill nobody.
        let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default().lines().count() > 1;
        if swaps { limited.map(|()| cgroup) } else { Ok(cgroup) }
    }
}

impl Cgroup {
    fn number(&self, file: &str, key: &str) -> u64 {
        let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.strip_prefix(key))
            .find_map(|value| value.trim().parse().ok())
            .unwrap_or(0)
    }

    fn kills(&self) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        self.number(file, "oom_kill ")
    }

    fn peak(&self) -> u64 {
        self.number(if self.unified { "memory.peak" } else { "memory.max_usage_in_bytes" }, "")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel takes a moment to let go of a process that has been reaped.
        let until = Instant::now() + Duration::from_secs(5);
        while let Err(error) = fs::remove_dir(&self.path) {
            if Instant::now() > until {
                eprintln!("survive: failed to remove `{}`: {error}", self.path.display());
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
