//! Proportional set size within a budget, on a thread of its own, and the mappings from the same account.
//!
//! `smaps_rollup` walks the page tables: some 10 us for each MiB that is resident (71 ms at 8 GiB), holding a lock of
//! the target all the while. So it is read seldom, by its cost, and where a hanging read holds up nothing else.

mod budget;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::mappings::{MappingReading, MappingReadings};
use crate::processes::{ProcessId, Set};
use crate::reading::{Absent, Reading};
use crate::sample::ProcessMemory;
use budget::{Budget, Credit, Kind};
use worker::{Answer, Part, Request, Worker};

/// The share of one core that reading PSS and mappings may take in the long run, both together.
pub const PSS_SHARE: f64 = 0.001;
/// Two readings are at least this far apart.
pub const PSS_INTERVAL: Duration = Duration::from_secs(1);
/// A reading that is predicted to take longer than this is not made.
pub const PSS_LONGEST: Duration = Duration::from_millis(100);

/// While the same processes have about the same RSS, but for anonymous memory that came to it, PSS is measured again only after
/// this time.
pub const PSS_STANDS: Duration = Duration::from_secs(5);
/// About the same: within this share of what it was.
const SAME_SHARE: u64 = 32;
/// No more than this share of it may have come to it. Nobody else maps new anonymous pages, so that they are counted as they are.
const GROWN_SHARE: u64 = 4;

/// When this share of the RSS belongs to processes that have come or gone since the measurement, the rest of it is no
/// measure either: what they share is divided among others now.
const STALE_SHARE: f64 = 0.1;

/// What the targets that are read together share: one budget, one thread. A process that hangs there holds up the others,
/// whose PSS grows old meanwhile, and says so.
#[derive(Debug)]
pub(crate) struct Account {
    credit: Credit,
    worker: Option<Worker>,
    /// One for each target that has ever been measured, and one here.
    targets: Arc<()>,
}

impl Account {
    pub(crate) fn new(now: Duration) -> Self {
        Self { credit: Credit::new(now), worker: None, targets: Arc::default() }
    }
}

/// The PSS of a set of processes: measured when affordable, scaled from the last measurement in between. Their
/// mappings, when somebody asks.
#[derive(Debug)]
pub(crate) struct Pss {
    budget: Budget,
    asked: Option<Asked>,
    /// Where the answer comes in: one at a time.
    answers: (Sender<Answer>, Receiver<Answer>),
    /// Counts this target among those of its account.
    target: Option<Arc<()>>,
    /// Each process as measured last, in order; empty before.
    measured: Vec<Part>,
    measured_at: Reading<Duration>,
    /// RSS and anon of the whole when that was asked for, as `status` had them.
    measured_size: (u64, Reading<u64>),
    spare: Vec<Part>,
    mappings: MappingReadings,
}

/// A question under way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Duration,
    /// Seconds that were taken from the account ahead.
    taken: f64,
}

