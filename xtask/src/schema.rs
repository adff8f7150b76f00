//! `cargo xtask schema new-version`: the first draft of a new version of the document, written into the tree.

use std::path::Path;

use anyhow::{Context, bail};

use crate::shell::cargo;

/// Runs memcfg's own draft: it compares the keys with the last frozen schema and writes the new version's files, a step with an operation for each key, and a
/// test that fails until it is filled in. `--base REV` says where the released keys are when the change is committed already.
pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    let Some(("new-version", rest)) = args.split_first().map(|(name, rest)| (name.as_str(), rest))
    else {
        bail!("usage: schema new-version [--base REV]");
    };
    let mut draft =
        cargo(root, ["run", "--quiet", "--package=memcfg", "--example=schema_step", "--"]);
    let good = draft.args(rest).status().context("failed to start the draft")?.success();
    if good {
        cargo(root, ["fmt", "--package=memcfg"])
            .status()
            .context("failed to start the formatter")?;
    }
    Ok(good)
}
