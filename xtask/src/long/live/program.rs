//! The programs that are watched: how each is started, fed and ended.
//!
//! Their sources lie with the tests of memcli, which watch some of them for a few seconds.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::shell;

const SOURCES: &str = "crates/memcli/tests/live";
/// A cache is full after this share of the time.
const FILLS: u64 = 4;
/// How long a server may take until it listens.
const LISTENS: Duration = Duration::from_secs(60);
/// What redis keeps for a key: a block of its allocator, jemalloc, which gives blocks above 14 KiB a page on top;
const KEPT_BYTES: u64 = 8 << 10;
/// the value and its header fit into it.
const VALUE_BYTES: usize = (8 << 10) - 64;
/// What a redis that stays as it is has.
const FEW_KEYS: u64 = 100;

/// What a program does with what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// It keeps all of it.
    Leak,
    /// It keeps none of it.
    Steady,
    /// It keeps it until it is full, and then replaces the oldest.
    Cache,
}

pub(super) const FORMS: [Form; 3] = [Form::Leak, Form::Steady, Form::Cache];

impl Form {
    pub(super) fn word(self) -> &'static str {
        match self {
            Form::Leak => "leak",
            Form::Steady => "steady",
            Form::Cache => "cache",
        }
    }

    pub(super) fn does(self, kib_per_second: u64, seconds: u64) -> String {
        match self {
            Form::Leak => format!("keeps {kib_per_second} KiB/s"),
            Form::Steady => format!("takes {kib_per_second} KiB/s and keeps none"),
            Form::Cache => {
                format!("fills by {kib_per_second} KiB/s for {} s, then replaces", seconds / FILLS)
            }
        }
    }
}

/// One that can be watched.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    /// What must be installed, and an option with which it only says so.
    needs: (&'static str, &'static str),
    /// What it takes.
    pub(super) kib_per_second: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A source that is given its form, its rate and how long it fills.
    Source(fn(sources: &Path, own: &Path) -> anyhow::Result<Command>),
    /// A server that only ever does what it is told.
    Redis,
}

pub(super) const PROGRAMS: [Program; 5] = [
    Program {
        name: "python",
        needs: ("python3", "--version"),
        kib_per_second: 512,
        kind: Kind::Source(|sources, _| {
            let mut command = Command::new("python3");
            command.arg(sources.join("grow.py"));
            Ok(command)
        }),
    },
    Program {
        name: "node",
        needs: ("node", "--version"),
        kib_per_second: 512,
        kind: Kind::Source(|sources, _| {
            let mut command = Command::new("node");
            command.arg("--expose-gc").arg(sources.join("grow.js"));
            Ok(command)
        }),
    },
    Program {
        name: "java",
        needs: ("java", "-version"),
        kib_per_second: 1024,
        kind: Kind::Source(|sources, _| {
            let mut command = Command::new("java");
            // A heap grows by two fifths at a time unless told otherwise: four steps in as many minutes decide nothing.
            command.args(["-Xms32m", "-Xmx512m", "-Xmn2m", "-XX:+UseSerialGC"]);
            command.args(["-XX:MinHeapFreeRatio=5", "-XX:MaxHeapFreeRatio=10"]);
            command.arg(sources.join("Grow.java"));
            Ok(command)
        }),
    },
    Program {
        name: "redis",
        needs: ("redis-server", "--version"),
        kib_per_second: 320,
        kind: Kind::Redis,
    },
    Program { name: "c", needs: ("cc", "--version"), kib_per_second: 512, kind: Kind::Source(c) },
];

fn c(sources: &Path, own: &Path) -> anyhow::Result<Command> {
    let mut compile = Command::new("cc");
    compile.args(["-O2", "-o"]).arg(own).arg(sources.join("grow.c"));
    let compiled = shell::capture(&mut compile)?;
    if !compiled.good {
        bail!("`grow.c` does not compile: {}", compiled.text.trim());
    }
    Ok(Command::new(own))
}

/// A program that runs; ended when it is dropped.
pub(super) struct Running {
    child: Child,
    feeder: Option<Feeder>,
}

impl Running {
    /// Starts it and waits until it is ready; `None` when it is not installed. What it makes for itself is at `own`.
    pub(super) fn start(
        root: &Path,
        program: &Program,
        form: Form,
        seconds: u64,
        own: &Path,
    ) -> anyhow::Result<Option<Self>> {
        if !shell::exists(program.needs.0, program.needs.1) {
            return Ok(None);
        }
        let (rate, fills) = (program.kib_per_second, seconds / FILLS);
        match program.kind {
            Kind::Source(command) => {
                let mut command = command(&root.join(SOURCES), own)?;
                command.args([form.word(), &rate.to_string(), &fills.to_string()]);
                Self::source(command)
            }
            Kind::Redis => Self::redis(form, rate << 10, fills),
        }
        .map(Some)
    }

    pub(super) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn source(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().context("failed to start it")?;
        let mut running = Self { child, feeder: None };
        let stdout = running.child.stdout.as_mut().context("its stdout is not ours")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("failed to read from it")?;
        if line.trim() != "ready" {
            bail!("it said `{}` and not that it is ready", line.trim());
        }
        Ok(running)
    }

    fn redis(form: Form, bytes_per_second: u64, fills: u64) -> anyhow::Result<Self> {
        // Free now; whoever takes it meanwhile makes the server end, and us with it.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("failed to start it")?;
        let mut running = Self { child, feeder: None };
        let stream = connect(port)?;
        let keys = match form {
            Form::Leak => u64::MAX,
            Form::Steady => FEW_KEYS,
            Form::Cache => (bytes_per_second * fills / KEPT_BYTES).max(1),
        };
        running.feeder = Some(Feeder::start(stream, keys, bytes_per_second));
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.feeder = None;
        // Nothing is left to do about a program that has already ended.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn connect(port: u16) -> anyhow::Result<TcpStream> {
    let started = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return Ok(stream),
            Err(error) if started.elapsed() > LISTENS => {
                return Err(error).context("it does not listen");
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A client that sets keys; it ends when it is dropped.
struct Feeder {
    goes_on: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feeder {
    /// Sets so many keys in turn, at a rate of what the server keeps for them.
    fn start(mut stream: TcpStream, keys: u64, bytes_per_second: u64) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&goes_on);
        let thread = thread::spawn(move || {
            let value = "x".repeat(VALUE_BYTES);
            let started = Instant::now();
            let mut set = 0u64;
            while asked.load(Ordering::Relaxed) {
                let due = started.elapsed().as_secs_f64() * bytes_per_second as f64;
                while (set * KEPT_BYTES) as f64 <= due {
                    let key = format!("k{:09}", set % keys);
                    let words =
                        format!("*3\r\n$3\r\nSET\r\n$10\r\n{key}\r\n${VALUE_BYTES}\r\n{value}\r\n");
                    let mut answer = *b"+OK\r\n";
                    let told = stream
                        .write_all(words.as_bytes())
                        .and_then(|()| stream.read_exact(&mut answer));
                    if told.is_err() {
                        // The server has ended: its verdict will say so.
                        return;
                    }
                    set += 1;
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { goes_on, thread: Some(thread) }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}
