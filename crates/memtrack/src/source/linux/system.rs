//! The machine as a whole: `meminfo`, compressed swap, pressure.

use std::path::Path;

use crate::held::{Held, slurp};
use crate::psi::Psi;
use crate::reading::{Absent, Reading};
use crate::sample::{PsiMemory, SystemMemory};
use crate::text::{Fields, column, decimal};

/// `meminfo` is some 1,600 bytes.
const BUFFER: usize = 4096;
/// More zram devices than this are not looked at.
const MAX_ZRAM: usize = 8;
/// `swaps` has a line of some 60 bytes for each swap area, of which there are 30 at most.
const SWAPS_LIMIT: u64 = 1 << 16;

/// The files of the machine as a whole, held open.
#[derive(Debug)]
pub(super) struct System {
    meminfo: Reading<Held>,
    zram: Vec<Held>,
    psi: Reading<Psi>,
    /// The same each time: clearing one would take as long as parsing.
    buffer: Box<[u8]>,
}

impl System {
    pub(super) fn open(root: &Path) -> Self {
        Self {
            meminfo: Held::open(root.join("proc/meminfo")),
            zram: zram_swaps(root),
            psi: Psi::open(root),
            buffer: vec![0; BUFFER].into(),
        }
    }

    pub(super) fn memory(&mut self) -> SystemMemory {
        let meminfo = self.meminfo.as_ref().map_err(|why| *why);
        let text = meminfo.and_then(|file| file.read(&mut self.buffer));
        let mut system = match text {
            Ok(text) => parse_meminfo(text),
            Err(why) => SystemMemory::absent(why),
        };
        // Without swap there is none on zram either, whatever else its devices hold.
        let no_swap = system.swap_total == Ok(0);
        system.zram = if no_swap { Err(Absent::Unsupported) } else { self.zram_used() };
        system
    }

    pub(super) fn pressure(&self) -> PsiMemory {
        self.psi.as_ref().map_or_else(|why| PsiMemory::absent(*why), Psi::read)
    }

    /// `mem_used_total`, the third number of `mm_stat` (kernel, `Documentation/admin-guide/blockdev/zram.rst`).
    fn zram_used(&self) -> Reading<u64> {
        let mut sum = Err(Absent::Unsupported);
        for device in &self.zram {
            let used = column(device.read(&mut [0; 256])?, 2)?;
            sum = Ok(sum.unwrap_or(0u64).saturating_add(used));
        }
        sum
    }
}

/// The zram devices that are swapped to now. Others hold file systems, and their numbers may have gaps.
fn zram_swaps(root: &Path) -> Vec<Held> {
    let swaps = slurp(&root.join("proc/swaps"), SWAPS_LIMIT).unwrap_or_default();
    let numbers = swaps.split(|byte| *byte == b'\n').filter_map(|line| {
        let (number, rest) = decimal(line.strip_prefix(b"/dev/zram")?)?;
        rest.first().is_none_or(u8::is_ascii_whitespace).then_some(number)
    });
    let device = |number| Held::open(root.join(format!("sys/block/zram{number}/mm_stat"))).ok();
    numbers.take(MAX_ZRAM).filter_map(device).collect()
}

/// `meminfo`, in the order in which the kernel writes it, so that one pass finds all.
fn parse_meminfo(text: &[u8]) -> SystemMemory {
    let mut fields = Fields::new(text);
    let total = match fields.kb(b"MemTotal:") {
        // No machine runs on nothing; a masked file reads like this.
        Ok(0) => Err(Absent::Implausible),
        total => total,
    };
    let free = fields.kb(b"MemFree:");
    let available = match fields.kb(b"MemAvailable:") {
        Err(Absent::Unsupported) => approximate_available(fields.clone(), free),
        available => available,
    };
    let swap_total = fields.kb(b"SwapTotal:");
    let swap_free = fields.kb(b"SwapFree:");
    SystemMemory { total, available, swap_total, swap_free, ..SystemMemory::default() }
}

/// For kernels before 3.14: what is free, and the page cache without the part of it that is shared memory and cannot be
/// dropped. The approximation of earlyoom and of procps `free`.
fn approximate_available(mut fields: Fields<'_>, free: Reading<u64>) -> Reading<u64> {
    let buffers = fields.kb(b"Buffers:")?;
    let cached = fields.kb(b"Cached:")?;
    let shmem = fields.kb(b"Shmem:").unwrap_or(0);
    Ok(free?.saturating_add(buffers).saturating_add(cached).saturating_sub(shmem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_kernel_without_mem_available_is_approximated() {
        let system = parse_meminfo(
            b"MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 300 kB\nShmem: 20 kB\n",
        );
        assert_eq!(system.available, Ok(430 << 10));
        assert_eq!(system.swap_total, Err(Absent::Unsupported));
    }

    #[test]
    fn garbage_is_a_reason_and_never_a_zero() {
        let system = parse_meminfo(
            b"MemTotal: 0 kB\nMemFree: 1 kB\nMemAvailable: many kB\nSwapTotal: 0 kB\n",
        );
        assert_eq!(system.total, Err(Absent::Implausible));
        assert_eq!(system.available, Err(Absent::Malformed));
        assert_eq!(system.swap_total, Ok(0), "no swap is a fact");
    }

    #[test]
    fn compressed_swap_is_summed_over_the_devices_that_are_swapped_to() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(System::open(root.path()).memory().zram, Err(Absent::Unsupported));
        // The second holds a file system, and the third was removed.
        for (n, used) in [(0, 4096), (1, 1 << 20), (3, 8192)] {
            let dir = root.path().join(format!("sys/block/zram{n}"));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("mm_stat"), format!(" 100 50 {used} 0 9 0 0 0 0\n")).unwrap();
        }
        assert_eq!(System::open(root.path()).memory().zram, Err(Absent::Unsupported));
        std::fs::create_dir_all(root.path().join("proc")).unwrap();
        let swaps = "Filename\t\t\tType\t\tSize\tUsed\tPriority\n\
                     /dev/zram0                              partition\t1048572\t0\t100\n\
                     /dev/sda2                               partition\t1048572\t0\t-2\n\
                     /dev/zram3                              partition\t1048572\t0\t100\n";
        std::fs::write(root.path().join("proc/swaps"), swaps).unwrap();
        assert_eq!(System::open(root.path()).memory().zram, Ok(12288));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text: Vec<u8>, lines in "((Mem|Swap)(Total|Free|Available): {0,3}[0-9]{0,22} kB\n){0,6}") {
            parse_meminfo(&text);
            parse_meminfo(lines.as_bytes());
        }
    }
}
