//! `memcli completions`: completion scripts, out of the one definition of the command line.

use std::io::Write;

use clap::{Command, CommandFactory};
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
        Shell::Fish => {
            generate(Fish, &mut command, "memcli", &mut script);
            script.extend(fish_positionals(&command).bytes());
        }
    }
    written(std::io::stdout().write_all(&script))?;
    Ok(exit::OK)
}

/// The values of positional arguments, such as the programs of `demo`: the generator for fish leaves them out.
fn fish_positionals(command: &Command) -> String {
    let mut lines = String::new();
    for subcommand in command.get_subcommands() {
        for value in subcommand.get_positionals().flat_map(clap::Arg::get_possible_values) {
            let help = value.get_help().map(|help| help.to_string().replace('\'', "\\'"));
            lines.push_str(&format!(
                "complete -c memcli -n \"__fish_memcli_using_subcommand {}\" -f -a {} -d '{}'\n",
                subcommand.get_name(),
                value.get_name(),
                help.unwrap_or_default()
            ));
        }
    }
    lines
}
