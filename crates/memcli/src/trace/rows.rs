//! The rows of a trace other than samples, as structs of this format's own.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use memleak::{Severity, Trend};
use mempressure::{BudgetTotal, Level};
use memtrack::processes::ProcessId;
use memtrack::source::Target;
use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::output::screen::harmless;
use crate::pipeline::{Event, Numbered};
use crate::summary::{End, Summary};
use crate::target::Found;
use crate::trace::SCHEMA;

/// The first row: what was watched, where, from when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: String,
    /// What wrote it: `memcli 0.1.0`, or the tool it was imported from.
    pub writer: String,
    /// What was watched.
    pub target: TargetRow,
    /// The command that was started, with its arguments; `null` when the target ran already.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// The wall clock when the watch began, RFC 3339.
    #[serde(with = "rfc3339")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub started: SystemTime,
    /// Time between samples that was asked for; 0 when it is not known.
    #[serde(default)]
    pub interval_seconds: f64,
    /// The generation of the configuration in force at the start.
    #[serde(default)]
    pub generation: u64,
    /// The budget that somebody had set for the target at the start, as `budget.total` has it: a size such as `512MiB`, or a share
    /// of the limit around it such as `25%`. Not there when nobody had, nor in traces from before it was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// The machine it ran on; `null` in an import.
    #[serde(default)]
    pub machine: Option<MachineRow>,
}

/// What was watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TargetRow {
    /// What people call it: `worker(4321)`.
    pub label: String,
    /// What kind it is.
    pub kind: Kind,
    /// Its pid, for a process or a tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When that process started, in clock ticks since boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// Its path below the mount, for a cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// The kinds of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One process.
    Process,
    /// A process and its descendants.
    Tree,
    /// All processes of a cgroup.
    Cgroup,
    /// The machine.
    System,
}

/// The machine of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MachineRow {
    /// `Linux 6.18.0`.
    pub kernel: String,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// Processors that memcli may use.
    pub processors: u64,
}

/// Something that happened. One of the options is set; a kind that is not known here sets none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventRow {
    /// Seconds since the watch began.
    pub t: f64,
    /// Its place in the order of all events.
    #[serde(default)]
    pub seq: u64,
    /// The level changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LevelRow>,
    /// The verdict became one of another kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictRow>,
    /// Somebody was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertRow>,
    /// The command that tells somebody went wrong: how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// The configuration was edited: what to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Vec<String>>,
    /// A read gave nothing: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Samples that were taken and not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
}

/// A change of level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LevelRow {
    /// The level before.
    #[cfg_attr(test, schemars(with = "crate::schema::Level"))]
    pub from: Level,
    /// The level from then on.
    #[cfg_attr(test, schemars(with = "crate::schema::Level"))]
    pub to: Level,
    /// In words, with the deciding signal.
    pub text: String,
}

/// A change of verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct VerdictRow {
    /// The kind before.
    pub from: String,
    /// The kind from then on.
    pub to: String,
    /// The growth, with its 95 % interval, in bytes per second: `[estimate, low, high]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<[f64; 3]>,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertRow {
    /// Seconds since the watch began.
    #[serde(default)]
    pub t: f64,
    /// How bad it is.
    #[cfg_attr(test, schemars(with = "crate::schema::Severity"))]
    pub severity: Severity,
    /// What it is about: `leak`, `rate`, `rss` or `level`.
    pub cause: String,
    /// In words.
    pub text: String,
    /// Alerts on the same subject held back since the last.
    #[serde(default)]
    pub suppressed: u64,
}

impl AlertRow {
    /// The row of `alert`.
    #[must_use]
    pub fn new(numbered: &Numbered, alert: &Alert) -> Self {
        Self {
            t: numbered.at.monotonic.as_secs_f64(),
            severity: alert.severity,
            cause: alert.cause.name().to_owned(),
            text: alert.text(),
            suppressed: alert.suppressed,
        }
    }
}

