//! The short form of `examples/live.rs`: real programs that keep what they take, and that give it back.
//!
//! Each takes a block when it is told to and answers; its private memory is read between two blocks. The detector is given
//! a tenth of a second for each, so that a busy machine changes nothing.
#![cfg(target_os = "linux")]
#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a program that is not installed is named, not passed over in silence; one that answers nothing fails the test"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use memleak::{Detector, LeakConfig, Verdict};

const STEPS: u64 = 200;

const PYTHON: &str = r#"
import sys
kept = []
for line in sys.stdin:
    block = bytearray(b"x" * (256 << 10))
    if sys.argv[1] == "leak":
        kept.append(block)
    del block
    print(len(kept), flush=True)
"#;
const NODE: &str = r#"
const kept = [];
require("readline").createInterface({ input: process.stdin }).on("line", () => {
  const block = Buffer.alloc(256 << 10, 1);
  if (process.argv[1] === "leak") kept.push(block);
  global.gc();
  console.log(kept.length);
});
"#;

/// The verdict on a program, or `None` when it is not installed.
fn watch(command: &mut Command) -> Option<Verdict> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let mut told = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut detector = Detector::new(&LeakConfig::default());
    for step in 0..STEPS {
        told.write_all(b"\n").unwrap();
        // A harness of tests says more than the answer.
        answers.by_ref().map(Result::unwrap).find(|line| line.parse::<u64>().is_ok()).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        detector.push(Duration::from_millis(100 * step), kib << 10);
    }
    drop(told);
    child.wait().unwrap();
    detector.conclude();
    Some(detector.verdict())
}

/// Both forms of one program; `false` when it is not installed.
fn both(name: &str, command: impl Fn() -> Command) -> bool {
    let (Some(leak), Some(steady)) = (watch(command().arg("leak")), watch(command().arg("steady")))
    else {
        eprintln!("SKIPPED: {name} is not installed");
        return false;
    };
    assert!(leak.is_leak(), "{name}: {leak:?}");
    let rate = leak.trend().unwrap().bytes_per_second / f64::from(256 << 10) / 10.0;
    assert!((rate - 1.0).abs() < 0.15, "{name}: {rate} of what it keeps");
    assert!(!steady.is_leak(), "{name}: {steady:?}");
    true
}

/// Set where this program is to be watched, and not to run its tests.
const WATCHED: &str = "MEMLEAK_TEST_WATCHED";

/// The program of the test below: whatever is installed, there is one that can fail it.
#[test]
fn program() {
    if std::env::var_os(WATCHED).is_none() {
        return;
    }
    let keeps = std::env::args().next_back().is_some_and(|form| form == "leak");
    let mut kept = Vec::new();
    let mut out = std::io::stdout();
    writeln!(out).unwrap();
    for _ in std::io::stdin().lines() {
        let block = std::hint::black_box(vec![1u8; 256 << 10]);
        if keeps {
            kept.push(block);
        }
        writeln!(out, "{}", kept.len()).unwrap();
    }
}

#[test]
fn a_program_that_keeps_blocks_leaks_and_one_that_frees_them_does_not() {
    let ran = both("this test", || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(WATCHED, "1").args(["--exact", "--nocapture", "program"]);
        command
    });
    assert!(ran);
}

#[test]
fn python_that_keeps_blocks_leaks_and_python_that_frees_them_does_not() {
    both("python3", || {
        let mut command = Command::new("python3");
        command.args(["-c", PYTHON]);
        command
    });
}

#[test]
fn node_that_keeps_buffers_leaks_and_node_that_drops_them_does_not() {
    both("node", || {
        let mut command = Command::new("node");
        command.args(["--expose-gc", "-e", NODE]);
        command
    });
}
