//! Every documented metric is named by a test of its crate.

use super::sources::{is_tests, opens_tests};
use crate::workspace::{File, Workspace};

/// How the names of structs end whose public fields are metrics.
const ENDINGS: [&str; 2] = ["Metrics", "Counters"];

/// Looks for each field of such a struct in the tests of its crate.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    let mut seen = 0;
    for member in &workspace.members {
        let tests: Vec<&str> = workspace.rust(&member.folder).filter_map(tests_of).collect();
        for file in workspace.rust(&format!("{}src/", member.folder)) {
            for (name, field) in fields(&file.text) {
                seen += 1;
                if !tests.iter().any(|text| names(text, &field)) {
                    violations.push(format!("`{}`: no test names `{name}::{field}`", file.path));
                }
            }
        }
    }
    if seen == 0 {
        violations.push("no metrics were found: were their structs renamed?".to_owned());
    }
    Ok(violations)
}

/// The test code of a file: all of one under `tests/`, of another what stands behind its own tests' mark.
fn tests_of(file: &File) -> Option<&str> {
    if is_tests(&file.path) {
        return Some(&file.text);
    }
    let mut at = 0;
    for line in file.text.split_inclusive('\n') {
        if opens_tests(line.trim_end()) {
            return Some(&file.text[at..]);
        }
        at += line.len();
    }
    None
}

/// The public fields of structs whose names have one of [`ENDINGS`].
fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut inside: Option<&str> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("pub struct ") {
            let name = rest.trim_end_matches(" {");
            inside = ENDINGS.iter().any(|ending| name.ends_with(ending)).then_some(name);
        } else if line == "}" {
            inside = None;
        } else if let (Some(name), Some(rest)) = (inside, line.strip_prefix("    pub "))
            && let Some((field, _)) = rest.split_once(':')
        {
            fields.push((name.to_owned(), field.to_owned()));
        }
    }
    fields
}

/// Whether a field is read (`.field`) or compared in a literal (`field:`).
fn names(text: &str, field: &str) -> bool {
    text.match_indices(field).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + field.len()..].chars().next();
        let whole = after.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        whole && (before == Some('.') || (before == Some(' ') && after == Some(':')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_metrics_and_of_nothing_else() {
        let text = "pub struct Other {\n    pub a: u8,\n}\npub struct LoadMetrics {\n    /// Of b.\n    pub b: u8,\n    c: u8,\n}\npub fn d() {\n    pub e: x\n}\n";
        assert_eq!(fields(text), [("LoadMetrics".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn a_field_is_named_where_it_is_read_or_compared() {
        assert!(names("metrics.saved, 1", "saved"));
        assert!(names("SaveMetrics { saved: 1 }", "saved"));
        assert!(!names("metrics.saved_at", "saved"));
        assert!(!names("it was saved", "saved"));
    }
}
