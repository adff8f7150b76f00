//! Paints a [`State`]: lays out header, chart, processes and events, or the little that fits into a small terminal.

use std::time::Duration;

use memtrack::{Sample, Size, Span};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect, Spacing};
use ratatui::style::{Modifier, Style};
use ratatui::symbols::merge::MergeStrategy;
use ratatui::text::{Line, Span as Text};
use ratatui::widgets::{Block, Clear, Paragraph};

use crate::output::human::time_of_day;
use crate::size::several;
use crate::top::chart::{Chart, columns};
use crate::top::head::{coarse, head, title_line};
use crate::top::history::Metric;
use crate::top::keys::HELP;
use crate::top::panes::{happened, processes, signals, wrapped};
use crate::top::small;
use crate::top::state::{State, Zoom};
use crate::top::theme::Theme;

/// The least room for the whole view.
pub const LEAST: (u16, u16) = (80, 24);
/// Rows of the header with its borders.
const HEADER: u16 = 5;
/// Rows of the events with their borders.
const EVENTS: u16 = 5;

/// How many columns of data the chart has in an area this wide.
#[must_use]
pub fn chart_columns(width: u16) -> usize {
    columns(width.saturating_sub(2))
}

/// Draws the whole view.
pub fn draw(frame: &mut Frame<'_>, state: &State, theme: Theme) {
    paint(frame, state, theme);
    if !theme.unicode {
        // Commands and events bring their own characters.
        for cell in frame.buffer_mut().content.iter_mut().filter(|cell| !cell.symbol().is_ascii()) {
            let plain = if cell.symbol() == "±" { "~" } else { "?" };
            cell.set_symbol(plain);
        }
    }
}

fn paint(frame: &mut Frame<'_>, state: &State, theme: Theme) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        return small::draw(frame, area, state, theme);
    }
    let [title, body, keys] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(area);
    // The table needs no more rows than there are processes; the chart takes what is left.
    let rows = match state.process_rows().count() {
        // The signals.
        0 => 5,
        // Room for a few that come and go, so that the view does not jump.
        count => count.max(3) + 1,
    };
    // What the events do not need is room for processes.
    let mut events = state.event_lines().map(|event| wrapped(event, area.width).len() as u16);
    // The newest is shown to its end.
    let newest = events.next().unwrap_or(1);
    let all = events.take(usize::from(EVENTS)).fold(newest, u16::saturating_add);
    let events = all.saturating_add(2).min(EVENTS.max(newest.min(EVENTS) + 2));
    let most = usize::from(body.height) / 3 + usize::from(EVENTS.saturating_sub(events));
    let rows = (rows + 2).min(most);
    let [header, chart, table, events] = Layout::vertical([
        Constraint::Length(HEADER),
        Constraint::Min(6),
        Constraint::Length(rows as u16),
        Constraint::Length(events),
    ])
    .spacing(Spacing::Overlap(1))
    .areas(body);
    title_line(frame, title, state, theme);
    head(frame, header, state, theme);
    plot(frame, chart, state, theme);
    if state.process_rows().next().is_none() && state.filter.is_empty() {
        signals(frame, table, state, theme);
    } else {
        processes(frame, table, state, theme);
    }
    happened(frame, events, state, theme);
    key_line(frame, keys, state, theme);
    if state.help {
        help(frame, body, theme);
    }
}

fn block(title: impl Into<Line<'static>>, theme: Theme) -> Block<'static> {
    Block::bordered()
        .border_set(theme.border())
        .border_style(theme.dim())
        .merge_borders(MergeStrategy::Exact)
        .title(title)
}

/// A block with its lines, cut where it is too small.
pub(super) fn boxed(
    frame: &mut Frame<'_>,
    area: Rect,
    title: impl Into<Line<'static>>,
    lines: Vec<Line<'static>>,
    theme: Theme,
) {
    frame.render_widget(Paragraph::new(lines).block(block(title, theme)), area);
}

fn plot(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let zoom = match state.zoom {
        Zoom::Zero => "from 0",
        Zoom::Data => "the data alone",
        Zoom::Limit => "up to the limit",
    };
    let (span, all) = (state.history.span(), state.history.shows_all());
    let covers = if all { format!("all {}", Span(span)) } else { format!("last {}", coarse(span)) };
    let mut title = vec![
        Text::raw(format!(" {} ", state.metric_name())),
        Text::styled(summed(state), theme.dim()),
        Text::styled(format!("{covers}, {zoom} "), theme.dim()),
    ];
    if let Some(point) = state.history.under_cursor() {
        let value = point.value(state.metric).map_or("unknown".to_owned(), |v| Size(v).to_string());
        let ago = state
            .sample
            .as_ref()
            .map_or(Duration::ZERO, |s| s.at.monotonic.saturating_sub(point.at));
        title.push(Text::styled(
            format!(
                " {} ({} ago): {value}, {} ",
                time_of_day(point.wall),
                coarse(ago),
                point.level
            ),
            Style::new().add_modifier(Modifier::REVERSED),
        ));
    } else if state.history.is_stopped() {
        title.push(Text::styled(" STOPPED ", Style::new().add_modifier(Modifier::REVERSED)));
    }
    let block = block(Line::from(title), theme);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    frame.render_widget(Chart { state, theme }, inner);
}

/// That the number counts what several processes share once for each, unlike the size above.
fn summed(state: &State) -> &'static str {
    let sums = |sample: &Sample| match state.metric {
        Metric::Rss => several(sample),
        // Where nobody can tell what they share.
        Metric::Private => several(sample) && sample.process.pss_anon.is_err(),
        _ => false,
    };
    let room = state.history.under_cursor().is_none();
    if room && state.sample.as_ref().is_some_and(sums) { "summed, " } else { "" }
}

