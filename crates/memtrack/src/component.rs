//! Which part of a program holds how much: gauges that the program keeps, held against what the kernel measured.
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use memtrack::component::Components;
//! use memtrack::source::{LinuxSource, Source, Target};
//!
//! let components = Components::new();
//! let index = components.component("global_index");
//! index.add(64 << 10);
//!
//! let sample = LinuxSource::open(&Target::Own)?.read(&memtrack::TrackConfig::default())?;
//! // With feature `glibc`, in place of `None`: `Some(memtrack::alloc::glibc())`. `jemalloc` likewise.
//! let breakdown = components.breakdown(&sample.process, None);
//! assert_eq!(breakdown.components[0].bytes, 64 << 10);
//! assert!(breakdown.unattributed?.bytes > 0);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::alloc::Allocator;
use crate::reading::{Absent, Reading};
use crate::sample::ProcessMemory;

/// The components of a program. Cheap to clone: all clones share them.
#[derive(Clone, Debug, Default)]
pub struct Components {
    shared: Arc<Mutex<Registered>>,
}

#[derive(Debug, Default)]
struct Registered {
    bytes: Vec<Gauge>,
    counts: Vec<Gauge>,
}

/// A number that its owner keeps up to date: one atomic addition for each change.
///
/// Clones are the same gauge. What was subtracted beyond 0 is owed, and reads as 0 until it was added again.
#[derive(Clone, Debug)]
pub struct Gauge {
    inner: Arc<Named>,
}

#[derive(Debug)]
struct Named {
    name: String,
    value: AtomicI64,
}

impl Gauge {
    fn new(name: &str) -> Self {
        Self { inner: Arc::new(Named { name: name.to_owned(), value: AtomicI64::new(0) }) }
    }

    /// What it counts.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.inner.value.store(signed(value), Ordering::Relaxed);
    }

    /// Adds to the value.
    pub fn add(&self, amount: u64) {
        let amount = signed(amount);
        let before = self.inner.value.fetch_add(amount, Ordering::Relaxed);
        if before.checked_add(amount).is_none() {
            self.inner.value.store(i64::MAX, Ordering::Relaxed);
        }
    }

    /// Takes from the value.
    pub fn sub(&self, amount: u64) {
        let amount = signed(amount);
        let before = self.inner.value.fetch_sub(amount, Ordering::Relaxed);
        if before.checked_sub(amount).is_none() {
            self.inner.value.store(i64::MIN, Ordering::Relaxed);
        }
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        u64::try_from(self.inner.value.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

/// Half of what a `u64` holds is enough for bytes and counts, and leaves room below 0.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Components {
    /// No components yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The gauge of the bytes that component `name` holds; the same one each time it is asked for.
    #[must_use]
    pub fn component(&self, name: &str) -> Gauge {
        find_or_add(&mut self.registered().bytes, name)
    }

    /// A gauge of something else that the program counts, such as its async tasks.
    #[must_use]
    pub fn count(&self, name: &str) -> Gauge {
        find_or_add(&mut self.registered().counts, name)
    }

    /// Holds the components, and the allocator when its figures are given, against what was measured.
    #[must_use]
    pub fn breakdown(&self, measured: &ProcessMemory, allocator: Option<Allocator>) -> Breakdown {
        let registered = self.registered();
        let total = measured.footprint();
        let share = |name: &str, bytes: u64| Share {
            name: name.to_owned(),
            bytes,
            percent: total.ok().filter(|total| *total > 0).map(|total| percent(bytes, total)),
        };
        let components: Vec<Share> =
            registered.bytes.iter().map(|gauge| share(gauge.name(), gauge.get())).collect();
        let claimed = components.iter().fold(0u64, |sum, part| sum.saturating_add(part.bytes));
        let kinds = [
            ("anon", measured.anon),
            ("file", measured.file),
            ("shmem", measured.shmem),
            ("swap", measured.swap),
        ];
        Breakdown {
            footprint: total,
            kinds: kinds
                .into_iter()
                .filter_map(|(name, bytes)| Some(share(name, bytes.ok()?)))
                .collect(),
            components,
            allocator,
            unattributed: measured.private().and_then(|private| {
                match private.checked_sub(claimed) {
                    Some(rest) => Ok(share("unattributed", rest)),
                    None => Err(Absent::Implausible),
                }
            }),
            counts: registered
                .counts
                .iter()
                .map(|gauge| Count { name: gauge.name().to_owned(), count: gauge.get() })
                .collect(),
        }
    }

    fn registered(&self) -> std::sync::MutexGuard<'_, Registered> {
        // No code of a caller runs under this lock.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find_or_add(gauges: &mut Vec<Gauge>, name: &str) -> Gauge {
    if let Some(known) = gauges.iter().find(|gauge| gauge.name() == name) {
        return known.clone();
    }
    let gauge = Gauge::new(name);
    gauges.push(gauge.clone());
    gauge
}

fn percent(part: u64, total: u64) -> f64 {
    part as f64 / total as f64 * 100.0
}

/// Where the memory of a process is, as far as it is known. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Breakdown {
    /// RSS + swap: what all percentages are of.
    pub footprint: Reading<u64>,
    /// What the kernel measured, by kind.
    pub kinds: Vec<Share>,
    /// What the program says its components hold.
    pub components: Vec<Share>,
    /// What the allocator says about itself.
    pub allocator: Option<Allocator>,
    /// Private memory (anon + swap) that no component claims. [`Absent::Implausible`] when they claim more than there
    /// is: a component counts what is not resident, or counts it twice.
    pub unattributed: Reading<Share>,
    /// What else the program counts.
    pub counts: Vec<Count>,
}

