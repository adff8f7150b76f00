//! Reading documents of the first two versions that were written as YAML.

use std::sync::Arc;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::{VERSION, edited, history, spec};
use crate::check::check;
use crate::diagnostic::{Code, Diagnostic, Label, settle};
use crate::origin::{Origin, Source, SourceKind};
use crate::parse::text_of;
use crate::path::KeyPath;
use crate::value::{self, Node, Table, Value};

/// Nesting that no document of those versions has, and that could exhaust memory or the stack.
const MAX_BRACKETS: usize = 64;

/// The TOML text, in the newest version, of a YAML document of version 1 or 2. Comments are not carried over.
///
/// # Errors
/// Everything that is wrong with the document, with lines and columns of the YAML.
pub fn import_yaml(name: &str, bytes: Vec<u8>) -> Result<String, Vec<Diagnostic>> {
    let text = text_of(SourceKind::Global, name, bytes)?;
    let source = Arc::new(Source::new(SourceKind::Global, name, text));
    refuse_bombs(&source)?;
    let mut documents = MarkedYaml::load_from_str(&source.text).map_err(|error| {
        let at = byte_of(&source, error.marker().index());
        vec![at_byte(&source, at, Diagnostic::error(Code::Syntax, error.info().to_owned()))]
    })?;
    if documents.len() != 1 {
        let message = format!("{} documents in one file, expected one", documents.len());
        return Err(vec![at_byte(&source, 0, Diagnostic::error(Code::Syntax, message))]);
    }
    let mut reader = Reader { source: &source, found: Vec::new() };
    let root = reader.node(documents.remove(0), None, &KeyPath::root());
    let mut found = reader.found;
    let Some(Node { value: Value::Table(mut table), .. }) = root else {
        found.push(at_byte(
            &source,
            0,
            Diagnostic::error(Code::WrongType, "the document is no mapping"),
        ));
        return Err(found);
    };
    let history = history();
    let release = history.identify(&mut table, None, &source).map_err(|problem| vec![problem])?;
    check(&mut table, &release.schema, &mut found);
    settle(found)?;
    let mut found = Vec::new();
    let mut table = history.migrate(table, release.number, &mut found);
    // What was allowed then need not be allowed now.
    check(&mut table, spec().schema(), &mut found);
    settle(found)?;
    // Rules between keys tell their places in the new text: there is no other that holds them all.
    edited(&format!("{name}, as TOML"), write(&table, name, release.number))
}

fn write(table: &Table, name: &str, from: u32) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let mut out = format!("# From {name}, version {from}.\nschema_version = {VERSION}\n");
    let mut leaves = value::leaves(table);
    // Keys of one table stand together, before those of the tables in it.
    leaves.sort_by_key(|(path, _)| path.split_last().map(|(parent, _)| parent));
    let mut at = None;
    for (path, node) in leaves {
        let Some((parent, name)) = path.split_last() else { continue };
        if at.as_ref() != Some(&parent) {
            out.push_str(&format!("\n[{parent}]\n"));
            at = Some(parent.clone());
        }
        let name = KeyPath(vec![name.clone()]);
        out.push_str(&format!("{name} = {}\n", node.value));
    }
    out
}

