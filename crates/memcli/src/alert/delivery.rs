//! Carries alerts out of the program.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use memcfg::document::AlertsConfig;
use memcfg::live::Reload;
use memtrack::{Settings, Stamp};

use crate::alert::hook::Hook;
use crate::alert::log::Log;
use crate::alert::{Alert, Document, Offspring, Sizes};
use crate::output::{human, json};
use crate::pipeline::{Event, Numbered};
use crate::sys::Signal;

/// The logs and the command of one watch.
#[derive(Debug)]
pub struct Delivery {
    target: String,
    logs: Vec<Log>,
    hook: Hook,
    /// Of the newest sample: an alert comes behind the sample that brought it.
    sizes: Sizes,
}

impl Delivery {
    /// What happens to `target` goes to `logs`, and its alerts to the command of `settings`.
    #[must_use]
    pub fn new(target: &str, logs: Vec<Log>, settings: Settings<AlertsConfig>) -> Self {
        let hook = Hook::new(settings);
        Self { target: target.to_owned(), logs, hook, sizes: Sizes::default() }
    }

    /// The same, which notes in `offspring` what the command leaves behind.
    #[must_use]
    pub fn noting(self, offspring: Arc<Offspring>) -> Self {
        Self { hook: self.hook.noting(offspring), ..self }
    }

    /// Delivers what is an alert, and logs what else is worth a line.
    pub fn event(&mut self, numbered: &Numbered) {
        match &numbered.event {
            Event::Sample(sample) => self.sizes = Sizes::of(sample),
            Event::Ended => {}
            Event::Alert(alert) => self.alert(alert, numbered.at),
            Event::Failed(_)
            | Event::Lost(_)
            | Event::Hook(_)
            | Event::Config(Reload::Rejected { .. }) => {
                self.log(numbered, Log::problem);
            }
            _ => self.log(numbered, Log::note),
        }
    }

    fn alert(&mut self, alert: &Alert, at: Stamp) {
        let document = Document::new(alert, &self.target, at, &self.sizes);
        for log in &mut self.logs {
            log.alert(&document);
        }
        self.hook.send(json::line(&document).into_bytes());
    }

    fn log(&mut self, numbered: &Numbered, write: impl Fn(&mut Log, &str, &str)) {
        if self.logs.is_empty() {
            return;
        }
        let Some(text) = human::event_text(numbered) else { return };
        let text = anstream::adapter::strip_str(&text).to_string();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for log in &mut self.logs {
            write(log, &self.target, &text);
        }
    }

    /// Whether an event would be written to the terminal, where a status line may stand.
    #[must_use]
    pub fn logs(&self) -> bool {
        !self.logs.is_empty()
    }

    /// What went wrong with the command since the last call.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        self.hook.reports()
    }

    /// Waits for the command, unless one of `signals` says not to, and says what went wrong with it. Logs stay open for that.
    pub fn finish(&mut self, signals: &Receiver<Signal>) -> Vec<String> {
        self.hook.finish(signals)
    }
}
