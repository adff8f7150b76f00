//! `memcli` alone: one line on the machine, and three commands to try.

use std::io::Write;
use std::path::Path;

use crate::commands::written;
use crate::exit::{self, Failure};
use crate::live::Still;
use crate::look::look;
use crate::output::badge::Marks;
use crate::output::screen;
use crate::output::status::{Row, lines};
use crate::target::Target;

const NEXT: &str = "
Try:
  memcli top                 watch it live
  memcli demo leak           see a leak found in ten seconds
  memcli doctor              what works on this machine

`memcli --help` lists all commands.
";

/// Shows both.
///
/// # Errors
/// When the output cannot be written.
pub fn overview(config: Option<&Path>) -> Result<u8, Failure> {
    let still = Still::load(config)?;
    let rows: Vec<Row> = look(vec![Target::System.find()], None, &still)
        .into_iter()
        .map(|look| (Target::System.to_string(), look))
        .collect();
    written(write!(
        screen::stdout(),
        "{}{NEXT}",
        lines(&rows, Marks::choose(false), &still.off())
    ))?;
    Ok(exit::OK)
}
