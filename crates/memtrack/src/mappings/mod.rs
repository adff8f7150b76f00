//! Where the memory of a process lies: heap, anonymous mappings, files, stacks, shared memory. Two readings some
//! minutes apart tell where it grows.
//!
//! The figures come from `/proc/PID/smaps`, for which the kernel walks the page tables as it does for PSS: some 10 us
//! for each MiB that is resident and a few microseconds for each mapping. So they are not part of a
//! [`Sample`](crate::Sample). Whoever wants them asks [`MappingReadings`], which a source fills within the budget of
//! PSS, or takes one reading on the spot with [`read()`].
//!
//! What a class can tell and what it cannot: [`MappingClass`].

mod growth;
#[cfg(target_os = "linux")]
mod read;
#[cfg(target_os = "linux")]
mod smaps;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use growth::{MappingChange, MappingGrowth, NamedChange};
#[cfg(target_os = "linux")]
pub(crate) use read::Reader;
#[cfg(target_os = "linux")]
pub use read::read;

use crate::reading::Reading;

/// How many names [`Mappings::named`] lists at most, the largest first.
pub const MAX_NAMED: usize = 256;

/// What kind of memory a mapping holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum MappingClass {
    /// The heap that grows at its end (`[heap]`, by `brk`): what the C library hands out in small blocks to a program's
    /// first thread. Those of other threads, large blocks, and all blocks of allocators that do without `brk`
    /// are [`Anonymous`](Self::Anonymous); the C library's own names (`glibc.mem.decorate_maps`) bring them here.
    Heap,
    /// Private memory without a file: what `mmap` gave an allocator, and a program's uninitialised data.
    Anonymous,
    /// A mapped file, what the process wrote to its private copy included.
    File,
    /// The stack of the first thread (`[stack]`), and those of further threads as far as they can be told: by the C
    /// library's name, or by the small inaccessible guard right below.
    Stack,
    /// Memory that processes share: `memfd`, `/dev/shm`, System V segments, shared anonymous mappings.
    Shmem,
    /// What is none of these: the kernel's own pages (`[vdso]`), rings of devices and of `io_uring`.
    Other,
}

impl MappingClass {
    /// All of them, in the order of [`Mappings`].
    pub const ALL: [Self; 6] =
        [Self::Heap, Self::Anonymous, Self::File, Self::Stack, Self::Shmem, Self::Other];

    /// As written in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Anonymous => "anonymous",
            Self::File => "file",
            Self::Stack => "stack",
            Self::Shmem => "shmem",
            Self::Other => "other",
        }
    }
}

/// Sizes of some mappings, in bytes. Huge pages of hugetlbfs are in none of them, as they are in no RSS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct MappingBytes {
    /// Resident (`Rss`). Summed over processes, a shared page counts once for each.
    pub rss: u64,
    /// Resident, every shared page divided among its users (`Pss`): what may be summed over processes.
    pub pss: u64,
    /// Of `rss`: memory that no file backs (`Anonymous`), private copies of file pages included.
    pub anon: u64,
    /// Of `rss`: written to, and mapped by nobody else (`Private_Dirty`).
    pub private_dirty: u64,
    /// Swapped out (`Swap`).
    pub swap: u64,
    /// How many mappings.
    pub mappings: u64,
}

impl MappingBytes {
    /// Adds `other`, each figure to its own.
    pub fn add(&mut self, other: Self) {
        for (to, from) in [
            (&mut self.rss, other.rss),
            (&mut self.pss, other.pss),
            (&mut self.anon, other.anon),
            (&mut self.private_dirty, other.private_dirty),
            (&mut self.swap, other.swap),
            (&mut self.mappings, other.mappings),
        ] {
            *to = to.saturating_add(from);
        }
    }
}

/// The mappings that bear one name: those of a file, of a shared segment, or of memory that the program named itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NamedMapping {
    /// As the kernel shows it: a path, with ` (deleted)` after it when the file is; `[anon:NAME]`. Of more than 256
    /// bytes the last, after an ellipsis. Control characters are replaced, since anybody may name a file.
    pub name: String,
    /// Which class its bytes are part of.
    pub class: MappingClass,
    /// Its bytes.
    pub bytes: MappingBytes,
}

