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

/// How the keys of two schemas may hang together, as the first draft of a step.
#[must_use]
pub fn draft(old: &Schema, new: &Schema) -> Vec<String> {
    let missing = |keys: &[Key], other: &Schema| -> Vec<Key> {
        let gone = keys.iter().filter(|key| other.keys().iter().all(|o| o.path != key.path));
        gone.cloned().collect()
    };
    let gone = missing(old.keys(), new);
    let mut fresh = missing(new.keys(), old);
    let mut ops = Vec::new();
    for key in old.keys() {
        let path = &key.path;
        match new.keys().iter().find(|other| other.path == *path) {
            Some(other) if same_kind(&key.kind, &other.kind) => {
                ops.push(format!("Op::Move {{ from: \"{path}\", to: \"{path}\" }},"));
            }
            Some(_) => {
                ops.push(format!("Op::Map {{ from: \"{path}\", to: \"{path}\", with: todo!() }},"));
            }
            None => {}
        }
    }
    for key in gone {
        let path = &key.path;
        let alike = |other: &Key| {
            let text = strsim::jaro_winkler(&path.to_string(), &other.path.to_string());
            let kind = if same_kind(&key.kind, &other.kind) { 0.2 } else { 0.0 };
            text + kind
        };
        let best = fresh
            .iter()
            .enumerate()
            .map(|(at, other)| (alike(other), at))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(score, _)| *score > 0.9);
        match best {
            Some((_, at)) => {
                let to = fresh.remove(at);
                let op = if same_kind(&key.kind, &to.kind) { "Move" } else { "Map" };
                let with = if op == "Map" { ", with: todo!()" } else { "" };
                ops.push(format!(
                    "Op::{op} {{ from: \"{path}\", to: \"{}\"{with} }}, // a guess: is it a rename?",
                    to.path
                ));
            }
            None => ops.push(format!("Op::Drop {{ from: \"{path}\", reason: \"...\" }},")),
        }
    }
    ops.extend(fresh.iter().map(|key| format!("Op::Default {{ to: \"{}\" }},", key.path)));
    ops
}

/// Whether a value of one kind is likely to be one of the other; ranges are looked at by people.
fn same_kind(a: &Kind, b: &Kind) -> bool {
    let text =
        |kind: &Kind| matches!(kind, Kind::Text | Kind::File | Kind::Form { .. } | Kind::Choice(_));
    (text(a) && text(b)) || std::mem::discriminant(a) == std::mem::discriminant(b)
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
            key("a.retyped", whole()),
            key("z.gone", Kind::Boolean),
        ]);
        let new = Schema::new().with([
            key("a.kept", whole()),
            key("a.color", Kind::Text),
            key("a.retyped", Kind::Text),
            key("q.fresh_one", Kind::List(Box::new(Kind::Text))),
        ]);
        assert_eq!(
            draft(&old, &new),
            [
                "Op::Move { from: \"a.kept\", to: \"a.kept\" },",
                "Op::Map { from: \"a.retyped\", to: \"a.retyped\", with: todo!() },",
                "Op::Move { from: \"a.colour\", to: \"a.color\" }, // a guess: is it a rename?",
                "Op::Drop { from: \"z.gone\", reason: \"...\" },",
                "Op::Default { to: \"q.fresh_one\" },",
            ]
        );
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
