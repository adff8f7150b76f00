//! What changed between two readings of mappings.

use std::collections::HashMap;

use super::{MappingBytes, MappingClass, Mappings, NamedMapping};

/// A change in some mappings, in bytes; negative where they shrank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct MappingChange {
    /// Of what is resident.
    pub rss: i64,
    /// Of what is resident, shared pages divided.
    pub pss: i64,
    /// Of resident memory that no file backs.
    pub anon: i64,
    /// Of what was written to and nobody else maps.
    pub private_dirty: i64,
    /// Of what is swapped out.
    pub swap: i64,
    /// Of the number of mappings.
    pub mappings: i64,
}

impl MappingChange {
    fn between(earlier: MappingBytes, later: MappingBytes) -> Self {
        Self {
            rss: difference(earlier.rss, later.rss),
            pss: difference(earlier.pss, later.pss),
            anon: difference(earlier.anon, later.anon),
            private_dirty: difference(earlier.private_dirty, later.private_dirty),
            swap: difference(earlier.swap, later.swap),
            mappings: difference(earlier.mappings, later.mappings),
        }
    }

    /// The change of what the mappings cost wherever it lies: RSS + swap.
    #[must_use]
    pub fn footprint(&self) -> i64 {
        self.rss.saturating_add(self.swap)
    }
}

fn difference(earlier: u64, later: u64) -> i64 {
    let difference = i128::from(later) - i128::from(earlier);
    i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
}

/// The change in the mappings of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NamedChange {
    /// As in [`NamedMapping::name`].
    pub name: String,
    /// As in [`NamedMapping::class`].
    pub class: MappingClass,
    /// By how much.
    pub change: MappingChange,
}

/// What grew, and by how much: the difference between two readings of one target.
///
/// Across an `exec` the two are of different programs, and the difference says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct MappingGrowth {
    /// Each class with its change, the largest growth of RSS + swap first.
    pub classes: Vec<(MappingClass, MappingChange)>,
    /// What changed among the names that either reading lists, the largest growth of RSS + swap first. One that a
    /// reading does not list counts as nothing there, which is exact as long as that reading has nothing unlisted.
    pub named: Vec<NamedChange>,
    /// All classes together.
    pub total: MappingChange,
}

impl MappingGrowth {
    pub(super) fn between(earlier: &Mappings, later: &Mappings) -> Self {
        let mut classes: Vec<_> = MappingClass::ALL
            .into_iter()
            .map(|class| (class, MappingChange::between(earlier.class(class), later.class(class))))
            .collect();
        classes.sort_by_key(|(_, change)| std::cmp::Reverse(change.footprint()));
        Self {
            classes,
            named: named_changes(&earlier.named, &later.named),
            total: MappingChange::between(earlier.total(), later.total()),
        }
    }

    /// The change of one class.
    #[must_use]
    pub fn class(&self, class: MappingClass) -> MappingChange {
        let found = self.classes.iter().find(|(of, _)| *of == class);
        found.map(|(_, change)| *change).unwrap_or_default()
    }

    /// What grew most, unless nothing grew.
    #[must_use]
    pub fn largest(&self) -> Option<(MappingClass, MappingChange)> {
        self.classes.first().copied().filter(|(_, change)| change.footprint() > 0)
    }
}

fn named_changes(earlier: &[NamedMapping], later: &[NamedMapping]) -> Vec<NamedChange> {
    let mut before: HashMap<_, _> =
        earlier.iter().map(|named| ((named.class, named.name.as_str()), named.bytes)).collect();
    let mut changes = Vec::new();
    let mut push = |name: &str, class, change| {
        if change != MappingChange::default() {
            changes.push(NamedChange { name: name.to_owned(), class, change });
        }
    };
    for named in later {
        let was = before.remove(&(named.class, named.name.as_str())).unwrap_or_default();
        push(&named.name, named.class, MappingChange::between(was, named.bytes));
    }
    for ((class, name), was) in before {
        push(name, class, MappingChange::between(was, MappingBytes::default()));
    }
    // By name among equals, so that one pair of readings gives one order.
    changes.sort_by(|a, b| {
        b.change.footprint().cmp(&a.change.footprint()).then_with(|| a.name.cmp(&b.name))
    });
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(rss: u64) -> MappingBytes {
        MappingBytes { rss, anon: rss / 2, mappings: 1, ..MappingBytes::default() }
    }

    fn file(name: &str, rss: u64) -> NamedMapping {
        NamedMapping { name: name.into(), class: MappingClass::File, bytes: bytes(rss) }
    }

    #[test]
    fn what_grew_most_comes_first_with_its_file() {
        let earlier = Mappings {
            heap: bytes(100),
            file: bytes(5000),
            named: vec![file("/a", 3000), file("/gone", 1500), file("/same", 500)],
            ..Mappings::default()
        };
        let later = Mappings {
            heap: bytes(300),
            file: bytes(9500),
            named: vec![file("/b", 5000), file("/a", 4000), file("/same", 500)],
            ..Mappings::default()
        };
        let growth = later.since(&earlier);
        assert_eq!(growth.largest().unwrap().0, MappingClass::File);
        assert_eq!(growth.largest().unwrap().1.rss, 4500);
        assert_eq!(growth.class(MappingClass::Heap).anon, 100);
        assert_eq!(growth.total.rss, 4700);
        let named: Vec<_> =
            growth.named.iter().map(|named| (named.name.as_str(), named.change.rss)).collect();
        assert_eq!(named, [("/b", 5000), ("/a", 1000), ("/gone", -1500)]);
        assert_eq!(earlier.since(&later).class(MappingClass::Heap).rss, -200);
        assert_eq!(later.since(&later).largest(), None);
    }

    proptest! {
        #[test]
        fn there_and_back_cancel_out_and_nothing_overflows(a: u64, b: u64) {
            let (one, other) = (bytes(a), bytes(b));
            let there = MappingChange::between(one, other);
            let back = MappingChange::between(other, one);
            prop_assert_eq!(there.rss.saturating_neg().max(-i64::MAX), back.rss.max(-i64::MAX));
            prop_assert_eq!(there.rss > 0, b > a);
        }
    }
}
