//! What works on this machine, what does not, and what to do about it: one row each.

use std::fs::{self, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use memcfg::document::{self, Places};
use memtrack::cgroup::Hierarchy;
use memtrack::pss::{PSS_LONGEST, PSS_SHARE};
use memtrack::source::{LinuxSource, Source, Target};
use memtrack::{Absent, Reading, Sample, Size, TrackConfig};
use serde::Serialize;

use crate::limit::{Ancestors, Owner};
use crate::sys;
use crate::target::{self, MOUNT_PROC};

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It works.
    Yes,
    /// It works in part, or there is something to know.
    Partly,
    /// It does not work.
    No,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Row {
    /// What was looked at.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub says: String,
    /// What to do about it; always there when the state is [`State::No`].
    pub remedy: Option<String>,
}

impl Row {
    fn yes(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, state: State::Yes, says: says.into(), remedy: None }
    }

    fn partly(name: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Partly, says: says.into(), remedy: Some(remedy.into()) }
    }

    fn no(name: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::No, says: says.into(), remedy: Some(remedy.into()) }
    }
}

/// Looks at everything. `explicit` is the configuration file that was asked for in place of those in `places`, if any.
#[must_use]
pub fn examine(places: &Places, explicit: Option<&Path>) -> Vec<Row> {
    let sample = own_sample();
    let mut rows = vec![kernel(), processes()];
    rows.extend(cgroup(sample.as_ref().ok()));
    rows.push(psi_averages(sample.as_ref().ok()));
    rows.push(psi_triggers(Path::new("/proc/pressure/memory")));
    rows.push(pss(sample.as_ref().ok()));
    rows.push(others_pss());
    rows.push(allocator());
    rows.push(cost());
    rows.extend(config(places, explicit));
    rows
}

fn own_sample() -> Result<Sample, String> {
    let mut source = LinuxSource::open(&Target::Own).map_err(|error| error.to_string())?;
    source.read(&TrackConfig::default()).map_err(|error| error.to_string())
}

fn kernel() -> Row {
    const NAME: &str = "kernel";
    let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") else {
        return Row::no(NAME, "`/proc` cannot be read", "mount it: mount -t proc proc /proc");
    };
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let says = format!("Linux {release}");
    if version >= (4, 20) {
        return Row::yes(NAME, says);
    }
    let missing = match version {
        (4, 14..) => "pressure stall information needs 4.20",
        _ => "PSS of a whole process needs 4.14, pressure stall information 4.20",
    };
    Row::partly(NAME, format!("{says}; {missing}"), "the rest works; a newer kernel gives it all")
}

/// Whether processes of other users can be seen at all: `hidepid` hides them, and containers show only their own.
fn processes() -> Row {
    const NAME: &str = "processes";
    let own = target::own().map(|own| own.pid);
    match fs::read("/proc/1/status") {
        _ if own.is_err() => Row::no(NAME, "`/proc` does not show this process", MOUNT_PROC),
        _ if own.is_ok_and(|own| own != std::process::id()) => Row::partly(
            NAME,
            "`/proc` is that of another PID namespace: pids are those of there, and `run` can follow no command",
            MOUNT_PROC,
        ),
        Ok(_) => Row::yes(NAME, "sizes of every process can be read"),
        Err(_) => Row::partly(
            NAME,
            "only own processes can be read (`hidepid`)",
            "sudo, or join the group that the `gid=` option of the proc mount names",
        ),
    }
}

fn cgroup(sample: Option<&Sample>) -> Vec<Row> {
    const MODE: &str = "cgroup";
    const LIMIT: &str = "limit";
    let hierarchy = match Hierarchy::open(Path::new("/"), "self") {
        Ok(hierarchy) => hierarchy,
        Err(why) => {
            let remedy = "mount the cgroup file system with the memory controller; without it the \
                          limit is the machine's memory";
            return vec![Row::no(MODE, format!("no memory cgroup: {why}"), remedy)];
        }
    };
    let directory = hierarchy.directory();
    let version = if directory.join("memory.usage_in_bytes").exists() { "v1" } else { "v2" };
    let own = hierarchy.path(0).unwrap_or("/");
    let mode = Row::yes(MODE, format!("{version}, own cgroup {own} at {}", directory.display()));
    vec![mode, limit(LIMIT, sample)]
}

