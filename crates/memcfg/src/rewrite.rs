//! Migrating the text of a document: keys and values change, comments, order, spacing and line ends stay.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic, settle};
use crate::history::{History, Op, Release, migrate_step};
use crate::layout::{Item, ItemKind, Layout};
use crate::origin::{Source, SourceKind};
use crate::parse::parse;
use crate::path::{KeyPath, Segment, is_bare};
use crate::value::{self, Value, quote};

const BOM: char = '\u{feff}';

/// A text in the newest version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewritten {
    /// The new text.
    pub text: String,
    /// The version it was written in.
    pub from: u32,
    /// The version it is in now.
    pub to: u32,
}

/// Carries the text of a document to the newest version. A text that is there already stays as it is.
///
/// The result is parsed and compared with the migrated values before it is handed out.
///
/// # Errors
/// When the text is no valid document of its own version, a value has no counterpart, or one that was allowed then is not allowed by now.
pub fn migrate_text(history: &History, source: &Arc<Source>) -> Result<Rewritten, Vec<Diagnostic>> {
    let mut table = parse(source)?;
    let start = history.identify(&mut table, None, source).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    crate::check::check(&mut table, &start.schema, &mut problems);
    if problems.iter().any(Diagnostic::is_error) {
        return Err(problems);
    }
    problems.clear();
    let mut text = source.text.clone();
    for (from, to) in history.steps_from(start.number) {
        let mut problems = Vec::new();
        table = migrate_step(&table, from, to, start.number, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        // Most texts keep their shape. Where moved keys would meet inline tables or dotted keys that stay, those are
        // written out as well.
        let attempts =
            [false, true].into_iter().map(|spread| Rewriter::run(&text, from, to, spread));
        let good = attempts.flatten().find(|new| says(new, to, &table));
        text = good.ok_or_else(|| {
            let message = format!("this text cannot be rewritten for version {}", to.number);
            vec![
                Diagnostic::error(Code::Migration, message)
                    .help("write its arrays of tables anew by hand"),
            ]
        })?;
    }
    // What was allowed then need not be allowed now, and then nothing would load the new text.
    crate::check::check(&mut table, &history.current().schema, &mut problems);
    settle(problems)?;
    Ok(Rewritten { text, from: start.number, to: history.current().number })
}

/// Whether a text says exactly these values in this version.
fn says(text: &str, release: &Release, expected: &value::Table) -> bool {
    let source = Arc::new(Source::new(SourceKind::Global, "migrated", text));
    let Ok(mut table) = parse(&source) else { return false };
    let version = table.remove(release.key);
    version.is_some_and(|node| node.value.to_string() == release.mark.to_string())
        && value::leaves(&table) == value::leaves(expected)
}

/// A table of the new text.
struct Section {
    /// The header with what stands above it; empty for the root.
    head: String,
    body: String,
}

struct Rewriter<'a> {
    layout: Layout<'a>,
    from: &'a Release,
    to: &'a Release,
    spread: bool,
    line_end: &'static str,
    sections: Vec<Section>,
    index: BTreeMap<KeyPath, usize>,
    /// A header whose new name is not known yet: its first key decides.
    header: Option<Item>,
    /// Comments of keys that are gone, on their way to the next key.
    carried: String,
}

impl<'a> Rewriter<'a> {
    fn run(text: &'a str, from: &'a Release, to: &'a Release, spread: bool) -> Option<String> {
        let bare = text.strip_prefix(BOM).unwrap_or(text);
        let layout = Layout::of(bare);
        let mut rewriter = Rewriter {
            line_end: layout.line_end(),
            layout,
            from,
            to,
            spread,
            sections: vec![Section { head: String::new(), body: String::new() }],
            index: BTreeMap::from([(KeyPath::root(), 0)]),
            header: None,
            carried: String::new(),
        };
        rewriter.items()?;
        let mut out = String::with_capacity(text.len() + 64);
        if bare.len() != text.len() {
            out.push(BOM);
        }
        for section in &rewriter.sections {
            out.push_str(&section.head);
            out.push_str(&section.body);
        }
        out.push_str(rewriter.layout.slice(&rewriter.layout.tail));
        if !bare.ends_with('\n') {
            let whole = out.strip_suffix(rewriter.line_end).map(str::len);
            out.truncate(whole.unwrap_or(out.len()));
        }
        Some(out)
    }

