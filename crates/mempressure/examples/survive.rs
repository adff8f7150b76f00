//! A service that fills a cache without bound beside steady work, guarded or not.
//!
//! `survive_bench` runs it under a real cgroup limit. Alone it shows what embedding the guard takes:
//! `cargo run --release -p mempressure --example survive -- --guard full --fill 50 --seconds 10`
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example that reports to its caller"
)]

use std::collections::VecDeque;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mempressure::{Advice, Cache, Caches, Guard, GuardConfig, Options, Priority, Registration};
use memtrack::sampler::Sampler;
use memtrack::{Settings, TrackConfig};

/// One cached item.
const CHUNK: usize = 256 * 1024;
/// Units of steady work that are due each second.
const WORK_PER_SECOND: u64 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse()?;
    if let Some(cgroup) = &arguments.cgroup {
        // Before anything is allocated, so that all of it is charged there.
        std::fs::write(format!("{cgroup}/cgroup.procs"), std::process::id().to_string())?;
    }
    let cache = Arc::new(ChunkCache::default());
    let guarding = match arguments.guard {
        Mode::None => None,
        Mode::Evict | Mode::Full => Some(Guarding::start(&cache, &arguments)?),
    };
    let advice = guarding
        .as_ref()
        .filter(|_| arguments.guard == Mode::Full)
        .map(|guarding| guarding.guard.advice());
    if arguments.cgroup.is_some() {
        cache.crossing.at.store(crossing()?, Ordering::Relaxed);
    }
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let (mut filled, mut work) = (Filled::default(), 0);
    thread::scope(|scope| {
        let filler = scope.spawn(|| fill(&cache, &arguments, advice.as_ref(), &stop));
        let worker = scope.spawn(|| steady_work(&stop));
        thread::sleep(arguments.seconds);
        stop.store(true, Ordering::Relaxed);
        filled = filler.join().unwrap_or_default();
        work = worker.join().unwrap_or_default();
    });
    let due = began.elapsed().as_secs_f64() * WORK_PER_SECOND as f64;
    let counters = guarding.map(|guarding| guarding.guard.status().counters).unwrap_or_default();
    // One line of `key=value` pairs for the driver.
    println!(
        "filled={} refused={} work={:.3} plans={} claimed={} measured={} unmeasured={} hangs={} delays_us={}",
        filled.bytes,
        filled.refused,
        (work as f64 / due).min(1.0),
        counters.plans,
        counters.claimed_bytes,
        counters.measured_bytes,
        counters.unmeasured,
        counters.hangs,
        cache.crossing.delays(),
    );
    Ok(())
}

/// Bytes in the cache that bring the cgroup to the critical threshold: what it holds beside the cache is read now,
/// while the cache is empty, so that the crossing can be told from the cache alone.
#[cfg(target_os = "linux")]
fn crossing() -> Result<u64, Box<dyn Error>> {
    use memtrack::source::{LinuxSource, Source, Target};
    let sample = LinuxSource::open(&Target::Own)?.read(&TrackConfig::default())?;
    let critical = mempressure::config::DEFAULT_THRESHOLDS.critical * sample.cgroup.limit? as f64;
    Ok((critical as u64).saturating_sub(sample.cgroup.working_set()?))
}

#[cfg(not(target_os = "linux"))]
fn crossing() -> Result<u64, Box<dyn Error>> {
    Err("needs Linux".into())
}

/// What it takes to embed the guard: a sampler, the caches, the guard.
struct Guarding {
    guard: Guard,
    _registered: mempressure::Registered,
    _sampler: Sampler,
}

impl Guarding {
    #[cfg(target_os = "linux")]
    fn start(cache: &Arc<ChunkCache>, arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        use memtrack::source::{LinuxSource, Target};
        let track = TrackConfig { interval: Some(arguments.interval), ..TrackConfig::default() };
        let source = LinuxSource::open(&Target::Own)?;
        let mut sampler = Sampler::new(source, Settings::fixed(track));
        let caches = Caches::new();
        let registration = Registration { priority: Priority::Low, ..Registration::new("chunks") };
        let registered = caches.register(registration, Arc::clone(cache));
        let mut config = GuardConfig::default();
        if arguments.aggressive {
            config.pressure.policy = mempressure::Policy::Aggressive;
        }
        let settings = Settings::fixed(config);
        let guard = Guard::spawn(sampler.newest(), settings, caches, Options::default())?;
        sampler.start()?;
        Ok(Self { guard, _registered: registered, _sampler: sampler })
    }

    #[cfg(not(target_os = "linux"))]
    fn start(_: &Arc<ChunkCache>, _: &Arguments) -> Result<Self, Box<dyn Error>> {
        Err("needs Linux".into())
    }
}

/// Everything that was ever put in, until somebody evicts.
#[derive(Default)]
struct ChunkCache {
    chunks: Mutex<VecDeque<Vec<u8>>>,
    bytes: AtomicU64,
    crossing: Crossing,
}

