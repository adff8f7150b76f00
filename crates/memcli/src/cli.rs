//! The command line: every command, argument and help text, and nothing that acts.

mod config;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mempressure::BudgetTotal;
use memtrack::Rate;

use crate::alert::log;
use crate::gate::FailOn;
use crate::target::{Asked, Subject, Target};

pub use config::{
    CandidateArgs, CheckArgs, ConfigCommand, EditArgs, ExplainArgs, ImportArgs, InitArgs,
    MigrateArgs, PlanArgs, RollbackArgs, SetArgs, ShowArgs, UnsetArgs,
};
pub use values::Speed;
use values::{FailOnWords, duration, interval, size_or_share};

/// How much memory a process uses, how close to the limit it is, and whether it leaks.
#[derive(Debug, Parser)]
#[command(name = "memcli", version, about, max_term_width = 100, after_help = EXAMPLES)]
#[command(help_template = GROUPS)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    /// What to do; without a command one line on the machine, and what to try next.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Read this configuration file in place of the global ones; the variable MEMCLI_CONFIG names one too
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Colour: where a terminal wants it, always, or never
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Where a terminal wants it: `NO_COLOR`, `CLICOLOR` and `TERM=dumb` are heard
    Auto,
    /// Into files and pipes too
    Always,
    /// Nowhere
    Never,
}

/// The help of `memcli` itself, with its commands in groups. A test holds it to the commands' own words.
const GROUPS: &str = "\
{about-with-newline}
{usage-heading} {usage}

Look:
  status       One line for each target: level, size, nearest limit
  top          A live view of one target: level, growth, chart, processes, events
  leak         Watch a target for a while and say whether it leaks

Measure:
  run          Start a command, watch it to its end, and judge it
  watch        Watch what runs already
  demo         Watch a built-in program of known behaviour

Traces:
  report       Report on a trace: chart, growth, verdict, percentiles
  replay       Put a trace through today's configuration: which level and verdict, when
  diff         Compare two traces, before and after, with intervals and a test
  budget       Plan limits, thresholds and workers from recordings, with the TOML to paste

Set up:
  config       Show, check and edit the configuration
  doctor       Say what works here, what does not, and what to do about it
  completions  Print the completion script of a shell
  man          Print the manual page, or write those of all commands to a directory

Options:
{options}{after-help}";

const EXAMPLES: &str = "\
Examples:
  memcli status redis-server                            how much, how close to the limit
  memcli top 4321                                       the same, live, with the last minutes as a chart
  memcli leak 4321 --for 60s                            a verdict, with its evidence
  memcli demo leak                                      watch a program that leaks, for ten seconds
  memcli run --max-rss 512MiB --fail-on leak -- ./test  start a command and gate it
  memcli watch 4321                                     watch what runs already

Exit codes: 0 good; in `run` the command's own code or 128 + its signal; 99 a gate or verdict failed;
1, 2, 3 only `status --check`; 64 usage; 65 bad trace; 66 no such target or file; 69 not available
here; 74 input or output; 75 edited meanwhile; 77 permission; 78 configuration; 126, 127 the command
cannot be run.";

/// The other name of `watch` that records in any case. Not a command of its own, which completions would offer.
pub const RECORD: &str = "record";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One line for each target: level, size, nearest limit
    Status(StatusArgs),
    /// A live view of one target: level, growth, chart, processes, events
    #[command(aliases = ["live", "dash"])]
    Top(TopArgs),
    /// Watch a target for a while and say whether it leaks
    ///
    /// Exits with 99 when it does. Growth is not proof: a cache that is still filling looks the same.
    Leak(LeakArgs),
    /// Start a command, watch it to its end, and judge it
    ///
    /// The command's streams, signals and exit code are its own; the summary goes to stderr when it has ended.
    Run(RunArgs),
    /// Watch what runs already
    #[command(aliases = ["attach", RECORD])]
    Watch(WatchArgs),
    /// Watch a built-in program of known behaviour
    Demo(DemoArgs),
    /// Report on a trace: chart, growth, verdict, percentiles
    #[command(visible_alias = "plot", aliases = ["dump", "export"])]
    Report(ReportArgs),
    /// Put a trace through today's configuration: which level and verdict, when
    Replay(ReplayArgs),
    /// Compare two traces, before and after, with intervals and a test
    #[command(alias = "compare")]
    Diff(DiffArgs),
    /// Plan limits, thresholds and workers from recordings, with the TOML to paste
    Budget(BudgetArgs),
    /// Show, check and edit the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say what works here, what does not, and what to do about it
    #[command(alias = "check")]
    Doctor(DoctorArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands to a directory
    Man(ManArgs),
}

