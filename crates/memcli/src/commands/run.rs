//! `memcli run`: start a command, watch it to its end, judge it; once, or several times.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use memtrack::processes::ProcessId;
use memtrack::source::Target;

use crate::alert::Offspring;
use crate::child::Child;
use crate::cli::{RunArgs, Watching};
use crate::commands::{baseline, code_after, keep, show_on_stderr};
use crate::comparison::{Comparison, Measured};
use crate::exit::{self, Failure};
use crate::gate::Gates;
use crate::live::Live;
use crate::outfile::OutFile;
use crate::output::screen::{self, Screen, Style};
use crate::output::{self, json};
use crate::series::{self, Series};
use crate::session::{Session, Watched};
use crate::summary::{End, Summary};
use crate::sys::{self, Signal};
use crate::target::{Found, check_numbers, not_opened};
use crate::trace::Recorder;

/// Runs the command; the exit code is its own, unless it succeeded and a gate failed. `spent` is CPU time from before memcli
/// began.
///
/// # Errors
/// When the command cannot be started or the summary cannot be written.
pub fn run(args: &RunArgs, config: Option<&Path>, spent: Duration) -> Result<u8, Failure> {
    if args.runs == 1 && args.warmup == 0 {
        return start(&args.command, &args.watching, config, spent);
    }
    several(args, config, spent)
}

/// One command under `watching`, ready to be started again and again.
struct Start<'a> {
    command: &'a [OsString],
    watching: &'a Watching,
    live: Live,
    signals: Receiver<Signal>,
    /// What the command of alerts has left behind, in all runs.
    alerts: Arc<Offspring>,
    baseline: Option<Vec<Measured>>,
    gates: Gates,
}

/// The files that are written.
struct Files {
    recorder: Option<Recorder>,
    summary: Option<OutFile>,
}

impl<'a> Start<'a> {
    fn new(
        command: &'a [OsString],
        watching: &'a Watching,
        config: Option<&Path>,
    ) -> Result<(Self, Files), Failure> {
        check_numbers()?;
        let live = watching.live(config, false)?;
        // A command begins in the cgroup that memcli is in.
        let gates = watching.gates(&Target::Own, &live)?;
        // What cannot be compared with is told before anything is started.
        let baseline = baseline(watching, &live)?;
        // So is what cannot be written. Who opens a pipe waits for its reader, and a signal still ends that.
        let files = Files { recorder: watching.recorder()?, summary: watching.summary_file()? };
        // Before the child: its end must find someone listening.
        let signals = sys::signals_for_a_command()
            .map_err(|error| Failure::io("failed to take over signals", error))?;
        let alerts = Arc::default();
        Ok((Self { command, watching, live, signals, alerts, baseline, gates }, files))
    }

