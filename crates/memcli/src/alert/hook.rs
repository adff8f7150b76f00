//! `alerts.exec`: a command for each alert, with the alert on its standard input. No shell stands between.
//!
//! It runs on a thread of its own, one at a time, so that no watch waits for it. Its output goes nowhere: both streams of
//! `run` are the child's. What it does wrong comes back as a report.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, select, unbounded};
use memcfg::document::AlertsConfig;
use memtrack::{Settings, Span};
use rustix::process::{Pid, Signal as Kill, kill_process_group};

use crate::alert::Offspring;
use crate::sys::Signal;

/// Alerts that may wait while a command runs. The throttle lets a handful pass in an hour.
const WAITING: usize = 16;
/// How often a running command is asked whether it has ended: at first, and at most.
const ASK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Runs the command of the configuration in force.
#[derive(Debug)]
pub struct Hook {
    settings: Settings<AlertsConfig>,
    offspring: Arc<Offspring>,
    thread: Option<Worker>,
    reports: (Sender<String>, Receiver<String>),
}

#[derive(Debug)]
struct Worker {
    queue: Sender<Job>,
    thread: JoinHandle<()>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
    wanted: Arc<Wanted>,
}

/// What the thread is told while it works.
#[derive(Debug, Default)]
struct Wanted {
    /// The watch has ended: those that wait have one timeout together.
    end: AtomicBool,
    /// Somebody wants memcli to end: none has any time left.
    now: AtomicBool,
}

#[derive(Debug)]
struct Job {
    words: Vec<String>,
    timeout: Duration,
    document: Vec<u8>,
}

impl Hook {
    /// A hook that has no thread before the first alert.
    #[must_use]
    pub fn new(settings: Settings<AlertsConfig>) -> Self {
        Self { settings, offspring: Arc::default(), thread: None, reports: unbounded() }
    }

    /// The same, which notes in `offspring` what the command leaves behind.
    #[must_use]
    pub fn noting(self, offspring: Arc<Offspring>) -> Self {
        Self { offspring, ..self }
    }

    /// Hands over one alert. Never waits: what finds no room is reported.
    pub fn send(&mut self, document: Vec<u8>) {
        let config = self.settings.load().value;
        if config.exec.is_empty() {
            return;
        }
        let (words, timeout) = (config.exec.clone(), config.exec_timeout);
        let job = Job { words, timeout, document };
        if self.thread.is_none() {
            match start(self.reports.0.clone(), Arc::clone(&self.offspring)) {
                Ok(started) => self.thread = Some(started),
                Err(error) => return self.report(format!("no thread for `alerts.exec`: {error}")),
            }
        }
        let Some(worker) = &self.thread else { return };
        match worker.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => self.report(format!(
                "`{}` was not run: {WAITING} alerts wait for it already",
                job.words.join(" ")
            )),
            Err(TrySendError::Disconnected(_)) => {
                self.report("the thread of `alerts.exec` has ended".into());
            }
        }
    }

    /// What went wrong since the last call.
    pub fn reports(&self) -> impl Iterator<Item = String> {
        self.reports.1.try_iter()
    }

    /// Waits until every command has ended, and says what went wrong: one that runs has its time, and those that wait have as
    /// much together. A signal of somebody who wants memcli to end ends them all.
    pub fn finish(&mut self, signals: &Receiver<Signal>) -> Vec<String> {
        if let Some(Worker { queue, thread, ended, wanted }) = self.thread.take() {
            wanted.end.store(true, Ordering::Relaxed);
            drop(queue);
            let mut signals = signals.clone();
            loop {
                select! {
                    recv(ended) -> _ => break,
                    recv(signals) -> signal => match signal {
                        Ok(signal) if signal.is_child() => {}
                        Ok(_) => wanted.now.store(true, Ordering::Relaxed),
                        Err(_) => signals = never(),
                    },
                }
            }
            if thread.join().is_err() {
                return vec!["the thread of `alerts.exec` panicked".into()];
            }
        }
        self.reports.1.try_iter().collect()
    }

    fn report(&self, text: String) {
        // This side holds the receiver: there is someone to send to.
        let _ = self.reports.0.send(text);
    }
}

fn start(reports: Sender<String>, offspring: Arc<Offspring>) -> io::Result<Worker> {
    let (queue, jobs) = bounded::<Job>(WAITING);
    let (ends, ended) = bounded(0);
    let wanted = Arc::new(Wanted::default());
    let told = Arc::clone(&wanted);
    let thread = thread::Builder::new().name("alerts".into()).stack_size(128 * 1024);
    let thread = thread.spawn(move || {
        // Held until the thread ends, be it by a panic.
        let _ends: Sender<()> = ends;
        let mut last = None;
        for mut job in jobs {
            if told.end.load(Ordering::Relaxed) {
                let now = Instant::now();
                let last = *last.get_or_insert(now + job.timeout);
                job.timeout = last.saturating_duration_since(now);
            }
            if let Err(problem) = run(&job, &offspring, &told.now) {
                let _ = reports.send(format!("`{}` {problem}", job.words.join(" ")));
            }
        }
    })?;
    Ok(Worker { queue, thread, ended, wanted })
}