    fn items(&mut self) -> Option<()> {
        let (mut table, mut inside_array) = (KeyPath::root(), None::<KeyPath>);
        for item in self.layout.items.clone() {
            match &item.kind {
                ItemKind::Header { path, array, .. } => {
                    self.flush_header();
                    let below = inside_array.as_ref().is_some_and(|array| path.starts_with(array));
                    if *array || below {
                        // Tables of an array are one value; they can stay, but not be moved.
                        let key = inside_array.as_ref().filter(|_| below).unwrap_or(path).clone();
                        if self.moves(&key) {
                            return None;
                        }
                        inside_array = Some(key);
                        let head = self.text_of(&item);
                        self.sections.push(Section { head, body: String::new() });
                    } else {
                        inside_array = None;
                        self.header = Some(item.clone());
                    }
                    table = path.clone();
                }
                ItemKind::Assign { .. } if inside_array.is_some() => {
                    let text = self.text_of(&item);
                    if let Some(section) = self.sections.last_mut() {
                        section.body.push_str(&text);
                    }
                }
                ItemKind::Assign { .. } => self.assign(&table, &item)?,
            }
        }
        self.flush_header();
        let carried = std::mem::take(&mut self.carried);
        if let Some(section) = self.sections.last_mut() {
            section.body.push_str(&carried);
        }
        Some(())
    }

    fn assign(&mut self, table: &KeyPath, item: &Item) -> Option<()> {
        let ItemKind::Assign { path, key, value } = &item.kind else { return None };
        let mut full = table.clone();
        full.0.extend(path.0.iter().cloned());
        let node = self.layout.value(value)?;
        let lead = self.layout.slice(&item.lead).to_owned();
        let before = self.layout.slice(&(item.line.start..key.start));
        let between = self.layout.slice(&(key.end..value.start));
        let after = self.layout.slice(&(value.end..item.line.end));
        let (old_key, old_value) = (self.layout.slice(key), self.layout.slice(value));
        let line = |name: &str, new: &str| format!("{before}{name}{between}{new}{after}");
        if full == KeyPath::root().key(self.from.key) {
            let line = line(self.to.key, &self.to.mark.to_string());
            self.put(&KeyPath::root(), &lead, &line);
            return Some(());
        }
        let leaves = match &node.value {
            Value::Table(inner) => value::leaves(inner)
                .into_iter()
                .map(|(below, node)| {
                    let mut path = full.clone();
                    path.0.extend(below.0);
                    (path, node.value.clone())
                })
                .collect(),
            other => vec![(full.clone(), other.clone())],
        };
        let simple = path.0.len() == 1 && !matches!(node.value, Value::Table(_));
        if leaves.iter().all(|(path, _)| !self.moves(path)) && (simple || !self.spread) {
            let text = line(old_key, old_value);
            self.put(table, &lead, &text);
            return Some(());
        }
        let mut lead = Some(lead);
        for (old_path, old) in &leaves {
            let (op, new) = self.apply(old_path, old)?;
            if let Op::Drop { reason, .. } = op {
                let text = match simple {
                    true => line(old_key, old_value),
                    false => format!("{old_path} = {old}"),
                };
                let removed = format!("removed in version {} ({reason}): {text}", self.to.number);
                let mut comment = String::new();
                for line in removed.lines() {
                    comment.push_str(&format!("# {}{}", line.trim(), self.line_end));
                }
                // Not in the old table: the new text may not have it.
                self.carried.push_str(&lead.take().unwrap_or_default());
                self.carried.push_str(&comment);
                continue;
            }
            for (path, new) in new {
                let Some(new) = new else { continue };
                let (parent, Segment::Key(name)) = path.split_last()? else { return None };
                let name = if is_bare(name) { name.clone() } else { quote(name) };
                let text = match (&lead, simple) {
                    // A value that stays keeps its spelling.
                    (Some(_), true) if new == *old => line(&name, old_value),
                    (Some(_), _) => line(&name, &new.to_string()),
                    (None, _) => format!("{name} = {new}{}", self.line_end),
                };
                self.put(&parent, &lead.take().unwrap_or_default(), &text);
            }
        }
        // Nothing was written: its comments stay.
        self.carried.push_str(&lead.unwrap_or_default());
        Some(())
    }

    /// The operation that reads `path`, and what becomes of its value.
    fn apply(&self, path: &KeyPath, old: &Value) -> Option<(&'a Op, crate::history::NewValues)> {
        self.from.ops.iter().find_map(|op| Some((op, op.apply(path, old).ok()??)))
    }

