//! From bytes to values with positions, within limits.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Code, Diagnostic, Label, MAX_DIAGNOSTICS};
use crate::origin::{Origin, Source, SourceKind};
use crate::path::KeyPath;
use crate::value::{Node, Table, Value};

/// The most bytes of a document: 1 MiB.
pub const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting of tables and arrays.
pub const MAX_DEPTH: usize = 32;
/// The most values of a document.
pub const MAX_LEAVES: usize = 10_000;
/// The longest key, in bytes.
pub const MAX_KEY: usize = 256;
/// The longest text of one value, in bytes: 64 KiB.
pub const MAX_STRING: usize = 64 << 10;

/// The text of a document, when its bytes can be one.
///
/// # Errors
/// Too many bytes, bytes that are not UTF-8, NUL, or a carriage return on its own.
pub fn text_of(kind: SourceKind, name: &str, bytes: Vec<u8>) -> Result<String, Vec<Diagnostic>> {
    let refuse = |code, message: String, text: &str, at: usize, help: &str| {
        let source = Arc::new(Source::new(kind, name, text));
        let mut label = Label::value(&Origin::whole(&source), "");
        label.span = Some(at..at + 1);
        Err(vec![Diagnostic::error(code, message).at(label).help(help)])
    };
    if bytes.len() > MAX_BYTES {
        let message = format!("the file is larger than {MAX_BYTES} bytes");
        return refuse(Code::Limit, message, "", 0, "a document holds at most 1 MiB");
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let help = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
                "this is UTF-16: save the file as UTF-8"
            } else {
                "save the file as UTF-8"
            };
            let valid = String::from_utf8_lossy(&bytes[..at]);
            return refuse(Code::Encoding, format!("byte {at} is not UTF-8"), &valid, at, help);
        }
    };
    if let Some(at) = text.find('\0') {
        let message = format!("byte {at} is NUL, which no text has");
        return refuse(
            Code::Encoding,
            message,
            &text,
            at,
            "remove it; was this file cut short by a crash?",
        );
    }
    let bytes = text.as_bytes();
    let lone = (0..bytes.len()).find(|&i| bytes[i] == b'\r' && bytes.get(i + 1) != Some(&b'\n'));
    if let Some(at) = lone {
        let message = "a carriage return without a line feed".to_owned();
        return refuse(Code::Encoding, message, &text, at, "end lines with LF or CRLF");
    }
    Ok(text)
}

/// Parses a document.
///
/// # Errors
/// Every problem found, each with its place.
pub fn parse(source: &Arc<Source>) -> Result<Table, Vec<Diagnostic>> {
    let (table, problems) = parse_whole(source)?;
    if problems.is_empty() { Ok(table) } else { Err(problems) }
}

/// Parses a document whose syntax is right, without those of its values that are none, such as `nan`. They are in the second
/// half of the answer, so that what else is wrong with the document can be said as well.
///
/// # Errors
/// As [`parse`], where there is no such document.
pub(crate) fn parse_whole(
    source: &Arc<Source>,
) -> Result<(Table, Vec<Diagnostic>), Vec<Diagnostic>> {
    let text = source.text.as_str();
    if text.len() > MAX_BYTES {
        let message = format!("the text is larger than {MAX_BYTES} bytes");
        return Err(vec![
            Diagnostic::error(Code::Limit, message)
                .at(Label::value(&Origin::whole(source), ""))
                .help("a document holds at most 1 MiB"),
        ]);
    }
    // The parser skips a byte order mark; its positions are then those of the whole text.
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { source, leaves: 0, problems: Vec::new() };
    // Each is looked into, so that a text that is nothing but errors is not looked into for minutes.
    for error in errors.iter().take(MAX_DIAGNOSTICS) {
        let found = syntax(source, error, &root);
        reader.problems.push(found);
    }
    let table = reader.table(root.into_inner(), &KeyPath::root(), 1);
    let of_one_value = |problem: &Diagnostic| {
        problem.key.is_some() && matches!(problem.code, Code::OutOfRange | Code::NotFinite)
    };
    match reader.problems.iter().all(of_one_value) {
        true => Ok((table, reader.problems)),
        false => Err(reader.problems),
    }
}

