#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memtrack::processes::ProcessId;
use memtrack::sampler::Sampler;
use memtrack::source::{LinuxMachine, LinuxSource, Source, Target};
use memtrack::{OwnRss, Settings, Tier, TrackConfig};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Allocations of the whole program while `work` runs.
fn allocations_of(mut work: impl FnMut()) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

pub(crate) fn main() {
    let config = TrackConfig { interval: Some(Duration::from_millis(5)), ..TrackConfig::default() };
    let sleeper = Sleeper(Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap());
    let id = ProcessId::read(Path::new("/"), sleeper.0.id()).unwrap();
    for target in [Target::Own, Target::Process(id), Target::Tree(id), Target::System] {
        let mut source = LinuxSource::open(&target).unwrap();
        for _ in 0..3 {
            source.read(&config).unwrap();
        }
        let count = allocations_of(|| {
            for _ in 0..500 {
                source.read(&config).unwrap();
            }
        });
        assert_eq!(count, 0, "{target:?}");
    }
    let mut machine = LinuxMachine::open().unwrap();
    let mut targets = [Target::Own, Target::Process(id), Target::Tree(id), Target::System]
        .map(|target| machine.target(&target).unwrap());
    let mut read_together = || {
        let mut tick = machine.tick();
        for target in &mut targets {
            target.read(&mut tick, &config).unwrap();
        }
    };
    (0..3).for_each(|_| read_together());
    assert_eq!(allocations_of(|| (0..500).for_each(|_| read_together())), 0, "together");

    let development = TrackConfig { tier: Tier::Development, ..config.clone() };
    let mut source = LinuxSource::open(&Target::Process(id)).unwrap();
    while source.read(&development).unwrap().process.pss.is_err() {}
    // PSS comes from another thread within its budget; all else is as above.
    let count = allocations_of(|| {
        for _ in 0..100 {
            source.read(&development).unwrap();
        }
    });
    assert!(count <= 8, "{count}");

    let own = OwnRss::open().unwrap();
    assert_eq!(allocations_of(|| assert!(own.read().is_ok())), 0);

    let mut sampler =
        Sampler::new(LinuxSource::open(&Target::Own).unwrap(), Settings::fixed(config));
    let (all, newest) = (sampler.all(), sampler.newest());
    sampler.start().unwrap();
    for _ in 0..5 {
        all.receiver().recv().unwrap();
    }
    let count = allocations_of(|| {
        while sampler.health().samples < 100 {
            std::thread::yield_now();
        }
        while all.receiver().try_recv().is_ok() {}
        newest.get().unwrap();
    });
    assert_eq!(count, 0, "the sampler's thread");
}
