//! The book as people see it: made by mdBook, and every link of its pages followed to a file and to a place in it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};

use crate::shell;

const INSTALL: &str = "cargo install mdbook --locked";

/// What lies among the pages and is none, so that it does not belong into the book.
const SOURCES: [&str; 3] = ["Cargo.toml", "book.toml", "lib.rs"];

/// Makes the book below `target`; the dead links of its pages. `None`, and it says so, without the tool.
pub(crate) fn build(root: &Path) -> anyhow::Result<Option<Vec<String>>> {
    if !shell::exists("mdbook", "--version") {
        println!("the book was not made: mdbook is not installed: `{INSTALL}`");
        return Ok(None);
    }
    let out = root.join("target/book-html");
    let mut mdbook = std::process::Command::new("mdbook");
    let made = shell::capture(mdbook.current_dir(root).args(["build", "docs"]))?;
    // A page that it could not put together is a warning to mdBook.
    if !made.good || made.text.contains("WARN") || made.text.contains("ERROR") {
        bail!("mdbook is not content:\n{}", made.text);
    }
    for source in SOURCES {
        let path = out.join(source);
        if path.exists() {
            std::fs::remove_file(&path)
                .with_context(|| format!("failed to remove `{}`", path.display()))?;
        }
    }
    println!("the book: {}", out.join("index.html").display());
    dead_links(&out).map(Some)
}

fn dead_links(out: &Path) -> anyhow::Result<Vec<String>> {
    let mut pages = Vec::new();
    find_pages(out, &mut pages)?;
    let mut dead = Vec::new();
    for (page, text) in &pages {
        for link in links(text) {
            let (target, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let path = if target.is_empty() { page.clone() } else { beside(page, target) };
            let found = if fragment.is_empty() {
                path.exists()
            } else {
                let named = pages.iter().find(|(other, _)| *other == path);
                named.is_some_and(|(_, text)| text.contains(&format!("id=\"{fragment}\"")))
            };
            if !found {
                let page = page.strip_prefix(out).unwrap_or(page);
                dead.push(format!("{}: `{link}` leads nowhere", page.display()));
            }
        }
    }
    Ok(dead)
}

fn find_pages(folder: &Path, pages: &mut Vec<(PathBuf, String)>) -> anyhow::Result<()> {
    /// Made for the whole book at once or for no page: their links are those of the pages, seen from another folder.
    const OTHER: [&str; 3] = ["print.html", "404.html", "toc.html"];
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("failed to list `{}`", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            find_pages(&path, pages)?;
        } else if name.ends_with(".html") && !OTHER.contains(&name.as_str()) {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("failed to read `{}`", path.display()))?;
            pages.push((path, text));
        }
    }
    Ok(())
}

/// What `href` and `src` say on a page, each once, without links to other hosts.
fn links(page: &str) -> BTreeSet<String> {
    let mut links = BTreeSet::new();
    for attribute in [" href=\"", " src=\""] {
        for rest in page.split(attribute).skip(1) {
            let link = rest.split('"').next().unwrap_or_default();
            if !link.is_empty() && !link.contains(':') {
                links.insert(link.to_owned());
            }
        }
    }
    links
}

/// A path as seen from a page, without `..`.
fn beside(page: &Path, target: &str) -> PathBuf {
    let mut path = page.parent().map(Path::to_path_buf).unwrap_or_default();
    for component in Path::new(target).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(part) => path.push(part),
            _ => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_pages_and_places_are_found_and_those_to_hosts_left_out() {
        let page =
            "<a href=\"b/c.html#d\">x</a><a href=\"https://example.org\"><img src=\"e.png\">";
        assert_eq!(links(page).into_iter().collect::<Vec<_>>(), ["b/c.html#d", "e.png"]);
        assert_eq!(beside(Path::new("out/a/p.html"), "../b/c.html"), Path::new("out/b/c.html"));
    }
}
