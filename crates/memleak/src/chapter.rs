//! Chapters: what begins when the level leaves the range that a long life has shown.
//!
//! The windows of a life are shares of it, and the longer it has lasted, the later they see a leak that begins. But a life
//! that has lasted has also shown how far its level moves. When its floor leaves that range by a share of the range, a
//! chapter begins at the last time it was inside: a short history of its own, looked at as a young segment is. What stays
//! around a mean does not leave its own range by a share of it, so this gives noise few chances to err. The whole life is
//! watched as before, beside it; what either shows is said.

use crate::confirm::Candidate;
use crate::detector::{Detector, FIRST_LOOK, State};
use crate::search::{Hit, grows_now, largest_fall};
use crate::verdict::Why;
use crate::window::History;

/// Buckets in the history of a chapter: 3.75 KiB.
const CAPACITY: usize = 160;
/// A life must have lasted for this many shortest windows before its range counts,
const LEAST_BLOCKS: u32 = 48;
/// and what is new joins the range after as many of them as this share of the range has, so that slow growth cannot widen
/// the range while it lasts.
const JOINS: f64 = 0.1;
/// at least this many.
const JOINS_LEAST: u32 = 12;
/// A level outside the range by this share of it
const OUTSIDE: f64 = 0.25;
/// and by this share of the least growth has left it.
const OUTSIDE_LEAST: f64 = 0.5;
/// Growth below this share of what the whole life shows is none.
const STILL: f64 = 0.25;
/// A chapter that has been steady for this many shortest windows has settled: its levels belong to the range.
const SETTLES: f64 = 24.0;
/// The whole life takes over once it has this many buckets of what settled.
const SEEN: f64 = 32.0;
/// A chapter that has grown to this share of the life needs no history of its own.
const WHOLE_AGAIN: f64 = 0.4;

/// Everything that one history has shown, of the whole life or of a chapter of it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Aside {
    history: History,
    next_look: u64,
    state: State,
    hit: Option<Hit>,
    candidate: Option<Candidate>,
    quiet_since: Option<f64>,
}

impl Aside {
    /// Nothing yet, in a short history.
    fn empty() -> Self {
        Self {
            history: History::with_capacity(CAPACITY),
            next_look: FIRST_LOOK,
            state: State::Early,
            hit: None,
            candidate: None,
            quiet_since: None,
        }
    }
}

/// Lowest levels of blocks, stretches as long as a shortest window, in bytes: the least and the greatest of them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Range {
    low: f64,
    high: f64,
    blocks: u32,
}

impl Range {
    fn of(low: f64, high: f64) -> Self {
        Self { low, high, blocks: 1 }
    }

    /// Both, or the one there is.
    fn both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(a), Some(b)) = (one, other) else { return one.or(other) };
        Some(Self {
            low: a.low.min(b.low),
            high: a.high.max(b.high),
            blocks: a.blocks.saturating_add(b.blocks),
        })
    }
}

/// The range of a life, and the chapter that began when it was left.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Chapters {
    /// What counts as ordinary, in two parts of the life of which the older is forgotten when the newer is half of it: how a
    /// life began is not how it goes on.
    older: Option<Range>,
    newer: Option<Range>,
    /// What is too new to count.
    fresh: Option<Range>,
    /// Blocks that the range is of, and those that were forgotten.
    blocks: u32,
    /// Seconds until which the present block lasts, and the lowest level in it so far.
    block: Option<(f64, f64)>,
    /// A chapter goes on.
    open: bool,
    /// The detector's own fields are those of the chapter, and the whole life is aside: while a chapter goes on, but for the
    /// time of a look at the whole life.
    inside: bool,
    /// The top of the range that was left, in bytes: below it the chapter ends.
    left: f64,
    /// The largest fall of the life before the chapter, in bytes: growth must exceed it.
    fallen: f64,
    /// Where a chapter has settled: seconds since when, and the lowest level since.
    settled: Option<(f64, f64)>,
    /// It had leaked until then: windows that began before show growth that has stopped.
    stopped: bool,
    /// The whole life while a chapter goes on; else what may become one: the samples since the level was last inside.
    aside: Aside,
}

