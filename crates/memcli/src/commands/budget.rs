//! `memcli budget`: what limit, thresholds and workers fit, with the TOML to paste.

use std::io::{self, Write};
use std::path::Path;

use memcfg::document;
use memleak::Verdict;
use mempressure::BudgetTotal;
use memtrack::source::Target;
use memtrack::{Sample, Size};
use serde::Serialize;

use crate::budget::{MOST_WORKERS, Need, Plan, SELDOM, Shares};
use crate::cli::BudgetArgs;
use crate::commands;
use crate::exit::{self, Failure};
use crate::limit;
use crate::live::Still;
use crate::output::{self, json, screen};
use crate::pipeline::Policies;
use crate::recording::Recording;
use crate::weight::Weighed;

/// The name and version of the document.
pub const SCHEMA: &str = "memcli.budget/1";

/// What there is to say: the document `memcli.budget/1`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// What was recorded; `null` without a trace.
    pub target: Option<String>,
    /// Recorded runs.
    pub runs: usize,
    /// Samples in them.
    pub samples: u64,
    /// What the sizes count: `PSS`, `RSS + swap`.
    pub measure: Option<&'static str>,
    /// Samples in which that size is an estimate: PSS between two times at which it was measured.
    pub estimated_samples: u64,
    /// Whether the peak is an estimate: above every PSS that was measured, from what else is known.
    pub peak_estimated: bool,
    /// The common limit.
    pub limit_bytes: u64,
    /// Where the limit comes from.
    pub limit_from: &'static str,
    /// What fits; `null` without a trace.
    pub plan: Option<Plan>,
    /// How fast the fastest of the recordings that leak grows; `null` when none does. Bytes per second.
    pub leak_bytes_per_second: Option<f64>,
    /// The configuration to paste.
    pub toml: String,
    /// The shares that the plan keeps to.
    #[serde(skip)]
    pub shares: Shares,
}

/// Plans from recordings of one worker.
///
/// # Errors
/// 65 when a file is no trace, 66 when there is none, 74 when the output cannot be written.
pub fn budget(args: &BudgetArgs, config: Option<&Path>) -> Result<u8, Failure> {
    let still = Still::load(config)?;
    let runs = commands::recorded(&args.traces, &still)?;
    let document = plan(&runs, args.limit, &still.policies())?;
    commands::written(if args.json {
        writeln!(io::stdout().lock(), "{}", json::document(&document))
    } else {
        write!(
            screen::stdout(),
            "{}",
            output::budget::budget(&document, output::page::columns(io::stdout(), 100))
        )
    })?;
    Ok(exit::OK)
}

fn plan(
    runs: &[Recording],
    asked: Option<BudgetTotal>,
    policies: &Policies,
) -> Result<Document, Failure> {
    let recorded = || runs.iter().find_map(recorded_limit).map_or_else(limit_here, Ok);
    let (limit_bytes, limit_from) = match asked {
        Some(BudgetTotal::Size(limit)) => (limit.bytes(), "as asked"),
        Some(share) => {
            (share.resolve(Some(recorded()?.0)).unwrap_or_default(), "the share that was asked for")
        }
        None => recorded()?,
    };
    let (budget, pressure) = (policies.budget.load().value, policies.pressure.load().value);
    let shares = Shares {
        budget_soft: budget.warning,
        budget_prompt: budget.prompt,
        warning: pressure.thresholds.warning,
        critical: pressure.thresholds.critical,
    };
    let whole = whole(runs);
    let shared = shared(runs);
    let of_pss = shared.is_some();
    let highest = runs.iter().filter_map(|run| run.pipeline.seen().pss).max();
    let peak_estimated = shared.as_ref().is_some_and(|need| Some(need.peak()) > highest);
    let measured = shared.map(|need| (need, "PSS"));
    let measured = measured.or(whole.clone().map(|need| (need, "RSS + swap")));
    if measured.is_none() && !runs.is_empty() {
        return Err(Failure::new(exit::BAD_TRACE, "the trace has no reading of a process")
            .help("record a process or a command: `memcli run -o FILE -- CMD`"));
    }
    // What PSS leaves out counts against the budget all the same.
    let budget = whole.or(measured.as_ref().map(|(need, _)| need.clone()));
    let plan = measured
        .as_ref()
        .zip(budget)
        .map(|((need, _), whole)| need.plan(limit_bytes, whole.budget(&shares), &shares));
    let leaks = runs.iter().filter_map(|run| match run.verdict() {
        Verdict::Leak { rate, .. } => Some(rate.bytes_per_second),
        _ => None,
    });
    Ok(Document {
        schema: SCHEMA,
        target: runs.first().map(|run| run.header.target.label.clone()),
        runs: runs.len(),
        samples: runs.iter().map(|run| run.pipeline.seen().samples).sum(),
        measure: measured.map(|(_, measure)| measure),
        estimated_samples: runs.iter().filter(|_| of_pss).map(|run| run.pss_estimated).sum(),
        peak_estimated,
        limit_bytes,
        limit_from,
        toml: toml(plan.as_ref(), limit_bytes, &shares),
        plan,
        leak_bytes_per_second: leaks.reduce(f64::max),
        shares,
    })
}

