//! Everyone who is told what happens in a watch.

use std::time::Duration;

use crossbeam_channel::Receiver;
use memcfg::live::Reload;
use memtrack::Sample;

use crate::alert::Delivery;
use crate::curve::Curve;
use crate::output;
use crate::output::screen::Screen;
use crate::pipeline::{Event, Numbered, Pipeline};
use crate::places::Lookout;
use crate::summary::{Alerted, Reloaded, Reloads};
use crate::sys::{self, Signal};
use crate::trace::Recorder;
use crate::trace::rows::AlertRow;

/// How long it takes until a watch does the same again and again, after its start and after anything it tells of.
pub(super) const SETTLES: Duration = Duration::from_secs(2);

/// Alerts that a summary tells one by one, and edits of the configuration.
const MOST_TOLD: usize = 8;

/// Everyone who is told what happens, in this order.
pub(super) struct Listeners<'a> {
    pub(super) screen: &'a mut Screen,
    pub(super) recorder: Option<Recorder>,
    pub(super) delivery: &'a mut Delivery,
    pub(super) alerted: Alerted,
    pub(super) reloads: Reloads,
    /// What is watched for growth, when it is measured for a comparison.
    pub(super) curve: Option<Curve>,
    /// Where it grows.
    pub(super) lookout: Lookout,
    /// Whether it does, by the verdict so far.
    pub(super) grows: bool,
    /// When what the start needed, or what was told since, is given back.
    pub(super) settles: Option<Duration>,
}

impl Listeners<'_> {
    pub(super) fn event(&mut self, numbered: &Numbered) {
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
    pub(super) fn settle(&mut self, latest: Option<&Sample>) {
        let Some(latest) = latest else { return };
        if self.settles.is_some_and(|settles| latest.at.monotonic >= settles) {
            sys::startup::give_back();
            self.settles = None;
        }
    }

    /// Tells of everything that went wrong with the command of alerts.
    pub(super) fn problems(&mut self, pipeline: &mut Pipeline) {
        let problems = self.delivery.problems().collect();
        self.tell(pipeline, problems);
    }

    /// Waits for the command of alerts, unless a signal says not to.
    pub(super) fn finish(&mut self, pipeline: &mut Pipeline, signals: &Receiver<Signal>) {
        let problems = self.delivery.finish(signals);
        self.tell(pipeline, problems);
    }

    fn tell(&mut self, pipeline: &mut Pipeline, problems: Vec<String>) {
        for problem in problems {
            self.event(&pipeline.number(Event::Hook(problem)));
        }
    }
}
