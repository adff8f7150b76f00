//! What a series does when nothing happens.

use super::random::Random;

/// A kind of noise of a given standard deviation.
#[derive(Clone, Copy, Debug)]
pub enum Noise {
    Gauss,
    Ar1,
    /// Mean-reverting, with this time constant in seconds.
    Reverting(f64),
    Student,
    /// Levels in steps, as an allocator that grows by arenas shows them.
    Steps,
}

/// `n` values with standard deviation about `deviation`, one each `interval` seconds.
pub fn noise(
    kind: Noise,
    deviation: f64,
    n: usize,
    interval: f64,
    random: &mut Random,
) -> Vec<f64> {
    let correlated = |rho: f64, random: &mut Random| {
        let fresh = (1.0 - rho * rho).sqrt();
        let mut x = random.normal();
        (0..n)
            .map(|_| {
                x = rho * x + fresh * random.normal();
                deviation * x
            })
            .collect()
    };
    match kind {
        Noise::Gauss => (0..n).map(|_| deviation * random.normal()).collect(),
        Noise::Student => (0..n).map(|_| 0.6 * deviation * random.student3()).collect(),
        Noise::Ar1 => correlated(random.between(0.5, 0.95), random),
        Noise::Reverting(tau) => correlated((-interval / tau).exp(), random),
        Noise::Steps => {
            let step = deviation * 1.5;
            (0..n).map(|_| (deviation * random.normal() / step).round() * step).collect()
        }
    }
}

/// Pink noise: a sum of octaves (Voss and McCartney's way), standard deviation about `deviation`.
pub fn pink(deviation: f64, n: usize, random: &mut Random) -> Vec<f64> {
    const OCTAVES: usize = 14;
    let mut held = [0.0; OCTAVES];
    for held in &mut held {
        *held = random.normal();
    }
    (0..n)
        .map(|i| {
            let which = (i + 1).trailing_zeros() as usize;
            if which < OCTAVES {
                held[which] = random.normal();
            }
            deviation * held.iter().sum::<f64>() / (OCTAVES as f64).sqrt()
        })
        .collect()
}
