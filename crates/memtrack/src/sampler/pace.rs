//! How long to wait until the next sample.

use std::time::Duration;

use crate::config::{MIN_INTERVAL, TrackConfig};
use crate::reading::Absent;
use crate::sample::{Sample, Stamp};

/// With less time than this until the headroom is used up, sampling is as close as it gets.
const URGENT: Duration = Duration::from_secs(2);
/// Otherwise there are to be this many looks before the headroom is used up.
const LOOKS: u32 = 20;
/// Growth that is not seen again counts half after this time.
const HALF_LIFE: Duration = Duration::from_secs(1);
/// After the kernel reported a stall, sampling goes on this closely ...
pub(super) const AFTER_STALL: Duration = Duration::from_millis(100);
/// ... for one window of the report.
const STALL_WINDOW: Duration = Duration::from_secs(2);

/// Shortens the interval while the headroom would not last long at the growth just seen. Pure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    before: Option<(Stamp, Option<u64>, Option<u64>)>,
    /// When the headroom was read last.
    headroom_read: Duration,
    /// What the headroom loses and the footprint gains.
    growth: Growth,
    /// What the footprint alone gains.
    own: Growth,
    stalled: bool,
    hurry_until: Duration,
}

/// Bytes each second; 0 or more.
#[derive(Clone, Copy, Debug, Default)]
struct Growth(f64);

impl Growth {
    fn see(&mut self, rate: f64, seconds: f64) {
        if self.0 > rate {
            let kept = self.0 * 0.5f64.powf(seconds / HALF_LIFE.as_secs_f64());
            self.0 = rate.max(kept);
        } else {
            self.0 = rate;
        }
        // What halves for ever is as good as nothing below a page each second.
        if self.0 < 4096.0 {
            self.0 = 0.0;
        }
    }

    /// The seconds until `room` is used up.
    fn uses_up(self, room: Option<u64>) -> Option<f64> {
        room.filter(|_| self.0 > 0.0).map(|room| room as f64 / self.0)
    }
}

impl Pace {
    /// The time from this sample to the next. `limit` is one on the footprint that no reading shows.
    pub(crate) fn next(
        &mut self,
        sample: &Sample,
        limit: Option<u64>,
        config: &TrackConfig,
    ) -> Duration {
        let base = config.base_interval();
        let now = headroom(sample);
        let kept = self.before.and_then(|(_, had, _)| had);
        let headroom = now.unwrap_or(kept);
        let footprint = sample.process.held().ok();
        // What was lost, was lost since it was read, and not since the sample before.
        let of_machine = headroom.is_some() && headroom == sample.system.available.ok();
        let age = if of_machine { sample.system.age } else { Duration::ZERO };
        let read = sample.at.monotonic.saturating_sub(age);
        let before = self.headroom_read;
        if now.is_some() {
            self.headroom_read = read;
        }
        self.see(sample.at, headroom, footprint, read.saturating_sub(before));
        if !config.adaptive {
            return base;
        }
        let mut interval = base;
        if std::mem::take(&mut self.stalled) {
            self.hurry_until = sample.at.monotonic.saturating_add(STALL_WINDOW);
        }
        if sample.at.monotonic < self.hurry_until {
            interval = interval.min(AFTER_STALL);
        }
        // Past such a limit nothing ends at a certain time, and the closest looks would go on for as long as it grows.
        let room = limit.zip(footprint).and_then(|(limit, used)| limit.checked_sub(used));
        let lasts = [self.growth.uses_up(headroom), self.own.uses_up(room)];
        if let Some(lasts) = lasts.into_iter().flatten().min_by(f64::total_cmp) {
            let wanted = if lasts < URGENT.as_secs_f64() { 0.0 } else { lasts / f64::from(LOOKS) };
            // Above the base it does not matter by how much; beyond what a `Duration` holds it would panic.
            if wanted < base.as_secs_f64() {
                interval = interval.min(Duration::from_secs_f64(wanted));
            }
        }
        interval.clamp(MIN_INTERVAL.min(base), base)
    }

    /// The kernel reported a stall; the next sample says when.
    pub(crate) fn stalled(&mut self) {
        self.stalled = true;
    }

