//! What a program cost, as the kernel accounted it.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// How often the peak is looked at. `VmHWM` only rises, so what is missed is what grew since the last look.
const LOOK: Duration = Duration::from_millis(20);

/// The cost of one run of one program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// User and system time of the program and of every child it waited for.
    pub(crate) cpu_seconds: f64,
    /// Peak resident memory of the program itself, without its children.
    pub(crate) peak_bytes: u64,
}

/// Runs a program to its end.
///
/// The peak is `VmHWM` of the running program and not `ru_maxrss`: that figure is the larger of the program's and its children's, and
/// also starts from the peak of whoever started it. Only one program may be metered at a time, since children's time is one sum.
pub(crate) fn run(command: &mut Command, at_most: Duration) -> anyhow::Result<Cost> {
    let name = command.get_program().to_string_lossy().into_owned();
    let before = children_seconds()?;
    let mut child = command.spawn().with_context(|| format!("failed to start `{name}`"))?;
    let started = Instant::now();
    let mut peak_bytes = 0;
    let status = loop {
        // Before the exec the child still has our memory: a first look that early would show our peak, not its own.
        std::thread::sleep(LOOK);
        peak_bytes = peak(child.id()).unwrap_or(0).max(peak_bytes);
        if let Some(status) =
            child.try_wait().with_context(|| format!("failed to wait for `{name}`"))?
        {
            break status;
        }
        if started.elapsed() > at_most {
            child
                .kill()
                .and_then(|()| child.wait())
                .with_context(|| format!("failed to end `{name}`"))?;
            bail!("`{name}` did not end within {} s", at_most.as_secs());
        }
    };
    if !status.success() {
        bail!("`{name}` ended with {status}");
    }
    Ok(Cost { cpu_seconds: children_seconds()? - before, peak_bytes })
}

/// Processor time of all children that were waited for, to the microsecond.
pub(super) fn children_seconds() -> anyhow::Result<f64> {
    let usage =
        getrusage(UsageWho::RUSAGE_CHILDREN).context("failed to read the usage of children")?;
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(microseconds as f64 / 1e6)
}

/// Peak resident memory of a running program, in bytes.
pub(super) fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    #[test]
    fn a_program_that_fails_is_not_measured() {
        assert!(run(Command::new("sh").args(["-c", "exit 3"]), SOON).is_err());
    }

    #[test]
    fn work_costs_processor_time_and_memory() {
        let mut work = Command::new("sh");
        work.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done"]);
        let cost = run(&mut work, SOON).unwrap();
        assert!(cost.cpu_seconds > 0.0 && cost.peak_bytes > 100_000, "{cost:?}");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let error = run(Command::new("sleep").arg("600"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }
}