/// Parses one TOML value, such as the array in an environment variable.
///
/// # Errors
/// The parser's message.
pub(crate) fn parse_value(source: &Arc<Source>) -> Result<Node, Diagnostic> {
    let origin = Origin { value: Some(0..source.text.len()), ..Origin::whole(source) };
    let parsed = DeValue::parse(&source.text).map_err(|error| {
        Diagnostic::error(Code::Syntax, error.message()).at(Label::value(&origin, ""))
    })?;
    let mut reader = Reader { source, leaves: 0, problems: Vec::new() };
    let node = reader.node(None, parsed, &KeyPath::root(), 1);
    match (reader.problems.pop(), node) {
        (None, Some(node)) => Ok(node),
        (Some(problem), _) => Err(problem),
        (None, None) => {
            Err(Diagnostic::error(Code::Syntax, "not a TOML value").at(Label::value(&origin, "")))
        }
    }
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    leaves: usize,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn table(&mut self, table: DeTable<'_>, path: &KeyPath, depth: usize) -> Table {
        let mut out = Table::new();
        for (key, value) in table {
            let (span, name) = (key.span(), key.into_inner().into_owned());
            if name.len() > MAX_KEY {
                let origin = Origin { key: Some(span), ..Origin::whole(self.source) };
                let message = format!("a key is longer than {MAX_KEY} bytes");
                let problem = Diagnostic::error(Code::Limit, message).at(Label::key(&origin, ""));
                self.problems.push(problem);
                continue;
            }
            let path = path.key(&name);
            if let Some(node) = self.node(Some(span), value, &path, depth) {
                out.insert(name, node);
            }
        }
        out
    }

    fn node(
        &mut self,
        key: Option<Range<usize>>,
        value: Spanned<DeValue<'_>>,
        path: &KeyPath,
        depth: usize,
    ) -> Option<Node> {
        let origin = Origin {
            source: Arc::clone(self.source),
            key,
            value: Some(value.span()),
            migrated: None,
        };
        if depth > MAX_DEPTH {
            return self.refuse(
                Code::Limit,
                format!("nested deeper than {MAX_DEPTH}"),
                path,
                &origin,
            );
        }
        let value = match value.into_inner() {
            DeValue::Table(table) => Value::Table(self.table(table, path, depth + 1)),
            DeValue::Array(array) => {
                let mut nodes = Vec::new();
                for (index, element) in array.into_iter().enumerate() {
                    nodes.extend(self.node(None, element, &path.index(index), depth + 1));
                }
                self.count(path, &origin)?;
                Value::Array(nodes)
            }
            scalar => {
                self.count(path, &origin)?;
                self.scalar(scalar, path, &origin)?
            }
        };
        Some(Node { value, origin })
    }

    fn scalar(&mut self, value: DeValue<'_>, path: &KeyPath, origin: &Origin) -> Option<Value> {
        match value {
            DeValue::Boolean(value) => Some(Value::Boolean(value)),
            DeValue::Datetime(value) => Some(Value::Datetime(value)),
            DeValue::Integer(value) => match i64::from_str_radix(value.as_str(), value.radix()) {
                Ok(value) => Some(Value::Integer(value)),
                Err(_) => {
                    let message = format!("`{path}` does not fit into 64 bits");
                    self.refuse(Code::OutOfRange, message, path, origin)
                }
            },
            DeValue::Float(value) => match value.as_str().parse::<f64>() {
                // -0.0 would print as a negative number.
                Ok(value) if value.is_finite() => Some(Value::Float(value + 0.0)),
                _ => {
                    let message = format!("`{path}` must be a finite number");
                    self.refuse(Code::NotFinite, message, path, origin)
                }
            },
            DeValue::String(text) if text.len() > MAX_STRING => {
                let message = format!("`{path}` is longer than {MAX_STRING} bytes");
                self.refuse(Code::Limit, message, path, origin)
            }
            DeValue::String(text) if text.contains('\0') => {
                let message = format!("`{path}` contains NUL");
                self.refuse(Code::Encoding, message, path, origin)
            }
            DeValue::String(text) => Some(Value::String(text.into_owned())),
            DeValue::Array(_) | DeValue::Table(_) => None,
        }
    }

    fn count(&mut self, path: &KeyPath, origin: &Origin) -> Option<()> {
        self.leaves += 1;
        if self.leaves == MAX_LEAVES + 1 {
            let message = format!("more than {MAX_LEAVES} values");
            self.refuse::<()>(Code::Limit, message, path, origin);
        }
        (self.leaves <= MAX_LEAVES).then_some(())
    }

    fn refuse<T>(
        &mut self,
        code: Code,
        message: String,
        path: &KeyPath,
        origin: &Origin,
    ) -> Option<T> {
        let label = Label::value(origin, "");
        self.problems.push(Diagnostic::error(code, message).about(path).at(label));
        None
    }
}

