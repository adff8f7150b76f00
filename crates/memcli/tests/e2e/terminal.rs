//! A program on a pseudo-terminal: keys in, the screen out.
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcgetwinsize, tcsetwinsize};

/// How long to wait for something that must come. Not a time that is asserted: only a hanging test takes it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Terminal {
    control: OwnedFd,
    child: Child,
    keys: File,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// Everything that was written, for what a screen does not show.
    pub(crate) written: Vec<u8>,
    before: Termios,
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).expect("a terminal has cells")
}

impl Terminal {
    /// Starts `command` on a new terminal of this size.
    pub(crate) fn start(command: &mut Command, columns: u16, rows: u16) -> Self {
        let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&control).expect("granted");
        unlockpt(&control).expect("unlocked");
        let name = ptsname(&control, Vec::new()).expect("a name");
        let side =
            open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other side");
        tcsetwinsize(&side, size(columns, rows)).expect("a size");
        let before = tcgetattr(&side).expect("modes");
        let copy = |side: &OwnedFd| Stdio::from(side.try_clone().expect("a copy"));
        command.stdin(copy(&side)).stdout(copy(&side)).stderr(copy(&side));
        command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8").env_remove("LC_ALL");
        let child = command.spawn().expect("the program starts");
        let keys = File::from(control.try_clone().expect("a copy"));
        let mut reader = File::from(control.try_clone().expect("a copy"));
        let (send, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        // The other side stays open here, so that the terminal outlives the program.
        std::mem::forget(side);
        let screen = vt100::Parser::new(cells(rows), cells(columns), 0);
        Self { control, child, keys, output, screen, written: Vec::new(), before }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// The screen as text, once it holds what `wanted` looks for.
    pub(crate) fn wait(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.screen.screen().contents();
            if wanted(&text) {
                return text;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {what} on the screen:\n{text}")
                }
            }
        }
    }

    /// As [`Terminal::wait`], and no frame is half drawn.
    pub(crate) fn wait_whole(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.screen.screen().contents();
            // Each frame ends so; see `top::terminal`.
            if self.written.ends_with(b"\x1b[?2026l") && wanted(&text) {
                return text;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(_) => panic!("no {what} on the screen:\n{text}"),
            }
        }
    }

    pub(crate) fn wait_for(&mut self, part: &str) -> String {
        self.wait(part, |text| text.contains(part))
    }

    /// Until `count` more frames, each of which ends with `end`, were written after the first `from` bytes.
    pub(crate) fn wait_frames(&mut self, from: usize, end: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while String::from_utf8_lossy(&self.written[from..]).matches(end).count() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(_) => panic!("no {count} frames come"),
            }
        }
    }

    /// What was written after the first `from` bytes, without colours, once it is what `wanted` looks for.
    pub(crate) fn wait_written(&mut self, from: usize, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = String::from_utf8_lossy(&self.written[from..]).replace('\r', "");
            let text = anstream::adapter::strip_str(&text).to_string();
            if wanted(&text) {
                return text;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(_) => panic!("it never comes:\n{text}"),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        self.written.extend_from_slice(bytes);
    }

    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        tcsetwinsize(&self.control, size(columns, rows)).expect("a size");
        assert_eq!(tcgetwinsize(&self.control).map(|size| size.ws_col), Ok(columns));
        self.screen.screen_mut().set_size(cells(rows), cells(columns));
        // Only the foreground of a controlling terminal is told by the kernel, and this is none.
        self.signal(rustix::process::Signal::WINCH);
    }

    /// Until the program is stopped; then the terminal must be as it was.
    pub(crate) fn wait_stopped(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let path = format!("/proc/{}/stat", self.pid());
        let stopped = || std::fs::read_to_string(&path).is_ok_and(|stat| stat.contains(") T "));
        while !stopped() {
            assert!(Instant::now() < deadline, "it does not stop");
            thread::yield_now();
        }
        while self.screen.screen().alternate_screen() || self.screen.screen().hide_cursor() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(_) => panic!("the screen of before does not come back"),
            }
        }
        let modes = tcgetattr(&self.control).expect("modes");
        assert_eq!(modes.local_modes, self.before.local_modes, "echo and line editing are back");
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it lives");
    }

    /// Waits for the end of the program, and checks that the terminal is as it was.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it ends");
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
            self.take(&bytes);
        }
        let after = tcgetattr(&self.control).expect("modes");
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        assert_eq!(after.local_modes, self.before.local_modes, "echo and line editing are back");
        assert_eq!(after.control_modes, self.before.control_modes);
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "the screen of before is back");
        assert!(!screen.hide_cursor(), "the cursor is back");
        (status, screen.contents())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed leaves no program behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
