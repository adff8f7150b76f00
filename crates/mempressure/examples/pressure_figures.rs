//! Measures the figures that this layer promises, in one process, and ends with 1 when one is not kept.
//!
//! `cargo run --release -p mempressure --example pressure_figures`
#![expect(clippy::print_stdout, reason = "a measurement that prints its results")]

use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use mempressure::{
    BudgetConfig, Cache, Caches, FnCache, Guard, GuardConfig, Level, Machine, Offer, Options,
    PressureConfig, Priority, Registration, Request, Rules, Signal, plan,
};
use memtrack::error::SourceError;
use memtrack::sampler::Sampler;
use memtrack::source::Source;
use memtrack::{Sample, Settings, Stamp, TrackConfig};

const RUNS: usize = 11;
const MIB: u64 = 1 << 20;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (step, planned) = (repeated(machine_step), repeated(plan_thousand));
    let (in_process, real) = (first_callback()?, real_pressure()?);
    let figures = [
        Figure { name: "Machine::step, median", unit: "ns", promised: 100.0, got: at(&step, 50) },
        Figure {
            name: "plan over 1000 caches, median",
            unit: "us",
            promised: 50.0,
            got: at(&planned, 50),
        },
        Figure {
            name: "sample to first callback, median",
            unit: "us",
            promised: 1_000.0,
            got: at(&in_process, 50),
        },
        Figure {
            name: "sample to first callback, p99",
            unit: "us",
            promised: f64::NAN,
            got: at(&in_process, 99),
        },
        Figure {
            name: "real growth to first callback, median",
            unit: "us",
            promised: f64::NAN,
            got: at(&real, 50),
        },
        Figure {
            name: "real growth to first callback, p99",
            unit: "us",
            promised: 20_000.0,
            got: at(&real, 99),
        },
    ];
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{RUNS} runs, {} and {} callbacks; load {}",
        in_process.len(),
        real.len(),
        load.split(' ').next().unwrap_or_default()
    );
    figures.iter().for_each(|figure| println!("{figure}"));
    let kept = figures.iter().all(Figure::is_kept);
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was measured, and the most that was promised; NaN where nothing was.
struct Figure {
    name: &'static str,
    unit: &'static str,
    promised: f64,
    got: f64,
}

impl Figure {
    fn is_kept(&self) -> bool {
        self.promised.is_nan() || self.got <= self.promised
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, promised, got } = self;
        write!(f, "{name:<38} {got:>9.1} {unit}")?;
        match (promised.is_nan(), self.is_kept()) {
            (true, _) => Ok(()),
            (false, true) => write!(f, "  of {promised:>7} {unit}  pass"),
            (false, false) => write!(f, "  of {promised:>7} {unit}  FAIL"),
        }
    }
}

/// Sorted results of so many runs.
fn repeated(run: impl Fn() -> f64) -> Vec<f64> {
    sorted((0..RUNS).map(|_| run()).collect())
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which so many hundredths of the sorted values lie.
fn at(sorted: &[f64], hundredths: usize) -> f64 {
    sorted.get(sorted.len() * hundredths / 100).copied().unwrap_or(f64::INFINITY)
}

fn micros(delay: Duration) -> f64 {
    delay.as_secs_f64() * 1e6
}

/// Nanoseconds for one step, over a walk in which all five signals vote.
///
/// As many samples as stay in the processor's cache, since a sample comes fresh from whoever took it.
fn machine_step() -> f64 {
    const SAMPLES: u64 = 400;
    const PASSES: u32 = 250;
    let (pressure, budget) = (PressureConfig::default(), BudgetConfig::default());
    let rules = Rules { pressure: &pressure, budget: &budget, generation: 0 };
    let mut noise = 1_u64;
    let samples: Vec<_> = (0..SAMPLES)
        .map(|tick| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let used = 500 + tick % 400 + (noise >> 60);
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_millis(10 * tick)));
            sample.system.total = Ok(1000 * MIB);
            sample.system.available = Ok((1000 - used) * MIB);
            sample.cgroup.limit = Ok(1000 * MIB);
            sample.cgroup.usage = Ok(used * MIB);
            sample.cgroup.inactive_file = Ok(10 * MIB);
            sample.cgroup.events.max = Ok(tick);
            sample.process.rss = Ok(used * MIB);
            sample.process.swap = Ok(0);
            sample.psi.some.avg10 = Ok(0.01);
            sample.psi.some.total_us = Ok(100 * tick);
            sample.psi.full.total_us = Ok(10 * tick);
            sample
        })
        .collect();
    let began = Instant::now();
    for _ in 0..PASSES {
        let mut machine = Machine::new();
        for sample in &samples {
            black_box(machine.step(&rules, black_box(sample)));
        }
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(PASSES) / samples.len() as f64
}

