//! Random documents for property tests (feature `testing`): tables, and texts as people write them.
//!
//! ```
//! use memcfg::testing::{Style, write};
//!
//! let style = Style { seed: 7, crlf: true, bom: false, last_line: true, shape: 0 };
//! let text = write("version = 1", &vec![("shop.port", "80".to_owned())], &style);
//! assert!(text.contains("[shop]") && text.contains("port = 80") && text.ends_with("\r\n"));
//! ```

#[cfg(feature = "document")]
pub mod document;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::origin::{Origin, Source, SourceKind};
use crate::value::{Node, Table, Value};

/// Keys with dots, each with its value as TOML text.
pub type Settings = Vec<(&'static str, String)>;

/// How a text is written.
#[derive(Clone, Debug)]
pub struct Style {
    /// Where comments, blank lines and spaces go.
    pub seed: u64,
    /// Lines end in CR LF.
    pub crlf: bool,
    /// The text begins with a byte order mark.
    pub bom: bool,
    /// The last line is ended.
    pub last_line: bool,
    /// 1 writes dotted keys, 2 inline tables where there can be one, anything else headers.
    pub shape: u8,
}

/// Any way to write a text.
pub fn style() -> impl Strategy<Value = Style> {
    (any::<u64>(), any::<bool>(), any::<bool>(), any::<bool>(), 0u8..4)
        .prop_map(|(seed, crlf, bom, last_line, shape)| Style { seed, crlf, bom, last_line, shape })
}

/// Writes settings as somebody would, with comments and odd spacing. `version` is the line that says the version.
#[must_use]
pub fn write(version: &str, settings: &Settings, style: &Style) -> String {
    let mut seed = style.seed;
    let mut roll = |sides: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    };
    let mut comments = 0;
    let mut decorate = |line: String, roll: &mut dyn FnMut(u64) -> u64| {
        let mut out = String::new();
        if roll(4) == 0 {
            out.push('\n');
        }
        if roll(3) == 0 {
            comments += 1;
            out.push_str(&format!("{}# above {comments}\n", " ".repeat(roll(3) as usize)));
        }
        out.push_str(&" ".repeat(roll(3) as usize));
        out.push_str(&line);
        if roll(3) == 0 {
            comments += 1;
            out.push_str(&format!("  # beside {comments}"));
        }
        out + "\n"
    };
    let mut text = decorate(version.to_owned(), &mut roll);
    let mut tables: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for (key, value) in settings {
        let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
        tables.entry(table).or_default().push((name, value));
    }
    for (table, entries) in &tables {
        let inline = style.shape == 2 && entries.iter().all(|(_, value)| !value.contains('\n'));
        let nested = tables.keys().any(|other| other.starts_with(&format!("{table}.")));
        let pad = |roll: &mut dyn FnMut(u64) -> u64| " ".repeat(roll(3) as usize);
        if !table.is_empty() && inline && !nested && !table.contains('.') {
            let entries: Vec<_> = entries.iter().map(|(n, v)| format!("{n} = {v}")).collect();
            let line = format!("{table} = {{ {} }}", entries.join(", "));
            // Inline tables of the root come before any header.
            text.push_str(&decorate(line, &mut roll));
        } else if !table.is_empty() && style.shape == 1 {
            for (name, value) in entries {
                let line = format!("{table}.{name}{}={}{value}", pad(&mut roll), pad(&mut roll));
                text.push_str(&decorate(line, &mut roll));
            }
        } else if table.is_empty() {
            for (name, value) in entries {
                text.push_str(&decorate(format!("{name}{}= {value}", pad(&mut roll)), &mut roll));
            }
        }
    }
    for (table, entries) in &tables {
        let inline = style.shape == 2 && entries.iter().all(|(_, value)| !value.contains('\n'));
        let nested = tables.keys().any(|other| other.starts_with(&format!("{table}.")));
        let written =
            table.is_empty() || style.shape == 1 || (inline && !nested && !table.contains('.'));
        if written {
            continue;
        }
        text.push_str(&decorate(format!("[{table}]"), &mut roll));
        for (name, value) in entries {
            text.push_str(&decorate(format!("{name} = {value}"), &mut roll));
        }
    }
    if roll(2) == 0 {
        text.push_str("\n# the end\n");
    }
    if !style.last_line {
        text.pop();
    }
    if style.crlf {
        text = text.replace('\n', "\r\n");
    }
    if style.bom {
        text.insert(0, '\u{feff}');
    }
    text
}

/// Tables in which a name is either always a table or always a value, as every schema has it.
pub fn table() -> impl Strategy<Value = Table> {
    let leaf = |number: i64| {
        let source = Arc::new(Source::new(SourceKind::Default, "", ""));
        Node { value: Value::Integer(number), origin: Origin::whole(&source) }
    };
    let inner = proptest::collection::btree_map("[abc]", (0i64..9).prop_map(leaf), 0..4);
    let outer = proptest::collection::btree_map("[xy]", inner, 0..3);
    let flat = proptest::collection::btree_map("[pq]", (0i64..9).prop_map(leaf), 0..3);
    (outer, flat).prop_map(move |(outer, flat)| {
        let mut table: Table = flat;
        for (key, inner) in outer {
            let source = Arc::new(Source::new(SourceKind::Default, "", ""));
            let node = Node { value: Value::Table(inner), origin: Origin::whole(&source) };
            table.insert(key, node);
        }
        table
    })
}
