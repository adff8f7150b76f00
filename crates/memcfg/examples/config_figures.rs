//! What this crate promises, measured beside what it costs. Each is the median of many short runs in one process, so that
//! whoever else is busy on the machine spoils some of them and not the middle one.
//!
//! ```text
//! cargo run --release -p memcfg --example config_figures
//! ```
//!
//! Ends with a failure when a promise is broken. The comparison with other crates is a program of its own, because of what
//! it links; `benches/against` is built and run from here.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints, and may stop")]

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use memcfg::Sources;
use memcfg::document::{self, Live, PROJECT_FILE, Places};

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn of_runs(runs: usize, mut run: impl FnMut() -> f64) -> f64 {
    median((0..runs).map(|_| run()).collect())
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Every key of the document with its default.
fn full() -> String {
    let text = document::init_text(8 << 30).replace("\n# ", "\n");
    let lines = text
        .lines()
        .filter(|line| (line.contains(" = ") && !line.ends_with("= ")) || line.starts_with('['));
    let keys: String = lines.map(|line| format!("{line} # as it is\n")).collect();
    keys
}

/// One promise: what was measured, and the most it may be.
struct Figure {
    what: String,
    unit: &'static str,
    measured: f64,
    budget: f64,
}

/// The sources of a full document: two files with every key, a project's, variables and a flag.
fn sources(root: &Path) -> Sources {
    let env = [
        ("XDG_CONFIG_HOME".to_owned(), root.join("xdg").display().to_string()),
        ("MEMCLI_BUDGET__WARNING".to_owned(), "0.7".to_owned()),
        ("MEMCLI_TRACK__TIER".to_owned(), "development".to_owned()),
    ];
    write(&root.join("etc.toml"), &full());
    write(&root.join("xdg/memcli/config.toml"), &full());
    write(
        &root.join("p").join(PROJECT_FILE),
        "version = \"2.0\"\n[projects]\nestimated_mb = 128\n",
    );
    let mut places = Places::new(env, root.join("p"));
    places.system = root.join("etc.toml");
    places.sources(None).flag("track.interval", "250ms")
}

fn loading(sources: &Sources) -> Figure {
    let keys = document::load(sources).unwrap().keys().len();
    let measured = of_runs(501, || {
        let started = Instant::now();
        black_box(document::load(sources).unwrap());
        started.elapsed().as_secs_f64() * 1e3
    });
    let what = format!("load of the full document: {keys} keys, six overlays");
    Figure { what, unit: "ms", measured, budget: 1.0 }
}

/// A thousand reads take some 20 us: short enough to fall between two interruptions.
fn reading(what: &str, budget: f64, read: impl Fn()) -> Figure {
    const READS: u32 = 1_000;
    let measured = of_runs(5_001, || {
        let started = Instant::now();
        for _ in 0..READS {
            read();
        }
        started.elapsed().as_secs_f64() * 1e9 / f64::from(READS)
    });
    Figure { what: what.to_owned(), unit: "ns", measured, budget }
}

fn projects(root: &Path, sources: &Sources) -> Figure {
    let directories: Vec<_> =
        (0..1_000).map(|number| root.join(format!("many/{number}"))).collect();
    for (number, directory) in directories.iter().enumerate() {
        let estimated = 32 + number % 200;
        let text = format!("schema_version = 3\n[project]\nestimated = \"{estimated}MiB\"\n");
        write(&directory.join(PROJECT_FILE), &text);
    }
    let mut each = vec![Vec::new(); directories.len()];
    for _ in 0..9 {
        // A new document knows none of them.
        let live = Live::start(sources.clone()).unwrap();
        for (directory, runs) in directories.iter().zip(&mut each) {
            let started = Instant::now();
            black_box(live.for_project(directory));
            runs.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    // A whole pass is long enough for others on the machine to come in between; one project is not.
    let measured = each.into_iter().map(median).sum();
    let what = "1,000 projects asked for, for the first time: the sum of each one's median of 9";
    let what = what.to_owned();
    Figure { what, unit: "ms", measured, budget: 200.0 }
}

fn edits(root: &Path, live: &Live) -> Figure {
    let (report, heard) = crossbeam_channel::unbounded();
    for _ in 0..100 {
        let (settings, report) = (live.workload(), report.clone());
        std::thread::spawn(move || {
            while settings.changed().recv().is_ok() {
                let current = settings.load();
                if report.send((current.value.batch_size, Instant::now())).is_err() {
                    return;
                }
            }
        });
    }
    let path = root.join("xdg/memcli/config.toml");
    let mut waits = Vec::new();
    for batch in 100..150u32 {
        let text = full().replace("batch_size = 50", &format!("batch_size = {batch}"));
        let temp = path.with_extension("new");
        let saved = Instant::now();
        std::fs::write(&temp, text).unwrap();
        std::fs::rename(&temp, &path).unwrap();
        let mut left = 100;
        while left > 0 {
            let (seen, at) = heard.recv().unwrap();
            if seen == batch {
                waits.push((at - saved).as_secs_f64() * 1e3);
                left -= 1;
            }
        }
    }
    waits.sort_by(f64::total_cmp);
    let what = "edit to observer, 50 edits, 100 observers: 99th percentile (100 ms of it settling)";
    let measured = waits[waits.len() * 99 / 100];
    Figure { what: what.to_owned(), unit: "ms", measured, budget: 400.0 }
}

/// The same inputs through other crates, as a table; or why there is none.
fn against() -> Result<String, String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = home.join("benches/against/Cargo.toml");
    let mut run = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    run.args(["run", "--release", "--quiet", "--manifest-path"]).arg(manifest);
    // A workspace of its own, but what it builds belongs with what all the others build.
    run.arg("--target-dir").arg(home.join("../../target/against"));
    let output = run.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn main() -> ExitCode {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let sources = sources(root);
    let live = Live::start(sources.clone()).unwrap();
    let (track, guard) = (live.track(), live.guard());
    let figures = [
        loading(&sources),
        reading("read of a section", 20.0, || drop(black_box(track.load()))),
        reading("read of the four sections of the guard together", f64::INFINITY, || {
            drop(black_box(guard.load()));
        }),
        projects(root, &sources),
        edits(root, &live),
    ];
    println!("| | measured | promised | |\n|---|---:|---:|---|");
    let mut good = true;
    for Figure { what, unit, measured, budget } in &figures {
        let kept = measured <= budget;
        good &= kept;
        let (promised, verdict) = match budget.is_finite() {
            true => (format!("<= {budget} {unit}"), if kept { "kept" } else { "**broken**" }),
            false => (String::new(), ""),
        };
        println!("| {what} | {measured:.2} {unit} | {promised} | {verdict} |");
    }
    let said = match against() {
        Ok(table) => {
            format!("Beside other crates, two small files and the environment:\n\n{table}")
        }
        Err(why) => format!("No comparison with other crates: {why}"),
    };
    println!("\n{said}");
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
