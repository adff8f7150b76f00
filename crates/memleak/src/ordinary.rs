//! What a long life has shown to be ordinary: the range of its lowest levels, block by block.

use crate::window::History;

/// A life must have lasted for this many blocks before its range counts,
const LEAST_BLOCKS: u32 = 48;
/// and what is new joins the range after as many of them as this share of the range has, so that slow growth cannot widen
/// the range while it lasts.
const JOINS: f64 = 0.1;
/// at least this many.
const JOINS_LEAST: u32 = 12;
/// A level outside the range by this share of it
const OUTSIDE: f64 = 0.25;
/// and by this share of the least growth has left it.
pub(crate) const OUTSIDE_LEAST: f64 = 0.5;

/// Lowest levels of blocks, stretches as long as a shortest window, in bytes: the least and the greatest of them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Range {
    pub(crate) low: f64,
    pub(crate) high: f64,
    blocks: u32,
}

impl Range {
    pub(crate) fn of(low: f64, high: f64) -> Self {
        Self { low, high, blocks: 1 }
    }

    /// Of the levels of `history` since `since`, as one block.
    pub(crate) fn since(history: &History, since: f64) -> Option<Self> {
        let lows = history.since(since).iter().map(|bucket| Self::of(bucket.low, bucket.low));
        let range = lows.fold(None, |range, low| Self::both(range, Some(low)))?;
        Some(Self { blocks: 1, ..range })
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

/// The range of a life.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Ordinary {
    /// The range, in two parts of the life of which the older is forgotten when the newer is half of it: how a life began is
    /// not how it goes on.
    older: Option<Range>,
    newer: Option<Range>,
    /// What is too new to count.
    fresh: Option<Range>,
    /// Blocks that the range is of, and those that were forgotten.
    blocks: u32,
    /// Seconds until which the present block lasts, and the lowest level in it so far.
    block: Option<(f64, f64)>,
}

impl Ordinary {
    /// Takes a sample; the lowest level of the block before it when it begins one, of `length` seconds.
    pub(crate) fn block(&mut self, t: f64, y: f64, length: impl Fn() -> f64) -> Option<f64> {
        match &mut self.block {
            Some((until, floor)) if t < *until => {
                *floor = floor.min(y);
                None
            }
            block => block.replace((t + length(), y)).map(|(_, floor)| floor),
        }
    }

    /// The range, once the life has lasted long enough to have one.
    pub(crate) fn range(&self) -> Option<Range> {
        Range::both(self.older, self.newer).filter(|_| self.blocks >= LEAST_BLOCKS)
    }

    /// Adds to the range.
    pub(crate) fn note(&mut self, range: Range) {
        self.newer = Range::both(self.newer, Some(range));
        self.blocks = self.blocks.saturating_add(range.blocks);
        let newer = self.newer.map_or(0, |newer| newer.blocks);
        if self.blocks >= LEAST_BLOCKS / 2 && newer >= self.blocks / 2 {
            self.older = self.newer.take();
        }
    }

    /// Keeps what is too new to count.
    pub(crate) fn keep(&mut self, block: Range) {
        self.fresh = Range::both(self.fresh, Some(block));
    }

    /// What is new belongs to the range.
    pub(crate) fn join(&mut self) {
        if let Some(fresh) = self.fresh.take() {
            self.note(fresh);
        }
    }

    /// Whether the level has left `range`, which is the present one, with a block, which joins it in its time if not. Growth below
    /// `least` bytes is none.
    pub(crate) fn is_left(&mut self, range: &Range, block: Range, least: f64) -> bool {
        let margin = (OUTSIDE * (range.high - range.low)).max(OUTSIDE_LEAST * least);
        if block.high > range.high + margin {
            return true;
        }
        self.keep(block);
        let joins = JOINS_LEAST.max((JOINS * f64::from(self.blocks)) as u32);
        if self.fresh.is_some_and(|fresh| fresh.blocks >= joins) {
            self.join();
        }
        false
    }

    /// The level stays in what is the range from now on.
    pub(crate) fn begin_with(&mut self, range: Range) {
        (self.older, self.newer, self.fresh) = (None, Some(range), None);
    }

    #[cfg(feature = "worker")]
    pub(crate) fn is_sound(&self) -> bool {
        [self.older, self.newer, self.fresh]
            .iter()
            .flatten()
            .all(|range| range.low.is_finite() && range.high.is_finite())
    }
}
