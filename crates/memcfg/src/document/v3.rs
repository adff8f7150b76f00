//! The keys of version 3, the newest.

use std::time::Duration;

use memtrack::Size;

use super::forms::{TOTAL, any_size, duration, rate, size};
use crate::schema::Stricter::{Higher, Lower};
use crate::schema::{Key, Kind, Schema};

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

fn ratio(min: f64, max: f64) -> Kind {
    Kind::Float { min, max }
}

fn count(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

pub(super) fn schema() -> Schema {
    Schema::new()
        .table("budget", "The process's own budget.")
        .with(budget())
        .table("budget.components", "Named reservations within the total, none by default; their sum is at most the total.")
        .table("project", "What one project is expected to need: a hint for planning, not a reservation. A project's own file overrides it.")
        .with(project())
        .table("workload", "Ceilings of the work that is taken on; pressure scales them down.")
        .with(workload())
        .table("track", "How closely to look.")
        .with(track())
        .table("pressure", "When memory counts as tight, and what is done about it.")
        .table("pressure.thresholds", "From which ratio of used to limit on the machine and the cgroup are at each level. They stand further apart than the band.")
        .table("pressure.targets", "Shares of the process footprint that one plan frees at most, by level.")
        .with(pressure())
        .table("leak", "What counts as growth without end.")
        .with(leak())
        .table("alerts", "Whom to tell about an alert. A project's file may not set it.")
        .with(alerts())
        .table("serve", "Reserved. A project's file may not set it.")
}

fn budget() -> Vec<Key> {
    let (min, max) = (
        mempressure::config::MIN_BUDGET_TOTAL.bytes() as f64,
        mempressure::config::MAX_BUDGET_TOTAL.bytes() as f64,
    );
    vec![
        Key::new(
            "budget.total",
            Kind::Form { form: &TOTAL, min, max },
            "The whole budget: a size, or a percentage of the limit that binds.",
        )
        .stricter(Lower),
        Key::new(
            "budget.warning",
            ratio(0.50, 0.95),
            "Soft limit, as a share of the total; below `prompt`.",
        )
        .stricter(Lower),
        Key::new(
            "budget.prompt",
            ratio(0.60, 0.99),
            "From this share on, whoever plans work is told about memory; below `emergency`.",
        )
        .stricter(Lower),
        Key::new("budget.emergency", ratio(0.70, 1.0), "Hard limit, as a share of the total.")
            .stricter(Lower),
        Key::new(
            "budget.components.*",
            any_size(),
            "A reservation within the total. `global_index`, if set, is 10 % to 50 % of the total.",
        )
        .stricter(Lower),
    ]
}

fn project() -> Vec<Key> {
    vec![
        Key::new("project.estimated", size(Size::mib(32), Size::gib(4)), "What to expect until real usage is known. A project that expects more than the default is warned of.").stricter(Lower),
        Key::new("project.priority", Kind::Choice(vec!["low", "normal", "high"]), "How much its caches are worth keeping: high is evicted last."),
    ]
}

fn workload() -> Vec<Key> {
    vec![
        Key::new("workload.parallel_workers", count(1, 32), "Workers at once.").stricter(Lower),
        Key::new("workload.batch_size", count(10, 500), "Items taken at once.").stricter(Lower),
        Key::new(
            "workload.max_file_size",
            size(Size::kib(1), Size::gib(1)),
            "The largest item taken.",
        )
        .stricter(Lower),
        Key::new("workload.cache_enabled", Kind::Boolean, "Whether results are cached."),
        Key::new(
            "workload.cache_ttl",
            duration(Duration::from_secs(30), HOUR),
            "How long a result stays cached.",
        )
        .stricter(Lower),
    ]
}

fn track() -> Vec<Key> {
    vec![
        Key::new(
            "track.tier",
            Kind::Choice(vec!["production", "development", "disabled"]),
            "What is read: `production` the cheap files, `development` also allocations, PSS, threads and tasks with tighter leak rules, `disabled` nothing.",
        ),
        Key::new(
            "track.interval",
            duration(memtrack::config::MIN_INTERVAL, memtrack::config::MAX_INTERVAL),
            "Time between samples. Unset: the command's own, else the tier's (production 5s, development 1s).",
        ),
        Key::new(
            "track.adaptive",
            Kind::Boolean,
            "Shorten the interval, down to 5ms, while the headroom would not last long.",
        ),
        Key::new(
            "track.retention",
            duration(Duration::from_secs(60), 31 * DAY),
            "How long history is kept, in bounded memory whatever the interval.",
        ),
    ]
}

fn pressure() -> Vec<Key> {
    let signals = Kind::Choice(vec!["system", "cgroup", "budget", "psi", "forecast"]);
    let threshold = |key, about| Key::new(key, ratio(0.05, 1.0), about).stricter(Lower);
    let target = |key, about| Key::new(key, ratio(0.01, 1.0), about).stricter(Higher);
    vec![
        Key::new("pressure.enabled", Kind::Boolean, "Watch at all. Off, the level is unknown."),
        Key::new(
            "pressure.auto_eviction",
            Kind::Boolean,
            "Evict without being asked when the level rises.",
        ),
        Key::new(
            "pressure.policy",
            Kind::Choice(vec!["conservative", "aggressive"]),
            "How much an eviction takes: `conservative` what brings the deciding signal down, `aggressive` the whole target of the level.",
        ),
        Key::new(
            "pressure.signals",
            Kind::List(Box::new(signals)),
            "The signals that may vote; at least one.",
        ),
        Key::new(
            "pressure.band",
            ratio(0.0, 0.25),
            "A level is left only below its threshold minus this.",
        ),
        Key::new(
            "pressure.hold",
            duration(Duration::ZERO, HOUR),
            "A level is left only when no sample has justified it for this long.",
        )
        .stricter(Higher),
        Key::new(
            "pressure.cooldown",
            duration(Duration::ZERO, HOUR),
            "Time between plans at one level; an escalation never waits.",
        ),
        threshold("pressure.thresholds.warning", "Warning from here on."),
        threshold("pressure.thresholds.critical", "Critical from here on."),
        threshold("pressure.thresholds.emergency", "Emergency from here on."),
        target("pressure.targets.warning", "Freed at most at warning."),
        target("pressure.targets.critical", "Freed at most at critical."),
        target("pressure.targets.emergency", "Freed at most at emergency."),
    ]
}

fn leak() -> Vec<Key> {
    let seconds = Duration::from_secs;
    vec![
        Key::new(
            "leak.window",
            duration(seconds(10), 31 * DAY),
            "The recent window over which growth is measured; holds `min_samples` at the sampling interval.",
        ),
        Key::new(
            "leak.baseline_window",
            duration(seconds(1), DAY),
            "The first stretch of a series, whose median is the baseline.",
        ),
        Key::new(
            "leak.min_samples",
            count(3, 100_000),
            "Samples below which nothing is said about growth.",
        ),
        Key::new(
            "leak.least_growth",
            size(
                Size(memleak::config::MIN_LEAST_GROWTH),
                Size(memleak::config::MAX_LEAST_GROWTH),
            ),
            "Growth below which the verdict calls nothing growing and no rate earns an alert; above it the noise of the series and 0.6 % of its level decide.",
        )
        .stricter(Lower),
        Key::new("leak.warning_rate", rate(), "Growth over the window that earns a warning.")
            .stricter(Lower),
        Key::new(
            "leak.critical_rate",
            rate(),
            "Growth over the window that is critical; not below `warning_rate`.",
        )
        .stricter(Lower),
        Key::new("leak.rss_warning", any_size(), "RSS that earns a warning.").stricter(Lower),
        Key::new("leak.rss_critical", any_size(), "RSS that is critical; not below `rss_warning`.")
            .stricter(Lower),
        Key::new(
            "leak.alert_throttle",
            duration(Duration::ZERO, 31 * DAY),
            "The least time between two alerts of one severity; an escalation always passes.",
        ),
    ]
}

fn alerts() -> Vec<Key> {
    use super::config::{MAX_EXEC_TIMEOUT, MIN_EXEC_TIMEOUT};
    vec![
        Key::new(
            "alerts.exec",
            Kind::List(Box::new(Kind::Text)),
            "A program to run for each alert, and its arguments; none when empty.",
        )
        .global(),
        Key::new(
            "alerts.exec_timeout",
            duration(MIN_EXEC_TIMEOUT, MAX_EXEC_TIMEOUT),
            "How long that program may take.",
        )
        .global(),
    ]
}