fn limit(name: &'static str, sample: Option<&Sample>) -> Row {
    let unknown =
        |why: Absent| Row::no(name, format!("unknown: {why}"), "make `/proc/meminfo` readable");
    let Some(sample) = sample else { return unknown(Absent::NotRead) };
    let limit = match Ancestors::of(&Target::Own).nearest(sample) {
        Ok(limit) => limit,
        Err(why) => return unknown(why),
    };
    let of_cgroup = match sample.cgroup.limit {
        Ok(bytes) => format!("a cgroup sets {}", Size(bytes)),
        Err(Absent::Unlimited) => "no cgroup sets one".to_owned(),
        Err(why) => format!("that of the cgroup cannot be read: {why}"),
    };
    let why = match limit.owner {
        Owner::Machine | Owner::Budget => format!("all of the machine; {of_cgroup}"),
        Owner::Cgroup(_) => {
            let above = match sample.cgroup.depth {
                Ok(0) => "own cgroup".to_owned(),
                Ok(depth) => format!("{depth} above the own cgroup"),
                Err(why) => why.to_string(),
            };
            format!("{}, {above}, is the fullest under a limit", limit.owner)
        }
    };
    Row::yes(name, format!("{}, {:.0} % used: {why}", Size(limit.bytes), limit.ratio() * 100.0))
}

const PSI_REMEDY: &str =
    "a kernel from 4.20 with CONFIG_PSI, booted with psi=1; in a container, one that shows it";

fn psi_averages(sample: Option<&Sample>) -> Row {
    const NAME: &str = "PSI averages";
    let avg10: Reading<f64> = sample.map_or(Err(Absent::NotRead), |sample| sample.psi.some.avg10);
    match avg10 {
        Ok(share) => {
            Row::yes(NAME, format!("tasks waited for memory {:.1} % of 10 s", share * 100.0))
        }
        Err(why) => Row::no(NAME, why.to_string(), PSI_REMEDY),
    }
}

/// A trigger wakes whoever waits for it, so that a stall is heard between two samples.
fn psi_triggers(file: &Path) -> Row {
    const NAME: &str = "PSI triggers";
    // 150 ms of stall in 2 s: below windows that are multiples of 2 s, only privileged programs may ask for one.
    let trigger = || {
        OpenOptions::new().read(true).write(true).open(file)?.write_all(b"some 150000 2000000\0")
    };
    match trigger() {
        Ok(()) => Row::yes(NAME, "can be set"),
        Err(error) if !file.exists() => Row::no(NAME, error.to_string(), PSI_REMEDY),
        Err(error) => Row::no(
            NAME,
            error.to_string(),
            "root or CAP_SYS_RESOURCE, or a kernel from 6.5; until then stalls are seen with the next sample",
        ),
    }
}

