//! What an edit would do, before it is made: the keys it changes, and the levels and verdicts that recorded samples would
//! have had under it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use memcfg::diff::{Change, Direction, diff as differences};
use memcfg::document::{self, Config};
use memcfg::load::{Loaded, Text, assemble};
use memcfg::origin::SourceKind;
use memleak::Severity;
use mempressure::Level;
use memtrack::{Sample, Span};
use serde::Serialize;
use serde_json::json;

use super::{edited, read, say, say_row, sources};
use crate::alert;
use crate::cli::{CandidateArgs, PlanArgs};
use crate::exit::{self, Failure};
use crate::live::{Still, refused};
use crate::output::human::counted;
use crate::output::screen;
use crate::pipeline::{Event, Numbered, Pipeline};
use crate::recording;
use crate::recordings;
use crate::trace::Header;
use crate::trace::error::Broken;

/// Prints each key that would have another value.
pub(super) fn diff(args: &CandidateArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let (now, then) = both(args, explicit)?;
    let changes = differences(&now, &then);
    if args.json {
        say(format_args!("{}", json!({ "schema": "memcli.config-diff/1", "changes": changes })))?;
    } else {
        say_changes(&changes)?;
    }
    Ok(exit::OK)
}

/// The same, and what recorded samples come to under both.
pub(super) fn plan(args: &PlanArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let (now, then) = both(&args.candidate, explicit)?;
    let changes = differences(&now, &then);
    let (now, then) = (Still::from(now), Still::from(then));
    let mut effects = Vec::new();
    // What is being recorded right now is what was seen most recently.
    let running = if args.traces.is_empty() { recordings::running() } else { Vec::new() };
    for trace in &args.traces {
        effects.push(Effect::of(trace, &now, &then)?);
    }
    // One that has just begun has nothing to judge by yet.
    effects.extend(running.iter().filter_map(|trace| Effect::of(trace, &now, &then).ok()));
    if args.candidate.json {
        let document =
            json!({ "schema": "memcli.config-plan/1", "changes": changes, "effects": effects });
        say(format_args!("{document}"))?;
        return Ok(exit::OK);
    }
    say_changes(&changes)?;
    for effect in &effects {
        say(format_args!("{}: {} samples", effect.trace, effect.now.samples))?;
        say_row("now", &effect.now.words())?;
        say_row("then", &effect.then.words())?;
        say_row("so", &effect.words())?;
        if let Some(damage) = &effect.damage {
            // What is told stands on what is whole.
            let _ = writeln!(screen::stderr(), "note: `{}`: {damage}", effect.trace);
        }
    }
    if effects.is_empty() {
        say(format_args!(
            "with `--trace TRACE`, or while a `memcli watch -o TRACE` runs, this also tells which levels and alerts it would raise or clear"
        ))?;
    }
    Ok(exit::OK)
}

/// The document as it is, and as it would be with the candidate in the place of the file it is meant for.
fn both(
    args: &CandidateArgs,
    explicit: Option<&Path>,
) -> Result<(Loaded<Config>, Loaded<Config>), Failure> {
    let (spec, project) = (document::spec(), args.which.project);
    let refuse = |problems: Vec<memcfg::Diagnostic>| refused(&problems);
    let (mut inputs, _) = sources(explicit)?.read().map_err(refuse)?;
    let now = assemble(&spec, &inputs).map_err(refuse)?;
    let path = edited(explicit, project)?;
    let kind = if project { SourceKind::Project } else { SourceKind::Global };
    let candidate = Text::new(kind, &args.file, read(&args.file)?);
    match inputs.texts.iter_mut().find(|text| text.path == path) {
        Some(text) => *text = candidate,
        None if project => inputs.texts.push(candidate),
        None => {
            let globals =
                inputs.texts.iter().take_while(|text| text.kind == SourceKind::Global).count();
            inputs.texts.insert(globals, candidate);
        }
    }
    let then = assemble(&spec, &inputs).map_err(refuse)?;
    Ok((now, then))
}

