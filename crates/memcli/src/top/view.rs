//! Paints a [`State`]: header, chart, processes, events; one line where there is no room for more.

use std::time::Duration;

use mempressure::{Measure, SignalStatus};
use memtrack::{Rate, Reading, Size, Span};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect, Spacing};
use ratatui::style::{Modifier, Style};
use ratatui::symbols::merge::MergeStrategy;
use ratatui::text::{Line, Span as Text};
use ratatui::widgets::{Block, Clear, Paragraph};

use crate::output::human::{growth, time_of_day};
use crate::output::status::of;
use crate::size::{RSS, several, size};
use crate::top::chart::{Chart, columns};
use crate::top::keys::HELP;
use crate::top::state::{Pane, State, Zoom};
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
        return small(frame, area, state, theme);
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
    let events = (state.event_lines().count().max(1) as u16).saturating_add(2).min(EVENTS);
    let most = usize::from(body.height) / 3 + usize::from(EVENTS - events);
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
fn boxed(
    frame: &mut Frame<'_>,
    area: Rect,
    title: impl Into<Line<'static>>,
    lines: Vec<Line<'static>>,
    theme: Theme,
) {
    frame.render_widget(Paragraph::new(lines).block(block(title, theme)), area);
}

fn text_or_reason<T>(reading: Reading<T>, show: impl FnOnce(T) -> String) -> String {
    reading.map_or_else(|why| why.to_string(), show)
}

fn title_line(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let size = state.sample.as_ref().map_or("waiting for the first sample".to_owned(), |sample| {
        text_or_reason(size(&state.watched, sample), |(bytes, measure)| {
            let shared = measure == RSS && several(sample);
            let note = if shared { ", shared pages in each" } else { "" };
            format!("{} {measure}{note}", Size(bytes))
        })
    });
    let every = format!("every {}", Span(state.interval));
    let mut left = vec![
        Text::styled(format!(" {} ", state.label), Style::new().add_modifier(Modifier::BOLD)),
        Text::raw(format!(" {size}   ")),
    ];
    // Before what may be cut off: nobody is to take it for live.
    if state.recorded || state.ended {
        let word = if state.recorded { "RECORDED   " } else { "ENDED   " };
        left.push(Text::styled(word, Style::new().add_modifier(Modifier::BOLD)));
    }
    if let Some(file) = &state.saving {
        left.push(Text::styled(
            format!("{} {file}   ", theme.glyph("●", "*")),
            theme.verdict("leak"),
        ));
    }
    let time = state.sample.as_ref().map_or(String::new(), |sample| time_of_day(sample.at.wall));
    let taken: usize = left.iter().map(Text::width).sum();
    if taken + every.len() + 2 + time.len() <= usize::from(area.width) {
        left.push(Text::styled(every, theme.dim()));
    }
    frame.render_widget(Line::from(left), area);
    frame.render_widget(Line::styled(format!("{time} "), theme.dim()).right_aligned(), area);
}

fn head(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let [level, growth, limit] =
        Layout::horizontal([Constraint::Fill(1); 3]).spacing(Spacing::Overlap(1)).areas(area);
    level_box(frame, level, state, theme);
    growth_box(frame, growth, state, theme);
    limit_box(frame, limit, state, theme);
}

fn level_box(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let status = &state.judged.status;
    let lasted = status.at.saturating_sub(status.since);
    let word = status.level.as_str().to_uppercase();
    let dot = theme.glyph("●", "*");
    let style = theme.level(status.level).add_modifier(Modifier::BOLD);
    let title = Line::from(vec![
        Text::styled(format!(" {dot} {word}"), style),
        Text::raw(format!(" for {} ", Span(lasted))),
    ]);
    let mut lines = Vec::new();
    match status.signal {
        Some(signal) => lines.push(Line::raw(format!("{signal} {}", says(status.of(signal))))),
        None => lines.push(Line::raw("no signal votes")),
    }
    if let Some(sample) = &state.sample {
        let stalled = |reading: Reading<f64>| {
            text_or_reason(reading, |share| format!("{:.1} %", share * 100.0))
        };
        let (some, full) = (sample.psi.some.avg10, sample.psi.full.avg10);
        lines.push(match (some, full) {
            (Err(why), _) => Line::styled(format!("stalls: {why}"), theme.dim()),
            _ => Line::raw(format!("stalls {}, of all {}", stalled(some), stalled(full))),
        });
        let kills = sample.cgroup.events.oom_kill.unwrap_or(0);
        if kills > 0 {
            lines
                .push(Line::styled(format!("{kills} killed by the kernel"), theme.verdict("leak")));
        }
    }
    boxed(frame, area, title, lines, theme);
}

