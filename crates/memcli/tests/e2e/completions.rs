//! The completion scripts in their shells: what is offered, not only that they parse.

#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{memcli, run};

/// Longer than any shell needs: a completion that never comes must end the test.
const PATIENCE: &str = "60";

struct Shell {
    folder: tempfile::TempDir,
    script: PathBuf,
}

impl Shell {
    /// The script of `shell`, with `memcli` found by its name; `None`, and saying so, where there is no such shell.
    fn new(shell: &str) -> Option<Self> {
        if Command::new(shell).arg("-c").arg("exit 0").status().is_err() {
            eprintln!("skipped: this test needs {shell}");
            return None;
        }
        let said = run(&["completions", shell]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, said.stdout).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_memcli"), folder.path().join("memcli"))
            .unwrap();
        Some(Self { folder, script })
    }

    /// What `shell` prints that runs `words`.
    fn says(&self, shell: &str, words: &[&str]) -> String {
        // It brings the environment that tests have.
        let clean = memcli(&[]);
        let mut command = Command::new("timeout");
        command.arg(PATIENCE).arg(shell).args(words).current_dir(self.folder.path());
        for (name, value) in clean.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = [self.folder.path().to_owned()].into_iter().chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(paths).unwrap()).env("TERM", "dumb");
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    fn script(&self) -> &str {
        self.script.to_str().unwrap()
    }
}

/// A line that was typed so far, and what must be offered then.
const LINES: [(&str, &[&str]); 6] = [
    ("memcli ", &["status", "run", "config", "doctor"]),
    ("memcli re", &["replay", "report"]),
    ("memcli demo ", &["sawtooth", "leak"]),
    ("memcli config ", &["rollback", "import"]),
    ("memcli run --max-", &["--max-rss", "--max-growth"]),
    ("memcli run --fail-on ", &["growing", "level:critical", "regression"]),
];

#[test]
fn bash_offers_what_there_is() {
    let Some(shell) = Shell::new("bash") else { return };
    for (line, offered) in LINES {
        let script = format!(
            "source {}; line='{line}'; COMP_WORDS=($line); [[ $line == *' ' ]] && COMP_WORDS+=('')
            COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); word=${{COMP_WORDS[COMP_CWORD]}}
            _memcli memcli \"$word\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            shell.script()
        );
        let said = shell.says("bash", &["--norc", "-c", &script]);
        for word in offered {
            assert!(said.lines().any(|line| line == *word), "{word} after `{line}` in {said}");
        }
    }
}

#[test]
fn fish_offers_what_there_is() {
    let Some(shell) = Shell::new("fish") else { return };
    for (line, offered) in LINES {
        let script = format!("source {}; complete -C '{line}'", shell.script());
        let said = shell.says("fish", &["--no-config", "-c", &script]);
        for word in offered {
            let expected = said.lines().any(|line| line.split('\t').next() == Some(word));
            assert!(expected, "{word} after `{line}` in {said}");
        }
    }
    let script = format!("source {}; complete -C 'memcli demo '", shell.script());
    let said = shell.says("fish", &["--no-config", "-c", &script]);
    assert!(!said.contains("script"), "no files: {said}");
}

#[test]
fn zsh_offers_what_there_is() {
    let Some(shell) = Shell::new("zsh") else { return };
    for (line, offered) in LINES {
        // A shell with a terminal of its own, for only a line editor completes. It reads until it has seen the last word.
        let mut script = format!(
            "zmodload zsh/zpty && zpty z zsh -f -i
            zpty -w z 'stty columns 150 rows 50; LISTMAX=1000; zstyle \":completion:*\" list-colors; autoload -U compinit; compinit -u -D; source {}; print REA\"\"DY'
            zpty -r z seen '*READY*'; zpty -w -n z '{line}'; zpty -w -n z $'\\t\\t'\n",
            shell.script()
        );
        // In the order in which they are listed.
        let mut sorted = offered.to_vec();
        sorted.sort_unstable();
        for word in &sorted {
            script.push_str(&format!("zpty -r z seen '*{word} *' && print -r -- \"{word}\"\n"));
        }
        script.push_str("zpty -d z; exit 0\n");
        let path = shell.folder.path().join("drive");
        std::fs::write(&path, script).unwrap();
        let said = shell.says("zsh", &["-f", as_text(&path)]);
        assert_eq!(said.lines().collect::<Vec<_>>(), sorted, "after `{line}`");
    }
}

fn as_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn another_shell_is_refused() {
    assert_eq!(run(&["completions", "tcsh"]).code, 64);
}
