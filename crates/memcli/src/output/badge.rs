//! A mark and a word for a level or a verdict. The word carries the meaning; mark and colour only repeat it.

use std::ffi::OsString;
use std::fmt;

use anstyle::Style;
use mempressure::Level;

use crate::output::human::{level_style, verdict_style};

/// How marks are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// A coloured dot before the word: `🟠 critical`.
    Emoji,
    /// The word in brackets: `[CRITICAL]`.
    Plain,
}

impl Marks {
    /// Emoji, unless they are not wanted or the locale cannot show them.
    #[must_use]
    pub fn choose(no_emoji: bool) -> Self {
        Self::with(no_emoji, |name| std::env::var_os(name))
    }

    fn with(no_emoji: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        if no_emoji || !is_utf8(variable) { Marks::Plain } else { Marks::Emoji }
    }

    /// The badge of a level.
    #[must_use]
    pub fn level(self, level: Level) -> Badge {
        let mark = match level {
            Level::Normal => "🟢",
            Level::Warning => "🟡",
            Level::Critical => "🟠",
            Level::Emergency => "🔴",
            Level::Unknown => "⚪",
        };
        Badge { marks: self, mark, word: level.as_str(), style: level_style(level) }
    }

    /// The badge of a verdict, by its kind.
    #[must_use]
    pub fn verdict(self, kind: &'static str) -> Badge {
        let mark = match kind {
            "steady" => "🟢",
            "growing" => "🟡",
            "leak" => "🔴",
            _ => "⚪",
        };
        Badge { marks: self, mark, word: kind, style: verdict_style(kind) }
    }
}

/// Whether text in this locale may hold more than ASCII: the first of the three variables that is set decides (POSIX,
/// chapter 8). Without any the locale is `C`, which is what many services and containers run in, and plain.
fn is_utf8(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(variable)
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// A mark and a word, padded to line up.
#[derive(Clone, Copy, Debug)]
pub struct Badge {
    marks: Marks,
    mark: &'static str,
    word: &'static str,
    style: Style,
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { marks, mark, word, style } = self;
        // The longest are `[EMERGENCY]` and `[UNDECIDED]`. An emoji is two columns wide.
        match marks {
            Marks::Emoji => {
                write!(f, "{mark} {style}{word}{style:#}{:1$}", "", 10 - word.len().min(9))
            }
            Marks::Plain => {
                let word = word.to_ascii_uppercase();
                write!(f, "[{style}{word}{style:#}]{:1$}", "", 10 - word.len().min(9))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(badge: Badge) -> String {
        anstream::adapter::strip_str(&badge.to_string()).to_string()
    }

    #[test]
    fn the_word_is_there_whatever_the_mark() {
        assert_eq!(plain(Marks::Emoji.level(Level::Critical)), "🟠 critical  ");
        assert_eq!(plain(Marks::Plain.level(Level::Critical)), "[CRITICAL]  ");
        assert_eq!(plain(Marks::Plain.level(Level::Emergency)), "[EMERGENCY] ");
        assert_eq!(plain(Marks::Emoji.verdict("undecided")), "⚪ undecided ");
    }

    #[test]
    fn a_locale_without_utf8_gets_no_emoji() {
        let choose = |no_emoji, set: &[(&str, &str)]| {
            Marks::with(no_emoji, |name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
            })
        };
        assert_eq!(choose(false, &[("LANG", "C.UTF-8")]), Marks::Emoji);
        assert_eq!(choose(false, &[("LANG", "de_DE.utf8")]), Marks::Emoji);
        assert_eq!(choose(true, &[("LANG", "C.UTF-8")]), Marks::Plain);
        assert_eq!(choose(false, &[("LC_ALL", "C"), ("LANG", "C.UTF-8")]), Marks::Plain);
        assert_eq!(choose(false, &[("LC_ALL", ""), ("LANG", "C.UTF-8")]), Marks::Emoji);
        assert_eq!(choose(false, &[]), Marks::Plain);
    }
}
