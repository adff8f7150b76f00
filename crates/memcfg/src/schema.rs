//! Which keys a document has, and what each may hold.

use std::collections::BTreeMap;
use std::fmt;

use crate::path::{KeyPath, Segment};
use crate::suggest::closest;

/// The step of a key that stands for any name: `budget.components.*`.
pub const ANY: &str = "*";

/// Everything there is to know about the keys of one version of a document.
///
/// It is what makes good messages possible: unknown keys with a suggestion, variables read by the type of their key,
/// a reference and a JSON Schema. The types that a document is decoded into stay the authority on what is valid; a
/// test of each document shows that the two agree.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    keys: Vec<Key>,
    tables: BTreeMap<KeyPath, String>,
    root: Shape,
}

/// One key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its path; a step of [`ANY`] stands for any name.
    pub path: KeyPath,
    /// What it may hold.
    pub kind: Kind,
    /// What it does, in one or two sentences.
    pub about: String,
    /// Who may set it.
    pub scope: Scope,
    /// What a running program does when it changes.
    pub effect: Effect,
    /// In which direction a number becomes stricter, where it has one.
    pub stricter: Option<Stricter>,
    /// Never shown: not in messages, not in diffs, not in `explain`.
    pub secret: bool,
}

/// Who may set a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// Every overlay.
    #[default]
    Any,
    /// Every overlay except a project's file, which comes with a repository that somebody cloned.
    Global,
}

/// What a running program does when a key changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effect {
    /// It takes the new value at once.
    #[default]
    Hot,
    /// It goes on with the old one until it is restarted.
    Restart,
}

/// The direction in which a number becomes stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stricter {
    /// A lower value is stricter, as for thresholds.
    Lower,
    /// A higher value is stricter.
    Higher,
}

/// Text with a form and a size of its own, such as `512MiB` or `30s`.
pub struct Form {
    /// What it is called: `size`.
    pub name: &'static str,
    /// A correct one, for messages.
    pub example: &'static str,
    /// A regular expression that every accepted text matches, for editors.
    pub pattern: &'static str,
    /// Whether a whole number stands for it as well.
    pub integers: bool,
    /// The number that a range is about; `None` for a text that has no such number, such as a share of another value.
    pub measure: fn(&str) -> Result<Option<f64>, String>,
    /// A number of that kind as text.
    pub show: fn(f64) -> String,
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a key may hold. Ranges are inclusive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer {
        /// The lowest allowed.
        min: i64,
        /// The highest allowed.
        max: i64,
    },
    /// A number.
    Float {
        /// The lowest allowed.
        min: f64,
        /// The highest allowed.
        max: f64,
    },
    /// One of these words.
    Choice(Vec<&'static str>),
    /// Any text.
    Text,
    /// The path of a file: `~/` is one's own home, a relative path starts at the file that sets it.
    File,
    /// Text with a form of its own.
    Form {
        /// Which one.
        form: &'static Form,
        /// The lowest allowed, in the unit of [`Form::measure`].
        min: f64,
        /// The highest allowed.
        max: f64,
    },
    /// An array.
    List(Box<Kind>),
}

impl Kind {
    /// What is allowed, as messages and the reference say it.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Kind::Boolean => "true or false".to_owned(),
            Kind::Integer { min, max } if *max == i64::MAX => format!("a whole number from {min}"),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Float { min, max } => format!("a number from {min} to {max}"),
            Kind::Choice(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                match quoted.split_last() {
                    Some((last, [])) => last.clone(),
                    Some((last, others)) => format!("{} or {last}", others.join(", ")),
                    None => "nothing".to_owned(),
                }
            }
            Kind::Text => "text".to_owned(),
            Kind::File => "the path of a file".to_owned(),
            Kind::Form { form, min, max } if max.is_finite() => {
                format!("a {} from {} to {}", form.name, (form.show)(*min), (form.show)(*max))
            }
            Kind::Form { form, min, .. } if *min > 0.0 => {
                format!("a {} from {}", form.name, (form.show)(*min))
            }
            Kind::Form { form, .. } => format!("a {} such as \"{}\"", form.name, form.example),
            Kind::List(of) => format!("an array, each element {}", of.allowed()),
        }
    }
}

