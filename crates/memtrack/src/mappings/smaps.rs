//! The text of `smaps`, taken in pieces. Total: any bytes give a tally or a reason, never a panic.

use std::collections::HashMap;

use super::{MAX_NAMED, MappingBytes, MappingClass, Mappings, NamedMapping};
use crate::pss::{Measured, anon_share};
use crate::reading::{Absent, Reading};
use crate::text::decimal;

/// Of a longer name the last bytes: the end of a path tells more than its start.
const MAX_NAME: usize = 256;
/// Names that are told apart while reading; the limit on mappings (`vm.max_map_count`) is 65,530.
const MAX_TALLIED: usize = 4096;
/// The stack of a thread lies above an inaccessible guard: one page from glibc, musl and Rust, four from the JVM.
const MAX_GUARD: u64 = 64 * 1024;
/// A heap of glibc's for further threads starts at a multiple of that (`HEAP_MAX_SIZE`), right above the inaccessible
/// end of another, which is as small as a guard when that one is nearly full.
const ARENA: u64 = 64 << 20;

/// One line that starts a mapping: `7f11f5d48000-7f11f6548000 rw-p 00000000 00:00 0   NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header<'t> {
    start: u64,
    end: u64,
    access: &'t [u8],
    name: &'t [u8],
}

/// Adds mappings up, from lines in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    classes: Mappings,
    named: HashMap<Vec<u8>, (MappingClass, MappingBytes)>,
    /// What else there is of all of them.
    shares: Shares,
    /// The mapping whose lines are being read.
    current: Option<Current>,
    /// The name of it; empty when it has none of interest. Apart, so that its memory serves the next one.
    name: Vec<u8>,
    /// Where the mapping before ended, if that was the guard of a stack.
    guard_end: Option<u64>,
}

#[derive(Debug)]
struct Current {
    class: MappingClass,
    bytes: MappingBytes,
    shares: Shares,
    /// One bit for each of `KEYS` that was seen.
    seen: u8,
}

/// What PSS is made of, as `smaps_rollup` has it of the whole.
#[derive(Clone, Copy, Debug, Default)]
struct Shares {
    anon: u64,
    swap: u64,
    clean: u64,
}

impl Shares {
    fn add(&mut self, other: Self) {
        self.anon = self.anon.saturating_add(other.anon);
        self.swap = self.swap.saturating_add(other.swap);
        self.clean = self.clean.saturating_add(other.clean);
    }
}

