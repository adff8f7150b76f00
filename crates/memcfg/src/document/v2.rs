//! The keys of version 2 (`version = "2.0"`). Released: never to be changed.

use crate::schema::{Key, Kind, Schema};

fn count(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

pub(super) fn schema() -> Schema {
    Schema::new()
        .table("memory", "The memory budget.")
        .with([
            Key::new("memory.total_budget_mb", count(512, 65_536), "The whole budget, in MiB."),
            Key::new(
                "memory.global_index_mb",
                count(128, 8_192),
                "The part of the global index, in MiB.",
            ),
            Key::new(
                "memory.warning_threshold_percent",
                count(50, 95),
                "Soft limit, in percent of the budget.",
            ),
            Key::new(
                "memory.prompt_threshold_percent",
                count(60, 99),
                "From here on planners are told, in percent of the budget.",
            ),
            Key::new(
                "memory.emergency_threshold_percent",
                count(70, 100),
                "Hard limit, in percent of the budget.",
            ),
        ])
        .table("projects", "Defaults of projects.")
        .with([
            Key::new(
                "projects.estimated_mb",
                count(32, 4_096),
                "What a project is expected to need, in MiB.",
            ),
            Key::new(
                "projects.priority",
                Kind::Choice(vec!["high", "normal", "low"]),
                "How much its caches are worth keeping.",
            ),
            Key::new(
                "projects.max_file_size",
                count(1_024, 1_073_741_824),
                "The largest file taken, in bytes.",
            ),
        ])
        .table("performance", "Work at once.")
        .with([
            Key::new("performance.cache_enabled", Kind::Boolean, "Whether results are cached."),
            Key::new(
                "performance.cache_ttl_seconds",
                count(30, 3_600),
                "How long a result stays cached, in seconds.",
            ),
            Key::new("performance.parallel_workers", count(1, 32), "Workers at once."),
            Key::new("performance.batch_size", count(10, 500), "Items taken at once."),
        ])
}
