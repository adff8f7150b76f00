//! Where a value came from.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// What kind of place an overlay comes from, in rising order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourceKind {
    /// The defaults built into the program.
    Default,
    /// A built-in overlay that another key selects.
    Preset,
    /// A file of the machine or the user.
    Global,
    /// A file that comes with a project, and so from whoever wrote that project.
    Project,
    /// An environment variable.
    Environment,
    /// A command line flag, or a call that stands for one.
    Flag,
}

/// One place that values come from: a file, a variable, a flag, or the program itself.
#[derive(Debug)]
pub struct Source {
    /// What kind of place it is.
    pub kind: SourceKind,
    /// Its name as a person would write it: the path, the variable, the flag, or the preset.
    pub name: String,
    /// Its text, for showing the lines an error is in. Values of secret keys are masked.
    pub text: String,
    /// The directory that relative paths in it start from.
    pub base: Option<PathBuf>,
}

impl Source {
    /// A source made of text: a file's content, a variable's value.
    #[must_use]
    pub fn new(kind: SourceKind, name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { kind, name: name.into(), text: text.into(), base: None }
    }

    /// The same source, with relative paths starting from `base`.
    #[must_use]
    pub fn with_base(mut self, base: Option<&Path>) -> Self {
        self.base = base.map(Path::to_path_buf);
        self
    }

    /// Whether positions in it are lines and columns.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self.kind, SourceKind::Global | SourceKind::Project)
    }

    /// The line and column of a byte offset, both from 1. Columns count characters, as editors do.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        // A byte order mark takes no column on anybody's screen.
        let column = before[line_start..].trim_start_matches('\u{feff}').chars().count() + 1;
        Position { line: before.matches('\n').count() + 1, column }
    }
}

/// A place in a text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in that line.
    pub column: usize,
}

/// The older key that a value was read from, before its document was migrated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// The version the document was written in.
    pub version: u32,
    /// The key in that version.
    pub key: String,
}

/// Where one value came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file, variable, flag, or built-in overlay.
    pub source: Arc<Source>,
    /// The bytes of its key in the source, where it has one.
    pub key: Option<Range<usize>>,
    /// The bytes of the value itself, where it has a place.
    pub value: Option<Range<usize>>,
    /// The key it was migrated from, where it was.
    pub migrated: Option<Arc<Migrated>>,
}

impl Origin {
    /// The whole of a source, without a place inside it.
    #[must_use]
    pub fn whole(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), key: None, value: None, migrated: None }
    }

    /// The line and column of the value, where the source is a file.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let span = self.value.as_ref().or(self.key.as_ref())?;
        self.source.is_file().then(|| self.source.position(span.start))
    }

    pub(crate) fn show(&self, span: Option<&Range<usize>>) -> String {
        let source = &self.source;
        match source.kind {
            SourceKind::Default => "the default".to_owned(),
            SourceKind::Preset => format!("built-in overlay `{}`", source.name),
            SourceKind::Environment => format!("environment variable `{}`", source.name),
            SourceKind::Flag => format!("flag `{}`", source.name),
            SourceKind::Global | SourceKind::Project => match span {
                Some(span) => {
                    let Position { line, column } = source.position(span.start);
                    format!("{}:{line}:{column}", source.name)
                }
                None => source.name.clone(),
            },
        }
    }
}

impl fmt::Display for Origin {
    /// `FILE:LINE:COLUMN`, or the name of the variable or flag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.show(self.value.as_ref().or(self.key.as_ref())))
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Origin", 5)?;
        out.serialize_field("kind", &self.source.kind)?;
        out.serialize_field("name", &self.source.name)?;
        let position = self.position();
        out.serialize_field("line", &position.map(|p| p.line))?;
        out.serialize_field("column", &position.map(|p| p.column))?;
        out.serialize_field("migrated", &self.migrated.as_deref())?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        let source = Source::new(SourceKind::Global, "f.toml", "\u{feff}a = 1\nkéy = 2\n");
        assert_eq!(source.position(3), Position { line: 1, column: 1 });
        let key = source.text.find("= 2").unwrap();
        assert_eq!(source.position(key), Position { line: 2, column: 5 });
        assert_eq!(source.position(10_000).line, 3, "past the end is the end");
        assert_eq!(source.position(source.text.find('é').unwrap() + 1).line, 2, "inside a char");
    }

    #[test]
    fn an_origin_shows_where_to_look() {
        let file = Arc::new(Source::new(SourceKind::Global, "/etc/x.toml", "\na = 1"));
        let mut origin = Origin::whole(&file);
        assert_eq!(origin.to_string(), "/etc/x.toml");
        origin.value = Some(5..6);
        assert_eq!(origin.to_string(), "/etc/x.toml:2:5");
        let variable = Arc::new(Source::new(SourceKind::Environment, "X_A", "1"));
        assert_eq!(Origin::whole(&variable).to_string(), "environment variable `X_A`");
    }
}
