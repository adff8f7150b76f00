//! One life of a process: judged as a whole and, once it has left what was ordinary for long, by its present chapter.

use crate::chapter::{self, Chapter};
use crate::judge::{Judge, State};
use crate::known::Known;
use crate::ordinary::Ordinary;
use crate::search::Hit;
use crate::segment::is_excursion;
use crate::window::History;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Life {
    pub(crate) whole: Judge,
    /// The range that the life has kept to.
    pub(crate) ordinary: Ordinary,
    /// The samples since the level was last inside that range: how a chapter would begin. Empty while one goes on.
    pub(crate) outside: History,
    pub(crate) chapter: Option<Chapter>,
}

impl Life {
    /// One that begins, and is called `state` until it has shown more.
    pub(crate) fn new(state: State) -> Self {
        Self::of(Judge::of_life(state))
    }

    /// One that goes on with what `whole` has concluded, and has shown nothing of its own.
    pub(crate) fn of(whole: Judge) -> Self {
        Self { whole, ordinary: Ordinary::default(), outside: chapter::history(), chapter: None }
    }

    /// The judge that has the word: that of the chapter while one goes on.
    pub(crate) fn present(&self) -> &Judge {
        self.chapter.as_ref().map_or(&self.whole, |chapter| &chapter.judge)
    }

    /// Takes a repaired sample.
    pub(crate) fn take(&mut self, known: &mut Known, t: f64, y: f64) {
        if let Some(floor) = self.ordinary.block(t, y, || known.hold()) {
            self.block_ended(known, floor);
        }
        self.whole.history.push(t, y);
        match &mut self.chapter {
            Some(chapter) => chapter.judge.history.push(t, y),
            None => self.outside.push(t, y),
        }
    }

    /// Whether a fall to `level` bytes ends no more than an excursion of this life.
    pub(crate) fn ends_excursion(&self, level: f64) -> bool {
        let history = &self.whole.history;
        let present = self.present();
        let leak = present.hit.filter(|_| present.state == State::Leak);
        let since = leak.map_or(history.origin(), |hit| hit.from);
        is_excursion(history, since, level)
    }

    /// Whether a look is due, at the whole or at the chapter.
    pub(crate) fn is_due(&self) -> bool {
        self.whole.is_due() || self.chapter.as_ref().is_some_and(|chapter| chapter.judge.is_due())
    }

    /// Looks at the chapter and at the whole, each when it is due, or at both at the end of a run.
    pub(crate) fn look(&mut self, known: &mut Known, ending: bool) {
        let due = |judge: &Judge| ending || judge.is_due();
        let open = self.chapter.is_some();
        if self.chapter.as_ref().is_some_and(|chapter| due(&chapter.judge)) {
            self.look_at_chapter(known, ending);
        }
        if due(&self.whole) && self.chapter.is_some() == open {
            self.whole.look(known, ending);
            self.compare(known, ending);
        }
    }

    /// The judge of the whole, at its end, with what the chapter showed.
    pub(crate) fn end(self) -> Judge {
        let mut whole = self.whole;
        if let Some(Chapter { judge, .. }) = self.chapter {
            let (end, span) = (whole.history.end(), whole.history.span());
            whole.state = judge.state;
            whole.onset = judge.onset;
            whole.hit = judge.hit.map(|hit| Hit { share: (end - hit.from) / span, ..hit });
        }
        whole
    }

    #[cfg(feature = "worker")]
    pub(crate) fn is_sound(&self) -> bool {
        self.whole.history.is_sound()
            && self.outside.is_sound()
            && self.ordinary.is_sound()
            && self.chapter.as_ref().is_none_or(Chapter::is_sound)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let chapter = self.chapter.as_ref();
        self.whole.history.heap_bytes()
            + self.outside.heap_bytes()
            + chapter.map_or(0, |chapter| chapter.judge.history.heap_bytes())
    }
}