/// Runs one command to its end, or to the end of its time; says what it did wrong.
fn run(job: &Job, offspring: &Offspring, now: &AtomicBool) -> Result<(), String> {
    let Some((program, arguments)) = job.words.split_first() else { return Ok(()) };
    if job.timeout.is_zero() || now.load(Ordering::Relaxed) {
        return Err("was not run: the watch had ended, and there was no more time for it".into());
    }
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // In a group of its own: with all it starts it is killed as one, and Ctrl-C is not for it.
    let mut child =
        offspring.start(&mut command).map_err(|error| format!("could not be started: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // The document is smaller than a pipe, so this never waits; a command need not read it.
        let _ = input.write_all(&job.document);
        // A line, so that a file to which such commands add is one of JSON lines.
        let _ = input.write_all(b"\n");
    }
    let started = Instant::now();
    match wait(&mut child, job.timeout, now) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(match (status.code(), status.signal()) {
            (Some(code), _) => format!("failed with exit code {code}"),
            (None, signal) => format!("was ended by signal {}", signal.unwrap_or_default()),
        }),
        Ok(None) => {
            kill(&mut child);
            let lasted = started.elapsed().min(job.timeout);
            Err(format!("was killed: it had not ended after {}", Span(lasted)))
        }
        Err(error) => Err(format!("could not be waited for: {error}")),
    }
}

/// How it ended; `None` when its time was up first, or it has to end `now`.
fn wait(child: &mut Child, timeout: Duration, now: &AtomicBool) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    let (mut pause, longest) = ASK;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = timeout.saturating_sub(started.elapsed());
        if left.is_zero() || now.load(Ordering::Relaxed) {
            return Ok(None);
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(longest);
    }
}

fn kill(child: &mut Child) {
    // It has not been reaped, so the number is still its own. What fails here has ended by itself.
    let _ = kill_process_group(Pid::from_child(child), Kill::KILL);
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn hook(words: &[&str], timeout: Duration) -> Hook {
        let exec = words.iter().map(|word| (*word).to_owned()).collect();
        Hook::new(Settings::fixed(AlertsConfig { exec, exec_timeout: timeout }))
    }

    #[test]
    fn the_command_reads_the_alert_and_no_shell_reads_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b; echo");
        let mut hook = hook(&["tee", "--", path.to_str().unwrap()], Duration::from_secs(60));
        hook.send(b"{\"severity\":\"critical\"}".to_vec());
        assert_eq!(hook.finish(&never()), Vec::<String>::new());
        assert_eq!(fs::read_to_string(path).unwrap(), "{\"severity\":\"critical\"}\n");
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_all_it_started_and_reported() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let mut hook = hook(&["sh", "-c", &script], Duration::from_secs(1));
        hook.send(Vec::new());
        let reports = hook.finish(&never());
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert!(reports[0].ends_with("was killed: it had not ended after 1.0 s"), "{reports:?}");
        let pid = fs::read_to_string(pid).unwrap();
        // The kernel takes a moment to end it; a child that lives on is there for its thousand seconds.
        let gone = || {
            let stat = format!("/proc/{}/stat", pid.trim());
            fs::read_to_string(stat).map_or(true, |stat| stat.contains(") Z "))
        };
        let patience = (0..500).any(|_| {
            thread::sleep(Duration::from_millis(20));
            gone()
        });
        assert!(patience, "its child lives on");
    }

    #[test]
    fn those_that_wait_have_one_timeout_together_and_none_once_somebody_is_in_a_hurry() {
        let hanging = |timeout| {
            let mut hook = hook(&["sleep", "1000"], timeout);
            (0..3).for_each(|_| hook.send(Vec::new()));
            hook
        };
        let not_run = |reports: &[String]| {
            assert_eq!(reports.len(), 3, "{reports:?}");
            reports.iter().filter(|report| report.contains("was not run: the watch")).count()
        };
        // The first may have begun before the end, and then the second has its time.
        let reports = hanging(Duration::from_secs(1)).finish(&never());
        assert!(not_run(&reports) >= 1, "{reports:?}");
        let (send, signals) = unbounded();
        for number in [libc::SIGCHLD, libc::SIGINT] {
            send.send(Signal { number, from_terminal: true }).unwrap();
        }
        // Else this would take five minutes.
        let reports = hanging(Duration::from_secs(300)).finish(&signals);
        assert!(not_run(&reports) >= 2, "{reports:?}");
    }

    #[test]
    fn what_a_command_does_wrong_is_reported_and_nothing_is_run_without_one() {
        let minute = Duration::from_secs(60);
        for (words, problem) in [
            (&["sh", "-c", "exit 3"][..], "failed with exit code 3"),
            (&["sh", "-c", "kill -9 $$"], "was ended by signal 9"),
            (&["/no/such/program"], "could not be started"),
        ] {
            let mut hook = hook(words, minute);
            // A command that reads nothing is no problem by itself.
            hook.send(vec![b'x'; 60_000]);
            let reports = hook.finish(&never());
            assert!(reports.len() == 1 && reports[0].contains(problem), "{reports:?}");
        }
        let mut none = hook(&[], minute);
        none.send(Vec::new());
        assert!(none.thread.is_none() && none.finish(&never()).is_empty());
    }
}
