//! `memcli top`: the event loop of the live view. Sleeps until a sample, a key or a signal wakes it, and draws only
//! when something changed.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anstream::adapter::strip_str;
use crossbeam_channel::{Receiver, after, bounded, never, select};
use crossterm::event::{self, Event as Input};
use memcfg::live::Reload;
use mempressure::PressureConfig;
use memtrack::Settings;
use memtrack::processes::Snapshot;
use memtrack::sampler::{Sampler, Update};
use memtrack::source::LinuxSource;
use memtrack::units::format_duration;

use crate::cli::TopArgs;
use crate::exit::{self, Failure};
use crate::limit::Ancestors;
use crate::live::Live;
use crate::look::label;
use crate::output::badge::Marks;
use crate::output::human;
use crate::pipeline::{Event, Numbered, Pipeline};
use crate::sys;
use crate::target::{Found, not_opened};
use crate::top::keys::{Action, action};
use crate::top::processes::birth;
use crate::top::state::{Judged, State};
use crate::top::terminal::Terminal;
use crate::top::theme::Theme;
use crate::top::view::{chart_columns, draw};

/// Two frames are at least this far apart, unless a key was pressed.
const FRAME: Duration = Duration::from_millis(200);

/// Shows the target until someone leaves.
///
/// # Errors
/// When the target cannot be watched or there is no terminal.
pub fn top(args: &TopArgs, config: Option<&Path>) -> Result<u8, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::new(exit::UNAVAILABLE, "`top` needs a terminal")
            .help("`memcli watch` writes lines, `memcli status --json` a document"));
    }
    let found = args.target.find()?;
    let source = LinuxSource::open(&found.watched).map_err(not_opened)?;
    let snapshot = source.snapshot();
    let interval = [("track.interval", format_duration(args.interval))];
    let live = Live::start(config, &interval, args.interval, true)?;
    let signals =
        sys::signals().map_err(|error| Failure::io("failed to take over signals", error))?;
    let policies = live.policies();
    let thresholds = live.policies().pressure;
    let pipeline = Pipeline::new(&found.watched, policies);
    let mut sampler = Sampler::new(source, live.track());
    let all = sampler.all();
    sampler.start().map_err(|error| Failure::io("failed to start the sampler's thread", error))?;

    let no_terminal = |error| Failure::io("failed to take over the terminal", error);
    let terminal = Terminal::take().map_err(no_terminal)?;
    let input = input().map_err(no_terminal)?;
    let theme = Theme {
        colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        unicode: Marks::choose(false) == Marks::Emoji,
    };
    let view = View {
        state: State::new(found.label.clone(), found.watched.clone(), args.interval),
        ancestors: Ancestors::of(&found.watched),
        thresholds,
        found,
        pipeline,
        snapshot,
        terminal,
        theme,
        changed: true,
    };
    let code = view.run(all.receiver(), &signals, &input, live.reloads());
    sampler.stop();
    code
}

/// Keys and resizes. The thread waits in a read that nothing can end, and goes with the process.
fn input() -> io::Result<Receiver<Input>> {
    let (send, receive) = bounded(64);
    thread::Builder::new().name("keys".into()).stack_size(128 * 1024).spawn(move || {
        while let Ok(event) = event::read() {
            if send.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(receive)
}

struct View {
    state: State,
    found: Found,
    ancestors: Ancestors,
    thresholds: Settings<PressureConfig>,
    pipeline: Pipeline,
    snapshot: Snapshot,
    terminal: Terminal,
    theme: Theme,
    changed: bool,
}

impl View {
    fn run(
        mut self,
        updates: &Receiver<Update>,
        signals: &Receiver<sys::Signal>,
        input: &Receiver<Input>,
        reloads: &Receiver<Reload>,
    ) -> Result<u8, Failure> {
        let mut updates = updates.clone();
        let mut reloads = reloads.clone();
        let mut drawn: Option<Instant> = None;
        loop {
            let due = drawn.map_or(Duration::ZERO, |drawn| FRAME.saturating_sub(drawn.elapsed()));
            if self.changed && due == Duration::ZERO {
                self.draw()?;
                drawn = Some(Instant::now());
            }
            let frame = if self.changed { after(due) } else { never() };
            select! {
                recv(updates) -> update => match update {
                    Ok(update) => self.take(update),
                    Err(_) => {
                        // What was seen can still be looked at, until someone leaves.
                        updates = never();
                        self.state.ended = true;
                        self.note(Event::Ended);
                    }
                },
                recv(signals) -> signal => match signal {
                    Ok(signal) if signal.is_child() => {}
                    Ok(signal) => return Ok(exit::of_signal(signal.number)),
                    Err(_) => return Err(Failure::new(exit::SOFTWARE, "the signal thread ended")),
                },
                recv(input) -> input => match input {
                    Ok(Input::Key(key)) => match action(key) {
                        Some(Action::Quit) => return Ok(exit::OK),
                        Some(Action::Interrupt) => return Ok(exit::of_signal(libc::SIGINT)),
                        Some(action) => {
                            self.state.act(action, chart_columns(self.terminal.width()));
                            self.changed = true;
                            drawn = None;
                        }
                        None => {}
                    },
                    Ok(Input::Resize(..)) => {
                        self.changed = true;
                        drawn = None;
                    }
                    Ok(_) => {}
                    // The terminal is gone.
                    Err(_) => return Ok(exit::of_signal(libc::SIGHUP)),
                },
                recv(reloads) -> reload => match reload {
                    Ok(reload) => {
                        self.note(Event::Config(reload));
                        self.changed = true;
                    }
                    Err(_) => reloads = never(),
                },
                recv(frame) -> _ => {}
            }
        }
    }

    fn take(&mut self, update: Update) {
        self.changed = true;
        let sample = match update {
            Update::Sample(sample) => sample,
            Update::Failed(failure) => return self.note(Event::Failed(failure)),
            _ => return,
        };
        let state = &mut self.state;
        self.pipeline.push(&sample, |event| keep(state, event));
        let judged = Judged {
            status: self.pipeline.pressure(),
            verdict: self.pipeline.verdict(),
            limit: self.ancestors.nearest(&sample),
            thresholds: self.thresholds.load().value.thresholds,
        };
        state.label = label(&self.found, &sample);
        let rows = self.snapshot.rows();
        state.observe(&sample, judged, &rows, |row| birth(Path::new("/"), row));
    }

    fn note(&mut self, event: Event) {
        self.changed = true;
        let numbered = self.pipeline.number(event);
        keep(&mut self.state, &numbered);
    }

    fn draw(&mut self) -> Result<(), Failure> {
        self.changed = false;
        let (state, theme) = (&self.state, self.theme);
        self.terminal
            .draw(|frame| draw(frame, state, theme))
            .map_err(|error| Failure::io("failed to draw", error))
    }
}

fn keep(state: &mut State, numbered: &Numbered) {
    let line = match &numbered.event {
        Event::Ended => {
            Some(format!("{} target   it has ended", human::time_of_day(numbered.at.wall)))
        }
        _ => human::event_line(numbered).map(|line| strip_str(&line).to_string()),
    };
    if let Some(line) = line {
        state.note(line);
    }
}
