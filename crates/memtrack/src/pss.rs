//! Proportional set size within a budget, on a thread of its own.
//!
//! `smaps_rollup` walks the page tables: some 10 us for each MiB that is resident (71 ms at 8 GiB), holding a lock of
//! the target all the while. So it is read seldom, by its cost, and where a hanging read holds up nothing else.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::processes::ProcessId;
use crate::procfs::Proc;
use crate::reading::{Absent, Reading};
use crate::sample::ProcessMemory;
use crate::text::Fields;

/// The share of one core that reading PSS may take in the long run.
pub const PSS_SHARE: f64 = 0.001;
/// Two readings are at least this far apart.
pub const PSS_INTERVAL: Duration = Duration::from_secs(1);
/// A reading that is predicted to take longer than this is not made.
pub const PSS_LONGEST: Duration = Duration::from_millis(100);
/// Time that may be spent beyond the share at once, so that a set that just changed is looked at soon.
const CREDIT: Duration = Duration::from_millis(20);
/// The prediction before there is experience: 10 us for each MiB, about what was measured from 64 MiB to 8 GiB.
const SECONDS_PER_BYTE: f64 = 10e-6 / 1_048_576.0;

/// A reading that was dearer than that counts half as much dearer after this time: it may have met a busy machine.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// Decides when a reading is affordable. Pure: times come from the caller, on a clock that does not go back.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Seconds that may be spent; negative after a reading that took longer than there was credit.
    credit: f64,
    since: Duration,
    not_before: Duration,
    seconds_per_byte: f64,
}

impl Budget {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            credit: CREDIT.as_secs_f64(),
            since: now,
            not_before: now,
            seconds_per_byte: SECONDS_PER_BYTE,
        }
    }

    /// Whether a target of `rss` bytes may be read now.
    pub(crate) fn affords(&mut self, now: Duration, rss: u64) -> bool {
        let passed = now.saturating_sub(self.since).as_secs_f64();
        self.credit = (self.credit + passed * PSS_SHARE).min(CREDIT.as_secs_f64());
        self.since = now;
        let predicted = rss as f64 * self.predicted_per_byte(now);
        // What costs more than the credit ever gets starts from full credit and goes into debt.
        let needed = predicted.min(CREDIT.as_secs_f64());
        now >= self.not_before
            && predicted <= PSS_LONGEST.as_secs_f64()
            // An addition of many small steps may end a hair below the cap.
            && self.credit >= needed - 1e-9
    }

    fn predicted_per_byte(&self, now: Duration) -> f64 {
        let dearer = self.seconds_per_byte - SECONDS_PER_BYTE;
        if dearer <= 0.0 {
            return self.seconds_per_byte;
        }
        let since_read = now.saturating_sub(self.not_before).as_secs_f64();
        SECONDS_PER_BYTE + dearer * 0.5f64.powf(since_read / HALF_LIFE.as_secs_f64())
    }

    /// Books a reading that ended `now`, took `cost` and covered `rss` bytes.
    pub(crate) fn spend(&mut self, now: Duration, cost: Duration, rss: u64) {
        self.credit -= cost.as_secs_f64();
        self.not_before = now.saturating_add(PSS_INTERVAL);
        if rss > 0 {
            self.seconds_per_byte = cost.as_secs_f64() / rss as f64;
        }
    }
}

/// The PSS of a set of processes: measured when affordable, scaled from the last measurement in between.
#[derive(Debug)]
pub(crate) struct Pss {
    budget: Budget,
    worker: Option<Worker>,
    waiting: bool,
    last: Reading<Measured>,
    spare: Vec<ProcessId>,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    at: Duration,
    pss: u64,
    rss: u64,
    set: u64,
}

#[derive(Debug)]
struct Worker {
    requests: Sender<Vec<ProcessId>>,
    answers: Receiver<Answer>,
}

#[derive(Debug)]
struct Answer {
    ids: Vec<ProcessId>,
    set: u64,
    /// PSS and RSS, from the same reads.
    sums: Reading<(u64, u64)>,
    cost: Duration,
}

