//! The documentation is run: every command, document and link of the pages.
//!
//! In a `console` block a line that begins with `$ ` is given to `sh`, and what follows is compared with what it prints. Numbers are
//! compared as numbers only in number, since a measured figure differs each time; a line `...` stands for any lines. `toml` blocks that state a
//! `schema_version` are checked by `memcli config check`, `json` blocks are parsed, `rust` blocks are the doc tests of the crate in `docs`, links to
//! files and headings must lead somewhere. `text` is for what is none of these.

mod blocks;
mod console;
mod links;

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::shell::{self, Output};
use crate::workspace::{File, Workspace};
use blocks::Block;

/// Where commands run: a folder of its own for each page, so that a page may use in one block what it made in another.
struct Stage {
    folder: PathBuf,
    /// The folder with `memcli` and the stand-in for `cargo`.
    programs: PathBuf,
}

/// Runs every page; the text names each violation.
pub(crate) fn report(root: &Path) -> anyhow::Result<Output> {
    let workspace = Workspace::load(root)?;
    let pages: Vec<&File> =
        workspace.files.iter().filter(|file| file.path.ends_with(".md")).collect();
    let mut violations = links::check(&workspace, &pages);
    let mut blocks = 0;
    for page in &pages {
        let stage = stage(root, &page.path)?;
        for block in blocks::all(&page.text) {
            blocks += 1;
            for violation in check(&stage, &block)? {
                violations.push(format!("{}:{}: {violation}", page.path, block.line));
            }
        }
    }
    let mut text = format!("{} pages, {blocks} blocks\n", pages.len());
    for violation in &violations {
        text.push_str(&format!("{violation}\n"));
    }
    Ok(Output { good: violations.is_empty(), text })
}

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    crate::no_arguments(args)?;
    let output = report(root)?;
    print!("{}", output.text);
    Ok(output.good)
}

fn check(stage: &Stage, block: &Block) -> anyhow::Result<Vec<String>> {
    match block.language.as_str() {
        "console" => console::check(stage, &block.text),
        "toml" if block.text.contains("schema_version") => config(stage, &block.text),
        "json" => {
            let parsed = serde_json::from_str::<serde_json::Value>(&block.text);
            Ok(parsed.err().map(|error| format!("not JSON: {error}")).into_iter().collect())
        }
        // Rust is compiled and run with the doc tests.
        "toml" | "rust" | "text" | "c" => Ok(Vec::new()),
        "" => Ok(vec![
            "a block without a language is not checked: `text` says that this is meant".to_owned(),
        ]),
        other => Ok(vec![format!("nothing checks a block of `{other}`")]),
    }
}

fn config(stage: &Stage, text: &str) -> anyhow::Result<Vec<String>> {
    let file = stage.folder.join("block.toml");
    std::fs::write(&file, text).context("failed to write a config block")?;
    let mut check = std::process::Command::new(stage.programs.join("memcli"));
    let output = shell::capture(check.args(["config", "check"]).arg(&file))?;
    Ok(if output.good {
        Vec::new()
    } else {
        vec![format!("`memcli config check` refuses it:\n{}", output.text)]
    })
}

fn stage(root: &Path, page: &str) -> anyhow::Result<Stage> {
    let book = root.join("target/book");
    let folder = book.join(page.replace('/', "_"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("failed to clear `{}`", folder.display()))?;
    }
    let programs = book.join("programs");
    for new in [&folder, &programs] {
        std::fs::create_dir_all(new)
            .with_context(|| format!("failed to make `{}`", new.display()))?;
    }
    let memcli = root.join("target/debug/memcli");
    std::fs::copy(&memcli, programs.join("memcli"))
        .with_context(|| format!("`{}` is not built: run `cargo build` first", memcli.display()))?;
    console::stand_in(&programs)?;
    Ok(Stage { folder, programs })
}
