//! The Debian package: made by cargo-deb of what the tarball holds, looked into, and unpacked into an empty folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::shell::{self, cargo};

const INSTALL: &str = "cargo install cargo-deb --locked";

/// What must be in it, beside the completions.
const HOLDS: [&str; 4] = [
    "./usr/bin/memcli",
    "./usr/share/man/man1/memcli.1.gz",
    "./usr/share/doc/memcli/copyright",
    "./usr/share/doc/memcli/LICENSE-APACHE",
];

/// Makes the package of the files in `folder`. `None`, and it says so, where that cannot be done.
pub(super) fn make(
    root: &Path,
    dist: &Path,
    folder: &Path,
    version: &str,
) -> anyhow::Result<Option<PathBuf>> {
    if !shell::has_subcommand(root, "deb") {
        println!("without a .deb: cargo-deb is not installed: `{INSTALL}`");
        return Ok(None);
    }
    if !shell::exists("dpkg-deb", "--version") {
        println!("without a .deb: there is no dpkg-deb here to look into it");
        return Ok(None);
    }
    // Where the manifest says that the files are.
    let named = dist.join("deb");
    super::clear(&named)?;
    let mut copy = Command::new("cp");
    shell::read(copy.arg("--recursive").arg(folder).arg(&named))?;
    let out = dist.join(format!("memcli_{version}.deb"));
    let mut deb = cargo(root, ["deb", "--package=memcli", "--no-build", "--no-strip", "--output"]);
    // The same bytes from the same files.
    let output = shell::capture(deb.arg(&out).env("SOURCE_DATE_EPOCH", "0"))?;
    if !output.good {
        bail!("cargo-deb is not content:\n{}", output.text);
    }
    try_it(&out, version)?;
    Ok(Some(out))
}

/// Looks into the package, and starts what it would install.
fn try_it(deb: &Path, version: &str) -> anyhow::Result<()> {
    let contents = shell::read(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    for file in HOLDS {
        if !contents.lines().any(|line| line.ends_with(&format!(" {file}"))) {
            bail!("`{}` lacks `{file}`:\n{contents}", deb.display());
        }
    }
    // Whatever a script did at installation would have to be tried as well.
    let control = shell::read(Command::new("dpkg-deb").arg("--info").arg(deb))?;
    for field in ["Package: memcli", &format!("Version: {version}")] {
        if !control.lines().any(|line| line.trim().starts_with(field)) {
            bail!("`{}` does not say `{field}`:\n{control}", deb.display());
        }
    }
    super::in_empty_folder("deb", |empty| {
        shell::read(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(empty))?;
        super::try_program(&empty.join("usr/bin/memcli"), empty, version)
            .context("the program of the .deb")
    })
}
