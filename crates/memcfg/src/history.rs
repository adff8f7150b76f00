//! The versions of a document, and how a value of one becomes a value of the next.
//!
//! Every step reads exactly one key at a time. That is what makes migrating each overlay and then merging the same as
//! merging and then migrating: a step that joined two keys would give another result when they sit in two overlays.

use std::fmt;
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic, Label};
use crate::origin::{Migrated, Origin, Source};
use crate::path::{KeyPath, Segment};
use crate::schema::{ANY, Schema};
use crate::value::{self, Node, Table, Value};

/// How one key of a version becomes keys of the next. Paths may end in [`ANY`], which stands for the same name on both sides.
#[derive(Clone)]
#[non_exhaustive]
pub enum Op {
    /// The same value at the same or another place.
    Move {
        /// The old key.
        from: &'static str,
        /// The new key.
        to: &'static str,
    },
    /// Another value at the same or another place.
    Map {
        /// The old key.
        from: &'static str,
        /// The new key.
        to: &'static str,
        /// The new value, or why there is none.
        with: fn(&Value) -> Result<Value, String>,
    },
    /// One old value becomes several new ones.
    Custom {
        /// The old key.
        from: &'static str,
        /// The new keys.
        to: &'static [&'static str],
        /// A new value for each of the new keys, `None` to leave one unset.
        with: fn(&Value) -> Result<Vec<Option<Value>>, String>,
    },
    /// Nothing takes its place.
    Drop {
        /// The old key.
        from: &'static str,
        /// Why, for the comment that is left behind.
        reason: &'static str,
    },
    /// A new key, whose default in the new version keeps old documents as they are.
    Default {
        /// The new key.
        to: &'static str,
    },
}

/// New places and their values; `None` where an old value leaves a new key unset.
pub(crate) type NewValues = Vec<(KeyPath, Option<Value>)>;

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} -> {:?}", self.reads(), self.writes())
    }
}

impl Op {
    /// The old key that it reads.
    #[must_use]
    pub fn reads(&self) -> Option<&'static str> {
        match self {
            Op::Move { from, .. }
            | Op::Map { from, .. }
            | Op::Custom { from, .. }
            | Op::Drop { from, .. } => Some(from),
            Op::Default { .. } => None,
        }
    }

    /// The new keys that it writes or gives a default.
    #[must_use]
    pub fn writes(&self) -> Vec<&'static str> {
        match self {
            Op::Move { to, .. } | Op::Map { to, .. } | Op::Default { to } => vec![to],
            Op::Custom { to, .. } => to.to_vec(),
            Op::Drop { .. } => Vec::new(),
        }
    }

    /// The first new place of `path`, or `path` itself when it is dropped; `None` when this is not about `path`.
    pub(crate) fn destination(&self, path: &KeyPath) -> Option<KeyPath> {
        let name = matches(self.reads()?, path)?;
        Some(self.writes().first().map_or_else(|| path.clone(), |to| fill(to, &name)))
    }

    /// The new places and values of the value at `path`; `Ok(None)` when this is not about `path`.
    ///
    /// # Errors
    /// Why the value has no counterpart in the new version.
    pub(crate) fn apply(&self, path: &KeyPath, old: &Value) -> Result<Option<NewValues>, String> {
        let Some(name) = self.reads().and_then(|pattern| matches(pattern, path)) else {
            return Ok(None);
        };
        let new = match self {
            Op::Move { to, .. } => vec![(fill(to, &name), Some(old.clone()))],
            Op::Map { to, with, .. } => vec![(fill(to, &name), Some(with(old)?))],
            Op::Custom { to, with, .. } => {
                to.iter().map(|to| fill(to, &name)).zip(with(old)?).collect()
            }
            Op::Drop { .. } | Op::Default { .. } => Vec::new(),
        };
        Ok(Some(new))
    }
}

/// Whether `path` is what `pattern` stands for, and the name that [`ANY`] stands for in it.
fn matches(pattern: &str, path: &KeyPath) -> Option<String> {
    let pattern = KeyPath::parse(pattern);
    if pattern.0.len() != path.0.len() {
        return None;
    }
    let mut name = String::new();
    for (wanted, found) in pattern.0.iter().zip(&path.0) {
        match (wanted, found) {
            (Segment::Key(wanted), Segment::Key(found)) if wanted == ANY => name.clone_from(found),
            (wanted, found) if wanted == found => {}
            _ => return None,
        }
    }
    Some(name)
}

fn fill(pattern: &str, name: &str) -> KeyPath {
    let mut path = KeyPath::parse(pattern);
    for segment in &mut path.0 {
        if *segment == Segment::Key(ANY.to_owned()) {
            *segment = Segment::Key(name.to_owned());
        }
    }
    path
}

/// One version of a document.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its number: 1, 2, 3, without gaps.
    pub number: u32,
    /// The key that says the version in a file.
    pub key: &'static str,
    /// The value of that key.
    pub mark: Mark,
    /// The keys of this version.
    pub schema: Schema,
    /// How each key becomes the next version's; empty for the newest.
    pub ops: Vec<Op>,
}

/// How a file says its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mark {
    /// As a whole number.
    Number(i64),
    /// As text.
    Text(&'static str),
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Number(number) => write!(f, "{number}"),
            Mark::Text(text) => write!(f, "\"{text}\""),
        }
    }
}

