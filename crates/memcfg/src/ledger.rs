//! The proof that no key is lost between versions, and that a released version never changes.

use serde_json::{Value as Json, json};

use crate::hash::Hash;
use crate::history::{History, Mark, Release};
use crate::path::{KeyPath, Segment};
use crate::schema::{ANY, Key, Kind, Schema};
use crate::value::{self, Table};

/// What is wrong with the steps of a history; nothing when every key of every version is accounted for.
///
/// Every key of a version is read by exactly one operation, and every key of the next one is written or has a default.
#[must_use]
pub fn gaps(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let releases: Vec<_> = history.releases().collect();
    for (at, release) in releases.iter().enumerate() {
        if release.number as usize != at + 1 {
            found.push(format!("version {} is number {} in the row", release.number, at + 1));
        }
    }
    for (from, to) in history.steps_from(0) {
        let step = format!("{} -> {}", from.number, to.number);
        for key in from.schema.keys() {
            let path = key.path.to_string();
            let readers = from.ops.iter().filter(|op| op.reads() == Some(path.as_str())).count();
            if readers != 1 {
                found.push(format!("{step}: `{path}` is read by {readers} operations"));
            }
        }
        for key in to.schema.keys() {
            let path = key.path.to_string();
            if !from.ops.iter().any(|op| op.writes().contains(&path.as_str())) {
                found.push(format!("{step}: `{path}` is neither written nor given a default"));
            }
        }
        for op in &from.ops {
            let unknown = op.reads().filter(|read| !has(&from.schema, read));
            found
                .extend(unknown.map(|read| format!("{step}: `{read}` is read and does not exist")));
            for write in op.writes().into_iter().filter(|write| !has(&to.schema, write)) {
                found.push(format!("{step}: `{write}` is written and does not exist"));
            }
        }
    }
    if !history.current().ops.is_empty() {
        found.push("the newest version has operations that lead nowhere".to_owned());
    }
    found
}

fn has(schema: &Schema, path: &str) -> bool {
    schema.key(&KeyPath::parse(path)).is_some()
}

/// The JSON Schema of a version, for editors and for the ledger. `defaults` are shown where they are known.
#[must_use]
pub fn json_schema(title: &str, release: &Release, defaults: Option<&Table>) -> String {
    // Indexing makes what is missing: every part of this value is an object of our own.
    let mut root = table_schema();
    for (path, about) in release.schema.tables() {
        table_at(&mut root, path.keys())["description"] = json!(about);
    }
    for key in release.schema.keys() {
        let Some((parent, Segment::Key(name))) = key.path.split_last() else { continue };
        let table = table_at(&mut root, parent.keys());
        let mut schema = kind_schema(&key.kind);
        schema["description"] = json!(key.about);
        let default = defaults.and_then(|defaults| value::get(defaults, &key.path));
        if let Some(default) = default.and_then(|node| serde_json::to_value(&node.value).ok()) {
            schema["default"] = default;
        }
        if name == ANY {
            table["additionalProperties"] = schema;
        } else {
            table["properties"][name] = schema;
        }
    }
    let mark = match release.mark {
        Mark::Number(number) => json!(number),
        Mark::Text(text) => json!(text),
    };
    root["properties"][release.key] =
        json!({ "const": mark, "description": "The version of this document." });
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!(format!("{title}, version {}", release.number));
    root["required"] = json!([release.key]);
    format!("{root:#}\n")
}

fn table_schema() -> Json {
    json!({ "type": "object", "additionalProperties": false, "properties": {} })
}

fn table_at<'a, 'p>(root: &'a mut Json, keys: impl Iterator<Item = &'p str>) -> &'a mut Json {
    let mut table = root;
    for key in keys {
        let inner = &mut table["properties"][key];
        if inner.is_null() {
            *inner = table_schema();
        }
        table = inner;
    }
    table
}

