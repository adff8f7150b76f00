//! A value where another overlay has a table: no schema has both, and an overlay that was not checked yet may.

use std::sync::Arc;

use super::*;
use crate::origin::{Source, SourceKind};
use crate::parse::parse;

fn overlay(text: &str) -> Overlay {
    let source = Arc::new(Source::new(SourceKind::Global, "c.toml", text));
    let values = Arc::new(parse(&source).unwrap());
    Overlay { kind: SourceKind::Global, values, version: None }
}

/// What is explained, and what it hides.
fn said(overlays: &[Overlay], key: &str) -> Option<(Value, Vec<Value>)> {
    let found = explain(overlays, &KeyPath::parse(key))?;
    Some((found.effective.value, found.shadowed.into_iter().map(|below| below.value).collect()))
}

#[test]
fn a_value_where_a_path_needs_a_table_hides_what_lies_below_it() {
    let (below, value) = (overlay("a.b = 1\n"), overlay("a = 5\n"));
    let above = overlay("a.b = 2\n");
    assert_eq!(said(&[below.clone(), value.clone()], "a.b"), None, "the table is gone");
    let merged = merge((*below.values).clone(), &value.values);
    assert_eq!(value::get(&merged, &KeyPath::parse("a.b")), None, "merging says the same");
    let stack = [below, value, above];
    assert_eq!(said(&stack, "a.b"), Some((Value::Integer(2), vec![])));
}

#[test]
fn an_overlay_that_says_nothing_of_a_key_hides_nothing() {
    let stack = [overlay("a.b = 1\n"), overlay("a.c = 5\nd = 6\n"), overlay("a.b = 2\n")];
    assert_eq!(said(&stack, "a.b"), Some((Value::Integer(2), vec![Value::Integer(1)])));
}
