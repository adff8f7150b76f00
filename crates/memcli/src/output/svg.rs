//! The chart of a report as SVG: curve, level bands, fitted line with its interval, limit, events.

use std::fmt::Write as _;
use std::time::Duration;

use mempressure::Level;
use memtrack::Size;

use crate::curve::{Bucket, Curve};
use crate::fit::Fit;
use crate::output::axis;
use crate::output::chart::range;
use crate::output::drawn::Drawn;
use crate::output::html::escape;
use crate::recording::Recording;
use crate::report::Run;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 360.0;
/// Around the plot: room for the axes, and above it for the letters of events.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 32.0;
/// A limit further above the curve than this is told in words: drawn, it would press the curve flat.
const LIMIT_WITHIN: f64 = 2.5;

/// The room that the letters of one place need.
const LETTERS: f64 = 26.0;

/// The scales of one plot.
struct Plot {
    times: (f64, f64),
    sizes: (f64, f64),
}

impl Plot {
    fn x(&self, seconds: f64) -> f64 {
        let (first, last) = self.times;
        let share = if last > first { (seconds - first) / (last - first) } else { 0.0 };
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, bytes: f64) -> f64 {
        let (low, high) = self.sizes;
        // Lines may leave the plot; it is clipped.
        TOP + ((high - bytes) / (high - low)).clamp(-9.0, 9.0) * (HEIGHT - TOP - BOTTOM)
    }
}

/// The lowest limit that holds at the end of the recording, and what it is: that of the binding cgroup, or the budget.
#[must_use]
pub fn limit(recording: &Recording) -> Option<(u64, &'static str)> {
    let cgroup = recording.pipeline.latest()?.cgroup.limit.ok().map(|bytes| (bytes, "limit"));
    let budget = recording.pipeline.budget().map(|budget| (budget.bytes, "budget"));
    cgroup.into_iter().chain(budget).min()
}

