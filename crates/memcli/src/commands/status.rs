//! `memcli status`: one line a target, or one document, or an exit code for a monitoring system.

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use mempressure::Level;

use crate::cli::StatusArgs;
use crate::commands::written;
use crate::exit::{self, Failure};
use crate::live::Still;
use crate::look::{Look, look};
use crate::output::badge::Marks;
use crate::output::screen;
use crate::output::status::{Document, Row, lines};
use crate::report;
use crate::target::{Asked, Target};

/// Shows each target. The exit code is that of the worst level with `--check`, else of the first target that could not
/// be looked at: one that is not there does not hide the others.
///
/// With `--check` whatever stands in the way leaves it unknown: a monitoring system knows four codes and no other.
///
/// # Errors
/// Without `--check` when a target or the configuration is not valid, or the output cannot be written.
pub fn status(args: &StatusArgs, config: Option<&Path>) -> Result<u8, Failure> {
    match show(args, config) {
        Err(failure) if args.check => {
            report(&failure);
            Ok(exit::CHECK_UNKNOWN)
        }
        done => done,
    }
}

fn show(args: &StatusArgs, config: Option<&Path>) -> Result<u8, Failure> {
    let of_machine = [Asked::from(Target::System)];
    let asked = if args.targets.is_empty() { &of_machine[..] } else { &args.targets };
    let find = |asked: &Asked| match &asked.target {
        Ok(target) => target.find(),
        Err(why) => Err(Failure::new(exit::USAGE, why.to_string())),
    };
    if !args.check
        && let Some(why) = asked.iter().find_map(|asked| asked.target.as_ref().err())
    {
        return Err(Failure::new(exit::USAGE, why.to_string()));
    }
    let texts = asked.iter().map(|asked| asked.text.clone());
    let (rows, off): (Vec<Row>, Vec<String>) = match Still::load(config) {
        Ok(still) => {
            let found = asked.iter().map(find).collect();
            (texts.zip(look(found, args.duration, &still)).collect(), still.off())
        }
        Err(failure) if args.check => {
            report(&failure);
            let no_level = || Failure::new(failure.code, "the configuration cannot be used");
            (texts.map(|text| (text, Err(no_level()))).collect(), Vec::new())
        }
        Err(failure) => return Err(failure),
    };
    written(if args.json {
        let document = Document::new(&rows, SystemTime::now()).under(&off);
        let document = serde_json::to_string(&document)
            .map_err(|error| Failure::io("failed to write the document", error.into()))?;
        writeln!(screen::stdout(), "{document}")
    } else {
        write!(screen::stdout(), "{}", lines(&rows, Marks::choose(args.no_emoji), &off))
    })?;
    let looks = rows.iter().map(|(_, look)| look);
    if args.check {
        return Ok(check(looks));
    }
    Ok(looks.filter_map(|look| Some(look.as_ref().err()?.code)).next().unwrap_or(exit::OK))
}

/// The code for a monitoring system: the worst of all. Unknown lies between good and warning, as monitoring plugins
/// have it (`max_state_alt`): what is known to be bad must not hide behind what is not known.
fn check<'a>(looks: impl Iterator<Item = &'a Result<Look, Failure>>) -> u8 {
    let level = |look: &Result<Look, Failure>| match look {
        Ok(look) => look.status.level,
        Err(_) => Level::Unknown,
    };
    let rank = |code: &u8| match *code {
        exit::OK => 0,
        exit::CHECK_UNKNOWN => 1,
        exit::CHECK_WARNING => 2,
        _ => 3,
    };
    looks.map(|look| exit::of_level(level(look))).max_by_key(rank).unwrap_or(exit::CHECK_UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::{Absent, Sample, Stamp};

    fn at(level: Level) -> Result<Look, Failure> {
        let sample = Sample::empty(Stamp::synthetic(std::time::Duration::ZERO));
        let mut status = mempressure::Machine::new().status();
        status.level = level;
        let limit = Err(Absent::NotRead);
        let watched = memtrack::source::Target::System;
        Ok(Look {
            label: "x".into(),
            watched,
            sample,
            status,
            limit,
            series: "anon + swap",
            verdict: None,
        })
    }

    #[test]
    fn the_worst_level_decides_and_unknown_does_not_hide_it() {
        let gone = || Err(Failure::new(exit::NO_INPUT, "gone"));
        let code = |looks: &[Result<Look, Failure>]| check(looks.iter());
        assert_eq!(code(&[at(Level::Normal)]), 0);
        assert_eq!(code(&[at(Level::Normal), at(Level::Warning)]), 1);
        assert_eq!(code(&[at(Level::Critical), at(Level::Warning)]), 2);
        assert_eq!(code(&[at(Level::Emergency)]), 2);
        assert_eq!(code(&[at(Level::Unknown), at(Level::Normal)]), 3);
        assert_eq!(code(&[gone(), at(Level::Normal)]), 3);
        assert_eq!(code(&[gone(), at(Level::Warning)]), 1);
    }
}
