//! What the kernel counts when it refuses memory to a cgroup.

use memtrack::CgroupEvents;

/// Times the kernel refused memory since the sample before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    max: Option<u64>,
    oom: Option<u64>,
    oom_kill: Option<u64>,
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
        let now =
            Self { max: events.max.ok(), oom: events.oom.ok(), oom_kill: events.oom_kill.ok() };
        let rise = |before: Option<u64>, now: Option<u64>| match (before, now) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        };
        let oom = rise(self.oom, now.oom).saturating_add(rise(self.oom_kill, now.oom_kill));
        let limit_hit = rise(self.max, now.max);
        *self = now;
        Refused { limit_hit, out_of_memory: oom }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::Absent;

    #[test]
    fn a_counter_that_was_unreadable_for_a_sample_is_no_new_kill() {
        let mut refusals = Refusals::default();
        let mut events = CgroupEvents::default();
        (events.oom, events.oom_kill) = (Ok(7), Ok(3));
        assert_eq!(refusals.since(&events).out_of_memory, 0, "where counting begins");
        events.oom = Err(Absent::Failed(5));
        assert_eq!(refusals.since(&events).out_of_memory, 0);
        events.oom = Ok(7);
        assert_eq!(refusals.since(&events).out_of_memory, 0);
        events.oom_kill = Ok(4);
        assert_eq!(refusals.since(&events).out_of_memory, 1);
    }
}
