//! Configuration from anywhere: files, variables, flags, edits, files of older versions, YAML.

use memcfg::document::{self, Config, spec};
use memcfg::load::{Inputs, Loaded, Text, assemble};
use memcfg::origin::SourceKind;
use memcfg::overlay::Override;
use memcfg::{Diagnostic, MAX_DIAGNOSTICS};

fn judge(inputs: &Inputs) -> Option<Loaded<Config>> {
    match assemble::<Config>(&spec(), inputs) {
        Ok(loaded) => {
            // Every key in force can be explained, and what is in force is what the explanation says.
            for key in loaded.keys() {
                assert!(loaded.explain(&key).is_some(), "{key} has no origin");
            }
            Some(loaded)
        }
        Err(found) => {
            assert!(found.iter().any(Diagnostic::is_error), "refused without an error");
            assert!(found.len() <= MAX_DIAGNOSTICS + 1, "{} at once", found.len());
            for diagnostic in &found {
                assert!(!diagnostic.to_string().is_empty());
            }
            None
        }
    }
}

fn texts(texts: Vec<Text>) -> Inputs {
    Inputs { texts, ..Inputs::default() }
}

/// One file.
pub(crate) fn document(bytes: &[u8]) {
    judge(&texts(vec![Text::new(SourceKind::Global, "c.toml", bytes)]));
}

/// A file of the machine, one of a project, variables and flags, parted by lines of three dashes.
pub(crate) fn overlays(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split("\n---\n");
    let mut next = || parts.next().unwrap_or_default();
    let (global, project) = (next().to_owned() + "\n", next().to_owned() + "\n");
    let mut inputs = texts(vec![
        Text::new(SourceKind::Global, "global.toml", global.as_bytes()),
        Text::new(SourceKind::Project, "project.toml", project.as_bytes()),
    ]);
    inputs.env = pairs(next());
    let flag = |(key, value): (String, String)| Override::new(&key, value, format!("--set {key}"));
    inputs.flags = pairs(next()).into_iter().map(flag).collect();
    judge(&inputs);
}

/// Variables alone.
pub(crate) fn env(bytes: &[u8]) {
    let env = pairs(&String::from_utf8_lossy(bytes));
    judge(&Inputs { env, ..Inputs::default() });
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A file of any version, carried to the newest: what loaded before says the same afterwards, and nothing is left to do.
pub(crate) fn migrate(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let load = |text: &str| judge(&texts(vec![Text::new(SourceKind::Global, "c.toml", text)]));
    let Ok(new) = document::migrate("c.toml", text) else { return };
    let again = document::migrate("c.toml", &new.text).ok().map(|again| again.text);
    assert_eq!(again.as_ref(), Some(&new.text), "{text:?}");
    let (before, after) = (load(text), load(&new.text));
    assert_eq!(before.map(|b| b.value), after.map(|a| a.value), "{text:?}");
}

/// A key, a value, and the file they are set in: what is written loads and says so.
pub(crate) fn edit(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (key, value, text) = (next(), next(), next());
    if let Ok(new) = document::set("c.toml", text, key, value) {
        assert!(
            judge(&texts(vec![Text::new(SourceKind::Global, "c.toml", &new)])).is_some(),
            "{new:?}"
        );
    }
    let _ = document::unset("c.toml", text, key);
}

/// YAML of the first two versions: what is written of it loads.
pub(crate) fn yaml(bytes: &[u8]) {
    if let Ok(toml) = document::import_yaml("c.yaml", bytes.to_vec()) {
        assert!(
            judge(&texts(vec![Text::new(SourceKind::Global, "c.toml", &toml)])).is_some(),
            "{toml:?}"
        );
    }
}
