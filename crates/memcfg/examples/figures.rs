//! The figures of the issue, measured. Each is the median of several runs, in one process.
//!
//! ```text
//! cargo run --release -p memcfg --example figures
//! ```
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints, and may stop")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

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

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
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
    let sources = places.sources(None).flag("track.interval", "250ms");

    let loaded = document::load(&sources).unwrap();
    let load = of_runs(201, || {
        let started = Instant::now();
        black_box(document::load(&sources).unwrap());
        started.elapsed().as_secs_f64() * 1e6
    });
    println!("load, {} keys in force, six overlays: {load:.0} us", loaded.keys().len());

    let live = Live::start(sources).unwrap();
    let (track, guard) = (live.track(), live.guard());
    const READS: u32 = 1_000_000;
    let read = |one: &dyn Fn()| {
        let started = Instant::now();
        for _ in 0..READS {
            one();
        }
        started.elapsed().as_secs_f64() * 1e9 / f64::from(READS)
    };
    let section = of_runs(9, || read(&|| drop(black_box(track.load()))));
    let four = of_runs(9, || read(&|| drop(black_box(guard.load()))));
    println!("read of a section: {section:.1} ns; of the four sections of the guard: {four:.1} ns");

    for number in 0..1_000 {
        let path = root.join(format!("many/{number}")).join(PROJECT_FILE);
        write(
            &path,
            &format!("schema_version = 3\n[project]\nestimated = \"{}MiB\"\n", 32 + number % 200),
        );
    }
    let pass = || {
        let started = Instant::now();
        for number in 0..1_000 {
            black_box(live.for_project(&root.join(format!("many/{number}"))));
        }
        started.elapsed().as_secs_f64() * 1e3
    };
    let cold = pass();
    println!("1,000 projects: {cold:.0} ms cold, {:.1} ms warm", {
        // Files that changed a moment ago are read again; let them settle.
        std::thread::sleep(Duration::from_secs(3));
        pass();
        pass()
    });

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
    let at = |share: f64| waits[(waits.len() as f64 * share) as usize];
    println!(
        "edit to observer, 100 observers, 50 edits: median {:.0} ms, p99 {:.0} ms",
        at(0.5),
        at(0.99)
    );
}
