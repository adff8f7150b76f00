//! What a watch has seen so far: counts, peaks, means.

use std::time::Duration;

use memleak::Severity;
use mempressure::Level;
use memtrack::{Sample, Stamp};

use crate::size::several;

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
    /// The highest PSS that was estimated since the last one was measured.
    pub pss_estimated: Option<u64>,
    /// The highest of what is watched for growth: of a cgroup its working set, of the machine what is used.
    pub watched: Option<u64>,
    /// The least of the RSS that PSS left out, when both were measured: what is shared with others.
    pub shared: Option<u64>,
    /// The most processes at one time.
    pub processes: Option<u64>,
    /// The highest level.
    pub level: Level,
    /// The mean of the RSS over the samples, in bytes.
    pub mean_rss: Option<f64>,
    /// Alerts that passed the throttle.
    pub alerts: u64,
    /// The worst of them.
    pub alert: Option<Severity>,
    /// Samples with an RSS.
    pub sized: u64,
}

/// The `VmHWM` of a sample. A process that is ending has no memory left: that is no peak.
pub(super) fn peak_ever(sample: &Sample) -> Option<u64> {
    sample.process.peak.ok().filter(|bytes| *bytes > 0)
}

impl Seen {
    /// Takes note of a sample, of which `watched` is watched for growth. A `VmHWM` up to `before` is from before the watch.
    pub(super) fn note(&mut self, sample: &Sample, watched: Option<u64>, before: u64) {
        let process = &sample.process;
        self.samples += 1;
        self.span = Some((self.span.map_or(sample.at, |(first, _)| first), sample.at));
        self.sampled_rss = self.sampled_rss.max(process.rss.ok());
        if let Ok(rss) = process.rss {
            self.sized += 1;
            let mean = self.mean_rss.unwrap_or_default();
            self.mean_rss = Some(mean + (rss as f64 - mean) / self.sized as f64);
        }
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
            self.pss_estimated = None;
            if let (Ok(rss), Some(pss)) = (process.rss, pss) {
                // The RSS is of a moment later: what came in between is no shared memory, which is of files and of shmem.
                let most = process.file.and_then(|file| Ok(file.saturating_add(process.shmem?)));
                let shared = rss.saturating_sub(pss).min(most.unwrap_or(u64::MAX));
                self.shared = Some(self.shared.map_or(shared, |least| least.min(shared)));
            }
        } else {
            // It scales with RSS, and so takes what has become shared since for more: nobody saw it.
            self.pss_estimated = self.pss_estimated.max(process.pss.ok());
        }
        self.processes = self.processes.max(process.processes.ok());
    }
}
