//! One watch from its first sample to its summary: the loop of `run`, `watch` and `demo`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, after, never, select};
use memcfg::live::Reload;
use mempressure::Level;
use memtrack::sampler::Update;
use memtrack::source::{LinuxSource, Target};
use memtrack::{Absent, Sample, Tier};

use crate::alert::Delivery;
use crate::child::{Child, Gone};
use crate::comparison::{Comparison, Measured};
use crate::curve::Curve;
use crate::exit::{self, Failure};
use crate::gate::{Facts, Gates, Known};
use crate::intake::{Intake, LOOK};
use crate::live::Live;
use crate::look::pss_missing;
use crate::output;
use crate::output::screen::Screen;
use crate::pipeline::{Event, Numbered, Pipeline, Seen};
use crate::places::{Lookout, Places};
use crate::size;
use crate::summary::{
    Alerted, Cost, End, Growth, Judgement, Peak, Reloaded, Reloads, SCHEMA, Summary,
};
use crate::sys::{self, Childless, Signal};
use crate::target::{Found, not_opened};
use crate::trace::rows::AlertRow;
use crate::trace::{Header, Recorder, to_tick};

/// How long it takes until a watch does the same again and again, after its start and after anything it tells of.
const SETTLES: Duration = Duration::from_secs(2);

/// Samples that come as close as this are read sparingly.
const SPARED: Duration = Duration::from_millis(200);

/// How long a child has to end after `--for` asked it to, before it is killed.
pub const GRACE: Duration = Duration::from_secs(5);

/// A command that lasts no longer than this may be over before its first sample, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Alerts that a summary tells one by one, and edits of the configuration.
const MOST_TOLD: usize = 8;

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
    /// CPU time of memcli that is none of this watch: what the runs before it cost.
    pub spent: Duration,
}

/// Everyone who is told what happens, in this order.
struct Listeners<'a> {
    screen: &'a mut Screen,
    recorder: Option<Recorder>,
    delivery: &'a mut Delivery,
    alerted: Alerted,
    reloads: Reloads,
    /// What is watched for growth, when it is measured for a comparison.
    curve: Option<Curve>,
    /// Where it grows.
    lookout: Lookout,
    /// Whether it does, by the verdict so far.
    grows: bool,
    /// When what the start needed, or what was told since, is given back.
    settles: Option<Duration>,
}

impl Listeners<'_> {
    fn event(&mut self, numbered: &Numbered) {
        self.screen.event(numbered);
        if let Some(recorder) = &mut self.recorder {
            recorder.event(numbered);
        }
        match &numbered.event {
            Event::Sample(_) => {
                // It goes nowhere from there, but an alert tells of the size.
                self.delivery.event(numbered);
                return;
            }
            Event::Alert(alert) => {
                self.alerted.delivered += 1;
                if self.alerted.told.len() < MOST_TOLD {
                    self.alerted.told.push(AlertRow::new(numbered, alert));
                }
            }
            Event::Verdict(change) => {
                self.grows = matches!(change.to.kind(), "growing" | "leak");
            }
            Event::Config(reload) => self.reloaded(numbered, reload),
            Event::Hook(problem) => self.alerted.problems.push(problem.clone()),
            _ => {}
        }
        // Telling runs through code that watching alone never enters.
        self.settles = Some(numbered.at.monotonic.saturating_add(SETTLES));
        if self.delivery.logs() {
            // A log line must not begin behind the status line.
            self.screen.clear();
        }
        self.delivery.event(numbered);
    }

    fn reloaded(&mut self, numbered: &Numbered, reload: &Reload) {
        let accepted = !matches!(reload, Reload::Rejected { .. });
        let Reloads { accepted: taken_up, rejected, told } = &mut self.reloads;
        *(if accepted { taken_up } else { rejected }) += 1;
        if told.len() < MOST_TOLD {
            let (t, text) = (numbered.at.monotonic.as_secs_f64(), output::reload::line(reload));
            told.push(Reloaded { t, accepted, text });
        }
    }

    /// Gives back what was needed before, once nothing was told for a while: from there on it is the same few functions
    /// again and again.
    fn settle(&mut self, latest: Option<&Sample>) {
        let Some(latest) = latest else { return };
        if self.settles.is_some_and(|settles| latest.at.monotonic >= settles) {
            sys::startup::give_back();
            self.settles = None;
        }
    }

    /// Tells of everything that went wrong with the command of alerts.
    fn problems(&mut self, pipeline: &mut Pipeline) {
        let problems = self.delivery.problems().collect();
        self.tell(pipeline, problems);
    }

    /// Waits for the command of alerts, unless a signal says not to.
    fn finish(&mut self, pipeline: &mut Pipeline, signals: &Receiver<Signal>) {
        let problems = self.delivery.finish(signals);
        self.tell(pipeline, problems);
    }

    fn tell(&mut self, pipeline: &mut Pipeline, problems: Vec<String>) {
        for problem in problems {
            self.event(&pipeline.number(Event::Hook(problem)));
        }
    }
}

