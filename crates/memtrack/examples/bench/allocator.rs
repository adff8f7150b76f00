//! The tracking allocator beside the one it counts for.

use memtrack::alloc::{Tracking, TrackingBySize};

use super::*;

pub(super) fn tracking(rows: &mut Vec<Row>) {
    use std::alloc::{GlobalAlloc, Layout, System};
    /// A program that does nothing but allocate: small blocks of mixed sizes, written to and kept for a while.
    fn churn(allocator: &impl GlobalAlloc) {
        let mut kept = [std::ptr::null_mut::<u8>(); 512];
        let mut layouts = [Layout::new::<u8>(); 512];
        let mut state = 1u64;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let slot = (state >> 40) as usize % kept.len();
            #[expect(unsafe_code, reason = "the allocator itself is what is measured")]
            // SAFETY: each block is freed once, with the layout that it was allocated with, which is not empty.
            unsafe {
                if !kept[slot].is_null() {
                    allocator.dealloc(kept[slot], layouts[slot]);
                }
                layouts[slot] =
                    Layout::from_size_align((state >> 50) as usize % 1024 + 16, 8).unwrap();
                kept[slot] = allocator.alloc(layouts[slot]);
                kept[slot].write_bytes(1, layouts[slot].size());
            }
        }
        for (block, layout) in kept.iter().zip(layouts) {
            if !block.is_null() {
                #[expect(unsafe_code, reason = "as above")]
                // SAFETY: as above.
                unsafe {
                    allocator.dealloc(*block, layout);
                }
            }
        }
    }
    let plain: Tracking = Tracking::system();
    let by_size = TrackingBySize::system();
    let mut row = |what, promise: &str, ours, rival, kept| {
        rows.push(Row {
            what,
            ours: format!("{:.2} ms", ours / 1e6),
            rival: format!(
                "the system's alone: {:.2} ms, {:+.1} %",
                rival / 1e6,
                (ours / rival - 1.0) * 100.0
            ),
            promise: promise.into(),
            kept,
        });
    };
    let (ours, rival, ratio) = compare((3, 3), || churn(&plain), || churn(&System));
    let what = "tracking allocator, 200,000 allocations of 16 to 1,039 bytes";
    row(what, "at most +5 %", ours, rival, Some(ratio <= 1.05));
    let (ours, rival, _) = compare((3, 3), || churn(&by_size), || churn(&System));
    row("the same, counting by size class", "", ours, rival, None);
}
