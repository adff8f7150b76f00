//! A document: its versions, its built-in overlays, its rules.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::diagnostic::Severity;
use crate::history::History;
use crate::merge::{Explanation, explain};
use crate::origin::{Source, SourceKind};
use crate::overlay::Overlay;
use crate::path::{KeyPath, Segment};
use crate::schema::Schema;
use crate::value::{self, Table};

/// What a document is decoded into: any plain type with serde and garde derives and a default.
pub trait Document:
    DeserializeOwned
    + Serialize
    + Default
    + PartialEq
    + garde::Validate<Context = ()>
    + Send
    + Sync
    + 'static
{
}

impl<T> Document for T where
    T: DeserializeOwned
        + Serialize
        + Default
        + PartialEq
        + garde::Validate<Context = ()>
        + Send
        + Sync
        + 'static
{
}

/// A rule over several keys: what is wrong with the values together.
pub struct Rule<T> {
    check: Arc<Check<T>>,
}

type Check<T> = dyn Fn(&T, &Origins<'_>) -> Vec<Violation> + Send + Sync;

/// Where the values that a [`Rule`] looks at came from.
#[derive(Debug)]
pub struct Origins<'a> {
    overlays: &'a [Overlay],
    inside: KeyPath,
}

impl<'a> Origins<'a> {
    pub(crate) fn new(overlays: &'a [Overlay]) -> Self {
        Self { overlays, inside: KeyPath::root() }
    }

    /// Where the value of `key` comes from, and what it hides.
    #[must_use]
    pub fn explain(&self, key: &str) -> Option<Explanation> {
        let mut path = self.inside.clone();
        path.0.extend(KeyPath::parse(key).0);
        explain(self.overlays, &path)
    }
}

impl<T> Clone for Rule<T> {
    fn clone(&self) -> Self {
        Self { check: Arc::clone(&self.check) }
    }
}

impl<T> fmt::Debug for Rule<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rule")
    }
}

impl<T: 'static> Rule<T> {
    /// A rule that `check` holds values to. It must be pure.
    #[must_use]
    pub fn new(check: impl Fn(&T) -> Vec<Violation> + Send + Sync + 'static) -> Self {
        Self { check: Arc::new(move |value, _| check(value)) }
    }

    /// A rule that also looks at where the values came from.
    #[must_use]
    pub fn with_origins(
        check: impl Fn(&T, &Origins<'_>) -> Vec<Violation> + Send + Sync + 'static,
    ) -> Self {
        Self { check: Arc::new(check) }
    }

    pub(crate) fn check(&self, value: &T, origins: &Origins<'_>) -> Vec<Violation> {
        (self.check)(value, origins)
    }

    /// The same rule for a document that has `T` below the table `name`.
    fn nest<U: 'static>(&self, name: &'static str, part: fn(&U) -> &T) -> Rule<U> {
        let check = Arc::clone(&self.check);
        Rule::with_origins(move |outer: &U, origins| {
            let inside = origins.inside.key(name);
            let origins = Origins { overlays: origins.overlays, inside };
            let mut violations = check(part(outer), &origins);
            for violation in &mut violations {
                for key in &mut violation.keys {
                    key.0.insert(0, Segment::Key(name.to_owned()));
                }
            }
            violations
        })
    }
}

/// What a [`Rule`] found.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Whether the document is refused for it.
    pub severity: Severity,
    /// What is wrong, naming the keys and their values.
    pub message: String,
    /// The keys it is about: the origin of each is shown.
    pub keys: Vec<KeyPath>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Violation {
    /// An error about these keys.
    #[must_use]
    pub fn error(message: impl Into<String>, keys: &[&str]) -> Self {
        let keys = keys.iter().map(|key| KeyPath::parse(key)).collect();
        Self { severity: Severity::Error, message: message.into(), keys, help: None }
    }

    /// A warning about these keys.
    #[must_use]
    pub fn warning(message: impl Into<String>, keys: &[&str]) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message, keys) }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A built-in overlay that the value of a key selects; it lies between the defaults and the files.
