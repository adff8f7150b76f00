//! The process against its own budget, in numbers and in words.

use std::fmt::{self, Write as _};
use std::time::Duration;

use memtrack::{Absent, Rate, Reading, Sample, Size, Span};

use crate::cache::CacheStatus;
use crate::config::BudgetConfig;
use crate::level::Level;
use crate::signal::{Usage, banded};

/// How the process stands against its own budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum BudgetState {
    /// Below the soft limit.
    #[default]
    Healthy,
    /// Above the soft limit.
    Caution,
    /// Above the prompt threshold: whoever plans work should know.
    Warning,
    /// Above the hard limit.
    Critical,
}

impl BudgetState {
    /// The word of this state, as in text and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            BudgetState::Healthy => "healthy",
            BudgetState::Caution => "caution",
            BudgetState::Warning => "warning",
            BudgetState::Critical => "critical",
        }
    }

    fn of(vote: Level) -> Self {
        match vote {
            Level::Unknown | Level::Normal => BudgetState::Healthy,
            Level::Warning => BudgetState::Caution,
            Level::Critical => BudgetState::Warning,
            Level::Emergency => BudgetState::Critical,
        }
    }

    /// The state at `usage`, given the state before, which the band holds on to.
    pub(crate) fn after(self, usage: Usage, budget: &BudgetConfig, band: f64) -> Self {
        let before = match self {
            BudgetState::Healthy => Level::Normal,
            BudgetState::Caution => Level::Warning,
            BudgetState::Warning => Level::Critical,
            BudgetState::Critical => Level::Emergency,
        };
        Self::of(banded(before, usage.ratio(), &budget.thresholds(), band))
    }
}

impl fmt::Display for BudgetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The process against its own budget. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BudgetStatus {
    /// How it stands.
    pub state: BudgetState,
    /// What the process costs: RSS + swap; of several PSS + swap, so that what they share counts once.
    pub used_bytes: u64,
    /// The whole budget.
    pub total_bytes: u64,
    /// The hard limit: the emergency share of the total.
    pub hard_limit_bytes: u64,
    /// Used over total.
    pub used_ratio: f64,
    /// Left before the hard limit; 0 above it.
    pub available_bytes: u64,
    /// How fast the use grows, in bytes per second; `None` while that is not known.
    pub growth_bytes_per_second: Option<f64>,
    /// What the use is made of: kinds of memory, then what is reserved by name, then caches, largest first.
    pub breakdown: Vec<Part>,
    /// What could be done, in plain words; empty while healthy.
    pub recommendations: Vec<String>,
}

/// One part of the budget or of what is used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Part {
    /// What kind of part.
    pub kind: PartKind,
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

/// What a [`Part`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum PartKind {
    /// A kind of memory as the kernel counts it; these make up the use.
    Memory,
    /// A reservation of the configuration, used or not.
    Reserved,
    /// What a registered cache holds; part of the memory above.
    Cache,
}

/// What a [`BudgetStatus`] is made from.
#[derive(Clone, Copy, Debug)]
pub struct BudgetInput<'a> {
    /// The sample.
    pub sample: &'a Sample,
    /// The section.
    pub budget: &'a BudgetConfig,
    /// The band under the thresholds; 0 for a single look without a past.
    pub band: f64,
    /// The state before, which the band holds on to.
    pub before: BudgetState,
    /// How fast the use grows.
    pub growth: Option<Rate>,
    /// The registered caches.
    pub caches: &'a [CacheStatus],
}

impl BudgetStatus {
    /// The status for `input`.
    ///
    /// # Errors
    /// Why the size or the budget is not known.
    pub fn new(input: &BudgetInput<'_>) -> Reading<Self> {
        let usage = input.budget.usage(input.sample)?;
        if usage.limit == 0 {
            return Err(Absent::Implausible);
        }
        let thresholds = input.budget.thresholds();
        let hard_limit_bytes = (usage.limit as f64 * thresholds.emergency) as u64;
        let mut status = Self {
            state: input.before.after(usage, input.budget, input.band),
            used_bytes: usage.used,
            total_bytes: usage.limit,
            hard_limit_bytes,
            used_ratio: usage.ratio(),
            available_bytes: hard_limit_bytes.saturating_sub(usage.used),
            growth_bytes_per_second: input.growth.map(Rate::bytes_per_second),
            breakdown: breakdown(input),
            recommendations: Vec::new(),
        };
        status.recommendations = recommendations(&status, input);
        Ok(status)
    }

    /// Time until the hard limit is reached at the present growth; `None` while it does not grow.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let growth = self.growth_bytes_per_second.filter(|growth| *growth > 0.0)?;
        Duration::try_from_secs_f64(self.available_bytes as f64 / growth).ok()
    }

    /// A compact block of text for whoever plans work, such as the context of a language model:
    /// what is used, what is left, and what to do about it.
    #[must_use]
    pub fn prompt_text(&self) -> String {
        let mut text = format!("[memory] {self}\n");
        for part in self.breakdown.iter().filter(|part| part.kind == PartKind::Cache).take(3) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "- cache {}: {}", part.name, Size(part.bytes));
        }
        for line in &self.recommendations {
            let _ = writeln!(text, "- {line}");
        }
        text
    }
}

