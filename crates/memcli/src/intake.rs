//! How samples reach a watch: which thread reads them, and when they are looked at.
//!
//! Waking up is what watching costs most. Samples that come close together are looked at together; those that come
//! seldom, one by one as they come; and where no read can hang, the thread that looks is the one that reads.

use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvError, TryRecvError, never};
use memtrack::sampler::{All, Driver, Sampler, Update};
use memtrack::source::{LinuxSource, Target};
use memtrack::{Settings, Stamp, TrackConfig};

use crate::exit::Failure;

/// Samples that come closer than this are looked at together: at 10 Hz, being woken by each would nearly double what
/// watching costs, and nobody reads faster than this.
pub const LOOK: Duration = Duration::from_millis(500);

/// How long at most a watch sleeps while no sample comes: a command of alerts may have gone wrong.
const IDLE: Duration = Duration::from_secs(5);

/// Room for samples that wait while a line is written to a slow terminal: 12 s at 10 Hz. When half of it is taken they are looked
/// at, be it time or not.
const SAMPLES_WAITING: usize = 128;

/// The samples of one watch.
#[derive(Debug)]
pub struct Intake {
    sampler: Sampler,
    all: All,
    /// Where the thread that looks is the one that reads.
    driver: Option<Driver>,
    /// What a sampler of its own thread has in place of the driver's bells.
    nothing: Receiver<()>,
    no_sample: Receiver<Update>,
    arrived: Option<Update>,
    /// When the newest sample was taken.
    newest: Option<Duration>,
    /// Samples that come closer than this are looked at together.
    look: Duration,
    /// They do.
    close: bool,
}

/// When a source was opened: where the clock of its samples begins.
#[derive(Clone, Copy, Debug)]
pub struct Opened(Instant);

impl Opened {
    /// To be called right before a source is opened.
    #[must_use]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// The time now, as a sample would have it.
    #[must_use]
    pub fn stamp(self) -> Stamp {
        Stamp { monotonic: self.0.elapsed(), wall: SystemTime::now(), gap: false }
    }
}

