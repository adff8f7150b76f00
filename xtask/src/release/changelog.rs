//! The changelog's cut: what was unreleased becomes a version.

use anyhow::{Context, bail};

const HEADING: &str = "## [Unreleased]";

/// Puts the heading of `version` above what has gathered under the unreleased one, which stays, empty.
pub(crate) fn cut(log: &str, version: &str, date: &str) -> anyhow::Result<String> {
    let (before, after) =
        log.split_once(HEADING).context("the changelog has no `## [Unreleased]`")?;
    let end = after.find("\n## [").unwrap_or(after.len());
    if !after[..end].lines().any(|line| line.starts_with("- ")) {
        bail!("nothing stands under `{HEADING}`: there is nothing to release");
    }
    if log.contains(&format!("## [{version}]")) {
        bail!("the changelog already has {version}");
    }
    Ok(format!("{before}{HEADING}\n\n## [{version}] - {date}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_unreleased_gets_the_version() {
        let log = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A thing.\n\n## [0.1.0] - 2026-01-01\n\n- Old.\n";
        let cut = cut(log, "0.2.0", "2026-02-03").unwrap();
        assert!(
            cut.contains("## [Unreleased]\n\n## [0.2.0] - 2026-02-03\n\n### Added\n\n- A thing."),
            "{cut}"
        );
        assert!(super::cut(&cut, "0.3.0", "2026-02-04").is_err(), "nothing new to release");
        assert!(super::cut(log, "0.1.0", "2026-02-04").is_err(), "released before");
    }
}
