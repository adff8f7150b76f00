//! From texts to the typed document: the whole flow, without touching a disk or a clock.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::check::check;
use crate::decode::decode;
use crate::diagnostic::{Code, Diagnostic, Label, settle};
use crate::history::History;
use crate::merge::{Explanation, explain, merge_into};
use crate::origin::{Origin, Source, SourceKind};
use crate::overlay::{Overlay, Override};
use crate::parse::{parse_whole, text_of};
use crate::path::{KeyPath, Segment};
use crate::schema::Schema;
use crate::spec::{Document, Spec};
use crate::value::{self, Node, Table, Value};

/// The content of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Whether it is the machine's and the user's, or a project's.
    pub kind: SourceKind,
    /// Its path.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

impl Text {
    /// The content of the file at `path`.
    #[must_use]
    pub fn new(kind: SourceKind, path: impl Into<PathBuf>, bytes: impl AsRef<[u8]>) -> Self {
        Self { kind, path: path.into(), bytes: bytes.as_ref().into() }
    }
}

/// Everything a document is made of, beside its defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// The files, the weakest first.
    pub texts: Vec<Text>,
    /// The environment: all of it, or the part that matters.
    pub env: Vec<(String, String)>,
    /// What the command line sets; it wins over everything else.
    pub flags: Vec<Override>,
    /// Where relative paths in the environment and the flags start.
    pub cwd: Option<PathBuf>,
}

impl PartialEq for Override {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.text == other.text && self.name == other.name
    }
}

/// A document that was accepted, and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The document.
    pub value: T,
    /// What is odd about it.
    pub warnings: Vec<Diagnostic>,
    /// The overlays, the weakest first.
    pub overlays: Arc<[Overlay]>,
    /// All values with their origins.
    pub merged: Table,
    schema: Arc<Schema>,
}

impl<T> Loaded<T> {
    /// Where the value of `key` comes from and what it hides; nothing for a key that nobody sets.
    #[must_use]
    pub fn explain(&self, key: &str) -> Option<Explanation> {
        let path = KeyPath::parse(key);
        let mut found = explain(&self.overlays, &path)?;
        if self.schema.is_secret(&path) {
            found.effective.value = Value::String("(secret)".to_owned());
            for setting in &mut found.shadowed {
                setting.value = Value::String("(secret)".to_owned());
            }
        }
        Some(found)
    }

    /// The keys that have a value, in their order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        value::leaves(&self.merged).into_iter().map(|(path, _)| path.to_string()).collect()
    }

    /// The schema it was loaded with.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

/// Makes the document out of its inputs.
///
/// # Errors
/// Everything that is wrong, at most [`crate::MAX_DIAGNOSTICS`], each pointing at its source. Warnings come along.
pub fn assemble<T: Document>(
    spec: &Spec<T>,
    inputs: &Inputs,
) -> Result<Loaded<T>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut overlays = vec![defaults(spec)?];
    let mut readable = true;
    for text in &inputs.texts {
        match file(spec, text, &mut found) {
            Some(overlay) => overlays.push(overlay),
            None => readable = false,
        }
    }
    let (schema, cwd) = (spec.schema(), inputs.cwd.as_deref());
    if let Some(prefix) = &spec.env_prefix {
        let ignored = &spec.env_ignored;
        let env = Overlay::from_env(prefix, ignored, &inputs.env, cwd, schema, &mut found);
        overlays.push(env);
    }
    overlays.push(Overlay::from_flags(&inputs.flags, cwd, schema, &mut found));
    finish(spec, overlays, readable, found)
}

/// Makes the document of a project: `base` with the project's own file in the place of any other project's.
///
/// The overlays of `base` are taken as they are, without reading anything again.
///
/// # Errors
/// As [`assemble`], of the project's file and of what it leads to.
pub fn assemble_over<T: Document>(
    spec: &Spec<T>,
    base: &Loaded<T>,
    text: Option<&Text>,
) -> Result<Loaded<T>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let project = text.map(|text| file(spec, text, &mut found));
    let readable = project.as_ref().is_none_or(Option::is_some);
    let kept = base.overlays.iter();
    let mut overlays: Vec<_> = kept
        .filter(|overlay| !matches!(overlay.kind, SourceKind::Project | SourceKind::Preset))
        .cloned()
        .collect();
    let at = overlays.partition_point(|overlay| overlay.kind < SourceKind::Project);
    if let Some(project) = project.flatten() {
        overlays.insert(at, project);
    }
    finish(spec, overlays, readable, found)
}