impl Key {
    /// A key at `path` (dotted, [`ANY`] for any name) that holds `kind` and does what `about` says.
    #[must_use]
    pub fn new(path: &str, kind: Kind, about: &str) -> Self {
        Self {
            path: KeyPath::parse(path),
            kind,
            about: about.to_owned(),
            scope: Scope::Any,
            effect: Effect::Hot,
            stricter: None,
            secret: false,
        }
    }

    /// The same key, of global scope.
    #[must_use]
    pub fn global(mut self) -> Self {
        self.scope = Scope::Global;
        self
    }

    /// The same key, which takes effect at the next start.
    #[must_use]
    pub fn restart(mut self) -> Self {
        self.effect = Effect::Restart;
        self
    }

    /// The same key, stricter in this direction.
    #[must_use]
    pub fn stricter(mut self, direction: Stricter) -> Self {
        self.stricter = Some(direction);
        self
    }

    /// The same key, never shown.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// The keys as a tree, for looking them up.
#[derive(Clone, Debug, Default)]
struct Shape {
    children: BTreeMap<String, Shape>,
    key: Option<usize>,
}

/// What a path means in a schema.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    /// A value of this key.
    Key(&'a Key),
    /// A table.
    Table,
    /// Nothing.
    Unknown,
}

impl Schema {
    /// A schema without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same schema with these keys.
    #[must_use]
    pub fn with(mut self, keys: impl IntoIterator<Item = Key>) -> Self {
        for key in keys {
            let mut shape = &mut self.root;
            for name in key.path.keys() {
                shape = shape.children.entry(name.to_owned()).or_default();
            }
            shape.key = Some(self.keys.len());
            self.keys.push(key);
        }
        self
    }

    /// The same schema with a description of a table.
    #[must_use]
    pub fn table(mut self, path: &str, about: &str) -> Self {
        let path = KeyPath::parse(path);
        let mut shape = &mut self.root;
        for name in path.keys() {
            shape = shape.children.entry(name.to_owned()).or_default();
        }
        self.tables.insert(path, about.to_owned());
        self
    }

    /// The same schema with all of `other` below the table `name`: a document inside a document.
    #[must_use]
    pub fn nest(mut self, name: &str, other: &Schema) -> Self {
        for (path, about) in &other.tables {
            self = self.table(&format!("{name}.{path}"), about);
        }
        let keys = other.keys.iter().cloned().map(|mut key| {
            key.path.0.insert(0, Segment::Key(name.to_owned()));
            key
        });
        self.with(keys)
    }

    /// The keys, in the order they were given.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The described tables.
    pub fn tables(&self) -> impl Iterator<Item = (&KeyPath, &str)> {
        self.tables.iter().map(|(path, about)| (path, about.as_str()))
    }

    /// What `path` means. Elements of an array belong to the key of the array.
    #[must_use]
    pub fn lookup(&self, path: &KeyPath) -> Lookup<'_> {
        match self.shape(path.keys()) {
            None => Lookup::Unknown,
            Some(shape) => match shape.key.and_then(|index| self.keys.get(index)) {
                Some(key) => Lookup::Key(key),
                None => Lookup::Table,
            },
        }
    }

    /// The key at `path`, if it is one.
    #[must_use]
    pub fn key(&self, path: &KeyPath) -> Option<&Key> {
        match self.lookup(path) {
            Lookup::Key(key) => Some(key),
            Lookup::Table | Lookup::Unknown => None,
        }
    }

    /// The paths of the keys in the table at `path`; none when it is a key itself, or nothing.
    pub(crate) fn below(&self, path: &KeyPath) -> Vec<String> {
        let inside =
            |key: &&Key| key.path.0.len() > path.0.len() && key.path.0.starts_with(&path.0);
        self.keys.iter().filter(inside).map(|key| key.path.to_string()).collect()
    }

