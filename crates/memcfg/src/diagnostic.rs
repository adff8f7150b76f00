//! What is wrong with a document, as data.

use std::fmt;
use std::ops::Range;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::origin::{Origin, SourceKind};

/// The most diagnostics that one load reports; past that the document is not what anybody meant.
pub const MAX_DIAGNOSTICS: usize = 50;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// The document is used all the same.
    Warning,
    /// The document is refused.
    Error,
}

/// What is wrong, as a stable name that programs may match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// Not TOML (or not YAML, for an import).
    Syntax,
    /// The same key twice in one table.
    DuplicateKey,
    /// Not UTF-8, or with bytes that no text has.
    Encoding,
    /// Larger, deeper or longer than a document may be.
    Limit,
    /// A key that the document does not have.
    UnknownKey,
    /// An environment variable of our prefix that no key answers to.
    UnknownVariable,
    /// Text where a number belongs, and the like.
    WrongType,
    /// Outside the allowed range.
    OutOfRange,
    /// Not one of the allowed words.
    UnknownChoice,
    /// Not in the form that the key asks for, such as a size or a duration.
    Malformed,
    /// NaN or infinite.
    NotFinite,
    /// A key that has no default is missing.
    Missing,
    /// Each value is allowed, but not all of them together.
    Conflict,
    /// A value that the program refused for a reason of its own.
    Invalid,
    /// No version in the document, or one that no document ever had.
    Version,
    /// Written by a newer program than this one.
    Newer,
    /// A value of an older version that could not be carried over.
    Migration,
    /// A key that a project may not set.
    Scope,
    /// A file that others could have written.
    Permission,
    /// A file that could not be read or written.
    Io,
    /// A file that may be half-written.
    Unfinished,
    /// The last good copy is in use, because the present one is refused.
    Fallback,
}

impl Code {
    /// The name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Code::Syntax => "syntax",
            Code::DuplicateKey => "duplicate_key",
            Code::Encoding => "encoding",
            Code::Limit => "limit",
            Code::UnknownKey => "unknown_key",
            Code::UnknownVariable => "unknown_variable",
            Code::WrongType => "wrong_type",
            Code::OutOfRange => "out_of_range",
            Code::UnknownChoice => "unknown_choice",
            Code::Malformed => "malformed",
            Code::NotFinite => "not_finite",
            Code::Missing => "missing",
            Code::Conflict => "conflict",
            Code::Invalid => "invalid",
            Code::Version => "version",
            Code::Newer => "newer",
            Code::Migration => "migration",
            Code::Scope => "scope",
            Code::Permission => "permission",
            Code::Io => "io",
            Code::Unfinished => "unfinished",
            Code::Fallback => "fallback",
        }
    }
}

/// A place that a diagnostic points at, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Label {
    /// The file, variable or flag.
    pub origin: Origin,
    /// The bytes of the source meant, where there is such a place.
    pub span: Option<Range<usize>>,
    /// What is to be said of this place; may be empty.
    pub text: String,
}

impl Label {
    /// Points at the value of an origin.
    #[must_use]
    pub fn value(origin: &Origin, text: impl Into<String>) -> Self {
        let span = origin.value.clone().or_else(|| origin.key.clone());
        Self { origin: origin.clone(), span, text: text.into() }
    }

    /// Points at the key of an origin.
    #[must_use]
    pub fn key(origin: &Origin, text: impl Into<String>) -> Self {
        let span = origin.key.clone().or_else(|| origin.value.clone());
        Self { origin: origin.clone(), span, text: text.into() }
    }

    /// Where it points, as `FILE:LINE:COLUMN` or the name of the variable or flag.
    #[must_use]
    pub fn place(&self) -> String {
        self.origin.show(self.span.as_ref())
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let source = &self.origin.source;
        let start = self.span.as_ref().filter(|_| source.is_file());
        let position = start.map(|span| source.position(span.start));
        let mut out = serializer.serialize_struct("Label", 6)?;
        out.serialize_field("kind", &source.kind)?;
        out.serialize_field("source", &source.name)?;
        out.serialize_field("line", &position.map(|p| p.line))?;
        out.serialize_field("column", &position.map(|p| p.column))?;
        out.serialize_field("span", &self.span.as_ref().map(|span| [span.start, span.end]))?;
        out.serialize_field("text", &self.text)?;
        out.end()
    }
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Diagnostic {
    /// What is wrong, for programs.
    pub code: Code,
    /// Whether the document is refused for it.
    pub severity: Severity,
    /// What is wrong, for people: a fragment without a full stop.
    pub message: String,
    /// The key it is about, where there is one.
    pub key: Option<String>,
    /// The places it is about, the most telling one first.
    pub labels: Vec<Label>,
    /// The one thing to do about it, where that is known.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            key: None,
            labels: Vec::new(),
            help: None,
        }
    }

    /// A warning.
    #[must_use]
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// The same, about `key`.
    #[must_use]
    pub fn about(mut self, key: impl ToString) -> Self {
        self.key = Some(key.to_string());
        self
    }

    /// The same, pointing also at `label`.
    #[must_use]
    pub fn at(mut self, label: Label) -> Self {
        self.labels.push(label);
        self
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether the document is refused for it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    /// Plain text: the first line begins with the place; further places and the help follow, each on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.labels.first() {
            write!(f, "{}: ", first.place())?;
        }
        let severity = if self.is_error() { "error" } else { "warning" };
        write!(f, "{severity}[{}]: {}", self.code.name(), self.message)?;
        for (index, label) in self.labels.iter().enumerate() {
            match (index, label.text.is_empty()) {
                (0, true) => {}
                (0, false) => write!(f, "\n  here: {}", label.text)?,
                (_, true) => write!(f, "\n  see {}", label.place())?,
                (_, false) => write!(f, "\n  see {}: {}", label.place(), label.text)?,
            }
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Splits diagnostics into errors and warnings, errors at most [`MAX_DIAGNOSTICS`] and in the order of their places.
pub(crate) fn settle(mut all: Vec<Diagnostic>) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    fn rank(diagnostic: &Diagnostic) -> (bool, SourceKind, usize) {
        let label = diagnostic.labels.first();
        let kind = label.map_or(SourceKind::Default, |label| label.origin.source.kind);
        let start = label.and_then(|label| label.span.as_ref()).map_or(0, |span| span.start);
        (!diagnostic.is_error(), kind, start)
    }
    all.sort_by_key(rank);
    if all.iter().any(Diagnostic::is_error) {
        all.truncate(MAX_DIAGNOSTICS);
        Err(all)
    } else {
        Ok(all)
    }
}
