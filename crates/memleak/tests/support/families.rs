//! The families of traces. Each says what it is made of; ranges are wide, so that no rule can be fitted to one of them.

use std::f64::consts::TAU;

use super::noise::{Noise, noise, pink};
use super::random::Random;
use super::{HOUR, MIB, Trace};

/// Families that leak.
pub const LEAKING: [&str; 17] = [
    "linear",
    "late_onset",
    "staircase",
    "gc_rising_floor",
    "diurnal_leak",
    "accelerating",
    "sqrt_like",
    "restarts_leak",
    "cache_evict_leak",
    "bursty_leak",
    "messy_leak",
    "warmup_then_leak",
    "day_only_leak",
    "two_speeds",
    "pink_leak",
    "fill_then_leak",
    "random_gc_leak",
];
/// Families that do not.
pub const CLEAN: [&str; 20] = [
    "flat",
    "warmup_exp",
    "warmup_logistic",
    "cache_fill_cap",
    "gc_sawtooth",
    "ou_reverting",
    "diurnal_flat",
    "step_up",
    "batch_updown",
    "frag_saturating",
    "growth_stops",
    "release",
    "one_outlier",
    "heavy_bursts",
    "two_steps",
    "slow_swing",
    "two_fills",
    "halving_steps",
    "random_gc",
    "weekly",
];

/// Everything about a trace but its family's curve.
struct Setting {
    n: usize,
    interval: f64,
    duration: f64,
    base: f64,
    deviation: f64,
    kind: Noise,
}

fn setting(random: &mut Random, least_hours: f64) -> Setting {
    let hours = loop {
        let hours = random.pick(&[1.5, 3.0, 6.0, 12.0, 24.0, 48.0, 72.0]);
        if hours >= least_hours {
            break hours;
        }
    };
    let intervals: &[f64] = if hours <= 3.0 {
        &[5.0, 10.0, 30.0, 60.0]
    } else if hours <= 24.0 {
        &[10.0, 30.0, 60.0]
    } else {
        &[30.0, 60.0]
    };
    let interval = random.pick(intervals);
    let duration = hours * HOUR;
    let tau = random.log_between(60.0, 0.02 * duration + 61.0);
    let kind = random.pick(&[
        Noise::Gauss,
        Noise::Ar1,
        Noise::Reverting(tau),
        Noise::Student,
        Noise::Steps,
    ]);
    Setting {
        n: (duration / interval) as usize,
        interval,
        duration,
        base: random.log_between(30.0, 1500.0),
        deviation: random.log_between(0.15, 2.5),
        kind,
    }
}

/// MiB leaked by the end: most just above what is fair to ask, the rest fast.
fn size(setting: &Setting, swing: f64, hours: f64, random: &mut Random) -> f64 {
    let fair = 14f64.max(9.0 * setting.deviation).max(swing);
    if random.unit() < 0.6 {
        fair * random.log_between(1.1, 3.0)
    } else {
        (random.log_between(5.0, 400.0) * hours).max(fair)
    }
}

fn saw(i: usize, period: f64, phase: f64) -> f64 {
    (i as f64 / period + phase).fract()
}

/// Levels in 0 to 1 of a heap with collections at random times.
fn random_saw(n: usize, period: f64, random: &mut Random) -> Vec<f64> {
    let mut left = random.between(0.3, 1.5) * period;
    let (mut level, mut out) = (0.0, Vec::with_capacity(n));
    for _ in 0..n {
        level += 1.0 / period;
        left -= 1.0;
        if left <= 0.0 {
            level *= random.between(0.0, 0.15);
            left = random.between(0.3, 1.5) * period;
        }
        out.push(level);
    }
    out
}