fn key_line(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    if state.typing || !state.filter.is_empty() {
        let cursor = if state.typing { "_" } else { "" };
        let does =
            if state.typing { "enter keep   esc take away" } else { "/ change   esc take away" };
        let line = Line::from(vec![
            Text::styled(
                format!(" /{}{cursor}", state.filter),
                Style::new().add_modifier(Modifier::BOLD),
            ),
            Text::styled(format!("   {does}"), theme.dim()),
        ]);
        return frame.render_widget(line, area);
    }
    let arrows = theme.glyph("← →", "left right");
    let pause = if state.history.is_stopped() { "esc now" } else { "space stop" };
    // As much as 80 columns hold.
    let keys = format!(
        " q quit  ? keys  {pause}  {arrows} look back  m number  z height  / filter  s save"
    );
    frame.render_widget(Line::styled(keys, theme.dim()), area);
}

fn help(frame: &mut Frame<'_>, area: Rect, theme: Theme) {
    let lines: Vec<Line<'static>> = HELP
        .iter()
        .map(|(key, what)| {
            let bold = Style::new().add_modifier(Modifier::BOLD);
            Line::from(vec![Text::styled(format!(" {key:<12}"), bold), Text::raw(*what)])
        })
        .collect();
    let (width, height) = (66, HELP.len() as u16 + 2);
    let area = area.centered(Constraint::Length(width), Constraint::Length(height));
    frame.render_widget(Clear, area);
    let block = Block::bordered().border_set(theme.border()).title(" keys ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::keys::Action;
    use crate::top::state::tests::{fed, feed};
    use memleak::{Detector, LeakConfig};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(state: &State, columns: u16, rows: u16, unicode: bool) -> Vec<String> {
        let theme = Theme { colour: false, unicode };
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(frame, state, theme)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..columns).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..rows).map(|y| row(y).trim_end().to_owned()).collect()
    }

    /// Two minutes of 1 MiB a second, judged by the real detector.
    fn leaking() -> State {
        let mut state = fed(0, |_| 0);
        let mut detector = Detector::new(&LeakConfig::default());
        for second in 0..120 {
            detector.push(Duration::from_secs(second), (second + 100) << 20);
        }
        detector.conclude();
        state.judged.verdict = detector.verdict();
        feed(&mut state, 0..120, |second| (second + 100) << 20);
        state.note("00:01:30Z level    normal -> warning (cgroup 0.71, threshold 0.70)".into());
        state
    }

    #[test]
    fn the_whole_view_on_the_smallest_screen() {
        let shown = drawn(&leaking(), 80, 24, true);
        let expected =
            "\x20worker(4321)+7  222.0 MiB RSS   every 1.0 s                          00:01:59Z
┌ ● NORMAL for 1 min 59 s ┬ growth: LEAK ────────────┬ cgroup /app: 4.0 GiB ───┐
│no signal votes          │+1.0 MiB/s                │██████░░░░░░░░░░░░░░ 30 %│
│stalls: not read         │95 %: ±0.0 % of it        │1.2 of 4.0 GiB           │
│                         │115.3 MiB so far          │full in about 47 min     │
├ anon + swap last 5 min, from 0 ────────────────────┴─────────────────────────┤";
        assert_eq!(shown[..6].join("\n"), expected);
        assert_eq!(shown.len(), 24);
        let text = shown.join("\n");
        for part in ["█", "╌", "signals", "normal -> warning", "q quit", "└", "┘"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn a_recording_of_four_seconds_fills_its_chart() {
        let mut state = fed(0, |_| 0);
        (state.recorded, state.history) = (true, crate::top::history::History::new(true));
        feed(&mut state, 0..5, |_| 100 << 20);
        let shown = drawn(&state, 80, 24, true);
        assert!(shown[5].contains(" all 4.0 s, from 0 "), "{}", shown[5]);
        let floor = shown.iter().rfind(|line| line.contains('█')).unwrap();
        assert!(floor.matches('█').count() > 60, "{}", shown.join("\n"));
    }

    #[test]
    fn a_pane_that_shows_a_part_says_how_much_is_below() {
        use crate::trace::tree::{ProcessRow, ProcessesRow};
        let mut state = leaking();
        state.recorded = true;
        let row = |pid| ProcessRow { pid, start: 1, rss: Some(1 << 20), ..ProcessRow::default() };
        let tree = |count| ProcessesRow { t: 1.0, rows: (1..=count).map(row).collect(), more: 0 };
        state.events.clear();
        state.tree(&tree(5));
        let shown = drawn(&state, 80, 24, true).join("\n");
        // The room of events that did not happen is theirs.
        assert!(shown.contains("5 processes ") && !shown.contains("more below"), "{shown}");
        (0..9).for_each(|n| state.note(format!("event {n}")));
        let shown = drawn(&state, 80, 24, true).join("\n");
        assert!(shown.contains("5 processes, 1 more below"), "{shown}");
        assert!(shown.contains("events, 6 more below"), "{shown}");
        state.act(Action::Scroll(1), 60);
        let shown = drawn(&state, 80, 24, true).join("\n");
        assert!(shown.contains("5 processes ") && !shown.contains("processes, "), "{shown}");
    }

    #[test]
    fn an_event_that_is_longer_than_a_line_is_shown_to_its_end() {
        let mut state = leaking();
        state.events.clear();
        let reason = "config edit refused, the one before stays in force: config.toml:3:1: \
                      error[unknown_key]: there is no key `pressure.bnad` in this \
                      version; help: did you mean `pressure.band`, as in the reference?";
        state.note(format!("00:01:30Z {reason}"));
        for columns in [80, 100] {
            let shown = drawn(&state, columns, 24, true);
            let text: Vec<_> = shown.join(" ").split_whitespace().map(str::to_owned).collect();
            let text = text.join(" ").replace("│", " ");
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(reason), "{columns}:\n{}", shown.join("\n"));
        }
    }

    #[test]
    fn without_unicode_every_character_is_ascii() {
        let mut state = leaking();
        state.act(Action::Zoom, 60);
        state.act(Action::Zoom, 60);
        state.act(Action::Scrub(-5), 60);
        state.act(Action::Help, 60);
        for (columns, rows) in [(80, 24), (120, 40), (20, 3)] {
            let text = drawn(&state, columns, rows, false).join("\n");
            assert!(text.is_ascii(), "{text}");
        }
    }

    #[test]
    fn where_there_is_no_room_the_most_important_comes_first() {
        assert_eq!(
            drawn(&leaking(), 70, 1, true),
            ["normal  222.0 MiB RSS  30 %  leak  worker(4321)+7  q quit"]
        );
        assert_eq!(drawn(&leaking(), 22, 1, true), ["normal  222.0 MiB RSS"]);
        let shown = drawn(&leaking(), 30, 6, true);
        let expected = [
            "● normal  222.0 MiB RSS",
            "worker(4321)+7",
            "leak  +1.0 MiB/s",
            "1.2 of 4.0 GiB, 30 %: cgroup /",
            "full in about 47 min",
            "q quit   ? keys   80x24 shows",
        ];
        assert_eq!(shown, expected);
        drawn(&leaking(), 1, 1, true);
        drawn(&leaking(), 1, 2, true);
    }

    #[test]
    fn a_small_terminal_with_some_rows_has_a_chart_and_the_keys() {
        let mut state = leaking();
        let shown = drawn(&state, 60, 20, true);
        let text = shown.join("\n");
        assert!(text.contains("anon + swap") && text.matches('█').count() > 60, "{text}");
        assert!(shown[19].contains("80x24 shows it all"), "{text}");
        state.act(Action::Help, 60);
        let text = drawn(&state, 40, 20, true).join("\n");
        assert!(text.contains("quit") && text.contains("pane"), "{text}");
    }

    #[test]
    fn a_cursor_says_what_was_there() {
        let mut state = leaking();
        state.act(Action::Scrub(-10), chart_columns(80));
        let text = drawn(&state, 80, 24, true).join("\n");
        assert!(text.contains(" ago): ") && text.contains("MiB, normal"), "{text}");
        state.act(Action::Live, 0);
        state.act(Action::Pause, 0);
        assert!(drawn(&state, 80, 24, true).join("\n").contains("STOPPED"));
    }

    #[test]
    fn before_the_first_sample_it_says_that_it_waits() {
        let state = fed(0, |_| 0);
        let text = drawn(&state, 80, 24, true).join("\n");
        assert!(text.contains("waiting for the first sample"), "{text}");
        assert!(text.contains("UNKNOWN") && text.contains("too few samples"), "{text}");
    }
}
