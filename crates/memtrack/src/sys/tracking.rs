//! A global allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::alloc::{CLASSES, Counts, SizeClass};

/// A thread tells of its changes once they come to this many bytes in one size class ...
const FLUSH_BYTES: u64 = 64 * 1024;
/// ... or this many allocations. Both are powers of two.
const FLUSH_ALLOCATIONS: u64 = 1024;

// One allocator serves one program, so these belong to the program as its heap does.
static LIVE: AtomicI64 = AtomicI64::new(0);
static LIVE_BY_CLASS: [AtomicI64; CLASSES] = [const { AtomicI64::new(0) }; CLASSES];
static PEAK: AtomicI64 = AtomicI64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Const and without a destructor: reaching it computes an address, runs no code of ours and allocates nothing through
    // us, which inside an allocator would not end.
    static LOCAL: Local = const { Local::new() };
    // Registered with the C library, which takes its memory elsewhere.
    static AT_END: AtEnd = const { AtEnd };
}

/// Counts live bytes, their peak and the number of allocations of the whole program; as [`TrackingBySize`] also live bytes
/// by size class.
///
/// Each thread counts for itself and tells the others now and then, so figures may be behind by 64 KiB and 1024
/// allocations for each thread (by size, in each class); a single allocation of 64 KiB or more is told at once.
///
/// ```
/// use memtrack::alloc::Tracking;
///
/// #[global_allocator]
/// static ALLOCATOR: Tracking = Tracking::system();
///
/// let block = vec![0u8; 1 << 20];
/// assert!(ALLOCATOR.counts().live_bytes >= 1 << 20);
/// drop(block);
/// assert!(ALLOCATOR.counts().peak_bytes >= 1 << 20);
/// ```
#[derive(Debug)]
pub struct Tracking<A = System, const BY_SIZE: bool = false> {
    inner: A,
}

/// Also tells which sizes grow. It finds the class of each size, which costs a malloc-heavy program some 2 % more.
///
/// ```
/// use memtrack::alloc::TrackingBySize;
///
/// #[global_allocator]
/// static ALLOCATOR: TrackingBySize = TrackingBySize::system();
///
/// let block = vec![0u8; 1 << 20];
/// let largest = ALLOCATOR.size_classes().last().copied().ok_or("there are 17")?;
/// assert!(largest.live_bytes >= 1 << 20);
/// # drop(block);
/// # Ok::<(), &str>(())
/// ```
pub type TrackingBySize<A = System> = Tracking<A, true>;

impl<const BY_SIZE: bool> Tracking<System, BY_SIZE> {
    /// Counts what the system's allocator serves.
    #[must_use]
    pub const fn system() -> Self {
        Self { inner: System }
    }
}

impl<A, const BY_SIZE: bool> Tracking<A, BY_SIZE> {
    /// Counts what `inner` serves. A program may have one such allocator.
    #[must_use]
    pub const fn over(inner: A) -> Self {
        Self { inner }
    }

    /// What went through so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        // The own thread at least is up to date.
        LOCAL.with(Local::flush);
        let live = LIVE.load(Ordering::Relaxed);
        Counts {
            live_bytes: positive(live),
            peak_bytes: positive(PEAK.load(Ordering::Relaxed).max(live)),
            allocations: ALLOCATIONS.load(Ordering::Relaxed),
        }
    }

    #[inline]
    fn allocated(size: usize) {
        let change = ((size as u64) << COUNT_BITS) + 1;
        LOCAL.with(|local| local.change(Self::place(size), change));
    }

    #[inline]
    fn freed(size: usize) {
        let change = ((size as u64) << COUNT_BITS).wrapping_neg();
        LOCAL.with(|local| local.change(Self::place(size), change));
    }

    /// Which word of a thread counts a size: the place of its highest bit, so that no more than two instructions find it.
    #[inline]
    fn place(size: usize) -> usize {
        if BY_SIZE { (size | 1).ilog2() as usize } else { 0 }
    }
}

impl<A> TrackingBySize<A> {
    /// Live bytes by size class, smallest first: which sizes grow.
    #[must_use]
    pub fn size_classes(&self) -> [SizeClass; CLASSES] {
        LOCAL.with(Local::flush);
        std::array::from_fn(|class| SizeClass {
            class,
            live_bytes: positive(LIVE_BY_CLASS[class].load(Ordering::Relaxed)),
        })
    }
}

