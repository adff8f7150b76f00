//! Where a target grows: which kind of memory, and of which mappings. Told beside a verdict of growth.

use std::sync::Arc;
use std::time::Duration;

use memleak::{Kind, KindGrowth};
use memtrack::mappings::{MappingReading, MappingReadings};
use serde::Serialize;

/// The first pause between two readings of the mappings; each is twice as long, up to the last. memtrack keeps a budget of its own.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Mappings that are named.
const NAMED: usize = 5;

/// Where it grows. Sizes are in bytes, times in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Places {
    /// The kinds of memory, the fastest growth first, over the recent window.
    pub kinds: Vec<KindPlace>,
    /// What changed between two readings of its mappings; `null` when there are not two.
    pub mappings: Option<MappingPlaces>,
}

/// The growth of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KindPlace {
    /// `anon`, `file`, `shmem` or `swap`.
    pub kind: &'static str,
    /// Its slope.
    pub bytes_per_second: f64,
    /// Its part of all growth, 0 to 1.
    pub share: f64,
}

/// What changed between two readings of the mappings.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MappingPlaces {
    /// Time between the two.
    pub seconds: f64,
    /// RSS + swap of each class, the largest growth first; those that did not grow are left out.
    pub classes: Vec<ClassPlace>,
    /// The same of mappings that bear a name: files, shared memory, memory that the program named.
    pub named: Vec<NamedPlace>,
}

/// The growth of one class of mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClassPlace {
    /// `heap`, `anonymous`, `file`, `stack`, `shmem` or `other`.
    pub class: &'static str,
    /// By how much.
    pub bytes: i64,
}

/// The growth of the mappings of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NamedPlace {
    /// The name, as the kernel shows it.
    pub name: String,
    /// By how much.
    pub bytes: i64,
}

impl Places {
    /// Where it grows, as far as that is known; `None` when nothing is.
    #[must_use]
    pub fn new(kinds: &[KindGrowth], mappings: Option<MappingPlaces>) -> Option<Self> {
        let kinds: Vec<_> =
            kinds.iter().filter(|one| one.share > 0.0).map(KindPlace::new).collect();
        let places = Self { kinds, mappings };
        (places != Self::default()).then_some(places)
    }
}

/// `shmem`.
pub(crate) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Shmem => "shmem",
        Kind::Swap => "swap",
        _ => "anon",
    }
}

impl KindPlace {
    fn new(one: &KindGrowth) -> Self {
        let kind = word(one.kind);
        Self { kind, bytes_per_second: one.bytes_per_second, share: one.share }
    }
}

/// Reads the mappings of a live target from time to time, and keeps the first and the last reading.
#[derive(Debug)]
pub struct Lookout {
    readings: MappingReadings,
    first: Option<Arc<MappingReading>>,
    last: Option<Arc<MappingReading>>,
    due: Duration,
    pause: Duration,
}

impl Lookout {
    /// Over the readings of a source.
    #[must_use]
    pub fn new(readings: MappingReadings) -> Self {
        Self { readings, first: None, last: None, due: Duration::ZERO, pause: PAUSE.0 }
    }

    /// Takes what has come, and asks for more when that is due. `needed` says that somebody will want to know.
    pub fn look(&mut self, at: Duration, needed: bool) {
        if let Some(Ok(reading)) = self.readings.newest() {
            match &self.first {
                None => self.first = Some(reading),
                Some(first) if first.at < reading.at => self.last = Some(reading),
                Some(_) => {}
            }
        }
        if needed && at >= self.due && !self.readings.is_wanted() {
            self.readings.ask();
            self.due = at.saturating_add(self.pause);
            self.pause = self.pause.saturating_mul(2).min(PAUSE.1);
        }
    }

    /// What changed between the first and the last reading.
    #[must_use]
    pub fn growth(&self) -> Option<MappingPlaces> {
        let (first, last) = (self.first.as_ref()?, self.last.as_ref()?);
        let growth = last.mappings.since(&first.mappings);
        let classes = growth.classes.iter().filter_map(|(class, change)| {
            let bytes = change.footprint();
            (bytes > 0).then_some(ClassPlace { class: class.name(), bytes })
        });
        let named = growth.named.iter().filter_map(|named| {
            let bytes = named.change.footprint();
            (bytes > 0).then(|| NamedPlace { name: named.name.clone(), bytes })
        });
        Some(MappingPlaces {
            seconds: last.at.saturating_sub(first.at).as_secs_f64(),
            classes: classes.collect(),
            named: named.take(NAMED).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::mappings::Mappings;

    fn reading(second: u64, heap: u64) -> MappingReading {
        let mut mappings = Mappings::default();
        mappings.heap.rss = heap;
        let mut reading = empty();
        (reading.at, reading.mappings) = (Duration::from_secs(second), mappings);
        reading
    }

    /// A reading can only be had from memtrack: that of this process, with other figures put in.
    fn empty() -> MappingReading {
        use memtrack::source::{LinuxSource, Source, Target};
        let id = memtrack::processes::ProcessId::own().unwrap();
        let mut source = LinuxSource::open(&Target::Process(id)).unwrap();
        let readings = source.mappings();
        readings.ask();
        loop {
            source.read(&memtrack::TrackConfig::default()).unwrap();
            if let Some(Ok(reading)) = readings.newest() {
                return (*reading).clone();
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_asks_when_needed_and_compares_the_first_with_the_last() {
        let readings = MappingReadings::default();
        let mut lookout = Lookout::new(readings.clone());
        lookout.look(Duration::ZERO, false);
        assert!(!readings.is_wanted(), "nobody needs it");
        let mut asked = Vec::new();
        for second in 0..40u64 {
            lookout.look(Duration::from_secs(second), true);
            if readings.is_wanted() {
                asked.push(second);
                readings.answer(Ok(reading(second, second << 20)));
            }
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 31]);
        let growth = lookout.growth().unwrap();
        assert_eq!((growth.seconds, growth.classes[0].bytes), (31.0, 31 << 20));
        assert_eq!(growth.classes[0].class, "heap");
    }
}