    fn words(&self) -> Vec<String> {
        self.command.iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    /// Runs the command once. `alone` says that its gates decide on the exit code and its baseline is compared with; `spent` is
    /// the CPU time from before it.
    fn once(
        &self,
        recorder: Option<Recorder>,
        gates: Gates,
        alone: bool,
        spent: Duration,
    ) -> Result<Watched, Failure> {
        let watching = self.watching;
        let child = Child::start(self.command, &self.alerts)?;
        let id = ProcessId::read(Path::new("/"), child.pid()).map_err(not_opened)?;
        let words = self.words();
        let name = Path::new(&self.command[0])
            .file_name()
            .map_or(words[0].clone(), |name| name.to_string_lossy().into_owned());
        let session = Session {
            target: Found { watched: Target::Tree(id), label: format!("{name}({})", id.pid) },
            command: Some(words),
            child: Some(child),
            duration: watching.duration,
            gates,
            recorder,
            abort: watching.abort,
            baseline: self.baseline.as_deref().filter(|_| alone),
            measured: self.baseline.is_some(),
            gates_decide: alone,
            spent,
        };
        let label = &session.target.label;
        let delivery = watching.logging.delivery(label, &self.live, false)?;
        let mut delivery = delivery.noting(Arc::clone(&self.alerts));
        // Both streams are the child's until it has ended.
        let mut screen = Screen::new(Style::Silent, &session.target);
        session.watch(&self.live, &self.signals, &mut screen, &mut delivery)
    }
}

/// The same for any command, once.
pub(crate) fn start(
    command: &[OsString],
    watching: &Watching,
    config: Option<&Path>,
    spent: Duration,
) -> Result<u8, Failure> {
    let (start, files) = Start::new(command, watching, config)?;
    let Watched { summary, .. } = start.once(files.recorder, start.gates.clone(), true, spent)?;
    let shown = match watching.shows(&summary.gates) {
        true => show_on_stderr(&summary, watching.json),
        false => Ok(()),
    };
    Ok(code_after(summary.exit_code, [shown, keep(files.summary, &summary)]))
}

/// Runs the command `--warmup` and `--runs` times, until one fails by itself or is told to end, or somebody ends them all.
fn several(args: &RunArgs, config: Option<&Path>, mut spent: Duration) -> Result<u8, Failure> {
    let watching = &args.watching;
    // The files are made before anything is started, and each run adds to the trace.
    let (start, Files { mut recorder, summary: file }) =
        Start::new(&args.command, watching, config)?;
    let mut runs: Vec<Summary> = Vec::new();
    let mut measured = Vec::new();
    let mut failed = None;
    let mut interrupted = None;
    for number in 0..args.warmup.saturating_add(args.runs) {
        interrupted = sys::asked_to_end();
        if interrupted.is_some() {
            break;
        }
        let counts = number >= args.warmup;
        if counts && number > args.warmup {
            recorder = watching.output.as_deref().map(Recorder::append).transpose()?;
        }
        let gates = if counts { start.gates.clone() } else { Gates::default() };
        let recorder = if counts { recorder.take() } else { None };
        let Watched { summary, measured: run } = start.once(recorder, gates, false, spent)?;
        spent = sys::cpu_time();
        let told_to_end = summary.end == End::Aborted;
        failed = Some(summary.exit_code).filter(|code| *code != exit::OK);
        // However well the command took it: somebody wants memcli to end, and a run that was cut short measures nothing.
        interrupted = sys::asked_to_end();
        if interrupted.is_some() {
            break;
        }
        if counts || failed.is_some() {
            runs.push(summary);
            measured.extend(run);
        }
        if failed.is_some() || told_to_end {
            break;
        }
    }
    let judged: Vec<_> = runs.iter().map(|run| run.gates.clone()).collect();
    let mut series = Series::new(start.words(), args.warmup, args.runs, runs);
    series.interrupted_by = interrupted;
    let base = start.baseline.filter(|_| !measured.is_empty());
    series.baseline = base.map(|base| Comparison::of(&base, &measured));
    let mut gates = series::gates(&judged);
    let regression = series.baseline.as_ref().map(|comparison| comparison.verdict);
    for gate in gates.iter_mut().filter(|gate| gate.name == "regression") {
        *gate = crate::gate::regression(regression);
    }
    series.gates = gates;
    let gates_pass = series.gates.iter().all(|gate| gate.pass);
    let judged = if gates_pass { exit::OK } else { exit::GATE };
    series.exit_code = failed.unwrap_or_else(|| interrupted.map_or(judged, exit::of_signal));
    let written = if !watching.shows(&series.gates) {
        Ok(())
    } else if watching.json {
        writeln!(screen::stderr(), "{}", json::line(&series))
    } else {
        write!(
            screen::stderr(),
            "{}",
            output::series::series(&series, output::page::columns(std::io::stderr(), 120))
        )
    };
    let shown = written.map_err(|error| Failure::io("failed to write the summary", error));
    Ok(code_after(series.exit_code, [shown, keep(file, &series)]))
}
