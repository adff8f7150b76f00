//! Many processes: as one target, and each as a target of its own.

use super::*;

pub(super) fn thousand_pids(rows: &mut Vec<Row>) {
    let mut children: Vec<Child> =
        (0..1000).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect();
    let root = Path::new("/");
    let ids: Vec<_> =
        children.iter().map(|child| ProcessId::read(root, child.id()).unwrap()).collect();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let (_, slower) = slower();
    for (what, soft) in [
        ("1,000 pids, one round", limit.current),
        ("1,000 pids, one round, with a limit of 256 open files", Some(256)),
    ] {
        let narrowed = rustix::process::Rlimit { current: soft, ..limit };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, narrowed).unwrap();
        let mut set = Processes::of(root, &ids).unwrap();
        // The rival holds what it may, and opens the rest each time.
        let may_hold = soft.map_or(1000, |soft| usize::try_from(soft / 4).unwrap_or(1000));
        let status = |id: &ProcessId| File::open(format!("/proc/{}/status", id.pid)).unwrap();
        let held: Vec<File> = ids.iter().take(may_hold).map(status).collect();
        let mut buffer = [0u8; 4096];
        let (ours, rival, ratio) = compare(
            (1, 1),
            || {
                let sum = set.read(Instant::now(), Detail::Memory).unwrap();
                assert_eq!(sum.processes, Ok(1000));
                assert!(sum.rss.is_ok());
            },
            || {
                for file in &held {
                    black_box(file.read_at(&mut buffer, 0).unwrap());
                }
                for id in ids.iter().skip(held.len()) {
                    black_box(status(id).read_at(&mut buffer, 0).unwrap());
                }
            },
        );
        rows.push(Row {
            what,
            ours: format!("{:.2} ms, {:.2} % of a core at 1 Hz", ours / 1e6, ours / 1e7),
            rival: format!("bare reads of `status`: {:.2} ms, {ratio:.2}x", rival / 1e6),
            promise: match soft {
                Some(256) => String::new(),
                _ => format!(
                    "at most 1 %: {}. Where a `pread` of statm costs 0.3 us, that is; here {slower:.1} times that",
                    if ours <= 1e7 { "met" } else { "**not met here**" }
                ),
            },
            kept: (soft != Some(256)).then_some(ours <= 1e7 * slower),
        });
    }
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    for child in &mut children {
        let _ = child.kill();
    }
    for child in &mut children {
        let _ = child.wait();
    }
}

/// A thousand targets apart from each other, each a process with its tree and its cgroups, and what they share.
pub(super) fn thousand_targets(rows: &mut Vec<Row>) {
    const TICKS: u32 = 20;
    let mut children: Vec<Child> =
        (0..1000).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect();
    let root = Path::new("/");
    let mut machine = LinuxMachine::open().unwrap();
    let mut targets: Vec<LinuxTarget> = children
        .iter()
        .map(|child| ProcessId::read(root, child.id()).unwrap())
        .map(|id| machine.target(&Target::Tree(id)).unwrap())
        .collect();
    let config = TrackConfig::default();
    let mut round = || {
        let mut tick = machine.tick();
        for target in &mut targets {
            assert!(target.read(&mut tick, &config).unwrap().process.rss.is_ok());
        }
    };
    round();
    let (start, before) = (Instant::now(), own_cpu());
    for tick in 1..=TICKS {
        thread::sleep(Duration::from_secs(u64::from(tick)).saturating_sub(start.elapsed()));
        round();
    }
    let share = (own_cpu() - before) as f64 / start.elapsed().as_secs_f64() / 1e9 * 100.0;
    let held: Vec<File> = children
        .iter()
        .map(|child| File::open(format!("/proc/{}/status", child.id())).unwrap())
        .collect();
    let mut buffer = [0u8; 4096];
    let before = own_cpu();
    for _ in 0..TICKS {
        thread::sleep(Duration::from_secs(1));
        for file in &held {
            black_box(file.read_at(&mut buffer, 0).unwrap());
        }
    }
    let floor = (own_cpu() - before) as f64 / f64::from(TICKS) / 1e9 * 100.0;
    rows.push(Row {
        what: "1,000 targets at 1 Hz for 20 s: trees, cgroups, machine, pressure",
        ours: format!("{share:.2} % of a core"),
        rival: format!(
            "bare reads of `status` at the same pace: {floor:.2} %, {:.2}x",
            share / floor
        ),
        promise: "at most 2 %".into(),
        kept: Some(share <= 2.0),
    });
    for child in &mut children {
        let _ = child.kill();
    }
    for child in &mut children {
        let _ = child.wait();
    }
}
