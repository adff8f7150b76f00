//! What `report` says of a recording: the document `memcli.report/1`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use mempressure::Level;
use memtrack::source::Target;
use serde::Serialize;

use crate::curve::Percentiles;
use crate::look::pss_missing;
use crate::recording::Recording;
use crate::rules::RulesRow;
use crate::size;
use crate::summary::{Cost, End, Growth, Judgement, Peak};
use crate::trace::EventRow;
use crate::trace::rows::MachineRow;
use crate::trace::tree::ProcessesRow;

/// The name and version of this document.
pub const SCHEMA: &str = "memcli.report/1";

/// All runs of all traces that were named.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// One for each run.
    pub runs: Vec<Run>,
}

/// One run: the fields of a summary that a recording has, and percentiles. Sizes are in bytes, times in seconds; what
/// is unknown is `null` with its reason in `absent`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Run {
    /// The file it is from.
    pub file: String,
    /// What wrote the file.
    pub writer: String,
    /// Whether the recording reaches to the end of the watch.
    pub complete: bool,
    /// What is wrong with the file, in words; `null` when nothing is.
    pub damage: Option<String>,
    /// What was watched, in words.
    pub target: String,
    /// The command that was started; `null` when the target ran already.
    pub command: Option<Vec<String>>,
    /// When the watch began, RFC 3339.
    pub started: Option<String>,
    /// Time between samples that was asked for; 0 when it is not known.
    pub interval_seconds: f64,
    /// The budget that somebody had set for it, such as `512MiB` or `25%` of the limit around it.
    pub budget: Option<String>,
    /// The machine it ran on.
    pub machine: Option<MachineRow>,
    /// How the watch came to its end.
    pub end: Option<End>,
    /// The code memcli exited with.
    pub exit_code: Option<u8>,
    /// From the start of the watch to its end.
    pub duration_seconds: f64,
    /// Samples.
    pub samples: u64,
    /// Samples taken and not looked at.
    pub lost: u64,
    /// The most processes at one time; `null` when the target is none.
    pub most_processes: Option<u64>,
    /// The highest it was.
    pub peak: Peak,
    /// How fast it grew.
    pub growth: Growth,
    /// Whether it leaks, judged anew from all samples.
    pub verdict: Judgement,
    /// What the plain rules say beside it.
    pub rules: RulesRow,
    /// The pressure level at the end, as the watch had it.
    #[cfg_attr(test, schemars(with = "crate::schema::Level"))]
    pub level: Level,
    /// The highest pressure level.
    #[cfg_attr(test, schemars(with = "crate::schema::Level"))]
    pub highest_level: Level,
    /// How it was spread over the time.
    pub percentiles: Spreads,
    /// The processes when their RSS was highest, of the times at which they were recorded.
    pub processes: Option<ProcessesRow>,
    /// What happened, as the watch told it.
    pub events: Vec<EventRow>,
    /// Events beyond those listed.
    pub more_events: u64,
    /// What watching cost.
    pub cost: Option<Cost>,
    /// Why a value above is `null`, by its path.
    pub absent: BTreeMap<&'static str, String>,
}

/// Percentiles of each series that was read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Spreads {
    /// What is watched for growth: of a process its private memory, of a cgroup its working set.
    pub watched: Option<Percentiles>,
    /// RSS.
    pub rss: Option<Percentiles>,
    /// RSS + swap.
    pub footprint: Option<Percentiles>,
    /// PSS. It is measured now and then, and estimated in between: its highest may be above `peak.pss_bytes`, which was measured,
    /// and is not above `peak.pss_likely_bytes`.
    pub pss: Option<Percentiles>,
    /// Samples of which the PSS is an estimate.
    pub pss_estimated_samples: u64,
}