/// What one reading of `smaps_rollup` takes for each MiB, measured on memory of our own.
fn pss(sample: Option<&Sample>) -> Row {
    const NAME: &str = "PSS";
    const PROBE: u64 = 16 << 20;
    let room = sample.and_then(|sample| {
        let machine = sample.system.available.ok()?;
        Some(sample.cgroup.headroom.unwrap_or(machine).min(machine))
    });
    // A doctor must not be what fills the last of the memory.
    let probe = if room.is_some_and(|room| room > PROBE * 8) { PROBE } else { 0 };
    let memory = black_box(vec![0x5a_u8; usize::try_from(probe).unwrap_or(0)]);
    // Processor time: that others keep the processor busy makes no reading dearer.
    let read = || {
        let before = sys::cpu_time();
        fs::read("/proc/self/smaps_rollup").map(|_| sys::cpu_time().saturating_sub(before))
    };
    let fastest = [read(), read(), read()].into_iter().reduce(|a, b| match (a, b) {
        (Ok(a), Ok(b)) => Ok(a.min(b)),
        (Err(error), _) | (_, Err(error)) => Err(error),
    });
    drop(black_box(memory));
    match fastest {
        Some(Ok(time)) => {
            let bytes = sample.and_then(|sample| sample.process.rss.ok()).unwrap_or(0) + probe;
            Row::yes(NAME, format!("can be read; {}", pss_cost(time, bytes)))
        }
        Some(Err(error)) => Row::no(
            NAME,
            error.to_string(),
            "a kernel from 4.14; until then RSS, which counts shared pages once for each process",
        ),
        None => Row::no(NAME, "not tried", "RSS is shown in its place"),
    }
}

fn pss_cost(time: Duration, bytes: u64) -> String {
    let per_gib = time.as_secs_f64() / (bytes.max(1) as f64) * (1u64 << 30) as f64;
    let every = per_gib / PSS_SHARE;
    let most = PSS_LONGEST.as_secs_f64() / per_gib * (1u64 << 30) as f64;
    format!(
        "one reading takes about {:.1} ms for each GiB: a tree of 1 GiB is read every {every:.0} s, \
         one above {} never, and scaled from RSS in between",
        per_gib * 1000.0,
        Size(most as u64)
    )
}

fn others_pss() -> Row {
    const NAME: &str = "PSS of others";
    match fs::read("/proc/1/smaps_rollup") {
        Ok(_) => Row::yes(NAME, "can be read, even that of pid 1"),
        Err(_) => Row::partly(
            NAME,
            "that of pid 1 cannot be read, nor that of others out of reach; there RSS is shown",
            "sudo, or CAP_SYS_PTRACE",
        ),
    }
}

/// What only the program itself can tell.
fn allocator() -> Row {
    Row::partly(
        "allocations",
        "cannot be counted from outside a program",
        "a Rust service counts its own with memtrack inside; memcli shows sizes, not call sites",
    )
}

fn cost() -> Row {
    const NAME: &str = "cost";
    const READS: u32 = 20;
    let measure = || -> Option<Duration> {
        let mut source = LinuxSource::open(&Target::Own).ok()?;
        let config = TrackConfig::default();
        source.read(&config).ok()?;
        let before = sys::cpu_time();
        for _ in 0..READS {
            source.read(&config).ok()?;
        }
        Some(sys::cpu_time().saturating_sub(before) / READS)
    };
    match measure() {
        Some(each) => {
            let share = each.as_secs_f64() * 10.0 * 100.0;
            Row::yes(
                NAME,
                format!("one sample takes {each:.0?}: {share:.2} % of a core at ten a second"),
            )
        }
        None => Row::no(NAME, "no sample could be taken", "see the rows above"),
    }
}

