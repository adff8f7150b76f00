//! The rows of `status`, for people and for programs.

use std::collections::BTreeMap;
use std::time::SystemTime;

use mempressure::{Level, Measure, Signal};
use memtrack::{Absent, Rate, Size};
use serde::Serialize;

use crate::exit::Failure;
use crate::limit::Owner;
use crate::look::{Look, pss_missing};
use crate::output::badge::Marks;
use crate::output::human::{self, rate_beside};
use crate::output::json::Readings;
use crate::size::{RSS, USED, several};
use crate::summary::{Growth, Judgement};

/// The name and version of the document.
pub const SCHEMA: &str = "memcli.status/1";

/// One target as it was asked for, and what came of it.
pub type Row = (String, Result<Look, Failure>);

/// One line a target, columns aligned. What somebody has turned `off` is told where it leaves nothing to tell.
#[must_use]
pub fn lines(rows: &[Row], marks: Marks, off: &[String]) -> String {
    let cells: Vec<[String; 4]> = rows.iter().map(|row| cells(row, marks, off)).collect();
    let width = |column: usize| {
        cells.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default()
    };
    let (label, size) = (width(1), width(2));
    let mut text = String::new();
    for [badge, name, bytes, rest] in &cells {
        let line = format!("{badge} {name:<label$}  {bytes:>size$}  {rest}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cells((asked, look): &Row, marks: Marks, off: &[String]) -> [String; 4] {
    let look = match look {
        Ok(look) => look,
        Err(why) => {
            // One line a target, whatever the failure has to say.
            let why = why.to_string().replace("\n  ", "; ");
            let badge = marks.level(Level::Unknown).to_string();
            return [badge, asked.clone(), String::new(), why];
        }
    };
    let size = match look.size() {
        // The machine's size is what the limit's column says.
        Ok((_, USED)) => String::new(),
        Ok((bytes, measure)) => format!("{} {measure}", Size(bytes)),
        Err(why) => why.to_string(),
    };
    let badge = marks.level(look.status.level).to_string();
    let unread = matches!((look.size(), &look.limit), (Err(Absent::NotRead), Err(Absent::NotRead)));
    if unread && !off.is_empty() {
        return [badge, look.label.clone(), String::new(), off.join("; ")];
    }
    let mut parts = vec![limit(look)];
    if look.status.level == Level::Unknown {
        parts.extend(off.iter().cloned());
    }
    parts.extend(growth(look, marks));
    if let (Ok((_, RSS)), true, Err(why)) =
        (look.size(), several(&look.sample), look.sample.process.pss)
    {
        parts.push(format!("shared pages counted once for each process: {}", pss_missing(why)));
    }
    [badge, look.label.clone(), size, parts.join("; ")]
}

/// `3.5 of 4.0 GiB, 88 %: cgroup /app`.
fn limit(look: &Look) -> String {
    match &look.limit {
        Ok(limit) => format!(
            "{}, {:.0} %: {}",
            of(limit.used, limit.bytes),
            limit.ratio() * 100.0,
            limit.owner
        ),
        Err(why) => format!("limit unknown: {why}"),
    }
}

fn growth(look: &Look, marks: Marks) -> Option<String> {
    let verdict = look.verdict.as_ref()?;
    let word = marks.verdict(verdict.kind()).to_string();
    let mut text = word.trim_end().to_owned();
    if let Some(rate) = rate_beside(verdict) {
        text.push_str(&format!(" {rate}"));
    }
    if let (memleak::Verdict::Steady { .. }, Some(floor)) = (verdict, verdict.evidence().floor) {
        text.push_str(&format!(", growth of {} would have shown", Rate::per_second(floor)));
    }
    if let memleak::Verdict::Undecided { why, .. } = verdict {
        text.push_str(&format!(", {why}"));
    }
    if let memleak::Verdict::Leak { time_to_limit: Some(time), .. } = verdict {
        text.push_str(&match human::until_limit(*time) {
            Some(time) => format!(", limit reached in about {time}"),
            None => ", past its limit".to_owned(),
        });
    }
    Some(text)
}

/// `3.5 of 4.0 GiB`: both in one unit, unless that would show next to nothing.
#[must_use]
pub fn of(used: u64, limit: u64) -> String {
    let (shown_used, shown_limit) = (Size(used).to_string(), Size(limit).to_string());
    match (shown_used.split_once(' '), shown_limit.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => {
            format!("{number} of {shown_limit}")
        }
        _ => format!("{shown_used} of {shown_limit}"),
    }
}

/// The document `memcli.status/1`. Sizes are in bytes, times in seconds; what is unknown is `null` with its reason.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Document {
    schema: &'static str,
    time: String,
    targets: Vec<Entry>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Entry {
    target: String,
    #[cfg_attr(test, schemars(with = "crate::schema::Level"))]
    level: Level,
    signal: Option<Decided>,
    size: Option<Sized>,
    limit: Option<Bound>,
    headroom_bytes: Option<u64>,
    growth: Option<Growth>,
    verdict: Option<Judgement>,
    readings: BTreeMap<&'static str, Option<u64>>,
    absent: BTreeMap<&'static str, String>,
}

/// The signal that decides the level.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Decided {
    #[cfg_attr(test, schemars(with = "crate::schema::Signal"))]
    name: Signal,
    #[cfg_attr(test, schemars(with = "crate::schema::Measure"))]
    measure: Measure,
    value: Option<f64>,
    threshold: Option<f64>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Sized {
    measure: &'static str,
    bytes: u64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Bound {
    /// `machine`, `cgroup` or `budget`.
    kind: &'static str,
    path: Option<String>,
    used_bytes: u64,
    limit_bytes: u64,
    ratio: f64,
}

impl Document {
    /// The rows as they are now.
    #[must_use]
    pub fn new(rows: &[Row], now: SystemTime) -> Self {
        Self {
            schema: SCHEMA,
            time: humantime::format_rfc3339_millis(now).to_string(),
            targets: rows.iter().map(entry).collect(),
        }
    }

    /// The same, where somebody has turned things `off`: that is then why there is no level.
    #[must_use]
    pub fn under(mut self, off: &[String]) -> Self {
        if !off.is_empty() {
            let silent = self.targets.iter_mut().filter(|target| target.signal.is_none());
            for entry in silent {
                entry.absent.entry("signal").and_modify(|why| *why = off.join("; "));
            }
        }
        self
    }
}

fn entry((asked, look): &Row) -> Entry {
    let look = match look {
        Ok(look) => look,
        Err(why) => {
            return Entry {
                target: asked.clone(),
                level: Level::Unknown,
                signal: None,
                size: None,
                limit: None,
                headroom_bytes: None,
                growth: None,
                verdict: None,
                readings: BTreeMap::new(),
                absent: BTreeMap::from([("target", why.to_string())]),
            };
        }
    };
    let mut absent = BTreeMap::new();
    let mut note = |name, why: &dyn std::fmt::Display| {
        absent.insert(name, why.to_string());
    };
    let signal = look.status.signal.map(|signal| {
        let says = look.status.of(signal);
        Decided {
            name: signal,
            measure: says.measure,
            value: says.value,
            threshold: says.threshold,
        }
    });
    if signal.is_none() {
        note("signal", &"no signal votes");
    }
    let size = look.size().map_err(|why| note("size", &why)).ok();
    let limit = look.limit.as_ref().map_err(|why| note("limit", why)).ok();
    if look.verdict.is_none() {
        note("growth", &"not watched; `--for` watches");
        note("verdict", &"not watched; `--for` watches");
    }
    let Readings { values: readings, absent: unread } = Readings::of(&look.sample);
    for (name, _) in readings.iter().filter(|(_, value)| value.is_none()) {
        absent.insert(*name, unread.get(name).cloned().unwrap_or(Absent::NotRead.to_string()));
    }
    if let (Ok(_), Err(why)) = (look.sample.process.rss, look.sample.process.pss) {
        let why = match (why, several(&look.sample)) {
            (Absent::NotRead, false) => {
                "not read: it is of several processes that RSS says too much"
            }
            _ => pss_missing(why),
        };
        absent.insert("pss_bytes", why.to_owned());
    }
    Entry {
        target: look.label.clone(),
        level: look.status.level,
        signal,
        size: size.map(|(bytes, measure)| Sized { measure, bytes }),
        headroom_bytes: limit.map(crate::limit::Limit::left),
        limit: limit.map(|limit| Bound {
            kind: match limit.owner {
                Owner::Machine => "machine",
                Owner::Cgroup(_) => "cgroup",
                Owner::Budget => "budget",
            },
            path: match &limit.owner {
                Owner::Machine | Owner::Budget => None,
                Owner::Cgroup(path) => path.clone(),
            },
            used_bytes: limit.used,
            limit_bytes: limit.bytes,
            ratio: limit.ratio(),
        }),
        growth: look.verdict.as_ref().map(|verdict| Growth::from(verdict.trend())),
        verdict: look.verdict.as_ref().map(|verdict| Judgement::new(verdict, look.series)),
        readings,
        absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Limit;
    use memtrack::{Absent, Sample, Stamp};
    use std::time::Duration;

    fn look(level: Level) -> Look {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
        sample.process.rss = Ok(60 << 20);
        sample.process.pss = Err(Absent::Denied);
        sample.process.processes = Ok(8);
        let mut status = mempressure::Machine::new().status();
        status.level = level;
        let owner = Owner::Cgroup(Some("/app".into()));
        let limit = Ok(Limit { owner, used: 3584 << 20, bytes: 4 << 30 });
        let watched = memtrack::source::Target::Own;
        Look {
            label: "worker(4321)+7".into(),
            watched,
            sample,
            status,
            limit,
            series: "anon + swap",
            verdict: None,
        }
    }

    #[test]
    fn a_row_has_level_size_limit_and_what_is_wrong_with_the_figure() {
        let failure = Failure::new(66, "no process is called `nobody`").help("a pid always works");
        let rows = vec![
            ("worker".to_owned(), Ok(look(Level::Critical))),
            ("nobody".to_owned(), Err(failure)),
        ];
        let text = anstream::adapter::strip_str(&lines(&rows, Marks::Emoji, &[])).to_string();
        assert_eq!(
            text,
            "🟠 critical   worker(4321)+7  60.0 MiB RSS  3.5 of 4.0 GiB, 88 %: cgroup /app; \
             shared pages counted once for each process: PSS may not be read: permission denied\n\
             ⚪ unknown    nobody                        no process is called `nobody`; help: a pid always works\n"
        );
        let plain = anstream::adapter::strip_str(&lines(&rows, Marks::Plain, &[])).to_string();
        assert!(plain.starts_with("[CRITICAL]   worker(4321)+7"), "{plain}");
        assert!(plain.is_ascii(), "{plain}");
    }

    #[test]
    fn the_document_says_why_for_every_null() {
        let failure = Failure::new(66, "no process is called `nobody`");
        let rows = vec![
            ("worker".to_owned(), Ok(look(Level::Critical))),
            ("nobody".to_owned(), Err(failure)),
        ];
        let document = serde_json::to_value(Document::new(&rows, SystemTime::UNIX_EPOCH)).unwrap();
        assert_eq!(document["schema"], "memcli.status/1");
        assert_eq!(document["time"], "1970-01-01T00:00:00.000Z");
        let worker = &document["targets"][0];
        assert_eq!(worker["limit"]["ratio"], 0.875);
        assert_eq!(worker["limit"]["path"], "/app");
        assert_eq!(worker["headroom_bytes"], 512u64 << 20);
        assert_eq!(worker["readings"]["pss_bytes"], serde_json::Value::Null);
        assert_eq!(worker["absent"]["pss_bytes"], "PSS may not be read: permission denied");
        for name in ["signal", "growth", "verdict"] {
            assert!(worker[name].is_null() && worker["absent"][name].is_string(), "{name}");
        }
        assert!(document["targets"][1]["absent"]["target"].is_string());
    }

    #[test]
    fn two_sizes_share_their_unit() {
        assert_eq!(of(3584 << 20, 4 << 30), "3.5 of 4.0 GiB");
        assert_eq!(of(12 << 20, 4 << 30), "12.0 MiB of 4.0 GiB");
    }

    #[test]
    fn a_live_target_gives_a_whole_row() {
        let found = crate::target::Target::Own.find().unwrap();
        let looks =
            crate::look::look(vec![Ok(found)], None, &crate::live::Still::load(None).unwrap());
        let rows: Vec<Row> = looks.into_iter().map(|look| ("self".to_owned(), look)).collect();
        let text = lines(&rows, Marks::Emoji, &[]);
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains(&format!("({})", std::process::id())), "{text}");
    }
}
