//! `memcli leak`: watch a target for a while, and say whether it leaks.
//!
//! Over a recording it is the same [`Finding`]: only where the samples come from differs.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::{after, never, select, tick};
use memleak::Verdict;
use memtrack::sampler::{Sampler, Update};
use memtrack::source::LinuxSource;
use memtrack::{Sample, Span};

use crate::cli::LeakArgs;
use crate::commands::written;
use crate::exit::{self, Failure};
use crate::limit::{self, Ancestors};
use crate::live::{Flag, Live, Still};
use crate::look::label;
use crate::output::badge::Marks;
use crate::output::human::may_redraw;
use crate::output::page::columns;
use crate::output::reload;
use crate::output::screen;
use crate::output::verdict::{Document, Finding, lines};
use crate::pipeline::Pipeline;
use crate::places::{Lookout, Places};
use crate::recording;
use crate::sys;
use crate::target::{Found, Subject, not_opened};

/// Watches the target or reads the trace, and shows the verdict; 99 when it is a leak.
///
/// # Errors
/// When the target cannot be watched or the output cannot be written.
pub fn leak(args: &LeakArgs, config: Option<&Path>) -> Result<u8, Failure> {
    match &args.subject {
        Subject::Trace(path) => recorded(path, args, config),
        Subject::Target(target) => {
            if args.skip >= args.duration {
                let nothing = "`--skip` leaves nothing of `--for` to watch";
                return Err(Failure::new(exit::USAGE, nothing));
            }
            let (finding, interrupted) = watch(&target.find()?, args, config)?;
            show(&finding, args)?;
            Ok(match interrupted {
                Some(signal) => exit::of_signal(signal),
                None if fails(&finding.verdict, args) => exit::GATE,
                None => exit::OK,
            })
        }
    }
}

fn fails(verdict: &Verdict, args: &LeakArgs) -> bool {
    verdict.is_leak() || args.strict && matches!(verdict, Verdict::Undecided { .. })
}

fn show(finding: &Finding, args: &LeakArgs) -> Result<(), Failure> {
    written(if args.json {
        let document = serde_json::to_string(&Document::new(finding))
            .map_err(|error| Failure::io("failed to write the document", error.into()))?;
        writeln!(screen::stdout(), "{document}")
    } else {
        write!(
            screen::stdout(),
            "{}",
            lines(finding, Marks::choose(args.no_emoji), columns(std::io::stdout(), 100))
        )
    })
}

/// The verdict on each run of a recording, over all of it.
fn recorded(path: &Path, args: &LeakArgs, config: Option<&Path>) -> Result<u8, Failure> {
    let still = Still::load(config)?;
    let runs = recording::read(
        path,
        args.skip,
        &mut |header| still.policies_under(header.budget()),
        |_, _| {},
    )?;
    let mut leaks = false;
    for run in &runs {
        let finding = Finding {
            label: run.header.target.label.clone(),
            series: run.pipeline.series(),
            skipped: args.skip,
            verdict: run.verdict(),
            rules: run.pipeline.rules(),
            limit: run.pipeline.latest().map(|sample| run.pipeline.limit(limit::recorded(sample))),
            places: places(&run.verdict(), &run.pipeline, None),
            ended: None,
            next: Some(format!("memcli report {}", path.display())),
        };
        leaks |= fails(&finding.verdict, args);
        show(&finding, args)?;
        if let Some(damage) = &run.damage {
            // The verdict stands on what is whole; when nobody reads this, that is still so.
            let _ = writeln!(screen::stderr(), "note: `{}`: {damage}", path.display());
        }
    }
    Ok(if leaks { exit::GATE } else { exit::OK })
}

