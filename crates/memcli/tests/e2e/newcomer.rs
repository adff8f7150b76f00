//! The first minutes of somebody who has just built memcli, typed into a shell on a terminal, one step after the other.
//! The build itself is what runs before any test; `serve` comes with the server.

use std::path::Path;
use std::process::Command;

use crate::support::memcli;
use crate::terminal::Terminal;

/// What no program prints.
const PROMPT: &str = "newcomer> ";

/// A shell in a folder of its own, with memcli on its path.
struct Shell {
    terminal: Terminal,
    folder: tempfile::TempDir,
    count: u32,
}

impl Shell {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_memcli"));
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", program.parent().unwrap().display());
        // The environment of memcli in tests, with a shell in its place.
        let clean = memcli(&[]);
        let mut command = Command::new("sh");
        for (name, value) in clean.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("PATH", path).env("PS1", PROMPT).env("ENV", "").current_dir(folder.path());
        Self { terminal: Terminal::start(&mut command, 120, 40), folder, count: 0 }
    }

    /// Ends the shell, which gives its terminal back as it was.
    fn leaves(mut self) {
        self.terminal.press("exit\n");
        let (status, _) = self.terminal.end();
        assert_eq!(status.code(), Some(0));
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Types a line, and returns what came of it with the exit code.
    fn types(&mut self, line: &str) -> (String, i32) {
        self.count += 1;
        let end = format!("=end-{}=", self.count);
        let from = self.terminal.written.len();
        self.terminal.press(&format!("{line}; echo \"{end}$?=\"\n"));
        let code_of = |text: &str| -> Option<i32> {
            let (_, code) = text.rsplit_once(&end)?;
            code.split_once('=')?.0.parse().ok()
        };
        // With the prompt behind it, which must not come to stand before what the next line says.
        let text = self
            .terminal
            .wait_written(from, |text| code_of(text).is_some() && text.ends_with(PROMPT));
        let said = text.rsplit_once(&end).unwrap().0;
        // What was typed comes back from the terminal, too.
        let said = said.split_once(&format!("{end}$?=\"\n")).map_or(said, |(_, said)| said);
        // A shell that is slow to prompt does so after the terminal has repeated the line.
        (said.replace(PROMPT, ""), code_of(&text).unwrap())
    }

    /// The same for a line that must end with `code` and say all of `parts`.
    fn says(&mut self, line: &str, code: i32, parts: &[&str]) -> String {
        let (text, ended) = self.types(line);
        assert_eq!(ended, code, "{line}\n{text}");
        for part in parts {
            assert!(text.contains(part), "{line} does not say {part}:\n{text}");
        }
        assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{line}\n{text}");
        text
    }
}

/// The number before ` MiB` in the row of this name.
fn mib(text: &str, row: &str) -> f64 {
    let line = text.lines().find(|line| line.trim_start().starts_with(row)).unwrap();
    let (before, _) = line.split_once(" MiB").unwrap_or_else(|| panic!("{line}"));
    before.rsplit([' ', '+']).next().unwrap().parse().unwrap()
}

// The steps that watch for a while stand in tests of their own, which run side by side.

#[test]
fn the_first_minute_of_a_newcomer() {
    let mut shell = Shell::start();

    // 2: one line on the system, three commands to try.
    let text = shell.says("memcli", 0, &["system"]);
    assert_eq!(text.lines().filter(|line| line.starts_with("  memcli ")).count(), 3, "{text}");

    // 3: what works here, and a remedy for every no.
    shell.says("memcli doctor", 0, &["kernel", "cgroup", "limit", "PSI", "PSS"]);

    // 4: a leak is seen for what it is, and the child's output is its own.
    let text = shell.says(
        "memcli run -- memcli demo leak --unwatched --rate 2MiB/s --for 15s",
        0,
        &["demo leak: keeps 2.0 MiB/s", "(exact)", "leak", "limit"],
    );
    // 30 MiB, and the program that keeps them: a debug build of memcli.
    assert!((30.0..50.0).contains(&mib(&text, "peak")), "{text}");
    assert!((1.7..=2.3).contains(&mib(&text, "growth")), "{text}");
    shell.leaves();
}

#[test]
fn a_newcomer_asks_for_gates() {
    let mut shell = Shell::start();

    // 5: the same with gates.
    let text = shell.says(
        "memcli run --max-rss 8MiB --fail-on leak -- memcli demo leak --unwatched --for 15s",
        99,
        &["FAIL  max_rss: ", "allowed up to 8.0 MiB", "FAIL  leak: "],
    );
    assert_eq!(text.matches("FAIL").count(), 2, "{text}");
    shell.leaves();
}