    /// Whether a value at `path`, or one it lies in, may never be shown.
    #[must_use]
    pub fn is_secret(&self, path: &KeyPath) -> bool {
        let mut shape = &self.root;
        for name in path.keys() {
            let Some(child) = shape.child(name) else { return false };
            if child.key.and_then(|index| self.keys.get(index)).is_some_and(|key| key.secret) {
                return true;
            }
            shape = child;
        }
        false
    }

    /// The last steps of the paths of secret keys.
    pub(crate) fn secret_names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter(|key| key.secret).filter_map(|key| key.path.keys().last())
    }

    /// The path that somebody most likely meant by an unknown one.
    ///
    /// First a key of the same table that is spelled nearly so; then one of the same name in another table; then one
    /// spelled nearly so in another table.
    #[must_use]
    pub fn suggest(&self, path: &KeyPath) -> Option<KeyPath> {
        let (mut known, mut shape, mut rest) = (KeyPath::root(), &self.root, path.keys());
        let wrong = loop {
            let name = rest.next()?;
            match shape.child(name) {
                Some(child) => (known, shape) = (known.key(name), child),
                None => break name,
            }
        };
        let siblings = shape.children.keys().map(String::as_str).filter(|name| *name != ANY);
        if let Some(name) = closest(wrong, siblings) {
            let mut meant = known.key(name);
            // The rest of the path is kept where it makes sense under the corrected step.
            for step in rest {
                let next = meant.key(step);
                if matches!(self.lookup(&next), Lookup::Unknown) {
                    break;
                }
                meant = next;
            }
            return Some(meant);
        }
        let wrong = path.keys().last()?;
        let elsewhere = |exact: bool| {
            let named = self.keys.iter().filter_map(|key| Some((key.path.keys().last()?, key)));
            if exact {
                let mut same = named.filter(|(name, _)| *name == wrong);
                match (same.next(), same.next()) {
                    (Some((_, key)), None) => Some(key.path.clone()),
                    _ => None,
                }
            } else {
                let names: Vec<_> = named.collect();
                let name = closest(wrong, names.iter().map(|(name, _)| *name))?;
                let mut same = names.iter().filter(|(other, _)| *other == name);
                match (same.next(), same.next()) {
                    (Some((_, key)), None) => Some(key.path.clone()),
                    _ => None,
                }
            }
        };
        elsewhere(true).or_else(|| elsewhere(false))
    }

    fn shape<'p>(&self, keys: impl Iterator<Item = &'p str>) -> Option<&Shape> {
        let mut shape = &self.root;
        for name in keys {
            shape = shape.child(name)?;
        }
        Some(shape)
    }
}

impl Shape {
    fn child(&self, name: &str) -> Option<&Shape> {
        self.children.get(name).or_else(|| self.children.get(ANY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::new().with([
            Key::new("budget.total", Kind::Text, ""),
            Key::new("budget.warning", Kind::Boolean, ""),
            Key::new("budget.components.*", Kind::Text, ""),
            Key::new("leak.window", Kind::Text, ""),
        ])
    }

    #[test]
    fn paths_are_keys_tables_or_nothing() {
        let schema = schema();
        assert!(schema.key(&"budget.total".into()).is_some());
        assert!(schema.key(&"budget.components.anything".into()).is_some());
        assert!(matches!(schema.lookup(&"budget".into()), Lookup::Table));
        assert!(matches!(schema.lookup(&"budget.totl".into()), Lookup::Unknown));
    }

    #[test]
    fn a_suggestion_corrects_the_step_that_is_wrong() {
        let suggest = |path: &str| schema().suggest(&path.into()).map(|path| path.to_string());
        assert_eq!(suggest("budget.totl").as_deref(), Some("budget.total"));
        assert_eq!(suggest("bugdet.total").as_deref(), Some("budget.total"));
        assert_eq!(suggest("window").as_deref(), Some("leak.window"), "right name, wrong table");
        assert_eq!(suggest("budget.widnow").as_deref(), Some("leak.window"));
        assert_eq!(suggest("quite.different"), None);
    }

    #[test]
    fn a_nested_schema_keeps_its_keys() {
        let outer = Schema::new().nest("memory", &schema());
        assert!(outer.key(&"memory.budget.components.x".into()).is_some());
        assert!(outer.key(&"budget.total".into()).is_none());
    }
}
