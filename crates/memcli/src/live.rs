//! The configuration, live: what each core runs on, and word of every edit.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::Receiver;
use memcfg::Diagnostic;
use memcfg::diagnostic::Code;
use memcfg::document::{self, AlertsConfig, Places};
use memcfg::files::Sources;
use memcfg::live::{LiveOptions, Reload};
use memcfg::load::Loaded;
use memcfg::origin::SourceKind;
use memleak::LeakConfig;
use mempressure::{BudgetTotal, PressureConfig, Signal};
use memtrack::units::format_duration;
use memtrack::{Current, Settings, Tier, TrackConfig};

use crate::exit::{self, Failure};
use crate::output::{diagnostic, screen};
use crate::pipeline::Policies;

/// Time between looks at the files of a command that takes no events. Each wakes a thread, for as much as a sample costs.
pub const QUIET_POLL: Duration = Duration::from_secs(10);
/// The same beside events. They tell of every edit, but for the first file of a directory that was not there; a look costs as
/// much as a sample of the machine.
pub const WATCHED_POLL: Duration = Duration::from_secs(30);

/// The live document of one command.
#[derive(Debug)]
pub struct Live {
    document: Arc<document::Live>,
    /// Time between samples when neither a flag nor a file sets one.
    interval: Duration,
}

/// Where the document comes from: the usual files, or `explicit` in place of the global ones, and the environment.
///
/// Only a project's file needs a working directory: in one that was removed there is none.
#[must_use]
pub fn places() -> Places {
    let cwd = std::env::current_dir().unwrap_or_default();
    // A variable that is not text can be none of ours.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    // These two name a file and a format of this program; they are no keys of the document.
    let keys = env.filter(|(name, _)| name != "MEMCLI_CONFIG");
    Places::new(keys, cwd)
}

/// All that is wrong with a document, as a failure that shows each problem where it stands.
#[must_use]
pub fn refused(diagnostics: &[Diagnostic]) -> Failure {
    let shown: Vec<_> = diagnostics.iter().map(diagnostic::render).collect();
    let problems = match diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count() {
        1 => "a problem".to_owned(),
        count => format!("{count} problems"),
    };
    let code = code_of(diagnostics);
    let failure =
        Failure::new(code, format!("the configuration has {problems}\n\n{}", shown.join("\n\n")));
    if code == exit::NO_PERMISSION {
        // What has changed its user, and kept the environment of before, looks in the home of the other.
        let instead = "let this user read it; or set `HOME` to a directory of this user, or name another file with `--config FILE`";
        return failure.help(instead);
    }
    failure
}

/// The code for a document that is refused: that of a file which cannot be read, or of a system that has no thread left to follow
/// it, where nothing else is wrong.
#[must_use]
pub fn code_of(diagnostics: &[Diagnostic]) -> u8 {
    let mut errors = diagnostics.iter().filter(|problem| problem.is_error());
    let unread = |problem: &Diagnostic| {
        let failed = Some(problem).filter(|problem| problem.code == Code::Io)?;
        let Some(label) = failed.labels.first() else { return Some(exit::IO) };
        let origin = &label.origin;
        let error = std::fs::File::open(&*origin.source.name).err()?;
        Some(Failure::io("", error).code)
    };
    let first = errors.next().and_then(unread);
    first
        .filter(|first| errors.all(|problem| unread(problem) == Some(*first)))
        .unwrap_or(exit::CONFIG)
}

/// The same when the command line is what is wrong: a mistake of whoever typed it, told by the flag's own name.
fn refused_flags(diagnostics: &[Diagnostic]) -> Option<Failure> {
    let of_flag = |problem: &Diagnostic| {
        let sources = problem.labels.iter().map(|label| &label.origin.source);
        sources.into_iter().find(|source| source.kind == SourceKind::Flag).map(|s| s.name.clone())
    };
    let problems = diagnostics.iter().filter(|problem| problem.is_error());
    let mut names: Vec<String> = problems.map(of_flag).collect::<Option<_>>()?;
    names.dedup();
    let shown: Vec<_> = diagnostics.iter().map(diagnostic::render).collect();
    Some(Failure::new(
        exit::USAGE,
        format!("`{}` does not fit\n\n{}", names.join("`, `"), shown.join("\n\n")),
    ))
}

