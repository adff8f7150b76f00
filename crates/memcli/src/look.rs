//! A look at one target: what `status` and the line of `memcli` alone show.

use std::thread;
use std::time::{Duration, Instant};

use memleak::Verdict;
use mempressure::Status;
use memtrack::error::SourceError;
use memtrack::source::{LinuxMachine, LinuxTarget, Target as Watched, Tick};
use memtrack::{Absent, Reading, Sample, TrackConfig};

use crate::exit::{self, Failure};
use crate::limit::{Limit, nearest};
use crate::live::Still;
use crate::pipeline::Pipeline;
use crate::size::several;
use crate::target::{Found, not_opened};

/// How often a target is read while its growth is watched.
const INTERVAL: Duration = Duration::from_millis(100);
/// The same for each target where there are many: a thousand are read once a second.
const INTERVAL_EACH: Duration = Duration::from_millis(1);
/// How often to ask for the PSS of a tree at first and at last, and how long for at most. 10 ms cover about 1 GiB, but on a busy
/// machine the thread that reads waits for its turn.
const PSS_PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(25));
const PSS_PATIENCE: Duration = Duration::from_secs(2);
/// Trees beyond these are not waited for that long: their PSS is more than one look may cost, and does not come.
const PSS_TREES: usize = 10;
const PSS_PATIENCE_MANY: Duration = Duration::from_millis(100);

/// What a look saw.
#[derive(Debug)]
pub struct Look {
    /// `worker(4321)+7`: seven more processes in its tree.
    pub label: String,
    /// What was watched.
    pub watched: Watched,
    /// What was read last.
    pub sample: Sample,
    /// The level and what decided it.
    pub status: Status,
    /// The nearest limit.
    pub limit: Reading<Limit>,
    /// Which number is watched for growth: `anon + swap`.
    pub series: &'static str,
    /// Whether it grows, when it was watched for a while.
    pub verdict: Option<Verdict>,
}

impl Look {
    /// The size that stands for the target, with its name.
    ///
    /// # Errors
    /// Why it could not be read.
    pub fn size(&self) -> Reading<(u64, &'static str)> {
        crate::size::size(&self.watched, &self.sample)
    }
}

/// Looks at several targets: once, or again and again for `duration`, all on one thread.
///
/// A target that was not found stays what it is; others fail when they cannot be opened or end before the first reading.
pub fn look(
    targets: Vec<Result<Found, Failure>>,
    duration: Option<Duration>,
    document: &Still,
) -> Vec<Result<Look, Failure>> {
    let mut machine = match LinuxMachine::open() {
        Ok(machine) => machine,
        Err(error) => {
            return targets
                .into_iter()
                .map(|found| found.and(Err(not_opened(error.clone()))))
                .collect();
        }
    };
    let mut open: Vec<_> =
        targets.into_iter().map(|found| Watch::open(&mut machine, found?, document)).collect();
    let interval = interval(open.len());
    let started = Instant::now();
    let mut ticks = 0;
    loop {
        let mut tick = machine.tick();
        open.iter_mut().flatten().for_each(|watch| watch.read(&mut tick));
        ticks += 1;
        let next = interval.saturating_mul(ticks);
        if duration.is_none_or(|duration| next > duration) || open.iter().all(has_ended) {
            break;
        }
        thread::sleep(next.saturating_sub(started.elapsed()));
    }
    wait_for_pss(&mut machine, &mut open);
    open.into_iter().map(|watch| watch?.finish(duration.is_some())).collect()
}

fn has_ended(watch: &Result<Watch, Failure>) -> bool {
    watch.as_ref().map_or(true, |watch| watch.failure == Some(SourceError::Ended))
}

/// The time between two readings of each of so many targets.
fn interval(targets: usize) -> Duration {
    INTERVAL.max(INTERVAL_EACH.saturating_mul(u32::try_from(targets).unwrap_or(u32::MAX)))
}

