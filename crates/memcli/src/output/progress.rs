//! A bar on stderr while a long trace is read: on a terminal only, and only when it takes a while.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::human;
use crate::trace::Reader;

/// What is read faster than this needs no bar.
const PATIENCE: Duration = Duration::from_millis(400);
/// Rows between two looks at the clock.
const ROWS: u32 = 4096;

/// How far the reading of one file is.
#[derive(Debug)]
pub struct Progress {
    started: Option<Instant>,
    bar: Option<ProgressBar>,
    rows: u32,
}

impl Progress {
    /// Nothing is shown yet.
    #[must_use]
    pub fn new(reader: &Reader) -> Self {
        let shown = stderr().is_terminal() && human::may_redraw() && reader.progress().1 > 0;
        Self { started: shown.then(Instant::now), bar: None, rows: 0 }
    }

    /// Another row has been read.
    pub fn step(&mut self, reader: &Reader) {
        let Some(started) = self.started else { return };
        self.rows += 1;
        if self.rows < ROWS {
            return;
        }
        self.rows = 0;
        let (read, size) = reader.progress();
        match &self.bar {
            Some(bar) => bar.set_position(read),
            None if started.elapsed() > PATIENCE => {
                let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template(
                    "reading {wide_bar} {percent:>3} % of {total_bytes}",
                ) {
                    bar.set_style(style);
                }
                bar.set_position(read);
                self.bar = Some(bar);
            }
            None => {}
        }
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
