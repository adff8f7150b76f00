//! What is generated from the document is up to date, and what was released has not changed.
//!
//! `UPDATE=1 cargo test -p memcfg --test generated` writes the files anew, except those of released versions.

#![expect(clippy::unwrap_used, reason = "helpers of tests assert by unwrapping")]

use std::path::{Path, PathBuf};

use memcfg::document;
use memcfg::ledger::{fingerprint, gaps, without_defaults};

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

fn is_current(path: &Path, expected: &str) {
    if update() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == expected, "{} is stale: run with UPDATE=1", path.display());
}

#[test]
fn the_reference_is_current() {
    is_current(&at("../../docs/reference/config.md"), &document::reference());
}

#[test]
fn every_key_of_every_version_is_accounted_for() {
    assert_eq!(gaps(&document::history()), Vec::<String>::new());
}

/// `schemas/ledger.toml` holds the hash of each version's schema and whether it was released.
#[test]
fn a_released_version_never_changes() {
    let path = at("schemas/ledger.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let mut ledger: toml::Table = text.parse().unwrap();
    for (number, schema) in document::json_schemas() {
        let name = format!("v{number}");
        let file = at(&format!("schemas/{name}.json"));
        let hash = fingerprint(&schema);
        let entry = ledger.get(&name).and_then(toml::Value::as_table).cloned();
        let released =
            entry.as_ref().and_then(|entry| entry["released"].as_bool()).unwrap_or(false);
        if released {
            let frozen = std::fs::read_to_string(&file).unwrap();
            assert_eq!(
                Some(&*fingerprint(&frozen)),
                entry.unwrap()["sha256"].as_str(),
                "{name}.json"
            );
            // Defaults are known of the newest version alone; they were frozen when it was that one.
            let comparable = match number == document::VERSION {
                true => frozen,
                false => without_defaults(&frozen).unwrap(),
            };
            assert!(
                schema == comparable,
                "version {number} is released and its schema has changed: make a new version \
                 (`cargo xtask schema new-version`)"
            );
            continue;
        }
        is_current(&file, &schema);
        if update() {
            let released = number < document::VERSION;
            let entry = toml::Table::from_iter([
                ("released".to_owned(), released.into()),
                ("sha256".to_owned(), hash.clone().into()),
            ]);
            ledger.insert(name.clone(), entry.into());
            std::fs::write(&path, ledger.to_string()).unwrap();
        }
        assert_eq!(ledger[&name]["sha256"].as_str(), Some(hash.as_str()), "stale: UPDATE=1");
    }
}