impl Pss {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            budget: Budget::new(now),
            asked: None,
            answers: bounded(1),
            target: None,
            measured: Vec::new(),
            measured_at: Err(Absent::NotRead),
            measured_size: (0, Err(Absent::NotRead)),
            spare: Vec::new(),
            mappings: MappingReadings::default(),
        }
    }

    /// Begins anew after a `fork`: the thread stayed behind, and what was measured is the parent's. Whoever waits for
    /// mappings is still served.
    pub(crate) fn begin_anew(&mut self, now: Duration) {
        let mappings = self.mappings.clone();
        *self = Self { mappings, ..Self::new(now) };
    }

    /// Where readings of mappings are asked for and found.
    pub(crate) fn mappings(&self) -> &MappingReadings {
        &self.mappings
    }

    /// Whoever waits for mappings waits no longer: there are none to come.
    pub(crate) fn turn_away(&self, why: Absent) {
        if self.mappings.is_wanted() {
            self.mappings.answer(Err(why));
        }
    }

    /// Whether somebody waits for mappings, or an answer is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.asked.is_some() || self.mappings.is_wanted()
    }

    /// Takes the answer that has come, and asks for a reading when one is affordable: of the mappings when somebody
    /// wants them, else of PSS if `always`. `sum` is over all `ids`.
    pub(crate) fn tick(
        &mut self,
        root: &Path,
        now: Duration,
        account: &mut Account,
        sum: &ProcessMemory,
        ids: impl Iterator<Item = ProcessId> + Clone,
        always: bool,
    ) -> bool {
        let fresh = self.take_answer(now, account);
        let kind = if self.mappings.is_wanted() { Kind::Mappings } else { Kind::Sums };
        if self.asked.is_some() || !always && kind == Kind::Sums {
            return fresh;
        }
        match sum.rss {
            Ok(rss) if kind == Kind::Sums && self.stands(now, rss, sum.anon, ids.clone()) => {}
            Ok(rss) if self.budget.is_too_dear(now, kind, rss) => {
                self.refuse(kind, Absent::TooDear);
            }
            Ok(rss) => {
                if let Some(taken) = self.budget.afford(&mut account.credit, now, kind, rss) {
                    self.measured_size = (rss, sum.anon);
                    self.ask(root, now, account, kind, taken, ids);
                }
            }
            Err(why) => self.refuse(kind, why),
        }
        fresh
    }

    /// Fills in `pss` and `pss_age` of the processes and of `sum`, which is over all of them, and asks for a reading when
    /// one is affordable.
    pub(crate) fn fill(
        &mut self,
        root: &Path,
        now: Duration,
        account: &mut Account,
        sum: &mut ProcessMemory,
        processes: &mut Set,
    ) {
        let ids = processes.rows().map(|row| row.id);
        let fresh = self.tick(root, now, account, sum, ids, true);
        let age = self.measured_at.map(|at| now.saturating_sub(at));
        let estimate = estimate(&self.measured, fresh, age, processes.memory_mut());
        sum.pss = self.measured_at.and(estimate);
        sum.pss_age = sum.pss.and(age);
    }

    /// Whether what was measured last need not be measured again yet: the estimate from it is as good as it was.
    fn stands(
        &self,
        now: Duration,
        rss: u64,
        anon: Reading<u64>,
        mut ids: impl Iterator<Item = ProcessId>,
    ) -> bool {
        let Ok(at) = self.measured_at else { return false };
        let (rss_then, anon_then) = self.measured_size;
        let grown = grown(anon, anon_then, rss);
        let measured = |id| self.measured.binary_search_by_key(&id, |part| part.id).is_ok();
        let mut count = 0;
        now.saturating_sub(at) < PSS_STANDS
            && grown <= rss_then / GROWN_SHARE
            && (rss - grown).abs_diff(rss_then) <= rss_then / SAME_SHARE
            && ids.all(|id| {
                count += 1;
                measured(id)
            })
            && count == self.measured.len()
    }

    /// Nobody waits for what will not come. What was measured before stands.
    fn refuse(&mut self, kind: Kind, why: Absent) {
        match kind {
            Kind::Mappings => self.mappings.answer(Err(why)),
            Kind::Sums => self.measured_at = self.measured_at.or(Err(why)),
        }
    }

    fn take_answer(&mut self, now: Duration, account: &mut Account) -> bool {
        let Some(Asked { at, taken }) = self.asked else { return false };
        let Ok(answer) = self.answers.1.try_recv() else { return false };
        self.asked = None;
        let Answer { kind, parts, outcome, mappings, cost } = answer;
        let rss = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.rss));
        account.credit.give_back(taken - cost.as_secs_f64());
        let targets = Arc::strong_count(&account.targets).saturating_sub(1);
        self.budget.spent(now, kind, cost, rss, targets);
        let processes = parts.len() as u64;
        if outcome.is_ok() {
            self.spare = std::mem::replace(&mut self.measured, parts);
            self.measured.sort_unstable_by_key(|part| part.id);
            self.measured_at = Ok(now);
        } else {
            // What was measured before stands, and grows old.
            self.spare = parts;
            self.measured_at = outcome.map(|()| now).or_else(|why| self.measured_at.or(Err(why)));
        }
        if kind == Kind::Mappings {
            self.mappings.answer(match (outcome, mappings) {
                (Ok(()), Some(_)) if processes == 0 => Err(Absent::Gone),
                (Ok(()), Some(mappings)) => Ok(MappingReading { at, cost, processes, mappings }),
                (Ok(()), None) => Err(Absent::NotRead),
                (Err(why), _) => Err(why),
            });
        }
        outcome.is_ok()
    }

    fn ask(
        &mut self,
        root: &Path,
        now: Duration,
        account: &mut Account,
        kind: Kind,
        taken: f64,
        ids: impl Iterator<Item = ProcessId>,
    ) {
        if account.worker.is_none() {
            match Worker::start(root) {
                Ok(worker) => account.worker = Some(worker),
                Err(error) => self.refuse(kind, Absent::from(&error)),
            }
        }
        self.target.get_or_insert_with(|| Arc::clone(&account.targets));
        let mut parts = std::mem::take(&mut self.spare);
        parts.clear();
        parts.extend(ids.map(Part::unread));
        let request = Request { kind, parts, answer: self.answers.0.clone() };
        let sent = account.worker.as_ref().map(|worker| worker.requests.try_send(request).is_ok());
        if sent == Some(true) {
            self.asked = Some(Asked { at: now, taken });
        } else {
            account.credit.give_back(taken);
        }
    }
}

