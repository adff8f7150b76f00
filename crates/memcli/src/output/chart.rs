//! A curve in braille, for terminals: two dots across and four down in each character.

use std::fmt::Write as _;
use std::time::Duration;

use memtrack::Span;

use crate::curve::Curve;
use crate::fit::Fit;
use crate::output::axis;

/// Characters of a size on the left, with the axis.
const LABEL: usize = 10;
const LEAST_WIDTH: usize = 30;

/// What to draw, and how large.
#[derive(Debug)]
pub struct Chart<'a> {
    /// The curve.
    pub curve: &'a Curve,
    /// The line through it.
    pub fit: Option<Fit>,
    /// The first and the last time of the axis.
    pub times: (Duration, Duration),
    /// Characters below the time axis: what happened when.
    pub marks: &'a [(Duration, char)],
    /// Characters across, labels included.
    pub width: usize,
    /// Lines of the curve.
    pub height: usize,
}

/// The range of sizes that an axis covers.
///
/// From 0 when the curve comes near it; else around the curve, so that a small growth on a large base is seen.
#[must_use]
pub fn range(low: u64, high: u64) -> (f64, f64) {
    let (low, high) = (low as f64, high as f64);
    let bottom = if low < 0.4 * high { 0.0 } else { low };
    // A flat curve lies in the middle of a range that is at least 2 % of it.
    let least = (0.02 * high).max(4096.0);
    let missing = (least - (high - bottom)).max(0.0) / 2.0;
    ((bottom - missing).max(0.0), high + missing)
}

impl Chart<'_> {
    /// The lines of the chart, each with its end; empty when there is nothing to draw.
    #[must_use]
    pub fn draw(&self) -> String {
        let (Some(low), Some(high)) = (self.curve.low(), self.curve.high()) else {
            return String::new();
        };
        let (first, last) = self.times;
        if first == last {
            // A point is no curve.
            return String::new();
        }
        let columns = self.width.max(LEAST_WIDTH) - LABEL - 1;
        let mut canvas = Canvas::new(columns, self.height.max(3), (first, last), range(low, high));
        canvas.curve(self.curve);
        if let Some(fit) = &self.fit {
            canvas.fit(fit);
        }
        let mut text = canvas.lines();
        let _ = writeln!(text, "{:LABEL$}└{}", "", "─".repeat(columns));
        let _ = writeln!(text, "{:LABEL$} {}", "", times(first, last, columns));
        if !self.marks.is_empty() {
            let mut row = vec![' '; columns];
            for (at, mark) in self.marks {
                // What happened at once stands side by side, as far as there is room.
                let place = canvas.column(*at) / 2;
                let free = (place..columns).find(|place| row[*place] == ' ').unwrap_or(place);
                row[free] = *mark;
            }
            let row: String = row.into_iter().collect();
            let _ = writeln!(text, "{:LABEL$} {}", "", row.trim_end());
        }
        // A label may be longer than its column, such as a size of many digits: the line is cut, not the layout broken.
        let most = self.width.max(LEAST_WIDTH);
        text.lines().flat_map(|line| line.chars().take(most).chain(['\n'])).collect()
    }
}

/// The first, the middle and the last time, spread over the width.
fn times(first: Duration, last: Duration, columns: usize) -> String {
    let middle = first + (last - first) / 2;
    let [first, middle, last] = [first, middle, last].map(|time| Span(time).to_string());
    let first = if first == "0.0 s" { "0 s".to_owned() } else { first };
    if first.len() + middle.len() + last.len() + 2 > columns {
        let last = if last.len() <= columns { last } else { String::new() };
        return format!("{last:>columns$}");
    }
    let half = columns / 2;
    let left = half.saturating_sub(first.len() + middle.len() / 2);
    let right = columns.saturating_sub(first.len() + left + middle.len() + last.len());
    format!("{first}{:left$}{middle}{:right$}{last}", "", "")
}

/// A grid of dots.
struct Canvas {
    columns: usize,
    rows: usize,
    cells: Vec<u8>,
    times: (Duration, Duration),
    sizes: (f64, f64),
}

impl Canvas {
    fn new(columns: usize, rows: usize, times: (Duration, Duration), sizes: (f64, f64)) -> Self {
        Self { columns, rows, cells: vec![0; columns * rows], times, sizes }
    }

    /// The column of dots of a time.
    fn column(&self, at: Duration) -> usize {
        let (first, last) = self.times;
        let span = last.saturating_sub(first).as_secs_f64();
        let share = if span > 0.0 { at.saturating_sub(first).as_secs_f64() / span } else { 0.0 };
        let dots = 2 * self.columns - 1;
        ((share * dots as f64).round() as usize).min(dots)
    }

    /// The row of dots of a size, from the top.
    fn row(&self, bytes: f64) -> usize {
        let (low, high) = self.sizes;
        let dots = 4 * self.rows - 1;
        let share = ((high - bytes) / (high - low)).clamp(0.0, 1.0);
        (share * dots as f64).round() as usize
    }

    fn dot(&mut self, x: usize, y: usize) {
        // The bits of a braille character, column by column, from the top (Unicode block 2800).
        const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        if let Some(cell) = self.cells.get_mut(y / 4 * self.columns + x / 2) {
            *cell |= BITS[x % 2][y % 4];
        }
    }