/// The verdict after the time is up, the target has ended, or someone interrupted: then with the signal.
fn watch(
    found: &Found,
    args: &LeakArgs,
    config: Option<&Path>,
) -> Result<(Finding, Option<i32>), Failure> {
    let signals =
        sys::signals().map_err(|error| Failure::io("failed to take over signals", error))?;
    let source = LinuxSource::open(&found.watched).map_err(not_opened)?;
    let interval = [Flag::interval(args.interval)];
    let live = Live::start(config, &interval, args.interval, false)?;
    let mut pipeline = Pipeline::new(&found.watched, live.policies());
    let mut lookout = Lookout::new(source.mappings());
    let mut sampler = Sampler::new(source, live.track());
    let all = sampler.all();
    sampler.start().map_err(|error| Failure::io("failed to start the sampler's thread", error))?;

    let started = Instant::now();
    let mut progress = Progress::new(started, args);
    let second = tick(Duration::from_secs(1));
    let time_up = after(args.duration);
    let mut take = |update: Update| match update {
        Update::Sample(sample) if sample.at.monotonic >= args.skip => {
            pipeline.push(&sample, |_| {});
            lookout.look(sample.at.monotonic, true);
        }
        _ => {}
    };
    let mut ended = false;
    let mut reloads = live.reloads().clone();
    let interrupted = loop {
        select! {
            recv(all.receiver()) -> update => match update {
                Ok(update) => take(update),
                Err(_) => {
                    ended = true;
                    break None;
                }
            },
            recv(signals) -> signal => match signal {
                Ok(signal) if signal.is_child() => {}
                Ok(signal) => break Some(signal.number),
                Err(_) => return Err(Failure::new(exit::SOFTWARE, "the signal thread ended")),
            },
            recv(reloads) -> reload => match reload {
                Ok(reload) => {
                    progress.clear();
                    // Nothing else can be done when it cannot be said.
                    let _ = writeln!(screen::stderr(), "config: {}", reload::line(&reload));
                }
                Err(_) => reloads = never(),
            },
            recv(second) -> _ => progress.draw(),
            recv(time_up) -> _ => break None,
        }
    };
    sampler.stop();
    all.receiver().try_iter().for_each(&mut take);
    progress.clear();
    pipeline.conclude(|_| {});
    let ended = ended.then(|| started.elapsed());
    Ok((finding(found, args, &pipeline, &lookout, ended), interrupted))
}

/// Where it grows, when it does.
fn places(verdict: &Verdict, pipeline: &Pipeline, lookout: Option<&Lookout>) -> Option<Places> {
    let grows = matches!(verdict, Verdict::Growing { .. } | Verdict::Leak { .. })
        || !verdict.evidence().outside.is_empty();
    let mappings = lookout.and_then(Lookout::growth);
    grows.then(|| Places::new(&pipeline.kinds(), mappings)).flatten()
}

/// `ended` says that the target did, and after how long.
fn finding(
    found: &Found,
    args: &LeakArgs,
    pipeline: &Pipeline,
    lookout: &Lookout,
    ended: Option<Duration>,
) -> Finding {
    let sample = pipeline.latest();
    let verdict = pipeline.verdict();
    let ancestors = Ancestors::of(&found.watched);
    let places = places(&verdict, pipeline, Some(lookout));
    let decided = matches!(verdict, Verdict::Steady { .. });
    Finding {
        label: sample.map_or(found.label.clone(), |sample| label(found, sample)),
        series: pipeline.series(),
        skipped: args.skip,
        verdict,
        rules: pipeline.rules(),
        limit: sample.map(|sample: &Sample| pipeline.limit(ancestors.nearest(sample))),
        places,
        ended,
        next: (!decided).then(|| match ended {
            // Nobody can watch a pid of the past.
            Some(_) => "memcli run -o TRACE -- CMD, to watch it from its start".to_owned(),
            None => next(&args.subject),
        }),
    }
}

fn next(subject: &Subject) -> String {
    match subject {
        Subject::Target(target) => format!("memcli watch {target} --for 1h"),
        Subject::Trace(path) => format!("memcli report {}", path.display()),
    }
}

/// How much longer it takes, on stderr when that is a terminal.
struct Progress {
    started: Instant,
    duration: Duration,
    terminal: bool,
}

impl Progress {
    fn new(started: Instant, args: &LeakArgs) -> Self {
        let terminal = std::io::stderr().is_terminal() && may_redraw();
        Self { started, duration: args.duration, terminal }
    }

    fn draw(&mut self) {
        if self.terminal {
            let left = self.duration.saturating_sub(self.started.elapsed());
            let written = write!(screen::stderr(), "\r\x1b[2Kwatching, {} left", Span(left));
            self.terminal = written.is_ok();
        }
    }

    fn clear(&self) {
        if self.terminal {
            // Nothing is lost when it cannot be taken away.
            let _ = write!(screen::stderr(), "\r\x1b[2K");
        }
    }
}