/// Aliases can make a small text a huge document, and deep nesting can exhaust the stack; those versions had neither.
fn refuse_bombs(source: &Arc<Source>) -> Result<(), Vec<Diagnostic>> {
    let mut offset = 0;
    let mut brackets = 0;
    for line in source.text.split_inclusive('\n') {
        let code = line.split('#').next().unwrap_or(line);
        brackets += code.matches(['[', '{']).count();
        let words = || code.split([' ', '\t', ',', '[', '{', ':', '\n', '\r']);
        let alias = words().any(|word| word.len() > 1 && word.starts_with(['&', '*']));
        let start = code.trim_start();
        let message = if alias {
            "anchors and aliases are not read"
        } else if start.starts_with("- ") || start.starts_with("? ") {
            "lists and complex keys are no part of the document"
        } else if brackets > MAX_BRACKETS || code.len() - start.len() > MAX_BRACKETS {
            "nested too deeply"
        } else {
            offset += line.len();
            continue;
        };
        let problem = Diagnostic::error(Code::Limit, message).help("write the value itself");
        return Err(vec![at_byte(source, offset, problem)]);
    }
    Ok(())
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn node(
        &mut self,
        yaml: MarkedYaml<'_>,
        key: Option<std::ops::Range<usize>>,
        path: &KeyPath,
    ) -> Option<Node> {
        let start = byte_of(self.source, yaml.span.start.index());
        let end = byte_of(self.source, yaml.span.end.index()).max(start);
        let origin = Origin {
            source: Arc::clone(self.source),
            key,
            value: Some(start..end),
            migrated: None,
        };
        let value = match yaml.data {
            YamlData::Value(Scalar::Boolean(value)) => Value::Boolean(value),
            YamlData::Value(Scalar::Integer(value)) => Value::Integer(value),
            YamlData::Value(Scalar::FloatingPoint(value)) if value.is_finite() => {
                Value::Float(value.into_inner())
            }
            YamlData::Value(Scalar::String(text)) => Value::String(text.into_owned()),
            // `key:` with nothing behind it sets nothing.
            YamlData::Value(Scalar::Null) => return None,
            YamlData::Mapping(entries) => {
                let mut table = Table::new();
                for (key, value) in entries {
                    let at = byte_of(self.source, key.span.start.index());
                    let end = byte_of(self.source, key.span.end.index()).max(at);
                    let Some(name) = key.data.as_str().map(ToOwned::to_owned) else {
                        let problem = Diagnostic::error(Code::WrongType, "a key must be text");
                        self.found.push(at_byte(self.source, at, problem));
                        continue;
                    };
                    let path = path.key(&name);
                    if let Some(node) = self.node(value, Some(at..end), &path) {
                        table.insert(name, node);
                    }
                }
                Value::Table(table)
            }
            _ => {
                let message = format!("`{path}` has a value that the document cannot hold");
                let label = Label::value(&origin, "");
                self.found.push(Diagnostic::error(Code::WrongType, message).about(path).at(label));
                return None;
            }
        };
        Some(Node { value, origin })
    }
}

fn at_byte(source: &Arc<Source>, at: usize, diagnostic: Diagnostic) -> Diagnostic {
    let mut label = Label::value(&Origin::whole(source), "");
    label.span = Some(at..at);
    diagnostic.at(label)
}

/// The byte offset of a character.
fn byte_of(source: &Source, character: usize) -> usize {
    source.text.char_indices().nth(character).map_or(source.text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_newest_version_does_not_allow_is_refused_where_it_stands() {
        let problems = import("version: \"1.0\"\nmax_workers: 95\n").unwrap_err();
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1, "{text:?}");
        assert!(text[0].starts_with("old.yaml:2:14: "), "{text:?}");
        assert!(text[0].contains("32"), "{text:?}");
    }

    fn import(text: &str) -> Result<String, Vec<Diagnostic>> {
        import_yaml("old.yaml", text.as_bytes().to_vec())
    }

    #[test]
    fn version_1_and_2_become_toml() {
        let v1 = "version: \"1.0\"\nmax_workers: 8\nmemory_settings:\n  total_mb: 4096 # all\n";
        assert_eq!(
            import(v1).unwrap(),
            "# From old.yaml, version 1.\nschema_version = 3\n\n[budget]\ntotal = \"4GiB\"\n\n[workload]\nparallel_workers = 8\n"
        );
        let v2 = "version: 2.0\nmemory: {total_budget_mb: 2048, global_index_mb: 512}\nprojects:\n  priority: high\n";
        let toml = import(v2).unwrap();
        assert!(toml.contains("[budget.components]\nglobal_index = \"512MiB\"\n"), "{toml}");
    }

    #[test]
    fn errors_have_lines_and_columns_of_the_yaml() {
        let found = import("version: \"1.0\"\nmemory_settings:\n  total_mb: lots\n  totl: 1\n")
            .unwrap_err();
        let text: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(text[0].starts_with("old.yaml:3:13: error[wrong_type]"), "{text:#?}");
        assert!(text[1].starts_with("old.yaml:4:3: error[unknown_key]"), "{text:#?}");
        assert!(import("a: [1\nb").unwrap_err()[0].to_string().contains("old.yaml:"));
    }

    #[test]
    fn bombs_are_refused() {
        let bomb = "version: \"1.0\"\na: &a [x, x]\nb: *a\n";
        assert_eq!(import(bomb).unwrap_err()[0].code, Code::Limit);
        assert_eq!(import(&"[".repeat(100_000)).unwrap_err()[0].code, Code::Limit);
        assert_eq!(import(&"- ".repeat(100_000)).unwrap_err()[0].code, Code::Limit);
    }
}