impl Default for Chapters {
    fn default() -> Self {
        Self {
            older: None,
            newer: None,
            fresh: None,
            blocks: 0,
            block: None,
            open: false,
            inside: false,
            left: 0.0,
            fallen: 0.0,
            settled: None,
            stopped: false,
            aside: Aside::empty(),
        }
    }
}

impl Chapters {
    /// The largest fall of the life before the chapter that is looked at, in bytes; `None` while the whole life is.
    pub(crate) fn fallen(&self) -> Option<f64> {
        self.inside.then_some(self.fallen)
    }

    /// Seconds since when the level has stood where a chapter has settled, if that lies in the later half of the life.
    pub(crate) fn settled_in(&self, history: &History) -> Option<f64> {
        let half = history.end() - history.span() / 2.0;
        let (since, _) = self.settled.filter(|(since, _)| !self.inside && *since > half)?;
        Some(since)
    }

    /// Seconds since when a leak that stood has stopped.
    pub(crate) fn stopped_in(&self, history: &History) -> Option<f64> {
        self.settled_in(history).filter(|_| self.stopped)
    }

    /// The range, once the life has lasted long enough to have one.
    fn range(&self) -> Option<Range> {
        Range::both(self.older, self.newer).filter(|_| self.blocks >= LEAST_BLOCKS)
    }

    /// What is new belongs to the range.
    fn join(&mut self) {
        if let Some(fresh) = self.fresh.take() {
            self.note(fresh);
        }
    }

    /// Adds to the range.
    fn note(&mut self, range: Range) {
        self.newer = Range::both(self.newer, Some(range));
        self.blocks = self.blocks.saturating_add(range.blocks);
        let newer = self.newer.map_or(0, |newer| newer.blocks);
        if self.blocks >= LEAST_BLOCKS / 2 && newer >= self.blocks / 2 {
            self.older = self.newer.take();
        }
    }

    /// The level stays since `since` at what is the range from now on.
    fn settles(&mut self, since: f64, range: Range, stopped: bool) {
        self.fresh = None;
        self.older = None;
        self.newer = Some(range);
        self.settled = Some((since, range.low));
        self.stopped = stopped;
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.aside.history.heap_bytes()
    }

    #[cfg(feature = "worker")]
    pub(crate) fn is_sound(&self) -> bool {
        let finite = |range: &Option<Range>| {
            range.is_none_or(|range| range.low.is_finite() && range.high.is_finite())
        };
        self.aside.history.is_sound()
            && finite(&self.older)
            && finite(&self.newer)
            && finite(&self.fresh)
            && self.fallen.is_finite()
            && self.inside == self.open
    }
}

impl Detector {
    /// Takes a repaired sample into the histories.
    pub(crate) fn take(&mut self, t: f64, y: f64) {
        match &mut self.chapters.block {
            Some((until, floor)) if t < *until => *floor = floor.min(y),
            _ => {
                if let Some((_, floor)) = self.chapters.block {
                    self.block_ended(floor);
                }
                self.chapters.block = Some((t + self.hold(), y));
            }
        }
        self.history.push(t, y);
        self.chapters.aside.history.push(t, y);
    }

    /// Whether a look is due, at the whole life or at the chapter.
    pub(crate) fn look_is_due(&self) -> bool {
        let aside = &self.chapters.aside;
        self.history.samples() >= self.next_look
            || (self.chapters.open && aside.history.samples() >= aside.next_look)
    }

