//! Who may depend on whom.

use crate::workspace::{Dependency, File, Member, Workspace};

/// One crate of ours and the crates of ours it may depend on, in any section of its manifest.
struct Arrow {
    from: &'static str,
    to: &'static [&'static str],
    /// Those of `to` that must sit behind a feature, so that the crate also stands without them.
    optional: &'static [&'static str],
}

const LAYERS: [&str; 3] = ["memtrack", "mempressure", "memleak"];

const ARROWS: &[Arrow] = &[
    Arrow { from: "memtrack", to: &[], optional: &[] },
    Arrow { from: "mempressure", to: &["memtrack"], optional: &[] },
    Arrow { from: "memleak", to: &["memtrack"], optional: &["memtrack"] },
    Arrow { from: "memcfg", to: &LAYERS, optional: &LAYERS },
    Arrow { from: "memcli", to: &["memtrack", "mempressure", "memleak", "memcfg"], optional: &[] },
    // Traces and imports are parsed in memcli's library.
    Arrow {
        from: "fuzz",
        to: &["memtrack", "mempressure", "memleak", "memcfg", "memcli"],
        optional: &[],
    },
    Arrow { from: "guide", to: &["memtrack", "mempressure", "memleak", "memcfg"], optional: &[] },
    Arrow { from: "xtask", to: &[], optional: &[] },
];

/// Crates that belong to the command line alone.
const ABOVE_ONLY: [&str; 8] =
    ["anyhow", "clap", "env_logger", "eyre", "log", "tracing", "tracing-subscriber", "xflags"];

/// What a layer's code must not say: a layer returns values and emits events.
const PRINTING: [&str; 5] = ["println!(", "print!(", "eprintln!(", "eprint!(", "dbg!("];

/// Holds the table of arrows over what the manifests declare.
pub(crate) fn crates(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    Ok(check_arrows(&workspace.members))
}

fn check_arrows(members: &[Member]) -> Vec<String> {
    let mut violations = Vec::new();
    for member in members {
        let Some(arrow) = ARROWS.iter().find(|arrow| arrow.from == member.name) else {
            violations.push(format!("`{}` is not in the table of arrows", member.name));
            continue;
        };
        let ours = |dependency: &&Dependency| {
            // A crate may name itself in its own tests, to switch on a feature.
            dependency.name != member.name
                && ARROWS.iter().any(|arrow| arrow.from == dependency.name)
        };
        for dependency in member.dependencies.iter().filter(ours) {
            let (from, to, kind) = (&member.name, &dependency.name, &dependency.kind);
            if !arrow.to.contains(&to.as_str()) {
                violations.push(format!("`{from}` must not depend on `{to}` ({kind})"));
            } else if kind == "normal"
                && arrow.optional.contains(&to.as_str())
                && !dependency.optional
            {
                violations.push(format!("`{from}` must take `{to}` behind a feature"));
            }
        }
    }
    violations
}

/// In memcfg only the document may know what a layer is.
pub(crate) fn engine(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for file in workspace.rust("crates/memcfg/src/") {
        if file.path.starts_with("crates/memcfg/src/document") {
            continue;
        }
        for (number, line) in code_lines(&file.text) {
            for layer in LAYERS.iter().filter(|layer| line.contains(&format!("{layer}::"))) {
                violations.push(format!("`{}:{number}` mentions `{layer}`", file.path));
            }
        }
    }
    Ok(violations)
}

/// Layers are silent and leave arguments and free-form errors to memcli.
pub(crate) fn silence(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    let layers = |member: &&Member| member.published && member.name != "memcli";
    for member in workspace.members.iter().filter(layers) {
        for dependency in &member.dependencies {
            if dependency.kind == "normal" && ABOVE_ONLY.contains(&dependency.name.as_str()) {
                violations.push(format!("`{}` depends on `{}`", member.name, dependency.name));
            }
        }
        let folder = format!("{}src/", member.folder);
        let code = |file: &&File| !super::sources::is_tests(&file.path);
        for file in workspace.rust(&folder).filter(code) {
            for (number, line) in code_lines(&file.text) {
                if PRINTING.iter().any(|macro_name| line.contains(macro_name)) {
                    violations.push(format!("`{}:{number}` prints", file.path));
                }
            }
        }
    }
    Ok(violations)
}

/// The lines of a Rust file that are neither comments nor part of its in-file tests, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .take_while(|(_, line)| !super::sources::opens_tests(line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, dependencies: &[(&str, &str, bool)]) -> Member {
        Member {
            name: name.to_owned(),
            description: String::new(),
            published: true,
            categories: Vec::new(),
            keywords: Vec::new(),
            examples: Vec::new(),
            folder: format!("crates/{name}/"),
            dependencies: dependencies
                .iter()
                .map(|(name, kind, optional)| Dependency {
                    name: (*name).to_owned(),
                    kind: (*kind).to_owned(),
                    optional: *optional,
                })
                .collect(),
        }
    }

    #[test]
    fn a_layer_that_imports_its_neighbour_is_named() {
        let members =
            [member("memleak", &[("mempressure", "dev", false), ("serde", "normal", false)])];
        assert_eq!(check_arrows(&members), ["`memleak` must not depend on `mempressure` (dev)"]);
    }

    #[test]
    fn an_arrow_that_must_be_optional_is_held_to_it() {
        let members =
            [member("memleak", &[("memtrack", "normal", false), ("memtrack", "dev", false)])];
        assert_eq!(check_arrows(&members), ["`memleak` must take `memtrack` behind a feature"]);
        assert!(check_arrows(&[member("memleak", &[("memtrack", "normal", true)])]).is_empty());
    }

    #[test]
    fn a_new_crate_must_enter_the_table() {
        assert_eq!(
            check_arrows(&[member("common", &[])]),
            ["`common` is not in the table of arrows"]
        );
    }

    #[test]
    fn comments_and_tests_are_not_code() {
        let text = "//! memtrack::Sample\nuse a;\n    // memleak::x\n#[cfg(test)]\nmod tests {\n    use memtrack::Sample;\n";
        assert_eq!(code_lines(text).collect::<Vec<_>>(), [(2, "use a;")]);
    }
}
