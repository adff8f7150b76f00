//! The readings of a sample row: one table of keys, for writing, reading and export alike.

use memtrack::{Absent, Reading, Sample};

/// A reading that is a whole number.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The key in a trace.
    pub key: &'static str,
    /// The name in tables for others, with its unit.
    pub name: &'static str,
    /// Where it is in a sample.
    pub of: fn(&mut Sample) -> &mut Reading<u64>,
}

/// A reading that is a share, 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The key in a trace, and the name in tables for others.
    pub key: &'static str,
    /// Where it is in a sample.
    pub of: fn(&mut Sample) -> &mut Reading<f64>,
}

const fn field(
    key: &'static str,
    name: &'static str,
    of: fn(&mut Sample) -> &mut Reading<u64>,
) -> Field {
    Field { key, name, of }
}

/// The whole numbers of a sample: sizes in bytes, counts, and stalled time in microseconds.
pub const FIELDS: [Field; 31] = [
    field("rss", "rss_bytes", |s| &mut s.process.rss),
    field("anon", "anon_bytes", |s| &mut s.process.anon),
    field("file", "file_bytes", |s| &mut s.process.file),
    field("shmem", "shmem_bytes", |s| &mut s.process.shmem),
    field("swap", "swap_bytes", |s| &mut s.process.swap),
    field("peak", "peak_bytes", |s| &mut s.process.peak),
    field("pss", "pss_bytes", |s| &mut s.process.pss),
    field("pss_anon", "pss_anon_bytes", |s| &mut s.process.pss_anon),
    field("pss_swap", "pss_swap_bytes", |s| &mut s.process.pss_swap),
    field("minflt", "minor_faults", |s| &mut s.process.minor_faults),
    field("majflt", "major_faults", |s| &mut s.process.major_faults),
    field("threads", "threads", |s| &mut s.process.threads),
    field("procs", "processes", |s| &mut s.process.processes),
    field("total", "system_total_bytes", |s| &mut s.system.total),
    field("avail", "system_available_bytes", |s| &mut s.system.available),
    field("swap_total", "system_swap_total_bytes", |s| &mut s.system.swap_total),
    field("swap_free", "system_swap_free_bytes", |s| &mut s.system.swap_free),
    field("zram", "system_zram_bytes", |s| &mut s.system.zram),
    field("cg_usage", "cgroup_usage_bytes", |s| &mut s.cgroup.usage),
    field("cg_idle", "cgroup_inactive_file_bytes", |s| &mut s.cgroup.inactive_file),
    field("cg_limit", "cgroup_limit_bytes", |s| &mut s.cgroup.limit),
    field("cg_high", "cgroup_high_bytes", |s| &mut s.cgroup.high),
    field("cg_room", "cgroup_headroom_bytes", |s| &mut s.cgroup.headroom),
    field("cg_own", "cgroup_own_working_set_bytes", |s| &mut s.cgroup.own),
    field("cg_depth", "cgroup_depth", |s| &mut s.cgroup.depth),
    field("ev_max", "cgroup_events_max", |s| &mut s.cgroup.events.max),
    field("ev_high", "cgroup_events_high", |s| &mut s.cgroup.events.high),
    field("ev_oom", "cgroup_events_oom", |s| &mut s.cgroup.events.oom),
    field("ev_kill", "cgroup_events_oom_kill", |s| &mut s.cgroup.events.oom_kill),
    field("psi_some", "psi_some_total_us", |s| &mut s.psi.some.total_us),
    field("psi_full", "psi_full_total_us", |s| &mut s.psi.full.total_us),
];

/// The shares of a sample: pressure stall averages.
pub const SHARES: [Share; 6] = [
    Share { key: "psi_some_10", of: |s| &mut s.psi.some.avg10 },
    Share { key: "psi_some_60", of: |s| &mut s.psi.some.avg60 },
    Share { key: "psi_some_300", of: |s| &mut s.psi.some.avg300 },
    Share { key: "psi_full_10", of: |s| &mut s.psi.full.avg10 },
    Share { key: "psi_full_60", of: |s| &mut s.psi.full.avg60 },
    Share { key: "psi_full_300", of: |s| &mut s.psi.full.avg300 },
];

/// The word of a reason, as `absent` has it.
pub(super) fn word(why: Absent) -> String {
    let word = match why {
        Absent::Pending => "pending",
        Absent::Unsupported => "unsupported",
        Absent::Denied => "denied",
        Absent::Gone => "gone",
        Absent::Unlimited => "unlimited",
        Absent::Malformed => "malformed",
        Absent::Implausible => "implausible",
        Absent::TooDear => "too_dear",
        Absent::Failed(code) => return format!("failed:{code}"),
        // A reason that this version of the format has no word for.
        _ => "not_read",
    };
    word.to_owned()
}

/// The reason of a word; of one that a later version may have, "not read".
pub(super) fn reason(word: &str) -> Absent {
    match word {
        "pending" => Absent::Pending,
        "unsupported" => Absent::Unsupported,
        "denied" => Absent::Denied,
        "gone" => Absent::Gone,
        "unlimited" => Absent::Unlimited,
        "malformed" => Absent::Malformed,
        "implausible" => Absent::Implausible,
        "too_dear" => Absent::TooDear,
        _ => word
            .strip_prefix("failed:")
            .and_then(|code| code.parse().ok())
            .map_or(Absent::NotRead, Absent::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::Stamp;
    use std::time::Duration;

    #[test]
    fn every_reading_of_a_sample_has_a_key() {
        // Fails when memtrack learns to read more: then a line is missing above.
        let empty = Sample::empty(Stamp::synthetic(Duration::ZERO));
        let readings = format!("{empty:?}").matches("Err(NotRead)").count();
        // The age of the PSS is told by `pss_at`.
        assert_eq!(readings, FIELDS.len() + SHARES.len() + 1);
    }

    #[test]
    fn keys_and_names_are_unique_and_lead_to_different_readings() {
        let mut keys: Vec<_> = FIELDS.iter().map(|field| field.key).collect();
        keys.extend(SHARES.iter().map(|share| share.key));
        keys.extend(["t", "wall", "gap", "absent", "pss_at"]);
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);

        let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
        for (n, field) in (0..).zip(FIELDS) {
            *(field.of)(&mut sample) = Ok(n);
        }
        for (n, field) in (0..).zip(FIELDS) {
            assert_eq!(*(field.of)(&mut sample), Ok(n), "{}", field.key);
        }
    }

    #[test]
    fn reasons_read_back_and_an_unknown_one_is_not_read() {
        for why in
            [Absent::NotRead, Absent::Pending, Absent::TooDear, Absent::Denied, Absent::Gone, Absent::Failed(-5)]
        {
            assert_eq!(reason(&word(why)), why);
        }
        assert_eq!(reason("eaten"), Absent::NotRead);
        assert_eq!(reason("failed:x"), Absent::NotRead);
    }
}