    /// Looks at the whole life and at the chapter, each when it is due, or at both at the end of a run.
    pub(crate) fn look_at_all(&mut self, ending: bool) {
        if self.history.samples() >= self.next_look || ending {
            let settled = self.state == State::Steady;
            self.judge(ending);
            if self.chapters.open && self.state != State::Leak {
                self.wait_for_the_chapter(settled);
            }
        }
        let aside = &self.chapters.aside;
        let due = aside.history.samples() >= aside.next_look || ending;
        if self.chapters.open && due {
            self.exchange();
            self.judge(ending);
            // At the end of a run nobody can wait for the chapter: what has rested for its hours may have grown for days.
            if self.state == State::Leak && !ending && self.chapter_contradicts() {
                self.state = State::Growing;
            }
            if self.state == State::Leak {
                // The chapter has nothing to add.
                self.close();
            } else {
                self.exchange();
            }
        }
    }

    /// Whether the chapter, which sees more of the last hours, no longer shows the growth that the whole life does. Of
    /// growth from cycle to cycle it says nothing.
    fn chapter_contradicts(&self) -> bool {
        let chapter = &self.chapters.aside.history;
        self.hit.is_some_and(|hit| hit.season.is_none())
            && !grows_now(
                chapter,
                self.rate(self.now().map(|now| now.trend)).bytes_per_second,
                chapter.span(),
                STILL,
            )
    }

    /// A chapter is steady only once it has settled; whether it had at the last look is told.
    fn wait_for_the_chapter(&mut self, settled: bool) {
        if !matches!(self.state, State::Steady | State::Early) {
            return;
        }
        let span = self.history.span();
        if self.state == State::Early || span < SETTLES * self.hold() {
            self.state = State::Undecided(Why::Settling);
        } else if span >= SEEN * self.whole().width() {
            self.hand_over();
        } else if let Some((since, range)) = self.later_half().filter(|_| !settled) {
            // The chapter goes on to tell what is so, but a next one may begin within it.
            self.chapters.settles(since, range, false);
        }
    }

    /// Start of the later half, which decides whether nothing grows, and the lowest levels in it.
    fn later_half(&self) -> Option<(f64, Range)> {
        let since = self.history.end() - self.history.span() / 2.0;
        Some((since, self.levels_since(since)?))
    }

    /// The lowest levels since `since`.
    fn levels_since(&self, since: f64) -> Option<Range> {
        let lows = self.history.since(since).iter().map(|bucket| Range::of(bucket.low, bucket.low));
        let range = lows.fold(None, |range, low| Range::both(range, Some(low)))?;
        Some(Range { blocks: 1, ..range })
    }

    /// Puts the chapter in the place of the whole life, or back.
    fn exchange(&mut self) {
        use std::mem::swap;
        let aside = &mut self.chapters.aside;
        swap(&mut self.history, &mut aside.history);
        swap(&mut self.next_look, &mut aside.next_look);
        swap(&mut self.state, &mut aside.state);
        swap(&mut self.hit, &mut aside.hit);
        swap(&mut self.candidate, &mut aside.candidate);
        swap(&mut self.quiet_since, &mut aside.quiet_since);
        self.chapters.inside = !self.chapters.inside;
    }

    fn block_ended(&mut self, floor: f64) {
        let block = Range::of(floor, floor);
        if self.chapters.open {
            self.turn(block);
            return;
        }
        let below = floor + OUTSIDE_LEAST * self.least_growth;
        self.chapters.settled = self.chapters.settled.filter(|(_, low)| below >= *low);
        if self.state == State::Leak {
            self.clear_if_stopped();
        }
        let Some(range) = self.chapters.range().filter(|_| self.state != State::Leak) else {
            self.chapters.note(block);
            self.chapters.aside.history.clear();
            return;
        };
        if self.leaves(&range, block) {
            self.open(range.high);
        } else if floor <= range.high {
            self.chapters.aside.history.clear();
        }
    }

    /// Whether the level has left the range with a block, which joins the range in its time if not.
    fn leaves(&mut self, range: &Range, block: Range) -> bool {
        let margin = (OUTSIDE * (range.high - range.low)).max(OUTSIDE_LEAST * self.least_growth);
        if block.high > range.high + margin {
            return true;
        }
        self.chapters.fresh = Range::both(self.chapters.fresh, Some(block));
        let joins = JOINS_LEAST.max((JOINS * f64::from(self.chapters.blocks)) as u32);
        if self.chapters.fresh.is_some_and(|fresh| fresh.blocks >= joins) {
            self.chapters.join();
        }
        false
    }

