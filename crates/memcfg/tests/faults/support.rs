//! What the faults have in common: documents that show when they are torn, ways to save, rows of the table.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use memcfg::document::Live;
use memcfg::files::Sources;
use memcfg::live::{LiveOptions, Reload};

pub(crate) const ROLE: &str = "MEMCFG_TEST_ROLE";
pub(crate) const FILE: &str = "MEMCFG_TEST_FILE";
pub(crate) const COUNT: &str = "MEMCFG_TEST_COUNT";

/// Whether the long forms are wanted.
pub(crate) fn long() -> bool {
    std::env::var_os("MEMCFG_LONG").is_some()
}

/// A row of the table of `cargo xtask faults`.
pub(crate) fn row(number: &str, fault: &str, runs: impl Display, figure: impl Display) {
    println!("fault-row: {number} | {fault} | {runs} | {figure}");
}

/// This test binary as another process that does what `role` says.
pub(crate) fn this_binary(role: &str, file: &Path, count: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "in_another_process", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(FILE, file).env(COUNT, count.to_string());
    command
}

/// A document whose second key repeats the first in another form: a mixture of two saves would show.
pub(crate) fn text_with(batch_size: usize) -> String {
    format!(
        "schema_version = 3\n[workload]\nbatch_size = {batch_size}\n# a comment of some length, so that half of it is a lot\nmax_file_size = {}\n",
        1024 + batch_size
    )
}

pub(crate) const SETTLE: Duration = Duration::from_millis(25);

pub(crate) fn options() -> LiveOptions {
    let mut options = LiveOptions::default();
    options.settle = SETTLE;
    options.patience = Duration::from_secs(10);
    // Long, so that it is the events that are tested.
    options.poll = Duration::from_secs(10);
    options
}

pub(crate) fn live(path: &Path) -> Live {
    Live::start_with(Sources::new().file(path), options()).unwrap()
}

/// What came of the saves so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) saves: u64,
    pub(crate) missed: u64,
    pub(crate) partial: u64,
    pub(crate) surplus: u64,
    /// Saves that this machine interrupted for longer than a file has to stand still: nothing is promised of them.
    pub(crate) disturbed: u64,
    waits: Vec<Duration>,
}

impl Tally {
    /// Saves `batch_size` by `save` and waits for the one generation that it must become.
    pub(crate) fn save(&mut self, live: &Live, path: &Path, save: Save, batch_size: usize) {
        let before = live.load().generation;
        let began = Instant::now();
        let unfinished = save(path, &text_with(batch_size));
        self.saves += 1;
        if unfinished > SETTLE / 2 {
            self.disturbed += 1;
            while live.load().loaded.value.workload.batch_size as usize != batch_size {
                live.check_now();
            }
            while live.reloads().try_recv().is_ok() {}
            return;
        }
        match live.reloads().recv_timeout(Duration::from_secs(30)) {
            Ok(Reload::Accepted { generation, .. }) => {
                self.surplus += generation - before - 1;
                self.waits.push(began.elapsed());
            }
            Ok(_) => self.partial += 1,
            Err(_) => self.missed += 1,
        }
        let snapshot = live.load();
        let workload = &snapshot.loaded.value.workload;
        let whole = workload.max_file_size.bytes() == 1024 + u64::from(workload.batch_size);
        self.partial += u64::from(!whole || workload.batch_size as usize != batch_size);
    }

    /// At the end: events that no save was the cause of.
    pub(crate) fn close(&mut self, live: &Live) {
        live.check_now();
        while live.reloads().try_recv().is_ok() {
            self.surplus += 1;
        }
    }

    pub(crate) fn figure(&self) -> String {
        let Self { missed, partial, surplus, disturbed, .. } = self;
        let p99 = p99(self.waits.clone()).as_secs_f64() * 1e3;
        let disturbed = match disturbed {
            0 => String::new(),
            count => format!(" ({count} interrupted by the machine, not counted)"),
        };
        format!(
            "{missed} missed, {partial} partial, {surplus} surplus generations; p99 {p99:.0} ms{disturbed}"
        )
    }

    pub(crate) fn assert_clean(&self) {
        assert_eq!((self.missed, self.partial, self.surplus), (0, 0, 0), "{self:?}");
    }
}

/// The 99th percentile.
pub(crate) fn p99(mut waits: Vec<Duration>) -> Duration {
    waits.sort();
    waits
        .get((waits.len() * 99 / 100).min(waits.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// A way to save a file. The answer is how long the file was neither the old one nor the new one.
pub(crate) type Save = fn(&Path, &str) -> Duration;

pub(crate) fn rename_over(path: &Path, text: &str) -> Duration {
    let temp = path.with_extension("new");
    std::fs::write(&temp, text).unwrap();
    std::fs::rename(temp, path).unwrap();
    Duration::ZERO
}

pub(crate) const PATTERNS: [(&str, Save); 6] = [
    ("rename over", rename_over),
    ("truncate and write", |path, text| {
        let began = Instant::now();
        std::fs::write(path, text).unwrap();
        began.elapsed()
    }),
    ("move away and write (vim's backup)", |path, text| {
        let began = Instant::now();
        std::fs::rename(path, path.with_extension("toml~")).unwrap();
        std::fs::write(path, text).unwrap();
        began.elapsed()
    }),
    ("two writes with a pause", |path, text| {
        // At the end of a line, where a half file is a valid one.
        in_two(path, text, text.find("# a").unwrap())
    }),
    ("remove and create", |path, text| {
        let began = Instant::now();
        std::fs::remove_file(path).unwrap();
        std::thread::sleep(PAUSE);
        std::fs::write(path, text).unwrap();
        began.elapsed()
    }),
    ("overwrite in place", |path, text| {
        let began = Instant::now();
        let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.set_len(text.len() as u64).unwrap();
        began.elapsed()
    }),
];

/// What an editor may take between two writes.
const PAUSE: Duration = Duration::from_millis(5);

/// The first `half` bytes, a pause, the rest.
pub(crate) fn in_two(path: &Path, text: &str, half: usize) -> Duration {
    let began = Instant::now();
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&text.as_bytes()[..half]).unwrap();
    std::thread::sleep(PAUSE);
    file.write_all(&text.as_bytes()[half..]).unwrap();
    began.elapsed()
}
