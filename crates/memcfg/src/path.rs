//! The name of a key: `budget.components.cache`, `pressure.signals[2]`.

use std::fmt;

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A key of a table.
    Key(String),
    /// An element of an array.
    Index(usize),
}

/// The way from the root of a document to one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(pub Vec<Segment>);

impl KeyPath {
    /// The root of the document.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads `a.b."c.d"[3]`. Text that is no such path is read as far as it is one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut segments = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(quoted) = rest.strip_prefix('"') {
                let end = quoted.find('"').unwrap_or(quoted.len());
                segments.push(Segment::Key(quoted[..end].to_owned()));
                rest = quoted.get(end + 1..).unwrap_or("");
            } else if let Some(bracketed) = rest.strip_prefix('[') {
                let end = bracketed.find(']').unwrap_or(bracketed.len());
                if let Ok(index) = bracketed[..end].parse() {
                    segments.push(Segment::Index(index));
                }
                rest = bracketed.get(end + 1..).unwrap_or("");
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                if end > 0 {
                    segments.push(Segment::Key(rest[..end].to_owned()));
                }
                rest = &rest[end..];
            }
            rest = rest.strip_prefix('.').unwrap_or(rest);
        }
        Self(segments)
    }

    /// The path of a key inside this one.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment::Key(name.to_owned()));
        Self(segments)
    }

    /// The path of an element inside this one.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment::Index(index));
        Self(segments)
    }

    /// The path of the table or array this is in, and this step; nothing for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, &Segment)> {
        let (last, parents) = self.0.split_last()?;
        Some((Self(parents.to_vec()), last))
    }

    /// The keys, without array elements.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) => None,
        })
    }

    /// Whether this lies inside `other`, or is it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl From<&str> for KeyPath {
    fn from(text: &str) -> Self {
        Self::parse(text)
    }
}

/// Whether a key needs no quotes in TOML.
pub(crate) fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Index(index) => text.push_str(&format!("[{index}]")),
                Segment::Key(key) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    if is_bare(key) || key == crate::schema::ANY {
                        text.push_str(key);
                    } else {
                        text.push_str(&format!("\"{key}\""));
                    }
                }
            }
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_back() {
        for text in ["", "a", "a.b.c", "a.\"b.c\"", "a.b[3].c", "a[0][1]"] {
            assert_eq!(KeyPath::parse(text).to_string(), text);
        }
    }

    #[test]
    fn no_text_panics() {
        for text in ["..", "[", "\"", "a[", "a[x]", "a.\"", "[]]", ".a"] {
            let _ = KeyPath::parse(text);
        }
    }
}
