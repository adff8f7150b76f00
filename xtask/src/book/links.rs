//! Links between the pages. Links to other hosts are left to their readers: a check that needs the network fails for reasons of its own.

use std::path::{Component, Path, PathBuf};

use super::blocks;
use crate::workspace::{File, Workspace};

/// Every relative link of every page that leads nowhere.
pub(crate) fn check(workspace: &Workspace, pages: &[&File]) -> Vec<String> {
    let mut violations = Vec::new();
    for page in pages {
        for (line, target) in links(&page.text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if let Some(problem) = problem(workspace, page, &target) {
                violations.push(format!("{}:{line}: {problem}", page.path));
            }
        }
    }
    violations
}

fn problem(workspace: &Workspace, page: &File, target: &str) -> Option<String> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { PathBuf::from(&page.path) } else { join(&page.path, path) };
    if !workspace.root.join(&path).exists() {
        return Some(format!("`{target}` does not exist"));
    }
    if heading.is_empty() {
        return None;
    }
    let file = workspace.file(&path.to_string_lossy())?;
    let known = blocks::prose(&file.text)
        .iter()
        .any(|(_, line)| line.starts_with('#') && anchor(line) == heading);
    (!known).then(|| format!("`{target}` names a heading that does not exist"))
}

/// A path as seen from a page, without `..`.
fn join(page: &str, target: &str) -> PathBuf {
    let mut path = Path::new(page).parent().map(Path::to_path_buf).unwrap_or_default();
    for component in Path::new(target).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

/// The targets of `[text](target)` outside of code, with their lines.
fn links(page: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in blocks::prose(page) {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, next)) = after.split_once(')') else { break };
            links.push((number, target.to_owned()));
            rest = next;
        }
    }
    links
}

/// The anchor that renderers give a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_and_resolved() {
        assert_eq!(
            links("a [b](../c.md#d) [e](f)\n```text\n[x](y)\n```\n"),
            [(1, "../c.md#d".to_owned()), (1, "f".to_owned())]
        );
        assert_eq!(join("docs/guide/a.md", "../b.md"), PathBuf::from("docs/b.md"));
        assert_eq!(anchor("## How a sample flows"), "how-a-sample-flows");
        assert_eq!(anchor("### `run`: gates"), "run-gates");
    }
}