/// Microseconds for one plan that touches every cache.
fn plan_thousand() -> f64 {
    const PLANS: u32 = 200;
    let names: Vec<_> = (0..1000_u64).map(|i| format!("cache-{:03}", i * 7919 % 1000)).collect();
    let priorities = [Priority::Low, Priority::Normal, Priority::High];
    let offers: Vec<_> = names
        .iter()
        .zip(0_u64..)
        .map(|(name, i)| Offer {
            name,
            priority: priorities[(i * 31 % 3) as usize],
            // Many of the same size, so that names have to decide.
            used: (i * 7919 % 250 + 1) * MIB,
            ceiling: None,
            barred: false,
        })
        .collect();
    let pressure = PressureConfig::default();
    let request = Request {
        level: Level::Emergency,
        footprint: Ok(1 << 50),
        need: Some(1 << 50),
        pressure: &pressure,
    };
    let began = Instant::now();
    for _ in 0..PLANS {
        black_box(plan(black_box(&request), black_box(&offers)).total());
    }
    began.elapsed().as_secs_f64() * 1e6 / f64::from(PLANS)
}

/// Gives a sample over the threshold for each token, then one under it.
struct Steps {
    tokens: Receiver<()>,
    origin: Instant,
    sent: Sender<Instant>,
    over: bool,
}

impl Source for Steps {
    fn read(&mut self, _: &TrackConfig) -> Result<Sample, SourceError> {
        self.tokens.recv().map_err(|_| SourceError::Ended)?;
        self.over = !self.over;
        let used = if self.over { 960 } else { 100 };
        let mut sample = Sample::empty(Stamp::synthetic(self.origin.elapsed()));
        sample.cgroup.limit = Ok(1000 * MIB);
        sample.cgroup.usage = Ok(used * MIB);
        sample.process.rss = Ok(used * MIB);
        let _ = self.sent.try_send(Instant::now());
        Ok(sample)
    }
}

/// From a sample over the emergency threshold to the first callback: through the sampler's thread, the
/// guard's and the eviction thread. In microseconds, sorted.
fn first_callback() -> Result<Vec<f64>, Box<dyn Error>> {
    let (token, tokens) = bounded(1);
    let (sent, taken) = bounded(1);
    let (called, calls) = bounded(1);
    let source = Steps { tokens, origin: Instant::now(), sent, over: false };
    let interval = Some(Duration::from_millis(5));
    let track = TrackConfig { interval, ..TrackConfig::default() };
    let mut sampler = Sampler::new(source, Settings::fixed(track));
    let caches = Caches::new();
    let evict = move |target| {
        let _ = called.try_send(Instant::now());
        target
    };
    let _registered =
        caches.register(Registration::new("cache"), FnCache::new(|| Some(500 * MIB), evict));
    let settings = Settings::fixed(GuardConfig::default());
    let mut guard = Guard::spawn(sampler.newest(), settings, caches, Options::default())?;
    let events = guard.events();
    sampler.start()?;
    let mut delays = Vec::new();
    for _ in 0..400 {
        token.send(())?;
        let taken_at = taken.recv()?;
        let called_at = calls.recv()?;
        delays.push(micros(called_at.saturating_duration_since(taken_at)));
        // The sample below shows the outcome, and the next one above it is an emergency again.
        loop {
            token.send(())?;
            taken.recv()?;
            let outcome = events.receiver().recv_timeout(Duration::from_millis(200));
            if outcome.is_ok() {
                break;
            }
            token.send(())?;
            taken.recv()?;
        }
        while events.receiver().try_recv().is_ok() {}
    }
    drop(token);
    guard.stop();
    Ok(sorted(delays))
}

