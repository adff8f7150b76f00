//! `cargo xtask dist`: the command line program as a tarball that runs on any Linux of the same processor, and with the tools for it as a Debian package
//! and with a bill of materials.

mod deb;
mod order;
mod sbom;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::shell::{self, cargo};

/// The shells that completions are made for.
const SHELLS: [(&str, &str); 3] =
    [("bash", "memcli.bash"), ("zsh", "_memcli"), ("fish", "memcli.fish")];

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    crate::no_arguments(args)?;
    let host = host()?;
    let (program, linkage) = build(root, &host)?;
    let version = shell::read(Command::new(&program).arg("--version"))?;
    let version = version.split_whitespace().last().context("memcli says no version")?.to_owned();
    let name = format!("memcli-{version}-{host}");
    let dist = root.join("target/dist");
    let folder = dist.join(&name);
    clear(&folder)?;
    fill(root, &folder, &program)?;
    let archive = pack(&dist, &name)?;
    let bytes = std::fs::metadata(&archive)?.len();
    try_it(&archive, &name, &version)?;
    println!(
        "{} ({} KiB, {linkage}); unpacked and started from an empty folder",
        archive.display(),
        bytes.div_ceil(1024)
    );
    let made = [deb::make(root, &dist, &folder, &version)?, sbom::make(root, &dist, &host)?];
    for file in made.iter().flatten() {
        println!("{} ({} KiB)", file.display(), file.metadata()?.len().div_ceil(1024));
    }
    Ok(true)
}

/// The program as it is given out; built when it has to be.
pub(crate) fn program(root: &Path) -> anyhow::Result<PathBuf> {
    build(root, &host()?).map(|(program, _)| program)
}

fn host() -> anyhow::Result<String> {
    let version = shell::read(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

/// Builds with the C library linked in and in the order that takes the least memory, or else, and saying so, without the one
/// or the other.
fn build(root: &Path, host: &str) -> anyhow::Result<(PathBuf, &'static str)> {
    let own = root.join("target/dist-build");
    let program = own.join(host).join("release/memcli");
    let build = |flags: &str, strip: &str, link: &[String]| {
        // Naming the target keeps the flags away from build scripts and procedural macros.
        let arguments = ["rustc", "--release", "--locked", "--package=memcli", "--bin=memcli"];
        let mut cargo = cargo(root, arguments);
        cargo.args(["--target", host, "--", "-C", &format!("strip={strip}")]);
        cargo.args(
            link.iter().flat_map(|argument| ["-C".to_owned(), format!("link-arg={argument}")]),
        );
        shell::capture(cargo.env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", &own))
    };
    const STATIC: &str = "-C target-feature=+crt-static";
    // With its symbols, for the order.
    if build(STATIC, "none", &[])?.good {
        if let Some(order) = order::write(&program, &own)? {
            let order = format!("-Wl,--symbol-ordering-file={}", order.display());
            // An address that a symbol has no say in is no mistake of the list.
            let link = [order, "-Wl,--no-warn-symbol-ordering".to_owned()];
            if build(STATIC, "symbols", &link)?.good {
                return Ok((program, "static, ordered"));
            }
        }
        println!(
            "the linker here takes no order of functions: the program takes more memory than it need"
        );
        if build(STATIC, "symbols", &[])?.good {
            return Ok((program, "static"));
        }
    }
    println!("a static program cannot be linked here; linking with the system's C library");
    let output = build("", "symbols", &[])?;
    if !output.good {
        bail!("the build failed:\n{}", output.text);
    }
    Ok((program, "dynamic"))
}

/// Puts the program and its papers together.
fn fill(root: &Path, folder: &Path, program: &Path) -> anyhow::Result<()> {
    make(folder)?;
    let copy = |from: &Path, name: &str| {
        std::fs::copy(from, folder.join(name))
            .with_context(|| format!("failed to copy `{}`", from.display()))
    };
    copy(program, "memcli")?;
    for paper in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&root.join(paper), paper)?;
    }
    papers(program, folder)?;
    let mut files = Vec::new();
    list(folder, folder, &mut files)?;
    files.sort();
    let sums = shell::read(Command::new("sha256sum").current_dir(folder).args(&files))?;
    std::fs::write(folder.join("SHA256SUMS"), sums)?;
    Ok(())
}

/// What the program says of itself, below `folder`: completions and manual pages.
pub(crate) fn papers(program: &Path, folder: &Path) -> anyhow::Result<()> {
    make(&folder.join("completions"))?;
    for (shell, file) in SHELLS {
        let text = shell::read(Command::new(program).args(["completions", shell]))?;
        std::fs::write(folder.join("completions").join(file), text)?;
    }
    make(&folder.join("man"))?;
    shell::read(Command::new(program).args(["man", "--out"]).arg(folder.join("man")))?;
    Ok(())
}

fn make(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to make `{}`", folder.display()))
}

fn list(top: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(top, &path, files)?;
        } else {
            files.push(path.strip_prefix(top)?.to_path_buf());
        }
    }
    Ok(())
}

/// The same bytes from the same files: no owner, no time, sorted names.
fn pack(dist: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let archive = dist.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.current_dir(dist).args([
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ]);
    tar.args(["--use-compress-program=gzip --no-name --best", "--create", "--file"])
        .arg(&archive)
        .arg(name);
    shell::read(&mut tar)?;
    let sums =
        shell::read(Command::new("sha256sum").current_dir(dist).arg(format!("{name}.tar.gz")))?;
    std::fs::write(dist.join(format!("{name}.tar.gz.sha256")), sums)?;
    Ok(archive)
}

/// Unpacks into an empty folder and starts it there, with an empty environment.
fn try_it(archive: &Path, name: &str, version: &str) -> anyhow::Result<()> {
    in_empty_folder("tar", |empty| {
        let mut tar = Command::new("tar");
        shell::read(tar.current_dir(empty).args(["--extract", "--file"]).arg(archive))?;
        let folder = empty.join(name);
        let mut sums = Command::new("sha256sum");
        let check = ["--check", "--strict", "--quiet", "SHA256SUMS"];
        shell::read(sums.current_dir(&folder).args(check))?;
        try_program(&folder.join("memcli"), empty, version)
    })
}

/// Starts the program in `folder`: its version, and its main job.
fn try_program(program: &Path, folder: &Path, version: &str) -> anyhow::Result<()> {
    let memcli = || {
        let mut memcli = Command::new(program);
        memcli.current_dir(folder).env_clear();
        memcli
    };
    let said = shell::read(memcli().arg("--version"))?;
    if said.split_whitespace().last() != Some(version) {
        bail!("the unpacked program says it is `{}`", said.trim());
    }
    // The main job, on a real child, through the table of exit codes.
    let status = memcli()
        .args(["run", "--", "sh", "-c", "exit 7"])
        .env("PATH", "/usr/bin:/bin")
        .output()?
        .status;
    if status.code() != Some(7) {
        bail!("`memcli run -- sh -c 'exit 7'` ended with {status}");
    }
    Ok(())
}

/// Does something in a folder that was empty before and is gone afterwards.
fn in_empty_folder(
    what: &str,
    job: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let empty = std::env::temp_dir().join(format!("memcli-dist-{what}-{}", std::process::id()));
    std::fs::create_dir(&empty).with_context(|| format!("failed to make `{}`", empty.display()))?;
    let done = job(&empty);
    clear(&empty)?;
    done
}

/// Removes a folder, if it is there.
fn clear(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove `{}`", folder.display()))
        }
        _ => Ok(()),
    }
}
