//! Places that are no developer's desktop: containers, background jobs, accounts with next to nothing, limits that are reached.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::support::{Folder, Said, away_from_home, run, said, shell};
use crate::terminal::Terminal;

/// What `script` says, to which memcli is `$0`, and which is ended where it hangs.
fn told(script: &str) -> Said {
    told_under(&[], script)
}

/// The same, which the program `under` starts.
fn told_under(under: &[&str], script: &str) -> Said {
    let mut command = away_from_home("timeout");
    command.args(["-k", "5", "60"]).args(under).args(["sh", "-c", script]);
    said(&command.arg(env!("CARGO_BIN_EXE_memcli")).output().unwrap())
}

/// A watch of itself that was started by `env` with this option, once it watches.
fn watch_under(option: &str) -> (Child, BufReader<ChildStdout>) {
    let script = format!("exec env {option} \"$0\" watch --json --interval 50ms self");
    let mut watch = shell(&script).stdout(Stdio::piped()).spawn().unwrap();
    let mut rows = BufReader::new(watch.stdout.take().unwrap());
    rows.read_line(&mut String::new()).unwrap();
    (watch, rows)
}

fn send(watch: &Child, signal: Signal) {
    kill_process(Pid::from_child(watch), signal).unwrap();
}

/// How a watch ends after `signal`, by what it says last.
fn ends(watch: (Child, BufReader<ChildStdout>), signal: Signal) -> (Option<i32>, String) {
    let (mut watch, mut rows) = watch;
    send(&watch, signal);
    let mut rest = String::new();
    rows.read_to_string(&mut rest).unwrap();
    (watch.wait().unwrap().code(), rest)
}

/// The mask of this name in the `status` of a process, as the kernel tells it.
fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

#[test]
fn nohup_means_what_it_says_for_a_watch_and_for_what_is_run() {
    let (watch, mut rows) = watch_under("--ignore-signal=HUP");
    send(&watch, Signal::HUP);
    // It goes on. (One that heeds it says how it ended, and no more than that.)
    for _ in 0..3 {
        rows.read_line(&mut String::new()).unwrap();
    }
    let (code, rest) = ends((watch, rows), Signal::TERM);
    assert_eq!(code, Some(143), "{rest}");
    let said = told("exec env --ignore-signal=HUP,INT \"$0\" run -- cat /proc/self/status");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let ignored = mask(&said.stdout, "SigIgn:");
    assert_eq!(ignored & (bit(Signal::HUP) | bit(Signal::INT)), 0b11, "{ignored:x}");
    assert_eq!(ignored & bit(Signal::TERM), 0, "and nothing else: {ignored:x}");
}

