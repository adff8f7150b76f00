//! `memcli doctor`: what works here and what does not, with a remedy.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use serde_json::json;

use crate::cli::DoctorArgs;
use crate::commands::written;
use crate::doctor::{Row, State, examine};
use crate::exit::{self, Failure};
use crate::live;
use crate::output::badge::Marks;
use crate::output::page::columns;
use crate::output::screen;

/// The name and version of the document.
pub const SCHEMA: &str = "memcli.doctor/1";

/// The least columns for what a row says.
const LEAST_ROOM: usize = 30;

/// Shows every row.
///
/// # Errors
/// When the output cannot be written.
pub fn doctor(args: &DoctorArgs, config: Option<&Path>) -> Result<u8, Failure> {
    let rows = examine(&live::places(), config);
    written(if args.json {
        writeln!(screen::stdout(), "{}", json!({ "schema": SCHEMA, "rows": rows }))
    } else {
        write!(
            screen::stdout(),
            "{}",
            lines(&rows, Marks::choose(args.no_emoji), columns(std::io::stdout(), 120))
        )
    })?;
    Ok(exit::OK)
}

/// A line for each row, and one for its remedy.
pub(crate) fn lines(rows: &[Row], marks: Marks, columns: usize) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let (emoji, word, colour) = match row.state {
            State::Yes => ("🟢", "yes", AnsiColor::Green),
            State::Partly => ("🟡", "partly", AnsiColor::Yellow),
            State::No => ("🔴", "no", AnsiColor::Red),
        };
        let style = Style::new().fg_color(Some(colour.into()));
        let mark = match marks {
            Marks::Emoji => format!("{emoji} {style}{word:<6}{style:#}"),
            Marks::Plain => {
                let pad = 6 - word.len();
                format!("[{style}{}{style:#}]{:pad$}", word.to_uppercase(), "")
            }
        };
        let indent = width + if marks == Marks::Emoji { 12 } else { 11 };
        // Where too little is left beside the names, below them.
        let narrow = columns < indent + LEAST_ROOM;
        let indent = " ".repeat(if narrow { 4 } else { indent });
        let fill = |said: &str| {
            let room = columns.saturating_sub(indent.len()).max(LEAST_ROOM);
            textwrap::fill(said, room).replace('\n', &format!("\n{indent}"))
        };
        if narrow {
            let _ = writeln!(text, "{mark}  {}\n{indent}{}", row.name, fill(&row.says));
        } else {
            let _ = writeln!(text, "{mark}  {:<width$} {}", row.name, fill(&row.says));
        }
        if let Some(remedy) = &row.remedy {
            let arrow = if marks == Marks::Emoji { "→" } else { "->" };
            let _ = writeln!(text, "{indent}{}", fill(&format!("{arrow} {remedy}")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_a_narrow_terminal() {
        let rows = [Row {
            name: "PSI averages",
            state: State::No,
            says: "permission denied to whoever asks from within this container".into(),
            remedy: Some("a kernel from 4.20 with CONFIG_PSI, booted with psi=1".into()),
        }];
        for columns in [40, 50, 60, 80] {
            let text =
                anstream::adapter::strip_str(&lines(&rows, Marks::Plain, columns)).to_string();
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}:\n{text}");
        }
    }

    #[test]
    fn a_no_stands_beside_its_remedy() {
        let row = |state, remedy: Option<&str>| Row {
            name: "PSI",
            state,
            says: "not available\nhere".into(),
            remedy: remedy.map(Into::into),
        };
        let rows = [row(State::Yes, None), row(State::No, Some("boot with psi=1"))];
        let plain = |marks| anstream::adapter::strip_str(&lines(&rows, marks, 120)).to_string();
        assert_eq!(
            plain(Marks::Plain),
            "[YES]     PSI not available\n              here\n\
             [NO]      PSI not available\n              here\n              -> boot with psi=1\n"
        );
        assert!(plain(Marks::Emoji).contains("🔴 no"));
    }
}