/// A part of the memory.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Share {
    /// What it is.
    pub name: String,
    /// How much.
    pub bytes: u64,
    /// How much of the footprint; unknown when that is. Above 100 when more is claimed than there is.
    pub percent: Option<f64>,
}

/// Something counted that is not bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Count {
    /// What is counted.
    pub name: String,
    /// How many.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn measured() -> ProcessMemory {
        ProcessMemory {
            rss: Ok(90 * MIB),
            anon: Ok(60 * MIB),
            file: Ok(30 * MIB),
            shmem: Ok(0),
            swap: Ok(10 * MIB),
            ..ProcessMemory::default()
        }
    }

    #[test]
    fn components_and_the_rest_add_up_to_what_was_measured() {
        let components = Components::new();
        let index = components.component("global_index");
        index.add(30 * MIB);
        components.component("global_index").sub(5 * MIB);
        components.component("cache").set(15 * MIB);
        components.count("async_tasks").set(7);
        let breakdown = components.breakdown(&measured(), None);
        assert_eq!(breakdown.components.len(), 2);
        assert_eq!(
            (breakdown.components[0].bytes, breakdown.components[0].percent),
            (25 * MIB, Some(25.0))
        );
        let rest = breakdown.unattributed.unwrap();
        assert_eq!((rest.bytes, rest.percent), (30 * MIB, Some(30.0)));
        assert_eq!(breakdown.kinds.iter().map(|kind| kind.bytes).sum::<u64>(), 100 * MIB);
        assert_eq!(breakdown.counts, [Count { name: "async_tasks".into(), count: 7 }]);
    }

    #[test]
    fn claims_beyond_what_there_is_are_said_and_no_percentages_invented() {
        let components = Components::new();
        components.component("liar").set(71 * MIB);
        let breakdown = components.breakdown(&measured(), None);
        assert_eq!(breakdown.unattributed, Err(Absent::Implausible));
        let unknown = components.breakdown(&ProcessMemory::default(), None);
        assert_eq!(unknown.components[0].percent, None);
        assert!(unknown.kinds.is_empty() && unknown.unattributed.is_err());
    }

    #[test]
    fn a_gauge_never_wraps() {
        let gauge = Gauge::new("x");
        gauge.sub(5);
        assert_eq!(gauge.get(), 0);
        gauge.add(7);
        assert_eq!(gauge.get(), 2);
        gauge.set(u64::MAX);
        assert_eq!(gauge.get(), i64::MAX as u64);
        gauge.add(1);
        assert_eq!(gauge.get(), i64::MAX as u64, "more than it holds is not nothing");
        gauge.set(0);
        gauge.sub(u64::MAX);
        gauge.sub(u64::MAX);
        assert_eq!(gauge.get(), 0);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(anon in 0u64..1 << 50, swap in 0u64..1 << 50, parts in prop::collection::vec(0u64..1 << 50, 0..6)) {
            let components = Components::new();
            for (n, bytes) in parts.iter().enumerate() {
                components.component(&format!("c{n}")).set(*bytes);
            }
            let memory = ProcessMemory { rss: Ok(anon), anon: Ok(anon), swap: Ok(swap), ..ProcessMemory::default() };
            let breakdown = components.breakdown(&memory, None);
            if let Ok(rest) = breakdown.unattributed {
                prop_assert_eq!(rest.bytes + parts.iter().sum::<u64>(), anon + swap);
            } else {
                prop_assert!(parts.iter().sum::<u64>() > anon + swap);
            }
        }
    }
}
