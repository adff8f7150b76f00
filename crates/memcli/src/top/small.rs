//! The view where there is no room for it: the most important lines first, as many as there are rows, and a chart where one fits.

use memtrack::Size;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span as Text};
use ratatui::widgets::Paragraph;

use crate::output::growth::rate_beside;
use crate::output::status::of;
use crate::size::size;
use crate::top::chart::Chart;
use crate::top::head::time_to_limit;
use crate::top::keys::HELP;
use crate::top::state::State;
use crate::top::theme::Theme;
use crate::top::view::LEAST;

/// The least room for a chart among the lines.
const CHART: (u16, u16) = (40, 6);

/// Draws what fits.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    if state.help {
        let lines = HELP.iter().map(|(key, what)| Line::raw(format!("{key:<12}{what}")));
        return frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
    }
    if area.height <= 1 {
        return frame.render_widget(one(state, theme, area.width), area);
    }
    let lines = lines(state, theme);
    let rows = (lines.len() as u16).min(area.height - 1);
    let [said, chart, keys] =
        Layout::vertical([Constraint::Length(rows), Constraint::Fill(1), Constraint::Length(1)])
            .areas(area);
    frame.render_widget(Paragraph::new(lines), said);
    if chart.width >= CHART.0 && chart.height >= CHART.1 {
        let [name, chart] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(chart);
        frame.render_widget(Line::styled(state.metric.name(), theme.dim()), name);
        frame.render_widget(Chart { state, theme }, chart);
    }
    let (columns, rows) = LEAST;
    let more = format!("q quit   ? keys   {columns}x{rows} shows it all");
    frame.render_widget(Line::styled(more, theme.dim()), keys);
}

/// A line a fact, the most important first.
fn lines(state: &State, theme: Theme) -> Vec<Line<'static>> {
    let judged = &state.judged;
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let (status, verdict) = (&judged.status, &judged.verdict);
    let dot = theme.glyph("●", "*");
    let level = format!("{dot} {}", status.level.as_str());
    let mut lines = vec![
        Line::from(vec![
            Text::styled(level, theme.level(status.level).add_modifier(Modifier::BOLD)),
            Text::raw(format!("  {}", sized(state))),
        ]),
        Line::styled(state.label.clone(), bold),
    ];
    let rate = match verdict.trend() {
        Some(_) => rate_beside(verdict).unwrap_or_default(),
        None => "too few samples".to_owned(),
    };
    let kind = verdict.kind();
    lines.push(Line::from(vec![
        Text::styled(kind, theme.verdict(kind)),
        Text::raw(format!("  {rate}")),
    ]));
    if let Ok(limit) = &judged.limit {
        lines.push(Line::raw(format!(
            "{}, {:.0} %: {}",
            of(limit.used, limit.bytes),
            limit.ratio() * 100.0,
            limit.owner
        )));
    }
    lines.extend(time_to_limit(state).map(Line::raw));
    lines
}

fn sized(state: &State) -> String {
    let reading = state.sample.as_ref().and_then(|sample| size(&state.watched, sample).ok());
    reading.map_or("?".to_owned(), |(bytes, measure)| format!("{} {measure}", Size(bytes)))
}

/// Everything on one line, with what matters most where it is not cut off.
fn one(state: &State, theme: Theme, columns: u16) -> Line<'static> {
    let judged = &state.judged;
    let limit = judged.limit.as_ref();
    let share = limit.map_or(String::new(), |limit| format!("{:.0} %  ", limit.ratio() * 100.0));
    let kind = judged.verdict.kind();
    let level = judged.status.level;
    let mut parts = vec![
        Text::styled(level.as_str(), theme.level(level)),
        Text::raw(format!("  {}  {share}", sized(state))),
        Text::styled(kind, theme.verdict(kind)),
        Text::raw(format!("  {}", state.label)),
    ];
    let quit = "  q quit";
    let taken: usize = parts.iter().map(Text::width).sum();
    if taken + quit.len() <= usize::from(columns) {
        parts.push(Text::styled(quit, theme.dim()));
    }
    Line::from(parts)
}