impl Run {
    /// What there is to say of `recording`.
    #[must_use]
    pub fn new(recording: &Recording) -> Self {
        let seen = recording.pipeline.seen();
        let header = &recording.header;
        let verdict = recording.verdict();
        let (watched, (rss_bytes, exact)) = (header.target.watched(), recording.peak_rss());
        let end = recording.end.as_ref();
        let at_most = end.and_then(|end| end.peak_at_most_bytes);
        let levels = || recording.events.iter().filter_map(|event| event.level.as_ref());
        // An import has no events: then the level is the pipeline's own.
        let (level, highest_level) = match levels().next_back() {
            Some(last) => (last.to, levels().map(|level| level.to).max().unwrap_or(last.to)),
            None => (recording.pipeline.level(), seen.level),
        };
        let peak = Peak::new(&watched, seen, rss_bytes).bounded(exact, at_most);
        // An estimate that what was measured next proved too high is told nowhere.
        let likely = |spread: Percentiles| spread.up_to(peak.pss_likely_bytes.unwrap_or(u64::MAX));
        let mut run = Self {
            file: recording.path.display().to_string(),
            writer: header.writer.clone(),
            complete: recording.damage.is_none(),
            damage: recording.damage.as_ref().map(ToString::to_string),
            target: header.target.label.clone(),
            command: header.command.clone(),
            // What an import that tells no wall clock stands at.
            started: (header.started > SystemTime::UNIX_EPOCH)
                .then(|| humantime::format_rfc3339_millis(header.started).to_string()),
            interval_seconds: header.interval_seconds,
            budget: header.budget().map(|total| total.to_string()),
            machine: header.machine.clone(),
            end: end.map(|end| end.end),
            exit_code: end.map(|end| end.exit_code),
            duration_seconds: recording.duration().as_secs_f64(),
            samples: seen.samples,
            lost: end.map_or(0, |end| end.lost),
            most_processes: seen.processes,
            peak,
            growth: Growth::from(verdict.trend()),
            verdict: Judgement::new(&verdict, recording.pipeline.series()),
            rules: RulesRow::new(&recording.pipeline.rules()),
            level,
            highest_level,
            percentiles: Spreads {
                watched: recording.watched.percentiles(),
                rss: recording.rss.percentiles(),
                footprint: recording.footprint.percentiles(),
                pss: recording.pss.percentiles().map(likely),
                pss_estimated_samples: recording.pss_estimated,
            },
            processes: recording.processes.clone(),
            events: recording.events.clone(),
            more_events: recording.more_events,
            cost: end.and_then(|end| {
                let cpu_seconds = end.cpu_seconds?;
                Some(Cost { cpu_seconds, max_rss_bytes: end.max_rss_bytes })
            }),
            absent: BTreeMap::new(),
        };
        run.give_reasons(&watched, recording);
        RulesRow::give_reasons(&recording.pipeline.rules(), &mut run.absent);
        run
    }

    /// What happened that is worth telling: what is well from the start is no news.
    pub fn news(&self) -> impl Iterator<Item = &EventRow> + Clone {
        let well = |event: &EventRow| {
            event
                .level
                .as_ref()
                .is_some_and(|level| level.from == Level::Unknown && level.to == Level::Normal)
        };
        self.events.iter().filter(move |event| !well(event))
    }

    fn give_reasons(&mut self, watched: &Target, recording: &Recording) {
        let cut = "the trace does not reach to the end of the watch";
        let unread = size::unread(watched, recording.pipeline.seen());
        let latest = recording.pipeline.latest().filter(|_| size::of_processes(watched));
        let pss = match latest.map(|sample| sample.process.pss) {
            // An import has what it has.
            Some(Err(why)) if self.machine.is_some() => pss_missing(why),
            _ => unread,
        };
        for (missing, path, why) in [
            (self.end.is_none(), "end", cut),
            (self.exit_code.is_none(), "exit_code", cut),
            (self.cost.is_none(), "cost", cut),
            (self.started.is_none(), "started", "the trace does not say"),
            (self.budget.is_none(), "budget", "nobody had set one, or the trace does not say"),
            (self.machine.is_none(), "machine", "the trace does not say"),
            (self.processes.is_none(), "processes", "the trace does not say"),
            (
                self.command.is_none(),
                "command",
                "the target ran already, or the trace does not say",
            ),
            (self.most_processes.is_none(), "most_processes", unread),
            (self.peak.size_bytes.is_none(), "peak.size_bytes", unread),
            (self.peak.size_bytes.is_none(), "peak.size_measure", unread),
            (self.peak.rss_bytes.is_none(), "peak.rss_bytes", unread),
            (
                self.peak.rss_at_most_bytes.is_none(),
                "peak.rss_at_most_bytes",
                size::unbounded(watched),
            ),
            (self.peak.footprint_bytes.is_none(), "peak.footprint_bytes", unread),
            (self.peak.pss_bytes.is_none(), "peak.pss_bytes", pss),
            (self.peak.pss_likely_bytes.is_none(), "peak.pss_likely_bytes", pss),
            (self.growth.bytes_per_second.is_none(), "growth", "too few samples for a slope"),
            (self.percentiles.watched.is_none(), "percentiles.watched", unread),
            (self.percentiles.rss.is_none(), "percentiles.rss", unread),
            (self.percentiles.footprint.is_none(), "percentiles.footprint", unread),
            (self.percentiles.pss.is_none(), "percentiles.pss", pss),
        ] {
            if missing {
                self.absent.insert(path, why.to_owned());
            }
        }
    }
}