impl fmt::Display for BudgetStatus {
    /// One line: `budget caution: 2.5 GiB of 3.0 GiB (83 %), 455.2 MiB before the hard limit, growing 2.0 MiB/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, total) = (Size(self.used_bytes), Size(self.total_bytes));
        // Rounded down, so that a limit is never shown as reached before it is.
        let percent = (self.used_ratio * 100.0).floor();
        write!(f, "budget {}: {used} of {total} ({percent} %), ", self.state)?;
        match self.used_bytes.checked_sub(self.hard_limit_bytes) {
            Some(over) => write!(f, "{} over the hard limit", Size(over))?,
            None => write!(f, "{} before the hard limit", Size(self.available_bytes))?,
        }
        match self.growth_bytes_per_second {
            Some(growth) if growth > 0.0 => write!(f, ", growing {}", Rate::per_second(growth)),
            _ => Ok(()),
        }
    }
}

fn breakdown(input: &BudgetInput<'_>) -> Vec<Part> {
    let process = &input.sample.process;
    let memory = [
        ("anonymous", process.anon),
        ("files", process.file),
        ("shared", process.shmem),
        ("swap", process.swap),
    ];
    let mut parts: Vec<_> = memory
        .into_iter()
        .filter_map(|(name, bytes)| {
            Some(Part { kind: PartKind::Memory, name: name.to_owned(), bytes: bytes.ok()? })
        })
        .collect();
    parts.extend(input.budget.components.iter().map(|(name, size)| Part {
        kind: PartKind::Reserved,
        name: name.clone(),
        bytes: size.bytes(),
    }));
    let mut caches: Vec<_> = input
        .caches
        .iter()
        .filter_map(|cache| {
            let bytes = cache.used_bytes?;
            Some(Part { kind: PartKind::Cache, name: cache.name.clone(), bytes })
        })
        .collect();
    caches.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    parts.extend(caches);
    parts
}

/// The state in words, what it calls for, and where to look first.
fn recommendations(status: &BudgetStatus, input: &BudgetInput<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    match status.state {
        BudgetState::Healthy => return lines,
        BudgetState::Caution => {
            lines.push("Start no large task before memory has come down.".into());
        }
        BudgetState::Warning => {
            lines.push(
                "Finish or drop running work before starting more; load less at once.".into(),
            );
        }
        BudgetState::Critical => {
            lines.push("Stop taking on work now and free what can be computed again.".into());
        }
    }
    if let Some(left) = status.time_left().filter(|left| *left < Duration::from_secs(3600)) {
        lines.push(format!("At the present growth the hard limit is reached in {}.", Span(left)));
    }
    let soft = (status.total_bytes as f64 * input.budget.warning) as u64;
    let over = status.used_bytes.saturating_sub(soft);
    let largest = status.breakdown.iter().find(|part| part.kind == PartKind::Cache);
    let all_known = input.caches.iter().all(|cache| cache.used_bytes.is_some());
    let where_to_look = match largest.filter(|cache| cache.bytes >= over / 4 && cache.bytes > 0) {
        Some(cache) => format!("; the cache `{}` holds {}", cache.name, Size(cache.bytes)),
        None if all_known && !input.caches.is_empty() => "; no cache holds much of it".into(),
        // Nobody has asked the caches yet, or there are none that we know of.
        None => String::new(),
    };
    lines.push(format!("{} must go to be below the soft limit{where_to_look}.", Size(over)));
    let swap = input.sample.process.swap.unwrap_or(0);
    if swap > status.used_bytes / 10 {
        lines.push(format!("{} of it is in swap, which is slow to come back.", Size(swap)));
    }
    lines
}

