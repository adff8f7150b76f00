//! One file a command.

pub mod budget;
pub mod completions;
pub mod config;
pub mod demo;
pub mod diff;
pub mod doctor;
pub mod leak;
pub mod man;
pub mod overview;
pub mod replay;
pub mod report;
pub mod run;
pub mod status;
pub mod top;
pub mod watch;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mempressure::BudgetTotal;
use memtrack::source::{LinuxSource, Source, Target};
use memtrack::{Sample, Size, TrackConfig};
use serde::Serialize;

use crate::alert::Delivery;
use crate::alert::log::Log;
use crate::cli::{Logging, Watching};
use crate::comparison::Measured;
use crate::exit::{self, Failure};
use crate::gate::{FailOn, Gates, Judged};
use crate::limit;
use crate::live::{Flag, Live, Still};
use crate::outfile::{self, OutFile};
use crate::output::page::columns;
use crate::output::{human, json, screen};
use crate::recording::{self, Recording};
use crate::summary::Summary;
use crate::target::not_opened;
use crate::trace::Header;
use crate::trace::Recorder;

/// Time between samples when neither a flag nor the configuration sets one.
const INTERVAL: Duration = Duration::from_millis(100);

impl Watching {
    /// The gates on `watched`, or on a command that runs where it does. A share is one of the limit at this time.
    fn gates(&self, watched: &Target, live: &Live) -> Result<Gates, Failure> {
        let limit = |share: BudgetTotal| {
            let around = around(watched)?;
            let limit = live.policies().budget_total().and_then(|total| total.resolve(around));
            let unknown = || {
                Failure::new(exit::UNAVAILABLE, format!("no limit is known to take {share} of"))
                    .help("name a size, such as 512MiB")
            };
            share.resolve(limit.or(around)).map(Size).ok_or_else(unknown)
        };
        let size = |most: BudgetTotal| match most {
            BudgetTotal::Size(size) => Ok(size),
            share @ BudgetTotal::Percent(_) => limit(share),
        };
        Ok(Gates {
            max_rss: self.max_rss.map(size).transpose()?,
            max_pss: self.max_pss.map(size).transpose()?,
            max_growth: self.max_growth,
            fail_on: once(&self.fail_on),
            strict: self.strict,
        })
    }

    fn live(&self, config: Option<&Path>, events: bool) -> Result<Live, Failure> {
        self.files_apart()?;
        let interval = self.interval.map(Flag::interval);
        let limit = |limit: BudgetTotal| Flag {
            key: "budget.total",
            name: "--limit",
            value: limit.to_string(),
        };
        let flags: Vec<_> = interval.into_iter().chain(self.limit.map(limit)).collect();
        Live::start(config, &flags, INTERVAL, events)
    }

    /// Whether what it came to is to be shown.
    fn shows(&self, gates: &[Judged]) -> bool {
        !self.quiet || gates.iter().any(|gate| !gate.pass)
    }

    /// That no two of its files are one.
    fn files_apart(&self) -> Result<(), Failure> {
        let named =
            [("-o", &self.output), ("--summary", &self.summary), ("--baseline", &self.baseline)];
        let named = named.map(|(flag, path)| path.as_deref().map(|path| (flag, path)));
        for (n, one) in named.iter().enumerate() {
            for (one, two) in named[n + 1..].iter().filter_map(|two| one.zip(*two)) {
                if outfile::same(one.1, two.1) {
                    let both = format!("`{}` and `{}` name one file", one.0, two.0);
                    return Err(Failure::new(
                        exit::USAGE,
                        format!("{both}, `{}`", one.1.display()),
                    )
                    .help("the one would replace what the other holds: name two files"));
                }
            }
        }
        Ok(())
    }

    /// Creates the trace, when one was asked for.
    fn recorder(&self) -> Result<Option<Recorder>, Failure> {
        self.output.as_deref().map(Recorder::create).transpose()
    }

    /// Makes the file of the summary ready, when one was asked for: before a command is started.
    fn summary_file(&self) -> Result<Option<OutFile>, Failure> {
        let instead = "name a file; `--json` shows the summary too, in `run` on stderr and in `watch` on stdout";
        let open = |path: &PathBuf| OutFile::open(path, "the summary", instead);
        self.summary.as_ref().map(open).transpose()
    }
}

/// The memory that there is for `watched`, where it is known.
fn around(watched: &Target) -> Result<Option<u64>, Failure> {
    Ok(limit::around(&sample_of(watched)?).ok().map(|(limit, _)| limit))
}