#[test]
fn in_the_background_of_a_script_a_watch_hears_who_sends_to_it_and_not_the_keyboard() {
    for (signal, code) in [(Signal::INT, 130), (Signal::QUIT, 131)] {
        let (ended, rest) = ends(watch_under("--ignore-signal=INT,QUIT"), signal);
        assert_eq!(ended, Some(code), "{rest}");
    }
    let folder = Folder::new();
    // The key may come before the shell waits; then it waits once.
    let script = "trap 'echo heard; kill -TERM $W' INT
        \"$0\" watch --json --interval 50ms self > \"$1\" & W=$!
        until [ -s \"$1\" ]; do sleep 0.02; done
        echo all there; wait $W; C=$?
        if [ $C -ne 143 ]; then wait $W; C=$?; fi; echo \"code $C\"";
    let mut command = away_from_home("setsid");
    command.args(["-c", "sh", "-c", script, env!("CARGO_BIN_EXE_memcli"), &folder.at("rows")]);
    let mut terminal = Terminal::start(&mut command, 80, 24);
    terminal.wait_for("all there");
    terminal.press("\x03");
    let whole = |line: &str| line.strip_prefix("code ").is_some_and(|code| code.len() == 3);
    let text = terminal.wait("code", |text| text.lines().any(whole));
    assert!(text.contains("heard") && text.contains("code 143"), "{text}");
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn a_command_that_ends_is_heard_of_where_all_signals_were_blocked() {
    let under = |command: &str| told(&format!("exec env --block-signal \"$0\" run -- {command}"));
    let said = under("sh -c 'exit 7'");
    assert_eq!(said.code, 7, "{}", said.stderr);
    let said = under("cat /proc/self/status");
    let blocked = mask(&said.stdout, "SigBlk:");
    let some = bit(Signal::TERM) | bit(Signal::CHILD) | bit(Signal::USR1);
    assert_eq!(blocked & some, some, "as it would be without memcli: {blocked:x}");
    let (code, rest) = ends(watch_under("--block-signal"), Signal::TERM);
    assert_eq!(code, Some(143), "{rest}");
}

#[test]
fn a_file_that_may_grow_no_further_is_an_error_and_no_end_of_the_watch() {
    let folder = Folder::new();
    let (trace, here) = (folder.at("t.jsonl.gz"), folder.0.path().display());
    let said = told(&format!("ulimit -f 0; exec \"$0\" run -o {trace} -- true"));
    assert_eq!(said.code, 74, "{}", said.stderr);
    assert!(said.stderr.contains("not complete: File too large"), "{}", said.stderr);
    let said =
        told(&format!("ulimit -f 0; exec \"$0\" config set leak.window 2h --config {here}/c"));
    assert_eq!(said.code, 74, "{}", said.stderr);
    // What is run is ended by it as it would be without memcli.
    let said =
        told(&format!("ulimit -f 0; exec \"$0\" run -- sh -c 'exec cat /etc/passwd > {here}/x'"));
    assert_eq!(said.code, 128 + 25, "{}", said.stderr);
}

#[test]
fn whoever_waits_for_the_reader_of_a_pipe_can_be_ended() {
    let folder = Folder::new();
    let pipe = folder.at("pipe");
    let said = told(&format!("mkfifo {pipe}; exec timeout -k 9 0.5 \"$0\" run -o {pipe} -- true"));
    // 137 where it had to be killed.
    assert_eq!(said.code, 124, "{}", said.stderr);
    let told = told(&format!("cat {pipe} & \"$0\" run --quiet --summary {pipe} -- true; wait"));
    assert!(told.stdout.contains("memcli.summary/1"), "{} {}", told.stdout, told.stderr);
}

#[test]
fn with_hardly_a_descriptor_a_command_is_ended_or_not_started_and_never_left() {
    // Nobody else sleeps for so long.
    let long = format!("1000.{}", std::process::id());
    let mut watched = 0;
    for files in 5..26 {
        let said = told(&format!("ulimit -n {files}; exec \"$0\" run --for 200ms -- sleep {long}"));
        match said.code {
            0 => watched += 1,
            74 => assert!(said.stderr.contains("`ulimit -n`"), "{files}: {}", said.stderr),
            other => panic!("{files}: {other} {}", said.stderr),
        }
    }
    assert!(watched > 10, "some ten are enough to watch a process: {watched}");
    let lines = fs::read_dir("/proc").unwrap().flatten();
    let lines = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let sleeps = |line: &Vec<u8>| line.ends_with(format!("\0{long}\0").as_bytes());
    assert_eq!(lines.filter(sleeps).count(), 0, "none of them runs on");
}

#[test]
fn a_thread_is_named_with_its_process() {
    let (tell, tid) = std::sync::mpsc::channel();
    let (wait, end) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        tell.send(fs::read_link("/proc/thread-self").unwrap()).unwrap();
        end.recv()
    });
    let tid = tid.recv().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let own = std::process::id();
    for words in [&["status", &tid][..], &["leak", &tid], &["watch", &tid]] {
        let said = run(words);
        assert_eq!(said.code, 66, "{}", said.stdout);
        let all = said.stdout + &said.stderr;
        assert!(all.contains(&format!("is a thread of process {own}")), "{all}");
    }
    drop(wait);
    assert!(thread.join().unwrap().is_err());
}

