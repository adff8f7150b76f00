//! Detectors that others use, as simply as they are described, for the false-alarm table. Each says whether it ever
//! raised an alert on a series; the margins are those of the research that the other tables take them from.

use std::collections::VecDeque;

use super::{HOUR, MIB};

/// Least squares over a sliding window.
#[derive(Clone, Debug)]
struct Sliding {
    window: f64,
    samples: VecDeque<(f64, f64)>,
    /// Sums of t, y, tt, ty, with t and y counted from the first sample.
    sums: [f64; 4],
}

impl Sliding {
    fn new(window: f64) -> Self {
        Self { window, samples: VecDeque::new(), sums: [0.0; 4] }
    }

    /// The slope over the window in MiB/h; `None` below ten samples.
    fn push(&mut self, t: f64, y: f64) -> Option<f64> {
        self.change(t, y, 1.0);
        self.samples.push_back((t, y));
        while let Some(&(first, old)) = self.samples.front() {
            if first >= t - self.window {
                break;
            }
            self.samples.pop_front();
            self.change(first, old, -1.0);
        }
        let n = self.samples.len() as f64;
        let [st, sy, stt, sty] = self.sums;
        let spread = n * stt - st * st;
        (n >= 10.0 && spread > 0.0).then(|| (n * sty - st * sy) / spread * HOUR)
    }

    fn change(&mut self, t: f64, y: f64, sign: f64) {
        for (sum, part) in self.sums.iter_mut().zip([t, y, t * t, t * y]) {
            *sum += sign * part;
        }
    }
}

/// Time and level of each sample from the first one on, in MiB.
fn from_first(samples: &[(f64, u64)]) -> impl Iterator<Item = (f64, f64)> {
    let (start, base) = samples.first().copied().unwrap_or_default();
    samples.iter().map(move |(t, y)| (t - start, (*y as f64 - base as f64) / MIB))
}

/// Prometheus: `deriv(rss[1h])` above 10 MiB/h `for: 30m`.
pub fn deriv(samples: &[(f64, u64)]) -> bool {
    let mut sliding = Sliding::new(HOUR);
    let mut since = None;
    from_first(samples).any(|(t, y)| {
        if sliding.push(t, y).is_some_and(|slope| slope > 10.0) {
            t - *since.get_or_insert(t) >= HOUR / 2.0
        } else {
            since = None;
            false
        }
    })
}

/// Least squares over 60 minutes, an alert at 50 MiB/h after five minutes.
pub fn least_squares(samples: &[(f64, u64)]) -> bool {
    let mut sliding = Sliding::new(HOUR);
    from_first(samples)
        .any(|(t, y)| sliding.push(t, y).is_some_and(|slope| slope >= 50.0) && t >= 300.0)
}

/// `mprof plot -s`: the slope of everything so far, above 1 MiB/h after five minutes.
pub fn slope_of_all(samples: &[(f64, u64)]) -> bool {
    let mut sliding = Sliding::new(f64::INFINITY);
    from_first(samples)
        .any(|(t, y)| sliding.push(t, y).is_some_and(|slope| slope > 1.0) && t >= 300.0)
}

/// Mann-Kendall at 1 % with Sen's slope above 0, over 200 samples spread over all so far, looked at each time there are
/// 5 % more.
pub fn mann_kendall(samples: &[(f64, u64)]) -> bool {
    let levels: Vec<f64> = from_first(samples).map(|(_, y)| y).collect();
    let mut looks = 12usize;
    while looks <= levels.len() {
        let count = looks.min(200);
        let place = |k: usize| k * (looks - 1) / (count - 1);
        let part: Vec<f64> = (0..count).map(|k| levels[place(k)]).collect();
        let mut sum = 0i64;
        for (k, earlier) in part.iter().enumerate() {
            for later in &part[k + 1..] {
                sum += i64::from(later > earlier) - i64::from(later < earlier);
            }
        }
        let n = count as f64;
        let variance = n * (n - 1.0) * (2.0 * n + 5.0) / 18.0;
        // A sum of signs far above 0 has a median slope above 0.
        if (sum - sum.signum()) as f64 / variance.sqrt() > 2.326 && place(count - 1) >= 5 {
            return true;
        }
        looks = (looks + 1).max((looks as f64 * 1.05).ceil() as usize);
    }
    false
}