#[test]
fn a_newcomer_runs_what_does_not_leak() {
    let mut shell = Shell::start();

    // 6: a cache that fills and then stays is no leak.
    let cache = "memcli demo cache --unwatched --for 8s";
    let text = shell.says(&format!("memcli run --fail-on leak -- {cache}"), 0, &["pass  leak: "]);
    assert!(text.contains("steady") || text.contains("undecided"), "{text}");

    // 7: the command's own code.
    shell.says("memcli run -- sh -c 'exit 7'", 7, &["exited with 7"]);

    // 11: before and after. One process with one buffer: a shell that holds as much has a peak that depends on who runs when.
    let hold = |mib: u32| {
        let bytes = mib << 20;
        format!("dd if=/dev/zero of=/dev/null bs={bytes} count=60 status=none")
    };
    shell.says(&format!("memcli run --runs 5 -o base.jsonl.gz -- {}", hold(50)), 0, &["5 runs"]);
    shell.says(&format!("memcli run --runs 5 -o new.jsonl.gz -- {}", hold(60)), 0, &["5 runs"]);
    shell.says("memcli diff base.jsonl.gz new.jsonl.gz", 0, &["new against base: worse"]);
    let text = shell.says("memcli diff base.jsonl.gz base.jsonl.gz", 0, &["no difference found"]);
    assert!(!text.contains("worse"), "{text}");
    shell.leaves();
}

#[test]
fn a_newcomer_watches_what_runs() {
    let mut shell = Shell::start();

    // 8: what runs already, in a line and live.
    shell.types("memcli demo leak --unwatched --for 10m >/dev/null & P=$!");
    let text = shell.says("memcli status $P --for 3s", 0, &["MiB", "%"]);
    let rate = text.split('+').nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    assert!(rate.is_some_and(|rate| (1.5..=2.5).contains(&rate)), "three seconds of it: {text}");
    shell.terminal.press("memcli top $P --interval 100ms\n");
    shell.terminal.wait_for("anon + swap");
    shell.terminal.wait_for("NORMAL");
    shell.terminal.wait_for("█");
    // What is typed before it has given the terminal back is a key.
    let from = shell.terminal.written.len();
    shell.terminal.press("q");
    shell.terminal.wait_written(from, |text| text.contains(PROMPT));
    shell.says("echo back", 0, &["back"]);

    // 9: recorded and told.
    let watch = "memcli watch $P --for 5s -o a.jsonl.gz";
    shell.says(watch, 0, &["samples", "a.jsonl.gz"]);
    let size = std::fs::metadata(shell.folder.path().join("a.jsonl.gz")).unwrap().len();
    assert!(size < 6_000, "{size} bytes for five seconds");
    let text = shell.says("memcli report a.jsonl.gz", 0, &["samples over 5.", "growth", "peak"]);
    assert!((1.6..=2.4).contains(&mib(&text, "growth")), "{text}");

    // 10: yesterday's samples under another threshold, the same twice.
    shell.write("tight.toml", "schema_version = 3\n[budget]\ntotal = \"16MiB\"\n");
    let replay = "memcli replay a.jsonl.gz --config tight.toml";
    let first = shell.says(replay, 0, &["level", "budget", "emergency"]);
    assert_eq!(shell.says(replay, 0, &[]), first);
    let quiet = shell.says("memcli replay a.jsonl.gz", 0, &[]);
    assert!(!quiet.contains("emergency"), "{quiet}");

    // 13: an edit while a watch runs, and one with a typing error.
    let threshold =
        |key: &str| format!("schema_version = 3\n[pressure.thresholds]\n{key} = 0.65\n");
    shell.write("live.toml", "schema_version = 3\n");
    shell.types("memcli watch $P --config live.toml >w.txt 2>&1 & W=$!");
    let until = |part: &str| format!("until grep -q '{part}' w.txt; do sleep 0.1; done");
    // A watch that has written nothing yet may not have read its configuration.
    shell.types(&until("verdict"));
    shell.write("live.toml", &threshold("warning"));
    shell.types(&until("pressure.thresholds.warning 0.7 -> 0.65"));
    shell.says("memcli config show --config live.toml", 0, &["thresholds.warning = 0.65"]);
    shell.write("live.toml", &threshold("warnin"));
    shell.types(&until("refused"));
    shell.says("grep refused w.txt", 0, &["live.toml:3:1", "did you mean", "warning"]);
    shell.types("kill -INT $W; wait $W");

    // 14: mistakes.
    shell.says("memcli watch 999999", 66, &["no process with pid 999999"]);
    shell.says("memcli lek 1", 64, &["did you mean `leak`?"]);
    shell.says("memcli run --max-rss 512Mo -- true", 64, &["512Mo", "such as 512MiB"]);
    shell.types("head -c 700 a.jsonl.gz > cut.jsonl.gz");
    shell.says("memcli report cut.jsonl.gz", 0, &["incomplete", "cut off"]);
    shell.types("head -c 5 a.jsonl.gz > cut.jsonl.gz");
    shell.says("memcli report cut.jsonl.gz", 65, &["cut.jsonl.gz"]);
    shell.types("kill $P");
    shell.leaves();
}