/// From the overlays to the document.
fn finish<T: Document>(
    spec: &Spec<T>,
    mut overlays: Vec<Overlay>,
    readable: bool,
    mut found: Vec<Diagnostic>,
) -> Result<Loaded<T>, Vec<Diagnostic>> {
    let schema = spec.schema();
    let faulty = take_out_faulty(&mut overlays, &found);
    let mut merged = merge_all(&overlays);
    for preset in preset_overlays(spec, &merged).into_iter().rev() {
        overlays.insert(1, preset);
    }
    if overlays.iter().any(|overlay| overlay.kind == SourceKind::Preset) {
        merged = merge_all(&overlays);
    }
    // Without one of its files the document is another one, and what can be said of it would mislead.
    let value = match readable {
        true => decode(&merged, &overlays, schema, &spec.rules, &faulty, &mut found),
        false => None,
    };
    let warnings = settle(found)?;
    match value {
        Some(value) => Ok(Loaded {
            value,
            warnings,
            overlays: overlays.into(),
            merged,
            schema: Arc::clone(schema),
        }),
        None => Err(vec![Diagnostic::error(Code::Invalid, "the document could not be decoded")]),
    }
}

fn merge_all(overlays: &[Overlay]) -> Table {
    let mut merged = Table::new();
    for overlay in overlays {
        merge_into(&mut merged, &overlay.values);
    }
    merged
}

fn defaults<T: Document>(spec: &Spec<T>) -> Result<Overlay, Vec<Diagnostic>> {
    let values = spec.defaults().map_err(|error| {
        let message = format!("the defaults are no document: {error}");
        vec![Diagnostic::error(Code::Invalid, message)]
    })?;
    Ok(Overlay { kind: SourceKind::Default, values, version: None })
}

fn preset_overlays<T: Document>(spec: &Spec<T>, merged: &Table) -> Vec<Overlay> {
    let chosen = spec.presets.iter().filter(|preset| {
        let value = value::get(merged, &preset.key).map(|node| &node.value);
        matches!(value, Some(Value::String(text)) if text == preset.value)
    });
    chosen
        .map(|preset| {
            let name = format!("{} = \"{}\"", preset.key, preset.value);
            let source = Arc::new(Source::new(SourceKind::Preset, name, ""));
            let values = value::table_from_toml(preset.overlay.clone(), &source);
            Overlay { kind: SourceKind::Preset, values: Arc::new(values), version: None }
        })
        .collect()
}

/// One file: text, version, check in its own version, migration, check in the newest.
fn file<T: Document>(spec: &Spec<T>, text: &Text, found: &mut Vec<Diagnostic>) -> Option<Overlay> {
    let name = text.path.display().to_string();
    let content = match text_of(text.kind, &name, text.bytes.to_vec()) {
        Ok(content) => content,
        Err(problems) => {
            found.extend(problems);
            return None;
        }
    };
    let source = Source::new(text.kind, name, content).with_base(text.path.parent());
    let source = Arc::new(source);
    let mut table = match parse_whole(&source) {
        Ok((table, problems)) => {
            found.extend(mask_lines(problems, spec, &source));
            table
        }
        Err(problems) => {
            found.extend(mask_lines(problems, spec, &source));
            return None;
        }
    };
    mask_secrets(&mut table, spec, &source);
    // Nested documents have versions of their own and take no part in the outer one's.
    let mut nested = Vec::new();
    for (name, history) in &spec.nested {
        if let Some(node) = table.remove(*name) {
            nested.push((*name, history, node));
        }
    }
    let (mut values, version) = versioned(&spec.history, table, None, &source, found)?;
    for (name, history, node) in nested {
        let Node { value: Value::Table(inner), origin } = node else {
            values.insert(name.to_owned(), node);
            continue;
        };
        let (inner, _) = versioned(history, inner, Some(name), &source, found)?;
        values.insert(name.to_owned(), Node { value: Value::Table(inner), origin });
    }
    if !source.text.is_empty() && !source.text.ends_with('\n') {
        let mut label = Label::key(&Origin::whole(&source), "");
        label.span = Some(source.text.len()..source.text.len());
        found.push(
            Diagnostic::warning(Code::Unfinished, "the last line has no line feed")
                .at(label)
                .help("the file may have been cut short: check its end and add one"),
        );
    }
    check(&mut values, spec.schema(), found);
    Some(Overlay { kind: text.kind, values: Arc::new(values), version: Some(version) })
}

