//! A global allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::alloc::{CLASSES, Counts, SizeClass};

/// A thread tells of its changes once they come to this many bytes in one size class ...
const FLUSH_BYTES: i64 = 64 * 1024;
/// ... or this many allocations.
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

/// Counts live bytes, their peak and the number of allocations of the whole program, and live bytes by size class.
///
/// Each thread counts for itself and tells the others now and then, so figures may be behind by 64 KiB in each size class
/// and 1024 allocations for each thread; a single allocation of 64 KiB or more is told at once.
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
pub struct Tracking<A = System> {
    inner: A,
}

impl Tracking {
    /// Counts what the system's allocator serves.
    #[must_use]
    pub const fn system() -> Self {
        Self { inner: System }
    }
}

impl<A> Tracking<A> {
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
unsafe impl<A: GlobalAlloc> GlobalAlloc for Tracking<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let block = unsafe { self.inner.alloc(layout) };
        if !block.is_null() {
            allocated(layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        let block = unsafe { self.inner.alloc_zeroed(layout) };
        if !block.is_null() {
            allocated(layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.inner.dealloc(block, layout) };
        freed(layout.size());
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        let moved = unsafe { self.inner.realloc(block, layout, new_size) };
        if !moved.is_null() {
            freed(layout.size());
            allocated(new_size);
        }
        moved
    }
}

/// A size of a layout, which is at most `isize::MAX`.
fn bytes(size: usize) -> i64 {
    size as i64
}

/// Sizes up to 16 bytes are class 0, each further class holds sizes up to twice as large, the last all larger ones. A size
/// is never 0 here (the contract of `GlobalAlloc`); it would count as large.
#[inline]
fn class(size: usize) -> usize {
    ((size.wrapping_sub(1) | 15).ilog2() as usize - 3).min(CLASSES - 1)
}

fn positive(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[inline]
fn allocated(size: usize) {
    LOCAL.with(|local| {
        local.count();
        local.change(class(size), bytes(size));
    });
}

#[inline]
fn freed(size: usize) {
    LOCAL.with(|local| local.change(class(size), -bytes(size)));
}

/// What one thread has not told yet.
struct Local {
    /// Bytes by size class; [`ASIDE`] before the thread counts and after it did.
    live: [Cell<i64>; CLASSES],
    /// Allocations until the others are told of that many; 0 before the thread counts and after it did.
    left: Cell<u64>,
    phase: Cell<Phase>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    New,
    Counting,
    /// The thread is at its very end: each change is told at once.
    Ended,
}

/// A number of bytes that no change brings below what is to be told, so that the way for rare cases is taken.
const ASIDE: i64 = i64::MAX / 2;

impl Local {
    const fn new() -> Self {
        let live = [const { Cell::new(ASIDE) }; CLASSES];
        Self { live, left: Cell::new(0), phase: Cell::new(Phase::New) }
    }

    #[inline]
    fn count(&self) {
        match self.left.get() {
            0 => self.count_batch(),
            left => self.left.set(left - 1),
        }
    }

    #[inline]
    fn change(&self, class: usize, change: i64) {
        let live = self.live[class].get().wrapping_add(change);
        if (-FLUSH_BYTES..FLUSH_BYTES).contains(&live) {
            self.live[class].set(live);
        } else {
            self.tell(class, change);
        }
    }

    #[cold]
    fn count_batch(&self) {
        match self.phase.get() {
            Phase::New => {
                self.start();
                self.count();
            }
            Phase::Counting => {
                ALLOCATIONS.fetch_add(FLUSH_ALLOCATIONS, Ordering::Relaxed);
                self.left.set(FLUSH_ALLOCATIONS - 1);
            }
            Phase::Ended => {
                ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[cold]
    fn tell(&self, class: usize, change: i64) {
        match self.phase.get() {
            Phase::New => {
                self.start();
                self.change(class, change);
            }
            Phase::Counting => publish(class, self.live[class].take().saturating_add(change)),
            Phase::Ended => publish(class, change),
        }
    }

    fn start(&self) {
        self.phase.set(Phase::Counting);
        self.live.iter().for_each(|live| live.set(0));
        self.left.set(FLUSH_ALLOCATIONS);
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
        for (class, live) in self.live.iter().enumerate().filter(|(_, live)| live.get() != 0) {
            publish(class, live.take());
        }
        let left = self.left.replace(FLUSH_ALLOCATIONS);
        ALLOCATIONS.fetch_add(FLUSH_ALLOCATIONS - left, Ordering::Relaxed);
    }

    fn end(&self) {
        self.flush();
        self.phase.set(Phase::Ended);
        self.live.iter().for_each(|live| live.set(ASIDE));
        self.left.set(0);
    }
}

/// Tells what a thread counted when that ends.
struct AtEnd;

impl Drop for AtEnd {
    fn drop(&mut self) {
        LOCAL.with(Local::end);
    }
}

fn publish(class: usize, change: i64) {
    LIVE_BY_CLASS[class].fetch_add(change, Ordering::Relaxed);
    let live = LIVE.fetch_add(change, Ordering::Relaxed) + change;
    if live > PEAK.load(Ordering::Relaxed) {
        PEAK.fetch_max(live, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_the_sizes_up_to_its_bound() {
        for class_number in 0..CLASSES {
            let bound = SizeClass { class: class_number, live_bytes: 0 }.upto();
            let Some(bound) = bound else { continue };
            assert_eq!(class(bound as usize), class_number);
            assert_eq!(class(bound as usize + 1), class_number + 1);
        }
        assert_eq!((class(1), class(usize::MAX)), (0, CLASSES - 1));
    }
}
