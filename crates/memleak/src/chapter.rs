//! Chapters: what begins when the level leaves the range that a long life has shown.
//!
//! The windows of a life are shares of it, and the longer it has lasted, the later they see a leak that begins. But a life
//! that has lasted has also shown how far its level moves. When its floor leaves that range by a share of the range, a
//! chapter begins at the last time it was inside: a short history of its own, looked at as a young segment is. What stays
//! around a mean does not leave its own range by a share of it, so this gives noise few chances to err. The whole life is
//! watched as before, beside it; what either shows is said.

use std::mem::replace;

use crate::judge::{Before, Judge, Settled, State};
use crate::known::Known;
use crate::life::Life;
use crate::ordinary::{OUTSIDE_LEAST, Range};
use crate::search::grows_now;
use crate::verdict::Why;
use crate::window::History;

/// Buckets in the history of a chapter: 3.75 KiB.
const CAPACITY: usize = 160;
/// Growth below this share of what the whole life shows is none.
const STILL: f64 = 0.25;
/// A chapter that has been steady for this many shortest windows has settled: its levels belong to the range.
const SETTLES: f64 = 24.0;
/// The whole life takes over once it has this many buckets of what settled.
const SEEN: f64 = 32.0;
/// A chapter that has grown to this share of the life needs no history of its own.
const WHOLE_AGAIN: f64 = 0.4;

/// A chapter that goes on.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Chapter {
    pub(crate) judge: Judge,
    /// The top of the range that was left, in bytes: below it the chapter ends.
    top: f64,
}

/// An empty history of a chapter.
pub(crate) fn history() -> History {
    History::with_capacity(CAPACITY)
}

impl Chapter {
    /// The next, within this one: it begins with what this one has kept since the level was last below `top`.
    fn next(&self, top: f64, interval: f64) -> Self {
        let (history, mut next) = (&self.judge.history, history().of_width(interval));
        let buckets = history.buckets();
        let from = buckets.iter().rposition(|bucket| bucket.low <= top).map_or(0, |at| at + 1);
        for bucket in &buckets[from..] {
            next.push(history.middle(bucket), bucket.mean);
        }
        Self { judge: Judge::of_chapter(next, self.judge.before), top }
    }

    /// Where it has settled, and the range it keeps to there: that of its later half, which decides whether nothing grows.
    fn settled(&self) -> Option<(Settled, Range)> {
        let history = &self.judge.history;
        let since = history.end() - history.span() / 2.0;
        let range = Range::since(history, since)?;
        Some((Settled { since, low: range.low, leaked: false }, range))
    }

    #[cfg(feature = "worker")]
    pub(crate) fn is_sound(&self) -> bool {
        self.judge.history.is_sound()
    }
}

impl Life {
    /// A block has ended whose lowest level was `floor` bytes: a chapter may begin with it, or end.
    pub(crate) fn block_ended(&mut self, known: &mut Known, floor: f64) {
        let block = Range::of(floor, floor);
        if self.chapter.is_some() {
            self.turn(known, block);
            return;
        }
        let below = floor + OUTSIDE_LEAST * known.least_growth;
        self.whole.settled = self.whole.settled.filter(|settled| below >= settled.low);
        if self.whole.state == State::Leak {
            self.clear_if_stopped(known);
        }
        let Some(range) = self.ordinary.range().filter(|_| self.whole.state != State::Leak) else {
            self.ordinary.note(block);
            self.outside.clear();
            return;
        };
        if self.ordinary.is_left(&range, block, known.least_growth) {
            let before = Before::of(&self.whole.history);
            let judge = Judge::of_chapter(replace(&mut self.outside, history()), Some(before));
            self.chapter = Some(Chapter { judge, top: range.high });
            self.whole.settled = None;
        } else if floor <= range.high {
            self.outside.clear();
        }
    }

    /// Clears a leak that has stopped, and stays at the level it has reached.
    fn clear_if_stopped(&mut self, known: &mut Known) {
        if let Some(since) = self.whole.stopped(known) {
            let range = Range::since(&self.whole.history, since)
                .unwrap_or(Range::of(0.0, self.whole.history.high()));
            self.ordinary.begin_with(range);
            self.whole.settle(Settled { since, low: range.low, leaked: true });
            known.carried = None;
        }
    }

    /// Whether the chapter goes on after a block.
    fn turn(&mut self, known: &Known, block: Range) {
        let Some(chapter) = &mut self.chapter else { return };
        let judge = &chapter.judge;
        if block.high <= chapter.top {
            // It has returned.
            self.close();
        } else if judge.state != State::Leak
            && judge.history.span() >= WHOLE_AGAIN * self.whole.history.span()
        {
            self.hand_over();
        } else if let Some(range) = self.ordinary.range().filter(|_| judge.state == State::Steady) {
            if self.ordinary.is_left(&range, block, known.least_growth) {
                *chapter = chapter.next(range.high, known.interval());
            }
        } else {
            self.ordinary.keep(block);
        }
    }

    /// Looks at the chapter, which is steady only once it has settled.
    pub(crate) fn look_at_chapter(&mut self, known: &mut Known, ending: bool) {
        let Some(chapter) = &mut self.chapter else { return };
        let judge = &mut chapter.judge;
        let was_steady = judge.state == State::Steady;
        judge.look(known, ending);
        if !matches!(judge.state, State::Steady | State::Early) {
            return;
        }
        let span = judge.history.span();
        if judge.state == State::Early || span < SETTLES * known.hold() {
            judge.state = State::Undecided(Why::Settling);
        } else if span >= SEEN * self.whole.history.width() {
            self.hand_over();
        } else if let Some((settled, range)) = chapter.settled().filter(|_| !was_steady) {
            // It goes on to tell what is so, but a next one may begin within it.
            self.ordinary.begin_with(range);
            self.whole.settled = Some(settled);
        }
    }

    /// Weighs what a look at the whole has shown against the chapter.
    pub(crate) fn compare(&mut self, known: &Known, ending: bool) {
        let Some(Chapter { judge, .. }) = &self.chapter else { return };
        let whole = &mut self.whole;
        // At the end of a run nobody can wait for the chapter: what has rested for its hours may have grown for days.
        if whole.state == State::Leak && !ending && contradicts(known, whole, &judge.history) {
            whole.state = State::Growing;
            whole.onset = None;
        }
        if whole.state == State::Leak {
            // It knows better when the leak began.
            whole.onset = judge.onset.or(whole.onset);
            // The chapter has nothing to add.
            self.close();
        }
    }

    /// Goes on with the whole life, which is steady where the chapter has been.
    fn hand_over(&mut self) {
        let chapter = self.chapter.as_ref();
        let settled = chapter.filter(|chapter| chapter.judge.state == State::Steady);
        let settled = settled.and_then(Chapter::settled);
        self.close();
        if let Some((settled, range)) = settled
            && !matches!(self.whole.state, State::Growing | State::Leak)
        {
            self.ordinary.begin_with(range);
            self.whole.settle(settled);
        }
    }

    /// Forgets the chapter; what it has shown belongs to the range from now on.
    fn close(&mut self) {
        self.chapter = None;
        self.ordinary.join();
    }
}

/// Whether the chapter, which sees more of the last hours, no longer shows the growth that the whole life does. Of growth
/// from cycle to cycle it says nothing.
fn contradicts(known: &Known, whole: &Judge, chapter: &History) -> bool {
    let rate = || whole.rate(known, whole.now(known).map(|now| now.trend)).bytes_per_second;
    whole.hit.is_some_and(|hit| hit.season.is_none())
        && !grows_now(chapter, rate(), chapter.span(), STILL)
}
