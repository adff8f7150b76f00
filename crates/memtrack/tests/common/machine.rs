//! A machine as files, with processes in cgroups of v2.

use std::fs;
use std::path::PathBuf;

use memtrack::processes::ProcessId;
use memtrack::source::{LinuxMachine, Target};

pub(crate) struct Fixture(tempfile::TempDir);

impl Fixture {
    pub(crate) fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        fixture.write("proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 500 kB\n");
        fixture.write(
            "proc/self/mountinfo",
            "30 22 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n",
        );
        fixture.write("sys/fs/cgroup/cgroup.controllers", "memory\n");
        fixture
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn group(&self, name: &str, usage: u64, limit: u64) {
        let dir = format!("sys/fs/cgroup{name}");
        self.write(&format!("{dir}/memory.current"), &format!("{usage}\n"));
        self.write(&format!("{dir}/memory.max"), &format!("{limit}\n"));
        self.write(&format!("{dir}/memory.stat"), "inactive_file 0\n");
        self.write(&format!("{dir}/memory.events"), "high 0\nmax 1\noom 0\noom_kill 0\n");
    }

    pub(crate) fn process(&self, pid: u32, cgroup: &str) -> Target {
        let stat = format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0\n");
        self.write(&format!("proc/{pid}/stat"), &stat);
        let status = "Name:\tx\nState:\tS (sleeping)\nVmRSS:\t100 kB\nThreads:\t1\n";
        self.write(&format!("proc/{pid}/status"), status);
        self.write(&format!("proc/{pid}/cgroup"), &format!("0::{cgroup}\n"));
        Target::Process(ProcessId::read(self.0.path(), pid).unwrap())
    }

    pub(crate) fn machine(&self) -> LinuxMachine {
        LinuxMachine::open_at(self.0.path()).unwrap()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }
}
