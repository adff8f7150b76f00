//! One watch from its first sample to its summary: the loop of `run`, `watch` and `demo`.

use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, after, never, select};
use memcfg::live::Reload;
use memtrack::processes::Snapshot;
use memtrack::sampler::Update;
use memtrack::source::{LinuxSource, Target};

use crate::alert::Delivery;
use crate::child::{Child, GRACE};
use crate::comparison::{Comparison, Measured};
use crate::curve::Curve;
use crate::exit::{self, Failure};
use crate::gate::{Facts, Gates, Known};
use crate::intake::{Intake, LOOK, Opened};
use crate::live::Live;
use crate::output::screen::Screen;
use crate::pipeline::{Event, Pipeline};
use crate::places::{Lookout, Places};
use crate::summary::{Alerted, Cost, End, Growth, Judgement, Reloads, SCHEMA, Summary};
use crate::sys::{self, Childless, Signal};
use crate::target::{Found, not_opened};
use crate::trace::{Header, Recorder, to_tick};

mod ending;
mod listeners;

use ending::{Blind, Ended, Ending, peak, reasons};
use listeners::{Listeners, SETTLES};

/// Samples that come as close as this are read sparingly.
const SPARED: Duration = Duration::from_millis(200);

/// How long what was killed has to be gone.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// What one watch came to.
#[derive(Debug)]
pub struct Watched {
    /// The summary.
    pub summary: Summary,
    /// What can be compared of it, when that was asked for.
    pub measured: Option<Measured>,
}

/// One watch that is about to begin.
#[derive(Debug)]
pub struct Session<'a> {
    /// What to watch.
    pub target: Found,
    /// The command as it was typed, when there is a child.
    pub command: Option<Vec<String>>,
    /// The child, when the target is one.
    pub child: Option<Child>,
    /// For how long at most.
    pub duration: Option<Duration>,
    /// What must hold.
    pub gates: Gates,
    /// Whether a child, or else the watch, is ended as soon as a gate has failed for good.
    pub abort: bool,
    /// Where it is recorded.
    pub recorder: Option<Recorder>,
    /// The runs it is compared with at its end.
    pub baseline: Option<&'a [Measured]>,
    /// Whether it is measured for a comparison.
    pub measured: bool,
    /// Whether its gates decide on the exit code; of one run of several they do not.
    pub gates_decide: bool,
    /// CPU time of this process that is none of this watch: from before memcli began, and what the runs before it cost.
    pub spent: Duration,
}

