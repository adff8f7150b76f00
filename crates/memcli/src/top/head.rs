//! The first rows of the view: what is watched and how large it is, the level, the growth, the nearest limit.

use std::time::Duration;

use mempressure::{Measure, SignalStatus};
use memtrack::{Rate, Reading, Size, Span};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect, Spacing};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span as Text};

use crate::output::human::{growth, time_of_day};
use crate::output::status::of;
use crate::size::{RSS, several, size};
use crate::top::state::State;
use crate::top::theme::Theme;
use crate::top::view::boxed;

fn text_or_reason<T>(reading: Reading<T>, show: impl FnOnce(T) -> String) -> String {
    reading.map_or_else(|why| why.to_string(), show)
}

pub(super) fn title_line(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
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

pub(super) fn head(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
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
pub(super) fn says(signal: &SignalStatus) -> String {
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
        // What grew did so on the whole.
        memleak::Verdict::Steady { evidence, .. }
            if evidence.trend.is_some_and(|trend| trend.low > 0.0) =>
        {
            Some("little of it lately".into())
        }
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
pub(super) fn time_to_limit(state: &State) -> Option<String> {
    let trend = state.judged.verdict.trend()?;
    let left = state.judged.limit.as_ref().ok()?.left() as f64;
    if left == 0.0 {
        return Some("past its limit".to_owned());
    }
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
pub(super) fn coarse(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