/// A row for each place that configuration may come from, and one for each problem in it.
fn config(places: &Places, explicit: Option<&Path>) -> Vec<Row> {
    const NAME: &str = "config";
    let sources = places.sources(explicit);
    let there = sources.read().map(|(inputs, _)| inputs.texts).unwrap_or_default();
    let is_read = |path: &Path| Row::yes(NAME, format!("{} is read", path.display()));
    let absent = sources.files.iter().map(|file| &file.path).filter(|path| !path.is_file());
    let loaded = document::load(&sources);
    // What is to be said of a file says that it was read.
    let problems = match &loaded {
        Ok(loaded) => &loaded.warnings,
        Err(problems) => problems,
    };
    let blamed = |path: &Path| {
        let mut labels = problems.iter().flat_map(|problem| &problem.labels);
        labels.any(|label| Path::new(&*label.origin.source.name) == path)
    };
    let good = there.iter().map(|text| text.path.as_path()).filter(|path| !blamed(path));
    let mut rows: Vec<Row> = good.map(is_read).collect();
    if rows.is_empty() && loaded.as_ref().is_ok_and(|loaded| loaded.warnings.is_empty()) {
        // Nothing is wrong with that, and a file that is not there is no success either.
        let absent: Vec<_> = absent.map(|path| path.display().to_string()).collect();
        let says = format!("no file is needed; there is none at {}", absent.join(", "));
        rows.push(Row::yes(NAME, says));
    }
    for off in loaded.iter().flat_map(crate::live::off) {
        let remedy = "take the key out, or set it back: then levels and sizes are there again";
        rows.push(Row::partly(NAME, off, remedy));
    }
    let (problems, state) = match loaded {
        Ok(loaded) => (loaded.warnings, State::Partly),
        Err(problems) => (problems, State::No),
    };
    let set = sources.env.iter().filter(|(name, _)| name.contains("__")).count();
    if set > 0 {
        rows.push(Row::yes(NAME, format!("{set} values come from the environment")));
    }
    for mut problem in problems {
        let remedy =
            problem.help.take().unwrap_or_else(|| "`memcli config check` says more".into());
        // A refused document may come with warnings.
        let state = if problem.is_error() { state } else { State::Partly };
        rows.push(Row { name: NAME, state, says: problem.to_string(), remedy: Some(remedy) });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_no_has_a_remedy_and_every_row_says_something() {
        let rows = examine(&crate::live::places(), None);
        for row in &rows {
            assert!(!row.says.is_empty(), "{row:?}");
            assert!(row.state == State::Yes || row.remedy.is_some(), "{row:?}");
        }
        for name in
            ["kernel", "cgroup", "PSI averages", "PSI triggers", "PSS", "allocations", "config"]
        {
            assert!(rows.iter().any(|row| row.name == name), "{name}");
        }
    }

    #[test]
    fn a_kernel_without_pressure_information_says_what_would_help() {
        let folder = tempfile::tempdir().unwrap();
        let row = psi_triggers(&folder.path().join("none"));
        assert_eq!(row.state, State::No);
        assert!(row.remedy.unwrap().contains("psi=1"));
        let row = psi_averages(None);
        assert_eq!(row.state, State::No);
    }

    #[test]
    fn a_file_that_is_not_there_is_no_yes_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new([], folder.path());
        let rows = config(&places, None);
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert!(rows[0].says.starts_with("no file is needed; there is none at /etc/"), "{rows:?}");
        let file = folder.path().join("config.toml");
        fs::write(&file, "schema_version = 3\n").unwrap();
        let rows = config(&places, Some(&file));
        assert!(rows[0].says.ends_with("config.toml is read"), "{rows:?}");
        assert!(rows.iter().all(|row| !row.says.contains("there is none")), "{rows:?}");
    }

    #[test]
    fn a_mistake_in_a_file_is_a_row_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        fs::write(&file, "schema_version = 3\n[pressure]\nbnad = 0.1\n").unwrap();
        let places = Places::new([], folder.path());
        let rows = config(&places, Some(&file));
        let problem = rows.iter().find(|row| row.state == State::No).unwrap();
        assert!(problem.says.contains("config.toml:3:1"), "{problem:?}");
        assert!(problem.remedy.as_ref().unwrap().contains("band"), "{problem:?}");
        assert_eq!(rows.len(), 1, "nothing good is said of the file beside it: {rows:?}");
        assert!(config(&places, None).iter().all(|row| row.state != State::No));
    }

    #[test]
    fn the_cost_of_pss_is_put_in_terms_of_what_is_read_when() {
        let text = pss_cost(Duration::from_millis(1), 100 << 20);
        assert!(text.starts_with("one reading takes about 10.2 ms for each GiB"), "{text}");
        assert!(text.contains("every 10 s") && text.contains("above 9.8 GiB"), "{text}");
    }
}
