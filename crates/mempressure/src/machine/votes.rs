//! First stage: every signal votes by its own rules, with a band of its own.

use std::time::Duration;

use memtrack::{Absent, Sample};

use super::{Machine, Rules, STALE_SAMPLES};
use crate::config::{PressureConfig, Thresholds};
use crate::level::{Level, Measure, Signal};
use crate::signal::{self, Abstains, Of, SignalStatus, Usage, Vote, banded, stall_threshold};

impl Machine {
    /// Lets every signal vote.
    pub(super) fn hear(
        &mut self,
        rules: &Rules<'_>,
        sample: &Sample,
        now: Duration,
        advanced: bool,
    ) {
        let pressure = rules.pressure;
        let mut on = [false; 5];
        for signal in &pressure.signals {
            on[*signal as usize] = pressure.enabled;
        }
        let readings = [signal::system(sample), signal::cgroup(sample), rules.budget.usage(sample)];
        let implausible = readings.contains(&Err(Absent::Implausible));
        self.status.implausible =
            self.status.implausible.saturating_add(u64::from(advanced && implausible));
        let budget = rules.budget.thresholds();
        let thresholds = [&pressure.thresholds, &pressure.thresholds, &budget];
        let mut highest = 0.0_f64;
        let mut of = Of::new(sample.cgroup.depth.ok());
        for (i, reading) in readings.into_iter().enumerate() {
            if let (Ok(usage), true) = (reading, on[i]) {
                highest = highest.max(usage.ratio());
                of.report(i, usage.limit);
            }
            let vote = reading.map(|usage| {
                let vote = ratio_vote(self.bands[i], usage, thresholds[i], pressure.band);
                self.bands[i] = vote.level;
                vote
            });
            self.settle(Signal::ALL[i], on[i], vote.map_err(Abstains::Absent), advanced);
        }
        self.hear_the_kernel(on[Signal::Cgroup as usize], pressure, sample, advanced);

        let stalled = self.stall.read(now, &sample.psi).map(|shares| {
            let band = &mut self.bands[Signal::Psi as usize];
            let vote = signal::stalled(*band, shares);
            *band = vote.level;
            // Stalls come from slow disks, too: without a second witness they are no more than a warning.
            if self.corroborated() { vote } else { capped(vote, Level::Warning) }
        });
        self.settle(
            Signal::Psi,
            on[Signal::Psi as usize],
            stalled.map_err(Abstains::Absent),
            advanced,
        );
        // A notice belongs to one sample, however often that is looked at.
        self.noticed = std::mem::take(&mut self.notice) || (self.noticed && !advanced);
        if self.noticed && on[Signal::Psi as usize] {
            let psi = &mut self.status.signals[Signal::Psi as usize];
            psi.vote = psi.vote.max(Some(Level::Warning));
            psi.threshold = psi.threshold.or(Some(stall_threshold(Level::Warning)));
        }

        let reporting = !of.is_empty();
        if advanced && reporting {
            self.forecast.push(now, highest, of, std::mem::take(&mut self.evicted));
        }
        let on = on[Signal::Forecast as usize];
        let forecast = if reporting {
            self.forecast.vote().map(|vote| self.lifted(vote)).ok_or(Abstains::Gathering)
        } else {
            Err(Abstains::Absent(Absent::NotRead))
        };
        self.settle(Signal::Forecast, on, forecast, advanced);
    }

    /// The cgroup's throttling limit and its counters, which can only add to the vote of its ratio.
    fn hear_the_kernel(
        &mut self,
        on: bool,
        pressure: &PressureConfig,
        sample: &Sample,
        advanced: bool,
    ) {
        let high = signal::cgroup_high(sample);
        self.high = match high {
            Ok(usage) if on => {
                // Above `memory.high` the kernel slows the process down; it does not kill.
                banded(self.high, usage.ratio(), &pressure.thresholds, pressure.band)
                    .min(Level::Critical)
            }
            _ => Level::Normal,
        };
        if advanced {
            self.refused = self.refusals.since(&sample.cgroup.events);
        }
        if !on {
            return;
        }
        let status = &mut self.status.signals[Signal::Cgroup as usize];
        let raise = |status: &mut SignalStatus, vote: Vote| {
            if Some(vote.level) > status.vote {
                *status = SignalStatus::fresh(Signal::Cgroup, vote);
            }
        };
        if let Ok(usage) = high {
            let threshold = pressure.thresholds.of(self.high);
            let (level, value) = (self.high, Some(usage.ratio()));
            raise(status, Vote { level, value, measure: Measure::Ratio, threshold });
        }
        let refused = |level, count: u64| Vote {
            level,
            value: Some(count as f64),
            measure: Measure::Refusals,
            threshold: 1.0,
        };
        // A cgroup full of page cache runs into its limit all day and loses nothing by it, so that alone
        // says nothing: the working set must be high as well.
        if self.refused.limit_hit > 0 && status.vote >= Some(Level::Warning) {
            raise(status, refused(Level::Critical, self.refused.limit_hit));
        }
        if self.refused.out_of_memory > 0 {
            raise(status, refused(Level::Emergency, self.refused.out_of_memory));
        }
    }

    /// Whether the machine or the cgroup is short of memory by its own ratio.
    fn corroborated(&self) -> bool {
        [Signal::System, Signal::Cgroup]
            .into_iter()
            .any(|signal| self.status.of(signal).vote >= Some(Level::Warning))
    }

    /// A forecast lifts the level by at most one above what the other signals say now.
    fn lifted(&self, vote: Vote) -> Vote {
        let others = self.status.signals[..Signal::Forecast as usize].iter();
        let ceiling = match others.filter_map(|signal| signal.vote).max() {
            None | Some(Level::Unknown) => Level::Normal,
            Some(Level::Normal) => Level::Warning,
            Some(Level::Warning) => Level::Critical,
            Some(Level::Critical | Level::Emergency) => Level::Emergency,
        };
        capped(vote, ceiling)
    }

    /// Records what a signal says. Without a reading the last vote stands for a few samples, then the signal abstains.
    fn settle(&mut self, signal: Signal, on: bool, vote: Result<Vote, Abstains>, advanced: bool) {
        let (own, misses) = (&mut self.own[signal as usize], &mut self.misses[signal as usize]);
        match vote {
            Ok(vote) if on => {
                *misses = 0;
                *own = SignalStatus::fresh(signal, vote);
            }
            vote => {
                let why = vote.err().filter(|_| on).unwrap_or(Abstains::Off);
                *misses = misses.saturating_add(u32::from(advanced));
                // That there is no limit any more is news, not a failure to read.
                let lasting = matches!(why, Abstains::Absent(why) if why != Absent::Unlimited);
                if own.vote.is_some() && lasting && *misses <= STALE_SAMPLES {
                    own.absent = Some(why);
                    own.stale = true;
                } else {
                    *own = SignalStatus::silent(signal, why);
                    self.bands[signal as usize] = Level::Normal;
                }
            }
        }
        self.status.signals[signal as usize] = *own;
    }
}

fn ratio_vote(before: Level, usage: Usage, thresholds: &Thresholds, band: f64) -> Vote {
    let value = usage.ratio();
    let level = banded(before, value, thresholds, band);
    Vote { level, value: Some(value), measure: Measure::Ratio, threshold: thresholds.of(level) }
}

fn capped(vote: Vote, ceiling: Level) -> Vote {
    Vote { level: vote.level.min(ceiling), ..vote }
}
