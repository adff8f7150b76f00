//! A `/proc` of one process, 42, on a machine of 1 GiB, and samplers that look at it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use memtrack::processes::ProcessId;
use memtrack::sampler::{Sampler, Update};
use memtrack::source::{LinuxSource, Target};
use memtrack::{Sample, Settings, Tier, TrackConfig};

const STAT: &str = "42 (x) S 1 42 42 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 3 0 777 1000 10\n";

pub(crate) struct Fixture(tempfile::TempDir);

impl Fixture {
    pub(crate) fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(fixture.path("proc/42/task/42")).unwrap();
        fs::write(fixture.path("proc/42/stat"), STAT).unwrap();
        fixture.set_machine("MemTotal: 1048576 kB");
        fixture.set_rss("100 kB");
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// In place, since the source holds the file, and in one write of the same length each time, so that no reader
    /// finds half of it.
    fn replace(&self, name: &str, text: &str) {
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let mut file = options.open(self.path(name)).unwrap();
        std::io::Write::write_all(&mut file, format!("{text:<200}\n").as_bytes()).unwrap();
    }

    pub(crate) fn set_rss(&self, rss: &str) {
        let text = "Name:\tx\nState:\tS (sleeping)\nVmHWM:\t200 kB\nVmRSS:\tRSS\nThreads:\t1\n";
        self.replace("proc/42/status", &text.replace("RSS\nThr", &format!("{rss}\nThr")));
    }

    pub(crate) fn set_machine(&self, total: &str) {
        self.replace("proc/meminfo", &format!("{total}\nMemAvailable: 9 kB\nSwapTotal: 0 kB\n"));
    }

    pub(crate) fn sampler(&self, target: fn(ProcessId) -> Target, tier: Tier) -> Sampler {
        let id = ProcessId::read(self.0.path(), 42).unwrap();
        let source = LinuxSource::open_at(self.0.path(), &target(id)).unwrap();
        let interval = Some(Duration::from_millis(5));
        let config = TrackConfig { tier, interval, ..TrackConfig::default() };
        Sampler::new(source, Settings::fixed(config))
    }
}

pub(crate) fn next(updates: &crossbeam_channel::Receiver<Update>) -> Sample {
    loop {
        if let Update::Sample(sample) = updates.recv().unwrap() {
            return sample;
        }
    }
}
