//! A trace read to its end, run by run: each through the same pipeline as a live watch.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use memleak::Verdict;
use memtrack::{Sample, Span, Stamp};

use crate::curve::Curve;
use crate::exit::{self, Failure};
use crate::output::progress::Progress;
use crate::output::screen;
use crate::pipeline::{Numbered, Pipeline, Policies};
use crate::recordings;
use crate::trace::error::Broken;
use crate::trace::tree::ProcessesRow;
use crate::trace::{Damage, EndRow, EventRow, Header, Reader, Row, TraceError};

/// Events that are kept of a run; the rest are counted.
const MOST_EVENTS: usize = 1000;

/// One run of a trace, in memory that does not grow with its length.
#[derive(Debug)]
pub struct Recording {
    /// The file it is from.
    pub path: PathBuf,
    /// What was watched.
    pub header: Header,
    /// The pipeline after the last sample, concluded.
    pub pipeline: Pipeline,
    /// What is watched for growth.
    pub watched: Curve,
    /// RSS.
    pub rss: Curve,
    /// RSS + swap.
    pub footprint: Curve,
    /// What counts against a limit: of several processes PSS + swap, where that could be had.
    pub held: Curve,
    /// PSS, as far as it was read: measured now and then, and estimated in between.
    pub pss: Curve,
    /// Samples of it that are estimates.
    pub pss_estimated: u64,
    /// What happened, as the watch told it.
    pub events: Vec<EventRow>,
    /// Events beyond those.
    pub more_events: u64,
    /// The processes at the time of those recorded at which their RSS was highest, if any were.
    pub processes: Option<ProcessesRow>,
    /// The commands of its processes, by pid and start.
    commands: HashMap<(u32, u64), String>,
    /// How it ended; `None` when the trace does not say.
    pub end: Option<EndRow>,
    /// Why it is not whole; `None` when it is.
    pub damage: Option<Damage>,
}

impl Recording {
    fn new(path: &Path, header: Header, policies: Policies) -> Self {
        let pipeline = Pipeline::new(&header.target.watched(), policies);
        Self {
            path: path.to_owned(),
            pipeline: if header.command.is_some() { pipeline.from_birth() } else { pipeline },
            header,
            watched: Curve::default(),
            rss: Curve::default(),
            footprint: Curve::default(),
            held: Curve::default(),
            pss: Curve::default(),
            pss_estimated: 0,
            events: Vec::new(),
            more_events: 0,
            processes: None,
            commands: HashMap::new(),
            end: None,
            damage: None,
        }
    }

    fn sample(&mut self, sample: &Sample, listen: &mut impl FnMut(&Header, &Numbered)) {
        let sample = &self.pipeline.heard(sample);
        let process = &sample.process;
        for (curve, reading) in [
            (&mut self.watched, self.pipeline.watched(sample)),
            (&mut self.rss, process.rss),
            (&mut self.footprint, process.footprint()),
            (&mut self.held, process.held()),
            (&mut self.pss, process.pss),
        ] {
            curve.note(sample.at, reading.ok());
        }
        let estimated = process.pss_age.is_ok_and(|age| age > Duration::ZERO);
        self.pss_estimated += u64::from(process.pss.is_ok() && estimated);
        let header = &self.header;
        self.pipeline.push(sample, |numbered| listen(header, numbered));
    }

    fn processes(&mut self, mut row: ProcessesRow) {
        let alive: Vec<_> = row.rows.iter().map(|process| (process.pid, process.start)).collect();
        // A tree that forks all the time must not fill the memory with those that are gone.
        self.commands.retain(|id, _| alive.contains(id));
        for process in &mut row.rows {
            let id = (process.pid, process.start);
            match &process.command {
                Some(command) => drop(self.commands.insert(id, command.clone())),
                None => process.command = self.commands.get(&id).cloned(),
            }
        }
        if self.processes.as_ref().is_none_or(|highest| row.rss() > highest.rss()) {
            self.processes = Some(row);
        }
    }

