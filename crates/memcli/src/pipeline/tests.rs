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
fn ends_are_told_of_a_known_process_and_else_by_what_its_samples_tell() {
    let id = ProcessId { pid: 7, start: 1 };
    let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
    assert_eq!(Root::of(&Target::Process(id)).ended(&sample), Some(false));
    // A trace of another program names no process.
    let unnamed = ProcessId { pid: 0, start: 0 };
    assert_eq!(Root::of(&Target::Tree(unnamed)).ended(&sample), None);
    for target in [Target::Tree(id), Target::Cgroup("x".into())] {
        let mut root = Root::of(&target);
        let told = [90, 90, 140, 5, 80].map(|peak| {
            (sample.process.peak, sample.process.processes) = (Ok(peak << 20), Ok(2));
            root.ended(&sample)
        });
        assert_eq!(told, [None, Some(false), Some(false), Some(true), Some(false)]);
    }
}

/// Four times a second over lives of 28 seconds, a shell and its child: the child's size in MiB by its age. The highest RSS of one
/// process is the child's so far or, where `ends`, so far in its life.
fn of_a_tree(lives: u32, ends: bool, level: impl Fn(f64) -> f64) -> (Pipeline, Vec<Verdict>) {
    let tree = Target::Tree(ProcessId { pid: 7, start: 1 });
    let (mut pipeline, mut told) = (Pipeline::new(&tree, Policies::unedited()), Vec::new());
    let (mut peak, mut quarter) = (0, 0);
    for _ in 0..lives {
        peak = if ends { 0 } else { peak };
        for at in 0..4 * 28 {
            let bytes = (level(f64::from(at) / 4.0) * f64::from(1 << 20)) as u64;
            peak = peak.max(bytes + (6 << 20));
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_millis(250 * quarter)));
            let process = &mut sample.process;
            (process.rss, process.anon) = (Ok(bytes + (8 << 20)), Ok(bytes));
            (process.swap, process.peak, process.processes) = (Ok(0), Ok(peak), Ok(2));
            pipeline.push(&sample, |numbered| {
                if let Event::Verdict(change) = &numbered.event {
                    told.push(change.to.clone());
                }
            });
            quarter += 1;
        }
    }
    pipeline.conclude(|_| {});
    (pipeline, told)
}

#[test]
fn a_leak_in_a_child_that_is_started_again_and_again_stays_a_leak() {
    for lives in [4, 9, 14, 30] {
        let (pipeline, told) = of_a_tree(lives, true, |age| 10.0 + 2.0 * age);
        let verdict = pipeline.verdict();
        assert!(verdict.is_leak(), "{lives} lives: {verdict:?}");
        assert_eq!(verdict.evidence().restarts, lives - 1);
        let kinds: Vec<_> = told.iter().map(Verdict::kind).collect();
        assert_eq!(kinds, ["growing", "leak"]);
    }
}

#[test]
fn what_a_child_that_lives_gives_back_is_no_restart() {
    for lives in [3, 5, 7, 9, 14] {
        let (pipeline, _) = of_a_tree(lives, false, |age| 10.0 + 2.0 * age);
        let verdict = pipeline.verdict();
        assert!(!verdict.is_leak(), "{lives} teeth: {verdict:?}");
        assert_eq!(verdict.evidence().restarts, 0);
    }
}