impl Session<'_> {
    /// Watches until the end, and sums up. `signals` must have been taken over before a child was started, so that
    /// its end cannot be missed.
    ///
    /// # Errors
    /// When the target cannot be opened or the system gives no thread.
    pub fn watch(
        mut self,
        live: &Live,
        signals: &Receiver<Signal>,
        screen: &mut Screen,
        delivery: &mut Delivery,
    ) -> Result<Watched, Failure> {
        let started = Instant::now();
        let track = live.track().load();
        let mut pipeline = Pipeline::new(&self.target.watched, live.policies());
        if self.child.is_some() {
            pipeline = pipeline.from_birth();
        }
        let header = Header::new(
            &self.target,
            self.command.as_deref(),
            SystemTime::now(),
            track.value.base_interval(),
            track.generation,
        )
        .under(pipeline.budget_total());
        let opened = Opened::now();
        let mut source = LinuxSource::open(&self.target.watched).map_err(not_opened)?.with_pss();
        if let Some(child) = &self.child {
            source = source.adopting(child.strangers());
            // The kernel tells the peak of a child at its end. Samples that are further apart cost little as they are.
            if track.value.base_interval() <= SPARED {
                source = source.sparing();
            }
        }
        let processes = source.snapshot();
        let mut listeners = Listeners {
            screen,
            recorder: self.recorder.take(),
            delivery,
            alerted: Alerted::default(),
            reloads: Reloads::default(),
            curve: self.measured.then(Curve::default),
            lookout: Lookout::new(source.mappings()),
            grows: false,
            settles: Some(SETTLES),
        };
        if let Some(recorder) = &mut listeners.recorder {
            recorder.begin(&header, source.snapshot());
        }
        let childless = root(&self.target.watched).map(Childless::since_now);
        let look = self.look(&pipeline);
        let mut intake = Intake::start(source, &self.target.watched, live.track(), look)?;
        let ended = self.wait(
            &mut pipeline,
            &mut intake,
            (signals, live.reloads()),
            &mut listeners,
            &processes,
            (started, opened),
        )?;
        // Whoever is waited for below, it is over now.
        let lasted = started.elapsed();
        let alone = match (ended.gone, childless) {
            (Some(gone), _) => gone.alone,
            (None, Some(childless)) => childless.still(),
            (None, None) => true,
        };
        let ended = Ended { alone, ..ended };
        let lost = intake.stop(|update| handle(&mut pipeline, &mut listeners, update));
        if lost > 0 {
            listeners.event(&pipeline.number(Event::Lost(lost)));
        }
        pipeline.conclude(|event| listeners.event(event));
        let left_running = self
            .child
            .as_ref()
            .zip(ended.gone)
            .map(|(child, _)| child.left_running(&processes.rows()));
        listeners.finish(&mut pipeline, signals);
        listeners.event(&pipeline.number(Event::Ended));
        listeners.screen.clear();
        let measured = listeners.curve.take().map(|watched| Measured {
            name: self.target.label.clone(),
            series: pipeline.series(),
            watched,
            peak: peak(&self.target.watched, pipeline.seen(), &ended),
            verdict: pipeline.verdict(),
        });
        let compared = self
            .baseline
            .zip(measured.as_ref())
            .map(|(base, run)| Comparison::of(base, std::slice::from_ref(run)));
        let blind = Blind::of(live, pipeline.seen(), lasted);
        let mut summary = self.sum_up(&pipeline, lost, ended, lasted, blind, compared);
        summary.alerts = listeners.alerted;
        summary.reloads = listeners.reloads;
        summary.left_running = left_running;
        if listeners.grows || !pipeline.verdict().evidence().outside.is_empty() {
            summary.places = Places::new(&pipeline.kinds(), listeners.lookout.growth());
        }
        if let Some(recorder) = listeners.recorder {
            let trace = recorder.end(&summary);
            if trace.error.is_some() && summary.exit_code == exit::OK {
                summary.exit_code = exit::IO;
            }
            summary.trace = Some(trace);
        }
        Ok(Watched { summary, measured })
    }

    fn wait(
        &self,
        pipeline: &mut Pipeline,
        intake: &mut Intake,
        (signals, reloads): (&Receiver<Signal>, &Receiver<Reload>),
        listeners: &mut Listeners<'_>,
        processes: &Snapshot,
        (started, opened): (Instant, Opened),
    ) -> Result<Ended, Failure> {
        let mut sampling = true;
        let mut reloads = reloads.clone();
        let left = |duration: Duration| duration.saturating_sub(started.elapsed());
        let mut time_up = self.duration.map_or_else(never, |duration| after(left(duration)));
        let mut ending = Ending::default();
        loop {
            // The end of a child is on its way as a signal; that of another target shows only here.
            if sampling && !take(intake, pipeline, listeners) {
                if self.child.is_none() {
                    return Ok(Ended::as_of(End::TargetEnded));
                }
                sampling = false;
            }
            listeners.settle(pipeline.latest());
            listeners.problems(pipeline);
            if listeners.screen.failed().is_some() && self.child.is_none() {
                // Whoever read our output has gone. A child is still watched to its end, for its exit code.
                return Ok(Ended::as_of(End::Interrupted { signal: libc::SIGPIPE }));
            }
            if self.abort && ending.asked.is_none() && self.gates.failed_for_good(pipeline.seen()) {
                let Some(child) = &self.child else {
                    return Ok(Ended::as_of(End::Aborted));
                };
                child.ask_to_end(&processes.rows());
                time_up = after(GRACE);
                ending.asked = Some(End::Aborted);
            }
            intake.look_each(self.look(pipeline));
            let (nothing, no_sample) = (never(), never());
            let (samples, filling) = match sampling {
                true => (intake.samples(), intake.filling()),
                false => (&no_sample, &nothing),
            };
            select! {
                recv(samples) -> update => intake.arrived(update),
                recv(filling) -> _ => {}
                recv(intake.bell()) -> ring => intake.on_bell(ring),
                recv(intake.wake()) -> ring => intake.on_wake(ring),
                recv(signals) -> signal => {
                    let Ok(signal) = signal else {
                        return Err(Failure::new(exit::SOFTWARE, "the signal thread ended"));
                    };
                    if let Some(ended) = self.on_signal(signal, &mut ending, processes)? {
                        return Ok(ended);
                    }
                }
                recv(reloads) -> reload => match reload {
                    Ok(reload) => {
                        // Samples that wait are judged by it already: it must not come behind them.
                        let now = opened.stamp(self.look(pipeline));
                        listeners.event(&pipeline.number_at(Event::Config(reload), now));
                    }
                    Err(_) => reloads = never(),
                },
                recv(time_up) -> _ => {
                    let Some(child) = &self.child else {
                        return Ok(Ended::as_of(End::TimeUp));
                    };
                    match ending.gone {
                        // What cannot even be killed is waited for no longer, but for the command, whose end is the code.
                        Some(gone) if ending.killed => return Ok(ending.with(gone)),
                        _ if ending.asked.is_some() => {
                            child.kill(&processes.rows());
                            ending.killed = true;
                            time_up = after(LAST_GRACE);
                        }
                        _ => {
                            child.ask_to_end(&processes.rows());
                            ending.asked = Some(End::TimeUp);
                            time_up = after(GRACE);
                        }
                    }
                }
                default(intake.pause()) => {}
            }
        }
    }

    /// How long samples may wait for each other. While a child has the streams, nobody watches the screen; and while memory is
    /// plenty nobody acts on what they say.
    fn look(&self, pipeline: &Pipeline) -> Duration {
        match &self.child {
            None => LOOK,
            Some(_) if !self.abort && pipeline.is_calm() => LOOK * 4,
            Some(_) => LOOK * 2,
        }
    }

    /// A child gets the signal first and decides; without one the watch ends here.
    fn on_signal(
        &self,
        signal: Signal,
        ending: &mut Ending,
        processes: &Snapshot,
    ) -> Result<Option<Ended>, Failure> {
        match &self.child {
            Some(child) if signal.is_child() => {
                if ending.gone.is_none() {
                    ending.gone = child
                        .try_wait()
                        .map_err(|error| Failure::io("failed to wait for the command", error))?;
                }
                let Some(gone) = ending.gone else { return Ok(None) };
                // Those of its tree that were asked to end have the same time to do it.
                let over = ending.asked.is_none() || child.left_running(&processes.rows()) == 0;
                Ok(over.then(|| ending.with(gone)))
            }
            // Somebody does not want to wait for the rest of its tree; its own pid may be another's by now.
            Some(_) if ending.gone.is_some() => Ok(ending.gone.map(|gone| ending.with(gone))),
            Some(child) => {
                // Ctrl-C in a terminal reaches the whole foreground group: the child has it already.
                if !signal.from_terminal {
                    child.signal(signal.number);
                }
                Ok(None)
            }
            None if signal.is_child() => Ok(None),
            None => Ok(Some(Ended::as_of(End::Interrupted { signal: signal.number }))),
        }
    }

    fn sum_up(
        &self,
        pipeline: &Pipeline,
        lost: u64,
        ended: Ended,
        duration: Duration,
        blind: Blind,
        compared: Option<Comparison>,
    ) -> Summary {
        let seen = pipeline.seen();
        let verdict = pipeline.verdict();
        let peak = peak(&self.target.watched, seen, &ended);
        let gates = self.gates.judge(Facts {
            peak_rss: Known::rss(&peak),
            peak_pss: Known::pss(&peak, seen),
            verdict: &verdict,
            level: seen.level,
            alert: seen.alert,
            regression: compared.as_ref().map(|comparison| comparison.verdict),
            headroom: pipeline.headroom(),
            unseen: blind.unseen,
            no_level: blind.no_level,
        });
        let gates_pass = gates.iter().all(|gate| gate.pass);
        let exit_code = match (ended.end, ended.gone) {
            // A child that `--for` ended did as it was told.
            (End::Exited { .. } | End::Killed { .. }, Some(gone)) if gone.code() != exit::OK => {
                gone.code()
            }
            (End::Interrupted { signal }, _) if signal != libc::SIGPIPE => exit::of_signal(signal),
            _ if gates_pass || !self.gates_decide => exit::OK,
            _ => exit::GATE,
        };
        let growth = Growth::from(verdict.trend());
        let max_rss_bytes = memtrack::peak();
        Summary {
            schema: SCHEMA,
            target: if self.child.is_some() {
                self.target.label.clone()
            } else {
                self.target.label_now()
            },
            command: self.command.clone(),
            exit_code,
            end: ended.end,
            command_end: ended.gone.map(|gone| gone.end()),
            duration_seconds: duration.as_secs_f64(),
            samples: seen.samples,
            lost,
            processes: seen.processes,
            left_running: None,
            peak,
            mean_rss_bytes: seen.mean_rss.bytes(),
            growth,
            verdict: Judgement::new(&verdict, pipeline.series()),
            places: None,
            level: pipeline.level(),
            highest_level: seen.level,
            alerts: Alerted::default(),
            reloads: Reloads::default(),
            gates,
            baseline: compared,
            trace: None,
            absent: reasons(
                &self.target.watched,
                &peak,
                pipeline,
                &growth,
                max_rss_bytes.as_ref().err().copied(),
            ),
            cost: Cost {
                cpu_seconds: sys::cpu_time().saturating_sub(self.spent).as_secs_f64(),
                max_rss_bytes: max_rss_bytes.ok(),
            },
        }
    }
}