fn syntax(
    source: &Arc<Source>,
    error: &toml::de::Error,
    root: &Spanned<DeTable<'_>>,
) -> Diagnostic {
    let mut label = Label::value(&Origin::whole(source), "");
    label.span = error.span();
    if error.message().starts_with("duplicate key") {
        let second = error.span().unwrap_or_default();
        let name = source.text.get(second.clone()).unwrap_or("").trim_matches(['"', '\'']);
        let mut found = Diagnostic::error(Code::DuplicateKey, format!("`{name}` is set twice"))
            .about(name)
            .help("keep one of the two");
        found.labels.push(label.clone());
        let mut earlier = None;
        last_key_before(root.get_ref(), name, second.start, &mut earlier);
        // A header keeps only the place of its last mention.
        let header = format!("[{name}]");
        let before = source.text.get(..second.start).unwrap_or_default();
        let header = before.find(&header).map(|at| at + 1..at + 1 + name.len());
        let earlier = earlier.or(header.filter(|header| header.start != second.start));
        if earlier.is_some() {
            label.span = earlier;
            "first set here".clone_into(&mut label.text);
            found.labels.push(label);
        }
        return found;
    }
    let message = error.message().trim().to_owned();
    match line_of(source, error) {
        Some((key, "=", "")) => {
            let message = format!("`{key}` has no value");
            Diagnostic::error(Code::Syntax, message).at(label)
        }
        Some((key, "=", value)) if is_bare_text(value) => {
            let help = format!("text needs quotes: {key} = \"{value}\"");
            Diagnostic::error(Code::Syntax, message).at(label).help(help)
        }
        Some((key, ":", _)) => {
            let help = format!("a key is set with an equals sign: {key} = ...");
            Diagnostic::error(Code::Syntax, message).at(label).help(help)
        }
        _ => Diagnostic::error(Code::Syntax, message).at(label),
    }
}

/// The key, the sign and the value of the line that an error is in, as far as it has them.
fn line_of<'a>(source: &'a Source, error: &toml::de::Error) -> Option<(&'a str, &'a str, &'a str)> {
    let at = error.span()?.start.min(source.text.len());
    let start = source.text.get(..at)?.rfind('\n').map_or(0, |at| at + 1);
    let line = source.text.get(start..)?.lines().next()?.split('#').next()?;
    let sign = line.find(['=', ':'])?;
    let (key, rest) = (line.get(..sign)?.trim(), line.get(sign..)?);
    let word = !key.is_empty() && !key.contains(['"', '\'', '[', ' ']);
    word.then(|| (key, &rest[..1], rest[1..].trim()))
}

