//! What people read, kept as it was: the outputs that need the binary, a configuration or a terminal, in 80 and 120
//! columns without colour. Those of recordings are kept by `tests/trace.rs`, the others by `output::snapshots`.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test -p memcli --test e2e snapshots` writes them anew.
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use memcli::trace::tree::{ProcessRow, ProcessesRow};
use memcli::trace::{EndRow, Header, Writer};
use memtrack::{Sample, Stamp};

use crate::support::{memcli, said};
use crate::terminal::Terminal;

const MIB: u64 = 1 << 20;

/// Compares with the file in `tests/snapshots`.
fn is_kept(name: &str, columns: u16, text: &str) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{name}-{columns}.txt"));
    assert!(!text.contains('\u{1b}'), "colour in {name}:\n{text}");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{} is stale: UPDATE_SNAPSHOTS=1 writes it", path.display());
}

/// A home and a project of their own, and what was typed there with what was said.
struct Session {
    folder: tempfile::TempDir,
    columns: u16,
    text: String,
}

impl Session {
    fn new(columns: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("home/.config/memcli")).unwrap();
        fs::create_dir_all(folder.path().join("project")).unwrap();
        Self { folder, columns, text: String::new() }
    }

    fn command(&self, line: &str) -> Command {
        let home = self.folder.path().join("home");
        let mut command = memcli(&line.split_whitespace().collect::<Vec<_>>());
        command.current_dir(self.folder.path().join("project")).env("HOME", &home);
        command.env("XDG_CONFIG_HOME", home.join(".config"));
        command.env("XDG_STATE_HOME", home.join(".local/state"));
        command.env("COLUMNS", self.columns.to_string()).env("NO_COLOR", "1");
        command.env("LANG", "C.UTF-8").env_remove("LC_ALL").env_remove("LC_CTYPE");
        command
    }

    /// Runs `memcli LINE` and keeps both streams and an exit code other than 0, with the folder's name taken out.
    fn types(&mut self, line: &str) -> &mut Self {
        let said = said(&self.command(line).output().unwrap());
        let code =
            if said.code == 0 { String::new() } else { format!("[exit code {}]\n", said.code) };
        let said =
            format!("{}\n{}{}{code}", format!("$ memcli {line}").trim(), said.stdout, said.stderr);
        // What stands above the folder of a test is none of the reader's business.
        let folder = fs::canonicalize(self.folder.path()).unwrap();
        self.text += &timeless(&said.replace(folder.to_str().unwrap(), ""));
        self
    }

    fn writes(&mut self, name: &str, text: &str) -> &mut Self {
        fs::write(self.folder.path().join("project").join(name), text).unwrap();
        self
    }
}

/// With `(when)` in place of each RFC 3339 time.
fn timeless(text: &str) -> String {
    let shape = "0000-00-00T00:00:00Z";
    let is_time = |word: &str| {
        word.len() == shape.len()
            && word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).eq(shape.chars())
    };
    let words = text.split_inclusive([' ', '\n']);
    words
        .map(|word| {
            let (bare, end) = word.split_at(word.trim_end().len());
            if is_time(bare) { format!("(when){end}") } else { word.to_owned() }
        })
        .collect()
}

const V2: &str = "version = \"2.0\"

[memory]
total_budget_mb = 4096  # half of the machine

[projects]
priority = \"high\"
";

#[test]
fn the_configuration_as_it_is_looked_at() {
    for columns in [80, 120] {
        let mut session = Session::new(columns);
        session.types("config check");
        session.types("config set budget.total 2GiB").types("config set pressure.hold 20s");
        session.text.clear();
        session.types("config check").types("config show").types("config show --origin");
        is_kept("config-show", columns, &session.text);

        session.text.clear();
        session.types("config explain pressure.hold").types("config explain budget.total");
        session.types("config explain leak.window").types("config explain track.interval");
        session.types("config explain presure.hold").types("config explain nonsense");
        is_kept("config-explain", columns, &session.text);

        session.text.clear();
        session.writes("good.toml", "schema_version = 3\n[budget]\ntotal = \"1GiB\"\n");
        session.writes(
            "bad.toml",
            "schema_version = 3\n[pressure]\nhold = \"soon\"\nband = 0.9\n[pressure.thresholds]\nwarning = 0.9\ncritical = 0.8\n[budgt]\ntotal = \"1GiB\"\n",
        );
        session.writes("broken.toml", "schema_version = 3\n[pressure\n");
        session.writes("later.toml", "schema_version = 9\n").writes("old.toml", V2);
        for name in ["good", "old", "bad", "broken", "later", "nowhere"] {
            session.types(&format!("config check --config {name}.toml"));
        }
        is_kept("config-check", columns, &session.text);
    }
}

#[test]
fn the_configuration_as_it_is_edited() {
    for columns in [80, 120] {
        let mut session = Session::new(columns);
        session.types("config path").types("config set budget.total 2GiB");
        session.types("config set pressure.band 0.9").types("config set pressure.bnad 0.1");
        session.types("config set pressure.band 0.04").types("config unset budget.total");
        session.types("config unset budget.total").types("config history");
        session.types("config rollback").types("config rollback 99").types("config path");
        session.writes("new.toml", "schema_version = 3\n[budget]\ntotal = \"1GiB\"\n");
        session.types("config diff new.toml").types("config init");
        is_kept("config-edit", columns, &session.text);

        session.text.clear();
        session.writes("old.toml", V2);
        session.types("config migrate --config old.toml");
        session.types("config migrate --config old.toml --write");
        session.types("config migrate --config old.toml --write");
        session.writes("old.yaml", "version: '1.0'\nmemory_settings:\n  total_mb: 2048\n");
        session.types("config import old.yaml");
        is_kept("config-migrate", columns, &session.text);
    }
}

