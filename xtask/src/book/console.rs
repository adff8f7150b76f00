//! Commands of a page and what they print.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::Stage;
use crate::shell;

/// One command and what the page says it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    command: String,
    expected: String,
}

/// What stands for `cargo` on a page: `cargo run -- ARGS` is `memcli ARGS`, and what `cargo build` would make is there already. The workshop is not started
/// out of itself; that its commands exist is for [`super::workshop`].
const CARGO: &str = r#"#!/bin/sh
case "$1" in
    run)
        while [ "$#" -gt 0 ] && [ "$1" != "--" ]; do shift; done
        [ "$#" -gt 0 ] && shift
        exec memcli "$@"
        ;;
    build|xtask) exit 0 ;;
    *)
        echo "cargo $1 is not run from a page"
        exit 1
        ;;
esac
"#;

/// Puts the stand-in for cargo beside memcli.
pub(crate) fn stand_in(programs: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let path = programs.join("cargo");
    std::fs::write(&path, CARGO).context("failed to write the stand-in for cargo")?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .context("failed to make the stand-in for cargo executable")
}

/// Runs the steps of one block in one shell, so that `$?`, variables and background jobs carry over.
pub(crate) fn check(stage: &Stage, text: &str) -> anyhow::Result<Vec<String>> {
    let steps = steps(text);
    let mut script = String::new();
    for step in &steps {
        // The end of each step is marked; the exit code is handed on to the next.
        script.push_str(&format!(
            "{}\nbook_code=$?; echo; echo '{MARK}'; (exit $book_code)\n",
            step.command
        ));
    }
    let path = std::env::var("PATH").unwrap_or_default();
    // A page that hangs must fail and not hang its checker: `timeout` ends the whole group.
    let mut sh = Command::new("timeout");
    sh.args(["-k", "5", "120", "sh", "-c"]).arg(&script).current_dir(&stage.folder);
    sh.env("PATH", format!("{}:{path}", stage.programs.display())).env("NO_COLOR", "1");
    // What the machine has configured must not change what a page shows.
    sh.env("XDG_CONFIG_HOME", &stage.folder).env("HOME", &stage.folder).env_remove("MEMCLI_CONFIG");
    let output = shell::capture(&mut sh)?;
    let mark = format!("\n{MARK}\n");
    let mut printed = output.text.split(&mark);
    let mut violations = Vec::new();
    for step in &steps {
        let printed = printed.next().unwrap_or_default().trim();
        if !matches(&words(&step.expected), &words(printed)) {
            violations.push(format!(
                "`{}` should print\n{}\nbut printed\n{printed}",
                step.command, step.expected
            ));
        }
    }
    Ok(violations)
}

const MARK: &str = "-- end of step --";

/// A command may go on over lines that begin with `> `.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), expected: String::new() });
        } else if let Some(step) = steps.last_mut() {
            match line.strip_prefix("> ") {
                Some(more) if step.expected.is_empty() => {
                    step.command.push('\n');
                    step.command.push_str(more);
                }
                _ => {
                    step.expected.push_str(line);
                    step.expected.push('\n');
                }
            }
        }
    }
    steps
}

/// Whether printed words are what a page shows; `...` stands for any number of them.
fn matches(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((word, rest)) if word == "..." => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        Some((word, rest)) => printed
            .split_first()
            .is_some_and(|(first, printed)| word == first && matches(rest, printed)),
    }
}

/// What begins an interval, which is told by its ends when it is wide and by its half-width when it is narrow.
const INTERVAL: &str = "(95 %:";

/// A text whose intervals are all told in the same way.
fn without_intervals(text: &str) -> String {
    let mut parts = text.split(INTERVAL);
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        told.push_str("(INTERVAL)");
        told.push_str(part.split_once(')').map_or(part, |(_, after)| after));
    }
    told
}

/// The words of a text with what differs from run to run taken out: the value of every number, which unit of size follows it, and how an interval or a time is told.
fn words(text: &str) -> Vec<String> {
    const TIME: [&str; 7] = ["ms", "s", "min", "h", "d", "day", "days"];
    let text = without_intervals(text);
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace().map(shape) {
        let (unit, punctuation) = word.split_at(word.trim_end_matches([',', ';', ')', ':']).len());
        let is_number = |word: &String| word.trim_start_matches(['(', '+', '-']) == "0";
        if TIME.contains(&unit) && words.last().is_some_and(is_number) {
            words.pop();
            // `3 h 13 min` and `40 min` are both a time.
            if words.last().is_some_and(|last| last == "TIME") {
                words.pop();
            }
            words.push(format!("TIME{punctuation}"));
        } else {
            words.push(word);
        }
    }
    words
}

fn shape(word: &str) -> String {
    if word == "..." {
        return word.to_owned();
    }
    let mut shape = String::new();
    for c in word.chars() {
        let number = shape.ends_with('0');
        if c.is_ascii_digit() {
            if !number {
                shape.push('0');
            }
        } else if !(c == '.' && number) {
            shape.push(c);
        }
    }
    // A little more or less memory may be told in the next unit.
    ["KiB", "MiB", "GiB"].iter().fold(shape, |shape, unit| shape.replace(unit, "B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_commands_with_what_they_print() {
        let steps = steps("$ a\nx\n\n$ b \\\n> c\n$ d\n");
        assert_eq!(steps[0], Step { command: "a".to_owned(), expected: "x\n\n".to_owned() });
        assert_eq!(
            (steps[1].command.as_str(), steps[1].expected.len(), steps.len()),
            ("b \\\nc", 0, 3)
        );
    }

    #[test]
    fn figures_may_differ_and_words_may_not() {
        let matches = |expected: &str, printed: &str| matches(&words(expected), &words(printed));
        assert!(matches("peak 1.8 MiB (pid 77)", "peak  980 KiB\n (pid 12345)"));
        assert!(matches("50MiB/h for 10.0s", "2GiB/h for 9s"));
        assert!(matches("in about 3 h 13 min, or", "in about 40 min, or"));
        assert!(matches("+2 B/s (95 %: ±0.1 % of it)", "+2.1 B/s (95 %: +1.8 B/s to +2.3 B/s)"));
        assert!(!matches("+2 B/s (95 %: ±0.1 % of it)", "+2.1 B/s"));
        assert!(!matches("in 3 h or", "in 3 rows or"));
        assert!(!matches("verdict leak", "verdict undecided"));
        assert!(!matches("a", "a b"));
        assert!(!matches("a 1", "a"));
        assert!(matches("a\n...\nd", "a\nb\nc\nd"));
        assert!(!matches("a\n...\ne", "a\nb\nc\nd"));
    }
}