/// What `status` takes.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Pids, process names, cgroup:/path, self or system; the machine when there is none
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Asked>,
    /// Watch this long, such as 10s, and say how fast each grows
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Exit as monitoring plugins do: 0 normal, 1 warning, 2 critical or emergency, 3 unknown
    #[arg(long)]
    pub check: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Write the word in brackets in place of a coloured dot
    #[arg(long)]
    pub no_emoji: bool,
}

/// What `leak` takes.
#[derive(Debug, Args)]
pub struct LeakArgs {
    /// A pid, a process name, cgroup:/path, self or system; or a trace
    #[arg(value_name = "TARGET|TRACE")]
    pub subject: Subject,
    /// Watch this long; a trace is read to its end
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub duration: Duration,
    /// Leave out what is seen in the first part of that time, such as a warm-up
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub skip: Duration,
    /// Time between samples, 5ms to 1h; above 6min only with a longer `leak.window`
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = interval)]
    pub interval: Duration,
    /// Exit with 99 also when the verdict is undecided
    #[arg(long)]
    pub strict: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Write the word in brackets in place of a coloured dot
    #[arg(long)]
    pub no_emoji: bool,
}

/// What `top` takes.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// A pid, a process name, cgroup:/path, self or system; or a trace, to look back over
    #[arg(value_name = "TARGET|TRACE", default_value = "system")]
    pub subject: Subject,
    /// Time between samples, 5ms to 1h; above 6min only with a longer `leak.window`
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// Where log lines go.
    #[command(flatten)]
    pub logging: Logging,
}

/// Where log lines go.
#[derive(Clone, Debug, Default, Args)]
pub struct Logging {
    /// Tell on stderr what happens: a log line for each alert, recovery and reload, as `--log-format human` does
    #[arg(short, long, conflicts_with_all = ["log_format", "log_file"])]
    pub verbose: bool,
    /// Write a log line on stderr for each alert, recovery and reload, to read or as JSON
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Log")]
    pub log_format: Option<log::Format>,
    /// Write the log to FILE.YYYY-MM-DD instead, a file a day, the last 14 of them; FILE links to the newest
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    pub log_file: Option<PathBuf>,
}

/// What `doctor` takes.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Write the word in brackets in place of a coloured dot
    #[arg(long)]
    pub no_emoji: bool,
}

/// What `completions` takes.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// The shells there are completions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// The usual one
    Bash,
    /// The Z shell
    Zsh,
    /// The friendly one
    Fish,
}

/// What `man` takes.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write memcli.1 and a page for each command here, instead of printing memcli.1
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// What `run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Run it N times, and show the median and spread of peak, mean and growth
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Run it N times before that, without counting
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub warmup: u32,
    /// How to watch and what must hold.
    #[command(flatten)]
    pub watching: Watching,
    /// The command and its arguments; everything after its name is its own
    // A first word that begins with a hyphen is a mistyped option, unless it stands behind `--`.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// What `watch` takes.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// How to watch and what must hold.
    #[command(flatten)]
    pub watching: Watching,
    /// A pid, a process name, cgroup:/path, self or system
    #[arg(value_name = "TARGET")]
    pub target: Target,
}

/// What only somebody who watches can do: all of [`Watching`] but `--for`.
const WATCHED_ONLY: [&str; 15] = [
    "interval",
    "limit",
    "json",
    "output",
    "summary",
    "baseline",
    "max_rss",
    "max_pss",
    "max_growth",
    "fail_on",
    "strict",
    "abort",
    "verbose",
    "log_format",
    "log_file",
];

/// What `demo` takes.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The program
    #[arg(value_enum, value_name = "PROGRAM")]
    pub program: Program,
    /// Run the program alone, without watching it
    #[arg(long, conflicts_with_all = WATCHED_ONLY)]
    pub unwatched: bool,
    /// How fast leak, sawtooth and cache grow
    #[arg(long, value_name = "RATE", default_value = "2MiB/s")]
    pub rate: Rate,
    /// How to watch and what must hold.
    #[command(flatten)]
    pub watching: Watching,
}

/// The built-in programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// Keeps everything it allocates
    Leak,
    /// Allocates and frees the same amount again and again
    Steady,
    /// Grows for three seconds and frees it all, again and again
    Sawtooth,
    /// Allocates 300 MiB for an instant, once a second
    Spike,
    /// Starts four processes that keep 16 MiB each
    Tree,
    /// Fills for four seconds, then replaces what it holds
    Cache,
}

