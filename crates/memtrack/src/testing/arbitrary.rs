//! Samples as no machine would write them, and as some do: strategies for `proptest`.

use std::ops::Range;
use std::time::Duration;

use proptest::prelude::*;

use crate::reading::{Absent, Reading};
use crate::sample::{
    CgroupEvents, CgroupMemory, ProcessMemory, PsiLine, PsiMemory, Sample, SystemMemory,
};
use crate::testing::FakeClock;

const GIB: u64 = 1 << 30;

/// Any reason why there is no value.
pub fn absent() -> BoxedStrategy<Absent> {
    prop_oneof![
        Just(Absent::NotRead),
        Just(Absent::Pending),
        Just(Absent::Unsupported),
        Just(Absent::Denied),
        Just(Absent::Gone),
        Just(Absent::Unlimited),
        Just(Absent::Malformed),
        Just(Absent::Implausible),
        Just(Absent::TooDear),
        any::<i32>().prop_map(Absent::Failed),
    ]
    .boxed()
}

/// A value of `values`, three times out of four; else a reason.
pub fn reading<T: std::fmt::Debug + 'static>(
    values: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Reading<T>> {
    prop_oneof![3 => values.prop_map(Ok), 1 => absent().prop_map(Err)].boxed()
}

/// Sizes: mostly such as machines have, with the edges of what a `u64` holds among them.
pub fn bytes() -> BoxedStrategy<u64> {
    prop_oneof![
        6 => 0..64 * GIB,
        1 => Just(0),
        1 => Just(4096),
        1 => Just(u64::MAX),
        1 => any::<u64>(),
    ]
    .boxed()
}

/// Memory of a process, each figure on its own: anon may be above RSS, RSS above any machine.
pub fn process_memory() -> BoxedStrategy<ProcessMemory> {
    let age = reading((0..100_000u64).prop_map(Duration::from_millis));
    let counts = prop::array::uniform4(reading(prop_oneof![0..100_000u64, any::<u64>()]));
    (prop::array::uniform9(reading(bytes())), age, counts)
        .prop_map(
            |([rss, anon, file, shmem, swap, peak, pss, pss_anon, pss_swap], pss_age, counts)| {
                let [minor_faults, major_faults, threads, processes] = counts;
                ProcessMemory {
                    rss,
                    anon,
                    file,
                    shmem,
                    swap,
                    peak,
                    pss,
                    pss_anon,
                    pss_swap,
                    pss_age,
                    minor_faults,
                    major_faults,
                    threads,
                    processes,
                    age: Duration::ZERO,
                }
            },
        )
        .boxed()
}

/// Memory of a machine, each figure on its own: more may be available than there is.
pub fn system_memory() -> BoxedStrategy<SystemMemory> {
    prop::array::uniform5(reading(bytes()))
        .prop_map(|[total, available, swap_total, swap_free, zram]| SystemMemory {
            total,
            available,
            swap_total,
            swap_free,
            zram,
            age: Duration::ZERO,
        })
        .boxed()
}

/// A cgroup, each figure on its own: usage may be above the limit, and the limit 0.
pub fn cgroup_memory() -> BoxedStrategy<CgroupMemory> {
    let events = prop::array::uniform4(reading(prop_oneof![0..100u64, any::<u64>()]));
    (prop::array::uniform6(reading(bytes())), reading(0..9u64), events)
        .prop_map(
            |(
                [usage, inactive_file, limit, high, headroom, own],
                depth,
                [max, high_events, oom, oom_kill],
            )| {
                CgroupMemory {
                    usage,
                    inactive_file,
                    limit,
                    high,
                    headroom,
                    own,
                    depth,
                    events: CgroupEvents { max, high: high_events, oom, oom_kill },
                }
            },
        )
        .boxed()
}

/// Stalls: shares from 0 to 1, as the parser lets through nothing else, and totals that may go back.
pub fn psi_memory() -> BoxedStrategy<PsiMemory> {
    let line = || {
        let share = (0..=10_000u32).prop_map(|parts| f64::from(parts) / 10_000.0);
        (prop::array::uniform3(reading(share)), reading(any::<u64>())).prop_map(
            |([avg10, avg60, avg300], total_us)| PsiLine { avg10, avg60, avg300, total_us },
        )
    };
    (line(), line()).prop_map(|(some, full)| PsiMemory { some, full }).boxed()
}

/// A sample at time 0 in which anything may stand anywhere, or be absent for any reason.
pub fn sample() -> BoxedStrategy<Sample> {
    (process_memory(), system_memory(), cgroup_memory(), psi_memory())
        .prop_map(|(process, system, cgroup, psi)| {
            let at = FakeClock::default().now();
            Sample { at, process, system, cgroup, psi }
        })
        .boxed()
}

/// So many samples in order of time, milliseconds to hours apart, now and then with the machine asleep in between or
/// the wall clock set back. Those after either bear the mark of a gap, as a sampler would set it.
pub fn trace(length: Range<usize>) -> BoxedStrategy<Vec<Sample>> {
    let wait = prop_oneof![
        8 => 1..10_000u64,
        1 => Just(0),
        1 => 10_000..10_000_000u64,
    ];
    let event = prop_oneof![18 => Just(0u8), 1 => Just(1), 1 => Just(2)];
    prop::collection::vec((wait, event, sample()), length)
        .prop_map(|steps| {
            let mut clock = FakeClock::default();
            let place = |(wait, event, sample): (u64, u8, Sample)| {
                const HOUR: Duration = Duration::from_secs(3600);
                match event {
                    1 => drop(clock.suspend(HOUR)),
                    2 => drop(clock.set_back(HOUR)),
                    _ => {}
                }
                let mut at = clock.advance(Duration::from_millis(wait));
                at.gap = event != 0;
                Sample { at, ..sample }
            };
            steps.into_iter().map(place).collect()
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest! {
        #[test]
        fn a_trace_goes_forward_and_gaps_are_where_the_clocks_part(trace in trace(1..50)) {
            for pair in trace.windows(2) {
                let monotonic = pair[1].at.monotonic.checked_sub(pair[0].at.monotonic);
                prop_assert!(monotonic.is_some());
                let wall = pair[1].at.wall.duration_since(pair[0].at.wall).ok();
                prop_assert_eq!(pair[1].at.gap, wall != monotonic);
            }
        }
    }
}
