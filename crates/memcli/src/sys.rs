//! The few system calls that no kept crate wraps: `wait4` with the child's figures, who sent a signal, and giving back
//! what only the start needed.

pub mod inherited;
pub mod startup;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use memtrack::processes::ProcessId;

/// Signals that memcli waits for.
const HANDLED: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD];
/// Those besides that would end memcli without a word. A command may have its own use for them: `SIGQUIT` has a JVM tell its
/// threads.
const WOULD_END: [i32; 4] = [libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM];

/// Those of them by which a terminal ends what is in its foreground.
const KEYBOARD: [i32; 2] = [libc::SIGINT, libc::SIGQUIT];

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its number.
    pub number: i32,
    /// The kernel sent it to everyone in the foreground of the terminal, so a child there has it already.
    pub from_terminal: bool,
}

impl Signal {
    /// A child changed state.
    #[must_use]
    pub fn is_child(self) -> bool {
        self.number == libc::SIGCHLD
    }

    /// Somebody at the terminal wants this program to stop for a while.
    #[must_use]
    pub fn is_stop(self) -> bool {
        self.number == libc::SIGTSTP
    }

    /// `SIGINT`, `SIGTERM`, `SIGHUP`; `a signal` else.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.number {
            libc::SIGINT => "SIGINT",
            libc::SIGTERM => "SIGTERM",
            libc::SIGHUP => "SIGHUP",
            _ => "a signal",
        }
    }
}

/// Takes over the handled signals and delivers them to a channel, on a thread of their own. Those that whoever started this
/// process had it ignore stay ignored: `nohup` means what it says. A script does so to what it has in the background with those of
/// the keyboard, which are meant for others: one that somebody sends to this process is heard.
///
/// # Errors
/// When the system gives no descriptors, handlers or thread.
pub fn signals() -> io::Result<Receiver<Signal>> {
    take_over(&[&HANDLED[..], &WOULD_END].concat(), &KEYBOARD)
}

/// The same for a command that is started from here, which then ignores what this process ignores: it would so without memcli.
///
/// # Errors
/// When the system gives no descriptors, handlers or thread.
pub fn signals_for_a_command() -> io::Result<Receiver<Signal>> {
    take_over(&[&HANDLED[..], &WOULD_END].concat(), &[])
}

/// The same, and those that would stop a program while it has the terminal.
///
/// # Errors
/// When the system gives no descriptors, handlers or thread.
pub fn signals_with_a_screen() -> io::Result<Receiver<Signal>> {
    take_over(&[&HANDLED[..], &WOULD_END, &[libc::SIGTSTP]].concat(), &KEYBOARD)
}

/// Stops this process, as Ctrl-Z does, and returns when somebody has it go on. Where nobody would, since whoever started it knows
/// no such thing and had it ignore `SIGTSTP`, it does nothing.
pub fn stop() {
    if inherited::is_ignored(libc::SIGTSTP) {
        return;
    }
    // Not SIGTSTP, which was taken over. To this thread, which is then sure to be stopped when this returns.
    // SAFETY: `raise` reads its one integer and nothing else.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// The last signal by which somebody asked this process to end, 0 before.
static ASKED_TO_END: AtomicI32 = AtomicI32::new(0);

/// The signal by which somebody asked this process to end, since signals were taken over: `SIGINT`, `SIGTERM` or `SIGHUP`. Known
/// also when whoever took it from the channel had another use for it.
#[must_use]
pub fn asked_to_end() -> Option<i32> {
    Some(ASKED_TO_END.load(Ordering::Relaxed)).filter(|number| *number != 0)
}

/// Whether this process leads its session, as one does that a terminal emulator, `ssh -t` or a container starts at once.
fn leads_session() -> bool {
    // Not through rustix, whose number of a session is never 0: it is where the session began outside the PID namespace, as for
    // whatever `docker exec` starts.
    // SAFETY: both take an integer or nothing and touch no memory of this process.
    unsafe { libc::getsid(0) == libc::getpid() }
}

/// Takes over `numbers`, but for those that are ignored; of `sent`, which are among them, what the kernel has not sent.
fn take_over(numbers: &[i32], sent: &[i32]) -> io::Result<Receiver<Signal>> {
    let (mut read, write) = UnixStream::pair()?;
    write.set_nonblocking(true)?;
    let write = Arc::new(write);
    let (ignored, heard): (Vec<i32>, Vec<i32>) =
        numbers.iter().partition(|number| inherited::is_ignored(**number));
    // That of children is asked for by nobody else: without it no end of one would be heard of.
    let needed = |number: &i32| *number == libc::SIGCHLD || sent.contains(number);
    let numbers: Vec<i32> =
        heard.into_iter().chain(ignored.iter().copied().filter(needed)).collect();
    let unheard = move |number| number != libc::SIGCHLD && ignored.contains(&number);
    inherited::let_through(&numbers);
    for number in numbers {
        // One descriptor for them all: there may be few.
        let write = Arc::clone(&write);
        let number_byte = u8::try_from(number).unwrap_or_default();
        let handler = move |info: &libc::siginfo_t| {
            // A full socket means that plenty of signals already wait to be read: one more says nothing new.
            let from_kernel = u8::from(info.si_code > 0);
            let _ = (&*write).write(&[number_byte, from_kernel]);
        };
        // SAFETY: the handler only calls `write(2)` on a non-blocking socket, which is async-signal-safe; it neither
        // allocates nor locks.
        unsafe { signal_hook_registry::register_sigaction(number, handler) }?;
    }
    let (send, receive) = bounded(64);
    thread::Builder::new().name("signals".into()).stack_size(64 * 1024).spawn(move || {
        let mut pair = [0; 2];
        while read.read_exact(&mut pair).is_ok() {
            let [number, from_kernel] = pair;
            let number = i32::from(number);
            if from_kernel != 0 && unheard(number) {
                continue;
            }
            // An alarm that was set before memcli was executed is from the kernel too, and memcli's alone. So is the end of a
            // terminal to whoever leads its session: the others are told when that has ended.
            let for_memcli = match number {
                libc::SIGALRM => true,
                libc::SIGHUP => leads_session(),
                _ => false,
            };
            let signal = Signal { number, from_terminal: from_kernel != 0 && !for_memcli };
            if matches!(number, libc::SIGINT | libc::SIGTERM | libc::SIGHUP) {
                ASKED_TO_END.store(number, Ordering::Relaxed);
            }
            if send.send(signal).is_err() {
                break;
            }
        }
    })?;
    Ok(receive)
}

/// What the kernel counted for a child that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Highest RSS in bytes (`ru_maxrss`) of it and of any descendant it waited for; carries the peak of whoever
    /// forked it through `exec`.
    pub max_rss_bytes: u64,
    /// Whether it waited for children of its own; true where that cannot be read.
    pub had_children: bool,
}