/// The sizes of all recordings together, by what counts against the budget of a process: RSS + swap, and of several PSS + swap.
fn whole(runs: &[Recording]) -> Option<Need> {
    let sizes: Vec<_> = runs.iter().map(|run| run.held.weighed()).collect();
    let peak = |run: &Recording| {
        let (seen, rss) = (run.pipeline.seen(), run.peak_rss().0);
        let several = seen.processes.is_some_and(|processes| processes > 1);
        // The sum of their RSS counts a shared page for each.
        seen.likely_pss(rss).filter(|_| several).or(rss)
    };
    let peak = runs.iter().filter_map(peak).max();
    Need::new(sizes.iter().flat_map(Weighed::iter).collect(), peak)
}

/// The same by PSS, when all have it: only that adds up over workers.
fn shared(runs: &[Recording]) -> Option<Need> {
    let (mut sizes, mut peak) = (Vec::new(), None);
    for run in runs {
        let seen = run.pipeline.seen();
        seen.pss?;
        let likely = seen.likely_pss(run.peak_rss().0)?;
        // What was estimated counts too: PSS is measured now and then, and may have been before a worker took what it takes.
        sizes.extend(run.pss.weighed().iter().map(|(bytes, time)| (bytes.min(likely), time)));
        // Of one process the kernel saw what the samples missed, and what was shared is in it.
        let alone = seen.processes.is_none_or(|processes| processes <= 1);
        let exact = run.peak_rss().0.filter(|_| alone);
        let exact = exact.map(|rss| rss.saturating_sub(seen.shared.unwrap_or_default()));
        peak = peak.max(exact).max(Some(likely));
    }
    Need::new(sizes.into_iter().collect(), peak)
}

/// The limit that the recorded process ran under.
fn recorded_limit(run: &Recording) -> Option<(u64, &'static str)> {
    limit_of(
        run.pipeline.latest()?,
        "of the cgroup, as recorded",
        "the machine's memory, as recorded",
    )
}

fn limit_here() -> Result<(u64, &'static str), Failure> {
    let sample = commands::sample_of(&Target::Own)?;
    limit_of(&sample, "of the cgroup memcli runs in", "the memory of this machine").ok_or_else(
        || {
            Failure::new(exit::UNAVAILABLE, "this system does not tell how much memory there is")
                .help("name a limit: --limit 4GiB")
        },
    )
}

fn limit_of(
    sample: &Sample,
    cgroup: &'static str,
    machine: &'static str,
) -> Option<(u64, &'static str)> {
    let (bytes, of_cgroup) = limit::around(sample).ok()?;
    Some((bytes, if of_cgroup { cgroup } else { machine }))
}

fn toml(plan: Option<&Plan>, limit: u64, shares: &Shares) -> String {
    let Some(plan) = plan else {
        return format!(
            "[budget]\ntotal = \"{}\"  # as `memcli config init` writes: half of the limit, 512MiB to 8GiB, at most 90 % of it\n",
            Size(document::suggested_budget(limit)).exact(),
        );
    };
    let mut text = format!(
        "# each worker\n[budget]\ntotal = \"{}\"  # RSS + swap: 99 % of the time below the soft limit ({:.2}), its peak below prompt ({:.2})\n",
        Size(plan.budget_bytes).exact(),
        shares.budget_soft,
        shares.budget_prompt
    );
    if plan.workers > 0 {
        let why = if plan.workers == MOST_WORKERS {
            "the most that this setting takes; more were not tried".to_owned()
        } else {
            format!(
                "below level critical ({:.2}) for {:.0} % of the time",
                shares.critical,
                100.0 * (1.0 - SELDOM)
            )
        };
        text.push_str(&format!(
            "\n# the service that starts them\n[workload]\nparallel_workers = {}  # {why}\n",
            plan.workers
        ));
    }
    text
}
