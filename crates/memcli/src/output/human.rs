//! What people read: event lines, the status line, the summary.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use memleak::{Severity, Verdict, Why};
use mempressure::Level;
use memtrack::{Absent, Rate, Sample, Size, Span};

use crate::child::GRACE;
use crate::gate::{Bound, Judged, Quantity};
use crate::look::pss_missing;
use crate::output::growth::{growth_beside, growth_row, rate_beside};
use crate::output::page;
use crate::pipeline::{Event, Numbered};
use crate::places::{self, Places};
use crate::size::{self, PSS, RSS};
use crate::summary::{End, Peak, Recorded, Summary};
use crate::target::Found;

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// A wall clock below this was never told: it is the time since the beginning (2001-09-09, as imports have it).
pub(super) const NO_WALL_CLOCK: Duration = Duration::from_secs(1_000_000_000);

pub(super) const BOLD: Style = Style::new().bold();

/// A word in a style. The word carries the meaning; the colour only repeats it.
pub(super) struct Painted<T>(pub(super) Style, pub(super) T);

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(style, text) = self;
        write!(f, "{style}{text}{style:#}")
    }
}

pub(crate) fn level_style(level: Level) -> Style {
    match level {
        Level::Normal => GOOD,
        Level::Warning | Level::Unknown => WARN,
        Level::Critical | Level::Emergency => BAD,
    }
}

pub(crate) fn verdict_style(verdict: &str) -> Style {
    match verdict {
        "steady" => GOOD,
        "leak" => BAD,
        _ => WARN,
    }
}

fn severity_style(severity: Severity) -> Style {
    match severity {
        Severity::Info => GOOD,
        Severity::Warning => WARN,
        _ => BAD,
    }
}

/// The verdict in a full sentence, with what else it could be and what would decide. `series` is what it is on: `anon + swap`.
#[must_use]
pub fn reason(verdict: &Verdict, series: &str) -> String {
    let kind = verdict.kind();
    let grew = verdict.trend().is_some_and(|trend| trend.low > 0.0);
    let words = match verdict {
        // The slope is of a longer time than what is judged by: it must not be told that there is none.
        Verdict::Steady { .. } if grew => "it grew, in the later half by too little to count",
        Verdict::Undecided { why: Why::WithinNoise, .. } if grew => {
            "it has risen, no further than its noise reaches; a slow leak could still hide in it"
        }
        _ => verdict.words(),
    };
    // The kind stands beside the reason wherever it is shown.
    let mut text = words
        .strip_prefix(kind)
        .and_then(|rest| rest.strip_prefix([':', ',']))
        .map(str::trim_start)
        .unwrap_or(words)
        .to_owned();
    let evidence = verdict.evidence();
    let floor = evidence.floor.map(Rate::per_second);
    match verdict {
        Verdict::Undecided { watch_for, .. } => {
            let watched = Span(evidence.watched);
            let _ = write!(text, "; {watched} watched");
            if let (Some(watch_for), Some(floor)) = (watch_for, floor) {
                let _ = write!(
                    text,
                    ", {} more would show growth of {floor} or faster",
                    Span(*watch_for)
                );
            } else if let Some(watch_for) = watch_for {
                let _ = write!(text, ", about {} more would decide", Span(*watch_for));
            }
        }
        Verdict::Steady { plateau, .. } => {
            let falls = verdict.trend().is_some_and(|trend| trend.high < 0.0);
            let does = if falls { "falls, lately to about" } else { "stays at" };
            let _ = write!(text, "; it {does} {} of {series}", Size(*plateau));
            // Beside growth of the whole it is no more than the upper end of that interval.
            if let Some(floor) = floor.filter(|_| !grew) {
                let _ = write!(text, ", and growth of {floor} or faster would have shown");
            }
        }
        Verdict::Growing { watch_for, .. } => {
            let _ = write!(
                text,
                "; if it goes on like this for {} more, it is called a leak",
                Span(*watch_for)
            );
        }
        Verdict::Leak { leaked, since, time_to_limit, .. } => {
            // What ended its processes gave it all back; the growth before was there.
            if *leaked > 0 {
                let (kept, since) = (Size(*leaked), Span(*since));
                let _ = write!(text, "; it kept {kept} since {since} into the watch");
            }
            if let Some(time) = time_to_limit {
                let and = if *leaked > 0 { ", and" } else { ";" };
                let _ = match until_limit(*time) {
                    Some(time) => {
                        write!(text, "{and} at this rate the limit is reached in about {time}")
                    }
                    None => write!(text, "{and} it is past its limit"),
                };
            }
        }
        _ => {}
    }
    for one in &evidence.outside {
        let (kind, bytes, over) = (places::word(one.kind), Size(one.bytes), Span(one.over));
        let _ = write!(text, "; outside this verdict {kind} grew {bytes} in {over}");
    }
    text
}