    /// Each bucket from its lowest to its highest, joined to the one before.
    fn curve(&mut self, curve: &Curve) {
        let mut before: Option<(usize, usize)> = None;
        for bucket in curve.buckets() {
            let x = self.column(bucket.to);
            let (top, bottom) = (self.row(bucket.high as f64), self.row(bucket.low as f64));
            let end = self.row(bucket.last as f64);
            for y in top..=bottom {
                self.dot(x, y);
            }
            if let Some((from_x, from_y)) = before {
                self.join(from_x, from_y, x, end);
            }
            before = Some((x, end));
        }
    }

    /// A straight line between dots, steep parts filled.
    fn join(&mut self, x0: usize, y0: usize, x1: usize, y1: usize) {
        let (width, height) = (x1.saturating_sub(x0), y0.abs_diff(y1));
        let steps = width.max(height).max(1);
        let between = |a: usize, b: usize, n: usize| {
            (a as f64 + (b as f64 - a as f64) * n as f64 / steps as f64).round() as usize
        };
        for n in 1..steps {
            self.dot(between(x0, x1, n), between(y0, y1, n));
        }
    }

    /// Dotted, so that the curve is seen behind it.
    fn fit(&mut self, fit: &Fit) {
        let (from, to) = (self.column(fit.from), self.column(fit.to));
        let (start, end) = fit.line;
        for x in (from..=to).step_by(4) {
            let share = (x - from) as f64 / (to - from).max(1) as f64;
            let bytes = start + share * (end - start);
            if (self.sizes.0..=self.sizes.1).contains(&bytes) {
                self.dot(x, self.row(bytes));
            }
        }
    }

    fn lines(&self) -> String {
        let (low, high) = self.sizes;
        let mut text = String::new();
        let middle = high - (high - low) * ((self.rows / 2) as f64 + 0.5) / self.rows as f64;
        let labels = axis::labels(&[high, middle, low]);
        for (n, row) in self.cells.chunks(self.columns).enumerate() {
            let label = match n {
                0 => labels[0].as_str(),
                n if n == self.rows - 1 => labels[2].as_str(),
                n if n == self.rows / 2 => labels[1].as_str(),
                _ => "",
            };
            let dots: String = row
                .iter()
                .map(|cell| char::from_u32(0x2800 + u32::from(*cell)).unwrap_or(' '))
                .map(|c| if c == '\u{2800}' { ' ' } else { c })
                .collect();
            let axis = if label.is_empty() { '│' } else { '┤' };
            let _ = writeln!(text, "{label:>LABEL$}{axis}{}", dots.trim_end());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::Stamp;
    use proptest::prelude::*;

    fn curve(points: impl IntoIterator<Item = (u64, u64)>) -> Curve {
        let mut curve = Curve::default();
        for (ms, bytes) in points {
            curve.note(Stamp::synthetic(Duration::from_millis(ms)), Some(bytes));
        }
        curve
    }

    fn draw(curve: &Curve, marks: &[(Duration, char)]) -> String {
        let times = curve.span().unwrap_or_default();
        Chart { curve, fit: None, times, marks, width: 40, height: 4 }.draw()
    }

    #[test]
    fn a_rise_from_nothing_goes_from_corner_to_corner() {
        let rise = curve((0..=100).map(|n| (n * 100, n << 20)));
        let text = draw(&rise, &[(Duration::ZERO, 'a'), (Duration::from_secs(10), 'b')]);
        assert_eq!(
            text,
            " 100.0 MiB┤                      ⣀⣀⠤⠤⠒⠚⠉
          │              ⢀⣀⡤⠤⠖⠒⠋⠉
  37.5 MiB┤       ⣀⣀⠤⠴⠒⠚⠉⠉
       0 B┤⣀⡤⠤⠖⠒⠉⠉
          └─────────────────────────────
           0 s         5.0 s      10.0 s
           a                           b
"
        );
    }

    #[test]
    fn a_small_growth_on_a_large_base_is_not_a_flat_line() {
        let (bottom, top) = range(1 << 30, (1 << 30) + (100 << 20));
        assert_eq!((bottom, top), ((1u64 << 30) as f64, ((1u64 << 30) + (100 << 20)) as f64));
        assert_eq!(range(10, 1000), (0.0, 1000.0 + (4096.0 - 1000.0) / 2.0));
        let (bottom, top) = range(100 << 20, 100 << 20);
        assert!(bottom < (100u64 << 20) as f64 && (100u64 << 20) as f64 * 1.005 < top);
    }

    #[test]
    fn what_happened_at_once_stands_side_by_side() {
        let rise = curve((0..=100).map(|n| (n * 100, n << 20)));
        let at = Duration::from_secs(5);
        let text = draw(&rise, &[(at, 'a'), (at, 'b'), (Duration::from_secs(10), 'c')]);
        let row: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(row, ["ab", "c"], "{text}");
    }

    #[test]
    fn one_sample_is_no_curve() {
        assert_eq!(draw(&curve([(5, 1)]), &[]), "");
    }

    proptest! {
        #[test]
        fn any_curve_fits_its_width_and_nothing_panics(
            points in proptest::collection::vec((0..1u64 << 45, any::<u64>()), 0..50),
            width in 0usize..200, height in 0usize..30, slope in -1e12..1e12_f64,
        ) {
            let mut points = points;
            points.sort_unstable();
            let curve = curve(points);
            let times = curve.span().unwrap_or_default();
            let to = times.1;
            let line = (0.0, slope);
            let fit = Some(Fit { from: Duration::ZERO, to, line, low: line, high: line });
            let marks = [(Duration::from_secs(3), 'x'), (Duration::MAX, 'y')];
            let text = Chart { curve: &curve, fit, times, marks: &marks, width, height }.draw();
            prop_assert!(text.lines().all(|line| line.chars().count() <= width.max(LEAST_WIDTH)));
        }
    }
}