/// The last row: how the watch ended, and what the kernel knew that no sample shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EndRow {
    /// How the watch came to its end.
    pub end: End,
    /// The code memcli exited with.
    pub exit_code: u8,
    /// From the start of the watch to its end.
    pub duration_seconds: f64,
    /// Samples taken and not looked at.
    #[serde(default)]
    pub lost: u64,
    /// The highest RSS, the kernel's own figure included.
    #[serde(default)]
    pub peak_rss_bytes: Option<u64>,
    /// Whether the kernel kept that peak up to the end.
    #[serde(default)]
    pub peak_exact: bool,
    /// What that peak was at most, where it is not exact and somebody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_at_most_bytes: Option<u64>,
    /// CPU time of the watcher.
    #[serde(default)]
    pub cpu_seconds: Option<f64>,
    /// Peak RSS of the watcher.
    #[serde(default)]
    pub max_rss_bytes: Option<u64>,
}

impl Header {
    /// The header of a watch that begins now.
    #[must_use]
    pub fn new(
        target: &Found,
        command: Option<&[String]>,
        started: SystemTime,
        interval: Duration,
        generation: u64,
    ) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            writer: concat!("memcli ", env!("CARGO_PKG_VERSION")).to_owned(),
            target: TargetRow::new(target),
            command: command.map(<[String]>::to_vec),
            started,
            interval_seconds: interval.as_secs_f64(),
            generation,
            budget: None,
            machine: Some(MachineRow::here()),
        }
    }

    /// The same under this budget.
    #[must_use]
    pub fn under(self, budget: Option<BudgetTotal>) -> Self {
        Self { budget: budget.map(|total| total.to_string()), ..self }
    }

    /// The budget, where one is told that can be read.
    #[must_use]
    pub fn budget(&self) -> Option<BudgetTotal> {
        self.budget.as_ref()?.parse().ok()
    }

    /// Without what could upset a terminal: names in a trace come from outside.
    #[must_use]
    pub(super) fn cleaned(mut self) -> Self {
        self.writer = harmless(&self.writer);
        self.target.label = harmless(&self.target.label);
        self.budget = self.budget.as_deref().map(harmless);
        if let Some(words) = &mut self.command {
            words.iter_mut().for_each(|word| *word = harmless(word));
        }
        if !self.interval_seconds.is_finite() || self.interval_seconds < 0.0 {
            self.interval_seconds = 0.0;
        }
        self
    }
}

impl TargetRow {
    fn new(found: &Found) -> Self {
        let (kind, id, path) = match &found.watched {
            Target::Process(id) => (Kind::Process, Some(id), None),
            Target::Tree(id) => (Kind::Tree, Some(id), None),
            Target::Cgroup(path) => (Kind::Cgroup, None, Some(path.clone())),
            Target::System => (Kind::System, None, None),
            _ => (Kind::Process, None, None),
        };
        Self {
            label: found.label.clone(),
            kind,
            pid: id.map(|id| id.pid),
            start: id.map(|id| id.start),
            path,
        }
    }

    /// What memtrack would watch, so that the pipeline treats a recording as it treated the watch.
    #[must_use]
    pub fn watched(&self) -> Target {
        let id =
            ProcessId { pid: self.pid.unwrap_or_default(), start: self.start.unwrap_or_default() };
        match self.kind {
            Kind::Process => Target::Process(id),
            Kind::Tree => Target::Tree(id),
            Kind::Cgroup => Target::Cgroup(self.path.clone().unwrap_or_default()),
            Kind::System => Target::System,
        }
    }
}

impl MachineRow {
    fn here() -> Self {
        let name = rustix::system::uname();
        Self {
            kernel: format!(
                "{} {}",
                name.sysname().to_string_lossy(),
                name.release().to_string_lossy()
            ),
            architecture: name.machine().to_string_lossy().into_owned(),
            processors: std::thread::available_parallelism().map_or(0, |n| n.get() as u64),
        }
    }
}

