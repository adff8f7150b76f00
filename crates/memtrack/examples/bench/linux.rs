#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints, and has nobody to hand an error to"
)]

#[cfg(feature = "tracking")]
mod allocator;
mod large;
mod many;

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use memtrack::cgroup::Hierarchy;
use memtrack::processes::{Detail, ProcessId, Processes};
use memtrack::psi::Psi;
use memtrack::sampler::Sampler;
use memtrack::source::{LinuxMachine, LinuxSource, LinuxTarget, Source, Target};
use memtrack::{Absent, OwnRss, Sample, Settings, Tier, TrackConfig};

const ROUNDS: usize = 15;

/// One line of the table.
struct Row {
    what: &'static str,
    ours: String,
    rival: String,
    promise: String,
    kept: Option<bool>,
}

pub(crate) fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "hog") {
        return large::hog(args[1].parse().unwrap());
    }
    let mut rows = Vec::new();
    // First, while the heap is that of a program that has just begun.
    #[cfg(feature = "tracking")]
    allocator::tracking(&mut rows);
    own_rss(&mut rows);
    full_sample(&mut rows);
    added_memory(&mut rows);
    #[cfg(feature = "history")]
    history(&mut rows);
    cpu_per_tick(&mut rows);
    many::thousand_pids(&mut rows);
    many::thousand_targets(&mut rows);
    if args.iter().any(|arg| arg == "--long") {
        large::large_pss(&mut rows);
    }
    println!("| figure | memtrack | rival | promised | |");
    println!("|---|---|---|---|---|");
    for row in &rows {
        let verdict = match row.kept {
            Some(true) => "kept",
            Some(false) => "**broken**",
            None => "",
        };
        println!("| {} | {} | {} | {} | {verdict} |", row.what, row.ours, row.rival, row.promise);
    }
    println!();
    println!(
        "Processor time, as medians; ratios are medians of {ROUNDS} rounds in which both take turns."
    );
    let broken = rows.iter().any(|row| row.kept == Some(false));
    if broken && args.iter().any(|arg| arg == "--gate") {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn median<T: PartialOrd + Copy>(values: &mut [T]) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

/// Processor time of one call in nanoseconds: what the neighbours of a busy machine take in between does not count.
fn nanos(calls: u32, mut call: impl FnMut()) -> f64 {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let start = now();
    for _ in 0..calls {
        call();
    }
    (now() - start) / f64::from(calls)
}

/// Median cost of each and the median of their ratio; they take turns.
fn compare(calls: (u32, u32), mut ours: impl FnMut(), mut rival: impl FnMut()) -> (f64, f64, f64) {
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let one = nanos(calls.0, &mut ours);
        let other = nanos(calls.1, &mut rival);
        a.push(one);
        b.push(other);
        ratios.push(one / other);
    }
    (median(&mut a), median(&mut b), median(&mut ratios))
}

fn own_rss(rows: &mut Vec<Row>) {
    let own = OwnRss::open().unwrap();
    let statm = File::open("/proc/self/statm").unwrap();
    let page = rustix::param::page_size() as u64;
    let bare = || {
        let mut buffer = [0u8; 128];
        let length = statm.read_at(&mut buffer, 0).unwrap();
        let mut words = buffer[..length].split(|byte| *byte == b' ');
        let pages =
            words.nth(1).unwrap().iter().fold(0u64, |sum, byte| sum * 10 + u64::from(byte - b'0'));
        black_box(pages * page);
    };
    let (ours, rival, ratio) = compare(
        (20_000, 20_000),
        || {
            let _ = black_box(own.read());
        },
        bare,
    );
    rows.push(Row {
        what: "own RSS, one reading",
        ours: format!("{ours:.0} ns"),
        rival: format!("bare `pread` of statm: {rival:.0} ns, {ratio:.2}x"),
        promise: "at most 1.2x".into(),
        kept: Some(ratio <= 1.2),
    });
    let mut system = sysinfo::System::new();
    let pid = sysinfo::Pid::from_u32(std::process::id());
    let (ours, rival, ratio) = compare(
        (20_000, 500),
        || {
            let _ = black_box(own.read());
        },
        || {
            system.refresh_processes(sysinfo::ProcessesToUpdate::Some(&[pid]), true);
            black_box(system.process(pid).unwrap().memory());
        },
    );
    rows.push(Row {
        what: "own RSS, one reading",
        ours: format!("{ours:.0} ns"),
        rival: format!("sysinfo, one pid, default kinds: {rival:.0} ns, 1/{:.0}", 1.0 / ratio),
        promise: "at most 1/30".into(),
        kept: Some(ratio <= 1.0 / 30.0),
    });
    rows.push(psutil(&own, &statm));
    let one_call = nanos(20_000, || {
        let _ = black_box(memtrack::rss());
    });
    rows.push(Row {
        what: "`memtrack::rss()`, which opens the file",
        ours: format!("{one_call:.0} ns"),
        rival: String::new(),
        promise: String::new(),
        kept: None,
    });
}

