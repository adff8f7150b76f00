//! Lines that show how a command is called, in `sh` blocks: not run, but held to what the command's help says.

use std::process::Command;

use super::Stage;
use crate::shell;

/// Every line that calls `memcli` with a command or an option that does not exist.
pub(crate) fn check(stage: &Stage, text: &str) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("memcli ")) {
        let call = parse(line);
        let mut help = Command::new(stage.programs.join("memcli"));
        let output = shell::capture(help.args(&call.commands).arg("--help"))?;
        if !output.good {
            violations.push(format!("`{line}` calls a command that does not exist"));
            continue;
        }
        for option in call.options.iter().filter(|option| !names(&output.text, option)) {
            violations.push(format!("`{line}` uses `{option}`, which its help does not name"));
        }
    }
    Ok(violations)
}

/// The commands and options of a line, without values and without what belongs to the child.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    commands: Vec<String>,
    options: Vec<String>,
}

fn parse(line: &str) -> Call {
    /// Commands that have commands of their own.
    const NESTED: [&str; 1] = ["config"];
    let line = line.split(" #").next().unwrap_or_default();
    let words: Vec<&str> =
        line.split_whitespace().skip(1).take_while(|word| *word != "--").collect();
    let depth = if words.first().is_some_and(|word| NESTED.contains(word)) { 2 } else { 1 };
    let is_option = |word: &&str| word.starts_with('-');
    let commands =
        words.iter().take(depth).filter(|word| !is_option(word)).map(|word| (*word).to_owned());
    let name = |word: &&str| word.split('=').next().unwrap_or_default().to_owned();
    Call {
        commands: commands.collect(),
        options: words.iter().copied().filter(is_option).map(|word| name(&word)).collect(),
    }
}

/// Whether a help text has an option as a word of its own.
fn names(help: &str, option: &str) -> bool {
    help.split(|c: char| c.is_whitespace() || matches!(c, ',' | '=' | '[' | ']' | '`'))
        .any(|word| word == option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_its_commands_and_options() {
        let call =
            parse("memcli run --max-rss 1MiB --fail-on=leak -- ./test --not-ours  # a comment");
        assert_eq!(call.commands, ["run"]);
        assert_eq!(call.options, ["--max-rss", "--fail-on"]);
        assert_eq!(parse("memcli config check").commands, ["config", "check"]);
    }

    #[test]
    fn an_option_is_a_whole_word() {
        assert!(names("  --for <TIME>  Watch", "--for"));
        assert!(!names("  --format <F>", "--for"));
    }
}