/// Fills in the PSS of each process that was measured, with the anonymous memory that came to it since and scaled by the rest
/// of its RSS, and gives the sum.
///
/// Processes that were not measured add their RSS times the share of the others, as long as little depends on it.
fn estimate<'m>(
    measured: &[Part],
    fresh: bool,
    age: Reading<Duration>,
    memory: impl Iterator<Item = (ProcessId, &'m mut ProcessMemory)>,
) -> Reading<u64> {
    let measured_rss = measured.iter().fold(0u64, |sum, part| sum.saturating_add(part.rss));
    let (mut pss, mut rss, mut still_there, mut unknown) = (0u64, 0u64, 0u64, 0u64);
    for (id, memory) in memory {
        // A kernel thread has no memory to share.
        let now = match memory.rss {
            Err(Absent::Unsupported) => continue,
            now => now?,
        };
        let known = measured.binary_search_by_key(&id, |part| part.id);
        let Some(part) = known.ok().and_then(|index| measured.get(index)) else {
            unknown = unknown.saturating_add(now);
            continue;
        };
        let estimate = if fresh { part.pss } else { part.now(now, memory.anon) };
        (memory.pss, memory.pss_age) = (Ok(estimate), age);
        pss = pss.saturating_add(estimate);
        rss = rss.saturating_add(now);
        still_there = still_there.saturating_add(part.rss);
    }
    let gone = measured_rss.saturating_sub(still_there);
    let all = rss.saturating_add(unknown).max(measured_rss);
    if unknown.saturating_add(gone) as f64 > all as f64 * STALE_SHARE {
        return Err(Absent::NotRead);
    }
    Ok(pss.saturating_add(scaled(unknown, pss, rss)))
}

/// Anonymous memory that came to a process since it had `then`, of the `rss` that it has now.
fn grown(now: Reading<u64>, then: Reading<u64>, rss: u64) -> u64 {
    now.and_then(|now| Ok(now.saturating_sub(then?).min(rss))).unwrap_or(0)
}

