//! Measures the figures that this layer promises: medians over several runs in one process.
//!
//! `cargo run --release -p mempressure --example figures`
#![expect(clippy::print_stdout, reason = "a measurement that prints its results")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use mempressure::{
    BudgetConfig, Caches, FnCache, Guard, GuardConfig, Level, Machine, Offer, Options,
    PressureConfig, Priority, Registration, Request, Rules, plan,
};
use memtrack::error::SourceError;
use memtrack::sampler::Sampler;
use memtrack::source::Source;
use memtrack::{Sample, Settings, Stamp, TrackConfig};

const RUNS: usize = 11;
const MIB: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    report("Machine::step", 100.0, "ns", machine_step);
    report("plan over 1000 caches", 50.0, "us", plan_thousand);
    let mut delays = first_callback()?;
    delays.sort_unstable();
    let micros = |delay: &Duration| delay.as_secs_f64() * 1e6;
    let (median, p99) = (&delays[delays.len() / 2], &delays[delays.len() * 99 / 100]);
    println!(
        "sample to first callback   median {:8.1} us, p99 {:8.1} us over {} plans (promised: median 1000 us)",
        micros(median),
        micros(p99),
        delays.len()
    );
    Ok(())
}

fn report(name: &str, promised: f64, unit: &str, run: impl Fn() -> f64) {
    let mut runs: Vec<_> = (0..RUNS).map(|_| run()).collect();
    runs.sort_by(f64::total_cmp);
    println!(
        "{name:<26} median {:8.1} {unit}, least {:.1}, most {:.1} over {RUNS} runs (promised: {promised} {unit})",
        runs[RUNS / 2],
        runs[0],
        runs[RUNS - 1]
    );
}

/// Nanoseconds for one step, over a walk in which all five signals vote.
///
/// As many samples as stay in the processor's cache, since a sample comes fresh from whoever took it.
fn machine_step() -> f64 {
    const SAMPLES: u64 = 1_000;
    const PASSES: u32 = 100;
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
/// guard's and the eviction thread.
fn first_callback() -> Result<Vec<Duration>, Box<dyn Error>> {
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
        delays.push(called_at.saturating_duration_since(taken_at));
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
    Ok(delays)
}