/// Beside psutil, in rounds by turns; with what one bare `pread` would come to, since nothing can be cheaper.
fn psutil(own: &OwnRss, statm: &File) -> Row {
    let script = "import psutil,time,sys\np=psutil.Process()\nprint(psutil.__version__,flush=True)\nfor line in sys.stdin:\n\
                  \x20t=time.process_time_ns()\n for _ in range(5000): p.memory_info()\n\
                  \x20print((time.process_time_ns()-t)/5000,flush=True)";
    let promise = "at most 1/15".to_owned();
    let what = "own RSS, one reading";
    let python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let missing = || Row {
        what,
        ours: String::new(),
        rival: "psutil is not installed here".into(),
        promise: promise.clone(),
        kept: None,
    };
    let Ok(mut python) = python else { return missing() };
    let (mut ask, heard) = (python.stdin.take().unwrap(), python.stdout.take().unwrap());
    let mut lines = BufReader::new(heard).lines().map_while(Result::ok);
    let Some(version) = lines.next() else {
        let _ = python.wait();
        return missing();
    };
    let (mut ours, mut bare, mut rival) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(nanos(20_000, || {
            let _ = black_box(own.read());
        }));
        bare.push(nanos(20_000, || {
            black_box(statm.read_at(&mut [0u8; 128], 0).unwrap());
        }));
        writeln!(ask, "go").unwrap();
        rival.push(lines.next().unwrap().parse::<f64>().unwrap());
    }
    drop(ask);
    let _ = python.wait();
    let (ours, bare, rival) = (median(&mut ours), median(&mut bare), median(&mut rival));
    Row {
        what,
        ours: format!("{ours:.0} ns"),
        rival: format!(
            "psutil {version} `memory_info`: {rival:.0} ns, 1/{:.1}; one bare `pread`, {bare:.0} ns, would be 1/{:.1}",
            rival / ours,
            rival / bare
        ),
        promise,
        kept: Some(rival / ours >= 15.0),
    }
}

/// What a bare `pread` of statm costs here in microseconds, and how many times as much as the 0.3 us for which the
/// promises in plain time were made: how fast machines answer differs by more than those leave room for.
fn slower() -> (f64, f64) {
    let statm = File::open("/proc/self/statm").unwrap();
    let round = || {
        nanos(5000, || {
            black_box(statm.read_at(&mut [0u8; 128], 0).unwrap());
        }) / 1000.0
    };
    let pread = median(&mut (0..ROUNDS).map(|_| round()).collect::<Vec<_>>());
    (pread, (pread / 0.3).max(1.0))
}

