//! Time that passes when it is told to.

use std::time::{Duration, SystemTime};

use crate::sample::Stamp;

/// A clock for stamps, and for whatever takes the time as a [`Duration`]: histories, throttles, cores of layers above.
#[derive(Clone, Copy, Debug)]
pub struct FakeClock {
    now: Stamp,
}

impl Default for FakeClock {
    /// At 0, on a wall clock that starts a day after the Unix epoch.
    fn default() -> Self {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        Self { now: Stamp { monotonic: Duration::ZERO, wall, gap: false } }
    }
}

impl FakeClock {
    /// The time now.
    #[must_use]
    pub fn now(&self) -> Stamp {
        self.now
    }

    /// Lets time pass, and gives what it is then.
    pub fn advance(&mut self, by: Duration) -> Stamp {
        self.now.monotonic = self.now.monotonic.saturating_add(by);
        self.set_wall(self.now.wall.checked_add(by))
    }

    /// The machine sleeps: only the wall clock goes on. (Linux: `CLOCK_MONOTONIC` stands still meanwhile.)
    pub fn suspend(&mut self, time: Duration) -> Stamp {
        self.set_wall(self.now.wall.checked_add(time))
    }

    /// Somebody sets the wall clock back; it stops at the Unix epoch.
    pub fn set_back(&mut self, by: Duration) -> Stamp {
        let wall = self.now.wall.checked_sub(by).filter(|wall| *wall >= SystemTime::UNIX_EPOCH);
        self.set_wall(Some(wall.unwrap_or(SystemTime::UNIX_EPOCH)))
    }

    /// A time beyond what the system can say leaves the wall clock where it is.
    fn set_wall(&mut self, wall: Option<SystemTime>) -> Stamp {
        self.now.wall = wall.unwrap_or(self.now.wall);
        self.now
    }
}