fn say_changes(changes: &[Change]) -> Result<(), Failure> {
    if changes.is_empty() {
        return say(format_args!("no value would change"));
    }
    let shown = |value: &Option<memcfg::value::Value>| {
        value.as_ref().map_or("unset".into(), ToString::to_string)
    };
    for change in changes {
        let direction = match change.direction {
            Some(Direction::Tightened) => ", tightened",
            Some(Direction::Loosened) => ", loosened",
            None => "",
        };
        let restart = match change.effect {
            memcfg::schema::Effect::Restart => ", after a restart",
            _ => "",
        };
        let (old, new) = (shown(&change.old), shown(&change.new));
        say(format_args!(
            "{}: {old} -> {new}{direction}{restart} ({})",
            change.key, change.origin
        ))?;
    }
    Ok(())
}

/// What one trace comes to, now and then.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Effect {
    trace: String,
    now: Outcome,
    then: Outcome,
    /// What is wrong with the trace, in words; `null` when nothing is.
    damage: Option<String>,
}

/// What a pipeline makes of a trace.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Outcome {
    samples: u64,
    /// Changes of level other than the first word on it.
    transitions: u64,
    #[cfg_attr(test, schemars(with = "crate::schema::Level"))]
    highest: Level,
    /// The level at the end.
    #[cfg_attr(test, schemars(with = "crate::schema::Level"))]
    level: Level,
    verdict: &'static str,
    /// Alerts that would have gone out.
    alerts: u64,
    /// The same by severity and cause, such as `warning rss`.
    by_cause: BTreeMap<String, u64>,
    /// When each level above normal was first reached, and each kind of alert first went out, in seconds from the first sample.
    first_seconds: BTreeMap<String, f64>,
    /// The worst of them.
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Severity>"))]
    alert: Option<Severity>,
    #[serde(skip)]
    #[cfg_attr(test, schemars(skip))]
    began: Option<Duration>,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            samples: 0,
            transitions: 0,
            highest: Level::Unknown,
            level: Level::Unknown,
            verdict: "undecided",
            alerts: 0,
            by_cause: BTreeMap::new(),
            first_seconds: BTreeMap::new(),
            alert: None,
            began: None,
        }
    }
}

impl Outcome {
    fn hear(&mut self, numbered: &Numbered) {
        let now = numbered.at.monotonic;
        let since = now.saturating_sub(*self.began.get_or_insert(now)).as_secs_f64();
        match &numbered.event {
            Event::Sample(_) => self.samples += 1,
            Event::Level(transition) => {
                self.transitions += u64::from(transition.from != Level::Unknown);
                self.level = transition.to;
                self.highest = self.highest.max(transition.to);
                if transition.to > Level::Normal {
                    self.first_seconds.entry(transition.to.to_string()).or_insert(since);
                }
            }
            Event::Alert(alert) => {
                self.alerts += 1;
                let name = format!("{} {}", alert::word(alert.severity), alert.cause.name());
                // Those of a level go out as it is reached.
                if alert.cause.name() != "level" {
                    self.first_seconds.entry(format!("{name} alert")).or_insert(since);
                }
                *self.by_cause.entry(name).or_default() += 1;
                self.alert = self.alert.max(Some(alert.severity));
            }
            Event::Verdict(change) => self.verdict = change.to.kind(),
            _ => {}
        }
    }

    fn words(&self) -> String {
        format!(
            "highest level {}, {} at the end, {}; verdict {}; {}",
            self.highest,
            self.level,
            counted(self.transitions, "change"),
            self.verdict,
            counted(self.alerts, "alert")
        )
    }
}

/// A trace under another document than the one it is read under.
struct Other<'a> {
    document: &'a Still,
    /// The run that is read: two of a file differ in their header.
    run: Option<(Header, Pipeline)>,
    outcome: Outcome,
}

impl Other<'_> {
    fn sample(&mut self, header: &Header, sample: &Sample) {
        if self.run.as_ref().is_none_or(|(run, _)| run != header) {
            self.conclude();
            let policies = self.document.policies_under(header.budget());
            self.run = Some((header.clone(), Pipeline::new(&header.target.watched(), policies)));
        }
        if let Some((_, pipeline)) = &mut self.run {
            pipeline.push(sample, |numbered| self.outcome.hear(numbered));
        }
    }

    fn conclude(&mut self) {
        if let Some((_, mut pipeline)) = self.run.take() {
            pipeline.conclude(|numbered| self.outcome.hear(numbered));
        }
    }
}

