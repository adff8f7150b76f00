//! Descendants of a command that leave its tree: they fork twice and their parents end, as daemons do.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Said, run_summed};

/// Processes that wrote their pid into a file, one a line; ended when dropped, with their children.
struct Daemons {
    folder: tempfile::TempDir,
}

impl Daemons {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pids")
    }

    /// Shell words that start `script` as a daemon, away from our streams.
    fn start(&self, script: &str) -> String {
        let file = self.file();
        format!("( sh -c 'echo $$ >> {}; {script}' > /dev/null 2>&1 & )", file.display())
    }

    fn pids(&self) -> Vec<i32> {
        let text = std::fs::read_to_string(self.file()).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn is_alive(pid: i32) -> bool {
        std::path::Path::new(&format!("/proc/{pid}")).exists()
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for pid in self.pids() {
            let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = list.unwrap_or_default();
            let children = children.split_whitespace().filter_map(|word| word.parse().ok());
            for pid in children.chain([pid]).filter_map(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn left_running(summary: &Value) -> Option<u64> {
    summary["left_running"].as_u64()
}

/// Runs `script` until its peak is above 40 MiB.
fn aborted(script: &str) -> (Said, Value) {
    let gate = ["run", "--abort", "--max-rss", "40MiB", "--for", "5m", "--", "sh", "-c", script];
    run_summed(&gate)
}

#[test]
fn a_daemon_is_of_the_tree_and_is_ended_with_it_when_that_is_aborted() {
    for deaf in ["", "trap \"\" TERM; "] {
        let daemons = Daemons::new();
        let holding =
            "held=$(head -c 50331648 /dev/zero | tr \"\\0\" x); while :; do sleep 1; done";
        let script = format!("{}; exec sleep 1000", daemons.start(&format!("{deaf}{holding}")));
        // It ends because the daemon is seen, and for no other reason.
        let (said, summary) = aborted(&script);
        assert_eq!(
            (said.code, &summary["end"]["kind"]),
            (99, &"aborted".into()),
            "{}",
            said.stderr
        );
        assert!(summary["processes"].as_u64() >= Some(2), "{summary}");
        assert_eq!(left_running(&summary), Some(0), "{}", said.stderr);
        assert!(daemons.pids().len() == 1 && !daemons.pids().into_iter().any(Daemons::is_alive));
    }
}

#[test]
fn a_command_below_the_one_that_was_started_is_ended_too_and_no_line_behind_it_is_run() {
    let daemons = Daemons::new();
    let (pids, after) = (daemons.file(), daemons.folder.path().join("after"));
    // No shell passes SIGTERM on to what it waits for.
    let holding = "held=$(head -c 50331648 /dev/zero | tr \"\\0\" x); sleep 1000; :";
    let script = format!(
        "sh -c 'echo $$ >> {}; {holding}'; echo x > {}; exit 5",
        pids.display(),
        after.display()
    );
    let (said, summary) = aborted(&script);
    assert_eq!((said.code, left_running(&summary)), (99, Some(0)), "{}", said.stderr);
    assert!(daemons.pids().len() == 1 && !daemons.pids().into_iter().any(Daemons::is_alive));
    assert!(!after.exists());
}

#[test]
fn what_ends_after_its_parents_is_reaped_and_the_exit_code_stays_the_commands_own() {
    // Its parent is memcli, and the only child of that is soon itself again.
    let script = "for i in 1 2 3; do ( true & ); done
        until [ \"$(cat /proc/$PPID/task/$PPID/children)\" = \"$$ \" ]; do sleep 0.02; done
        exit 7";
    let (said, summary) = run_summed(&["run", "--for", "2m", "--", "sh", "-c", script]);
    assert_eq!(said.code, 7, "{}", said.stderr);
    assert_eq!(left_running(&summary), Some(0), "{summary}");
    assert!(!said.stderr.contains("still run"), "{}", said.stderr);
}

#[test]
fn what_one_run_leaves_behind_is_not_of_the_next() {
    let daemons = Daemons::new();
    let (said, runs) =
        run_summed(&["run", "--runs", "2", "--", "sh", "-c", &daemons.start("exec sleep 1000")]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let left: Vec<_> = runs["runs"].as_array().unwrap().iter().map(left_running).collect();
    assert_eq!(left, [Some(1), Some(1)], "{runs}");
    let (said, run) = run_summed(&["run", "--", "sh", "-c", &daemons.start("exec sleep 1000")]);
    assert_eq!(left_running(&run), Some(1), "{run}");
    assert!(said.stderr.contains("that it started still run"), "{}", said.stderr);
    assert!(daemons.pids().into_iter().all(Daemons::is_alive), "none is waited for, or ended");
}