/// Looks at what has come; false when nothing will come any more.
fn take(intake: &mut Intake, pipeline: &mut Pipeline, listeners: &mut Listeners<'_>) -> bool {
    listeners.recorder.iter_mut().for_each(Recorder::hold);
    let more = intake.take(|update| handle(pipeline, listeners, update));
    intake.set_limit(pipeline.budget().map(|budget| budget.bytes));
    listeners.recorder.iter_mut().for_each(Recorder::release);
    more
}

fn handle(pipeline: &mut Pipeline, listeners: &mut Listeners<'_>, update: Update) {
    match update {
        Update::Sample(mut sample) => {
            // Judged as it is recorded: a replay then decides what the watch decided.
            sample.at.monotonic = to_tick(sample.at.monotonic);
            pipeline.push(&sample, |event| listeners.event(event));
            let grows = listeners.grows;
            listeners.lookout.look(sample.at.monotonic, grows);
            let watched = pipeline.watched(&pipeline.heard(&sample));
            if let Some(curve) = &mut listeners.curve {
                curve.note(sample.at, watched.ok());
            }
        }
        Update::Failed(failure) => {
            let event = pipeline.number(Event::Failed(failure));
            listeners.event(&event);
            return;
        }
        _ => return,
    }
    listeners.screen.refresh(pipeline);
}

/// The process that may have children which count.
fn root(watched: &Target) -> Option<u32> {
    match watched {
        Target::Tree(id) => Some(id.pid),
        _ => None,
    }
}