#[test]
fn mistakes() {
    for columns in [80, 120] {
        let mut session = Session::new(columns);
        session.types("statsu").types("status 999999999").types("status no-such-program");
        session.types("status cgroup:/no/such/group").types("leak 999999999");
        session.types("run").types("run -- no-such-program").types("run --max-rss lots -- true");
        session.types("run --fail-on soon -- true").types("report nowhere.jsonl.gz");
        session.types("watch --for 5 self").types("top self");
        is_kept("mistakes", columns, &session.text);
    }
}

/// The figures of the machine are its own; the rest of the page is not.
#[test]
fn memcli_alone() {
    for columns in [80, 120] {
        let mut session = Session::new(columns);
        session.types("");
        let (prompt, said) = session.text.split_once('\n').unwrap();
        let (line, rest) = said.split_once('\n').unwrap();
        for part in ["system", " of ", " %: "] {
            assert!(line.contains(part), "{line}");
        }
        assert!(line.chars().count() <= 80, "{line}");
        is_kept("overview", columns, &format!("{prompt}\n(how the machine is)\n{rest}"));
    }
}

fn sample(header: &Header, n: u64) -> Sample {
    let monotonic = Duration::from_millis(500 * n);
    let mut sample =
        Sample::empty(Stamp { monotonic, wall: header.started + monotonic, gap: false });
    // Grows by 1 MiB a second, with a sawtooth on it.
    let bytes = 64 * MIB + n * MIB / 2 + n % 8 * MIB / 4;
    (sample.process.rss, sample.process.swap) = (Ok(bytes + 4 * MIB), Ok(0));
    (sample.process.anon, sample.process.file) = (Ok(bytes), Ok(4 * MIB));
    (sample.process.shmem, sample.process.peak) = (Ok(0), Ok(bytes + 5 * MIB));
    (sample.process.processes, sample.process.threads) = (Ok(2), Ok(9));
    (sample.system.total, sample.system.available) = (Ok(8 << 30), Ok(6 << 30));
    (sample.cgroup.limit, sample.cgroup.usage) = (Ok(256 * MIB), Ok(bytes + 8 * MIB));
    sample.cgroup.inactive_file = Ok(0);
    sample.cgroup.headroom = Ok(248 * MIB - bytes.min(248 * MIB));
    sample
}

fn trace(path: &Path) {
    let header: Header = serde_json::from_str(
        r#"{"schema":"memcli.trace/1","writer":"memcli 0.1.0","target":{"label":"worker(4321)","kind":"tree","pid":4321,"start":7},
        "command":["worker"],"started":"2026-11-21T12:00:00Z","interval_seconds":0.5}"#,
    )
    .unwrap();
    let mut writer = Writer::new(fs::File::create(path).unwrap(), &header).unwrap();
    for n in 0..240 {
        if n % 20 == 0 {
            let process = |pid, parent, command: &str, mib: u64| ProcessRow {
                pid,
                start: u64::from(pid),
                parent,
                command: Some(command.to_owned()),
                rss: Some(mib * MIB),
                anon: Some((mib - 2) * MIB),
                swap: Some(0),
                ..ProcessRow::default()
            };
            let rows = vec![
                process(4321, Some(1), "worker --queue mail --threads 8", 60 + n / 2),
                process(4330, Some(4321), "worker: child", 8),
            ];
            writer.processes(&ProcessesRow { t: n as f64 / 2.0, rows, more: 0 }).unwrap();
        }
        writer.sample(&sample(&header, n)).unwrap();
    }
    let end: EndRow = serde_json::from_str(
        r#"{"end":{"kind":"exited","code":0},"exit_code":0,"duration_seconds":120.0,"peak_rss_bytes":null,
        "peak_exact":false,"cpu_seconds":null,"max_rss_bytes":null}"#,
    )
    .unwrap();
    writer.end(&end).unwrap();
}

/// The live view, of a recording, so that it is the same each time: whole, with its help, and scrolled back.
#[test]
fn the_live_view() {
    for (columns, rows) in [(80, 24), (120, 40)] {
        let session = Session::new(columns);
        let path = session.folder.path().join("t.jsonl.gz");
        trace(&path);
        let mut command = session.command(&format!("top {}", path.to_str().unwrap()));
        let mut terminal = Terminal::start(&mut command, columns, rows);
        let now = terminal.wait_whole("a whole screen", |text| {
            ["2 processes", "12:01:46Z alert", "q quit"].iter().all(|part| text.contains(part))
        });
        is_kept("top", columns, &now);
        terminal.press("\x1b[H");
        let then = terminal.wait_whole("its beginning", |text| text.contains(" ago): "));
        is_kept("top-scrolled", columns, &then);
        terminal.press("\x1b[F");
        terminal.wait_whole("now", |text| !text.contains(" ago): "));
        terminal.press("?");
        let help = terminal
            .wait_whole("help", |text| text.contains("next pane") && text.contains("q quit"));
        is_kept("top-help", columns, &help);
        terminal.press("?q");
        assert_eq!(terminal.end().0.code(), Some(0));
    }
}
