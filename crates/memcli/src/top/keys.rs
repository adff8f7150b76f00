//! What a key asks for.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// One wish of whoever sits at the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave.
    Quit,
    /// Leave, as `SIGINT` would.
    Interrupt,
    /// Leave, as `SIGQUIT` would.
    Abort,
    /// Give the terminal back and stop, as `SIGTSTP` would.
    Suspend,
    /// Stop the chart where it is, or let it go on.
    Pause,
    /// Move the cursor by this many columns.
    Scrub(i32),
    /// Move the cursor to the oldest sample.
    Oldest,
    /// Back to now.
    Live,
    /// The next pane.
    NextPane,
    /// Scroll the pane by this many lines.
    Scroll(i32),
    /// The next number to plot.
    NextMetric,
    /// The next range of the chart's height.
    Zoom,
    /// A shorter (-1) or longer (1) time.
    Span(i32),
    /// Show or hide the keys.
    Help,
    /// Write a trace from now on, or end it.
    Save,
    /// The keys that follow are letters of the filter.
    Filter,
    /// A letter of the filter.
    Type(char),
    /// Take the last letter of the filter away.
    Erase,
    /// The filter is as it should be.
    Typed,
}

/// The keys and what they do, as the help shows them.
pub const HELP: [(&str, &str); 13] = [
    ("q", "quit"),
    ("space", "stop the chart, or let it go on"),
    ("left right", "move the cursor; with shift ten columns"),
    ("home", "the oldest sample"),
    ("end esc", "back to now"),
    ("tab", "next pane"),
    ("up down", "scroll the pane"),
    ("m", "plot another number"),
    ("z", "height: from 0, the data alone, up to the limit"),
    ("+ -", "longer or shorter time"),
    ("/", "show only processes and events with these letters"),
    ("s", "write a trace from now on, or end it"),
    ("?", "these keys"),
];

/// The keys of which the kernel makes signals, but for a program that has taken the terminal over.
fn signal(key: KeyEvent) -> Option<Action> {
    if !key.modifiers.contains(KeyModifiers::CONTROL) {
        return None;
    }
    match key.code {
        KeyCode::Char('c') => Some(Action::Interrupt),
        // Ctrl-\ is told as Ctrl-4 by terminals that send one byte for both.
        KeyCode::Char('\\' | '4') => Some(Action::Abort),
        KeyCode::Char('z') => Some(Action::Suspend),
        _ => None,
    }
}

/// What `key` asks for, if anything.
#[must_use]
pub fn action(key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if let Some(action) = signal(key) {
        return Some(action);
    }
    let far = if key.modifiers.contains(KeyModifiers::SHIFT) { 10 } else { 1 };
    Some(match key.code {
        KeyCode::Char(_) if key.modifiers.contains(KeyModifiers::CONTROL) => return None,
        KeyCode::Char('q' | 'Q') => Action::Quit,
        KeyCode::Char(' ') => Action::Pause,
        KeyCode::Left => Action::Scrub(-far),
        KeyCode::Right => Action::Scrub(far),
        KeyCode::Home => Action::Oldest,
        KeyCode::End | KeyCode::Esc => Action::Live,
        KeyCode::Tab => Action::NextPane,
        KeyCode::Up => Action::Scroll(-1),
        KeyCode::Down => Action::Scroll(1),
        KeyCode::PageUp => Action::Scroll(-10),
        KeyCode::PageDown => Action::Scroll(10),
        KeyCode::Char('m') => Action::NextMetric,
        KeyCode::Char('z') => Action::Zoom,
        KeyCode::Char('+' | '=') => Action::Span(1),
        KeyCode::Char('-') => Action::Span(-1),
        KeyCode::Char('/') => Action::Filter,
        KeyCode::Char('s') => Action::Save,
        KeyCode::Char('?' | 'h') => Action::Help,
        _ => return None,
    })
}

/// What `key` asks for while the filter is typed, if anything.
#[must_use]
pub fn typed(key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if let Some(action) = signal(key) {
        return Some(action);
    }
    Some(match key.code {
        KeyCode::Char(letter) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
            Action::Type(letter)
        }
        KeyCode::Backspace => Action::Erase,
        KeyCode::Enter | KeyCode::Tab => Action::Typed,
        KeyCode::Esc => Action::Live,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ask_for_what_the_help_says() {
        let press = |code| action(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(press(KeyCode::Char('q')), Some(Action::Quit));
        assert_eq!(press(KeyCode::Left), Some(Action::Scrub(-1)));
        assert_eq!(press(KeyCode::Char('x')), None);
        let shift = action(KeyEvent::new(KeyCode::Right, KeyModifiers::SHIFT));
        assert_eq!(shift, Some(Action::Scrub(10)));
        let control = |c| action(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
        assert_eq!(control('c'), Some(Action::Interrupt));
        assert_eq!(control('q'), None);
        assert_eq!(control('z'), Some(Action::Suspend));
        assert_eq!((control('\\'), control('4')), (Some(Action::Abort), Some(Action::Abort)));
        let filtered = typed(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL));
        assert_eq!(filtered, Some(Action::Suspend));
        let mut released = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        released.kind = KeyEventKind::Release;
        assert_eq!(action(released), None);
        let typed = |code| typed(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(typed(KeyCode::Char('q')), Some(Action::Type('q')), "a letter like any other");
        assert_eq!(typed(KeyCode::Enter), Some(Action::Typed));
    }
}
