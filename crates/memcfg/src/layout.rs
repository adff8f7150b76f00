//! How the text of a document is laid out: which bytes are a header, a key, a value, a comment.
//!
//! Edits and migrations move these pieces about and leave every other byte alone. A document tree that is written out
//! again does not: line ends, a byte order mark, the order of keys and some comments are lost on the way.

use std::ops::Range;
use std::sync::Arc;

use toml_parser::parser::{Event, EventKind, parse_document};

use crate::origin::{Source, SourceKind};
use crate::parse::parse_value;
use crate::path::KeyPath;
use crate::value::{Node, Value};

/// One header or one assignment, with what stands above it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Blank lines and comments above it.
    pub(crate) lead: Range<usize>,
    /// From the start of its line to the end of its last one, with the line feed if there is one.
    pub(crate) line: Range<usize>,
    pub(crate) kind: ItemKind,
}

#[derive(Clone, Debug)]
pub(crate) enum ItemKind {
    /// `[path]`, or `[[path]]` with `array`.
    Header {
        path: KeyPath,
        /// The path between the brackets.
        name: Range<usize>,
        array: bool,
    },
    /// `key = value`; the path is relative to the header above.
    Assign { path: KeyPath, key: Range<usize>, value: Range<usize> },
}

/// A text in pieces. The text has no byte order mark.
#[derive(Clone, Debug)]
pub(crate) struct Layout<'a> {
    pub(crate) text: &'a str,
    pub(crate) items: Vec<Item>,
    /// What stands below the last item.
    pub(crate) tail: Range<usize>,
}

impl<'a> Layout<'a> {
    /// Lays out a text that has been parsed without an error.
    pub(crate) fn of(text: &'a str) -> Self {
        let source = toml_parser::Source::new(text);
        let tokens = source.lex().into_vec();
        let mut builder = Builder { text, items: Vec::new(), depth: 0, start: 0, pending: None };
        parse_document(&tokens, &mut |event: Event| builder.event(&event), &mut ());
        builder.end_of_line(text.len());
        let tail = builder.start..text.len();
        Layout { text, items: builder.items, tail }
    }

    /// What ends a line in this text.
    pub(crate) fn line_end(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if at > 0 && self.text.as_bytes().get(at - 1) == Some(&b'\r') => "\r\n",
            _ => "\n",
        }
    }

    pub(crate) fn slice(&self, range: &Range<usize>) -> &'a str {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// The value of an assignment.
    pub(crate) fn value(&self, range: &Range<usize>) -> Option<Node> {
        let text = self.slice(range).to_owned();
        let source = Source::new(SourceKind::Global, "value", text);
        parse_value(&Arc::new(source)).ok()
    }
}

struct Builder<'a> {
    text: &'a str,
    items: Vec<Item>,
    /// Brackets that are open around the present token, within a value.
    depth: usize,
    /// The first byte that belongs to no item yet.
    start: usize,
    pending: Option<Pending>,
}

struct Pending {
    line: usize,
    header: Option<bool>,
    path: KeyPath,
    key: Range<usize>,
    value: Option<Range<usize>>,
    /// Whether the equals sign has been seen.
    assigned: bool,
}

impl Builder<'_> {
    fn event(&mut self, event: &Event) {
        let span = event.span().start()..event.span().end();
        match event.kind() {
            EventKind::StdTableOpen if self.depth == 0 => self.begin(&span, Some(false)),
            EventKind::ArrayTableOpen if self.depth == 0 => self.begin(&span, Some(true)),
            EventKind::SimpleKey if self.depth == 0 => {
                if self.pending.is_none() {
                    self.begin(&span, None);
                }
                let name = key_name(self.text.get(span.clone()).unwrap_or_default());
                if let Some(pending) = &mut self.pending {
                    if pending.path.0.is_empty() {
                        pending.key = span.clone();
                    }
                    pending.path = pending.path.key(&name);
                    pending.key.end = span.end;
                }
            }
            EventKind::KeyValSep if self.depth == 0 => {
                if let Some(pending) = &mut self.pending {
                    pending.assigned = true;
                }
            }
            EventKind::ArrayOpen | EventKind::InlineTableOpen => {
                self.value(&span);
                self.depth += 1;
            }
            EventKind::ArrayClose | EventKind::InlineTableClose => {
                self.depth = self.depth.saturating_sub(1);
                self.value(&span);
            }
            EventKind::Scalar => self.value(&span),
            EventKind::Newline if self.depth == 0 => self.end_of_line(span.end),
            _ => {}
        }
    }

    fn begin(&mut self, span: &Range<usize>, header: Option<bool>) {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.rfind('\n').map_or(0, |at| at + 1).max(self.start);
        let (path, key) = (KeyPath::root(), span.clone());
        self.pending = Some(Pending { line, header, path, key, value: None, assigned: false });
    }

    fn value(&mut self, span: &Range<usize>) {
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.assigned) else {
            return;
        };
        match &mut pending.value {
            None => pending.value = Some(span.clone()),
            Some(value) => value.end = value.end.max(span.end),
        }
    }

    fn end_of_line(&mut self, end: usize) {
        let Some(pending) = self.pending.take() else { return };
        let Pending { line, header, path, key, value, .. } = pending;
        let kind = match (header, value) {
            (Some(array), _) => ItemKind::Header { path, name: key, array },
            (None, Some(value)) => ItemKind::Assign { path, key, value },
            (None, None) => return,
        };
        self.items.push(Item { lead: self.start..line, line: line..end, kind });
        self.start = end;
    }
}

/// The name that a key in the text stands for.
fn key_name(text: &str) -> String {
    if !text.starts_with(['"', '\'']) {
        return text.to_owned();
    }
    let source = Source::new(SourceKind::Global, "key", text);
    match parse_value(&Arc::new(source)) {
        Ok(Node { value: Value::String(name), .. }) => name,
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_belongs_to_one_piece() {
        let text = "# top\n\nversion = \"1\" # v\n[a.\"b c\"] # h\r\n  # lead\n k . l = [\n 1, # x\n 2 ]\n\n[[d]]\nz = { q = 1 }\n# end\n";
        let layout = Layout::of(text);
        let mut out = String::new();
        for item in &layout.items {
            out.push_str(layout.slice(&item.lead));
            out.push_str(layout.slice(&item.line));
        }
        out.push_str(layout.slice(&layout.tail));
        assert_eq!(out, text);
        let shown: Vec<_> = layout
            .items
            .iter()
            .map(|item| match &item.kind {
                ItemKind::Header { path, name, array } => {
                    format!("{path}|{}|{array}", layout.slice(name))
                }
                ItemKind::Assign { path, key, value } => {
                    format!("{path}|{}|{}", layout.slice(key), layout.slice(value))
                }
            })
            .collect();
        assert_eq!(
            shown,
            [
                "version|version|\"1\"",
                "a.\"b c\"|a.\"b c\"|false",
                "k.l|k . l|[\n 1, # x\n 2 ]",
                "d|d|true",
                "z|z|{ q = 1 }"
            ]
        );
        assert_eq!(layout.slice(&layout.items[0].lead), "# top\n\n");
        assert_eq!(layout.slice(&layout.tail), "# end\n");
    }
}
