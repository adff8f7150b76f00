//! The only unsafe code of this crate: calls into C allocators, and the allocator that counts.

#[cfg(feature = "tracking")]
mod tracking;

#[cfg(feature = "tracking")]
pub use tracking::{Tracking, TrackingBySize};

#[cfg(all(feature = "glibc", target_os = "linux", target_env = "gnu"))]
pub(crate) fn mallinfo() -> libc::mallinfo2 {
    // SAFETY: takes nothing, returns a plain struct, and is safe to call from any thread (mallinfo(3)).
    unsafe { libc::mallinfo2() }
}

/// Whether any memory went back to the kernel.
#[cfg(all(feature = "glibc", target_os = "linux", target_env = "gnu"))]
pub(crate) fn trim() -> bool {
    // SAFETY: takes a number of bytes to keep, and is safe to call from any thread (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) == 1 }
}

/// Whether jemalloc took the request to give back its unused dirty pages.
#[cfg(feature = "jemalloc")]
pub(crate) fn purge() -> bool {
    // `MALLCTL_ARENAS_ALL`, as `jemalloc/jemalloc.h` defines it: all arenas.
    const NAME: &[u8] = b"arena.4096.purge\0";
    // SAFETY: the name ends in a zero, and this control takes and gives no value.
    unsafe {
        tikv_jemalloc_sys::mallctl(
            NAME.as_ptr().cast(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            0,
        ) == 0
    }
}

/// A block that jemalloc holds, whatever allocator the program has.
#[cfg(all(test, feature = "jemalloc"))]
pub(crate) struct Block(*mut std::ffi::c_void);

#[cfg(all(test, feature = "jemalloc"))]
impl Block {
    /// Written to, so that it lies in memory.
    pub(crate) fn new(bytes: usize) -> Self {
        // SAFETY: any size above 0 may be asked for.
        let block = unsafe { tikv_jemalloc_sys::mallocx(bytes, 0) };
        assert!(!block.is_null(), "no memory");
        // SAFETY: the block has so many bytes.
        unsafe { block.cast::<u8>().write_bytes(1, bytes) };
        Self(block)
    }
}

#[cfg(all(test, feature = "jemalloc"))]
impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same flags, and freed once.
        unsafe { tikv_jemalloc_sys::dallocx(self.0, 0) };
    }
}
