//! Where events go while a watch is on: lines for people, JSON for programs, or nowhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};

use crate::output::{human, json};
use crate::pipeline::{Event, Numbered, Pipeline};
use crate::target::Found;

/// How often the status line is drawn anew at most.
const REFRESH: Duration = Duration::from_millis(500);

/// How events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Not at all: the streams belong to the child.
    Silent,
    /// A line for each event worth one, and a status line when stderr is a terminal.
    Lines,
    /// A JSON document for each event, samples included.
    Json,
}

/// A name or a text from outside without what could steer a terminal, or turn the rest of a line around. The lines of a script stay
/// apart.
#[must_use]
pub fn harmless(text: &str) -> String {
    let blank = |c| if matches!(c, '\n' | '\t' | '\u{2028}' | '\u{2029}') { ' ' } else { c };
    text.chars().map(blank).filter(|c| !c.is_control() && !turns_text(*c)).collect()
}

/// The characters of Unicode's property `Bidi_Control`.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The screen of one watch. The first write that fails is kept, and nothing is written after it.
#[derive(Debug)]
pub struct Screen {
    style: Style,
    target: Found,
    live: Option<Instant>,
    /// Whether alerts are shown here, because no log tells them.
    alerts: bool,
    failed: Option<io::Error>,
}

impl Screen {
    /// A screen on which nothing of `target` is shown yet.
    #[must_use]
    pub fn new(style: Style, target: &Found) -> Self {
        let terminal = style == Style::Lines && io::stderr().is_terminal() && human::may_redraw();
        // Drawn with the first sample.
        let live =
            terminal.then(|| Instant::now().checked_sub(REFRESH).unwrap_or_else(Instant::now));
        Self { style, target: target.clone(), live, alerts: false, failed: None }
    }

    /// The same, which shows alerts too: where no log does.
    #[must_use]
    pub fn with_alerts(mut self, alerts: bool) -> Self {
        self.alerts = alerts;
        self
    }

    /// Shows one event.
    pub fn event(&mut self, numbered: &Numbered) {
        let written = match self.style {
            Style::Silent => return,
            Style::Json => writeln!(io::stdout().lock(), "{}", json::event(numbered)),
            Style::Lines if !has_line(&numbered.event, self.alerts) => return,
            Style::Lines => match human::event_line(numbered) {
                Some(line) => {
                    self.clear();
                    writeln!(stdout(), "{line}")
                }
                None => return,
            },
        };
        self.keep(written);
    }

    /// Draws the status line when it is due and there is a terminal for it.
    pub fn refresh(&mut self, pipeline: &Pipeline) {
        let (Some(drawn), Some(sample)) = (self.live, pipeline.latest()) else { return };
        if drawn.elapsed() < REFRESH {
            return;
        }
        self.live = Some(Instant::now());
        let line = human::status_line(&self.target, sample, pipeline.level(), &pipeline.verdict());
        // By itself: it is no colour, and is needed where there are none.
        self.clear();
        let written = write!(stderr(), "{line}");
        self.keep(written);
    }

    /// Takes the status line away, so that what comes next starts on a clean one.
    pub fn clear(&mut self) {
        if self.live.is_some() {
            let written = write!(io::stderr().lock(), "\r\x1b[2K");
            self.keep(written);
        }
    }

    /// Whether a write failed: nobody listens any more, or the disk is full.
    #[must_use]
    pub fn failed(&self) -> Option<&io::Error> {
        self.failed.as_ref()
    }

    /// The write that failed, for whoever tells of it.
    pub fn take_failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    fn keep(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.style = Style::Silent;
            self.live = None;
            self.failed.get_or_insert(error);
        }
    }
}

/// Whether an event has a line of its own. Alerts go to the log, where there is one; and that the level rose is said already.
fn has_line(event: &Event, alerts: bool) -> bool {
    match event {
        Event::Alert(alert) => alerts && alert.cause.name() != "level",
        _ => true,
    }
}

/// Stdout with colour where it is a terminal that wants it (`NO_COLOR`, `CLICOLOR`, `TERM=dumb` are honoured).
#[must_use]
pub fn stdout() -> AutoStream<io::StdoutLock<'static>> {
    let choice = AutoStream::choice(&io::stdout());
    AutoStream::new(io::stdout().lock(), plain_unless(choice))
}

/// Stderr, likewise.
#[must_use]
pub fn stderr() -> AutoStream<io::StderrLock<'static>> {
    let choice = AutoStream::choice(&io::stderr());
    AutoStream::new(io::stderr().lock(), plain_unless(choice))
}

fn plain_unless(choice: ColorChoice) -> ColorChoice {
    match choice {
        ColorChoice::Auto => ColorChoice::Never,
        decided => decided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Alert, Cause};
    use memleak::Severity;

    #[test]
    fn a_name_from_outside_steers_nothing() {
        assert_eq!(harmless("a\x1b[31mb\rc\nd\te"), "a[31mbc d e");
        assert_eq!(harmless("\u{9b}31m\u{202e}lamron\u{2066}\u{2028}x"), "31mlamron x");
        assert_eq!(harmless("größe 大小"), "größe 大小");
    }

    #[test]
    fn an_alert_is_told_once_by_the_log_or_by_the_screen() {
        let alert =
            |cause| Event::Alert(Alert { severity: Severity::Critical, cause, suppressed: 0 });
        let growth = alert(Cause::Growth(memleak::Cause::Rss { rss: 1 << 30 }));
        assert!(has_line(&growth, true) && !has_line(&growth, false));
        let json = serde_json::json!({
            "from": "normal", "to": "critical", "at_seconds": 1, "signal": "cgroup",
            "measure": "ratio", "value": 0.9, "threshold": 0.8, "generation": 1,
        });
        let level: mempressure::Transition = serde_json::from_value(json).unwrap();
        assert!(!has_line(&alert(Cause::Level(level)), true), "its own line says it");
        assert!(has_line(&Event::Level(level), true));
    }
}