/// `value * by / of`, and `value` itself where `of` says nothing.
fn scaled(value: u64, by: u64, of: u64) -> u64 {
    if of == 0 {
        return value;
    }
    if let Some(product) = value.checked_mul(by) {
        return product / of;
    }
    u64::try_from(u128::from(value) * u128::from(by) / u128::from(of)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::{Detail, Table};
    use crate::testing;
    use proptest::prelude::*;
    use std::time::Instant;

    const MIB: u64 = 1 << 20;

    fn part(pid: u32, pss: u64, rss: u64) -> Part {
        let anon = Err(Absent::Unsupported);
        Part { id: ProcessId { pid, start: 1 }, pss: pss * MIB, rss: rss * MIB, anon }
    }

    fn with_rss(rss: u64) -> ProcessMemory {
        ProcessMemory { rss: Ok(rss * MIB), ..ProcessMemory::default() }
    }

    /// The sum, and the PSS of each, in MiB; of processes by pid and RSS now.
    fn estimated(measured: &[Part], now: &[(u32, u64)]) -> (Reading<u64>, Vec<Reading<u64>>) {
        let mut memory: Vec<_> = now.iter().map(|(_, rss)| with_rss(*rss)).collect();
        let ids = now.iter().map(|(pid, _)| ProcessId { pid: *pid, start: 1 });
        let sum = estimate(measured, false, Ok(Duration::ZERO), ids.zip(memory.iter_mut()));
        let mib = |reading: Reading<u64>| reading.map(|bytes| bytes / MIB);
        (mib(sum), memory.iter().map(|memory| mib(memory.pss)).collect())
    }

    #[test]
    fn each_process_is_scaled_on_its_own_and_a_small_newcomer_by_the_others() {
        let measured = [part(1, 50, 100), part(2, 100, 100)];
        assert_eq!(estimated(&measured, &[(1, 100), (2, 100)]).0, Ok(150));
        let grown = estimated(&measured, &[(1, 200), (2, 100)]);
        assert_eq!(grown, (Ok(200), vec![Ok(100), Ok(100)]));
        let newcomer = estimated(&measured, &[(1, 100), (2, 100), (3, 20)]);
        assert_eq!(newcomer, (Ok(165), vec![Ok(50), Ok(100), Err(Absent::NotRead)]));
    }

    #[test]
    fn new_anonymous_memory_is_all_of_its_process() {
        let measured = [Part { anon: Ok(20 * MIB), ..part(1, 50, 100) }];
        let at = |rss, anon| {
            let mut memory = ProcessMemory { anon: Ok(anon * MIB), ..with_rss(rss) };
            let id = measured[0].id;
            estimate(&measured, false, Ok(Duration::ZERO), [(id, &mut memory)].into_iter())
                .map(|bytes| bytes / MIB)
        };
        assert_eq!(at(100, 20), Ok(50));
        assert_eq!(at(130, 50), Ok(80), "and half of what was there before");
        assert_eq!(at(140, 40), Ok(80), "20 of its own, 20 of a file like the others");
        assert_eq!(at(90, 10), Ok(45), "what goes may have been shared");
        assert_eq!(at(10, 90), Ok(10), "no more than there is");
    }

    #[test]
    fn a_measurement_stands_while_nothing_but_new_anonymous_memory_has_come() {
        let mut pss = Pss::new(Duration::ZERO);
        pss.measured = vec![part(1, 50, 320)];
        (pss.measured_at, pss.measured_size) = (Ok(Duration::ZERO), (320 * MIB, Ok(100 * MIB)));
        let stands = |seconds, rss: u64, anon: u64, pid| {
            let ids = [ProcessId { pid, start: 1 }].into_iter();
            pss.stands(Duration::from_secs(seconds), rss * MIB, Ok(anon * MIB), ids)
        };
        assert!(stands(4, 320, 100, 1) && stands(4, 330, 100, 1) && stands(4, 400, 180, 1));
        assert!(!stands(5, 320, 100, 1), "it is old");
        assert!(!stands(4, 331, 100, 1), "something that others may map");
        assert!(!stands(4, 401, 181, 1), "a quarter");
        assert!(!stands(4, 309, 89, 1), "it has shrunk");
        assert!(!stands(4, 320, 100, 2), "another process");
    }

    #[test]
    fn when_many_have_come_or_gone_there_is_no_estimate_of_the_whole() {
        let measured = [part(1, 40, 200), part(2, 40, 200), part(3, 40, 200)];
        let gone = estimated(&measured, &[(1, 200), (2, 200)]);
        assert_eq!(gone, (Err(Absent::NotRead), vec![Ok(40), Ok(40)]));
        let come = estimated(&measured, &[(1, 200), (2, 200), (3, 200), (4, 200)]);
        assert_eq!(come.0, Err(Absent::NotRead));
        let reused = [part(1, 40, 200)];
        let mut memory = with_rss(200);
        let later = ProcessId { pid: 1, start: 2 };
        let other =
            estimate(&reused, false, Ok(Duration::ZERO), [(later, &mut memory)].into_iter());
        assert_eq!(other, Err(Absent::NotRead), "a pid that is somebody else's now");
    }

    #[test]
    fn own_process_is_measured_and_then_estimated() {
        let root = Path::new("/");
        let own = ProcessId::own().unwrap();
        let mut table = Table::open(root).unwrap();
        let mut set = Set::of(&mut table, &[own]).unwrap();
        let (mut pss, mut account) = (Pss::new(Duration::ZERO), Account::new(Duration::ZERO));
        let mut fill = |ms| {
            table.begin(0);
            let mut memory = set.read(&mut table, Instant::now(), Detail::Memory).unwrap();
            pss.fill(root, Duration::from_millis(ms), &mut account, &mut memory, &mut set);
            (memory, set.rows().next().unwrap())
        };
        assert_eq!(fill(0).0.pss, Err(Absent::NotRead), "nothing is waited for");
        let start = Instant::now();
        let (memory, row) = loop {
            let (memory, row) = fill(100);
            if memory.pss.is_ok() {
                break (memory, row);
            }
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::yield_now();
        };
        assert!(memory.pss.unwrap() > 0 && memory.pss.unwrap() <= memory.rss.unwrap());
        assert_eq!((row.memory.pss, memory.pss_age), (memory.pss, Ok(Duration::ZERO)));
        let (later, row) = fill(600);
        assert!(later.pss.is_ok());
        assert_eq!(later.pss_age, Ok(Duration::from_millis(500)), "an estimate now");
        assert_eq!(row.memory.pss_age, later.pss_age);
    }

    #[test]
    fn a_reading_that_failed_leaves_the_last_good_one_which_grows_old() {
        let second = Duration::from_secs;
        let (mut pss, mut account) = (Pss::new(Duration::ZERO), Account::new(Duration::ZERO));
        let mut answer = |now, parts: Vec<Part>, outcome| {
            pss.asked = Some(Asked { at: now, taken: 0.0 });
            let answer =
                Answer { kind: Kind::Sums, parts, outcome, mappings: None, cost: Duration::ZERO };
            pss.answers.0.try_send(answer).unwrap();
            let fresh = pss.take_answer(now, &mut account);
            (fresh, pss.measured_at, pss.measured.clone())
        };
        let failed = Err(Absent::Failed(5));
        assert_eq!(answer(second(1), vec![], failed), (false, Err(Absent::Failed(5)), vec![]));
        let good = vec![part(1, 50, 100)];
        assert_eq!(answer(second(2), good.clone(), Ok(())), (true, Ok(second(2)), good.clone()));
        assert_eq!(answer(second(3), vec![], failed), (false, Ok(second(2)), good));
        let newer = vec![part(1, 60, 100)];
        assert_eq!(answer(second(4), newer.clone(), Ok(())), (true, Ok(second(4)), newer));
    }

    proptest! {
        #[test]
        fn an_estimate_is_within_what_is_resident_and_no_figures_panic(
            measured in prop::collection::vec((testing::bytes(), testing::bytes()), 0..6),
            now in prop::collection::vec(testing::reading(testing::bytes()), 0..6),
            anon in prop::array::uniform6(testing::reading(testing::bytes())),
            anon_now in testing::reading(testing::bytes()),
        ) {
            let id = |n: usize| ProcessId { pid: n as u32, start: 1 };
            let parts: Vec<_> = measured
                .iter()
                .enumerate()
                .map(|(n, (a, b))| Part { id: id(n), pss: *a.min(b), rss: *a.max(b), anon: anon[n] })
                .collect();
            let mut memory: Vec<_> =
                now.iter().map(|rss| ProcessMemory { rss: *rss, anon: anon_now, ..ProcessMemory::default() }).collect();
            let ids = (0..memory.len()).map(id);
            let sum = estimate(&parts, false, Ok(Duration::ZERO), ids.zip(memory.iter_mut()));
            let resident = now.iter().fold(0u64, |sum, rss| sum.saturating_add(rss.unwrap_or(0)));
            prop_assert!(sum.is_err() || sum.is_ok_and(|sum| sum <= resident), "{sum:?} of {resident}");
        }
    }
}
