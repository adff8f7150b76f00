//! Setting and unsetting one key in the text of a document. Every other byte stays.

use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic, Label};
use crate::layout::{ItemKind, Layout};
use crate::origin::{Origin, Source, SourceKind};
use crate::parse::parse;
use crate::path::{KeyPath, Segment, is_bare};
use crate::schema::Schema;
use crate::value::{self, Node, Table, Value, quote};

const BOM: char = '\u{feff}';

/// The text with `key` set to `text`, which is read as the type of the key.
///
/// # Errors
/// An unknown key, a value that is not allowed, or a text that is no TOML.
pub fn set(
    schema: &Schema,
    content: &str,
    key: &str,
    text: &str,
) -> Result<String, Vec<Diagnostic>> {
    let path = KeyPath::parse(key);
    let mut found = Vec::new();
    let flag = crate::overlay::Override::new(key, text, key);
    let overlay = crate::overlay::Overlay::from_flags(&[flag], None, schema, &mut found);
    if found.iter().any(Diagnostic::is_error) {
        return Err(found);
    }
    let Some(node) = value::get(&overlay.values, &path) else { return Err(found) };
    change(content, &path, Some(&node.value))
}

/// The text without `key`. The comments above it stay: they are somebody's.
///
/// # Errors
/// A text that is no TOML.
pub fn unset(content: &str, key: &str) -> Result<String, Vec<Diagnostic>> {
    change(content, &KeyPath::parse(key), None)
}

fn change(content: &str, path: &KeyPath, new: Option<&Value>) -> Result<String, Vec<Diagnostic>> {
    let source = Arc::new(Source::new(SourceKind::Global, "the file", content));
    let mut expected = parse(&source)?;
    if new.is_none() && value::get(&expected, path).is_none() {
        return Ok(content.to_owned());
    }
    match new {
        Some(new) => {
            let node = Node { value: new.clone(), origin: Origin::whole(&source) };
            value::insert(&mut expected, path, node);
        }
        None => {
            value::remove(&mut expected, path);
        }
    }
    let (bom, bare) = match content.strip_prefix(BOM) {
        Some(bare) => (BOM.to_string(), bare),
        None => (String::new(), content),
    };
    let changed = in_place(bare, path, new).or_else(|| new.and_then(|new| added(bare, path, new)));
    let text = format!("{bom}{}", changed.unwrap_or_default());
    let again = Arc::new(Source::new(SourceKind::Global, "the file", text.as_str()));
    match parse(&again) {
        Ok(table) if same(&table, &expected) => Ok(text),
        _ => {
            let message = format!("`{path}` cannot be changed in this text");
            Err(vec![
                Diagnostic::error(Code::Invalid, message)
                    .about(path)
                    .at(Label::key(&Origin::whole(&source), ""))
                    .help("edit the file by hand"),
            ])
        }
    }
}

fn same(a: &Table, b: &Table) -> bool {
    value::leaves(a) == value::leaves(b)
}

/// Changes the key where it stands.
fn in_place(text: &str, path: &KeyPath, new: Option<&Value>) -> Option<String> {
    let layout = Layout::of(text);
    let mut table = KeyPath::root();
    for item in &layout.items {
        let (relative, range) = match &item.kind {
            ItemKind::Header { path, .. } => {
                table = path.clone();
                continue;
            }
            ItemKind::Assign { path, value, .. } => (path, value),
        };
        let mut full = table.clone();
        full.0.extend(relative.0.iter().cloned());
        if full == *path {
            let (from, to, with) = match new {
                Some(new) => (range.start, range.end, new.to_string()),
                None => (item.line.start, item.line.end, String::new()),
            };
            return Some(format!("{}{with}{}", text.get(..from)?, text.get(to..)?));
        }
        // Inside an inline table, which is then written anew.
        if path.starts_with(&full) {
            let Value::Table(mut inner) = layout.value(range)?.value else { continue };
            let below = KeyPath(path.0.get(full.0.len()..)?.to_vec());
            match new {
                Some(new) => {
                    let source = Arc::new(Source::new(SourceKind::Flag, "set", ""));
                    let node = Node { value: new.clone(), origin: Origin::whole(&source) };
                    value::insert(&mut inner, &below, node);
                }
                None => {
                    value::remove(&mut inner, &below);
                }
            }
            let with = Value::Table(inner);
            return Some(format!("{}{with}{}", text.get(..range.start)?, text.get(range.end..)?));
        }
    }
    None
}