// SAFETY: every call goes to `inner` unchanged, and what it returns is returned unchanged; counting touches neither.
unsafe impl<A: GlobalAlloc, const BY_SIZE: bool> GlobalAlloc for Tracking<A, BY_SIZE> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let block = unsafe { self.inner.alloc(layout) };
        if !block.is_null() {
            Self::allocated(layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        let block = unsafe { self.inner.alloc_zeroed(layout) };
        if !block.is_null() {
            Self::allocated(layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.inner.dealloc(block, layout) };
        Self::freed(layout.size());
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        let moved = unsafe { self.inner.realloc(block, layout, new_size) };
        if !moved.is_null() {
            Self::freed(layout.size());
            Self::allocated(new_size);
        }
        moved
    }
}

/// Sizes below 16 bytes are class 0, each further class holds sizes below the double, the last all larger ones.
fn class(place: usize) -> usize {
    place.saturating_sub(3).min(CLASSES - 1)
}

fn positive(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// What one thread has not told yet: one word, or by size one for each magnitude, so that an allocation is one addition and one
/// test: the low bits count allocations, and above them are the bytes. No size is so large that it would not fit there:
/// 53 bits are more than a processor addresses.
struct Local {
    words: [Cell<u64>; PLACES],
    phase: Cell<Phase>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    New,
    Counting,
    /// The thread is at its very end: each change is told at once.
    Ended,
}

/// Room for one more than what is told at the latest.
const COUNT_BITS: u32 = FLUSH_ALLOCATIONS.ilog2() + 1;
/// Highest bits that a size may have.
const PLACES: usize = usize::BITS as usize;
/// Nothing to tell. Bytes are counted from here, so that fewer of them is no borrow from beyond the word.
const NOTHING: u64 = FLUSH_BYTES << COUNT_BITS;
/// Some of these bits are set once there are too many bytes, too few, or too many allocations.
const TELL: u64 = !(2 * NOTHING - 1) | FLUSH_ALLOCATIONS;
/// What no change takes below [`TELL`]: before a thread counts and after it did.
const ASIDE: u64 = 1 << 63;

impl Local {
    const fn new() -> Self {
        Self { words: [const { Cell::new(ASIDE) }; PLACES], phase: Cell::new(Phase::New) }
    }

    #[inline]
    fn change(&self, place: usize, change: u64) {
        let word = self.words[place].get().wrapping_add(change);
        if word & TELL == 0 {
            self.words[place].set(word);
        } else {
            self.tell(place, change);
        }
    }

    #[cold]
    fn tell(&self, place: usize, change: u64) {
        match self.phase.get() {
            Phase::New => {
                self.start();
                self.change(place, change);
            }
            Phase::Counting => {
                publish(place, self.words[place].replace(NOTHING).wrapping_add(change));
            }
            Phase::Ended => publish(place, NOTHING.wrapping_add(change)),
        }
    }

    fn start(&self) {
        self.phase.set(Phase::Counting);
        self.words.iter().for_each(|word| word.set(NOTHING));
        // Last: were this to allocate through us, it would be counted like all else.
        if AT_END.try_with(|_| ()).is_err() {
            self.end();
        }
    }

    #[cold]
    fn flush(&self) {
        if self.phase.get() != Phase::Counting {
            return;
        }
        for (place, word) in self.words.iter().enumerate().filter(|(_, word)| word.get() != NOTHING)
        {
            publish(place, word.replace(NOTHING));
        }
    }

    fn end(&self) {
        self.flush();
        self.phase.set(Phase::Ended);
        self.words.iter().for_each(|word| word.set(ASIDE));
    }
}

/// Tells what a thread counted when that ends.
struct AtEnd;

impl Drop for AtEnd {
    fn drop(&mut self) {
        LOCAL.with(Local::end);
    }
}

fn publish(place: usize, word: u64) {
    let class = class(place);
    let bytes = (word.wrapping_sub(NOTHING) as i64) >> COUNT_BITS;
    LIVE_BY_CLASS[class].fetch_add(bytes, Ordering::Relaxed);
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    if live > PEAK.load(Ordering::Relaxed) {
        PEAK.fetch_max(live, Ordering::Relaxed);
    }
    ALLOCATIONS.fetch_add(word & (2 * FLUSH_ALLOCATIONS - 1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_the_sizes_up_to_its_bound() {
        for class_number in 0..CLASSES {
            let bound = SizeClass { class: class_number, live_bytes: 0 }.upto();
            let Some(bound) = bound else { continue };
            assert_eq!(class(TrackingBySize::<System>::place(bound as usize)), class_number);
            assert_eq!(
                class(TrackingBySize::<System>::place(bound as usize + 1)),
                class_number + 1
            );
        }
        assert_eq!(
            (
                class(TrackingBySize::<System>::place(0)),
                class(TrackingBySize::<System>::place(1)),
                class(TrackingBySize::<System>::place(usize::MAX))
            ),
            (0, 0, CLASSES - 1)
        );
    }
}
