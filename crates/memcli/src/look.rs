//! A look at one target: what `status` and the line of `memcli` alone show.

use std::thread;
use std::time::{Duration, Instant};

use memleak::Verdict;
use mempressure::Status;
use memtrack::error::SourceError;
use memtrack::source::{LinuxSource, Source, Target as Watched};
use memtrack::{Reading, Sample, TrackConfig};

use crate::exit::{self, Failure};
use crate::limit::{Ancestors, Limit};
use crate::live::Live;
use crate::pipeline::{Pipeline, Policies};
use crate::target::{Found, not_opened};

/// How often a target is read while its growth is watched.
const INTERVAL: Duration = Duration::from_millis(100);

/// What a look saw.
#[derive(Debug)]
pub struct Look {
    /// `worker(4321)+7`: seven more processes in its tree.
    pub label: String,
    /// What was read last.
    pub sample: Sample,
    /// The level and what decided it.
    pub status: Status,
    /// The nearest limit.
    pub limit: Reading<Limit>,
    /// Whether it grows, when it was watched for a while.
    pub verdict: Option<Verdict>,
}

impl Look {
    /// The size that stands for the target, with its name.
    ///
    /// # Errors
    /// Why it could not be read.
    pub fn size(&self) -> Reading<(u64, &'static str)> {
        size(&self.sample)
    }
}

/// The size that stands for what a sample is of: PSS where it was read, since over a tree it alone counts shared pages
/// once; else RSS, the working set of a cgroup, or what the machine has not available.
///
/// # Errors
/// Why it could not be read.
pub fn size(sample: &Sample) -> Reading<(u64, &'static str)> {
    let process = &sample.process;
    if process.rss != Err(memtrack::Absent::NotRead) {
        return process.pss.map(|pss| (pss, "PSS")).or(process.rss.map(|rss| (rss, "RSS")));
    }
    match sample.cgroup.working_set() {
        Err(memtrack::Absent::NotRead) => {
            let used = sample.system.total?.saturating_sub(sample.system.available?);
            Ok((used, "used"))
        }
        working_set => Ok((working_set?, "working set")),
    }
}

/// Looks at several targets: once, or again and again for `duration`, all on one thread.
///
/// A target that was not found stays what it is; others fail when they cannot be opened or end before the first reading.
pub fn look(
    targets: Vec<Result<Found, Failure>>,
    duration: Option<Duration>,
) -> Vec<Result<Look, Failure>> {
    let mut open: Vec<_> =
        targets.into_iter().map(|found| found.and_then(Watch::open)).collect();
    let started = Instant::now();
    let mut ticks = 0;
    loop {
        for watch in open.iter_mut().flatten() {
            watch.read();
        }
        ticks += 1;
        let next = INTERVAL.saturating_mul(ticks);
        if duration.is_none_or(|duration| next > duration) {
            break;
        }
        thread::sleep(next.saturating_sub(started.elapsed()));
    }
    open.into_iter().map(|watch| watch?.finish(duration.is_some())).collect()
}

/// One target under a look.
struct Watch {
    found: Found,
    source: LinuxSource,
    config: TrackConfig,
    pipeline: Pipeline,
    failure: Option<SourceError>,
}

impl Watch {
    fn open(found: Found) -> Result<Self, Failure> {
        let source = LinuxSource::open(&found.watched).map_err(not_opened)?;
        let live = Live::fixed(INTERVAL);
        let config = live.track.load().value.as_ref().clone();
        let policies = Policies { pressure: live.pressure, budget: live.budget, leak: live.leak };
        let pipeline = Pipeline::new(&found.watched, policies);
        Ok(Self { found, source, config, pipeline, failure: None })
    }

    fn read(&mut self) {
        if self.failure == Some(SourceError::Ended) {
            return;
        }
        match self.source.read(&self.config) {
            Ok(sample) => self.pipeline.push(&sample, |_| {}),
            Err(failure) => self.failure = Some(failure),
        }
    }

    fn finish(mut self, watched: bool) -> Result<Look, Failure> {
        let Some(sample) = self.pipeline.latest().copied() else {
            let failure = Failure::new(exit::NO_INPUT, format!("`{}` cannot be read", self.found.label));
            return Err(match self.failure {
                Some(why) => failure.because(why),
                None => failure,
            });
        };
        let verdict = watched.then(|| {
            self.pipeline.conclude(|_| {});
            self.pipeline.verdict()
        });
        Ok(Look {
            label: label(&self.found, &sample),
            sample,
            status: self.pipeline.pressure(),
            limit: Ancestors::of(&self.found.watched).nearest(&sample),
            verdict,
        })
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
    use memtrack::{Absent, Stamp};

    #[test]
    fn every_kind_of_target_has_a_size_with_its_name() {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
        assert_eq!(size(&sample), Err(Absent::NotRead));
        (sample.system.total, sample.system.available) = (Ok(100), Ok(30));
        assert_eq!(size(&sample), Ok((70, "used")));
        sample.cgroup.usage = Ok(9);
        assert_eq!(size(&sample), Ok((9, "working set")));
        sample.process.rss = Ok(5);
        sample.process.pss = Err(Absent::Denied);
        assert_eq!(size(&sample), Ok((5, "RSS")));
        sample.process.pss = Ok(3);
        assert_eq!(size(&sample), Ok((3, "PSS")));
        sample.process.rss = Err(Absent::Malformed);
        sample.process.pss = Err(Absent::Malformed);
        assert_eq!(size(&sample), Err(Absent::Malformed), "never that of something else");
    }

    #[test]
    fn several_targets_are_looked_at_together_and_fail_apart() {
        let found = |target: Target| target.find();
        let nowhere = Found {
            watched: Watched::Cgroup("/no/such/cgroup/anywhere".into()),
            label: "cgroup /no/such/cgroup/anywhere".into(),
        };
        let looks = look(vec![found(Target::Own), Ok(nowhere), found(Target::System)], None);
        let own = looks[0].as_ref().unwrap();
        assert!(own.size().is_ok_and(|(bytes, _)| bytes > 0));
        assert!(own.verdict.is_none());
        assert_eq!(looks[1].as_ref().unwrap_err().code, exit::NO_INPUT);
        assert_eq!(looks[2].as_ref().unwrap().size().unwrap().1, "used");
    }
}
