//! One overlay against the schema: everything that can be said without knowing the other overlays.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Code, Diagnostic, Label, MAX_DIAGNOSTICS};
use crate::origin::{Origin, SourceKind};
use crate::path::KeyPath;
use crate::schema::{Key, Kind, Lookup, Schema, Scope};
use crate::suggest::closest;
use crate::value::{Node, Table, Value};

/// Checks every key and value of an overlay, and resolves the paths of files in it.
pub(crate) fn check(table: &mut Table, schema: &Schema, found: &mut Vec<Diagnostic>) {
    let mut checker = Checker { schema, found };
    checker.table(table, &KeyPath::root());
}

struct Checker<'a> {
    schema: &'a Schema,
    found: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn table(&mut self, table: &mut Table, path: &KeyPath) {
        for (name, node) in table {
            let path = path.key(name);
            match (self.schema.lookup(&path), &mut node.value) {
                (Lookup::Unknown, _) => self.unknown(&path, &node.origin),
                (Lookup::Table, Value::Table(inner)) => self.table(inner, &path),
                (Lookup::Table, value) => {
                    let message = format!("`{path}` is a table, not {}", value.describe());
                    let label =
                        Label::value(&node.origin, format!("write its keys under [{path}]"));
                    self.found
                        .push(Diagnostic::error(Code::WrongType, message).about(&path).at(label));
                }
                (Lookup::Key(key), _) => {
                    if key.scope == Scope::Global && node.origin.source.kind == SourceKind::Project
                    {
                        self.found.push(out_of_scope(&path, &node.origin));
                    } else {
                        self.value(&key.kind, node, &path, key);
                    }
                }
            }
        }
    }

    fn unknown(&mut self, path: &KeyPath, origin: &Origin) {
        let mut problem = Diagnostic::error(Code::UnknownKey, format!("unknown key `{path}`"))
            .about(path)
            .at(Label::key(origin, ""));
        // Past what is shown anyhow, ten thousand unknown keys need no ten thousand searches.
        let shown = self.found.len() < MAX_DIAGNOSTICS;
        if let Some(meant) = shown.then(|| self.schema.suggest(path)).flatten() {
            problem = problem.help(format!("did you mean `{meant}`?"));
        }
        self.found.push(problem);
    }

    fn value(&mut self, kind: &Kind, node: &mut Node, path: &KeyPath, key: &Key) {
        if let Kind::List(of) = kind
            && let Value::Array(nodes) = &mut node.value
        {
            for (index, node) in nodes.iter_mut().enumerate() {
                self.value(of, node, &path.index(index), key);
            }
            return;
        }
        if let Err(problem) = check_scalar(kind, node, path, key.secret) {
            self.found.push(problem);
        }
    }
}

fn out_of_scope(path: &KeyPath, origin: &Origin) -> Diagnostic {
    Diagnostic::error(Code::Scope, format!("a project may not set `{path}`"))
        .about(path)
        .at(Label::key(origin, "this file comes with the project"))
        .help("set it in the file of the user or the machine, or in the environment")
}

fn check_scalar(
    kind: &Kind,
    node: &mut Node,
    path: &KeyPath,
    secret: bool,
) -> Result<(), Diagnostic> {
    // Nearly every value is fine: what is only said of the others is worked out for them alone.
    let shown = || match secret {
        true => "(secret)".to_owned(),
        false => shorten(&node.value.to_string()),
    };
    let problem = |code, message: String| {
        let text = match &node.origin.migrated {
            Some(old) => format!("it comes from `{}` of version {}", old.key, old.version),
            None => String::new(),
        };
        Diagnostic::error(code, message).about(path).at(Label::value(&node.origin, text))
    };
    let wrong_type = || {
        let (found, allowed) = (node.value.describe(), kind.allowed());
        problem(Code::WrongType, format!("`{path}` is {found}, expected {allowed}"))
    };
    let outside = |below: bool| {
        let side = if below { "below the lowest" } else { "above the highest" };
        let message = format!("`{path}` is {}, {side} allowed", shown());
        problem(Code::OutOfRange, message).help(format!("expected {}", kind.allowed()))
    };
    match (kind, &node.value) {
        (Kind::Boolean, Value::Boolean(_)) | (Kind::Text, Value::String(_)) => Ok(()),
        (Kind::Boolean, Value::String(text)) if text == "true" || text == "false" => {
            Err(wrong_type().help(format!("write it without quotes: {text}")))
        }
        (Kind::Integer { min, max }, Value::Integer(value)) => {
            if (*min..=*max).contains(value) {
                Ok(())
            } else {
                Err(outside(value < min))
            }
        }
        (Kind::Float { min, max }, Value::Integer(_) | Value::Float(_)) => {
            let value = match node.value {
                Value::Integer(value) => value as f64,
                Value::Float(value) => value,
                _ => return Err(wrong_type()),
            };
            if value >= *min && value <= *max {
                return Ok(());
            }
            let problem = outside(value < *min);
            // A share written as a percentage is the slip that people make.
            let share = value / 100.0;
            if *max <= 1.0 && value > 1.0 && share >= *min && share <= *max {
                return Err(problem.help(format!("this is a share: write {share} for {value} %")));
            }
            Err(problem)
        }
        (Kind::Choice(words), Value::String(text)) => {
            if words.contains(&text.as_str()) {
                return Ok(());
            }
            let message = format!("`{path}` is {}, expected {}", shown(), kind.allowed());
            let problem = problem(Code::UnknownChoice, message);
            Err(match closest(text, words.iter().copied()) {
                Some(word) => problem.help(format!("did you mean \"{word}\"?")),
                None => problem,
            })
        }
        (Kind::Form { form, min, max }, Value::Integer(value)) if form.integers => {
            let value = *value as f64;
            if value >= *min && value <= *max { Ok(()) } else { Err(outside(value < *min)) }
        }
        (Kind::Form { form, min, max }, Value::String(text)) => match (form.measure)(text) {
            Ok(None) => Ok(()),
            Ok(Some(value)) if value >= *min && value <= *max => Ok(()),
            Ok(Some(value)) => Err(outside(value < *min)),
            // The form's own message repeats the text, which a secret must not.
            Err(_) if secret => {
                let message = format!("`{path}` is no {}", form.name);
                Err(problem(Code::Malformed, message).help(format!("expected {}", kind.allowed())))
            }
            Err(message) => Err(problem(Code::Malformed, format!("`{path}`: {message}"))),
        },
        (Kind::Form { form, .. }, Value::Integer(_) | Value::Float(_)) => {
            let help = format!("write it with its unit, as text: \"{}\"", form.example);
            Err(wrong_type().help(help))
        }
        (Kind::File, Value::String(text)) => {
            let resolved = resolve(text, node.origin.source.base.as_deref())
                .map_err(|why| problem(Code::Invalid, format!("`{path}`: {why}")))?;
            node.value = Value::String(resolved.to_string_lossy().into_owned());
            Ok(())
        }
        _ => Err(wrong_type()),
    }
}

