//! What a watch has seen so far: counts, peaks, means.

use std::time::Duration;

use memleak::Severity;
use mempressure::Level;
use memtrack::{Sample, Stamp};

use crate::size::several;
use crate::weight::Mean;

/// What has been seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Samples looked at.
    pub samples: u64,
    /// The first and the last stamp.
    pub span: Option<(Stamp, Stamp)>,
    /// The highest RSS while it was watched: of the samples, and the last `VmHWM` where that rose since the first of them.
    pub peak_rss: Option<u64>,
    /// The highest `VmHWM`, which may be from before the watch: the RSS was at no time above it.
    pub peak_ever: Option<u64>,
    /// The highest RSS of a sample: over a tree, the sum at one time.
    pub sampled_rss: Option<u64>,
    /// The highest footprint of a sample.
    pub footprint: Option<u64>,
    /// The highest PSS that was measured.
    pub pss: Option<u64>,
    /// The highest RSS while there was one process, `VmHWM` included.
    pub rss_of_one: Option<u64>,
    /// The highest PSS that was measured of several processes.
    pub pss_of_several: Option<u64>,
    /// What the PSS was estimated at, between two times at which it was measured.
    pub pss_estimates: Estimates,
    /// The same of several processes.
    pub estimates_of_several: Estimates,
    /// The highest of what is watched for growth: of a cgroup its working set, of the machine what is used.
    pub watched: Option<u64>,
    /// The least of the RSS that PSS left out, when both were measured: what is shared with others.
    pub shared: Option<u64>,
    /// The most processes at one time.
    pub processes: Option<u64>,
    /// The highest level.
    pub level: Level,
    /// The mean RSS.
    pub mean_rss: Mean,
    /// Alerts that passed the throttle.
    pub alerts: u64,
    /// The worst of them.
    pub alert: Option<Severity>,
    /// Samples with an RSS.
    pub sized: u64,
}

/// The highest PSS that was estimated. It is measured now and then, and what came and went in between is told by nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimates {
    /// The highest of those that what was measured next left standing.
    stands: Option<u64>,
    /// The highest since the last one was measured.
    since: Option<u64>,
    /// The highest RSS of the same time.
    rss: Option<u64>,
}

impl Estimates {
    fn note(&mut self, pss: u64, rss: Option<u64>) {
        self.since = self.since.max(Some(pss));
        self.rss = self.rss.max(rss);
    }

    /// An estimate takes what has become shared since the last measurement for more, and the next one shows it: no more PSS has gone
    /// since than RSS has. What ended and was freed took its RSS with it, and so stands.
    fn measured(&mut self, pss: Option<u64>, rss: Option<u64>) {
        let Some(pss) = pss else { return };
        let gone = self.rss.zip(rss).map_or(u64::MAX, |(before, now)| before.saturating_sub(now));
        let left = self.since.take().map(|since| since.min(pss.saturating_add(gone)));
        (self.stands, self.rss) = (self.stands.max(left), None);
    }

    /// The highest, in bytes; `None` when none was made.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.stands.max(self.since)
    }
}

/// The `VmHWM` of a sample. A process that is ending has no memory left: that is no peak.
pub(super) fn peak_ever(sample: &Sample) -> Option<u64> {
    sample.process.peak.ok().filter(|bytes| *bytes > 0)
}

impl Seen {
    /// What the PSS was at its highest as far as anyone can tell, in bytes: measured or estimated, and with what the kernel saw come
    /// between two samples, where `peak_rss` is the highest RSS that anyone knows of. `None` when it was never read.
    #[must_use]
    pub fn likely_pss(&self, peak_rss: Option<u64>) -> Option<u64> {
        Some(self.pss.max(self.pss_estimates.highest())?.saturating_add(self.unsampled(peak_rss)))
    }

    /// The same of several processes.
    #[must_use]
    pub fn likely_pss_of_several(&self, peak_rss: Option<u64>) -> Option<u64> {
        let known = self.pss_of_several.max(self.estimates_of_several.highest())?;
        Some(known.saturating_add(self.unsampled(peak_rss)))
    }