fn full_sample(rows: &mut Vec<Row>) {
    let config = TrackConfig::default();
    let root = Path::new("/");
    let (mut source, files) = files_of(|| LinuxSource::open(&Target::Own).unwrap());
    let first = source.read(&config).unwrap();
    let held = |file: &PathBuf| (file.clone(), File::open(file).unwrap());
    let every: Vec<(PathBuf, File)> = files.iter().map(held).collect();
    let on_each_tick: Vec<&File> = every
        .iter()
        .filter(|(path, _)| !is_read_once_a_second(path, &first))
        .map(|(_, file)| file)
        .collect();
    let mut buffer = [0u8; 8192];
    let (pread, slower) = slower();
    let limit = 15_000.0 * slower;
    let row = |what, files: usize, (ours, rival, ratio): (f64, f64, f64)| Row {
        what,
        ours: format!("{:.1} us, {:.1} us above the floor", ours / 1000.0, (ours - rival) / 1000.0),
        rival: format!(
            "floor, bare `pread` of {files} files: {:.1} us, {ratio:.2}x",
            rival / 1000.0
        ),
        promise: format!(
            "at most 15 us: {}. Where a `pread` of statm costs 0.3 us, that is; here {pread:.2} us, so at most {:.0} us",
            if ours <= 15_000.0 {
                "met".to_owned()
            } else {
                format!("**not met here**, the bare reads alone take {:.1} us", rival / 1000.0)
            },
            limit / 1000.0
        ),
        kept: Some(ours <= limit),
    };
    // What the first sample of each second reads on top, by the same code, without the limits, which both read.
    let mut hierarchy = Hierarchy::open(root, "self").ok();
    let psi = Psi::open(root).ok();
    let twice = Hierarchy::open(root, "self").ok().map_or(0.0, |hierarchy| {
        let round = || {
            nanos(500, || {
                black_box(hierarchy.is_unlimited(first.system.total));
            })
        };
        median(&mut (0..ROUNDS).map(|_| round()).collect::<Vec<_>>())
    });
    let (ours, rival, _) = compare(
        (500, 500),
        || {
            let sample = source.read(&config).unwrap();
            if let Some(hierarchy) = &mut hierarchy {
                let _ = black_box(hierarchy.refresh());
                black_box(hierarchy.read(sample.system.total));
            }
            black_box(psi.as_ref().map(Psi::read));
        },
        || {
            for (_, file) in &every {
                black_box(file.read_at(&mut buffer, 0).unwrap_or(0));
            }
        },
    );
    rows.push(row(
        "full sample: process, machine, cgroup chain, PSI; once a second",
        every.len(),
        (ours - twice, rival, (ours - twice) / rival),
    ));
    let figures = compare(
        (1000, 1000),
        || {
            let _ = black_box(source.read(&config));
        },
        || {
            for file in &on_each_tick {
                black_box(file.read_at(&mut buffer, 0).unwrap_or(0));
            }
        },
    );
    rows.push(row("a sample in between", on_each_tick.len(), figures));
    println!("| file of a full sample | one `pread` | read |");
    println!("|---|---:|---|");
    for (path, file) in &every {
        let round = || nanos(500, || drop(black_box(file.read_at(&mut buffer, 0))));
        let mut rounds: Vec<f64> = (0..ROUNDS)
            .map({
                let mut round = round;
                move |_| round()
            })
            .collect();
        let once = is_read_once_a_second(path, &first);
        let when = if once { "once a second" } else { "each time" };
        println!("| `{}` | {:.2} us | {when} |", anonymous(path), median(&mut rounds) / 1000.0);
    }
    println!();
    let config = TrackConfig { tier: Tier::Development, ..config };
    let development = nanos(5000, || {
        let _ = black_box(source.read(&config));
    });
    rows.push(Row {
        what: "a sample in between, development tier",
        ours: format!("{:.1} us", development / 1000.0),
        rival: String::new(),
        promise: String::new(),
        kept: None,
    });
    let own = [ProcessId::own().unwrap()];
    let rollup = File::open("/proc/self/smaps_rollup").unwrap();
    let (ours, rival, ratio) = compare(
        (20, 20),
        || drop(black_box(memtrack::mappings::read(root, &own))),
        || drop(black_box(rollup.read_at(&mut buffer, 0))),
    );
    rows.push(Row {
        what: "mappings of this process, one reading",
        ours: format!("{:.0} us", ours / 1000.0),
        rival: format!("bare `pread` of `smaps_rollup`: {:.0} us, {ratio:.1}x", rival / 1000.0),
        promise: "paid from the budget of PSS".into(),
        kept: None,
    });
}