fn kind_schema(kind: &Kind) -> Json {
    match kind {
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Float { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Text | Kind::File => json!({ "type": "string" }),
        Kind::List(of) => json!({ "type": "array", "items": kind_schema(of) }),
        Kind::Form { form, min, max } => {
            let text = json!({ "type": "string", "pattern": form.pattern });
            let (least, most) = ((form.show)(*min), (form.show)(*max));
            let range = match max.is_finite() {
                true => format!("{least} to {most}"),
                false => format!("from {least}"),
            };
            if form.integers {
                let mut number = json!({ "type": "integer", "minimum": *min as u64 });
                if max.is_finite() {
                    number["maximum"] = json!(*max as u64);
                }
                json!({ "anyOf": [text, number], "$comment": range, "examples": [form.example] })
            } else {
                json!({ "type": "string", "pattern": form.pattern, "$comment": range, "examples": [form.example] })
            }
        }
    }
}

/// The keys of a frozen schema, with their kinds as far as JSON Schema says them. For drafting a step.
#[must_use]
pub fn schema_from_json(text: &str) -> Option<Schema> {
    fn walk(table: &Json, path: &KeyPath, version: Option<&str>, keys: &mut Vec<Key>) {
        let named = table["properties"].as_object().into_iter().flatten();
        let any = Some(&table["additionalProperties"]).filter(|any| any.is_object());
        let any = any.map(|any| (ANY, any));
        for (name, schema) in named.map(|(name, schema)| (name.as_str(), schema)).chain(any) {
            if version == Some(name) {
                continue;
            }
            let path = path.key(name);
            if schema["type"] == "object" {
                walk(schema, &path, None, keys);
            } else {
                keys.push(Key::new(&path.to_string(), kind_from_json(schema), ""));
            }
        }
    }
    let json: Json = serde_json::from_str(text).ok()?;
    let version = json["required"][0].as_str()?;
    let mut keys = Vec::new();
    walk(&json, &KeyPath::root(), Some(version), &mut keys);
    Some(Schema::new().with(keys))
}

fn kind_from_json(schema: &Json) -> Kind {
    let number = |name: &str| schema[name].as_f64().unwrap_or_default();
    match schema["type"].as_str() {
        Some("boolean") => Kind::Boolean,
        Some("integer") => Kind::Integer {
            min: schema["minimum"].as_i64().unwrap_or(i64::MIN),
            max: schema["maximum"].as_i64().unwrap_or(i64::MAX),
        },
        Some("number") => Kind::Float { min: number("minimum"), max: number("maximum") },
        Some("array") => Kind::List(Box::new(kind_from_json(&schema["items"]))),
        _ => Kind::Text,
    }
}

/// A guess at how a key of one version becomes a key of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// The old key; none for one that is new.
    pub from: Option<String>,
    /// The new key; none for one that is dropped.
    pub to: Option<String>,
    /// Whether the value has to become another one, or only its place.
    pub converts: bool,
    /// What a person has to look at, if anything.
    pub doubt: Option<&'static str>,
}

impl Guess {
    /// Whether anything about the key is different in the new version.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.from != self.to || self.converts || self.doubt.is_some()
    }
}

/// How the keys of two schemas may hang together, as the first draft of a step.
#[must_use]
pub fn draft(old: &Schema, new: &Schema) -> Vec<Guess> {
    let missing = |keys: &[Key], other: &Schema| -> Vec<Key> {
        let gone = keys.iter().filter(|key| other.keys().iter().all(|o| o.path != key.path));
        gone.cloned().collect()
    };
    let gone = missing(old.keys(), new);
    let mut fresh = missing(new.keys(), old);
    let mut guesses = Vec::new();
    for key in old.keys() {
        if let Some(other) = new.keys().iter().find(|other| other.path == key.path) {
            guesses.push(becomes(key, other, None));
        }
    }
    for key in gone {
        let alike = |other: &Key| {
            let text = strsim::jaro_winkler(&key.path.to_string(), &other.path.to_string());
            text + if same_kind(&key.kind, &other.kind) { 0.2 } else { 0.0 }
        };
        let scores = fresh.iter().enumerate().map(|(at, other)| (alike(other), at));
        let best = scores.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > 0.9);
        guesses.push(match best {
            Some((_, at)) => {
                becomes(&key, &fresh.remove(at), Some("a guess: is the one the other's new name?"))
            }
            None => Guess {
                from: Some(key.path.to_string()),
                to: None,
                converts: false,
                doubt: Some("why does it go?"),
            },
        });
    }
    guesses.extend(fresh.iter().map(|key| {
        let to = Some(key.path.to_string());
        Guess { from: None, to, converts: false, doubt: None }
    }));
    guesses
}

fn becomes(old: &Key, new: &Key, doubt: Option<&'static str>) -> Guess {
    let numbers = matches!(old.kind, Kind::Integer { .. } | Kind::Float { .. });
    let converts = !same_kind(&old.kind, &new.kind);
    let moved = numbers && !converts && old.kind.allowed() != new.kind.allowed();
    let range = moved.then_some("its range changed: what becomes of a value that is outside now?");
    let (from, to) = (Some(old.path.to_string()), Some(new.path.to_string()));
    Guess { from, to, converts, doubt: doubt.or(range) }
}

