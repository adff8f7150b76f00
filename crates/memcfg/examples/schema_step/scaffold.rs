//! The texts of a new version, out of the texts of the tree: no file is touched here.

use std::collections::BTreeMap;

use memcfg::ledger::Guess;
use serde_json::Value as Json;

/// The files that a new version changes, as they are.
pub(crate) struct Sources {
    /// The keys of the newest version when it was released.
    pub(crate) released: String,
    /// Its file now, with the keys of the version to come.
    pub(crate) present: String,
    pub(crate) module: String,
    pub(crate) versions: String,
    pub(crate) migrations: String,
    pub(crate) tests: String,
    pub(crate) ledger: String,
}

/// The files of version `from + 1`, by their paths in the crate.
///
/// # Errors
/// When a file does not look as expected.
pub(crate) fn scaffold(
    from: u32,
    sources: &Sources,
    guesses: &[Guess],
    frozen: &str,
) -> Result<BTreeMap<String, String>, String> {
    let to = from + 1;
    let frozen: Json = serde_json::from_str(frozen).map_err(|error| error.to_string())?;
    let mut files = BTreeMap::new();
    files.insert(
        format!("src/document/v{from}.rs"),
        with_head(
            &sources.released,
            &format!("//! The keys of version {from}. Released: never to be changed."),
        ),
    );
    files.insert(
        format!("src/document/v{to}.rs"),
        with_head(&sources.present, &format!("//! The keys of version {to}, the newest.")),
    );
    let module = format!("mod v{from};\n");
    files.insert(
        "src/document/mod.rs".to_owned(),
        replace(&sources.module, &module, &format!("{module}mod v{to};\n"))?,
    );
    files.insert("src/document/versions.rs".to_owned(), versions(from, &sources.versions)?);
    let migrations = format!("{}\n{}", sources.migrations, step(from, guesses));
    files.insert("src/document/migrations.rs".to_owned(), migrations);
    let tests = format!("{}\n{}", sources.tests, test(from, guesses, &frozen));
    files.insert("tests/migrate.rs".to_owned(), tests);
    files.insert("schemas/ledger.toml".to_owned(), ledger(from, &sources.ledger)?);
    Ok(files)
}

fn replace(text: &str, old: &str, new: &str) -> Result<String, String> {
    match text.matches(old).count() {
        1 => Ok(text.replacen(old, new, 1)),
        count => Err(format!("expected `{}` once, found it {count} times", old.trim())),
    }
}

/// The same file with another first line.
fn with_head(text: &str, head: &str) -> String {
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    format!("{head}\n{rest}")
}

fn versions(from: u32, text: &str) -> Result<String, String> {
    let to = from + 1;
    let text = replace(text, &format!("VERSION: u32 = {from};"), &format!("VERSION: u32 = {to};"))?;
    let text = replace(&text, &format!("v{from}}};"), &format!("v{from}, v{to}}};"))?;
    let text = replace(&text, &format!("v{from}::schema(),"), &format!("v{to}::schema(),"))?;
    let release = format!(
        "        Release {{
            number: {from},
            key: \"schema_version\",
            mark: Mark::Number({from}),
            schema: v{from}::schema(),
            ops: migrations::v{from}_to_v{to}(),
        }},
    ];
"
    );
    replace(&text, "    ];\n", &release)
}

/// The function that converts the value of a key.
fn converter(path: &str, to: u32) -> String {
    let name = path.replace("*", "any").replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("{name}_of_v{to}")
}

/// The step as operations, those that changed something first.
fn step(from: u32, guesses: &[Guess]) -> String {
    let to = from + 1;
    let (mut changed, mut kept, mut converters) = (String::new(), String::new(), String::new());
    for guess in guesses {
        let operation = match (&guess.from, &guess.to) {
            (Some(old), Some(new)) if guess.converts => {
                let with = converter(old, to);
                converters.push_str(&format!(
                    "\n/// `{old}` of version {from} as `{new}` of version {to}.\n\
                     fn {with}(value: &Value) -> Result<Value, String> {{\n    \
                     Err(format!(\"not written yet: {{}}\", value.describe()))\n}}\n"
                ));
                format!("Op::Map {{ from: \"{old}\", to: \"{new}\", with: {with} }},")
            }
            (Some(old), Some(new)) => format!("Op::Move {{ from: \"{old}\", to: \"{new}\" }},"),
            (Some(old), None) => format!("Op::Drop {{ from: \"{old}\", reason: \"\" }},"),
            (None, Some(new)) => format!("Op::Default {{ to: \"{new}\" }},"),
            (None, None) => continue,
        };
        let list = if guess.changes() { &mut changed } else { &mut kept };
        if let Some(doubt) = guess.doubt {
            list.push_str(&format!("        // {doubt}\n"));
        }
        list.push_str(&format!("        {operation}\n"));
    }
    format!(
        "pub(super) fn v{from}_to_v{to}() -> Vec<Op> {{\n    vec![\n{changed}        // As they were.\n{kept}    ]\n}}\n{converters}"
    )
}

/// A test whose old file has every key that changed, and which fails until somebody says what it must become.
fn test(from: u32, guesses: &[Guess], frozen: &Json) -> String {
    let to = from + 1;
    let changed = guesses.iter().filter(|guess| guess.changes());
    let mut keys = String::new();
    for path in changed.filter_map(|guess| guess.from.as_deref()) {
        let named = path.replace('*', "name");
        keys.push_str(&format!("# above {named}\n{named} = {} # beside\n", sample(frozen, path)));
    }
    format!(
        "#[test]\nfn version_{from}_becomes_version_{to}() {{\n    \
         let v{from} = r##\"schema_version = {from}\n{keys}\"##;\n    \
         assert_eq!(migrated(v{from}), \"what it must become\");\n}}\n"
    )
}

