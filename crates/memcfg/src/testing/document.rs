//! Random documents of the memory layers, of each version, and random configurations.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{Settings, style, write};
use crate::document::{Config, spec};
use crate::load::{Inputs, Text, assemble};
use crate::origin::SourceKind;

/// The line that a file of version 1 begins with.
pub const V1: &str = "version = \"1.0\"";
/// The line that a file of version 2 begins with.
pub const V2: &str = "version = \"2.0\"";
/// The line that a file of version 3 begins with.
pub const V3: &str = "schema_version = 3";

/// Texts of version 3 that load.
pub fn text() -> impl Strategy<Value = String> {
    (v3(), style()).prop_map(|(settings, style)| write(V3, &settings, &style))
}

/// Configurations that a document may become.
pub fn config() -> impl Strategy<Value = Config> {
    text().prop_filter_map("a document that is refused", |text| {
        let texts = vec![Text::new(SourceKind::Global, "random.toml", &text)];
        let inputs = Inputs { texts, ..Inputs::default() };
        assemble::<Config>(&spec(), &inputs).ok().map(|loaded| loaded.value)
    })
}

fn whole(range: std::ops::Range<i64>) -> BoxedStrategy<String> {
    range.prop_map(|number| number.to_string()).boxed()
}

/// Values of version 1 that the rules of version 3 allow together.
pub fn v1() -> BoxedStrategy<Settings> {
    keys(vec![
        ("memory_settings.total_mb", whole(2048..8192)),
        ("memory_settings.global_index_mb", whole(820..1024)),
        ("memory_settings.warning_threshold", whole(50..80)),
        ("memory_settings.prompt_threshold", whole(81..94)),
        ("memory_settings.emergency_threshold", whole(95..100)),
        ("project_memory_mb", whole(32..256)),
        ("max_file_size", whole(1024..1_073_741_824)),
        ("cache_enabled", select(vec!["true".to_owned(), "false".to_owned()]).boxed()),
        ("cache_ttl", whole(30..3600)),
        ("max_workers", whole(1..32)),
        ("batch_size", whole(10..500)),
    ])
}

/// Values of version 2 that the rules of version 3 allow together.
pub fn v2() -> BoxedStrategy<Settings> {
    keys(vec![
        ("memory.total_budget_mb", whole(2048..8192)),
        ("memory.global_index_mb", whole(820..1024)),
        ("memory.warning_threshold_percent", whole(50..80)),
        ("memory.prompt_threshold_percent", whole(81..94)),
        ("memory.emergency_threshold_percent", whole(95..100)),
        ("projects.estimated_mb", whole(32..256)),
        ("projects.priority", select(vec!["\"low\"".to_owned(), "'high'".to_owned()]).boxed()),
        ("projects.max_file_size", whole(1024..1_073_741_824)),
        ("performance.cache_enabled", select(vec!["true".to_owned()]).boxed()),
        ("performance.cache_ttl_seconds", whole(30..3600)),
        ("performance.parallel_workers", whole(1..32)),
        ("performance.batch_size", whole(10..500)),
    ])
}

/// Values of version 3 that its rules allow together.
pub fn v3() -> BoxedStrategy<Settings> {
    keys(vec![
        ("budget.total", whole(2048..8192).prop_map(|n| format!("\"{n}MiB\"")).boxed()),
        ("budget.warning", whole(50..80).prop_map(|n| format!("0.{n}")).boxed()),
        ("budget.components.cache", whole(1..500).prop_map(|n| format!("\"{n}MiB\"")).boxed()),
        (
            "track.tier",
            select(vec!["\"production\"".to_owned(), "\"development\"".to_owned()]).boxed(),
        ),
        ("track.adaptive", select(vec!["true".to_owned(), "false".to_owned()]).boxed()),
        (
            "pressure.signals",
            select(vec![
                "[\"psi\"]".to_owned(),
                "[\n  \"system\", # one\n  \"cgroup\",\n]".to_owned(),
            ])
            .boxed(),
        ),
        ("pressure.hold", whole(1..3600).prop_map(|n| format!("\"{n}s\"")).boxed()),
        ("leak.min_samples", whole(3..100).boxed()),
        ("leak.baseline_window", whole(1..60).prop_map(|n| format!("\"{n}m\"")).boxed()),
        ("workload.batch_size", whole(10..500)),
    ])
}

fn keys(all: Vec<(&'static str, BoxedStrategy<String>)>) -> BoxedStrategy<Settings> {
    let count = all.len();
    subsequence(all, 0..=count)
        .prop_flat_map(|chosen| {
            let (names, values): (Vec<_>, Vec<_>) = chosen.into_iter().unzip();
            values.prop_map(move |values| names.iter().copied().zip(values).collect::<Settings>())
        })
        .prop_shuffle()
        .boxed()
}
