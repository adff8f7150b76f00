//! `memcli top`: the event loop of the live view. Sleeps until a sample, a key or a signal wakes it, and draws only
//! when something changed.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anstream::adapter::strip_str;
use crossbeam_channel::{Receiver, after, bounded, never, select};
use crossterm::event::{self, Event as Input, KeyEvent};
use memcfg::live::Reload;
use mempressure::PressureConfig;
use memtrack::processes::{ProcessName, Snapshot};
use memtrack::sampler::{Sampler, Update};
use memtrack::source::LinuxSource;
use memtrack::{Sample, Settings};

use crate::alert::Delivery;
use crate::cli::TopArgs;
use crate::exit::{self, Failure};
use crate::intake::Opened;
use crate::limit::{Ancestors, Limit, Owner};
use crate::live::{Flag, Live, Still};
use crate::look::label;
use crate::output::badge::Marks;
use crate::output::{human, screen};
use crate::pipeline::{Event, Numbered, Pipeline, Policies};
use crate::summary::End;
use crate::sys;
use crate::target::{Found, Subject, not_opened};
use crate::top::keys::{Action, action, typed};
use crate::top::state::{Judged, Mark, State};
use crate::top::terminal::Terminal;
use crate::top::theme::Theme;
use crate::top::view::{chart_columns, draw};
use crate::trace::{EndRow, Header, Reader, Recorder, Row};

/// Two frames are at least this far apart, unless a key was pressed.
const FRAME: Duration = Duration::from_millis(200);

/// Shows the target, or the trace, until someone leaves.
///
/// # Errors
/// When the target cannot be watched, the trace cannot be read, or there is no terminal.
pub fn top(args: &TopArgs, config: Option<&Path>) -> Result<u8, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::new(exit::UNAVAILABLE, "`top` needs a terminal")
            .help("`memcli watch` writes lines, `memcli status --json` a document"));
    }
    match &args.subject {
        Subject::Target(target) => live(&target.find()?, args, config),
        Subject::Trace(path) => recorded(path, config),
    }
}

/// The view of something that runs.
fn live(found: &Found, args: &TopArgs, config: Option<&Path>) -> Result<u8, Failure> {
    let opened = Some(Opened::now());
    let source = LinuxSource::open(&found.watched).map_err(not_opened)?.with_pss();
    let snapshot = source.snapshot();
    let interval = [Flag::interval(args.interval)];
    let live = Live::start(config, &interval, args.interval, true)?;
    let mut sampler = Sampler::new(source, live.track());
    let all = sampler.all();
    let state = State::new(found.label.clone(), found.watched.clone(), args.interval, false);
    let (policies, thresholds) = (live.policies(), live.policies().pressure);
    let feed = Feed::new(found.clone(), policies, thresholds, snapshot);
    // The screen is the terminal's: a log has a file, or a stderr that leads elsewhere.
    let logging = &args.logging;
    if logging.to_stderr() && io::stderr().is_terminal() {
        let taken = "`top` cannot write a log to the terminal that it draws on";
        return Err(Failure::new(exit::USAGE, taken).help("add `--log-file FILE`"));
    }
    let delivery = Some(logging.delivery(&found.label, &live, false)?);
    let feed = Feed { ancestors: Ancestors::of(&found.watched), delivery, opened, ..feed };
    sampler.start().map_err(|error| Failure::io("failed to start the sampler's thread", error))?;
    let code = View::new(state, feed).run(all.receiver(), live.reloads());
    sampler.stop();
    code
}