    /// RSS that no sample saw. What comes and goes at once is anonymous memory as good as always, which nobody shares.
    fn unsampled(&self, peak_rss: Option<u64>) -> u64 {
        peak_rss.zip(self.sampled_rss).map_or(0, |(peak, seen)| peak.saturating_sub(seen))
    }

    /// Takes note of a sample, of which `watched` is watched for growth. A `VmHWM` up to `before` is from before the watch.
    pub(super) fn note(&mut self, sample: &Sample, watched: Option<u64>, before: u64) {
        let process = &sample.process;
        self.samples += 1;
        self.span = Some((self.span.map_or(sample.at, |(first, _)| first), sample.at));
        self.sampled_rss = self.sampled_rss.max(process.rss.ok());
        self.sized += u64::from(process.rss.is_ok());
        self.mean_rss.note(sample.at, process.rss.ok());
        let ever = peak_ever(sample);
        self.peak_ever = self.peak_ever.max(ever);
        let risen = ever.filter(|bytes| *bytes > before);
        self.peak_rss = self.peak_rss.max(risen).max(self.sampled_rss.filter(|bytes| *bytes > 0));
        self.footprint = self.footprint.max(process.footprint().ok());
        if !several(sample) {
            self.rss_of_one = self.rss_of_one.max(risen).max(process.rss.ok());
        }
        self.watched = self.watched.max(watched);
        if process.pss_age == Ok(Duration::ZERO) {
            let pss = process.pss.ok();
            self.pss = self.pss.max(pss);
            if several(sample) {
                self.pss_of_several = self.pss_of_several.max(pss);
            }
            for estimates in [&mut self.pss_estimates, &mut self.estimates_of_several] {
                estimates.measured(pss, process.rss.ok());
            }
            if let (Ok(rss), Some(pss)) = (process.rss, pss) {
                // The RSS is of a moment later: what came in between is no shared memory, which is of files and of shmem.
                let most = process.file.and_then(|file| Ok(file.saturating_add(process.shmem?)));
                let shared = rss.saturating_sub(pss).min(most.unwrap_or(u64::MAX));
                self.shared = Some(self.shared.map_or(shared, |least| least.min(shared)));
            }
        } else if let Ok(pss) = process.pss {
            self.pss_estimates.note(pss, process.rss.ok());
            if several(sample) {
                self.estimates_of_several.note(pss, process.rss.ok());
            }
        }
        self.processes = self.processes.max(process.processes.ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_estimate_stands_unless_what_was_measured_next_refutes_it() {
        let told = |estimated: (u64, u64), measured: (u64, u64)| {
            let mut estimates = Estimates::default();
            estimates.note(estimated.0, Some(estimated.1));
            estimates.measured(Some(measured.0), Some(measured.1));
            estimates.highest()
        };
        assert_eq!(told((300, 305), (2, 5)), Some(300), "it ended, and took its RSS with it");
        assert_eq!(told((500, 960), (390, 960)), Some(390), "it was shared");
        assert_eq!(told((500, 960), (390, 900)), Some(450), "some of it may have gone");
        assert_eq!(told((500, 960), (600, 960)), Some(500));
        let mut unread = Estimates::default();
        unread.note(7, None);
        assert_eq!(unread.highest(), Some(7));
        unread.measured(None, Some(1));
        unread.measured(Some(1), None);
        assert_eq!((unread.highest(), unread.since), (Some(7), None));
    }

    proptest! {
        /// What is mapped and freed without being shared is estimated as it is, and stays so whenever it is measured.
        #[test]
        fn what_came_and_went_is_never_told_below_what_it_was(
            sizes in proptest::collection::vec(0..1u64 << 40, 1..50), every in 1..20usize, shared in 0..1u64 << 40,
        ) {
            let (mut highest, mut estimates) = (None, Estimates::default());
            for (n, own) in sizes.into_iter().enumerate() {
                if n % every == 0 {
                    estimates.measured(Some(own), Some(own + shared));
                } else {
                    highest = highest.max(Some(own));
                    estimates.note(own, Some(own + shared));
                }
                prop_assert_eq!(estimates.highest(), highest);
            }
        }
    }
}
