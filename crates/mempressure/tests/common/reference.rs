//! The rules of the machine again, as slow and plain as they can be said: what a signal says at some look, and when a
//! level was last justified, is found by going through the list of all looks. Only ratios: no PSI, no forecast, no
//! counters.

use std::time::Duration;

use mempressure::Level;

use super::common::{Draw, Look, Stream};

const LEVELS: [Level; 3] = [Level::Warning, Level::Critical, Level::Emergency];

/// Whether a signal is still heard at a sample: it reads something there, or did at most three samples before, with no
/// gap since.
fn heard(draws: &[Draw], signal: usize, place: usize) -> bool {
    let reads = |i: usize| draws[i].ratios()[signal].is_some();
    reads(place)
        || (1..=3).any(|back| {
            let Some(fresh) = place.checked_sub(back) else { return false };
            reads(fresh) && draws[fresh + 1..=place].iter().all(|draw| !draw.gap)
        })
}

/// What a signal votes for at each look; `None` while it is silent.
fn votes(looks: &[Look<'_>], draws: &[Draw], signal: usize) -> Vec<Option<Level>> {
    let mut votes: Vec<Option<Level>> = Vec::new();
    for look in looks {
        let before = votes.last().copied().flatten();
        votes.push(match draws[look.place].ratios()[signal] {
            _ if !heard(draws, signal, look.place) => None,
            // The last vote stands in.
            None => before,
            Some(ratio) => {
                let thresholds = look.config.thresholds(signal);
                let mut vote = Level::Normal;
                for level in LEVELS {
                    let enters = ratio >= thresholds.of(level);
                    let stays = ratio >= thresholds.of(level) - look.config.pressure.band;
                    if enters || (stays && before >= Some(level)) {
                        vote = level;
                    }
                }
                Some(vote)
            }
        });
    }
    votes
}

/// The level after every look.
pub(crate) fn levels(looks: &[Look<'_>], stream: &Stream) -> Vec<Level> {
    let draws = &stream.0;
    let votes = [0, 1, 2].map(|signal| votes(looks, draws, signal));
    let mut justified: [Vec<Duration>; 3] = Default::default();
    let mut released: [Vec<Duration>; 3] = Default::default();
    let mut set = [false; 3];
    let mut output = Vec::new();
    for (i, look) in looks.iter().enumerate() {
        let now = look.sample.at.monotonic;
        if votes.iter().all(|votes| votes[i].is_none()) {
            (set, justified, released) = Default::default();
            output.push(Level::Unknown);
            continue;
        }
        let gap = draws[look.place].gap && !look.again;
        for (l, level) in LEVELS.into_iter().enumerate() {
            let voted = votes.iter().any(|votes| votes[i] >= Some(level));
            if voted || (gap && set[l]) {
                justified[l].push(now);
            }
            set[l] |= voted;
        }
        if !look.again
            && let Some(top) = set.iter().rposition(|set| *set)
            && let Some(last) = justified[top].last()
        {
            let hold = look.config.pressure.hold;
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
