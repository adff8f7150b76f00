//! `memcli demo`: the main job on a built-in program of known behaviour.

use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use memtrack::source::{LinuxSource, Source, Target};
use memtrack::{Rate, Size, Span, TrackConfig};

use crate::cli::{DemoArgs, Program, Watching};
use crate::commands::{run, written};
use crate::exit::{self, Failure};
use crate::output::screen;

/// How long a demo runs unless told otherwise: long enough for a verdict.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// How often the program allocates.
const STEP: Duration = Duration::from_millis(20);
/// What is allocated between two looks at the clock at most: some hundredths of a second to write to.
const MOST_AT_ONCE: usize = 64 << 20;
/// How much longer than it was told to the program may run before it is ended: on a busy machine it starts late.
const OVERTIME: Duration = Duration::from_secs(5);
/// What the steady program allocates and frees at each step.
const STEADY_BYTES: usize = 4 << 20;
/// How long a tooth of the sawtooth is.
const TOOTH: Duration = Duration::from_secs(3);
/// How long the cache fills.
const FILL: Duration = Duration::from_secs(4);
/// What the spike allocates, and every how many steps.
const SPIKE_BYTES: usize = 300 << 20;
const SPIKE_EVERY: u32 = 50;
/// The processes of the tree, and what each adds a second for the four seconds of [`FILL`].
const CHILDREN: usize = 4;
const CHILD_BYTES: usize = 4 << 20;

/// Watches the program, or is the program. `spent` is CPU time from before memcli began.
///
/// # Errors
/// When it cannot be started or watched.
pub fn demo(args: &DemoArgs, config: Option<&Path>, spent: Duration) -> Result<u8, Failure> {
    let duration = args.watching.duration.unwrap_or(DEFAULT_DURATION);
    refuse_more_than_there_is(args.rate)?;
    if args.unwatched {
        be(args.program, args.rate, duration)?;
        return Ok(exit::OK);
    }
    let own = std::env::current_exe()
        .map_err(|error| Failure::io("failed to find memcli itself", error))?;
    let program = name(args.program);
    let at_most = duration.saturating_add(OVERTIME);
    let duration = memtrack::units::format_duration(duration);
    let rate = format!("{}B/s", args.rate.bytes_per_second().round() as u64);
    let words = ["demo", &program, "--unwatched", "--for", &duration, "--rate", &rate];
    let command: Vec<_> =
        std::iter::once(own.into_os_string()).chain(words.map(Into::into)).collect();
    // The program itself ends when its time is up; one that does not is ended.
    let watching = Watching { duration: Some(at_most), ..args.watching.clone() };
    run::start(&command, &watching, config, spent)
}

/// No machine can keep what would have to be written in one step then, and long before that it would be busy with nothing else.
fn refuse_more_than_there_is(rate: Rate) -> Result<(), Failure> {
    let source = LinuxSource::open(&Target::System);
    let sample = source.ok().and_then(|mut source| source.read(&TrackConfig::default()).ok());
    // Where nobody knows, the step is what bounds it.
    let Some(total) = sample.and_then(|sample| sample.system.total.ok()) else { return Ok(()) };
    if due(rate, STEP) as u64 <= total {
        return Ok(());
    }
    let message = format!("{rate} is more than this machine could hold after {}", Span(STEP));
    Err(Failure::new(exit::USAGE, message).help(format!("it has {} of memory", Size(total))))
}

