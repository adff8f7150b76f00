//! Targets as people write them, found in a `/proc` that is made up.
use super::*;
use proptest::prelude::*;

#[test]
fn the_grammar_reads_as_documented() {
    for (text, target) in [
        ("1234", Target::Pid(1234)),
        ("self", Target::Own),
        ("system", Target::System),
        ("cgroup:/app/web", Target::Cgroup("/app/web".into())),
        ("redis-server", Target::Name("redis-server".into())),
        ("7zip", Target::Name("7zip".into())),
    ] {
        assert_eq!(text.parse(), Ok(target));
    }
    assert_eq!("".parse::<Target>(), Err(TargetError::Empty));
    assert!(matches!("0".parse::<Target>(), Err(TargetError::Pid(_))));
    assert!(matches!("99999999999999999999".parse::<Target>(), Err(TargetError::Pid(_))));
    assert!(matches!("cgroup:app".parse::<Target>(), Err(TargetError::Cgroup(_))));
    assert!(matches!("cgroup:/a/../b".parse::<Target>(), Err(TargetError::Above(_))));
    assert_eq!("cgroup:/a..b".parse(), Ok(Target::Cgroup("/a..b".into())));
    for text in ["wor\nker", "\n", "1\u{7f}2", "cgroup:/a\tb", ".\0/test"] {
        assert!(matches!(text.parse::<Target>(), Err(TargetError::Control(_))), "{text:?}");
    }
}

#[test]
fn a_cgroup_that_cannot_be_opened_keeps_its_reason_and_its_code() {
    let unreadable =
        |reason| OpenError::Unreadable { what: "the memory files of the cgroup", reason };
    for (error, code) in [
        (OpenError::NoSuchCgroup { path: "/app".into() }, exit::NO_INPUT),
        (unreadable(memtrack::Absent::Denied), exit::NO_PERMISSION),
        (unreadable(memtrack::Absent::Unsupported), exit::UNAVAILABLE),
        (unreadable(memtrack::Absent::Failed(24)), exit::IO),
    ] {
        assert_eq!(not_opened(error.clone()).code, code, "{error}");
    }
}

#[test]
fn a_trace_is_told_from_a_target() {
    for text in ["w.jsonl.gz", "mprofile.dat", "./w", "/tmp/w", "../w", "old/w.csv"] {
        assert_eq!(text.parse(), Ok(Subject::Trace(text.into())), "{text}");
    }
    for text in ["worker", "1234", "self", "cgroup:/app/x.gz", "kworker/0:1"] {
        assert!(matches!(text.parse(), Ok(Subject::Target(_))), "{text}");
    }
}

