//! The reference of a document, as Markdown.

use std::fmt::Write;

use crate::overlay::variable;
use crate::path::KeyPath;
use crate::schema::{Effect, Schema, Scope};
use crate::value::{self, Table, Value};

/// One table for each table of the document: key, what is allowed, default, variable, what it does.
#[must_use]
pub fn markdown(schema: &Schema, defaults: &Table, env_prefix: Option<&str>) -> String {
    let mut out = String::new();
    let mut table: Option<KeyPath> = None;
    for key in schema.keys() {
        let Some((parent, name)) = key.path.split_last() else { continue };
        if table.as_ref() != Some(&parent) {
            let _ = write!(out, "\n## `[{parent}]`\n\n");
            let about = schema.tables().find(|(path, _)| **path == parent).map(|(_, about)| about);
            if let Some(about) = about {
                let _ = write!(out, "{about}\n\n");
            }
            out.push_str("| key | value | default | what it does |\n|---|---|---|---|\n");
            table = Some(parent);
        }
        let name = match name {
            crate::path::Segment::Key(name) if name == crate::schema::ANY => {
                "*any name*".to_owned()
            }
            crate::path::Segment::Key(name) => format!("`{name}`"),
            crate::path::Segment::Index(_) => continue,
        };
        let default = match value::get(defaults, &key.path).map(|node| &node.value) {
            Some(Value::String(text)) => format!("`\"{text}\"`"),
            Some(value) => format!("`{value}`"),
            None => "unset".to_owned(),
        };
        let mut about = key.about.clone();
        if key.scope == Scope::Global {
            about.push_str(" Not in a project's file.");
        }
        if key.effect == Effect::Restart {
            about.push_str(" Takes effect at the next start.");
        }
        if let Some(prefix) = env_prefix {
            let _ = write!(about, " Variable: `{}`.", variable(prefix, key));
        }
        let allowed = key.kind.allowed().replace('|', "\\|");
        let _ = writeln!(out, "| {name} | {allowed} | {default} | {about} |");
    }
    out
}
