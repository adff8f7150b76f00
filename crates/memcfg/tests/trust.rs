//! Which files are believed, by mode, owner and kind; and what projects may do.
//!
//! Root may read everything, so the matrix is looked at by another user: this very binary, run as `nobody`. Where the
//! tests do not run as root, there are no files of others to look at, and they look at their own.

#![expect(clippy::unwrap_used, reason = "helpers of tests assert by unwrapping")]

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use memcfg::document::{self, Live, PROJECT_FILE};
use memcfg::files::Sources;
use memcfg::{Code, Severity};

const LOOK: &str = "MEMCFG_TEST_LOOK";
const NOBODY: u32 = 65_534;
const OTHER: u32 = 12_345;

/// What a look at a file found: used, left out with a warning, or the code of the refusal.
fn look(path: &Path, project: bool) -> String {
    let sources = Sources::new();
    let sources = if project { sources.project_file(path) } else { sources.file(path) };
    match document::load(&sources) {
        Ok(loaded) if loaded.value.workload.batch_size == 77 => "used".to_owned(),
        Ok(loaded) => format!("left out, {}", loaded.warnings[0].code.name()),
        Err(found) => {
            let first = &found[0];
            assert!(first.code != Code::Permission || first.help.is_some(), "no remedy: {first}");
            first.code.name().to_owned()
        }
    }
}

/// Not a test of its own: what the other user does.
#[test]
fn in_another_process() {
    let Some(list) = std::env::var_os(LOOK) else { return };
    for line in std::fs::read_to_string(list).unwrap().lines() {
        let (kind, path) = line.split_once(' ').unwrap();
        println!("look {kind} {path} -> {}", look(Path::new(path), kind == "project"));
    }
}

