//! From the merged values to the typed document, every error pointed back at its source.

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Diagnostic, Label, Severity};
use crate::merge::{Setting, explain};
use crate::overlay::Overlay;
use crate::path::KeyPath;
use crate::schema::Schema;
use crate::spec::{Document, Origins, Rule};
use crate::value::{self, Table};

/// Decodes and validates. Keys in `faulty` have been reported and are left out; what is said of them would be noise.
pub(crate) fn decode<T: Document>(
    merged: &Table,
    overlays: &[Overlay],
    schema: &Schema,
    rules: &[Rule<T>],
    faulty: &BTreeSet<KeyPath>,
    found: &mut Vec<Diagnostic>,
) -> Option<T> {
    let context = Context { merged, overlays, schema };
    let value = toml::Value::Table(value::table_to_toml(merged));
    let value: T = match serde_path_to_error::deserialize(value) {
        Ok(value) => value,
        Err(error) => {
            let path = KeyPath::parse(&error.path().to_string());
            let message = error.into_inner().message().trim().to_owned();
            found.push(context.refused(&path, message, faulty)?);
            return None;
        }
    };
    if let Err(report) = value.validate() {
        for (path, error) in report.iter() {
            let path = KeyPath::parse(&path.to_string());
            found.extend(context.refused(&path, error.message().to_owned(), faulty));
        }
    }
    let origins = Origins::new(overlays);
    for violation in rules.iter().flat_map(|rule| rule.check(&value, &origins)) {
        if violation.keys.iter().any(|key| faulty.contains(key)) {
            continue;
        }
        let mut diagnostic = Diagnostic::error(Code::Conflict, violation.message);
        diagnostic.severity = violation.severity;
        diagnostic.help = violation.help;
        diagnostic.key = violation.keys.first().map(ToString::to_string);
        diagnostic.labels = violation.keys.iter().filter_map(|key| context.label(key)).collect();
        // What somebody set is more telling than a default.
        diagnostic.labels.sort_by_key(|label| label.span.is_none());
        found.push(diagnostic);
    }
    // A table-wide refusal of the type says no more than the rule that names the keys.
    let conflicts: Vec<KeyPath> = found
        .iter()
        .filter(|d| d.code == Code::Conflict && d.severity == Severity::Error)
        .filter_map(|d| d.key.as_deref().map(KeyPath::parse))
        .collect();
    found.retain(|d| {
        let path = d.key.as_deref().map(KeyPath::parse).unwrap_or_default();
        let covered = |conflict: &KeyPath| {
            conflict.starts_with(&path) && (schema.key(&path).is_none() || *conflict == path)
        };
        d.code != Code::Invalid || !conflicts.iter().any(covered)
    });
    Some(value)
}

struct Context<'a> {
    merged: &'a Table,
    overlays: &'a [Overlay],
    schema: &'a Schema,
}

impl Context<'_> {
    fn refused(
        &self,
        path: &KeyPath,
        message: String,
        faulty: &BTreeSet<KeyPath>,
    ) -> Option<Diagnostic> {
        if faulty.contains(path) {
            return None;
        }
        if let Some(field) = message.strip_prefix("missing field `") {
            let missing = path.key(field.trim_end_matches('`'));
            if faulty.contains(&missing) {
                return None;
            }
            let place = match path.0.is_empty() {
                true => "at the top of the document".to_owned(),
                false => format!("under [{path}]"),
            };
            let problem = Diagnostic::error(Code::Missing, format!("`{missing}` is not set"));
            let allowed = self.schema.key(&missing).map(|key| format!(": {}", key.kind.allowed()));
            let help = format!("set it {place}{}", allowed.unwrap_or_default());
            let problem = problem.about(&missing).help(help);
            return Some(match self.nearest(path) {
                Some(label) => problem.at(label),
                None => problem,
            });
        }
        let message = match path.0.is_empty() {
            true => message,
            // What a type says of a value mostly repeats it.
            false if self.schema.is_secret(path) => format!("`{path}`: its value is refused"),
            false => format!("`{path}`: {message}"),
        };
        let problem = Diagnostic::error(Code::Invalid, message).about(path);
        let problem = match self.label(path).or_else(|| self.nearest(path)) {
            Some(label) => problem.at(label),
            None => problem,
        };
        Some(match self.schema.key(path) {
            Some(key) => problem.help(format!("expected {}", key.kind.allowed())),
            None => problem,
        })
    }

    /// The place of a key, what it is set to, and what that hides.
    fn label(&self, path: &KeyPath) -> Option<Label> {
        let node = value::get(self.merged, path)?;
        let secret = self.schema.is_secret(path);
        let shown =
            |value: &value::Value| if secret { "(secret)".to_owned() } else { value.to_string() };
        let mut text = format!("`{path}` is {}", shown(&node.value));
        if matches!(node.value, value::Value::Table(_)) {
            text = format!("`{path}`");
        }
        let shadowed = explain(self.overlays, path).and_then(|e| e.shadowed.into_iter().next());
        if let Some(Setting { origin, value }) = shadowed.filter(|s| s.origin.position().is_some())
        {
            text.push_str(&format!(", over {} from {origin}", shown(&value)));
        }
        if let Some(migrated) = &node.origin.migrated {
            let from = format!(", from `{}` of version {}", migrated.key, migrated.version);
            text.push_str(&from);
        }
        Some(Label::value(&node.origin, text))
    }

    /// The place of the nearest table around a path.
    fn nearest(&self, path: &KeyPath) -> Option<Label> {
        let mut path = path.clone();
        while !path.0.is_empty() {
            if let Some(node) = value::get(self.merged, &path) {
                return Some(Label::key(&node.origin, ""));
            }
            path.0.pop();
        }
        None
    }
}
