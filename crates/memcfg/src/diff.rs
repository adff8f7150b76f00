//! What an edit changes, key by key.

use serde::Serialize;

use crate::load::Loaded;
use crate::origin::Origin;
use crate::schema::{Effect, Kind, Schema, Stricter};
use crate::value::{self, Value};

/// One key with another value than before.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// The key.
    pub key: String,
    /// The value before; nothing when it was not set.
    pub old: Option<Value>,
    /// The value now; nothing when it is no longer set.
    pub new: Option<Value>,
    /// Where the value now comes from, or where the old one came from when there is none.
    pub origin: Origin,
    /// Whether it became stricter, where that can be said.
    pub direction: Option<Direction>,
    /// Whether a running program takes it at once.
    pub effect: Effect,
}

/// Which way a number went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Sooner a warning, less room.
    Tightened,
    /// Later a warning, more room.
    Loosened,
}

/// Every key whose value differs between two documents, in the order of the keys.
#[must_use]
pub fn diff<T>(old: &Loaded<T>, new: &Loaded<T>) -> Vec<Change> {
    let schema = new.schema();
    let (before, after) = (value::leaves(&old.merged), value::leaves(&new.merged));
    let mut changes = Vec::new();
    for (path, node) in &after {
        let previous = value::get(&old.merged, path);
        if previous.is_some_and(|previous| previous.value == node.value) {
            continue;
        }
        let previous = previous.map(|previous| &previous.value);
        changes.push(change(schema, path, previous, Some(&node.value), &node.origin));
    }
    for (path, node) in &before {
        if value::get(&new.merged, path).is_none() {
            changes.push(change(schema, path, Some(&node.value), None, &node.origin));
        }
    }
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

fn change(
    schema: &Schema,
    path: &crate::path::KeyPath,
    old: Option<&Value>,
    new: Option<&Value>,
    origin: &Origin,
) -> Change {
    let key = schema.key(path);
    let secret = key.is_some_and(|key| key.secret);
    let shown = |value: &Value| match secret {
        true => Value::String("(secret)".to_owned()),
        false => value.clone(),
    };
    let direction = key.and_then(|key| {
        let before = measure(&key.kind, old?)?;
        let after = measure(&key.kind, new?)?;
        let stricter = match key.stricter? {
            Stricter::Lower => after < before,
            Stricter::Higher => after > before,
        };
        Some(if stricter { Direction::Tightened } else { Direction::Loosened })
    });
    Change {
        key: path.to_string(),
        old: old.map(shown),
        new: new.map(shown),
        origin: origin.clone(),
        direction,
        effect: key.map_or(Effect::Hot, |key| key.effect),
    }
}

/// The number that a value stands for.
fn measure(kind: &Kind, value: &Value) -> Option<f64> {
    match (kind, value) {
        (_, Value::Integer(value)) => Some(*value as f64),
        (_, Value::Float(value)) => Some(*value),
        (Kind::Form { form, .. }, Value::String(text)) => (form.measure)(text).ok().flatten(),
        _ => None,
    }
}