/// How to watch and what must hold: the options that `run`, `watch` and `demo` share.
#[derive(Clone, Debug, Args)]
pub struct Watching {
    /// Watch for at most this long, such as 30s or 1h; a command still running is then asked to end
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Time between samples, 5ms to 1h, above 6min only with a longer `leak.window`; when no configuration sets it either, 100ms
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub interval: Option<Duration>,
    /// The most memory the target should take: its budget, such as 2GiB, or 25% of the limit it runs under
    #[arg(long, value_name = "SIZE", value_parser = size_or_share)]
    pub limit: Option<BudgetTotal>,
    /// Speak JSON: an event a line on stdout; in `run` the summary on stderr
    #[arg(long)]
    pub json: bool,
    /// Show nothing unless a gate fails; `--summary` and `-o` still write
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
    /// Record what is seen to FILE, for `report`, `replay`, `diff` and `budget` (name it .jsonl.gz)
    #[arg(short = 'o', long, value_name = "TRACE")]
    pub output: Option<PathBuf>,
    /// Write the summary to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Compare with the runs of TRACE, as `diff` does
    #[arg(long, value_name = "TRACE")]
    pub baseline: Option<PathBuf>,
    /// Fail with 99 when the peak RSS is above SIZE, such as 512MiB, or 25% of `--limit`, or else of the limit it runs under
    #[arg(long, value_name = "SIZE", value_parser = size_or_share)]
    pub max_rss: Option<BudgetTotal>,
    /// Fail with 99 when the peak PSS is above SIZE: for trees whose processes share memory
    #[arg(long, value_name = "SIZE", value_parser = size_or_share)]
    pub max_pss: Option<BudgetTotal>,
    /// Fail with 99 when it surely grows faster than RATE, such as 1MiB/min
    #[arg(long, value_name = "RATE")]
    pub max_growth: Option<Rate>,
    /// Fail with 99 on leak, growing, level:critical, level:emergency, alert:critical, limit-in:10m, or on regression against --baseline; several with commas
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = FailOnWords, hide_possible_values = true)]
    pub fail_on: Vec<FailOn>,
    /// Fail with 99 also where a gate cannot be decided yet: an undecided verdict, an interval of growth that reaches past it
    #[arg(long)]
    pub strict: bool,
    /// End the command, or in `watch` the watch, as soon as a peak, a level or an alert has failed its gate
    #[arg(long)]
    pub abort: bool,
    /// Where log lines go.
    #[command(flatten)]
    pub logging: Logging,
}

/// What `report` takes.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Traces of `run -o` and `watch -o`, an mprof .dat, a psrecord log, or CSV with t_s,rss_bytes
    #[arg(required = true, value_name = "TRACE")]
    pub traces: Vec<PathBuf>,
    /// As text with a chart, as JSON, the samples as CSV, or one self-contained page
    #[arg(short, long, value_enum, default_value = "human")]
    pub format: Format,
    /// As `--format json`: the document memcli.report/1
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// What `replay` takes.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The trace
    #[arg(value_name = "TRACE")]
    pub trace: PathBuf,
    /// How fast: max, or times real time, such as 1x or 60x
    #[arg(long, default_value = "max")]
    pub speed: Speed,
    /// An event a line as JSON, and what it came to as the last
    #[arg(long)]
    pub json: bool,
}

/// What `diff` takes.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The trace to compare with; it may hold several runs
    #[arg(value_name = "BASE")]
    pub base: PathBuf,
    /// The trace to compare
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Another trace beside BASE; may be given again
    #[arg(long = "base", value_name = "TRACE")]
    pub more_base: Vec<PathBuf>,
    /// Another trace beside NEW; may be given again
    #[arg(long = "new", value_name = "TRACE")]
    pub more_new: Vec<PathBuf>,
    /// Fail with 99 when NEW is worse
    #[arg(long, value_enum, value_name = "WHAT")]
    pub fail_on: Vec<DiffFailOn>,
    /// As the document memcli.diff/1
    #[arg(long)]
    pub json: bool,
}

/// What `diff --fail-on` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiffFailOn {
    /// More memory, faster growth, or a leak that was not there
    Regression,
}

/// What `budget` takes.
#[derive(Debug, Args)]
pub struct BudgetArgs {
    /// Recordings of one worker; without any, only the limit here is told
    #[arg(value_name = "TRACE")]
    pub traces: Vec<PathBuf>,
    /// Plan for this limit in place of the recorded one, or for 25% of that
    #[arg(long, value_name = "SIZE", value_parser = size_or_share)]
    pub limit: Option<BudgetTotal>,
    /// As the document memcli.budget/1
    #[arg(long)]
    pub json: bool,
}

/// The formats of `report`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text with a chart
    Human,
    /// The document memcli.report/1
    Json,
    /// Every sample, a column for each reading
    Csv,
    /// One page that needs nothing else
    Html,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_is_in_one_group_with_its_own_words() {
        let lines: Vec<&str> = GROUPS.lines().filter(|line| line.starts_with("  ")).collect();
        let cli = Cli::command();
        let commands: Vec<String> = cli
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| {
                format!("  {:<12} {}", command.get_name(), command.get_about().unwrap_or_default())
            })
            .collect();
        assert_eq!(lines, commands);
    }
}