/// The time until the limit that is the nearest; `None` when it is reached or passed.
pub(crate) fn until_limit(time: Duration) -> Option<Span> {
    (time > Duration::ZERO).then_some(Span(time))
}

/// With its sign, in the unit that reads best for `reference`. Both are bytes per second.
pub(crate) fn signed(rate: f64, reference: f64) -> String {
    let text = Rate::per_second(rate).shown_like(Rate::per_second(reference));
    // What rounds to nothing has no sign.
    if let Some(nothing) = text.strip_prefix("-0.0 ") {
        return format!("0.0 {nothing}");
    }
    if rate > 0.0 && !text.starts_with("0.0 ") { format!("+{text}") } else { text }
}

/// `12:03:41Z`; `+00:03:41` into a recording that tells no wall clock, which stands at the beginning of 1970.
pub(crate) fn time_of_day(wall: SystemTime) -> String {
    if let Ok(since) = wall.duration_since(SystemTime::UNIX_EPOCH)
        && since < NO_WALL_CLOCK
    {
        let seconds = since.as_secs();
        return format!("+{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
    let full = humantime::format_rfc3339_seconds(wall).to_string();
    full.split_once('T').map_or(full.clone(), |(_, time)| time.to_owned())
}

/// The line of an event with its time; `None` for those that are not shown one by one.
#[must_use]
pub fn event_line(numbered: &Numbered) -> Option<String> {
    event_text(numbered).map(|text| format!("{} {text}", time_of_day(numbered.at.wall)))
}

/// What happened, without the time.
#[must_use]
pub fn event_text(numbered: &Numbered) -> Option<String> {
    Some(match &numbered.event {
        Event::Sample(_) | Event::Ended => return None,
        // What is well from the start is no news.
        Event::Level(transition)
            if transition.from == Level::Unknown && transition.to == Level::Normal =>
        {
            return None;
        }
        Event::Level(transition) => {
            format!("level    {}", Painted(level_style(transition.to), transition))
        }
        Event::Verdict(change) => {
            let (from, to) = (change.from.kind(), change.to.kind());
            let trend = change
                .to
                .trend()
                .map_or(String::new(), |trend| format!(", {}", growth_beside(to, trend)));
            format!("verdict  {from} -> {}{trend}", Painted(verdict_style(to), to))
        }
        Event::Alert(alert) => {
            let word = Painted(severity_style(alert.severity), crate::alert::word(alert.severity));
            format!("alert    {word}: {}", alert.text())
        }
        Event::Hook(problem) => format!("note     alerts.exec: {problem}"),
        Event::Config(reload) => format!("config   {}", crate::output::reload::line(reload)),
        Event::Failed(failure) => format!("note     {failure}; watching goes on"),
        Event::Lost(count) => {
            format!("note     {} lost: memcli did not keep up", counted(*count, "sample"))
        }
    })
}

/// Whether the terminal can take a line back: a dumb one cannot.
#[must_use]
pub fn may_redraw() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// One line on how things are now: label, size, level, growth.
#[must_use]
pub fn status_line(target: &Found, sample: &Sample, level: Level, verdict: &Verdict) -> String {
    let size = match size::size(&target.watched, sample) {
        Ok((bytes, measure)) => format!("{} {measure}", Size(bytes)),
        Err(why) => why.to_string(),
    };
    let level = Painted(level_style(level), level);
    let kind = Painted(verdict_style(verdict.kind()), verdict.kind());
    let trend = rate_beside(verdict).map_or(String::new(), |rate| format!("  {rate}"));
    format!("{}  {size}  {level}  {kind}{trend}", target.label)
}

/// The summary at the end of `run` and `watch`, in this many columns.
#[must_use]
pub fn summary(summary: &Summary, columns: usize) -> String {
    let mut text = String::new();
    let how = end(summary.end, summary.command.is_some(), seconds(summary.duration_seconds));
    let _ = writeln!(text, "{BOLD}memcli: {} {how}{BOLD:#}", summary.target);
    let mut row = |name: &str, value: String| page::row(&mut text, columns, name, &value);
    if let Some(how) = ended_by_memcli(summary) {
        row("ended", how);
    }
    row("peak", peak_line(peak(&summary.peak, &summary.absent)));
    let kind = summary.verdict.kind;
    row("growth", growth_row(&summary.growth, kind));
    row("verdict", format!("{}: {}", Painted(verdict_style(kind), kind), summary.verdict.reason));
    if let Some(places) = &summary.places {
        row("where", self::places(places));
    }
    row("level", level(summary));
    if let Some(left @ 1..) = summary.left_running {
        let verb = if left == 1 { "runs" } else { "run" };
        row("left", format!("{} that it started still {verb}", counted(left, "process")));
    }
    for alert in &summary.alerts.told {
        let word = Painted(severity_style(alert.severity), crate::alert::word(alert.severity));
        row("alert", format!("{word}, {} into the watch: {}", Span(seconds(alert.t)), alert.text));
    }
    if let more @ 1.. = summary.alerts.delivered.saturating_sub(summary.alerts.told.len() as u64) {
        row("alert", format!("{more} more"));
    }
    for problem in &summary.alerts.problems {
        row("alert", format!("{}: {problem}", Painted(BAD, "alerts.exec")));
    }
    for reload in &summary.reloads.told {
        row("config", format!("{} into the watch: {}", Span(seconds(reload.t)), reload.text));
    }
    let edits = summary.reloads.accepted + summary.reloads.rejected;
    if let more @ 1.. = edits.saturating_sub(summary.reloads.told.len() as u64) {
        row("config", format!("{more} more"));
    }
    for gate in &summary.gates {
        row("gate", judged(gate));
    }
    if let Some(trace) = &summary.trace {
        row("trace", recorded(trace));
    }
    let lost = if summary.lost > 0 { format!(", {} lost", summary.lost) } else { String::new() };
    let memory =
        summary.cost.max_rss_bytes.map_or("unknown".into(), |bytes| Size(bytes).to_string());
    row(
        "watching",
        format!(
            "{}{lost}; it cost {:.3} CPU s and {memory}",
            counted(summary.samples, "sample"),
            summary.cost.cpu_seconds
        ),
    );
    if let Some(comparison) = &summary.baseline {
        text.push_str(&super::comparison::comparison(comparison, columns));
    }
    text
}

/// Where it was recorded, and what is wrong with that.
pub(super) fn recorded(Recorded { path, error }: &Recorded) -> String {
    match error {
        None => path.clone(),
        Some(why) => format!("{}: {path} is not complete: {why}", Painted(BAD, "FAIL")),
    }
}

/// `anon 100 % of it; in 8.0 s anonymous mappings +16.2 MiB, heap +0.2 MiB`.
pub(super) fn places(places: &Places) -> String {
    let mut parts = Vec::new();
    let kinds: Vec<String> = places
        .kinds
        .iter()
        .filter(|kind| kind.share >= 0.01)
        .map(|kind| format!("{} {:.0} %", kind.kind, 100.0 * kind.share))
        .collect();
    if !kinds.is_empty() {
        parts.push(format!("{} of the growth", kinds.join(", ")));
    }
    if let Some(mappings) = &places.mappings {
        let grown = |name: &str, bytes: i64| format!("{name} +{}", Size(bytes.unsigned_abs()));
        let mut grew: Vec<String> =
            mappings.classes.iter().map(|place| grown(place.class, place.bytes)).collect();
        grew.extend(mappings.named.iter().map(|place| grown(&place.name, place.bytes)));
        if grew.is_empty() {
            grew.push("no mapping grew".into());
        }
        parts.push(format!(
            "in {} of mappings: {}",
            Span(seconds(mappings.seconds)),
            grew.join(", ")
        ));
    }
    parts.join("; ")
}

pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

pub(crate) fn counted(n: u64, what: &str) -> String {
    match (n, what.strip_suffix('s')) {
        (1, _) => format!("1 {what}"),
        // A word that ends in s takes another ending.
        (_, Some(_)) => format!("{n} {what}es"),
        _ => format!("{n} {what}s"),
    }
}

pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(3)).collect();
    format!("{kept}...")
}

