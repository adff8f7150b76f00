//! One source of values: the defaults, a file, the environment, the flags.

use std::path::Path;
use std::sync::Arc;

use crate::check::{check, read_text};
use crate::diagnostic::{Code, Diagnostic, Label, MAX_DIAGNOSTICS};
use crate::origin::{Origin, Source, SourceKind};
use crate::path::KeyPath;
use crate::schema::{ANY, Key, Schema};
use crate::suggest::closest;
use crate::value::{self, Node, Table};

/// Values of one source, checked against the schema.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// What kind of source.
    pub kind: SourceKind,
    /// The values; shared, since the same file lies under many projects.
    pub values: Arc<Table>,
    /// The version its document was written in, where it is one.
    pub version: Option<u32>,
}

/// One value set from outside any file.
#[derive(Clone, Debug)]
pub struct Override {
    /// The key.
    pub key: KeyPath,
    /// The value as text, read as the type of the key.
    pub text: String,
    /// What set it, as a person would write it: `--interval`.
    pub name: String,
}

impl Override {
    /// `key` set to `text` by something called `name`.
    #[must_use]
    pub fn new(key: &str, text: impl Into<String>, name: impl Into<String>) -> Self {
        Self { key: KeyPath::parse(key), text: text.into(), name: name.into() }
    }
}

impl Overlay {
    /// An overlay of flags.
    pub(crate) fn from_flags(
        flags: &[Override],
        base: Option<&Path>,
        schema: &Schema,
        found: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut values = Table::new();
        for Override { key, text, name } in flags {
            let source = Source::new(SourceKind::Flag, name.clone(), text.clone()).with_base(base);
            put(&mut values, key, Arc::new(source), schema, found);
        }
        check(&mut values, schema, found);
        Self { kind: SourceKind::Flag, values: Arc::new(values), version: None }
    }

    /// An overlay of the environment's variables that begin with `prefix` and `_`.
    ///
    /// `PREFIX_SECTION__KEY` is `section.key`: two underscores part the steps, one belongs to the name. An empty
    /// variable is as good as none. Variables that no key answers to are warned of: they may be another program's.
    pub(crate) fn from_env(
        prefix: &str,
        ignored: &[String],
        variables: &[(String, String)],
        base: Option<&Path>,
        schema: &Schema,
        found: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut values = Table::new();
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'))
            else {
                continue;
            };
            if text.is_empty() || ignored.contains(name) {
                continue;
            }
            let source = Source::new(SourceKind::Environment, name.clone(), text.clone());
            let source = Arc::new(source.with_base(base));
            let path =
                rest.split("__").fold(KeyPath::root(), |path, step| path.key(&step.to_lowercase()));
            if schema.key(&path).is_some() {
                put(&mut values, &path, source, schema, found);
            } else {
                // Past what is shown anyhow, nobody reads what was meant.
                let guess = found.len() < MAX_DIAGNOSTICS;
                found.push(unknown_variable(prefix, name, &source, schema, guess));
            }
        }
        check(&mut values, schema, found);
        Self { kind: SourceKind::Environment, values: Arc::new(values), version: None }
    }
}

fn put(
    values: &mut Table,
    key: &KeyPath,
    source: Arc<Source>,
    schema: &Schema,
    found: &mut Vec<Diagnostic>,
) {
    let origin = Origin { value: Some(0..source.text.len()), ..Origin::whole(&source) };
    let Some(known) = schema.key(key) else {
        let problem = Diagnostic::error(Code::UnknownKey, format!("unknown key `{key}`"))
            .about(key)
            .at(Label::key(&origin, ""));
        found.push(match (schema.below(key).as_slice(), schema.suggest(key)) {
            ([], Some(meant)) => problem.help(format!("did you mean `{meant}`?")),
            ([], None) => problem,
            (keys, _) => {
                let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
                Diagnostic { message: format!("`{key}` is a table, not a key"), ..problem }
                    .help(format!("it has the keys {}", keys.join(", ")))
            }
        });
        return;
    };
    let origin = if known.secret { Origin { source: masked(&source), ..origin } } else { origin };
    // The text is read from the source as it is, and only the origin that is kept is masked.
    let full = Origin { source: Arc::clone(&source), ..origin.clone() };
    match read_text(key, &known.kind, &source.text, &full) {
        Ok(value) => value::insert(values, key, Node { value, origin }),
        Err(mut problem) => {
            if known.secret {
                problem.message = format!("`{key}` is (secret), expected {}", known.kind.allowed());
                for label in &mut problem.labels {
                    label.origin = origin.clone();
                }
            }
            found.push(problem.about(key));
        }
    }
}

pub(crate) fn masked(source: &Source) -> Arc<Source> {
    let text = "*".repeat(source.text.len());
    Arc::new(Source {
        kind: source.kind,
        name: source.name.clone(),
        text,
        base: source.base.clone(),
    })
}

fn unknown_variable(
    prefix: &str,
    name: &str,
    source: &Arc<Source>,
    schema: &Schema,
    guess: bool,
) -> Diagnostic {
    let keys = schema.keys().iter().filter(|_| guess);
    let names: Vec<String> = keys.map(|key| variable(prefix, key)).collect();
    let message = format!("the environment variable `{name}` sets nothing");
    let problem = Diagnostic::warning(Code::UnknownVariable, message)
        .at(Label::key(&Origin { key: Some(0..0), ..Origin::whole(source) }, ""));
    match closest(name, names.iter().map(String::as_str)) {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")),
        None => problem,
    }
}

/// The environment variable that sets `key`: `PREFIX_SECTION__KEY`.
#[must_use]
pub fn variable(prefix: &str, key: &Key) -> String {
    let steps: Vec<_> = key
        .path
        .keys()
        .map(|step| if step == ANY { "<NAME>".to_owned() } else { step.to_uppercase() })
        .collect();
    format!("{prefix}_{}", steps.join("__"))
}