impl EventRow {
    /// The row of an event; `None` for samples, which have rows of their own, and for the end.
    #[must_use]
    pub fn new(numbered: &Numbered) -> Option<Self> {
        let mut row =
            Self { t: numbered.at.monotonic.as_secs_f64(), seq: numbered.seq, ..Self::default() };
        match &numbered.event {
            Event::Sample(_) | Event::Ended => return None,
            Event::Level(transition) => {
                row.level = Some(LevelRow {
                    from: transition.from,
                    to: transition.to,
                    text: transition.to_string(),
                });
            }
            Event::Verdict(change) => {
                row.verdict = Some(VerdictRow {
                    from: change.from.kind().to_owned(),
                    to: change.to.kind().to_owned(),
                    growth: change
                        .to
                        .trend()
                        .map(|Trend { bytes_per_second, low, high }| [bytes_per_second, low, high]),
                });
            }
            Event::Alert(alert) => row.alert = Some(AlertRow::new(numbered, alert)),
            Event::Hook(problem) => row.hook = Some(problem.clone()),
            Event::Config(reload) => row.config = Some(vec![crate::output::reload::line(reload)]),
            Event::Failed(failure) => row.failed = Some(failure.to_string()),
            Event::Lost(samples) => row.lost = Some(*samples),
        }
        Some(row)
    }

    /// What happened, in one line.
    #[must_use]
    pub fn text(&self) -> String {
        if let Some(level) = &self.level {
            return format!("level {}", level.text);
        }
        if let Some(verdict) = &self.verdict {
            return format!("verdict {} -> {}", verdict.from, verdict.to);
        }
        if let Some(alert) = &self.alert {
            return format!("alert {}: {}", crate::alert::word(alert.severity), alert.text);
        }
        if let Some(problem) = &self.hook {
            return format!("alerts.exec: {problem}");
        }
        if let Some(lines) = &self.config {
            return format!("config {}", lines.join("; "));
        }
        if let Some(reason) = &self.failed {
            return reason.clone();
        }
        match self.lost {
            Some(samples) => format!("{samples} samples lost"),
            None => "an event that this version does not know".to_owned(),
        }
    }

    /// Without what could upset a terminal, and with a time that is one.
    #[must_use]
    pub(super) fn cleaned(mut self) -> Self {
        if !self.t.is_finite() {
            self.t = 0.0;
        }
        if let Some(level) = &mut self.level {
            level.text = harmless(&level.text);
        }
        if let Some(verdict) = &mut self.verdict {
            verdict.from = harmless(&verdict.from);
            verdict.to = harmless(&verdict.to);
        }
        if let Some(alert) = &mut self.alert {
            alert.cause = harmless(&alert.cause);
            alert.text = harmless(&alert.text);
            if !alert.t.is_finite() {
                alert.t = self.t;
            }
        }
        self.hook = self.hook.as_deref().map(harmless);
        if let Some(lines) = &mut self.config {
            lines.iter_mut().for_each(|line| *line = harmless(line));
        }
        self.failed = self.failed.as_deref().map(harmless);
        self
    }
}

impl EndRow {
    /// The end of the watch that `summary` sums up.
    #[must_use]
    pub fn new(summary: &Summary) -> Self {
        Self {
            end: summary.end,
            exit_code: summary.exit_code,
            duration_seconds: summary.duration_seconds,
            lost: summary.lost,
            peak_rss_bytes: summary.peak.rss_bytes,
            peak_exact: summary.peak.exact,
            peak_at_most_bytes: summary.peak.rss_at_most_bytes.filter(|_| !summary.peak.exact),
            cpu_seconds: Some(summary.cost.cpu_seconds),
            max_rss_bytes: summary.cost.max_rss_bytes,
        }
    }
}

mod rfc3339 {
    use std::borrow::Cow;
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_micros(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(de::Error::custom)
    }
}