/// Why [`check`] has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The process could not be opened for reading.
    #[error("failed to open this process for reading")]
    Open(#[source] memtrack::error::OpenError),
    /// The reading gave nothing.
    #[error("failed to take a sample of this process")]
    Read(#[source] memtrack::error::SourceError),
    /// A sample was taken, but the size or the limit is not in it.
    #[error("the memory use of this process is not known")]
    Unknown(#[source] Absent),
}

/// One look at this process against `budget`, without a thread and without a past.
///
/// # Errors
/// [`CheckError`], with the reason.
#[cfg(target_os = "linux")]
pub fn check_against(budget: &BudgetConfig) -> Result<BudgetStatus, CheckError> {
    use memtrack::source::{LinuxSource, Source, Target};
    let mut source = LinuxSource::open(&Target::Own).map_err(CheckError::Open)?;
    let sample = source.read(&memtrack::TrackConfig::default()).map_err(CheckError::Read)?;
    let before = BudgetState::Healthy;
    let input =
        BudgetInput { sample: &sample, budget, band: 0.0, before, growth: None, caches: &[] };
    BudgetStatus::new(&input).map_err(CheckError::Unknown)
}

/// One look at this process against the default budget.
///
/// ```
/// let status = mempressure::check()?;
/// assert!(status.used_bytes > 0 && status.total_bytes == 3 << 30);
/// println!("{status}");
/// # Ok::<(), mempressure::CheckError>(())
/// ```
///
/// # Errors
/// As [`check_against`].
#[cfg(target_os = "linux")]
pub fn check() -> Result<BudgetStatus, CheckError> {
    check_against(&BudgetConfig::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::Stamp;

    const MIB: u64 = 1 << 20;

    fn status(used_mib: u64, before: BudgetState, growth: Option<f64>) -> BudgetStatus {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
        sample.process.rss = Ok(used_mib * MIB);
        sample.process.swap = Ok(0);
        sample.process.anon = Ok(used_mib * MIB / 2);
        let caches = crate::Caches::new();
        let _a = caches.register(
            crate::Registration::new("thumbnails"),
            crate::FnCache::new(|| Some(700 * MIB), |_| 0),
        );
        let budget = BudgetConfig {
            total: crate::BudgetTotal::Size(Size::mib(1000)),
            components: [("index".to_owned(), Size::mib(300))].into(),
            ..BudgetConfig::default()
        };
        let input = BudgetInput {
            sample: &sample,
            budget: &budget,
            band: 0.05,
            before,
            growth: growth.map(Rate::per_second),
            caches: &caches.status(),
        };
        BudgetStatus::new(&input).unwrap()
    }

    #[test]
    fn states_follow_the_thresholds_with_a_band() {
        for (used, before, state) in [
            (799, BudgetState::Healthy, BudgetState::Healthy),
            (800, BudgetState::Healthy, BudgetState::Caution),
            (760, BudgetState::Caution, BudgetState::Caution),
            (749, BudgetState::Caution, BudgetState::Healthy),
            (930, BudgetState::Healthy, BudgetState::Warning),
            (980, BudgetState::Healthy, BudgetState::Critical),
            (1200, BudgetState::Healthy, BudgetState::Critical),
        ] {
            assert_eq!(status(used, before, None).state, state, "{used} after {before}");
        }
    }

    #[test]
    fn one_line_says_it_all() {
        let line = status(830, BudgetState::Healthy, Some(2.0 * MIB as f64)).to_string();
        assert_eq!(
            line,
            "budget caution: 830.0 MiB of 1000.0 MiB (83 %), 150.0 MiB before the hard limit, growing 2.0 MiB/s"
        );
        let line = status(1000, BudgetState::Healthy, None).to_string();
        assert_eq!(
            line,
            "budget critical: 1000.0 MiB of 1000.0 MiB (100 %), 20.0 MiB over the hard limit"
        );
    }

    #[test]
    fn the_text_for_planners_names_what_to_do() {
        let text = status(940, BudgetState::Healthy, Some(MIB as f64)).prompt_text();
        assert_eq!(
            text,
            "[memory] budget warning: 940.0 MiB of 1000.0 MiB (94 %), 40.0 MiB before the hard limit, growing 1.0 MiB/s\n\
             - cache thumbnails: 700.0 MiB\n\
             - Finish or drop running work before starting more; load less at once.\n\
             - At the present growth the hard limit is reached in 40.0 s.\n\
             - 140.0 MiB must go to be below the soft limit; the cache `thumbnails` holds 700.0 MiB.\n"
        );
    }

    #[test]
    fn nothing_is_said_of_caches_that_nobody_has_asked() {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
        sample.process.rss = Ok(940 * MIB);
        let total = crate::BudgetTotal::Size(Size::mib(1000));
        let budget = BudgetConfig { total, ..BudgetConfig::default() };
        let caches = crate::Caches::new();
        let say = |held: Option<u64>| {
            let _a = caches
                .register(crate::Registration::new("a"), crate::FnCache::new(move || held, |_| 0));
            let (band, before, growth) = (0.0, BudgetState::Healthy, None);
            let (sample, budget, caches) = (&sample, &budget, &caches.status());
            let input = BudgetInput { sample, budget, band, before, growth, caches };
            BudgetStatus::new(&input).unwrap().recommendations.pop().unwrap()
        };
        assert_eq!(say(None), "140.0 MiB must go to be below the soft limit.");
        assert_eq!(
            say(Some(MIB)),
            "140.0 MiB must go to be below the soft limit; no cache holds much of it."
        );
    }

    #[test]
    fn the_breakdown_tells_kinds_apart() {
        let parts = status(500, BudgetState::Healthy, None).breakdown;
        let names: Vec<_> = parts.iter().map(|part| (part.kind, part.name.as_str())).collect();
        assert_eq!(
            names,
            [
                (PartKind::Memory, "anonymous"),
                (PartKind::Memory, "swap"),
                (PartKind::Reserved, "index"),
                (PartKind::Cache, "thumbnails"),
            ]
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn json_goes_both_ways() {
        let status = status(940, BudgetState::Healthy, Some(1.5));
        let json = serde_json::to_string(&status).unwrap();
        assert!(json.contains(r#""state":"warning""#), "{json}");
        assert_eq!(serde_json::from_str::<BudgetStatus>(&json).unwrap(), status);
    }
}
