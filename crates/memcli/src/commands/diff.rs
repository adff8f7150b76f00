//! `memcli diff`: before and after a change, with intervals and a test.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::DiffArgs;
use crate::commands;
use crate::comparison::{Comparison, Measured};
use crate::exit::{self, Failure};
use crate::gate;
use crate::live::Still;
use crate::output::{self, json, screen};
use crate::recording::Recording;

/// Compares the runs of two traces, or of several a side.
///
/// # Errors
/// 65 when a file is no trace, 66 when there is none, 74 when the output cannot be written.
pub fn diff(args: &DiffArgs, config: Option<&Path>) -> Result<u8, Failure> {
    let still = Still::load(config)?;
    let side = |first: &PathBuf, more: &[PathBuf]| {
        commands::recorded(std::iter::once(first).chain(more), &still)
    };
    let (base, new) = (side(&args.base, &args.more_base)?, side(&args.new, &args.more_new)?);
    let measured = |runs: &[Recording]| runs.iter().map(Measured::from).collect::<Vec<_>>();
    let comparison = Comparison::of(&measured(&base), &measured(&new));
    commands::written(if args.json {
        writeln!(io::stdout().lock(), "{}", json::document(&comparison))
    } else {
        write!(
            screen::stdout(),
            "{}",
            output::comparison::comparison(&comparison, output::page::columns(io::stdout(), 120))
        )
    })?;
    let gate = gate::regression(Some(comparison.verdict));
    if args.fail_on.is_empty() || gate.pass {
        return Ok(exit::OK);
    }
    if let Some(why) = gate.reason {
        // The code says that it failed, whoever reads this.
        let _ = writeln!(screen::stderr(), "note: nothing could be judged: {why}");
    }
    Ok(exit::GATE)
}