impl Intake {
    /// Begins to read `target`. `settings` say how often; samples that come closer than `look` are looked at together.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        source: LinuxSource,
        target: &Target,
        settings: Settings<TrackConfig>,
        look: Duration,
    ) -> Result<Self, Failure> {
        let interval = settings.load().value.base_interval();
        let mut sampler = Sampler::new(source, settings);
        // The machine's own files answer at once. One of a process may hang, and then someone must be there for Ctrl-C.
        let alone = *target == Target::System && interval >= look;
        // Who reads them takes each one at once. The room is memory that is touched from the start.
        let all = sampler.all_within(if alone { 4 } else { SAMPLES_WAITING });
        let driver = if alone { sampler.drive() } else { None };
        if driver.is_none() {
            sampler
                .start()
                .map_err(|error| Failure::io("failed to start the sampler's thread", error))?;
        }
        let (nothing, no_sample) = (never(), never());
        let (arrived, newest, close) = (None, None, false);
        Ok(Self { sampler, all, driver, nothing, no_sample, arrived, newest, look, close })
    }

    /// Reads when that is due, and hands on what has come; false when nothing will come any more.
    pub fn take(&mut self, mut take: impl FnMut(Update)) -> bool {
        if let Some(driver) = &mut self.driver
            && !driver.step()
        {
            self.driver = None;
        }
        self.close = false;
        let mut first = true;
        loop {
            let update =
                match self.arrived.take().map_or_else(|| self.all.receiver().try_recv(), Ok) {
                    Ok(update) => update,
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                };
            if let Update::Sample(sample) = &update {
                let at = sample.at.monotonic;
                let before = self.newest.replace(at);
                self.close = !first || before.is_some_and(|before| at.abs_diff(before) < self.look);
                first = false;
            }
            take(update);
        }
    }

    /// Looks closer as the target nears this limit, of which no reading tells.
    pub fn set_limit(&self, bytes: Option<u64>) {
        self.all.set_limit(bytes);
    }

    /// What to wait for before the next [`take`](Intake::take): to be handed to [`arrived`](Intake::arrived).
    #[must_use]
    pub fn samples(&self) -> &Receiver<Update> {
        if self.close || self.driver.is_some() { &self.no_sample } else { self.all.receiver() }
    }

    /// Takes what [`samples`](Intake::samples) gave.
    pub fn arrived(&mut self, update: Result<Update, RecvError>) {
        self.arrived = update.ok();
    }

    /// Rings when the settings have changed: to be handed to [`on_bell`](Intake::on_bell).
    #[must_use]
    pub fn bell(&self) -> &Receiver<()> {
        self.driver.as_ref().map_or(&self.nothing, Driver::bell)
    }

    /// Takes up changed settings.
    pub fn on_bell(&mut self, ring: Result<(), RecvError>) {
        self.driver.iter_mut().for_each(|driver| driver.on_bell(ring));
    }

    /// Rings when the kernel tells of a stall: to be handed to [`on_wake`](Intake::on_wake).
    #[must_use]
    pub fn wake(&self) -> &Receiver<()> {
        self.driver.as_ref().map_or(&self.nothing, Driver::wake)
    }

    /// Reads at once.
    pub fn on_wake(&mut self, ring: Result<(), RecvError>) {
        self.driver.iter_mut().for_each(|driver| driver.on_wake(ring));
    }

    /// Rings when so many samples wait that they should be taken now.
    #[must_use]
    pub fn filling(&self) -> &Receiver<()> {
        if self.driver.is_some() { &self.nothing } else { self.all.filling() }
    }

    /// From now on samples that come closer than `look` are looked at together.
    pub fn look_each(&mut self, look: Duration) {
        self.look = look;
    }

    /// How long to wait at most.
    #[must_use]
    pub fn pause(&self) -> Duration {
        match &self.driver {
            Some(driver) => driver.due_in(),
            None if self.close => self.look,
            None => IDLE,
        }
    }

    /// Stops reading and hands on what is left. Returns how many samples were lost because nobody looked.
    pub fn stop(&mut self, take: impl FnMut(Update)) -> u64 {
        self.driver = None;
        self.sampler.stop();
        let left = self.arrived.take().into_iter().chain(self.all.receiver().try_iter());
        left.for_each(take);
        self.all.lost()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::processes::ProcessId;

    fn intake(target: &Target, interval: Duration) -> Intake {
        let settings = TrackConfig { interval: Some(interval), ..TrackConfig::default() };
        let source = LinuxSource::open(target).unwrap();
        Intake::start(source, target, Settings::fixed(settings), LOOK).unwrap()
    }

    fn samples(intake: &mut Intake) -> usize {
        let mut count = 0;
        assert!(intake.take(|update| count += usize::from(matches!(update, Update::Sample(_)))));
        count
    }

    #[test]
    fn the_machine_is_read_by_whoever_looks_and_a_process_by_a_thread() {
        let hour = Duration::from_secs(3600);
        let mut machine = intake(&Target::System, hour);
        assert_eq!(samples(&mut machine), 1, "due at once");
        assert!(machine.pause() > hour / 2, "and then when the next one is due");
        assert_eq!(samples(&mut machine), 0);
        assert_eq!(machine.stop(|_| {}), 0);
        assert!(!machine.take(|_| {}), "nothing comes after the end");

        let own = Target::Process(ProcessId::own().unwrap());
        let mut process = intake(&own, hour);
        let first = process.samples().recv();
        process.arrived(first);
        assert_eq!(samples(&mut process), 1);
        assert_eq!(process.pause(), IDLE, "the next one is waited for");
        assert!(intake(&Target::System, Duration::from_millis(5)).driver.is_none());
    }

    #[test]
    fn samples_that_come_close_together_are_looked_at_together() {
        let own = Target::Process(ProcessId::own().unwrap());
        let mut intake = intake(&own, Duration::from_millis(5));
        while intake.pause() != LOOK {
            let next = intake.samples().recv();
            intake.arrived(next);
            assert!(samples(&mut intake) >= 1);
        }
        assert!(intake.samples().try_recv().is_err(), "it does not wait for single ones now");
    }

    #[test]
    fn a_thread_that_sleeps_long_is_woken_before_samples_are_lost() {
        let own = Target::Process(ProcessId::own().unwrap());
        let mut intake = intake(&own, Duration::from_millis(5));
        intake.look_each(Duration::from_secs(3600));
        intake.filling().recv().unwrap();
        let waited = samples(&mut intake);
        assert!(waited >= SAMPLES_WAITING / 2, "{waited}");
        let all = intake.sampler.health().samples;
        let mut left = 0;
        let lost = intake.stop(|update| left += usize::from(matches!(update, Update::Sample(_))));
        assert!(lost == 0 || all > SAMPLES_WAITING as u64, "{lost} of {all}, {left} left");
        assert_eq!(intake.filling().recv(), Err(RecvError), "the end is no reason to sleep on");
    }
}
