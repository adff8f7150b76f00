//! Programs that leak and programs that do not, each watched by the built `memcli`, and whether it said so.
//!
//! `cargo run -p memleak --example live -- PATH/TO/memcli [SECONDS] [PROGRAM...]`: 240 seconds and python, node, java,
//! redis and c by default, all at once, each in both forms. What is not installed is named and passed over. It ends with
//! a failure when a verdict is not what the program was built for, or when nothing could be run.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example that reports on the terminal"
)]

use std::error::Error;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAMS: [&str; 5] = ["python", "node", "java", "redis", "c"];
/// Both forms of each program.
const FORMS: [&str; 2] = ["leak", "steady"];
/// This share of the time is for starting up and is left out of the watch.
const SKIP: u64 = 6;
/// How long a server may take until it listens.
const LISTENS: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A running program that is ended when it is dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `memcli` said of one program.
struct Said {
    program: String,
    form: &'static str,
    outcome: Result<Option<(String, f64)>>,
}

impl Said {
    /// `None` when the program is not installed.
    fn is_right(&self) -> Option<bool> {
        match &self.outcome {
            Ok(None) => None,
            Ok(Some((kind, _))) => Some((kind == "leak") == (self.form == "leak")),
            Err(_) => Some(false),
        }
    }
}

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let memcli = arguments.next().ok_or("usage: live PATH/TO/memcli [SECONDS] [PROGRAM...]")?;
    let seconds: u64 = arguments.next().map_or(Ok(240), |text| text.parse())?;
    let chosen: Vec<String> = arguments.collect();
    let programs: Vec<String> =
        if chosen.is_empty() { PROGRAMS.map(str::to_owned).into() } else { chosen };
    let folder = tempfile::tempdir()?;
    let said: Vec<Said> = thread::scope(|scope| {
        let running: Vec<_> = programs
            .iter()
            .flat_map(|program| FORMS.map(|form| (program, form)))
            .map(|(program, form)| {
                let (memcli, folder) = (&memcli, folder.path());
                let outcome = scope.spawn(move || watch(memcli, program, form, seconds, folder));
                (program, form, outcome)
            })
            .collect();
        running
            .into_iter()
            .map(|(program, form, outcome)| Said {
                program: program.clone(),
                form,
                outcome: outcome.join().unwrap_or_else(|_| Err("the watch panicked".into())),
            })
            .collect()
    });
    println!("| program | built to | verdict | MiB/min | as built |");
    println!("| --- | --- | --- | --- | --- |");
    for said in &said {
        let (verdict, rate) = match &said.outcome {
            Ok(Some((kind, rate))) => (kind.clone(), format!("{rate:.2}")),
            Ok(None) => {
                eprintln!("SKIPPED: {} is not installed", said.program);
                ("not installed".to_owned(), "-".to_owned())
            }
            Err(error) => (error.to_string(), "-".to_owned()),
        };
        let right = said.is_right().map_or("-", |right| if right { "yes" } else { "NO" });
        println!("| {} | {} | {verdict} | {rate} | {right} |", said.program, said.form);
    }
    let judged: Vec<bool> = said.iter().filter_map(Said::is_right).collect();
    let good = !judged.is_empty() && judged.iter().all(|right| *right);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts one program, watches it and ends it; the verdict's kind and its rate in MiB/min.
fn watch(
    memcli: &str,
    program: &str,
    form: &'static str,
    seconds: u64,
    folder: &Path,
) -> Result<Option<(String, f64)>> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("live");
    let fed = AtomicBool::new(true);
    thread::scope(|scope| {
        let mut port = None;
        let mut command = match program {
            "python" => script("python3", &sources.join("grow.py"), form),
            "node" => {
                let mut command = Command::new("node");
                command.arg("--expose-gc").arg(sources.join("grow.js")).arg(form);
                command
            }
            "java" => {
                let mut command = Command::new("java");
                // A heap grows by two fifths at a time unless told otherwise: four steps in as many minutes decide nothing.
                command.args(["-Xms32m", "-Xmx512m", "-Xmn2m", "-XX:+UseSerialGC"]);
                command.args(["-XX:MinHeapFreeRatio=5", "-XX:MaxHeapFreeRatio=10"]);
                command.arg(sources.join("Grow.java")).arg(form);
                command
            }
            "c" => {
                let built = folder.join(format!("grow-{form}"));
                let mut compiler = Command::new("cc");
                compiler.arg("-o").arg(&built).arg(sources.join("grow.c"));
                match compiler.status() {
                    Err(_) => return Ok(None),
                    Ok(status) if !status.success() => return Err("cc failed".into()),
                    Ok(_) => {}
                }
                script_of(built.as_os_str(), form)
            }
            "redis" => {
                let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                port = Some(free);
                let mut command = Command::new("redis-server");
                command.args(["--save", "", "--bind", "127.0.0.1", "--port", &free.to_string()]);
                command
            }
            other => return Err(format!("no program `{other}`").into()),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(child) = command.spawn() else { return Ok(None) };
        let running = Program(child);
        if let Some(port) = port {
            let stream = connect(port)?;
            scope.spawn(|| feed(stream, form == "leak", &fed));
        }
        let outcome = ask(memcli, running.0.id(), seconds);
        fed.store(false, Ordering::Relaxed);
        outcome.map(Some)
    })
}

fn script(interpreter: &str, source: &Path, form: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(source).arg(form);
    command
}

fn script_of(program: &std::ffi::OsStr, form: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(form);
    command
}

fn connect(port: u16) -> Result<TcpStream> {
    let started = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return Ok(stream),
            Err(error) if started.elapsed() > LISTENS => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Writes 16 KiB values twenty times a second: to new keys, or always to the same hundred.
fn feed(mut stream: TcpStream, new_keys: bool, go_on: &AtomicBool) {
    let value = "x".repeat(16 << 10);
    let mut number = 0u64;
    while go_on.load(Ordering::Relaxed) {
        let key = format!("k{:09}", if new_keys { number } else { number % 100 });
        let set = format!(
            "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n",
            key.len(),
            value.len()
        );
        if stream.write_all(set.as_bytes()).is_err() {
            return;
        }
        number += 1;
        thread::sleep(Duration::from_millis(50));
    }
}

fn ask(memcli: &str, pid: u32, seconds: u64) -> Result<(String, f64)> {
    let output = Command::new(memcli)
        .args(["leak", &pid.to_string(), "--json", "--interval", "250ms"])
        .args(["--for", &format!("{seconds}s"), "--skip", &format!("{}s", seconds / SKIP)])
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let document: Value = serde_json::from_str(&text)
        .map_err(|error| format!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
    let verdict = find(&document, "verdict").ok_or("no verdict in the document")?;
    let kind = find(verdict, "kind").and_then(Value::as_str).ok_or("a verdict without a kind")?;
    let rate = find(verdict, "rate_bytes_per_second").and_then(Value::as_f64).unwrap_or(0.0);
    Ok((kind.to_owned(), rate * 60.0 / f64::from(1 << 20)))
}

/// The value of a key, at any depth.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => {
            map.get(key).or_else(|| map.values().find_map(|inner| find(inner, key)))
        }
        Value::Array(list) => list.iter().find_map(|inner| find(inner, key)),
        _ => None,
    }
}
