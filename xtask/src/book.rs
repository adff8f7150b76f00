//! The documentation is run: every command, document and link of the pages.
//!
//! In a `console` block a line that begins with `$ ` is given to `sh`, and what follows is compared with what it prints. Numbers are
//! compared by place and not by value, since a measured figure differs each time, and so does where a line is wrapped; a line `...` stands for anything. `toml` blocks
//! are checked by `memcli config check`, `json` blocks are parsed, the calls
//! of memcli in `sh` blocks are compared with its help, `rust` blocks are the doc tests of the crate in `docs`, links to
//! files and headings must lead somewhere. `text` is for what is none of these and shows no command. Where mdBook is installed the book is made as well, and the links of its
//! pages are followed.

mod blocks;
mod console;
mod links;
mod rendered;
mod synopsis;
mod workshop;

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

/// Pages that show commands in blocks of `text`, which nothing runs, each with its reason.
const SHOWN: [(&str, &str); 1] = [(
    "docs/guide/transcripts.md",
    "programs of others, which a machine need not have; the page says that it is not run again",
)];

/// Runs every page; the text names each violation.
pub(crate) fn report(root: &Path) -> anyhow::Result<Output> {
    let workspace = Workspace::load(root)?;
    let programs = programs(root)?;
    let pages: Vec<&File> =
        workspace.files.iter().filter(|file| file.path.ends_with(".md")).collect();
    let mut violations = links::check(&workspace, &pages);
    // Pages mostly wait for the programs that they watch, so they are run side by side; one page's blocks follow each other.
    let checked: Vec<anyhow::Result<Vec<String>>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            pages.iter().map(|page| scope.spawn(|| check_page(&programs, page))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the check of a page panicked")))
        };
        threads.into_iter().map(join).collect()
    });
    violations.extend(untested_rust(&workspace, &pages));
    violations.extend(workshop::check(&pages));
    for page in checked {
        violations.extend(page?);
    }
    let blocks: usize = pages.iter().map(|page| blocks::all(&page.text).len()).sum();
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
    let dead = rendered::build(root)?.unwrap_or_default();
    dead.iter().for_each(|dead| println!("{dead}"));
    Ok(output.good && dead.is_empty())
}

/// Pages with Rust that the crate in `docs` does not run as doc tests.
fn untested_rust(workspace: &Workspace, pages: &[&File]) -> Vec<String> {
    let runner = workspace.file("docs/lib.rs").map(|file| file.text.as_str()).unwrap_or_default();
    let has_rust =
        |page: &&&File| blocks::all(&page.text).iter().any(|block| block.language == "rust");
    let mut violations = Vec::new();
    for page in pages.iter().filter(has_rust) {
        let path = page
            .path
            .strip_prefix("docs/")
            .map_or_else(|| format!("../{}", page.path), str::to_owned);
        if !runner.contains(&format!("include_str!(\"{path}\")")) {
            violations
                .push(format!("{}: its Rust is not run: name it in `docs/lib.rs`", page.path));
        }
    }
    violations
}

fn check_page(programs: &Path, page: &File) -> anyhow::Result<Vec<String>> {
    let blocks = blocks::all(&page.text);
    if blocks.is_empty() {
        return Ok(Vec::new());
    }
    let stage = stage(programs, &page.path)?;
    let mut violations = Vec::new();
    let shown = SHOWN.iter().any(|(path, _)| *path == page.path);
    if shown && !blocks.iter().any(|block| shows_commands(&block.text)) {
        violations.push(format!("{}: no longer needs its exception", page.path));
    }
    for block in blocks.iter().filter(|block| !(shown && block.language == "text")) {
        for violation in check(&stage, block)? {
            violations.push(format!("{}:{}: {violation}", page.path, block.line));
        }
    }
    Ok(violations)
}

fn check(stage: &Stage, block: &Block) -> anyhow::Result<Vec<String>> {
    match block.language.as_str() {
        "console" => twice(|| console::check(stage, &block.text)),
        "sh" => synopsis::check(stage, &block.text),
        "toml" => config(stage, &block.text),
        "json" => {
            let parsed = serde_json::from_str::<serde_json::Value>(&block.text);
            Ok(parsed.err().map(|error| format!("not JSON: {error}")).into_iter().collect())
        }
        "text" if shows_commands(&block.text) => {
            Ok(vec!["commands in a block of `text` are not run: make it `console`".to_owned()])
        }
        // Rust is compiled and run with the doc tests.
        "rust" | "text" => Ok(Vec::new()),
        "" => Ok(vec![
            "a block without a language is not checked: `text` says that this is meant".to_owned(),
        ]),
        other => Ok(vec![format!("nothing checks a block of `{other}`")]),
    }
}

/// Whether a block shows what is typed: behind a prompt, or a call of cargo or of memcli with a command of its own.
fn shows_commands(text: &str) -> bool {
    text.lines().any(|line| ["$ ", "cargo ", "memcli "].iter().any(|call| line.starts_with(call)))
}

/// Pages watch live programs beside all that the machine does, so a verdict may come out otherwise once. Twice is a page that is wrong.
fn twice(check: impl Fn() -> anyhow::Result<Vec<String>>) -> anyhow::Result<Vec<String>> {
    let first = check()?;
    if first.is_empty() {
        return Ok(first);
    }
    let second = check()?;
    if second.is_empty() {
        eprintln!("this came right at the second try:\n{}", first.join("\n"));
    }
    Ok(second)
}

fn config(stage: &Stage, text: &str) -> anyhow::Result<Vec<String>> {
    let file = stage.folder.join("block.toml");
    std::fs::write(&file, text).context("failed to write a config block")?;
    let mut check = std::process::Command::new(stage.programs.join("memcli"));
    let output = shell::capture(check.args(["config", "check", "--config"]).arg(&file))?;
    Ok(if output.good {
        Vec::new()
    } else {
        vec![format!("`memcli config check` refuses it:\n{}", output.text)]
    })
}

/// The folder with the programs that pages may use: memcli as the tests built it, and the stand-in for cargo.
fn programs(root: &Path) -> anyhow::Result<PathBuf> {
    let programs = root.join("target/book/programs");
    std::fs::create_dir_all(&programs)
        .with_context(|| format!("failed to make `{}`", programs.display()))?;
    let memcli = root.join("target/debug/memcli");
    // A program that still runs cannot be written over, but its name can be given to another.
    match std::fs::remove_file(programs.join("memcli")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    std::fs::copy(&memcli, programs.join("memcli"))
        .with_context(|| format!("`{}` is not built: run `cargo build` first", memcli.display()))?;
    console::stand_in(&programs)?;
    Ok(programs)
}

/// An empty folder for one page.
fn stage(programs: &Path, page: &str) -> anyhow::Result<Stage> {
    let folder = programs.with_file_name(page.replace('/', "_"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("failed to clear `{}`", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("failed to make `{}`", folder.display()))?;
    Ok(Stage { folder, programs: programs.to_path_buf() })
}
