//! Has a leak stopped? The windows that showed it are shares of a life, and so is the time for which they must show nothing
//! until it is cleared: days, after weeks. A whole day without growth tells sooner.

use crate::growth::measured;
use crate::judge::Judge;
use crate::known::Known;
use crate::window::Bucket;

/// Growth that goes on shows itself within a day, whatever part of it it rests in: seconds.
const REST: f64 = 86_400.0;
/// Growth that has rested before is at rest again; this many times as long it has stopped.
const LONGER: f64 = 3.0;
/// Growth below this share of what the rate predicts is a rest.
const STILL: f64 = 0.1;
/// The levels that are compared for a quick look are over this share of a rest.
const PART: f64 = 1.0 / 24.0;

impl Judge {
    /// Seconds since when a leak that stands has not grown, if that is long enough for it to have stopped: a day, and three
    /// times the longest rest before. In that time it would have passed the tests of size by its rate so far.
    pub(crate) fn stopped(&self, known: &Known) -> Option<f64> {
        let hit = self.hit.filter(|hit| hit.season.is_none())?;
        let now = self.history.end();
        if now - hit.from < 2.0 * REST {
            return None;
        }
        let width = (PART * REST).max(2.0 * self.history.width());
        let level = |from: f64| self.history.level_between(from, from + width);
        let (start, before, last) =
            (level(hit.from)?, level(now - REST - width)?, level(now - width)?);
        let rate = (before - start) / (now - REST - hit.from);
        if last - before >= STILL * rate * REST {
            return None;
        }
        let rise = rate * self.history.width();
        let (top, longest) =
            rests(self.history.since(hit.from), 0.25 * rise, |bucket| self.history.middle(bucket));
        let rest = now - top;
        let needed =
            measured(&self.history.window(hit.from)?, &known.tuning, known.least_growth).needed;
        (rest >= REST && rest >= LONGER * longest && rate * rest >= needed).then_some(top)
    }
}

/// Seconds at which the level last rose above all before by more than `rise` bytes, and the longest time between two such
/// rises.
fn rests(buckets: &[Bucket], rise: f64, at: impl Fn(&Bucket) -> f64) -> (f64, f64) {
    let (mut top, mut risen, mut longest) = (f64::NEG_INFINITY, 0.0, 0.0f64);
    for bucket in buckets {
        if bucket.mean > top + rise {
            if top > f64::NEG_INFINITY {
                longest = longest.max(at(bucket) - risen);
            }
            (top, risen) = (bucket.mean, at(bucket));
        }
    }
    (risen, longest)
}
