//! Rules over several keys. Each names its keys, so that the origin of every one of them is shown.

use memleak::LeakConfig;
use mempressure::config::BudgetTotal;
use memtrack::Size;
use memtrack::units::format_duration;

use super::Config;
use crate::origin::SourceKind;
use crate::spec::{Origins, Rule, Violation};
use crate::value::Value;

/// Differences of shares written with two decimals are not exact.
const ROUNDING: f64 = 1e-9;

pub(super) fn rules() -> Vec<Rule<Config>> {
    vec![
        Rule::new(budget_shares_rise),
        Rule::new(components_fit),
        Rule::new(global_index_share),
        Rule::new(thresholds_stand_apart),
        Rule::new(samples_fit_the_window),
        Rule::new(leak_limits_rise),
        Rule::with_origins(project_above_default),
    ]
}

fn budget_shares_rise(config: &Config) -> Vec<Violation> {
    let budget = &config.budget;
    rising(
        "budget",
        [("warning", budget.warning), ("prompt", budget.prompt), ("emergency", budget.emergency)],
    )
}

fn rising(table: &str, shares: [(&str, f64); 3]) -> Vec<Violation> {
    let pairs = shares.windows(2);
    pairs
        .filter_map(|pair| {
            let [(low, a), (high, b)] = pair else { return None };
            let (low, high) = (format!("{table}.{low}"), format!("{table}.{high}"));
            (a >= b).then(|| {
                let message = format!("`{low}` ({a}) must be below `{high}` ({b})");
                Violation::error(message, &[&low, &high])
                    .help(format!("lower `{low}` or raise `{high}`"))
            })
        })
        .collect()
}

fn components_fit(config: &Config) -> Vec<Violation> {
    let BudgetTotal::Size(total) = config.budget.total else { return Vec::new() };
    let components = &config.budget.components;
    let sum = components.values().fold(0u64, |sum, size| sum.saturating_add(size.bytes()));
    if sum <= total.bytes() {
        return Vec::new();
    }
    let message = format!(
        "the components take {}, more than `budget.total` ({})",
        Size(sum).exact(),
        total.exact()
    );
    let mut keys = vec!["budget.total".to_owned()];
    keys.extend(components.keys().map(|name| component_key(name)));
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    vec![Violation::error(message, &keys).help("lower a component or raise the total")]
}

fn component_key(name: &str) -> String {
    crate::path::KeyPath::parse("budget.components").key(name).to_string()
}

fn global_index_share(config: &Config) -> Vec<Violation> {
    let BudgetTotal::Size(total) = config.budget.total else { return Vec::new() };
    let Some(index) = config.budget.components.get("global_index") else { return Vec::new() };
    let (low, high) = (total.bytes() / 10, total.bytes() / 2);
    if (low..=high).contains(&index.bytes()) {
        return Vec::new();
    }
    let message = format!(
        "`budget.components.global_index` ({}) must be 10 % to 50 % of `budget.total` ({})",
        index.exact(),
        total.exact()
    );
    let help = format!("between {} and {}", Size(low), Size(high));
    vec![Violation::error(message, &["budget.components.global_index", "budget.total"]).help(help)]
}

fn thresholds_stand_apart(config: &Config) -> Vec<Violation> {
    let t = &config.pressure.thresholds;
    let band = config.pressure.band;
    let shares = [("warning", t.warning), ("critical", t.critical), ("emergency", t.emergency)];
    let falling = rising("pressure.thresholds", shares);
    if !falling.is_empty() {
        return falling;
    }
    let near = shares.windows(2).filter_map(|pair| {
        let [(low, a), (high, b)] = pair else { return None };
        let (low, high) = (format!("pressure.thresholds.{low}"), format!("pressure.thresholds.{high}"));
        (b - a <= band + ROUNDING).then(|| {
            let message = format!(
                "`{low}` ({a}) and `{high}` ({b}) must stand further apart than `pressure.band` ({band})"
            );
            Violation::error(message, &[&low, &high, "pressure.band"])
                .help("a level would be left before the one below it is reached: widen the gap or narrow the band")
        })
    });
    near.collect()
}

fn samples_fit_the_window(config: &Config) -> Vec<Violation> {
    let (track, leak): (_, &LeakConfig) = (&config.track, &config.leak);
    let interval = track.base_interval();
    let needed = interval.saturating_mul(leak.min_samples);
    if needed <= leak.window {
        return Vec::new();
    }
    let message = format!(
        "{} samples every {} take {}, which does not fit `leak.window` ({})",
        leak.min_samples,
        format_duration(interval),
        format_duration(needed),
        format_duration(leak.window)
    );
    let spacing = if track.interval.is_some() { "track.interval" } else { "track.tier" };
    vec![
        Violation::error(message, &["leak.min_samples", spacing, "leak.window"])
            .help("lengthen the window, shorten the interval, or ask for fewer samples"),
    ]
}

fn leak_limits_rise(config: &Config) -> Vec<Violation> {
    let leak = &config.leak;
    let mut found = Vec::new();
    if leak.critical_rate < leak.warning_rate {
        let message = "`leak.critical_rate` must not be below `leak.warning_rate`";
        found.push(Violation::error(message, &["leak.critical_rate", "leak.warning_rate"]));
    }
    if let (Some(warning), Some(critical)) = (leak.rss_warning, leak.rss_critical)
        && critical < warning
    {
        let message = "`leak.rss_critical` must not be below `leak.rss_warning`";
        found.push(Violation::error(message, &["leak.rss_critical", "leak.rss_warning"]));
    }
    found
}

/// A project may expect more than usual, but somebody should know.
fn project_above_default(config: &Config, origins: &Origins<'_>) -> Vec<Violation> {
    let Some(found) = origins.explain("project.estimated") else { return Vec::new() };
    if found.effective.origin.source.kind != SourceKind::Project {
        return Vec::new();
    }
    let usual = found.shadowed.iter().find(|s| s.origin.source.kind < SourceKind::Project);
    let usual = usual.and_then(|setting| match &setting.value {
        Value::String(text) => text.parse::<Size>().ok(),
        Value::Integer(bytes) => u64::try_from(*bytes).ok().map(Size),
        _ => None,
    });
    let own = config.project.estimated;
    match usual {
        Some(usual) if own > usual => {
            let message = format!(
                "the project expects {}, more than the usual {}",
                own.exact(),
                usual.exact()
            );
            vec![Violation::warning(message, &["project.estimated"])]
        }
        _ => Vec::new(),
    }
}