/// Adds the key: below the last key of its table, or in a new table at the end.
fn added(text: &str, path: &KeyPath, new: &Value) -> Option<String> {
    let layout = Layout::of(text);
    let (parent, Segment::Key(name)) = path.split_last()? else { return None };
    let name = if is_bare(name) { name.clone() } else { quote(name) };
    let end = layout.line_end();
    let mut table = KeyPath::root();
    // Where the line goes, and under which name: below a sister, or below a dotted one of the same table.
    let mut place = parent.0.is_empty().then_some((0, KeyPath::root()));
    for item in &layout.items {
        match &item.kind {
            ItemKind::Header { path, array, .. } => {
                table = if *array { KeyPath::root().key("\0") } else { path.clone() };
            }
            ItemKind::Assign { path, .. } => {
                let mut full = table.clone();
                full.0.extend(path.0.iter().cloned());
                let dotted = full.starts_with(&parent) && parent.0.len() > table.0.len();
                if dotted && path.0.len() > 1 && parent.starts_with(&table) {
                    let within = KeyPath(parent.0.get(table.0.len()..)?.to_vec());
                    place = Some((item.line.end, within));
                }
            }
        }
        if table == parent {
            place = Some((item.line.end, KeyPath::root()));
        }
    }
    let (at, line) = match place {
        Some((at, within)) if within.0.is_empty() => (at, format!("{name} = {new}{end}")),
        Some((at, within)) => (at, format!("{within}.{name} = {new}{end}")),
        None => (text.len(), format!("{end}[{parent}]{end}{name} = {new}{end}")),
    };
    let (before, after) = (text.get(..at)?, text.get(at..)?);
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { end };
    Some(format!("{before}{gap}{line}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Key, Kind};

    fn schema() -> Schema {
        let number = || Kind::Integer { min: 0, max: 100 };
        Schema::new().with([
            Key::new("top", number(), ""),
            Key::new("a.x", number(), ""),
            Key::new("a.y", number(), ""),
            Key::new("b.*", Kind::Text, ""),
        ])
    }

    fn set_in(text: &str, key: &str, value: &str) -> String {
        set(&schema(), text, key, value).unwrap()
    }

    #[test]
    fn a_value_is_replaced_where_it_stands() {
        let text = "\u{feff}# c\r\n[a]\r\n  x   =  1   # why\r\ny = 2";
        assert_eq!(set_in(text, "a.x", "9"), text.replace("1 ", "9 "));
        assert_eq!(set_in(text, "a.y", "3"), text.replace("y = 2", "y = 3"));
    }

    #[test]
    fn a_new_key_goes_below_its_sisters_or_into_a_new_table() {
        assert_eq!(
            set_in("[a]\nx = 1\n\n[b]\nk = \"v\"\n", "a.y", "2"),
            "[a]\nx = 1\ny = 2\n\n[b]\nk = \"v\"\n"
        );
        assert_eq!(set_in("[a]\nx = 1", "b.k l", "v"), "[a]\nx = 1\n\n[b]\n\"k l\" = \"v\"\n");
        assert_eq!(set_in("", "top", "1"), "top = 1\n");
        assert_eq!(set_in("[a]\nx = 1\n", "top", "1"), "top = 1\n[a]\nx = 1\n");
        assert_eq!(set_in("a = { x = 1 }\n", "a.y", "2"), "a = { x = 1, y = 2 }\n");
        assert_eq!(set_in("a.x = 1\n", "a.x", "2"), "a.x = 2\n");
        assert_eq!(set_in("a.x = 1\n[b]\n", "a.y", "2"), "a.x = 1\na.y = 2\n[b]\n");
    }

    #[test]
    fn unsetting_leaves_the_comments() {
        let text = "[a]\n# about x\nx = 1 # here\ny = 2\n";
        assert_eq!(unset(text, "a.x").unwrap(), "[a]\n# about x\ny = 2\n");
        assert_eq!(unset(text, "a.z").unwrap(), text);
    }

    #[test]
    fn what_is_not_allowed_is_refused() {
        assert_eq!(set(&schema(), "", "a.x", "101").unwrap_err()[0].code, Code::OutOfRange);
        assert_eq!(set(&schema(), "", "a.xx", "1").unwrap_err()[0].code, Code::UnknownKey);
        assert!(set(&schema(), "[a]\n[[a.b]]\nx = ", "a.x", "1").is_err());
    }
}