/// `0.88, from 0.80 on warning`.
fn says(signal: &SignalStatus) -> String {
    let number = |value: f64| match signal.measure {
        Measure::Ratio => format!("{value:.2}"),
        Measure::Stalled => format!("{:.1} %", value * 100.0),
        Measure::SecondsLeft => format!("{value:.0} s left"),
        Measure::Refusals => format!("{value:.0} refused"),
        _ => format!("{value}"),
    };
    if let Some(why) = signal.absent
        && !signal.stale
    {
        return why.to_string();
    }
    match (signal.value, signal.threshold) {
        (Some(value), Some(threshold)) => {
            // In 80 columns there is no room for a longer word.
            format!("{} (from {})", number(value), number(threshold))
        }
        (Some(value), None) => number(value),
        _ => "quiet".into(),
    }
}

fn growth_box(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let verdict = &state.judged.verdict;
    let kind = verdict.kind();
    let title = Line::from(vec![
        Text::raw(" growth: "),
        Text::styled(format!("{} ", kind.to_uppercase()), theme.verdict(kind)),
    ]);
    let mut lines = Vec::new();
    match verdict.trend() {
        Some(trend) => {
            let (rate, interval) = rate_and_interval(trend);
            lines.push(Line::raw(rate));
            lines.extend(interval.map(|interval| Line::styled(interval, theme.dim())));
        }
        None => lines.push(Line::raw("too few samples")),
    }
    let more = match verdict {
        memleak::Verdict::Undecided { watch_for: Some(time), .. }
        | memleak::Verdict::Growing { watch_for: time, .. } => {
            Some(format!("about {} more decide", coarse(*time)))
        }
        memleak::Verdict::Undecided { why, .. } => Some(why.to_string()),
        memleak::Verdict::Steady { evidence, .. } => {
            evidence.floor.map(|floor| format!("{} would have shown", Rate::per_second(floor)))
        }
        memleak::Verdict::Leak { leaked, .. } => Some(format!("{} so far", Size(*leaked))),
        _ => None,
    };
    lines.extend(more.map(|more| Line::styled(more, theme.dim())));
    boxed(frame, area, title, lines, theme);
}

/// A growth on two lines, the second without the unit that the first has: `+2.0 MiB/s` and `95 %: +1.9 to +2.1`.
fn rate_and_interval(trend: memleak::Trend) -> (String, Option<String>) {
    let text = growth(trend);
    let Some((rate, interval)) = text.split_once(" (") else { return (text, None) };
    let unit = rate.split_once(' ').map_or(String::new(), |(_, unit)| format!(" {unit}"));
    (rate.to_owned(), Some(interval.trim_end_matches(')').replace(&unit, "")))
}

fn limit_box(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let limit = match &state.judged.limit {
        Ok(limit) => limit,
        Err(why) => {
            return boxed(
                frame,
                area,
                " limit ",
                vec![Line::raw(format!("unknown: {why}"))],
                theme,
            );
        }
    };
    let ratio = limit.ratio();
    let width = usize::from(area.width.saturating_sub(2));
    let percent = format!(" {:.0} %", ratio * 100.0);
    let room = width.saturating_sub(percent.len());
    let filled = ((ratio.clamp(0.0, 1.0) * room as f64).round() as usize).min(room);
    let bar = Line::from(vec![
        Text::styled(theme.glyph("█", "#").repeat(filled), theme.level(state.judged.status.level)),
        Text::styled(theme.glyph("░", ".").repeat(room - filled), theme.dim()),
        Text::raw(percent),
    ]);
    let title = format!(" {}: {} ", limit.owner, Size(limit.bytes));
    let used = Line::raw(of(limit.used, limit.bytes));
    let reached = Line::styled(time_to_limit(state).unwrap_or_default(), theme.dim());
    boxed(frame, area, title, vec![bar, used, reached], theme);
}