/// How the loop ended.
struct Ended {
    end: End,
    /// The child, when there was one.
    gone: Option<Gone>,
    /// No process of the target had children that ended, which samples may have missed.
    alone: bool,
}

impl Ended {
    /// Without a child of ours.
    fn as_of(end: End) -> Self {
        Self { end, gone: None, alone: true }
    }
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
        let header = Header::new(
            &self.target,
            self.command.as_deref(),
            SystemTime::now(),
            track.value.base_interval(),
            track.generation,
        );
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
        let mut pipeline = Pipeline::new(&self.target.watched, live.policies());
        if self.child.is_some() {
            pipeline = pipeline.from_birth();
        }
        let look = self.look(&pipeline);
        let mut intake = Intake::start(source, &self.target.watched, live.track(), look)?;
        let ended = self.wait(
            &mut pipeline,
            &mut intake,
            signals,
            live.reloads(),
            &mut listeners,
            started,
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
        if listeners.grows {
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
        signals: &Receiver<Signal>,
        reloads: &Receiver<Reload>,
        listeners: &mut Listeners<'_>,
        started: Instant,
    ) -> Result<Ended, Failure> {
        let mut sampling = true;
        let mut reloads = reloads.clone();
        let left = |duration: Duration| duration.saturating_sub(started.elapsed());
        let mut time_up = self.duration.map_or_else(never, |duration| after(left(duration)));
        // What the child was asked to end for, by us.
        let mut asked_to_end: Option<End> = None;
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
            if self.abort && asked_to_end.is_none() && self.gates.failed_for_good(pipeline.seen()) {
                let Some(child) = &self.child else {
                    return Ok(Ended::as_of(End::Aborted));
                };
                child.signal(libc::SIGTERM);
                time_up = after(GRACE);
                asked_to_end = Some(End::Aborted);
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
                    if let Some(ended) = self.on_signal(signal, asked_to_end)? {
                        return Ok(ended);
                    }
                }
                recv(reloads) -> reload => match reload {
                    Ok(reload) => listeners.event(&pipeline.number(Event::Config(reload))),
                    Err(_) => reloads = never(),
                },
                recv(time_up) -> _ => {
                    let Some(child) = &self.child else {
                        return Ok(Ended::as_of(End::TimeUp));
                    };
                    child.signal(if asked_to_end.is_some() { libc::SIGKILL } else { libc::SIGTERM });
                    time_up = if asked_to_end.is_some() { never() } else { after(GRACE) };
                    asked_to_end.get_or_insert(End::TimeUp);
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
        asked_to_end: Option<End>,
    ) -> Result<Option<Ended>, Failure> {
        match &self.child {
            Some(child) if signal.is_child() => {
                let gone = child
                    .try_wait()
                    .map_err(|error| Failure::io("failed to wait for the command", error))?;
                Ok(gone.map(|gone| {
                    let end = asked_to_end.unwrap_or_else(|| gone.end());
                    Ended { end, gone: Some(gone), alone: gone.alone }
                }))
            }
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
            mean_rss_bytes: seen.mean_rss.map(|bytes| bytes as u64),
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

/// Why a watch could not see what gates are judged by.
struct Blind {
    unseen: Option<&'static str>,
    no_level: Option<&'static str>,
}

impl Blind {
    /// Of a watch that lasted this long under the configuration in force at its end.
    fn of(live: &Live, seen: &Seen, lasted: Duration) -> Self {
        let track = live.track().load().value;
        let disabled = track.tier == Tier::Disabled;
        // The first sample is taken at once: what was over in a moment may still be over before it.
        let over_at_once = lasted < track.base_interval().max(AT_ONCE);
        let unseen = match seen.watched {
            Some(_) => None,
            None if disabled => Some("nothing was read: `track.tier` is `disabled`"),
            None if over_at_once => None,
            None => Some("no sample has a reading of its memory"),
        };
        let no_level = match (seen.level, live.policies().pressure.load().value.enabled) {
            (Level::Unknown, _) if seen.samples == 0 => None,
            (Level::Unknown, false) => Some("`pressure.enabled` is false"),
            (Level::Unknown, true) => Some("no signal of pressure could be read"),
            _ => None,
        };
        Self { unseen, no_level }
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
            if let (Some(curve), Ok(bytes)) = (&mut listeners.curve, pipeline.watched(&sample)) {
                curve.push(sample.at.monotonic, bytes);
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

/// The peak, whether it is exact, and what it was at most.
///
/// Two kernel figures see every page: `VmHWM`, up to the last sample, and `ru_maxrss`, up to the end. The second is
/// the child's own only when it is above what memcli itself had reached when it forked, for `exec` carries that over; below
/// that it is a bound. The first may be from before a watch, and is a bound then too. Both count one process: over a tree the sum of a sample may be higher, and is never exact, be the tree
/// there between samples only.
fn peak(watched: &Target, seen: &Seen, ended: &Ended) -> Peak {
    let of_child = ended.gone.and_then(|gone| gone.peak_rss);
    let alone = ended.alone && seen.processes.is_none_or(|processes| processes <= 1);
    let watched_to_the_end = match ended.end {
        End::TargetEnded => false,
        End::Interrupted { .. } => seen.peak_rss.is_some(),
        End::TimeUp | End::Aborted if ended.gone.is_none() => seen.peak_rss.is_some(),
        _ => of_child.is_some(),
    };
    let rss_bytes = seen.peak_rss.max(of_child);
    let at_most = match ended.gone {
        Some(gone) => Some(gone.max_rss),
        None => seen.peak_ever.filter(|_| watched_to_the_end),
    };
    let at_most = at_most.filter(|_| alone);
    // A peak from before the watch bounds it, and is none of it.
    let exact = alone && watched_to_the_end && (ended.gone.is_some() || rss_bytes >= at_most);
    Peak::new(watched, seen, rss_bytes).bounded(exact, at_most)
}

fn reasons(
    watched: &Target,
    peak: &Peak,
    pipeline: &Pipeline,
    growth: &Growth,
    cost: Option<Absent>,
) -> BTreeMap<&'static str, String> {
    let mut absent = BTreeMap::new();
    let mut note = |missing: bool, path, why: &str| {
        if missing {
            absent.insert(path, why.to_owned());
        }
    };
    let (unread, latest) = (size::unread(watched, pipeline.seen()), pipeline.latest());
    note(peak.size_bytes.is_none(), "peak.size_bytes", unread);
    note(peak.size_bytes.is_none(), "peak.size_measure", unread);
    note(peak.rss_bytes.is_none(), "peak.rss_bytes", unread);
    note(peak.rss_at_most_bytes.is_none(), "peak.rss_at_most_bytes", size::unbounded(watched));
    note(peak.footprint_bytes.is_none(), "peak.footprint_bytes", unread);
    note(peak.rss_bytes.is_none(), "mean_rss_bytes", unread);
    let why = latest.map(|sample| sample.process.pss.err().unwrap_or(Absent::NotRead));
    let why = why.filter(|_| size::of_processes(watched)).map_or(unread, pss_missing);
    note(peak.pss_bytes.is_none(), "peak.pss_bytes", why);
    note(growth.bytes_per_second.is_none(), "growth", "too few samples for a slope");
    if let Some(why) = cost {
        absent.insert("cost.max_rss_bytes", why.to_string());
    }
    absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Policies;
    use memleak::LeakConfig;
    use mempressure::{BudgetConfig, PressureConfig};
    use memtrack::{Settings, Stamp};

    #[test]
    fn a_peak_from_before_a_watch_is_a_bound_and_one_that_rose_in_it_is_exact() {
        let policies = || Policies {
            pressure: Settings::fixed(PressureConfig::default()),
            budget: Settings::fixed(BudgetConfig::default()),
            leak: Settings::fixed(LeakConfig::default()),
        };
        let told = |mut pipeline: Pipeline, peaks: [u64; 2]| {
            for (second, peak) in peaks.into_iter().enumerate() {
                let at = Stamp::synthetic(Duration::from_secs(second as u64));
                let mut sample = Sample::empty(at);
                (sample.process.rss, sample.process.peak) = (Ok(13), Ok(peak));
                pipeline.push(&sample, |_| {});
            }
            let peak = peak(&Target::Own, pipeline.seen(), &Ended::as_of(End::TimeUp));
            (peak.rss_bytes, peak.exact, peak.rss_at_most_bytes)
        };
        let watched = || Pipeline::new(&Target::Own, policies());
        assert_eq!(told(watched(), [300, 300]), (Some(13), false, Some(300)));
        assert_eq!(told(watched(), [300, 301]), (Some(301), true, Some(301)));
        assert_eq!(told(watched(), [13, 13]), (Some(13), true, Some(13)));
        assert_eq!(told(watched().from_birth(), [300, 300]), (Some(300), true, Some(300)));
    }
}