/// The view of the last run of a trace, as today's configuration judges it.
fn recorded(path: &Path, config: Option<&Path>) -> Result<u8, Failure> {
    let still = Still::load(config)?;
    let mut reader = Reader::open(path)?;
    let mut run: Option<(State, Feed)> = None;
    let mut runs = 0_u64;
    while let Some(row) = reader.read() {
        match (row, &mut run) {
            (Row::Header(header), _) => {
                runs += 1;
                let found =
                    Found { watched: header.target.watched(), label: header.target.label.clone() };
                let interval = Duration::try_from_secs_f64(header.interval_seconds);
                let interval = interval.unwrap_or_default();
                let (label, watched) = (found.label.clone(), found.watched.clone());
                let state = State::new(label, watched, interval, true);
                let policies = still.policies_under(header.budget());
                let thresholds = still.policies().pressure;
                run = Some((state, Feed::new(found, policies, thresholds, Snapshot::default())));
            }
            (Row::Processes(tree), Some((state, _))) => state.tree(&tree),
            (Row::Sample(sample), Some((state, feed))) => feed.sample(state, &sample),
            // Levels, verdicts and alerts come from the pipeline anew.
            (Row::Event(event), Some((state, feed)))
                if event.level.is_none() && event.verdict.is_none() && event.alert.is_none() =>
            {
                state.note(format!("{} {}", feed.time_of_day(), event.text()));
            }
            _ => {}
        }
    }
    let whole = run.filter(|(state, _)| state.sample.is_some());
    let Some((mut state, mut feed)) = whole else {
        let nothing = format!("`{}` holds no whole sample", path.display());
        return Err(Failure::new(exit::BAD_TRACE, nothing));
    };
    if state.interval == Duration::ZERO {
        // No header told it: as it came out.
        let seen = feed.pipeline.seen();
        let span = seen
            .span
            .map_or(Duration::ZERO, |(first, last)| last.monotonic.saturating_sub(first.monotonic));
        let steps = u32::try_from(seen.samples.saturating_sub(1)).unwrap_or(u32::MAX);
        state.interval = span.checked_div(steps).unwrap_or(Duration::from_secs(1));
    }
    if let Some(damage) = reader.damage() {
        state.note(format!("{} trace     {damage}", feed.time_of_day()));
    }
    if let Some(note) = reader.note() {
        state.note(format!("{} trace     {note}", feed.time_of_day()));
    }
    feed.conclude(&mut state);
    if runs > 1 {
        let others = format!("the last of {runs} runs; `memcli report` tells of them all");
        state.note(format!("{} trace     {others}", feed.time_of_day()));
    }
    View::new(state, feed).run(&never(), &never())
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

/// What turns samples into what is shown.
struct Feed {
    found: Found,
    /// What the kernel calls the first process of the target.
    name: Option<ProcessName>,
    ancestors: Ancestors,
    thresholds: Settings<PressureConfig>,
    pipeline: Pipeline,
    snapshot: Snapshot,
    /// Who is told of alerts; nobody, of a recording.
    delivery: Option<Delivery>,
    /// The trace that is being written.
    recorder: Option<Recorder>,
    /// Where the clock of the samples began; nowhere, of a recording.
    opened: Option<Opened>,
}

impl Feed {
    fn new(
        found: Found,
        policies: Policies,
        thresholds: Settings<PressureConfig>,
        snapshot: Snapshot,
    ) -> Self {
        let pipeline = Pipeline::new(&found.watched, policies);
        let ancestors = Ancestors::unknown();
        let (name, delivery, recorder, opened) = (None, None, None, None);
        Self { found, name, ancestors, thresholds, pipeline, snapshot, delivery, recorder, opened }
    }

    fn sample(&mut self, state: &mut State, sample: &Sample) {
        let (delivery, recorder) = (&mut self.delivery, &mut self.recorder);
        self.pipeline.push(sample, |event| {
            keep(state, event);
            if let Some(recorder) = recorder {
                recorder.event(event);
            }
            if let Some(delivery) = delivery {
                delivery.event(event);
            }
        });
        let problems: Vec<_> = self.delivery.iter().flat_map(Delivery::problems).collect();
        for problem in problems {
            self.event(state, Event::Hook(problem));
        }
        // Its figures take time, which a long recording would feel: there they are asked for at the end.
        let verdict =
            if state.recorded { state.judged.verdict.clone() } else { self.pipeline.verdict() };
        let limit = self.pipeline.limit(self.ancestors.nearest(sample));
        // The bands of the chart are those of the limit that it shows.
        let thresholds = match &limit {
            Ok(Limit { owner: Owner::Budget, .. }) => self.pipeline.budget_thresholds(),
            _ => self.thresholds.load().value.thresholds,
        };
        let judged = Judged { status: self.pipeline.pressure(), verdict, limit, thresholds };
        let rows = self.snapshot.rows();
        let name = rows.first().map(|first| first.name);
        if !state.recorded && name != self.name {
            // A wrapper becomes the program that it starts.
            (self.name, self.found.label) = (name, self.found.label_now());
        }
        state.label = label(&self.found, sample);
        state.observe(sample, judged, &rows);
    }

    fn event(&mut self, state: &mut State, event: Event) {
        let numbered = match (&event, self.opened) {
            (Event::Config(_), Some(opened)) => {
                self.pipeline.number_at(event, opened.stamp(Duration::ZERO))
            }
            _ => self.pipeline.number(event),
        };
        keep(state, &numbered);
        if let Some(recorder) = &mut self.recorder {
            recorder.event(&numbered);
        }
        if let Some(delivery) = &mut self.delivery {
            delivery.event(&numbered);
        }
    }

    /// Begins to write a trace, or ends it, and says so.
    fn save(&mut self, state: &mut State) {
        let time = self.time_of_day();
        if let Some(recorder) = self.recorder.take() {
            state.saving = None;
            return state.note(format!("{time} trace    {}", ended(recorder, state)));
        }
        let Some(sample) = self.pipeline.latest().filter(|_| !state.recorded) else { return };
        let started = sample.at.wall.checked_sub(sample.at.monotonic).unwrap_or(sample.at.wall);
        let stamp = humantime::format_rfc3339_seconds(sample.at.wall).to_string();
        let digits: String = stamp.chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let name: String =
            self.found.label.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        let path = format!("{name}-{digits}.jsonl.gz");
        match Recorder::create(Path::new(&path)) {
            Ok(mut recorder) => {
                let header = Header::new(&self.found, None, started, state.interval, 0)
                    .under(self.pipeline.budget_total());
                recorder.begin(&header, self.snapshot.clone());
                self.recorder = Some(recorder);
                state.note(format!("{time} trace    {path} is written from now on"));
                state.saving = Some(path);
            }
            Err(failure) => state.note(format!("{time} trace    {failure}")),
        }
    }

    fn conclude(&mut self, state: &mut State) {
        self.pipeline.conclude(|event| keep(state, event));
        state.judged.verdict = self.pipeline.verdict();
    }

    fn time_of_day(&self) -> String {
        let last = self.pipeline.latest().map(|sample| sample.at.wall);
        last.map_or(String::new(), human::time_of_day)
    }
}

/// Ends a trace that nobody's summary closes.
fn ended(recorder: Recorder, state: &State) -> String {
    let at = state.sample.map_or(Duration::ZERO, |sample| sample.at.monotonic);
    let recorded = recorder.finish(&EndRow {
        end: End::TimeUp,
        exit_code: exit::OK,
        duration_seconds: at.as_secs_f64(),
        lost: 0,
        peak_rss_bytes: None,
        peak_exact: false,
        peak_at_most_bytes: None,
        cpu_seconds: None,
        max_rss_bytes: None,
    });
    match recorded.error {
        None => format!("{} is complete", recorded.path),
        Some(why) => format!("{} is not complete: {why}", recorded.path),
    }
}

struct View {
    state: State,
    feed: Feed,
    theme: Theme,
    changed: bool,
}

impl View {
    fn new(state: State, feed: Feed) -> Self {
        let theme = Theme {
            colour: match anstream::ColorChoice::global() {
                // With `NO_COLOR`, `CLICOLOR` and `TERM=dumb` as everywhere else.
                anstream::ColorChoice::Auto => {
                    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
                }
                choice => choice != anstream::ColorChoice::Never,
            },
            unicode: Marks::choose(false) == Marks::Emoji,
        };
        Self { state, feed, theme, changed: true }
    }

    /// Until someone leaves; a trace that is being written is then ended.
    fn run(
        mut self,
        updates: &Receiver<Update>,
        reloads: &Receiver<Reload>,
    ) -> Result<u8, Failure> {
        let left = self.show(updates, reloads);
        if let Some(recorder) = self.feed.recorder.take() {
            // On the screen that stays.
            let _ = writeln!(screen::stderr(), "{}", ended(recorder, &self.state));
        }
        left
    }

    fn show(
        &mut self,
        updates: &Receiver<Update>,
        reloads: &Receiver<Reload>,
    ) -> Result<u8, Failure> {
        // Before the terminal: from then on a signal must find someone who gives it back.
        let signals = sys::signals_with_a_screen()
            .map_err(|error| Failure::io("failed to take over signals", error))?;
        let no_terminal = |error| Failure::io("failed to take over the terminal", error);
        let mut terminal = Terminal::take().map_err(no_terminal)?;
        let input = input().map_err(no_terminal)?;
        let mut updates = updates.clone();
        let mut reloads = reloads.clone();
        let mut drawn: Option<Instant> = None;
        let mut settled = false;
        loop {
            let due = drawn.map_or(Duration::ZERO, |drawn| FRAME.saturating_sub(drawn.elapsed()));
            if self.changed && due == Duration::ZERO {
                match self.draw(&mut terminal) {
                    // The terminal is gone, and its signal is on the way.
                    Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                        return Ok(exit::of_signal(libc::SIGHUP));
                    }
                    drawn => drawn.map_err(|error| Failure::io("failed to draw", error))?,
                }
                drawn = Some(Instant::now());
                if !settled && self.state.sample.is_some() {
                    sys::startup::give_back();
                    settled = true;
                }
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
                    Ok(signal) if signal.is_stop() => {
                        terminal.lend(sys::stop).map_err(no_terminal)?;
                        self.changed = true;
                        drawn = None;
                    }
                    Ok(signal) => return Ok(exit::of_signal(signal.number)),
                    Err(_) => return Err(Failure::new(exit::SOFTWARE, "the signal thread ended")),
                },
                recv(input) -> input => match input {
                    Ok(Input::Key(key)) => match self.action(key) {
                        // The help is left first.
                        Some(Action::Quit) if !self.state.help => return Ok(exit::OK),
                        Some(Action::Interrupt) => return Ok(exit::of_signal(libc::SIGINT)),
                        Some(Action::Abort) => return Ok(exit::of_signal(libc::SIGQUIT)),
                        Some(Action::Suspend) => {
                            terminal.lend(sys::stop).map_err(no_terminal)?;
                            self.changed = true;
                            drawn = None;
                        }
                        Some(Action::Save) => {
                            self.feed.save(&mut self.state);
                            self.changed = true;
                            drawn = None;
                        }
                        Some(action) => {
                            self.state.act(action, chart_columns(terminal.width()));
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

    fn action(&self, key: KeyEvent) -> Option<Action> {
        if self.state.typing { typed(key) } else { action(key) }
    }

    fn take(&mut self, update: Update) {
        self.changed = true;
        let sample = match update {
            Update::Sample(sample) => sample,
            Update::Failed(failure) => return self.note(Event::Failed(failure)),
            _ => return,
        };
        self.feed.sample(&mut self.state, &sample);
    }

    fn note(&mut self, event: Event) {
        self.changed = true;
        self.feed.event(&mut self.state, event);
    }

    fn draw(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        self.changed = false;
        let (state, theme) = (&self.state, self.theme);
        terminal.draw(|frame| draw(frame, state, theme))
    }
}

fn keep(state: &mut State, numbered: &Numbered) {
    let at = numbered.at.monotonic;
    match &numbered.event {
        Event::Alert(_) => state.mark(at, Mark::Alert),
        Event::Config(_) => state.mark(at, Mark::Config),
        Event::Failed(_) | Event::Lost(_) => state.mark(at, Mark::Gap),
        _ => {}
    }
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
