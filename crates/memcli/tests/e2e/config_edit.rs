//! Editing the configuration from the command line: nothing is lost, and nothing bad is written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Demo, Said, memcli, said};

/// A home of its own, and memcli in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("memcli/config.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn write(&self, text: &str) {
        fs::create_dir_all(self.file().parent().unwrap()).unwrap();
        fs::write(self.file(), text).unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn config(&self, arguments: &[&str]) -> Said {
        let arguments: Vec<_> =
            std::iter::once("config").chain(arguments.iter().copied()).collect();
        let mut command = memcli(&arguments);
        command
            .env("XDG_CONFIG_HOME", self.0.path())
            .env("HOME", self.0.path())
            .current_dir(self.0.path());
        said(&command.output().unwrap())
    }

    fn good(&self, arguments: &[&str]) -> String {
        let said = self.config(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.stderr);
        said.stdout
    }
}

const COMMENTED: &str =
    "# ours\nschema_version = 3\n\n[pressure]\nhold = \"20s\"   # after the incident\n";

#[test]
fn init_writes_a_first_file_that_is_valid_and_private_and_only_once() {
    let home = Home::new();
    home.good(&["init", "--limit", "4GiB"]);
    assert!(home.text().contains("total = \"2GiB\""), "{}", home.text());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.file()), 0o600);
    assert_eq!(mode(home.file().parent().unwrap()), 0o700);
    assert!(home.good(&["check"]).contains("config.toml"));
    let again = home.config(&["init", "--limit", "8GiB"]);
    assert_eq!(again.code, 75, "{}", again.stderr);
    assert!(home.text().contains("total = \"2GiB\""), "the first file stays");
}

#[test]
fn set_and_unset_change_one_key_and_leave_the_rest() {
    let home = Home::new();
    home.write(COMMENTED);
    home.good(&["set", "pressure.hold", "30s"]);
    assert_eq!(home.text(), COMMENTED.replace("20s", "30s"));
    home.good(&["set", "budget.total", "2GiB"]);
    assert!(home.good(&["explain", "budget.total"]).starts_with("budget.total = \"2GiB\""));
    home.good(&["unset", "budget.total"]);
    assert!(home.good(&["explain", "budget.total"]).contains("\"3GiB\""));
    assert!(home.text().contains("# after the incident"));
}

#[test]
fn set_creates_the_file_when_there_is_none() {
    let home = Home::new();
    home.good(&["set", "leak.window", "2h"]);
    assert!(home.text().starts_with("schema_version = 3\n"), "{}", home.text());
    assert!(home.good(&["explain", "leak.window"]).contains("\"2h\""));
}

#[test]
fn a_bad_edit_is_refused_and_the_file_stays() {
    let home = Home::new();
    home.write(COMMENTED);
    for (arguments, code, expected) in [
        (&["set", "pressure.holt", "30s"][..], 78, "did you mean `pressure.hold`?"),
        (&["set", "pressure.band", "7"], 78, "pressure.band"),
        (&["set", "budget.warning", "0.95"], 78, "budget.prompt"),
        (&["set", "pressure.hold", "30"], 78, "such as"),
        (&["rollback", "7"], 66, "no backup 7"),
        (&["explain", "budget.totl"], 64, "did you mean `budget.total`?"),
    ] {
        let said = home.config(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(expected), "{arguments:?}: {}", said.stderr);
        assert_eq!(home.text(), COMMENTED, "{arguments:?}");
    }
    fs::set_permissions(home.file(), fs::Permissions::from_mode(0o666)).unwrap();
    let said = home.config(&["set", "pressure.hold", "30s"]);
    assert_eq!(said.code, 77, "{}", said.stderr);
    assert!(said.stderr.contains("chmod"), "{}", said.stderr);
}

#[test]
fn every_edit_can_be_taken_back() {
    let home = Home::new();
    home.write(COMMENTED);
    home.good(&["set", "pressure.hold", "30s"]);
    home.good(&["set", "pressure.hold", "40s"]);
    let backups = home.good(&["history"]);
    assert_eq!(backups.lines().count(), 2, "{backups}");
    let oldest = backups.lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    home.good(&["rollback", &oldest]);
    assert_eq!(home.text(), COMMENTED);
}

