//! Which part of a program grows, as the program itself counts them: its registered components, or the size classes of
//! its allocator.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::filter::Clock;
use crate::regression::Recent;

/// Parts that are followed; while so many are named, further names are passed over, so that memory stays bounded.
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
    clock: Clock,
    /// Seconds of the newest call and of the one before, repaired.
    now: f64,
    before: f64,
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
        Self {
            window: window.as_secs_f64(),
            clock: Clock::default(),
            now: f64::NEG_INFINITY,
            before: f64::NEG_INFINITY,
            parts: BTreeMap::new(),
        }
    }

    /// Takes another length of the window, which counts from the next sample on.
    pub fn set_window(&mut self, window: Duration) {
        self.window = window.as_secs_f64();
    }

    /// The process was started (again), or what it held fell as if it was: the slopes begin anew.
    pub fn restarted(&mut self) {
        self.parts.clear();
    }

    /// Takes what each part holds, in bytes. Several calls at one time are one, and a part's second size at one time is passed
    /// over; after a step back of the clock one ordinary interval has passed. A part that is not named any more is not told,
    /// and forgotten once the window has passed or its place is needed.
    pub fn push<N: AsRef<str>>(&mut self, at: Duration, parts: impl IntoIterator<Item = (N, u64)>) {
        if let Some(t) = self.clock.advance(at.as_secs_f64()) {
            (self.before, self.now) = (self.now, t);
            // A place is needed only when all are taken, and then by what is still named.
            let full = self.parts.len() == MOST_PARTS;
            let oldest = if full { self.before } else { t - self.window };
            self.parts.retain(|_, part| part.at >= oldest);
        }
        let t = self.now;
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

    /// The parts that grow, the fastest first, of those that the newest call named.
    #[must_use]
    pub fn growth(&self) -> Vec<PartGrowth> {
        let mut out: Vec<PartGrowth> = self
            .parts
            .iter()
            .filter(|(_, part)| part.at == self.now)
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
    use crate::growth::MIB;

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
    fn names_that_are_gone_make_room_and_are_not_told() {
        let mut parts = Parts::new(Duration::from_secs(60));
        for second in 0..30u64 {
            let of_a_request = |n: usize| (format!("request {n:04}"), 1000 * second);
            let short = (0..MOST_PARTS).filter(|_| second < 5).map(of_a_request);
            parts.push(Duration::from_secs(second), short.chain([("hoard".into(), second << 20)]));
        }
        let names: Vec<_> = parts.growth().into_iter().map(|part| part.name).collect();
        assert_eq!(names, ["hoard"]);
        // Gone, though its window has not passed: it holds nothing that could grow.
        parts.push(Duration::from_secs(30), [("other", 1)]);
        assert!(parts.growth().is_empty(), "{:?}", parts.growth());
        // Back within the window, with what was seen of it.
        parts.push(Duration::from_secs(31), [("hoard", 31 << 20)]);
        assert!((parts.growth()[0].bytes_per_second - MIB).abs() < 1.0, "{:?}", parts.growth());
    }

    #[test]
    fn a_clock_that_steps_back_stops_no_part() {
        let mut parts = Parts::new(Duration::from_secs(60));
        for second in 0..60 {
            let at = if second < 30 { 86_400 + second } else { second };
            parts.push(Duration::from_secs(at), [("cache", 1000 * second.max(29))]);
        }
        let growth = parts.growth();
        assert!(growth.len() == 1 && growth[0].bytes_per_second > 500.0, "{growth:?}");
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
