//! How wide a page is, and rows that stay within it.

use std::fmt::Write as _;
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// The fewest columns that anything is laid out for.
const LEAST: usize = 40;
/// The most: a wider paragraph is hard to read on any terminal.
const MOST: usize = 120;
/// Columns of the names of rows, with the blanks around them.
const NAME: usize = 12;

/// The columns of whoever reads `stream`: what `COLUMNS` says, else those of the terminal, else `otherwise`.
#[must_use]
pub fn columns(stream: impl AsFd, otherwise: usize) -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse::<usize>().ok());
    let terminal = || tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col));
    let columns = told.or_else(terminal).filter(|columns| *columns > 0);
    columns.map_or(otherwise, |columns| columns.clamp(LEAST, MOST))
}

/// Writes a row under its name, broken at words.
pub(super) fn row(text: &mut String, columns: usize, name: &str, value: &str) {
    let indent = " ".repeat(NAME);
    let options = textwrap::Options::new(columns.min(100)).subsequent_indent(&indent);
    let _ = writeln!(text, "{}", textwrap::fill(&format!("  {name:<9} {value}"), options));
}