/// A key of the document that the command line sets.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The key.
    pub key: &'static str,
    /// The flag as it was typed.
    pub name: &'static str,
    /// The value, as a file would have it.
    pub value: String,
}

impl Flag {
    /// `--interval`.
    #[must_use]
    pub fn interval(interval: Duration) -> Self {
        Self { key: "track.interval", name: "--interval", value: format_duration(interval) }
    }
}

impl Live {
    /// Loads the document and follows its files. `interval` holds when nobody sets another one. With `events` an edit is seen
    /// at once where its directory was there from the start, for the price of one more thread, and else within
    /// [`WATCHED_POLL`]; without events, within [`QUIET_POLL`].
    ///
    /// What is odd about the document is told on stderr.
    ///
    /// # Errors
    /// 78 when the document is not valid, 64 when that is for a flag.
    pub fn start(
        explicit: Option<&Path>,
        flags: &[Flag],
        interval: Duration,
        events: bool,
    ) -> Result<Self, Failure> {
        let places = places();
        let sources = flags.iter().fold(places.sources(explicit), |sources: Sources, flag| {
            sources.flag_named(flag.key, &flag.value, flag.name)
        });
        let mut options = LiveOptions::default();
        // Without a state directory no copy of an earlier run steps in: whoever types a command sees that the file is bad.
        options.events = events;
        options.poll = if events { WATCHED_POLL } else { QUIET_POLL };
        let document = document::Live::start_with(sources, options)
            .map_err(|problems| refused_flags(&problems).unwrap_or_else(|| refused(&problems)))?;
        warn(&document.load().loaded);
        Ok(Self { document: Arc::new(document), interval })
    }

    /// What the sampler runs on.
    #[must_use]
    pub fn track(&self) -> Settings<TrackConfig> {
        let interval = self.interval;
        follow(self.document.track(), move |track, _| {
            let interval = track.interval.or(Some(interval));
            TrackConfig { interval, ..track.clone() }
        })
    }

    /// What the cores run on.
    #[must_use]
    pub fn policies(&self) -> Policies {
        let document = Arc::clone(&self.document);
        let pressure = follow(self.document.pressure(), move |pressure, _| {
            without_foreign_budget(pressure, &document.load().loaded)
        });
        let document = Arc::clone(&self.document);
        let leak = follow(self.document.leak(), move |leak, _| {
            without_foreign_sizes(leak, &document.load().loaded)
        });
        Policies { pressure, budget: self.document.budget(), leak }
    }

    /// Whom to tell.
    #[must_use]
    pub fn alerts(&self) -> Settings<AlertsConfig> {
        self.document.alerts()
    }

    /// What becomes of each edit.
    #[must_use]
    pub fn reloads(&self) -> &Receiver<Reload> {
        self.document.reloads()
    }
}

/// The document as it is now, for a command that takes one look.
#[derive(Debug)]
pub struct Still {
    loaded: Loaded<document::Config>,
}

impl From<Loaded<document::Config>> for Still {
    fn from(loaded: Loaded<document::Config>) -> Self {
        Self { loaded }
    }
}

impl Still {
    /// Loads the document once. What is odd about it is told on stderr.
    ///
    /// # Errors
    /// 78 when the document is not valid.
    pub fn load(explicit: Option<&Path>) -> Result<Self, Failure> {
        let loaded =
            document::load(&places().sources(explicit)).map_err(|problems| refused(&problems))?;
        warn(&loaded);
        Ok(Self { loaded })
    }

    /// What somebody has turned off, in words.
    #[must_use]
    pub fn off(&self) -> Vec<String> {
        off(&self.loaded)
    }

    /// What the cores run on.
    #[must_use]
    pub fn policies(&self) -> Policies {
        self.policies_under(None)
    }

