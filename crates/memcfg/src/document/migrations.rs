//! How each key of a version becomes keys of the next, as data.

use std::time::Duration;

use memtrack::Size;
use memtrack::units::format_duration;

use crate::history::Op;
use crate::value::Value;

pub(super) fn v1_to_v2() -> Vec<Op> {
    let moved = |from, to| Op::Move { from, to };
    vec![
        moved("memory_settings.total_mb", "memory.total_budget_mb"),
        moved("memory_settings.global_index_mb", "memory.global_index_mb"),
        moved("memory_settings.warning_threshold", "memory.warning_threshold_percent"),
        moved("memory_settings.prompt_threshold", "memory.prompt_threshold_percent"),
        moved("memory_settings.emergency_threshold", "memory.emergency_threshold_percent"),
        moved("project_memory_mb", "projects.estimated_mb"),
        moved("max_file_size", "projects.max_file_size"),
        moved("cache_enabled", "performance.cache_enabled"),
        moved("cache_ttl", "performance.cache_ttl_seconds"),
        moved("max_workers", "performance.parallel_workers"),
        moved("batch_size", "performance.batch_size"),
        Op::Default { to: "projects.priority" },
    ]
}

pub(super) fn v2_to_v3() -> Vec<Op> {
    let moved = |from, to| Op::Move { from, to };
    let map = |from, to, with| Op::Map { from, to, with };
    let mut ops = vec![
        map("memory.total_budget_mb", "budget.total", mebibytes),
        map("memory.global_index_mb", "budget.components.global_index", mebibytes),
        map("memory.warning_threshold_percent", "budget.warning", share),
        map("memory.prompt_threshold_percent", "budget.prompt", share),
        map("memory.emergency_threshold_percent", "budget.emergency", share),
        map("projects.estimated_mb", "project.estimated", mebibytes),
        moved("projects.priority", "project.priority"),
        map("projects.max_file_size", "workload.max_file_size", bytes),
        moved("performance.cache_enabled", "workload.cache_enabled"),
        map("performance.cache_ttl_seconds", "workload.cache_ttl", seconds),
        moved("performance.parallel_workers", "workload.parallel_workers"),
        moved("performance.batch_size", "workload.batch_size"),
    ];
    // What version 3 brought.
    ops.extend(
        [
            "budget.components.*",
            "track.tier",
            "track.interval",
            "track.adaptive",
            "track.retention",
            "pressure.enabled",
            "pressure.auto_eviction",
            "pressure.policy",
            "pressure.signals",
            "pressure.band",
            "pressure.hold",
            "pressure.cooldown",
            "pressure.thresholds.warning",
            "pressure.thresholds.critical",
            "pressure.thresholds.emergency",
            "pressure.targets.warning",
            "pressure.targets.critical",
            "pressure.targets.emergency",
            "leak.window",
            "leak.baseline_window",
            "leak.min_samples",
            "leak.least_growth",
            "leak.warning_rate",
            "leak.critical_rate",
            "leak.rss_warning",
            "leak.rss_critical",
            "leak.alert_throttle",
            "alerts.exec",
            "alerts.exec_timeout",
        ]
        .map(|to| Op::Default { to }),
    );
    ops
}

fn whole(value: &Value) -> Result<u64, String> {
    match value {
        Value::Integer(number) => {
            u64::try_from(*number).map_err(|_| format!("{number} is below 0"))
        }
        other => Err(format!("it is {}, not a whole number", other.describe())),
    }
}

/// `3072` becomes `"3GiB"`.
fn mebibytes(value: &Value) -> Result<Value, String> {
    let mib = whole(value)?;
    let bytes = mib.checked_mul(1 << 20).ok_or_else(|| format!("{mib} MiB is too much"))?;
    Ok(Value::String(Size(bytes).exact()))
}

/// `5242880` becomes `"5MiB"`.
fn bytes(value: &Value) -> Result<Value, String> {
    Ok(Value::String(Size(whole(value)?).exact()))
}

/// `80` becomes `0.8`.
fn share(value: &Value) -> Result<Value, String> {
    Ok(Value::Float(whole(value)? as f64 / 100.0))
}

/// `300` becomes `"5m"`.
fn seconds(value: &Value) -> Result<Value, String> {
    Ok(Value::String(format_duration(Duration::from_secs(whole(value)?))))
}
