//! `memcli replay`: yesterday's samples under today's configuration.

use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use memtrack::Span;
use serde::Serialize;

use crate::cli::{ReplayArgs, Speed};
use crate::commands;
use crate::exit::{self, Failure};
use crate::live::Still;
use crate::output::{self, human, json, screen};
use crate::pipeline::{Event, Numbered};
use crate::recording::{self, Recording};
use crate::report::Run;
use crate::summary::Judgement;
use crate::trace::Header;

/// The name and version of the last row of `replay --json`.
pub const SCHEMA: &str = "memcli.replay/1";

/// Pushes each sample through the pipeline that a live watch has, and shows what changes when.
///
/// # Errors
/// 65 when the file is no trace, 66 when there is none, 74 when the output cannot be written.
pub fn replay(args: &ReplayArgs, config: Option<&Path>) -> Result<u8, Failure> {
    let still = Still::load(config)?;
    let mut player = Player {
        speed: args.speed,
        json: args.json,
        started: Instant::now(),
        run: None,
        written: Ok(()),
    };
    let listen = |header: &Header, numbered: &Numbered| player.hear(header, numbered);
    let runs = recording::read(
        &args.trace,
        Duration::ZERO,
        &mut |header| still.policies_under(header.budget()),
        listen,
    )?;
    let columns = output::page::columns(io::stdout(), 100);
    let mut written = player.written;
    for run in &runs {
        if written.is_ok() {
            written = if args.json {
                writeln!(io::stdout().lock(), "{}", json::line(&Outcome::new(run)))
            } else {
                write!(
                    screen::stdout(),
                    "{}",
                    output::report::replayed(&Run::new(run), run, columns)
                )
            };
        }
    }
    if let Some(damage) = runs.iter().find_map(|run| run.damage.as_ref()) {
        let _ = writeln!(screen::stderr(), "note: `{}`: {damage}", args.trace.display());
    }
    commands::written(written)?;
    Ok(exit::OK)
}

/// Shows changes as they come.
struct Player {
    speed: Speed,
    json: bool,
    started: Instant,
    /// When the run that is shown began: two runs of a file differ in it, or in their target.
    run: Option<Header>,
    /// The first failure to write; nothing is written after it.
    written: io::Result<()>,
}

impl Player {
    fn hear(&mut self, header: &Header, numbered: &Numbered) {
        if self.written.is_err() {
            return;
        }
        if self.run.as_ref() != Some(header) {
            self.run = Some(header.clone());
            self.started = Instant::now();
            if !self.json {
                self.written = writeln!(screen::stdout(), "{}", output::report::replay_of(header));
            }
        }
        match &numbered.event {
            Event::Sample(sample) => self.wait(sample.at.monotonic),
            Event::Level(_) | Event::Verdict(_) | Event::Alert(_) => {
                self.written = if self.json {
                    writeln!(io::stdout().lock(), "{}", json::event(numbered))
                } else if let Some(line) = human::event_line(numbered) {
                    let into = Span(numbered.at.monotonic).to_string();
                    writeln!(screen::stdout(), "  {into:>11}  {line}")
                } else {
                    Ok(())
                };
            }
            _ => {}
        }
    }

    /// Until the sample is due at this speed.
    fn wait(&self, at: Duration) {
        let Speed::Times(speed) = self.speed else { return };
        let due = Duration::try_from_secs_f64(at.as_secs_f64() / speed).unwrap_or(Duration::MAX);
        thread::sleep(due.saturating_sub(self.started.elapsed()));
    }
}

/// What a replay came to.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Outcome {
    schema: &'static str,
    target: String,
    samples: u64,
    #[cfg_attr(test, schemars(with = "crate::schema::Level"))]
    level: mempressure::Level,
    #[cfg_attr(test, schemars(with = "crate::schema::Level"))]
    highest_level: mempressure::Level,
    verdict: Judgement,
}

impl Outcome {
    fn new(run: &Recording) -> Self {
        let seen = run.pipeline.seen();
        Self {
            schema: SCHEMA,
            target: run.header.target.label.clone(),
            samples: seen.samples,
            level: run.pipeline.level(),
            highest_level: seen.level,
            verdict: Judgement::new(&run.verdict(), run.pipeline.series()),
        }
    }
}