/// From the page that takes this process over the warning threshold of a limit to the first callback, in
/// microseconds, sorted.
///
/// It grows at 500 MiB/s from standstill, with samples 100 ms apart until the sampler sees that the headroom will not
/// last; each run begins somewhere else between two samples. The limit is made up, the memory and the samples are real.
#[cfg(target_os = "linux")]
fn real_pressure() -> Result<Vec<f64>, Box<dyn Error>> {
    use memtrack::source::{LinuxSource, Target};
    const GROWTHS: u64 = 300;
    /// Between the process at rest and the threshold: 240 ms of growth.
    const ROOM: u64 = 120 * MIB;
    let base = Duration::from_millis(100);
    let mut config = GuardConfig::default();
    config.pressure.signals = vec![Signal::Cgroup];
    let track = TrackConfig { interval: Some(base), ..TrackConfig::default() };
    let mut delays = Vec::new();
    for run in 0..GROWTHS {
        let threshold = memtrack::rss()? + ROOM;
        let limit = (threshold as f64 / config.pressure.thresholds.warning) as u64;
        let source = Limited { source: LinuxSource::open(&Target::Own)?, limit };
        let mut sampler = Sampler::new(source, Settings::fixed(track.clone()));
        let caches = Caches::new();
        let (growing, cache) = Growing::new();
        let _registered = caches.register(Registration::new("growing"), cache);
        let (settings, options) = (Settings::fixed(config.clone()), Options::default());
        let guard = Guard::spawn(sampler.newest(), settings, caches, options)?;
        sampler.start()?;
        std::thread::sleep(base + base.mul_f64((run * 37 % 100) as f64 / 100.0));
        delays.push(micros(growing.until_asked(threshold)?));
        drop((sampler, guard));
    }
    Ok(sorted(delays))
}

#[cfg(not(target_os = "linux"))]
fn real_pressure() -> Result<Vec<f64>, Box<dyn Error>> {
    Ok(Vec::new())
}

/// A source as it would be under a limit of so many bytes that nobody else shares.
struct Limited<S> {
    source: S,
    limit: u64,
}

impl<S: Source> Source for Limited<S> {
    fn read(&mut self, config: &TrackConfig) -> Result<Sample, SourceError> {
        let mut sample = self.source.read(config)?;
        let used = sample.process.rss;
        (sample.cgroup.limit, sample.cgroup.usage) = (Ok(self.limit), used);
        sample.cgroup.inactive_file = Ok(0);
        sample.cgroup.headroom = used.map(|used| self.limit.saturating_sub(used));
        Ok(sample)
    }
}

/// Owns what it caches and gives it up when asked, without a lock for which the guard would have to wait.
struct Growing {
    held: Arc<AtomicU64>,
    asked: Receiver<Instant>,
    given: Sender<u64>,
}

impl Growing {
    fn new() -> (Self, impl Cache) {
        let held = Arc::new(AtomicU64::new(0));
        let ((ask, asked), (given, gift)) = (bounded(1), bounded(1));
        let evict = move |_| {
            let _ = ask.try_send(Instant::now());
            gift.recv().unwrap_or(0)
        };
        let shown = Arc::clone(&held);
        let cache = FnCache::new(move || Some(shown.load(Ordering::Relaxed)), evict);
        (Self { held, asked, given }, cache)
    }

    /// Grows at 500 MiB/s, in steps of 64 KiB, until it is asked to give: how long that was after the step that crossed
    /// `threshold`. The kernel may map a huge page at its first touch, so it counts as crossed one such page early:
    /// delays come out long by 4 ms rather than short.
    ///
    /// One block, so large that the allocator maps it on its own: it leaves the process at once.
    fn until_asked(self, threshold: u64) -> Result<Duration, Box<dyn Error>> {
        const STEP: usize = 64 << 10;
        const HUGE: u64 = 2 * MIB;
        let beside = memtrack::rss()?;
        let mut block: Vec<u8> = Vec::with_capacity(800 << 20);
        let mut crossed = None;
        let began = Instant::now();
        loop {
            if let Ok(asked) = self.asked.try_recv() {
                // A sample may see a little more than was counted here, and the callback come before the step.
                let crossed = crossed.unwrap_or(asked);
                drop(block);
                let _ = self.given.try_send(self.held.load(Ordering::Relaxed));
                return Ok(asked.saturating_duration_since(crossed));
            }
            if began.elapsed().as_secs_f64() * 500.0 * (MIB as f64) < block.len() as f64 {
                std::thread::sleep(Duration::from_micros(100));
                continue;
            }
            if block.capacity() - block.len() < STEP {
                return Err("nobody asked for anything".into());
            }
            block.resize(block.len() + STEP, 1);
            // Nobody reads it, and what nobody reads need not be written.
            black_box(&mut block);
            let held = block.len() as u64;
            self.held.store(held, Ordering::Relaxed);
            if beside + held + HUGE >= threshold {
                crossed.get_or_insert_with(Instant::now);
            }
        }
    }
}