/// Page faults of all the children that a process waited for, and of theirs: 0 as long as it had none. Of a child that has ended
/// it is there until it is reaped.
fn faults_of_children(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything: state, seven numbers, then `minflt cminflt majflt cmajflt`.
    let (_, behind) = stat.rsplit_once(')')?;
    let mut numbers = behind.split_ascii_whitespace().skip(8);
    let minor: u64 = numbers.next()?.parse().ok()?;
    let major: u64 = numbers.nth(1)?.parse().ok()?;
    Some(minor.saturating_add(major))
}

/// Tells whether a process waits for children of its own from here on.
#[derive(Clone, Copy, Debug)]
pub struct Childless {
    pid: u32,
    faults: Option<u64>,
}

impl Childless {
    /// From now on.
    #[must_use]
    pub fn since_now(pid: u32) -> Self {
        Self { pid, faults: faults_of_children(pid) }
    }

    /// Whether it has waited for none since; false where that cannot be read.
    #[must_use]
    pub fn still(self) -> bool {
        self.faults.is_some() && self.faults == faults_of_children(self.pid)
    }
}

/// Reaps the child `pid` if it has ended.
///
/// # Errors
/// When it is not a child of this process, or has been reaped before.
pub fn try_wait(pid: u32) -> io::Result<Option<Ended>> {
    // SAFETY: all-zero bytes are a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let leave_it = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is to a live, writable value of the right type.
    if unsafe { libc::waitid(libc::P_PID, pid, &raw mut info, leave_it) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `waitid` fills in this member, or leaves the zero that says that it has not ended.
    if unsafe { info.si_pid() } == 0 {
        return Ok(None);
    }
    let had_children = faults_of_children(pid) != Some(0);
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: all-zero bytes are a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live, writable values of the right type.
    let reaped = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) };
    match reaped {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => {
            let max_rss_kib = u64::try_from(usage.ru_maxrss).unwrap_or(0);
            Ok(Some(Ended {
                status: ExitStatus::from_raw(status),
                max_rss_bytes: max_rss_kib.saturating_mul(1024),
                had_children,
            }))
        }
    }
}

/// Has descendants whose parents end given to this process, in place of `init`.
///
/// # Errors
/// When the kernel refuses.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// The children of the first thread of this process: those that it started, and those that it was given. None where the kernel
/// keeps no such list.
#[must_use]
pub fn children() -> Vec<u32> {
    let pid = std::process::id();
    let list = std::fs::read_to_string(format!("/proc/self/task/{pid}/children"));
    list.unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Reaps every child of this thread that has ended, up to `but`, whose figures somebody wants; each is shown to `see` before that.
pub fn reap(but: Option<u32>, mut see: impl FnMut(u32)) {
    let of_this_thread = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WNOTHREAD;
    loop {
        // SAFETY: all-zero bytes are a valid `siginfo_t`.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live, writable value of the right type.
        let found = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, of_this_thread) };
        // SAFETY: `waitid` fills in this member, or leaves the zero that says that no child has ended.
        let pid = unsafe { info.si_pid() };
        let id = u32::try_from(pid).ok().filter(|id| found == 0 && *id != 0);
        let Some(id) = id.filter(|_| id != but) else { return };
        see(id);
        // SAFETY: no status is asked for. It has ended and is reaped nowhere else, so that this does not wait.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
    }
}

/// Sends a signal to a child that has not been reaped, so that the pid is still its own.
pub fn send_signal(pid: u32, number: i32) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: `kill` reads its two integers and nothing else. That the child may have ended is fine.
        unsafe { libc::kill(pid, number) };
    }
}

/// Sends a signal to a process, and to no other that has its pid by now. That it may have ended, or belong to somebody else, is
/// fine.
pub fn send_signal_to(id: ProcessId, signal: rustix::process::Signal) {
    use rustix::process::{Pid, PidfdFlags, kill_process, pidfd_open, pidfd_send_signal};
    let Some(pid) = i32::try_from(id.pid).ok().and_then(Pid::from_raw) else { return };
    let opened = pidfd_open(pid, PidfdFlags::empty());
    // What was opened before this is what has been read, or has ended.
    if ProcessId::read(Path::new("/"), id.pid) != Ok(id) {
        return;
    }
    let _ = match opened {
        Ok(process) => pidfd_send_signal(process, signal),
        // A kernel before 5.3, or no descriptors left.
        Err(_) => kill_process(pid, signal),
    };
}

/// CPU time this process has used, in user and kernel, all threads.
#[must_use]
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
