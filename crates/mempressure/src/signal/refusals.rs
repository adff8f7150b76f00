//! What the kernel counts when it refuses memory to a cgroup.

use memtrack::CgroupEvents;

/// Times the kernel refused memory since the sample before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    max: Option<u64>,
    oom: Option<u64>,
}

/// What was refused between two samples.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refused {
    /// How often usage ran into the hard limit.
    pub(crate) limit_hit: u64,
    /// How often that ended out of memory.
    pub(crate) out_of_memory: u64,
}

impl Refusals {
    /// What was refused since the last call. A counter that appears or goes back (another cgroup) counts from there on.
    pub(crate) fn since(&mut self, events: &CgroupEvents) -> Refused {
        let oom = match (events.oom.ok(), events.oom_kill.ok()) {
            (None, None) => None,
            (oom, kill) => Some(oom.unwrap_or(0).saturating_add(kill.unwrap_or(0))),
        };
        let max = events.max.ok();
        let rise = |before: Option<u64>, now: Option<u64>| match (before, now) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        };
        let (limit_hit, out_of_memory) = (rise(self.max, max), rise(self.oom, oom));
        *self = Self { max, oom };
        Refused { limit_hit, out_of_memory }
    }
}