    /// Whether the value at `path` gets another place or another value.
    fn moves(&self, path: &KeyPath) -> bool {
        self.from.ops.iter().any(|op| match (op, op.destination(path)) {
            (_, None) => false,
            (Op::Move { .. }, Some(to)) => to != *path,
            (_, Some(_)) => true,
        })
    }

    /// Appends to the table `to`.
    fn put(&mut self, to: &KeyPath, lead: &str, line: &str) {
        let lead = format!("{}{lead}", std::mem::take(&mut self.carried));
        let mut line = line.to_owned();
        if !line.is_empty() && !line.ends_with('\n') {
            line.push_str(self.line_end);
        }
        let header = self.header.take();
        let section = match self.index.get(to) {
            Some(section) => *section,
            None => {
                let head = match &header {
                    Some(item) => self.renamed(item, to),
                    None => format!("{}[{to}]{}", self.gap(), self.line_end),
                };
                return self.open(to, head, header.is_some(), &lead, &line);
            }
        };
        if let Some(item) = &header {
            // The header merges into a table that is there: what people wrote about it goes along.
            let comments = self.comments_of(item);
            if let Some(section) = self.sections.get_mut(section) {
                section.body.push_str(&comments);
            }
        }
        if let Some(section) = self.sections.get_mut(section) {
            section.body.push_str(&lead);
            section.body.push_str(&line);
        }
    }

    fn open(&mut self, path: &KeyPath, head: String, had_header: bool, lead: &str, line: &str) {
        let mut body = lead.to_owned();
        if !had_header {
            // Below a header of our own a blank line would only look odd.
            body = body.trim_start_matches(['\r', '\n']).to_owned();
        }
        body.push_str(line);
        self.index.insert(path.clone(), self.sections.len());
        self.sections.push(Section { head, body });
    }

    /// A blank line before a new header, unless the text begins with it.
    fn gap(&self) -> &'static str {
        let empty = self.sections.iter().all(|s| s.head.is_empty() && s.body.is_empty());
        if empty { "" } else { self.line_end }
    }

    /// A header with another path.
    fn renamed(&self, item: &Item, path: &KeyPath) -> String {
        let ItemKind::Header { name, .. } = &item.kind else { return String::new() };
        let mut text = format!(
            "{}{}{path}{}",
            self.layout.slice(&item.lead),
            self.layout.slice(&(item.line.start..name.start)),
            self.layout.slice(&(name.end..item.line.end)),
        );
        if !text.ends_with('\n') {
            text.push_str(self.line_end);
        }
        text
    }

    fn comments_of(&self, item: &Item) -> String {
        let mut out = self.layout.slice(&item.lead).to_owned();
        let ItemKind::Header { name, .. } = &item.kind else { return out };
        let after = self.layout.slice(&(name.end..item.line.end));
        if let Some(at) = after.find('#') {
            out.push_str(after.get(at..).unwrap_or_default().trim_end());
            out.push_str(self.line_end);
        }
        out
    }

    fn text_of(&self, item: &Item) -> String {
        let mut text =
            format!("{}{}", self.layout.slice(&item.lead), self.layout.slice(&item.line));
        if !text.ends_with('\n') {
            text.push_str(self.line_end);
        }
        text
    }

    /// A header without keys: renamed as the keys below it would be, or kept.
    fn flush_header(&mut self) {
        let Some(item) = self.header.take() else { return };
        let ItemKind::Header { path, .. } = &item.kind else { return };
        let below = self.from.ops.iter().find_map(|op| {
            let reads = KeyPath::parse(op.reads()?);
            let to = op.writes().first().map(|to| KeyPath::parse(to))?;
            let (parent, _) = reads.split_last()?;
            (parent == *path).then(|| to.split_last().map(|(parent, _)| parent))?
        });
        let path = below.unwrap_or_else(|| path.clone());
        let known = path.0.is_empty() || self.index.contains_key(&path);
        if known {
            let comments = self.comments_of(&item);
            let section = self.index.get(&path).copied().unwrap_or(0);
            if let Some(section) = self.sections.get_mut(section) {
                section.body.push_str(&comments);
            }
        } else {
            let head = self.renamed(&item, &path);
            self.open(&path, head, true, "", "");
        }
    }
}
