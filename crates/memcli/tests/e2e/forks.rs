//! Programs that fork: what parent and children share counts once, in growth and against a budget, and a leak in one of them is a leak.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::live::is_installed;
use crate::support::{Folder, run, run_summed};

const MIB: f64 = 1_048_576.0;

/// A parent that holds 100 MiB and forks ten children, which do nothing until it ends; it then waits for them.
const POOL: &str = "\
import mmap, os, time
kept = mmap.mmap(-1, 100 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, 100 << 20, 4096): kept[page] = 1
print('ready', flush=True)
ends = os.pipe()
for _ in range(10):
    time.sleep(0.3)
    if os.fork() == 0:
        os.close(ends[1])
        os.read(ends[0], 1)
        os._exit(0)
time.sleep(1)
os.close(ends[1])
for _ in range(10): os.wait()
";

/// Takes so many MiB for each second that has passed, however seldom it has its turn.
const LEAK: &str = "\
import mmap, time
kept, began = [], time.monotonic()
while time.monotonic() < began + 8:
    while len(kept) < 20 * (time.monotonic() - began):
        more = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for page in range(0, 1 << 20, 4096): more[page] = 1
        kept.append(more)
    time.sleep(0.02)
";

#[test]
fn ten_idle_forks_are_no_growth_and_stay_within_the_budget_that_one_has() {
    if !is_installed("python3") {
        return;
    }
    let folder = Folder::new();
    let trace = folder.at("pool.jsonl.gz");
    let gates = "leak,level:warning,alert:warning";
    // Watched from when it holds what it holds: that it came at once is growth, and towards the limit.
    let mut python = Command::new("python3");
    let mut python = python.args(["-c", POOL]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(python.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let pid = python.id().to_string();
    let (said, summary) = run_summed(&[
        "watch",
        "--limit",
        "192MiB",
        "--fail-on",
        gates,
        "--max-growth",
        "10MiB/s",
        "-o",
        &trace,
        &pid,
    ]);
    python.wait().unwrap();
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(summary["processes"], 11, "{summary}");
    let pss: Vec<f64> = columns(&trace, ["processes", "pss_bytes"])
        .filter(|[processes, _]| *processes > 1.0)
        .map(|[_, pss]| pss)
        .collect();
    let least = pss.iter().copied().fold(f64::MAX, f64::min);
    let most = pss.iter().copied().fold(0.0, f64::max);
    let told = format!("from {} to {} MiB in {} samples", least / MIB, most / MIB, pss.len());
    assert!(pss.len() > 5 && least > 100.0 * MIB && most < least * 1.1, "{told}");

    // The recording is judged as the run was, and what a limit has to hold is told by the same measure.
    let replayed = run(&["replay", "--json", &trace]);
    let told = replayed.stdout.lines().last().unwrap_or_default();
    let replayed: Value = serde_json::from_str(told).unwrap();
    for part in ["highest_level", "verdict"] {
        assert_eq!(replayed[part], summary[part]);
    }
    let budget: Value = serde_json::from_str(&run(&["budget", "--json", &trace]).stdout).unwrap();
    let bytes = budget["plan"]["budget_bytes"].as_f64().unwrap_or_else(|| panic!("{budget}"));
    assert!(bytes > 100.0 * MIB && bytes < 192.0 * MIB, "{budget}");
}

/// The named columns of the samples that have both.
fn columns(trace: &str, names: [&str; 2]) -> impl Iterator<Item = [f64; 2]> {
    let csv = run(&["report", "--format", "csv", trace]).stdout;
    let mut lines = csv.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let at = names.map(|name| header.iter().position(|column| column == name).unwrap());
    let rows: Vec<_> = lines
        .filter_map(|cells| {
            Some([cells.get(at[0])?.parse().ok()?, cells.get(at[1])?.parse().ok()?])
        })
        .collect();
    rows.into_iter()
}

fn leaks_at_its_rate(command: &[&str]) {
    let mut arguments = vec!["run", "--fail-on", "leak", "--"];
    arguments.extend_from_slice(command);
    let (said, summary) = run_summed(&arguments);
    assert_eq!(
        (said.code, &summary["verdict"]["kind"]),
        (99, &Value::from("leak")),
        "{}",
        said.stderr
    );
    let rate = summary["verdict"]["rate_bytes_per_second"].as_f64().unwrap() / MIB;
    assert!((rate - 20.0).abs() < 2.0, "{rate} MiB/s, {}", said.stderr);
}

#[test]
fn a_leak_in_one_of_many_forks_is_told_at_its_rate() {
    if !is_installed("python3") {
        return;
    }
    // The first second has no figure: what was measured before the forks was of the program that started this one.
    let longer = LEAK.replace("began + 8", "began + 17");
    let forked = POOL.replace("    time.sleep(0.3)\n", "").replace("time.sleep(1)\n", &longer);
    leaks_at_its_rate(&["python3", "-c", &forked]);
}

#[test]
fn a_leak_below_a_shell_is_told_at_its_rate() {
    if !is_installed("python3") {
        return;
    }
    leaks_at_its_rate(&["sh", "-c", "python3 -c \"$0\"; true", LEAK]);
}
