//! The reference of the command line is generated from its one definition, and kept in step with it.

use std::fmt::Write;
use std::path::Path;

use clap::{Command, CommandFactory};

const HEAD: &str = "# Command line

Generated from the definition of the command line: `UPDATE_REFERENCE=1 cargo test -p memcli --test e2e reference` writes it.
";

/// One section a command: what `--help` says.
fn section(text: &mut String, path: &str, command: &mut Command) {
    if command.is_hide_set() {
        return;
    }
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## {path}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    let names: Vec<String> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names {
        if let Some(command) = command.find_subcommand_mut(&name) {
            section(text, &format!("{path} {name}"), command);
        }
    }
}

#[test]
fn the_reference_is_what_the_commands_say() {
    let mut command = memcli::cli::Cli::command().term_width(100);
    command.build();
    let mut text = HEAD.to_owned();
    section(&mut text, "memcli", &mut command);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "docs/reference/cli.md is stale: UPDATE_REFERENCE=1 cargo test -p memcli --test e2e reference writes it"
    );
}
