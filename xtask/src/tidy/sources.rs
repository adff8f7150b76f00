//! Rules about single files.

use crate::workspace::{File, Workspace};

/// Lines of code, without the in-file tests, that a file may have before it needs a reason here.
const MAX_LINES: usize = 500;

/// Files above [`MAX_LINES`], each with its reason.
const LONG_FILES: &[(&str, &str)] =
    &[("crates/memtrack/examples/bench/linux.rs", "the measurements of one table, in its order")];

/// Top folders under which checkouts lie on machines that build.
const HOMES: [&str; 4] = ["root", "work", "workspace", "builds"];

/// Where addresses in the tree may lead. Any other is of a place that somebody else cannot reach, or a slip.
const HOSTS: [&str; 7] = [
    "github.com",
    "docs.rs",
    "json-schema.org",
    "keepachangelog.com",
    "semver.org",
    "www.apache.org",
    // Of no machine.
    "example.org",
];

/// Where absolute paths under such a folder are the subject and no accident, with the reason.
const PATHS_ALLOWED: &[(&str, &str)] = &[];

/// Tests that only another test starts, in a process of its own.
const STARTED_BY_TESTS: &[&str] =
    &["crates/mempressure/tests/service_manager.rs", "crates/memcli/tests/e2e/look.rs"];

/// Whether a line opens a module of in-file tests.
pub(crate) fn opens_tests(line: &str) -> bool {
    let line = line.trim();
    line == "#[cfg(test)]" || line.starts_with("#[cfg(all(test,")
}

/// Whether a file is all tests: of the crate from outside, or a test module with a file of its own.
pub(crate) fn is_tests(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("_tests.rs") || path.ends_with("/tests.rs")
}

/// A crate without a `sys` module forbids unsafe code; one with it denies it and lets `mod sys` alone expect it.
pub(crate) fn unsafe_code(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for member in &workspace.members {
        let source = format!("{}src/", member.folder);
        let sys = workspace.rust(&source).any(|file| {
            let path = &file.path[source.len()..];
            path == "sys.rs"
                || path.starts_with("sys/")
                || path.ends_with("/sys.rs")
                || path.contains("/sys/")
        });
        let policy = if sys { "#![deny(unsafe_code)]" } else { "#![forbid(unsafe_code)]" };
        for root in workspace.rust(&source).filter(|file| is_root(&file.path[source.len()..])) {
            if !root.text.contains(policy) {
                violations.push(format!("`{}` lacks `{policy}`", root.path));
            }
        }
        for file in workspace.rust(&source) {
            let lines: Vec<&str> = file.text.lines().collect();
            for (number, following) in exemptions(&lines) {
                if !opens_sys(following) {
                    violations
                        .push(format!("`{}:{number}` exempts more than `mod sys`", file.path));
                }
            }
        }
    }
    Ok(violations)
}

fn is_root(path: &str) -> bool {
    path == "lib.rs" || path == "main.rs"
}

/// Each attribute that lets unsafe code pass, as its line number and the lines after it.
fn exemptions<'a>(lines: &'a [&'a str]) -> Vec<(usize, &'a [&'a str])> {
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim_start().replace("#![", "#[");
        if !line.starts_with("#[expect(") && !line.starts_with("#[allow(") {
            continue;
        }
        // rustfmt breaks a long attribute over several lines.
        let length =
            lines[at..].iter().position(|line| line.trim_end().ends_with(")]")).unwrap_or(0) + 1;
        if lines[at..at + length].iter().any(|line| line.contains("unsafe_code")) {
            found.push((at + 1, &lines[at + length..]));
        }
    }
    found
}

/// Whether the item after an attribute, past further attributes, is `mod sys`.
fn opens_sys(following: &[&str]) -> bool {
    let item = following.iter().map(|line| line.trim()).find(|line| !line.starts_with("#["));
    item.is_some_and(|item| item.ends_with("mod sys;") || item.ends_with("mod sys {"))
}

/// Each crate root opens by saying what the crate is; a layer's shows it by an example.
pub(crate) fn front_pages(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for member in &workspace.members {
        let source = format!("{}src/", member.folder);
        for root in workspace.rust(&source).filter(|file| is_root(&file.path[source.len()..])) {
            if !root.text.starts_with("//! ") {
                violations.push(format!("`{}` does not open with what it is", root.path));
            }
            let layer = member.published && member.name != "memcli";
            let front: String = root.text.lines().filter(|line| line.starts_with("//!")).collect();
            if layer && !(front.contains("```") && front.contains("assert")) {
                violations.push(format!("`{}` has no example that asserts something", root.path));
            }
        }
    }
    Ok(violations)
}

/// A file has one role; a long one has a written reason, and an exception that is no longer needed goes.
pub(crate) fn sizes(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for file in workspace.files.iter().filter(|file| file.path.ends_with(".rs")) {
        let lines = file.text.lines().take_while(|line| !opens_tests(line)).count();
        let excepted = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        if lines > MAX_LINES && !excepted && !is_tests(&file.path) {
            violations.push(format!("`{}` has {lines} lines without its tests", file.path));
        } else if lines <= MAX_LINES && excepted {
            violations.push(format!("`{}` no longer needs its exception", file.path));
        }
    }
    Ok(violations)
}

