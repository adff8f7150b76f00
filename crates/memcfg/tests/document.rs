//! The document of the memory layers, loaded as a program would.

#![expect(clippy::unwrap_used, reason = "helpers of tests assert by unwrapping")]

use std::path::Path;
use std::time::Duration;

use memcfg::document::{self, Config, Places};
use memcfg::files::Sources;
use memcfg::{Code, Diagnostic, Severity};

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn errors(result: Result<memcfg::load::Loaded<Config>, Vec<Diagnostic>>) -> Vec<String> {
    result.unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn without_sources_the_document_is_its_defaults() {
    let loaded = document::load(&Sources::new()).unwrap();
    assert_eq!(loaded.value, Config::default());
    assert!(loaded.warnings.is_empty());
}

#[test]
fn each_source_wins_over_the_one_before_and_hides_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write(&at("etc.toml"), "schema_version = 3\n[budget]\ntotal = \"1GiB\"\nwarning = 0.6\n");
    write(&at("user.toml"), "schema_version = 3\n[budget]\ntotal = \"2GiB\"\n");
    let env = [("MEMCLI_BUDGET__WARNING".to_owned(), "0.7".to_owned())];
    let sources = Sources::new().file(at("etc.toml")).file(at("user.toml")).env(env).flag_named(
        "track.interval",
        "250ms",
        "--interval",
    );
    let loaded = document::load(&sources).unwrap();
    assert_eq!(loaded.value.budget.total.to_string(), "2GiB");
    assert_eq!(loaded.value.budget.warning, 0.7);
    assert_eq!(loaded.value.track.interval, Some(Duration::from_millis(250)));
    let total = loaded.explain("budget.total").unwrap();
    assert!(total.effective.origin.to_string().ends_with("user.toml:3:9"));
    assert!(total.shadowed[0].origin.to_string().ends_with("etc.toml:3:9"));
    assert_eq!(total.shadowed[1].origin.to_string(), "the default");
    let warning = loaded.explain("budget.warning").unwrap();
    let origin = warning.effective.origin.to_string();
    assert_eq!(origin, "environment variable `MEMCLI_BUDGET__WARNING`");
}

#[test]
fn the_tier_is_an_overlay_below_the_files() {
    let loaded = document::load(&Sources::new().flag("track.tier", "development")).unwrap();
    assert_eq!(loaded.value.leak.baseline_window, Duration::from_secs(60));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    write(
        &path,
        "schema_version = 3\n[track]\ntier = \"development\"\n[leak]\nbaseline_window = \"2m\"\n",
    );
    let loaded = document::load(&Sources::new().file(&path)).unwrap();
    assert_eq!(loaded.value.leak.baseline_window, Duration::from_secs(120), "the file wins");
    let rate = loaded.explain("leak.warning_rate").unwrap().effective;
    assert_eq!(rate.origin.to_string(), "built-in overlay `track.tier = \"development\"`");
}

#[test]
fn the_floor_of_growth_is_a_size_that_reaches_the_section() {
    assert_eq!(document::load(&Sources::new()).unwrap().value.leak.least_growth, 5 << 20);
    let env = [("MEMCLI_LEAK__LEAST_GROWTH".to_owned(), "1.5MiB".to_owned())];
    let loaded = document::load(&Sources::new().env(env)).unwrap();
    assert_eq!(loaded.value.leak.least_growth, 3 << 19);
    let found = errors(document::load(&Sources::new().flag("leak.least_growth", "2TiB")));
    assert!(found[0].contains("leak.least_growth") && found[0].contains("1TiB"), "{found:#?}");
}

#[test]
fn a_conflict_shows_both_origins_even_across_a_file_and_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    write(&path, "schema_version = 3\n[budget]\nwarning = 0.7\nprompt = 0.85\n");
    let env = [("MEMCLI_BUDGET__WARNING".to_owned(), "0.9".to_owned())];
    let found = errors(document::load(&Sources::new().file(&path).env(env)));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("`budget.warning` (0.9) must be below `budget.prompt` (0.85)"));
    assert!(found[0].contains("environment variable `MEMCLI_BUDGET__WARNING`"), "{}", found[0]);
    assert!(found[0].contains("over 0.7 from") && found[0].contains("c.toml:3:11"), "{}", found[0]);
    assert!(found[0].contains("c.toml:4:10"), "{}", found[0]);
}

