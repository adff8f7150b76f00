//! The budget of PSS on a process of 8 GiB.

use super::*;

pub(super) fn large_pss(rows: &mut Vec<Row>) {
    const WATCH: Duration = Duration::from_secs(180);
    let mut hog = Command::new(std::env::current_exe().unwrap())
        .args(["hog", "8192"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(hog.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let id = ProcessId::read(Path::new("/"), hog.id()).unwrap();
    let config = TrackConfig { tier: Tier::Development, ..TrackConfig::default() };
    let mut source = LinuxSource::open(&Target::Process(id)).unwrap();
    let (start, mut measured, mut age) = (Instant::now(), 0u32, Duration::MAX);
    while start.elapsed() < WATCH {
        let process = source.read(&config).unwrap().process;
        let now = process.pss_age.unwrap_or(Duration::MAX);
        measured += u32::from(now < age);
        age = now;
        thread::sleep(Duration::from_millis(100));
    }
    let cost = thread_cpu("memtrack-pss") as f64 / 1e9;
    let share = (cost - 0.02) / WATCH.as_secs_f64() * 100.0;
    rows.push(Row {
        what: "PSS of an 8 GiB process, within its budget",
        ours: format!("{measured} readings in {} s, {:.0} ms in all, {share:.3} % of a core beyond the first 20 ms", WATCH.as_secs(), cost * 1000.0),
        rival: String::new(),
        promise: "at most 0.1 %".into(),
        // The last reading is not yet paid off when the watch ends.
        kept: Some(cost - cost / f64::from(measured.max(1)) <= 0.02 + WATCH.as_secs_f64() * 0.001),
    });
    let _ = hog.kill();
    let _ = hog.wait();
}

/// Holds so many MiB until it is killed.
pub(super) fn hog(mib: usize) -> ExitCode {
    let block = black_box(vec![1u8; mib << 20]);
    println!("ready");
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    black_box(&block);
    eprintln!("the bench that this belonged to has ended");
    ExitCode::SUCCESS
}