/// What cannot change the course of things between two ticks is asked once a second; where nothing is limited, that is
/// all of the cgroups but their limits.
fn is_read_once_a_second(file: &Path, sample: &Sample) -> bool {
    let name = file.file_name().unwrap().to_string_lossy();
    let is_limit = name.contains("limit") || name == "memory.max" || name == "memory.high";
    let is_cgroup = name.starts_with("memory.");
    name == "cgroup"
        || file.ends_with("pressure/memory")
        || sample.cgroup.limit == Err(Absent::Unlimited) && is_cgroup && !is_limit
}

fn anon_kib() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn added_memory(rows: &mut Vec<Row>) {
    let before = anon_kib();
    let config = TrackConfig { interval: Some(Duration::from_secs(1)), ..TrackConfig::default() };
    let source = LinuxSource::open(&Target::Own).unwrap();
    let mut sampler = Sampler::new(source, Settings::fixed(config));
    let newest = sampler.newest();
    sampler.start().unwrap();
    for _ in 0..4 {
        newest.bell().recv().unwrap();
    }
    let added = anon_kib() - before;
    let helper = thread_stat("memtrack-psi");
    rows.push(Row {
        what: "private memory added by an embedded sampler at 1 Hz",
        ours: format!("{added} KiB"),
        rival: String::new(),
        promise: "at most 256 KiB".into(),
        kept: Some(added <= 256),
    });
    rows.push(Row {
        what: "the thread that waits for stalls, in those seconds",
        ours: match helper {
            Some((nanos, slices)) => {
                format!("{:.0} us of processor time, {slices} times run", nanos as f64 / 1000.0)
            }
            None => "the kernel grants no trigger here".into(),
        },
        rival: String::new(),
        promise: String::new(),
        kept: None,
    });
}

/// What 24 h at 1 s take, of a figure that wanders between 1 and 2 GiB.
#[cfg(feature = "history")]
fn history(rows: &mut Vec<Row>) {
    use memtrack::history::History;
    let before = anon_kib();
    let mut history = History::new(Duration::from_secs(86_400));
    let mut state = 1u64;
    let cost = nanos(1, || {
        for second in 0..2 * 86_400 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            history.push(Duration::from_secs(second), (1 << 30) + (state >> 34));
        }
    });
    let added = anon_kib() - before;
    black_box(history.statistics());
    rows.push(Row {
        what: "history of one figure, 24 h at 1 s",
        ours: format!("{added} KiB, {:.0} ns for each value", cost / (2.0 * 86_400.0)),
        rival: String::new(),
        promise: "at most 2 MiB".into(),
        kept: Some(added <= 2048),
    });
}

/// Nanoseconds of processor time of the thread `name`, and how often it was run, by the scheduler's account.
fn thread_stat(name: &str) -> Option<(u64, u64)> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let thread = tasks
        .flatten()
        .map(|task| task.path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    let schedstat = fs::read_to_string(thread?.join("schedstat")).unwrap();
    let mut words = schedstat.split_whitespace().map(|word| word.parse().unwrap());
    Some((words.next()?, words.nth(1)?))
}

fn thread_cpu(name: &str) -> u64 {
    thread_stat(name).unwrap().0
}

/// The same of this thread.
fn own_cpu() -> u64 {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split_whitespace().next().unwrap().parse().unwrap()
}