impl Pss {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            budget: Budget::new(now),
            worker: None,
            waiting: false,
            last: Err(Absent::NotRead),
            spare: Vec::new(),
        }
    }

    /// Fills in `pss` and `pss_age` of `memory`, the sum over `ids`, and asks for a reading when one is affordable.
    pub(crate) fn fill(
        &mut self,
        root: &Path,
        now: Duration,
        memory: &mut ProcessMemory,
        ids: impl Iterator<Item = ProcessId> + Clone,
    ) {
        let fresh = self.take_answer(now);
        let set = fingerprint(ids.clone());
        if let Ok(rss) = memory.rss
            && !self.waiting
            && self.budget.affords(now, rss)
        {
            self.ask(root, ids);
        }
        // A share of pages that was measured on other processes says nothing about these.
        let measured = self
            .last
            .and_then(|last| if last.set == set { Ok(last) } else { Err(Absent::NotRead) });
        memory.pss_age = measured.map(|last| now.saturating_sub(last.at));
        memory.pss = measured.and_then(|last| {
            let rss = memory.rss?;
            if fresh || last.rss == 0 {
                return Ok(last.pss);
            }
            Ok(u64::try_from(u128::from(last.pss) * u128::from(rss) / u128::from(last.rss))
                .unwrap_or(u64::MAX))
        });
    }

    fn take_answer(&mut self, now: Duration) -> bool {
        let Some(Ok(answer)) = self.worker.as_ref().map(|worker| worker.answers.try_recv()) else {
            return false;
        };
        self.waiting = false;
        self.spare = answer.ids;
        let set = answer.set;
        self.budget.spend(now, answer.cost, answer.sums.map_or(0, |(_, rss)| rss));
        self.last = answer.sums.map(|(pss, rss)| Measured { at: now, pss, rss, set });
        self.last.is_ok()
    }

    fn ask(&mut self, root: &Path, ids: impl Iterator<Item = ProcessId>) {
        if self.worker.is_none() {
            match Worker::start(root) {
                Ok(worker) => self.worker = Some(worker),
                Err(error) => self.last = Err(Absent::from(&error)),
            }
        }
        let Some(worker) = &self.worker else { return };
        let mut list = std::mem::take(&mut self.spare);
        list.clear();
        list.extend(ids);
        self.waiting = worker.requests.try_send(list).is_ok();
    }
}

