//! What the targets on one machine share, read once for all of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cgroup::{Groups, Round};
use crate::error::OpenError;
use crate::processes::Table;
use crate::pss::Account;
use crate::sample::{PsiMemory, SystemMemory};
use crate::source::linux::system::System;
use crate::source::linux::target::{LinuxTarget, REFRESH};
use crate::source::{Clock, Target};

/// How long the machine's memory stands while there is plenty: short of a second, so that who samples each second reads it
/// each time.
const STANDS: Duration = Duration::from_millis(900);

/// A machine on which any number of targets is read together.
///
/// In each tick the machine's own figures and each cgroup are read once, when the first target asks for them, and stand
/// for all others. So a thousand processes cost little more than a thousand reads of their `status`. The targets also share
/// one look at who is whose child, one budget for PSS with one thread, and one number of descriptors: a quarter of those
/// that the program may have, the targets that are read first before the others.
///
/// ```
/// use memtrack::TrackConfig;
/// use memtrack::source::{LinuxMachine, Target};
///
/// let mut machine = LinuxMachine::open()?;
/// let mut targets = [machine.target(&Target::Own)?, machine.target(&Target::System)?];
/// let mut tick = machine.tick();
/// let mut samples = Vec::new();
/// for target in &mut targets {
///     samples.push(target.read(&mut tick, &TrackConfig::default())?);
/// }
/// assert!(samples[0].process.rss? > 0);
/// assert_eq!(samples[0].system, samples[1].system);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LinuxMachine {
    pub(super) root: PathBuf,
    clock: Clock,
    /// Who opened the files and started the thread: in a child that was forked both are those of the parent.
    process: u32,
    rounds: u64,
    system: System,
    /// The machine's memory as of this tick, once a target asked.
    memory: Option<SystemMemory>,
    /// When it was read last, and what it was.
    memory_read: Option<(Duration, SystemMemory)>,
    /// The kernel brings these figures up to date every 2 s (`PSI_FREQ`): reading them on each fast tick would tell nothing.
    stalls: PsiMemory,
    stalls_read: Option<Duration>,
    pub(super) table: Table,
    pub(super) groups: Groups,
    pub(super) account: Account,
    /// One for each target, and one here.
    pub(super) targets: Arc<()>,
}

impl LinuxMachine {
    /// This machine.
    ///
    /// # Errors
    /// When `/proc` cannot be read. Anything else that is missing is a reading that is absent.
    pub fn open() -> Result<Self, OpenError> {
        Self::open_at(Path::new("/"))
    }

    /// The machine under another root, such as a fixture tree with `proc` and `sys/fs/cgroup` in it.
    ///
    /// # Errors
    /// As [`LinuxMachine::open`].
    pub fn open_at(root: &Path) -> Result<Self, OpenError> {
        let table = Table::open(root)?;
        // The status of a process is read on each tick, and what is not limited is not.
        let groups = Groups::within(root, table.most() / 3);
        Ok(Self {
            root: root.to_owned(),
            clock: Clock::start(),
            process: std::process::id(),
            rounds: 0,
            system: System::open(root),
            memory: None,
            memory_read: None,
            stalls: PsiMemory::default(),
            stalls_read: None,
            table,
            groups,
            account: Account::new(Duration::ZERO),
            targets: Arc::default(),
        })
    }

    /// Opens `target`. It is read in the ticks of this machine and of no other.
    ///
    /// # Errors
    /// As [`LinuxSource::open`](super::LinuxSource::open).
    pub fn target(&mut self, target: &Target) -> Result<LinuxTarget, OpenError> {
        LinuxTarget::open(self, target, false)
    }

    /// Begins a tick. What is read in it once is as of when the first target asked for it.
    pub fn tick(&mut self) -> Tick<'_> {
        self.rounds += 1;
        let round = Round::Shared(self.rounds);
        Tick { round, ..self.tick_alone() }
    }

    /// Begins a tick with one target.
    pub(super) fn tick_alone(&mut self) -> Tick<'_> {
        self.memory = None;
        self.table.begin(self.groups.held());
        let process = std::process::id();
        let forked = process != self.process;
        if forked {
            self.process = process;
            let account = Account::new(self.clock.stamp().monotonic);
            // The thread at the other end may have held a lock of its channel when the program was forked, and is not here to
            // give it back: whoever drops this end waits for ever.
            std::mem::forget(std::mem::replace(&mut self.account, account));
        }
        Tick { machine: self, round: Round::Alone, forked }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// The process that this code runs in, as of this tick.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// The machine's memory; with `may_stand`, what was read a moment ago as long as there is plenty.
    pub(super) fn memory(&mut self, now: Duration, may_stand: bool) -> SystemMemory {
        if let Some(memory) = self.memory {
            return memory;
        }
        let memory = match self.memory_read {
            Some((at, memory)) if may_stand && stands(&memory, now.saturating_sub(at)) => {
                SystemMemory { age: now.saturating_sub(at), ..memory }
            }
            _ => {
                let memory = self.system.memory();
                self.memory_read = Some((now, memory));
                memory
            }
        };
        *self.memory.insert(memory)
    }

    pub(super) fn stalls(&mut self, now: Duration) -> PsiMemory {
        if self.stalls_read.is_none_or(|last| now.saturating_sub(last) >= REFRESH) {
            let stalls = self.system.pressure();
            let before = std::mem::replace(&mut self.stalls, stalls);
            let lost = before.some.total_us.is_ok() && stalls.some.total_us.is_err();
            self.stalls_read = Some(now).filter(|_| !lost);
        }
        self.stalls
    }

    /// The next target to ask has everything read anew.
    pub(super) fn forget(&mut self) {
        (self.stalls_read, self.memory_read) = (None, None);
    }
}

/// Whether the machine's memory need not be read again yet. Reading it costs as much as reading a process does.
fn stands(memory: &SystemMemory, age: Duration) -> bool {
    let plenty = memory.total.ok().zip(memory.available.ok());
    age < STANDS && plenty.is_some_and(|(total, available)| available > total / 2)
}

/// One round of reading the targets of a machine.
#[derive(Debug)]
pub struct Tick<'m> {
    pub(super) machine: &'m mut LinuxMachine,
    pub(super) round: Round,
    forked: bool,
}

impl Tick<'_> {
    /// Whether the program was forked since the tick before, and this is the child.
    pub(super) fn is_in_a_fork(&self) -> bool {
        self.forked
    }
}