#[test]
fn an_older_version_is_read_and_remembers_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (v1, v2) = (dir.path().join("v1.toml"), dir.path().join("v2.toml"));
    write(&v1, "version = \"1.0\"\nmax_workers = 8\n[memory_settings]\ntotal_mb = 2048\n");
    write(&v2, "version = \"2.0\"\n[memory]\nwarning_threshold_percent = 75\n");
    let loaded = document::load(&Sources::new().file(&v1).file(&v2)).unwrap();
    assert_eq!(loaded.value.budget.total.to_string(), "2GiB");
    assert_eq!(loaded.value.budget.warning, 0.75);
    assert_eq!(loaded.value.workload.parallel_workers, 8);
    let origin = loaded.explain("budget.total").unwrap().effective.origin;
    assert_eq!(origin.migrated.as_ref().unwrap().key, "memory_settings.total_mb");
    assert!(origin.to_string().ends_with("v1.toml:4:12"));
}

#[test]
fn a_newer_version_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let newer = document::VERSION + 1;
    write(&path, &format!("schema_version = {newer}\n[from_the_future]\nx = 1\n"));
    let found = errors(document::load(&Sources::new().file(&path)));
    assert_eq!(found.len(), 1, "{found:#?}");
    let both = [format!("version {newer}"), format!("up to {}", document::VERSION)];
    assert!(both.iter().all(|version| found[0].contains(version)), "{}", found[0]);
}

#[test]
fn a_project_may_not_set_what_is_global_and_is_warned_of_when_it_expects_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".memcli/config.toml");
    write(&path, "schema_version = 3\n[alerts]\nexec = [\"/bin/sh\"]\n");
    let found = document::load(&Sources::new().project_file(&path)).unwrap_err();
    assert_eq!(found[0].code, Code::Scope);
    assert!(found[0].labels[0].place().ends_with("config.toml:3:1"));
    write(&path, "schema_version = 3\n[project]\nestimated = \"1GiB\"\n");
    let loaded = document::load(&Sources::new().project_file(&path)).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].severity, Severity::Warning);
    assert!(loaded.warnings[0].message.contains("1GiB, more than the usual 256MiB"));
}

#[test]
fn everything_wrong_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    write(
        &path,
        "schema_version = 3\n[budget]\ntotl = \"1GiB\"\nwarning = 80\nprompt = \"high\"\n\
         [pressure.thresholds]\nwarning = 0.78\n[track]\ntier = \"productoin\"\n[leak]\nwindow = 3600\n",
    );
    let found = errors(document::load(&Sources::new().file(&path)));
    let text = found.join("\n");
    for part in [
        "c.toml:3:1: error[unknown_key]: unknown key `budget.totl`",
        "did you mean `budget.total`?",
        "this is a share: write 0.8 for 80 %",
        "`budget.prompt` is text, expected a number from 0.6 to 0.99",
        "did you mean \"production\"?",
        "write it with its unit, as text: \"30s\"",
        "must stand further apart than `pressure.band` (0.05)",
    ] {
        assert!(text.contains(part), "{part}\n---\n{text}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[test]
fn places_lead_to_the_document() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("x/memcli/config.toml"),
        "schema_version = 3\n[track]\nadaptive = false\n",
    );
    write(
        &dir.path().join("p/.memcli/config.toml"),
        "schema_version = 3\n[project]\npriority = \"high\"\n",
    );
    let env = [("XDG_CONFIG_HOME".to_owned(), dir.path().join("x").display().to_string())];
    let mut places = Places::new(env, dir.path().join("p"));
    places.system = dir.path().join("etc/config.toml");
    let loaded = document::load(&places.sources(None)).unwrap();
    assert!(!loaded.value.track.adaptive);
    assert_eq!(loaded.value.project.priority, mempressure::Priority::High);
}

