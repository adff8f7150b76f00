//! `memcli man`: manual pages, out of the one definition of the command line.

use std::io::Write;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::{Cli, ManArgs};
use crate::commands::written;
use crate::exit::{self, Failure};

/// Prints `memcli.1`, or writes every page to a directory.
///
/// # Errors
/// When the output cannot be written.
pub fn man(args: &ManArgs) -> Result<u8, Failure> {
    match &args.out {
        None => {
            let mut page = Vec::new();
            let rendered = Man::new(Cli::command()).render(&mut page);
            rendered.map_err(|error| Failure::io("failed to render the page", error))?;
            written(std::io::stdout().write_all(&page))?;
        }
        Some(folder) => clap_mangen::generate_to(Cli::command(), folder).map_err(|error| {
            Failure::io(format!("failed to write the pages to `{}`", folder.display()), error)
        })?,
    }
    Ok(exit::OK)
}
