//! Every parser of outside bytes, fed with bytes that nobody meant.
//!
//! A target takes any bytes and must return: no panic, no overflow, no endless loop. Some assert more, such as that a size reads back as it was
//! written. `cargo xtask fuzz` lets libFuzzer look for bytes that break one; the tests replay the committed corpus and fixed mutations of it on every
//! run. A finding becomes a file of the corpus.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a fixture that cannot be written is a failed test")]

mod cores;
mod documents;
mod kernel;
mod recordings;
mod state;
mod text;
mod tree;

/// One target: its name, which is also its folder in the corpus, and what it does with the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The folder below `fuzz/corpus`.
    pub name: &'static str,
    /// Feeds the bytes to the parser.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "units", run: text::units },
    Target { name: "arguments", run: text::arguments },
    Target { name: "document", run: documents::document },
    Target { name: "overlays", run: documents::overlays },
    Target { name: "env", run: documents::env },
    Target { name: "migrate", run: documents::migrate },
    Target { name: "edit", run: documents::edit },
    Target { name: "yaml", run: documents::yaml },
    Target { name: "trace", run: recordings::trace },
    Target { name: "import", run: recordings::import },
    Target { name: "process", run: kernel::process },
    Target { name: "mappings", run: kernel::mappings },
    Target { name: "cgroup", run: kernel::cgroup },
    Target { name: "machine", run: kernel::machine },
    Target { name: "psi", run: kernel::psi },
    Target { name: "baseline", run: state::baseline },
    Target { name: "last-good", run: state::last_good },
    Target { name: "level", run: cores::level },
    Target { name: "detector", run: cores::detector },
];

/// The target of a name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
