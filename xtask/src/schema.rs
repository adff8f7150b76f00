//! `cargo xtask schema new-version`: the first draft of a new version of the document.

use std::path::Path;

use anyhow::{Context, bail};

use crate::shell::cargo;

/// Runs memcfg's own draft: it compares the keys with the last frozen schema and prints operations and a test, to be read and corrected.
pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    match args {
        [only] if only == "new-version" => {}
        _ => bail!("usage: schema new-version"),
    }
    let mut draft = cargo(root, ["run", "--quiet", "--package=memcfg", "--example=schema_step"]);
    Ok(draft.status().context("failed to start the draft")?.success())
}