impl Mark {
    fn is(self, value: &Value) -> bool {
        match (self, value) {
            (Mark::Number(number), Value::Integer(value)) => number == *value,
            (Mark::Text(text), Value::String(value)) => text == value,
            // `version = 1.0` without quotes is what a YAML reader makes of it, and people too.
            (Mark::Text(text), Value::Float(value)) => text.parse() == Ok(*value),
            _ => false,
        }
    }
}

/// All versions of a document, the oldest first.
#[derive(Clone, Debug)]
pub struct History {
    releases: Vec<Release>,
    current: Release,
}

impl History {
    /// A document with one version so far.
    #[must_use]
    pub fn new(current: Release) -> Self {
        Self { releases: Vec::new(), current }
    }

    /// The same history with older versions before the newest, the oldest first.
    #[must_use]
    pub fn after(mut self, older: impl IntoIterator<Item = Release>) -> Self {
        self.releases.extend(older);
        self
    }

    /// The newest version.
    #[must_use]
    pub fn current(&self) -> &Release {
        &self.current
    }

    /// All versions, the oldest first.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        self.releases.iter().chain([&self.current])
    }

    /// Reads the version of a document and takes it out.
    pub(crate) fn identify(
        &self,
        table: &mut Table,
        inside: Option<&str>,
        source: &Arc<Source>,
    ) -> Result<&Release, Diagnostic> {
        let current = &self.current;
        let at = |key: &str| match inside {
            Some(table) => format!("{table}.{key}"),
            None => key.to_owned(),
        };
        let wanted = format!("`{} = {}`", current.key, current.mark);
        for key in self.releases().map(|release| release.key) {
            let Some(node) = table.remove(key) else { continue };
            let named = |release: &&Release| release.key == key && release.mark.is(&node.value);
            if let Some(release) = self.releases().find(named) {
                return Ok(release);
            }
            let label = Label::value(&node.origin, "");
            let number = match &node.value {
                Value::Integer(number) => Some(*number as f64),
                Value::Float(number) => Some(*number),
                Value::String(text) => text.parse().ok(),
                _ => None,
            };
            if number.is_some_and(|number| number > f64::from(current.number)) {
                let message = format!(
                    "this is version {} of the document, and this program knows versions up to {}",
                    node.value, current.number
                );
                return Err(Diagnostic::error(Code::Newer, message)
                    .about(at(key))
                    .at(label)
                    .help("use the newer program that wrote it, or a copy from before"));
            }
            let known: Vec<_> =
                self.releases().map(|r| format!("`{} = {}`", r.key, r.mark)).collect();
            let message = format!("no version {} of the document exists", node.value);
            return Err(Diagnostic::error(Code::Version, message)
                .about(at(key))
                .at(label)
                .help(format!("known versions: {}", known.join(", "))));
        }
        let place = match inside {
            Some(table) => format!("in the table [{table}]"),
            None => "as the first line".to_owned(),
        };
        let mut label = Label::key(&Origin::whole(source), "");
        label.span = Some(0..0);
        Err(Diagnostic::error(
            Code::Version,
            format!("the version is missing: {}", at(current.key)),
        )
        .about(at(current.key))
        .at(label)
        .help(format!("write {wanted} {place}")))
    }

    /// The releases from `number` on that lead to the newest, each with the one after it.
    pub(crate) fn steps_from(&self, number: u32) -> impl Iterator<Item = (&Release, &Release)> {
        let next = self.releases().skip(1);
        self.releases().zip(next).filter(move |(from, _)| from.number >= number)
    }

    /// Carries the values of one overlay, valid in version `number`, to the newest version.
    pub(crate) fn migrate(&self, table: Table, number: u32, found: &mut Vec<Diagnostic>) -> Table {
        self.steps_from(number)
            .fold(table, |table, (from, to)| migrate_step(&table, from, to, number, found))
    }
}

/// One step, on values.
pub(crate) fn migrate_step(
    table: &Table,
    from: &Release,
    to: &Release,
    written_in: u32,
    found: &mut Vec<Diagnostic>,
) -> Table {
    let mut out = Table::new();
    for (path, node) in value::leaves(table) {
        let migrated =
            node.origin.migrated.clone().unwrap_or_else(|| {
                Arc::new(Migrated { version: written_in, key: path.to_string() })
            });
        let mut applied = from.ops.iter().map(|op| op.apply(&path, &node.value));
        let new = applied.find(|result| !matches!(result, Ok(None)));
        match new {
            Some(Ok(Some(new))) => {
                for (path, new) in new {
                    let Some(mut value) = new else { continue };
                    set_origin(&mut value, &node.origin, &migrated);
                    let origin =
                        Origin { migrated: Some(Arc::clone(&migrated)), ..node.origin.clone() };
                    value::insert(&mut out, &path, Node { value, origin });
                }
            }
            Some(Err(why)) => {
                let message =
                    format!("`{path}` has no counterpart in version {}: {why}", to.number);
                let label = Label::value(&node.origin, "");
                found.push(Diagnostic::error(Code::Migration, message).about(&path).at(label));
            }
            // The ledger's test shows that every key is read; an unknown one was refused before.
            _ => {}
        }
    }
    out
}

fn set_origin(value: &mut Value, origin: &Origin, migrated: &Arc<Migrated>) {
    if let Value::Array(nodes) = value {
        for node in nodes {
            node.origin = Origin { migrated: Some(Arc::clone(migrated)), ..origin.clone() };
        }
    }
}
