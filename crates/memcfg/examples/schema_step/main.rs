//! The first draft of a new version of the document, written into the tree.
//!
//! `cargo xtask schema new-version` runs this. It compares the keys as they are now with those of the newest frozen schema
//! (`schemas/ledger.toml`), gives the present ones the next number, puts the released ones back as they were, and writes a step
//! between the two and its test. What it cannot know fails that test until somebody has filled it in.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a generator prints")]

mod scaffold;

use std::path::Path;
use std::process::{Command, ExitCode};

use memcfg::document::{self, VERSION};
use memcfg::ledger::{draft, fingerprint, schema_from_json};
use scaffold::{Sources, scaffold};

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("no new version: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let base = base()?;
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| {
        std::fs::read_to_string(home.join(path)).map_err(|error| format!("`{path}`: {error}"))
    };
    let frozen = read(&format!("schemas/v{VERSION}.json"))?;
    let present = document::json_schemas().into_iter().last();
    if present.is_some_and(|(_, schema)| fingerprint(&schema) == fingerprint(&frozen)) {
        return Ok(format!(
            "version {VERSION} is as it was frozen: change its keys first, then ask again"
        ));
    }
    let old = schema_from_json(&frozen).ok_or("the frozen schema is none of ours")?;
    let guesses = draft(&old, document::spec().schema());
    let newest = format!("src/document/v{VERSION}.rs");
    let sources = Sources {
        released: at_revision(home, &base, &newest)?,
        present: read(&newest)?,
        module: read("src/document/mod.rs")?,
        versions: read("src/document/versions.rs")?,
        migrations: read("src/document/migrations.rs")?,
        tests: read("tests/migrate.rs")?,
        ledger: read("schemas/ledger.toml")?,
    };
    let files = scaffold(VERSION, &sources, &guesses, &frozen)?;
    let mut said = String::new();
    for (path, text) in files {
        std::fs::write(home.join(&path), text).map_err(|error| format!("`{path}`: {error}"))?;
        said.push_str(&format!("wrote crates/memcfg/{path}\n"));
    }
    let (from, to) = (VERSION, VERSION + 1);
    Ok(format!(
        "{said}\n\
         next:\n\
         1. read every operation of `v{from}_to_v{to}` in src/document/migrations.rs; those with a comment are guesses\n\
         2. complete `version_{from}_becomes_version_{to}` in tests/migrate.rs: it fails until then\n\
         3. UPDATE=1 cargo test -p memcfg --test generated, then cargo test -p memcfg"
    ))
}

/// Where the released keys are: `--base REV`, else the last commit.
fn base() -> Result<String, String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [] => Ok("HEAD".to_owned()),
        [option, revision] if option == "--base" => Ok(revision.clone()),
        _ => Err("usage: schema new-version [--base REV]".to_owned()),
    }
}

fn at_revision(home: &Path, revision: &str, path: &str) -> Result<String, String> {
    let mut git = Command::new("git");
    git.current_dir(home).args(["show", &format!("{revision}:./{path}")]);
    let output = git.output().map_err(|error| format!("git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("`{path}`: {error}"))
}
