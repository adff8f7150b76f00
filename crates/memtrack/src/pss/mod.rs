//! Proportional set size within a budget, on a thread of its own, and the mappings from the same account.
//!
//! `smaps_rollup` walks the page tables: some 10 us for each MiB that is resident (71 ms at 8 GiB), holding a lock of
//! the target all the while. So it is read seldom, by its cost, and where a hanging read holds up nothing else.

mod budget;
mod estimate;
mod part;
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
use estimate::Estimate;
pub(crate) use part::{Measured, anon_share};
use part::{Part, Size};
use worker::{Answer, Request, Worker};

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

/// When after so long nothing has been measured, whoever waits for it is told that it is too dear: the thread hangs, or others
/// use up the budget.
pub const PSS_PATIENCE: Duration = Duration::from_secs(5);

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

/// The PSS of a set of processes: measured when affordable, estimated from the last measurement in between. Their
/// mappings, when somebody asks.
#[derive(Debug)]
pub(crate) struct Pss {
    budget: Budget,
    asked: Option<Asked>,
    /// Where the answer comes in: one at a time.
    answers: (Sender<Answer>, Receiver<Answer>),
    /// Counts this target among those of its account.
    target: Option<Arc<()>>,
    estimate: Estimate,
    measured_at: Reading<Duration>,
    /// Since when somebody waits for it.
    awaited: Option<Duration>,
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
            estimate: Estimate::default(),
            measured_at: Err(Absent::Pending),
            awaited: None,
            measured_size: (0, Err(Absent::NotRead)),
            spare: Vec::new(),
            mappings: MappingReadings::default(),
        }
    }

    /// Begins anew after a `fork`: the thread stayed behind, and what was measured is the parent's. Whoever waits for
    /// mappings is still served.
    pub(crate) fn begin_anew(&mut self, now: Duration) {
        let mappings = self.mappings.clone();
        let parents = std::mem::replace(self, Self { mappings, ..Self::new(now) });
        // That thread may have held a lock of this channel, and is not here to give it back.
        std::mem::forget(parents.answers);
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
    /// wants them, else of PSS if `always`. `sum` is over all `processes`. When the answer that it took was asked for.
    pub(crate) fn tick(
        &mut self,
        root: &Path,
        now: Duration,
        account: &mut Account,
        sum: &ProcessMemory,
        processes: &Set,
        always: bool,
    ) -> Option<Duration> {
        let answered = self.take_answer(now, account);
        let kind = if self.mappings.is_wanted() { Kind::Mappings } else { Kind::Sums };
        if self.asked.is_some() || !always && kind == Kind::Sums {
            return answered;
        }
        let ids = processes.programs().map(|(program, _)| program.id);
        match sum.rss {
            Ok(rss) if kind == Kind::Sums && self.stands(now, rss, sum.anon, ids) => {}
            Ok(rss) if self.budget.is_too_dear(now, kind, rss) => {
                self.refuse(kind, Absent::TooDear);
            }
            Ok(rss) => {
                if let Some(taken) = self.budget.afford(&mut account.credit, now, kind, rss) {
                    self.measured_size = (rss, sum.anon);
                    self.ask(root, now, account, kind, taken, processes);
                }
            }
            Err(why) => self.refuse(kind, why),
        }
        answered
    }

    /// Fills in `pss`, its parts and `pss_age` of the processes and of `sum`, which is over all of them, and asks for a reading
    /// when one is affordable.
    pub(crate) fn fill(
        &mut self,
        root: &Path,
        now: Duration,
        account: &mut Account,
        sum: &mut ProcessMemory,
        processes: &mut Set,
    ) {
        let answered = self.tick(root, now, account, sum, processes, true);
        let mut updated = self.measured_at.map(|_| ());
        updated = updated.and_then(|()| self.estimate.update(processes.programs()));
        if updated == Err(Absent::Pending) {
            let since = *self.awaited.get_or_insert(now);
            if now.saturating_sub(since) >= PSS_PATIENCE {
                updated = Err(Absent::TooDear);
            }
        } else {
            self.awaited = None;
        }
        if let (Some(asked), false) = (answered, self.estimate.is_complete()) {
            // Not all of them were measured, so that the sum is an estimate and has an age.
            self.measured_at = self.measured_at.map(|_| asked);
        }
        let age = self.measured_at.map(|at| now.saturating_sub(at));
        put(sum, updated.map(|()| self.estimate.total()), age);
        for (id, memory) in processes.memory_mut() {
            let size = updated.and_then(|()| self.estimate.of(id).ok_or(Absent::Pending));
            put(memory, size, age);
        }
    }

    /// Whether what was measured last need not be measured again yet: the estimate from it is as good as it was.
    fn stands(
        &self,
        now: Duration,
        rss: u64,
        anon: Reading<u64>,
        ids: impl Iterator<Item = ProcessId>,
    ) -> bool {
        let Ok(at) = self.measured_at else { return false };
        let (rss_then, anon_then) = self.measured_size;
        let grown = grown(anon, anon_then, rss);
        now.saturating_sub(at) < PSS_STANDS
            && grown <= rss_then / GROWN_SHARE
            && (rss - grown).abs_diff(rss_then) <= rss_then / SAME_SHARE
            && self.estimate.is_of(ids)
    }

    /// Nobody waits for what will not come. What was measured before stands.
    fn refuse(&mut self, kind: Kind, why: Absent) {
        match kind {
            Kind::Mappings => self.mappings.answer(Err(why)),
            Kind::Sums => self.grow_old(why),
        }
    }

    /// There is a reason for no new measurement. What was measured before stands.
    fn grow_old(&mut self, why: Absent) {
        self.measured_at = self.measured_at.or(Err(why));
    }

    /// When the answer was asked for that has come.
    fn take_answer(&mut self, now: Duration, account: &mut Account) -> Option<Duration> {
        let Asked { at, taken } = self.asked?;
        let answer = self.answers.1.try_recv().ok()?;
        self.asked = None;
        let Answer { kind, parts, outcome, mappings, cost } = answer;
        let rss = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.then.resident()));
        account.credit.give_back(taken - cost.as_secs_f64());
        let targets = Arc::strong_count(&account.targets).saturating_sub(1);
        self.budget.spent(now, kind, cost, rss, targets);
        let processes = parts.len() as u64;
        match outcome {
            Ok(()) => {
                self.spare = self.estimate.take(parts);
                self.measured_at = Ok(now);
            }
            Err(why) => {
                self.spare = parts;
                self.grow_old(why);
            }
        }
        if kind == Kind::Mappings {
            self.mappings.answer(match (outcome, mappings) {
                (Ok(()), Some(_)) if processes == 0 => Err(Absent::Gone),
                (Ok(()), Some(mappings)) => Ok(MappingReading { at, cost, processes, mappings }),
                (Ok(()), None) => Err(Absent::NotRead),
                (Err(why), _) => Err(why),
            });
        }
        outcome.is_ok().then_some(at)
    }

    fn ask(
        &mut self,
        root: &Path,
        now: Duration,
        account: &mut Account,
        kind: Kind,
        taken: f64,
        processes: &Set,
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
        parts.extend(processes.programs().map(|(program, memory)| {
            let seen = Size::of(memory).ok().flatten().unwrap_or_default();
            Part::unread(program, seen)
        }));
        let request = Request { kind, parts, answer: self.answers.0.clone() };
        let sent = account.worker.as_ref().map(|worker| worker.requests.try_send(request).is_ok());
        if sent == Some(true) {
            self.estimate.ask();
            self.asked = Some(Asked { at: now, taken });
        } else {
            account.credit.give_back(taken);
        }
    }
}

