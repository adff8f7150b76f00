//! What whoever started this process chose for its signals: some to be ignored (`nohup`, commands in the background of a
//! script), some blocked, a limit on the size of files.
//!
//! What is ignored stays so, here and in what is started from here. What is blocked is let through as far as memcli waits for
//! it, and what is started from here has the mask of before.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

/// The signals that were blocked before any was let through.
static FIRST_MASK: OnceLock<libc::sigset_t> = OnceLock::new();

/// Whether a signal is ignored, which is by the choice of whoever started this process: memcli ignores only `SIGPIPE`.
pub(super) fn is_ignored(number: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the pointer is to a live, writable value of the right type, and all-zero bytes are one; nothing is set.
    let action = unsafe {
        libc::sigaction(number, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Lets `numbers` through to this thread and to those that it starts from here on.
pub(super) fn let_through(numbers: &[i32]) {
    let wanted = set_of(numbers);
    let before = change_mask(libc::SIG_UNBLOCK, &wanted);
    FIRST_MASK.get_or_init(|| before);
}

/// Starts something that has the signals blocked that were blocked at the start of this process, and no others.
pub fn with_first_mask<T>(start: impl FnOnce() -> T) -> T {
    let Some(first) = FIRST_MASK.get() else { return start() };
    // For this thread alone: what comes meanwhile goes to another.
    let now = change_mask(libc::SIG_SETMASK, first);
    let started = start();
    change_mask(libc::SIG_SETMASK, &now);
    started
}

/// Has a write beyond `ulimit -f` fail, as one to a full disk does, and not end this process. A handler, since what is started
/// from here is to have the default, as it would without memcli.
pub fn outlast_file_limit() {
    extern "C" fn nothing(_: libc::c_int) {}
    if is_ignored(libc::SIGXFSZ) {
        return;
    }
    // SAFETY: all-zero bytes are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler does nothing, which is async-signal-safe, and `action` lives throughout the call.
    unsafe { libc::sigaction(libc::SIGXFSZ, &raw const action, ptr::null_mut()) };
}

fn set_of(numbers: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::zeroed();
    // SAFETY: the pointer is to a live, writable value of the right type, which `sigemptyset` initialises.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for number in numbers {
            libc::sigaddset(set.as_mut_ptr(), *number);
        }
        set.assume_init()
    }
}

/// Changes the mask of this thread, and returns the one before.
fn change_mask(how: libc::c_int, set: &libc::sigset_t) -> libc::sigset_t {
    let mut before = set_of(&[]);
    // SAFETY: both pointers are to live values of the right type. It fails only where `how` is none of the three.
    unsafe { libc::pthread_sigmask(how, set, &raw mut before) };
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(number: i32) -> bool {
        let now = change_mask(libc::SIG_BLOCK, &set_of(&[]));
        // SAFETY: the set is a valid one, and is only read.
        unsafe { libc::sigismember(&raw const now, number) == 1 }
    }

    #[test]
    fn what_is_blocked_is_let_through_here_and_blocked_again_in_what_is_started() {
        // Masks are of threads: that of this test is nobody else's.
        std::thread::spawn(|| {
            change_mask(libc::SIG_BLOCK, &set_of(&[libc::SIGUSR1, libc::SIGUSR2]));
            let_through(&[libc::SIGUSR1]);
            assert!(!blocks(libc::SIGUSR1) && blocks(libc::SIGUSR2));
            assert!(with_first_mask(|| blocks(libc::SIGUSR1) && blocks(libc::SIGUSR2)));
            assert!(!blocks(libc::SIGUSR1) && blocks(libc::SIGUSR2));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_limit_of_files_has_a_handler_that_nothing_inherits() {
        outlast_file_limit();
        assert!(!is_ignored(libc::SIGXFSZ));
        assert!(is_ignored(libc::SIGPIPE), "the Rust runtime ignores it");
    }
}
