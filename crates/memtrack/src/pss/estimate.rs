//! What processes hold together between two measurements. Pure.
//!
//! A `fork` gives the child all that the parent has, and costs nothing; a program that was started anew has nothing that anybody
//! else could have but pages of files. The two are told apart by where the stack begins, which every `exec` draws anew and a `fork`
//! copies. Who goes takes along what nobody else had.

use super::part::{Part, Size, scaled};
use crate::processes::{ProcessId, Program};
use crate::reading::{Absent, Reading};
use crate::sample::ProcessMemory;

/// Processes as measured last, and those that came since.
#[derive(Debug, Default)]
pub(super) struct Estimate {
    /// In the order of their ids.
    parts: Vec<Part>,
    newcomers: Vec<Part>,
    /// What is with these processes though no part has it: it was counted with one that has gone, or went to one that came while
    /// the others were measured.
    others: Size,
    total: Size,
    /// A measurement was taken since the last update.
    fresh: bool,
    /// The last update was the first after a measurement: what was measured is as it was.
    exact: bool,
    complete: bool,
}

impl Estimate {
    /// All processes of the last update are asked for.
    pub(super) fn ask(&mut self) {
        self.parts.iter_mut().for_each(|part| part.asked = true);
    }

    /// Takes what was measured. Those that came after the question stay as they were judged. Gives memory back for the next.
    pub(super) fn take(&mut self, measured: Vec<Part>) -> Vec<Part> {
        let before = std::mem::replace(&mut self.parts, measured);
        sort(&mut self.parts);
        self.newcomers.clear();
        for part in before.iter().filter(|part| !part.asked) {
            if self.part(part.program.id).is_none() {
                self.newcomers.push(*part);
            }
        }
        self.parts.append(&mut self.newcomers);
        sort(&mut self.parts);
        (self.fresh, self.complete) = (true, true);
        before
    }

    /// Takes note of the processes as they are now.
    ///
    /// # Errors
    /// Why one of them could not be read; [`Absent::Pending`] when not one of them was measured yet.
    pub(super) fn update<'m>(
        &mut self,
        now: impl Iterator<Item = (Program, &'m ProcessMemory)>,
    ) -> Reading<()> {
        self.parts.iter_mut().for_each(|part| part.alive = false);
        self.newcomers.clear();
        for (program, memory) in now {
            let Some(size) = Size::of(memory)? else { continue };
            match self.index(program.id).and_then(|index| self.parts.get_mut(index)) {
                Some(part) if part.program.stack == program.stack => {
                    (part.seen, part.alive) = (size, true);
                }
                _ => self.newcomers.push(Part::unread(program, size)),
            }
        }
        self.exact = std::mem::take(&mut self.fresh);
        self.judge_newcomers();
        self.count();
        let known = self.parts.is_empty() || self.parts.iter().any(|part| part.measured);
        if known { Ok(()) } else { Err(Absent::Pending) }
    }

    /// All of them together, each shared page once.
    pub(super) fn total(&self) -> Size {
        self.total
    }

    /// One of them, if it was measured.
    pub(super) fn of(&self, id: ProcessId) -> Option<Size> {
        self.part(id).filter(|part| part.measured).map(|part| self.counted(part))
    }

    /// Whether the measurement was of just these processes, as far as was seen.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether it was of just the processes `ids`.
    pub(super) fn is_of(&self, mut ids: impl Iterator<Item = ProcessId>) -> bool {
        let mut count = 0;
        let known = ids.all(|id| {
            count += 1;
            self.part(id).is_some()
        });
        self.complete && known && count == self.parts.len()
    }

    fn index(&self, id: ProcessId) -> Option<usize> {
        self.parts.binary_search_by_key(&id, |part| part.program.id).ok()
    }

    fn part(&self, id: ProcessId) -> Option<&Part> {
        self.parts.get(self.index(id)?)
    }

    fn counted(&self, part: &Part) -> Size {
        if self.exact && part.measured { part.once } else { part.now() }
    }

