//! The slope now: what was before the last bend is left out.

use crate::growth::effective;
use crate::saturation::bend;
use crate::trend::{Pairs, inflation, lag_one, residuals};
use crate::verdict::Trend;
use crate::window::{History, POINTS};

/// A bend counts when it explains this much: effective points times the log ratio of the residuals.
const BEND: f64 = 14.0;
/// Bends are searched for at most this often,
const BENDS: usize = 4;
/// and never leave less than this share of the window.
const LEAST_LEFT: f64 = 0.2;

/// The slope at the end of a history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) trend: Trend,
    /// Seconds of the last bend.
    pub(crate) from: f64,
}

/// The slope from `from` on, after the last bend.
pub(crate) fn rate_now(history: &History, from: f64) -> Option<Now> {
    let least = (history.end() - from) * LEAST_LEFT;
    let mut from = from;
    let mut now = None;
    for _ in 0..BENDS {
        let Some(window) = history.window(from) else { break };
        let pairs = Pairs::of(&window.level);
        let (level, floor) = (pairs.slope(), Pairs::of(&window.low).slope());
        let rho = lag_one(&residuals(&window.level, level));
        let few = (POINTS as f64 / window.filled as f64).sqrt();
        let (low, high) = pairs.interval(inflation(rho) * few);
        // Level and low level are two estimates of one slope; their interval is the level's, moved along.
        let slope = f64::midpoint(level, floor);
        let moved = slope - level;
        now = Some(Now {
            trend: Trend {
                bytes_per_second: slope / window.span,
                low: (low + moved) / window.span,
                high: (high + moved) / window.span,
            },
            from,
        });
        let weigh = |left: &[f64; POINTS]| effective(lag_one(left).min(0.9), window.filled);
        let Some((at, gain)) = bend(&window.level, weigh) else { break };
        if gain < BEND || window.span * (1.0 - at) < least {
            break;
        }
        from += at * window.span;
    }
    now
}
