//! Colours and characters, and how to do without either.

use mempressure::Level;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Colours are wanted.
    pub colour: bool,
    /// The locale can show more than ASCII.
    pub unicode: bool,
}

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

impl Theme {
    /// The style of a level; the word beside it says the same.
    #[must_use]
    pub fn level(self, level: Level) -> Style {
        match level {
            Level::Normal => self.foreground(Color::Green),
            Level::Warning => self.foreground(Color::Yellow),
            Level::Critical => self.foreground(Color::LightRed),
            Level::Emergency => self.foreground(Color::Red).add_modifier(Modifier::BOLD),
            Level::Unknown => self.foreground(Color::Gray),
        }
    }

    /// The style of a verdict, by its kind.
    #[must_use]
    pub fn verdict(self, kind: &str) -> Style {
        match kind {
            "steady" => self.foreground(Color::Green),
            "growing" => self.foreground(Color::Yellow),
            "leak" => self.foreground(Color::LightRed).add_modifier(Modifier::BOLD),
            _ => self.foreground(Color::Gray),
        }
    }

    /// What stands back: borders, labels, hints.
    #[must_use]
    pub fn dim(self) -> Style {
        self.foreground(Color::DarkGray)
    }

    /// The fitted line.
    #[must_use]
    pub fn fit(self) -> Style {
        self.foreground(Color::Cyan)
    }

    /// The characters of borders.
    #[must_use]
    pub fn border(self) -> border::Set<'static> {
        if self.unicode { border::PLAIN } else { ASCII_BORDER }
    }

    /// A bar that fills `eighths` of a character cell from below, 1 to 8.
    #[must_use]
    pub fn bar(self, eighths: u64) -> &'static str {
        if !self.unicode {
            return if eighths >= 4 { "#" } else { "." };
        }
        match eighths {
            0 | 1 => "▁",
            2 => "▂",
            3 => "▃",
            4 => "▄",
            5 => "▅",
            6 => "▆",
            7 => "▇",
            _ => "█",
        }
    }

    /// The first where it can be shown, else the second.
    #[must_use]
    pub fn glyph(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }

    fn foreground(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}
