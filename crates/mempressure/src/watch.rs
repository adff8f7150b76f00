//! The service manager's memory pressure protocol: it names what to watch in `MEMORY_PRESSURE_WATCH`, and in
//! `MEMORY_PRESSURE_WRITE` what to write there first. (systemd, "Memory Pressure Handling in systemd".)
//!
//! The path names a pressure file of the kernel, which is polled and never read, or a FIFO or socket, whose
//! messages are read and thrown away. `/dev/null` asks not to watch at all.

#[cfg(target_os = "linux")]
pub(crate) use linux::{Watch, from_environment};

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{Watch, from_environment};

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use crate::guard::ServiceManager;
    use crossbeam_channel::Receiver;

    /// There is none.
    pub(crate) enum Watch {}

    impl Watch {
        pub(crate) fn notices(&self) -> &Receiver<()> {
            match *self {}
        }
    }

    pub(crate) fn from_environment() -> (Option<Watch>, ServiceManager) {
        (None, ServiceManager::NotAsked)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::fs::OpenOptions;
    use std::io::{self, Read, Write};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::thread::{self, JoinHandle};

    use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fs::OFlags;

    use crate::guard::ServiceManager;

    const WATCH: &str = "MEMORY_PRESSURE_WATCH";
    const WRITE: &str = "MEMORY_PRESSURE_WRITE";

    /// A thread that waits for the service manager's or the kernel's notice.
    #[derive(Debug)]
    pub(crate) struct Watch {
        notices: Receiver<()>,
        /// Dropped to end the thread.
        stop: Option<UnixStream>,
        thread: Option<JoinHandle<()>>,
        /// The process that the thread is in.
        process: u32,
    }

    /// What is watched.
    enum Source {
        /// A pressure file: ready for POLLPRI, never read.
        Pressure(OwnedFd),
        /// A FIFO or socket: its messages are drained.
        Messages(Box<dyn Messages>),
    }

    trait Messages: Read + AsFd + Send {}
    impl<T: Read + AsFd + Send> Messages for T {}

    pub(crate) fn from_environment() -> (Option<Watch>, ServiceManager) {
        from_variables(std::env::var_os(WATCH), std::env::var_os(WRITE))
    }

    fn from_variables(
        watch: Option<OsString>,
        write: Option<OsString>,
    ) -> (Option<Watch>, ServiceManager) {
        let Some(path) = watch.filter(|path| !path.is_empty()) else {
            return (None, ServiceManager::NotAsked);
        };
        let path = Path::new(&path);
        if path == Path::new("/dev/null") {
            return (None, ServiceManager::OptedOut);
        }
        let write = write.unwrap_or_default();
        let Some(write) = write.to_str().and_then(decode_base64) else {
            let why = format!("`{WRITE}` is not base64");
            return (None, ServiceManager::Failed(why));
        };
        match Watch::open(path, &write) {
            Ok(watch) => (Some(watch), ServiceManager::Watching),
            Err(error) => {
                let why = format!("failed to watch `{}`: {error}", path.display());
                (None, ServiceManager::Failed(why))
            }
        }
    }

    impl Watch {
        fn open(path: &Path, write: &[u8]) -> io::Result<Self> {
            let kind = std::fs::metadata(path)?.file_type();
            let source = if kind.is_socket() {
                let mut socket = UnixStream::connect(path)?;
                socket.write_all(write)?;
                socket.set_nonblocking(true)?;
                Source::Messages(Box::new(socket))
            } else {
                // Opened for writing as well, a FIFO does not wait for its other end and never reports its loss.
                let flags = OFlags::NONBLOCK.bits().cast_signed();
                let mut file =
                    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
                if !write.is_empty() {
                    file.write_all(write)?;
                }
                if kind.is_fifo() {
                    Source::Messages(Box::new(file))
                } else {
                    let file = OwnedFd::from(file);
                    has_trigger(&file)?;
                    Source::Pressure(file)
                }
            };
            let (stop, stopped) = UnixStream::pair()?;
            let (notice, notices) = bounded(1);
            let thread = thread::Builder::new().name("mempressure-watch".into());
            let thread = thread.spawn(move || wait(source, &stopped, &notice))?;
            let process = std::process::id();
            Ok(Self { notices, stop: Some(stop), thread: Some(thread), process })
        }

        /// Ready when there is pressure. Disconnected when there is nothing to watch any more.
        pub(crate) fn notices(&self) -> &Receiver<()> {
            &self.notices
        }
    }

    /// A pressure file without a trigger is ready at once and for ever, and with an error.
    fn has_trigger(file: &OwnedFd) -> io::Result<()> {
        let mut fds = [PollFd::new(file, PollFlags::PRI)];
        poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        if fds[0].revents().contains(PollFlags::ERR) {
            return Err(io::Error::other(format!("it has no trigger: `{WRITE}` says none")));
        }
        Ok(())
    }

    impl Drop for Watch {
        fn drop(&mut self) {
            if self.process != std::process::id() {
                // A child that was forked since: the thread stayed with the parent, and would never be joined.
                std::mem::forget(self.thread.take());
                return;
            }
            // The order matters: the thread ends because its stop pipe hangs up. Shut down, for a child that was forked
            // meanwhile holds this end as well.
            if let Some(stop) = self.stop.take() {
                let _ = stop.shutdown(std::net::Shutdown::Both);
            }
            if let Some(thread) = self.thread.take() {
                let _ = thread.join();
            }
        }
    }

    /// Waits for notices until stopped, or until there can be none any more.
    fn wait(mut source: Source, stopped: &UnixStream, notice: &Sender<()>) {
        loop {
            let (fd, flags) = match &source {
                Source::Pressure(file) => (file.as_fd(), PollFlags::PRI),
                Source::Messages(messages) => (messages.as_fd(), PollFlags::IN),
            };
            let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
            let mut fds = [PollFd::new(&fd, flags), PollFd::new(stopped, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            }
            let (seen, stop) = (fds[0].revents(), fds[1].revents());
            if !stop.is_empty() {
                return;
            }
            if matches!(source, Source::Pressure(_)) && seen.intersects(gone) {
                // The cgroup is gone, or the trigger: the file is ready then without end, for POLLPRI as well.
                return;
            }
            if seen.intersects(flags) {
                // Drained before it is told: whatever comes after the notice is a notice of its own.
                let more = match &mut source {
                    Source::Pressure(_) => true,
                    Source::Messages(messages) => drain(messages.as_mut()),
                };
                if matches!(notice.try_send(()), Err(TrySendError::Disconnected(()))) || !more {
                    return;
                }
            } else if !seen.is_empty() {
                // The other end is gone: polling again would return at once, for ever.
                return;
            }
        }
    }

    /// Reads what there is; whether more may come.
    fn drain(messages: &mut dyn Messages) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match messages.read(&mut buffer) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Standard base64 with padding, as systemd writes it; line breaks and spaces are let pass.
    fn decode_base64(text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
        let (mut bits, mut count, mut padding) = (0_u32, 0_u32, 0_u32);
        for c in text.bytes().filter(|c| !c.is_ascii_whitespace()) {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => {
                    padding += 1;
                    continue;
                }
                _ => return None,
            };
            if padding > 0 {
                return None;
            }
            bits = bits << 6 | u32::from(value);
            count += 1;
            if count.is_multiple_of(4) {
                bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
            }
        }
        match (count % 4, padding) {
            (0, 0) => {}
            (2, 2) => bytes.push((bits >> 4) as u8),
            (3, 1) => bytes.extend_from_slice(&((bits >> 2) as u16).to_be_bytes()),
            _ => return None,
        }
        Some(bytes)
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use proptest::prelude::*;
        use std::os::unix::net::UnixListener;

        #[test]
        fn base64_as_systemd_writes_it() {
            assert_eq!(
                decode_base64("c29tZSAyMDAwMDAgMjAwMDAwMAA="),
                Some(b"some 200000 2000000\0".to_vec())
            );
            assert_eq!(decode_base64("YQ=="), Some(b"a".to_vec()));
            assert_eq!(decode_base64("YWI="), Some(b"ab".to_vec()));
            assert_eq!(decode_base64("YWJj"), Some(b"abc".to_vec()));
            assert_eq!(decode_base64(""), Some(Vec::new()));
            for text in ["Y", "YQ", "YQ=", "YQ==YQ==", "Y$==", "====="] {
                assert_eq!(decode_base64(text), None, "{text}");
            }
        }

        proptest! {
            #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

            /// P13: no text panics, and what was encoded comes out again.
            #[test]
            fn p13_any_base64(text in ".{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
                let _ = decode_base64(&text);
                prop_assert_eq!(decode_base64(&encode_base64(&bytes)), Some(bytes));
            }
        }

        /// As plain as it can be said: six bits at a time.
        fn encode_base64(bytes: &[u8]) -> String {
            const LETTERS: &[u8; 64] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let bit = |i: usize| bytes.get(i / 8).map_or(0, |byte| byte >> (7 - i % 8) & 1);
            let letter =
                |at: usize| (0..6).fold(0, |six, i| six << 1 | usize::from(bit(at * 6 + i)));
            let letters = (bytes.len() * 8).div_ceil(6);
            let text = (0..letters).map(|at| char::from(LETTERS[letter(at)]));
            text.chain(std::iter::repeat_n('=', (4 - letters % 4) % 4)).collect()
        }

        #[test]
        fn a_pressure_file_of_the_kernel_is_watched_and_let_go_of() {
            let path = Path::new("/proc/pressure/memory");
            match Watch::open(path, b"some 200000 2000000\0") {
                // Ends its thread; a watch that reads the file would not get here.
                Ok(watch) => drop(watch),
                Err(error) => eprintln!("SKIPPED: no trigger of `{}`: {error}", path.display()),
            }
        }

        #[test]
        fn a_pressure_file_without_a_trigger_is_refused_and_never_spun_on() {
            let path = Path::new("/proc/pressure/memory");
            let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else {
                eprintln!("SKIPPED: no `{}`", path.display());
                return;
            };
            let (_watch, state) = from_variables(Some(path.into()), None);
            assert!(
                matches!(&state, ServiceManager::Failed(why) if why.contains(WRITE)),
                "{state:?}"
            );
            // As after a trigger was taken away: this comes back, and has told nobody of pressure.
            let (_stop, stopped) = UnixStream::pair().unwrap();
            let (notice, notices) = bounded(1);
            wait(Source::Pressure(file.into()), &stopped, &notice);
            assert!(notices.try_recv().is_err());
        }

        #[test]
        fn the_environment_decides() {
            let state = |watch: Option<&str>, write: Option<&str>| {
                from_variables(watch.map(Into::into), write.map(Into::into)).1
            };
            assert_eq!(state(None, None), ServiceManager::NotAsked);
            assert_eq!(state(Some(""), None), ServiceManager::NotAsked);
            assert_eq!(state(Some("/dev/null"), None), ServiceManager::OptedOut);
            let missing = state(Some("/no/such/file"), None);
            assert!(
                matches!(&missing, ServiceManager::Failed(why) if why.contains("/no/such/file")),
                "{missing:?}"
            );
            assert!(matches!(
                state(Some("/proc/pressure/memory"), Some("!")),
                ServiceManager::Failed(_)
            ));
        }

        #[test]
        fn a_socket_gets_what_is_to_be_written_and_its_messages_are_notices() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("pressure");
            let listener = UnixListener::bind(&path).unwrap();
            let watch = Watch::open(&path, b"hello").unwrap();
            let (mut manager, _) = listener.accept().unwrap();
            let mut hello = [0; 5];
            manager.read_exact(&mut hello).unwrap();
            assert_eq!(&hello, b"hello");
            manager.write_all(b"pressure!").unwrap();
            watch.notices().recv().unwrap();
            // A manager that goes away ends the watch; it does not spin.
            drop(manager);
            assert!(watch.notices().iter().count() <= 1);
        }

        #[test]
        fn a_fifo_is_drained() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("fifo");
            let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(status.success());
            let watch = Watch::open(&path, b"").unwrap();
            let mut manager = OpenOptions::new().write(true).open(&path).unwrap();
            for _ in 0..2 {
                manager.write_all(b"!").unwrap();
                watch.notices().recv().unwrap();
            }
            drop(watch);
        }
    }
}
