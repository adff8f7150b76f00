//! One sample at a time, and what the listeners hear.
use memleak::Severity;
use memtrack::processes::ProcessId;

use super::*;

#[test]
fn plenty_of_memory_is_calm_and_half_of_it_or_less_is_not() {
    let mut pipeline = Pipeline::new(&Target::System, Policies::unedited());
    assert!(!pipeline.is_calm(), "nothing is known");
    let mut second = 0;
    let mut calm = |available, limit: Reading<u64>, headroom| {
        second += 1;
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
        (sample.system.total, sample.system.available) = (Ok(100), available);
        (sample.cgroup.limit, sample.cgroup.headroom) = (limit, headroom);
        sample.cgroup.usage = limit.and_then(|limit| Ok(limit - headroom?));
        pipeline.push(&sample, |_| {});
        pipeline.is_calm()
    };
    let unlimited = Err(Absent::Unlimited);
    assert!(calm(Ok(90), unlimited, unlimited));
    assert!(calm(Ok(51), Ok(80), Ok(41)));
    assert!(!calm(Ok(50), unlimited, unlimited));
    assert!(!calm(Ok(90), Ok(80), Ok(40)));
    assert!(!calm(Err(Absent::Failed(5)), unlimited, unlimited));
    assert!(!calm(Ok(90), Err(Absent::Failed(5)), Err(Absent::Failed(5))));
}

/// One a second of a process with so much anon and shmem.
fn watched(sizes: impl Iterator<Item = (u64, u64)>) -> (Pipeline, Vec<Verdict>) {
    let target = Target::Process(ProcessId { pid: 0, start: 0 });
    let mut pipeline = Pipeline::new(&target, Policies::unedited());
    let mut told = Vec::new();
    for (second, (anon, shmem)) in (0..).zip(sizes) {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
        sample.process.anon = Ok(anon);
        sample.process.shmem = Ok(shmem);
        sample.process.rss = Ok(anon + shmem);
        pipeline.push(&sample, |numbered| {
            if let Event::Verdict(change) = &numbered.event {
                told.push(change.to.clone());
            }
        });
    }
    (pipeline, told)
}

#[test]
fn what_grows_outside_the_series_is_told_beside_every_verdict() {
    for (seconds, grown) in [(30, "116.0 MiB in 29.0 s"), (600, "2.3 GiB in 9 min 59 s")] {
        let (pipeline, told) = watched((0..seconds).map(|i| (8 << 20, i << 22)));
        let verdict = pipeline.verdict();
        assert!(matches!(verdict.kind(), "undecided" | "steady"), "{verdict:?}");
        let said = crate::output::human::reason(&verdict, pipeline.series());
        let told_as = format!("outside this verdict shmem grew {grown}");
        assert!(said.contains(&told_as), "{said}");
        assert!(told.iter().all(|verdict| !verdict.evidence().outside.is_empty()), "{told:?}");
    }
}

#[test]
fn the_rules_begin_anew_with_a_process() {
    let life = |i: u64| if i < 3600 { 500 << 20 } else { (100 << 20) + (i - 3600) * 58_254 };
    let (pipeline, _) = watched((0..6600).map(|i| (life(i), 0)));
    let rules = pipeline.rules();
    // 200 MiB/h.
    assert!((rules.growth.unwrap() / 58_254.0 - 1.0).abs() < 0.02, "{rules:?}");
    assert_eq!(rules.by_rate, Some(Severity::Critical));
}

#[test]
fn a_process_that_nobody_waited_for_yet_has_no_size_and_not_one_of_0() {
    let sample = |second, rss: u64, processes| {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
        let process = &mut sample.process;
        (process.rss, process.anon, process.swap) = (Ok(rss), Ok(rss), Ok(0));
        process.processes = Ok(processes);
        sample
    };
    let mut pipeline = Pipeline::new(&Target::Own, Policies::unedited());
    pipeline.push(&sample(0, 0, 0), |numbered| {
        let Event::Sample(sample) = &numbered.event else { return };
        assert_eq!(sample.process.rss, Err(Absent::Gone), "nor is that what is recorded");
    });
    let seen = pipeline.seen();
    assert_eq!((seen.mean_rss.bytes(), seen.footprint, seen.processes), (None, None, None));
    pipeline.push(&sample(1, 100, 1), |_| {});
    pipeline.push(&sample(2, 0, 0), |_| {});
    assert_eq!(
        (pipeline.seen().mean_rss.bytes(), pipeline.seen().sampled_rss),
        (Some(100), Some(100))
    );
    // A cgroup that holds no process holds none.
    let mut cgroup = Pipeline::new(&Target::Cgroup("x".into()), Policies::unedited());
    cgroup.push(&sample(0, 0, 0), |_| {});
    assert_eq!(cgroup.seen().processes, Some(0));
}

#[test]
fn past_a_budget_the_limit_stays_where_it_is() {
    let mut policies = Policies::unedited();
    let signals = vec![Signal::Budget];
    policies.pressure = Settings::fixed(PressureConfig { signals, ..PressureConfig::default() });
    let total = BudgetTotal::Size(memtrack::Size(20 << 20));
    policies.budget = Settings::fixed(BudgetConfig { total, ..BudgetConfig::default() });
    let mut pipeline = Pipeline::new(&Target::Own, policies);
    for second in 0..300 {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
        let bytes = (1 + second) << 20;
        (sample.process.rss, sample.process.anon) = (Ok(bytes + (4 << 20)), Ok(bytes));
        (sample.process.swap, sample.process.processes) = (Ok(0), Ok(1));
        pipeline.push(&sample, |_| {});
    }
    assert_eq!(pipeline.headroom(), Some(0));
    let Verdict::Leak { time_to_limit, .. } = pipeline.verdict() else {
        panic!("{:?}", pipeline.verdict())
    };
    assert_eq!(time_to_limit, Some(Duration::ZERO));
}

#[test]
fn ends_are_told_of_a_known_process_and_of_a_tree_while_it_has_one() {
    let id = ProcessId { pid: 7, start: 1 };
    let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
    assert_eq!(Root::of(&Target::Process(id)).ended(&sample), Some(false));
    // A trace of another program names no process.
    let unnamed = ProcessId { pid: 0, start: 0 };
    assert_eq!(Root::of(&Target::Tree(unnamed)).ended(&sample), None);
    let mut tree = Root::of(&Target::Tree(id));
    let told = [1, 1, 2, 2, 1, 1].map(|processes| {
        sample.process.processes = Ok(processes);
        tree.ended(&sample)
    });
    assert_eq!(told, [false, false, true, true, true, false].map(Some));
}