    fn judge_newcomers(&mut self) {
        if self.newcomers.is_empty() {
            return;
        }
        self.complete = false;
        let measured = self.parts.iter().filter(|part| part.measured);
        let rest = measured.fold((0u64, 0u64), |(once, whole), part| {
            (once.saturating_add(part.once.rest), whole.saturating_add(part.then.rest))
        });
        for mut newcomer in self.newcomers.drain(..) {
            let Program { id, parent, stack } = newcomer.program;
            let kin = |part: &&mut Part| stack != 0 && part.program.stack == stack;
            let near = |part: &&mut Part| (part.program.id.pid == parent, part.seen.anon);
            let others = self.parts.iter_mut().filter(|part| part.program.id != id);
            match others.filter(kin).max_by_key(near) {
                Some(relative) => newcomer = newcomer.forked_from(relative),
                // Of its files it has such a share as the others.
                None if rest.1 > 0 => {
                    newcomer.once.rest = scaled(newcomer.seen.rest, rest.0.min(rest.1), rest.1);
                }
                None => {}
            }
            self.parts.push(newcomer);
        }
    }

    fn count(&mut self) {
        if self.exact {
            // Who came while the others were measured has a part of their pages, which were divided by one more.
            let now = self.sum(Self::counted);
            let shared = self.sum(|_, part| match part.measured {
                true => Size::default(),
                false => part.seen.beyond(part.now()),
            });
            self.others = self.total.beyond(now).at_most(shared);
        }
        for part in self.parts.iter().filter(|part| !part.alive) {
            self.others = self.others.plus(part.left_behind());
            self.complete = false;
        }
        self.parts.retain(|part| part.alive);
        sort(&mut self.parts);
        let now = self.sum(Self::counted);
        let most = self.sum(|_, part| part.seen);
        self.others = self.others.at_most(most.beyond(now));
        self.total = now.plus(self.others);
    }

    fn sum(&self, size: impl Fn(&Self, &Part) -> Size) -> Size {
        self.parts.iter().fold(Size::default(), |sum, part| sum.plus(size(self, part)))
    }
}