#[test]
fn a_status_line_takes_the_one_before_away_where_there_is_no_colour() {
    let script = "NO_COLOR=1 exec \"$0\" watch self --for 1200ms";
    let mut terminal = Terminal::start(&mut shell(script), 80, 24);
    let written = terminal.wait_written(0, |text| text.contains("was watched for"));
    assert!(written.contains("RSS  normal"), "{written}");
    let bytes = String::from_utf8_lossy(&terminal.written).into_owned();
    for line in bytes.split('\r').filter(|line| line.contains("RSS  normal")) {
        assert!(line.starts_with("\x1b[2K"), "{line:?}");
    }
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn a_demo_whose_reader_has_gone_says_nothing_of_it() {
    let demo = "{ \"$0\" demo leak --unwatched --for 100ms; echo $? >&2; } | true";
    let said = told(demo);
    assert_eq!(said.stderr.trim(), "0");
}

/// What `script` says in namespaces of its own; `None` where those are not allowed.
fn unshared(options: &[&str], script: &str) -> Option<Said> {
    let user = if geteuid().is_root() { &[][..] } else { &["--map-root-user"] };
    let under = [&["unshare"], user, options].concat();
    let (program, rest) = under.split_first()?;
    let tried = Command::new(program).args(rest).arg("true").output();
    tried.is_ok_and(|tried| tried.status.success()).then(|| told_under(&under, script))
}

#[test]
fn where_proc_is_of_another_namespace_nobody_else_is_taken_for_what_is_meant() {
    let folder = Folder::new();
    let started = folder.at("started");
    // The first is pid 1 here and another there.
    let script = format!("\"$0\" status self; \"$0\" run -- touch {started}");
    let Some(said) = unshared(&["--pid", "--fork"], &script) else { return };
    assert!(said.stdout.contains("memcli("), "{} {}", said.stdout, said.stderr);
    assert_eq!(said.code, 69, "{}", said.stderr);
    assert!(said.stderr.contains("of another PID namespace"), "{}", said.stderr);
    assert!(said.stderr.contains("mount -t proc"), "{}", said.stderr);
    assert!(!Path::new(&started).exists(), "it cannot be followed, and is not started");
}

#[test]
fn where_there_is_no_proc_that_is_what_is_said() {
    let folder = Folder::new();
    let started = folder.at("started");
    for (words, code) in [
        ("watch self".to_owned(), 69),
        ("leak 1".to_owned(), 69),
        (format!("run -- touch {started}"), 69),
        ("status --check 1".to_owned(), 3),
    ] {
        let script = format!("mount -t tmpfs none /proc && exec \"$0\" {words}");
        let Some(said) = unshared(&["--mount"], &script) else { return };
        let all = said.stdout + &said.stderr;
        assert_eq!(said.code, code, "{words}: {all}");
        assert!(all.contains("`/proc` does not show this process"), "{words}: {all}");
    }
    assert!(!Path::new(&started).exists());
    let script = "mount -t tmpfs none /proc && exec \"$0\" doctor";
    let Some(said) = unshared(&["--mount"], script) else { return };
    assert!(!said.stdout.contains("hidepid"), "{}", said.stdout);
    assert!(!said.stdout.contains("it has ended"), "{}", said.stdout);
}

#[test]
fn as_the_first_process_of_a_container_it_reaps_and_passes_signals_on() {
    let script = "exec \"$0\" run -- sh -c 'for i in 1 2 3; do ( true & ); done
        until [ \"$(cat /proc/1/task/1/children)\" = \"$$ \" ]; do sleep 0.02; done
        kill -TERM 1; sleep 60'";
    let Some(said) = unshared(&["--pid", "--fork", "--mount-proc"], script) else { return };
    assert_eq!(said.code, 128 + 15, "{}", said.stderr);
    assert!(said.stderr.contains("was killed by SIGTERM"), "{}", said.stderr);
}

/// The program where every user can reach it.
fn program_for_anyone(folder: &Folder) -> PathBuf {
    let program = folder.0.path().join("memcli");
    fs::copy(env!("CARGO_BIN_EXE_memcli"), &program).unwrap();
    mode(folder.0.path(), 0o755);
    program
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_configuration_of_another_user_is_refused_with_what_to_do() {
    if !geteuid().is_root() {
        return;
    }
    let folder = Folder::new();
    let program = program_for_anyone(&folder);
    let home = folder.0.path().join("home");
    fs::create_dir(&home).unwrap();
    mode(&home, 0o700);
    let mut command = away_from_home("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).arg("status");
    command.env("HOME", &home).env_remove("XDG_CONFIG_HOME").current_dir("/");
    let said = said(&command.output().unwrap());
    assert_eq!(said.code, 77, "{}", said.stderr);
    assert!(said.stderr.contains("Permission denied") && said.stderr.contains("set `HOME`"));
}

#[test]
fn where_no_thread_can_start_a_watch_ends_with_an_error_and_no_panic() {
    if !geteuid().is_root() {
        return;
    }
    let folder = Folder::new();
    let program = program_for_anyone(&folder);
    let mut command = away_from_home("setpriv");
    // A user of whom nothing else runs here: its one process is all it may have.
    command.args(["--reuid=64321", "--regid=64321", "--clear-groups", "prlimit", "--nproc=1"]);
    command.arg(&program).args(["watch", "self", "--for", "100ms"]).current_dir("/");
    command.env("XDG_CONFIG_HOME", folder.0.path());
    let said = said(&command.output().unwrap());
    assert_eq!(said.code, 74, "{}", said.stderr);
    assert!(!said.stderr.contains("panic"), "{}", said.stderr);
}