/// Trace `number` of a family.
pub fn trace(family: &'static str, seed: u64, number: u64) -> Trace {
    let tag =
        family.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let random = &mut Random::new(tag.wrapping_mul(1_000_003).wrapping_add(number));
    let least = match family {
        "diurnal_leak" | "diurnal_flat" | "day_only_leak" | "weekly" => 48.0,
        _ => 1.5,
    };
    let mut s = setting(random, least);
    if family == "weekly" {
        s.duration = 14.0 * 24.0 * HOUR;
        s.interval = 120.0;
        s.n = (s.duration / s.interval) as usize;
    }
    let (n, d) = (s.n, s.duration);
    let hours = d / HOUR;
    let u = |i: usize| i as f64 / n as f64;
    let mut benign = vec![0.0; n];
    let mut leak = vec![0.0; n];
    let (mut onset, mut ambiguous) = (0.0, None);
    let mut end_rate = None;
    match family {
        "linear" | "pink_leak" | "messy_leak" => {
            let total = size(&s, 0.0, hours, random);
            for i in 0..n {
                leak[i] = total * u(i);
            }
            if family == "pink_leak" {
                benign = pink(total / 14.0, n, random);
            }
        }
        "late_onset" => {
            let at = random.between(0.2, 0.55);
            let total = size(&s, 0.0, hours * (1.0 - at), random);
            onset = at * d;
            for i in 0..n {
                leak[i] = total * ((u(i) - at) / (1.0 - at)).max(0.0);
            }
        }
        "staircase" => {
            let steps = random.between(15.0, 60.0).floor();
            let total = size(&s, 0.0, hours, random);
            for i in 0..n {
                leak[i] = total * (u(i) * steps).floor() / steps;
            }
        }
        "gc_rising_floor" | "random_gc_leak" => {
            let swing = random.log_between(3.0, 40.0);
            let total = size(&s, 1.5 * swing, hours, random);
            let period = n as f64 / random.between(12.0, 60.0);
            let wild = random_saw(n, period, random);
            for i in 0..n {
                let saw = if family == "random_gc_leak" { wild[i] } else { saw(i, period, 0.0) };
                benign[i] = swing * saw;
                leak[i] = total * u(i);
            }
        }
        "diurnal_leak" | "diurnal_flat" | "weekly" => {
            let swing = random.log_between(8.0, 60.0);
            let phase = random.unit();
            let total = size(&s, 1.6 * swing, hours, random);
            let days = d / 86_400.0;
            for i in 0..n {
                let day = days * u(i) + phase;
                let sharp = (TAU * day).sin();
                let weekday = if family == "weekly" && (day % 7.0) > 5.0 { 0.25 } else { 1.0 };
                benign[i] = weekday * swing / 2.0 * (sharp + 1.0);
                if family == "diurnal_leak" {
                    leak[i] = total * u(i);
                }
            }
            if family != "diurnal_leak" {
                ambiguous = Some(30.0 * HOUR);
            }
            if family == "weekly" {
                ambiguous = Some(7.5 * 24.0 * HOUR);
            }
        }
        "day_only_leak" => {
            let phase = random.unit();
            let total = size(&s, 0.0, hours, random);
            let (mut sum, days) = (0.0, d / 86_400.0);
            for i in 0..n {
                sum += (TAU * (days * u(i) + phase)).sin().max(0.0);
                leak[i] = sum;
            }
            for leak in &mut leak {
                *leak *= total / sum;
            }
        }
        "accelerating" => {
            let power = random.between(1.5, 2.6);
            let total = size(&s, 0.0, hours, random);
            for i in 0..n {
                leak[i] = total * u(i).powf(power);
            }
            end_rate = Some(total * power / hours);
        }
        "sqrt_like" => {
            let power = random.between(0.5, 0.75);
            let total = size(&s, 0.0, hours, random);
            for i in 0..n {
                leak[i] = total * u(i).powf(power);
            }
            end_rate = Some(total * power / hours);
        }
        "restarts_leak" => {
            let lives = 1 + random.next() % 4;
            let total = size(&s, 0.5 * s.base, hours, random);
            let mut cuts: Vec<f64> = (0..lives).map(|_| random.between(0.1, 0.8)).collect();
            cuts.sort_by(f64::total_cmp);
            for i in 0..n {
                let born = cuts.iter().rev().find(|cut| **cut <= u(i)).copied().unwrap_or(0.0);
                leak[i] = total * u(i);
                benign[i] = -total * born;
            }
        }
        "cache_evict_leak" => {
            let swing = random.log_between(4.0, 30.0);
            let total = size(&s, 1.5 * swing, hours, random);
            let period = n as f64 / random.between(4.0, 14.0);
            for i in 0..n {
                benign[i] = swing * saw(i, period, 0.0).min(0.8);
                leak[i] = total * u(i);
            }
        }
        "bursty_leak" => {
            let total = size(&s, 0.0, hours, random);
            let bursts = random.between(25.0, 90.0);
            let mut sum = 0.0;
            for leak in &mut leak {
                if random.unit() < bursts / n as f64 {
                    sum += random.exponential(1.0);
                }
                *leak = sum;
            }
            for leak in &mut leak {
                *leak *= total / sum.max(1e-9);
            }
        }
        "warmup_then_leak" => {
            let up = random.log_between(20.0, 150.0);
            let tau = random.between(0.01, 0.06);
            let total = size(&s, 0.0, hours, random).max(0.4 * up);
            for i in 0..n {
                benign[i] = up * (1.0 - (-u(i) / tau).exp());
                leak[i] = total * u(i);
            }
        }
        "fill_then_leak" => {
            let up = random.log_between(20.0, 150.0);
            let full = random.between(0.05, 0.2);
            let at = full + random.between(0.05, 0.3);
            let total = size(&s, 0.0, hours * (1.0 - at), random).max(0.3 * up);
            onset = at * d;
            ambiguous = Some(full * d);
            for i in 0..n {
                benign[i] = up * (u(i) / full).min(1.0);
                leak[i] = total * ((u(i) - at) / (1.0 - at)).max(0.0);
            }
        }
        "two_speeds" => {
            let total = size(&s, 0.0, hours, random);
            let (at, slow) = (random.between(0.3, 0.6), random.between(0.1, 0.4));
            for i in 0..n {
                let x = u(i);
                leak[i] = total * (slow * x + (1.0 - slow) * ((x - at) / (1.0 - at)).max(0.0));
            }
            end_rate = Some(total * (slow + (1.0 - slow) / (1.0 - at)) / hours);
        }
        "warmup_exp" => {
            let (up, tau) = (random.log_between(20.0, 300.0), random.between(0.015, 0.1));
            ambiguous = Some((3.0 * tau * d).max(1200.0));
            for i in 0..n {
                benign[i] = up * (1.0 - (-u(i) / tau).exp());
            }
        }
        "warmup_logistic" => {
            let (up, mid) = (random.log_between(20.0, 300.0), random.between(0.06, 0.2));
            let width = mid * random.between(0.15, 0.3);
            ambiguous = Some((mid + 3.0 * width) * d);
            for i in 0..n {
                benign[i] = up / (1.0 + (-(u(i) - mid) / width).exp());
            }
        }
        "cache_fill_cap" => {
            let (up, full) = (random.log_between(20.0, 500.0), random.between(0.1, 0.45));
            ambiguous = Some(full * d);
            for i in 0..n {
                benign[i] = up * (u(i) / full).min(1.0);
            }
        }
        "gc_sawtooth" | "random_gc" => {
            let swing = random.log_between(5.0, 120.0);
            // Fewer teeth than this are the restarts of `restarts_leak`: no size could tell the two apart.
            let period = n as f64 / random.log_between(12.0, 200.0);
            let wild = random_saw(n, period, random);
            let phase = random.unit();
            for i in 0..n {
                benign[i] =
                    swing * if family == "random_gc" { wild[i] } else { saw(i, period, phase) };
            }
        }
        "ou_reverting" => {
            let tau = random.between(0.01, 0.08) * d;
            benign =
                noise(Noise::Reverting(tau), random.log_between(2.0, 12.0), n, s.interval, random);
        }
        "step_up" => {
            let (up, at) = (random.log_between(10.0, 200.0), random.between(0.1, 0.8));
            ambiguous = Some(at * d + 600.0);
            for i in 0..n {
                benign[i] = if u(i) > at { up } else { 0.0 };
            }
        }
        "two_steps" | "halving_steps" => {
            let up = random.log_between(10.0, 150.0);
            let steps = if family == "two_steps" { 2 } else { 5 };
            let (mut at, mut gap) = (random.between(0.05, 0.3), random.between(0.04, 0.12));
            let mut height = up;
            for _ in 0..steps {
                for i in 0..n {
                    benign[i] += if u(i) > at { height } else { 0.0 };
                }
                ambiguous = Some(at * d + 600.0);
                at += gap;
                gap *= 1.15;
                height *= if family == "two_steps" { random.between(0.5, 1.5) } else { 0.5 };
            }
        }
        "batch_updown" => {
            let up = random.log_between(20.0, 300.0);
            for _ in 0..1 + random.next() % 5 {
                let (at, long) = (random.between(0.0, 0.9), random.between(0.02, 0.09));
                let ramp = random.between(0.1, 0.9);
                for i in 0..n {
                    let x = (u(i) - at) / long;
                    if (0.0..1.0).contains(&x) {
                        benign[i] += up * (x / ramp).min(1.0);
                    }
                }
            }
        }
        "frag_saturating" => {
            let (up, tau) = (random.log_between(20.0, 150.0), random.between(0.02, 0.1));
            ambiguous = Some(2.5 * tau * d + 1800.0);
            for i in 0..n {
                benign[i] = up * (1.0 - (1.0 + u(i) / tau).powf(-1.5));
            }
        }
        "growth_stops" => {
            let up = random.log_between(15.0, 200.0);
            let (from, to) = (random.between(0.1, 0.4), random.between(0.45, 0.62));
            ambiguous = Some(to * d);
            for i in 0..n {
                benign[i] = up * ((u(i) - from) / (to - from)).clamp(0.0, 1.0);
            }
        }
        "two_fills" => {
            let up = random.log_between(20.0, 120.0);
            let (a, b) = (random.between(0.05, 0.15), random.between(0.3, 0.5));
            let long = random.between(0.05, 0.15);
            ambiguous = Some((b + long) * d);
            for i in 0..n {
                benign[i] =
                    up * (u(i) / a).min(1.0) + 0.7 * up * ((u(i) - b) / long).clamp(0.0, 1.0);
            }
        }
        "release" => {
            let (down, at) = (s.base * random.between(0.04, 0.6), random.between(0.2, 0.7));
            for i in 0..n {
                benign[i] = -down * ((u(i) - at) / 0.1).clamp(0.0, 1.0);
            }
        }
        "slow_swing" => {
            let (swing, turns) = (random.log_between(5.0, 80.0), random.between(2.2, 6.0));
            let phase = random.unit();
            ambiguous = Some(1.2 / turns * d);
            for i in 0..n {
                let x = (turns * u(i) + phase).fract();
                benign[i] = swing * if x < 0.6 { x / 0.6 } else { (1.0 - x) / 0.4 };
            }
        }
        "one_outlier" => {
            let at = (random.unit() * n as f64) as usize;
            let long = 1 + (random.next() % 3) as usize;
            for benign in benign.iter_mut().skip(at).take(long) {
                *benign = random.log_between(50.0, 2000.0);
            }
        }
        "heavy_bursts" => {
            let up = random.log_between(10.0, 200.0);
            let mut left = 0.0;
            for benign in &mut benign {
                if left <= 0.0 && random.unit() < 20.0 / n as f64 {
                    left = random.exponential(0.006 * n as f64);
                }
                left -= 1.0;
                *benign = if left > 0.0 { up } else { 0.0 };
            }
        }
        _ => {}
    }
    let noise = noise(s.kind, s.deviation, n, s.interval, random);
    let mut samples: Vec<(f64, u64)> = (0..n)
        .map(|i| {
            let level = s.base + benign[i] + leak[i] + noise[i];
            (i as f64 * s.interval, (level.max(1.0) * MIB) as u64 / 4096 * 4096)
        })
        .collect();
    if family == "messy_leak" {
        mess(&mut samples, random);
    }
    let leaks = LEAKING.contains(&family);
    let total = leak.last().copied().unwrap_or(0.0);
    let rate = leaks.then(|| end_rate.unwrap_or(total / ((d - onset) / HOUR)));
    let leaked = if leaks {
        (0..=32).map(|k| (k * (n - 1)) / 32).map(|i| (i as f64 * s.interval, leak[i])).collect()
    } else {
        Vec::new()
    };
    Trace {
        name: format!("{family}_{seed}_{number}"),
        family,
        samples,
        interval: s.interval,
        leak: leaks,
        rate_mib_per_h: rate,
        onset,
        ambiguous_until: ambiguous,
        leaked,
    }
}

/// Gaps, duplicates, outliers and one step back of the clock.
fn mess(samples: &mut Vec<(f64, u64)>, random: &mut Random) {
    let n = samples.len();
    let gap = (random.unit() * 0.8 * n as f64) as usize;
    let long = (random.between(0.02, 0.12) * n as f64) as usize;
    samples.drain(gap..(gap + long).min(n));
    let mut i = 0;
    samples.retain(|_| {
        i += 1;
        random.unit() > 0.1 || i < 5
    });
    for _ in 0..samples.len() / 60 {
        let at = (random.next() % samples.len() as u64) as usize;
        samples[at].1 = (samples[at].1 as f64 * random.between(0.5, 2.0)) as u64;
    }
    for _ in 0..5 {
        let at = (random.next() % samples.len() as u64) as usize;
        let twin = samples[at];
        samples.insert(at, twin);
    }
    let step = samples.len() * 2 / 3;
    let back = random.between(30.0, 3600.0);
    let start = samples.first().map_or(0.0, |first| first.0);
    for sample in samples.iter_mut().skip(step) {
        sample.0 = (sample.0 - back).max(start);
    }
}
