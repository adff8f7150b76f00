//! The tracking allocator that counts by size class, under threads that come and go.
#![cfg(feature = "tracking")]

use std::hint::black_box;
use std::thread;

use memtrack::alloc::TrackingBySize;

#[global_allocator]
static ALLOCATOR: TrackingBySize = TrackingBySize::system();

const MIB: u64 = 1 << 20;
/// What one thread may not have told yet in one class.
const BEHIND: u64 = 64 * 1024;

// One test, since the counts are those of the whole program.
#[test]
fn live_bytes_pile_up_in_the_class_of_their_size() {
    let before = ALLOCATOR.counts();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(|| {
                // Made here, freed elsewhere.
                let small: Vec<Vec<u8>> = (0..10_000).map(|_| black_box(vec![0; 24])).collect();
                let large = vec![1u8; 4 << 20];
                (small, large)
            })
        })
        .collect();
    let blocks: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let classes = ALLOCATOR.size_classes();
    let largest = classes.last().unwrap();
    assert!(largest.live_bytes >= 32 * MIB && largest.upto().is_none(), "{classes:?}");
    assert!(classes[1].live_bytes.abs_diff(80_000 * 24) <= 2 * BEHIND, "{classes:?}");
    assert_eq!(largest.to_string(), "allocations of 524288 bytes and more");
    assert_eq!(classes[1].to_string(), "allocations of 16 to 31 bytes");
    let sum: u64 = classes.iter().map(|class| class.live_bytes).sum();
    assert!(sum.abs_diff(ALLOCATOR.counts().live_bytes) <= 8 * BEHIND, "{classes:?}");
    drop(blocks);
    let after = ALLOCATOR.counts();
    assert!(after.live_bytes.abs_diff(before.live_bytes) <= 4 * BEHIND, "{after:?}");
    assert!(ALLOCATOR.size_classes()[1].live_bytes <= BEHIND);
}
