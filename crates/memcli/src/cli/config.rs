//! What `memcli config` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use memtrack::Size;

/// What `config` can do.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration is valid, with every problem where it stands
    Check(CheckArgs),
    /// Print the configuration in force
    Show(ShowArgs),
    /// Say where one value comes from and what it hides
    Explain(ExplainArgs),
    /// List where configuration files are looked for
    Path,
    /// Print the JSON Schema, for editors
    Schema,
    /// Say which values a changed file would change
    Diff(CandidateArgs),
    /// Say what a changed file would change, and which levels and verdicts recorded samples would have under it
    Plan(PlanArgs),
    /// Write a first file, with a budget that fits this machine or container
    Init(InitArgs),
    /// Set one key; everything else in the file stays as it is
    Set(SetArgs),
    /// Take one key out
    Unset(UnsetArgs),
    /// Carry a file of an older version to the present one, with its comments
    Migrate(MigrateArgs),
    /// Read a YAML document of version 1 or 2
    Import(ImportArgs),
    /// List the backups of a file
    History(EditArgs),
    /// Make a backup the file again
    Rollback(RollbackArgs),
}

/// Which file an edit means; without `--config` and `--project` the user's.
#[derive(Clone, Copy, Debug, Args)]
pub struct EditArgs {
    /// The file of the project around the working directory
    #[arg(long)]
    pub project: bool,
}

/// What `config explain` takes.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// The key, such as budget.total
    pub key: String,
    /// Speak JSON
    #[arg(long)]
    pub json: bool,
}

/// A file that is not yet in force.
#[derive(Clone, Debug, Args)]
pub struct CandidateArgs {
    /// The changed file
    pub file: PathBuf,
    /// Whose place it would take.
    #[command(flatten)]
    pub which: EditArgs,
    /// Speak JSON
    #[arg(long)]
    pub json: bool,
}

/// What `config plan` takes.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// The candidate.
    #[command(flatten)]
    pub candidate: CandidateArgs,
    /// Recorded samples to judge by; several with commas
    #[arg(long = "trace", value_name = "TRACE", value_delimiter = ',')]
    pub traces: Vec<PathBuf>,
}

/// What `config init` takes.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// The limit to fit the budget to; without it that of this container or machine
    #[arg(long, value_name = "SIZE")]
    pub limit: Option<Size>,
    /// Which file.
    #[command(flatten)]
    pub which: EditArgs,
}

/// What `config set` takes.
#[derive(Clone, Debug, Args)]
pub struct SetArgs {
    /// The key, such as budget.total
    pub key: String,
    /// The value, such as 2GiB
    #[arg(allow_hyphen_values = true)]
    pub value: String,
    /// Which file.
    #[command(flatten)]
    pub which: EditArgs,
}

/// What `config unset` takes.
#[derive(Clone, Debug, Args)]
pub struct UnsetArgs {
    /// The key
    pub key: String,
    /// Which file.
    #[command(flatten)]
    pub which: EditArgs,
}

/// What `config migrate` takes.
#[derive(Clone, Debug, Args)]
pub struct MigrateArgs {
    /// Write the file, and keep a backup of the old one; without it the new text is printed
    #[arg(long)]
    pub write: bool,
    /// Which file.
    #[command(flatten)]
    pub which: EditArgs,
}

/// What `config import` takes.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The YAML file
    pub file: PathBuf,
    /// Make it the configuration, where there is none yet; without it the TOML is printed
    #[arg(long)]
    pub write: bool,
    /// Which file.
    #[command(flatten)]
    pub which: EditArgs,
}

/// What `config rollback` takes.
#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    /// The number that `config history` shows; without one, the newest backup
    pub number: Option<u64>,
    /// Which file.
    #[command(flatten)]
    pub which: EditArgs,
}

/// What `config check` takes.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Check this file in place of the global ones, as `--config` does
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub file: Option<PathBuf>,
    /// Speak JSON
    #[arg(long)]
    pub json: bool,
}

/// What `config show` takes.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Say where each value comes from
    #[arg(long)]
    pub origin: bool,
}