/// Long values would hide the rest of the message.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST).collect();
    format!("{head}...")
}

/// `~/` is one's own home; a relative path starts at `base`; `.` and `..` are worked out without touching the disk.
fn resolve(text: &str, base: Option<&Path>) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("a path cannot be empty".to_owned());
    }
    let path = if let Some(rest) = text.strip_prefix('~') {
        if !(rest.is_empty() || rest.starts_with('/')) {
            return Err(format!("`{text}`: only one's own home can be written as `~/`"));
        }
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        let home = home.ok_or_else(|| format!("`{text}`: no home directory is known"))?;
        home.join(rest.trim_start_matches('/'))
    } else {
        PathBuf::from(text)
    };
    let path = match base {
        Some(base) => base.join(path),
        None => path,
    };
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                if !out.pop() {
                    out.push("..");
                }
            }
            part => out.push(part),
        }
    }
    Ok(out)
}

/// Reads the text of a variable or a flag as the type of its key.
pub(crate) fn read_text(
    key: &KeyPath,
    kind: &Kind,
    text: &str,
    origin: &Origin,
) -> Result<Value, Diagnostic> {
    let trimmed = text.trim();
    let wrong = |value: &str| {
        let message = format!("`{key}` is `{}`, expected {}", shorten(value), kind.allowed());
        Diagnostic::error(Code::WrongType, message).about(key).at(Label::value(origin, ""))
    };
    match kind {
        Kind::Boolean => match trimmed {
            "true" => Ok(Value::Boolean(true)),
            "false" => Ok(Value::Boolean(false)),
            _ => Err(wrong(text)),
        },
        Kind::Integer { .. } => trimmed.parse().map(Value::Integer).map_err(|_| wrong(text)),
        Kind::Float { .. } => match trimmed.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Value::Float(value)),
            _ => Err(wrong(text)),
        },
        Kind::List(_) if trimmed.starts_with('[') => {
            let node = crate::parse::parse_value(&origin.source)?;
            match node.value {
                Value::Array(nodes) => Ok(Value::Array(nodes)),
                _ => Err(wrong(text)),
            }
        }
        Kind::List(_) => Err(wrong(text).help("write a TOML array, such as '[\"one\", \"two\"]'")),
        Kind::Form { .. } | Kind::Choice(_) | Kind::Text | Kind::File => {
            Ok(Value::String(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_at_the_file_that_sets_them() {
        let base = Some(Path::new("/srv/app/.memcli"));
        let resolved = |text: &str| resolve(text, base).unwrap();
        assert_eq!(resolved("out.log"), Path::new("/srv/app/.memcli/out.log"));
        assert_eq!(resolved("../x/./y"), Path::new("/srv/app/x/y"));
        assert_eq!(resolved("/var/log/x"), Path::new("/var/log/x"));
        assert_eq!(resolved("a~b"), Path::new("/srv/app/.memcli/a~b"), "`~` only at the start");
        assert!(resolve("~root/x", base).unwrap_err().contains("own home"));
        assert!(resolve("", base).is_err());
    }
}
