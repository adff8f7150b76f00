//! `memcli completions`: completion scripts, out of the one definition of the command line.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::generate;
use clap_complete::shells::{Bash, Fish, Zsh};

use crate::cli::{Cli, CompletionsArgs, Shell};
use crate::commands::written;
use crate::exit::{self, Failure};

/// Prints the script.
///
/// # Errors
/// When the output cannot be written.
pub fn completions(args: &CompletionsArgs) -> Result<u8, Failure> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    match args.shell {
        Shell::Bash => generate(Bash, &mut command, "memcli", &mut script),
        Shell::Zsh => generate(Zsh, &mut command, "memcli", &mut script),
        Shell::Fish => generate(Fish, &mut command, "memcli", &mut script),
    }
    written(std::io::stdout().write_all(&script))?;
    Ok(exit::OK)
}