/// One sample of `watched`, for its limits.
fn sample_of(watched: &Target) -> Result<Sample, Failure> {
    let mut source = LinuxSource::open(watched).map_err(not_opened)?;
    source
        .read(&TrackConfig::default())
        .map_err(|error| Failure::new(exit::IO, "failed to read the limit").because(error))
}

/// Writes the document to its file, when there is one.
fn keep(file: Option<OutFile>, summary: &impl Serialize) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let path = file.path().display().to_string();
    let failed = |error| Failure::io(format!("failed to write the summary `{path}`"), error);
    let mut text = serde_json::to_string_pretty(summary).map_err(|error| failed(error.into()))?;
    text.push('\n');
    file.begin().and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
}

/// The exit code of a watch whose results were written or not: what could not be written is told, and hides no other code.
fn code_after(code: u8, written: impl IntoIterator<Item = Result<(), Failure>>) -> u8 {
    written.into_iter().filter_map(Result::err).fold(code, |code, failure| {
        let failed = crate::report(&failure);
        if code == exit::OK { failed } else { code }
    })
}

/// Each of them once, in their order.
fn once(named: &[FailOn]) -> Vec<FailOn> {
    let mut kept = Vec::new();
    for fail_on in named {
        if !kept.contains(fail_on) {
            kept.push(*fail_on);
        }
    }
    kept
}

impl Logging {
    /// Whether somebody wants log lines on stderr.
    fn to_stderr(&self) -> bool {
        (self.log_format.is_some() || self.verbose) && self.log_file.is_none()
    }

    /// Where what happens to `target` is told. Without a word on logs, alerts alone are written to stderr when `alerts` says
    /// that it is free.
    fn delivery(&self, target: &str, live: &Live, alerts: bool) -> Result<Delivery, Failure> {
        let format = self.log_format.unwrap_or_default();
        let log = match &self.log_file {
            Some(path) => Some(Log::file(format, path)?),
            None if self.to_stderr() => Some(Log::stderr(format, true)),
            None => alerts.then(|| Log::stderr(format, false)),
        };
        Ok(Delivery::new(target, log.into_iter().collect(), live.alerts()))
    }
}

/// The runs of `--baseline`, read under the configuration that the watch begins with.
fn baseline(watching: &Watching, live: &Live) -> Result<Option<Vec<Measured>>, Failure> {
    let Some(path) = &watching.baseline else {
        if watching.fail_on.contains(&FailOn::Regression) {
            let nothing = "`--fail-on regression` has nothing to compare with";
            return Err(Failure::new(exit::USAGE, nothing)
                .help("name a trace of `memcli run -o TRACE` with `--baseline TRACE`"));
        }
        return Ok(None);
    };
    let runs = recording::read(path, Duration::ZERO, &mut |_| live.policies(), |_, _| {})?;
    Ok(Some(runs.iter().map(Measured::from).collect()))
}

/// The runs of all of `traces`, each under its own budget where today's configuration sets none. What is damaged is said, and what
/// is whole is read.
pub(crate) fn recorded<'p>(
    traces: impl IntoIterator<Item = &'p PathBuf>,
    still: &Still,
) -> Result<Vec<Recording>, Failure> {
    let mut runs = Vec::new();
    for path in traces {
        let policies = &mut |header: &Header| still.policies_under(header.budget());
        runs.extend(recording::read(path, Duration::ZERO, policies, |_, _| {})?);
    }
    for run in &runs {
        if let Some(damage) = &run.damage {
            // What comes of it stands on what is whole; when nobody reads this, that is still so.
            let _ = writeln!(screen::stderr(), "note: `{}`: {damage}", run.path.display());
        }
    }
    Ok(runs)
}

/// Takes what writing to stdout came to; that nobody reads on (`memcli .. | head`) is an end like another.
pub(crate) fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::io("failed to write to stdout", error))
        }
        _ => Ok(()),
    }
}

/// Shows the summary on stderr, as text or as one line of JSON.
fn show_on_stderr(summary: &Summary, json: bool) -> Result<(), Failure> {
    let written = if json {
        writeln!(screen::stderr(), "{}", json::summary(summary))
    } else {
        write!(screen::stderr(), "{}", human::summary(summary, columns(std::io::stderr(), 100)))
    };
    written.map_err(|error| Failure::io("failed to write the summary", error))
}