impl Effect {
    /// Reads the trace once: one that is being recorded would be longer at a second time.
    fn of(trace: &Path, now: &Still, then: &Still) -> Result<Self, Failure> {
        let mut outcome = Outcome::default();
        let mut other = Other { document: then, run: None, outcome: Outcome::default() };
        let runs = recording::read(
            trace,
            Duration::ZERO,
            &mut |header| now.policies_under(header.budget()),
            |header, numbered| {
                if let Event::Sample(sample) = &numbered.event {
                    other.sample(header, sample);
                }
                outcome.hear(numbered);
            },
        )?;
        other.conclude();
        // Of what a watch is still writing nothing is wrong.
        let mut damage = runs.into_iter().filter_map(|run| run.damage);
        let damage = damage.find(|damage| damage.what != Broken::Running);
        let damage = damage.map(|damage| damage.to_string());
        Ok(Self { trace: trace.display().to_string(), now: outcome, then: other.outcome, damage })
    }

    fn words(&self) -> String {
        let (now, then) = (&self.now, &self.then);
        let mut so = Vec::new();
        if then.highest > now.highest {
            so.push(format!("{} would have been reached", then.highest));
        }
        if then.highest < now.highest {
            so.push(format!("{} would not have been reached", now.highest));
        }
        if then.level != now.level {
            so.push(format!("it would stand at {} in place of {}", then.level, now.level));
        }
        if then.transitions > now.transitions.saturating_mul(2).max(4) {
            so.push(format!(
                "it would flap: {} changes of level in place of {}",
                then.transitions, now.transitions
            ));
        }
        let names: BTreeSet<_> = now.by_cause.keys().chain(then.by_cause.keys()).collect();
        for name in names {
            let count = |outcome: &Outcome| outcome.by_cause.get(name).copied().unwrap_or(0);
            match (count(now), count(then)) {
                (was, will) if was == will => {}
                (was, 0) => {
                    so.push(format!("no {name} alert would have gone out, in place of {was}"));
                }
                (0, will @ 2..) => so.push(format!("{will} {name} alerts would have gone out")),
                (0, _) => so.push(format!("a {name} alert would have gone out")),
                (was, will) => {
                    so.push(format!("{will} {name} alerts would have gone out, in place of {was}"));
                }
            }
        }
        for (what, was) in &now.first_seconds {
            let Some(will) = then.first_seconds.get(what) else { continue };
            let Ok(apart) = Duration::try_from_secs_f64((will - was).abs()) else { continue };
            if apart > Duration::ZERO {
                let when = if will < was { "sooner" } else { "later" };
                so.push(format!("{what} would have come {} {when}", Span(apart)));
            }
        }
        if then.verdict != now.verdict {
            so.push(format!("the verdict would be {} in place of {}", then.verdict, now.verdict));
        }
        if so.is_empty() { "nothing would have been different".into() } else { so.join("; ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(alerts: &[(&str, u64)]) -> Outcome {
        Outcome {
            samples: 10,
            transitions: 0,
            highest: Level::Normal,
            level: Level::Normal,
            verdict: "undecided",
            alerts: alerts.iter().map(|(_, count)| count).sum(),
            by_cause: alerts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            ..Outcome::default()
        }
    }

    #[test]
    fn what_would_have_come_at_another_time_is_named() {
        let reached = |at: &[(&str, f64)]| {
            let first_seconds = at.iter().map(|(what, at)| ((*what).to_owned(), *at)).collect();
            Outcome { first_seconds, ..outcome(&[]) }
        };
        let (now, then) = (
            reached(&[("warning", 8.2), ("critical", 9.0)]),
            reached(&[("warning", 7.0), ("critical", 9.0)]),
        );
        let effect = Effect { trace: "t".into(), now, then, damage: None };
        assert_eq!(effect.words(), "warning would have come 1.2 s sooner");
    }

    #[test]
    fn alerts_that_differ_are_named_whatever_the_worst_is() {
        let words = |now: &[(&str, u64)], then: &[(&str, u64)]| {
            let (now, then) = (outcome(now), outcome(then));
            Effect { trace: "t".into(), now, then, damage: None }.words()
        };
        assert_eq!(
            words(&[("warning rss", 1)], &[("warning rss", 1)]),
            "nothing would have been different"
        );
        assert_eq!(
            words(&[("critical level", 1)], &[("critical level", 1), ("warning rss", 1)]),
            "a warning rss alert would have gone out"
        );
        assert_eq!(
            words(&[("warning rss", 1), ("critical leak", 1)], &[("warning rss", 2)]),
            "no critical leak alert would have gone out, in place of 1; 2 warning rss alerts would have gone out, in place of 1"
        );
    }
}
