//! Being told by the kernel that tasks wait for memory, instead of asking.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat};
use rustix::io::Errno;

use crate::reading::{Absent, Reading};

/// Waiting for memory during this share of the window is reported: where field experience puts the first level.
const STALL_SHARE: f64 = 0.10;
/// The windows to try. Without `CAP_SYS_RESOURCE` the kernel takes multiples of 2 s only, since 6.4, and none before;
/// who holds that capability cannot be told from the uid (kernel, `Documentation/accounting/psi.rst`).
const WINDOWS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// A thread that sleeps until the kernel reports a stall; it takes no time while there is none.
///
/// It is apart from the sampler's thread because that one also waits for channels, which have no descriptor to poll.
#[derive(Debug)]
pub(crate) struct Trigger {
    reports: Receiver<()>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
    /// The process that the thread is in.
    process: u32,
}

impl Trigger {
    /// Arms the trigger of `proc/pressure/memory` under `root`.
    pub(crate) fn arm(root: &Path) -> Reading<Self> {
        Self::spawn(register(root)?).map_err(|error| Absent::from(&error))
    }

    fn spawn(file: OwnedFd) -> io::Result<Self> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let stopped = stop.try_clone()?;
        let (report, reports) = bounded(1);
        let thread = thread::Builder::new().name("memtrack-psi".into()).stack_size(64 * 1024);
        let thread = thread.spawn(move || watch(&file, &stopped, &report))?;
        Ok(Self { reports, stop, thread: Some(thread), process: std::process::id() })
    }

    /// Ready after a stall. Disconnected when the kernel took the trigger away.
    pub(crate) fn reports(&self) -> &Receiver<()> {
        &self.reports
    }
}

impl Drop for Trigger {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // A child that was forked since: the thread stayed behind, and the stop descriptor is the parent's too.
            std::mem::forget(self.thread.take());
            return;
        }
        // The thread ends when its stop descriptor becomes readable; a counter that is not full takes any write.
        let told = rustix::io::write(&self.stop, &1u64.to_ne_bytes()).is_ok();
        if told && let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A trigger lives as long as its descriptor.
fn register(root: &Path) -> Reading<OwnedFd> {
    let mut refused = Absent::Unsupported;
    for window in WINDOWS {
        match register_for(root, window) {
            Ok(file) => return Ok(file),
            Err(why) => refused = why,
        }
    }
    Err(refused)
}

fn register_for(root: &Path, window: Duration) -> Reading<OwnedFd> {
    let refused = |errno| match errno {
        Errno::INVAL => Absent::Unsupported,
        errno => Absent::from(&io::Error::from(errno)),
    };
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // A descriptor takes one trigger only.
    let file = openat(CWD, root.join("proc/pressure/memory"), flags, Mode::empty());
    let file = file.map_err(refused)?;
    if fstatfs(&file).map_err(refused)?.f_type != PROC_SUPER_MAGIC {
        // A fixture, or what a container shows in its place: no file to write into.
        return Err(Absent::Unsupported);
    }
    let stall = window.mul_f64(STALL_SHARE).as_micros();
    // The kernel wants the text ended by a zero.
    let text = format!("some {stall} {}\0", window.as_micros());
    rustix::io::write(&file, text.as_bytes()).map_err(refused)?;
    Ok(file)
}

fn watch(file: &OwnedFd, stop: &OwnedFd, report: &Sender<()>) {
    loop {
        let mut waiting = [
            PollFd::new(file, PollFlags::PRI),
            PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
        ];
        match poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        let [trigger, stopped] = &waiting;
        // An error means that the trigger is gone: polling on would spin.
        let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        if !stopped.revents().is_empty() || trigger.revents().intersects(gone) {
            return;
        }
        if trigger.revents().contains(PollFlags::PRI)
            && report.try_send(()) == Err(TrySendError::Disconnected(()))
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_trigger_arms_where_the_kernel_lets_it_and_ends_at_once() {
        match Trigger::arm(Path::new("/")) {
            Ok(trigger) => drop(trigger),
            Err(why) => assert!(matches!(why, Absent::Unsupported | Absent::Denied), "{why}"),
        }
        let nowhere = tempfile::tempdir().unwrap();
        assert_eq!(Trigger::arm(nowhere.path()).unwrap_err(), Absent::Unsupported);
    }

    #[test]
    fn a_file_that_only_looks_like_the_kernels_is_not_written_into() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("proc/pressure/memory");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        std::fs::write(&path, text).unwrap();
        assert_eq!(Trigger::arm(root.path()).unwrap_err(), Absent::Unsupported);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn who_may_not_have_one_second_is_given_two() {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let ordinary = thread::spawn(|| {
            // Of this thread alone.
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::SYS_RESOURCE);
            set_capabilities(None, sets).unwrap();
            let both = WINDOWS.map(|window| register_for(Path::new("/"), window).map(drop));
            (both, register(Path::new("/")).map(drop))
        });
        let ([one, two], either) = ordinary.join().unwrap();
        if one.is_ok() || two.is_err() {
            eprintln!("skipped: this kernel knows no windows for everybody: {one:?}, {two:?}");
            return;
        }
        assert_eq!((one, either), (Err(Absent::Unsupported), Ok(())));
    }

    #[test]
    fn what_the_kernel_reports_is_passed_on_and_the_thread_ends_all_the_same() {
        // Urgent data polls as a pressure report does: with priority.
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let trigger = Trigger::spawn(far.into()).unwrap();
        assert!(trigger.reports().try_recv().is_err(), "calm so far");
        rustix::net::send(&near, b"!", rustix::net::SendFlags::OOB).unwrap();
        assert_eq!(trigger.reports().recv(), Ok(()));
        let reports = trigger.reports().clone();
        drop(trigger);
        while reports.recv().is_ok() {}
    }

    #[test]
    fn a_trigger_that_is_taken_away_ends_its_reports_and_does_not_spin() {
        // The far end of a closed pipe polls as the descriptor of a removed cgroup does: with an error.
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        let trigger = Trigger::spawn(writer).unwrap();
        assert!(trigger.reports().recv().is_err());
    }
}
