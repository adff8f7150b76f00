//! `memcli report`: what a trace holds, as text, JSON, CSV or a page.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use crate::cli::{Format, ReportArgs};
use crate::commands;
use crate::exit::{self, Failure};
use crate::live::Still;
use crate::output::{self, csv, html, json, screen};
use crate::recording::{self, Recording};
use crate::report::{Report, Run, SCHEMA};
use crate::trace::{Reader, Row, TraceError};

/// Reports on every run of every trace.
///
/// # Errors
/// 65 when a file is no trace, 66 when there is none, 74 when the output cannot be written.
pub fn report(args: &ReportArgs, config: Option<&Path>) -> Result<u8, Failure> {
    let format = if args.json { Format::Json } else { args.format };
    if format == Format::Csv {
        return csv_of(&args.traces);
    }
    let still = Still::load(config)?;
    let mut recordings = Vec::new();
    for path in &args.traces {
        recordings.extend(recording::read(
            path,
            Duration::ZERO,
            &mut |header| still.policies_under(header.budget()),
            |_, _| {},
        )?);
    }
    let runs: Vec<Run> = recordings.iter().map(Run::new).collect();
    let drawn: Vec<(&Run, &Recording)> = runs.iter().zip(&recordings).collect();
    let written = match format {
        Format::Human => {
            let columns = output::page::columns(io::stdout(), 80);
            let mut out = screen::stdout();
            drawn.iter().enumerate().try_for_each(|(n, (run, recording))| {
                if n > 0 {
                    writeln!(out)?;
                }
                write!(out, "{}", output::report::report(run, recording, columns))
            })
        }
        Format::Html => write!(io::stdout().lock(), "{}", html::page(&drawn)),
        Format::Json | Format::Csv => {
            let report = Report { schema: SCHEMA, runs };
            writeln!(io::stdout().lock(), "{}", json::document(&report))
        }
    };
    commands::written(written)?;
    Ok(exit::OK)
}

/// Samples as they are: nothing has to be kept, so a trace of any length goes through.
fn csv_of(paths: &[impl AsRef<Path>]) -> Result<u8, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = csv::header(&mut out);
    let mut run = 0;
    for path in paths {
        let path = path.as_ref();
        let mut reader = Reader::open(path)?;
        let mut samples = 0u64;
        while let (Some(row), true) = (reader.read(), written.is_ok()) {
            match row {
                Row::Header(_) => run += 1,
                Row::Sample(sample) => {
                    samples += 1;
                    written = csv::sample(&mut out, run, &sample);
                }
                Row::Processes(_) | Row::Event(_) | Row::End(_) => {}
            }
        }
        if let Some(damage) = reader.damage().filter(|_| samples == 0) {
            let (path, damage) = (path.to_owned(), Some(damage.clone()));
            return Err(TraceError::Empty { path, damage }.into());
        }
        for damage in reader.damages() {
            // The data on stdout cannot say so.
            let _ = writeln!(screen::stderr(), "note: `{}`: {damage}", path.display());
        }
    }
    commands::written(written.and_then(|()| out.flush()))?;
    Ok(exit::OK)
}