/// How a watch of this length came to its end; `command` says that memcli had started what it watched.
pub(super) fn end(end: End, command: bool, after: Duration) -> String {
    let after = Span(after);
    match end {
        End::Exited { code } => format!("exited with {code} after {after}"),
        End::Killed { signal } => format!("was killed by {} after {after}", signal_name(signal)),
        End::TimeUp if command => format!("was ended by --for after {after}"),
        End::TimeUp => format!("was watched for {after}"),
        End::Aborted if command => format!("was ended after {after}: a gate failed"),
        End::Aborted => format!("was watched for {after}, until a gate failed"),
        End::Interrupted { signal } => {
            format!("was watched for {after}, until {}", signal_name(signal))
        }
        End::TargetEnded => format!("ended after {after}"),
    }
}

/// What a command did when memcli asked it to end.
fn ended_by_memcli(summary: &Summary) -> Option<String> {
    if !matches!(summary.end, End::TimeUp | End::Aborted) {
        return None;
    }
    Some(match summary.command_end? {
        End::Exited { code } => format!("asked to end with SIGTERM, it exited with {code}"),
        End::Killed { signal: libc::SIGKILL } => {
            format!("it did not end when asked with SIGTERM, and was killed {} later", Span(GRACE))
        }
        End::Killed { signal } => format!("{} ended it", signal_name(signal)),
        _ => return None,
    })
}