    /// The same for what ran under this budget, which it keeps where nobody sets another now.
    #[must_use]
    pub fn policies_under(&self, recorded: Option<BudgetTotal>) -> Policies {
        let config = &self.loaded.value;
        let mut budget = (*config.budget).clone();
        let pressure = match recorded.filter(|_| !is_set(&self.loaded, "budget.total")) {
            Some(total) => {
                budget.total = total;
                (*config.pressure).clone()
            }
            None => without_foreign_budget(&config.pressure, &self.loaded),
        };
        Policies {
            pressure: Settings::fixed(pressure),
            budget: Settings::fixed(budget),
            leak: Settings::fixed(without_foreign_sizes(&config.leak, &self.loaded)),
        }
    }

    /// The same for what ran under the `recorded` budget or none, whatever is set now: what a recording tells beside its levels.
    #[must_use]
    pub fn policies_then(&self, recorded: Option<BudgetTotal>) -> Policies {
        let config = &self.loaded.value;
        let (mut budget, mut pressure) = ((*config.budget).clone(), (*config.pressure).clone());
        match recorded {
            Some(total) => budget.total = total,
            None => pressure.signals.retain(|signal| *signal != Signal::Budget),
        }
        Policies {
            pressure: Settings::fixed(pressure),
            budget: Settings::fixed(budget),
            ..self.policies()
        }
    }

    /// What the sampler runs on.
    #[must_use]
    pub fn track(&self) -> &TrackConfig {
        &self.loaded.value.track
    }
}

/// Tells what is odd about a document, and what it turns off: without a word on it nobody knows why nothing is shown.
fn warn(loaded: &Loaded<document::Config>) {
    let odd = loaded.warnings.iter().map(diagnostic::render);
    for line in odd.chain(off(loaded).into_iter().map(|off| format!("warning: {off}"))) {
        // A warning that cannot be written is no reason to do nothing.
        let _ = writeln!(screen::stderr(), "{line}");
    }
}

/// What somebody has turned off, in words.
#[must_use]
pub fn off(loaded: &Loaded<document::Config>) -> Vec<String> {
    let by = |key| match loaded.explain(key) {
        Some(value) => value.effective.origin.to_string(),
        None => "nobody".to_owned(),
    };
    let mut off = Vec::new();
    if loaded.value.track.tier == Tier::Disabled {
        off.push(format!("`track.tier` is disabled by {}: nothing is read", by("track.tier")));
    }
    if !loaded.value.pressure.enabled {
        let by = by("pressure.enabled");
        off.push(format!("`pressure.enabled` is false by {by}: there is no level"));
    }
    off
}

/// The default budget is that of a program that embeds the layers. A process that somebody points memcli at has no budget
/// until somebody sets one.
fn without_foreign_budget(
    pressure: &PressureConfig,
    loaded: &Loaded<document::Config>,
) -> PressureConfig {
    let mut pressure = pressure.clone();
    if !is_set(loaded, "budget.total") {
        pressure.signals.retain(|signal| *signal != Signal::Budget);
    }
    pressure
}

/// Nor has it a size that is worth an alert.
fn without_foreign_sizes(leak: &LeakConfig, loaded: &Loaded<document::Config>) -> LeakConfig {
    let mut leak = leak.clone();
    for (key, size) in
        [("leak.rss_warning", &mut leak.rss_warning), ("leak.rss_critical", &mut leak.rss_critical)]
    {
        if !is_set(loaded, key) {
            *size = None;
        }
    }
    leak
}

/// Whether somebody chose the value of a key.
fn is_set(loaded: &Loaded<document::Config>, key: &str) -> bool {
    loaded.explain(key).is_some_and(|value| {
        !matches!(value.effective.origin.source.kind, SourceKind::Default | SourceKind::Preset)
    })
}

/// Settings that `make` derives from others, once for each generation.
fn follow<T, U>(
    settings: Settings<T>,
    make: impl Fn(&T, u64) -> U + Send + Sync + 'static,
) -> Settings<U>
where
    T: Send + Sync + 'static,
    U: Send + Sync + 'static,
{
    let bell = settings.changed().clone();
    let made: Mutex<Option<Current<U>>> = Mutex::new(None);
    Settings::live(
        move || {
            let current = settings.load();
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            match &*made {
                Some(made) if made.generation == current.generation => made.clone(),
                _ => {
                    let value = Arc::new(make(&current.value, current.generation));
                    made.insert(Current { generation: current.generation, value }).clone()
                }
            }
        },
        bell,
    )
}
