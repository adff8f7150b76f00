//! The service manager's memory pressure protocol, with a process that finds it in its environment.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mempressure::{Caches, EventKind, Guard, GuardConfig, Level, Options, ServiceManager, Signal};
use memtrack::sampler::Sampler;
use memtrack::source::{LinuxSource, Target};
use memtrack::{Settings, TrackConfig};

/// Not a test of its own: the process that the tests below start with the protocol in its environment.
#[test]
#[ignore = "started by the tests that play the service manager"]
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

/// The service, with the protocol in its environment.
fn service(variables: &[(&str, &OsStr)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "guarded_service", "--ignored"])
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn assert_heard(service: Child) {
    let output = service.wait_with_output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
}

#[test]
fn a_notice_through_a_fifo_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("pressure");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Held open for both, so that neither side waits for the other.
    let mut manager = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let service = service(&[("MEMORY_PRESSURE_WATCH", fifo.as_os_str())]);
    manager.write_all(b"pressure").unwrap();
    assert_heard(service);
}

#[test]
fn a_notice_through_a_socket_is_heard_once_the_service_has_said_what_it_was_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pressure");
    let listener = UnixListener::bind(&path).unwrap();
    // As systemd passes it: "some 200000 2000000" and a zero byte, in base64.
    let write = OsStr::new("c29tZSAyMDAwMDAgMjAwMDAwMAA=");
    let watch = path.as_os_str();
    let service = service(&[("MEMORY_PRESSURE_WATCH", watch), ("MEMORY_PRESSURE_WRITE", write)]);
    let (mut manager, _) = listener.accept().unwrap();
    let mut said = [0; 20];
    manager.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"some 200000 2000000\0");
    manager.write_all(b"pressure").unwrap();
    assert_heard(service);
}