/// Whether a value of one kind is likely to be one of the other; ranges are looked at by people.
fn same_kind(a: &Kind, b: &Kind) -> bool {
    let text =
        |kind: &Kind| matches!(kind, Kind::Text | Kind::File | Kind::Form { .. } | Kind::Choice(_));
    (text(a) && text(b)) || std::mem::discriminant(a) == std::mem::discriminant(b)
}

/// The same schema without the defaults, which only the newest version has: the types they come from move on.
///
/// # Errors
/// When the text is not JSON.
pub fn without_defaults(schema: &str) -> serde_json::Result<String> {
    fn strip(table: &mut Json) {
        let Some(table) = table.as_object_mut() else { return };
        table.remove("default");
        for part in ["properties", "additionalProperties"] {
            match table.get_mut(part) {
                Some(any) if part == "additionalProperties" => strip(any),
                // A key may well be called `default`.
                Some(Json::Object(keys)) => keys.values_mut().for_each(strip),
                _ => {}
            }
        }
    }
    let mut json: Json = serde_json::from_str(schema)?;
    strip(&mut json);
    Ok(format!("{json:#}\n"))
}

/// The SHA-256 of a schema's text, as the ledger keeps it.
#[must_use]
pub fn fingerprint(schema: &str) -> String {
    Hash::of(schema.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str, kind: Kind) -> Key {
        Key::new(path, kind, "")
    }

    #[test]
    fn a_draft_guesses_renames_and_leaves_the_rest_to_people() {
        let whole = || Kind::Integer { min: 0, max: 9 };
        let old = Schema::new().with([
            key("a.kept", whole()),
            key("a.colour", Kind::Text),
            key("a.narrower", whole()),
            key("a.retyped", whole()),
            key("z.gone", Kind::Boolean),
        ]);
        let new = Schema::new().with([
            key("a.kept", whole()),
            key("a.color", Kind::Text),
            key("a.narrower", Kind::Integer { min: 2, max: 9 }),
            key("a.retyped", Kind::Text),
            key("q.fresh_one", Kind::List(Box::new(Kind::Text))),
        ]);
        let drafted = draft(&old, &new);
        let shown: Vec<_> = drafted
            .iter()
            .map(|g| (g.from.as_deref(), g.to.as_deref(), g.converts, g.doubt.is_some()))
            .collect();
        assert_eq!(
            shown,
            [
                (Some("a.kept"), Some("a.kept"), false, false),
                (Some("a.narrower"), Some("a.narrower"), false, true),
                (Some("a.retyped"), Some("a.retyped"), true, false),
                (Some("a.colour"), Some("a.color"), false, true),
                (Some("z.gone"), None, false, true),
                (None, Some("q.fresh_one"), false, false),
            ]
        );
        assert_eq!(drafted.iter().filter(|guess| !guess.changes()).count(), 1);
    }

    #[test]
    fn a_schema_without_its_defaults_is_the_one_that_never_had_any() {
        let schema = Schema::new().with([key("a.default", Kind::Boolean), key("b.*", Kind::Text)]);
        let (number, mark) = (1, Mark::Number(1));
        let release = Release { number, key: "v", mark, schema, ops: Vec::new() };
        let defaults: toml::Table = "a.default = true".parse().unwrap();
        let source = crate::origin::Source::new(crate::origin::SourceKind::Default, "", "");
        let defaults = value::table_from_toml(defaults, &std::sync::Arc::new(source));
        let with = json_schema("t", &release, Some(&defaults));
        let without = json_schema("t", &release, None);
        assert_ne!(with, without);
        assert_eq!(without_defaults(&with).unwrap(), without);
    }

    #[test]
    fn the_keys_of_a_frozen_schema_can_be_read_back() {
        let schema = Schema::new()
            .with([key("a.x", Kind::Boolean), key("a.b.*", Kind::Integer { min: 1, max: 2 })]);
        let (number, mark) = (1, Mark::Number(1));
        let release = Release { number, key: "v", mark, schema, ops: Vec::new() };
        let read = schema_from_json(&json_schema("t", &release, None)).unwrap();
        let mut paths: Vec<_> = read.keys().iter().map(|key| key.path.to_string()).collect();
        paths.sort();
        assert_eq!(paths, ["a.b.*", "a.x"]);
    }
}
