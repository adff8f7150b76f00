//! How often two runs that differ in nothing are called different, and how often a higher level is found:
//! `cargo run --release -p memleak --example pairs -- [PAIRS] [SEED]`.
//!
//! The noise is an Ornstein-Uhlenbeck process whose memory is a share of the run. The table stands on the front of
//! `memleak::compare`.
#![expect(clippy::print_stdout, reason = "an example that reports on the terminal")]

use std::error::Error;
use std::time::Duration;

use memleak::compare;

#[path = "../tests/support/mod.rs"]
mod support;
use support::random::Random;

const MEMORIES: [(&str, f64); 7] = [
    ("none", 0.0),
    ("1/100", 0.01),
    ("1/30", 1.0 / 30.0),
    ("1/10", 0.1),
    ("1/3", 1.0 / 3.0),
    ("1", 1.0),
    ("3", 3.0),
];
const LENGTHS: [u32; 3] = [100, 400, 2000];
/// In standard deviations of the noise.
const HIGHER: [f64; 4] = [2.0, 4.0, 10.0, 20.0];
const LEVEL: f64 = 1e9;
const DEVIATION: f64 = 1e6;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let pairs: u32 = arguments.next().map_or(Ok(2000), |text| text.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let mut random = Random::new(seed);
    println!("| memory | samples | level | growth | wanders | +2 sd | +4 sd | +10 sd | +20 sd |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (name, share) in MEMORIES {
        for samples in LENGTHS {
            let (mut level, mut growth, mut wanders) = (0, 0, 0);
            let mut found = [0; HIGHER.len()];
            for _ in 0..pairs {
                let (base, new) =
                    (run(share, samples, &mut random), run(share, samples, &mut random));
                let of = |by: f64| {
                    let shift = (by * DEVIATION) as u64;
                    compare(
                        base.iter().copied(),
                        new.iter().map(|(at, bytes)| (*at, bytes + shift)),
                    )
                    .ok_or("too few samples")
                };
                let same = of(0.0)?;
                level += u32::from(same.level.p < 0.05);
                growth += u32::from(same.growth.p < 0.05);
                wanders += u32::from(same.before.wanders || same.after.wanders);
                for (found, by) in found.iter_mut().zip(HIGHER) {
                    *found += u32::from(of(by)?.level.p < 0.05);
                }
            }
            let percent =
                |count: u32| format!("{:.1}", 100.0 * f64::from(count) / f64::from(pairs));
            let found = found.map(percent).join(" | ");
            println!(
                "| {name} | {samples} | {} | {} | {} | {found} |",
                percent(level),
                percent(growth),
                percent(wanders)
            );
        }
    }
    Ok(())
}

/// A run of so many samples, a second apart, whose noise remembers this share of it.
fn run(share: f64, samples: u32, random: &mut Random) -> Vec<(Duration, u64)> {
    let keep = if share > 0.0 { (-1.0 / (share * f64::from(samples))).exp() } else { 0.0 };
    let mut noise = random.normal();
    (0..samples)
        .map(|second| {
            let sample = (LEVEL + DEVIATION * noise) as u64;
            noise = keep * noise + (1.0 - keep * keep).sqrt() * random.normal();
            (Duration::from_secs(u64::from(second)), sample)
        })
        .collect()
}
