//! What a program kept for its next start, after something else has been at the file.

use std::time::Duration;

use memcfg::document::spec;
use memcfg::{Code, Diagnostic, Live, LiveOptions, Sources};
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

/// Files that a program starts without, so that it takes what it kept of them.
const MISSING: [&str; 2] = ["/nowhere/global.toml", "/nowhere/project.toml"];

/// The copy of the last good configuration. What is taken from it is a sound document, and said to be a copy.
pub(crate) fn last_good(bytes: &[u8]) {
    let tree = Tree::of("last-good.json", bytes);
    let sources = Sources::new().required_file(MISSING[0]).project_file(MISSING[1]);
    let mut options = LiveOptions::default();
    options.state_dir = Some(tree.root().to_path_buf());
    options.events = false;
    match Live::start(spec(), sources, options) {
        Ok(live) => {
            let status = live.status();
            assert!(status.fallback && !status.last_reload_ok, "{status:?}");
            let loaded = &live.load().loaded;
            assert_eq!(loaded.warnings.first().map(|first| first.code), Some(Code::Fallback));
            for key in loaded.keys() {
                assert!(loaded.explain(&key).is_some(), "{key} has no origin");
            }
        }
        // Without a copy that can be used the present files are to blame, and not the copy.
        Err(found) => {
            assert!(found.iter().all(Diagnostic::is_error), "{found:?}");
            assert!(found.iter().all(|problem| problem.code == Code::Io), "{found:?}");
        }
    }
}