/// A test that does not run, or that passes by panicking somewhere, is not a test.
pub(crate) fn ignored(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for file in workspace.files.iter().filter(|file| file.path.ends_with(".rs")) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let line = line.trim_start();
            let started = STARTED_BY_TESTS.contains(&file.path.as_str())
                && line.contains("started by the test");
            if (line.starts_with("#[ignore") && !started) || line.starts_with("#[should_panic") {
                violations.push(format!("`{}:{number}` has `{line}`", file.path));
            }
        }
    }
    Ok(violations)
}

/// No path of a machine that somebody worked on, no registry but the public one, and no address of another host.
pub(crate) fn machine(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut places: Vec<String> = HOMES.iter().map(|home| format!("/{home}/")).collect();
    // The home of whoever runs this, and this checkout. Not the folder it lies in: that may be `/tmp`, which any text may name.
    places.extend(
        std::env::var("HOME").ok().filter(|home| home.len() > 1).map(|home| format!("{home}/")),
    );
    places.push(format!("{}/", workspace.root.display()));
    let mut violations = Vec::new();
    for file in &workspace.files {
        if PATHS_ALLOWED.iter().any(|(path, _)| *path == file.path) {
            continue;
        }
        for (number, line) in (1..).zip(file.text.lines()) {
            if let Some(place) = places.iter().find(|place| names_path(line, place)) {
                violations.push(format!("`{}:{number}` names a path under `{place}`", file.path));
            }
        }
    }
    violations.extend(workspace.files.iter().flat_map(registries));
    violations.extend(workspace.files.iter().flat_map(hosts));
    Ok(violations)
}

/// Whether `line` has `place` as the start of an absolute path: `file=/place/..` has, `https://example.org/place/..` has not.
fn names_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|before| {
            !before.is_alphanumeric() && !matches!(before, '/' | '.' | '_' | '-' | '}' | ']')
        })
    })
}

/// Addresses of hosts that are not listed.
fn hosts(file: &File) -> Vec<String> {
    let mut violations = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        for (at, scheme) in line.match_indices("://") {
            let of_the_web = ["http", "https"].iter().any(|name| line[..at].ends_with(name));
            let rest = &line[at + scheme.len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-'));
            let host = &rest[..end.unwrap_or(rest.len())];
            if of_the_web && !host.is_empty() && !HOSTS.contains(&host) {
                violations.push(format!("`{}:{number}` names the host `{host}`", file.path));
            }
        }
    }
    violations
}

fn registries(file: &File) -> Vec<String> {
    const PUBLIC: &str = "registry+https://github.com/rust-lang/crates.io-index";
    let mut violations = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        let foreign_lock =
            file.path == "Cargo.lock" && line.starts_with("source = ") && !line.contains(PUBLIC);
        let replaces = file.path.ends_with(".toml")
            && ["[source.", "[registries.", "[registry]"]
                .iter()
                .any(|table| line.starts_with(table));
        if foreign_lock || replaces {
            violations.push(format!("`{}:{number}` names another registry", file.path));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_count_as_machine_paths() {
        let place = format!("/{}/", "home");
        assert!(names_path(&format!("see {place}anna/x"), &place));
        assert!(names_path(&format!("\"{place}anna\""), &place));
        assert!(!names_path(&format!("https://example.org{place}page"), &place));
        assert!(!names_path("a/homely/b", &place));
    }

    #[test]
    fn a_lock_file_with_a_foreign_source_is_named() {
        let text = "source = \"registry+https://example.org/index\"\n".to_owned();
        let file = File { path: "Cargo.lock".to_owned(), text };
        assert_eq!(registries(&file), ["`Cargo.lock:1` names another registry"]);
    }

    #[test]
    fn an_address_of_a_host_that_is_not_listed_is_named() {
        let of = |host: &str| File {
            path: "a.md".to_owned(),
            text: format!("see <https://{host}/x>\n"),
        };
        assert_eq!(hosts(&of("build-7.corp")), ["`a.md:1` names the host `build-7.corp`"]);
        assert!(hosts(&of("docs.rs")).is_empty());
    }

    #[test]
    fn only_mod_sys_may_be_exempt_from_the_unsafe_policy() {
        assert!(opens_sys(&["#[cfg(unix)]", "mod sys;"]));
        assert!(opens_sys(&["pub(crate) mod sys;"]));
        assert!(!opens_sys(&["fn read() {"]));
        let lines = [
            "use a;",
            "#[expect(",
            "    unsafe_code,",
            "    reason = \"calls\"",
            ")]",
            "fn read() {",
        ];
        let found = exemptions(&lines);
        assert_eq!((found[0].0, opens_sys(found[0].1)), (2, false));
    }
}
