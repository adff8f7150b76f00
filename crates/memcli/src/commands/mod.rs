//! One file a command.

pub mod budget;
pub mod config;
pub mod demo;
pub mod replay;
pub mod report;
pub mod run;
pub mod watch;

use std::io::Write;

use crate::cli::{ConfigArgs, Watching};
use crate::exit::Failure;
use crate::gate::Gates;
use crate::live::Live;
use crate::output::{human, json, screen};
use crate::pipeline::Policies;
use crate::summary::Summary;
use crate::trace::Recorder;

impl Watching {
    fn gates(&self) -> Gates {
        Gates { max_rss: self.max_rss, fail_on: self.fail_on.clone() }
    }

    fn live(&self) -> Result<Live, Failure> {
        Ok(Live::fixed(self.interval))
    }

    /// Creates the trace, when one was asked for.
    fn recorder(&self) -> Result<Option<Recorder>, Failure> {
        self.output.as_deref().map(Recorder::create).transpose()
    }

    /// Writes the summary to its file, when one was asked for.
    fn keep(&self, summary: &Summary) -> Result<(), Failure> {
        let Some(path) = &self.summary else { return Ok(()) };
        let failed = |error| Failure::io(format!("failed to write `{}`", path.display()), error);
        let mut text =
            serde_json::to_string_pretty(summary).map_err(|error| failed(error.into()))?;
        text.push('\n');
        std::fs::write(path, text).map_err(failed)
    }
}

/// Today's configuration for a recording.
fn policies(_config: &ConfigArgs) -> Policies {
    let live = Live::fixed(std::time::Duration::from_secs(1));
    Policies { pressure: live.pressure, budget: live.budget, leak: live.leak }
}

/// Shows the summary on stderr, as text or as one line of JSON.
fn show_on_stderr(summary: &Summary, json: bool) -> Result<(), Failure> {
    let written = if json {
        writeln!(screen::stderr(), "{}", json::summary(summary))
    } else {
        write!(screen::stderr(), "{}", human::summary(summary))
    };
    written.map_err(|error| Failure::io("failed to write the summary", error))
}
