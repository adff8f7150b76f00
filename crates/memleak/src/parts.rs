//! Which part of a program grows, as the program itself counts them: its registered components, or the size classes of
//! its allocator.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::regression::Recent;

/// Parts that are followed; further names are passed over, so that memory stays bounded.
pub const MOST_PARTS: usize = 128;

/// The growth of one part.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PartGrowth {
    /// Its name.
    pub name: String,
    /// Least-squares slope over the window, in bytes per second.
    pub bytes_per_second: f64,
    /// What it held last, in bytes.
    pub bytes: u64,
}

/// Follows the parts of a program over a recent window.
///
/// ```
/// use std::time::Duration;
/// use memleak::Parts;
///
/// let mut parts = Parts::new(Duration::from_secs(60));
/// for second in 0..30 {
///     parts.push(Duration::from_secs(second), [("index", 5000), ("cache", 100 * second)]);
/// }
/// let growth = parts.growth();
/// assert_eq!((growth.len(), growth[0].name.as_str()), (1, "cache"));
/// assert!((growth[0].bytes_per_second - 100.0).abs() < 1e-6);
/// ```
#[derive(Clone, Debug)]
pub struct Parts {
    window: f64,
    parts: BTreeMap<String, Followed>,
}

#[derive(Clone, Debug, Default)]
struct Followed {
    at: f64,
    bytes: u64,
    recent: Recent,
}

impl Parts {
    /// Follows the last `window`.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self { window: window.as_secs_f64(), parts: BTreeMap::new() }
    }

    /// Takes another length of the window, which counts from the next sample on.
    pub fn set_window(&mut self, window: Duration) {
        self.window = window.as_secs_f64();
    }

    /// The process was started (again), or what it held fell as if it was: the slopes begin anew.
    pub fn restarted(&mut self) {
        self.parts.clear();
    }

    /// Takes what each part holds, in bytes. A part that is not named any more keeps its last slope until its name comes
    /// again; time that does not advance is passed over.
    pub fn push<N: AsRef<str>>(&mut self, at: Duration, parts: impl IntoIterator<Item = (N, u64)>) {
        let t = at.as_secs_f64();
        for (name, bytes) in parts {
            let name = name.as_ref();
            if !self.parts.contains_key(name) {
                if self.parts.len() == MOST_PARTS {
                    continue;
                }
                let new = Followed { at: f64::NEG_INFINITY, ..Followed::default() };
                self.parts.insert(name.to_owned(), new);
            }
            let Some(part) = self.parts.get_mut(name).filter(|part| t > part.at) else { continue };
            part.at = t;
            part.bytes = bytes;
            part.recent.push(t, bytes as f64, self.window);
        }
    }

    /// The parts that grow, the fastest first.
    #[must_use]
    pub fn growth(&self) -> Vec<PartGrowth> {
        let mut out: Vec<PartGrowth> = self
            .parts
            .iter()
            .filter_map(|(name, part)| {
                let (slope, _) = part.recent.sums()?.slope()?;
                let growth =
                    PartGrowth { name: name.clone(), bytes_per_second: slope, bytes: part.bytes };
                (slope > 0.0).then_some(growth)
            })
            .collect();
        out.sort_by(|a, b| b.bytes_per_second.total_cmp(&a.bytes_per_second));
        out
    }
}

/// What the registered components of this program hold, as [`Parts::push`] takes it.
#[cfg(feature = "worker")]
#[must_use]
pub fn of_components(components: &memtrack::component::Components) -> Vec<(String, u64)> {
    let breakdown = components.breakdown(&memtrack::ProcessMemory::default(), None);
    breakdown.components.into_iter().map(|part| (part.name, part.bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_window_counts_from_the_next_sample_on() {
        let mut parts = Parts::new(Duration::from_secs(3600));
        for second in 0..1200 {
            if second == 1100 {
                parts.set_window(Duration::from_secs(60));
            }
            parts.push(Duration::from_secs(second), [("cache", 1000 * second.min(1000))]);
        }
        assert!(parts.growth().is_empty(), "{:?}", parts.growth());
    }

    #[test]
    fn after_a_restart_only_the_new_life_counts() {
        let mut parts = Parts::new(Duration::from_secs(60));
        for second in 0..40 {
            if second == 20 {
                parts.restarted();
            }
            let bytes = if second < 20 { 1000 * second } else { second };
            parts.push(Duration::from_secs(second), [("cache", bytes)]);
        }
        assert!((parts.growth()[0].bytes_per_second - 1.0).abs() < 1e-6, "{parts:?}");
    }

    #[test]
    fn memory_is_bounded_however_many_names_come() {
        let mut parts = Parts::new(Duration::from_secs(60));
        for second in 0..10 {
            parts.push(
                Duration::from_secs(second),
                (0..1000).map(|n| (format!("part {n:04}"), second)),
            );
        }
        assert_eq!(parts.growth().len(), MOST_PARTS);
    }

    #[test]
    fn what_shrinks_or_stays_is_not_named() {
        let mut parts = Parts::new(Duration::from_secs(60));
        for second in 0..10 {
            let at = Duration::from_secs(second);
            parts.push(at, [("same", 7), ("less", 100 - second), ("more", second)]);
            parts.push(at, [("less", 1 << 40)]);
        }
        let names: Vec<_> = parts.growth().into_iter().map(|part| part.name).collect();
        assert_eq!(names, ["more"]);
    }
}
