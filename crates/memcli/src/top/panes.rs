//! The lists below the chart: processes or signals, and events.

use memtrack::{Reading, Size};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span as Text};

use crate::top::head::says;
use crate::top::state::{Pane, State};
use crate::top::theme::Theme;
use crate::top::view::boxed;

fn pane_title(name: &str, pane: Pane, state: &State) -> Line<'static> {
    let style = if state.pane == pane {
        Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    } else {
        Style::new()
    };
    Line::from(vec![Text::raw(" "), Text::styled(name.to_owned(), style), Text::raw(" ")])
}

pub(super) fn processes(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let head = format!(
        "{:>8} {:>10} {:>10} {:>10} {:>8} {:>11}  command",
        "PID", "PSS", "RSS", "anon", "swap", "1 min"
    );
    let mut lines = vec![Line::styled(head, theme.dim())];
    let rows: Vec<_> = state.process_rows().collect();
    let bytes = |reading: Reading<u64>| match reading {
        Ok(0) => "0".to_owned(),
        Ok(bytes) => Size(bytes).to_string(),
        Err(_) => "?".to_owned(),
    };
    for row in rows.iter().skip(state.scrolled[Pane::Processes as usize]) {
        let memory = &row.memory;
        let gain = row.gain.map_or("?".to_owned(), |gain| match gain {
            0 => "0".to_owned(),
            _ => {
                let sign = if gain > 0 { '+' } else { '-' };
                format!("{sign}{}", Size(gain.unsigned_abs()))
            }
        });
        let branch = match row.depth {
            0 => String::new(),
            depth => format!("{}{} ", "  ".repeat(depth - 1), theme.glyph("└", "`-")),
        };
        lines.push(Line::raw(format!(
            "{:>8} {:>10} {:>10} {:>10} {:>8} {gain:>11}  {branch}{}",
            row.id.pid,
            bytes(memory.pss),
            bytes(memory.rss),
            bytes(memory.anon),
            bytes(memory.swap),
            row.command
        )));
    }
    let name = match rows.len() {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    };
    let name = match more_below(lines.len().saturating_sub(1), area.height, 1) {
        0 => name,
        more => format!("{name}, {more} more below"),
    };
    boxed(frame, area, pane_title(&name, Pane::Processes, state), lines, theme);
}

/// How many of so many lines do not fit into a pane of this height that has `heads` lines above them.
fn more_below(lines: usize, height: u16, heads: u16) -> usize {
    lines.saturating_sub(usize::from(height.saturating_sub(2 + heads)))
}

/// What stands in for the processes of a target that has none: how each signal votes.
pub(super) fn signals(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let lines = state.judged.status.signals.iter().map(|signal| {
        let vote = signal.vote.map_or("-", mempressure::Level::as_str);
        let style = signal.vote.map_or(theme.dim(), |vote| theme.level(vote));
        Line::from(vec![
            Text::raw(format!("{:>10}  ", signal.signal)),
            Text::styled(format!("{vote:<10}"), style),
            Text::raw(says(signal)),
        ])
    });
    boxed(frame, area, pane_title("signals", Pane::Processes, state), lines.collect(), theme);
}

/// An event in lines of a pane that is so wide: the reason for a refusal stands at its end.
pub(super) fn wrapped(event: &str, width: u16) -> Vec<String> {
    // Below its text, as far as there is one column for the time and one for the kind.
    let options = textwrap::Options::new(usize::from(width.saturating_sub(2)).max(20));
    let options = options.initial_indent(" ").subsequent_indent("            ");
    textwrap::wrap(event, options).into_iter().map(std::borrow::Cow::into_owned).collect()
}

pub(super) fn happened(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let lines: Vec<Line<'static>> = state
        .event_lines()
        .skip(state.scrolled[Pane::Events as usize])
        .flat_map(|event| wrapped(event, area.width))
        .map(Line::raw)
        .collect();
    let name = match more_below(lines.len(), area.height, 0) {
        0 => "events".to_owned(),
        more => format!("events, {more} more below"),
    };
    boxed(frame, area, pane_title(&name, Pane::Events, state), lines, theme);
}