/// Gives the PSS of a tree a moment: memtrack asks for it with one reading and has it with a later one.
fn wait_for_pss(machine: &mut LinuxMachine, open: &mut [Result<Watch, Failure>]) {
    let trees = open.iter().flatten().filter(|watch| watch.waits_for_pss()).count();
    let patience = if trees <= PSS_TREES { PSS_PATIENCE } else { PSS_PATIENCE_MANY };
    let (mut pause, longest) = PSS_PAUSE;
    let started = Instant::now();
    while started.elapsed() < patience {
        let mut waiting =
            open.iter_mut().flatten().filter(|watch| watch.waits_for_pss()).peekable();
        if waiting.peek().is_none() {
            return;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(longest);
        let mut tick = machine.tick();
        waiting.for_each(|watch| watch.read(&mut tick));
    }
}

/// One target under a look.
struct Watch {
    found: Found,
    target: LinuxTarget,
    config: TrackConfig,
    pipeline: Pipeline,
    failure: Option<SourceError>,
}

impl Watch {
    fn open(machine: &mut LinuxMachine, found: Found, document: &Still) -> Result<Self, Failure> {
        let target = machine.target(&found.watched).map_err(not_opened)?;
        let config = document.track().clone();
        let pipeline = Pipeline::new(&found.watched, document.policies());
        Ok(Self { found, target, config, pipeline, failure: None })
    }

    fn waits_for_pss(&self) -> bool {
        self.pipeline.latest().is_some_and(|sample| {
            several(sample)
                && matches!(sample.process.pss, Err(Absent::NotRead | Absent::Pending))
                && matches!(self.found.watched, Watched::Tree(_))
        })
    }

    fn read(&mut self, tick: &mut Tick<'_>) {
        if self.failure == Some(SourceError::Ended) {
            return;
        }
        match self.target.read(tick, &self.config) {
            Ok(sample) => {
                self.failure = None;
                self.pipeline.push(&sample, |_| {});
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// What it is like now: nothing, when it has ended or could not be read at last, whatever was seen before.
    fn finish(mut self, watched: bool) -> Result<Look, Failure> {
        let failure = |what| Failure::new(exit::NO_INPUT, format!("`{}` {what}", self.found.label));
        let sample = match (self.pipeline.latest().copied(), self.failure) {
            (Some(sample), None) => sample,
            (Some(_), Some(SourceError::Ended)) => {
                return Err(failure("has ended while it was watched"));
            }
            (_, Some(why)) => return Err(failure("cannot be read").because(why)),
            (None, None) => return Err(failure("cannot be read")),
        };
        let verdict = watched.then(|| {
            self.pipeline.conclude(|_| {});
            self.pipeline.verdict()
        });
        let nearest = nearest(&sample, |depth| Some(self.target.cgroup_path(depth)?.to_owned()));
        Ok(Look {
            label: label(&self.found, &sample),
            watched: self.found.watched.clone(),
            sample,
            status: self.pipeline.pressure(),
            limit: self.pipeline.limit(nearest),
            series: self.pipeline.series(),
            verdict,
        })
    }
}

/// Why there is no PSS of several processes, in words.
#[must_use]
pub fn pss_missing(why: Absent) -> &'static str {
    match why {
        Absent::NotRead | Absent::Pending => "PSS was not read in time",
        Absent::Denied => "PSS may not be read: permission denied",
        Absent::TooDear => "PSS is too dear to read: so large a target takes the kernel too long",
        Absent::Unsupported => "PSS is not available on this system",
        Absent::Gone => "a process ended before its PSS was read",
        _ => "PSS could not be read",
    }
}

/// `worker(4321)+7`.
#[must_use]
pub fn label(found: &Found, sample: &Sample) -> String {
    let more = match found.watched {
        Watched::Tree(_) => sample.process.processes.map_or(0, |count| count.saturating_sub(1)),
        _ => 0,
    };
    if more > 0 { format!("{}+{more}", found.label) } else { found.label.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    #[test]
    fn every_reason_for_no_pss_is_told_in_words() {
        assert!(pss_missing(Absent::Denied).contains("permission denied"));
        for why in [Absent::NotRead, Absent::Pending, Absent::TooDear, Absent::Gone, Absent::Malformed] {
            assert!(pss_missing(why).contains("PSS"), "{why}");
        }
    }

    #[test]
    fn a_hundred_targets_are_read_as_often_as_one_and_a_thousand_once_a_second() {
        assert_eq!([1, 100].map(interval), [INTERVAL; 2]);
        assert_eq!(interval(1000), Duration::from_secs(1));
        assert!(interval(usize::MAX) > Duration::from_secs(3600));
    }

    #[test]
    fn several_targets_are_looked_at_together_and_fail_apart() {
        let found = |target: Target| target.find();
        let nowhere = Found {
            watched: Watched::Cgroup("/no/such/cgroup/anywhere".into()),
            label: "cgroup /no/such/cgroup/anywhere".into(),
        };
        let looks = look(
            vec![found(Target::Own), Ok(nowhere), found(Target::System)],
            None,
            &Still::load(None).unwrap(),
        );
        let own = looks[0].as_ref().unwrap();
        assert!(own.size().is_ok_and(|(bytes, _)| bytes > 0));
        assert!(own.verdict.is_none());
        assert_eq!(looks[1].as_ref().unwrap_err().code, exit::NO_INPUT);
        assert_eq!(looks[2].as_ref().unwrap().size().unwrap().1, "used");
    }
}
