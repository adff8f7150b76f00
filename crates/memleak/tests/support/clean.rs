//! The clean processes of the false-alarm table: a month of each at one sample a minute.

use super::MIB;
use super::noise::{Noise, noise, pink};
use super::random::Random;

/// The processes, in the order of the table.
pub const PROCESSES: [&str; 9] = [
    "iid",
    "ar1",
    "student_t3",
    "gc_sawtooth",
    "pink",
    "ou_1h",
    "ou_6h",
    "daily_cycle",
    DEEP_SAWTOOTH,
];

/// Teeth that fall by a third of the level, as a restart does: of a process that is known to live on.
pub const DEEP_SAWTOOTH: &str = "deep_sawtooth";

/// Seconds and bytes of `process` over `days` days at one sample a minute.
pub fn clean(process: &str, days: f64, seed: u64) -> Vec<(f64, u64)> {
    let random =
        &mut Random::new(seed ^ process.len() as u64 ^ u64::from(process.as_bytes()[0]) << 32);
    let n = (days * 1440.0) as usize;
    let flat = |values: Vec<f64>| values;
    let values: Vec<f64> = match process {
        "iid" => flat(noise(Noise::Gauss, 1.0, n, 60.0, random)),
        "ar1" => {
            let mut x = 0.0;
            (0..n)
                .map(|_| {
                    x = 0.95 * x + (1.0f64 - 0.95 * 0.95).sqrt() * 2.0 * random.normal();
                    x
                })
                .collect()
        }
        "student_t3" => (0..n).map(|_| 2.0 / 3f64.sqrt() * random.student3()).collect(),
        "gc_sawtooth" | DEEP_SAWTOOTH => {
            let height = if process == DEEP_SAWTOOTH { 150.0 } else { 60.0 };
            let period = random.log_between(5.0, 75.0);
            let phase = random.unit();
            (0..n)
                .map(|i| height * (i as f64 / period + phase).fract() + 0.5 * random.normal())
                .collect()
        }
        "pink" => pink(4.0, n, random),
        "ou_1h" => noise(Noise::Reverting(3600.0), 6.0, n, 60.0, random),
        "ou_6h" => noise(Noise::Reverting(6.0 * 3600.0), 10.0, n, 60.0, random),
        "daily_cycle" => {
            let phase = random.unit();
            let noise = noise(Noise::Gauss, 1.0, n, 60.0, random);
            let daily = |i: usize| (std::f64::consts::TAU * (i as f64 / 1440.0 + phase)).sin();
            noise.iter().enumerate().map(|(i, noise)| 20.0 * daily(i) + noise).collect()
        }
        _ => Vec::new(),
    };
    values
        .iter()
        .enumerate()
        .map(|(i, value)| (60.0 * i as f64, ((300.0 + value) * MIB).max(0.0) as u64))
        .collect()
}
