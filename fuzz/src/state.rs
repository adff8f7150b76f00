//! What a program kept for its next start, after something else has been at the file.

use std::time::Duration;

use memleak::Detector;
use memleak::baseline::{self, Identity};

use crate::tree::Tree;

/// A baseline. What is taken for sound goes on as a detector does: it takes samples, concludes, and can be kept again.
pub(crate) fn baseline(bytes: &[u8]) {
    let tree = Tree::of("baseline.json", bytes);
    let path = tree.root().join("baseline.json");
    let identity =
        Identity { program: "p".to_owned(), build: String::new(), memory: 0, processors: 1 };
    let Ok(mut detector) = baseline::load(&path, &identity) else { return };
    go_on(&mut detector);
    baseline::save(&path, &identity, &detector).expect("the fixture's folder can be written");
    let mut again = baseline::load(&path, &identity).expect("what was saved loads");
    go_on(&mut again);
}

fn go_on(detector: &mut Detector) {
    const STEPS: u32 = 400;
    for second in 0..STEPS {
        detector.push(Duration::from_secs(1) * second, u64::from(second) << 22);
    }
    detector.conclude();
    assert!(!detector.verdict().words().is_empty());
}