    /// From the start of the watch to its end, as far as it was recorded.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let last = self
            .pipeline
            .seen()
            .span
            .map_or(Duration::ZERO, |(_, Stamp { monotonic, .. })| monotonic);
        let ended = self
            .end
            .as_ref()
            .and_then(|end| Duration::try_from_secs_f64(end.duration_seconds).ok());
        ended.unwrap_or(last)
    }

    /// The highest RSS, the kernel's own figure included; and whether it is exact up to the end.
    #[must_use]
    pub fn peak_rss(&self) -> (Option<u64>, bool) {
        let seen = self.pipeline.seen().peak_rss;
        match &self.end {
            Some(end) => (seen.max(end.peak_rss_bytes), end.peak_exact),
            None => (seen, false),
        }
    }

    /// The verdict over the whole run.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.pipeline.verdict()
    }
}

/// Reads every run of the trace at `path`, without the samples of its first `skip`, each under the `policies` for its header. `listen` hears what the pipeline says of each sample, and at the end.
///
/// # Errors
/// When it cannot be read or holds no sample. A file that is cut off or damaged gives what is whole.
pub fn read(
    path: &Path,
    skip: Duration,
    policies: &mut dyn FnMut(&Header) -> Policies,
    mut listen: impl FnMut(&Header, &Numbered),
) -> Result<Vec<Recording>, Failure> {
    let mut reader = Reader::open(path)?;
    let mut progress = Progress::new(&reader);
    let mut runs: Vec<Recording> = Vec::new();
    let mut skipped = false;
    let mut told = 0;
    while let Some(row) = reader.read() {
        progress.step(&reader);
        let Some(run) = runs.last_mut() else {
            if let Row::Header(header) = row {
                let policies = policies(&header);
                runs.push(Recording::new(path, *header, policies));
            }
            continue;
        };
        match row {
            Row::Header(header) => {
                conclude(run, &mut listen);
                if let Some(damage) = reader.damages().get(told) {
                    (run.damage, told) = (Some(damage.clone()), told + 1);
                }
                let policies = policies(&header);
                runs.push(Recording::new(path, *header, policies));
            }
            Row::Sample(sample) if sample.at.monotonic < skip => skipped = true,
            Row::Sample(sample) => run.sample(&sample, &mut listen),
            Row::Processes(row) => run.processes(row),
            Row::Event(event) if run.events.len() < MOST_EVENTS => run.events.push(event),
            Row::Event(_) => run.more_events += 1,
            Row::End(end) => run.end = Some(end),
        }
    }
    progress.clear();
    if let Some(note) = reader.note() {
        // When nobody reads this, what is read stands all the same.
        let _ = writeln!(screen::stderr(), "note: `{}`: {note}", path.display());
    }
    // One that was over before a sample was taken still says what it was and how it ended.
    let ended = |run: &Recording| run.end.is_some() && !skipped;
    runs.retain(|run| run.pipeline.seen().samples > 0 || ended(run));
    let damage = reader.damages().get(told).cloned();
    let Some(last) = runs.last_mut() else {
        if skipped {
            let ends = format!("`{}` ends within the first {}", path.display(), Span(skip));
            return Err(Failure::new(exit::USAGE, ends).help("leave out less with `--skip`"));
        }
        let damage = reader.damage().cloned();
        return Err(TraceError::Empty { path: path.to_owned(), damage }.into());
    };
    conclude(last, &mut listen);
    if let Some(mut damage) = damage {
        if matches!(damage.what, Broken::CutOff { .. }) && recordings::is_written(path) {
            damage.what = Broken::Running;
        }
        last.damage = Some(damage);
    }
    Ok(runs)
}

fn conclude(run: &mut Recording, listen: &mut impl FnMut(&Header, &Numbered)) {
    let header = &run.header;
    run.pipeline.conclude(|numbered| listen(header, numbered));
}