struct Matrix {
    root: PathBuf,
    lines: Vec<(String, PathBuf, &'static str)>,
}

impl Matrix {
    /// A file in a directory of its own, and what is expected of it as the user's and as a project's.
    fn file(&mut self, mode: u32, owner: u32, directory: (u32, u32), expected: [&'static str; 2]) {
        let name = format!("{mode:o}-{owner}-in-{:o}-{}", directory.0, directory.1);
        let dir = self.root.join(name);
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("config.toml");
        std::fs::write(&path, "schema_version = 3\n[workload]\nbatch_size = 77\n").unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        chown(&dir, Some(directory.1), Some(directory.1)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(directory.0)).unwrap();
        self.expect(path, expected);
    }

    fn expect(&mut self, path: PathBuf, [global, project]: [&'static str; 2]) {
        self.lines.push(("global".to_owned(), path.clone(), global));
        self.lines.push(("project".to_owned(), path, project));
    }
}

#[test]
fn only_files_that_nobody_else_could_have_written_are_believed() {
    if !rustix::process::geteuid().is_root() {
        println!("not root: the owners in the matrix cannot be made");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut m = Matrix { root: dir.path().canonicalize().unwrap(), lines: Vec::new() };
    let (mine, roots, others) = ((0o755, NOBODY), (0o755, 0), (0o755, OTHER));
    const LEFT_OUT: &str = "left out, permission";
    for mode in [0o400, 0o600, 0o640, 0o644, 0o755] {
        m.file(mode, NOBODY, mine, ["used", "used"]);
    }
    m.file(0o644, 0, roots, ["used", "used"]);
    m.file(0o644, 0, mine, ["used", "used"]);
    // Group: a project may be shared, the user's own settings may not.
    m.file(0o660, NOBODY, mine, ["permission", "used"]);
    m.file(0o664, 0, roots, ["permission", "used"]);
    // World.
    m.file(0o602, NOBODY, mine, ["permission", LEFT_OUT]);
    m.file(0o666, NOBODY, roots, ["permission", LEFT_OUT]);
    m.file(0o777, 0, roots, ["permission", LEFT_OUT]);
    // Somebody else's.
    m.file(0o644, OTHER, mine, ["permission", LEFT_OUT]);
    m.file(0o644, NOBODY, others, ["permission", "used"]);
    // In a directory where others may put another file in its place.
    m.file(0o600, NOBODY, (0o777, NOBODY), ["permission", "used"]);
    m.file(0o600, NOBODY, (0o775, NOBODY), ["permission", "used"]);
    m.file(0o600, NOBODY, (0o1777, 0), ["used", "used"]);
    // Not to be read at all.
    m.file(0o600, 0, roots, ["io", "io"]);
    // Links: one's own, somebody else's, and to somebody else's file.
    let good = m.root.join(format!("600-{NOBODY}-in-755-{NOBODY}/config.toml"));
    let foreign = m.root.join(format!("644-{OTHER}-in-755-{NOBODY}/config.toml"));
    let links = m.root.join("links");
    std::fs::create_dir(&links).unwrap();
    let link = |name: &str, to: &Path, owner: u32| {
        let path = links.join(name);
        symlink(to, &path).unwrap();
        rustix::fs::chownat(
            rustix::fs::CWD,
            &path,
            Some(rustix::fs::Uid::from_raw(owner)),
            None,
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .unwrap();
        path
    };
    m.expect(link("own", &good, NOBODY), ["used", "used"]);
    m.expect(link("roots", &good, 0), ["used", "used"]);
    m.expect(link("others", &good, OTHER), ["permission", "used"]);
    m.expect(link("to-others", &foreign, NOBODY), ["permission", LEFT_OUT]);
    // What is no file.
    m.expect(links.clone(), ["permission", LEFT_OUT]);
    let pipe = m.root.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    chown(&pipe, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(&pipe, std::fs::Permissions::from_mode(0o600)).unwrap();
    m.expect(pipe, ["permission", LEFT_OUT]);
    m.expect(PathBuf::from("/dev/null"), ["permission", LEFT_OUT]);

    let list = m.root.join("list");
    let text: Vec<_> = m.lines.iter().map(|(k, p, _)| format!("{k} {}", p.display())).collect();
    std::fs::write(&list, text.join("\n")).unwrap();
    // The binary may lie where another user may not go.
    let binary = m.root.join("look");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let output = Command::new(&binary)
        .args(["--exact", "in_another_process", "--nocapture"])
        .env(LOOK, &list)
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = String::from_utf8(output.stdout).unwrap();
    let mut wrong = Vec::new();
    for (kind, path, expected) in &m.lines {
        let wanted = format!("look {kind} {} -> ", path.display());
        let found =
            output.lines().find_map(|line| line.split_once(&wanted)).map(|(_, found)| found);
        if found != Some(*expected) {
            wrong.push(format!("{kind} {}: {found:?}, not {expected}", path.display()));
        }
    }
    println!(
        "fault-row: + | modes, owners, directories, links: files looked at by another user than root | {} cases | {} not as specified",
        m.lines.len(),
        wrong.len()
    );
    assert_eq!(wrong, Vec::<String>::new());
    assert!(m.lines.len() >= 48, "{}", m.lines.len());
}

#[test]
fn the_refusal_says_how_to_mend_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, "schema_version = 3\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let found = document::load(&Sources::new().file(&path)).unwrap_err();
    assert_eq!(found[0].severity, Severity::Error);
    assert!(found[0].message.contains("(mode 0666)"), "{}", found[0]);
    let real = path.canonicalize().unwrap();
    assert_eq!(found[0].help.as_deref(), Some(&*format!("run: chmod go-w {}", real.display())));
}

fn project(root: &Path, name: &str, estimated: &str) -> PathBuf {
    let dir = root.join(name);
    std::fs::create_dir_all(dir.join(".memcli")).unwrap();
    let text = format!("schema_version = 3\n[project]\nestimated = \"{estimated}\"\n");
    std::fs::write(dir.join(PROJECT_FILE), text).unwrap();
    dir
}

#[test]
fn each_project_has_its_own_file_over_the_document() {
    let dir = tempfile::tempdir().unwrap();
    let global = dir.path().join("c.toml");
    std::fs::write(&global, "schema_version = 3\n[workload]\nbatch_size = 77\n").unwrap();
    let live = Live::start(Sources::new().file(&global)).unwrap();
    let (one, two) = (project(dir.path(), "one", "100MiB"), project(dir.path(), "two", "1GiB"));
    let estimated = |dir: &Path| live.for_project(dir).config.project.estimated.exact();
    assert_eq!((estimated(&one), estimated(&two)), ("100MiB".into(), "1GiB".into()));
    assert_eq!(live.for_project(&one).config.workload.batch_size, 77);
    assert!(live.for_project(&two).warnings[0].message.contains("more than the usual"));
    assert_eq!(estimated(&dir.path().join("none")), "256MiB", "no file: the document itself");

    // An edit is seen at the next question, without anything that watches.
    project(dir.path(), "one", "200MiB");
    assert_eq!(estimated(&one), "200MiB");
    project(dir.path(), "one", "900MiB");
    assert_eq!(estimated(&one), "900MiB", "same size, same instant");
    // A bad one keeps the last good one, and says so.
    project(dir.path(), "one", "lots");
    let effective = live.for_project(&one);
    assert_eq!(effective.config.project.estimated.exact(), "900MiB");
    assert!(effective.rejected[0].to_string().contains("invalid size"), "{:?}", effective.rejected);
    // Keys of global scope are refused here as well.
    let text = "schema_version = 3\n[alerts]\nexec = [\"x\"]\n";
    std::fs::write(two.join(PROJECT_FILE), text).unwrap();
    assert_eq!(live.for_project(&two).rejected[0].code, Code::Scope);

    // An edit of the document reaches every project.
    std::fs::write(&global, "schema_version = 3\n[workload]\nbatch_size = 78\n").unwrap();
    live.check_now();
    assert_eq!(live.for_project(&dir.path().join("none")).config.workload.batch_size, 78);
    let effective = live.for_project(&one);
    assert_eq!((effective.generation, effective.rejected.is_empty()), (2, false));
}

#[test]
fn metrics_move_on_their_events() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let write = |text: &str| std::fs::write(&path, format!("schema_version = 3\n{text}")).unwrap();
    write("");
    let mut options = memcfg::LiveOptions::default();
    options.settle = std::time::Duration::from_millis(1);
    let live = Live::start_with(Sources::new().file(&path), options).unwrap();
    let metrics = || live.status().metrics;
    let first = metrics();
    assert_eq!((first.accepted, first.generation, first.rejected), (1, 1, 0));
    assert!(first.last_success.is_some() && first.last_duration_seconds > 0.0);
    write("[workload]\nbatch_size = 77\n");
    live.check_now();
    assert_eq!((metrics().accepted, metrics().generation), (2, 2));
    write("[workload]\nbatch_size = 77\n# only a comment\n");
    live.check_now();
    assert_eq!((metrics().accepted, metrics().unchanged, metrics().generation), (2, 1, 2));
    let success = metrics().last_success;
    write("[workload]\nbatch_sise = 77\n");
    live.check_now();
    let bad = metrics();
    assert_eq!((bad.rejected, bad.rejected_by.get("unknown_key")), (1, Some(&1)));
    assert_eq!(bad.last_success, success);
    assert!(bad.last_attempt > success && bad.polls > first.polls);
    assert_eq!(bad.lost_events, 0);
    // Nobody reads the events: past what the channel holds they are counted as lost.
    for number in 10..100 {
        write(&format!("[workload]\nbatch_size = {number}\n"));
        live.check_now();
    }
    assert!(metrics().lost_events > 0);
}