impl Worker {
    /// The thread ends when its requests do. Nobody joins it: it may hang in the kernel with the target's lock.
    fn start(root: &Path) -> io::Result<Self> {
        let proc = Proc::open(root).map_err(|why| io::Error::other(why.to_string()))?;
        let (requests, received) = bounded::<Vec<ProcessId>>(1);
        let (answer, answers) = bounded(1);
        let thread = thread::Builder::new().name("memtrack-pss".into()).stack_size(128 * 1024);
        thread.spawn(move || {
            for ids in received {
                let before = processor_time();
                let sums = read_sums(&proc, &ids);
                let cost = processor_time().saturating_sub(before);
                let set = fingerprint(ids.iter().copied());
                if answer.send(Answer { ids, set, sums, cost }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { requests, answers })
    }
}

/// Of this thread: what others took in between is not the cost of reading.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn read_sums(proc: &Proc, ids: &[ProcessId]) -> Reading<(u64, u64)> {
    let (mut pss, mut rss) = (0u64, 0u64);
    for id in ids {
        match read_rollup(proc, *id) {
            Ok((one_pss, one_rss)) => {
                pss = pss.saturating_add(one_pss);
                rss = rss.saturating_add(one_rss);
            }
            Err(Absent::Gone) => {}
            Err(why) => return Err(why),
        }
    }
    Ok((pss, rss))
}

/// PSS and RSS of one process. Opened each time: a held one would stay with the old memory across an `exec`.
fn read_rollup(proc: &Proc, id: ProcessId) -> Reading<(u64, u64)> {
    let file = proc.file(id.pid, "smaps_rollup")?;
    if proc.stat(id.pid)?.start != id.start {
        return Err(Absent::Gone);
    }
    let mut buffer = [0; 4096];
    let text = file.read(&mut buffer)?;
    if text.is_empty() {
        return Err(Absent::Gone);
    }
    let mut fields = Fields::new(text);
    let rss = fields.kb(b"Rss:")?;
    Ok((fields.kb(b"Pss:")?, rss))
}

/// Tells one set of processes from another.
fn fingerprint(ids: impl Iterator<Item = ProcessId>) -> u64 {
    // FNV-1a, over sums that do not depend on the order.
    let mix = |id: ProcessId| {
        let bytes = id.start.to_le_bytes().into_iter().chain(id.pid.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    ids.fold(0, |sum, id| sum.wrapping_add(mix(id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    /// Reads whenever affordable, every 100 ms for `seconds`, at `us_per_mib`. Total cost and number of readings.
    fn spend_over(seconds: u64, rss: u64, us_per_mib: f64) -> (Duration, u32) {
        let mut budget = Budget::new(Duration::ZERO);
        let (mut total, mut count) = (Duration::ZERO, 0);
        for tick in 0..seconds * 10 {
            let now = Duration::from_millis(tick * 100);
            if budget.affords(now, rss) {
                let cost = Duration::from_secs_f64(rss as f64 / 1_048_576.0 * us_per_mib * 1e-6);
                budget.spend(now, cost, rss);
                total += cost;
                count += 1;
            }
        }
        (total, count)
    }

    #[test]
    fn a_small_process_is_read_each_second_and_a_large_one_when_it_can_be_paid() {
        assert_eq!(spend_over(100, 10 << 20, 10.0).1, 100);
        let (cost, count) = spend_over(1000, 8 * GIB, 8.7);
        assert!(count >= 13, "{count}");
        assert!(cost <= Duration::from_millis(1000 + 72), "{cost:?}");
        assert_eq!(spend_over(1000, 64 * GIB, 10.0).1, 0, "predicted above 100 ms");
        // 160 ms on a busy machine: not again at once, and not never.
        let dear = spend_over(4 * 3600, 8 * GIB, 20.0).1;
        assert!((2..=20).contains(&dear), "{dear}");
    }

    #[test]
    fn own_process_is_measured_and_then_estimated() {
        let own = ProcessId::own().unwrap();
        let mut pss = Pss::new(Duration::ZERO);
        let mut memory = ProcessMemory { rss: Ok(64 << 20), ..ProcessMemory::default() };
        pss.fill(Path::new("/"), Duration::ZERO, &mut memory, [own].into_iter());
        assert_eq!(memory.pss, Err(Absent::NotRead));
        // The answer comes when it comes; nothing else is waited for.
        let answer = pss.worker.as_ref().unwrap().answers.recv().unwrap();
        let (measured, rss) = answer.sums.unwrap();
        assert!(measured > 0 && measured <= rss);
        pss.last = Ok(Measured { at: Duration::ZERO, pss: measured, rss, set: answer.set });
        memory.rss = Ok(rss * 2);
        pss.fill(Path::new("/"), Duration::from_millis(500), &mut memory, [own].into_iter());
        assert_eq!(memory.pss, Ok(measured * 2));
        assert_eq!(memory.pss_age, Ok(Duration::from_millis(500)));
        let other = ProcessId { pid: own.pid, start: own.start + 1 };
        pss.fill(Path::new("/"), Duration::from_millis(600), &mut memory, [own, other].into_iter());
        assert_eq!(memory.pss, Err(Absent::NotRead), "another set of processes");
    }

    proptest! {
        #[test]
        fn the_budget_holds_whatever_a_reading_costs(rss in 1u64..64 * GIB, us_per_mib in 0.1f64..1e4, seconds in 1u64..400) {
            let (cost, count) = spend_over(seconds, rss, us_per_mib);
            // The share, the credit, and one reading that turned out dearer than predicted.
            let longest = rss as f64 / 1_048_576.0 * us_per_mib * 1e-6;
            let limit = seconds as f64 * PSS_SHARE + CREDIT.as_secs_f64() + longest;
            prop_assert!(cost.as_secs_f64() <= limit + 1e-6, "{cost:?} in {seconds} s, {count} readings");
            prop_assert!(u64::from(count) <= seconds);
        }
    }
}
