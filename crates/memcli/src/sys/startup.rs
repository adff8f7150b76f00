//! Gives back the memory that only the start of this program needed.
//!
//! Reading arguments and configuration runs through code that a watch never enters again, and the kernel maps sixteen
//! pages around each one that is touched: most of what a watch would keep resident is its own start.

use std::ffi::c_void;

#[cfg(target_pointer_width = "32")]
use libc::{Elf32_Addr as Address, Elf32_Phdr as Segment};
#[cfg(target_pointer_width = "64")]
use libc::{Elf64_Addr as Address, Elf64_Phdr as Segment};

/// Has all threads share one heap, in place of one each: this program's few threads hardly ever allocate at one time. To be
/// called before there is a second thread.
pub fn share_heap() {
    // SAFETY: takes two numbers. Refused, it changes nothing.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back what the heap holds free and what the start mapped of the program. For a command that now settles down to
/// watch; what it needs of the program comes back as it is touched, some 0.5 us a page.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    let _ = memtrack::alloc::trim();
    let_go_of_program();
}

/// Takes the pages of the program's and its libraries' code and constants out of this process, and returns the bytes that
/// this covered. They stay in the page cache, and each comes back at its next touch.
///
/// Only segments that are loaded without the right to write are let go of: no store of this program ever reached them,
/// so that what the file holds is what they hold. What relocation writes to lies in other segments. A breakpoint that
/// somebody set in the code is let go of too.
fn let_go_of_program() -> usize {
    let mut covered = 0usize;
    // SAFETY: `visit` has the type that the loader calls, gets `covered` and nothing else through the pointer, and does
    // not outlive this call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut covered).cast()) };
    covered
}

/// Called with each loaded object, the program first.
unsafe extern "C" fn visit(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    covered: *mut c_void,
) -> libc::c_int {
    // SAFETY: the loader passes an object that is valid for this call.
    let object = unsafe { &*object };
    // SAFETY: `let_go_of_program` passes a `usize` that nobody else holds.
    let covered = unsafe { &mut *covered.cast::<usize>() };
    if object.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the headers are an array of that length, mapped for as long as the object is.
    let segments =
        unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    for segment in segments {
        if let Some((start, length)) = whole_pages(object.dlpi_addr, segment) {
            let start = std::ptr::with_exposed_provenance_mut::<c_void>(start);
            // SAFETY: these are whole pages of a mapping that this object keeps until it is unloaded, which is not during
            // `dl_iterate_phdr`. It is private, of a file, and never written, so that its pages hold what the file
            // holds: the next touch maps the same bytes again.
            if unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) } == 0 {
                *covered = covered.saturating_add(length);
            }
        }
    }
    0
}

/// Start and length of the pages that lie wholly within a segment which is loaded and never written; `None` of another.
fn whole_pages(base: Address, segment: &Segment) -> Option<(usize, usize)> {
    let readable_only = segment.p_flags & (libc::PF_R | libc::PF_W) == libc::PF_R;
    if segment.p_type != libc::PT_LOAD || !readable_only {
        return None;
    }
    // SAFETY: takes a number and gives one.
    let page = Address::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    if page == 0 {
        return None;
    }
    let begin = base.checked_add(segment.p_vaddr)?;
    let start = begin.checked_next_multiple_of(page)?;
    // What lies past the bytes of the file would be zeros that no file holds.
    let end = begin.checked_add(segment.p_memsz.min(segment.p_filesz))?;
    let end = end - end % page;
    let length = end.checked_sub(start).filter(|length| *length > 0)?;
    Some((usize::try_from(start).ok()?, usize::try_from(length).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: u32, start: Address, length: Address) -> Segment {
        // SAFETY: all-zero bytes are a valid program header.
        let mut segment: Segment = unsafe { std::mem::zeroed() };
        (segment.p_type, segment.p_flags) = (libc::PT_LOAD, flags);
        (segment.p_vaddr, segment.p_memsz, segment.p_filesz) = (start, length, length);
        segment
    }

    #[test]
    fn only_whole_pages_of_what_is_never_written_are_let_go_of() {
        // SAFETY: takes a number and gives one.
        let size = Address::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap();
        let page = usize::try_from(size).unwrap();
        let base = 100 * size;
        let of = |segment: &Segment| whole_pages(base, segment);
        assert_eq!(of(&segment(libc::PF_R, 0, 2 * size)), Some((100 * page, 2 * page)));
        let code = libc::PF_R | libc::PF_X;
        assert_eq!(of(&segment(code, 8, 3 * size)), Some((101 * page, 2 * page)));
        assert_eq!(of(&segment(code, 8, size)), None, "parts of two pages");
        assert_eq!(of(&segment(code, Address::MAX - base, size)), None);
        assert_eq!(of(&segment(libc::PF_R | libc::PF_W, 0, 2 * size)), None);
        let bigger = Segment { p_memsz: 5 * size, ..segment(libc::PF_R, 0, size) };
        assert_eq!(of(&bigger), Some((100 * page, page)), "zeros after the file");
        let other = Segment { p_type: libc::PT_NOTE, ..segment(libc::PF_R, 0, 2 * size) };
        assert_eq!(of(&other), None);
    }

    #[test]
    fn the_program_goes_on_with_the_same_code_and_constants() {
        let said = |value: &dyn std::fmt::Debug| format!("{value:?}");
        let before =
            (said(&"a constant"), said(&[1.5, 2.5]), format!("{:?}", segment as fn(_, _, _) -> _));
        let kept = vec![7u8; 1 << 20];
        assert!(let_go_of_program() > 1 << 20, "tests are some megabytes of code");
        give_back();
        let after =
            (said(&"a constant"), said(&[1.5, 2.5]), format!("{:?}", segment as fn(_, _, _) -> _));
        assert_eq!(before, after);
        assert!(kept.iter().all(|byte| *byte == 7));
    }
}