#[test]
fn the_first_file_says_everything_and_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/memcli/config.toml");
    document::init(&path, 4 << 30).unwrap();
    let loaded = document::load(&Sources::new().file(&path)).unwrap();
    assert_eq!(loaded.value.budget.total.to_string(), "2GiB");
    assert!(loaded.warnings.is_empty());
    let text = std::fs::read_to_string(&path).unwrap();
    for key in document::spec().schema().keys() {
        let name = key.path.keys().last().unwrap().replace('*', "cache");
        assert!(text.contains(&format!("{name} = ")), "{}", key.path);
    }
    // Every commented key is right as it stands.
    let set = text.replace("\n# ", "\n");
    let set: String = set
        .lines()
        .filter(|line| line.starts_with('[') || (line.contains(" = ") && !line.ends_with("= ")))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&path, set).unwrap();
    let all = document::load(&Sources::new().file(&path)).unwrap();
    assert_eq!(all.value.leak, loaded.value.leak);
    // A second time is a conflict, and changes nothing.
    let before = std::fs::read(&path).unwrap();
    assert!(document::init(&path, 4 << 30).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_first_file_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(document::init(&dir.path().join("file/x/config.toml"), 4 << 30).is_err());
    // The name of the temporary file is longer than a name may be, after the directories have been made.
    let name = "n".repeat(248);
    assert!(document::init(&dir.path().join("a/b").join(name), 4 << 30).is_err());
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["file"]);
}

#[test]
fn a_file_is_migrated_saved_and_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let old = "# mine\nversion = \"1.0\"\nmax_workers = 8 # cores\n";
    write(&path, old);
    let mut editor = document::editor(&path);
    let (bytes, hash) = editor.read().unwrap().unwrap();
    let new = document::migrate("c.toml", std::str::from_utf8(&bytes).unwrap()).unwrap();
    assert_eq!((new.from, new.to), (1, document::VERSION));
    let expected = memcfg::save::Expected::Content(hash);
    let saved = editor.save(new.text.as_bytes(), expected).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let version = document::VERSION;
    let expected = "\n[workload]\nparallel_workers = 8 # cores\n";
    assert_eq!(text, format!("# mine\nschema_version = {version}\n{expected}"));
    // The old version was a valid document, so there is a way back.
    editor.rollback(saved.backup.unwrap(), memcfg::save::Expected::Anything).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), old);
}

#[test]
fn a_file_of_two_gigabytes_is_refused_without_being_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::File::create(&path).unwrap().set_len(2 << 30).unwrap();
    let found = document::load(&Sources::new().file(&path)).unwrap_err();
    assert_eq!(found[0].code, Code::Limit);
}

#[test]
fn ten_thousand_unknown_keys_end_in_fifty_diagnostics() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let keys: String = (0..9_000).map(|n| format!("key_number_{n} = 1\n")).collect();
    write(&path, &format!("schema_version = 3\n[budget]\n{keys}"));
    let found = document::load(&Sources::new().file(&path)).unwrap_err();
    assert_eq!(found.len(), memcfg::MAX_DIAGNOSTICS);
}

#[test]
fn setting_a_key_gives_a_valid_document_or_says_why_not() {
    let set = |text: &str, key: &str, value: &str| document::set("c.toml", text, key, value);
    let text = set("", "budget.total", "1GiB").unwrap();
    let head = format!("schema_version = {}\n\n[budget]\n", document::VERSION);
    assert_eq!(text, format!("{head}total = \"1GiB\"\n"));
    assert_eq!(document::unset("c.toml", &text, "budget.total").unwrap(), head);
    let table = set(&text, "pressure.targets", "0.5").unwrap_err();
    assert!(
        table[0].to_string().contains("`pressure.targets` is a table, not a key"),
        "{}",
        table[0]
    );
    assert!(table[0].to_string().contains("the keys `pressure.targets.warning`"), "{}", table[0]);
    // In a file of an older version a key of the newest one has no place: that is said, and not what it would lead to.
    for old in ["version = \"2.0\"\n[memory]\ntotal_budget_mb = 2048\n", "version = \"1.0\"\n"] {
        let found = set(old, "budget.warning", "0.6").unwrap_err();
        assert_eq!((found.len(), found[0].code), (1, Code::Version), "{}", found[0]);
        assert_eq!(found[0].help.as_deref(), Some("migrate the file first"));
        assert!(document::unset("c.toml", old, "budget.warning").is_err());
    }
    let conflict = set(&text, "budget.warning", "0.94").unwrap_err();
    assert_eq!(conflict[0].code, Code::Conflict);
    assert_eq!(conflict[0].labels[0].place(), "c.toml:5:11");
    let old = set("version = \"1.0\"\n", "budget.total", "1GiB").unwrap_err();
    assert_eq!(old[0].code, Code::Version);
}
