//! What the allocator of this process says about itself, and how to make it give memory back.
//!
//! Each allocator sits behind a feature: `glibc`, `jemalloc`, and `tracking` for a wrapper that counts what goes
//! through it. These figures are of the own process only.

use crate::reading::Reading;
#[cfg(feature = "tracking")]
pub use crate::sys::{Tracking, TrackingBySize};

/// Figures of an allocator, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Allocator {
    /// Which allocator.
    pub name: &'static str,
    /// Asked for by the program and not yet given back by it, with the allocator's rounding.
    pub allocated: Reading<u64>,
    /// Held from the kernel in order to serve that.
    pub held: Reading<u64>,
    /// Of what is held: free, and kept for later. What trimming is about.
    pub free: Reading<u64>,
}

/// glibc's figures, from `mallinfo2` (glibc 2.33 and later): sums over all arenas, and what was mapped on its own.
///
/// Takes each arena's lock in turn. Zero throughout when another allocator serves the program.
#[cfg(all(feature = "glibc", target_os = "linux", target_env = "gnu"))]
#[must_use]
pub fn glibc() -> Allocator {
    let info = crate::sys::mallinfo();
    let sum = |a: usize, b: usize| Ok(a.saturating_add(b) as u64);
    Allocator {
        name: "glibc",
        allocated: sum(info.uordblks, info.hblkhd),
        held: sum(info.arena, info.hblkhd),
        free: Ok(info.fordblks as u64),
    }
}

/// jemalloc's figures: `stats.allocated`, `stats.resident`, and their difference.
///
/// # Errors
/// [`Absent::Unsupported`](crate::Absent::Unsupported) when jemalloc was built without statistics.
#[cfg(feature = "jemalloc")]
pub fn jemalloc() -> Reading<Allocator> {
    use crate::reading::Absent;
    use tikv_jemalloc_ctl::{epoch, stats};
    let unsupported = |_| Absent::Unsupported;
    // The statistics are a snapshot that only this renews.
    epoch::advance().map_err(unsupported)?;
    let allocated = stats::allocated::read().map_err(unsupported)? as u64;
    let held = stats::resident::read().map_err(unsupported)? as u64;
    let free = held.saturating_sub(allocated);
    Ok(Allocator { name: "jemalloc", allocated: Ok(allocated), held: Ok(held), free: Ok(free) })
}

/// What the tracking allocator counted, when the program has one: see [`Tracking`].
#[cfg(feature = "tracking")]
#[must_use]
pub fn tracked<A, const BY_SIZE: bool>(tracking: &Tracking<A, BY_SIZE>) -> Allocator {
    use crate::reading::Absent;
    let counts = tracking.counts();
    let unknown = Err(Absent::Unsupported);
    Allocator { name: "tracking", allocated: Ok(counts.live_bytes), held: unknown, free: unknown }
}

/// What went through a [`Tracking`] allocator since the program began.
#[cfg(feature = "tracking")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Counts {
    /// Bytes allocated and not yet freed.
    pub live_bytes: u64,
    /// The most that `live_bytes` was.
    pub peak_bytes: u64,
    /// Allocations made, reallocations included.
    pub allocations: u64,
}

/// Size classes of a [`TrackingBySize`] allocator: powers of two from 16 bytes to 512 KiB, and all larger sizes.
#[cfg(feature = "tracking")]
pub const CLASSES: usize = 17;

/// What the allocations of similar sizes hold.
#[cfg(feature = "tracking")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SizeClass {
    /// Which class, from 0.
    pub class: usize,
    /// Bytes allocated in these sizes and not yet freed.
    pub live_bytes: u64,
}

#[cfg(feature = "tracking")]
impl SizeClass {
    /// The largest size in bytes that belongs to it; `None` for the last class.
    #[must_use]
    pub fn upto(&self) -> Option<u64> {
        (self.class + 1 < CLASSES).then(|| (16 << self.class) - 1)
    }
}

/// For people: `allocations of 16 to 31 bytes`.
#[cfg(feature = "tracking")]
impl std::fmt::Display for SizeClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let above = if self.class == 0 { 1 } else { 8u64 << self.class.min(CLASSES) };
        match self.upto() {
            Some(upto) => write!(f, "allocations of {above} to {upto} bytes"),
            None => write!(f, "allocations of {above} bytes and more"),
        }
    }
}

/// Makes the allocators give free memory back to the kernel; takes tens of milliseconds on a large heap, and locks it.
///
/// Returns whether one of them did anything. Not for a hot path, and no substitute for freeing: what is in use stays,
/// and so do pages with any piece in use on them.
#[cfg(any(feature = "jemalloc", all(feature = "glibc", target_os = "linux", target_env = "gnu")))]
#[must_use]
pub fn trim() -> bool {
    let trimmed = [
        #[cfg(all(feature = "glibc", target_os = "linux", target_env = "gnu"))]
        crate::sys::trim(),
        #[cfg(feature = "jemalloc")]
        crate::sys::purge(),
    ];
    trimmed.contains(&true)
}

#[cfg(all(test, feature = "glibc", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn glibc_sees_a_large_allocation_come_and_go() {
        let before = glibc();
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let with = glibc();
        let grown = with.allocated.unwrap().saturating_sub(before.allocated.unwrap());
        assert!(grown >= 60 << 20, "{grown}");
        assert!(with.held.unwrap() >= with.allocated.unwrap());
        drop(block);
        assert!(glibc().allocated.unwrap() < with.allocated.unwrap());
    }

    #[test]
    fn what_small_blocks_left_behind_goes_back_when_it_is_trimmed() {
        const BLOCKS: usize = 64 << 10;
        // Each too small to be mapped on its own, and the last one keeps the heap from shrinking by itself.
        let mut blocks: Vec<Vec<u8>> = (0..BLOCKS).map(|_| vec![1u8; 1 << 10]).collect();
        let last = std::hint::black_box(blocks.pop());
        drop(std::hint::black_box(blocks));
        let (free, before) = (glibc().free.unwrap(), crate::rss().unwrap());
        assert!(free >= 60 << 20, "{free} bytes lie idle");
        assert!(trim());
        let given_back = before.saturating_sub(crate::rss().unwrap());
        assert!(given_back >= 32 << 20, "{given_back} of {free}");
        drop(last);
    }
}

#[cfg(all(test, feature = "jemalloc"))]
mod jemalloc_tests {
    use super::*;

    #[test]
    fn what_was_freed_in_jemalloc_goes_back_when_it_is_trimmed() {
        const BLOCK: usize = 16 << 10;
        // The test program itself lives on the system's allocator.
        let blocks: Vec<_> = (0..4096).map(|_| crate::sys::Block::new(BLOCK)).collect();
        let with = jemalloc().unwrap();
        assert!(with.allocated.unwrap() >= 64 << 20, "{with:?}");
        drop(blocks);
        assert!(trim());
        let after = jemalloc().unwrap();
        assert!(after.held.unwrap() + (32 << 20) <= with.held.unwrap(), "{with:?} {after:?}");
    }
}