/// A value that the frozen schema allows at `path`.
fn sample(frozen: &Json, path: &str) -> String {
    let schema = path.split('.').fold(frozen, |table, name| match name {
        "*" => &table["additionalProperties"],
        name => &table["properties"][name],
    });
    let candidates =
        [&schema["default"], &schema["examples"][0], &schema["enum"][0], &schema["minimum"]];
    match (candidates.into_iter().find(|value| !value.is_null()), schema["type"].as_str()) {
        (Some(value), _) => value.to_string(),
        (None, Some("boolean")) => "true".to_owned(),
        (None, Some("array")) => "[]".to_owned(),
        (None, _) => "\"\"".to_owned(),
    }
}

fn ledger(from: u32, text: &str) -> Result<String, String> {
    let mut ledger: toml::Table = text.parse().map_err(|error| format!("ledger: {error}"))?;
    let entry = ledger.get_mut(&format!("v{from}")).and_then(toml::Value::as_table_mut);
    let entry = entry.ok_or_else(|| format!("the ledger has no v{from}"))?;
    entry.insert("released".to_owned(), true.into());
    Ok(ledger.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use memcfg::document;
    use memcfg::ledger::{draft, schema_from_json};
    use memcfg::schema::{Key, Kind, Schema};

    use super::*;

    /// The files as they are in the tree, and a schema in which one key is renamed, one retyped, one gone, one new.
    fn made() -> BTreeMap<String, String> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |path: &str| std::fs::read_to_string(home.join(path)).unwrap();
        let from = document::VERSION;
        let newest = read(&format!("src/document/v{from}.rs"));
        let sources = Sources {
            released: newest.clone(),
            present: newest.replace("track.retention", "track.keep"),
            module: read("src/document/mod.rs"),
            versions: read("src/document/versions.rs"),
            migrations: read("src/document/migrations.rs"),
            tests: read("tests/migrate.rs"),
            ledger: read("schemas/ledger.toml"),
        };
        let frozen = read(&format!("schemas/v{from}.json"));
        let old = schema_from_json(&frozen).unwrap();
        let keys = old.keys().iter().filter(|key| key.path != "pressure.band".into());
        let changed = keys.map(|key| {
            let (path, mut kind) = (key.path.to_string(), key.kind.clone());
            if path == "workload.batch_size" {
                kind = Kind::Text;
            }
            Key::new(&path.replace("track.retention", "track.retention_time"), kind, "")
        });
        let new = Schema::new().with(changed).with([Key::new("quite.new", Kind::Boolean, "")]);
        scaffold(from, &sources, &draft(&old, &new), &frozen).unwrap()
    }

    #[test]
    fn a_new_version_is_written_into_the_tree() {
        let files = made();
        let (from, to) = (document::VERSION, document::VERSION + 1);
        let has = |path: &str, text: &str| {
            assert!(files[path].contains(text), "`{path}` lacks `{text}`:\n{}", files[path]);
        };
        has(&format!("src/document/v{from}.rs"), "Released: never to be changed.");
        has(&format!("src/document/v{from}.rs"), "track.retention");
        has(&format!("src/document/v{to}.rs"), &format!("version {to}, the newest"));
        has(&format!("src/document/v{to}.rs"), "track.keep");
        has("src/document/mod.rs", &format!("mod v{from};\nmod v{to};\n"));
        has("src/document/versions.rs", &format!("VERSION: u32 = {to};"));
        has("src/document/versions.rs", &format!("ops: migrations::v{from}_to_v{to}(),"));
        has(
            "src/document/versions.rs",
            &format!("schema: v{to}::schema(),\n        ops: Vec::new()"),
        );
        let step = "src/document/migrations.rs";
        has(step, "Op::Move { from: \"track.retention\", to: \"track.retention_time\" },");
        has(step, &format!("with: workload_batch_size_of_v{to} }},"));
        has(step, &format!("fn workload_batch_size_of_v{to}(value: &Value)"));
        has(step, "Op::Drop { from: \"pressure.band\", reason: \"\" },");
        has(step, "Op::Default { to: \"quite.new\" },");
        has(step, "Op::Move { from: \"leak.window\", to: \"leak.window\" },");
        let tests = "tests/migrate.rs";
        has(tests, &format!("fn version_{from}_becomes_version_{to}()"));
        for line in [
            "workload.batch_size = 50 # beside",
            "pressure.band = 0.05",
            "track.retention = \"1day\"",
        ] {
            has(tests, line);
        }
        let ledger: toml::Table = files["schemas/ledger.toml"].parse().unwrap();
        assert_eq!(ledger[&format!("v{from}")]["released"].as_bool(), Some(true));
    }

    #[test]
    fn every_key_has_one_operation() {
        let files = made();
        let (from, to) = (document::VERSION, document::VERSION + 1);
        let step = files["src/document/migrations.rs"]
            .split(&format!("fn v{from}_to_v{to}"))
            .nth(1)
            .unwrap();
        for key in document::spec().schema().keys() {
            let read = format!("from: \"{}\"", key.path);
            assert_eq!(step.matches(&read).count(), 1, "{read} in\n{step}");
        }
    }

    #[test]
    fn a_tree_that_looks_otherwise_is_left_alone() {
        assert!(replace("mod v3;\nmod v3;\n", "mod v3;\n", "").unwrap_err().contains("2 times"));
        assert!(versions(3, "pub const VERSION: u32 = 4;").is_err());
    }
}
