//! The keys of version 1 (`version = "1.0"`). Released: never to be changed.

use crate::schema::{Key, Kind, Schema};

fn positive() -> Kind {
    // Version 1 stated no ranges; the next ones do, and say so of the value that was written here.
    Kind::Integer { min: 1, max: 1 << 40 }
}

pub(super) fn schema() -> Schema {
    Schema::new().table("memory_settings", "The memory budget.").with([
        Key::new("memory_settings.total_mb", positive(), "The whole budget, in MiB."),
        Key::new(
            "memory_settings.global_index_mb",
            positive(),
            "The part of the global index, in MiB.",
        ),
        Key::new(
            "memory_settings.warning_threshold",
            positive(),
            "Soft limit, in percent of the budget.",
        ),
        Key::new(
            "memory_settings.prompt_threshold",
            positive(),
            "From here on planners are told, in percent of the budget.",
        ),
        Key::new(
            "memory_settings.emergency_threshold",
            positive(),
            "Hard limit, in percent of the budget.",
        ),
        Key::new("project_memory_mb", positive(), "What a project is expected to need, in MiB."),
        Key::new("max_file_size", positive(), "The largest file taken, in bytes."),
        Key::new("cache_enabled", Kind::Boolean, "Whether results are cached."),
        Key::new("cache_ttl", positive(), "How long a result stays cached, in seconds."),
        Key::new("max_workers", positive(), "Workers at once."),
        Key::new("batch_size", positive(), "Items taken at once."),
    ])
}
