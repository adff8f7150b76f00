//! Overlays on top of each other, and the way back from a value to where it came from.

use serde::Serialize;

use crate::origin::Origin;
use crate::overlay::Overlay;
use crate::path::{KeyPath, Segment};
use crate::value::{self, Node, Table, Value};

/// `upper` over `lower`: tables merge, every other value replaces, and what `upper` does not set stays.
#[must_use]
pub fn merge(mut lower: Table, upper: &Table) -> Table {
    merge_into(&mut lower, upper);
    lower
}

/// The same as [`merge`], in place.
pub fn merge_into(lower: &mut Table, upper: &Table) {
    for (key, node) in upper {
        match lower.get_mut(key) {
            Some(Node { value: Value::Table(below), .. }) => match &node.value {
                Value::Table(above) => merge_into(below, above),
                _ => {
                    lower.insert(key.clone(), node.clone());
                }
            },
            _ => {
                lower.insert(key.clone(), node.clone());
            }
        }
    }
}

/// One overlay's say on a key.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// Where it was set.
    pub origin: Origin,
    /// The value there; `(secret)` for keys that are.
    pub value: Value,
}

/// Where an effective value comes from, and what it hides.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The key.
    pub key: String,
    /// The value in force and its origin.
    pub effective: Setting,
    /// What it hides, the nearest first.
    pub shadowed: Vec<Setting>,
}

/// Explains the value at `path`, given the overlays from the lowest to the highest; nothing when no overlay sets it.
#[must_use]
pub fn explain(overlays: &[Overlay], path: &KeyPath) -> Option<Explanation> {
    let mut settings = Vec::new();
    for overlay in overlays.iter().rev() {
        match value::get(&overlay.values, path) {
            Some(node) => {
                settings.push(Setting { origin: node.origin.clone(), value: node.value.clone() });
            }
            // A value where this path needs a table hides every overlay below it.
            None if blocks(&overlay.values, path) => break,
            None => {}
        }
    }
    let mut settings = settings.into_iter();
    let effective = settings.next()?;
    Some(Explanation { key: path.to_string(), effective, shadowed: settings.collect() })
}

fn blocks(table: &Table, path: &KeyPath) -> bool {
    let mut table = table;
    for segment in &path.0 {
        let Segment::Key(key) = segment else { return true };
        match table.get(key).map(|node| &node.value) {
            None => return false,
            Some(Value::Table(inner)) => table = inner,
            Some(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests;