/// The memory of a process, or summed over several, by what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Mappings {
    /// [`MappingClass::Heap`].
    pub heap: MappingBytes,
    /// [`MappingClass::Anonymous`].
    pub anonymous: MappingBytes,
    /// [`MappingClass::File`].
    pub file: MappingBytes,
    /// [`MappingClass::Stack`].
    pub stack: MappingBytes,
    /// [`MappingClass::Shmem`].
    pub shmem: MappingBytes,
    /// [`MappingClass::Other`].
    pub other: MappingBytes,
    /// The mappings that bear a name, the largest RSS first, at most [`MAX_NAMED`]. Their bytes are in the classes too.
    pub named: Vec<NamedMapping>,
    /// The named ones that are not listed.
    pub unlisted: MappingBytes,
}

impl Mappings {
    /// The bytes of one class.
    #[must_use]
    pub fn class(&self, class: MappingClass) -> MappingBytes {
        match class {
            MappingClass::Heap => self.heap,
            MappingClass::Anonymous => self.anonymous,
            MappingClass::File => self.file,
            MappingClass::Stack => self.stack,
            MappingClass::Shmem => self.shmem,
            MappingClass::Other => self.other,
        }
    }

    /// The bytes of one class, to change them.
    pub fn class_mut(&mut self, class: MappingClass) -> &mut MappingBytes {
        match class {
            MappingClass::Heap => &mut self.heap,
            MappingClass::Anonymous => &mut self.anonymous,
            MappingClass::File => &mut self.file,
            MappingClass::Stack => &mut self.stack,
            MappingClass::Shmem => &mut self.shmem,
            MappingClass::Other => &mut self.other,
        }
    }

    /// All classes together.
    #[must_use]
    pub fn total(&self) -> MappingBytes {
        let mut total = MappingBytes::default();
        MappingClass::ALL.iter().for_each(|class| total.add(self.class(*class)));
        total
    }

    /// What changed from `earlier` to here.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> MappingGrowth {
        MappingGrowth::between(earlier, self)
    }
}

/// One reading of the mappings of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct MappingReading {
    /// When it was taken up, on the samples' monotonic clock ([`Stamp::monotonic`](crate::Stamp::monotonic)).
    pub at: Duration,
    /// The processor time it took.
    pub cost: Duration,
    /// How many processes it sums over.
    pub processes: u64,
    /// What was there.
    pub mappings: Mappings,
}

/// Readings of the mappings of a source's target, taken when somebody asks and the budget of PSS affords it.
///
/// All clones are the same. Take it from a source before the source goes into a sampler.
#[derive(Clone, Debug, Default)]
pub struct MappingReadings {
    slot: Arc<Mutex<Slot>>,
}

#[derive(Debug, Default)]
struct Slot {
    wanted: bool,
    newest: Option<Reading<Arc<MappingReading>>>,
}

impl MappingReadings {
    /// Asks for one more reading. It is there some ticks later; who asks again until then is served by the same. Nobody
    /// is answered while nobody samples, as in the tier `disabled`; when the target has ended, the answer is that.
    ///
    /// How much later depends on the budget: at most [`PSS_SHARE`](crate::pss::PSS_SHARE) of a core in the long run,
    /// PSS included. After a reading of an 8 GiB process that is over a minute.
    pub fn ask(&self) {
        self.slot().wanted = true;
    }

    /// Whether somebody waits for a reading.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.slot().wanted
    }

    /// The newest reading, or why it failed. `None` until there is one.
    #[must_use]
    pub fn newest(&self) -> Option<Reading<Arc<MappingReading>>> {
        self.slot().newest.clone()
    }

    /// Answers whoever asked. For sources of a caller's own, and for tests.
    pub fn answer(&self, reading: Reading<MappingReading>) {
        let mut slot = self.slot();
        slot.wanted = false;
        slot.newest = Some(reading.map(Arc::new));
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Absent;

    #[test]
    fn who_asks_is_answered_once() {
        let readings = MappingReadings::default();
        let source_side = readings.clone();
        assert_eq!((readings.is_wanted(), readings.newest()), (false, None));
        readings.ask();
        readings.ask();
        assert!(source_side.is_wanted());
        source_side.answer(Err(Absent::Denied));
        assert_eq!((readings.is_wanted(), readings.newest()), (false, Some(Err(Absent::Denied))));
    }

    #[test]
    fn each_class_has_a_place_of_its_own_and_the_total_is_their_sum() {
        let mut mappings = Mappings::default();
        for (n, class) in MappingClass::ALL.into_iter().enumerate() {
            mappings.class_mut(class).rss = 1 << n;
        }
        for (n, class) in MappingClass::ALL.into_iter().enumerate() {
            assert_eq!(mappings.class(class).rss, 1 << n, "{class:?}");
        }
        assert_eq!(mappings.total().rss, 0b11_1111);
    }
}