/// From the fill that takes memory over the critical threshold to the next call of the cache.
#[derive(Default)]
struct Crossing {
    /// Bytes in the cache at which memory reaches that threshold; 0 while nobody knows.
    at: AtomicU64,
    since: Mutex<Option<Instant>>,
    delays: Mutex<Vec<Duration>>,
}

impl Crossing {
    fn filled(&self, before: u64, after: u64) {
        let at = self.at.load(Ordering::Relaxed);
        if before < at && at <= after {
            lock(&self.since).get_or_insert_with(Instant::now);
        }
    }

    fn called(&self) {
        if let Some(since) = lock(&self.since).take() {
            lock(&self.delays).push(since.elapsed());
        }
    }

    /// In microseconds, comma separated.
    fn delays(&self) -> String {
        let delays = lock(&self.delays);
        let micros: Vec<_> = delays.iter().map(|delay| delay.as_micros().to_string()).collect();
        micros.join(",")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ChunkCache {
    fn put(&self, chunk: Vec<u8>) {
        let bytes = chunk.len() as u64;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.crossing.filled(before, before + bytes);
        lock(&self.chunks).push_back(chunk);
    }
}

impl Cache for ChunkCache {
    fn used(&self) -> Option<u64> {
        Some(self.bytes.load(Ordering::Relaxed))
    }

    fn evict(&self, target: u64) -> u64 {
        self.crossing.called();
        let mut freed = 0;
        while freed < target {
            // The lock is taken for each chunk, so that the service goes on meanwhile.
            let oldest = lock(&self.chunks).pop_front();
            let Some(chunk) = oldest else { break };
            freed += chunk.len() as u64;
        }
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
        // What crossed while this call made room was answered by it.
        lock(&self.crossing.since).take();
        freed
    }
}

#[derive(Default)]
struct Filled {
    bytes: u64,
    refused: u64,
}

/// Puts chunks into the cache at the rate asked for, late ones at once.
fn fill(
    cache: &ChunkCache,
    arguments: &Arguments,
    advice: Option<&Advice>,
    stop: &AtomicBool,
) -> Filled {
    let began = Instant::now();
    let mut filled = Filled::default();
    let mut due = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let target = (began.elapsed().as_secs_f64() * arguments.fill as f64 * 1_048_576.0) as u64;
        if due >= target {
            thread::sleep(Duration::from_micros(200));
            continue;
        }
        due += CHUNK as u64;
        if let Some(advice) = advice {
            match advice.try_reserve(CHUNK as u64) {
                Ok(permit) => permit.keep(),
                Err(_) => {
                    filled.refused += 1;
                    continue;
                }
            }
        }
        // Not zero, so that every page is really there.
        cache.put(vec![1; CHUNK]);
        filled.bytes += CHUNK as u64;
    }
    filled
}

/// A thousand checksums a second; returns how many were done.
fn steady_work(stop: &AtomicBool) -> u64 {
    let buffer = vec![7_u8; 16 * 1024];
    let began = Instant::now();
    let mut done = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * WORK_PER_SECOND as f64) as u64;
        if done >= due {
            thread::sleep(Duration::from_micros(500));
            continue;
        }
        let sum: u64 = buffer.iter().map(|byte| u64::from(*byte)).sum();
        std::hint::black_box(sum);
        done += 1;
    }
    done
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing watches.
    None,
    /// The guard evicts.
    Evict,
    /// The guard evicts, and the service asks before it allocates.
    Full,
}

struct Arguments {
    guard: Mode,
    aggressive: bool,
    /// MiB per second.
    fill: u64,
    seconds: Duration,
    interval: Duration,
    /// A cgroup to move to, with a limit; there it is also measured how soon the guard acts.
    cgroup: Option<String>,
}

impl Arguments {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut arguments = Self {
            guard: Mode::Full,
            aggressive: false,
            fill: 50,
            seconds: Duration::from_secs(10),
            interval: Duration::from_millis(5),
            cgroup: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            if name == "--aggressive" {
                arguments.aggressive = true;
                continue;
            }
            let value = words.next().ok_or(format!("`{name}` needs a value"))?;
            match name.as_str() {
                "--guard" => {
                    arguments.guard = match value.as_str() {
                        "none" => Mode::None,
                        "evict" => Mode::Evict,
                        "full" => Mode::Full,
                        _ => return Err("`--guard` is none, evict or full".into()),
                    };
                }
                "--fill" => arguments.fill = value.parse()?,
                "--seconds" => arguments.seconds = Duration::from_secs(value.parse()?),
                "--interval-ms" => arguments.interval = Duration::from_millis(value.parse()?),
                "--cgroup" => arguments.cgroup = Some(value),
                _ => {
                    eprintln!(
                        "options: --guard --aggressive --fill --seconds --interval-ms --cgroup"
                    );
                    return Err(format!("unknown option `{name}`").into());
                }
            }
        }
        Ok(arguments)
    }
}
