//! The curve of the last minutes: bars in the colour of their level, the limit and thresholds, the fitted growth, the
//! cursor.

use mempressure::Level;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::widgets::Widget;

use crate::output::axis;
use crate::top::history::Metric;
use crate::top::state::{Mark, State, Zoom};
use crate::top::theme::Theme;

/// Room for `1023.9 MiB` and a blank.
const AXIS: u16 = 11;
/// Growth is drawn only over at least this many columns.
const FIT_COLUMNS: usize = 4;

/// The chart of a state.
#[derive(Debug)]
pub struct Chart<'a> {
    /// What to draw.
    pub state: &'a State,
    /// How to draw it.
    pub theme: Theme,
}

/// Columns of data that a chart of this width has.
#[must_use]
pub fn columns(width: u16) -> usize {
    usize::from(width.saturating_sub(AXIS))
}

/// The highest value of the samples that fall into one column, and the highest level.
type Column = Option<(u64, Level)>;

/// Bins the shown points into columns. Samples that are further apart than a column is wide leave no holes: a value
/// stands until the next, for three intervals at most.
fn bins(state: &State, width: usize) -> Vec<Column> {
    let mut bins: Vec<Column> = vec![None; width];
    let Some(last) = width.checked_sub(1) else { return bins };
    let span = state.history.span().as_secs_f64();
    let start = state.history.end().as_secs_f64() - span;
    let place =
        |at: f64| ((at - start) / span * last as f64).round().clamp(0.0, last as f64) as usize;
    let reach = state.step().as_secs_f64() * 3.0;
    let mut before: Option<(f64, u64, Level)> = None;
    for point in state.history.shown() {
        let Some(value) = point.value(state.metric) else { continue };
        let at = point.at.as_secs_f64();
        let column = place(at);
        if let Some((then, earlier, level)) = before
            && at - then <= reach
        {
            for bin in bins.iter_mut().take(column).skip(place(then) + 1) {
                bin.get_or_insert((earlier, level));
            }
        }
        if let Some(bin) = bins.get_mut(column) {
            let (highest, level) = bin.unwrap_or((value, point.level));
            *bin = Some((highest.max(value), level.max(point.level)));
        }
        before = Some((at, value, point.level));
    }
    bins
}

/// The lowest and the highest value that the height stands for.
fn range(state: &State, bins: &[Column]) -> (f64, f64) {
    let values = || bins.iter().flatten().map(|(value, _)| *value as f64);
    let highest = values().fold(0.0, f64::max);
    let lowest = values().fold(f64::INFINITY, f64::min);
    let limit = state.at_share(1.0).unwrap_or(0.0);
    // Steady data must not look wild because it alone fills the chart.
    let least = (highest * 0.01).max(64.0 * 1024.0);
    match state.zoom {
        Zoom::Data if lowest.is_finite() => {
            let spread = (highest - lowest).max(least);
            let middle = (highest + lowest) / 2.0;
            let low = (middle - spread * 0.6).max(0.0);
            (low, low + spread * 1.2)
        }
        Zoom::Limit if limit > 0.0 => (0.0, highest.max(limit) * 1.05),
        _ => (0.0, (highest * 1.15).max(least)),
    }
}

/// Maps values to the height of a chart, in eighths of a row.
#[derive(Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    rows: u16,
}

impl Scale {
    fn eighths(self, value: f64) -> u64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        (share * f64::from(self.rows) * 8.0).round() as u64
    }

    /// The row of a value, counted from the top; `None` outside.
    fn row(self, value: f64) -> Option<u16> {
        if value < self.low || value > self.high {
            return None;
        }
        let below = (self.eighths(value).saturating_sub(1) / 8) as u16;
        Some(self.rows.saturating_sub(1).saturating_sub(below))
    }

    /// The value in the middle of a row.
    fn value(self, row: u16) -> f64 {
        let share = (f64::from(self.rows - row) - 0.5) / f64::from(self.rows);
        self.low + share * (self.high - self.low)
    }
}

impl Widget for Chart<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        if area.width <= AXIS || area.height == 0 {
            return;
        }
        let plot = Rect { x: area.x + AXIS, width: area.width - AXIS, ..area };
        let bins = bins(self.state, usize::from(plot.width));
        let (low, high) = range(self.state, &bins);
        let scale = Scale { low, high, rows: plot.height };
        self.axis(area, scale, buffer);
        self.marks(plot, scale, buffer);
        self.bars(plot, scale, &bins, buffer);
        self.fit(plot, scale, &bins, buffer);
        self.happened(plot, buffer);
        self.cursor(plot, buffer);
    }
}