type Key = (&'static [u8], fn(&mut MappingBytes) -> &mut u64);

/// In the kernel's order (`Documentation/filesystems/proc.rst`).
const KEYS: [Key; 5] = [
    (b"Rss:", |bytes| &mut bytes.rss),
    (b"Pss:", |bytes| &mut bytes.pss),
    (b"Private_Dirty:", |bytes| &mut bytes.private_dirty),
    (b"Anonymous:", |bytes| &mut bytes.anon),
    (b"Swap:", |bytes| &mut bytes.swap),
];

type ShareKey = (&'static [u8], fn(&mut Shares) -> &mut u64);

const SHARE_KEYS: [ShareKey; 2] =
    [(b"Private_Clean:", |shares| &mut shares.clean), (b"SwapPss:", |shares| &mut shares.swap)];

impl Tally {
    /// Takes in one line without its line break.
    pub(crate) fn line(&mut self, line: &[u8]) -> Reading<()> {
        // Keys start with a capital letter, addresses with a digit or a small one.
        if line.first().is_some_and(u8::is_ascii_uppercase) {
            return self.field(line);
        }
        self.close()?;
        let header = header(line).ok_or(Absent::Malformed)?;
        let above_guard = self.guard_end == Some(header.start);
        let is_guard = header.access.starts_with(b"---")
            && header.name.is_empty()
            && header.end - header.start <= MAX_GUARD;
        self.guard_end = is_guard.then_some(header.end);
        let class = classify(header, above_guard);
        self.name.clear();
        if matches!(class, MappingClass::File | MappingClass::Shmem | MappingClass::Anonymous) {
            self.name.extend_from_slice(tail(header.name));
        }
        let bytes = MappingBytes { mappings: 1, ..MappingBytes::default() };
        self.current = Some(Current { class, bytes, shares: Shares::default(), seen: 0 });
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Reading<()> {
        let current = self.current.as_mut().ok_or(Absent::Malformed)?;
        for (index, (key, place)) in KEYS.iter().enumerate() {
            if let Some(value) = line.strip_prefix(*key) {
                *place(&mut current.bytes) = kib(value)?;
                current.seen |= 1 << index;
                return Ok(());
            }
        }
        for (key, place) in &SHARE_KEYS {
            if let Some(value) = line.strip_prefix(*key) {
                *place(&mut current.shares) = kib(value)?;
            }
        }
        Ok(())
    }

    /// Books the mapping whose lines have all been read. One without its sizes was cut short.
    fn close(&mut self) -> Reading<()> {
        let Some(Current { class, bytes, mut shares, seen }) = self.current.take() else {
            return Ok(());
        };
        if seen != (1 << KEYS.len()) - 1 {
            return Err(Absent::Malformed);
        }
        let MappingBytes { rss, pss, anon, private_dirty: dirty, .. } = bytes;
        shares.anon = anon_share(rss, pss, anon, dirty, dirty.saturating_add(shares.clean));
        self.shares.add(shares);
        self.classes.class_mut(class).add(bytes);
        if self.name.is_empty() {
            return Ok(());
        }
        if let Some((_, sum)) = self.named.get_mut(self.name.as_slice()) {
            sum.add(bytes);
        } else if self.named.len() < MAX_TALLIED {
            self.named.insert(self.name.clone(), (class, bytes));
        } else {
            self.classes.unlisted.add(bytes);
        }
        Ok(())
    }

    /// The text is over: what it said. [`Absent::Malformed`] when it broke off within a mapping.
    pub(crate) fn end(&mut self) -> Reading<()> {
        self.guard_end = None;
        self.close()
    }

    /// All that was tallied, the largest names listed.
    pub(crate) fn finish(self) -> Mappings {
        let mut mappings = self.classes;
        let mut named: Vec<_> = self.named.into_iter().collect();
        named.sort_by(|a, b| b.1.1.rss.cmp(&a.1.1.rss).then_with(|| a.0.cmp(&b.0)));
        for (_, (_, bytes)) in named.iter().skip(MAX_NAMED) {
            mappings.unlisted.add(*bytes);
        }
        let listed = named.into_iter().take(MAX_NAMED);
        mappings.named = listed
            .map(|(name, (class, bytes))| NamedMapping { name: shown(&name), class, bytes })
            .collect();
        mappings
    }

    /// All classes together, as `smaps_rollup` has them.
    pub(crate) fn measured(&self) -> Measured {
        let MappingBytes { rss, pss, anon, private_dirty, swap, .. } = self.classes.total();
        let Shares { anon: pss_anon, swap: pss_swap, clean } = self.shares;
        let unique = private_dirty.saturating_add(clean);
        Measured { rss, pss, anon, pss_anon, swap, pss_swap, unique }
    }

    /// Adds what another tally found.
    pub(crate) fn merge(&mut self, other: Self) {
        for class in MappingClass::ALL {
            self.classes.class_mut(class).add(other.classes.class(class));
        }
        self.classes.unlisted.add(other.classes.unlisted);
        for (name, (class, bytes)) in other.named {
            if self.named.len() < MAX_TALLIED || self.named.contains_key(&name) {
                self.named.entry(name).or_insert((class, MappingBytes::default())).1.add(bytes);
            } else {
                self.classes.unlisted.add(bytes);
            }
        }
    }
}

fn kib(value: &[u8]) -> Reading<u64> {
    let Some((kib, b" kB")) = decimal(value.trim_ascii_start()) else {
        return Err(Absent::Malformed);
    };
    kib.checked_mul(1024).ok_or(Absent::Implausible)
}

fn header(line: &[u8]) -> Option<Header<'_>> {
    let (start, rest) = hexadecimal(line)?;
    let (end, rest) = hexadecimal(rest.strip_prefix(b"-")?)?;
    if end < start {
        return None;
    }
    let rest = rest.strip_prefix(b" ")?;
    let (access, mut rest) = rest.split_at_checked(4)?;
    // Offset, device and inode: a word each.
    for _ in 0..3 {
        rest = rest.strip_prefix(b" ")?;
        let length = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        if length == 0 {
            return None;
        }
        rest = rest.get(length..)?;
    }
    Some(Header { start, end, access, name: rest.trim_ascii() })
}

fn hexadecimal(text: &[u8]) -> Option<(u64, &[u8])> {
    let length = text.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(length)?;
    let value = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((value, rest))
}

/// The names are those of the kernel (`Documentation/filesystems/proc.rst`) and of glibc (`glibc.mem.decorate_maps`).
fn classify(header: Header<'_>, above_guard: bool) -> MappingClass {
    let starts = |starts: &[&[u8]]| starts.iter().any(|start| header.name.starts_with(start));
    if header.name.is_empty() {
        let is_stack = above_guard
            && header.access.starts_with(b"rw-p")
            && !header.start.is_multiple_of(ARENA);
        if is_stack { MappingClass::Stack } else { MappingClass::Anonymous }
    } else if header.name == b"[heap]" || starts(&[b"[anon: glibc: malloc"]) {
        MappingClass::Heap
    } else if starts(&[b"[stack", b"[anon: glibc: pthread", b"[anon:stack_and_tls"]) {
        MappingClass::Stack
    } else if starts(&[b"[anon_shmem:", b"/memfd:", b"/SYSV", b"/dev/zero", b"/dev/shm/"]) {
        MappingClass::Shmem
    } else if starts(&[b"[anon:", b"/anon_hugepage"]) {
        MappingClass::Anonymous
    } else if starts(&[b"/"]) {
        MappingClass::File
    } else {
        MappingClass::Other
    }
}

fn tail(name: &[u8]) -> &[u8] {
    name.get(name.len().saturating_sub(MAX_NAME)..).unwrap_or_default()
}

fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name).replace(char::is_control, "\u{fffd}");
    if name.len() < MAX_NAME { text } else { format!("\u{2026}{text}") }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A mapping as the kernel writes it, its sizes in KiB: RSS, PSS, private dirty, anonymous, swap.
    pub(crate) fn mapping(header: &str, kib: [u64; 5]) -> String {
        let [rss, pss, dirty, anon, swap] = kib;
        format!(
            "{header}\nSize:  {rss:>8} kB\nKernelPageSize:  4 kB\nRss: {rss:>8} kB\nPss: {pss:>8} kB\nPss_Dirty: {dirty} kB\n\
             Shared_Clean: 0 kB\nPrivate_Dirty: {dirty:>8} kB\nAnonymous: {anon:>8} kB\nLazyFree: 0 kB\n\
             Swap: {swap} kB\nSwapPss: {swap} kB\nLocked: 0 kB\nTHPeligible:           0\nVmFlags: rd mr mw me \n"
        )
    }

    fn tally(text: &[u8]) -> Reading<Mappings> {
        let mut tally = Tally::default();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        text.split(|byte| *byte == b'\n').try_for_each(|line| tally.line(line))?;
        tally.end()?;
        Ok(tally.finish())
    }

    #[test]
    fn every_kind_of_mapping_finds_its_class_and_files_their_names() {
        let text = [
            mapping(
                "55ff00000000-55ff00002000 r--p 00000000 fe:00 247282     /usr/bin/a program",
                [8, 4, 0, 0, 0],
            ),
            mapping(
                "55ff00002000-55ff00004000 rw-p 00002000 fe:00 247282     /usr/bin/a program",
                [8, 8, 8, 8, 0],
            ),
            mapping(
                "55ff01000000-55ff02000000 rw-p 00000000 00:00 0          [heap]",
                [1000, 1000, 1000, 1000, 24],
            ),
            // A heap of glibc's for another thread, nearly full, and right above it the next.
            mapping("7f1100000000-7f1103fff000 rw-p 00000000 00:00 0 ", [500, 500, 500, 500, 0]),
            mapping("7f1103fff000-7f1104000000 ---p 00000000 00:00 0 ", [0; 5]),
            mapping("7f1104000000-7f1104021000 rw-p 00000000 00:00 0 ", [50, 50, 50, 50, 0]),
            mapping("7f1105d47000-7f1105d48000 ---p 00000000 00:00 0 ", [0; 5]),
            mapping("7f1105d48000-7f1106548000 rw-p 00000000 00:00 0 ", [16, 16, 16, 16, 0]),
            mapping(
                "7f1107000000-7f1107100000 rw-s 00000000 00:01 1024       /memfd:ring (deleted)",
                [300, 150, 0, 0, 0],
            ),
            mapping(
                "7f1108000000-7f1108100000 rw-s 00000000 00:01 7          /dev/zero (deleted)",
                [30, 30, 0, 0, 0],
            ),
            mapping(
                "7f1109000000-7f1109100000 rw-p 00000000 00:00 0          [anon: glibc: malloc arena]",
                [7, 7, 7, 7, 0],
            ),
            mapping(
                "7f110a000000-7f110a100000 rw-p 00000000 00:00 0          [anon:cache]",
                [9, 9, 9, 9, 0],
            ),
            mapping(
                "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0          [stack]",
                [20, 20, 20, 20, 0],
            ),
            mapping(
                "7ffc00100000-7ffc00102000 r-xp 00000000 00:00 0          [vdso]",
                [4, 0, 0, 0, 0],
            ),
            mapping("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]", [0; 5]),
        ];
        let mappings = tally(text.concat().as_bytes()).unwrap();
        let kib = |class| mappings.class(class).rss >> 10;
        assert_eq!(MappingClass::ALL.map(kib), [1007, 559, 16, 36, 330, 4]);
        assert_eq!(mappings.heap.swap, 24 << 10);
        assert_eq!(mappings.heap.private_dirty, 1007 << 10);
        assert_eq!(mappings.file.anon, 8 << 10, "what was written to a private copy");
        assert_eq!(mappings.total().mappings, 15);
        let named = mappings.named.iter();
        let named: Vec<_> = named
            .map(|named| (named.name.as_str(), named.class.name(), named.bytes.pss >> 10))
            .collect();
        assert_eq!(
            named,
            [
                ("/memfd:ring (deleted)", "shmem", 150),
                ("/dev/zero (deleted)", "shmem", 30),
                ("/usr/bin/a program", "file", 12),
                ("[anon:cache]", "anonymous", 9),
            ]
        );
    }

    #[test]
    fn text_that_breaks_off_or_lies_is_malformed() {
        let whole = mapping("1000-2000 rw-p 00000000 00:00 0", [4; 5]);
        assert!(tally(whole.as_bytes()).is_ok());
        for text in [
            &b"Rss: 4 kB\n"[..],
            b"1000-2000 rw-p 00000000 00:00 0\nRss: 4 kB\n",
            b"2000-1000 rw-p 00000000 00:00 0\n",
            b"1000-2000 rw\n",
            b"1000-2000 rw-p 00000000 00:00\n",
            b"10000000000000000-2 rw-p 0 0 0\n",
            &whole.replace("Rss:        4 kB", "Rss: -4 kB").into_bytes(),
            &whole.replace("Rss:        4 kB", "Rss: 4 MB").into_bytes(),
            &whole.replace("Swap:", "Swop:").into_bytes(),
            b"\n",
        ] {
            assert_eq!(tally(text), Err(Absent::Malformed), "{}", String::from_utf8_lossy(text));
        }
        let huge = whole.replace("Rss:        4 kB", "Rss: 18446744073709551615 kB");
        assert_eq!(tally(huge.as_bytes()), Err(Absent::Implausible));
    }

    #[test]
    fn names_are_bounded_in_number_and_length_and_shown_harmless() {
        let mut text = String::new();
        for n in 0..MAX_TALLIED as u64 + 9 {
            let start = (n + 1) << 12;
            let header = format!("{start:x}-{:x} r--p 00000000 fe:00 {n} /dir/{n}", start + 4096);
            text += &mapping(&header, [n, 0, 0, 0, 0]);
        }
        let mappings = tally(text.as_bytes()).unwrap();
        assert_eq!(mappings.named.len(), MAX_NAMED);
        let listed: u64 = mappings.named.iter().map(|named| named.bytes.rss).sum();
        assert_eq!(listed + mappings.unlisted.rss, mappings.file.rss);
        assert_eq!(mappings.named[0].name, format!("/dir/{}", MAX_TALLIED - 1));

        let header = format!("1000-2000 r--p 0 fe:00 1 /\x1b[31m{}end", "x".repeat(5000));
        let mappings = tally(mapping(&header, [4; 5]).as_bytes()).unwrap();
        let name = &mappings.named[0].name;
        assert!(
            name.starts_with('\u{2026}') && name.ends_with("xend") && name.len() < 300,
            "{name}"
        );
        assert!(!shown(b"/\x1b[31m").contains('\x1b'));
    }

    #[test]
    fn two_processes_add_up() {
        let text = mapping("1000-2000 r--p 0 fe:00 1 /lib", [4, 2, 0, 0, 0]);
        let mut sum = Tally::default();
        for _ in 0..2 {
            let mut one = Tally::default();
            text.trim_end_matches('\n')
                .split('\n')
                .for_each(|line| one.line(line.as_bytes()).unwrap());
            one.end().unwrap();
            sum.merge(one);
        }
        let mappings = sum.finish();
        assert_eq!((mappings.file.pss, mappings.file.rss), (4 << 10, 8 << 10));
        assert_eq!((mappings.named.len(), mappings.named[0].bytes.rss), (1, 8 << 10));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            text: Vec<u8>,
            lines in "(([0-9a-f]{0,18}-[0-9a-f]{1,17} [rwxp-]{3,5} 0 0 0 {0,3}[\\[/a-z:\\]]{0,9}|(Rss|Pss|Swap|Anonymous|Private_Dirty):[0-9 ]{0,22}( kB)?)\n){0,20}",
        ) {
            let _ = (tally(&text), tally(lines.as_bytes()));
        }

        #[test]
        fn classes_hold_every_byte_once(
            mappings in prop::collection::vec((0usize..9, any::<u32>(), any::<bool>()), 0..30),
        ) {
            const NAMES: [&str; 9] =
                ["", "[heap]", "[stack]", "/lib/a", "/lib/b (deleted)", "/memfd:x", "[anon:y]", "[vdso]", "anon_inode:[perf]"];
            let (mut text, mut sum, mut named) = (String::new(), 0, 0);
            for (n, (name, kib, open)) in mappings.iter().enumerate() {
                let access = if *open { "rw-p" } else { "---p" };
                let header = format!("{:x}-{:x} {access} 0 00:00 0 {}", (n + 1) << 12, (n + 2) << 12, NAMES[*name]);
                text += &mapping(&header, [u64::from(*kib), 1, 1, 1, 1]);
                sum += u64::from(*kib) << 10;
                named += if (3..=6).contains(name) { u64::from(*kib) << 10 } else { 0 };
            }
            prop_assume!(!mappings.is_empty());
            let read = tally(text.as_bytes()).unwrap();
            prop_assert_eq!(read.total().rss, sum);
            prop_assert_eq!(read.total().mappings, mappings.len() as u64);
            prop_assert_eq!(read.named.iter().map(|named| named.bytes.rss).sum::<u64>(), named);
        }
    }
}
