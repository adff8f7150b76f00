//! A cgroup of this machine with a limit of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Made for a test below the own cgroup, and removed after it with all that runs in it.
pub(crate) struct RealCgroup {
    pub(crate) directory: PathBuf,
    /// As `/proc/PID/cgroup` has it.
    pub(crate) name: String,
    children: Vec<Child>,
}

impl RealCgroup {
    /// Where this process may make one; tells why not otherwise.
    pub(crate) fn new(purpose: &str, limit: u64) -> Option<Self> {
        let own = memtrack::cgroup::Hierarchy::open(Path::new("/"), "self").ok();
        let Some(own) = own.filter(|own| own.directory().join("memory.limit_in_bytes").exists())
        else {
            eprintln!("skipped: no cgroup v1 memory controller here");
            return None;
        };
        let name = format!("memtrack-{purpose}-{}", std::process::id());
        let directory = own.directory().join(&name);
        if let Err(error) = fs::create_dir(&directory) {
            eprintln!("skipped: no cgroup may be made here: {error}");
            return None;
        }
        fs::write(directory.join("memory.limit_in_bytes"), limit.to_string()).unwrap();
        let path = own.path(0).unwrap().trim_end_matches('/').to_owned();
        Some(Self { directory, name: format!("{path}/{name}"), children: Vec::new() })
    }

    /// Runs `command` in it; gives its pid.
    pub(crate) fn run(&mut self, command: &mut Command) -> u32 {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        self.children.push(child);
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).unwrap();
        pid
    }

    /// Ends all that runs in it, and what that has started meanwhile.
    fn clear(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let left = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines() {
            let _ = Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for RealCgroup {
    fn drop(&mut self) {
        self.clear();
        // A cgroup is busy for a moment after its last process has ended.
        while fs::remove_dir(&self.directory).is_err_and(|error| error.raw_os_error() == Some(16)) {
            std::thread::yield_now();
        }
    }
}