    fn see(
        &mut self,
        at: Stamp,
        headroom: Option<u64>,
        footprint: Option<u64>,
        shrunk_within: Duration,
    ) {
        let before = self.before.replace((at, headroom, footprint));
        let Some((then, had, was)) = before else { return };
        let seconds = at.monotonic.saturating_sub(then.monotonic).as_secs_f64();
        if at.gap || seconds <= 0.0 {
            // What happened while nobody looked is no rate.
            (self.growth, self.own) = (Growth::default(), Growth::default());
            return;
        }
        let shrunk = had.zip(headroom).map_or(0, |(had, has)| had.saturating_sub(has));
        let grown = was.zip(footprint).map_or(0, |(was, is)| is.saturating_sub(was));
        let shrunk = shrunk as f64 / shrunk_within.as_secs_f64().max(seconds);
        let grown = grown as f64 / seconds;
        self.own.see(grown, seconds);
        self.growth.see(shrunk.max(grown), seconds);
    }
}

/// What may still be taken before the first limit, be it the cgroup's or the machine's, if there is one.
///
/// `None` where one of them is there and could not be read: with the other alone the headroom would jump, and jump back, which
/// looks like growth.
fn headroom(sample: &Sample) -> Option<Option<u64>> {
    let parts = [sample.system.available, sample.cgroup.headroom];
    // What is refused today is refused tomorrow: it never jumps back.
    let lasting = |why: Absent| why.nothing_there() || why == Absent::Denied;
    let readable = parts.iter().all(|part| part.is_ok() || part.is_err_and(lasting));
    readable.then(|| parts.into_iter().flatten().min())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn sample(ms: u64, headroom: u64) -> Sample {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_millis(ms)));
        sample.cgroup.headroom = Ok(headroom);
        sample
    }

    fn config() -> TrackConfig {
        TrackConfig::default()
    }

    #[test]
    fn growth_towards_a_limit_brings_closer_looks_and_calm_brings_back_the_base() {
        let mut pace = Pace::default();
        let base = config().base_interval();
        assert_eq!(pace.next(&sample(0, 1000 * MIB), None, &config()), base);
        // 10 MiB/s with 900 MiB left: 90 s, twenty looks.
        assert_eq!(
            pace.next(&sample(10_000, 900 * MIB), None, &config()),
            Duration::from_millis(4500)
        );
        // 100 MiB/s with 100 MiB left: one second.
        assert_eq!(pace.next(&sample(18_000, 100 * MIB), None, &config()), MIN_INTERVAL);
        let mut calm = Duration::ZERO;
        for second in 19..60 {
            calm = pace.next(&sample(second * 1000, 100 * MIB), None, &config());
        }
        assert_eq!(calm, base);
    }

    #[test]
    fn a_cgroup_that_could_not_be_read_once_is_no_headroom_that_jumps() {
        let mut pace = Pace::default();
        let base = config().base_interval();
        let read = |ms, headroom| {
            let mut sample = sample(ms, 0);
            sample.system.available = Ok(24 << 30);
            sample.cgroup.headroom = headroom;
            sample
        };
        assert_eq!(pace.next(&read(0, Ok(200 * MIB)), None, &config()), base);
        for why in [Absent::Failed(5), Absent::Malformed, Absent::Implausible, Absent::Gone] {
            assert_eq!(pace.next(&read(5_000, Err(why)), None, &config()), base, "{why:?}");
        }
        assert_eq!(
            pace.next(&read(10_000, Ok(200 * MIB)), None, &config()),
            base,
            "nothing was used"
        );
        // In the midst of a fill it stays close: 50 MiB/s, and 100 MiB left as of the last reading.
        let filling = pace.next(&read(12_000, Ok(100 * MIB)), None, &config());
        let unread = pace.next(&read(12_001, Err(Absent::Failed(5))), None, &config());
        assert!(unread < filling * 2, "{filling:?} {unread:?}");
        // Without a limit it is the machine's from then on.
        assert_eq!(headroom(&read(0, Err(Absent::Unlimited))), Some(Some(24 << 30)));
    }

    #[test]
    fn what_the_machine_lost_between_two_readings_is_no_loss_within_one_tick() {
        let read = |ms, available, age| {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_millis(ms)));
            sample.system.available = Ok(available);
            sample.system.age = Duration::from_millis(age);
            sample
        };
        let config = TrackConfig { interval: Some(Duration::from_millis(100)), ..config() };
        let mut pace = Pace::default();
        for ms in (0..900).step_by(100) {
            pace.next(&read(ms, 1000 * MIB, ms), None, &config);
        }
        // 100 MiB within 0.9 s: 900 MiB last longer than 2 s.
        assert_eq!(pace.next(&read(900, 900 * MIB, 0), None, &config), Duration::from_millis(100));
        assert_eq!(
            pace.next(&read(1000, 100 * MIB, 0), None, &config),
            MIN_INTERVAL,
            "within one tick"
        );
    }

    #[test]
    fn a_limit_that_only_a_subscriber_knows_brings_closer_looks_until_it_is_passed() {
        let grown = |ms, footprint, available| {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_millis(ms)));
            (sample.process.rss, sample.process.swap) = (Ok(footprint), Ok(0));
            sample.system.available = Ok(available);
            sample
        };
        let base = config().base_interval();
        let (limit, machine) = (Some(1000 * MIB), 1 << 40);
        let mut pace = Pace::default();
        assert_eq!(pace.next(&grown(0, 100 * MIB, machine), limit, &config()), base);
        // 10 MiB/s with 800 MiB left: 80 s, twenty looks. Without the limit there is all the machine.
        let mut free = pace.clone();
        let at_ten = grown(10_000, 200 * MIB, machine);
        assert_eq!(pace.next(&at_ten, limit, &config()), Duration::from_secs(4));
        assert_eq!(free.next(&at_ten, None, &config()), base);
        // What others take from the machine is not the target's.
        let others = grown(20_000, 200 * MIB, machine - (1 << 30));
        assert_eq!(pace.next(&others, limit, &config()), base);
        let near = grown(21_000, 950 * MIB, machine);
        assert_eq!(pace.next(&near, limit, &config()), MIN_INTERVAL);
        assert_eq!(pace.next(&grown(22_000, 1001 * MIB, machine), limit, &config()), base);
    }

    #[test]
    fn switched_off_it_keeps_the_base() {
        let config = TrackConfig { adaptive: false, ..config() };
        let mut pace = Pace::default();
        pace.next(&sample(0, 1000 * MIB), None, &config);
        pace.stalled();
        assert_eq!(pace.next(&sample(1000, 0), None, &config), config.base_interval());
    }

    #[test]
    fn a_reported_stall_brings_closer_looks_for_a_while() {
        let mut pace = Pace::default();
        pace.stalled();
        assert_eq!(pace.next(&sample(1_000, MIB), None, &config()), AFTER_STALL);
        assert_eq!(pace.next(&sample(3_000, MIB), None, &config()), config().base_interval());
    }

    #[test]
    fn what_a_gap_hides_is_no_growth() {
        let mut pace = Pace::default();
        pace.next(&sample(0, 1000 * MIB), None, &config());
        let mut after = sample(100, 10 * MIB);
        after.at.gap = true;
        assert_eq!(pace.next(&after, None, &config()), config().base_interval());
    }

    proptest! {
        #[test]
        fn always_between_the_shortest_and_the_base(
            trace in testing::trace(0..50), stalls: u64, base_ms in 5u64..3_600_000,
        ) {
            let base = Duration::from_millis(base_ms);
            let config = TrackConfig { interval: Some(base), ..TrackConfig::default() };
            let mut pace = Pace::default();
            for (n, sample) in trace.iter().enumerate() {
                if stalls >> (n % 64) & 1 == 1 {
                    pace.stalled();
                }
                let next = pace.next(sample, None, &config);
                prop_assert!(next >= MIN_INTERVAL && next <= base, "{next:?}");
            }
        }

        #[test]
        fn less_headroom_never_means_a_longer_wait(a in 0u64..1 << 40, b in 0u64..1 << 40, step in 0u64..1 << 36) {
            let wait = |left: u64| {
                let mut pace = Pace::default();
                pace.next(&sample(0, left + step), None, &config());
                pace.next(&sample(1000, left), None, &config())
            };
            prop_assert!(wait(a.min(b)) <= wait(a.max(b)));
        }
    }
}
