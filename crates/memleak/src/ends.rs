//! What the samples of a target tell of the ends of its processes.

use memtrack::Sample;

/// A peak below this share of the one before is another process's: the kernel counts resident pages on each processor, and
/// settles the sum now and then.
const OTHER: f64 = 0.9;

/// Whether processes of a target have ended, from one sample to the next: for [`Detector::process_ended`](crate::Detector::process_ended).
///
/// A process keeps its highest RSS ([`peak`](memtrack::ProcessMemory::peak)) for as long as it lives, and that of a target is the
/// highest of any one of its processes. So when it falls, the process that had held the most has ended, or has become another
/// program; while it does not, that process lives on. What a smaller process held and took with it is not told apart from memory
/// that was given back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// The last peak, and how many processes there were.
    peak: Option<u64>,
    processes: Option<u64>,
}

impl Ends {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the process that had held the most has ended since the sample before; `None` where that cannot be known: at the
    /// first sample, and without a peak, unless there is no more than one process.
    pub fn tell(&mut self, sample: &Sample) -> Option<bool> {
        let process = &sample.process;
        // A process that is ending reads as 0.
        let peak = process.peak.ok().filter(|peak| *peak > 0);
        let processes = process.processes.ok().filter(|processes| *processes > 0);
        let before = Self { peak: peak.and(self.peak), processes: processes.and(self.processes) };
        (self.peak, self.processes) = (peak.or(self.peak), processes.or(self.processes));
        match (before.peak, peak) {
            (Some(before), Some(peak)) => Some((peak as f64) < OTHER * before as f64),
            _ => (before.processes == Some(1) && processes == Some(1)).then_some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use memtrack::{Absent, Stamp};

    use super::*;

    /// What is told at each of these samples: highest RSS in MiB, where it is known, and processes.
    fn told<const N: usize>(samples: [(Option<u64>, u64); N]) -> [Option<bool>; N] {
        let mut ends = Ends::new();
        samples.map(|(peak, processes)| {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
            sample.process.peak = peak.map(|peak| peak << 20).ok_or(Absent::Unsupported);
            sample.process.processes = Ok(processes);
            ends.tell(&sample)
        })
    }

    #[test]
    fn a_process_that_keeps_its_peak_lives_and_one_whose_peak_is_gone_has_ended() {
        let samples =
            [(Some(100), 1), (Some(240), 2), (Some(240), 2), (Some(12), 2), (Some(90), 2)];
        let tells = [None, Some(false), Some(false), Some(true), Some(false)];
        assert_eq!(told(samples), tells);
    }

    #[test]
    fn an_end_shows_over_a_sample_without_processes() {
        let samples = [(Some(100), 1), (Some(0), 0), (None, 0), (Some(12), 1)];
        assert_eq!(told(samples), [None, None, None, Some(true)]);
    }

    #[test]
    fn a_peak_that_is_counted_anew_is_no_end() {
        assert_eq!(told([(Some(100), 2), (Some(98), 2)]), [None, Some(false)]);
    }

    #[test]
    fn without_a_peak_one_process_lives_and_of_more_nothing_is_known() {
        let samples = [(None, 1), (None, 1), (None, 2), (None, 2), (None, 1), (None, 1)];
        assert_eq!(told(samples), [None, Some(false), None, None, None, Some(false)]);
    }
}