/// The chart; empty when there is no curve. `name` tells it from the other charts of a page.
#[must_use]
pub fn chart(run: &Run, recording: &Recording, drawn: &Drawn<'_>, name: &str) -> String {
    let curve = drawn.curve;
    let (Some(low), Some(high)) = (curve.low(), curve.high()) else { return String::new() };
    let (first, last) = drawn.times;
    let beside = drawn.beside.map(|(_, beside)| beside);
    let low = low.min(beside.and_then(Curve::low).unwrap_or(low));
    let mut high = high.max(beside.and_then(Curve::high).unwrap_or(high));
    let within = LIMIT_WITHIN * high as f64;
    let limit = limit(recording).filter(|(bytes, _)| *bytes as f64 <= within);
    high = high.max(limit.map_or(0, |(bytes, _)| bytes));
    let (bottom, top) = range(low, high);
    let plot = Plot {
        times: (first.as_secs_f64(), last.as_secs_f64()),
        sizes: (bottom, top + 0.04 * (top - bottom)),
    };

    let mut svg = String::new();
    let label = format!("{} of {} over time", drawn.name, run.target);
    let _ = writeln!(
        svg,
        r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
        escape(&label)
    );
    let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let _ = writeln!(
        svg,
        r#"<clipPath id="{name}"><rect x="{LEFT}" y="{TOP}" width="{width}" height="{height}"/></clipPath>"#
    );
    bands(&mut svg, &plot, run, last);
    axes(&mut svg, &plot);
    let _ = writeln!(svg, r##"<g clip-path="url(#{name})">"##);
    if let Some(beside) = beside {
        let _ = writeln!(svg, r#"<polyline class="rss" points="{}"/>"#, line(&plot, beside));
    }
    let _ = writeln!(svg, r#"<polygon class="range" points="{}"/>"#, envelope(&plot, curve));
    let _ = writeln!(svg, r#"<polyline class="curve" points="{}"/>"#, line(&plot, curve));
    if let Some(fit) = &drawn.fit {
        fitted(&mut svg, &plot, fit);
    }
    svg.push_str("</g>\n");
    if let Some((bytes, what)) = limit {
        let y = plot.y(bytes as f64);
        let _ = writeln!(
            svg,
            r#"<line class="limit" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text class="limit" x="{:.1}" y="{:.1}" text-anchor="end">{what} {}</text>"#,
            WIDTH - RIGHT,
            WIDTH - RIGHT - 4.0,
            // Above the line, unless that is outside the plot.
            if y - 16.0 > TOP { y - 5.0 } else { y + 14.0 },
            Size(bytes)
        );
    }
    marks(&mut svg, &plot, run);
    svg.push_str("</svg>\n");
    svg
}

/// What a level is called in style sheets.
fn class(level: Level) -> Option<&'static str> {
    match level {
        Level::Warning => Some("warning"),
        Level::Critical => Some("critical"),
        Level::Emergency => Some("emergency"),
        Level::Unknown | Level::Normal => None,
    }
}

/// The times at which the level was raised.
fn bands(svg: &mut String, plot: &Plot, run: &Run, last: Duration) {
    let changes: Vec<_> =
        run.events.iter().filter_map(|event| Some((event.t, event.level.as_ref()?.to))).collect();
    for (n, (from, level)) in changes.iter().enumerate() {
        let to = changes.get(n + 1).map_or(last.as_secs_f64(), |(t, _)| *t);
        let Some(class) = class(*level) else { continue };
        let (left, right) = (plot.x(*from), plot.x(to));
        let _ = writeln!(
            svg,
            r#"<rect class="band {class}" x="{left:.1}" y="{TOP}" width="{:.1}" height="{:.1}"><title>{level}</title></rect>"#,
            (right - left).max(1.0),
            HEIGHT - TOP - BOTTOM
        );
        if right - left > 70.0 {
            let _ = writeln!(
                svg,
                r#"<text class="band" x="{:.1}" y="{:.1}">{level}</text>"#,
                left + 5.0,
                HEIGHT - BOTTOM - 6.0
            );
        }
    }
}

fn axes(svg: &mut String, plot: &Plot) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let ticks = size_ticks(plot.sizes);
    for bytes in ticks {
        let y = plot.y(bytes);
        let _ = writeln!(
            svg,
            r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 8.0,
            y + 4.0,
            axis::round(bytes)
        );
    }
    for (seconds, text) in time_ticks(plot.times) {
        let x = plot.x(seconds);
        let _ = writeln!(
            svg,
            r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{text}</text>"#,
            bottom + 20.0
        );
    }
    let _ = writeln!(svg, r#"<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>"#);
}

fn fitted(svg: &mut String, plot: &Plot, fit: &Fit) {
    let (x0, x1) = (plot.x(fit.from.as_secs_f64()), plot.x(fit.to.as_secs_f64()));
    let y = |bytes| plot.y(bytes);
    let _ = writeln!(
        svg,
        r#"<polygon class="interval" points="{x0:.1},{:.1} {x1:.1},{:.1} {x1:.1},{:.1} {x0:.1},{:.1}"/>"#,
        y(fit.low.0),
        y(fit.high.1),
        y(fit.low.1),
        y(fit.high.0)
    );
    let _ = writeln!(
        svg,
        r#"<line class="fit" x1="{x0:.1}" x2="{x1:.1}" y1="{:.1}" y2="{:.1}"/>"#,
        y(fit.line.0),
        y(fit.line.1)
    );
}

/// A letter above the plot for each event, as in the list below it; those too close to the one before share its place.
fn marks(svg: &mut String, plot: &Plot, run: &Run) {
    // Where each place is, with its first and its last letter.
    let mut places: Vec<(f64, char, char)> = Vec::new();
    for (letter, event) in letters().zip(run.news()) {
        let x = plot.x(event.t);
        let _ = writeln!(
            svg,
            r#"<line class="event" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{:.1}"><title>{}</title></line>"#,
            HEIGHT - BOTTOM,
            escape(&event.text())
        );
        match places.last_mut() {
            Some((at, _, last)) if x - *at < LETTERS => *last = letter,
            _ => places.push((x, letter, letter)),
        }
    }
    for (x, first, last) in places {
        let _ = write!(
            svg,
            r#"<text class="event" x="{x:.1}" y="{:.1}" text-anchor="middle">{first}"#,
            TOP - 8.0
        );
        match last as u32 - first as u32 {
            0 => {}
            1 => svg.push(last),
            _ => {
                let _ = write!(svg, "-{last}");
            }
        }
        svg.push_str("</text>\n");
    }
}

/// The names of events: a to z.
pub fn letters() -> impl Iterator<Item = char> {
    'a'..='z'
}

/// One bucket for each pixel.
fn per_pixel(plot: &Plot, curve: &Curve) -> Vec<(f64, Bucket)> {
    let mut pixels: Vec<(f64, Bucket)> = Vec::new();
    for bucket in curve.buckets() {
        let x = plot.x(bucket.to.as_secs_f64()).round();
        match pixels.last_mut() {
            Some((at, last)) if *at == x => {
                last.low = last.low.min(bucket.low);
                last.high = last.high.max(bucket.high);
                last.last = bucket.last;
            }
            _ => pixels.push((x, *bucket)),
        }
    }
    pixels
}

fn line(plot: &Plot, curve: &Curve) -> String {
    per_pixel(plot, curve).iter().fold(String::new(), |mut text, (x, bucket)| {
        let _ = write!(text, "{x},{:.1} ", plot.y(bucket.last as f64));
        text
    })
}

/// Along the highest samples and back along the lowest.
fn envelope(plot: &Plot, curve: &Curve) -> String {
    let pixels = per_pixel(plot, curve);
    let mut text = String::new();
    for (x, bucket) in &pixels {
        let _ = write!(text, "{x},{:.1} ", plot.y(bucket.high as f64));
    }
    for (x, bucket) in pixels.iter().rev() {
        let _ = write!(text, "{x},{:.1} ", plot.y(bucket.low as f64));
    }
    text
}

/// Four to eight round sizes: multiples of a power of two.
fn size_ticks((low, high): (f64, f64)) -> Vec<f64> {
    let step = (((high - low) / 4.0).max(1.0)).log2().floor().exp2();
    let first = (low / step).ceil() as u64;
    let last = (high / step).floor() as u64;
    (first..=last).take(12).map(|n| n as f64 * step).collect()
}

/// Round times with their labels.
fn time_ticks((first, last): (f64, f64)) -> Vec<(f64, String)> {
    const STEPS: [f64; 25] = [
        0.1,
        0.2,
        0.5,
        1.0,
        2.0,
        5.0,
        10.0,
        15.0,
        30.0,
        60.0,
        120.0,
        300.0,
        600.0,
        900.0,
        1800.0,
        3600.0,
        7200.0,
        10_800.0,
        21_600.0,
        43_200.0,
        86_400.0,
        172_800.0,
        604_800.0,
        2_592_000.0,
        31_536_000.0,
    ];
    let span = last - first;
    let step = STEPS.into_iter().find(|step| span / step <= 8.0).unwrap_or(span / 8.0);
    if span <= 0.0 {
        return vec![(first, time(first, 1.0))];
    }
    let from = (first / step).ceil() as u64;
    let to = (last / step).floor() as u64;
    (from..=to).take(12).map(|n| n as f64 * step).map(|t| (t, time(t, step))).collect()
}

fn time(seconds: f64, step: f64) -> String {
    let (unit, name) = match step {
        s if s < 60.0 => (1.0, "s"),
        s if s < 3600.0 => (60.0, "min"),
        s if s < 86_400.0 => (3600.0, "h"),
        _ => (86_400.0, "d"),
    };
    let digits = usize::from(step < 1.0);
    format!("{:.digits$} {name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let mib = 1_048_576.0;
        assert_eq!(
            size_ticks((0.0, 100.0 * mib)),
            [0.0, 16.0, 32.0, 48.0, 64.0, 80.0, 96.0].map(|n| n * mib)
        );
        assert_eq!(size_ticks((0.0, 4096.0)).len(), 5);
        let labels =
            |times| time_ticks(times).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(labels((0.0, 0.5)), ["0.0 s", "0.1 s", "0.2 s", "0.3 s", "0.4 s", "0.5 s"]);
        assert_eq!(
            labels((0.0, 180.0)),
            ["0 s", "30 s", "60 s", "90 s", "120 s", "150 s", "180 s"]
        );
        assert_eq!(labels((0.0, 7200.0))[..3], ["0 min", "15 min", "30 min"]);
        assert!(!labels((0.0, 1e9)).is_empty() && labels((5.0, 5.0)) == ["5 s"]);
    }
}
