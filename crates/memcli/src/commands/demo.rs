//! `memcli demo`: the main job on a built-in program of known behaviour.

use std::hint::black_box;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use memtrack::{Rate, Size, Span};

use crate::cli::{DemoArgs, Program, Watching};
use crate::commands::run;
use crate::exit::{self, Failure};
use crate::output::screen;

/// How long a demo runs unless told otherwise: long enough for a verdict.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// How often the program allocates.
const STEP: Duration = Duration::from_millis(20);
/// What the steady program allocates and frees at each step.
const STEADY_BYTES: usize = 4 << 20;

/// Watches the program, or is the program.
///
/// # Errors
/// When it cannot be started or watched.
pub fn demo(args: &DemoArgs) -> Result<u8, Failure> {
    let duration = args.watching.duration.unwrap_or(DEFAULT_DURATION);
    if args.unwatched {
        be(args.program, args.rate, duration)?;
        return Ok(exit::OK);
    }
    let own = std::env::current_exe()
        .map_err(|error| Failure::io("failed to find memcli itself", error))?;
    let program = match args.program {
        Program::Leak => "leak",
        Program::Steady => "steady",
    };
    let duration = memtrack::units::format_duration(duration);
    let rate = format!("{}B/s", args.rate.bytes_per_second().round() as u64);
    let words = ["demo", program, "--unwatched", "--for", &duration, "--rate", &rate];
    let command: Vec<_> =
        std::iter::once(own.into_os_string()).chain(words.map(Into::into)).collect();
    // The program itself ends when its time is up.
    let watching = Watching { duration: None, ..args.watching.clone() };
    run::start(&command, &watching)
}

/// The program alone.
fn be(program: Program, rate: Rate, duration: Duration) -> Result<(), Failure> {
    let says = match program {
        Program::Leak => format!("keeps {rate}, and frees none of it"),
        Program::Steady => {
            format!("allocates {} and frees it, again and again", Size(STEADY_BYTES as u64))
        }
    };
    writeln!(screen::stdout(), "demo {program:?}: {says}, for {}", Span(duration))
        .map_err(|error| Failure::io("failed to write to stdout", error))?;
    let start = Instant::now();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut kept_bytes = 0;
    let mut step = 0;
    while start.elapsed() < duration {
        match program {
            // By the clock, not by the step: so the rate holds on a busy machine.
            Program::Leak => {
                let due = (start.elapsed().as_secs_f64() * rate.bytes_per_second()) as usize;
                let chunk = touched(due.saturating_sub(kept_bytes));
                kept_bytes += chunk.len();
                kept.push(chunk);
            }
            Program::Steady => drop(black_box(touched(STEADY_BYTES))),
        }
        step += 1;
        thread::sleep((STEP * step).saturating_sub(start.elapsed()));
    }
    drop(black_box(kept));
    Ok(())
}

/// Memory that is really there: written to, page by page.
fn touched(bytes: usize) -> Vec<u8> {
    black_box(vec![0x5a; bytes])
}
