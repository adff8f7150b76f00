//! The tracking allocator under threads that come and go.
#![cfg(feature = "tracking")]

use std::hint::black_box;
use std::thread;

use memtrack::alloc::{Tracking, tracked};

#[global_allocator]
static ALLOCATOR: Tracking = Tracking::system();

const MIB: u64 = 1 << 20;
/// What one thread may not have told yet.
const BEHIND: u64 = 64 * 1024;

// One test, since the counts are those of the whole program.
#[test]
fn counts_are_right_once_threads_have_ended_and_nearly_so_before() {
    let before = ALLOCATOR.counts();
    let blocks: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(|| {
                // Made here, freed elsewhere; small ones, that are told of late.
                let small: Vec<Vec<u8>> =
                    (0..10_000).map(|n| black_box(vec![0; n % 100 + 1])).collect();
                drop(small);
                vec![1u8; 4 << 20]
            })
        })
        .collect::<Vec<_>>()
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let with = ALLOCATOR.counts();
    let grown = with.live_bytes - before.live_bytes;
    assert!(grown.abs_diff(32 * MIB) <= 4 * BEHIND, "{grown}");
    assert!(with.allocations - before.allocations >= 80_000);
    drop(blocks);
    let after = ALLOCATOR.counts();
    assert!(after.live_bytes.abs_diff(before.live_bytes) <= 4 * BEHIND, "{after:?}");
    assert!(after.peak_bytes >= before.live_bytes + 32 * MIB);
    assert_eq!(tracked(&ALLOCATOR).name, "tracking");

    // Threads that only free, a little each, and some of it at their very end: nothing is left over.
    thread_local! {
        static LATE: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    for _ in 0..200 {
        let block = black_box(vec![1u8; 10_000]);
        let late = black_box(vec![1u8; 30_000]);
        thread::spawn(move || {
            LATE.replace(late);
            drop(block);
        })
        .join()
        .unwrap();
    }
    let end = ALLOCATOR.counts();
    assert!(end.live_bytes.abs_diff(after.live_bytes) <= 4 * BEHIND, "{after:?} {end:?}");
}