/// The word for a program on the command line.
fn name(program: Program) -> String {
    program.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The program alone.
fn be(program: Program, rate: Rate, duration: Duration) -> Result<(), Failure> {
    let says = match program {
        Program::Leak => format!("keeps {rate}, and frees none of it"),
        Program::Steady => {
            format!("allocates {} and frees it, again and again", Size(STEADY_BYTES as u64))
        }
        Program::Sawtooth => format!("grows by {rate} and frees it all every {}", Span(TOOTH)),
        Program::Spike => {
            format!("allocates {} for an instant, once a second", Size(SPIKE_BYTES as u64))
        }
        Program::Tree => {
            format!("starts {CHILDREN} processes that keep {} each", Size(4 * CHILD_BYTES as u64))
        }
        Program::Cache => {
            format!("fills by {rate} for {}, then replaces what it holds", Span(FILL))
        }
    };
    let told = writeln!(screen::stdout(), "demo {}: {says}, for {}", name(program), Span(duration));
    written(told)?;
    if program == Program::Tree {
        return tree(duration);
    }
    let start = Instant::now();
    let mut kept = Kept::default();
    let mut step = 0;
    let is_over = || start.elapsed() >= duration;
    while !is_over() {
        // By the clock, not by the step: so the rate holds on a busy machine.
        let now = start.elapsed();
        match program {
            Program::Leak => kept.grow_to(due(rate, now), is_over),
            Program::Sawtooth => {
                let into = Duration::from_nanos((now.as_nanos() % TOOTH.as_nanos()) as u64);
                let due = due(rate, into);
                if due < kept.bytes {
                    kept = Kept::default();
                }
                kept.grow_to(due, is_over);
            }
            Program::Cache => {
                kept.grow_to(due(rate, now.min(FILL)), is_over);
                kept.replace(step);
            }
            Program::Spike if step % SPIKE_EVERY == 0 => drop(black_box(touched(SPIKE_BYTES))),
            Program::Spike | Program::Tree => {}
            Program::Steady => drop(black_box(touched(STEADY_BYTES))),
        }
        step += 1;
        thread::sleep((STEP * step).saturating_sub(start.elapsed()));
    }
    drop(black_box(kept));
    Ok(())
}

fn due(rate: Rate, time: Duration) -> usize {
    (time.as_secs_f64() * rate.bytes_per_second()) as usize
}

/// Memory that is held on to.
#[derive(Default)]
struct Kept {
    chunks: Vec<Vec<u8>>,
    bytes: usize,
}

impl Kept {
    /// Grows to so much, or as far as it comes until `is_over`.
    fn grow_to(&mut self, bytes: usize, is_over: impl Fn() -> bool) {
        while bytes > self.bytes && !is_over() {
            let chunk = (bytes - self.bytes).min(MOST_AT_ONCE);
            self.chunks.push(touched(chunk));
            self.bytes += chunk;
        }
    }

    /// Frees one chunk and puts a new one of the same size in its place.
    fn replace(&mut self, step: u32) {
        let at = step as usize % self.chunks.len().max(1);
        if let Some(chunk) = self.chunks.get_mut(at) {
            let bytes = chunk.len();
            *chunk = Vec::new();
            *chunk = touched(bytes);
        }
    }
}

/// Starts children of this same program, and waits for them.
fn tree(duration: Duration) -> Result<(), Failure> {
    let failed = |error| Failure::io("failed to start a child", error);
    let own = std::env::current_exe().map_err(failed)?;
    let duration = memtrack::units::format_duration(duration);
    let rate = format!("{CHILD_BYTES}B/s");
    let words = ["demo", "cache", "--unwatched", "--for", &duration, "--rate", &rate];
    let start = || Command::new(&own).args(words).stdout(Stdio::null()).spawn().map_err(failed);
    let children: Vec<_> = (0..CHILDREN).map(|_| start()).collect::<Result<_, _>>()?;
    for mut child in children {
        child.wait().map_err(failed)?;
    }
    Ok(())
}

/// Memory that is really there: written to, page by page.
fn touched(bytes: usize) -> Vec<u8> {
    black_box(vec![0x5a; bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_in_steps_and_stops_when_its_time_is_over() {
        let mut kept = Kept::default();
        kept.grow_to(MOST_AT_ONCE + 5, || false);
        assert_eq!(kept.chunks.iter().map(Vec::len).collect::<Vec<_>>(), [MOST_AT_ONCE, 5]);
        let looks = std::cell::Cell::new(0);
        kept.grow_to(usize::MAX, || looks.replace(looks.get() + 1) == 1);
        assert_eq!(kept.bytes, 2 * MOST_AT_ONCE + 5, "one step, and then a look at the clock");
    }

    #[test]
    fn a_rate_that_no_machine_holds_for_one_step_is_refused() {
        let refused = refuse_more_than_there_is("8EiB/s".parse().unwrap()).unwrap_err();
        assert_eq!(refused.code, exit::USAGE);
        assert!(refuse_more_than_there_is("16MiB/s".parse().unwrap()).is_ok());
    }
}