/// The values of a document in the newest version, whatever version they were written in.
fn versioned(
    history: &History,
    mut table: Table,
    inside: Option<&str>,
    source: &Arc<Source>,
    found: &mut Vec<Diagnostic>,
) -> Option<(Table, u32)> {
    let release = match history.identify(&mut table, inside, source) {
        Ok(release) => release,
        Err(problem) => {
            found.push(problem);
            return None;
        }
    };
    let number = release.number;
    if number != history.current().number {
        let mut problems = Vec::new();
        check(&mut table, &release.schema, &mut problems);
        let bad = problems.iter().filter(|problem| problem.is_error());
        for path in bad.filter_map(|problem| problem.key.as_deref()).map(KeyPath::parse) {
            value::remove(&mut table, &path);
        }
        found.extend(problems);
        table = history.migrate(table, number, found);
    }
    Some((table, number))
}

/// Puts a masked text behind every origin when the document holds a secret: lines are shown in messages.
fn mask_secrets<T: Document>(table: &mut Table, spec: &Spec<T>, source: &Arc<Source>) {
    if !spec.all_schemas().any(|(_, schema)| schema.secret_names().next().is_some()) {
        return;
    }
    let is_secret = |path: &KeyPath| {
        spec.all_schemas().any(|(inside, schema)| match (inside, path.0.split_first()) {
            (None, _) => schema.is_secret(path),
            (Some(table), Some((Segment::Key(first), rest))) if first == table => {
                schema.is_secret(&KeyPath(rest.to_vec()))
            }
            (Some(_), _) => false,
        })
    };
    let leaves = value::leaves(table).into_iter();
    let secrets: Vec<_> = leaves
        .filter(|(path, _)| is_secret(path))
        .filter_map(|(_, node)| node.origin.value.clone())
        .collect();
    if secrets.is_empty() {
        return;
    }
    let masked = masked(source, &secrets);
    for node in table.values_mut() {
        set_source(node, &masked);
    }
}

/// A text that could not be parsed may hold secrets as well: every line that seems to set one is masked.
fn mask_lines<T: Document>(
    mut problems: Vec<Diagnostic>,
    spec: &Spec<T>,
    source: &Arc<Source>,
) -> Vec<Diagnostic> {
    let names: BTreeSet<&str> =
        spec.all_schemas().flat_map(|(_, schema)| schema.secret_names()).collect();
    if names.is_empty() {
        return problems;
    }
    let (mut spans, mut at) = (Vec::new(), 0);
    for line in source.text.split_inclusive('\n') {
        if names.iter().any(|name| line.contains(name)) {
            spans.push(at..at + line.len());
        }
        at += line.len();
    }
    let masked = masked(source, &spans);
    for problem in &mut problems {
        // It may quote the value.
        problem.help = None;
        for label in &mut problem.labels {
            label.origin.source = Arc::clone(&masked);
        }
    }
    problems
}

/// The source with these bytes masked; lines and columns stay.
fn masked(source: &Source, spans: &[Range<usize>]) -> Arc<Source> {
    let mut text = source.text.clone();
    for span in spans {
        let Some(secret) = text.get(span.clone()) else { continue };
        let mask: String = secret
            .chars()
            .flat_map(|c| match c {
                '\n' => std::iter::repeat_n('\n', 1),
                c => std::iter::repeat_n('*', c.len_utf8()),
            })
            .collect();
        text.replace_range(span.clone(), &mask);
    }
    let (kind, name, base) = (source.kind, source.name.clone(), source.base.clone());
    Arc::new(Source { kind, name, text, base })
}

fn set_source(node: &mut Node, source: &Arc<Source>) {
    node.origin.source = Arc::clone(source);
    match &mut node.value {
        Value::Array(nodes) => nodes.iter_mut().for_each(|node| set_source(node, source)),
        Value::Table(table) => table.values_mut().for_each(|node| set_source(node, source)),
        _ => {}
    }
}

/// Removes the values that have been reported, so that the rest can still be looked at.
fn take_out_faulty(overlays: &mut [Overlay], found: &[Diagnostic]) -> BTreeSet<KeyPath> {
    let mut faulty = BTreeSet::new();
    for problem in found.iter().filter(|problem| problem.is_error()) {
        let Some(key) = &problem.key else { continue };
        let mut path = KeyPath::parse(key);
        // A faulty element spoils its array.
        while matches!(path.0.last(), Some(Segment::Index(_))) {
            path.0.pop();
        }
        for overlay in overlays.iter_mut().skip(1) {
            if value::get(&overlay.values, &path).is_some() {
                value::remove(Arc::make_mut(&mut overlay.values), &path);
            }
        }
        faulty.insert(path);
    }
    faulty
}
