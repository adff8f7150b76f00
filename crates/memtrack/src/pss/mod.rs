//! Proportional set size within a budget, on a thread of its own, and the mappings from the same account.
//!
//! `smaps_rollup` walks the page tables: some 10 us for each MiB that is resident (71 ms at 8 GiB), holding a lock of
//! the target all the while. So it is read seldom, by its cost, and where a hanging read holds up nothing else.

mod budget;
mod worker;

use std::path::Path;
use std::time::Duration;

use crate::mappings::{MappingReading, MappingReadings};
use crate::processes::ProcessId;
use crate::reading::{Absent, Reading};
use crate::sample::ProcessMemory;
use budget::{Budget, Kind};
use worker::{Answer, Request, Worker};

/// The share of one core that reading PSS and mappings may take in the long run, both together.
pub const PSS_SHARE: f64 = 0.001;
/// Two readings are at least this far apart.
pub const PSS_INTERVAL: Duration = Duration::from_secs(1);
/// A reading that is predicted to take longer than this is not made.
pub const PSS_LONGEST: Duration = Duration::from_millis(100);

/// The PSS of a set of processes: measured when affordable, scaled from the last measurement in between. Their
/// mappings, when somebody asks.
#[derive(Debug)]
pub(crate) struct Pss {
    budget: Budget,
    worker: Option<Worker>,
    waiting: bool,
    asked_at: Duration,
    last: Reading<Measured>,
    spare: Vec<ProcessId>,
    mappings: MappingReadings,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    at: Duration,
    pss: u64,
    rss: u64,
    set: u64,
}

impl Pss {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            budget: Budget::new(now),
            worker: None,
            waiting: false,
            asked_at: now,
            last: Err(Absent::NotRead),
            spare: Vec::new(),
            mappings: MappingReadings::default(),
        }
    }

    /// Where readings of mappings are asked for and found.
    pub(crate) fn mappings(&self) -> &MappingReadings {
        &self.mappings
    }

    /// Goes on answering whom an earlier one answered.
    pub(crate) fn serve(&mut self, mappings: MappingReadings) {
        self.mappings = mappings;
    }

    /// Whether somebody waits for mappings, or an answer is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.waiting || self.mappings.is_wanted()
    }

    /// Takes the answer that has come, and asks for a reading when one is affordable: of the mappings when somebody
    /// wants them, else of PSS if `always`. `rss` is that of all `ids`.
    pub(crate) fn tick(
        &mut self,
        root: &Path,
        now: Duration,
        rss: Reading<u64>,
        ids: impl Iterator<Item = ProcessId>,
        always: bool,
    ) -> bool {
        let fresh = self.take_answer(now);
        let kind = if self.mappings.is_wanted() { Kind::Mappings } else { Kind::Sums };
        if self.waiting || !always && kind == Kind::Sums {
            return fresh;
        }
        match rss {
            Ok(rss) if self.budget.affords(now, kind, rss) => self.ask(root, now, kind, ids),
            Ok(rss) if self.budget.is_too_dear(now, kind, rss) => {
                self.refuse(kind, Absent::TooDear);
            }
            Ok(_) => {}
            Err(why) => self.refuse(kind, why),
        }
        fresh
    }

    /// Fills in `pss` and `pss_age` of `memory`, the sum over `ids`.
    pub(crate) fn fill(
        &mut self,
        root: &Path,
        now: Duration,
        memory: &mut ProcessMemory,
        ids: impl Iterator<Item = ProcessId> + Clone,
    ) {
        let fresh = self.tick(root, now, memory.rss, ids.clone(), true);
        let set = fingerprint(ids);
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

    /// Nobody waits for what will not come. What was measured before stands.
    fn refuse(&mut self, kind: Kind, why: Absent) {
        match kind {
            Kind::Mappings => self.mappings.answer(Err(why)),
            Kind::Sums => self.last = self.last.or(Err(why)),
        }
    }

    fn take_answer(&mut self, now: Duration) -> bool {
        let Some(Ok(answer)) = self.worker.as_ref().map(|worker| worker.answers.try_recv()) else {
            return false;
        };
        self.waiting = false;
        let Answer { kind, ids, found, cost } = answer;
        let set = fingerprint(ids.iter().copied());
        self.spare = ids;
        self.budget.spend(now, kind, cost, found.as_ref().map_or(0, |found| found.rss));
        self.last = found.as_ref().map_err(|why| *why).map(|found| Measured {
            at: now,
            pss: found.pss,
            rss: found.rss,
            set,
        });
        if kind == Kind::Mappings {
            let at = self.asked_at;
            self.mappings.answer(found.and_then(|found| {
                let processes = found.processes;
                let mappings = found.mappings.ok_or(Absent::NotRead)?;
                Ok(MappingReading { at, cost, processes, mappings })
            }));
        }
        self.last.is_ok()
    }

    fn ask(
        &mut self,
        root: &Path,
        now: Duration,
        kind: Kind,
        ids: impl Iterator<Item = ProcessId>,
    ) {
        if self.worker.is_none() {
            match Worker::start(root) {
                Ok(worker) => self.worker = Some(worker),
                Err(error) => self.refuse(kind, Absent::from(&error)),
            }
        }
        let Some(worker) = &self.worker else { return };
        let mut ids_kept = std::mem::take(&mut self.spare);
        ids_kept.clear();
        ids_kept.extend(ids);
        self.waiting = worker.requests.try_send(Request { kind, ids: ids_kept }).is_ok();
        self.asked_at = now;
    }
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
    use super::worker::Found;
    use super::*;

    #[test]
    fn own_process_is_measured_and_then_estimated() {
        let own = ProcessId::own().unwrap();
        let mut pss = Pss::new(Duration::ZERO);
        let mut memory = ProcessMemory { rss: Ok(64 << 20), ..ProcessMemory::default() };
        pss.fill(Path::new("/"), Duration::ZERO, &mut memory, [own].into_iter());
        assert_eq!(memory.pss, Err(Absent::NotRead));
        // The answer comes when it comes; nothing else is waited for.
        let answer = pss.worker.as_ref().unwrap().answers.recv().unwrap();
        let Found { pss: measured, rss, .. } = answer.found.unwrap();
        assert!(measured > 0 && measured <= rss);
        let set = fingerprint([own].into_iter());
        pss.last = Ok(Measured { at: Duration::ZERO, pss: measured, rss, set });
        memory.rss = Ok(rss * 2);
        pss.fill(Path::new("/"), Duration::from_millis(500), &mut memory, [own].into_iter());
        assert_eq!(memory.pss, Ok(measured * 2));
        assert_eq!(memory.pss_age, Ok(Duration::from_millis(500)));
        let other = ProcessId { pid: own.pid, start: own.start + 1 };
        pss.fill(Path::new("/"), Duration::from_millis(600), &mut memory, [own, other].into_iter());
        assert_eq!(memory.pss, Err(Absent::NotRead), "another set of processes");
    }
}
