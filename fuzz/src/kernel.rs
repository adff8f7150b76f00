//! What the kernel writes, or something that pretends to be the kernel.

use std::path::Path;

use memtrack::cgroup::Hierarchy;
use memtrack::processes::ProcessId;
use memtrack::source::{LinuxMachine, LinuxSource, Source, Target};
use memtrack::{Tier, TrackConfig};

use crate::tree::Tree;

const PID: u32 = 7;

/// The files of one process and of its tree.
pub(crate) fn process(bytes: &[u8]) {
    let tree = Tree::grow(bytes);
    let Ok(id) = ProcessId::read(tree.root(), PID) else { return };
    let targets = [Target::Process(id), Target::Tree(id)];
    for target in &targets {
        read_twice(&tree, target);
    }
    read_together(&tree, &targets);
}

/// The mappings of one process: the whole input is its `smaps`.
pub(crate) fn mappings(bytes: &[u8]) {
    let tree = Tree::of("proc/7/stat", format!("7 (a) S 1{} 5 0\n", " 0".repeat(17)).as_bytes());
    tree.plant(Path::new("proc/7/smaps"), bytes);
    let id = ProcessId::read(tree.root(), PID).expect("the fixture's own line is read");
    let Ok(mappings) = memtrack::mappings::read(tree.root(), &[id]) else { return };
    let mut named = mappings.unlisted;
    mappings.named.iter().for_each(|one| named.add(one.bytes));
    let total = mappings.total();
    assert!(named.rss <= total.rss && named.swap <= total.swap, "{mappings:?}");
    // A process beside itself has twice as much of everything, or as much as fits.
    let both = memtrack::mappings::read(tree.root(), &[id, id]).map(|both| both.total().rss);
    assert_eq!(both, Ok(total.rss.saturating_mul(2)), "{mappings:?}");
}

/// The files of the machine.
pub(crate) fn machine(bytes: &[u8]) {
    read_twice(&Tree::grow(bytes), &Target::System);
}

/// The cgroup chain, with and without a believable size of the machine.
pub(crate) fn cgroup(bytes: &[u8]) {
    let tree = Tree::grow(bytes);
    let Ok(mut hierarchy) = Hierarchy::open(tree.root(), "self") else { return };
    for total in [Ok(1 << 34), Ok(u64::MAX), Err(memtrack::Absent::Unsupported)] {
        let memory = hierarchy.read(total);
        if let Ok(depth) = memory.depth {
            let _ = hierarchy.path(depth);
        }
    }
    // A tree that changes under the reader is another target's business: here only that asking is safe.
    let _ = (hierarchy.moved(), hierarchy.refresh());
}

/// The pressure file alone: the whole input is its content.
pub(crate) fn psi(bytes: &[u8]) {
    let tree = Tree::of("proc/pressure/memory", bytes);
    let Ok(psi) = memtrack::psi::Psi::open(tree.root()) else { return };
    let memory = psi.read();
    for line in [memory.some, memory.full] {
        for share in [line.avg10, line.avg60, line.avg300].into_iter().flatten() {
            assert!((0.0..=1.0).contains(&share), "{memory:?}");
        }
    }
}

/// The second read goes through the held descriptors.
fn read_twice(tree: &Tree, target: &Target) {
    let Ok(mut source) = LinuxSource::open_at(tree.root(), target) else { return };
    for tier in [Tier::Production, Tier::Development] {
        let config = TrackConfig { tier, ..TrackConfig::default() };
        let _ = source.read(&config);
    }
}

/// The same by way of a machine: files that are shared, and some that are opened each time.
fn read_together(tree: &Tree, targets: &[Target]) {
    let Ok(mut machine) = LinuxMachine::open_at(tree.root()) else { return };
    let mut open: Vec<_> =
        targets.iter().filter_map(|target| machine.target(target).ok()).collect();
    for _ in 0..2 {
        let mut tick = machine.tick();
        for target in &mut open {
            let _ = target.read(&mut tick, &TrackConfig::default());
        }
    }
}