/// `full in about 41 min (40 min to 43 min)`, while the growth is certain.
fn time_to_limit(state: &State) -> Option<String> {
    let trend = state.judged.verdict.trend()?;
    let left = state.judged.limit.as_ref().ok()?.left() as f64;
    // Growth within the noise, or none, reaches no limit that could be named.
    let grows = matches!(
        state.judged.verdict,
        memleak::Verdict::Growing { .. } | memleak::Verdict::Leak { .. }
    );
    if !grows || trend.low <= 0.0 {
        return None;
    }
    let after = |rate: f64| Duration::try_from_secs_f64(left / rate).ok();
    let (soonest, latest) = (coarse(after(trend.high)?), coarse(after(trend.low)?));
    Some(match coarse(after(trend.bytes_per_second)?) {
        about if soonest == latest => format!("full in about {about}"),
        about => format!("full in about {about} ({soonest} to {latest})"),
    })
}

/// A time in the largest unit that fits: an estimate has no seconds.
fn coarse(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
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

fn pane_title(name: &str, pane: Pane, state: &State) -> Line<'static> {
    let style = if state.pane == pane {
        Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    } else {
        Style::new()
    };
    Line::from(vec![Text::raw(" "), Text::styled(name.to_owned(), style), Text::raw(" ")])
}

fn processes(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
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
fn signals(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
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

fn happened(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let lines: Vec<Line<'static>> = state
        .event_lines()
        .skip(state.scrolled[Pane::Events as usize])
        .take(usize::from(area.height))
        .map(|event| Line::raw(format!(" {event}")))
        .collect();
    let left = state.event_lines().count().saturating_sub(state.scrolled[Pane::Events as usize]);
    let name = match more_below(left, area.height, 0) {
        0 => "events".to_owned(),
        more => format!("events, {more} more below"),
    };
    boxed(frame, area, pane_title(&name, Pane::Events, state), lines, theme);
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
    let pause = if state.history.is_stopped() { "esc back to now" } else { "space stop" };
    let keys = format!(
        " q quit   ? keys   {pause}   {arrows} look back   m number   z height   / filter   s save"
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

/// One line for a terminal without room.
fn small(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let status = &state.judged.status;
    let size = state
        .sample
        .as_ref()
        .and_then(|sample| size(&state.watched, sample).ok())
        .map_or("?".to_owned(), |(bytes, _)| Size(bytes).to_string());
    let limit = state
        .judged
        .limit
        .as_ref()
        .map_or(String::new(), |limit| format!("{:.0} %  ", limit.ratio() * 100.0));
    let kind = state.judged.verdict.kind();
    let line = Line::from(vec![
        Text::raw(format!("{}  {size}  {limit}", state.label)),
        Text::styled(status.level.as_str(), theme.level(status.level)),
        Text::raw("  "),
        Text::styled(kind, theme.verdict(kind)),
        Text::styled("  q quit", theme.dim()),
    ]);
    let first = Rect { height: area.height.min(1), ..area };
    frame.render_widget(line, first);
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
│                         │110.0 MiB so far          │full in about 47 min     │
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
    fn where_there_is_no_room_one_line_says_the_most() {
        let shown = drawn(&leaking(), 70, 23, true);
        assert_eq!(shown[0], "worker(4321)+7  222.0 MiB  30 %  normal  leak  q quit");
        assert!(shown[1..].iter().all(String::is_empty), "{shown:#?}");
        drawn(&leaking(), 1, 1, true);
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