    /// Clears a leak that has stopped, and stays at the level it has reached.
    fn clear_if_stopped(&mut self) {
        if let Some(since) = self.stopped() {
            let range = self.levels_since(since).unwrap_or(Range::of(0.0, self.history.high()));
            self.chapters.settles(since, range, true);
            self.state = State::Steady;
            self.hit = None;
            self.candidate = None;
            self.quiet_since = None;
            self.carried = None;
        }
    }

    /// Begins a chapter with the samples since the level was last below `left`, the top of the range.
    fn open(&mut self, left: f64) {
        self.chapters.left = left;
        let whole = self.history.window(self.history.origin());
        self.chapters.fallen = whole.map_or(0.0, |whole| largest_fall(&whole.low));
        self.chapters.open = true;
        self.chapters.settled = None;
        self.exchange();
        self.state = State::Undecided(Why::Settling);
    }

    /// Whether the chapter goes on after a block.
    fn turn(&mut self, block: Range) {
        if block.high <= self.chapters.left {
            // It has returned.
            self.leave();
        } else if self.state != State::Leak
            && self.history.span() >= WHOLE_AGAIN * self.whole().span()
        {
            self.hand_over();
        } else if let Some(range) = self.chapters.range().filter(|_| self.state == State::Steady) {
            if self.leaves(&range, block) {
                self.begin_again(range.high);
            }
        } else {
            self.chapters.fresh = Range::both(self.chapters.fresh, Some(block));
        }
    }

    /// Begins the next chapter within one that has settled, with what that has kept since the level was last below `left`.
    fn begin_again(&mut self, left: f64) {
        let buckets = self.history.buckets();
        let from = buckets.iter().rposition(|bucket| bucket.low <= left).map_or(0, |at| at + 1);
        let mut next = History::with_capacity(CAPACITY).of_width(self.clock.interval());
        for bucket in &buckets[from..] {
            next.push(self.history.middle(bucket), bucket.mean);
        }
        self.history = next;
        self.next_look = FIRST_LOOK;
        self.state = State::Undecided(Why::Settling);
        self.hit = None;
        self.candidate = None;
        self.chapters.left = left;
    }

    /// Goes on with the whole life as it was seen beside the chapter.
    fn leave(&mut self) {
        self.exchange();
        self.close();
    }

    /// Goes on with the whole life, which is steady where the chapter has been.
    fn hand_over(&mut self) {
        let settled = self.later_half().filter(|_| self.state == State::Steady);
        self.leave();
        if let Some((since, range)) = settled
            && !matches!(self.state, State::Growing | State::Leak)
        {
            self.chapters.settles(since, range, false);
            self.state = State::Steady;
        }
    }

    /// Forgets the chapter; what it has shown belongs to the range from now on.
    fn close(&mut self) {
        self.chapters.open = false;
        self.chapters.inside = false;
        self.chapters.join();
        self.chapters.aside = Aside::empty();
    }

    /// Puts the whole life back at its end, with what the chapter showed.
    pub(crate) fn end_chapters(&mut self) {
        if !self.chapters.open {
            return;
        }
        let (state, hit) = (self.state, self.hit);
        self.leave();
        let span = self.history.span();
        self.state = state;
        self.hit = hit.map(|hit| Hit { share: (self.history.end() - hit.from) / span, ..hit });
    }

    /// The history of the present life, whatever chapter of it is looked at.
    pub(crate) fn whole(&self) -> &History {
        if self.chapters.inside { &self.chapters.aside.history } else { &self.history }
    }

    /// Seconds of the start of what the figures are of: the level that a chapter has settled at, or all.
    pub(crate) fn begun(&self) -> f64 {
        self.chapters.settled_in(&self.history).unwrap_or(self.history.origin())
    }
}