/// Whether a value looks like text whose quotes were forgotten.
fn is_bare_text(value: &str) -> bool {
    !value.contains(['"', '\'', '[', '{']) && value.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// The last place before `limit` where `name` was set, anywhere in the document.
fn last_key_before(
    table: &DeTable<'_>,
    name: &str,
    limit: usize,
    found: &mut Option<Range<usize>>,
) {
    for (key, value) in table {
        let span = key.span();
        let later = found.as_ref().is_none_or(|found| found.start < span.start);
        if key.get_ref() == name && span.start < limit && later {
            *found = Some(span);
        }
        if let DeValue::Table(inner) = value.get_ref() {
            last_key_before(inner, name, limit, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::get;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source::new(SourceKind::Global, "t.toml", text))
    }

    fn only(text: &str) -> Diagnostic {
        let mut found = parse(&source(text)).unwrap_err();
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        found.remove(0)
    }

    #[test]
    fn values_know_their_place_behind_a_byte_order_mark_and_crlf() {
        let text = "\u{feff}[a]\r\nb = 1 # one\r\nc = [\"x\", 2.5]\r\n";
        let table = parse(&source(text)).unwrap();
        assert_eq!(get(&table, &"a.b".into()).unwrap().origin.to_string(), "t.toml:2:5");
        let second = get(&table, &"a.c[1]".into()).unwrap();
        assert_eq!(second.origin.to_string(), "t.toml:3:11");
        assert_eq!(second.value, Value::Float(2.5));
    }

    #[test]
    fn all_syntax_errors_come_at_once() {
        let found = parse(&source("a = \nb = 12MiB\nc = 1\nc = 2\n")).unwrap_err();
        let lines: Vec<_> = found.iter().map(|d| d.labels[0].place()).collect();
        assert!(found.len() >= 3, "{found:#?}");
        assert!(lines.iter().any(|l| l.starts_with("t.toml:4:")), "{lines:?}");
    }

    #[test]
    fn a_duplicate_key_shows_both_places() {
        let found = only("[x]\nb = 1\n[a]\nb = 1\nb = 2\n");
        assert_eq!(found.code, Code::DuplicateKey);
        let places: Vec<_> = found.labels.iter().map(Label::place).collect();
        assert_eq!(places, ["t.toml:5:1", "t.toml:4:1"]);
    }

    #[test]
    fn limits_hold() {
        let deep = format!("a = {}1{}", "[".repeat(40), "]".repeat(40));
        assert_eq!(only(&deep).code, Code::Limit);
        let many: String = (0..=MAX_LEAVES).map(|i| format!("k{i} = 1\n")).collect();
        assert_eq!(only(&many).code, Code::Limit);
        assert_eq!(only(&format!("a = \"{}\"", "x".repeat(MAX_STRING + 1))).code, Code::Limit);
        assert_eq!(only(&"#".repeat(MAX_BYTES + 1)).code, Code::Limit);
    }

    /// Each of these takes minutes or gigabytes where nobody thought of it; here they only have to end.
    #[test]
    fn hostile_texts_are_refused() {
        let keys: String = (0..40_000).map(|i| format!("k{i}=1\n")).collect();
        for text in [
            "a=1\n".repeat(200_000),
            format!("{keys}{keys}"),
            format!("{} = 1", "k".repeat(1_000_000)),
            "[a]\n".repeat(200_000),
            "a.".repeat(400_000),
            "a = [".repeat(1_000),
            "\"".repeat(1_000_000),
            "a = '''".to_owned() + &"x\n".repeat(400_000),
        ] {
            let found = parse(&source(&text)).unwrap_err();
            assert!(found[0].to_string().len() < 1_000, "{}", found[0]);
        }
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for text in ["a = nan", "a = inf", "a = -inf"] {
            assert_eq!(only(text).code, Code::NotFinite, "{text}");
        }
        assert!(parse(&source("a = 99999999999999999999")).is_err());
    }

    #[test]
    fn a_hundred_thousand_brackets_are_refused_without_a_crash() {
        for text in ["[".repeat(100_000), format!("a{} = 1", ".a".repeat(100_000))] {
            assert!(parse(&source(&text)).is_err());
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_place() {
        let refused = |bytes: &[u8]| {
            text_of(SourceKind::Global, "t.toml", bytes.to_vec()).unwrap_err().remove(0)
        };
        assert_eq!(refused(b"a = 1\nb = \"\xff\"\n").labels[0].place(), "t.toml:2:6");
        assert!(refused(b"\xff\xfea\0").help.unwrap().contains("UTF-16"));
        assert_eq!(refused(b"a = 1\0").code, Code::Encoding);
        assert_eq!(refused(b"a = 1\rb = 2\n").labels[0].place(), "t.toml:1:6");
        assert!(text_of(SourceKind::Global, "t.toml", b"a = 1\r\n".to_vec()).is_ok());
    }
}
