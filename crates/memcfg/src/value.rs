//! Values that know where they came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::origin::{Origin, Source};
use crate::path::{KeyPath, Segment, is_bare};

/// A table of a document, by key.
pub type Table = BTreeMap<String, Node>;

/// A value and its origin.
///
/// Two nodes are equal when their values are: where they came from is not part of what they say.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// A value of a document. Floats are finite.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction; never NaN or infinite.
    Float(f64),
    /// Text.
    String(String),
    /// A date, a time, or both.
    Datetime(toml::value::Datetime),
    /// An array.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
}

impl Value {
    /// What it is, with its article, as error messages say it.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Boolean(_) => "a boolean",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::String(_) => "text",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }

    /// The same value, every part of it from `origin`.
    #[must_use]
    pub fn from_toml(value: toml::Value, origin: &Origin) -> Self {
        let node = |value| Node { value: Value::from_toml(value, origin), origin: origin.clone() };
        match value {
            toml::Value::Boolean(value) => Value::Boolean(value),
            toml::Value::Integer(value) => Value::Integer(value),
            toml::Value::Float(value) => Value::Float(value),
            toml::Value::String(value) => Value::String(value),
            toml::Value::Datetime(value) => Value::Datetime(value),
            toml::Value::Array(values) => Value::Array(values.into_iter().map(node).collect()),
            toml::Value::Table(table) => {
                Value::Table(table.into_iter().map(|(key, value)| (key, node(value))).collect())
            }
        }
    }

    /// The value alone, without origins.
    #[must_use]
    pub fn to_toml(&self) -> toml::Value {
        match self {
            Value::Boolean(value) => toml::Value::Boolean(*value),
            Value::Integer(value) => toml::Value::Integer(*value),
            Value::Float(value) => toml::Value::Float(*value),
            Value::String(value) => toml::Value::String(value.clone()),
            Value::Datetime(value) => toml::Value::Datetime(*value),
            Value::Array(nodes) => {
                toml::Value::Array(nodes.iter().map(|node| node.value.to_toml()).collect())
            }
            Value::Table(table) => toml::Value::Table(table_to_toml(table)),
        }
    }
}

impl fmt::Display for Value {
    /// As TOML on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => write!(f, "{value}"),
            Value::Integer(value) => write!(f, "{value}"),
            // `{:?}` keeps the `.0` that makes it a float.
            Value::Float(value) => write!(f, "{value:?}"),
            Value::String(value) => f.write_str(&quote(value)),
            Value::Datetime(value) => write!(f, "{value}"),
            Value::Array(nodes) => {
                f.write_str("[")?;
                for (index, node) in nodes.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", node.value)?;
                }
                f.write_str("]")
            }
            Value::Table(table) if table.is_empty() => f.write_str("{}"),
            Value::Table(table) => {
                f.write_str("{ ")?;
                for (index, (key, node)) in table.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    let key = if is_bare(key) { key.clone() } else { quote(key) };
                    write!(f, "{comma}{key} = {}", node.value)?;
                }
                f.write_str(" }")
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Boolean(value) => serializer.serialize_bool(*value),
            Value::Integer(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::String(value) => serializer.serialize_str(value),
            Value::Datetime(value) => serializer.collect_str(value),
            Value::Array(nodes) => serializer.collect_seq(nodes.iter().map(|node| &node.value)),
            Value::Table(table) => {
                serializer.collect_map(table.iter().map(|(key, node)| (key, &node.value)))
            }
        }
    }
}

/// A basic TOML string.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(crate) fn table_to_toml(table: &Table) -> toml::Table {
    table.iter().map(|(key, node)| (key.clone(), node.value.to_toml())).collect()
}

/// The node at `path`, if there is one.
#[must_use]
pub fn get<'a>(table: &'a Table, path: &KeyPath) -> Option<&'a Node> {
    let (first, rest) = path.0.split_first()?;
    let Segment::Key(key) = first else { return None };
    let mut node = table.get(key)?;
    for segment in rest {
        node = match (segment, &node.value) {
            (Segment::Key(key), Value::Table(table)) => table.get(key)?,
            (Segment::Index(index), Value::Array(nodes)) => nodes.get(*index)?,
            _ => return None,
        };
    }
    Some(node)
}

/// Puts `node` at `path`, making the tables on the way. A path with array elements in it is left alone.
pub(crate) fn insert(table: &mut Table, path: &KeyPath, node: Node) {
    let Some((Segment::Key(last), parents)) = path.0.split_last() else { return };
    let mut table = table;
    for segment in parents {
        let Segment::Key(key) = segment else { return };
        let parent = table.entry(key.clone()).or_insert_with(|| Node {
            value: Value::Table(Table::new()),
            origin: node.origin.clone(),
        });
        if !matches!(parent.value, Value::Table(_)) {
            parent.value = Value::Table(Table::new());
        }
        let Value::Table(inner) = &mut parent.value else { return };
        table = inner;
    }
    table.insert(last.clone(), node);
}

/// Takes the node at `path` out, leaving its tables.
pub(crate) fn remove(table: &mut Table, path: &KeyPath) -> Option<Node> {
    let (last, parents) = path.0.split_last()?;
    let Segment::Key(last) = last else { return None };
    let mut table = table;
    for segment in parents {
        let Segment::Key(key) = segment else { return None };
        let Value::Table(inner) = &mut table.get_mut(key)?.value else { return None };
        table = inner;
    }
    table.remove(last)
}

/// Every value that is not a table, with its path, in the order of the keys. Arrays are leaves.
pub fn leaves(table: &Table) -> Vec<(KeyPath, &Node)> {
    fn walk<'a>(table: &'a Table, path: &KeyPath, out: &mut Vec<(KeyPath, &'a Node)>) {
        for (key, node) in table {
            let path = path.key(key);
            match &node.value {
                Value::Table(inner) => walk(inner, &path, out),
                _ => out.push((path, node)),
            }
        }
    }
    let mut out = Vec::new();
    walk(table, &KeyPath::root(), &mut out);
    out
}

/// A table whose every value is from `source`, without positions.
pub(crate) fn table_from_toml(table: toml::Table, source: &Arc<Source>) -> Table {
    match Value::from_toml(toml::Value::Table(table), &Origin::whole(source)) {
        Value::Table(table) => table,
        _ => Table::new(),
    }
}
