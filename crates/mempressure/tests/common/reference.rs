//! The rules of the machine again, as slow and plain as they can be said: every question is answered by
//! looking back through the list of samples. Only ratios: no PSI, no forecast, no counters.

use std::time::Duration;

use mempressure::Level;
use memtrack::Sample;

use super::common::{Config, Draw};

const LEVELS: [Level; 3] = [Level::Warning, Level::Critical, Level::Emergency];

/// The last fresh reading of a signal, if it is still heard at sample `j`: at most three samples without a
/// reading have followed, none of them after a gap.
fn heard(draws: &[Draw], signal: usize, j: usize) -> Option<usize> {
    let fresh = (0..=j).rev().find(|i| draws[*i].ratios()[signal].is_some())?;
    let missed = &draws[fresh + 1..=j];
    (missed.len() <= 3 && missed.iter().all(|draw| !draw.gap)).then_some(fresh)
}

/// Whether a signal votes at least `level` at sample `j`.
fn votes(config: &Config, draws: &[Draw], signal: usize, level: Level, j: usize) -> bool {
    let Some(fresh) = heard(draws, signal, j) else { return false };
    let threshold = config.thresholds(signal).of(level);
    // Somewhere back it reached the threshold, and since then it neither fell below the band nor went silent.
    for i in (0..=fresh).rev() {
        match draws[i].ratios()[signal] {
            Some(ratio) if ratio >= threshold => return true,
            Some(ratio) if ratio < threshold - config.pressure.band => return false,
            Some(_) => {}
            None if heard(draws, signal, i).is_none() => return false,
            None => {}
        }
    }
    false
}

/// The level after every sample.
pub(crate) fn levels(config: &Config, samples: &[Sample], draws: &[Draw]) -> Vec<Level> {
    let hold = config.pressure.hold;
    let mut justified: [Vec<Duration>; 3] = Default::default();
    let mut released: [Vec<Duration>; 3] = Default::default();
    let mut set = [false; 3];
    let mut output = Vec::new();
    for (j, sample) in samples.iter().enumerate() {
        let now = sample.at.monotonic;
        if (0..3).all(|signal| heard(draws, signal, j).is_none()) {
            (set, justified, released) = Default::default();
            output.push(Level::Unknown);
            continue;
        }
        for l in 0..3 {
            let voted = (0..3).any(|signal| votes(config, draws, signal, LEVELS[l], j));
            if voted || (draws[j].gap && set[l]) {
                justified[l].push(now);
            }
            set[l] |= voted;
        }
        if let Some(top) = set.iter().rposition(|set| *set)
            && let Some(last) = justified[top].last()
        {
            let quiet = now - *last;
            let above = released.get(top + 1).and_then(|times| times.last());
            let rested = above.is_none_or(|above| now - *above >= hold / 2);
            if quiet > Duration::ZERO && quiet >= hold && rested {
                set[top] = false;
                released[top].push(now);
            }
        }
        let top = set.iter().rposition(|set| *set);
        output.push(top.map_or(Level::Normal, |top| LEVELS[top]));
    }
    output
}