pub(super) fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return format!("signal {signal}"),
    };
    name.into()
}

/// How high it was: the size that stands for it, and how far that can be trusted. `absent` says what is not known.
pub(super) fn peak(peak: &Peak, absent: &BTreeMap<&'static str, String>) -> (String, String) {
    let absent = |path, otherwise| absent.get(path).map_or(otherwise, String::as_str);
    let shared = "counts shared pages once for each process";
    let Some((bytes, measure)) = peak.size_bytes.zip(peak.size_measure) else {
        let value = peak
            .rss_at_most_bytes
            .map_or("unknown".into(), |most| format!("at most {} RSS", Size(most)));
        return (value, absent("peak.size_bytes", "nobody knows why").to_owned());
    };
    let size = Size(bytes).to_string();
    let measured = peak
        .pss_bytes
        .map_or("never measured".into(), |pss| format!("measured up to {}", Size(pss)));
    // What reads the same as what was measured is no news.
    let estimated = peak.size_estimated && !measured.ends_with(&format!(" {size}"));
    let note = match (measure, peak.rss_bytes, peak.rss_at_most_bytes) {
        (PSS, Some(rss), _) if estimated => {
            format!("estimated, {measured}; RSS, {}, {shared}", Size(rss))
        }
        (PSS, Some(rss), _) => format!("{MISSED}; RSS, {}, {shared}", Size(rss)),
        (RSS, ..) if peak.size_of_several => {
            // One that was read before the others started is not theirs.
            format!("{shared}: {}", absent("peak.pss_bytes", pss_missing(Absent::NotRead)))
        }
        (RSS, ..) if peak.exact => "exact".to_owned(),
        (RSS, _, Some(most)) => format!("in its samples; at most {} between them", Size(most)),
        _ => MISSED.to_owned(),
    };
    let about = if estimated { "about " } else { "" };
    (format!("{about}{size} {measure}"), note)
}

/// The same in one line.
pub(super) fn peak_line((value, note): (String, String)) -> String {
    format!("{value} ({note})")
}

/// Of a peak that only samples tell.
const MISSED: &str = "at least; a spike between samples is not seen";

fn level(summary: &Summary) -> String {
    level_words(summary.level, summary.highest_level)
}

pub(super) fn level_words(level: Level, highest: Level) -> String {
    let now = Painted(level_style(level), level);
    if highest > level {
        format!("{now}, {} at its highest", Painted(level_style(highest), highest))
    } else {
        now.to_string()
    }
}

pub(super) fn judged(gate: &Judged) -> String {
    let verdict = if gate.pass { Painted(GOOD, "pass") } else { Painted(BAD, "FAIL") };
    let bound = match gate.bound {
        Some(Bound::AtLeast) => "at least ",
        Some(Bound::AtMost) => "at most ",
        None => "",
    };
    let seen = gate.value.as_ref().map(|value| format!("{bound}{value}"));
    let says = match (&gate.limit, gate.name) {
        (Quantity::Bytes(_) | Quantity::Growth(_), _) => {
            let seen = seen.unwrap_or("unknown".into());
            format!("{seen}, allowed up to {}", gate.limit)
        }
        (Quantity::Time(_), _) => {
            let seen = seen.unwrap_or("none in sight".into());
            format!("{seen}, must be further than {}", gate.limit)
        }
        (limit, "level" | "alert") => {
            format!("{} at worst, must stay below {limit}", seen.unwrap_or("unknown".into()))
        }
        (_, "regression") => seen.map_or("nothing was compared".into(), |it| it.replace('_', " ")),
        _ => format!("the verdict is {}", seen.unwrap_or("unknown".into())),
    };
    let reason = gate.reason.as_ref().map_or(String::new(), |why| format!("; {why}"));
    format!("{verdict}  {}: {says}{reason}", gate.name)
}