/// Fills in what `memory` has with each shared page divided.
fn put(memory: &mut ProcessMemory, size: Reading<Size>, age: Reading<Duration>) {
    memory.pss = size.map(Size::resident);
    memory.pss_anon = memory.anon.and(size.map(|size| size.anon));
    memory.pss_swap = memory.swap.and(size.map(|size| size.swap));
    memory.pss_age = size.and(age);
}

/// Anonymous memory that came to a process since it had `then`, of the `rss` that it has now.
fn grown(now: Reading<u64>, then: Reading<u64>, rss: u64) -> u64 {
    now.and_then(|now| Ok(now.saturating_sub(then?).min(rss))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::{Detail, Program, Table};
    use std::time::Instant;

    const MIB: u64 = 1 << 20;

    fn part(pid: u32, pss: u64, rss: u64) -> Part {
        let program = Program { id: ProcessId { pid, start: 1 }, parent: 0, stack: 0 };
        let mut part = Part::unread(program, Size::default());
        Measured { pss: pss * MIB, rss: rss * MIB, ..Measured::default() }.fill(&mut part);
        part
    }

    #[test]
    fn a_measurement_stands_while_nothing_but_new_anonymous_memory_has_come() {
        let mut pss = Pss::new(Duration::ZERO);
        pss.estimate.take(vec![part(1, 50, 320)]);
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
        let first = fill(0).0;
        assert_eq!(first.pss, Err(Absent::Pending), "nothing is waited for");
        assert_eq!((first.pss_anon, first.pss_swap), (first.pss, first.pss));
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
        let parts = (memory.pss_anon.unwrap(), memory.pss_swap.unwrap());
        assert!(parts.0 > 0 && parts.0 <= memory.pss.unwrap(), "{parts:?} of {memory:?}");
        assert_eq!((row.memory.pss_anon, row.memory.pss_swap), (Ok(parts.0), Ok(parts.1)));
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
            let id = ProcessId { pid: 1, start: 1 };
            let pss_of_one = pss.estimate.of(id).map(|size| size.resident() / MIB);
            (fresh.is_some(), pss.measured_at, pss_of_one)
        };
        let failed = Err(Absent::Failed(5));
        assert_eq!(answer(second(1), vec![], failed), (false, Err(Absent::Failed(5)), None));
        let good = vec![part(1, 50, 100)];
        assert_eq!(answer(second(2), good, Ok(())), (true, Ok(second(2)), Some(50)));
        assert_eq!(answer(second(3), vec![], failed), (false, Ok(second(2)), Some(50)));
        let newer = vec![part(1, 60, 100)];
        assert_eq!(answer(second(4), newer, Ok(())), (true, Ok(second(4)), Some(60)));
    }

    #[test]
    fn whoever_waits_for_a_first_measurement_that_does_not_come_is_told_so_and_gets_the_sum() {
        let root = tempfile::tempdir().unwrap();
        for pid in [1, 2] {
            let dir = root.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&dir).unwrap();
            let stat = format!("{pid} (x) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0\n");
            std::fs::write(dir.join("stat"), stat).unwrap();
            let status = "Name:\tx\nVmRSS:\t9 kB\nRssAnon:\t8 kB\nVmSwap:\t0 kB\n";
            std::fs::write(dir.join("status"), status).unwrap();
            // Such as a hanging disk is: nobody ever writes into it.
            rustix::fs::mkfifoat(rustix::fs::CWD, dir.join("smaps_rollup"), 0o600.into()).unwrap();
        }
        let mut table = Table::open(root.path()).unwrap();
        let ids = [1, 2].map(|pid| ProcessId { pid, start: 7 });
        let mut set = Set::of(&mut table, &ids).unwrap();
        let (mut pss, mut account) = (Pss::new(Duration::ZERO), Account::new(Duration::ZERO));
        let mut fill = |seconds| {
            let mut sum = set.read(&mut table, Instant::now(), Detail::Memory).unwrap();
            let now = Duration::from_secs(seconds);
            pss.fill(root.path(), now, &mut account, &mut sum, &mut set);
            sum
        };
        for seconds in [0, 4] {
            let sum = fill(seconds);
            assert_eq!((sum.pss, sum.private()), (Err(Absent::Pending), Err(Absent::Pending)));
            assert_eq!(sum.held(), Err(Absent::Pending));
        }
        let sum = fill(5);
        assert_eq!((sum.pss, sum.pss_anon), (Err(Absent::TooDear), Err(Absent::TooDear)));
        assert_eq!((sum.private(), sum.held()), (Ok(16 << 10), Ok(18 << 10)));
    }
}
