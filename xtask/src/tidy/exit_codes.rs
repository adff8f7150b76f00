//! Every documented exit code is reached by a test of memcli.

use crate::workspace::Workspace;

const PAGE: &str = "docs/architecture.md";
const TESTS: &str = "crates/memcli/tests/";

/// Codes that no end-to-end test reaches, each with its reason. One that a test reaches must leave this list.
const UNREACHED: &[(&str, &str)] = &[];

/// Looks for each code of the table as a number of its own in the tests.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let page = workspace.file(PAGE).map(|page| page.text.as_str()).unwrap_or_default();
    let codes = codes(page);
    if codes.is_empty() {
        return Ok(vec![format!("`{PAGE}` has no table of exit codes")]);
    }
    let reached = |code: &str| workspace.rust(TESTS).any(|file| has_number(&file.text, code));
    let mut violations = Vec::new();
    for code in &codes {
        let excepted = UNREACHED.iter().any(|(unreached, _)| unreached == code);
        match (reached(code), excepted) {
            (false, false) => violations.push(format!("no test reaches exit code {code}")),
            (true, true) => violations
                .push(format!("a test reaches exit code {code}: its exception is not needed")),
            _ => {}
        }
    }
    Ok(violations)
}

/// The codes from 64 on in the table below the heading `Exit codes`. Smaller numbers stand everywhere in tests and would prove nothing.
fn codes(page: &str) -> Vec<String> {
    let table = page.split("### Exit codes").nth(1).unwrap_or_default();
    let rows = table
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split(','))
        .map(|code| code.trim().to_owned())
        .filter(|code| code.parse::<u8>().is_ok_and(|code| code >= 64))
        .collect()
}

fn has_number(text: &str, number: &str) -> bool {
    text.match_indices(number).any(|(at, _)| {
        let edge =
            |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '_'));
        edge(text[..at].chars().next_back()) && edge(text[at + number.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_from_the_table() {
        let page = "### Exit codes\n\nFrozen.\n\n| code | meaning |\n|---|---|\n| 0 | good |\n| 64 | x 65 |\n| 126, 127 | y |\n\n| 99 | other |\n";
        assert_eq!(codes(page), ["64", "126", "127"]);
    }

    #[test]
    fn a_number_is_not_a_part_of_another() {
        assert!(has_number("Some(64)", "64"));
        assert!(!has_number("u64 164 6.64 640", "64"));
    }
}