#[test]
fn a_backup_that_somebody_has_changed_is_refused_as_every_edit_is() {
    let home = Home::new();
    home.write(COMMENTED);
    home.good(&["set", "pressure.hold", "30s"]);
    let present = home.text();
    let backup = home.file().parent().unwrap().join("backups/config.toml.1");
    let foreign = home.0.path().join("foreign.toml");
    fs::write(&foreign, COMMENTED).unwrap();
    std::os::unix::fs::symlink(&foreign, backup.with_file_name("config.toml.77")).unwrap();
    for (content, number, code, expected) in [
        ("garbage", "1", 78, "config.toml:1:"),
        ("", "1", 78, "the version is missing"),
        ("schema_version = 3\n[pressure]\nband = 7\n", "1", 78, "pressure.band"),
        (COMMENTED, "77", 77, "is not a regular file"),
    ] {
        fs::write(&backup, content).unwrap();
        let said = home.config(&["rollback", number]);
        assert_eq!(said.code, code, "{content:?}: {}", said.stderr);
        assert!(said.stderr.contains(expected), "{content:?}: {}", said.stderr);
        assert!(code != 78 || said.stderr.contains("config history"), "{}", said.stderr);
        assert_eq!(home.text(), present, "{content:?}");
    }
    home.good(&["rollback", "1"]);
    assert_eq!(home.text(), COMMENTED);
}

#[test]
fn an_old_file_is_migrated_with_its_comments() {
    let home = Home::new();
    home.write("version = \"2.0\"\n# half the machine\n[memory]\ntotal_budget_mb = 2048 # MiB\n");
    let shown = home.good(&["migrate"]);
    assert!(shown.contains("# half the machine") && shown.contains("2GiB"), "{shown}");
    assert!(home.text().starts_with("version = \"2.0\""), "without --write the file stays");
    home.good(&["migrate", "--write"]);
    assert_eq!(home.text(), shown);
    assert!(home.good(&["migrate"]).contains("version 3 is the present one"));
}

#[test]
fn yaml_of_the_first_version_is_imported() {
    let home = Home::new();
    let yaml = home.0.path().join("old.yaml");
    fs::write(&yaml, "version: \"1.0\"\nmemory_settings:\n  total_mb: 2048\n").unwrap();
    let yaml = yaml.to_str().unwrap();
    assert!(home.good(&["import", yaml]).contains("total = \"2GiB\""));
    home.good(&["import", "--write", yaml]);
    assert!(home.good(&["explain", "budget.total"]).contains("2GiB"));
    assert_eq!(home.config(&["import", "--write", yaml]).code, 75);
}

#[test]
fn a_plan_says_what_recorded_samples_would_come_to() {
    let home = Home::new();
    home.write("schema_version = 3\n[budget]\ntotal = \"64GiB\"\n");
    let candidate = home.0.path().join("candidate.toml");
    fs::write(&candidate, "schema_version = 3\n[budget]\ntotal = \"16MiB\"\n").unwrap();
    let candidate = candidate.to_str().unwrap();
    let trace = home.0.path().join("t.jsonl.gz");
    let trace = trace.to_str().unwrap();
    let recorded = memcli(&["demo", "leak", "--rate", "16MiB/s", "--for", "2s", "-o", trace])
        .output()
        .unwrap();
    assert_eq!(said(&recorded).code, 0);

    let shown = home.good(&["plan", candidate, "--trace", trace]);
    assert!(shown.contains("budget.total: \"64GiB\" -> \"16MiB\", tightened"), "{shown}");
    assert_eq!(home.good(&["plan", candidate, "--trace", trace]), shown, "the same twice");
    let document: Value =
        serde_json::from_str(&home.good(&["plan", "--json", candidate, "--trace", trace])).unwrap();
    assert_eq!(document["effects"][0]["then"]["highest"], "emergency");
    // Wherever the line is broken.
    let words: Vec<_> = shown.split_whitespace().collect();
    let words = words.join(" ");
    assert!(words.contains("emergency would have been reached"), "{shown}");
    assert!(words.contains("critical level alert"), "{shown}");

    // Without a trace it takes what a running watch records.
    let live = home.0.path().join("live.jsonl.gz");
    let live = live.to_str().unwrap();
    let demo = Demo::start("leak", "16MiB/s");
    let mut watch = memcli(&["watch", "-o", live, &demo.pid()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let found = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        home.good(&["plan", candidate]).contains(&format!("{live}: "))
    });
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(found, "the running watch is not found");
    let changes: Value = serde_json::from_str(&home.good(&["diff", "--json", candidate])).unwrap();
    assert_eq!(changes["changes"][0]["key"], "budget.total");
}

#[test]
fn a_key_is_not_set_in_a_file_of_an_older_version() {
    let home = Home::new();
    let old = "version = \"2.0\"\n[memory]\ntotal_budget_mb = 2048\n";
    home.write(old);
    let said = home.config(&["set", "budget.total", "1GiB"]);
    assert_eq!(said.code, 78, "{}", said.stderr);
    assert!(said.stderr.contains("migrate the file first"), "{}", said.stderr);
    assert_eq!(home.text(), old);
}

#[test]
fn the_schema_and_the_places_are_told() {
    let home = Home::new();
    let schema: Value = serde_json::from_str(&home.good(&["schema"])).unwrap();
    assert!(schema["$schema"].is_string(), "{schema}");
    assert!(home.good(&["path"]).contains(home.file().to_str().unwrap()));
}
