//! What one process has: whole, and with each shared page divided among its users. Pure.

use crate::processes::Program;
use crate::reading::{Absent, Reading};
use crate::sample::ProcessMemory;

/// Bytes by what a `fork` does with them. Whole, or divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Anonymous, in RAM.
    pub(crate) anon: u64,
    /// Anonymous, swapped out.
    pub(crate) swap: u64,
    /// Pages of files and of shared memory.
    pub(crate) rest: u64,
}

impl Size {
    /// Of a process; `None` for a kernel thread, which has no memory.
    pub(super) fn of(memory: &ProcessMemory) -> Reading<Option<Self>> {
        let rss = match memory.rss {
            Err(Absent::Unsupported) => return Ok(None),
            rss => rss?,
        };
        let anon = memory.anon.unwrap_or(0).min(rss);
        Ok(Some(Self { anon, swap: memory.swap.unwrap_or(0), rest: rss - anon }))
    }

    pub(super) fn resident(self) -> u64 {
        self.anon.saturating_add(self.rest)
    }

    fn private(self) -> u64 {
        self.anon.saturating_add(self.swap)
    }

    /// Each figure with its own.
    pub(super) fn with(self, other: Self, by: fn(u64, u64) -> u64) -> Self {
        Self {
            anon: by(self.anon, other.anon),
            swap: by(self.swap, other.swap),
            rest: by(self.rest, other.rest),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    pub(super) fn beyond(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    pub(super) fn at_most(self, other: Self) -> Self {
        self.with(other, u64::min)
    }
}

/// What one process had when it was measured, or when it was first seen since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) program: Program,
    /// It was measured, and is not judged by what it was forked from.
    pub(super) measured: bool,
    /// It was among those that the question under way is about.
    pub(super) asked: bool,
    /// The whole of it then.
    pub(super) then: Size,
    /// What was counted of it then: every shared page divided, or left to those that it shares it with.
    pub(super) once: Size,
    /// Of that, what others have too: it stays with them when this process goes.
    pub(super) stays: Size,
    /// The whole of it as seen last.
    pub(super) seen: Size,
    pub(super) alive: bool,
}

impl Part {
    /// One that nothing is known of but the whole.
    pub(super) fn unread(program: Program, seen: Size) -> Self {
        let (then, once, stays) = (seen, seen, Size::default());
        Self { program, measured: false, asked: false, then, once, stays, seen, alive: true }
    }

    /// What is counted of it now.
    ///
    /// Anonymous memory that came since is its own. What went may have been shared, and what came of files may be: both are
    /// taken for as shared as the rest. Swapping moves memory and makes it neither more nor less.
    pub(super) fn now(&self) -> Size {
        let Self { then, once, seen, .. } = *self;
        let (had, has) = (then.private(), seen.private());
        let private = scaled(once.private(), has.min(had), had).min(has.min(had));
        let private = private.saturating_add(has.saturating_sub(had));
        let out = seen.swap.saturating_sub(then.swap);
        let known = out.min(then.anon);
        let swap = scaled(once.swap, seen.swap.min(then.swap), then.swap)
            .saturating_add(scaled(once.anon, known, then.anon))
            .saturating_add(out - known)
            .min(seen.swap)
            .min(private);
        let anon = (private - swap).min(seen.anon);
        // Where rounding or what came and was swapped out at once left more than there is in RAM, it is in the swap.
        let swap = (private - anon).min(seen.swap);
        Size { anon, swap, rest: scaled(once.rest, seen.rest, then.rest).min(seen.rest) }
    }

    /// It came by a `fork` from a process like `relative`: what that has too is counted there.
    pub(super) fn forked_from(mut self, relative: &mut Part) -> Self {
        self.once = self.seen.beyond(relative.seen);
        relative.stays = relative.now().at_most(self.seen);
        self
    }

    /// What stays with others when it goes.
    pub(super) fn left_behind(&self) -> Size {
        self.stays.at_most(self.now())
    }
}

/// `value * by / of`, and no more than `by` where `of` says nothing.
pub(super) fn scaled(value: u64, by: u64, of: u64) -> u64 {
    if of == 0 {
        return value.min(by);
    }
    if let Some(product) = value.checked_mul(by) {
        return product / of;
    }
    u64::try_from(u128::from(value) * u128::from(by) / u128::from(of)).unwrap_or(u64::MAX)
}

/// What `smaps_rollup` says of one process, or `smaps` summed. All from one reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) rss: u64,
    pub(crate) pss: u64,
    pub(crate) anon: u64,
    pub(crate) pss_anon: u64,
    pub(crate) swap: u64,
    pub(crate) pss_swap: u64,
    /// What nobody else has.
    pub(crate) unique: u64,
}

impl Measured {
    /// Fills in `part`, of which `seen` is what `status` said when it was asked for.
    pub(super) fn fill(self, part: &mut Part) {
        let pss = self.pss.min(self.rss);
        let anon = self.anon.min(self.rss);
        let pss_anon = self.pss_anon.min(anon).min(pss);
        // With `Swap` come the pages of shared memory that are swapped out, which `VmSwap` leaves out, and `SwapPss`.
        let swap = self.swap.min(part.seen.swap).max(self.pss_swap);
        let then = Size { anon, swap, rest: self.rss - anon };
        let once = Size { anon: pss_anon, swap: self.pss_swap, rest: pss - pss_anon };
        let own_anon = self.unique.min(pss_anon);
        let own = Size { anon: own_anon, swap: 0, rest: (self.unique - own_anon).min(once.rest) };
        // Of what at least two have, no more is counted here than is left out.
        let mut stays = once.beyond(own).at_most(then.beyond(once));
        stays.rest = once.rest - own.rest;
        (part.then, part.once, part.stays, part.seen) = (then, once, stays, then);
        (part.measured, part.alive) = (true, true);
    }
}

/// How much of `pss` is anonymous where the kernel does not say (`Pss_Anon` came with Linux 5.4): what nobody else has in full, and
/// the rest of `anon` as shared as the rest of it all.
pub(crate) fn anon_share(rss: u64, pss: u64, anon: u64, dirty: u64, unique: u64) -> u64 {
    if anon >= rss {
        return pss;
    }
    let own = dirty.min(anon);
    let (shared, all) = (pss.saturating_sub(unique), rss.saturating_sub(unique));
    own.saturating_add(scaled(anon - own, shared, all)).min(pss)
}
