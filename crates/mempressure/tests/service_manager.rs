//! The service manager's memory pressure protocol, with a process that finds it in its environment.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use mempressure::{Caches, EventKind, Guard, GuardConfig, Level, Options, ServiceManager, Signal};
use memtrack::sampler::Sampler;
use memtrack::source::{LinuxSource, Target};
use memtrack::{Settings, TrackConfig};

/// Not a test of its own: the process that the test below starts with the protocol in its environment.
#[test]
#[ignore = "started by the test that plays the service manager"]
fn guarded_service() {
    let source = LinuxSource::open(&Target::Own).unwrap();
    let interval = Some(Duration::from_millis(50));
    let track = Settings::fixed(TrackConfig { interval, ..TrackConfig::default() });
    let mut sampler = Sampler::new(source, track);
    let mut config = GuardConfig::default();
    // Whatever else this machine is going through: only stalls count.
    config.pressure.signals = vec![Signal::Psi];
    config.pressure.hold = Duration::from_secs(600);
    let options = Options::default();
    let guard =
        Guard::spawn(sampler.newest(), Settings::fixed(config), Caches::new(), options).unwrap();
    let events = guard.events();
    sampler.start().unwrap();
    assert_eq!(guard.status().service_manager, ServiceManager::Watching);
    let mut notices = 0;
    while notices == 0 {
        if let EventKind::Transition(transition) = events.receiver().recv().unwrap().kind {
            // A machine under real stalls gets there by itself; then the notice is all there is to wait for.
            assert!(transition.to <= Level::Warning, "{transition}");
        }
        while guard.status().machine.level == Level::Warning && notices == 0 {
            notices = guard.status().counters.notices;
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_notice_of_the_service_manager_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("pressure");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Held open for both, so that neither side waits for the other.
    let mut manager = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let service = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "guarded_service", "--ignored"])
        .env("MEMORY_PRESSURE_WATCH", &fifo)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    manager.write_all(b"pressure").unwrap();
    let output = service.wait_with_output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
}
