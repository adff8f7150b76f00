//! A global allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::alloc::Counts;

/// A thread tells of its changes once they come to this many bytes ...
const FLUSH_BYTES: i64 = 64 * 1024;
/// ... or this many allocations.
const FLUSH_ALLOCATIONS: u64 = 1024;

// One allocator serves one program, so these belong to the program as its heap does.
static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Const: reaching it runs no code of ours and allocates nothing through us, which inside an allocator would not end.
    // (Its destructor is registered with the C library, which takes its memory elsewhere.)
    static LOCAL: Local = const { Local { live: Cell::new(0), allocations: Cell::new(0) } };
}

/// Counts live bytes, their peak and the number of allocations of the whole program.
///
/// Each thread counts for itself and tells the others now and then, so figures may be behind by 64 KiB and 1024
/// allocations for each thread; a single allocation of 64 KiB or more is told at once.
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
        let _ = LOCAL.try_with(Local::flush);
        let live = LIVE.load(Ordering::Relaxed);
        Counts {
            live_bytes: positive(live),
            peak_bytes: positive(PEAK.load(Ordering::Relaxed).max(live)),
            allocations: ALLOCATIONS.load(Ordering::Relaxed),
        }
    }
}

// SAFETY: every call goes to `inner` unchanged, and what it returns is returned unchanged; counting touches neither.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Tracking<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let block = unsafe { self.inner.alloc(layout) };
        if !block.is_null() {
            allocated(bytes(layout.size()));
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        let block = unsafe { self.inner.alloc_zeroed(layout) };
        if !block.is_null() {
            allocated(bytes(layout.size()));
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.inner.dealloc(block, layout) };
        freed(-bytes(layout.size()));
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        let moved = unsafe { self.inner.realloc(block, layout, new_size) };
        if !moved.is_null() {
            allocated(bytes(new_size) - bytes(layout.size()));
        }
        moved
    }
}

/// A size of a layout, which is at most `isize::MAX`.
fn bytes(size: usize) -> i64 {
    size as i64
}

fn positive(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[inline]
fn allocated(change: i64) {
    let local = LOCAL.try_with(|local| {
        let allocations = local.allocations.get() + 1;
        local.allocations.set(allocations);
        if local.add(change) | (allocations >= FLUSH_ALLOCATIONS) {
            local.flush();
        }
    });
    if local.is_err() {
        // A thread at its very end.
        publish(change, 1);
    }
}

#[inline]
fn freed(change: i64) {
    let local = LOCAL.try_with(|local| {
        if local.add(change) {
            local.flush();
        }
    });
    if local.is_err() {
        publish(change, 0);
    }
}

struct Local {
    live: Cell<i64>,
    allocations: Cell<u64>,
}

impl Local {
    /// Whether it is time to tell the others.
    #[inline]
    fn add(&self, change: i64) -> bool {
        let live = self.live.get() + change;
        self.live.set(live);
        !(-FLUSH_BYTES..FLUSH_BYTES).contains(&live)
    }

    #[cold]
    fn flush(&self) {
        publish(self.live.take(), self.allocations.take());
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.flush();
    }
}

fn publish(change: i64, allocations: u64) {
    let live = LIVE.fetch_add(change, Ordering::Relaxed) + change;
    if live > PEAK.load(Ordering::Relaxed) {
        PEAK.fetch_max(live, Ordering::Relaxed);
    }
    ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
}