/// In place, and without memory for it where little has changed.
fn sort(parts: &mut [Part]) {
    parts.sort_unstable_by_key(|part| part.program.id);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pss::Measured;
    use crate::testing;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn program(pid: u32, parent: u32, stack: u64) -> Program {
        Program { id: ProcessId { pid, start: 1 }, parent, stack }
    }

    fn memory(anon: u64, rest: u64) -> ProcessMemory {
        ProcessMemory {
            rss: Ok(anon + rest),
            anon: Ok(anon),
            swap: Ok(0),
            ..ProcessMemory::default()
        }
    }

    /// What a reading says of a process with so much anonymous memory shared by so many, and none else.
    fn read(program: Program, own: u64, shared: u64, by: u64) -> Part {
        let mut part = Part::unread(program, Size::default());
        let (anon, pss) = (own + shared, own + shared / by);
        Measured { rss: anon, pss, anon, pss_anon: pss, swap: 0, pss_swap: 0, unique: own }
            .fill(&mut part);
        part
    }

    /// An estimate that was measured, and updated with just that.
    fn measured(parts: &[Part]) -> Estimate {
        let mut estimate = Estimate::default();
        estimate.take(parts.to_vec());
        let now: Vec<_> =
            parts.iter().map(|p| (p.program, memory(p.then.anon, p.then.rest))).collect();
        update(&mut estimate, &now);
        assert!(estimate.is_complete());
        estimate
    }

    fn update(estimate: &mut Estimate, now: &[(Program, ProcessMemory)]) -> u64 {
        let told = estimate.update(now.iter().map(|(program, memory)| (*program, memory)));
        assert!(told.is_ok() || told == Err(Absent::Pending), "{told:?}");
        estimate.total().resident() / MIB
    }

    #[test]
    fn a_fork_adds_what_it_has_beyond_its_parent_and_a_new_program_all_of_it() {
        let parent = program(1, 0, 7);
        let mut estimate = measured(&[read(parent, 60 * MIB, 0, 1)]);
        let whole = memory(60 * MIB, 0);
        let mut all = vec![(parent, whole)];
        for pid in 2..12 {
            all.push((program(pid, 1, 7), whole));
            assert_eq!(update(&mut estimate, &all), 60, "{pid}");
        }
        assert!(!estimate.is_complete());
        all[5].1 = memory(65 * MIB, 0);
        assert_eq!(update(&mut estimate, &all), 65, "what came to a child is its own");
        all.push((program(20, 1, 9), memory(3 * MIB, 0)));
        assert_eq!(update(&mut estimate, &all), 68, "nobody shares the memory of a new program");
        all.push((program(21, 1, 0), memory(3 * MIB, 0)));
        assert_eq!(update(&mut estimate, &all), 71, "nor that of one nobody knows");
        // The child of a child that ended at once: there is no parent to ask.
        all.push((program(30, 29, 7), memory(61 * MIB, 0)));
        assert_eq!(update(&mut estimate, &all), 71, "it has the same as the one that grew");
        assert_eq!(estimate.of(all[0].0.id).map(Size::resident), Some(60 * MIB));
        assert_eq!(estimate.of(all[5].0.id), None, "it was not measured");
    }

    #[test]
    fn who_goes_takes_along_what_nobody_else_had() {
        let family: Vec<_> =
            (1..12).map(|pid| read(program(pid, 1, 7), MIB, 66 * MIB, 11)).collect();
        let mut estimate = measured(&family);
        assert_eq!(estimate.total().resident() / MIB, 77);
        let mut left: Vec<_> =
            family.iter().map(|part| (part.program, memory(67 * MIB, 0))).collect();
        for gone in 1..11 {
            left.pop();
            assert_eq!(update(&mut estimate, &left), 77 - gone, "{gone} have gone");
        }
        assert_eq!(update(&mut estimate, &[]), 0, "there is nobody who could have it");
    }

    #[test]
    fn a_parent_that_forks_and_ends_leaves_all_of_it_to_the_child() {
        let parent = program(1, 0, 7);
        let mut estimate = measured(&[read(parent, 60 * MIB, 0, 1)]);
        let child = (program(2, 1, 7), memory(61 * MIB, 0));
        assert_eq!(update(&mut estimate, &[(parent, memory(60 * MIB, 0)), child]), 61);
        assert_eq!(update(&mut estimate, &[child]), 61);
        // Both between two looks.
        let mut estimate = measured(&[read(parent, 60 * MIB, 0, 1)]);
        assert_eq!(update(&mut estimate, &[child]), 61);
    }

    #[test]
    fn a_child_that_execs_is_a_new_program() {
        let parent = program(1, 0, 7);
        let mut estimate = measured(&[read(parent, 60 * MIB, 0, 1)]);
        let parent = (parent, memory(60 * MIB, 0));
        let child = (program(2, 1, 7), memory(60 * MIB, 0));
        assert_eq!(update(&mut estimate, &[parent, child]), 60);
        let execed = (program(2, 1, 8), memory(2 * MIB, 0));
        assert_eq!(update(&mut estimate, &[parent, execed]), 62);
        assert_eq!(update(&mut estimate, &[parent, (execed.0, memory(40 * MIB, 0))]), 100);
        // One that was measured.
        let mut estimate = measured(&[read(program(1, 0, 7), 60 * MIB, 0, 1)]);
        assert_eq!(update(&mut estimate, &[(program(1, 0, 9), memory(5 * MIB, 0))]), 5);
    }

    #[test]
    fn a_fork_between_question_and_reading_makes_no_hole() {
        let parent = program(1, 0, 7);
        let mut estimate = measured(&[read(parent, 60 * MIB, 0, 1)]);
        let parent_now = (parent, memory(60 * MIB, 0));
        let children = [2, 3].map(|pid| (program(pid, 1, 7), memory(60 * MIB, 0)));
        estimate.ask();
        // Of the parent alone was asked, and the reading divides its pages by three.
        estimate.take(vec![read(parent, 0, 60 * MIB, 3)]);
        assert_eq!(update(&mut estimate, &[parent_now, children[0], children[1]]), 60);
        assert_eq!(update(&mut estimate, &[parent_now, children[0], children[1]]), 60);
        // All three are measured, of which one came to memory.
        let mut parts = [1, 2, 3].map(|pid| read(program(pid, 1, 7), 0, 60 * MIB, 3));
        estimate.ask();
        parts[1] = read(program(2, 1, 7), 5 * MIB, 60 * MIB, 3);
        estimate.take(parts.to_vec());
        let grown = (children[0].0, memory(65 * MIB, 0));
        assert_eq!(update(&mut estimate, &[parent_now, grown, children[1]]), 65);
        // What one frees is no hole of that kind.
        estimate.ask();
        estimate.take(vec![read(parent, 10 * MIB, 0, 1)]);
        assert_eq!(update(&mut estimate, &[(parent, memory(10 * MIB, 0))]), 10);
    }

    #[test]
    fn what_is_swapped_out_is_neither_more_nor_less() {
        let family: Vec<_> = (1..5).map(|pid| read(program(pid, 1, 7), 0, 80 * MIB, 4)).collect();
        let mut estimate = measured(&family);
        let now: Vec<_> = family
            .iter()
            .map(|part| (part.program, ProcessMemory { swap: Ok(60 * MIB), ..memory(20 * MIB, 0) }))
            .collect();
        assert_eq!(update(&mut estimate, &now), 20);
        assert_eq!(estimate.total().swap, 60 * MIB, "and not 240");
    }

    #[test]
    fn files_are_as_shared_as_they_were_and_those_of_a_new_program_as_those_of_the_others() {
        let mut part = Part::unread(program(1, 0, 7), Size::default());
        let size =
            Measured { rss: 100 * MIB, pss: 60 * MIB, anon: 20 * MIB, ..Measured::default() };
        Measured { pss_anon: 20 * MIB, unique: 20 * MIB, ..size }.fill(&mut part);
        let mut estimate = measured(&[part]);
        let at = |estimate: &mut Estimate, anon, rest| {
            update(estimate, &[(part.program, memory(anon * MIB, rest * MIB))])
        };
        assert_eq!(at(&mut estimate, 20, 80), 60);
        assert_eq!(at(&mut estimate, 50, 80), 90, "new anonymous memory is all its own");
        assert_eq!(at(&mut estimate, 20, 100), 70, "half of what came");
        assert_eq!(at(&mut estimate, 10, 40), 30);
        let other = (program(9, 1, 8), memory(4 * MIB, 30 * MIB));
        assert_eq!(update(&mut estimate, &[(part.program, memory(20 * MIB, 80 * MIB)), other]), 79);
    }

    #[test]
    fn a_process_that_cannot_be_read_is_a_reason_and_a_kernel_thread_is_none() {
        let parent = program(1, 0, 7);
        let mut estimate = measured(&[read(parent, 60 * MIB, 0, 1)]);
        let thread = ProcessMemory::absent(Absent::Unsupported);
        let now = [(parent, memory(60 * MIB, 0)), (program(2, 0, 0), thread)];
        assert_eq!(update(&mut estimate, &now), 60);
        assert!(estimate.is_complete(), "it has nothing to measure");
        let failed = ProcessMemory::absent(Absent::Failed(5));
        let mut now = [now[0], (program(3, 0, 0), failed)];
        let tell = |(program, memory): &(Program, ProcessMemory)| (*program, *memory);
        let told = now.iter().map(tell).collect::<Vec<_>>();
        let error = estimate.update(told.iter().map(|(program, memory)| (*program, memory)));
        assert_eq!(error, Err(Absent::Failed(5)));
        now[1].1 = memory(MIB, 0);
        assert_eq!(
            update(&mut estimate, &now),
            61,
            "and the next time it is as if nothing had been"
        );
    }

    /// Some processes that came to be in some way, of two programs.
    fn any_family() -> impl Strategy<Value = Vec<(Program, ProcessMemory)>> {
        let size = (testing::bytes(), testing::bytes(), testing::bytes());
        prop::collection::vec((0u32..8, 0u32..8, 0u64..3, size), 0..8).prop_map(|list| {
            list.into_iter()
                .map(|(pid, parent, stack, (anon, rest, swap))| {
                    let memory = ProcessMemory {
                        rss: Ok(anon.saturating_add(rest)),
                        anon: Ok(anon),
                        swap: Ok(swap),
                        ..ProcessMemory::default()
                    };
                    (program(pid, parent, stack), memory)
                })
                .collect()
        })
    }

    fn any_reading() -> impl Strategy<Value = Vec<Part>> {
        let figures = prop::array::uniform7(testing::bytes());
        prop::collection::vec((0u32..8, 0u64..3, figures), 0..8).prop_map(|list| {
            let mut parts: Vec<_> = list
                .into_iter()
                .map(|(pid, stack, [rss, pss, anon, pss_anon, swap, pss_swap, unique])| {
                    let mut part = Part::unread(program(pid, 0, stack), Size::default());
                    Measured { rss, pss, anon, pss_anon, swap, pss_swap, unique }.fill(&mut part);
                    part
                })
                .collect();
            parts.dedup_by_key(|part| part.program.id);
            parts
        })
    }

    proptest! {
        #[test]
        fn an_estimate_is_within_what_is_resident_and_no_figures_panic(
            rounds in prop::collection::vec((prop::option::of(any_reading()), any_family()), 1..6),
        ) {
            let mut estimate = Estimate::default();
            for (reading, family) in rounds {
                let read = reading.is_some();
                if let Some(reading) = reading {
                    estimate.take(reading);
                }
                let mut family = family;
                family.sort_by_key(|(program, _)| program.id);
                family.dedup_by_key(|(program, _)| program.id);
                update(&mut estimate, &family);
                let sizes: Vec<_> = family.iter().map(|(_, m)| Size::of(m).unwrap().unwrap()).collect();
                let all = sizes.iter().fold(Size::default(), |sum, size| sum.plus(*size));
                let total = estimate.total();
                let most = family.iter().filter_map(|(program, _)| estimate.of(program.id));
                let largest = most.map(Size::resident).max().unwrap_or(0);
                prop_assert!(total.resident() >= largest, "{total:?}");
                // What was measured just now is told as it was measured.
                prop_assert!(read || total.at_most(all) == total, "{total:?} of {all:?}");
            }
        }

        /// Nobody writes: whatever forks and ends, there is as much as before while one of them is there.
        #[test]
        fn forks_and_ends_without_writes_change_nothing(
            mib in 1u64..1000,
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<bool>()), 1..40),
        ) {
            let whole = memory(mib * MIB, 0);
            let parent = program(1, 0, 7);
            let mut estimate = measured(&[read(parent, mib * MIB, 0, 1)]);
            let mut alive = vec![(parent, whole)];
            for (n, (born, who, measure)) in steps.into_iter().enumerate() {
                let who = who.index(alive.len());
                if born {
                    let parent = alive[who].0.id.pid;
                    alive.push((program(n as u32 + 2, parent, 7), whole));
                } else if alive.len() > 1 {
                    alive.remove(who);
                }
                if measure {
                    estimate.ask();
                    // The kernel divides by those that there are.
                    let by = alive.len() as u64;
                    let own = if by == 1 { mib * MIB } else { 0 };
                    let part = |(program, _): &(Program, _)| read(*program, own, mib * MIB - own, by);
                    estimate.take(alive.iter().map(part).collect());
                }
                update(&mut estimate, &alive);
                let off = estimate.total().resident().abs_diff(mib * MIB);
                prop_assert!(off <= 4096, "{off} bytes of {mib} MiB off, more than what divisions round down");
                prop_assert!(estimate.is_complete() || !measure);
            }
        }

        #[test]
        fn what_was_measured_is_told_as_it_was(reading in any_reading()) {
            let mut reading = reading;
            reading.sort_by_key(|part| part.program.id);
            reading.dedup_by_key(|part| part.program.id);
            let sum = reading.iter().fold(Size::default(), |sum, part| sum.plus(part.once));
            let estimate = measured_any(&reading);
            prop_assert_eq!(estimate.total(), sum);
        }
    }

    /// As `measured`, of figures that have no connection.
    fn measured_any(parts: &[Part]) -> Estimate {
        let mut estimate = Estimate::default();
        estimate.take(parts.to_vec());
        let now: Vec<_> = parts.iter().map(|part| (part.program, memory(MIB, MIB))).collect();
        update(&mut estimate, &now);
        estimate
    }
}
