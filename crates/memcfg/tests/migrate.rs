//! Texts of older versions become texts of the newest, with everything people wrote in them.

#![expect(clippy::unwrap_used, reason = "helpers of tests assert by unwrapping")]

use std::sync::Arc;

use memcfg::document::history;
use memcfg::origin::{Source, SourceKind};
use memcfg::rewrite::migrate_text;

fn migrated(text: &str) -> String {
    let source = Arc::new(Source::new(SourceKind::Global, "c.toml", text));
    migrate_text(&history(), &source).unwrap().text
}

#[test]
fn a_commented_file_of_version_1_keeps_its_comments_order_and_spacing() {
    let v1 = "\
# My settings, do not lose this.
version = \"1.0\"   # the first one

# How many at once
max_workers   =   8 # cores
cache_ttl = 600

# The budget
[memory_settings] # all in MB
total_mb = 4096
# not too early
warning_threshold = 75

# the end
";
    assert_eq!(
        migrated(v1),
        "\
# My settings, do not lose this.
schema_version = 3   # the first one

[workload]
# How many at once
parallel_workers   =   8 # cores
cache_ttl = \"10m\"

# The budget
[budget] # all in MB
total = \"4GiB\"
# not too early
warning = 0.75

# the end
"
    );
}

#[test]
fn version_2_splits_its_tables() {
    let v2 = "version = \"2.0\"\r\n[projects]\r\n# hint\r\nestimated_mb = 128\r\nmax_file_size = 1048576 # 1 MiB\r\npriority = 'high'\r\n[memory]\r\ntotal_budget_mb = 2048\r\nglobal_index_mb = 512";
    assert_eq!(
        migrated(v2),
        "schema_version = 3\r\n[project]\r\n# hint\r\nestimated = \"128MiB\"\r\npriority = 'high'\r\n\r\n[workload]\r\nmax_file_size = \"1MiB\" # 1 MiB\r\n[budget]\r\ntotal = \"2GiB\"\r\n\r\n[budget.components]\r\nglobal_index = \"512MiB\""
    );
}

#[test]
fn inline_tables_and_dotted_keys_are_written_out() {
    let v2 = "version = \"2.0\"\nmemory = { total_budget_mb = 2048, warning_threshold_percent = 70 } # all\nprojects.priority = \"low\"\n";
    assert_eq!(
        migrated(v2),
        "schema_version = 3\n\n[budget]\ntotal = \"2GiB\" # all\nwarning = 0.7\n\n[project]\npriority = \"low\"\n"
    );
}

#[test]
fn the_newest_version_is_left_as_it_is() {
    let v3 = "\u{feff}schema_version = 3\r\n[budget]\r\n total=\"1GiB\"";
    assert_eq!(migrated(v3), v3);
}

#[test]
fn a_file_that_is_not_valid_in_its_own_version_is_not_migrated() {
    let source = |text: &str| Arc::new(Source::new(SourceKind::Global, "c.toml", text));
    let found =
        migrate_text(&history(), &source("version = \"1.0\"\nmax_worker = 8\n")).unwrap_err();
    assert!(found[0].to_string().contains("did you mean `max_workers`?"), "{}", found[0]);
}

#[test]
fn an_empty_table_keeps_its_comments_under_its_new_name() {
    let text =
        migrated("version = \"1.0\"\n# The budget\n[memory_settings] # none yet\n# the end\n");
    for comment in ["# The budget", "# none yet", "# the end"] {
        assert_eq!(text.matches(comment).count(), 1, "{text}");
    }
    assert!(text.contains("[budget]") && !text.contains("memory_settings"), "{text}");
}

#[test]
fn an_empty_table_after_others_keeps_its_comments_and_its_place() {
    let text = migrated(
        "version = \"2.0\"\n[memory]\nglobal_index_mb = 512\n# per project\n[projects] # none yet\n",
    );
    assert_eq!(
        text,
        "schema_version = 3\n[budget.components]\nglobal_index = \"512MiB\"\n# per project\n[project] # none yet\n"
    );
}

#[test]
fn a_value_that_is_not_allowed_any_more_is_refused_where_it_stands() {
    let text = "version = \"1.0\"\n[memory_settings]\nwarning_threshold = 17\n";
    let source = Arc::new(Source::new(SourceKind::Global, "c.toml", text));
    let problems = migrate_text(&history(), &source).unwrap_err();
    let told = problems[0].to_string();
    assert!(
        told.starts_with("c.toml:3:21: error[out_of_range]: `budget.warning` is 0.17"),
        "{told}"
    );
}