fn proc_with(names: &[(u32, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (pid, name) in names {
        let folder = root.path().join(format!("proc/{pid}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
        fs::write(
            folder.join("stat"),
            format!("{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77 0 0\n"),
        )
        .unwrap();
    }
    root
}

#[test]
fn a_name_finds_its_only_process() {
    let root = proc_with(&[(7, "worker"), (8, "other")]);
    let found = Target::Name("worker".into()).find_at(root.path()).unwrap();
    assert_eq!(found.label, "worker(7)");
    assert_eq!(found.watched, Watched::Tree(ProcessId { pid: 7, start: 77 }));
}

#[test]
fn a_process_that_runs_another_program_is_called_by_that_and_a_reused_pid_is_not() {
    let root = proc_with(&[(7, "sh")]);
    let found = Target::Pid(7).find_at(root.path()).unwrap();
    let folder = root.path().join("proc/7");
    fs::write(folder.join("comm"), "sleep\n").unwrap();
    assert_eq!(found.label_at(root.path()), "sleep(7)");
    let stat = fs::read_to_string(folder.join("stat")).unwrap();
    fs::write(folder.join("stat"), stat.replace(" 77 ", " 78 ")).unwrap();
    assert_eq!(found.label_at(root.path()), "sh(7)");
}

#[test]
fn a_name_that_the_kernel_cuts_is_found_by_the_command_line() {
    let root = proc_with(&[(7, "a-very-long-pro"), (8, "a-very-long-pro"), (9, "a-very-long-pro")]);
    let line = |pid: u32, line: &str| {
        fs::write(root.path().join(format!("proc/{pid}/cmdline")), line).unwrap();
    };
    line(7, "/opt/a-very-long-process-name\0--port\x001\0");
    line(8, "/opt/a-very-long-program\0");
    line(9, "python3\0./a-very-long-prose\0");
    let find = |name: &str| Target::Name(name.into()).find_at(root.path());
    assert_eq!(find("a-very-long-process-name").unwrap().label, "a-very-long-pro(7)");
    assert_eq!(find("a-very-long-prose").unwrap().label, "a-very-long-pro(9)");
    assert!(find("a-very-long-prob").is_err());
}

#[test]
fn a_name_that_is_a_file_says_how_a_trace_is_written() {
    let root = proc_with(&[(7, "worker")]);
    // The working directory of the tests is that of the crate.
    let why = Target::Name("Cargo.toml".into()).find_at(root.path()).unwrap_err().to_string();
    assert!(why.ends_with("when written as a path, as in `memcli report ./Cargo.toml`"), "{why}");
}

#[test]
fn an_ambiguous_name_lists_the_candidates() {
    let root = proc_with(&[(7, "worker"), (8, "worker")]);
    let failure = Target::Name("worker".into()).find_at(root.path()).unwrap_err();
    assert_eq!(failure.code, exit::NO_INPUT);
    assert!(failure.to_string().contains("7, 8"), "{failure}");
}

fn write_stat(root: &Path, pid: u32, state: char, parent: u32, flags: u32) {
    let stat =
        format!("{pid} (a) b) {state} {parent} 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 77 0 0\n");
    fs::write(root.join(format!("proc/{pid}/stat")), stat).unwrap();
}

#[test]
fn a_name_of_a_parent_and_its_forks_is_the_parent() {
    let root = proc_with(&[(7, "worker"), (8, "worker"), (9, "sh"), (10, "worker")]);
    write_stat(root.path(), 8, 'S', 7, 0);
    // Through a process of another name.
    write_stat(root.path(), 9, 'S', 7, 0);
    write_stat(root.path(), 10, 'S', 9, 0);
    let found = Target::Name("worker".into()).find_at(root.path()).unwrap();
    assert_eq!(found.label, "worker(7)");
    // One that came from elsewhere is another worker.
    write_stat(root.path(), 10, 'S', 1, 0);
    fs::write(root.path().join("proc/10/cmdline"), "/opt/worker\0--port\x001\0").unwrap();
    let failure = Target::Name("worker".into()).find_at(root.path()).unwrap_err();
    assert!(failure.to_string().contains("7, 8, 10 (worker --port 1)"), "{failure}");
    // A circle, as a pid that was used again may make one, ends.
    write_stat(root.path(), 7, 'S', 8, 0);
    assert!(Target::Name("worker".into()).find_at(root.path()).is_err());
}

#[test]
fn what_has_no_memory_says_why() {
    let root = proc_with(&[(7, "gone"), (8, "kworker/0:1")]);
    write_stat(root.path(), 7, 'Z', 1, 0);
    write_stat(root.path(), 8, 'I', 2, 0x0420_8060);
    let why = |pid| {
        let failure = Target::Pid(pid).find_at(root.path()).unwrap_err();
        assert_eq!(failure.code, exit::NO_INPUT);
        failure.to_string()
    };
    assert!(why(7).starts_with("`gone(7)` has ended"), "{}", why(7));
    assert!(why(8).contains("thread of the kernel"), "{}", why(8));
}

#[test]
fn a_process_lives_on_when_its_first_thread_has_ended() {
    let root = proc_with(&[(7, "worker")]);
    write_stat(root.path(), 7, 'Z', 1, 0);
    let stat = root.path().join("proc/7/stat");
    let two = fs::read_to_string(&stat).unwrap().replace(" 20 0 1 ", " 20 0 2 ");
    fs::write(&stat, two).unwrap();
    assert_eq!(Target::Pid(7).find_at(root.path()).unwrap().label, "worker(7)");
}

#[test]
fn what_is_not_there_is_no_input() {
    let root = proc_with(&[(7, "worker")]);
    assert_eq!(Target::Pid(9).find_at(root.path()).unwrap_err().code, exit::NO_INPUT);
    assert_eq!(
        Target::Name("nobody".into()).find_at(root.path()).unwrap_err().code,
        exit::NO_INPUT
    );
}

proptest! {
    #[test]
    fn what_is_shown_reads_back(text in "\\PC*") {
        if let Ok(target) = text.parse::<Target>() {
            prop_assert_eq!(target.to_string().parse(), Ok(target));
        }
    }
}
