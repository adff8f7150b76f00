//! What the command of alerts leaves behind: processes that `run` is given when their parents end, as it is those of the command
//! that it watches, and that are none of it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError, TryLockError};

use memtrack::processes::ProcessId;
use rustix::process::{Pid, test_kill_process_group};

/// The processes that commands of alerts have started, and theirs.
///
/// Whoever leaves its process group still has the environment that it was started with, and whoever has overwritten that is
/// mostly still in the group. Only what leaves both is taken for a stranger.
#[derive(Debug)]
pub struct Offspring {
    /// A variable that only they have; with the identity of this process in its name.
    mark: String,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The groups of the commands, as long as there is somebody in them: until then the kernel gives the number to nobody else.
    groups: Vec<Pid>,
    any: bool,
    known: HashSet<ProcessId>,
}

impl Default for Offspring {
    fn default() -> Self {
        let own = ProcessId::own().map_or(0, |own| own.start);
        let mark = format!("_MEMCLI_ALERT_{}_{own}", std::process::id());
        Self { mark, seen: Mutex::default() }
    }
}

impl Offspring {
    /// Starts a command of alerts, in a process group of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, command: &mut Command) -> io::Result<Child> {
        // Held while it starts: until its group is known, nobody can tell whose it is.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.env(&self.mark, "1").process_group(0).spawn()?;
        seen.forget_groups();
        seen.any = true;
        seen.groups.push(Pid::from_child(&child));
        Ok(child)
    }

    /// Whether a process is one of them; `None` while a command is being started, and of a process that is not there or is
    /// becoming another program. Never waits.
    #[must_use]
    pub fn holds(&self, id: ProcessId) -> Option<bool> {
        let mut seen = match self.seen.try_lock() {
            Ok(seen) => seen,
            Err(TryLockError::Poisoned(seen)) => seen.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if !seen.any {
            return Some(false);
        }
        if seen.known.contains(&id) {
            return Some(true);
        }
        seen.forget_groups();
        // Of one that has ended only the group is left to see.
        let holds = seen.groups.contains(&group(id.pid)?) || self.is_marked(id.pid)?;
        if holds {
            seen.known.insert(id);
        }
        Some(holds)
    }

    /// `None` while it has no environment yet.
    fn is_marked(&self, pid: u32) -> Option<bool> {
        let Ok(environment) = fs::read(of(pid, "environ")) else { return Some(false) };
        if environment.is_empty() {
            return has_none(&stat(pid)?).then_some(false);
        }
        let mut variables = environment.split(|byte| *byte == 0);
        let mark = self.mark.as_bytes();
        Some(
            variables.any(|variable| variable.strip_prefix(mark).is_some_and(|rest| rest == b"=1")),
        )
    }
}

impl Seen {
    fn forget_groups(&mut self) {
        self.groups.retain(|group| test_kill_process_group(*group).is_ok());
    }
}

fn of(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// The fields of a process behind its name, which may hold anything: state, parent, group.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read(of(pid, "stat")).ok()?;
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let behind = std::str::from_utf8(stat.get(name_ends + 1..)?).ok()?;
    Some(behind.split_ascii_whitespace().map(str::to_owned).collect())
}

/// The process group of a process; told of one that has ended until it is reaped.
fn group(pid: u32) -> Option<Pid> {
    Pid::from_raw(stat(pid)?.get(2)?.parse().ok()?)
}

/// Whether an environment that reads as empty is so: of a process that has ended, or that was given none. In between, while
/// `execve` puts the new program in the place of the old, the kernel tells of no addresses for it (`env_start` and `env_end` of
/// proc(5) are 0).
fn has_none(stat: &[String]) -> bool {
    let address = |field: usize| stat.get(field - 3).map_or("0", String::as_str);
    matches!(address(3), "Z" | "X") || (address(50) == address(51) && address(51) != "0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::path::Path;
    use std::process::Stdio;

    fn id(pid: u32) -> ProcessId {
        ProcessId::read(Path::new("/"), pid).unwrap()
    }

    /// Starts `script` with `start`, and reads the pid that it tells.
    fn told(
        script: &str,
        start: impl FnOnce(&mut Command) -> io::Result<Child>,
    ) -> (Child, ProcessId) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = start(&mut command).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        (child, id(line.trim().parse().unwrap()))
    }

    /// Once it can be told.
    fn holds(offspring: &Offspring, id: ProcessId) -> bool {
        loop {
            if let Some(holds) = offspring.holds(id) {
                return holds;
            }
            std::thread::yield_now();
        }
    }

    fn end(mut child: Child, left: ProcessId) {
        let pid = Pid::from_raw(left.pid.cast_signed()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        let _ = child.kill();
        let _ = child.wait();
    }

    #[test]
    fn it_holds_whoever_is_in_the_group_or_has_the_mark_and_nobody_else() {
        let offspring = Offspring::default();
        let (plain, stranger) = told("sleep 1000 & echo $!; read x", Command::spawn);
        assert!(!holds(&offspring, stranger), "there was no command yet");
        for script in [
            "sleep 1000 & echo $!; read x",
            // In the group, and with nothing left of its environment.
            "env -i sleep 1000 & echo $!; read x",
            // A daemon, in a session of its own. It tells of itself when it is there.
            "setsid sh -c 'echo $$; exec sleep 1000' & read x",
        ] {
            let (child, left) = told(script, |command| offspring.start(command));
            assert!(holds(&offspring, left), "{script}");
            assert!(holds(&offspring, id(child.id())), "{script}");
            end(child, left);
        }
        assert!(!holds(&offspring, stranger));
        assert!(!holds(&Offspring::default(), id(std::process::id())));
        end(plain, stranger);
    }

    #[test]
    fn an_environment_that_is_not_there_yet_is_not_an_empty_one() {
        let fields = |state: &str, start: u64, end: u64| {
            let mut fields = vec!["1".to_owned(); 50];
            (fields[0], fields[47], fields[48]) =
                (state.to_owned(), start.to_string(), end.to_string());
            fields
        };
        assert!(has_none(&fields("S", 0x7ffc_0000, 0x7ffc_0000)), "`env -i`");
        assert!(has_none(&fields("Z", 0, 0)), "it has ended");
        assert!(!has_none(&fields("R", 0, 0)), "it is becoming another program");
        assert!(!has_none(&fields("R", 0x7ffc_0000, 0x7ffc_0100)), "it has become one since");
        assert!(!has_none(&[]));
    }

    #[test]
    fn one_that_has_ended_and_is_not_reaped_is_known_by_its_group() {
        let offspring = Offspring::default();
        let mut command = Command::new("sh");
        let mut child = offspring.start(command.args(["-c", "exit 0"])).unwrap();
        let pid = child.id();
        while !fs::read_to_string(of(pid, "stat")).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        assert_eq!(offspring.holds(id(pid)), Some(true));
        child.wait().unwrap();
    }

    #[test]
    fn while_a_command_starts_nobody_is_told_whose_a_process_is() {
        let offspring = Offspring::default();
        let own = id(std::process::id());
        let held = offspring.seen.lock().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(offspring.holds(own), None));
        });
        drop(held);
        assert_eq!(offspring.holds(own), Some(false));
    }
}