/// The files that a source holds.
fn files_of(open: impl FnOnce() -> LinuxSource) -> (LinuxSource, Vec<PathBuf>) {
    let list = || -> Vec<PathBuf> {
        let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
    };
    let before = list();
    let source = open();
    let mut files: Vec<PathBuf> = list();
    files.retain(|file| file.is_file() && !before.contains(file));
    // Compressed swap is not asked about where there is no swap.
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let no_swap =
        meminfo.lines().any(|line| line.starts_with("SwapTotal:") && line.ends_with(" 0 kB"));
    files.retain(|file| !(no_swap && file.ends_with("mm_stat")));
    // Of an ancestor without a limit, and of all above the own cgroup, only what decides is read.
    let depth = |file: &PathBuf| file.components().count();
    let deepest = files.iter().filter(|file| is_usage(file)).map(depth).max();
    files.retain(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let ancestor = name.starts_with("memory.") && Some(depth(file)) != deepest;
        !ancestor || name.contains("limit") || name == "memory.max" || name == "memory.high"
    });
    (source, files)
}

fn is_usage(file: &Path) -> bool {
    file.ends_with("memory.usage_in_bytes") || file.ends_with("memory.current")
}

fn cpu_per_tick(rows: &mut Vec<Row>) {
    const WATCH: Duration = Duration::from_secs(10);
    let interval = Duration::from_millis(100);
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let id = ProcessId::read(Path::new("/"), child.id()).unwrap();
    let (mut ours, mut rival, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut read = 0;
    for _ in 0..3 {
        let (mut source, files) = files_of(|| LinuxSource::open(&Target::Process(id)).unwrap());
        let sample = source.read(&TrackConfig::default()).unwrap();
        read = files.len();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let bare = thread::Builder::new().name("bare".into()).spawn(move || {
            let held =
                |file: &PathBuf| (File::open(file).unwrap(), is_read_once_a_second(file, &sample));
            let files: Vec<(File, bool)> = files.iter().map(held).collect();
            let mut buffer = [0u8; 4096];
            let mut deadline = Instant::now();
            for tick in 0u64.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                for (file, once_a_second) in &files {
                    if !once_a_second || tick % 10 == 0 {
                        black_box(file.read_at(&mut buffer, 0).unwrap_or(0));
                    }
                }
                deadline += interval;
                thread::sleep(deadline.saturating_duration_since(Instant::now()));
            }
        });
        let config = TrackConfig { interval: Some(interval), ..TrackConfig::default() };
        let mut sampler = Sampler::new(source, Settings::fixed(config));
        sampler.start().unwrap();
        thread::sleep(Duration::from_secs(1));
        let (a, b) = (thread_cpu("memtrack"), thread_cpu("bare"));
        thread::sleep(WATCH);
        let (a, b) = (thread_cpu("memtrack") - a, thread_cpu("bare") - b);
        stop.store(true, Ordering::Relaxed);
        bare.unwrap().join().unwrap();
        drop(sampler);
        let ticks = WATCH.as_secs_f64() / interval.as_secs_f64();
        ours.push(a as f64 / ticks / 1000.0);
        rival.push(b as f64 / ticks / 1000.0);
        ratios.push(a as f64 / b as f64);
    }
    let _ = child.kill();
    let _ = child.wait();
    let ratio = median(&mut ratios);
    rows.push(Row {
        what: "processor time for one tick at 10 Hz, one pid, wake-up included",
        ours: format!("{:.1} us", median(&mut ours)),
        rival: format!(
            "bare loop that reads the same {read} files as often: {:.1} us, {ratio:.2}x",
            median(&mut rival)
        ),
        promise: "at most 1.5x".into(),
        kept: Some(ratio <= 1.5),
    });
}

/// A path without what only this run or this machine calls so: numbers of processes, names of cgroups.
fn anonymous(path: &Path) -> String {
    let cgroup = path.starts_with("/sys/fs/cgroup");
    let depth = path.components().count();
    let shown = path.components().enumerate().map(|(at, part)| {
        let part = part.as_os_str().to_string_lossy();
        let of_a_cgroup = cgroup && at > 4 && at + 1 < depth;
        if of_a_cgroup {
            "CGROUP".to_owned()
        } else if part.bytes().all(|byte| byte.is_ascii_digit()) {
            "PID".to_owned()
        } else {
            part.into_owned()
        }
    });
    shown.collect::<Vec<_>>().join("/").replacen("//", "/", 1)
}