#[derive(Clone, Debug)]
pub struct Preset {
    /// The key that selects it.
    pub key: KeyPath,
    /// The value that selects it.
    pub value: &'static str,
    /// What it sets.
    pub overlay: toml::Table,
}

/// Everything the engine has to know of a document that is decoded into `T`.
#[derive(Clone, Debug)]
pub struct Spec<T> {
    /// Its versions.
    pub history: History,
    /// Its rules over several keys.
    pub rules: Vec<Rule<T>>,
    /// Its built-in overlays.
    pub presets: Vec<Preset>,
    /// What its environment variables begin with, without the underscore; `None` for none.
    pub env_prefix: Option<String>,
    /// Variables with that prefix that belong to the program and set no key.
    pub env_ignored: Vec<String>,
    /// Documents inside this one, each with versions of its own.
    pub nested: Vec<(&'static str, History)>,
    schema: Arc<Schema>,
    defaults: OnceLock<Arc<Table>>,
}

impl<T: Document> Spec<T> {
    /// A document with these versions, and no rules yet.
    #[must_use]
    pub fn new(history: History) -> Self {
        let schema = Arc::new(history.current().schema.clone());
        Self {
            history,
            rules: Vec::new(),
            presets: Vec::new(),
            env_prefix: None,
            env_ignored: Vec::new(),
            nested: Vec::new(),
            schema,
            defaults: OnceLock::new(),
        }
    }

    /// The same document, with variables that begin with `prefix` and an underscore.
    #[must_use]
    pub fn env_prefix(mut self, prefix: &str) -> Self {
        self.env_prefix = Some(prefix.to_owned());
        self
    }

    /// The same document with these rules over several keys.
    #[must_use]
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule<T>>) -> Self {
        self.rules.extend(rules);
        self
    }

    /// The same document with these built-in overlays.
    #[must_use]
    pub fn presets(mut self, presets: impl IntoIterator<Item = Preset>) -> Self {
        self.presets.extend(presets);
        self
    }

    /// The same document with `inner` below the table `name`: its keys, rules, built-in overlays and versions.
    ///
    /// The inner document keeps a version key of its own, so that either can move on without the other. Its rules see
    /// what `part` finds in the outer value.
    #[must_use]
    pub fn nest<U: Document>(
        mut self,
        name: &'static str,
        inner: &Spec<U>,
        part: fn(&T) -> &U,
    ) -> Self {
        self.schema = Arc::new(Schema::clone(&self.schema).nest(name, &inner.schema));
        self.rules.extend(inner.rules.iter().map(|rule| rule.nest(name, part)));
        self.presets.extend(inner.presets.iter().map(|preset| {
            let mut key = preset.key.clone();
            key.0.insert(0, Segment::Key(name.to_owned()));
            let mut overlay = toml::Table::new();
            overlay.insert(name.to_owned(), toml::Value::Table(preset.overlay.clone()));
            Preset { key, value: preset.value, overlay }
        }));
        self.nested.push((name, inner.history.clone()));
        self
    }

    /// The schemas of every version, with the table that each is nested in.
    pub(crate) fn all_schemas(&self) -> impl Iterator<Item = (Option<&'static str>, &Schema)> {
        let own = self.history.releases().map(|release| (None, &release.schema));
        let nested = self.nested.iter().flat_map(|(name, history)| {
            history.releases().map(|release| (Some(*name), &release.schema))
        });
        own.chain(nested).chain([(None, &*self.schema)])
    }

    /// The keys of the newest version, with those of nested documents.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The values of `T::default()`, worked out once.
    pub(crate) fn defaults(&self) -> Result<Arc<Table>, toml::ser::Error> {
        if let Some(defaults) = self.defaults.get() {
            return Ok(Arc::clone(defaults));
        }
        let source = Arc::new(Source::new(SourceKind::Default, "defaults", ""));
        let table = value::table_from_toml(toml::Table::try_from(T::default())?, &source);
        Ok(Arc::clone(self.defaults.get_or_init(|| Arc::new(table))))
    }
}