impl Chart<'_> {
    fn axis(&self, area: Rect, scale: Scale, buffer: &mut Buffer) {
        let step = if area.height > 8 { 4 } else { 2 };
        let rows = (0..area.height).step_by(step);
        let values: Vec<f64> = rows.clone().map(|row| scale.value(row)).collect();
        for (row, label) in rows.zip(axis::labels(&values)) {
            let label = format!("{label:>width$} ", width = usize::from(AXIS) - 1);
            buffer.set_string(area.x, area.y + row, label, self.theme.dim());
        }
    }

    /// The limit, and where each level begins.
    fn marks(&self, plot: Rect, scale: Scale, buffer: &mut Buffer) {
        let state = self.state;
        let thresholds = &state.judged.thresholds;
        let levels = Level::RAISED
            .map(|level| (thresholds.of(level), level.as_str(), self.theme.level(level)));
        let limit = (1.0, "limit", self.theme.level(Level::Emergency));
        for (share, name, style) in levels.into_iter().chain([limit]) {
            let Some(row) = state.at_share(share).and_then(|value| scale.row(value)) else {
                continue;
            };
            let dots = self.theme.glyph("┈", "-").repeat(usize::from(plot.width));
            buffer.set_string(plot.x, plot.y + row, dots, style);
            let x = plot.right().saturating_sub(name.len() as u16 + 1);
            buffer.set_string(x, plot.y + row, name, style);
        }
    }

    fn bars(&self, plot: Rect, scale: Scale, bins: &[Column], buffer: &mut Buffer) {
        for (x, bin) in (plot.x..plot.right()).zip(bins) {
            let Some((value, level)) = bin else { continue };
            // A value at the bottom of the range is still there.
            let mut left = scale.eighths(*value as f64).max(1);
            let style = self.theme.level(*level);
            for y in (plot.y..plot.bottom()).rev() {
                if left == 0 {
                    break;
                }
                buffer.set_string(x, y, self.theme.bar(left.min(8)), style);
                left = left.saturating_sub(8);
            }
        }
    }

    /// The growth as fitted, through the middle of what it was fitted to. Only over the number it was fitted to.
    fn fit(&self, plot: Rect, scale: Scale, bins: &[Column], buffer: &mut Buffer) {
        let state = self.state;
        let Some(trend) = state.judged.verdict.trend() else { return };
        if state.metric != Metric::of(&state.watched) || (trend.low <= 0.0 && trend.high >= 0.0) {
            return;
        }
        if matches!(state.judged.verdict, memleak::Verdict::Steady { .. }) && trend.low > 0.0 {
            // Growth that is over.
            return;
        }
        let width = bins.len().max(2) as f64 - 1.0;
        let seconds = |column: usize| column as f64 / width * state.history.span().as_secs_f64();
        let from = match &state.judged.verdict {
            memleak::Verdict::Leak { since, .. } => {
                let start = state.history.end().as_secs_f64() - state.history.span().as_secs_f64();
                since.as_secs_f64() - start
            }
            _ => 0.0,
        };
        let fitted = |column: &usize| bins[*column].is_some() && seconds(*column) >= from;
        let columns: Vec<usize> = (0..bins.len()).filter(fitted).collect();
        if columns.len() < FIT_COLUMNS {
            return;
        }
        let mut rests: Vec<f64> = columns
            .iter()
            .filter_map(|column| {
                Some(bins[*column]?.0 as f64 - trend.bytes_per_second * seconds(*column))
            })
            .collect();
        rests.sort_by(f64::total_cmp);
        let intercept = rests[rests.len() / 2];
        // Both ends of the interval run through the middle of what was fitted, as the line does.
        let middle =
            columns.iter().map(|column| seconds(*column)).sum::<f64>() / columns.len() as f64;
        let height = intercept + trend.bytes_per_second * middle;
        for column in &columns {
            let row = |slope: f64| scale.row(height + slope * (seconds(*column) - middle));
            let line = row(trend.bytes_per_second);
            for edge in [trend.low, trend.high].map(row) {
                let Some(y) = edge.filter(|edge| Some(*edge) != line) else { continue };
                if let Some(cell) = buffer.cell_mut((plot.x + *column as u16, plot.y + y)) {
                    let style = match cell.fg {
                        fg if cell.symbol() == self.theme.bar(8) => self.theme.fit().bg(fg),
                        _ => self.theme.fit(),
                    };
                    cell.set_symbol(self.theme.glyph("·", "."));
                    cell.set_style(style);
                }
            }
        }
        for column in columns.into_iter().step_by(2) {
            let Some(row) = scale.row(intercept + trend.bytes_per_second * seconds(column)) else {
                continue;
            };
            let position = (plot.x + column as u16, plot.y + row);
            let Some(cell) = buffer.cell_mut(position) else { continue };
            // Over a bar the line is cut out of it.
            let style = match cell.fg {
                fg if cell.symbol() == self.theme.bar(8) => self.theme.fit().bg(fg),
                _ => self.theme.fit(),
            };
            cell.set_symbol(self.theme.glyph("╌", "="));
            cell.set_style(style.add_modifier(Modifier::BOLD));
        }
    }

    /// When something happened, along the upper edge.
    fn happened(&self, plot: Rect, buffer: &mut Buffer) {
        let (end, span) = (self.state.history.end(), self.state.history.span());
        // Before the watch began while there is less of it than the chart shows.
        let start = end.as_secs_f64() - span.as_secs_f64();
        for (at, mark) in self.state.marks.iter().filter(|(at, _)| *at <= end) {
            let share = (at.as_secs_f64() - start) / span.as_secs_f64();
            if !(0.0..=1.0).contains(&share) {
                continue;
            }
            let x = plot.x + (share * f64::from(plot.width.saturating_sub(1))).round() as u16;
            let symbol = match mark {
                Mark::Alert => self.theme.glyph("▼", "v"),
                Mark::Config => self.theme.glyph("◆", "c"),
                Mark::Gap => self.theme.glyph("✕", "x"),
            };
            if let Some(cell) = buffer.cell_mut((x, plot.y)) {
                cell.set_symbol(symbol);
                cell.set_style(self.theme.fit().add_modifier(Modifier::BOLD));
            }
        }
    }

    fn cursor(&self, plot: Rect, buffer: &mut Buffer) {
        let Some(point) = self.state.history.under_cursor() else { return };
        let span = self.state.history.span().as_secs_f64();
        let start = self.state.history.end().as_secs_f64() - span;
        let share = ((point.at.as_secs_f64() - start) / span).clamp(0.0, 1.0);
        let x = plot.x + (share * f64::from(plot.width.saturating_sub(1))).round() as u16;
        for y in plot.y..plot.bottom() {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.set_style(Style::new().add_modifier(Modifier::REVERSED));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::state::tests::fed;
    use proptest::prelude::*;
    use std::time::Duration;

    fn drawn(state: &State, width: u16, height: u16) -> Vec<String> {
        let theme = Theme { colour: false, unicode: true };
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        Chart { state, theme }.render(area, &mut buffer);
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..height).map(row).collect()
    }

    #[test]
    fn a_mark_stands_over_its_sample_while_there_is_less_than_the_chart_shows() {
        let mut state = fed(100, |second| (second + 1) << 20);
        state.mark(Duration::ZERO, Mark::Alert);
        state.mark(state.history.end(), Mark::Alert);
        let rows = drawn(&state, 80, 10);
        let on = |row: usize, wanted: fn(char) -> bool| {
            let cells = rows[row].chars().enumerate().skip(usize::from(AXIS));
            cells.filter(|(_, c)| wanted(*c)).map(|(x, _)| x).collect::<Vec<_>>()
        };
        let (marks, bars) = (on(0, |c| c == '▼'), on(9, |c| "▁▂▃▄▅▆▇█".contains(c)));
        assert!(bars.len() < 40, "less than the chart shows: {rows:#?}");
        assert_eq!(marks, [bars[0], bars[bars.len() - 1]], "{rows:#?}");
    }

    #[test]
    fn a_rising_number_rises_from_left_to_right() {
        let state = fed(61, |second| second << 20);
        let heights: Vec<usize> = {
            let rows = drawn(&state, AXIS + 30, 10);
            let column = |x: usize| {
                rows.iter().filter(|row| row.chars().nth(x).is_some_and(|c| c != ' ')).count()
            };
            (usize::from(AXIS)..usize::from(AXIS) + 30).map(column).collect()
        };
        assert!(heights.is_sorted(), "{heights:?}");
        assert!(heights[29] >= 8 && heights[0] == 1, "{heights:?}");
    }

    #[test]
    fn the_limit_shows_when_the_height_goes_up_to_it() {
        let mut state = fed(61, |_| 1 << 30);
        assert!(!drawn(&state, 60, 12).concat().contains("limit"));
        state.zoom = Zoom::Limit;
        let rows = drawn(&state, 60, 12);
        assert!(rows[0].contains("limit"), "{rows:#?}");
        assert!(rows.concat().contains("critical"), "{rows:#?}");
    }

    #[test]
    fn slow_samples_leave_no_holes_and_a_gap_does() {
        let state = fed(61, |_| 1 << 20);
        assert!(bins(&state, 200).iter().skip(2).all(Option::is_some), "three columns a second");
        let mut state = fed(10, |_| 1 << 20);
        crate::top::state::tests::feed(&mut state, 30..61, |_| 1 << 20);
        assert!(bins(&state, 60).iter().any(Option::is_none));
    }

    proptest! {
        #[test]
        fn any_size_and_data_can_be_drawn(
            width in 0u16..200,
            height in 0u16..60,
            values in proptest::collection::vec(any::<u64>(), 0..100),
            zoom in 0..3usize,
        ) {
            let mut state = fed(values.len() as u64, |second| values[second as usize] >> 8);
            state.zoom = [Zoom::Zero, Zoom::Data, Zoom::Limit][zoom];
            drawn(&state, width, height);
        }
    }
}
